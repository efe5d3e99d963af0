//! [`Lists`]: which addresses are of which country, as such tools are given them.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use geofilter_core::country::{CountryId, CountrySet};
use geofilter_core::decide::judged_address;
use geofilter_core::steps::{Address, Range, Steps};
use geofilter_core::world::World;

/// An IP version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// The version's number.
    pub fn number(self) -> u8 {
        match self {
            Self::V4 => 4,
            Self::V6 => 6,
        }
    }
}

/// From the first address to the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The lowest.
    pub first: IpAddr,
    /// The highest, of the same family.
    pub last: IpAddr,
}

/// The countries that may come in, and the addresses of every country. A range is of the country that the
/// primary source names: such tools know no other, and [`geofilter_core::policy::Policy::new`] judges by it
/// alone, so that a tool that lets in these countries comes to the same verdict on all announced space.
#[derive(Debug, Clone)]
pub struct Lists {
    allowed: CountrySet,
    v4: Steps<u32, CountryId>,
    v6: Steps<u128, CountryId>,
}

impl Lists {
    /// The lists of the world.
    pub fn new(world: &World, allowed: CountrySet) -> Self {
        let country = |id| world.entries()[usize::from(id)].primary;
        Self { allowed, v4: world.v4().map(country), v6: world.v6().map(country) }
    }

    /// Only so many blocked ranges of each family, spread evenly over its space; all if it has fewer. None
    /// touches another if there are twice as many or more, and then a merged set has this many ranges too.
    #[must_use]
    pub fn thinned(&self, count: usize) -> Self {
        let keep = |country| self.blocks(country);
        let (v4, v6) = (thinned(&self.v4, count, keep), thinned(&self.v6, count, keep));
        Self { allowed: self.allowed, v4, v6 }
    }

    /// The countries that may come in.
    pub fn allowed(&self) -> CountrySet {
        self.allowed
    }

    /// Every range of a known country, ascending.
    pub fn announced(&self, family: Family) -> Vec<(Span, CountryId)> {
        let mut spans = match family {
            Family::V4 => spans(&self.v4, v4),
            Family::V6 => spans(&self.v6, v6),
        };
        spans.retain(|(_, country)| *country != CountryId::UNKNOWN);
        spans
    }

    /// The ranges of each country that has some.
    pub fn countries(&self, family: Family) -> BTreeMap<CountryId, Vec<Span>> {
        let mut countries: BTreeMap<_, Vec<Span>> = BTreeMap::new();
        for (span, country) in self.announced(family) {
            countries.entry(country).or_default().push(span);
        }
        countries
    }

    /// The ranges of all other countries as one, merged where they touch.
    pub fn blocked(&self, family: Family) -> Vec<Span> {
        let blocks = |country| self.blocks(country);
        let spans = match family {
            Family::V4 => spans(&self.v4.map(blocks), v4),
            Family::V6 => spans(&self.v6.map(blocks), v6),
        };
        spans.into_iter().filter(|(_, blocked)| *blocked).map(|(span, _)| span).collect()
    }

    /// So many announced addresses, half of them of allowed countries, spread evenly over the ranges: by turns
    /// the first, one in the middle and the last of a range. Without 6to4 and Teredo, where we judge another
    /// address than such tools see.
    pub fn sources(&self, family: Family, count: usize) -> Vec<IpAddr> {
        let allows = |(_, country): &(Span, CountryId)| self.allowed.contains(*country);
        let (allowed, others): (Vec<_>, Vec<_>) =
            self.announced(family).into_iter().partition(allows);
        let halves = [allowed, others].map(|spans| {
            let sources =
                spread(spans, count / 2).enumerate().map(|(turn, (span, _))| match turn % 3 {
                    0 => span.first,
                    1 => span.middle(),
                    _ => span.last,
                });
            sources.filter(|source| judged_address(*source) == *source).collect::<Vec<_>>()
        });
        halves.concat()
    }

    fn blocks(&self, country: CountryId) -> bool {
        country != CountryId::UNKNOWN && !self.allowed.contains(country)
    }
}

impl Span {
    fn middle(&self) -> IpAddr {
        match (self.first, self.last) {
            (IpAddr::V4(first), IpAddr::V4(last)) => {
                Ipv4Addr::from(u32::from(first).midpoint(last.into())).into()
            }
            (IpAddr::V6(first), IpAddr::V6(last)) => {
                Ipv6Addr::from(u128::from(first).midpoint(last.into())).into()
            }
            (first, _) => first,
        }
    }
}

/// As nftables writes an interval: one address stands for itself.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            return write!(f, "{}", self.first);
        }
        write!(f, "{}-{}", self.first, self.last)
    }
}

fn v4(address: u32) -> IpAddr {
    Ipv4Addr::from(address).into()
}

fn v6(address: u128) -> IpAddr {
    Ipv6Addr::from(address).into()
}

fn spans<A: Address, V: Copy + Eq>(steps: &Steps<A, V>, ip: fn(A) -> IpAddr) -> Vec<(Span, V)> {
    let span = |range: Range<A>| Span { first: ip(range.first), last: ip(range.last) };
    steps.ranges().map(|(range, value)| (span(range), value)).collect()
}

fn thinned<A: Address>(
    steps: &Steps<A, CountryId>,
    count: usize,
    keep: impl Fn(CountryId) -> bool,
) -> Steps<A, CountryId> {
    let kept: Vec<_> = steps.ranges().filter(|(_, country)| keep(*country)).collect();
    Steps::from_ranges(CountryId::UNKNOWN, spread(kept, count).collect())
}

fn spread<T>(all: Vec<T>, count: usize) -> impl Iterator<Item = T> {
    let step = (all.len() / count).max(1);
    all.into_iter().step_by(step).take(count)
}
