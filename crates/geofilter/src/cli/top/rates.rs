//! [`Rates`]: what came in between two readings.

use geofilter_core::country::CountryCode;
use geofilter_core::desired::State;
use geofilter_core::wire::{SourceReport, Tally};
use serde::Serialize;

use super::news::Reading;

/// Packets a second, and what they are of.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Rates {
    pub(super) state: State,
    pub(super) passed_per_second: f64,
    pub(super) dropped_per_second: f64,
    pub(super) would_drop_per_second: f64,
    /// Drops that the log could not show.
    pub(super) skipped_per_second: f64,
    /// Those with the most drops, the busiest now first.
    pub(super) countries: Vec<Country>,
    pub(super) sources: Vec<SourceReport>,
}

/// The drops of a country, or what would have been.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Country {
    pub(super) country: CountryCode,
    pub(super) packets: u64,
    pub(super) per_second: f64,
}

impl Rates {
    pub(super) fn between(before: &Reading, now: &Reading) -> Self {
        let seconds = now.at.duration_since(before.at).as_secs_f64();
        // After a restart of the programs they count from nothing.
        let rate = |before: u64, now: u64| match seconds > 0.0 {
            true => now.saturating_sub(before) as f64 / seconds,
            false => 0.0,
        };
        let (was, is) = (&before.status, &now.status);
        Self {
            state: is.state,
            passed_per_second: rate(was.passed.packets, is.passed.packets),
            dropped_per_second: rate(was.dropped.packets, is.dropped.packets),
            would_drop_per_second: rate(was.would_drop.packets, is.would_drop.packets),
            skipped_per_second: rate(was.skipped_events, is.skipped_events),
            countries: countries(before, now, rate),
            sources: now.sources.sources.clone(),
        }
    }
}

fn countries(before: &Reading, now: &Reading, rate: impl Fn(u64, u64) -> f64) -> Vec<Country> {
    let of = |tally: &Tally, code| tally.by_country.get(code).map_or(0, |it| it.packets);
    let lost = |reading: &Reading, code| {
        of(&reading.status.dropped, code) + of(&reading.status.would_drop, code)
    };
    let (dropped, would_drop) = (&now.status.dropped, &now.status.would_drop);
    let mut codes: Vec<&CountryCode> =
        dropped.by_country.keys().chain(would_drop.by_country.keys()).collect();
    codes.sort();
    codes.dedup();
    let mut countries: Vec<Country> = codes
        .into_iter()
        .map(|code| {
            let packets = lost(now, code);
            Country { country: *code, packets, per_second: rate(lost(before, code), packets) }
        })
        .collect();
    countries.sort_by(|a, b| {
        let order = b.per_second.total_cmp(&a.per_second);
        order.then(b.packets.cmp(&a.packets)).then(a.country.cmp(&b.country))
    });
    countries
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::{Duration, Instant};

    use geofilter_core::apply::nothing_selected;
    use geofilter_core::counters::Traffic;
    use geofilter_core::desired::Generation;
    use geofilter_core::policy::Policy;
    use geofilter_core::wire::{Counts, Data, Sources, Status};

    use super::*;

    /// A reading so many milliseconds after the first, with these drops by country.
    pub(in super::super) fn reading(first: Instant, after: u64, drops: &[(&str, u64)]) -> Reading {
        let Policy { mode, countries, scope, hosting, unknown, disputed, time_boxes } =
            nothing_selected();
        let by_country = drops.iter().map(|(country, packets)| {
            let traffic = Traffic { packets: *packets, bytes: 0 };
            (CountryCode::parse(country).unwrap(), traffic)
        });
        let packets = drops.iter().map(|(_, packets)| packets).sum();
        let by_country = by_country.collect();
        let dropped = Tally { packets, bytes: 0, by_country, ..Tally::default() };
        let status = Status {
            state: State::Enforcing,
            mode,
            countries,
            unknown,
            hosting,
            disputed,
            scope,
            time_boxes,
            generation: Generation(1),
            remaining: None,
            backend: None,
            interfaces: Vec::new(),
            attachments: Vec::new(),
            data: Data::default(),
            dropped,
            would_drop: Tally::default(),
            passed: Tally::default(),
            skipped_events: 0,
            sampled: false,
            counts: Counts::default(),
            pbx: None,
            fleet: None,
            warnings: Vec::new(),
        };
        let sources = Sources { known: 0, countries: Vec::new(), sources: Vec::new() };
        Reading { at: first + Duration::from_millis(after), status, sources }
    }

    #[test]
    fn rates_are_by_the_second_and_the_busiest_now_come_first() {
        let first = Instant::now();
        let before = reading(first, 0, &[("CN", 1_000), ("RU", 10)]);
        let now = reading(first, 2_000, &[("CN", 1_010), ("RU", 50)]);
        let rates = Rates::between(&before, &now);
        assert_eq!(rates.dropped_per_second, 25.0);
        let told: Vec<_> =
            rates.countries.iter().map(|it| (it.country.as_str(), it.per_second)).collect();
        assert_eq!(told, [("RU", 20.0), ("CN", 5.0)]);
        let anew = Rates::between(&now, &reading(first, 3_000, &[("CN", 5)]));
        assert_eq!(anew.dropped_per_second, 0.0, "the programs count from nothing");
        assert_eq!(Rates::between(&now, &now).dropped_per_second, 0.0);
    }
}
