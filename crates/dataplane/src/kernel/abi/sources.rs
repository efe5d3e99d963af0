//! The layout of overrides and peers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use aya::Pod;
use geofilter_core::decide::Timed;
use geofilter_core::desired::BootTime;
use geofilter_core::dxr::Dxr;
use geofilter_core::overrides::{AddressKey, MAX_ADDRESSES, Spans};
use geofilter_core::tracker;
use geofilter_core::world::MAX_ENTRIES;

const COARSE_BITS: u32 = 20;
const KNOWN_BITS: u32 = 15;
const PEER_BITS: u32 = 16;
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
    v4: [u64; 1 << (COARSE_BITS - 6)],
    v6: [u64; 1 << (COARSE_BITS - 6)],
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

/// `struct gf_known`
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct KnownTable {
    words: [u64; KNOWN_WORDS],
}

/// Words of `struct gf_known`.
pub(crate) const KNOWN_WORDS: usize = 1 << KNOWN_BITS;

/// `struct gf_peer_key`
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct PeerKey {
    high: u64,
    low: u64,
    family: u32,
    port: u32,
}

/// `struct gf_peer_filter`
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct PeerFilter {
    set: [u8; 1 << PEER_BITS],
}

const _: () = {
    assert!(size_of::<PrefixTable>() == 786_432);
    assert!(size_of::<Address>() == 16);
    assert!(size_of::<KnownTable>() == 262_144);
    assert!(size_of::<PeerKey>() == 24);
};

#[expect(unsafe_code, reason = "plain integers in C layout, without padding")]
mod pod {
    use super::{Address, KnownTable, PeerFilter, PeerKey, Pod, PrefixTable, SpansTable};

    unsafe impl Pod for SpansTable {}
    unsafe impl Pod for PrefixTable {}
    unsafe impl Pod for Address {}
    unsafe impl Pod for KnownTable {}
    unsafe impl Pod for PeerKey {}
    unsafe impl Pod for PeerFilter {}
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

    /// The word and its bits of `struct gf_known` that say that there may be an override.
    pub(crate) fn known(self) -> (usize, u64) {
        let hash = self.hash();
        let bit = |shift: u32| 1 << (hash >> shift & 63);
        ((hash >> (64 - KNOWN_BITS)) as usize, bit(42) | bit(36) | bit(30))
    }

    /// The byte of `struct gf_peer_filter` that says that there may be a peer.
    pub(crate) fn peer_slot(self) -> usize {
        (self.hash() >> (64 - PEER_BITS)) as usize
    }
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
        self.v4.fill(0);
        self.v6.fill(0);
        for coarse in prefixes.occupied_v4(COARSE_BITS) {
            self.v4[coarse >> 6] |= 1 << (coarse & 63);
        }
        for coarse in prefixes.occupied_v6(COARSE_BITS) {
            self.v6[coarse >> 6] |= 1 << (coarse & 63);
        }
        for (into, from) in self.spans.iter_mut().zip(&prefixes.entries) {
            *into = (*from).into();
        }
    }
}
