//! Hands out the metrics over HTTP: at a socket in the runtime directory, and at an address if the configuration names one.
//! Whoever asks gets an answer to `GET /metrics` and nothing else; few are served at a time, and none for long.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use geofilter_core::wire::{Failure, GeodataAsk, Reply, Request};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{sleep, timeout};

use crate::agent::door::Rate;
use crate::agent::engine::Job;
use crate::{agent, cli};

/// How many are served at a time: each takes a moment of the engine.
const CLIENTS: usize = 4;
/// How many are served a second: it is asked every few seconds, by a few.
const A_SECOND: u32 = 50;
/// How long one may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// When an address that can't be used is tried again: at boot the agent comes before the network.
const AGAIN: Duration = Duration::from_secs(5);
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Where metrics are asked for.
pub(in crate::agent) enum Listener {
    /// A socket of this host.
    Unix(UnixListener),
    /// An address.
    Tcp(TcpListener),
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Listener {
    async fn accept(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match self {
            Self::Unix(listener) => Box::new(listener.accept().await?.0),
            Self::Tcp(listener) => Box::new(listener.accept().await?.0),
        })
    }
}

/// Serves at an address, as soon as it can be used.
pub(in crate::agent) async fn serve_at(address: SocketAddr, jobs: Sender<Job>) {
    let mut said = false;
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return serve(Listener::Tcp(listener), jobs).await,
            Err(error) if !said => {
                tracing::warn!(%error, %address, "metrics can't be served there yet; it is tried again");
                said = true;
            }
            Err(_) => {}
        }
        sleep(AGAIN).await;
    }
}

/// Serves for as long as it is polled.
pub(in crate::agent) async fn serve(listener: Listener, jobs: Sender<Job>) {
    let clients = Arc::new(Semaphore::new(CLIENTS));
    let mut rate = Rate::new(A_SECOND, A_SECOND);
    while let Ok(client) = Arc::clone(&clients).acquire_owned().await {
        match listener.accept().await {
            Ok(stream) => {
                sleep(rate.wait(Instant::now())).await;
                tokio::spawn(converse(stream, jobs.clone(), client));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept who asks for metrics");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn converse(stream: Box<dyn Stream>, jobs: Sender<Job>, client: OwnedSemaphorePermit) {
    let answer = service_fn(|request| answer(request, jobs.clone()));
    let mut http = http1::Builder::new();
    http.keep_alive(false).max_buf_size(16 * 1024);
    http.timer(TokioTimer::new()).header_read_timeout(PATIENCE);
    match timeout(PATIENCE, http.serve_connection(TokioIo::new(stream), answer)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "who asked for metrics went away"),
        Err(_) => tracing::debug!("who asked for metrics took too long"),
    }
    drop(client);
}

async fn answer(
    request: hyper::Request<Incoming>,
    jobs: Sender<Job>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (status, kind, text) = match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/metrics") => match metrics(&jobs).await {
            Ok(text) => (StatusCode::OK, OPENMETRICS, text),
            Err(failure) => (StatusCode::SERVICE_UNAVAILABLE, "text/plain", failure.message),
        },
        (&Method::GET | &Method::HEAD, _) => {
            (StatusCode::NOT_FOUND, "text/plain", "see /metrics\n".to_owned())
        }
        _ => (StatusCode::METHOD_NOT_ALLOWED, "text/plain", "metrics are read only\n".to_owned()),
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    Ok(response)
}

async fn metrics(jobs: &Sender<Job>) -> Result<String, Failure> {
    let Reply::Status(status) = ask(jobs, Request::Status).await? else {
        return Err(cli::confused());
    };
    let state = Request::Geodata { ask: GeodataAsk::State };
    let Reply::Geodata(geodata) = ask(jobs, state).await? else { return Err(cli::confused()) };
    super::text(status, geodata)
        .map_err(|error| cli::failed(format!("cannot write metrics: {error}")))
}

async fn ask(jobs: &Sender<Job>, request: Request) -> Result<Reply, Failure> {
    let (answer, answered) = oneshot::channel();
    jobs.send(Job::Answer { request, answer }).map_err(|_| agent::ended())?;
    agent::reply(answered.await.map_err(|_| agent::ended())?)
}
