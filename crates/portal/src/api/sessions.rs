//! Where an operator is signed in.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Body, Path};
use crate::clock;
use crate::problem::{Kind, Problem};
use crate::server::Shared;
use crate::session::{Own, Seeing, Signed};

/// The sessions of an operator.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Sessions {
    /// They, the one that was used last first.
    sessions: Vec<SessionReport>,
}

/// A session.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SessionReport {
    /// Its number.
    id: i64,
    /// The address that signed in.
    source: String,
    /// When, in RFC 3339.
    began: String,
    /// When it was used last, to a minute, in RFC 3339.
    used: String,
    /// Whether it is the one that asks.
    this: bool,
}

/// Where you are signed in.
#[utoipa::path(
    get, path = "/api/v1/sessions", tag = "session", security(("session" = [])),
    responses((status = 200, body = Sessions), Problem)
)]
pub(super) async fn sessions(
    State(shared): State<Arc<Shared>>,
    by: Signed<Own<Seeing>>,
) -> Result<Body<Sessions>, Problem> {
    let sessions = shared.store.sessions(by.session.operator, clock::now()).await?;
    let sessions = sessions.into_iter().map(|session| SessionReport {
        id: session.id,
        source: session.source,
        began: clock::written(session.began),
        used: clock::written(session.used),
        this: session.id == by.session.id,
    });
    Ok(Body(Sessions { sessions: sessions.collect() }))
}

/// End one of your sessions.
#[utoipa::path(
    delete, path = "/api/v1/sessions/{id}", tag = "session", security(("session" = [])),
    params(("id" = i64, Path, description = "Its number.")),
    responses((status = 204, description = "It has ended."), Problem)
)]
pub(super) async fn end_session(
    State(shared): State<Arc<Shared>>,
    by: Signed<Own<Seeing>>,
    Path(id): Path<i64>,
) -> Result<StatusCode, Problem> {
    match shared.store.end_session(by.session.operator, id).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(Problem::new(Kind::Missing, "there is no such session: it has ended")),
    }
}
