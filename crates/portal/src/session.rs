//! [`By`]: the operator whose request it is, by the session cookie. A handler that takes one is reached by nobody else.

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

/// An operator who may do what is needed.
pub(crate) struct By<N> {
    pub(crate) session: Begun,
    /// The address that asks.
    pub(crate) source: String,
    needs: PhantomData<N>,
}

impl<N: Needs> FromRequestParts<Arc<Shared>> for By<N> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Self, Problem> {
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
        if session.role < N::ROLE {
            let detail = "your role does not allow this: ask an admin of this portal";
            return Err(Problem::new(Kind::Forbidden, detail));
        }
        Ok(Self { session, source: source(parts), needs: PhantomData })
    }
}

impl<N> By<N> {
    /// What the operator does.
    pub(crate) fn deed<'a>(&'a self, action: &'a str) -> Deed<'a> {
        let (operator, source) = (self.session.name.as_str(), self.source.as_str());
        Deed { operator, source, host: None, action, before: None, after: None }
    }
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

fn repeats(headers: &HeaderMap, csrf: &str) -> bool {
    headers.get(CSRF).is_some_and(|said| same(said.as_bytes(), csrf.as_bytes()))
}
