//! The agent's socket: one request a connection. Lines are bounded, every wait has an end, and no client
//! can keep another from being served.

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
const CLIENTS: usize = 512;
const FOLLOWERS: usize = 16;

/// Serves clients for as long as it is polled.
pub(crate) async fn serve(listener: UnixListener, jobs: Sender<Job>) {
    let clients = Arc::new(Semaphore::new(CLIENTS));
    let followers = Arc::new(Semaphore::new(FOLLOWERS));
    while let Ok(client) = Arc::clone(&clients).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                let connection = Connection::new(stream, jobs.clone(), Arc::clone(&followers));
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
    read: OwnedReadHalf,
    write: OwnedWriteHalf,
    jobs: Sender<Job>,
    followers: Arc<Semaphore>,
}

impl Connection {
    fn new(stream: UnixStream, jobs: Sender<Job>, followers: Arc<Semaphore>) -> Self {
        let (read, write) = stream.into_split();
        Self { read, write, jobs, followers }
    }

    async fn serve(mut self, client: OwnedSemaphorePermit) {
        if let Err(error) = self.converse(client).await {
            tracing::debug!(%error, "a client went away");
        }
    }

    async fn converse(&mut self, client: OwnedSemaphorePermit) -> io::Result<()> {
        let request = match timeout(REQUEST_TIME, self.request()).await {
            Ok(request) => request?,
            Err(_) => Err(format!("no request came within {} s", REQUEST_TIME.as_secs())),
        };
        match request {
            Ok(request) => self.answer(request, client).await,
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
        let asked = self.jobs.send(Job { request, answer }).is_ok();
        match answered.await {
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
