//! Exemptions, bans and peers of hosts.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::State;
use geofilter_core::book::{Kind, Origin};
use geofilter_core::wire::{Noted, Peers, Records, Reply, Request};
use serde::Deserialize;
use serde_json::json;
use utoipa::{IntoParams, ToSchema};

use super::hosts::confused;
use super::{Body, Query};
use crate::host::Host;
use crate::problem::Problem;
use crate::server::Shared;
use crate::session::{By, Changing, Seeing};

/// Whom to exempt or ban.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Added {
    /// Addresses, prefixes, ASes (`AS64500`); for an exemption host names and providers too. All of them, or none.
    targets: Vec<String>,
    /// For how many seconds; for ever without.
    #[serde(default)]
    seconds: Option<u64>,
    /// A remark, in one line.
    #[serde(default)]
    note: String,
}

/// Whose exemption or ban ends.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Ended {
    /// As it is listed.
    target: String,
}

/// Which peer ends.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct EndedPeer {
    /// Its address and port.
    #[param(value_type = String, example = "192.0.2.1:5060")]
    peer: SocketAddr,
}

/// Who passes whatever their country.
#[utoipa::path(
    get, path = "/api/v1/hosts/{host}/exemptions", tag = "records", params(Host),
    responses((status = 200, body = Records), Problem)
)]
pub(super) async fn exemptions(
    State(shared): State<Arc<Shared>>,
    _by: By<Seeing>,
    _host: Host,
) -> Result<Body<Records>, Problem> {
    shared.records(Kind::Exemption).await
}

/// Exempt somebody.
#[utoipa::path(
    post, path = "/api/v1/hosts/{host}/exemptions", tag = "records", params(Host),
    request_body = Added, responses((status = 200, body = Noted), Problem)
)]
pub(super) async fn exempt(
    State(shared): State<Arc<Shared>>,
    by: By<Changing>,
    _host: Host,
    Body(added): Body<Added>,
) -> Result<Body<Noted>, Problem> {
    shared.record(&by, "exempt", added.request(Kind::Exemption)).await
}

/// End an exemption.
#[utoipa::path(
    delete, path = "/api/v1/hosts/{host}/exemptions", tag = "records", params(Host, Ended),
    responses((status = 200, body = Noted), Problem)
)]
pub(super) async fn end_exemption(
    State(shared): State<Arc<Shared>>,
    by: By<Changing>,
    _host: Host,
    Query(ended): Query<Ended>,
) -> Result<Body<Noted>, Problem> {
    shared.record(&by, "end exemption", ended.request(Kind::Exemption)).await
}

/// Who is dropped unless exempt or a peer.
#[utoipa::path(
    get, path = "/api/v1/hosts/{host}/bans", tag = "records", params(Host),
    responses((status = 200, body = Records), Problem)
)]
pub(super) async fn bans(
    State(shared): State<Arc<Shared>>,
    _by: By<Seeing>,
    _host: Host,
) -> Result<Body<Records>, Problem> {
    shared.records(Kind::Ban).await
}

/// Ban somebody.
#[utoipa::path(
    post, path = "/api/v1/hosts/{host}/bans", tag = "records", params(Host),
    request_body = Added, responses((status = 200, body = Noted), Problem)
)]
pub(super) async fn ban(
    State(shared): State<Arc<Shared>>,
    by: By<Changing>,
    _host: Host,
    Body(added): Body<Added>,
) -> Result<Body<Noted>, Problem> {
    shared.record(&by, "ban", added.request(Kind::Ban)).await
}

/// End a ban.
#[utoipa::path(
    delete, path = "/api/v1/hosts/{host}/bans", tag = "records", params(Host, Ended),
    responses((status = 200, body = Noted), Problem)
)]
pub(super) async fn end_ban(
    State(shared): State<Arc<Shared>>,
    by: By<Changing>,
    _host: Host,
    Query(ended): Query<Ended>,
) -> Result<Body<Noted>, Problem> {
    shared.record(&by, "end ban", ended.request(Kind::Ban)).await
}

/// Whom the PBX itself sent a request to.
#[utoipa::path(
    get, path = "/api/v1/hosts/{host}/peers", tag = "records", params(Host),
    responses((status = 200, body = Peers), Problem)
)]
pub(super) async fn peers(
    State(shared): State<Arc<Shared>>,
    _by: By<Seeing>,
    _host: Host,
) -> Result<Body<Peers>, Problem> {
    match shared.ask(&Request::Peers).await? {
        Reply::Peers(peers) => Ok(Body(peers)),
        _ => Err(confused()),
    }
}

/// End a peer.
#[utoipa::path(
    delete, path = "/api/v1/hosts/{host}/peers", tag = "records", params(Host, EndedPeer),
    responses((status = 200, body = Noted), Problem)
)]
pub(super) async fn end_peer(
    State(shared): State<Arc<Shared>>,
    by: By<Changing>,
    _host: Host,
    Query(EndedPeer { peer }): Query<EndedPeer>,
) -> Result<Body<Noted>, Problem> {
    shared.record(&by, "end peer", Request::RemovePeer { peer }).await
}

impl Added {
    fn request(self, kind: Kind) -> Request {
        let Self { targets, seconds, note } = self;
        Request::Add { kind, targets, seconds, note, origin: Origin::Operator }
    }
}

impl Ended {
    /// Of whoever asked for it, as in the shell.
    fn request(self, kind: Kind) -> Request {
        Request::Remove { kind, targets: vec![self.target], origin: None }
    }
}

impl Shared {
    async fn records(&self, kind: Kind) -> Result<Body<Records>, Problem> {
        match self.ask(&Request::List { kind, targets: Vec::new() }).await? {
            Reply::Records(records) => Ok(Body(records)),
            _ => Err(confused()),
        }
    }

    async fn record(
        &self,
        by: &By<Changing>,
        action: &str,
        request: Request,
    ) -> Result<Body<Noted>, Problem> {
        let Reply::Noted(mut noted) = self.ask(&request).await? else { return Err(confused()) };
        let after = json!({ "asked": request, "noted": noted });
        if let Some(warning) = self.note(by, action, None, Some(after)).await {
            noted.warnings.push(warning);
        }
        Ok(Body(noted))
    }
}
