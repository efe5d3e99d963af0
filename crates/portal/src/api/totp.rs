//! An operator's second factor, and taking off somebody else's.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Body, Path};
use crate::clock;
use crate::problem::{Kind, Problem};
use crate::server::Shared;
use crate::session::{Administering, Own, Proved, Seeing, Signed};
use crate::store::Factor;
use crate::totp::{self, Enrolment};

/// What an authenticator app is told, once.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NewTotp {
    /// The secret in base 32, to be typed.
    secret: String,
    /// The same with what it is for, as a link.
    uri: String,
    /// The link as a QR code, an SVG image.
    qr: String,
}

/// A code.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Code {
    /// What the app shows.
    code: String,
}

/// What is shown instead of a code when the device is lost, each once; they are told once.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RecoveryCodes {
    /// They.
    codes: Vec<String>,
}

/// Have a secret for an authenticator app. Codes are asked for once the first of them was right.
#[utoipa::path(
    post, path = "/api/v1/session/totp", tag = "session", security(("session" = [])),
    responses((status = 201, body = NewTotp), Problem)
)]
pub(super) async fn offer_totp(
    State(shared): State<Arc<Shared>>,
    by: Signed<Own<Proved<Seeing>>>,
) -> Result<(StatusCode, Body<NewTotp>), Problem> {
    let secret = totp::new_secret().map_err(Problem::no_random)?;
    if !shared.store.offer_factor(by.session.operator, &secret).await? {
        let detail = "codes are asked for already: take that off first";
        return Err(Problem::new(Kind::Unfit, detail));
    }
    let Enrolment { secret, uri, qr } = Enrolment::new(&secret, &by.session.name)?;
    Ok((StatusCode::CREATED, Body(NewTotp { secret, uri, qr })))
}

/// Be asked for codes from now on. All other sessions of this operator end.
#[utoipa::path(
    put, path = "/api/v1/session/totp", tag = "session", security(("session" = [])), request_body = Code,
    responses((status = 200, body = RecoveryCodes), Problem)
)]
pub(super) async fn begin_totp(
    State(shared): State<Arc<Shared>>,
    by: Signed<Own<Proved<Seeing>>>,
    Body(Code { code }): Body<Code>,
) -> Result<Response, Problem> {
    let factor = shared.store.factor(by.session.operator).await?;
    let none = || Problem::new(Kind::Unfit, "there is no new secret: ask for one first");
    let factor = factor.filter(|factor| factor.since.is_none()).ok_or_else(none)?;
    shared.try_once(&by.session.name, &by.source)?;
    if !shared.takes(&factor, code.trim()).await? {
        let detail = "this is not the code of this secret: give the next one, and see to the clock of the device and of this host";
        return Err(Problem::new(Kind::Invalid, detail));
    }
    shared.succeeded(&by.session.name, &by.source);
    let codes = shared.give_recovery_codes(&by, &factor, "begin second factor").await?;
    shared.renewed(&by.session, by.session.proved, codes).await
}

/// Have new recovery codes in the place of the others.
#[utoipa::path(
    post, path = "/api/v1/session/recovery-codes", tag = "session", security(("session" = [])),
    responses((status = 201, body = RecoveryCodes), Problem)
)]
pub(super) async fn new_recovery_codes(
    State(shared): State<Arc<Shared>>,
    by: Signed<Own<Proved<Seeing>>>,
) -> Result<(StatusCode, Body<RecoveryCodes>), Problem> {
    let factor = shared.store.factor(by.session.operator).await?;
    let factor = factor.filter(|factor| factor.since.is_some()).ok_or_else(not_asked)?;
    let codes = shared.give_recovery_codes(&by, &factor, "new recovery codes").await?;
    Ok((StatusCode::CREATED, codes))
}

/// Be asked for codes no longer. All other sessions of this operator end.
#[utoipa::path(
    delete, path = "/api/v1/session/totp", tag = "session", security(("session" = [])),
    responses((status = 204, description = "Codes are asked for no longer."), Problem)
)]
pub(super) async fn end_totp(
    State(shared): State<Arc<Shared>>,
    by: Signed<Own<Proved<Seeing>>>,
) -> Result<Response, Problem> {
    shared.store.write_down(&by.deed("end second factor"), clock::now()).await?;
    match shared.store.remove_factor(by.session.operator, Some(by.session.id)).await? {
        true => shared.renewed(&by.session, by.session.proved, StatusCode::NO_CONTENT).await,
        false => Err(not_asked()),
    }
}

/// Ask an operator for codes no longer, who has lost the device and the recovery codes.
#[utoipa::path(
    delete, path = "/api/v1/operators/{name}/totp", tag = "operators", security(("session" = [])),
    params(("name" = String, Path, description = "The operator's name.")),
    responses((status = 204, description = "Codes are asked for no longer."), Problem)
)]
pub(super) async fn end_totp_of(
    State(shared): State<Arc<Shared>>,
    by: Signed<Proved<Administering>>,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    let operator = shared.note_of(&by, &name, "end second factor of").await?;
    match shared.store.remove_factor(operator.id, None).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(not_asked()),
    }
}

impl Shared {
    async fn give_recovery_codes<N>(
        &self,
        by: &Signed<N>,
        factor: &Factor,
        action: &str,
    ) -> Result<Body<RecoveryCodes>, Problem> {
        let codes = totp::recovery_codes().map_err(Problem::no_random)?;
        let digests: Vec<_> = codes.iter().map(|code| totp::recovery_digest(code)).collect();
        let now = clock::now();
        self.store.write_down(&by.deed(action), now).await?;
        self.store.ask_for_codes(factor, &digests, by.session.id, now).await?;
        Ok(Body(RecoveryCodes { codes }))
    }
}

fn not_asked() -> Problem {
    Problem::new(Kind::Unfit, "no codes are asked for")
}
