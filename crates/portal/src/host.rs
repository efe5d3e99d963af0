//! [`Host`]: which host a path is about.

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::problem::{Kind, Problem};

/// The host that the portal runs on.
pub(crate) const HOST: &str = "local";

/// Its own name.
pub(crate) fn name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The host of a path; that there is such a host is checked.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct Host {
    /// What it is called: `local` is the one that the portal runs on.
    #[param(example = "local")]
    host: String,
}

impl<S: Send + Sync> FromRequestParts<S> for Host {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(host) = Path::<Self>::from_request_parts(parts, state).await?;
        match host.host.as_str() {
            HOST => Ok(host),
            other => Err(Problem::new(Kind::Missing, format!("there is no host `{other}`"))),
        }
    }
}
