//! [`Conversation`]: what a host that listens hears and says, once its connection speaks the fleet's own protocol: a line of JSON each, in both
//! directions. It keeps little: there are thousands.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use geofilter_core::evidence::{Day, KEPT};
use geofilter_fleet::{DAYS, Heard, KEEP_ALIVE, SLOTS, Said};
use hyper::upgrade::{OnUpgrade, Parts};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::server::TlsStream;

use super::bans::Bans;
use super::connected::{Line, Place, Told};
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
    /// Given up when nobody hears it any more.
    pub(super) place: Place,
    pub(super) upgrade: OnUpgrade,
    pub(super) statements: Arc<Statements>,
    pub(super) bans: Arc<Bans>,
}

/// What happens next.
enum Next {
    /// There is more to be told; not, if the host is cut off.
    Told(bool),
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
        let Self { host, mut told, place: _place, upgrade, statements, bans } = self;
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
        let mut quiet = pin!(sleep(KEEP_ALIVE));
        let (mut heard, mut far) = (Told::default(), None);
        loop {
            if pending.is_none()
                && let Some(said) = line(&mut buffer)?
            {
                pending = Some((said.number, statements.put(host, said, clock::now())));
            }
            buffer.reserve(AT_A_TIME);
            let next = tokio::select! {
                changed = told.changed() => Next::Told(changed.is_ok()),
                written = written(&mut pending) => Next::Written(written),
                read = stream.read_buf(&mut buffer), if pending.is_none() => Next::Read(read?),
                () = &mut quiet => Next::Quiet,
            };
            let answers: Vec<Line> = match next {
                Next::Told(false) | Next::Read(0) => return Ok(()),
                Next::Told(true) => {
                    let now = told.borrow_and_update().clone();
                    let mut lines = now.since(&heard);
                    if now.has_bans_since(&heard) {
                        let of_bans;
                        (of_bans, far) = bans.after(far);
                        lines.extend(of_bans);
                    }
                    heard = now;
                    lines
                }
                Next::Written(false) => {
                    pending = None;
                    Vec::new()
                }
                Next::Written(true) => {
                    let noted = pending.take().filter(|(number, _)| *number != 0);
                    noted
                        .into_iter()
                        .map(|(number, _)| Heard::Noted(number).line().into())
                        .collect()
                }
                Next::Read(_) => Vec::new(),
                Next::Quiet => vec![b"\n"[..].into()],
            };
            for answer in answers {
                let write = async {
                    stream.write_all(&answer).await?;
                    stream.flush().await
                };
                timeout(PATIENCE, write).await??;
                quiet.as_mut().reset(Instant::now() + KEEP_ALIVE);
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
    said.previewed = said.previewed.map(|previewed| Box::new(previewed.tidy()));
    said.bans = said.bans.tidy();
    buffer.drain(..=end);
    buffer.shrink_to(AT_A_TIME);
    if !said.days.is_empty() {
        let (oldest, newest) = days();
        said.days.truncate(DAYS);
        // Of a day that is none, or that it can't know of, it makes it up.
        said.days.retain(|day| {
            let is_day = day.day.parse::<Day>().is_ok();
            is_day && (oldest.as_str()..=newest.as_str()).contains(&day.day.as_str())
        });
    }
    match said.counted.len() {
        0..=SLOTS => Ok(Some(said)),
        _ => Err(io::Error::other(format!("more than {SLOTS} steps at a time"))),
    }
}

/// The first day and the last one of which a host may know something by now, wherever it is.
fn days() -> (String, String) {
    let day = |days: i64| clock::day(clock::now() + days * 86_400_000);
    (day(-i64::try_from(KEPT).unwrap_or(0)), day(1))
}
