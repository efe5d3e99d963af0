//! [`Announced`]: addresses as they come from the internet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use geofilter_core::geodata::AsTable;
use geofilter_core::steps::{Address, Range, Steps};

/// Addresses that somebody announces, the same in every run. In IPv4 each is as likely as any other; IPv6
/// has no such measure, so there each announced range is.
pub(crate) struct Announced {
    v4: Vec<Range<u32>>,
    /// How many IPv4 addresses there are up to the end of each range.
    ends: Vec<u64>,
    v6: Vec<Range<u128>>,
    random: Random,
}

impl Announced {
    /// Those that these systems announce.
    pub(crate) fn by(systems: &AsTable) -> Self {
        let v4 = announced(&systems.layer().v4);
        let sizes = v4.iter().map(|range| u64::from(range.last - range.first) + 1);
        let ends = sizes.scan(0, |sum, size| {
            *sum += size;
            Some(*sum)
        });
        Self { ends: ends.collect(), v4, v6: announced(&systems.layer().v6), random: Random(1) }
    }

    /// This many of IPv4.
    pub(crate) fn v4(&mut self, count: usize) -> Vec<IpAddr> {
        (0..count).map(|_| self.one_v4()).collect()
    }

    /// This many of IPv6.
    pub(crate) fn v6(&mut self, count: usize) -> Vec<IpAddr> {
        (0..count).map(|_| self.one_v6()).collect()
    }

    fn one_v4(&mut self) -> IpAddr {
        let all = self.ends[self.ends.len() - 1];
        let drawn = self.random.next() % all;
        let at = self.ends.partition_point(|end| *end <= drawn);
        let from_the_end = self.ends[at] - drawn - 1;
        IpAddr::V4(Ipv4Addr::from(self.v4[at].last - from_the_end as u32))
    }

    fn one_v6(&mut self) -> IpAddr {
        let Range { first, last } = self.v6[self.random.next() as usize % self.v6.len()];
        let wide = u128::from(self.random.next()) << 64 | u128::from(self.random.next());
        IpAddr::V6(Ipv6Addr::from(first + wide % (last - first + 1)))
    }
}

fn announced<A: Address, V: Copy + Eq>(steps: &Steps<A, Option<V>>) -> Vec<Range<A>> {
    steps.ranges().filter(|(_, system)| system.is_some()).map(|(range, _)| range).collect()
}

/// Splitmix64: no secret hangs on it.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }
}
