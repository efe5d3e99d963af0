//! [`Sampler`]: what was counted at a host, step by step, made of looks at counters that only grow. They begin anew
//! when programs are attached anew, so a figure that became smaller is all that was counted since. What happened while
//! nobody looked is in no step: a gap is not a zero.

use std::collections::BTreeMap;

use crate::counters::{Counters, Reason, Traffic};
use crate::country::CountryCode;
use crate::desired::State;
use crate::wire::{Status, Tally};
use serde::{Deserialize, Serialize};

/// Milliseconds of the shortest step.
pub const STEP: i64 = 10_000;
/// Milliseconds between two looks, beyond which nobody knows when things happened.
const LONGEST: i64 = 30_000;

/// Packets, by what became of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Packets {
    /// Dropped.
    pub dropped: u64,
    /// Passed while observing, would have been dropped.
    pub would_drop: u64,
    /// Judged and passed.
    pub passed: u64,
}

impl Packets {
    /// All of them.
    pub fn sum(&self) -> u64 {
        self.dropped.saturating_add(self.would_drop).saturating_add(self.passed)
    }

    fn each(&self, with: impl Fn(u64) -> u64) -> Self {
        let Self { dropped, would_drop, passed } = *self;
        Self { dropped: with(dropped), would_drop: with(would_drop), passed: with(passed) }
    }

    /// How much more they are; none if one of them is less.
    fn since(&self, before: &Self) -> Option<Self> {
        Some(Self {
            dropped: self.dropped.checked_sub(before.dropped)?,
            would_drop: self.would_drop.checked_sub(before.would_drop)?,
            passed: self.passed.checked_sub(before.passed)?,
        })
    }
}

/// A host may say what it wants: it ends at the most that can be said.
impl std::ops::AddAssign for Packets {
    fn add_assign(&mut self, more: Self) {
        self.dropped = self.dropped.saturating_add(more.dropped);
        self.would_drop = self.would_drop.saturating_add(more.would_drop);
        self.passed = self.passed.saturating_add(more.passed);
    }
}

/// Packets by reason, which are all, and by country, which are those that the world table judged.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// By reason.
    pub reasons: BTreeMap<Reason, Packets>,
    /// By country.
    pub countries: BTreeMap<CountryCode, Packets>,
}

impl Counts {
    fn of(tallies: [&Tally; 3]) -> Self {
        Self {
            reasons: by(tallies.map(|tally| &tally.by_reason)),
            countries: by(tallies.map(|tally| &tally.by_country)),
        }
    }

    /// How much more was counted; all of it if something became less.
    fn since(&self, before: &Self) -> Self {
        let grown = || {
            Some(Self {
                reasons: grown(&self.reasons, &before.reasons)?,
                countries: grown(&self.countries, &before.countries)?,
            })
        };
        grown().unwrap_or_else(|| self.clone())
    }

    /// What of it happened from one thousandth of a span to another, if it came evenly.
    fn part(&self, from: i64, to: i64, span: i64) -> Self {
        let until = |count: u64, at: i64| {
            let share = u128::from(count) * u128::from(at.unsigned_abs());
            u64::try_from(share / u128::from(span.unsigned_abs())).unwrap_or(count)
        };
        let part = |packets: &Packets| packets.each(|count| until(count, to) - until(count, from));
        Self { reasons: each(&self.reasons, part), countries: each(&self.countries, part) }
    }
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, more: Self) {
        for (reason, packets) in more.reasons {
            *self.reasons.entry(reason).or_default() += packets;
        }
        for (country, packets) in more.countries {
            *self.countries.entry(country).or_default() += packets;
        }
    }
}

fn by<K: Ord + Copy>(of: [&BTreeMap<K, Traffic>; 3]) -> BTreeMap<K, Packets> {
    let mut packets: BTreeMap<K, Packets> = BTreeMap::new();
    let [dropped, would_drop, passed] = of;
    for (key, traffic) in dropped {
        packets.entry(*key).or_default().dropped = traffic.packets;
    }
    for (key, traffic) in would_drop {
        packets.entry(*key).or_default().would_drop = traffic.packets;
    }
    for (key, traffic) in passed {
        packets.entry(*key).or_default().passed = traffic.packets;
    }
    packets
}

/// None if something is less than it was.
fn grown<K: Ord + Copy>(
    now: &BTreeMap<K, Packets>,
    before: &BTreeMap<K, Packets>,
) -> Option<BTreeMap<K, Packets>> {
    if before.keys().any(|key| !now.contains_key(key)) {
        return None;
    }
    let since = |(key, packets): (&K, &Packets)| {
        let before = before.get(key).copied().unwrap_or_default();
        packets.since(&before).map(|grown| (*key, grown))
    };
    now.iter().map(since).filter(|grown| grown.is_none_or(|(_, grown)| grown.sum() > 0)).collect()
}

fn each<K: Ord + Copy>(
    of: &BTreeMap<K, Packets>,
    with: impl Fn(&Packets) -> Packets,
) -> BTreeMap<K, Packets> {
    let all = of.iter().map(|(key, packets)| (*key, with(packets)));
    all.filter(|(_, packets)| packets.sum() > 0).collect()
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Slot {
    /// When it begins, in milliseconds since 1970.
    pub time: i64,
    /// For how many milliseconds of it the host was looked at.
    pub watched: i64,
    /// What was counted.
    pub counts: Counts,
}

impl Slot {
    /// What is known of it from elsewhere as well.
    pub fn add(&mut self, more: Self) {
        self.watched += more.watched;
        self.counts += more.counts;
    }
}

/// What is seen at one time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// Whether anything is judged.
    pub judging: bool,
    /// What was counted since the filter was attached.
    pub counts: Counts,
}

impl Look {
    /// What a status says.
    pub fn of(status: &Status) -> Self {
        let Status { state, dropped, would_drop, passed, .. } = status;
        Self { judging: judges(*state), counts: Counts::of([dropped, would_drop, passed]) }
    }

    /// What the counters of a host in this state say.
    pub fn at(state: State, counters: &Counters) -> Self {
        let [dropped, would_drop, passed] = [
            Tally::of(counters, |outcomes| outcomes.dropped),
            Tally::of(counters, |outcomes| outcomes.would_drop),
            Tally::of(counters, |outcomes| outcomes.passed),
        ];
        Self { judging: judges(state), counts: Counts::of([&dropped, &would_drop, &passed]) }
    }
}

fn judges(state: State) -> bool {
    !matches!(state, State::Off | State::Paused)
}

/// Makes steps of looks.
#[derive(Debug, Default)]
pub struct Sampler {
    last: Option<(i64, Look)>,
    /// Those that go on, by their time.
    open: BTreeMap<i64, Slot>,
}

impl Sampler {
    /// Takes a look, and returns the steps that are over by then.
    pub fn take(&mut self, time: i64, look: Option<Look>) -> Vec<Slot> {
        let now = look.map(|look| (time, look));
        if let (Some((from, before)), Some((to, now))) = (&self.last, &now)
            && (before.judging || now.judging)
            && (1..=LONGEST).contains(&(to - from))
        {
            let grown = now.counts.since(&before.counts);
            self.spread(&grown, *from, *to);
        }
        self.last = now;
        let over = self.open.extract_if(.., |begins, _| begins + STEP <= time);
        over.map(|(_, slot)| slot).collect()
    }

    /// Shares out what was counted between two times.
    fn spread(&mut self, grown: &Counts, from: i64, to: i64) {
        let mut at = from;
        while at < to {
            let time = at.div_euclid(STEP) * STEP;
            let end = to.min(time + STEP);
            let counts = grown.part(at - from, end - from, to - from);
            let slot = self.open.entry(time).or_insert_with(|| Slot { time, ..Slot::default() });
            slot.add(Slot { time, watched: end - at, counts });
            at = end;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A host that dropped so many packets of China.
    fn china(packets: u64) -> Look {
        let dropped = Packets { dropped: packets, ..Packets::default() };
        let china = CountryCode::parse("CN").unwrap();
        Look {
            judging: true,
            counts: Counts {
                reasons: [(Reason::Country, dropped)].into(),
                countries: [(china, dropped)].into(),
            },
        }
    }

    /// What came of looks at these times: `(begins, watched, dropped)`.
    fn sampled(looks: &[(i64, Option<&Look>)]) -> Vec<(i64, i64, u64)> {
        let mut sampler = Sampler::default();
        let slots = looks.iter().flat_map(|(time, look)| sampler.take(*time, look.cloned()));
        let told = slots.map(|slot| {
            let dropped = slot.counts.reasons.values().map(|packets| packets.dropped).sum();
            let countries: u64 = slot.counts.countries.values().map(Packets::sum).sum();
            assert_eq!(dropped, countries);
            (slot.time, slot.watched, dropped)
        });
        told.collect()
    }

    #[test]
    fn what_is_counted_between_two_looks_is_shared_out_and_none_of_it_is_lost() {
        let looks =
            [(5_000, Some(&china(7))), (14_999, Some(&china(10))), (31_000, Some(&china(30)))];
        let told = sampled(&looks);
        assert_eq!(
            told.iter().map(|(begins, watched, _)| (*begins, *watched)).collect::<Vec<_>>(),
            [(0, 5_000), (10_000, 10_000), (20_000, 10_000)]
        );
        let china = [china(7), china(10), china(30), china(30)];
        let times = [5_000, 14_999, 31_000, 41_000];
        let looks: Vec<_> = times.into_iter().zip(china.iter().map(Some)).collect();
        let all: u64 = sampled(&looks).iter().map(|(_, _, dropped)| dropped).sum();
        assert_eq!(all, 23);
    }

    #[test]
    fn counters_that_begin_anew_are_counted_from_there() {
        let looks =
            [(0, Some(&china(900))), (10_000, Some(&china(12))), (20_000, Some(&china(15)))];
        assert_eq!(sampled(&looks), [(0, 10_000, 12), (10_000, 10_000, 3)]);
    }

    #[test]
    fn what_happened_while_nobody_looked_is_in_no_step() {
        let (one, more) = (china(1), china(500));
        let looks = [(0, Some(&one)), (10_000, None), (20_000, Some(&more)), (30_000, Some(&more))];
        assert_eq!(sampled(&looks), [(20_000, 10_000, 0)], "the agent was away");
        let looks = [(0, Some(&one)), (40_000, Some(&more)), (50_000, Some(&more))];
        assert_eq!(sampled(&looks), [(40_000, 10_000, 0)], "the portal was away");
        let looks = [(90_000, Some(&one)), (10_000, Some(&more)), (20_000, Some(&more))];
        assert_eq!(sampled(&looks), [(10_000, 10_000, 0)], "the clock was set back");
    }

    #[test]
    fn where_nothing_is_judged_there_is_no_zero() {
        let off = Look { judging: false, counts: Counts::default() };
        let looks = [(0, Some(&off)), (10_000, Some(&off)), (20_000, Some(&china(4)))];
        assert_eq!(sampled(&looks), [(10_000, 10_000, 4)], "what is counted first counts");
    }
}
