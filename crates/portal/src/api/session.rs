//! Who asks: signing in and out.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Body;
use crate::clock;
use crate::passwords;
use crate::problem::{Kind, Problem};
use crate::secret::{self, Token};
use crate::server::Shared;
use crate::session::{self, COOKIE, Entering, Proved, Signed, Source};
use crate::store::{Begun, Deed, LONGEST, Operator, Role};

/// Seconds for which a browser keeps the cookie; when the session ends, the portal says.
const KEPT: i64 = LONGEST / 1000;
/// Milliseconds for which a password that somebody else gave is good.
const GIVEN: i64 = 7 * 86_400_000;

/// A session that goes on.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Session {
    /// The operator's name.
    operator: String,
    /// What the operator may do.
    role: Role,
    /// What a request that changes something repeats in `x-csrf-token`.
    csrf: String,
    /// When it ends unless it is used, in RFC 3339.
    expires: String,
    /// Whether codes are asked for besides the password.
    totp: bool,
    /// How many recovery codes are left.
    recovery_codes: u32,
    /// Whether somebody else gave the password: nothing else may be done before it is changed.
    choose_password: bool,
    /// The name of the organisation whose operator it is; the whole portal's if none.
    tenant: Option<String>,
}

/// A name and a password, and a code where one is asked for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Credentials {
    /// The operator's name, in any case.
    name: String,
    /// The password.
    password: String,
    /// What the authenticator app shows, or a recovery code; only if the answer to the password alone was `urn:geofilter:code`.
    #[serde(default)]
    code: Option<String>,
}

/// What makes the first operator.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct First {
    /// What follows the `#` of the one-time link.
    token: String,
    /// The operator's name.
    name: String,
    /// A password of at least 12 characters.
    password: String,
}

/// Who asks.
#[utoipa::path(
    get, path = "/api/v1/session", tag = "session", security(("session" = [])),
    responses((status = 200, body = Session), Problem)
)]
pub(super) async fn current(
    State(shared): State<Arc<Shared>>,
    by: Signed<Entering>,
) -> Result<Body<Session>, Problem> {
    Ok(Body(shared.report(&by.session).await?))
}

/// Make the first operator, an admin, by the one-time link, and sign in.
#[utoipa::path(
    post, path = "/api/v1/session/first", tag = "session", security(()),
    request_body = First, responses((status = 201, body = Session), Problem)
)]
pub(super) async fn first(
    State(shared): State<Arc<Shared>>,
    Source(source): Source,
    Body(first): Body<First>,
) -> Result<Response, Problem> {
    if !shared.is_first(&secret::digest(&first.token)) {
        let detail = "this link was used, or is of an earlier start: the portal prints a new one when it starts and nobody may sign in yet";
        return Err(Problem::new(Kind::Session, detail));
    }
    let name = passwords::check_name(&first.name)?;
    let hash = shared.hash(first.password, name).await?;
    let operator = shared.store.add_first_operator(name, &hash, clock::now()).await?;
    shared.spend_first();
    let operator = operator
        .ok_or_else(|| Problem::new(Kind::Session, "there is an operator already: sign in"))?;
    begin(&shared, &operator, &source, "first operator").await
}

/// Sign in. A session that the browser had ends.
#[utoipa::path(
    post, path = "/api/v1/session", tag = "session", security(()),
    request_body = Credentials, responses((status = 201, body = Session), Problem)
)]
pub(super) async fn sign_in(
    State(shared): State<Arc<Shared>>,
    Source(source): Source,
    headers: HeaderMap,
    Body(Credentials { name, password, code }): Body<Credentials>,
) -> Result<Response, Problem> {
    let Some(operator) = shared.known(&name, password, &source).await? else {
        return Err(match shared.store.has_operators().await? {
            true => Problem::new(Kind::Session, "the name or the password is wrong"),
            false => shared.nobody().await?,
        });
    };
    if operator.given.is_some_and(|given| clock::now().saturating_sub(given) > GIVEN) {
        let detail = "this password was given to you more than seven days ago and is not good any more: have another one made, by `geofilter portal reset` on the host";
        return Err(Problem::new(Kind::Session, detail));
    }
    shared.check_code(&operator, code.as_deref()).await?;
    if let Some(former) = session::cookie(&headers) {
        shared.store.end_session_of(&secret::digest(former)).await?;
    }
    begin(&shared, &operator, &source, "sign in").await
}

/// What whoever is signed in gives once more.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reauthentication {
    /// The operator's password.
    password: String,
    /// What the authenticator app shows, or a recovery code, where one is asked for.
    #[serde(default)]
    code: Option<String>,
}

/// Prove who you are, for the five minutes that follow. The session has another cookie from then on.
#[utoipa::path(
    post, path = "/api/v1/session/proof", tag = "session", security(("session" = [])), request_body = Reauthentication,
    responses((status = 204, description = "It is proved."), Problem)
)]
pub(super) async fn prove(
    State(shared): State<Arc<Shared>>,
    by: Signed<Entering>,
    Body(Reauthentication { password, code }): Body<Reauthentication>,
) -> Result<Response, Problem> {
    let operator = shared.known(&by.session.name, password, &by.source).await?;
    let wrong = || Problem::new(Kind::Forbidden, "the password is wrong");
    shared.check_code(&operator.ok_or_else(wrong)?, code.as_deref()).await?;
    shared.renewed(&by.session, clock::now(), StatusCode::NO_CONTENT).await
}

/// The old password and the new one.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewPassword {
    /// The one that is known.
    old: String,
    /// One of at least 12 characters.
    new: String,
}

/// Have another password. All other sessions of this operator end.
#[utoipa::path(
    put, path = "/api/v1/session/password", tag = "session", security(("session" = [])), request_body = NewPassword,
    responses((status = 204, description = "It is in force."), Problem)
)]
pub(super) async fn new_password(
    State(shared): State<Arc<Shared>>,
    by: Signed<Proved<Entering>>,
    Body(NewPassword { old, new }): Body<NewPassword>,
) -> Result<Response, Problem> {
    let operator = shared.known(&by.session.name, old.clone(), &by.source).await?;
    let wrong = || Problem::new(Kind::Forbidden, "the old password is wrong");
    let operator = operator.ok_or_else(wrong)?;
    if old == new {
        return Err(Problem::new(
            Kind::Invalid,
            "this is the password that you have: choose another",
        ));
    }
    let hash = shared.hash(new, &operator.name).await?;
    shared.store.write_down(&by.deed("new password"), clock::now()).await?;
    shared.store.change_password(operator.id, &hash, by.session.id).await?;
    shared.renewed(&by.session, by.session.proved, StatusCode::NO_CONTENT).await
}

/// Sign out.
#[utoipa::path(
    delete, path = "/api/v1/session", tag = "session", security(("session" = [])),
    responses((status = 204, description = "The session has ended."), Problem)
)]
pub(super) async fn sign_out(
    State(shared): State<Arc<Shared>>,
    by: Signed<Entering>,
) -> Result<Response, Problem> {
    shared.store.end_session(by.session.operator, by.session.id).await?;
    if let Err(error) = shared.store.write_down(&by.deed("sign out"), clock::now()).await {
        tracing::warn!(%error, "the audit could not be written: somebody signed out");
    }
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie("", 0)?)]).into_response())
}

impl Shared {
    async fn report(&self, session: &Begun) -> Result<Session, Problem> {
        let factor = self.store.factor(session.operator).await?;
        let tenant = match session.tenant {
            Some(tenant) => self.store.tenant(tenant).await?.map(|tenant| tenant.name),
            None => None,
        };
        Ok(Session {
            operator: session.name.clone(),
            role: session.role,
            csrf: session.csrf.clone(),
            expires: clock::written(session.ends()),
            totp: factor.is_some_and(|factor| factor.since.is_some()),
            recovery_codes: self.store.recovery_codes(session.operator).await?,
            choose_password: session.given,
            tenant,
        })
    }

    /// The operator of this name, if the password is right.
    async fn known(
        &self,
        name: &str,
        password: String,
        source: &str,
    ) -> Result<Option<Operator>, Problem> {
        self.try_once(name, source)?;
        let operator = self.store.operator(name).await?;
        if !self.verify(password, operator.as_ref()).await? {
            return Ok(None);
        }
        self.succeeded(name, source);
        Ok(operator)
    }

    /// Answers, with another cookie for this session: who had the former one has nothing.
    pub(super) async fn renewed(
        &self,
        session: &Begun,
        proved: i64,
        answer: impl IntoResponse,
    ) -> Result<Response, Problem> {
        let token = Token::new().map_err(Problem::no_random)?;
        self.store.renew_session(session.id, &token.digest(), proved).await?;
        Ok(([(header::SET_COOKIE, cookie(token.as_str(), KEPT)?)], answer).into_response())
    }
}

async fn begin(
    shared: &Shared,
    operator: &Operator,
    source: &str,
    action: &str,
) -> Result<Response, Problem> {
    let [token, csrf] = [Token::new(), Token::new()];
    let (token, csrf) = (token.map_err(Problem::no_random)?, csrf.map_err(Problem::no_random)?);
    let now = clock::now();
    let digest = token.digest();
    let deed =
        Deed { operator: &operator.name, source, host: None, action, before: None, after: None };
    shared.store.write_down(&deed, now).await?;
    let session = shared.store.begin_session(&digest, operator, csrf.as_str(), source, now).await?;
    let cookie = cookie(token.as_str(), KEPT)?;
    let body = Body(shared.report(&session).await?);
    Ok((StatusCode::CREATED, [(header::SET_COOKIE, cookie)], body).into_response())
}

fn cookie(value: &str, seconds: i64) -> Result<HeaderValue, Problem> {
    format!("{COOKIE}={value}; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age={seconds}")
        .try_into()
        .map_err(|error| Problem::internal("the cookie can't be written", &error))
}
