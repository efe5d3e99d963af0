//! [`Conversation`]: what a host that listens hears and says, once its connection speaks the fleet's own protocol: a line of JSON each, in both
//! directions. It keeps little: there are thousands.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use geofilter_fleet::{Heard, KEEP_ALIVE, SLOTS, Said};
use hyper::upgrade::{OnUpgrade, Parts};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::server::TlsStream;

use super::connected::{OfWorld, Place, Told};
use super::listener::OfHost;
use super::{HostId, Statements};
use crate::clock;

/// How long a host may take to read what it is told.
const PATIENCE: Duration = Duration::from_secs(20);
/// Bytes of a line that it says, and of what is read at a time.
const LONGEST: usize = 64 * 1024;
const AT_A_TIME: usize = 1024;

/// See the module.
pub(super) struct Conversation {
    pub(super) host: HostId,
    pub(super) told: watch::Receiver<Told>,
    pub(super) of_world: OfWorld,
    /// Given up when nobody hears it any more.
    pub(super) place: Place,
    pub(super) upgrade: OnUpgrade,
    pub(super) statements: Arc<Statements>,
}

/// What happens next.
enum Next {
    /// The host is to do something else; not, if it is cut off.
    Told(bool),
    /// There is other world data, or none.
    World,
    /// What it said is written down, or is not.
    Written(bool),
    /// It said more, or nothing more.
    Read(usize),
    /// It heard nothing for long.
    Quiet,
}

impl Conversation {
    /// Goes on until either side ends it.
    pub(super) async fn go_on(self, _of_host: OfHost) {
        let host = self.host;
        if let Err(error) = self.converse().await {
            tracing::debug!(%host, %error, "a host went away");
        }
    }

    async fn converse(self) -> io::Result<()> {
        let Self { host, mut told, mut of_world, place: _place, upgrade, statements } = self;
        let upgraded = upgrade.await.map_err(io::Error::other)?;
        let Ok(Parts { io, read_buf, .. }) = upgraded.downcast::<TokioIo<TlsStream<TcpStream>>>()
        else {
            return Err(io::Error::other("it is no connection of a host"));
        };
        let mut stream = io.into_inner();
        let mut buffer = read_buf.to_vec();
        drop(read_buf);
        // By its number, what it said that is not known yet to be written down. It says nothing more meanwhile.
        let mut pending: Option<(u64, oneshot::Receiver<bool>)> = None;
        let mut quiet = Instant::now();
        loop {
            if pending.is_none()
                && let Some(said) = line(&mut buffer)?
            {
                pending = Some((said.number, statements.put(host, said, clock::now())));
            }
            buffer.reserve(AT_A_TIME);
            let next = tokio::select! {
                changed = told.changed() => Next::Told(changed.is_ok()),
                Ok(()) = of_world.changed() => Next::World,
                written = written(&mut pending) => Next::Written(written),
                read = stream.read_buf(&mut buffer), if pending.is_none() => Next::Read(read?),
                () = sleep_until(quiet + KEEP_ALIVE) => Next::Quiet,
            };
            let answer = match next {
                Next::Told(false) | Next::Read(0) => return Ok(()),
                Next::Told(true) => told.borrow_and_update().line.clone(),
                Next::World => of_world.borrow_and_update().clone(),
                Next::Written(false) => {
                    pending = None;
                    None
                }
                Next::Written(true) => {
                    let noted = pending.take().map(|(number, _)| Heard::Noted(number).line());
                    noted.map(Into::into)
                }
                Next::Read(_) => None,
                Next::Quiet => Some(b"\n"[..].into()),
            };
            if let Some(answer) = answer {
                let write = async {
                    stream.write_all(&answer).await?;
                    stream.flush().await
                };
                timeout(PATIENCE, write).await??;
                quiet = Instant::now();
            }
        }
    }
}

/// Comes true when it is known whether what was said is written down.
async fn written(pending: &mut Option<(u64, oneshot::Receiver<bool>)>) -> bool {
    match pending {
        Some((_, written)) => written.await.unwrap_or(false),
        None => std::future::pending().await,
    }
}

/// Takes the first line that is whole.
fn line(buffer: &mut Vec<u8>) -> io::Result<Option<Said>> {
    let end = buffer.iter().position(|byte| *byte == b'\n');
    if end.unwrap_or(buffer.len()) > LONGEST {
        return Err(io::Error::other(format!("a line of more than {LONGEST} bytes")));
    }
    let Some(end) = end else { return Ok(None) };
    let mut said: Said = serde_json::from_slice(&buffer[..end])?;
    said.report = said.report.tidy();
    buffer.drain(..=end);
    buffer.shrink_to(AT_A_TIME);
    match said.counted.len() {
        0..=SLOTS => Ok(Some(said)),
        _ => Err(io::Error::other(format!("more than {SLOTS} steps at a time"))),
    }
}
