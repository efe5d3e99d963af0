//! What hosts of the fleet are told: by the settings of their organisation, their group, and their own.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use geofilter_core::limits::Limits;
use geofilter_fleet::{HostId, TICKET_LIFETIME};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::{Body, Path};
use crate::clock;
use crate::fleet::{self, Chosen, Level, Settings, Unfit};
use crate::passwords::check_name;
use crate::problem::{Kind, Problem};
use crate::server::Shared;
use crate::session::{Administering, By, Changing, Own, Proved, Signed};
use crate::store::{Deed, Editing, Group, Known, Target, Tenant};

/// An organisation to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewTenant {
    /// Its name.
    name: String,
}

/// What an organisation is from now on.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WantedTenant {
    /// Its name.
    name: String,
    /// What it may do at most.
    #[serde(default)]
    limits: Limits,
    /// Who chooses for it.
    editing: Editing,
}

/// A group to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewGroup {
    /// Its name.
    name: String,
    /// The number of its organisation; yours without, or the first.
    #[serde(default)]
    tenant: Option<i64>,
}

/// What was made.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Made {
    /// Its number.
    pub(super) id: i64,
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

/// Where a host belongs from now on.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewPlace {
    /// The number of a group of the same organisation.
    group: i64,
}

/// What becomes of what somebody changed at a host.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Drift {
    /// It is what is chosen for that host from now on.
    Accept,
    /// The host does again what it is told.
    Overwrite,
}

/// See there.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OfDrift {
    /// What becomes of it.
    drift: Drift,
}

/// Make an organisation.
#[utoipa::path(
    post, path = "/api/v1/fleet/tenants", tag = "fleet", request_body = NewTenant,
    responses((status = 201, body = Made), Problem)
)]
pub(super) async fn add_tenant(
    State(shared): State<Arc<Shared>>,
    by: By<Administering>,
    Body(NewTenant { name }): Body<NewTenant>,
) -> Result<(StatusCode, Body<Made>), Problem> {
    let name = check_name(&name)?;
    let id = shared.store.add_tenant(name).await?.ok_or_else(|| taken("an organisation", name))?;
    let after = Some(json!({ "organisation": name }));
    shared.store.write_down(&Deed { after, ..by.deed("make organisation") }, clock::now()).await?;
    Ok((StatusCode::CREATED, Body(Made { id })))
}

/// Give an organisation another name, say what it may do, and who chooses for it.
#[utoipa::path(
    put, path = "/api/v1/fleet/tenants/{id}", tag = "fleet", request_body = WantedTenant,
    params(("id" = i64, Path, description = "Its number.")),
    responses((status = 204, description = "It is so, and its hosts are told."), Problem)
)]
pub(super) async fn set_tenant(
    State(shared): State<Arc<Shared>>,
    by: By<Administering>,
    Path(id): Path<i64>,
    Body(wanted): Body<WantedTenant>,
) -> Result<StatusCode, Problem> {
    let name = check_name(&wanted.name)?;
    if !wanted.limits.are_sound() {
        let detail = "a prefix has 32 bits at most, or 128 of IPv6";
        return Err(Problem::new(Kind::Invalid, detail));
    }
    let tenant = shared.store.tenant(id).await?.ok_or_else(no_tenant)?;
    let before =
        WantedTenant { name: tenant.name, limits: tenant.limits.0, editing: tenant.editing };
    let (before, after) = (Some(json!(before)), Some(json!(wanted)));
    let deed = Deed { before, after, ..by.deed("set organisation") };
    shared.store.write_down(&deed, clock::now()).await?;
    match shared.store.set_tenant(id, name, &wanted.limits, wanted.editing).await? {
        true => {
            shared.tell_hosts().await;
            Ok(StatusCode::NO_CONTENT)
        }
        false => Err(taken("an organisation", name)),
    }
}

/// Remove an organisation that has no groups, operators or profiles.
#[utoipa::path(
    delete, path = "/api/v1/fleet/tenants/{id}", tag = "fleet",
    params(("id" = i64, Path, description = "Its number.")),
    responses((status = 204, description = "It is gone."), Problem)
)]
pub(super) async fn remove_tenant(
    State(shared): State<Arc<Shared>>,
    by: By<Administering>,
    Path(id): Path<i64>,
) -> Result<StatusCode, Problem> {
    let tenant = shared.store.tenant(id).await?.ok_or_else(no_tenant)?;
    if !shared.store.remove_tenant(id).await? {
        let detail = format!(
            "{} is the only organisation, or has groups, operators or profiles: remove those first",
            tenant.name
        );
        return Err(Problem::new(Kind::Unfit, detail));
    }
    let before = Some(json!({ "organisation": tenant.name }));
    let deed = Deed { before, ..by.deed("remove organisation") };
    shared.store.write_down(&deed, clock::now()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Make a group.
#[utoipa::path(
    post, path = "/api/v1/fleet/groups", tag = "fleet", request_body = NewGroup,
    responses((status = 201, body = Made), Problem)
)]
pub(super) async fn add_group(
    State(shared): State<Arc<Shared>>,
    by: By<Own<Changing>>,
    Body(NewGroup { name, tenant }): Body<NewGroup>,
) -> Result<(StatusCode, Body<Made>), Problem> {
    let name = check_name(&name)?;
    let tenant = match tenant.or(by.tenant) {
        Some(tenant) => tenant,
        None => shared.store.first_tenant().await?,
    };
    let tenant = shared.leads(&by, tenant).await?;
    let id =
        shared.store.add_group(tenant.id, name).await?.ok_or_else(|| taken("a group", name))?;
    let after = Some(json!({ "group": name, "organisation": tenant.name }));
    shared.store.write_down(&Deed { after, ..by.deed("make group") }, clock::now()).await?;
    Ok((StatusCode::CREATED, Body(Made { id })))
}

/// Remove a group to which no host ever belonged, or from which all were moved.
#[utoipa::path(
    delete, path = "/api/v1/fleet/groups/{id}", tag = "fleet",
    params(("id" = i64, Path, description = "Its number.")),
    responses((status = 204, description = "It is gone."), Problem)
)]
pub(super) async fn remove_group(
    State(shared): State<Arc<Shared>>,
    by: By<Own<Changing>>,
    Path(id): Path<i64>,
) -> Result<StatusCode, Problem> {
    let (group, _) = shared.leads_group(&by, id).await?;
    if !shared.store.remove_group(id).await? {
        let detail = format!("{} has hosts, or had some that were revoked", group.name);
        return Err(Problem::new(Kind::Unfit, detail));
    }
    let before = Some(json!({ "group": group.name }));
    shared.store.write_down(&Deed { before, ..by.deed("remove group") }, clock::now()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Choose what the hosts of an organisation do, where their groups don't say otherwise. Those that listen do it at once.
#[utoipa::path(
    put, path = "/api/v1/fleet/tenants/{id}/policy", tag = "fleet", request_body = Settings,
    params(("id" = i64, Path, description = "The organisation's number.")),
    responses((status = 200, body = Told), Problem)
)]
pub(super) async fn set_tenant_policy(
    State(shared): State<Arc<Shared>>,
    by: By<Own<Changing>>,
    Path(id): Path<i64>,
    Body(settings): Body<Settings>,
) -> Result<Body<Told>, Problem> {
    let tenant = shared.leads(&by, id).await?;
    check(&settings, &[(Level::Tenant, &settings)])?;
    let before = json!({ "organisation": tenant.name, "settings": tenant.settings() });
    let after = json!({ "organisation": tenant.name, "settings": settings });
    let deed =
        Deed { before: Some(before), after: Some(after), ..by.deed("choose for organisation") };
    shared.choose(&tenant, Target::Tenant(id), &settings, &deed).await
}

/// Choose what the hosts of a group do; what is not said is as the organisation has it. Those that listen do it at once.
#[utoipa::path(
    put, path = "/api/v1/fleet/groups/{id}/policy", tag = "fleet", request_body = Settings,
    params(("id" = i64, Path, description = "The group's number.")),
    responses((status = 200, body = Told), Problem)
)]
pub(super) async fn set_group_policy(
    State(shared): State<Arc<Shared>>,
    by: By<Own<Changing>>,
    Path(id): Path<i64>,
    Body(settings): Body<Settings>,
) -> Result<Body<Told>, Problem> {
    let (group, tenant) = shared.leads_group(&by, id).await?;
    let above = tenant.settings();
    check(&settings, &[(Level::Tenant, &above), (Level::Group, &settings)])?;
    let before = json!({ "group": group.name, "settings": group.settings() });
    let after = json!({ "group": group.name, "settings": settings });
    let deed = Deed { before: Some(before), after: Some(after), ..by.deed("choose for group") };
    shared.choose(&tenant, Target::Group(id), &settings, &deed).await
}

/// Choose what one host does; what is not said is as its group has it. If it listens it does it at once.
#[utoipa::path(
    put, path = "/api/v1/fleet/hosts/{id}/policy", tag = "fleet", request_body = Settings,
    params(("id" = i64, Path, description = "The host's number.")),
    responses((status = 200, body = Told), Problem)
)]
pub(super) async fn set_host_policy(
    State(shared): State<Arc<Shared>>,
    by: By<Own<Changing>>,
    Path(id): Path<i64>,
    Body(settings): Body<Settings>,
) -> Result<Body<Told>, Problem> {
    let (host, group, tenant) = shared.leads_host(&by, HostId(id)).await?;
    shared.choose_for_host(&by, (&host, &group, &tenant), &settings, "choose for host").await
}

/// Have a host belong to another group of its organisation, and do what that does.
#[utoipa::path(
    put, path = "/api/v1/fleet/hosts/{id}/group", tag = "fleet", request_body = NewPlace,
    params(("id" = i64, Path, description = "The host's number.")),
    responses((status = 204, description = "It does."), Problem)
)]
pub(super) async fn move_host(
    State(shared): State<Arc<Shared>>,
    by: By<Own<Changing>>,
    Path(id): Path<i64>,
    Body(NewPlace { group }): Body<NewPlace>,
) -> Result<StatusCode, Problem> {
    let (host, former, tenant) = shared.leads_host(&by, HostId(id)).await?;
    let (group, other) = shared.leads_group(&by, group).await?;
    if other.id != tenant.id {
        let detail = "that group is another organisation's: revoke the host, and enrol it there";
        return Err(Problem::new(Kind::Unfit, detail));
    }
    let told = |group: &Group| Some(json!({ "id": id, "name": host.name, "group": group.name }));
    let (before, after) = (told(&former), told(&group));
    let deed = Deed { before, after, ..by.deed("move host") };
    shared.store.write_down(&deed, clock::now()).await?;
    let now = clock::now() / 1000;
    if !shared.store.move_host(tenant.id, HostId(id), group.id, now).await? {
        return Err(goes_on());
    }
    shared.tell_hosts().await;
    Ok(StatusCode::NO_CONTENT)
}

/// Say what becomes of what somebody changed at a host.
#[utoipa::path(
    post, path = "/api/v1/fleet/hosts/{id}/drift", tag = "fleet", request_body = OfDrift,
    params(("id" = i64, Path, description = "The host's number.")),
    responses((status = 204, description = "It becomes so."), Problem)
)]
pub(super) async fn settle_drift(
    State(shared): State<Arc<Shared>>,
    by: By<Own<Changing>>,
    Path(id): Path<i64>,
    Body(OfDrift { drift }): Body<OfDrift>,
) -> Result<StatusCode, Problem> {
    let (host, group, tenant) = shared.leads_host(&by, HostId(id)).await?;
    match drift {
        Drift::Accept => {
            let none = || {
                let detail = "this host says of no policy that somebody chose there: where it is off, observes or is paused, that can only be overwritten";
                Problem::new(Kind::Unfit, detail)
            };
            let instead = host.report.as_ref().and_then(|report| report.0.instead.as_deref());
            let settings = Settings::of(instead.ok_or_else(none)?);
            let at = (&host, &group, &tenant);
            shared.choose_for_host(&by, at, &settings, "accept drift").await?;
        }
        Drift::Overwrite => {
            let after = Some(json!({ "id": id, "name": host.name }));
            let deed = Deed { after, ..by.deed("overwrite drift") };
            shared.store.write_down(&deed, clock::now()).await?;
            if !shared.store.tell_again(tenant.id, HostId(id), clock::now() / 1000).await? {
                return Err(goes_on());
            }
            shared.tell_hosts().await;
        }
    }
    Ok(StatusCode::NO_CONTENT)
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
    by: By<Own<Changing>>,
    Path(id): Path<i64>,
) -> Result<(StatusCode, Body<MadeTicket>), Problem> {
    let address = shared.fleet_address().await?;
    let (group, tenant) = shared.leads_group(&by, id).await?;
    if let Some(most) = tenant.limits.0.hosts
        && shared.store.hosts_of(tenant.id).await? >= i64::from(most)
    {
        let detail = format!(
            "{} has as many hosts as it may, which is {most}: revoke one first, or raise its limit",
            tenant.name
        );
        return Err(Problem::new(Kind::Unfit, detail));
    }
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
    by: By<Own<Changing>>,
    Path(id): Path<i64>,
) -> Result<StatusCode, Problem> {
    let (host, ..) = shared.leads_host(&by, HostId(id)).await?;
    let before = Some(json!({ "id": id, "name": host.name }));
    shared.store.write_down(&Deed { before, ..by.deed("revoke host") }, clock::now()).await?;
    shared.store.revoke(HostId(id), clock::now()).await?;
    shared.tell_hosts().await;
    Ok(StatusCode::NO_CONTENT)
}

impl Shared {
    /// The organisation for which the operator may choose.
    pub(super) async fn leads<N>(&self, by: &By<N>, tenant: i64) -> Result<Tenant, Problem> {
        let tenant = match by.sees(tenant) {
            true => self.store.tenant(tenant).await?,
            false => None,
        };
        let tenant = tenant.ok_or_else(no_tenant)?;
        match (by.tenant, tenant.editing) {
            (Some(_), Editing::Portal) => {
                let detail = "whoever runs this portal chooses for your organisation: ask an admin of the portal";
                Err(Problem::new(Kind::Forbidden, detail))
            }
            _ => Ok(tenant),
        }
    }

    /// The group for which the operator may choose, and its organisation.
    pub(super) async fn leads_group<N>(
        &self,
        by: &By<N>,
        group: i64,
    ) -> Result<(Group, Tenant), Problem> {
        let found = self.store.group(group).await?.filter(|group| by.sees(group.tenant));
        let group = found.ok_or_else(|| Problem::new(Kind::Missing, "there is no such group"))?;
        let tenant = self.leads(by, group.tenant).await?;
        Ok((group, tenant))
    }

    /// The host for which the operator may choose, with its group and organisation.
    async fn leads_host<N>(
        &self,
        by: &By<N>,
        host: HostId,
    ) -> Result<(Known, Group, Tenant), Problem> {
        let known = self.known_host(by, host).await?;
        let (group, tenant) = self.leads_group(by, known.host_group).await?;
        Ok((known, group, tenant))
    }

    /// A host that was not revoked, and is the operator's to see.
    pub(super) async fn known_host<N>(&self, by: &By<N>, host: HostId) -> Result<Known, Problem> {
        let gone = || Problem::new(Kind::Missing, "there is no such host: it was revoked");
        let known = self.store.known_host(host).await?;
        known.filter(|known| by.sees(known.tenant)).ok_or_else(gone)
    }

    async fn choose_for_host<N>(
        &self,
        by: &By<N>,
        (host, group, tenant): (&Known, &Group, &Tenant),
        settings: &Settings,
        action: &str,
    ) -> Result<Body<Told>, Problem> {
        let (outer, inner) = (tenant.settings(), group.settings());
        let levels = [(Level::Tenant, &outer), (Level::Group, &inner), (Level::Host, settings)];
        check(settings, &levels)?;
        let told = |settings: &Settings| {
            Some(json!({ "id": host.id, "name": host.name, "settings": settings }))
        };
        let (before, after) = (told(&host.settings()), told(settings));
        let deed = Deed { before, after, ..by.deed(action) };
        self.choose(tenant, Target::Host(HostId(host.id)), settings, &deed).await
    }

    async fn choose(
        &self,
        tenant: &Tenant,
        target: Target,
        settings: &Settings,
        deed: &Deed<'_>,
    ) -> Result<Body<Told>, Problem> {
        self.fleet_address().await?;
        self.store.write_down(deed, clock::now()).await?;
        let now = clock::now() / 1000;
        let revision = self.store.choose(tenant.id, target, settings, now).await?;
        let revision = revision.ok_or_else(goes_on)?;
        self.tell_hosts().await;
        Ok(Body(Told { revision }))
    }

    /// Has the hosts that listen here do what is chosen now. If the database is gone by now, they do as soon as it is back.
    pub(super) async fn tell_hosts(&self) {
        if let Err(error) = self.follower.catch_up().await {
            tracing::debug!(%error, "hosts are told later");
        }
    }

    /// Where hosts connect. A portal that hears none has nothing to number choices by.
    pub(super) async fn fleet_address(&self) -> Result<String, Problem> {
        let deaf = "this portal hears no hosts: start it with `portal run --fleet ADDRESS`";
        let address = self.store.fleet_address().await?;
        address.ok_or_else(|| Problem::new(Kind::Unfit, deaf))
    }
}

/// Whether settings make sense with those above them.
pub(super) fn check(settings: &Settings, levels: &[(Level, &Settings)]) -> Result<(), Problem> {
    let chosen = Chosen::of(levels.iter().copied());
    chosen.check(settings).map_err(|unfit| match &unfit {
        Unfit::Policy(objection) => match objection.risk() {
            Some(risk) => {
                Problem { risks: vec![risk], ..Problem::new(Kind::Risky, unfit.to_string()) }
            }
            None => Problem::new(Kind::Invalid, unfit.to_string()),
        },
        Unfit::Half => Problem::new(Kind::Invalid, unfit.to_string()),
    })
}

fn taken(what: &str, name: &str) -> Problem {
    Problem::new(Kind::Unfit, format!("there is {what} {name} already"))
}

/// What changes while a rollout goes on could not be told from what it does.
fn goes_on() -> Problem {
    let detail = "a rollout goes on for this organisation: wait until it is done, or abort it; or whom this was for is gone";
    Problem::new(Kind::Unfit, detail)
}

fn no_tenant() -> Problem {
    Problem::new(Kind::Missing, "there is no such organisation")
}
