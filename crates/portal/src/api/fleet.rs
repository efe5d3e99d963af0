//! The hosts of the fleet, in groups that have a policy together.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderName, StatusCode};
use geofilter_core::apply::nothing_selected;
use geofilter_core::change::{Change, Edit, Risk};
use geofilter_core::country::CountrySet;
use geofilter_core::desired::State as HostState;
use geofilter_core::policy::{Disputed, Mode, Verdict};
use geofilter_fleet::{HostId, Mark, Report, TICKET_LIFETIME, digest};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::series::word;
use super::world::HostWorld;
use super::{Body, Path};
use crate::clock;
use crate::fleet;
use crate::metrics::{self, Counted};
use crate::passwords::check_name;
use crate::problem::{Kind, Problem};
use crate::server::Shared;
use crate::session::{Administering, By, Changing, Proved, Seeing, Signed};
use crate::store::Deed;

/// Seconds that a host's clock may be off and nobody is told.
const CLOCK: u64 = 60;

/// The fleet.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Fleet {
    /// Where hosts connect; none if this portal hears no hosts.
    address: Option<String>,
    /// Its groups, by name.
    groups: Vec<GroupReport>,
}

/// A group of hosts.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GroupReport {
    /// Its number.
    id: i64,
    /// Its name.
    name: String,
    /// What its hosts are to do; none while nobody has chosen that.
    policy: Option<Change>,
    /// Which revision that is: the second since 1970 at which it was chosen.
    revision: i64,
    /// Its hosts, by name.
    hosts: Vec<MemberReport>,
}

/// How far a host is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Progress {
    /// Nobody chose anything for its group yet.
    Free,
    /// It has not heard yet what it is to do.
    Desired,
    /// It has heard it.
    Received,
    /// It did not do it, and says why.
    Refused,
    /// Its kernel does it, until a deadline.
    Applied,
    /// Its kernel does it.
    Confirmed,
    /// It did it, and does something else by now: somebody changed it there.
    Drifted,
}

/// A host.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MemberReport {
    /// Its number.
    id: i64,
    /// What it calls itself.
    name: String,
    /// When it was enrolled, in RFC 3339.
    enrolled: String,
    /// Whether it listens now.
    connected: bool,
    /// How far it is.
    progress: Progress,
    /// When it said last how it stands, in RFC 3339.
    reported: Option<String>,
    /// Seconds that its clock is ahead of the portal's, or behind if below zero, where that is a minute or more.
    clock: Option<i64>,
    /// The version that it runs.
    version: Option<String>,
    /// What it does.
    state: Option<HostState>,
    /// Packets that it dropped since its filter was attached.
    dropped: Option<u64>,
    /// Packets that it let pass.
    passed: Option<u64>,
    /// Why it did not do what it is to.
    refused: Option<String>,
    /// What would have to be accepted for that.
    risks: Vec<Risk>,
    /// Which world data it has.
    world: Option<HostWorld>,
    /// It was asked something newer than what is chosen here, by this portal before it was taken back to an old state.
    ahead: bool,
}

/// A group to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewGroup {
    /// Its name.
    name: String,
}

/// A group that was made.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MadeGroup {
    /// Its number.
    id: i64,
}

/// What a group's hosts are to do.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct GroupPolicy {
    /// Allow or block.
    mode: Mode,
    /// The countries.
    countries: CountrySet,
    /// Hosting networks; they pass if not said.
    #[serde(default)]
    hosting: Option<Verdict>,
    /// Unknown space; by the mode if not said.
    #[serde(default)]
    unknown: Option<Verdict>,
    /// Disputed space; the first source decides if not said.
    #[serde(default)]
    disputed: Option<Disputed>,
    /// The risks that are accepted on every host.
    #[serde(default)]
    accept: Vec<Risk>,
}

/// What came of it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Told {
    /// The revision that it is. Hosts that listen are told at once, the others when they connect.
    revision: i64,
}

/// A token to enrol a host by.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MadeTicket {
    /// It, which is told once.
    token: String,
    /// What to run on the host.
    command: String,
    /// Seconds for which it is good.
    seconds: u64,
}

/// The fleet, and how far its hosts are.
#[utoipa::path(
    get, path = "/api/v1/fleet", tag = "fleet",
    responses((status = 200, body = Fleet), Problem)
)]
pub(super) async fn fleet(
    State(shared): State<Arc<Shared>>,
    _by: By<Seeing>,
) -> Result<Body<Fleet>, Problem> {
    let groups = groups(&shared).await?;
    Ok(Body(Fleet { address: shared.store.fleet_address().await?, groups }))
}

/// How many hosts there are, how far they are, and which listen, as OpenMetrics text, for whoever shows a token.
#[utoipa::path(
    get, path = "/api/v1/fleet/metrics", tag = "fleet",
    responses((status = 200, body = String, content_type = "application/openmetrics-text"), Problem)
)]
pub(super) async fn metrics(
    State(shared): State<Arc<Shared>>,
    _by: By<Seeing>,
) -> Result<([(HeaderName, &'static str); 1], String), Problem> {
    let hosts: Vec<Counted> = groups(&shared).await?.into_iter().flat_map(counted).collect();
    let text = metrics::text(&hosts);
    let text = text.map_err(|error| Problem::internal("no metrics could be written", &error))?;
    Ok(([(CONTENT_TYPE, metrics::OPEN_METRICS)], text))
}

fn counted(group: GroupReport) -> impl Iterator<Item = Counted> {
    let name = group.name;
    group.hosts.into_iter().map(move |host| Counted {
        group: name.clone(),
        progress: word(host.progress),
        connected: host.connected,
        clock: host.clock.is_some(),
        world: host.world.as_ref().is_some_and(HostWorld::is_behind),
    })
}

/// All groups with their hosts.
async fn groups(shared: &Shared) -> Result<Vec<GroupReport>, Problem> {
    let mut groups: Vec<GroupReport> = Vec::new();
    for group in shared.store.groups().await? {
        let policy = group.policy.map(|policy| policy.0);
        let (id, name, revision) = (group.id, group.name, group.revision);
        groups.push(GroupReport { id, name, policy, revision, hosts: Vec::new() });
    }
    let served = shared.store.world_digest().await?;
    for member in shared.store.members(fleet::seen_since()).await? {
        let Some(group) = groups.iter_mut().find(|group| group.id == member.host_group) else {
            continue;
        };
        let report = member.report.map(|report| report.0);
        let progress = progress(group, report.as_ref());
        let standing = report.as_ref().and_then(|report| report.standing.as_ref());
        let received = report.as_ref().and_then(|report| report.received);
        let refused = report.as_ref().and_then(|report| report.refused.clone());
        group.hosts.push(MemberReport {
            id: member.id,
            name: member.name,
            enrolled: clock::written(member.enrolled),
            connected: member.connected,
            progress,
            clock: report
                .as_ref()
                .zip(member.reported)
                .map(|(report, at)| report.time.saturating_sub(at) / 1000)
                .filter(|seconds| seconds.unsigned_abs() >= CLOCK),
            reported: member.reported.map(clock::written),
            state: standing.map(|standing| standing.state),
            dropped: standing.map(|standing| standing.dropped),
            passed: standing.map(|standing| standing.passed),
            risks: refused.as_ref().map(|refused| refused.risks.clone()).unwrap_or_default(),
            ahead: refused.as_ref().is_some_and(|refused| Some(refused.mark) < received),
            refused: refused.map(|refused| refused.why),
            world: report
                .as_ref()
                .and_then(|report| report.world.as_ref())
                .map(|world| HostWorld::of(world, served.as_deref())),
            version: report.map(|report| report.version),
        });
    }
    Ok(groups)
}

/// By what the host's kernel holds, not by what the host believes it did.
fn progress(group: &GroupReport, report: Option<&Report>) -> Progress {
    let Some(policy) = &group.policy else { return Progress::Free };
    let Some(report) = report else { return Progress::Desired };
    let is_ours = |mark: Option<Mark>| {
        mark.is_some_and(|mark| i64::try_from(mark.revision).is_ok_and(|it| it >= group.revision))
    };
    let wanted = policy.policy(&nothing_selected(), 0).ok().map(|policy| digest(&policy));
    let holds =
        report.standing.as_ref().filter(|standing| Some(&standing.policy) == wanted.as_ref());
    match (report.refused.as_ref().map(|refused| refused.mark), holds) {
        (refused, _) if is_ours(refused) => Progress::Refused,
        _ if !is_ours(report.received) => Progress::Desired,
        _ if !is_ours(report.applied) => Progress::Received,
        (_, None) => Progress::Drifted,
        (_, Some(standing)) => match standing.state {
            HostState::Off | HostState::Observing => Progress::Drifted,
            HostState::Paused | HostState::Pending => Progress::Applied,
            HostState::Enforcing if standing.confirmed => Progress::Confirmed,
            HostState::Enforcing => Progress::Applied,
        },
    }
}

/// Make a group.
#[utoipa::path(
    post, path = "/api/v1/fleet/groups", tag = "fleet", request_body = NewGroup,
    responses((status = 201, body = MadeGroup), Problem)
)]
pub(super) async fn add_group(
    State(shared): State<Arc<Shared>>,
    by: By<Changing>,
    Body(NewGroup { name }): Body<NewGroup>,
) -> Result<(StatusCode, Body<MadeGroup>), Problem> {
    let name = check_name(&name)?;
    let taken = || Problem::new(Kind::Unfit, format!("there is a group {name} already"));
    let id = shared.store.add_group(name).await?.ok_or_else(taken)?;
    let after = Some(json!({ "group": name }));
    shared.store.write_down(&Deed { after, ..by.deed("make group") }, clock::now()).await?;
    Ok((StatusCode::CREATED, Body(MadeGroup { id })))
}

/// Choose what the hosts of a group do. Those that listen do it at once.
#[utoipa::path(
    put, path = "/api/v1/fleet/groups/{id}/policy", tag = "fleet", request_body = GroupPolicy,
    params(("id" = i64, Path, description = "The group's number.")),
    responses((status = 200, body = Told), Problem)
)]
pub(super) async fn set_group_policy(
    State(shared): State<Arc<Shared>>,
    by: By<Changing>,
    Path(id): Path<i64>,
    Body(wanted): Body<GroupPolicy>,
) -> Result<Body<Told>, Problem> {
    let GroupPolicy { mode, countries, hosting, unknown, disputed, accept } = wanted;
    let edit = Edit::Replace;
    let policy = Change { mode, countries, edit, unknown, hosting, disputed, scope: None, accept };
    policy.policy(&nothing_selected(), 0).map_err(|objection| match objection.risk() {
        Some(risk) => {
            Problem { risks: vec![risk], ..Problem::new(Kind::Risky, objection.to_string()) }
        }
        None => Problem::new(Kind::Invalid, objection.to_string()),
    })?;
    address(&shared).await?;
    let group = shared.store.group(id).await?.ok_or_else(missing)?;
    let before = group.policy.map(|policy| json!({ "group": group.name, "policy": policy.0 }));
    let after = Some(json!({ "group": group.name, "policy": policy }));
    shared
        .store
        .write_down(&Deed { before, after, ..by.deed("choose for group") }, clock::now())
        .await?;
    let revision = shared.store.set_group_policy(id, &policy, clock::now() / 1000).await?;
    let revision = revision.ok_or_else(missing)?;
    shared.tell_hosts().await;
    Ok(Body(Told { revision }))
}

/// Have what is chosen here count whatever hosts were asked before: after the portal was taken back to an old state, which they refuse.
#[utoipa::path(
    post, path = "/api/v1/fleet/epoch", tag = "fleet", security(("session" = [])),
    responses((status = 204, description = "Hosts do what is chosen here again."), Problem)
)]
pub(super) async fn rebase(
    State(shared): State<Arc<Shared>>,
    by: Signed<Proved<Administering>>,
) -> Result<StatusCode, Problem> {
    let now = clock::now();
    shared.store.write_down(&by.deed("begin epoch"), now).await?;
    shared.store.begin_epoch(now / 1000).await?;
    shared.tell_hosts().await;
    Ok(StatusCode::NO_CONTENT)
}

/// Make a token that enrols one host of a group, within a quarter of an hour.
#[utoipa::path(
    post, path = "/api/v1/fleet/groups/{id}/tokens", tag = "fleet",
    params(("id" = i64, Path, description = "The group's number.")),
    responses((status = 201, body = MadeTicket), Problem)
)]
pub(super) async fn add_ticket(
    State(shared): State<Arc<Shared>>,
    by: By<Changing>,
    Path(id): Path<i64>,
) -> Result<(StatusCode, Body<MadeTicket>), Problem> {
    let address = address(&shared).await?;
    let group = shared.store.group(id).await?.ok_or_else(missing)?;
    let after = Some(json!({ "group": group.name }));
    shared.store.write_down(&Deed { after, ..by.deed("invite host") }, clock::now()).await?;
    let ticket = fleet::ticket(&shared.store, id).await;
    let ticket = ticket.map_err(|error| Problem::internal("no token could be made", &error))?;
    let token = ticket.to_string();
    let command = format!("geofilter enrol {address} --token {token}");
    Ok((
        StatusCode::CREATED,
        Body(MadeTicket { token, command, seconds: TICKET_LIFETIME.as_secs() }),
    ))
}

/// Hear a host no more, at once. It goes on with what it does.
#[utoipa::path(
    delete, path = "/api/v1/fleet/hosts/{id}", tag = "fleet",
    params(("id" = i64, Path, description = "The host's number.")),
    responses((status = 204, description = "It is heard no more."), Problem)
)]
pub(super) async fn revoke_host(
    State(shared): State<Arc<Shared>>,
    by: By<Changing>,
    Path(id): Path<i64>,
) -> Result<StatusCode, Problem> {
    let name = shared.member_name(HostId(id)).await?;
    let before = Some(json!({ "id": id, "name": name }));
    shared.store.write_down(&Deed { before, ..by.deed("revoke host") }, clock::now()).await?;
    shared.store.revoke(HostId(id), clock::now()).await?;
    shared.tell_hosts().await;
    Ok(StatusCode::NO_CONTENT)
}

impl Shared {
    /// The name of a host that was not revoked.
    pub(super) async fn member_name(&self, host: HostId) -> Result<String, Problem> {
        let gone = || Problem::new(Kind::Missing, "there is no such host: it was revoked");
        self.store.member_name(host).await?.ok_or_else(gone)
    }

    /// Has the hosts that listen here do what is chosen now. If the database is gone by now, they do as soon as it is back.
    pub(super) async fn tell_hosts(&self) {
        if let Err(error) = self.follower.catch_up().await {
            tracing::debug!(%error, "hosts are told later");
        }
    }
}

/// Where hosts connect. A portal that hears none has nothing to number choices by.
async fn address(shared: &Shared) -> Result<String, Problem> {
    let deaf = "this portal hears no hosts: start it with `portal run --fleet ADDRESS`";
    let address = shared.store.fleet_address().await?;
    address.ok_or_else(|| Problem::new(Kind::Unfit, deaf))
}

fn missing() -> Problem {
    Problem::new(Kind::Missing, "there is no such group")
}
