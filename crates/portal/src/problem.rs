//! [`Problem`]: how the API refuses, in the form of RFC 9457.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use geofilter_core::change::Risk;
use geofilter_core::wire::{Failure, FailureKind};
use serde::Serialize;
use utoipa::openapi::{Content, Ref, RefOr, Response as Described, ResponseBuilder};
use utoipa::{IntoResponses, ToSchema};

use crate::store::is_away;

/// What kind it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ProblemKind)]
pub(crate) enum Kind {
    /// There is no session, or it has ended: sign in.
    #[serde(rename = "urn:geofilter:session")]
    Session,
    /// The role is not enough, or the request did not come from the page.
    #[serde(rename = "urn:geofilter:forbidden")]
    Forbidden,
    /// The password was right, and a code is asked for besides, or was not: repeat both with `code`.
    #[serde(rename = "urn:geofilter:code")]
    Code,
    /// This needs a proof, not long ago, of who asks: `POST /api/v1/session/proof`, then repeat the request.
    #[serde(rename = "urn:geofilter:prove")]
    Prove,
    /// Somebody else gave the password: `PUT /api/v1/session/password` first, then repeat the request.
    #[serde(rename = "urn:geofilter:password")]
    Password,
    /// Too many attempts to sign in.
    #[serde(rename = "urn:geofilter:locked")]
    Locked,
    /// There is no such thing.
    #[serde(rename = "urn:geofilter:missing")]
    Missing,
    /// The request makes no sense.
    #[serde(rename = "urn:geofilter:invalid")]
    Invalid,
    /// It is dangerous, and the dangers in `risks` were not accepted.
    #[serde(rename = "urn:geofilter:risky")]
    Risky,
    /// As things are that can't be done, or there is nothing to do of that kind.
    #[serde(rename = "urn:geofilter:unfit")]
    Unfit,
    /// The agent does not answer; what the kernel holds stays in force.
    #[serde(rename = "urn:geofilter:unreachable")]
    Unreachable,
    /// It was tried and failed.
    #[serde(rename = "urn:geofilter:failed")]
    Failed,
}

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// What kind it is.
    #[serde(rename = "type")]
    pub(crate) kind: Kind,
    /// The HTTP status.
    pub(crate) status: u16,
    /// The kind, for people.
    pub(crate) title: &'static str,
    /// What failed, on what, and what to do.
    pub(crate) detail: String,
    /// The risks that would have to be accepted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) risks: Vec<Risk>,
    /// There is no operator yet: the one-time link makes the first.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) first: bool,
    /// Seconds until it may be tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) retry_after: Option<u64>,
}

impl Problem {
    /// A problem of this kind.
    pub(crate) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        let (status, title) = match kind {
            Kind::Session => (StatusCode::UNAUTHORIZED, "sign in"),
            Kind::Forbidden => (StatusCode::FORBIDDEN, "not allowed"),
            Kind::Code => (StatusCode::UNAUTHORIZED, "a code is asked for"),
            Kind::Prove => (StatusCode::FORBIDDEN, "prove who you are"),
            Kind::Password => (StatusCode::FORBIDDEN, "choose a password"),
            Kind::Locked => (StatusCode::TOO_MANY_REQUESTS, "too many attempts"),
            Kind::Missing => (StatusCode::NOT_FOUND, "not found"),
            Kind::Invalid => (StatusCode::UNPROCESSABLE_ENTITY, "makes no sense"),
            Kind::Unfit => (StatusCode::CONFLICT, "not as things are"),
            Kind::Risky => (StatusCode::CONFLICT, "dangerous"),
            Kind::Unreachable => (StatusCode::SERVICE_UNAVAILABLE, "the agent does not answer"),
            Kind::Failed => (StatusCode::BAD_GATEWAY, "failed"),
        };
        Self {
            kind,
            status: status.as_u16(),
            title,
            detail: detail.into(),
            risks: Vec::new(),
            first: false,
            retry_after: None,
        }
    }

    /// There is no secret without random bits.
    pub(crate) fn no_random(error: getrandom::Error) -> Self {
        Self::internal("the kernel gave no random bits", &error)
    }

    /// Something of the portal's own failed. What it was is for its log, not for a client.
    pub(crate) fn internal(what: &str, error: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(%error, "{what}");
        let mut problem = Self::new(Kind::Failed, format!("{what}; the portal's log says why"));
        problem.status = StatusCode::INTERNAL_SERVER_ERROR.as_u16();
        problem
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        let kind = match failure.kind {
            FailureKind::Failed => Kind::Failed,
            FailureKind::Invalid => Kind::Invalid,
            FailureKind::Unfit => Kind::Unfit,
            FailureKind::Risky => Kind::Risky,
            FailureKind::Unreachable => Kind::Unreachable,
        };
        Self { risks: failure.risks, ..Self::new(kind, failure.message) }
    }
}

/// Seconds after which a database that was away may be back.
const SOON: u64 = 5;
/// What SQLite calls a disk without room.
const FULL: &str = "13";

impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        let is_full =
            |error: &dyn sqlx::error::DatabaseError| error.code().is_some_and(|code| code == FULL);
        if is_away(&error) {
            tracing::debug!(%error, "the database does not answer");
            let away = "the portal's database does not answer: every host goes on with what it does; try again soon";
            return Self {
                status: StatusCode::SERVICE_UNAVAILABLE.as_u16(),
                retry_after: Some(SOON),
                ..Self::new(Kind::Failed, away)
            };
        }
        let mut problem = Self::internal("the portal's database failed", &error);
        if error.as_database_error().is_some_and(is_full) {
            problem.status = StatusCode::INSUFFICIENT_STORAGE.as_u16();
            problem.detail = "there is no room left for the portal's database, so this was not kept: make room on its disk, and try again. The filter goes on as it is".to_owned();
        }
        problem
    }
}

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        Self {
            status: rejection.status().as_u16(),
            ..Self::new(Kind::Invalid, rejection.body_text())
        }
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        Self::new(Kind::Invalid, rejection.body_text())
    }
}

impl From<PathRejection> for Problem {
    fn from(rejection: PathRejection) -> Self {
        Self::new(Kind::Missing, rejection.body_text())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let (retry_after, kind) = (self.retry_after, self.kind);
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response.extensions_mut().insert(kind);
        response
    }
}

impl IntoResponses for Problem {
    /// Whatever is not as it should be is answered with one.
    fn responses() -> BTreeMap<String, RefOr<Described>> {
        let one = |status: &str| (status.to_owned(), Ref::from_response_name(NAME).into());
        ["400", "401", "403", "404", "409", "413", "415", "422", "429", "500", "502", "503", "507"]
            .map(one)
            .into()
    }
}

/// What the description calls it.
pub(crate) const NAME: &str = "Problem";

/// What the description says of it.
pub(crate) fn described() -> Described {
    let content = Content::new(Some(Ref::from_schema_name(NAME)));
    ResponseBuilder::new()
        .description("Why it was not done.")
        .content("application/problem+json", content)
        .build()
}
