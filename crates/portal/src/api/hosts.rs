//! What hosts do, and what they are told to do.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::State;
use geofilter_core::change::Change;
use geofilter_core::desired::Generation;
use geofilter_core::policy::Transport;
use geofilter_core::wire::{
    Changed, EvidenceReport, Preview, Reply, Request, Sources, Status, Why,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};

use super::{Body, Query};
use crate::clock;
use crate::host::{self, HOST, Host};
use crate::problem::{Kind, Problem};
use crate::server::Shared;
use crate::session::{By, Changing, Seeing};
use crate::store::Deed;

/// The hosts.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Hosts {
    /// They.
    hosts: Vec<HostReport>,
}

/// A host.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HostReport {
    /// What it is called in paths.
    id: &'static str,
    /// Its name.
    name: String,
    /// Whether its agent answers.
    reachable: bool,
}

/// What to ask a preview of.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    /// What to change; the policy in force if nothing is said.
    #[serde(default)]
    change: Option<Change>,
    /// Seconds for which devices that are registered now, and that it would cut, would be exempt.
    #[serde(default)]
    keep_registered: Option<u64>,
}

/// A new policy.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Enforced {
    /// What to change.
    change: Change,
    /// Seconds in which it must be confirmed, or it goes back; without it stands at once.
    #[serde(default)]
    confirm_within: Option<u64>,
    /// Seconds for which devices that are registered now, and that it would cut, are exempt.
    #[serde(default)]
    keep_registered: Option<u64>,
}

/// Which pending change.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pending {
    /// Its number; whichever is pending if not said.
    #[serde(default)]
    generation: Option<Generation>,
}

/// How long.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pause {
    /// So many seconds.
    seconds: u64,
}

/// Whose packet.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Packet {
    /// Its source.
    #[param(value_type = String)]
    address: IpAddr,
    /// Its destination port; the first protected one if not said.
    port: Option<u16>,
    /// Its protocol; that of the first protected port if not said.
    protocol: Option<Transport>,
}

/// How many.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Limit {
    /// At most so many: 100 unless said, never more than 1,000.
    limit: Option<usize>,
}

const SOURCES: usize = 100;
const MOST_SOURCES: usize = 1_000;

/// The hosts.
#[utoipa::path(
    get, path = "/api/v1/hosts", tag = "hosts", responses((status = 200, body = Hosts), Problem)
)]
pub(super) async fn hosts(State(shared): State<Arc<Shared>>, _by: By<Seeing>) -> Body<Hosts> {
    let name = host::name();
    let reachable = shared.hub.agent().ask(&Request::Status).await.is_ok();
    Body(Hosts { hosts: vec![HostReport { id: HOST, name, reachable }] })
}

/// The state of a host.
#[utoipa::path(
    get, path = "/api/v1/hosts/{host}/status", tag = "hosts", params(Host),
    responses((status = 200, body = Status), Problem)
)]
pub(super) async fn status(
    State(shared): State<Arc<Shared>>,
    _by: By<Seeing>,
    _host: Host,
) -> Result<Body<Status>, Problem> {
    shared.status().await.map(Body)
}

/// What a change would do, and to whom.
#[utoipa::path(
    post, path = "/api/v1/hosts/{host}/preview", tag = "hosts", params(Host),
    request_body = Asked, responses((status = 200, body = Preview), Problem)
)]
pub(super) async fn preview(
    State(shared): State<Arc<Shared>>,
    _by: By<Seeing>,
    _host: Host,
    Body(Asked { change, keep_registered }): Body<Asked>,
) -> Result<Body<Preview>, Problem> {
    match shared.ask(&Request::Preview { change, keep_registered }).await? {
        Reply::Preview(preview) => Ok(Body(*preview)),
        _ => Err(confused()),
    }
}

/// Enforce a new policy.
#[utoipa::path(
    put, path = "/api/v1/hosts/{host}/policy", tag = "hosts", params(Host),
    request_body = Enforced, responses((status = 200, body = Changed), Problem)
)]
pub(super) async fn enforce(
    State(shared): State<Arc<Shared>>,
    by: By<Changing>,
    _host: Host,
    Body(Enforced { change, confirm_within, keep_registered }): Body<Enforced>,
) -> Result<Body<Changed>, Problem> {
    by.may_accept(&change.accept)?;
    let request = Request::Enforce { change, confirm_within, keep_registered };
    let Body(mut changed) = shared.change(&by, "enforce", request).await?;
    // What was being chosen is in force.
    if let Err(error) = shared.store.remove_draft(&shared.here).await {
        changed.warnings.push(Problem::from(error).detail);
    }
    Ok(Body(changed))
}

/// Keep the pending change.
#[utoipa::path(
    post, path = "/api/v1/hosts/{host}/confirm", tag = "hosts", params(Host),
    request_body = Pending, responses((status = 200, body = Changed), Problem)
)]
pub(super) async fn confirm(
    State(shared): State<Arc<Shared>>,
    by: By<Changing>,
    _host: Host,
    Body(Pending { generation }): Body<Pending>,
) -> Result<Body<Changed>, Problem> {
    shared.change(&by, "confirm", Request::Confirm { generation }).await
}

/// Undo the pending change.
#[utoipa::path(
    post, path = "/api/v1/hosts/{host}/revert", tag = "hosts", params(Host),
    request_body = Pending, responses((status = 200, body = Changed), Problem)
)]
pub(super) async fn revert(
    State(shared): State<Arc<Shared>>,
    by: By<Changing>,
    _host: Host,
    Body(Pending { generation }): Body<Pending>,
) -> Result<Body<Changed>, Problem> {
    shared.change(&by, "revert", Request::Revert { generation }).await
}

/// Keep the policy, and only count what it would drop.
#[utoipa::path(
    post, path = "/api/v1/hosts/{host}/observe", tag = "hosts", params(Host),
    responses((status = 200, body = Changed), Problem)
)]
pub(super) async fn observe(
    State(shared): State<Arc<Shared>>,
    by: By<Changing>,
    _host: Host,
) -> Result<Body<Changed>, Problem> {
    shared.change(&by, "observe", Request::Observe).await
}

/// Let everything pass for a while.
#[utoipa::path(
    post, path = "/api/v1/hosts/{host}/pause", tag = "hosts", params(Host),
    request_body = Pause, responses((status = 200, body = Changed), Problem)
)]
pub(super) async fn pause(
    State(shared): State<Arc<Shared>>,
    by: By<Changing>,
    _host: Host,
    Body(Pause { seconds }): Body<Pause>,
) -> Result<Body<Changed>, Problem> {
    shared.change(&by, "pause", Request::Pause { seconds }).await
}

/// End a pause.
#[utoipa::path(
    post, path = "/api/v1/hosts/{host}/resume", tag = "hosts", params(Host),
    responses((status = 200, body = Changed), Problem)
)]
pub(super) async fn resume(
    State(shared): State<Arc<Shared>>,
    by: By<Changing>,
    _host: Host,
) -> Result<Body<Changed>, Problem> {
    shared.change(&by, "resume", Request::Resume).await
}

/// Detach everything, and prove that the host is as it was.
#[utoipa::path(
    post, path = "/api/v1/hosts/{host}/off", tag = "hosts", params(Host),
    responses((status = 200, body = Changed), Problem)
)]
pub(super) async fn off(
    State(shared): State<Arc<Shared>>,
    by: By<Changing>,
    _host: Host,
) -> Result<Body<Changed>, Problem> {
    shared.change(&by, "off", Request::Off).await
}

/// What happens to an address, and why.
#[utoipa::path(
    get, path = "/api/v1/hosts/{host}/why", tag = "hosts", params(Host, Packet),
    responses((status = 200, body = Why), Problem)
)]
pub(super) async fn why(
    State(shared): State<Arc<Shared>>,
    _by: By<Seeing>,
    _host: Host,
    Query(Packet { address, port, protocol }): Query<Packet>,
) -> Result<Body<Why>, Problem> {
    match shared.ask(&Request::Why { address, port, protocol }).await? {
        Reply::Why(why) => Ok(Body(*why)),
        _ => Err(confused()),
    }
}

/// Who sends packets to protected ports, and from which countries, the busiest first.
#[utoipa::path(
    get, path = "/api/v1/hosts/{host}/sources", tag = "hosts", params(Host, Limit),
    responses((status = 200, body = Sources), Problem)
)]
pub(super) async fn sources(
    State(shared): State<Arc<Shared>>,
    _by: By<Seeing>,
    _host: Host,
    Query(Limit { limit }): Query<Limit>,
) -> Result<Body<Sources>, Problem> {
    let limit = limit.unwrap_or(SOURCES).min(MOST_SOURCES);
    match shared.ask(&Request::Sources { limit }).await? {
        Reply::Sources(sources) => Ok(Body(sources)),
        _ => Err(confused()),
    }
}

/// What the logs of the PBX told of attempts, day by day.
#[utoipa::path(
    get, path = "/api/v1/hosts/{host}/evidence", tag = "hosts", params(Host),
    responses((status = 200, body = EvidenceReport), Problem)
)]
pub(super) async fn evidence(
    State(shared): State<Arc<Shared>>,
    _by: By<Seeing>,
    _host: Host,
) -> Result<Body<EvidenceReport>, Problem> {
    match shared.ask(&Request::Evidence).await? {
        Reply::Evidence(evidence) => Ok(Body(*evidence)),
        _ => Err(confused()),
    }
}

impl Shared {
    /// Asks the agent.
    pub(super) async fn ask(&self, request: &Request) -> Result<Reply, Problem> {
        Ok(self.hub.agent().ask(request).await?)
    }

    pub(super) async fn status(&self) -> Result<Status, Problem> {
        match self.ask(&Request::Status).await? {
            Reply::Status(status) => Ok(*status),
            _ => Err(confused()),
        }
    }

    /// Changes what the host does, and writes down who did.
    pub(super) async fn change(
        &self,
        by: &By<Changing>,
        action: &str,
        request: Request,
    ) -> Result<Body<Changed>, Problem> {
        let before = self.status().await?;
        let Reply::Changed(mut changed) = self.ask(&request).await? else {
            return Err(confused());
        };
        let short = |state, policy| json!({ "state": state, "policy": policy });
        self.made(changed.generation);
        let before = short(json!(before.state), json!(before.policy()));
        let after = json!({
            "state": changed.state, "mode": changed.mode, "countries": changed.countries,
            "generation": changed.generation, "asked": request,
        });
        let noted = self.note(by, action, Some(before), Some(after)).await;
        changed.warnings.extend(noted);
        if let Err(problem) = self.remember(by, &request, changed.generation).await {
            tracing::warn!(detail = problem.detail, "the history could not be written");
        }
        Ok(Body(changed))
    }

    /// Writes into the history what is in force now, and who chose it if that was here.
    async fn remember(
        &self,
        by: &By<Changing>,
        request: &Request,
        generation: Generation,
    ) -> Result<(), Problem> {
        let time = clock::now();
        self.store.see(&self.here, time, &self.status().await?).await?;
        if matches!(request, Request::Enforce { .. } | Request::Observe) {
            self.store.chose(&self.here, generation.0, &by.name).await?;
        }
        Ok(())
    }

    /// Writes down what was done; what was done stays done if that fails, and that is said.
    pub(super) async fn note(
        &self,
        by: &By<Changing>,
        action: &str,
        before: Option<serde_json::Value>,
        after: Option<serde_json::Value>,
    ) -> Option<String> {
        let deed = Deed { host: Some(&self.here), before, after, ..by.deed(action) };
        let error = self.store.write_down(&deed, clock::now()).await.err()?;
        tracing::error!(%error, action, operator = deed.operator, "the audit could not be written");
        Some(
            "it was done, and could not be written into the audit; the portal's log says why"
                .to_owned(),
        )
    }
}

/// A reply to another question.
pub(super) fn confused() -> Problem {
    Problem::new(Kind::Failed, "the agent answered another question; is it another version?")
}
