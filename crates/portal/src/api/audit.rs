//! What was changed, by whom.

use std::sync::Arc;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Body, Query};
use crate::problem::Problem;
use crate::server::Shared;
use crate::session::{Administering, By};
use crate::store::Entry;

/// Lines at a time, unless said otherwise, and at most.
const LINES: u32 = 100;
const MOST: u32 = 1000;

/// Which lines.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Which {
    /// Only those before this one.
    before: Option<i64>,
    /// At most so many: 100 unless said, never more than 1000.
    limit: Option<u32>,
}

/// Lines of the audit.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Audit {
    /// They, the newest first.
    entries: Vec<Entry>,
}

/// What operators changed, the newest first. Nobody can change it.
#[utoipa::path(
    get, path = "/api/v1/audit", tag = "audit", params(Which),
    responses((status = 200, body = Audit), Problem)
)]
pub(super) async fn audit(
    State(shared): State<Arc<Shared>>,
    _by: By<Administering>,
    Query(which): Query<Which>,
) -> Result<Body<Audit>, Problem> {
    let limit = which.limit.unwrap_or(LINES).min(MOST);
    let entries = shared.store.audit(which.before.unwrap_or(i64::MAX), limit).await?;
    Ok(Body(Audit { entries }))
}
