//! The compiled table answers as the ranges it was made of, at every border of every table.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use geofilter_core::country::CountryId;
use geofilter_core::dxr::{CHUNK, Dxr, MAX_CHUNKS, MAX_FINE_BORDERS, MAX_FINE_BUCKETS};
use geofilter_core::geodata::embedded;
use geofilter_core::steps::{Address, Range, Steps};
use geofilter_core::world::{Entry, World};
use proptest::collection::vec;
use proptest::prelude::*;

fn entry(number: u8) -> Entry {
    let country = |number: u8| CountryId::new(number % 251).unwrap();
    Entry {
        primary: country(number),
        second: country(number / 3),
        hosting: number.is_multiple_of(7),
    }
}

fn ip4(address: u32) -> IpAddr {
    Ipv4Addr::from(address).into()
}

fn ip6(address: u128) -> IpAddr {
    Ipv6Addr::from(address).into()
}

/// The linear oracle: the smallest range that contains the address; of equals the later.
fn linear<A: Address>(ranges: &[(Range<A>, Entry)], address: A) -> Entry {
    let mut best: Option<&(Range<A>, Entry)> = None;
    for candidate in ranges {
        let Range { first, last } = candidate.0;
        let inside = best.is_none_or(|(best, _)| best.first <= first && last <= best.last);
        if first <= address && address <= last && inside {
            best = Some(candidate);
        }
    }
    best.map_or(Entry::UNKNOWN, |(_, entry)| *entry)
}

/// Prefixes, so that ranges nest and never cross.
fn prefixes_v4() -> impl Strategy<Value = Vec<(Range<u32>, Entry)>> {
    let prefix = (any::<u32>(), 0..=32_u32, any::<u8>()).prop_map(|(address, length, number)| {
        let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
        (Range { first: address & mask, last: address | !mask }, entry(number))
    });
    vec(prefix, 0..60)
}

/// Mostly inside 2000::/3, close together, and down to single addresses.
fn prefixes_v6() -> impl Strategy<Value = Vec<(Range<u128>, Entry)>> {
    let address = prop_oneof![
        any::<u128>(),
        any::<u128>().prop_map(|bits| 1 << 125 | bits >> 3),
        any::<u128>().prop_map(|bits| 0x2a00_1234 << 96 | bits & 0x7_0000_0000_0000_0007),
    ];
    let prefix = (address, 0..=128_u32, any::<u8>()).prop_map(|(address, length, number)| {
        let mask = u128::MAX.checked_shl(128 - length).unwrap_or(0);
        (Range { first: address & mask, last: address | !mask }, entry(number))
    });
    vec(prefix, 0..60)
}

fn compile(v4: &[(Range<u32>, Entry)], v6: &[(Range<u128>, Entry)]) -> (World, Dxr) {
    let v4 = Steps::from_ranges(Entry::UNKNOWN, v4.to_vec());
    let v6 = Steps::from_ranges(Entry::UNKNOWN, v6.to_vec());
    let world = World::from_steps(&v4, &v6).unwrap();
    let dxr = Dxr::compile(&world).unwrap();
    assert_eq!(dxr.steps(), (world.v4().clone(), world.v6().clone()));
    (world, dxr)
}

/// Both ends of a range and what lies beside them.
fn around<A: Address>(range: &Range<A>) -> impl Iterator<Item = A> {
    [range.first.previous(), Some(range.first), Some(range.last), range.last.next()]
        .into_iter()
        .flatten()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn ipv4_answers_as_the_linear_oracle(ranges in prefixes_v4(), others in vec(any::<u32>(), 20)) {
        let (_, dxr) = compile(&ranges, &[]);
        let probes = ranges.iter().flat_map(|(range, _)| around(range)).chain(others);
        for probe in probes.chain([u32::MIN, u32::MAX]) {
            prop_assert_eq!(dxr.lookup(ip4(probe)), linear(&ranges, probe), "{}", ip4(probe));
        }
    }

    #[test]
    fn ipv6_answers_as_the_linear_oracle(ranges in prefixes_v6(), others in vec(any::<u128>(), 20)) {
        let (_, dxr) = compile(&[], &ranges);
        let probes = ranges.iter().flat_map(|(range, _)| around(range)).chain(others);
        for probe in probes.chain([u128::MIN, u128::MAX, 1 << 125, (1 << 126) - 1, 1 << 126]) {
            // Only 2000::/3 is allocated: what a source says of the rest is not believed.
            let expected = match probe >> 125 {
                1 => linear(&ranges, probe),
                _ => Entry::UNKNOWN,
            };
            prop_assert_eq!(dxr.lookup(ip6(probe)), expected, "{}", ip6(probe));
        }
    }
}

#[test]
fn every_border_of_the_real_world_answers_exactly() {
    let world = embedded::world().unwrap().world;
    let dxr = Dxr::compile(&world).unwrap();
    assert_eq!(dxr.steps(), (world.v4().clone(), world.v6().clone()));
    let mut borders = 0;
    for (start, id) in world.v4().iter() {
        assert_eq!(dxr.lookup(ip4(start)), world.entries()[usize::from(id)], "{}", ip4(start));
        let before = ip4(start.saturating_sub(1));
        assert_eq!(dxr.lookup(before), world.lookup(before), "{before}");
        borders += 1;
    }
    for (start, id) in world.v6().iter() {
        assert_eq!(dxr.lookup(ip6(start)), world.entries()[usize::from(id)], "{}", ip6(start));
        let before = ip6(start.saturating_sub(1));
        assert_eq!(dxr.lookup(before), world.lookup(before), "{before}");
        borders += 1;
    }
    assert!(borders > 700_000, "{borders}");
}

#[test]
fn one_address_and_the_whole_space() {
    let v4 = [
        (Range { first: 0, last: u32::MAX }, entry(1)),
        (Range { first: 7 << 16, last: 7 << 16 }, entry(2)),
        (Range { first: u32::MAX, last: u32::MAX }, entry(3)),
    ];
    let host = 0x2a00_u128 << 112 | 5;
    let v6 = [
        (Range { first: 0, last: u128::MAX }, entry(4)),
        (Range { first: host, last: host }, entry(5)),
    ];
    let (_, dxr) = compile(&v4, &v6);
    assert_eq!(dxr.lookup(ip4(0)), entry(1));
    assert_eq!(dxr.lookup(ip4(7 << 16)), entry(2));
    assert_eq!(dxr.lookup(ip4((7 << 16) + 1)), entry(1));
    assert_eq!(dxr.lookup(ip4(u32::MAX)), entry(3));
    assert_eq!(dxr.lookup(ip6(host)), entry(5));
    assert_eq!(dxr.lookup(ip6(host - 1)), entry(4));
    assert_eq!(dxr.lookup(ip6(host + 1)), entry(4));
    assert_eq!(dxr.lookup(ip6(0)), Entry::UNKNOWN);
}

/// A generator of its own: proptest's values would take a minute to shrink from.
fn scatter(number: u64) -> u64 {
    // SplitMix64, by Sebastiano Vigna, public domain.
    let z = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

#[test]
fn a_million_random_prefixes() {
    let ranges: Vec<(Range<u32>, Entry)> = (0..1_000_000)
        .map(|number| {
            let bits = scatter(number);
            let mask = u32::MAX << (bits >> 32 & 15);
            let first = bits as u32 & mask;
            (Range { first, last: first | !mask }, entry((bits >> 40) as u8))
        })
        .collect();
    let (world, dxr) = compile(&ranges, &[]);
    assert!(world.v4().len() > 1_000_000, "{}", world.v4().len());
    for (start, _) in world.v4().iter() {
        assert_eq!(dxr.lookup(ip4(start)), world.lookup(ip4(start)));
    }
    for probe in (0..2_000).map(|number| scatter(number + 1_000_000) as u32) {
        assert_eq!(dxr.lookup(ip4(probe)), linear(&ranges, probe));
    }
}

/// A table with a border every `step` addresses from `start` on.
fn striped(start: u128, step: u128, borders: usize) -> Steps<u128, Entry> {
    let mut steps = Steps::constant(Entry::UNKNOWN);
    let mut at = start;
    for number in 0..borders {
        steps.push(at, entry(1 + (number % 2) as u8));
        at += step;
    }
    steps
}

#[test]
fn too_many_borders_are_refused_by_name() {
    let none = Steps::constant(Entry::UNKNOWN);
    let compile = |v6: &Steps<u128, Entry>| Dxr::compile(&World::from_steps(&none, v6).unwrap());
    let start = 0x2a00_u128 << 112;

    let fits = MAX_CHUNKS * CHUNK - (1 << 12);
    let error = compile(&striped(start, 1 << 97, fits + (1 << 13))).unwrap_err();
    assert!(error.to_string().contains("more than 2097152 IPv6 borders"), "{error}");
    assert!(compile(&striped(start, 1 << 97, fits)).is_ok());

    let one_bucket = compile(&striped(start, 1 << 64, CHUNK + 2)).unwrap_err();
    assert!(one_bucket.to_string().contains("IPv6 borders"), "{one_bucket}");

    let fine = compile(&striped(start, 1, MAX_FINE_BORDERS + 2)).unwrap_err();
    assert!(fine.to_string().contains("finer than /64"), "{fine}");
    let hosts = compile(&striped(start + 1, 1 << 64, MAX_FINE_BUCKETS + 2)).unwrap_err();
    assert!(hosts.to_string().contains("/64s"), "{hosts}");
}
