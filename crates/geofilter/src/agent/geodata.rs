//! [`Geodata`]: keeps the world data current. A [`worker`] fetches and makes images in a folder of its own; what it made is compared
//! with what is in use, and put into the kernel in one step, or held until somebody approves. What was in use before is kept. On a host of a
//! fleet it is what the [`portal`] serves.

mod portal;
mod sources;
mod worker;

use std::fs;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use geofilter_core::clock::UnixTime;
use geofilter_core::decide::Context;
use geofilter_core::geodata::corrections::Corrections;
use geofilter_core::geodata::gate::{self, Watched};
use geofilter_core::impact::Host;
use geofilter_core::pbx::printable;
use geofilter_core::policy::Policy;
use geofilter_core::wire::{
    self, Attempt, Data, Failure, FailureKind, GateReason, GeodataAsk, Held, Reply, Running,
    UpdateOutcome,
};
use geofilter_update::sources::{Format, Part, Place, Source};
use geofilter_update::{BASE, FRESH, Job, MADE, Told, put_name};
use serde::{Deserialize, Serialize};

use super::engine::{Engine, describe};
use super::{clock, ledger, records};
use crate::cli::{self, failed};
use crate::files::{Loaded, read_whole, set_aside, write_whole};
use crate::geo::{Geo, Images};
use portal::{OfPortal, Pulling};
pub(crate) use sources::Wishes;
use worker::Worker;
pub(crate) use worker::work;

/// Where all of it lies, in the state directory.
const FOLDER: &str = "geodata";
/// What the worker has of it.
const WORK: &str = "work";
const CURRENT: &str = "current";
const PREVIOUS: &str = "previous";
const HELD: &str = "held";
const NOTES: &str = "notes.json";
const SCHEMA: u32 = 1;
/// How long after its start an agent asks at the earliest, and by how much its turns differ from those of others.
const SETTLED: u64 = 60;
const JITTER: u64 = 3600;
/// Seconds until it is tried again after a failure.
const AGAIN: u64 = 3600;

/// What is known of the last update, and of the data that is kept: to tell of that, its images need not be read.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Notes {
    schema: u32,
    last: Option<Last>,
    /// What was in use before.
    previous: Option<Data>,
    /// What is held, and why.
    held: Option<Held>,
    /// What the portal of its fleet serves.
    #[serde(default)]
    portal: Option<OfPortal>,
}

/// When, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Last {
    time: UnixTime,
    outcome: UpdateOutcome,
    why: Option<String>,
}

/// See the module.
pub(super) struct Geodata {
    folder: PathBuf,
    wishes: Wishes,
    /// Whether it asks by itself.
    asks: bool,
    notes: Notes,
    /// When the sources are asked by themselves.
    due: Option<Instant>,
    worker: Option<Worker>,
    running: Running,
    /// Whether what runs is made of files of this host.
    imports: bool,
    pulling: Pulling,
}

/// Data to begin with, and what could not be read of it.
pub(super) struct Opened {
    pub(super) geo: Geo,
    pub(super) geodata: Geodata,
    pub(super) warnings: Vec<String>,
}

impl Geodata {
    /// Takes what is kept in a state directory: the data in use, else that before, else what came with the program.
    ///
    /// # Errors
    /// If not even that can be read.
    pub(super) fn open(state_dir: &Path, wishes: Wishes, asks: bool) -> anyhow::Result<Opened> {
        let folder = state_dir.join(FOLDER);
        let mut warnings = Vec::new();
        if let Err(error) = wishes.sources() {
            warnings.push(format!(
                "the world data can't be updated as the configuration says: {error:#}"
            ));
        }
        let corrections = wishes.corrections().unwrap_or_else(|error| {
            warnings.push(format!("what the world data is corrected by can't be used: {error:#}"));
            Corrections::none()
        });
        let mut kept = None;
        for name in [CURRENT, PREVIOUS] {
            let path = folder.join(name);
            match read(&path, &corrections) {
                Ok(Some(geo)) => {
                    kept = Some(geo);
                    break;
                }
                // Whoever rolled back, or never updated, has no data before that.
                Ok(None) if name == CURRENT => break,
                Ok(None) => {}
                Err(error) => {
                    let aside = set_aside(&path).map_or(path, |aside| aside);
                    warnings.push(format!(
                        "the world data in {} can't be used ({error:#}); what was in use before is, and `geofilter geodb update` fetches it anew",
                        aside.display()
                    ));
                }
            }
        }
        let geo = kept.map_or_else(|| Geo::of(Images::EMBEDDED, corrections), Ok)?;
        let notes = match read_whole::<Notes>(&folder, NOTES, SCHEMA) {
            Ok(Loaded::State(notes)) => notes,
            Ok(Loaded::Nothing) => Notes::default(),
            Ok(Loaded::Corrupt { aside, why }) => {
                warnings.push(format!(
                    "what came of the last update of the world data can't be read ({why}) and is kept in {}; `geofilter geodb update` asks anew",
                    aside.display()
                ));
                Notes::default()
            }
            Err(error) => {
                warnings.push(format!(
                    "what came of the last update of the world data is not known: {error:#}"
                ));
                Notes::default()
            }
        };
        let due = asks.then(|| first_turn(&wishes, notes.last.as_ref())).flatten();
        let (running, pulling) = (Running::default(), Pulling::default());
        let (worker, imports) = (None, false);
        let geodata = Self { folder, wishes, asks, notes, due, worker, running, imports, pulling };
        Ok(Opened { geo, geodata, warnings })
    }

    /// Keeps the data in use again if somebody has removed it; whether that was so.
    pub(super) fn keep(&self, in_use: &Images) -> io::Result<bool> {
        let path = self.folder.join(CURRENT);
        if path.exists() || in_use.are_embedded() {
            return Ok(false);
        }
        fs::create_dir_all(&self.folder)?;
        in_use.write(&self.folder, CURRENT)?;
        Ok(true)
    }

    /// Whether an update runs.
    pub(super) fn runs(&self) -> bool {
        self.worker.is_some() || self.pulling.runs()
    }

    /// Starts the worker.
    fn start(&mut self, in_use: &Images, sources: Vec<(Part, Source)>) -> io::Result<()> {
        let folder = self.folder.join(WORK);
        fs::create_dir_all(&folder)?;
        for (name, image) in [(BASE.world, &in_use.world), (BASE.systems, &in_use.systems)] {
            write_whole(&folder, name, image)?;
        }
        let patience = self.wishes.patience;
        let job = Job { folder, sources, patience };
        self.running = Running::default();
        self.worker = Some(Worker::start(&job)?);
        Ok(())
    }

    /// Puts a copy of a file where the worker finds it. It is not kept anywhere else, and not asked for again.
    fn put(&self, number: usize, file: &Path) -> Result<(), Failure> {
        let unusable = |why: String| cli::invalid(format!("cannot use {}: {why}", file.display()));
        // A pipe would be waited for.
        let found = fs::metadata(file).map_err(|error| unusable(error.to_string()))?;
        if !found.is_file() {
            return Err(unusable("it is no file".to_owned()));
        }
        if found.len() > MOST_IMPORTED {
            return Err(unusable(format!("it has more than {MOST_IMPORTED} bytes")));
        }
        let folder = self.folder.join(WORK);
        let name = put_name(number);
        let copy = || -> io::Result<()> {
            fs::create_dir_all(&folder)?;
            // By what a server would know the file that was there.
            match fs::remove_file(folder.join(format!("{name}.json"))) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
            let mut content = fs::File::open(file)?;
            let mut copy = fs::File::create(folder.join(&name))?;
            io::copy(&mut content, &mut copy)?;
            copy.set_modified(found.modified()?)
        };
        copy().map_err(|error| failed(format!("cannot copy {}: {error}", file.display())))
    }

    /// What was made is in use, or held: it is not made again before there is something new.
    fn settle(&self) {
        if let Err(error) = fs::remove_file(self.folder.join(WORK).join(FRESH)) {
            tracing::warn!(%error, "the next update makes the same again");
        }
    }

    /// Nothing is held any more.
    fn forget_held(&mut self) {
        if let Err(error) = fs::remove_file(self.folder.join(HELD)) {
            tracing::warn!(%error, "what was held could not be removed");
        }
        self.notes.held = None;
    }

    /// Notes what came of an update.
    fn note(&mut self, outcome: UpdateOutcome, why: Option<String>) {
        // Parts of it may be what a file says.
        let why = why.map(|why| printable(&why));
        match (&why, outcome) {
            (Some(why), UpdateOutcome::Failed) => {
                tracing::warn!(why, "the world data was not updated")
            }
            (_, outcome) => tracing::info!(?outcome, "the sources of world data were asked"),
        }
        self.worker = None;
        self.pulling.end();
        if self.due.is_some() {
            let rest = match outcome {
                UpdateOutcome::Failed => AGAIN,
                UpdateOutcome::Used | UpdateOutcome::Same | UpdateOutcome::Held => {
                    self.wishes.interval().unwrap_or(AGAIN)
                }
            };
            self.due = Some(Instant::now() + Duration::from_secs(rest + chance(JITTER)));
        }
        self.notes.last = Some(Last { time: ledger::unix_now(), outcome, why });
        self.save();
    }

    /// What it can't save it only forgets at a restart.
    fn save(&mut self) {
        self.notes.schema = SCHEMA;
        let saved = fs::create_dir_all(&self.folder)
            .and_then(|()| Ok(serde_json::to_vec(&self.notes)?))
            .and_then(|text| write_whole(&self.folder, NOTES, &text));
        if let Err(error) = saved {
            tracing::warn!(%error, "what came of the update of the world data can't be saved");
        }
    }
}

impl Engine {
    /// What the command line and the portal ask of the world data.
    pub(super) fn geodata(&mut self, ask: GeodataAsk) -> Result<Reply, Failure> {
        match ask {
            GeodataAsk::State => {}
            GeodataAsk::Update => {
                self.correct_anew()?;
                if self.follows_portal() {
                    self.pull_now()?;
                    return Ok(Reply::Geodata(Box::new(self.geodata_state())));
                }
                let sources = self.geodata.wishes.sources();
                let sources = sources.map_err(|error| failed(format!("{error:#}")))?;
                self.begin_update(sources)?;
                self.geodata.imports = false;
            }
            GeodataAsk::Import { files, locations, name } => self.import(files, locations, name)?,
            GeodataAsk::Approve => self.approve()?,
            GeodataAsk::Rollback => self.roll_back()?,
        }
        Ok(Reply::Geodata(Box::new(self.geodata_state())))
    }

    /// Goes by other wishes from now on: its turns, sources and corrections.
    ///
    /// # Errors
    /// If what it is corrected by can't be used.
    pub(super) fn wish(&mut self, wishes: Wishes) -> Result<(), Failure> {
        if wishes.interval() != self.geodata.wishes.interval() && self.geodata.asks {
            self.geodata.due = first_turn(&wishes, self.geodata.notes.last.as_ref());
        }
        self.geodata.wishes = wishes;
        self.correct_anew()
    }

    /// Corrects what is in use by what the administrator has written since.
    fn correct_anew(&mut self) -> Result<(), Failure> {
        let unusable = |error: anyhow::Error| {
            failed(format!("what the world data is corrected by can't be used: {error:#}"))
        };
        let corrections = self.geodata.wishes.corrections().map_err(unusable)?;
        if corrections == *self.geo.corrections() {
            return Ok(());
        }
        let corrected = Geo::of(self.geo.images().clone(), corrections).map_err(unusable)?;
        self.put_in_use(corrected).map(drop)
    }

    fn begin_update(&mut self, sources: Vec<(Part, Source)>) -> Result<(), Failure> {
        if self.geodata.runs() {
            let message = "an update of the world data runs already; see `geofilter geodb status`";
            return Err(Failure::new(FailureKind::Unfit, message));
        }
        self.geodata.start(self.geo.images(), sources).map_err(|error| {
            failed(format!(
                "cannot update the world data in {}: {error}",
                self.geodata.folder.display()
            ))
        })
    }

    /// Takes files of this host for the source that decides.
    fn import(
        &mut self,
        files: Vec<String>,
        locations: Option<String>,
        name: String,
    ) -> Result<(), Failure> {
        let format = if locations.is_some() { Format::MaxmindCsv } else { Format::Guess };
        let files: Vec<String> = locations.into_iter().chain(files).collect();
        if !self.geodata.runs() {
            for (number, file) in files.iter().enumerate() {
                self.geodata.put(number, Path::new(file))?;
            }
        }
        let place = |_| Place { urls: Vec::new(), digest: None };
        let source = Source {
            name,
            licence: "as its owner says".to_owned(),
            credit: "imported by the administrator of this host".to_owned(),
            link: String::new(),
            format,
            places: files.iter().map(place).collect(),
            authorization: None,
            most: MOST_IMPORTED,
        };
        self.begin_update(vec![(Part::Primary, source)])?;
        self.geodata.imports = true;
        Ok(())
    }

    /// Hears what the worker tells, and begins by itself when it is time.
    pub(super) fn look_after_geodata(&mut self) {
        self.look_after_portals_data();
        let is_due = self.geodata.due.is_some_and(|due| due <= Instant::now());
        if is_due
            && !self.geodata.runs()
            && let Err(failure) = self.geodata(GeodataAsk::Update)
        {
            self.geodata.note(UpdateOutcome::Failed, Some(failure.message));
        }
        let heard = self.geodata.worker.as_mut().map(Worker::heard).unwrap_or_default();
        for told in heard {
            match told {
                Told::Fetching { source, bytes, total } => {
                    let source = Some(printable(&source));
                    self.geodata.running = Running { source, bytes, total };
                }
                Told::Making => self.geodata.running = Running::default(),
                Told::Done { made: false } => return self.geodata.note(UpdateOutcome::Same, None),
                Told::Done { made: true } => return self.judge(),
                Told::Failed { why } => {
                    return self.geodata.note(UpdateOutcome::Failed, Some(why));
                }
            }
        }
    }

    /// Uses what the worker made, or holds it.
    fn judge(&mut self) {
        let folder = self.geodata.folder.join(WORK);
        let read = || -> anyhow::Result<Geo> {
            let image = |name| fs::read(folder.join(name));
            let (world, systems) = (image(MADE.world)?.into(), image(MADE.systems)?.into());
            Geo::of(Images { world, systems }, self.geo.corrections().clone())
        };
        let new = match read() {
            Ok(new) => new,
            Err(error) => {
                let why = format!("what was made of it can't be used: {error:#}");
                return self.geodata.note(UpdateOutcome::Failed, Some(why));
            }
        };
        let reasons = self.reasons_to_hold(&new).into_iter().map(|reason| reason.text).collect();
        let taken = self.take_data(new, reasons);
        match taken {
            Some(UpdateOutcome::Used) if self.geodata.imports => self.pass_over_portals(),
            Some(_) | None => {}
        }
        if taken.is_some() {
            self.geodata.settle();
        }
    }

    /// Uses other data, or holds it for these reasons. Returns which of the two; none if that failed.
    fn take_data(&mut self, new: Geo, reasons: Vec<String>) -> Option<UpdateOutcome> {
        if reasons.is_empty() {
            return match self.use_data(new) {
                Ok(warning) => {
                    self.geodata.note(UpdateOutcome::Used, warning);
                    Some(UpdateOutcome::Used)
                }
                Err(failure) => {
                    self.geodata.note(UpdateOutcome::Failed, Some(failure.message));
                    None
                }
            };
        }
        if let Err(error) = new.images().write(&self.geodata.folder, HELD) {
            let why = format!("it differs too much, and can't be held: {error}");
            self.geodata.note(UpdateOutcome::Failed, Some(why));
            return None;
        }
        let why = format!(
            "{}; see `geofilter geodb status`, and `approve` if it is right",
            reasons.join("; ")
        );
        self.geodata.notes.held = Some(Held { data: new.data(), reasons });
        self.geodata.note(UpdateOutcome::Held, Some(why));
        Some(UpdateOutcome::Held)
    }

    /// Uses other data from now on, and keeps that before. Returns what could not be saved.
    ///
    /// # Errors
    /// If the data plane does not take it; what was in use is.
    fn use_data(&mut self, new: Geo) -> Result<Option<String>, Failure> {
        let before = self.put_in_use(new)?;
        let folder = &self.geodata.folder;
        let saved = fs::create_dir_all(folder)
            .and_then(|()| before.images().write(folder, PREVIOUS))
            .inspect(|()| self.geodata.notes.previous = Some(before.data()))
            .and_then(|()| self.geo.images().write(folder, CURRENT));
        Ok(saved.err().map(|error| {
            format!("it is in force but could not be saved, so a restart would undo it: {error}")
        }))
    }

    /// Judges by other data from now on. Returns that before.
    ///
    /// # Errors
    /// If the data plane does not take it; what was in use is.
    fn put_in_use(&mut self, new: Geo) -> Result<Geo, Failure> {
        let before = std::mem::replace(&mut self.geo, new);
        if let Err(error) = self.put_data_in_force() {
            self.geo = before;
            let stands = match self.put_data_in_force() {
                Ok(()) => "what was in use before is".to_owned(),
                Err(error) => {
                    format!("nor is what was before in force, see `geofilter doctor`: {error}")
                }
            };
            return Err(failed(format!(
                "the data plane did not take the world data: {error}; {stands}"
            )));
        }
        self.watch.judge_by(Arc::clone(self.geo.world()));
        Ok(before)
    }

    fn put_data_in_force(&mut self) -> Result<(), String> {
        let Self { ledger, backend, machine, geo, .. } = self;
        if !machine.attached() {
            return ledger.renew(geo).map_err(|error| error.to_string());
        }
        backend.swap_world(geo.world()).map_err(describe)?;
        ledger.renew(geo).map_err(|error| error.to_string())?;
        backend.set_overrides(ledger.table()).map_err(describe)
    }

    fn approve(&mut self) -> Result<(), Failure> {
        let warning = self.use_kept(HELD, "no world data is held")?;
        self.geodata.forget_held();
        self.pass_over_portals();
        self.geodata.note(UpdateOutcome::Used, warning);
        Ok(())
    }

    fn roll_back(&mut self) -> Result<(), Failure> {
        let warning =
            self.use_kept(PREVIOUS, "there was no other world data before that in use")?;
        self.pass_over_portals();
        self.geodata.note(UpdateOutcome::Used, warning);
        Ok(())
    }

    /// Uses data that is kept under this name.
    fn use_kept(&mut self, name: &str, nothing: &str) -> Result<Option<String>, Failure> {
        let path = self.geodata.folder.join(name);
        let kept = read(&path, self.geo.corrections());
        let kept =
            kept.map_err(|error| failed(format!("cannot use {}: {error:#}", path.display())))?;
        self.use_data(kept.ok_or_else(|| Failure::new(FailureKind::Unfit, nothing))?)
    }

    /// Why the data must not be used without somebody's consent.
    fn reasons_to_hold(&mut self, new: &Geo) -> Vec<GateReason> {
        let now = clock::boot();
        let policy =
            self.machine.dropping(now).unwrap_or(&self.machine.current(now).policy).clone();
        let watched = self.watched(&policy);
        let before = Arc::clone(self.geo.world());
        let report = self.with_host(|host| {
            gate::compare(&before, new.world(), &watched, |world, address| {
                let context = Context { world, ..host.context };
                let host = Host { context, overrides: host.overrides };
                host.judge_source(&policy, address).verdict
            })
        });
        report.reasons
    }

    /// Whom no new data may cut unseen: trunks, registered devices, whoever works on this host, canaries.
    fn watched(&mut self, policy: &Policy) -> Vec<Watched> {
        let parties = self.parties(policy).into_iter();
        let parties = parties.map(|party| (party.to_string(), party.address.ip()));
        let trunks = self.ear.trusted().map(|trusted| trusted.trunks.clone()).unwrap_or_default();
        let trunks = trunks.into_iter().map(|trunk| ("a trunk".to_owned(), trunk.ip()));
        let canaries = self.geodata.wishes.canaries.clone().into_iter();
        let canaries = canaries.map(|canary| ("a canary".to_owned(), canary));
        parties
            .chain(trunks)
            .chain(canaries)
            .map(|(label, address)| Watched { label, address: address.to_canonical() })
            .collect()
    }

    fn geodata_state(&self) -> wire::Geodata {
        let Geodata { notes, due, .. } = &self.geodata;
        let left = |due: Instant| due.saturating_duration_since(Instant::now()).as_secs();
        wire::Geodata {
            data: self.geo.data(),
            embedded: self.geo.images().are_embedded(),
            previous: notes.previous.clone(),
            held: notes.held.clone(),
            running: self.geodata.runs().then(|| self.geodata.running.clone()),
            last: notes.last.clone().map(|Last { time, outcome, why }| Attempt {
                time: records::rfc3339(time),
                outcome,
                why,
            }),
            next: due.map(|due| records::rfc3339(ledger::unix_now().plus(left(due)))),
            portal: self.portals_data(),
        }
    }
}

/// The data that is kept in a file, corrected; `None` if there is no such file.
fn read(path: &Path, corrections: &Corrections) -> anyhow::Result<Option<Geo>> {
    let images = Images::read(path)?;
    images.map(|images| Geo::of(images, corrections.clone())).transpose()
}

/// Bytes that a file may have that is imported.
const MOST_IMPORTED: u64 = 256 * 1024 * 1024;

/// When an agent that starts asks by itself: not at once, not sooner than its turn comes, and not when others do.
fn first_turn(wishes: &Wishes, last: Option<&Last>) -> Option<Instant> {
    let every = wishes.interval()?;
    let since = last.map_or(every, |last| ledger::unix_now().0.saturating_sub(last.time.0));
    let rest = every.saturating_sub(since);
    Some(Instant::now() + Duration::from_secs(rest + SETTLED + chance(JITTER.min(every / 4))))
}

/// A number below this one.
fn chance(below: u64) -> u64 {
    RandomState::new().build_hasher().finish() % below.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_asks_when_its_turn_comes_and_not_with_all_others() {
        let wishes =
            |hours: u64| -> Wishes { toml::from_str(&format!("every-hours = {hours}")).unwrap() };
        let ago = |seconds: u64| Last {
            time: UnixTime(ledger::unix_now().0 - seconds),
            outcome: UpdateOutcome::Same,
            why: None,
        };
        let left = |hours, last: Option<Last>| {
            first_turn(&wishes(hours), last.as_ref())
                .map(|due| (due - Instant::now()).as_secs() + 1)
        };
        assert_eq!(left(0, None), None);
        let day = 24 * 3600;
        for (last, rest) in
            [(None, 0), (Some(day), 0), (Some(90 * day), 0), (Some(3600), day - 3600)]
        {
            let begin = rest + SETTLED;
            let turns: Vec<u64> = (0..50).map(|_| left(24, last.map(ago)).unwrap()).collect();
            // A second may pass meanwhile.
            assert!(
                turns.iter().all(|turn| (begin - 1..=begin + JITTER).contains(turn)),
                "{turns:?}"
            );
            assert!(
                turns.iter().max().unwrap() - turns.iter().min().unwrap() > JITTER / 4,
                "{turns:?}"
            );
        }
    }
}
