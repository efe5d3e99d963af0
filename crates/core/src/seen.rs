//! [`Seen`]: who has sent packets to protected ports, added up from what a data plane remembers, which is
//! little. It is bounded too: those who sent least make room.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::clock::UnixTime;

/// Sources that are kept.
pub const MAX_SOURCES: usize = 1 << 16;
/// Seconds after which a packet counts about a third of what it did as one that came lately.
const LATELY: u64 = 10;

/// What a data plane says of a source: an IPv4 address, or the first of an IPv6 /64. It may begin anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// The source.
    pub source: IpAddr,
    /// Packets that passed.
    pub passed: u32,
    /// Packets that were dropped, or would have been.
    pub dropped: u32,
}

/// What is known of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source {
    /// Packets that passed.
    pub passed: u64,
    /// Packets that were dropped, or would have been.
    pub dropped: u64,
    /// Packets of the last ten seconds or so.
    pub lately: u64,
    /// When it was seen first.
    pub first: UnixTime,
    /// When it was seen last.
    pub last: UnixTime,
    /// What the data plane said last.
    counted: (u32, u32),
}

impl Source {
    fn new(now: UnixTime) -> Self {
        Self { passed: 0, dropped: 0, lately: 0, first: now, last: now, counted: (0, 0) }
    }

    /// Adds what is new in a count.
    fn add(&mut self, count: &Count, now: UnixTime) {
        let (passed, dropped) = self.counted;
        let anew = count.passed < passed || count.dropped < dropped;
        let (passed, dropped) = if anew { (0, 0) } else { (passed, dropped) };
        let (passed, dropped) = (count.passed - passed, count.dropped - dropped);
        self.counted = (count.passed, count.dropped);
        let packets = u64::from(passed) + u64::from(dropped);
        if packets > 0 {
            self.passed += u64::from(passed);
            self.dropped += u64::from(dropped);
            self.lately += packets;
            self.last = now;
        }
    }

    /// All of its packets.
    pub fn packets(&self) -> u64 {
        self.passed + self.dropped
    }
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    sources: HashMap<IpAddr, Source>,
    since: Option<UnixTime>,
    taken: Option<UnixTime>,
}

impl Seen {
    /// Takes what the data plane remembers, about every second.
    pub fn take(&mut self, counts: &[Count], now: UnixTime) {
        self.since.get_or_insert(now);
        let seconds = now.0.saturating_sub(self.taken.replace(now).unwrap_or(now).0);
        for source in self.sources.values_mut() {
            for _ in 0..seconds.min(LATELY * LATELY) {
                source.lately -= source.lately.div_ceil(LATELY);
            }
        }
        for count in counts {
            self.sources.entry(count.source).or_insert_with(|| Source::new(now)).add(count, now);
        }
        if self.sources.len() > MAX_SOURCES {
            self.make_room();
        }
    }

    /// A quarter goes: those who sent least, and of these who was seen longest ago.
    fn make_room(&mut self) {
        let mut order: Vec<_> = self
            .sources
            .iter()
            .map(|(address, source)| (source.packets(), source.last, *address))
            .collect();
        order.sort_unstable();
        let surplus = self.sources.len() - MAX_SOURCES / 4 * 3;
        for (_, _, address) in &order[..surplus] {
            self.sources.remove(address);
        }
    }

    /// Since when; `None` while nobody looks.
    pub fn since(&self) -> Option<UnixTime> {
        self.since
    }

    /// What is known of the source that an address belongs to.
    pub fn get(&self, address: IpAddr) -> Option<&Source> {
        self.sources.get(&source_of(address))
    }

    /// Everybody, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (IpAddr, &Source)> {
        self.sources.iter().map(|(address, source)| (*address, source))
    }

    /// How many they are.
    pub fn len(&self) -> usize {
        self.sources.len()
    }

    /// Whether there is nobody.
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// Those who send most, lately and else in all.
    pub fn busiest(&self, limit: usize) -> Vec<(IpAddr, &Source)> {
        let mut all: Vec<_> = self.iter().collect();
        let order = |(address, source): &(IpAddr, &Source)| {
            (std::cmp::Reverse((source.lately, source.packets())), *address)
        };
        let limit = limit.min(all.len());
        if limit < all.len() {
            all.select_nth_unstable_by_key(limit, order);
        }
        all.truncate(limit);
        all.sort_unstable_by_key(order);
        all
    }
}

/// The source that an address belongs to.
pub fn source_of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) >> 64 << 64).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(last: u32, passed: u32, dropped: u32) -> Count {
        Count { source: IpAddr::V4((0x0a00_0000 + last).into()), passed, dropped }
    }

    fn of(seen: &Seen, last: u32) -> (u64, u64) {
        seen.get(count(last, 0, 0).source).map_or((0, 0), |source| (source.passed, source.dropped))
    }

    #[test]
    fn what_is_new_is_added_also_where_the_data_plane_began_anew() {
        let mut seen = Seen::default();
        seen.take(&[count(1, 3, 0), count(2, 0, 5)], UnixTime(100));
        seen.take(&[count(1, 4, 1), count(2, 0, 5)], UnixTime(101));
        assert_eq!((of(&seen, 1), of(&seen, 2)), ((4, 1), (0, 5)));
        // Its place was taken meanwhile, and it came back.
        seen.take(&[count(1, 2, 0)], UnixTime(102));
        assert_eq!((of(&seen, 1), of(&seen, 2)), ((6, 1), (0, 5)));
        let second = seen.get(count(2, 0, 0).source).unwrap();
        assert_eq!((second.first, second.last), (UnixTime(100), UnixTime(100)));
        assert_eq!(seen.since(), Some(UnixTime(100)));
    }

    #[test]
    fn lately_fades_away() {
        let mut seen = Seen::default();
        let lately = |seen: &Seen| seen.busiest(1)[0].1.lately;
        for second in 0..200_u32 {
            seen.take(&[count(1, second * 50, 0)], UnixTime(second.into()));
        }
        assert!((400..=500).contains(&lately(&seen)), "{}", lately(&seen));
        seen.take(&[], UnixTime(400));
        assert_eq!(lately(&seen), 0);
    }

    #[test]
    fn the_busiest_come_first_and_the_quietest_make_room() {
        let mut seen = Seen::default();
        let flood: Vec<Count> = (0..MAX_SOURCES as u32).map(|last| count(last, 0, 1)).collect();
        seen.take(&[count(1 << 20, 500, 0), count(1 << 21, 0, 900)], UnixTime(1));
        seen.take(&flood, UnixTime(2));
        assert!(seen.len() <= MAX_SOURCES && seen.len() >= MAX_SOURCES / 2);
        let busiest = seen.busiest(3);
        assert_eq!(busiest.len(), 3);
        assert_eq!(busiest[0].1.dropped, 900);
        assert_eq!(busiest[1].1.passed, 500);
        assert_eq!(seen.busiest(usize::MAX).len(), seen.len());
    }

    #[test]
    fn an_ipv6_source_is_a_64() {
        let address: IpAddr = "2001:db8:1:2:3:4:5:6".parse().unwrap();
        assert_eq!(source_of(address).to_string(), "2001:db8:1:2::");
    }
}
