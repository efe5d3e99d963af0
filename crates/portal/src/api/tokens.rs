//! What programs show instead of a session, in `Authorization: Bearer`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::{Body, Path};
use crate::clock;
use crate::passwords;
use crate::problem::{Kind, Problem};
use crate::secret::Token;
use crate::server::Shared;
use crate::session::{Administering, Proved, Signed};
use crate::store::{ApiToken, Deed, NewToken, Role};

const DAY: i64 = 86_400_000;
/// Days for which one may be good, unless for good: ten years.
const LONGEST: i64 = 3_650;

/// The tokens of programs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Tokens {
    /// They, by name.
    tokens: Vec<TokenReport>,
}

/// A token; what it says is told once, when it is made.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TokenReport {
    /// Its number.
    id: i64,
    /// Its name.
    name: String,
    /// Whose it is.
    operator: String,
    /// What it may do.
    role: Role,
    /// When it was made, in RFC 3339.
    made: String,
    /// When it ends, in RFC 3339; for good without.
    expires: Option<String>,
    /// When it was used last, to a minute, in RFC 3339.
    used: Option<String>,
}

/// A token to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WantedToken {
    /// What it is for.
    name: String,
    /// What it may do.
    role: Role,
    /// For how many days it is good, 1 to 3650; for good without.
    #[serde(default)]
    days: Option<i64>,
}

/// A token that was made; it is told once.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MadeToken {
    /// Its number.
    id: i64,
    /// What follows `Bearer`.
    token: String,
}

/// The tokens of programs.
#[utoipa::path(
    get, path = "/api/v1/tokens", tag = "tokens", security(("session" = [])),
    responses((status = 200, body = Tokens), Problem)
)]
pub(super) async fn tokens(
    State(shared): State<Arc<Shared>>,
    _by: Signed<Administering>,
) -> Result<Body<Tokens>, Problem> {
    let tokens = shared.store.tokens().await?.into_iter().map(TokenReport::of);
    Ok(Body(Tokens { tokens: tokens.collect() }))
}

/// Make a token, which is yours.
#[utoipa::path(
    post, path = "/api/v1/tokens", tag = "tokens", security(("session" = [])),
    request_body = WantedToken, responses((status = 201, body = MadeToken), Problem)
)]
pub(super) async fn add_token(
    State(shared): State<Arc<Shared>>,
    by: Signed<Proved<Administering>>,
    Body(WantedToken { name, role, days }): Body<WantedToken>,
) -> Result<(StatusCode, Body<MadeToken>), Problem> {
    let name = passwords::check_name(&name)?;
    if days.is_some_and(|days| !(1..=LONGEST).contains(&days)) {
        let detail = format!("a token is good for 1 to {LONGEST} days, or for good");
        return Err(Problem::new(Kind::Invalid, detail));
    }
    let (token, now) = (Token::new().map_err(Problem::no_random)?, clock::now());
    let after = Some(json!({ "name": name, "role": role, "days": days }));
    shared.store.write_down(&Deed { after, ..by.deed("make token") }, now).await?;
    let (digest, operator) = (&token.digest(), by.session.operator);
    let expires = days.map(|days| now + days * DAY);
    let wanted = NewToken { digest, operator, name, role, expires };
    let id = shared.store.add_token(&wanted, now).await?;
    Ok((StatusCode::CREATED, Body(MadeToken { id, token: token.as_str().to_owned() })))
}

/// Revoke a token, at once.
#[utoipa::path(
    delete, path = "/api/v1/tokens/{id}", tag = "tokens", security(("session" = [])),
    params(("id" = i64, Path, description = "Its number.")),
    responses((status = 204, description = "It is good for nothing any more."), Problem)
)]
pub(super) async fn remove_token(
    State(shared): State<Arc<Shared>>,
    by: Signed<Proved<Administering>>,
    Path(id): Path<i64>,
) -> Result<StatusCode, Problem> {
    let missing = || Problem::new(Kind::Missing, "there is no such token: it was revoked");
    let name = shared.store.remove_token(id).await?.ok_or_else(missing)?;
    let deed = Deed { before: Some(json!({ "name": name })), ..by.deed("revoke token") };
    shared.store.write_down(&deed, clock::now()).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl TokenReport {
    fn of(token: ApiToken) -> Self {
        Self {
            role: token.role(),
            id: token.id,
            name: token.name,
            operator: token.operator,
            made: clock::written(token.made),
            expires: token.expires.map(clock::written),
            used: token.used.map(clock::written),
        }
    }
}
