//! [`Data`]: the world that everybody filters by, and who sends.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result};
use geofilter_core::country::{CountryCode, CountrySet, select};
use geofilter_core::decide::{Overrides, Timed, decide_source};
use geofilter_core::desired::BootTime;
use geofilter_core::geodata::embedded;
use geofilter_core::policy::{Mode, Policy, Verdict};
use geofilter_core::steps::{Address, Range, Steps};
use geofilter_core::world::{Entry, World};
use geofilter_lab::generator::SOURCES;
use geofilter_lab::gun::Draw;
use geofilter_lab::rivals::lists::{Family, Lists, Span};
use geofilter_lab::site::SIP;
use ipnet::IpNet;

/// The countries that may come in.
pub(crate) const ALLOWED: [&str; 3] = ["ES", "PT", "FR"];

/// A world, as we and as others are given it.
pub(crate) struct Data {
    pub(crate) world: World,
    pub(crate) lists: Lists,
    pub(crate) allowed: CountrySet,
}

impl Data {
    fn new(world: World) -> Result<Self> {
        let allowed = select(ALLOWED)?;
        Ok(Self { lists: Lists::new(&world, allowed), world, allowed })
    }

    /// The world that comes with the program.
    pub(crate) fn full() -> Result<Self> {
        Self::new(embedded::world()?.world)
    }

    /// A world of so many ranges of each family, all of them blocked, wherever somebody sends from.
    pub(crate) fn coarse(count: u32) -> Result<Self> {
        let v4 = alternating((0..count).map(|at| at * (u32::MAX / count)))?;
        let part = (1 << 125) / u128::from(count);
        let v6 = alternating((0..u128::from(count)).map(|at| (1 << 125) + at * part))?;
        Self::new(World::from_steps(&v4, &v6)?)
    }

    /// A world of which only so many blocked ranges of each family are left.
    pub(crate) fn thinned(&self, count: usize) -> Result<Self> {
        let lists = self.lists.thinned(count);
        let entry = blocked("CN")?;
        let v4 = lists.blocked(Family::V4).into_iter().filter_map(range_v4);
        let v6 = lists.blocked(Family::V6).into_iter().filter_map(range_v6);
        let v4 = Steps::from_ranges(Entry::UNKNOWN, v4.map(|range| (range, entry)).collect());
        let v6 = Steps::from_ranges(Entry::UNKNOWN, v6.map(|range| (range, entry)).collect());
        let world = World::from_steps(&v4, &v6)?;
        Ok(Self { world, lists, allowed: self.allowed })
    }

    /// The policy.
    pub(crate) fn policy(&self) -> Policy {
        Policy::new(Mode::AllowSelected, self.allowed)
    }

    /// Sources that the policy drops, from all over the space that the world knows.
    pub(crate) fn senders(&self, draw: &mut Draw<'_>, family: Family) -> Vec<IpAddr> {
        let policy = self.policy();
        let next = || match family {
            Family::V4 => draw.v4().into(),
            Family::V6 => draw.v6().into(),
        };
        let drops =
            |source: &IpAddr| decide_source(*source, &policy, &self.world).verdict == Verdict::Drop;
        std::iter::repeat_with(next).filter(drops).take(SOURCES).collect()
    }
}

/// So many exemptions, bans and peers; a hundredth of bans and peers are senders. What was drawn for the senders
/// must not be drawn again.
pub(crate) fn overrides(
    draw: &mut Draw<'_>,
    senders: &[IpAddr],
    [exemptions, bans, peers]: [usize; 3],
) -> Overrides {
    let until = Some(BootTime(u64::MAX - 1));
    let mut source = |number: usize| match number % 100 {
        0 => senders[number % senders.len()],
        _ => draw.v4().into(),
    };
    let bans = (0..bans).map(|number| Timed { value: IpNet::from(source(number)), until });
    let bans = bans.collect();
    let peers = (0..peers).map(|number| SocketAddr::new(source(number + 1_000), SIP));
    let peers = peers.map(|value| Timed { value, until }).collect();
    let exemptions = (0..exemptions).map(|number| {
        let length = [20, 22, 24, 28][number % 4];
        Timed { value: IpNet::new_assert(draw.v4().into(), length).trunc(), until }
    });
    Overrides { exemptions: exemptions.collect(), bans, peers }
}

/// Two blocked countries by turns.
fn alternating<A: Address>(starts: impl Iterator<Item = A>) -> Result<Steps<A, Entry>> {
    let entries = [blocked("CN")?, blocked("US")?];
    let mut steps = Steps::constant(entries[1]);
    starts.zip(entries.into_iter().cycle()).for_each(|(start, entry)| steps.push(start, entry));
    Ok(steps)
}

fn blocked(country: &str) -> Result<Entry> {
    let country = CountryCode::parse(country).context("a country code")?.id();
    Ok(Entry { primary: country, second: country, hosting: false })
}

fn range_v4(span: Span) -> Option<Range<u32>> {
    match (span.first, span.last) {
        (IpAddr::V4(first), IpAddr::V4(last)) => Range::new(first.into(), last.into()),
        _ => None,
    }
}

fn range_v6(span: Span) -> Option<Range<u128>> {
    match (span.first, span.last) {
        (IpAddr::V6(first), IpAddr::V6(last)) => Range::new(first.into(), last.into()),
        _ => None,
    }
}
