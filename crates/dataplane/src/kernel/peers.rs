//! [`Peers`]: what the tracker learnt, and who is registered at the PBX.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;

use aya::maps::{HashMap, Map, MapData};
use geofilter_core::decide::Timed;
use geofilter_core::desired::BootTime;
use geofilter_core::overrides::AddressKey;

use crate::Error;
use crate::kernel::abi::sources::{Address, FilterTable, PeerKey};
use crate::kernel::mapped::Mapped;
use crate::kernel::pins::Pins;
use crate::kernel::sys::is_absent;

const PEERS: &str = "gf_peers";
const CONTACTS: &str = "gf_contacts";
const MARKS: &str = "gf_marks";

/// What programs learnt by themselves and nobody else knows, for those that take their place on other maps.
#[derive(Default)]
pub(crate) struct Kept {
    peers: Vec<(PeerKey, u64)>,
    came_first: Vec<Address>,
}

impl Kept {
    /// Reads it from maps that are pinned, as far as they are still there and have the layout of this version's.
    pub(crate) fn read(pins: &Pins) -> Self {
        let open = |name| MapData::from_pin(pins.map(name));
        let peers = open(PEERS).and_then(|map| HashMap::try_from(Map::HashMap(map)));
        let marks = open(MARKS).and_then(|map| HashMap::try_from(Map::LruHashMap(map)));
        Self {
            peers: peers.map_or_else(
                |_| Vec::new(),
                |peers: HashMap<_, PeerKey, u64>| peers.iter().flatten().collect(),
            ),
            came_first: marks.map_or_else(
                |_| Vec::new(),
                |marks: HashMap<_, Address, u32>| marks.keys().flatten().collect(),
            ),
        }
    }

    /// Writes it into the new maps.
    pub(crate) fn put_back(self, pins: &Pins, peers: &mut Peers) -> Result<(), Error> {
        for (key, until) in self.peers {
            peers.set(key.unpack(until).value, BootTime(until))?;
        }
        if self.came_first.is_empty() {
            return Ok(());
        }
        let fail = |source| Error::map(MARKS, source);
        let marks = MapData::from_pin(pins.map(MARKS)).map_err(fail)?;
        let mut marks: HashMap<_, Address, u32> =
            Map::LruHashMap(marks).try_into().map_err(fail)?;
        self.came_first.iter().try_for_each(|source| marks.insert(source, 1, 0)).map_err(fail)
    }
}

/// The maps. Programs write the peers too.
pub(crate) struct Peers {
    peers: HashMap<MapData, PeerKey, u64>,
    filter: Mapped<FilterTable>,
    contacts: HashMap<MapData, Address, u32>,
}

impl Peers {
    pub(crate) fn new(
        peers: HashMap<MapData, PeerKey, u64>,
        filter: Mapped<FilterTable>,
        contacts: HashMap<MapData, Address, u32>,
    ) -> Self {
        Self { peers, filter, contacts }
    }

    /// Every peer with its end.
    pub(crate) fn list(&self) -> Result<Vec<Timed<SocketAddr>>, Error> {
        let peers = self.peers.iter().map(|peer| peer.map(|(key, until)| key.unpack(until)));
        peers.collect::<Result<_, _>>().map_err(|source| Error::map(PEERS, source))
    }

    /// Makes a peer. The filter first: a bit too many only costs a search.
    pub(crate) fn set(&mut self, peer: SocketAddr, until: BootTime) -> Result<(), Error> {
        let slot = Address::from(AddressKey::of(peer.ip())).peer_slot();
        self.filter.byte(0, slot).store(1, Ordering::Release);
        let inserted = self.peers.insert(PeerKey::from(peer), until.0, 0);
        inserted.map_err(|source| Error::map(PEERS, source))
    }

    /// Removes a peer; whether it was one.
    pub(crate) fn remove(&mut self, peer: SocketAddr) -> Result<bool, Error> {
        match self.peers.remove(&PeerKey::from(peer)) {
            Ok(()) => Ok(true),
            Err(error) if is_absent(&error) => Ok(false),
            Err(source) => Err(Error::map(PEERS, source)),
        }
    }

    /// Removes the peers that have ended: they would take the room of others. One that a program is making
    /// anew just then is made again by the next request.
    pub(crate) fn sweep(&mut self, now: BootTime) -> Result<(), Error> {
        let ended = |peer: &Timed<SocketAddr>| !peer.holds(now);
        for peer in self.list()?.into_iter().filter(ended) {
            self.remove(peer.value)?;
        }
        Ok(())
    }

    /// Says who is registered.
    pub(crate) fn set_contacts(&mut self, contacts: &HashSet<AddressKey>) -> Result<(), Error> {
        let fail = |source| Error::map(CONTACTS, source);
        let wanted: HashSet<Address> = contacts.iter().map(|key| (*key).into()).collect();
        let held: HashSet<Address> =
            self.contacts.keys().collect::<Result<_, _>>().map_err(fail)?;
        for gone in held.difference(&wanted) {
            self.contacts.remove(gone).map_err(fail)?;
        }
        wanted.difference(&held).try_for_each(|new| self.contacts.insert(*new, 1, 0)).map_err(fail)
    }
}
