//! [`Listener`]: where hosts connect. Whoever shows no certificate of our authority can enrol by a ticket, and nothing else.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use axum::body::Bytes;
use geofilter_fleet::{
    Authority, ENROL, Enrol, Enrolled, HostId, LEAVE, PROTOCOL, RENEW, Renew, Renewed, STREAM,
    Ticket, WORLD, host_of, server, world,
};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue, UPGRADE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::conversation::Conversation;
use super::world::{NoPull, Pull};
use super::{Bans, Connected, Error, Statements, World};
use crate::clock;
use crate::connections::Taken;
use crate::passwords::check_name;
use crate::store::{Admitted, Deed, Store, Wanted, is_away};

/// Those at a time who are greeted or have shown no certificate, and of one network: behind a load balancer all have one address.
const STRANGERS: u32 = 2048;
const STRANGERS_OF_ONE: u32 = 1024;
/// How long greeting may take, and all that a stranger says.
const GREETING: Duration = Duration::from_secs(5);
const STRANGE: Duration = Duration::from_secs(15);
/// Connections of one host: its stream, what it pulls, and those that broke and were not noticed yet.
const OF_HOST: usize = 8;
/// How long a request may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// Bytes of what a host says.
const LONGEST: usize = 64 * 1024;
/// Bytes that hyper reads ahead: a request's head is short.
const AHEAD: usize = 8 * 1024;

/// What the audit names instead of an operator.
const ITSELF: &str = "(the host itself)";

/// See the module.
pub(crate) struct Listener {
    store: Store,
    authority: Authority,
    connected: Arc<Connected>,
    statements: Arc<Statements>,
    bans: Arc<Bans>,
    acceptor: TlsAcceptor,
    strangers: Taken,
    by_host: Arc<ByHost>,
    /// What hosts pull, if that is anything.
    world: Option<Arc<World>>,
}

/// What a connection is for besides an answer.
#[derive(Default)]
struct Begun {
    /// From when it is answered on.
    conversation: Mutex<Option<Conversation>>,
    /// World data goes over it, as long as that is read.
    pull: Mutex<Option<Pull>>,
    pulls: Notify,
}

/// How many connections each host has.
#[derive(Default)]
struct ByHost(Mutex<HashMap<HostId, usize>>);

/// One of them, until it is dropped.
pub(super) struct OfHost(HostId, Arc<ByHost>);

impl ByHost {
    fn take(self: &Arc<Self>, host: HostId) -> Option<OfHost> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.entry(host).or_default();
        if *count >= OF_HOST {
            return None;
        }
        *count += 1;
        Some(OfHost(host, Arc::clone(self)))
    }
}

impl Drop for OfHost {
    fn drop(&mut self) {
        let mut taken = self.1.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.0) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.0);
            }
        }
    }
}

type Answer = Response<Full<Bytes>>;

/// Why a host is not answered, in words for its administrator.
struct Refusal(StatusCode, String);

impl Refusal {
    fn new(status: StatusCode, why: &str) -> Self {
        Self(status, why.to_owned())
    }
}

impl From<sqlx::Error> for Refusal {
    fn from(error: sqlx::Error) -> Self {
        // The follower says so once, for all hosts.
        if is_away(&error) {
            tracing::debug!(%error, "the database does not answer");
            return Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "the portal's database does not answer, which passes",
            );
        }
        tracing::error!(%error, "the portal's database failed a host");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the portal's database failed; its log says why",
        )
    }
}

impl Listener {
    pub(crate) fn new(
        store: Store,
        authority: Authority,
        connected: Arc<Connected>,
        statements: Arc<Statements>,
        bans: Arc<Bans>,
        world: Option<Arc<World>>,
    ) -> Result<Self, Error> {
        let config = server(&authority, SystemTime::now())?;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let strangers = Taken::new(STRANGERS, STRANGERS_OF_ONE);
        let by_host = Arc::default();
        Ok(Self {
            store,
            authority,
            connected,
            statements,
            bans,
            acceptor,
            strangers,
            by_host,
            world,
        })
    }

    /// Serves for as long as it is polled.
    pub(crate) async fn serve(self: Arc<Self>, listener: TcpListener) {
        loop {
            let (tcp, from) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a host");
                    sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let Some(place) = self.strangers.take(from.ip()) else {
                tracing::debug!(%from, "too many strangers");
                continue;
            };
            let listener = Arc::clone(&self);
            tokio::spawn(async move {
                let greeting = timeout(GREETING, listener.greet(tcp)).await;
                match greeting {
                    Ok(Ok((stream, None))) => {
                        let conversation = listener.converse(stream, None);
                        // It keeps no connection.
                        let _ = timeout(STRANGE, conversation).await;
                        drop(place);
                    }
                    Ok(Ok((stream, Some(host)))) => {
                        // Who is known is no stranger any more.
                        drop(place);
                        let Some(of_host) = listener.by_host.take(host) else {
                            tracing::debug!(%host, "too many connections of a host");
                            return;
                        };
                        // It goes on for long, and needs less than what led to it.
                        if let Some(conversation) = listener.converse(stream, Some(host)).await {
                            tokio::spawn(conversation.go_on(of_host));
                        }
                    }
                    Ok(Err(error)) => tracing::debug!(%from, %error, "no host"),
                    Err(_) => tracing::debug!(%from, "it says nothing"),
                }
            });
        }
    }

    async fn greet(
        &self,
        tcp: TcpStream,
    ) -> std::io::Result<(tokio_rustls::server::TlsStream<TcpStream>, Option<HostId>)> {
        tcp.set_nodelay(true)?;
        let stream = self.acceptor.accept(tcp).await?;
        let shown = stream.get_ref().1.peer_certificates();
        let host = shown.and_then(|shown| shown.first()).and_then(host_of);
        Ok((stream, host))
    }

    /// Answers requests. Returns what the connection is for from then on, if that is something else.
    async fn converse(
        self: Arc<Self>,
        stream: tokio_rustls::server::TlsStream<TcpStream>,
        host: Option<HostId>,
    ) -> Option<Conversation> {
        let begun = Arc::new(Begun::default());
        let service = service_fn(|request| {
            let (listener, begun) = (Arc::clone(&self), Arc::clone(&begun));
            async move { Ok::<_, Infallible>(listener.answer(request, host, &begun).await) }
        });
        let conversation = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(PATIENCE)
            .max_buf_size(AHEAD)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        let slow = async {
            begun.pulls.notified().await;
            sleep(world::PATIENCE).await;
        };
        tokio::select! {
            ended = conversation => if let Err(error) = ended {
                tracing::debug!(%error, ?host, "a host went away");
            },
            () = slow => tracing::debug!(?host, "it does not read what it pulls"),
        }
        begun.conversation.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        host: Option<HostId>,
        begun: &Begun,
    ) -> Answer {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let answered = match (host, method, path.as_str()) {
            (_, Method::POST, ENROL) => self.enrol(request).await,
            (None, ..) => Err(Refusal::new(
                StatusCode::UNAUTHORIZED,
                "only hosts are heard here: enrol this one with `geofilter enrol`",
            )),
            (Some(host), Method::POST, RENEW) => self.renew(host, request).await,
            (Some(host), Method::POST, LEAVE) => self.leave(host).await,
            (Some(host), Method::GET, STREAM) => self.stream(host, request, begun).await,
            (Some(host), Method::GET, path) if path.starts_with(WORLD) => {
                self.world(host, &path[WORLD.len()..], begun).await
            }
            (Some(_), ..) => {
                Err(Refusal::new(StatusCode::NOT_FOUND, "the portal knows no such request"))
            }
        };
        let is_refused = answered.is_err();
        let mut answer = answered.unwrap_or_else(|Refusal(status, why)| {
            let mut answer = Response::new(Full::new(Bytes::from(why)));
            *answer.status_mut() = status;
            answer
        });
        // Who is refused, or not known yet, has no reason to stay.
        if is_refused || host.is_none() {
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        answer
    }

    async fn enrol(&self, request: Request<Incoming>) -> Result<Answer, Refusal> {
        let Enrol { secret, name, request } = read(request).await?;
        let name = check_name(&name)
            .map_err(|problem| Refusal(StatusCode::UNPROCESSABLE_ENTITY, problem.detail))?;
        let now = clock::now();
        let digest = Ticket::digest(&secret);
        let spent = || {
            Refusal::new(
                StatusCode::FORBIDDEN,
                "this token was used, has ended, or was never given: make another one",
            )
        };
        // Nobody else's request is looked into, and one that can't be granted uses up no ticket.
        if !self.store.has_ticket(&digest, now).await? {
            return Err(spent());
        }
        let host = HostId::new().map_err(|error| {
            Refusal(
                StatusCode::INTERNAL_SERVER_ERROR,
                format!("the kernel gave no random bits: {error}"),
            )
        })?;
        let issued = self.authority.vouch(&request, host, SystemTime::now()).map_err(not_asked)?;
        match self.store.enrol(&digest, host, name, issued.until, now).await? {
            Admitted::Yes => {}
            Admitted::Spent => return Err(spent()),
            Admitted::Full(most) => {
                let why = format!(
                    "the organisation of this token has as many hosts as it may, which is {most}: revoke one first, or have its limit raised"
                );
                return Err(Refusal(StatusCode::CONFLICT, why));
            }
        }
        tracing::info!(%host, name, "a host is enrolled");
        let authority = self.authority.certificate().to_owned();
        json(&Enrolled { host, certificate: issued.certificate, authority, until: issued.until })
    }

    async fn renew(&self, host: HostId, request: Request<Incoming>) -> Result<Answer, Refusal> {
        self.known(host).await?;
        let Renew { request } = read(request).await?;
        let issued = self.authority.vouch(&request, host, SystemTime::now()).map_err(not_asked)?;
        self.store.note_certificate(host, issued.until).await?;
        json(&Renewed { certificate: issued.certificate, until: issued.until })
    }

    /// A host is one no more, and says so itself.
    async fn leave(&self, host: HostId) -> Result<Answer, Refusal> {
        let known = self.store.known_host(host).await?.ok_or_else(revoked)?;
        let before = Some(serde_json::json!({ "id": host.0, "name": known.name }));
        let (operator, source, action) = (ITSELF, known.name.as_str(), "host left");
        let deed = Deed { operator, source, host: None, action, before, after: None };
        self.store.write_down(&deed, clock::now()).await?;
        self.store.revoke(host, clock::now()).await?;
        // Other portals look by themselves.
        self.connected.cut(host);
        tracing::info!(%host, name = known.name, "a host left");
        json(&())
    }

    /// From now on the connection is for what the host hears and says.
    async fn stream(
        &self,
        host: HostId,
        request: Request<Incoming>,
        begun: &Begun,
    ) -> Result<Answer, Refusal> {
        if request.headers().get(UPGRADE).is_none_or(|asked| asked != PROTOCOL) {
            return Err(Refusal(
                StatusCode::UPGRADE_REQUIRED,
                format!("the portal speaks {PROTOCOL}: is the host of another version?"),
            ));
        }
        let group = self.known(host).await?.group;
        // What is decided from here on is heard.
        let (told, place) = self.connected.add(host, group);
        // It may have been revoked, or told to do something else, just before.
        self.connected.tell(&place, &self.known(host).await?);
        let upgrade = hyper::upgrade::on(request);
        let (statements, bans) = (Arc::clone(&self.statements), Arc::clone(&self.bans));
        *begun.conversation.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Conversation { host, told, place, upgrade, statements, bans });
        let mut answer = Response::new(Full::default());
        *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
        answer.headers_mut().insert(UPGRADE, HeaderValue::from_static(PROTOCOL));
        Ok(answer)
    }

    /// World data, over a connection that ends with it.
    async fn world(&self, host: HostId, digest: &str, begun: &Begun) -> Result<Answer, Refusal> {
        self.known(host).await?;
        let other =
            || Refusal::new(StatusCode::NOT_FOUND, "the portal does not serve this world data now");
        let world = self.world.as_ref().filter(|_| world::is_digest(digest)).ok_or_else(other)?;
        let (content, pull) = world.pull(host, digest).await.map_err(|why| match why {
            NoPull::Other => other(),
            NoPull::Busy => Refusal::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "too many hosts pull world data just now: come again",
            ),
            NoPull::Database(error) => error.into(),
        })?;
        *begun.pull.lock().unwrap_or_else(PoisonError::into_inner) = Some(pull);
        begun.pulls.notify_one();
        let mut answer = Response::new(Full::new(content));
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        Ok(answer)
    }

    async fn known(&self, host: HostId) -> Result<Wanted, Refusal> {
        self.store.wanted(host).await?.ok_or_else(revoked)
    }
}

fn revoked() -> Refusal {
    Refusal::new(
        StatusCode::FORBIDDEN,
        "this host was revoked: enrol it again with another token, or let it go with `geofilter leave`",
    )
}

fn not_asked(error: impl std::fmt::Display) -> Refusal {
    Refusal(
        StatusCode::UNPROCESSABLE_ENTITY,
        format!("this is no request for a certificate: {error}"),
    )
}

async fn read<T: DeserializeOwned>(request: Request<Incoming>) -> Result<T, Refusal> {
    let body = Limited::new(request.into_body(), LONGEST).collect();
    let refused = |why: String| {
        Refusal(StatusCode::UNPROCESSABLE_ENTITY, format!("this can't be read: {why}"))
    };
    let body = timeout(PATIENCE, body).await.map_err(|_| refused("it breaks off".to_owned()))?;
    let body = body.map_err(|error| refused(error.to_string()))?.to_bytes();
    serde_json::from_slice(&body)
        .map_err(|error| refused(format!("{error}; is it another version?")))
}

fn json(message: &impl Serialize) -> Result<Answer, Refusal> {
    let body = serde_json::to_vec(message)
        .map_err(|error| Refusal(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(answer)
}

/// Where hosts are to connect, as an address without a path.
pub(crate) fn address(host: &str, port: u16) -> String {
    match port {
        443 => format!("https://{host}"),
        port => format!("https://{host}:{port}"),
    }
}
