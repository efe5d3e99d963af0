//! What is chosen for hosts of the fleet step by step: whom it would cut, as the hosts say, and rollouts, which some try first.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use geofilter_core::change::Risk;
use geofilter_core::wire::Cut;
use geofilter_fleet::HostId;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::leading::{Made, check};
use super::{Body, Path};
use crate::clock;
use crate::fleet::{self, Level, Settings};
use crate::problem::{Kind, Problem};
use crate::server::Shared;
use crate::session::{By, Changing, Own, Seeing};
use crate::store::{Answered, Deed, NewRollout, Outstanding, Progress, RolledOut, Stage, Standout};

/// Rollouts that are told of, and hosts that are named of each.
const MOST: i64 = 20;
const NAMED: i64 = 20;
/// Seconds for which a stage is watched, unless said: devices register every few minutes.
const HOLD: i64 = 300;
/// A day.
const LONGEST: i64 = 86_400;

/// What would be chosen, and for whom: a group, or a whole organisation.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Planned {
    /// The number of the organisation; not with a group.
    #[serde(default)]
    tenant: Option<i64>,
    /// The number of the group.
    #[serde(default)]
    group: Option<i64>,
    /// What would be chosen for it.
    settings: Settings,
}

/// A rollout to begin.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WantedRollout {
    /// The number of the organisation; not with a group.
    #[serde(default)]
    tenant: Option<i64>,
    /// The number of the group.
    #[serde(default)]
    group: Option<i64>,
    /// What is chosen for it.
    settings: Settings,
    /// Seconds for which each stage is watched, 5 to 86400; 300 without.
    #[serde(default)]
    seconds: Option<i64>,
    /// The numbers of the hosts that try it; one in twenty of those that listen without.
    #[serde(default)]
    canaries: Vec<i64>,
}

/// What becomes of a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Steer {
    /// It stays where it is, and what hosts try of it too, for a day.
    Pause,
    /// It goes on.
    Resume,
    /// It ends, and all hosts go back.
    Abort,
}

/// See there.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OfRollout {
    /// What becomes of it.
    steer: Steer,
}

/// The rollouts.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Rollouts {
    /// The last ones, the newest first.
    rollouts: Vec<RolloutReport>,
}

/// A rollout.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RolloutReport {
    /// Its number.
    id: i64,
    /// The number of its organisation.
    tenant: i64,
    /// The number of the group; none if it is for the whole organisation.
    group: Option<i64>,
    /// How far it is.
    stage: Stage,
    /// Whether it is paused.
    paused: bool,
    /// What is chosen.
    settings: Settings,
    /// What was before.
    before: Settings,
    /// Who began it.
    operator: String,
    /// When, in RFC 3339.
    began: String,
    /// When it came to this stage, in RFC 3339.
    since: String,
    /// Seconds for which a stage is watched.
    seconds: i64,
    /// Why it was halted.
    why: Option<String>,
    /// How many hosts it watches: those that listened when it began. The others have what is chosen when they come.
    hosts: i64,
    /// How many of them have what its stage asks of them, as long as it goes on.
    applied: Option<i64>,
    /// The names of those that try it first, of 20 at most.
    canaries: Vec<String>,
    /// How many try it first.
    canaries_in_all: i64,
    /// Those that lost something by it, 20 at most.
    lost: Vec<LostReport>,
    /// How many lost something by it.
    lost_in_all: i64,
}

/// A host that lost something.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LostReport {
    /// Its number.
    id: i64,
    /// Its name.
    host: String,
    /// What.
    what: String,
}

/// What hosts say of what would be chosen.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FleetPreview {
    /// How many were asked: those that listen.
    asked: usize,
    /// How many have said.
    answered: usize,
    /// Those that would lose somebody, or can't say, by name.
    hosts: Vec<HostPreview>,
}

/// What a host says.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HostPreview {
    /// Its number.
    id: i64,
    /// Its name.
    name: String,
    /// Whom it would cut.
    would_cut: Vec<Cut>,
    /// How many more.
    more: u32,
    /// What would have to be accepted for that.
    risks: Vec<Risk>,
    /// Why it can't say.
    failed: Option<String>,
}

/// Ask the hosts of a group or an organisation whom it would cut to choose this. Those that listen say it within seconds.
#[utoipa::path(
    post, path = "/api/v1/fleet/previews", tag = "fleet", request_body = Planned,
    responses((status = 201, body = Made), Problem)
)]
pub(super) async fn ask_fleet_preview(
    State(shared): State<Arc<Shared>>,
    by: By<Own<Changing>>,
    Body(Planned { tenant, group, settings }): Body<Planned>,
) -> Result<(StatusCode, Body<Made>), Problem> {
    let (tenant, ..) = shared.planned(&by, tenant, group, &settings).await?;
    let seen = fleet::seen_since();
    let id = shared.store.ask_preview(tenant, group, &settings, seen, clock::now()).await?;
    shared.tell_hosts().await;
    Ok((StatusCode::CREATED, Body(Made { id })))
}

/// What hosts have said of it so far. It is kept for an hour.
#[utoipa::path(
    get, path = "/api/v1/fleet/previews/{id}", tag = "fleet",
    params(("id" = i64, Path, description = "Its number.")),
    responses((status = 200, body = FleetPreview), Problem)
)]
pub(super) async fn fleet_preview(
    State(shared): State<Arc<Shared>>,
    by: By<Own<Seeing>>,
    Path(id): Path<i64>,
) -> Result<Body<FleetPreview>, Problem> {
    let asked = shared.store.asked(id).await?.filter(|asked| by.sees(asked.tenant));
    asked.ok_or_else(|| {
        Problem::new(Kind::Missing, "there is no such preview any more: ask anew")
    })?;
    let answers = shared.store.answers(id).await?;
    let (asked, answered) =
        (answers.len(), answers.iter().filter(|host| host.answer.is_some()).count());
    let hosts = answers.into_iter().filter_map(HostPreview::of).collect();
    Ok(Body(FleetPreview { asked, answered, hosts }))
}

impl HostPreview {
    /// Nothing, if the host loses nobody or has not said yet.
    fn of(Answered { id, name, answer }: Answered) -> Option<Self> {
        let answer = answer?.0;
        let loses = !answer.would_cut.is_empty() || !answer.risks.is_empty();
        (loses || answer.failed.is_some()).then_some(Self {
            id,
            name,
            would_cut: answer.would_cut,
            more: answer.more,
            risks: answer.risks,
            failed: answer.failed,
        })
    }
}

/// The rollouts, and how far they are.
#[utoipa::path(
    get, path = "/api/v1/fleet/rollouts", tag = "fleet",
    responses((status = 200, body = Rollouts), Problem)
)]
pub(super) async fn rollouts(
    State(shared): State<Arc<Shared>>,
    by: By<Own<Seeing>>,
) -> Result<Body<Rollouts>, Problem> {
    let mut rollouts = Vec::new();
    for progress in shared.store.rollouts(by.tenant, MOST).await? {
        let named = async |by| shared.store.outstanding(progress.rollout.id, by, NAMED).await;
        let (canaries, lost) = (named(Standout::Canary).await?, named(Standout::Lost).await?);
        rollouts.push(RolloutReport::of(progress, canaries, lost));
    }
    Ok(Body(Rollouts { rollouts }))
}

impl RolloutReport {
    fn of(progress: Progress, canaries: Vec<Outstanding>, lost: Vec<Outstanding>) -> Self {
        let Progress { rollout, hosts, canaries: canaries_in_all, applied, lost: lost_in_all } =
            progress;
        let lost = lost
            .into_iter()
            .filter_map(|host| Some(LostReport { id: host.id, host: host.name, what: host.lost? }));
        Self {
            id: rollout.id,
            tenant: rollout.tenant,
            group: rollout.host_group,
            stage: rollout.stage,
            paused: rollout.paused.is_some(),
            settings: rollout.policy.0,
            before: rollout.before.0,
            operator: rollout.operator,
            began: clock::written(rollout.began),
            since: clock::written(rollout.since),
            seconds: rollout.hold / 1000,
            why: rollout.why,
            hosts,
            applied,
            canaries: canaries.into_iter().map(|host| host.name).collect(),
            canaries_in_all,
            lost: lost.collect(),
            lost_in_all,
        }
    }
}

/// Have the hosts of a group or an organisation do this step by step: some try it first. Where a host loses trunks, phones, peers or
/// its connection, all go back by themselves.
#[utoipa::path(
    post, path = "/api/v1/fleet/rollouts", tag = "fleet", request_body = WantedRollout,
    responses((status = 201, body = Made), Problem)
)]
pub(super) async fn begin_rollout(
    State(shared): State<Arc<Shared>>,
    by: By<Own<Changing>>,
    Body(wanted): Body<WantedRollout>,
) -> Result<(StatusCode, Body<Made>), Problem> {
    let WantedRollout { tenant, group, settings, seconds, canaries } = wanted;
    let hold = seconds.unwrap_or(HOLD);
    if !(5..=LONGEST).contains(&hold) {
        let detail = format!("a stage is watched for 5 to {LONGEST} seconds");
        return Err(Problem::new(Kind::Invalid, detail));
    }
    shared.fleet_address().await?;
    let (tenant, name, before) = shared.planned(&by, tenant, group, &settings).await?;
    let canaries: Vec<HostId> = canaries.into_iter().map(HostId).collect();
    let told = |settings: &Settings| Some(json!({ "of": name, "settings": settings }));
    let deed = Deed { before: told(&before), after: told(&settings), ..by.deed("begin rollout") };
    shared.store.write_down(&deed, clock::now()).await?;
    let new = NewRollout {
        tenant,
        host_group: group,
        policy: &settings,
        operator: &by.name,
        hold: hold * 1000,
        canaries: &canaries,
        seen: fleet::seen_since(),
    };
    let detail = match shared.store.begin_rollout(&new, clock::now()).await? {
        RolledOut::Rollout(id) => {
            shared.tell_hosts().await;
            return Ok((StatusCode::CREATED, Body(Made { id })));
        }
        RolledOut::Another => {
            "another rollout goes on for this organisation: wait until it is done, or abort it"
        }
        RolledOut::Nobody => {
            "none of its hosts is connected and would have a policy by it, or the hosts that are named are not: choose it without a rollout, and hosts do it when they come"
        }
    };
    Err(Problem::new(Kind::Unfit, detail))
}

/// Pause a rollout, have it go on, or abort it.
#[utoipa::path(
    post, path = "/api/v1/fleet/rollouts/{id}", tag = "fleet", request_body = OfRollout,
    params(("id" = i64, Path, description = "Its number.")),
    responses((status = 204, description = "It is so."), Problem)
)]
pub(super) async fn steer_rollout(
    State(shared): State<Arc<Shared>>,
    by: By<Own<Changing>>,
    Path(id): Path<i64>,
    Body(OfRollout { steer }): Body<OfRollout>,
) -> Result<StatusCode, Problem> {
    let rollout = shared.store.rollout(id).await?.filter(|rollout| by.sees(rollout.tenant));
    let missing = || Problem::new(Kind::Missing, "there is no such rollout");
    let rollout = rollout.ok_or_else(missing)?;
    shared.leads(&by, rollout.tenant).await?;
    let action = match steer {
        Steer::Pause => "pause rollout",
        Steer::Resume => "resume rollout",
        Steer::Abort => "abort rollout",
    };
    let after = Some(json!({ "id": id, "stage": rollout.stage }));
    shared.store.write_down(&Deed { after, ..by.deed(action) }, clock::now()).await?;
    let now = clock::now();
    let done = match steer {
        Steer::Pause => shared.store.pause_rollout(id, now).await?,
        Steer::Resume => shared.store.resume_rollout(&rollout, now).await?,
        Steer::Abort => {
            let why = format!("aborted by {}", by.name);
            shared.store.abort_rollout(id, &why, now).await?
        }
    };
    if !done {
        let detail = "it is not at a stage at which that can be done: see how far it is";
        return Err(Problem::new(Kind::Unfit, detail));
    }
    shared.tell_hosts().await;
    Ok(StatusCode::NO_CONTENT)
}

impl Shared {
    /// The organisation, the name of what is planned for, and what is chosen for it now.
    async fn planned<N>(
        &self,
        by: &By<N>,
        tenant: Option<i64>,
        group: Option<i64>,
        settings: &Settings,
    ) -> Result<(i64, String, Settings), Problem> {
        match (tenant, group) {
            (Some(tenant), None) => {
                let tenant = self.leads(by, tenant).await?;
                check(settings, &[(Level::Tenant, settings)])?;
                Ok((tenant.id, tenant.name.clone(), tenant.settings()))
            }
            (None, Some(group)) => {
                let (group, tenant) = self.leads_group(by, group).await?;
                let above = tenant.settings();
                check(settings, &[(Level::Tenant, &above), (Level::Group, settings)])?;
                Ok((tenant.id, group.name.clone(), group.settings()))
            }
            _ => {
                let detail = "name a group or an organisation, one of the two";
                Err(Problem::new(Kind::Invalid, detail))
            }
        }
    }
}
