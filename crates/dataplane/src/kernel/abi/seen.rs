//! The part of `bpf/abi.h` on who sends packets.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use aya::Pod;
use geofilter_core::seen::Count;

/// Sources there is room for.
pub(crate) const SOURCES: usize = 1 << 13;
/// What every key of an IPv4 source has.
const V4: u64 = 0xffff_ffff << 32;

/// Where the parts of a `struct gf_seen` lie, in words.
pub(crate) const SEED: usize = 0;
pub(crate) const TURN: usize = 1;
pub(crate) const BUDGET_KNOWN: usize = 8;
pub(crate) const BUDGET_NEW: usize = 9;
pub(crate) const BUDGET_LOUD: usize = 10;
const TAGS: usize = 16;
const FIRST: usize = TAGS + SOURCES / 2;

/// `struct gf_source`: key, passed and dropped, and what only the programs use.
type Source = [u64; 4];

/// `struct gf_seen`
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct SeenTable {
    head: [u64; TAGS],
    tags: [u32; SOURCES],
    sources: [Source; SOURCES],
}

const _: () = assert!(size_of::<SeenTable>() == 295_040);

#[expect(unsafe_code, reason = "plain integers in C layout, without padding")]
unsafe impl Pod for SeenTable {}

/// Where a source lies, in words.
pub(crate) fn place(source: usize) -> usize {
    FIRST + source * size_of::<Source>() / size_of::<u64>()
}

/// Two `__u32` that share a word.
pub(crate) fn pack_pair([first, second]: [u32; 2]) -> u64 {
    let ([a, b, c, d], [e, f, g, h]) = (first.to_ne_bytes(), second.to_ne_bytes());
    u64::from_ne_bytes([a, b, c, d, e, f, g, h])
}

/// Reads the first two words of a `struct gf_source`; `None` if there is none.
pub(crate) fn unpack_source(key: u64, counts: u64) -> Option<Count> {
    let [a, b, c, d, e, f, g, h] = counts.to_ne_bytes();
    let source = match key {
        0 => return None,
        key if key & V4 == V4 => IpAddr::V4(Ipv4Addr::from(key as u32)),
        key => IpAddr::V6(Ipv6Addr::from(u128::from(key) << 64)),
    };
    let [passed, dropped] = [[a, b, c, d], [e, f, g, h]].map(u32::from_ne_bytes);
    Some(Count { source, passed, dropped })
}
