//! [`By`]: the operator whose request it is, by the session cookie or a token; [`Signed`]: by the cookie alone. A handler that takes one is
//! reached by nobody else.

use std::marker::PhantomData;
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};

use geofilter_core::change::Risk;

use crate::clock;
use crate::problem::{Kind, Problem};
use crate::secret::{digest, same};
use crate::server::Shared;
use crate::store::{Begun, Deed, Role};

/// The prefix keeps it to this origin: a browser takes it only with `Secure`, `Path=/` and no `Domain`.
pub(crate) const COOKIE: &str = "__Host-geofilter";
/// What every request that changes something repeats from the session.
pub(crate) const CSRF: &str = "x-csrf-token";

/// What a page says of a request that it makes by itself while nobody is at it: the session is not used by it.
const UNATTENDED: &str = "x-geofilter-unattended";

/// What stands between an operator's name and that of the token by which it is.
pub(crate) const BY_TOKEN: &str = " (token ";

/// What a handler asks of a role.
pub(crate) trait Needs: Send {
    const ROLE: Role;
    /// Whether a proof of who it is must not be long ago.
    const PROVED: bool = false;
    /// Whether a password that somebody else gave is enough.
    const GIVEN: bool = false;
    /// Whether an operator of one organisation may do it, with what is of that organisation.
    const OWN: bool = false;
}

/// To be here at all: to choose a password, or to go.
pub(crate) struct Entering;
/// To see.
pub(crate) struct Seeing;
/// To change what hosts do.
pub(crate) struct Changing;
/// To see and say who did and may do what.
pub(crate) struct Administering;

/// The same, for what is somebody's own: operators of one organisation may do it with what is of that, those of the portal with all.
pub(crate) struct Own<N>(PhantomData<N>);

/// The same, from somebody who proved not long ago who it is: a session alone may have been left open, or stolen.
pub(crate) struct Proved<N>(PhantomData<N>);

impl Needs for Entering {
    const ROLE: Role = Role::Viewer;
    const GIVEN: bool = true;
    const OWN: bool = true;
}

impl Needs for Seeing {
    const ROLE: Role = Role::Viewer;
}

impl Needs for Changing {
    const ROLE: Role = Role::Operator;
}

impl Needs for Administering {
    const ROLE: Role = Role::Admin;
}

impl<N: Needs> Needs for Own<N> {
    const ROLE: Role = N::ROLE;
    const PROVED: bool = N::PROVED;
    const GIVEN: bool = N::GIVEN;
    const OWN: bool = true;
}

impl<N: Needs> Needs for Proved<N> {
    const ROLE: Role = N::ROLE;
    const PROVED: bool = true;
    const GIVEN: bool = N::GIVEN;
    const OWN: bool = N::OWN;
}

/// An operator who may do what is needed, by a session or by a token.
pub(crate) struct By<N> {
    /// Who it is, for the audit: the operator, and the token if it is by one.
    pub(crate) name: String,
    pub(crate) pass: Pass,
    /// The organisation whose operator it is; the whole portal's if none.
    pub(crate) tenant: Option<i64>,
    /// The address that asks.
    source: String,
    needs: PhantomData<N>,
}

/// What somebody shows.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pass {
    /// A session.
    Session {
        /// Its number.
        id: i64,
        /// When its operator proved last who it is.
        proved: i64,
    },
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
            let pass = Pass::Session { id: session.id, proved: session.proved };
            return Ok(Self { pass, tenant: session.tenant, name: session.name, source, needs });
        };
        let found = shared.store.token(&digest(token), clock::now()).await?;
        let over =
            || Problem::new(Kind::Session, "this token was never made, has ended, or was revoked");
        let token = found.ok_or_else(over)?;
        allow::<N>(token.role(), token.tenant)?;
        let name = format!("{}{BY_TOKEN}{})", token.operator, token.name);
        let (pass, tenant) = (Pass::Token(token.id), token.tenant);
        Ok(Self { name, pass, tenant, source: source(parts), needs: PhantomData })
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
            Some(token) => {
                let used = !parts.headers.contains_key(UNATTENDED);
                shared.store.session(&digest(token), used, clock::now()).await?
            }
            None => None,
        };
        let Some(session) = session else { return Err(shared.nobody().await?) };
        if parts.method != Method::GET && !repeats(&parts.headers, &session.csrf) {
            let detail =
                format!("a request that changes something repeats the session's `csrf` in {CSRF}");
            return Err(Problem::new(Kind::Forbidden, detail));
        }
        if session.given && !N::GIVEN {
            let detail = "somebody else gave you your password: choose one that nobody else knows";
            return Err(Problem::new(Kind::Password, detail));
        }
        allow::<N>(session.role, session.tenant)?;
        if N::PROVED {
            check_proof(session.proved)?;
        }
        Ok(Self { session, source: source(parts), needs: PhantomData })
    }
}

fn allow<N: Needs>(role: Role, tenant: Option<i64>) -> Result<(), Problem> {
    if tenant.is_some() && !N::OWN {
        let detail = "this is for operators of the whole portal, and you are one of an organisation: ask an admin of this portal";
        return Err(Problem::new(Kind::Forbidden, detail));
    }
    match role >= N::ROLE {
        true => Ok(()),
        false => {
            let detail = "your role does not allow this: ask an admin of this portal";
            Err(Problem::new(Kind::Forbidden, detail))
        }
    }
}

/// Milliseconds for which a proof is enough.
const GOOD: i64 = 5 * 60_000;

fn check_proof(proved: i64) -> Result<(), Problem> {
    match clock::now().saturating_sub(proved) {
        0..=GOOD => Ok(()),
        // Also when the clock was set back: it was then, and nobody knows when that is.
        _ => {
            let detail = "give your password once more: this is asked for when the last time is more than five minutes ago";
            Err(Problem::new(Kind::Prove, detail))
        }
    }
}

impl<N> By<N> {
    /// Whether these risks may be accepted: a session needs a proof, not long ago, of whose it is; a token was made with one.
    pub(crate) fn may_accept(&self, risks: &[Risk]) -> Result<(), Problem> {
        match self.pass {
            Pass::Session { proved, .. } if !risks.is_empty() => check_proof(proved),
            Pass::Session { .. } | Pass::Token(_) => Ok(()),
        }
    }

    /// What the operator does.
    pub(crate) fn deed<'a>(&'a self, action: &'a str) -> Deed<'a> {
        deed(&self.name, &self.source, action)
    }

    /// Whether what is of this organisation is the operator's to see.
    pub(crate) fn sees(&self, tenant: i64) -> bool {
        self.tenant.is_none_or(|own| own == tenant)
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

/// The network of an IPv6 address: whoever has one of it has all.
pub(crate) fn network(address: Ipv6Addr) -> Ipv6Addr {
    let [a, b, c, d, ..] = address.segments();
    Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0)
}

fn source(parts: &Parts) -> String {
    let from = parts.extensions.get::<ConnectInfo<SocketAddr>>();
    from.map_or_else(|| "unknown".to_owned(), |from| from.ip().to_canonical().to_string())
}

/// What the browser shows.
pub(crate) fn cookie(headers: &HeaderMap) -> Option<&str> {
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
