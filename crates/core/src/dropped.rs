//! [`Dropped`]: the space that a policy drops, as ranges, for a data plane that can't ask the world table.

use crate::clock::{Clock, UnixTime};
use crate::decide::decide_entry_at;
use crate::desired::BootTime;
use crate::policy::{Policy, Verdict};
use crate::steps::{Address, Range, Steps};
use crate::world::{EntryId, World};

/// What is dropped by the world table alone (step 7), ascending, with gaps in between.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Dropped {
    /// Of IPv4.
    pub v4: Vec<Range<u32>>,
    /// Of IPv6. Tunnels are not looked through.
    pub v6: Vec<Range<u128>>,
}

impl Dropped {
    /// What a policy drops at a time.
    pub fn of(policy: &Policy, world: &World, now: BootTime, clock: Clock) -> Self {
        let verdicts: Vec<Verdict> = world
            .entries()
            .iter()
            .map(|entry| decide_entry_at(*entry, policy, now, clock).verdict)
            .collect();
        let drops = |id: EntryId| verdicts[usize::from(id)] == Verdict::Drop;
        Self { v4: ranges(&world.v4().map(drops)), v6: ranges(&world.v6().map(drops)) }
    }

    /// How many ranges it is, of both families together: what is let in has about as many.
    pub fn ranges(&self) -> usize {
        self.v4.len() + self.v6.len()
    }
}

fn ranges<A: Address>(steps: &Steps<A, bool>) -> Vec<Range<A>> {
    steps.ranges().filter(|(_, drops)| *drops).map(|(range, _)| range).collect()
}

/// When the verdict on a country changes next by the calendar, after this time.
pub fn next_change(policy: &Policy, now: BootTime, clock: Clock) -> Option<BootTime> {
    let ends = policy.time_boxes.iter().flat_map(|it| [it.from, it.until]);
    ends.map(|end| clock.boot(UnixTime(end))).filter(|end| *end > now).min()
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    use super::*;
    use crate::country::select;
    use crate::decide::decide_source;
    use crate::geodata::embedded;
    use crate::policy::{Disputed, Mode, TimeBox};

    #[test]
    fn what_is_dropped_is_what_the_decision_drops() {
        let world = embedded::world().unwrap().world;
        for (mode, hosting, disputed) in [
            (Mode::AllowSelected, Verdict::Pass, Disputed::Primary),
            (Mode::BlockSelected, Verdict::Drop, Disputed::Strict),
            (Mode::AllowSelected, Verdict::Drop, Disputed::Lenient),
        ] {
            let selected = select(["ES", "PT", "US"]).unwrap();
            let policy = Policy { hosting, disputed, ..Policy::new(mode, selected) };
            let dropped = Dropped::of(&policy, &world, BootTime(0), Clock::default());
            assert!(dropped.ranges() > 500, "{}", dropped.ranges());
            let within = |address: IpAddr| match address {
                IpAddr::V4(v4) => dropped.v4.iter().any(|range| range.contains(v4.into())),
                IpAddr::V6(v6) => dropped.v6.iter().any(|range| range.contains(v6.into())),
            };
            let (v4, v6) = (world.v4().iter().step_by(997), world.v6().iter().step_by(997));
            let v4 = v4.map(|(start, _)| IpAddr::from(Ipv4Addr::from(start)));
            let v6 = v6.map(|(start, _)| IpAddr::from(Ipv6Addr::from(start)));
            for address in v4.chain(v6) {
                let said = decide_source(address, &policy, &world).verdict == Verdict::Drop;
                assert_eq!(within(address), said, "{address}");
            }
        }
    }

    #[test]
    fn the_calendar_changes_it_when_a_time_begins_and_when_it_ends() {
        let country = crate::country::CountryCode::parse("FR").unwrap();
        let time_boxes = vec![TimeBox { country, from: 10, until: 20 }];
        let policy =
            Policy { time_boxes, ..Policy::new(Mode::AllowSelected, select(["ES"]).unwrap()) };
        let world = embedded::world().unwrap().world;
        let second = |seconds: u64| BootTime(seconds * 1_000_000_000);
        let at = |seconds| Dropped::of(&policy, &world, second(seconds), Clock::default());
        let next = |seconds| next_change(&policy, second(seconds), Clock::default());
        assert_eq!([next(0), next(10), next(20)], [Some(second(10)), Some(second(20)), None]);
        assert!(at(9) == at(20) && at(10) == at(19) && at(9) != at(10));
    }
}
