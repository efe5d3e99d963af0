//! [`By`]: the operator whose request it is, by the session cookie or a token; [`Signed`]: by the cookie alone. A handler that takes one is
//! reached by nobody else.

use std::marker::PhantomData;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};

use crate::clock;
use crate::problem::{Kind, Problem};
use crate::secret::{digest, same};
use crate::server::Shared;
use crate::store::{Begun, Deed, Role};

/// The prefix keeps it to this origin: a browser takes it only with `Secure`, `Path=/` and no `Domain`.
pub(crate) const COOKIE: &str = "__Host-geofilter";
/// What every request that changes something repeats from the session.
pub(crate) const CSRF: &str = "x-csrf-token";

/// What a handler asks of a role.
pub(crate) trait Needs: Send {
    const ROLE: Role;
}

/// To see.
pub(crate) struct Seeing;
/// To change what hosts do.
pub(crate) struct Changing;
/// To see and say who did and may do what.
pub(crate) struct Administering;

impl Needs for Seeing {
    const ROLE: Role = Role::Viewer;
}

impl Needs for Changing {
    const ROLE: Role = Role::Operator;
}

impl Needs for Administering {
    const ROLE: Role = Role::Admin;
}

/// An operator who may do what is needed, by a session or by a token.
pub(crate) struct By<N> {
    /// Who it is, for the audit: the operator, and the token if it is by one.
    pub(crate) name: String,
    pub(crate) pass: Pass,
    /// The address that asks.
    source: String,
    needs: PhantomData<N>,
}

/// What somebody shows.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pass {
    /// A session.
    Session(i64),
    /// A token.
    Token(i64),
}

/// An operator who may do what is needed, and is signed in: who may do what is no matter of programs.
pub(crate) struct Signed<N> {
    pub(crate) session: Begun,
    /// The address that asks.
    pub(crate) source: String,
    needs: PhantomData<N>,
}

impl<N: Needs> FromRequestParts<Arc<Shared>> for By<N> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Self, Problem> {
        let Some(token) = bearer(&parts.headers) else {
            let Signed { session, source, needs } =
                Signed::from_request_parts(parts, shared).await?;
            return Ok(Self { pass: Pass::Session(session.id), name: session.name, source, needs });
        };
        let found = shared.store.token(&digest(token), clock::now()).await?;
        let over =
            || Problem::new(Kind::Session, "this token was never made, has ended, or was revoked");
        let token = found.ok_or_else(over)?;
        allow::<N>(token.role())?;
        let name = format!("{} (token {})", token.operator, token.name);
        Ok(Self { name, pass: Pass::Token(token.id), source: source(parts), needs: PhantomData })
    }
}

impl<N: Needs> FromRequestParts<Arc<Shared>> for Signed<N> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Self, Problem> {
        if bearer(&parts.headers).is_some() {
            let detail = "a token may not do this: sign in";
            return Err(Problem::new(Kind::Forbidden, detail));
        }
        let session = match cookie(&parts.headers) {
            Some(token) => shared.store.session(&digest(token), clock::now()).await?,
            None => None,
        };
        let Some(session) = session else { return Err(shared.nobody().await?) };
        if parts.method != Method::GET && !repeats(&parts.headers, &session.csrf) {
            let detail =
                format!("a request that changes something repeats the session's `csrf` in {CSRF}");
            return Err(Problem::new(Kind::Forbidden, detail));
        }
        allow::<N>(session.role)?;
        Ok(Self { session, source: source(parts), needs: PhantomData })
    }
}

fn allow<N: Needs>(role: Role) -> Result<(), Problem> {
    match role >= N::ROLE {
        true => Ok(()),
        false => {
            let detail = "your role does not allow this: ask an admin of this portal";
            Err(Problem::new(Kind::Forbidden, detail))
        }
    }
}

impl<N> By<N> {
    /// What the operator does.
    pub(crate) fn deed<'a>(&'a self, action: &'a str) -> Deed<'a> {
        deed(&self.name, &self.source, action)
    }
}

impl<N> Signed<N> {
    /// What the operator does.
    pub(crate) fn deed<'a>(&'a self, action: &'a str) -> Deed<'a> {
        deed(&self.session.name, &self.source, action)
    }
}

fn deed<'a>(operator: &'a str, source: &'a str, action: &'a str) -> Deed<'a> {
    Deed { operator, source, host: None, action, before: None, after: None }
}

/// The address that asks.
pub(crate) struct Source(pub(crate) String);

impl<S: Sync> FromRequestParts<S> for Source {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(source(parts)))
    }
}

fn source(parts: &Parts) -> String {
    let from = parts.extensions.get::<ConnectInfo<SocketAddr>>();
    from.map_or_else(|| "unknown".to_owned(), |from| from.ip().to_canonical().to_string())
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|value| value.split(';')).map(str::trim);
    pairs.find_map(|pair| pair.strip_prefix(COOKIE)?.strip_prefix('='))
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")
}

fn repeats(headers: &HeaderMap, csrf: &str) -> bool {
    headers.get(CSRF).is_some_and(|said| same(said.as_bytes(), csrf.as_bytes()))
}
