use std::collections::{BTreeMap, VecDeque};

use geofilter_core::country::CountryCode;
use geofilter_core::wire::Status;

/// Milliseconds that are counted together.
const WINDOW: i64 = 600_000;
/// Windows that say what is usual: a day of them.
const DAY: usize = 144;
/// Of which there must be so many.
const FEWEST: usize = 6;
/// So many times the usual is a jump, from so many packets on.
const TIMES: u64 = 10;
const LEAST: u64 = 1_000;
/// Countries that are named.
const NAMED: usize = 3;

/// What was dropped in a window, or would have been.
type Dropped = BTreeMap<CountryCode, u64>;

/// Looks for a jump in what is dropped.
#[derive(Debug, Default)]
pub(super) struct Jump {
    /// When the window began, and what the counters said then.
    window: Option<(i64, Dropped)>,
    /// Packets of the windows before.
    before: VecDeque<u64>,
    /// One was told of, and goes on.
    goes_on: bool,
}

impl Jump {
    /// Says in a sentence what is unusual about a window that is over.
    pub(super) fn look(&mut self, time: i64, status: &Status) -> Option<String> {
        let now = counters(status);
        let (began, then) = self.window.get_or_insert_with(|| (time, now.clone()));
        if time - *began < WINDOW {
            return None;
        }
        let new = grown(then, &now);
        self.window = Some((time, now));
        let packets: u64 = new.values().sum();
        let usual = median(&self.before);
        self.before.push_back(packets);
        if self.before.len() > DAY {
            self.before.pop_front();
        }
        let usual = usual?;
        let jumped = packets >= LEAST && packets >= usual.saturating_mul(TIMES);
        let told = jumped && !self.goes_on;
        self.goes_on = jumped;
        told.then(|| sentence(packets, usual, &new))
    }
}

fn sentence(packets: u64, usual: u64, new: &Dropped) -> String {
    let mut most: Vec<_> = new.iter().collect();
    most.sort_by_key(|(_, packets)| std::cmp::Reverse(**packets));
    let named: Vec<_> = most.iter().take(NAMED).map(|(code, _)| code.to_string()).collect();
    format!(
        "In ten minutes {packets} packets were dropped, or would have been, where {usual} are usual; most came from {}.",
        named.join(", ")
    )
}

fn counters(status: &Status) -> Dropped {
    let mut sum = Dropped::new();
    for tally in [&status.dropped, &status.would_drop] {
        for (code, traffic) in &tally.by_country {
            *sum.entry(*code).or_default() += traffic.packets;
        }
    }
    sum
}

/// By how much counters grew; those that are smaller began anew.
fn grown(then: &Dropped, now: &Dropped) -> Dropped {
    let before = |code: &CountryCode| then.get(code).copied().unwrap_or_default();
    let anew = now.iter().any(|(code, packets)| *packets < before(code)) || now.len() < then.len();
    let new = |(code, packets): (&CountryCode, &u64)| {
        (*code, if anew { *packets } else { packets - before(code) })
    };
    now.iter().map(new).filter(|(_, packets)| *packets > 0).collect()
}

fn median(of: &VecDeque<u64>) -> Option<u64> {
    let mut sorted: Vec<u64> = of.iter().copied().collect();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().filter(|_| sorted.len() >= FEWEST)
}
