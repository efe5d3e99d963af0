//! [`Client`]: how a host speaks to its portal. It goes by the proxy that the environment names (`HTTPS_PROXY`, `NO_PROXY`), which
//! sees nothing but where it goes.

use std::sync::Arc;
use std::time::Duration;

use geofilter_core::wire::Membership;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, HeaderValue, UPGRADE};
use hyper::upgrade::Upgraded;
use hyper::{StatusCode, Uri};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use tower::ServiceExt;

use crate::{
    ENROL, Enrol, Enrolled, Heard, KEEP_ALIVE, LEAVE, PROTOCOL, Pin, RENEW, Renew, Renewed, STREAM,
    Said, trust,
};

/// How long a connection may take, and an answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// Bytes of an answer, or of a line.
const LONGEST: usize = 256 * 1024;
/// Bytes that hyper reads ahead.
const AHEAD: usize = 16 * 1024;
/// A portal that was silent for two of its words is gone.
const SILENCE: Duration = KEEP_ALIVE.saturating_mul(2).saturating_add(PATIENCE);

/// Why the portal could not be asked, or did not do it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What is to be dialled is no address of a portal.
    #[error("{0} is no address of a portal: it is https://, a name and, if it is not 443, a port")]
    Address(String),
    /// The connection failed.
    #[error("cannot reach the portal at {at}: {why}")]
    Unreached {
        /// Where.
        at: String,
        /// Why.
        why: String,
    },
    /// It is not the portal whose token or certificate this is.
    #[error("what answers at {at} is not the portal that was meant: {why}")]
    Stranger {
        /// Where.
        at: String,
        /// Why.
        why: String,
    },
    /// It refused.
    #[error("the portal refused: {why}")]
    Refused {
        /// By this.
        status: u16,
        /// Why.
        why: String,
    },
    /// What it said makes no sense.
    #[error("the portal's answer can't be read, is it another version? ({0})")]
    Unreadable(String),
    /// The stream has ended, whoever ended it.
    #[error("the connection to the portal has ended: {0}")]
    Ended(String),
    /// What is kept of the membership can't be used.
    #[error("cannot use the host's certificate: {0}")]
    Certificate(String),
}

/// See the module.
#[derive(Clone)]
pub struct Client {
    at: Uri,
    connector: TlsConnector,
    proxies: Arc<Matcher>,
}

impl Client {
    /// One that has a ticket with this pin, and no certificate.
    ///
    /// # Errors
    /// [`Error::Address`].
    pub fn stranger(portal: &str, pin: Pin) -> Result<Self, Error> {
        let config = trust::stranger(pin).map_err(certificate)?;
        Self::of(portal, config)
    }

    /// One that is enrolled.
    ///
    /// # Errors
    /// [`Error::Address`], [`Error::Certificate`].
    pub fn member(membership: &Membership) -> Result<Self, Error> {
        let Membership { portal, authority, certificate: own, key, .. } = membership;
        let read = |pem: &String| CertificateDer::from_pem_slice(pem.as_bytes());
        let (authority, own) = (read(authority).map_err(unread)?, read(own).map_err(unread)?);
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(unread)?;
        Self::of(portal, trust::member(authority, own, key).map_err(certificate)?)
    }

    fn of(portal: &str, config: rustls::ClientConfig) -> Result<Self, Error> {
        let at = address(portal).ok_or_else(|| Error::Address(portal.to_owned()))?;
        let connector = TlsConnector::from(Arc::new(config));
        Ok(Self { at, connector, proxies: Arc::new(Matcher::from_env()) })
    }

    /// Becomes a host of the portal.
    ///
    /// # Errors
    /// Any; [`Error::Refused`] if the ticket is not good, or not any more.
    pub async fn enrol(&self, enrol: &Enrol) -> Result<Enrolled, Error> {
        self.post(ENROL, enrol).await
    }

    /// Gets another certificate.
    ///
    /// # Errors
    /// Any; [`Error::Refused`] if the host was revoked.
    pub async fn renew(&self, renew: &Renew) -> Result<Renewed, Error> {
        self.post(RENEW, renew).await
    }

    /// Is a host of the portal no more.
    ///
    /// # Errors
    /// Any; [`Error::Refused`] if the host was revoked before.
    pub async fn leave(&self) -> Result<(), Error> {
        self.post(LEAVE, &()).await
    }

    /// Hears what the host is to do, first what it is now, and then what changes; and says how it stands.
    ///
    /// # Errors
    /// Any; [`Error::Refused`] if the host was revoked.
    pub async fn stream(&self) -> Result<Stream, Error> {
        let request = hyper::Request::get(STREAM)
            .header(CONNECTION, "upgrade")
            .header(UPGRADE, PROTOCOL)
            .body(Full::default());
        let answer = self.ask(request, StatusCode::SWITCHING_PROTOCOLS).await?;
        let upgraded = timeout(PATIENCE, hyper::upgrade::on(answer)).await;
        let upgraded = upgraded.map_err(|_| self.unreached("it does not go on"))?;
        let stream = TokioIo::new(upgraded.map_err(|error| self.unreached(error))?);
        Ok(Stream { stream, buffer: Vec::new(), heard: Instant::now() })
    }

    async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        message: &impl Serialize,
    ) -> Result<T, Error> {
        let message = serde_json::to_vec(message);
        let message = message.map_err(|error| Error::Unreadable(error.to_string()))?;
        let request = hyper::Request::post(path)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(message)));
        let answer = self.ask(request, StatusCode::OK).await?;
        serde_json::from_slice(&whole(answer.into_body()).await?)
            .map_err(|error| Error::Unreadable(error.to_string()))
    }

    /// An answer of this kind.
    pub(crate) async fn ask(
        &self,
        request: Result<hyper::Request<Full<Bytes>>, hyper::http::Error>,
        wanted: StatusCode,
    ) -> Result<hyper::Response<Incoming>, Error> {
        let mut request = request.map_err(|error| Error::Unreadable(error.to_string()))?;
        let authority = self.at.authority().map_or("", |authority| authority.as_str());
        let authority = HeaderValue::from_str(authority);
        let authority = authority.map_err(|error| Error::Unreadable(error.to_string()))?;
        request.headers_mut().insert(HOST, authority);
        let answered = timeout(PATIENCE, async {
            let stream = self.connect().await?;
            let (mut sender, connection) = http1::Builder::new()
                .max_buf_size(AHEAD)
                .handshake(TokioIo::new(stream))
                .await
                .map_err(|error| self.unreached(error))?;
            // It ends with the connection.
            tokio::spawn(connection.with_upgrades());
            sender.send_request(request).await.map_err(|error| self.unreached(error))
        });
        let answer = answered.await.map_err(|_| self.unreached("it does not answer"))??;
        match answer.status() {
            status if status == wanted => Ok(answer),
            status => Err(refused(status, &whole(answer.into_body()).await?)),
        }
    }

    async fn connect(&self) -> Result<tokio_rustls::client::TlsStream<TcpStream>, Error> {
        let tcp = self.dial().await?;
        tcp.set_nodelay(true).map_err(|error| self.unreached(error))?;
        let name = self.at.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let name = ServerName::try_from(name).map_err(|error| self.unreached(error))?;
        self.connector.connect(name, tcp).await.map_err(|error| {
            let is_tls = error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>());
            let (at, why) = (self.at.to_string(), error.to_string());
            if is_tls { Error::Stranger { at, why } } else { Error::Unreached { at, why } }
        })
    }

    async fn dial(&self) -> Result<TcpStream, Error> {
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_keepalive(Some(KEEP_ALIVE));
        let dialled = match self.proxies.intercept(&self.at) {
            None => connector
                .oneshot(self.at.clone())
                .await
                .map_err(|error| self.unreached(chain(&error))),
            Some(proxy) => {
                let mut tunnel = Tunnel::new(proxy.uri().clone(), connector);
                if let Some(auth) = proxy.basic_auth() {
                    tunnel = tunnel.with_auth(auth.clone());
                }
                let by = format!(
                    "by the proxy {}",
                    proxy.uri().authority().map_or("", |at| at.as_str())
                );
                tunnel
                    .oneshot(self.at.clone())
                    .await
                    .map_err(|error| self.unreached(format!("{by}: {}", chain(&error))))
            }
        };
        Ok(dialled?.into_inner())
    }

    fn unreached(&self, why: impl ToString) -> Error {
        Error::Unreached { at: self.at.to_string(), why: why.to_string() }
    }
}

/// What comes down, one after the other, and the way up.
pub struct Stream {
    stream: TokioIo<Upgraded>,
    /// What came of a line that is not whole yet.
    buffer: Vec<u8>,
    /// When something came last. Who asks for what is next may give up and ask again meanwhile.
    heard: Instant,
}

impl Stream {
    /// What is heard next, as soon as it comes.
    ///
    /// # Errors
    /// If the stream has ended, whoever ended it, or nothing was heard of the portal for long.
    pub async fn next(&mut self) -> Result<Heard, Error> {
        loop {
            if let Some(line) = take_line(&mut self.buffer) {
                match read(&line)? {
                    Some(heard) => return Ok(heard),
                    // It only says that it is there.
                    None => continue,
                }
            }
            let read =
                timeout_at(self.heard + SILENCE, self.stream.read_buf(&mut self.buffer)).await;
            let read = read.map_err(|_| Error::Ended("it was silent for long".to_owned()))?;
            match read {
                Ok(0) => return Err(Error::Ended("it closed it".to_owned())),
                Ok(_) => self.heard = Instant::now(),
                Err(error) => return Err(Error::Ended(error.to_string())),
            }
            if self.buffer.len() > LONGEST {
                return Err(Error::Unreadable(format!("a line of more than {LONGEST} bytes")));
            }
        }
    }

    /// Says how the host stands, and what was counted there.
    ///
    /// # Errors
    /// If the stream has ended, or the network takes nothing for long.
    pub async fn say(&mut self, said: &Said) -> Result<(), Error> {
        let mut line =
            serde_json::to_vec(said).map_err(|error| Error::Unreadable(error.to_string()))?;
        line.push(b'\n');
        let write = async {
            self.stream.write_all(&line).await?;
            self.stream.flush().await
        };
        let sent = timeout(PATIENCE, write).await;
        let sent = sent.map_err(|_| Error::Ended("it takes nothing".to_owned()))?;
        sent.map_err(|error| Error::Ended(error.to_string()))
    }
}

/// What a stream brings that is these bytes, up to what makes no sense.
pub fn heard(mut bytes: Vec<u8>) -> Vec<Heard> {
    let lines = std::iter::from_fn(|| take_line(&mut bytes));
    lines.map_while(|line| read(&line).ok()).flatten().collect()
}

/// Takes the first line that is whole.
fn take_line(buffer: &mut Vec<u8>) -> Option<Vec<u8>> {
    let end = buffer.iter().position(|byte| *byte == b'\n')?;
    Some(buffer.drain(..=end).collect())
}

/// What a line says, unless it is empty.
fn read(line: &[u8]) -> Result<Option<Heard>, Error> {
    match line.trim_ascii() {
        [] => Ok(None),
        line => serde_json::from_slice(line)
            .map(Some)
            .map_err(|error| Error::Unreadable(error.to_string())),
    }
}

async fn whole(body: Incoming) -> Result<Bytes, Error> {
    let whole = timeout(PATIENCE, Limited::new(body, LONGEST).collect()).await;
    let whole = whole.map_err(|_| Error::Unreadable("it breaks off".to_owned()))?;
    whole.map(|whole| whole.to_bytes()).map_err(|error| Error::Unreadable(error.to_string()))
}

fn refused(status: StatusCode, said: &[u8]) -> Error {
    let why: String =
        String::from_utf8_lossy(said).chars().filter(|it| !it.is_control()).take(300).collect();
    Error::Refused {
        status: status.as_u16(),
        why: if why.is_empty() { status.to_string() } else { why },
    }
}

fn certificate(error: rustls::Error) -> Error {
    Error::Certificate(error.to_string())
}

fn unread(error: pem::Error) -> Error {
    Error::Certificate(error.to_string())
}

/// An address with its port, and nothing after it.
fn address(portal: &str) -> Option<Uri> {
    let uri: Uri = portal.parse().ok()?;
    let authority = uri.authority()?;
    let is_plain = uri.scheme_str() == Some("https") && uri.path() == "/" && uri.query().is_none();
    let host = Some(authority.host())
        .filter(|host| !host.is_empty() && !authority.as_str().contains('@'))?;
    let at = format!("https://{host}:{}/", authority.port_u16().unwrap_or(443));
    at.parse().ok().filter(|_| is_plain)
}

/// An error with what caused it.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
