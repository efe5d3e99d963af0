//! What was counted at hosts, step by step.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use geofilter_fleet::HostId;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Body, Path, Query};
use crate::clock;
use crate::host::Host;
use crate::problem::{Kind, Problem};
use crate::server::Shared;
use crate::session::{By, Own, Seeing};
use geofilter_core::series::{Counts, Packets, STEP, Slot};

/// Steps that are told at most, and as many as are chosen for whoever names no step.
const MOST: i64 = 2_000;
const SOME: i64 = 1_100;
/// Seconds of the steps that are chosen among.
const USUAL: [i64; 5] = [10, 60, 600, 3_600, 86_400];
/// Countries that are told one by one: those with the most packets.
const PARTS: usize = 20;
const TWO_HOURS: i64 = 7_200_000;

/// Which steps.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Which {
    /// From this time on, in RFC 3339; two hours before the end if not said.
    from: Option<String>,
    /// Until this time; now if not said.
    to: Option<String>,
    /// Seconds of a step, a multiple of 10; of such a length that there are not too many if not said. Steps of less than a minute
    /// are kept for two hours, of less than an hour for seven days, others for two years.
    step: Option<i64>,
    /// What they are told by; the whole alone if not said.
    #[param(inline)]
    by: Option<Told>,
}

/// What packets are told by.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Told {
    /// By their country: the twenty with the most packets, of those that were judged by their country.
    Country,
    /// By why they passed or were dropped.
    Reason,
}

/// What was counted, step by step.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Series {
    /// When the first step begins, in RFC 3339.
    from: String,
    /// Seconds of a step.
    step: i64,
    /// Seconds of each step for which the host was looked at; none where it was not.
    watched: Vec<Option<f64>>,
    /// All packets.
    total: Line,
    /// The same by country or reason, those with the most packets first.
    parts: Vec<Part>,
}

/// Packets of each step; none where nobody looked.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = SeriesLine)]
pub(crate) struct Line {
    /// Dropped.
    dropped: Vec<Option<u64>>,
    /// Passed while observing, would have been dropped.
    would_drop: Vec<Option<u64>>,
    /// Judged and passed.
    passed: Vec<Option<u64>>,
}

/// Packets of one country, or for one reason.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SeriesPart)]
pub(crate) struct Part {
    /// Which.
    key: String,
    /// They.
    packets: Line,
}

/// What was counted, step by step, from the exact counters of the data plane.
///
/// At most 2000 steps at a time.
#[utoipa::path(
    get, path = "/api/v1/hosts/{host}/series", tag = "live", params(Host, Which),
    responses((status = 200, body = Series), Problem)
)]
pub(super) async fn series(
    State(shared): State<Arc<Shared>>,
    _by: By<Seeing>,
    _host: Host,
    Query(which): Query<Which>,
) -> Result<Body<Series>, Problem> {
    tell(&shared, &shared.here, &which).await
}

/// What was counted at a host of the fleet, step by step, as it said.
///
/// At most 2000 steps at a time.
#[utoipa::path(
    get, path = "/api/v1/fleet/hosts/{id}/series", tag = "fleet",
    params(("id" = i64, Path, description = "The host's number."), Which),
    responses((status = 200, body = Series), Problem)
)]
pub(super) async fn fleet_series(
    State(shared): State<Arc<Shared>>,
    by: By<Own<Seeing>>,
    Path(id): Path<i64>,
    Query(which): Query<Which>,
) -> Result<Body<Series>, Problem> {
    shared.known_host(&by, HostId(id)).await?;
    tell(&shared, &id.to_string(), &which).await
}

/// What is kept of a host.
async fn tell(shared: &Shared, host: &str, which: &Which) -> Result<Body<Series>, Problem> {
    let Span { from, to, step } = which.span(clock::now())?;
    let slots = shared.store.slots(host, step, from, to).await?;
    let mut found: BTreeMap<i64, Slot> = slots.into_iter().map(|slot| (slot.time, slot)).collect();
    let times = (from..to).step_by(usize::try_from(step * 1000).unwrap_or(usize::MAX));
    let slots: Vec<Option<Slot>> = times.map(|time| found.remove(&time)).collect();
    let seconds = |slot: &Option<Slot>| slot.as_ref().map(|slot| slot.watched as f64 / 1000.0);
    Ok(Body(Series {
        from: clock::written(from),
        step,
        watched: slots.iter().map(seconds).collect(),
        total: Line::of(&slots, whole),
        parts: which.by.map(|by| parts(&slots, by)).unwrap_or_default(),
    }))
}

/// Milliseconds since 1970, at the borders of steps of so many seconds.
struct Span {
    from: i64,
    to: i64,
    step: i64,
}

impl Which {
    fn span(&self, now: i64) -> Result<Span, Problem> {
        let read = |text: &Option<String>, name: &str| match text {
            None => Ok(None),
            Some(text) => clock::read(text).map(Some).ok_or_else(|| {
                invalid(format!("`{name}` is no time: write it as 2027-07-01T08:30:00Z"))
            }),
        };
        let to = read(&self.to, "to")?.unwrap_or(now);
        let from = read(&self.from, "from")?.unwrap_or(to - TWO_HOURS);
        if from >= to {
            return Err(invalid("`from` must be before `to`"));
        }
        let usual = USUAL.into_iter().find(|step| (to - from) / (step * 1000) <= SOME);
        let step = self.step.or(usual).unwrap_or(USUAL[USUAL.len() - 1]);
        if !(1..=MOST * USUAL[USUAL.len() - 1]).contains(&step) || step % (STEP / 1000) != 0 {
            return Err(invalid("`step` is a multiple of 10 seconds"));
        }
        let long = step * 1000;
        let from = from.div_euclid(long) * long;
        match (to - from).div_euclid(long) < MOST {
            true => Ok(Span { from, to, step }),
            false => Err(invalid(format!(
                "there are at most {MOST} steps at a time: ask for longer ones"
            ))),
        }
    }
}

fn invalid(detail: impl Into<String>) -> Problem {
    Problem::new(Kind::Invalid, detail)
}

impl Line {
    fn of(slots: &[Option<Slot>], packets: impl Fn(&Counts) -> Packets) -> Self {
        let mut line = Self::default();
        for slot in slots {
            let packets = slot.as_ref().map(|slot| packets(&slot.counts));
            line.dropped.push(packets.map(|packets| packets.dropped));
            line.would_drop.push(packets.map(|packets| packets.would_drop));
            line.passed.push(packets.map(|packets| packets.passed));
        }
        line
    }
}

/// Every packet has a reason.
fn whole(counts: &Counts) -> Packets {
    sum(counts.reasons.values())
}

fn sum<'a>(all: impl Iterator<Item = &'a Packets>) -> Packets {
    all.fold(Packets::default(), |mut sum, packets| {
        sum += *packets;
        sum
    })
}

fn parts(slots: &[Option<Slot>], by: Told) -> Vec<Part> {
    match by {
        Told::Country => most(slots, |counts| &counts.countries),
        Told::Reason => most(slots, |counts| &counts.reasons),
    }
}

fn most<K: Ord + Copy + Serialize>(
    slots: &[Option<Slot>],
    of: impl Fn(&Counts) -> &BTreeMap<K, Packets>,
) -> Vec<Part> {
    let mut totals: BTreeMap<K, u64> = BTreeMap::new();
    for (key, packets) in slots.iter().flatten().flat_map(|slot| of(&slot.counts)) {
        let total = totals.entry(*key).or_default();
        *total = total.saturating_add(packets.sum());
    }
    let mut totals: Vec<(K, u64)> = totals.into_iter().collect();
    totals.sort_by_key(|(_, packets)| std::cmp::Reverse(*packets));
    totals.truncate(PARTS);
    let part = |(key, _): (K, u64)| Part {
        key: word(key),
        packets: Line::of(slots, |counts| of(counts).get(&key).copied().unwrap_or_default()),
    };
    totals.into_iter().map(part).collect()
}

/// A word as it is written everywhere.
pub(super) fn word(key: impl Serialize) -> String {
    let word = serde_json::to_value(key).ok();
    word.and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(from: &str, to: &str, step: Option<i64>) -> Result<(i64, i64), String> {
        let which = Which { from: Some(from.to_owned()), to: Some(to.to_owned()), step, by: None };
        which.span(0).map(|span| (span.from / 1000, span.step)).map_err(|problem| problem.detail)
    }

    #[test]
    fn steps_are_chosen_that_are_not_too_many() {
        let from = "1970-01-01T00:00:07Z";
        assert_eq!(span(from, "1970-01-01T02:00:07Z", None), Ok((0, 10)));
        assert_eq!(span(from, "1970-01-08T00:00:07Z", None), Ok((0, 600)));
        assert_eq!(span(from, "1972-01-01T00:00:07Z", None), Ok((0, 86_400)));
        assert_eq!(span(from, "1970-01-01T02:00:07Z", Some(60)), Ok((0, 60)));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let (early, late) = ("1970-01-01T00:00:00Z", "1971-01-01T00:00:00Z");
        assert!(span(late, early, None).unwrap_err().contains("before"));
        assert!(span("yesterday", late, None).unwrap_err().contains("`from` is no time"));
        assert!(span(early, late, Some(10)).unwrap_err().contains("at most 2000"));
        for step in [0, -10, 5, 61, i64::MAX] {
            assert!(span(early, late, Some(step)).unwrap_err().contains("multiple"), "{step}");
        }
    }
}
