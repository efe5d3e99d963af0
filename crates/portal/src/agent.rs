//! [`Agent`]: the way to the agent of a host, one request a connection, as `geofilter_core::wire` says.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use geofilter_core::wire::{Failure, FailureKind, Reply, Request};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Take};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

/// Detaching from a busy host may take a while; nothing takes longer.
const PATIENCE: Duration = Duration::from_secs(120);
/// Bytes of one reply: more than all the exemptions and bans that there is room for.
const LONGEST: u64 = 1 << 28;

/// An agent that is reached by a socket of its host.
#[derive(Debug, Clone)]
pub(crate) struct Agent {
    socket: PathBuf,
}

impl Agent {
    /// The one that listens there.
    pub(crate) fn at(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// Asks for one reply.
    ///
    /// # Errors
    /// What the agent answered with, or that it does not answer.
    pub(crate) async fn ask(&self, request: &Request) -> Result<Reply, Failure> {
        let replied = timeout(PATIENCE, async { self.replies(request).await?.next().await });
        match replied.await {
            Ok(reply) => reply?.ok_or_else(|| self.silent("it closed the connection")),
            Err(_) => Err(self.silent("nothing came in two minutes")),
        }
    }

    /// Asks for replies for as long as they are read.
    ///
    /// # Errors
    /// That it does not answer.
    pub(crate) async fn replies(&self, request: &Request) -> Result<Replies, Failure> {
        let unreachable = |error: io::Error| self.silent(&error.to_string());
        let stream = UnixStream::connect(&self.socket).await.map_err(unreachable)?;
        let (read, mut write) = stream.into_split();
        let mut line = serde_json::to_vec(request).map_err(|error| {
            Failure::new(FailureKind::Failed, format!("cannot write the request: {error}"))
        })?;
        line.push(b'\n');
        write.write_all(&line).await.map_err(unreachable)?;
        Ok(Replies {
            agent: self.clone(),
            reader: BufReader::new(read.take(LONGEST)),
            _write: write,
        })
    }

    fn silent(&self, why: &str) -> Failure {
        Failure::new(
            FailureKind::Unreachable,
            format!(
                "the agent at {} does not answer: {why}; what the kernel holds stays in force. See whether it runs",
                self.socket.display()
            ),
        )
    }
}

/// The replies to one request.
pub(crate) struct Replies {
    agent: Agent,
    reader: BufReader<Take<OwnedReadHalf>>,
    /// The agent takes a connection that is half closed for one that has gone.
    _write: OwnedWriteHalf,
}

impl Replies {
    /// The next one, none once the agent has no more.
    ///
    /// # Errors
    /// What it answered with, or that it can't be read.
    pub(crate) async fn next(&mut self) -> Result<Option<Reply>, Failure> {
        let mut line = Vec::new();
        self.reader.get_mut().set_limit(LONGEST);
        let read = self.reader.read_until(b'\n', &mut line).await;
        let length = read.map_err(|error| self.agent.silent(&error.to_string()))?;
        if length == 0 {
            return Ok(None);
        }
        match serde_json::from_slice(&line) {
            Ok(Reply::Error(failure)) => Err(failure),
            Ok(reply) => Ok(Some(reply)),
            Err(error) => Err(self.agent.silent(&format!("is it another version? ({error})"))),
        }
    }
}
