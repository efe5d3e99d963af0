//! [`World`]: the world data of the fleet. Of all portals that share the database one at a time has its [`Fetcher`] ask the sources and make
//! images; what it made is compared with what is served, and served, or held until somebody approves it. Hosts hear its digest and pull it.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use geofilter_core::geodata::{AsImage, ImageError, WorldImage, bundle, embedded, gate};
use geofilter_core::policy::Verdict;
use geofilter_core::wire::{Data, UpdateOutcome};
use geofilter_core::world::World as Table;
use geofilter_fleet::world::{self, Served};
use geofilter_fleet::{Heard, HostId};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Mutex, Notify, OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::connected::Line;
use crate::clock;
use crate::memory;
use crate::store::{Attempt, NewWorld, Place, Store, Worlds};

/// Where the portal and its fetcher find what they make, in the portal's folder.
pub const FOLDER: &str = "world";
/// What is served, as the fetcher finds it there, and what it made of that and the sources.
pub const BASE: &str = "served";
/// See there.
pub const MADE: &str = "made";

/// Hosts that pull at a time.
const PULLS: usize = 32;
/// How often a portal that fetches says that it still does.
const RENEWED: Duration = Duration::from_secs(15);
/// How long after its start a portal asks at the earliest, by how much its turns differ from those of others, and when it asks again after
/// a failure; in milliseconds.
const SETTLED: i64 = 60_000;
const JITTER: i64 = 3_600_000;
const AGAIN: i64 = 3_600_000;
/// How soon it looks again whether it is its turn, if the database does not say.
const BLIND: i64 = 30_000;

/// How a portal keeps world data for its hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keeping {
    /// Seconds between two times that sources are asked; none if that is only when somebody asks for it.
    pub every: Option<u64>,
    /// Seconds over which hosts pull what is new.
    pub spread: u64,
}

/// What the fetcher is told, a word a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ask {
    /// Ask the sources, and make what is new of it. It is answered.
    Fetch,
    /// What was made is kept: it need not be made again.
    Kept,
}

/// What it answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fetched {
    /// There is something that was made.
    Made,
    /// The sources have nothing new.
    Same,
    /// Why neither.
    Failed(String),
}

/// The process that fetches, and its folder.
pub(crate) struct Fetcher {
    folder: PathBuf,
    lines: Lines<BufReader<OwnedReadHalf>>,
    words: OwnedWriteHalf,
}

impl Fetcher {
    /// That at the other end of this socket.
    ///
    /// # Errors
    /// If the socket can't be used.
    pub(crate) fn of(socket: OwnedFd, state_dir: &Path) -> io::Result<Self> {
        let socket = UnixStream::from(socket);
        socket.set_nonblocking(true)?;
        let (lines, words) = tokio::net::UnixStream::from_std(socket)?.into_split();
        let lines = BufReader::new(lines).lines();
        Ok(Self { folder: state_dir.join(FOLDER), lines, words })
    }

    async fn tell(&mut self, ask: Ask) -> io::Result<()> {
        let mut line = serde_json::to_vec(&ask)?;
        line.push(b'\n');
        self.words.write_all(&line).await
    }

    async fn fetch(&mut self) -> io::Result<Fetched> {
        self.tell(Ask::Fetch).await?;
        let line = self.lines.next_line().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(serde_json::from_str(&line)?)
    }
}

/// Why nothing was made that can be served.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("the portal's database failed: {0}")]
    Database(#[from] sqlx::Error),
    #[error("cannot use the folder of world data: {0}")]
    Folder(#[from] io::Error),
    #[error("what was made of it can't be used: {0}")]
    Bundle(#[from] bundle::BundleError),
    #[error("what was made of it can't be used: {0}")]
    Image(#[from] ImageError),
    #[error("the process that fetches world data has ended: restart the portal")]
    Gone(#[source] io::Error),
    #[error("{0}")]
    Said(String),
    #[error("it could not be compared: {0}")]
    Task(#[from] tokio::task::JoinError),
}

/// Why there is nothing for a host that pulls.
pub(super) enum NoPull {
    /// It is not what is served now.
    Other,
    /// Too many pull.
    Busy,
    Database(sqlx::Error),
}

/// See the module.
pub(crate) struct World {
    store: Store,
    keeping: Keeping,
    /// This portal, among those that share the database.
    portal: i64,
    pulls: Arc<Semaphore>,
    /// What was pulled last: all hosts pull the same.
    served: Mutex<Option<(String, Bytes)>>,
    /// Who pulls.
    pulling: std::sync::Mutex<HashSet<HostId>>,
    /// Somebody asked for it, and it is this portal that fetches.
    asked: Notify,
    /// Whether there is a process that fetches.
    fetches: AtomicBool,
}

/// A place among those who pull, until it is dropped. A host has one: it could keep all others from pulling.
pub(super) struct Pull {
    host: HostId,
    world: Arc<World>,
    _permit: OwnedSemaphorePermit,
}

impl Pull {
    fn of(world: &Arc<World>, host: HostId, permit: OwnedSemaphorePermit) -> Option<Self> {
        let is_first = world.pulling().insert(host);
        is_first.then(|| Self { host, world: Arc::clone(world), _permit: permit })
    }
}

impl Drop for Pull {
    fn drop(&mut self) {
        self.world.pulling().remove(&self.host);
    }
}

impl World {
    fn pulling(&self) -> std::sync::MutexGuard<'_, HashSet<HostId>> {
        self.pulling.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn new(store: Store, keeping: Keeping, portal: HostId) -> Self {
        Self {
            store,
            keeping,
            portal: portal.0,
            pulls: Arc::new(Semaphore::new(PULLS)),
            pulling: std::sync::Mutex::default(),
            served: Mutex::default(),
            asked: Notify::new(),
            fetches: AtomicBool::new(false),
        }
    }

    /// Whether this portal fetches.
    pub(crate) fn fetches(&self) -> bool {
        self.fetches.load(Ordering::Relaxed)
    }

    /// When it asks the sources by itself at the earliest, in milliseconds since 1970.
    pub(crate) fn next(&self, worlds: &Worlds) -> Option<i64> {
        let every = self.every().filter(|_| self.fetches())?;
        Some(turn(every, worlds.last.as_ref()))
    }

    fn every(&self) -> Option<i64> {
        self.keeping.every.and_then(|every| i64::try_from(every.saturating_mul(1000)).ok())
    }

    /// Asks the sources now. Returns whether it does: another portal may fetch already.
    ///
    /// # Errors
    /// If the database can't be used.
    pub(crate) async fn ask(&self) -> Result<bool, sqlx::Error> {
        let begins = self.store.begin_fetch(self.portal, clock::now()).await?;
        if begins {
            self.asked.notify_one();
        }
        Ok(begins)
    }

    /// What hosts hear of it.
    pub(super) async fn line(&self) -> Result<Line, sqlx::Error> {
        let digest = self.store.world_digest().await?;
        let served = digest.map(|digest| Served { digest, spread: self.keeping.spread });
        Ok(Heard::World(served).line().into())
    }

    /// What a host pulls.
    pub(super) async fn pull(
        self: &Arc<Self>,
        host: HostId,
        digest: &str,
    ) -> Result<(Bytes, Pull), NoPull> {
        let permit = Arc::clone(&self.pulls).try_acquire_owned().map_err(|_| NoPull::Busy)?;
        let permit = Pull::of(self, host, permit).ok_or(NoPull::Busy)?;
        let served = self.store.world_digest().await.map_err(NoPull::Database)?;
        if served.as_deref() != Some(digest) {
            return Err(NoPull::Other);
        }
        // Of those that come first one reads it, and the others wait.
        let mut known = self.served.lock().await;
        if let Some((known, content)) = &*known
            && known == digest
        {
            return Ok((content.clone(), permit));
        }
        let content = self.store.world_content(digest).await.map_err(NoPull::Database)?;
        let content = Bytes::from(content.ok_or(NoPull::Other)?);
        *known = Some((digest.to_owned(), content.clone()));
        Ok((content, permit))
    }

    /// Fetches when it is time or somebody asks, for as long as it is polled and there is a process for it.
    pub(crate) async fn keep(self: Arc<Self>, mut fetcher: Fetcher) {
        self.fetches.store(true, Ordering::Relaxed);
        let mut wait = SETTLED;
        loop {
            let is_asked = tokio::select! {
                () = self.asked.notified() => true,
                () = sleep(milliseconds(wait)) => false,
            };
            if is_asked || self.takes_its_turn().await {
                let attempt = match self.fetch(&mut fetcher).await {
                    Ok(attempt) => attempt,
                    Err(trouble) => {
                        let why = trouble.to_string();
                        tracing::warn!(why, "the world data of the fleet was not updated");
                        if matches!(trouble, Trouble::Gone(_)) {
                            self.fetches.store(false, Ordering::Relaxed);
                        }
                        Attempt { outcome: UpdateOutcome::Failed, why: Some(why) }
                    }
                };
                let noted = self.store.end_fetch(self.portal, &attempt, clock::now()).await;
                if let Err(error) = noted {
                    tracing::warn!(%error, "what came of the fleet's world data can't be written down: it is asked for again");
                }
                if !self.fetches() {
                    return;
                }
            }
            wait = self.wait().await;
        }
    }

    /// How long it is until its next turn, in milliseconds.
    async fn wait(&self) -> i64 {
        let Some(every) = self.every() else { return JITTER };
        match self.store.worlds(clock::now()).await {
            Ok(worlds) => {
                let rest = turn(every, worlds.last.as_ref()).saturating_sub(clock::now());
                rest.max(0).saturating_add(BLIND).saturating_add(chance(JITTER.min(every / 4)))
            }
            Err(_) => BLIND,
        }
    }

    /// Whether it is time by now, and no other portal fetches.
    async fn takes_its_turn(&self) -> bool {
        let Some(every) = self.every() else { return false };
        let now = clock::now();
        let Ok(worlds) = self.store.worlds(now).await else { return false };
        turn(every, worlds.last.as_ref()) <= now
            && self.store.begin_fetch(self.portal, now).await.is_ok_and(|begins| begins)
    }

    async fn fetch(&self, fetcher: &mut Fetcher) -> Result<Attempt, Trouble> {
        let served = self.store.world_digest().await?;
        let base = match &served {
            Some(digest) => self.store.world_content(digest).await?,
            None => None,
        };
        let file = fetcher.folder.join(BASE);
        match base {
            Some(content) => spawn_blocking(move || fs::write(file, content)).await??,
            None => match fs::remove_file(&file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
                Ok(()) | Err(_) => {}
            },
        }
        let mut turn = interval(RENEWED);
        turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let fetched = {
            let mut fetch = std::pin::pin!(fetcher.fetch());
            loop {
                tokio::select! {
                    fetched = &mut fetch => break fetched.map_err(Trouble::Gone)?,
                    // What fails now is said when it ends.
                    _ = turn.tick() => drop(self.store.go_on_fetching(self.portal, clock::now()).await),
                }
            }
        };
        match fetched {
            Fetched::Failed(why) => Err(Trouble::Said(why)),
            Fetched::Same => Ok(Attempt { outcome: UpdateOutcome::Same, why: None }),
            Fetched::Made => {
                let attempt = self.judge(fetcher.folder.join(MADE)).await?;
                fetcher.tell(Ask::Kept).await.map_err(Trouble::Gone)?;
                Ok(attempt)
            }
        }
    }

    /// Serves what was made, or holds it.
    async fn judge(&self, made: PathBuf) -> Result<Attempt, Trouble> {
        let mut content = spawn_blocking(move || read(&made)).await??;
        let digest = world::digest(&content);
        loop {
            let worlds = self.store.worlds(clock::now()).await?;
            let served = worlds.current.map(|current| current.digest);
            if served.as_ref() == Some(&digest) {
                return Ok(Attempt { outcome: UpdateOutcome::Same, why: None });
            }
            if worlds.taken_back.as_ref() == Some(&digest) {
                let why = "it is what somebody took back, and is not served again by itself";
                return Ok(Attempt { outcome: UpdateOutcome::Same, why: Some(why.to_owned()) });
            }
            if let Some(held) = worlds.held.filter(|held| held.digest == digest) {
                let why = Some(held.reasons.0.join("; "));
                return Ok(Attempt { outcome: UpdateOutcome::Held, why });
            }
            let before = match &served {
                Some(served) => self.store.world_content(served).await?,
                None => None,
            };
            let compared = spawn_blocking(move || {
                let compared = compare(before, content);
                memory::give_back();
                compared
            });
            let compared = compared.await??;
            let (about, reasons, content_again) = compared;
            let place = if reasons.is_empty() { Place::Current } else { Place::Held };
            let new = NewWorld { digest: digest.clone(), content: content_again, about, reasons };
            if self.store.keep_world(&new, place, served.as_deref(), clock::now()).await? {
                return Ok(settled(place, &new));
            }
            // Somebody approved or took back something meanwhile.
            content = new.content;
        }
    }
}

fn settled(place: Place, new: &NewWorld) -> Attempt {
    match place {
        Place::Current => {
            tracing::info!(digest = new.digest, "hosts of the fleet are served newer world data");
            Attempt { outcome: UpdateOutcome::Used, why: None }
        }
        Place::Held => {
            let why = new.reasons.join("; ");
            tracing::warn!(why, "newer world data is held, and hosts keep what they have");
            Attempt { outcome: UpdateOutcome::Held, why: Some(why) }
        }
    }
}

/// What was made, if it is not longer than any is.
fn read(made: &Path) -> Result<Vec<u8>, Trouble> {
    match fs::metadata(made)?.len() {
        length if length > bundle::LONGEST as u64 => Err(bundle::BundleError::Long.into()),
        _ => Ok(fs::read(made)?),
    }
}

/// What was made, and why it must not be served without somebody's consent.
fn compare(
    before: Option<Vec<u8>>,
    made: Vec<u8>,
) -> Result<(Data, Vec<String>, Vec<u8>), Trouble> {
    let (world, systems) = bundle::unpack(&made)?;
    AsImage::open(systems)?;
    let image = WorldImage::open(world)?;
    let after = image.world()?;
    let before: Table = match &before {
        Some(content) => WorldImage::open(bundle::unpack(content)?.0)?.world()?,
        None => WorldImage::open(embedded::WORLD)?.world()?,
    };
    // Whom it would cut every host knows for itself.
    let report = gate::compare(&before, &after, &[], |_, _| Verdict::Pass);
    let reasons = report.reasons.into_iter().map(|reason| reason.text).collect();
    Ok((Data::of(image.edition(), &after), reasons, made))
}

/// When sources are asked next, in milliseconds since 1970.
fn turn(every: i64, last: Option<&(i64, Attempt)>) -> i64 {
    let Some((asked, attempt)) = last else { return 0 };
    let rest = match attempt.outcome {
        UpdateOutcome::Failed => AGAIN.min(every),
        UpdateOutcome::Used | UpdateOutcome::Same | UpdateOutcome::Held => every,
    };
    asked.saturating_add(rest)
}

fn milliseconds(milliseconds: i64) -> Duration {
    Duration::from_millis(milliseconds.max(0).unsigned_abs())
}

/// A number below this one; the same each time where the kernel gives no random bits.
fn chance(below: i64) -> i64 {
    HostId::new().map_or(0, |number| number.0 % below.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::KeptAuthority;
    use crate::store::tests::in_a_file;

    #[test]
    fn sources_are_asked_once_in_a_while_by_whichever_portal_and_sooner_after_a_failure() {
        let day = 86_400_000;
        let last = |outcome| Some((1_000, Attempt { outcome, why: None }));
        assert_eq!(turn(day, None), 0);
        assert_eq!(turn(day, last(UpdateOutcome::Held).as_ref()), 1_000 + day);
        assert_eq!(turn(day, last(UpdateOutcome::Failed).as_ref()), 1_000 + AGAIN);
        assert_eq!(turn(60_000, last(UpdateOutcome::Failed).as_ref()), 61_000);
    }

    #[tokio::test]
    async fn so_many_hosts_pull_at_a_time_what_is_served_and_nothing_else() {
        let store = in_a_file().await;
        let authority = KeptAuthority { key: "K".into(), certificate: "C".into() };
        store.set_authority(&authority).await.unwrap();
        let content = b"data".to_vec();
        let digest = world::digest(&content);
        let about = Data { sources: Vec::new(), ipv4_ranges: 0, ipv6_ranges: 0 };
        let new = NewWorld { digest: digest.clone(), content, about, reasons: Vec::new() };
        let keeping = Keeping { every: None, spread: 0 };
        let world = Arc::new(World::new((*store).clone(), keeping, HostId(1)));
        let pull = async |host| world.pull(HostId(host), &digest).await;
        assert!(store.keep_world(&new, Place::Held, None, 0).await.unwrap());
        assert!(matches!(pull(0).await, Err(NoPull::Other)), "it is held");
        assert!(store.approve_world(&digest).await.unwrap());
        let mut pulls = Vec::new();
        for host in 0..i64::try_from(PULLS).unwrap() {
            let Ok((content, place)) = pull(host).await else { panic!("refused") };
            assert_eq!(&content[..], b"data");
            pulls.push(place);
            assert!(matches!(pull(host).await, Err(NoPull::Busy)), "a host has one place");
        }
        assert!(matches!(pull(99).await, Err(NoPull::Busy)));
        pulls.pop();
        assert!(pull(99).await.is_ok());
    }
}
