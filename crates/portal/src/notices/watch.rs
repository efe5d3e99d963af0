use std::collections::{BTreeMap, VecDeque};

use geofilter_core::desired::{Generation, State};
use geofilter_core::policy::Mode;
use geofilter_core::wire::Status;

use super::Occasion;
use super::jump::Jump;
use crate::hub::Look;

/// Milliseconds for which an agent may be silent, as while it is restarted.
const SILENT: i64 = 60_000;
/// Days after which the world data, which is published monthly, is old.
const OLD: i64 = 60;
const DAY: i64 = 86_400_000;
/// Notices of one occasion within an hour, at most.
const MOST: usize = 6;
const HOUR: i64 = 3_600_000;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) event: Occasion,
    pub(super) subject: String,
    pub(super) text: String,
}

/// Finds what is to be told of in looks at a host, each thing once.
#[derive(Debug, Default)]
pub(super) struct Watch {
    away: Option<Away>,
    /// The change on trial that was told of.
    pending: Option<Generation>,
    /// The newest of the host that is known, or was told of.
    known: Option<Generation>,
    /// One that this portal did not make, in the last look: it may still come to know of it.
    stranger: Option<Generation>,
    /// The date of the data that was told of.
    old: Option<String>,
    jump: Jump,
    /// When there was something to tell of each, within the hour.
    told: BTreeMap<Occasion, VecDeque<i64>>,
}

#[derive(Debug)]
struct Away {
    since: i64,
    told: bool,
}

impl Watch {
    /// What there is to tell after this look. `ours` is the newest generation that the portal itself made.
    pub(super) fn look(&mut self, look: &Look, ours: Option<Generation>) -> Vec<Found> {
        let time = look.time;
        let found = match &look.status {
            Err(failure) => self.away(time, &failure.message).into_iter().collect(),
            Ok(status) => [
                self.back(time),
                self.pending(status),
                self.drift(status, ours),
                self.old(time, status),
                self.jump.look(time, status).map(|text| Found {
                    event: Occasion::AttemptsJump,
                    subject: "much more is dropped than usual".to_owned(),
                    text,
                }),
            ]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>(),
        };
        found.into_iter().filter_map(|found| self.bounded(found, time)).collect()
    }

    fn away(&mut self, time: i64, why: &str) -> Option<Found> {
        let away = self.away.get_or_insert(Away { since: time, told: false });
        if away.told || time - away.since < SILENT {
            return None;
        }
        away.told = true;
        Some(Found {
            event: Occasion::AgentAway,
            subject: "the agent does not answer".to_owned(),
            text: format!("The kernel still filters with the last confirmed choice. {why}."),
        })
    }

    fn back(&mut self, time: i64) -> Option<Found> {
        let away = self.away.take().filter(|away| away.told)?;
        Some(Found {
            event: Occasion::AgentAway,
            subject: "the agent answers again".to_owned(),
            text: format!("It was silent for {} minutes.", (time - away.since) / 60_000),
        })
    }

    fn pending(&mut self, status: &Status) -> Option<Found> {
        let (subject, text) = match (self.pending, status.state) {
            (Some(told), State::Pending) if told == status.generation => return None,
            (_, State::Pending) => {
                self.pending = Some(status.generation);
                let left = status.remaining.unwrap_or_default();
                let text = format!(
                    "It goes back by itself in {left} s unless somebody keeps it: {}.",
                    policy(status)
                );
                ("a change is on trial", text)
            }
            (Some(told), _) => {
                self.pending = None;
                // It was kept, and may have been replaced since.
                if told <= status.generation {
                    return None;
                }
                ("a change was not kept", format!("In force is: {}.", policy(status)))
            }
            (None, _) => return None,
        };
        Some(Found { event: Occasion::ChangePending, subject: subject.to_owned(), text })
    }

    fn drift(&mut self, status: &Status, ours: Option<Generation>) -> Option<Found> {
        let now = status.generation;
        let known = self.known.max(ours);
        if known.is_none_or(|known| now <= known) {
            self.known = known.or(Some(now));
            self.stranger = None;
            return None;
        }
        if self.stranger.replace(now) != Some(now) {
            return None;
        }
        self.known = Some(now);
        Some(Found {
            event: Occasion::Drift,
            subject: "it was changed on the host itself".to_owned(),
            text: format!("In force is: {}.", policy(status)),
        })
    }

    fn old(&mut self, time: i64, status: &Status) -> Option<Found> {
        let source = status.data.sources.first()?;
        let age = time / DAY - source.day()?;
        if age <= OLD || self.old.as_ref() == Some(&source.date) {
            return None;
        }
        self.old = Some(source.date.clone());
        Some(Found {
            event: Occasion::OldData,
            subject: "the world data is old".to_owned(),
            text: format!(
                "{} of {} is {age} days old: addresses have moved since.",
                source.name, source.date
            ),
        })
    }

    /// Not more often than is bearable.
    fn bounded(&mut self, found: Found, time: i64) -> Option<Found> {
        let told = self.told.entry(found.event).or_default();
        while told.front().is_some_and(|then| time - then > HOUR) {
            told.pop_front();
        }
        told.push_back(time);
        match told.len() {
            MOST => Some(Found {
                text: format!("{} More of this kind are not told within the hour.", found.text),
                ..found
            }),
            number if number > MOST => {
                told.pop_back();
                None
            }
            _ => Some(found),
        }
    }
}

fn policy(status: &Status) -> String {
    let countries: Vec<_> =
        status.countries.iter().map(|country| country.code().to_string()).collect();
    let countries = countries.join(" ");
    match (status.state, status.mode) {
        (State::Off, _) => "off, nothing is filtered".to_owned(),
        (State::Observing, _) => "observing, nothing is dropped".to_owned(),
        (State::Paused, _) => "a pause, everything passes".to_owned(),
        (State::Enforcing | State::Pending, Mode::AllowSelected) => format!("allow {countries}"),
        (State::Enforcing | State::Pending, Mode::BlockSelected) => format!("block {countries}"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use geofilter_core::wire::{Failure, FailureKind};
    use serde_json::json;

    use super::*;

    /// 20 November 2026.
    const BEGAN: i64 = 20_777 * DAY;
    const STEP: i64 = 10_000;

    fn status(generation: u64, state: &str) -> Status {
        let none = json!({ "packets": 0, "bytes": 0, "by_country": {} });
        let source =
            json!({ "name": "A", "date": "2026-10", "licence": "", "credit": "", "link": "" });
        serde_json::from_value(json!({
            "state": state, "mode": "allow", "countries": ["ES"], "unknown": "drop", "hosting": "pass",
            "disputed": "primary", "scope": ["udp/5060"], "generation": generation,
            "remaining": 60, "backend": "xdp", "interfaces": [], "attachments": [],
            "data": { "sources": [source], "ipv4_ranges": 0, "ipv6_ranges": 0 },
            "dropped": none, "would_drop": none, "passed": none, "skipped_events": 0, "warnings": [],
        }))
        .unwrap()
    }

    fn look(time: i64, status: Status) -> Look {
        Look { time, status: Ok(Arc::new(status)) }
    }

    fn silence(time: i64) -> Look {
        Look { time, status: Err(Arc::new(Failure::new(FailureKind::Unreachable, "no socket"))) }
    }

    fn subjects(found: Vec<Found>) -> Vec<String> {
        found.into_iter().map(|found| found.subject).collect()
    }

    #[test]
    fn an_agent_that_is_silent_for_a_minute_is_told_of_once_and_when_it_is_back() {
        let mut watch = Watch::default();
        assert!(watch.look(&look(BEGAN, status(1, "enforcing")), None).is_empty());
        let told: Vec<_> = (1..20)
            .flat_map(|step| subjects(watch.look(&silence(BEGAN + step * STEP), None)))
            .collect();
        assert_eq!(told, ["the agent does not answer"]);
        let back = watch.look(&look(BEGAN + 20 * STEP, status(1, "enforcing")), None);
        assert_eq!(subjects(back), ["the agent answers again"]);

        assert!(watch.look(&silence(BEGAN + 21 * STEP), None).is_empty());
        let back = watch.look(&look(BEGAN + 22 * STEP, status(1, "enforcing")), None);
        assert!(back.is_empty(), "a restart is nothing to tell of");
    }

    #[test]
    fn a_change_on_trial_is_told_of_and_how_it_ended() {
        let mut watch = Watch::default();
        let mut told = |time: i64, generation, state: &str| {
            let ours = Some(Generation(9));
            subjects(watch.look(&look(BEGAN + time * STEP, status(generation, state)), ours))
        };
        assert!(told(0, 1, "observing").is_empty());
        assert_eq!(told(1, 2, "pending"), ["a change is on trial"]);
        assert!(told(2, 2, "pending").is_empty());
        assert_eq!(told(3, 1, "observing"), ["a change was not kept"]);
        assert_eq!(told(4, 3, "pending"), ["a change is on trial"]);
        assert!(told(5, 3, "enforcing").is_empty(), "it was kept");
    }

    #[test]
    fn a_change_that_the_portal_did_not_make_is_told_of() {
        let mut watch = Watch::default();
        let mut told = |time: i64, generation, ours: Option<u64>| {
            let look = look(BEGAN + time * STEP, status(generation, "enforcing"));
            subjects(watch.look(&look, ours.map(Generation)))
        };
        assert!(told(0, 4, None).is_empty(), "what was before is not known");
        assert!(told(1, 5, None).is_empty(), "the portal may be about to know");
        assert!(told(2, 5, Some(5)).is_empty());
        assert!(told(3, 6, Some(5)).is_empty());
        assert_eq!(told(4, 6, Some(5)), ["it was changed on the host itself"]);
        assert!(told(5, 6, Some(5)).is_empty());
    }

    #[test]
    fn data_that_grew_old_is_told_of_once() {
        let mut watch = Watch::default();
        let mut told = |days: i64| {
            subjects(watch.look(&look(BEGAN + days * DAY, status(1, "enforcing")), None))
        };
        assert!(told(0).is_empty());
        assert_eq!(told(20), ["the world data is old"]);
        assert!(told(21).is_empty());
    }

    #[test]
    fn a_jump_in_what_is_dropped_is_told_of_once() {
        let mut watch = Watch::default();
        let mut dropped = 0;
        let mut told = |window: i64, more: u64| {
            dropped += more;
            let mut status = status(1, "enforcing");
            let tally = json!({ "packets": dropped, "bytes": 0, "by_country": { "CN": { "packets": dropped, "bytes": 0 } } });
            status.dropped = serde_json::from_value(tally).unwrap();
            let found = watch.look(&look(BEGAN + window * 600_000, status), None);
            found.into_iter().map(|found| found.text).collect::<Vec<_>>()
        };
        for window in 0..8 {
            assert!(told(window, 300).is_empty(), "nobody knows yet what is usual, or it is");
        }
        let text = "In ten minutes 40000 packets were dropped, or would have been, where 300 are usual; most came from CN.";
        assert_eq!(told(8, 40_000), [text]);
        assert!(told(9, 50_000).is_empty(), "it goes on");
        assert!(told(10, 200).is_empty());
        assert_eq!(told(11, 40_000).len(), 1);
    }

    #[test]
    fn of_one_kind_no_more_is_told_than_is_bearable() {
        let mut watch = Watch::default();
        let told: Vec<_> = (0..20_u64)
            .flat_map(|step| {
                let time = BEGAN + i64::try_from(step).unwrap() * STEP;
                watch.look(&look(time, status(step, "pending")), Some(Generation(99)))
            })
            .collect();
        assert_eq!(told.len(), MOST);
        assert!(told[MOST - 1].text.ends_with("More of this kind are not told within the hour."));
    }
}
