//! The agent's sockets: one request a connection. Lines are bounded, every wait has an end, and no client
//! can keep another from being served. Each is a [`Door`], with limits of its own, and for whom it is says the kernel.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use geofilter_core::wire::{Failure, FailureKind, LogEntry, Reply, Request};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, oneshot};
use tokio::time::{sleep, timeout};

use super::door::{Door, Place, Places, Strangers};
use super::engine::{Answer, Job};
use super::log::Filter;

const LONGEST_REQUEST: u64 = 64 * 1024;
const REQUEST_TIME: Duration = Duration::from_secs(2);
const WRITE_TIME: Duration = Duration::from_secs(5);
const FOLLOWERS: usize = 16;

/// Serves clients for as long as it is polled.
pub(crate) async fn serve(door: Door, listener: UnixListener, jobs: Sender<Job>) {
    let clients = Arc::new(Semaphore::new(door.clients()));
    let shared = Shared {
        door,
        jobs,
        asking: Arc::new(Semaphore::new(door.asking())),
        followers: Arc::new(Semaphore::new(FOLLOWERS)),
    };
    let places = Arc::new(Places::default());
    let mut strangers = Strangers::default();
    let mut rate = door.rate();
    while let Ok(client) = Arc::clone(&clients).acquire_owned().await {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a client");
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let peer = stream.peer_cred().ok();
        let uid = peer.map(|peer| peer.uid());
        // Strangers cost those it is for neither a place nor a turn.
        if let Err(failure) = door.check_peer(uid) {
            if let Some(clients) = strangers.count(Instant::now()) {
                tracing::warn!(uid, clients, "a client of another user was refused");
            }
            refuse(&stream, failure);
            continue;
        }
        let Some(place) = places.take(peer, door.clients_of_each()) else {
            let most = door.clients_of_each();
            let message = format!("this process has {most} connections to the agent already");
            refuse(&stream, Failure::new(FailureKind::Failed, message));
            continue;
        };
        sleep(rate.wait(Instant::now())).await;
        tokio::spawn(shared.connection(stream).serve(Held { _client: client, _place: place }));
    }
}

/// Says so if that takes no waiting.
fn refuse(stream: &UnixStream, failure: Failure) {
    let Ok(line) = line(&Reply::Error(failure)) else { return };
    // It may be gone.
    let _ = stream.try_write(&line);
}

/// What all connections by a door share.
struct Shared {
    door: Door,
    jobs: Sender<Job>,
    asking: Arc<Semaphore>,
    followers: Arc<Semaphore>,
}

impl Shared {
    fn connection(&self, stream: UnixStream) -> Connection {
        let (read, write) = stream.into_split();
        let Self { door, jobs, asking, followers } = self;
        let (jobs, asking, followers) = (jobs.clone(), Arc::clone(asking), Arc::clone(followers));
        Connection { door: *door, read, write, jobs, asking, followers }
    }
}

/// What a client has of what is bounded, until this is dropped.
struct Held {
    _client: OwnedSemaphorePermit,
    _place: Place,
}

struct Connection {
    door: Door,
    read: OwnedReadHalf,
    write: OwnedWriteHalf,
    jobs: Sender<Job>,
    asking: Arc<Semaphore>,
    followers: Arc<Semaphore>,
}

impl Connection {
    async fn serve(mut self, held: Held) {
        if let Err(error) = self.converse(held).await {
            tracing::debug!(%error, "a client went away");
        }
    }

    async fn converse(&mut self, held: Held) -> io::Result<()> {
        let request = match timeout(REQUEST_TIME, self.request()).await {
            Ok(request) => request?,
            Err(_) => Err(format!("no request came within {} s", REQUEST_TIME.as_secs())),
        };
        match request {
            Ok(request) => match self.door.check(&request) {
                Ok(()) => self.answer(request, held).await,
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

    async fn answer(&mut self, request: Request, held: Held) -> io::Result<()> {
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
        // Held until it is answered, by an engine that takes one after the other, and has the answer.
        let asking = Arc::clone(&self.asking).acquire_owned().await;
        let asked = asking.is_ok() && self.jobs.send(Job::Answer { request, answer }).is_ok();
        match answered.await {
            Ok(Answer::Reply(reply)) if asked => {
                let line = line(&reply);
                drop(reply);
                self.write(&line?).await
            }
            Ok(Answer::Log { recent, filter, follow }) => {
                // What is remembered is in memory once for all.
                drop(asking);
                for entry in recent {
                    self.send(&Reply::Entry(Box::new((*entry).clone()))).await?;
                }
                // From here on it counts as a follower, not as a client that waits for its answer.
                drop(held);
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
        // It has nothing more to say: this much is ignored, after more it is ended.
        let mut ignored = [0; 256];
        let mut said = 0;
        loop {
            let entry = tokio::select! {
                entry = entries.recv() => entry,
                read = self.read.read(&mut ignored[said..]) => match read? {
                    0 => return Ok(()),
                    more => {
                        said += more;
                        continue;
                    }
                },
            };
            match entry {
                Ok(entry) if filter.matches(&entry) => {
                    self.send(&Reply::Entry(Box::new((*entry).clone()))).await?;
                }
                Ok(_) => {}
                Err(broadcast::error::RecvError::Lagged(entries)) => {
                    self.send(&Reply::Skipped(entries)).await?;
                }
                Err(broadcast::error::RecvError::Closed) => return Ok(()),
            }
        }
    }

    async fn send(&mut self, reply: &Reply) -> io::Result<()> {
        self.write(&line(reply)?).await
    }

    async fn write(&mut self, line: &[u8]) -> io::Result<()> {
        timeout(WRITE_TIME, self.write.write_all(line)).await?
    }
}

fn line(reply: &Reply) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(reply)?;
    line.push(b'\n');
    Ok(line)
}

fn error(kind: FailureKind, message: String) -> Reply {
    Reply::Error(Failure::new(kind, message))
}
