//! Which policies were in force at hosts, and one of them once more.

use std::sync::Arc;

use axum::extract::State;
use geofilter_core::apply::Stance;
use geofilter_core::change::{Change, Edit, Risk};
use geofilter_core::country::{CountryCode, CountryId, CountrySet};
use geofilter_core::policy::Policy;
use geofilter_core::wire::{Changed, Request};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Body, Query};
use crate::clock;
use crate::host::Host;
use crate::problem::{Kind, Problem};
use crate::server::Shared;
use crate::session::{By, Changing, Seeing};
use crate::store::{Ending, Past};

/// Policies at a time, unless said otherwise, and at most.
const SOME: u32 = 50;
const MOST: u32 = 1000;

/// Which policies.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Which {
    /// Only those before this one.
    before: Option<i64>,
    /// At most so many: 50 unless said, never more than 1000.
    limit: Option<u32>,
}

/// The policies that were in force at a host.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct History {
    /// They, the newest first.
    policies: Vec<PastPolicy>,
}

/// A policy that was in force, or is. Times are those at which the portal saw it, in RFC 3339.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PastPolicy {
    /// Its number here.
    id: i64,
    /// The number that the host gave it.
    generation: i64,
    /// Whether it dropped, or only counted.
    #[schema(value_type = PastStance)]
    stance: Stance,
    /// What it was.
    policy: Policy,
    /// Who chose it here; nobody if it was chosen on the host itself.
    operator: Option<String>,
    /// When it began.
    began: String,
    /// Since when it is more than a trial.
    kept: Option<String>,
    /// When it ended.
    ended: Option<String>,
    /// How it ended.
    ending: Option<Ending>,
    /// Countries that the policy before it had not chosen.
    added: Vec<CountryCode>,
    /// Countries that only the one before had chosen.
    removed: Vec<CountryCode>,
    /// What else changed.
    settings: Vec<Setting>,
}

/// Whether a policy dropped, or only counted.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "it stands in the description for a word of the agent's")]
pub(crate) enum PastStance {
    /// It counted.
    Observe,
    /// It dropped.
    Enforce,
}

/// A setting that changed.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ChangedSetting)]
pub(crate) struct Setting {
    /// Its name, as a policy has it.
    name: &'static str,
    /// What it was.
    before: String,
    /// What it is.
    after: String,
}

/// How to make it the policy again.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Restored {
    /// Seconds in which it must be confirmed, or it goes back; without it stands at once.
    #[serde(default)]
    confirm_within: Option<u64>,
    /// The risks accepted.
    #[serde(default)]
    accept: Vec<Risk>,
}

/// The policies that were in force at a host, whoever chose them.
#[utoipa::path(
    get, path = "/api/v1/hosts/{host}/history", tag = "history", params(Host, Which),
    responses((status = 200, body = History), Problem)
)]
pub(super) async fn history(
    State(shared): State<Arc<Shared>>,
    _by: By<Seeing>,
    _host: Host,
    Query(which): Query<Which>,
) -> Result<Body<History>, Problem> {
    let (before, limit) = (which.before.unwrap_or(i64::MAX), which.limit.unwrap_or(SOME).min(MOST));
    let past = shared.store.history(&shared.here, before, limit).await?;
    let policies = past.iter().map(PastPolicy::of).collect::<Result<_, _>>()?;
    Ok(Body(History { policies }))
}

/// Make a former policy the one in force, as any other change.
#[utoipa::path(
    post, path = "/api/v1/hosts/{host}/history/{id}/restore", tag = "history", params(Named),
    request_body = Restored, responses((status = 200, body = Changed), Problem)
)]
pub(super) async fn restore(
    State(shared): State<Arc<Shared>>,
    by: By<Changing>,
    _host: Host,
    super::Path(Named { id, .. }): super::Path<Named>,
    Body(Restored { confirm_within, accept }): Body<Restored>,
) -> Result<Body<Changed>, Problem> {
    by.may_accept(&accept)?;
    let missing = || Problem::new(Kind::Missing, format!("there is no policy {id} in the history"));
    let (_, policy) = shared.store.past(&shared.here, id).await?.ok_or_else(missing)?.policy()?;
    let Policy { mode, countries, scope, hosting, unknown, disputed, time_boxes } = policy;
    let change = Change {
        mode,
        countries,
        edit: Edit::Replace,
        unknown: Some(unknown),
        hosting: Some(hosting),
        disputed: Some(disputed),
        scope: Some(scope),
        accept,
    };
    let request = Request::Enforce { change, confirm_within, keep_registered: None };
    let Body(mut changed) = shared.change(&by, "restore", request).await?;
    if !time_boxes.is_empty() {
        changed.warnings.push(format!(
            "it had countries that were chosen for a while only, and these are not chosen now: {}",
            boxed(&Policy { time_boxes, ..Policy::new(mode, countries) })
        ));
    }
    Ok(Body(changed))
}

/// A policy of a host's history.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct Named {
    /// What the host is called.
    #[param(example = "local")]
    #[expect(dead_code, reason = "it is read by `Host`")]
    host: String,
    /// The number of the policy.
    id: i64,
}

impl PastPolicy {
    fn of(past: &Past) -> Result<Self, Problem> {
        let (stance, policy) = past.policy()?;
        let former = past.former()?;
        let none = CountrySet::EMPTY;
        let before = former.as_ref().map_or(none, |(_, policy)| policy.countries);
        let only = |of: &CountrySet, other: &CountrySet| {
            of.iter().filter(|id| !other.contains(*id)).map(CountryId::code).collect()
        };
        Ok(Self {
            id: past.id,
            generation: past.generation,
            added: only(&policy.countries, &before),
            removed: only(&before, &policy.countries),
            settings: former
                .map(|former| settings(&former, &(stance, policy.clone())))
                .unwrap_or_default(),
            stance,
            policy,
            operator: past.operator.clone(),
            began: clock::written(past.began),
            kept: past.kept.map(clock::written),
            ended: past.ended.map(clock::written),
            ending: past.ending,
        })
    }
}

/// What else than countries is not the same.
fn settings(before: &(Stance, Policy), after: &(Stance, Policy)) -> Vec<Setting> {
    let told = |(stance, policy): &(Stance, Policy)| {
        [
            ("stance", word(stance)),
            ("mode", word(policy.mode)),
            ("hosting", word(policy.hosting)),
            ("unknown", word(policy.unknown)),
            ("disputed", word(policy.disputed)),
            ("scope", listed(policy.scope.0.iter())),
            ("time_boxes", boxed(policy)),
        ]
    };
    let both = told(before).into_iter().zip(told(after));
    both.filter(|((_, before), (_, after))| before != after)
        .map(|((name, before), (_, after))| Setting { name, before, after })
        .collect()
}

fn word(of: impl Serialize) -> String {
    let word = serde_json::to_value(of).ok();
    word.and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default()
}

fn boxed(policy: &Policy) -> String {
    listed(policy.time_boxes.iter().map(|it| it.country))
}

fn listed(all: impl Iterator<Item = impl ToString>) -> String {
    all.map(|one| one.to_string()).collect::<Vec<_>>().join(", ")
}
