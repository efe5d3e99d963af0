//! [`Watch`]: follows the logs of the PBX on a thread of its own, and keeps what they tell, day by day.
//!
//! What is saved is a whole: the counts together with how far each log was read, at a moment when no attempt was
//! being told of. So a crash counts nothing twice, and what was written meanwhile is read afterwards, unless the
//! log was rotated away by then.

mod log;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use geofilter_core::decide::judged_address;
use geofilter_core::evidence::{Comparison, Evidence};
use geofilter_core::logs::{Attempts, Counted, Event, Stamp, What};
use geofilter_core::wire::{EvidenceDay, EvidenceReport, Reply};
use geofilter_core::world::World;
use serde::{Deserialize, Serialize};

use super::engine::Engine;
use crate::files::{Loaded, read_whole, write_whole};
use crate::logs::calendar;
use log::{Log, Place};

const FILE: &str = "evidence.json";
const SCHEMA: u32 = 1;
/// How often the logs are looked at.
const INTERVAL: Duration = Duration::from_secs(5);
/// After so long without a line of an attempt, all of them are over.
const QUIET: Duration = Duration::from_secs(100);
/// Under an attack that does not end, it is saved this often.
const LONGEST: Duration = Duration::from_secs(600);

/// The thread that follows the logs, until it is dropped.
#[derive(Debug)]
pub(super) struct Watch {
    words: Option<Sender<Word>>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread is told.
#[derive(Debug)]
enum Word {
    /// Follow these logs, beside those that were named before.
    Follow(BTreeSet<PathBuf>),
    /// Tell countries by this table.
    JudgeBy(Arc<World>),
}

#[derive(Debug, Default)]
struct Shared {
    told: Mutex<Told>,
    dropping: AtomicBool,
}

#[derive(Debug, Default)]
struct Told {
    evidence: Evidence,
    logs: Vec<PathBuf>,
    trouble: BTreeMap<PathBuf, String>,
    /// What was saved before, and can't be read.
    lost: Option<String>,
    unsaved: Option<String>,
}

impl Shared {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch {
    /// Begins with what was saved in a directory, and goes on saving there; in none for an agent on trial.
    pub(super) fn begin(dir: Option<&Path>, world: Arc<World>) -> Self {
        let (words, inbox) = mpsc::channel();
        let shared = Arc::new(Shared::default());
        let (dir, saved) = shared.told().load(dir);
        let follower = Follower {
            dir: dir.map(Path::to_owned),
            world,
            shared: Arc::clone(&shared),
            named: saved.keys().cloned().collect(),
            places: saved,
            logs: Vec::new(),
            attempts: Attempts::default(),
            heard: None,
            saved: Instant::now(),
            looked: Instant::now(),
        };
        let thread = thread::Builder::new().name("evidence".to_owned());
        let thread = thread.spawn(move || follower.run(&inbox));
        if let Err(error) = &thread {
            tracing::warn!(%error, "the logs of the PBX are not followed: no thread can be had");
        }
        Self { words: Some(words), shared, thread: thread.ok() }
    }

    /// Follows these logs from now on, beside those that were named before.
    pub(super) fn follow(&self, logs: BTreeSet<PathBuf>) {
        self.say(Word::Follow(logs));
    }

    fn say(&self, word: Word) {
        // It fails when there is no thread, which was said.
        self.words.as_ref().map(|sender| sender.send(word));
    }

    /// Tells countries by this table from now on.
    pub(super) fn judge_by(&self, world: Arc<World>) {
        self.say(Word::JudgeBy(world));
    }

    /// Whether a policy drops packets now.
    pub(super) fn note(&self, dropping: bool) {
        self.shared.dropping.store(dropping, Ordering::Relaxed);
    }

    fn report(&self, now: Stamp) -> EvidenceReport {
        let told = self.shared.told();
        let Comparison { without, with } = told.evidence.compare(now);
        let troubles = told.trouble.iter().map(|(path, why)| format!("{}: {why}", path.display()));
        let mut warnings: Vec<String> = troubles.chain(told.lost.clone()).collect();
        warnings.extend(told.unsaved.iter().map(|why| {
            format!("what the logs tell can't be saved, so a restart would forget it: {why}")
        }));
        EvidenceReport {
            days: told.days().collect(),
            without,
            with,
            logs: told.logs.iter().map(|path| path.display().to_string()).collect(),
            warnings,
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.words = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that follows the logs has panicked");
        }
    }
}

impl Watch {
    /// What is known of each day, the newest first.
    pub(super) fn days(&self) -> Vec<EvidenceDay> {
        self.shared.told().days().rev().collect()
    }
}

impl Engine {
    pub(super) fn evidence(&self) -> Reply {
        Reply::Evidence(Box::new(self.watch.report(calendar(SystemTime::now()).now)))
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    schema: u32,
    evidence: Evidence,
    logs: BTreeMap<PathBuf, Place>,
}

impl Told {
    /// What is known of each day, in their order.
    fn days(&self) -> impl DoubleEndedIterator<Item = EvidenceDay> {
        let days = self.evidence.days();
        days.map(|(day, of_day)| EvidenceDay { day: day.to_string(), of_day: of_day.clone() })
    }

    /// Begins with what was saved. What can't be read is kept beside it, and it is counted anew; what a newer version
    /// saved is left as it is, and nothing is saved.
    fn load<'a>(&mut self, dir: Option<&'a Path>) -> (Option<&'a Path>, BTreeMap<PathBuf, Place>) {
        let Some(dir) = dir else { return (None, BTreeMap::new()) };
        match read_whole::<Saved>(dir, FILE, SCHEMA) {
            Ok(Loaded::Nothing) => {}
            Ok(Loaded::State(saved)) => {
                self.evidence = saved.evidence;
                return (Some(dir), saved.logs);
            }
            Ok(Loaded::Corrupt { aside, why }) => {
                let aside = aside.display();
                let lost = format!(
                    "what the logs told before can't be read, is kept as {aside}, and is counted anew: {why}"
                );
                tracing::warn!("{lost}");
                self.lost = Some(lost);
            }
            Err(error) => {
                tracing::warn!("what the logs tell can't be saved: {error:#}");
                self.unsaved = Some(format!("{error:#}"));
                return (None, BTreeMap::new());
            }
        }
        (Some(dir), BTreeMap::new())
    }
}

/// What runs on the thread.
#[derive(Debug)]
struct Follower {
    dir: Option<PathBuf>,
    world: Arc<World>,
    shared: Arc<Shared>,
    /// How far logs were read that are not open.
    places: BTreeMap<PathBuf, Place>,
    /// Those that the PBX writes now.
    named: BTreeSet<PathBuf>,
    logs: Vec<Log>,
    attempts: Attempts,
    /// When the last line came that is not counted yet.
    heard: Option<Instant>,
    saved: Instant,
    looked: Instant,
}

impl Follower {
    fn run(mut self, inbox: &Receiver<Word>) {
        self.follow(self.named.clone());
        loop {
            match inbox.recv_timeout(INTERVAL) {
                Ok(Word::Follow(logs)) => self.follow(logs),
                Ok(Word::JudgeBy(world)) => self.world = world,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.look();
        }
        self.look();
        self.finish();
    }

    fn follow(&mut self, logs: BTreeSet<PathBuf>) {
        for path in &logs {
            if self.logs.iter().all(|log| log.path() != path) {
                let place = self.places.remove(path);
                self.logs.push(Log::new(path.clone(), place));
            }
        }
        self.named = logs;
        self.tell_which();
    }

    fn tell_which(&self) {
        self.shared.told().logs = self.logs.iter().map(|log| log.path().to_owned()).collect();
    }

    /// Reads what was written since the last time.
    fn look(&mut self) {
        let now = calendar(SystemTime::now());
        let mut trouble = BTreeMap::new();
        let mut more = true;
        while more {
            let mut events = Vec::new();
            more = false;
            for log in &mut self.logs {
                match log.read(now, &mut events) {
                    Ok(unread) => more |= unread,
                    Err(error) => {
                        trouble.insert(log.path().to_owned(), error);
                    }
                }
            }
            // Several tell of the same attempts, each in the order of time.
            events.sort_by_key(|event| event.time);
            self.add(&events, now.now);
        }
        self.watch(trouble, now.now);
        let over = self.heard.is_some_and(|heard| heard.elapsed() > QUIET);
        if over || self.saved.elapsed() > LONGEST {
            self.finish();
        }
    }

    fn watch(&mut self, mut trouble: BTreeMap<PathBuf, io::Error>, now: Stamp) {
        // What the PBX writes no more, and somebody removed, is over.
        let over = trouble.extract_if(.., |path, error| {
            error.kind() == io::ErrorKind::NotFound && !self.named.contains(path)
        });
        let over: BTreeSet<_> = over.map(|(path, _)| path).collect();
        if !over.is_empty() {
            self.logs.retain(|log| !over.contains(log.path()));
            self.tell_which();
        }
        let followed =
            !self.named.is_empty() && self.named.iter().all(|log| !trouble.contains_key(log));
        let since = self.looked.elapsed().as_secs() as u32;
        self.looked += Duration::from_secs(since.into());
        let dropping = self.shared.dropping.load(Ordering::Relaxed);
        let mut told = self.shared.told();
        let said = |(path, error)| (path, format!("this log can't be read: {error}"));
        told.trouble = trouble.into_iter().map(said).collect();
        if followed {
            told.evidence.watch(since, dropping, now);
        }
    }

    fn add(&mut self, events: &[Event], now: Stamp) {
        if events.is_empty() {
            return;
        }
        self.heard = Some(Instant::now());
        let Self { attempts, shared, world, .. } = self;
        let mut told = shared.told();
        let evidence = &mut told.evidence;
        for event in events {
            if matches!(event.what, What::Login(_)) {
                evidence.login(event.time.unwrap_or(now), now);
            }
            attempts.add(event, |counted| count(evidence, &counted, world, now));
        }
    }

    /// Counts what was told of, and saves it.
    fn finish(&mut self) {
        let now = calendar(SystemTime::now()).now;
        let Self { attempts, shared, world, .. } = self;
        let mut told = shared.told();
        attempts.finish(|counted| count(&mut told.evidence, &counted, world, now));
        (self.heard, self.saved) = (None, Instant::now());
        let Some(dir) = &self.dir else { return };
        let places = self.logs.iter().filter_map(|log| Some((log.path().to_owned(), log.place()?)));
        let saved =
            Saved { schema: SCHEMA, evidence: told.evidence.clone(), logs: places.collect() };
        drop(told);
        let written = serde_json::to_vec(&saved)
            .map_err(io::Error::from)
            .and_then(|text| write_whole(dir, FILE, &text));
        let unsaved = written.err().map(|error| format!("{}: {error}", dir.join(FILE).display()));
        if let Some(why) = &unsaved {
            tracing::warn!(why, "what the logs tell can't be saved");
        }
        shared.told().unsaved = unsaved;
    }
}

fn count(evidence: &mut Evidence, counted: &Counted, world: &World, now: Stamp) {
    let country = world.lookup(judged_address(counted.source)).primary;
    evidence.count(counted, country.code(), now);
}

#[cfg(test)]
mod tests;
