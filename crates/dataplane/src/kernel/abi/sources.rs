//! The layout of overrides and peers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use aya::Pod;
use geofilter_core::decide::Timed;
use geofilter_core::desired::BootTime;
use geofilter_core::dxr::Dxr;
use geofilter_core::overrides::{AddressKey, MAX_ADDRESSES, Spans};
use geofilter_core::tracker;
use geofilter_core::world::MAX_ENTRIES;

const FAR_BITS: u32 = 16;
const NEAR_BITS: u32 = 20;
const LINE_BITS: u32 = 11;
const KNOWN_BITS: u32 = 15;
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
/// Room for single addresses and for peers.
const ADDRESSES: usize = 1 << 18;
const PEERS: usize = 1 << 14;
const PEER_LIFETIME: u64 = 2 * 3600 * 1_000_000_000;

const _: () = {
    assert!(ADDRESSES == MAX_ADDRESSES);
    assert!(PEERS == tracker::MAX_PEERS);
    assert!(PEER_LIFETIME == tracker::LIFETIME);
};

/// `struct gf_spans`
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct SpansTable {
    exempt: u64,
    ban: u64,
}

/// `struct gf_prefixes`
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct PrefixTable {
    far_v4: [u64; 1 << (FAR_BITS - 6)],
    far_v6: [u64; 1 << (FAR_BITS - 6)],
    near_v4: [u64; 1 << (NEAR_BITS - 6)],
    near_v6: [u64; 1 << (NEAR_BITS - 6)],
    spans: [SpansTable; MAX_ENTRIES],
}

/// `struct gf_address`
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(C)]
pub(crate) struct Address {
    bits: u64,
    family: u32,
    reserved: u32,
}

/// `struct gf_line`
#[derive(Clone, Copy)]
#[repr(C)]
struct Line {
    known: [u64; 4],
    peer: [u8; 32],
}

/// `struct gf_filter`
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct FilterTable {
    line: [Line; 1 << LINE_BITS],
    known: [u64; 1 << KNOWN_BITS],
}

/// Where the words of a filter are that say something of overrides.
pub(crate) fn known_words() -> impl Iterator<Item = usize> {
    let lines = (0..LINES_END).filter(|word| word % LINE_WORDS < PEER_WORD);
    lines.chain(LINES_END..size_of::<FilterTable>() / 8)
}

const LINE_WORDS: usize = size_of::<Line>() / 8;
/// The first word of a line that is of peers.
const PEER_WORD: usize = std::mem::offset_of!(Line, peer) / 8;
/// The first word behind the lines.
const LINES_END: usize = std::mem::offset_of!(FilterTable, known) / 8;

/// `struct gf_peer_key`
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct PeerKey {
    high: u64,
    low: u64,
    family: u32,
    port: u32,
}

const _: () = {
    assert!(size_of::<PrefixTable>() == 802_816);
    assert!(size_of::<Address>() == 16);
    assert!(size_of::<FilterTable>() == 393_216);
    assert!(size_of::<PeerKey>() == 24);
};

#[expect(unsafe_code, reason = "plain integers in C layout, without padding")]
mod pod {
    use super::{Address, FilterTable, PeerKey, Pod, PrefixTable, SpansTable};

    unsafe impl Pod for SpansTable {}
    unsafe impl Pod for PrefixTable {}
    unsafe impl Pod for Address {}
    unsafe impl Pod for FilterTable {}
    unsafe impl Pod for PeerKey {}
}

impl From<Spans> for SpansTable {
    fn from(spans: Spans) -> Self {
        Self { exempt: spans.exempt.nanoseconds(), ban: spans.ban.nanoseconds() }
    }
}

impl From<AddressKey> for Address {
    fn from(key: AddressKey) -> Self {
        match key {
            AddressKey::V4(v4) => Self { bits: v4.into(), family: 4, reserved: 0 },
            AddressKey::V6(high) => Self { bits: high, family: 6, reserved: 0 },
        }
    }
}

impl Address {
    /// Fibonacci hashing, as the programs do it.
    fn hash(self) -> u64 {
        self.bits.wrapping_add(self.family.into()).wrapping_mul(GOLDEN)
    }

    /// The words of `struct gf_filter`, and the bits of each, that say that there may be an override.
    pub(crate) fn known(self) -> [(usize, u64); 2] {
        let hash = self.hash();
        let near = line(hash) * LINE_WORDS + (hash >> 51 & 3) as usize;
        let other = (hash ^ hash >> 32).wrapping_mul(GOLDEN);
        let far = LINES_END + (other >> (64 - KNOWN_BITS)) as usize;
        [(near, three(hash, 33)), (far, three(other, 30))]
    }

    /// The byte of `struct gf_filter` that says that there may be a peer.
    pub(crate) fn peer_slot(self) -> usize {
        let hash = self.hash();
        (line(hash) * LINE_WORDS + PEER_WORD) * 8 + (hash >> 28 & 31) as usize
    }
}

fn line(hash: u64) -> usize {
    (hash >> (64 - LINE_BITS)) as usize
}

/// Three bits of a hash, from `shift` on.
fn three(hash: u64, shift: u32) -> u64 {
    [shift, shift + 6, shift + 12].into_iter().fold(0, |bits, at| bits | 1 << (hash >> at & 63))
}

impl From<SocketAddr> for PeerKey {
    fn from(peer: SocketAddr) -> Self {
        let (high, low, family) = match peer.ip() {
            IpAddr::V4(v4) => (0, u64::from(u32::from(v4)), 4),
            IpAddr::V6(v6) => {
                let bits = u128::from(v6);
                ((bits >> 64) as u64, bits as u64, 6)
            }
        };
        Self { high, low, family, port: peer.port().into() }
    }
}

impl PeerKey {
    /// The peer with its end.
    pub(crate) fn unpack(self, until: u64) -> Timed<SocketAddr> {
        let address: IpAddr = match self.family {
            4 => Ipv4Addr::from(self.low as u32).into(),
            _ => Ipv6Addr::from(u128::from(self.high) << 64 | u128::from(self.low)).into(),
        };
        let value = SocketAddr::new(address, self.port as u16);
        Timed { value, until: Some(BootTime(until)) }
    }
}

impl PrefixTable {
    /// Fills the bits and what the entries stand for; every bit that is set may lie on a prefix.
    pub(crate) fn fill(&mut self, prefixes: &Dxr<Spans>) {
        set(&mut self.far_v4, prefixes.occupied_v4(FAR_BITS));
        set(&mut self.far_v6, prefixes.occupied_v6(FAR_BITS));
        set(&mut self.near_v4, prefixes.occupied_v4(NEAR_BITS));
        set(&mut self.near_v6, prefixes.occupied_v6(NEAR_BITS));
        for (into, from) in self.spans.iter_mut().zip(&prefixes.entries) {
            *into = (*from).into();
        }
    }
}

/// Sets these bits and no others.
fn set(words: &mut [u64], numbers: impl Iterator<Item = usize>) {
    words.fill(0);
    numbers.for_each(|number| words[number >> 6] |= 1 << (number & 63));
}
