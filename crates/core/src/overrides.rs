//! [`Table`]: exemptions and bans as a data plane searches them, compiled from [`Overrides`]. Single
//! addresses lie in a hash table that changes one by one; prefixes in a [`Dxr`] that is replaced whole.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::decide::{Overrides, Timed};
use crate::desired::BootTime;
use crate::dxr::{CapacityExceeded, Dxr};
use crate::steps::{self, Address, Range, Steps};
use crate::world::{EntryId, MAX_ENTRIES};

/// How many single addresses fit.
pub const MAX_ADDRESSES: usize = 1 << 18;

/// A single source: an IPv4 address, or the /64 of an IPv6 one, which is what a customer gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AddressKey {
    /// An address.
    V4(u32),
    /// The upper 64 bits.
    V6(u64),
}

impl AddressKey {
    /// The key under which a source is looked up.
    pub fn of(source: IpAddr) -> Self {
        match source {
            IpAddr::V4(v4) => Self::V4(steps::v4(v4)),
            IpAddr::V6(v6) => Self::V6((steps::v6(v6) >> 64) as u64),
        }
    }

    /// The key that stands for just this prefix, if one does.
    pub fn exactly(prefix: IpNet) -> Option<Self> {
        match (prefix, prefix.prefix_len()) {
            (IpNet::V4(_), 32) | (IpNet::V6(_), 64) => Some(Self::of(prefix.network())),
            _ => None,
        }
    }

    /// The prefix it stands for.
    pub fn prefix(self) -> IpNet {
        match self {
            Self::V4(v4) => IpNet::from(IpAddr::V4(Ipv4Addr::from(v4))),
            Self::V6(high) => {
                let network = Ipv6Addr::from(u128::from(high) << 64);
                // 64 is a length of an IPv6 prefix.
                IpNet::new_assert(network.into(), 64)
            }
        }
    }
}

/// How long something holds: not at all, until a time, or for ever. Later ones are greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span(u64);

impl Span {
    /// Not at all.
    pub const NONE: Self = Self(0);
    /// For ever.
    pub const FOREVER: Self = Self(u64::MAX);

    /// Until a time, or for ever without one.
    pub fn until(until: Option<BootTime>) -> Self {
        until.map_or(Self::FOREVER, |until| Self(until.0))
    }

    /// Nanoseconds since boot; 0 for none, the highest number for ever.
    pub fn nanoseconds(self) -> u64 {
        self.0
    }

    /// Whether it holds at this time.
    pub fn holds(self, now: BootTime) -> bool {
        self == Self::FOREVER || now.0 < self.0
    }
}

/// What is known of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Spans {
    /// How long it is exempt.
    pub exempt: Span,
    /// How long it is banned.
    pub ban: Span,
}

impl Spans {
    /// Neither exempt nor banned.
    pub const NONE: Self = Self { exempt: Span::NONE, ban: Span::NONE };

    /// The longer of both.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self { exempt: self.exempt.max(other.exempt), ban: self.ban.max(other.ban) }
    }
}

/// Exemptions and bans, compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Single addresses.
    pub addresses: HashMap<AddressKey, Spans>,
    /// Prefixes; IPv6 within 2000::/3.
    pub prefixes: Dxr<Spans>,
}

impl Table {
    /// Compiles them.
    ///
    /// # Errors
    /// [`CapacityExceeded`] if there are more than a data plane holds.
    pub fn compile(overrides: &Overrides) -> Result<Self, CapacityExceeded> {
        let exempt = |until| Spans { exempt: Span::until(until), ..Spans::NONE };
        let ban = |until| Spans { ban: Span::until(until), ..Spans::NONE };
        let exemptions = overrides.exemptions.iter().map(|timed| (timed, exempt(timed.until)));
        let bans = overrides.bans.iter().map(|timed| (timed, ban(timed.until)));
        let mut addresses: HashMap<AddressKey, Spans> = HashMap::new();
        let mut prefixes = Vec::new();
        for (Timed { value: prefix, .. }, spans) in exemptions.chain(bans) {
            match AddressKey::exactly(*prefix) {
                Some(key) => {
                    let known = addresses.entry(key).or_default();
                    *known = known.max(spans);
                }
                None => prefixes.push((*prefix, spans)),
            }
        }
        if addresses.len() > MAX_ADDRESSES {
            return Err(CapacityExceeded { what: "single addresses", limit: MAX_ADDRESSES });
        }
        Ok(Self { addresses, prefixes: compile_prefixes(&prefixes)? })
    }

    /// Changes what is known of one address, beside prefixes.
    pub fn set(&mut self, address: AddressKey, spans: Spans) {
        match spans {
            Spans::NONE => self.addresses.remove(&address),
            spans => self.addresses.insert(address, spans),
        };
    }

    /// What it says of a source.
    pub fn lookup(&self, source: IpAddr) -> Spans {
        let single = self.addresses.get(&AddressKey::of(source)).copied().unwrap_or_default();
        self.prefixes.lookup(source).max(single)
    }
}

fn compile_prefixes(prefixes: &[(IpNet, Spans)]) -> Result<Dxr<Spans>, CapacityExceeded> {
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    for (prefix, spans) in prefixes {
        match prefix {
            IpNet::V4(net) => {
                let (first, last) = (steps::v4(net.network()), steps::v4(net.broadcast()));
                v4.push((Range { first, last }, *spans));
            }
            IpNet::V6(net) => {
                let (first, last) = (steps::v6(net.network()), steps::v6(net.broadcast()));
                v6.push((Range { first, last }, *spans));
            }
        }
    }
    let mut numbering = Numbering::default();
    let v4 = longest(v4).map(|spans| numbering.id(spans));
    let v6 = longest(v6).map(|spans| numbering.id(spans));
    if numbering.entries.len() > MAX_ENTRIES {
        return Err(CapacityExceeded { what: "different ends of overrides", limit: MAX_ENTRIES });
    }
    Dxr::build(numbering.entries, &v4, &v6)
}

/// At each address the longest exemption and the longest ban around it.
fn longest<A: Address>(ranges: Vec<(Range<A>, Spans)>) -> Steps<A, Spans> {
    let of = |span: fn(&Spans) -> Span| {
        let ranges = ranges.iter().map(|(range, spans)| (*range, span(spans)));
        let ranges = ranges.filter(|(_, span)| *span != Span::NONE).collect();
        Steps::from_ranked(Span::NONE, ranges, |(_, span)| Reverse(*span))
    };
    of(|spans| spans.exempt).zip(&of(|spans| spans.ban), |exempt, ban| Spans { exempt, ban })
}

/// Gives each distinct pair of spans a number; 0 is [`Spans::NONE`].
struct Numbering {
    entries: Vec<Spans>,
    numbers: HashMap<Spans, EntryId>,
}

impl Default for Numbering {
    fn default() -> Self {
        Self { entries: vec![Spans::NONE], numbers: HashMap::from([(Spans::NONE, 0)]) }
    }
}

impl Numbering {
    /// Wraps beyond [`EntryId::MAX`]: the caller counts the entries before it trusts the numbers.
    fn id(&mut self, spans: Spans) -> EntryId {
        *self.numbers.entry(spans).or_insert_with(|| {
            self.entries.push(spans);
            (self.entries.len() - 1) as EntryId
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn prefix() -> impl Strategy<Value = Timed<IpNet>> {
        let v4 = (0x0102_0000..0x0102_0400_u32, 14..=32_u8)
            .prop_map(|(bits, length)| IpNet::new_assert(Ipv4Addr::from(bits).into(), length));
        let v6 = (0..64_u128, 0..8_u128, 44..=128_u8).prop_map(|(high, low, length)| {
            let bits = 0x2a00_1234 << 96 | high << 60 | low;
            IpNet::new_assert(Ipv6Addr::from(bits).into(), length)
        });
        let until = prop::option::of((0..6_u64).prop_map(BootTime));
        (prop_oneof![v4, v6], until)
            .prop_map(|(prefix, until)| Timed { value: prefix.trunc(), until })
    }

    fn edges(prefix: &Timed<IpNet>) -> Vec<IpAddr> {
        match prefix.value {
            IpNet::V4(net) => {
                let (first, last) = (u32::from(net.network()), u32::from(net.broadcast()));
                let all = [first.wrapping_sub(1), first, last, last.wrapping_add(1)];
                all.map(|bits| IpAddr::V4(bits.into())).to_vec()
            }
            IpNet::V6(net) => {
                let (first, last) = (u128::from(net.network()), u128::from(net.broadcast()));
                let all = [first.wrapping_sub(1), first, last, last.wrapping_add(1)];
                all.map(|bits| IpAddr::V6(bits.into())).to_vec()
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1_000) })]

        #[test]
        fn the_table_says_what_the_lists_say(exemptions in vec(prefix(), 0..12), bans in vec(prefix(), 0..12)) {
            let overrides = Overrides { exemptions, bans, ..Overrides::default() };
            let table = Table::compile(&overrides).unwrap();
            let all = overrides.exemptions.iter().chain(&overrides.bans);
            for source in all.flat_map(edges) {
                for now in (0..7).map(BootTime) {
                    let listed = |list: &[Timed<IpNet>]| {
                        list.iter().any(|timed| timed.value.contains(&source) && timed.holds(now))
                    };
                    let found = table.lookup(source);
                    prop_assert_eq!(found.exempt.holds(now), listed(&overrides.exemptions), "{}", source);
                    prop_assert_eq!(found.ban.holds(now), listed(&overrides.bans), "{}", source);
                }
            }
        }
    }

    #[test]
    fn more_than_fits_is_refused() {
        let timed = |value: IpNet, until| Timed { value, until };
        let bans = (0..=MAX_ADDRESSES as u32)
            .map(|number| timed(IpAddr::V4((0x0200_0000 + number).into()).into(), None));
        let overrides = Overrides { bans: bans.collect(), ..Overrides::default() };
        let error = Table::compile(&overrides).unwrap_err();
        assert_eq!(error.what, "single addresses");
        let each = (0..=MAX_ENTRIES as u32).map(|number| {
            let network = Ipv4Addr::from(0x0200_0000 + (number << 8));
            timed(IpNet::new_assert(network.into(), 24), Some(BootTime(u64::from(number))))
        });
        let overrides = Overrides { bans: each.collect(), ..Overrides::default() };
        assert_eq!(Table::compile(&overrides).unwrap_err().limit, MAX_ENTRIES);
    }
}
