//! The hosts of the fleet, in groups that have a policy together.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderName, header};
use geofilter_core::change::{Change, Risk};
use geofilter_core::desired::State as HostState;
use geofilter_core::limits::Limits;
use geofilter_fleet::{HostId, Mark, Report, Served};
use serde::Serialize;
use utoipa::ToSchema;

use super::Body;
use super::series::word;
use super::world::HostWorld;
use crate::clock;
use crate::fleet::{self, Settings, Sources};
use crate::metrics::{self, Counted};
use crate::problem::Problem;
use crate::server::Shared;
use crate::session::{By, Own, Seeing};
use crate::store::{Editing, Member, Standing, Tenant};

/// Seconds that a host's clock may be off and nobody is told.
const CLOCK: u64 = 60;

/// The fleet.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Fleet {
    /// Where hosts connect; none if this portal hears no hosts.
    address: Option<String>,
    /// The organisations, by name.
    tenants: Vec<TenantReport>,
    /// Its groups, by name.
    groups: Vec<GroupReport>,
}

/// An organisation: a customer of whoever runs the portal, or whoever runs it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TenantReport {
    /// Its number.
    id: i64,
    /// Its name.
    name: String,
    /// What is chosen for all of its groups.
    own: Settings,
    /// Which revision that is: the second since 1970 at which it was chosen.
    revision: i64,
    /// What it may do at most.
    limits: Limits,
    /// Who chooses for it: operators of the portal, or its own too.
    editing: Editing,
}

/// A group of hosts.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GroupReport {
    /// Its number.
    id: i64,
    /// The number of its organisation.
    tenant: i64,
    /// Its name.
    name: String,
    /// What its hosts are to do; none while nobody has chosen that.
    policy: Option<Change>,
    /// Where that comes from.
    from: Sources,
    /// What is chosen for this group.
    own: Settings,
    /// Which revision it is: the second since 1970 at which it was chosen.
    revision: i64,
    /// Its hosts, by name.
    hosts: Vec<MemberReport>,
}

/// What is chosen for a host alone, and what comes of it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AloneReport {
    /// What is chosen for it.
    own: Settings,
    /// What it is to do.
    policy: Option<Change>,
    /// Where that comes from.
    from: Sources,
    /// Which revision that is.
    revision: i64,
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
    /// What is chosen for it alone; none if it is like its group.
    alone: Option<AloneReport>,
    /// The policy in force, where somebody chose it at the host.
    instead: Option<Change>,
    /// Whom it serves; none if no PBX answers there.
    served: Option<ServedReport>,
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

/// Whom a host serves.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ServedReport {
    /// Devices that are registered at its PBX.
    phones: u32,
    /// Trunks that its PBX knows.
    trunks: u32,
    /// Trunks at which its PBX is registered.
    registrations: u32,
    /// Those that the PBX has sent a request to, not long ago.
    peers: u32,
}

/// The fleet, and how far its hosts are. An operator of an organisation sees what is of that.
#[utoipa::path(
    get, path = "/api/v1/fleet", tag = "fleet",
    responses((status = 200, body = Fleet), Problem)
)]
pub(super) async fn fleet(
    State(shared): State<Arc<Shared>>,
    by: By<Own<Seeing>>,
) -> Result<Body<Fleet>, Problem> {
    let groups = groups(&shared, by.tenant).await?;
    let mut tenants = shared.store.tenants().await?;
    tenants.retain(|tenant| by.sees(tenant.id));
    let tenants = tenants.into_iter().map(TenantReport::from).collect();
    Ok(Body(Fleet { address: shared.store.fleet_address().await?, tenants, groups }))
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
    let hosts: Vec<Counted> = groups(&shared, None).await?.into_iter().flat_map(counted).collect();
    let text = metrics::text(&hosts);
    let text = text.map_err(|error| Problem::internal("no metrics could be written", &error))?;
    Ok(([(header::CONTENT_TYPE, metrics::OPEN_METRICS)], text))
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

impl From<Tenant> for TenantReport {
    fn from(tenant: Tenant) -> Self {
        let own = tenant.settings();
        let Tenant { id, name, revision, limits, editing, .. } = tenant;
        Self { id, name, own, revision, limits: limits.0, editing }
    }
}

/// What a host is to do, and what its kernel says of itself once it does it.
struct Aim {
    revision: i64,
    digest: Option<String>,
    is_chosen: bool,
}

impl From<&Standing> for Aim {
    fn from(standing: &Standing) -> Self {
        let Standing { chosen, revision } = standing;
        Self { revision: *revision, digest: chosen.digest(), is_chosen: chosen.policy.is_some() }
    }
}

/// All groups with their hosts; or those of an organisation.
async fn groups(shared: &Shared, tenant: Option<i64>) -> Result<Vec<GroupReport>, Problem> {
    let (of_groups, of_hosts) = shared.store.standings().await?;
    let mut groups: Vec<(GroupReport, Aim)> = Vec::new();
    for group in shared.store.groups().await? {
        if tenant.is_some_and(|tenant| tenant != group.tenant) {
            continue;
        }
        // It may have been made just now.
        let Some(standing) = of_groups.get(&group.id) else { continue };
        let own = group.settings();
        let Standing { chosen, revision } = standing.clone();
        let report = GroupReport {
            id: group.id,
            tenant: group.tenant,
            name: group.name,
            policy: chosen.policy,
            from: chosen.from,
            own,
            revision,
            hosts: Vec::new(),
        };
        groups.push((report, standing.into()));
    }
    let places: HashMap<i64, usize> =
        groups.iter().enumerate().map(|(at, (group, _))| (group.id, at)).collect();
    let served = shared.store.world_digest().await?;
    for member in shared.store.members(fleet::seen_since()).await? {
        let Some((group, aim)) = places.get(&member.host_group).and_then(|at| groups.get_mut(*at))
        else {
            continue;
        };
        let host = match of_hosts.get(&HostId(member.id)) {
            None => member_report(member, aim, None, served.as_deref()),
            Some((standing, own)) => {
                let alone = Some((standing, own));
                member_report(member, &standing.into(), alone, served.as_deref())
            }
        };
        group.hosts.push(host);
    }
    Ok(groups.into_iter().map(|(group, _)| group).collect())
}

fn member_report(
    member: Member,
    aim: &Aim,
    alone: Option<(&Standing, &Settings)>,
    served_world: Option<&str>,
) -> MemberReport {
    let report = member.report.map(|report| report.0);
    let progress = progress(aim, report.as_ref());
    let standing = report.as_ref().and_then(|report| report.standing.as_ref());
    let received = report.as_ref().and_then(|report| report.received);
    let refused = report.as_ref().and_then(|report| report.refused.clone());
    let alone = alone.filter(|(_, own)| !own.is_empty()).map(|(standing, own)| AloneReport {
        own: own.clone(),
        policy: standing.chosen.policy.clone(),
        from: standing.chosen.from,
        revision: standing.revision,
    });
    let served = report.as_ref().and_then(|report| report.served);
    MemberReport {
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
        alone,
        served: served.map(|Served { phones, trunks, registrations, peers }| ServedReport {
            phones,
            trunks,
            registrations,
            peers,
        }),
        instead: report
            .as_ref()
            .filter(|_| progress == Progress::Drifted)
            .and_then(|report| report.instead.as_deref().cloned()),
        world: report
            .as_ref()
            .and_then(|report| report.world.as_ref())
            .map(|world| HostWorld::of(world, served_world)),
        version: report.map(|report| report.version),
    }
}

/// By what the host's kernel holds, not by what the host believes it did.
fn progress(aim: &Aim, report: Option<&Report>) -> Progress {
    if !aim.is_chosen {
        return Progress::Free;
    }
    let Some(report) = report else { return Progress::Desired };
    let is_ours = |mark: Option<Mark>| {
        mark.is_some_and(|mark| i64::try_from(mark.revision).is_ok_and(|it| it >= aim.revision))
    };
    let holds =
        report.standing.as_ref().filter(|standing| Some(&standing.policy) == aim.digest.as_ref());
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
