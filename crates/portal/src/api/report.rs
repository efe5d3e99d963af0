//! What came of it all, over the hosts of an organisation or of the whole fleet: the attempts that their logs told of, before a policy and
//! with one, and what was dropped, for a month.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use axum::extract::State;
use geofilter_core::country::CountryCode;
use geofilter_core::evidence::{Day, Evidence, MOST_OF_A_DAY, OfDay, Span};
use geofilter_core::logs::Stamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Body, Query};
use crate::clock;
use crate::fleet;
use crate::problem::{Kind, Problem};
use crate::server::Shared;
use crate::session::{By, Own, Seeing};
use crate::store::{HostDay, Member};

const HOUR: i64 = 3600;
/// Countries that are named.
const NAMED: usize = 20;
/// Hosts that are added up at a time: each may have two years of days.
const AT_A_TIME: usize = 200;

/// Of which hosts, and when.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Asked {
    /// The number of an organisation; yours without, or all hosts.
    tenant: Option<i64>,
    /// A month in UTC, such as 2026-11; the present one without.
    month: Option<String>,
}

/// A month of hosts.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FleetReport {
    /// The month.
    month: String,
    /// The name of the organisation; none if it is all hosts.
    organisation: Option<String>,
    /// Its days of which something is known, of all hosts together.
    days: Vec<DayReport>,
    /// The whole days of hosts without a policy, up to the end of the month.
    without: Span,
    /// Those with one.
    with: Span,
    /// Attempts of the month by the country they came from, the most first: at most 20.
    attempts: Vec<OfCountry>,
    /// Packets dropped in the month by the country they came from, the most first: at most 20.
    dropped: Vec<OfCountry>,
    /// The hosts, by name.
    hosts: Vec<OfHost>,
}

/// A day of all hosts together.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct DayReport {
    /// Which.
    day: String,
    /// Requests that PBXs refused.
    attempts: u64,
    /// Logins that succeeded.
    logins: u64,
    /// Hosts of which it is known.
    hosts: u64,
    /// Those of them on which a policy was dropping for at least 23 hours.
    enforced: u64,
}

/// A country.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OfCountry {
    /// Which.
    country: CountryCode,
    /// How many came from there.
    count: u64,
}

/// A host.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OfHost {
    /// Its number.
    id: i64,
    /// Its name.
    name: String,
    /// Its whole days without a policy, up to the end of the month.
    without: Span,
    /// Those with one.
    with: Span,
    /// Attempts that its logs told of in the month.
    attempts: u64,
    /// Packets that it dropped in the month.
    dropped: u64,
    /// Packets that it let pass.
    passed: u64,
}

/// What hosts saw in a month, and before: attempts that were logged, and packets that were dropped. An operator of an organisation hears of
/// that alone.
#[utoipa::path(
    get, path = "/api/v1/fleet/report", tag = "fleet", params(Asked),
    responses((status = 200, body = FleetReport), Problem)
)]
pub(super) async fn fleet_report(
    State(shared): State<Arc<Shared>>,
    by: By<Own<Seeing>>,
    Query(Asked { tenant, month }): Query<Asked>,
) -> Result<Body<FleetReport>, Problem> {
    let month = match month {
        Some(month) => month,
        None => clock::written(clock::now()).chars().take(7).collect(),
    };
    let unfit = || Problem::new(Kind::Invalid, format!("{month} is no month, as 2026-11 is"));
    let month = Month::of(&month).ok_or_else(unfit)?;
    let tenant = tenant.or(by.tenant);
    let organisation = match tenant {
        None => None,
        Some(id) => {
            let found = shared.store.tenant(id).await?.filter(|tenant| by.sees(tenant.id));
            let missing = || Problem::new(Kind::Missing, "there is no such organisation");
            Some(found.ok_or_else(missing)?.name)
        }
    };
    // It takes memory and a while where there are many hosts.
    let _alone = shared.reporting.acquire().await;
    let groups: HashMap<i64, i64> =
        shared.store.groups().await?.into_iter().map(|group| (group.id, group.tenant)).collect();
    let mut members = shared.store.members(fleet::seen_since()).await?;
    members.retain(|member| tenant.is_none_or(|of| groups.get(&member.host_group) == Some(&of)));
    let report = Report { month, organisation, tenant };
    report.of(&shared, members).await.map(Body)
}

/// A month, in milliseconds since 1970.
#[derive(Debug, Clone)]
struct Month {
    name: String,
    from: i64,
    to: i64,
}

impl Month {
    fn of(name: &str) -> Option<Self> {
        let first = clock::read(&format!("{name}-01T00:00:00Z"))?;
        // Every month is over by then, and the next one is not.
        let next: String = clock::written(first + 31 * 86_400_000).chars().take(7).collect();
        let to = clock::read(&format!("{next}-01T00:00:00Z"))?;
        (clock::written(first).starts_with(name) && name.len() == 7).then(|| Self {
            name: name.to_owned(),
            from: first,
            to,
        })
    }

    fn has(&self, day: &str) -> bool {
        day.starts_with(&self.name)
    }

    /// The time by which days are taken for whole: now, or the end of the month.
    fn end(&self) -> Stamp {
        Stamp(clock::now().min(self.to))
    }
}

struct Report {
    month: Month,
    organisation: Option<String>,
    tenant: Option<i64>,
}

impl Report {
    async fn of(self, shared: &Shared, mut members: Vec<Member>) -> Result<FleetReport, Problem> {
        let mut sum = Sum::default();
        // What is known of years of thousands of hosts would not fit into memory.
        members.sort_by_key(|member| member.id);
        for some in members.chunks(AT_A_TIME) {
            self.add(shared, some, &mut sum).await?;
        }
        sum.hosts.sort_by(|one, other| (&one.name, one.id).cmp(&(&other.name, other.id)));
        Ok(FleetReport {
            month: self.month.name,
            organisation: self.organisation,
            days: sum.days.into_values().collect(),
            without: sum.without,
            with: sum.with,
            attempts: most(sum.attempts),
            dropped: most(sum.dropped),
            hosts: sum.hosts,
        })
    }

    /// Adds what is known of some hosts, by their numbers.
    async fn add(&self, shared: &Shared, some: &[Member], sum: &mut Sum) -> Result<(), Problem> {
        let (Some(first), Some(last)) = (some.first(), some.last()) else { return Ok(()) };
        let until = format!("{}-31", self.month.name);
        let known = shared.store.evidence_until(self.tenant, first.id..=last.id, &until).await?;
        let mut evidence: HashMap<i64, Vec<(Day, OfDay)>> = HashMap::new();
        let mut attempted: HashMap<i64, u64> = HashMap::new();
        for HostDay { member, day, of_day } in known {
            let of_day = of_day.0;
            if self.month.has(&day) {
                sum.add(&day, &of_day);
                add(attempted.entry(member).or_default(), of_day.attempted());
            }
            // What a host makes up has no date.
            if let Ok(day) = day.parse() {
                evidence.entry(member).or_default().push((day, of_day));
            }
        }
        for member in some {
            let own: Evidence =
                evidence.remove(&member.id).unwrap_or_default().into_iter().collect();
            let compared = own.compare(self.month.end());
            join(&mut sum.without, compared.without);
            join(&mut sum.with, compared.with);
            let mut host = OfHost {
                id: member.id,
                name: member.name.clone(),
                without: compared.without,
                with: compared.with,
                attempts: attempted.get(&member.id).copied().unwrap_or(0),
                dropped: 0,
                passed: 0,
            };
            let (from, to) = (self.month.from, self.month.to);
            for slot in shared.store.slots(&host.id.to_string(), HOUR, from, to).await? {
                for packets in slot.counts.reasons.values() {
                    add(&mut host.dropped, packets.dropped);
                    add(&mut host.passed, packets.passed);
                }
                for (country, packets) in &slot.counts.countries {
                    add(sum.dropped.entry(*country).or_default(), packets.dropped);
                }
            }
            sum.hosts.push(host);
        }
        Ok(())
    }
}

/// What is known of the hosts so far.
#[derive(Default)]
struct Sum {
    days: BTreeMap<String, DayReport>,
    without: Span,
    with: Span,
    attempts: BTreeMap<CountryCode, u64>,
    dropped: BTreeMap<CountryCode, u64>,
    hosts: Vec<OfHost>,
}

impl Sum {
    /// Adds a day of a host, which is of the month.
    fn add(&mut self, day: &str, of_day: &OfDay) {
        let of_all = self.days.entry(day.to_owned()).or_default();
        day.clone_into(&mut of_all.day);
        add(&mut of_all.attempts, of_day.attempted());
        add(&mut of_all.logins, of_day.logins);
        of_all.hosts += 1;
        of_all.enforced += u64::from(of_day.enforced >= MOST_OF_A_DAY);
        for (country, count) in &of_day.attempts {
            add(self.attempts.entry(*country).or_default(), *count);
        }
    }
}

/// What hosts say need not be true, nor fit.
fn add(sum: &mut u64, more: u64) {
    *sum = sum.saturating_add(more);
}

fn join(span: &mut Span, more: Span) {
    add(&mut span.days, more.days);
    add(&mut span.attempts, more.attempts);
    add(&mut span.logins, more.logins);
}

fn most(countries: BTreeMap<CountryCode, u64>) -> Vec<OfCountry> {
    let all = countries.into_iter().filter(|(_, count)| *count > 0);
    let mut all: Vec<_> = all.map(|(country, count)| OfCountry { country, count }).collect();
    all.sort_by_key(|of| std::cmp::Reverse(of.count));
    all.truncate(NAMED);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_has_its_first_and_last_day() {
        let month = Month::of("2028-02").unwrap();
        assert_eq!(month.to - month.from, 29 * 86_400_000);
        let month = Month::of("2026-12").unwrap();
        assert_eq!(clock::written(month.to), "2027-01-01T00:00:00Z");
        assert!(month.has("2026-12-31") && !month.has("2027-01-01"));
        for odd in ["", "2026", "2026-13", "2026-1", "2026-12-01", "2026-12-01T00:00:00Z#"] {
            assert!(Month::of(odd).is_none(), "{odd}");
        }
    }
}
