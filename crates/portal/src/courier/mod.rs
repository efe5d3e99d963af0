//! [`Courier`]: the process that carries [`Letter`]s to where an admin wants them, by [`webhook`] or [`mail`]. The portal itself
//! can reach nobody. [`start`] starts it before the portal is confined; [`carry`] is what it does, confined in its own way:
//! it may connect, and has no folder, no database and no agent.
//!
//! They speak over a pair of sockets, a JSON document a line, one answer for each letter.

mod mail;
mod webhook;

use std::io::{self, BufRead, BufReader, Write};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::sync::Mutex;
use utoipa::ToSchema;

use crate::notices::Notice;
use crate::sandbox;
pub(crate) use mail::Mail;
pub(crate) use webhook::Webhook;

/// How long a letter may take.
const PATIENCE: Duration = Duration::from_secs(15);
/// Bytes of a letter, and of what is said of it.
const LONGEST: u64 = 64 * 1024;

/// Where a notice goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(crate) enum Target {
    /// An HTTP server that takes it as JSON.
    Webhook(Webhook),
    /// Mailboxes.
    Mail(Mail),
}

impl Target {
    /// What is wrong with it, if anything.
    pub(crate) fn check(&self) -> Result<(), String> {
        match self {
            Self::Webhook(webhook) => webhook.check(),
            Self::Mail(mail) => mail.check(),
        }
    }

    /// What of it is no secret.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Webhook(webhook) => webhook.shown(),
            Self::Mail(mail) => mail.to.clone(),
        }
    }
}

/// A notice, and where it goes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Letter {
    pub(crate) target: Target,
    pub(crate) notice: Notice,
}

/// What came of it, or why it was not delivered.
type Answer = Result<(), String>;

/// Starts the courier of this program, which ends with whoever holds what is returned.
///
/// # Errors
/// If it does not start.
pub fn start() -> io::Result<OwnedFd> {
    let (here, there) = UnixStream::pair()?;
    let mut command = Command::new("/proc/self/exe");
    command.arg0("geofilter").args(["portal", "courier"]).env_clear().current_dir("/");
    command.stdin(Stdio::from(OwnedFd::from(there))).stdout(Stdio::null()).process_group(0);
    command.spawn()?;
    Ok(here.into())
}

/// Carries what is said on this socket, until it is closed.
///
/// # Errors
/// If it can't be confined, or the socket fails.
pub fn carry(socket: OwnedFd) -> Result<(), crate::Error> {
    let system = |what| move |source| crate::Error::System { what, source };
    let roots = geofilter_reach::trusted();
    sandbox::enter_courier()?;
    let mut answers = UnixStream::from(socket);
    let letters = answers.try_clone().map_err(system("use its socket"))?;
    for line in BufReader::new(letters).lines() {
        let line = line.map_err(system("read a letter"))?;
        let answer = match serde_json::from_str::<Letter>(&line) {
            Ok(Letter { target: Target::Webhook(webhook), notice }) => {
                webhook.post(&notice, &roots)
            }
            Ok(Letter { target: Target::Mail(mail), notice }) => mail.send(&notice),
            Err(error) => Err(format!("the letter can't be read: {error}")),
        };
        let mut answer = serde_json::to_vec(&answer).unwrap_or_default();
        answer.push(b'\n');
        // Who does not wait for it has gone, and no letter follows.
        if answers.write_all(&answer).is_err() {
            break;
        }
    }
    Ok(())
}

/// The portal's end.
pub(crate) struct Courier {
    talk: Mutex<Option<Talk>>,
}

struct Talk {
    socket: tokio::io::BufReader<tokio::net::UnixStream>,
    /// What came of the answer that is awaited.
    answer: Vec<u8>,
    /// Whether one is.
    waits: bool,
}

impl Courier {
    /// The one that was started.
    ///
    /// # Errors
    /// If the socket can't be used.
    pub(crate) fn of(socket: OwnedFd) -> io::Result<Self> {
        let socket = UnixStream::from(socket);
        socket.set_nonblocking(true)?;
        let socket = tokio::io::BufReader::new(tokio::net::UnixStream::from_std(socket)?);
        Ok(Self { talk: Mutex::new(Some(Talk { socket, answer: Vec::new(), waits: false })) })
    }

    /// Has a letter delivered, one after the other.
    ///
    /// # Errors
    /// Why it was not.
    pub(crate) async fn deliver(&self, letter: &Letter) -> Answer {
        const GONE: &str = "the courier has ended: restart the portal";
        let mut open = self.talk.lock().await;
        let talk = open.as_mut().ok_or(GONE)?;
        match tokio::time::timeout(3 * PATIENCE, talk.exchange(letter)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => {
                *open = None;
                Err(GONE.to_owned())
            }
            Err(_) => {
                Err("it took too long: see to its server, and to the name servers".to_owned())
            }
        }
    }
}

impl Talk {
    async fn exchange(&mut self, letter: &Letter) -> io::Result<Answer> {
        // That of a letter for which nobody waits any more.
        if self.waits {
            let _late = self.hear().await?;
        }
        let mut line = serde_json::to_vec(letter)?;
        line.push(b'\n');
        self.waits = true;
        self.socket.get_mut().write_all(&line).await?;
        self.hear().await
    }

    /// Goes on where it was when nobody waited any more.
    async fn hear(&mut self) -> io::Result<Answer> {
        (&mut self.socket).take(LONGEST).read_until(b'\n', &mut self.answer).await?;
        self.waits = false;
        Ok(serde_json::from_slice(&std::mem::take(&mut self.answer))?)
    }
}

/// Looks a server up, which must not be one that only this machine and its cloud can reach: what such servers
/// answer to anybody is secret. What is connected to is what is found here: the next answer may be another one.
fn look_up(host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    let found = (host, port).to_socket_addrs();
    let found: Vec<_> = found.map_err(|error| format!("cannot look up {host}: {error}"))?.collect();
    match found.iter().find(|address| is_inner(address.ip())) {
        Some(address) => Err(format!("{host} is {}, which notices are not sent to", address.ip())),
        None => Ok(found),
    }
}

/// Where clouds have such servers beside link-local addresses: Alibaba, Oracle, Azure; Amazon, Google.
const METADATA_V4: [[u8; 4]; 3] = [[100, 100, 100, 200], [192, 0, 0, 192], [168, 63, 129, 16]];
const METADATA_V6: [[u16; 8]; 2] =
    [[0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254], [0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254]];

fn is_inner(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let known = METADATA_V4.contains(&address.octets());
            known || address.is_link_local() || address.is_unspecified()
        }
        IpAddr::V6(address) => {
            let known = METADATA_V6.contains(&address.segments());
            known || address.is_unicast_link_local() || address.is_unspecified()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_of_the_cloud_below_this_machine_is_told_nothing() {
        for address in [
            "169.254.169.254",
            "::ffff:169.254.169.254",
            "fe80::1",
            "0.0.0.0",
            "fd00:ec2::254",
            "168.63.129.16",
        ] {
            assert!(look_up(address, 80).is_err(), "{address}");
        }
        for address in ["127.0.0.1", "::1", "192.168.1.1", "192.0.2.1"] {
            assert_eq!(look_up(address, 25).map(|found| found.len()), Ok(1), "{address}");
        }
    }
}
