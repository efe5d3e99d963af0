//! The agent's sockets: one request a connection. Lines are bounded, every wait has an end, and no client
//! can keep another from being served. Each is a [`Door`], with limits of its own.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use geofilter_core::wire::{Failure, FailureKind, LogEntry, Reply, Request};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, oneshot};
use tokio::time::timeout;

use super::engine::{Answer, Job};
use super::log::Filter;

const LONGEST_REQUEST: u64 = 64 * 1024;
const REQUEST_TIME: Duration = Duration::from_secs(2);
const WRITE_TIME: Duration = Duration::from_secs(5);
const FOLLOWERS: usize = 16;

/// Whom a socket is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    /// Whoever can open it, which is root: everything.
    Root,
    /// The portal: what [`Request::check_for_portal`] lets it ask.
    Portal {
        /// The user it runs as.
        uid: u32,
    },
}

impl Door {
    /// How many are heard at a time.
    fn clients(self) -> usize {
        match self {
            Self::Root => 512,
            Self::Portal { .. } => 64,
        }
    }

    /// How many requests wait for the engine at a time. It takes them by turns, so this is how many of the
    /// portal's root may have to wait for.
    fn asking(self) -> usize {
        match self {
            Self::Root => 512,
            Self::Portal { .. } => 4,
        }
    }

    /// Whether a process of this user may come in, whatever the mode of the socket.
    fn check_peer(self, peer: Option<u32>) -> Result<(), Failure> {
        match self {
            Self::Portal { uid } if peer != Some(uid) => Err(Failure::new(
                FailureKind::Invalid,
                format!("this socket is for the portal, which is user {uid}; ask at agent.sock"),
            )),
            Self::Root | Self::Portal { .. } => Ok(()),
        }
    }

    fn check(self, request: &Request) -> Result<(), Failure> {
        match self {
            Self::Root => Ok(()),
            Self::Portal { .. } => request.check_for_portal(),
        }
    }
}

/// Serves clients for as long as it is polled.
pub(crate) async fn serve(door: Door, listener: UnixListener, jobs: Sender<Job>) {
    let clients = Arc::new(Semaphore::new(door.clients()));
    let asking = Arc::new(Semaphore::new(door.asking()));
    let followers = Arc::new(Semaphore::new(FOLLOWERS));
    while let Ok(client) = Arc::clone(&clients).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                let (jobs, asking) = (jobs.clone(), Arc::clone(&asking));
                let connection =
                    Connection::new(door, stream, jobs, asking, Arc::clone(&followers));
                tokio::spawn(connection.serve(client));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a client");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

struct Connection {
    door: Door,
    /// Whose process it is.
    peer: Option<u32>,
    read: OwnedReadHalf,
    write: OwnedWriteHalf,
    jobs: Sender<Job>,
    asking: Arc<Semaphore>,
    followers: Arc<Semaphore>,
}

impl Connection {
    fn new(
        door: Door,
        stream: UnixStream,
        jobs: Sender<Job>,
        asking: Arc<Semaphore>,
        followers: Arc<Semaphore>,
    ) -> Self {
        let peer = stream.peer_cred().ok().map(|peer| peer.uid());
        let (read, write) = stream.into_split();
        Self { door, peer, read, write, jobs, asking, followers }
    }

    async fn serve(mut self, client: OwnedSemaphorePermit) {
        if let Err(error) = self.converse(client).await {
            tracing::debug!(%error, "a client went away");
        }
    }

    async fn converse(&mut self, client: OwnedSemaphorePermit) -> io::Result<()> {
        if let Err(failure) = self.door.check_peer(self.peer) {
            tracing::warn!(uid = self.peer, "a client of another user was refused");
            return self.send(&Reply::Error(failure)).await;
        }
        let request = match timeout(REQUEST_TIME, self.request()).await {
            Ok(request) => request?,
            Err(_) => Err(format!("no request came within {} s", REQUEST_TIME.as_secs())),
        };
        match request {
            Ok(request) => match self.door.check(&request) {
                Ok(()) => self.answer(request, client).await,
                Err(failure) => self.send(&Reply::Error(failure)).await,
            },
            Err(message) => self.send(&error(FailureKind::Invalid, message)).await,
        }
    }

    async fn request(&mut self) -> io::Result<Result<Request, String>> {
        let mut line = Vec::new();
        let mut bounded = BufReader::new((&mut self.read).take(LONGEST_REQUEST));
        bounded.read_until(b'\n', &mut line).await?;
        if !line.ends_with(b"\n") {
            return Ok(Err(format!(
                "a request is one line of at most {LONGEST_REQUEST} bytes that ends with a newline"
            )));
        }
        Ok(serde_json::from_slice(&line).map_err(|error| {
            format!("this is not a request: {error}; is the client another version?")
        }))
    }

    async fn answer(&mut self, request: Request, client: OwnedSemaphorePermit) -> io::Result<()> {
        let follower = match &request {
            Request::Log { follow: true, .. } => {
                match Arc::clone(&self.followers).try_acquire_owned() {
                    Ok(follower) => Some(follower),
                    Err(_) => {
                        let message = format!("{FOLLOWERS} clients follow the log already");
                        return self.send(&error(FailureKind::Failed, message)).await;
                    }
                }
            }
            _ => None,
        };
        let (answer, answered) = oneshot::channel();
        // Held until it is answered, by an engine that takes one after the other.
        let asking = self.asking.acquire().await;
        let asked = asking.is_ok() && self.jobs.send(Job::Answer { request, answer }).is_ok();
        let answered = answered.await;
        drop(asking);
        match answered {
            Ok(Answer::Reply(reply)) if asked => self.send(&reply).await,
            Ok(Answer::Log { recent, filter, follow }) => {
                for entry in recent {
                    self.send_entry(&entry).await?;
                }
                // From here on it counts as a follower, not as a client that waits for its answer.
                drop(client);
                match follow {
                    Some(entries) => self.follow(entries, filter).await,
                    None => Ok(()),
                }
            }
            Ok(Answer::Reply(_)) | Err(_) => {
                self.send(&error(FailureKind::Failed, "the agent is ending".to_owned())).await
            }
        }?;
        drop(follower);
        Ok(())
    }

    async fn follow(
        &mut self,
        mut entries: broadcast::Receiver<Arc<LogEntry>>,
        filter: Filter,
    ) -> io::Result<()> {
        let mut ignored = [0; 256];
        loop {
            let entry = tokio::select! {
                entry = entries.recv() => entry,
                read = self.read.read(&mut ignored) => match read? {
                    0 => return Ok(()),
                    _ => continue,
                },
            };
            match entry {
                Ok(entry) if filter.matches(&entry) => self.send_entry(&entry).await?,
                Ok(_) => {}
                Err(broadcast::error::RecvError::Lagged(entries)) => {
                    self.send(&Reply::Skipped(entries)).await?;
                }
                Err(broadcast::error::RecvError::Closed) => return Ok(()),
            }
        }
    }

    async fn send_entry(&mut self, entry: &LogEntry) -> io::Result<()> {
        self.send(&Reply::Entry(Box::new(entry.clone()))).await
    }

    async fn send(&mut self, reply: &Reply) -> io::Result<()> {
        let mut line = serde_json::to_vec(reply)?;
        line.push(b'\n');
        timeout(WRITE_TIME, self.write.write_all(&line)).await?
    }
}

fn error(kind: FailureKind, message: String) -> Reply {
    Reply::Error(Failure::new(kind, message))
}
