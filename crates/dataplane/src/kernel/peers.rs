//! [`Peers`]: what the tracker learnt, and who is registered at the PBX.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;

use aya::maps::{HashMap, MapData, MapType};
use geofilter_core::decide::Timed;
use geofilter_core::desired::BootTime;
use geofilter_core::overrides::AddressKey;
use geofilter_core::tracker::MAX_PEERS;

use crate::Error;
use crate::kernel::abi::sources::{Address, FilterTable, PeerKey};
use crate::kernel::mapped::Mapped;
use crate::kernel::pins::Pins;
use crate::kernel::sys::is_absent;

const PEERS: &str = "gf_peers";
const CONTACTS: &str = "gf_contacts";
const MARKS: &str = "gf_marks";
/// `GF_MARKS`.
const MAX_MARKS: usize = 1 << 15;

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

    /// The names of those maps with what programs have learnt that are pinned and have this version's layout, so that it
    /// can go on with them, whoever made them.
    pub(crate) fn usable(pins: &Pins) -> Result<Vec<&'static str>, Error> {
        let layouts = [
            (PEERS, MapType::Hash, size_of::<PeerKey>(), size_of::<u64>(), MAX_PEERS),
            (MARKS, MapType::LruHash, size_of::<Address>(), size_of::<u32>(), MAX_MARKS),
        ];
        let mut usable = Vec::new();
        for (name, kind, key, value, entries) in layouts {
            let fail = |source| Error::map(name, source);
            if !pins.map(name).exists() {
                continue;
            }
            let map = MapData::from_pin(pins.map(name)).map_err(fail)?;
            let info = map.info().map_err(fail)?;
            let found = (info.key_size() as usize, info.value_size() as usize);
            if info.map_type().map_err(fail)? == kind
                && found == (key, value)
                && info.max_entries() as usize == entries
            {
                usable.push(name);
            }
        }
        Ok(usable)
    }

    /// Sets the bytes of the filter for all peers: those that other programs made are not in it.
    pub(crate) fn fill_filter(&self) -> Result<(), Error> {
        self.list()?.into_iter().for_each(|peer| self.set_filter(peer.value));
        Ok(())
    }

    fn set_filter(&self, peer: SocketAddr) {
        let slot = Address::from(AddressKey::of(peer.ip())).peer_slot();
        self.filter.byte(0, slot).store(1, Ordering::Release);
    }

    /// Every peer with its end.
    pub(crate) fn list(&self) -> Result<Vec<Timed<SocketAddr>>, Error> {
        let peers = self.peers.iter().map(|peer| peer.map(|(key, until)| key.unpack(until)));
        peers.collect::<Result<_, _>>().map_err(|source| Error::map(PEERS, source))
    }

    /// Makes a peer. The filter first: a bit too many only costs a search.
    pub(crate) fn set(&mut self, peer: SocketAddr, until: BootTime) -> Result<(), Error> {
        self.set_filter(peer);
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
