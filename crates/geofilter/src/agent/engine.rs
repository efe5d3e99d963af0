//! [`Engine`]: the one thread that owns the data plane and the apply machine. Calls into the kernel
//! block, so nothing else runs here; requests come by channel.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use geofilter_core::apply::{
    Command, Effect, Input, Machine, Outcome, Refusal, Saved, Stance, Standing,
};
use geofilter_core::desired::{BootTime, Generation, Observed, State};
use geofilter_core::wire::{Changed, Failure, FailureKind, Fallback, LogEntry, Reply, Request};
use geofilter_dataplane::{Backend, Error};
use tokio::sync::{broadcast, oneshot};

use super::evidence::Watch;
use super::fail2ban::Bans;
use super::fleet::Fleet;
use super::geodata::{self, Geodata};
use super::ledger::{Begun, Ledger};
use super::log::{AttackLog, Filter, Now};
use super::names::Asker;
use super::pbx::Ear;
use super::scope::UsualScope;
use super::service::{Pulse, ROUND};
use super::settings::Settings;
use super::sources::Sources;
use super::store::Store;
use super::upkeep::{Files, Mended, Trouble};
use super::{baseline, clock, plane, protected, unsaved};
use crate::cli;
use crate::cli::args::Choice;
use crate::files::Loaded;
use crate::geo::Geo;

/// How often events are drained and deadlines looked at while attached.
const BEAT: Duration = Duration::from_millis(100);
/// How long to wait before something that failed by itself is tried again.
const REST: Duration = Duration::from_secs(1);

const NANOSECONDS: u64 = 1_000_000_000;

/// What the engine is to do.
#[derive(Debug)]
pub(crate) enum Job {
    /// To answer somebody.
    Answer {
        /// What is asked.
        request: Request,
        /// The way back.
        answer: oneshot::Sender<Answer>,
    },
    /// To go by what the configuration says now.
    Reload(Box<Settings>),
    /// To say what was taken away and is back.
    Mended(String),
}

/// What is sent back.
#[derive(Debug)]
pub(crate) enum Answer {
    Reply(Reply),
    Log {
        recent: Vec<Arc<LogEntry>>,
        filter: Filter,
        follow: Option<broadcast::Receiver<Arc<LogEntry>>>,
    },
}

/// See the module.
pub(crate) struct Engine {
    pub(super) settings: Settings,
    pub(super) backend: Box<dyn Backend>,
    pub(super) machine: Machine,
    pub(super) geo: Geo,
    pub(super) ledger: Ledger,
    pub(super) store: Store,
    log: AttackLog,
    pub(super) usual_scope: UsualScope,
    /// Who sends packets.
    pub(super) sources: Sources,
    pub(super) ear: Ear,
    pub(super) bans: Bans,
    pub(super) watch: Watch,
    pub(super) geodata: Geodata,
    pub(super) fleet: Fleet,
    /// What went wrong at the start and is worth knowing for as long as this agent runs.
    pub(super) warnings: Vec<String>,
    /// What failed by itself lately, and when it is tried again.
    pub(super) trouble: Option<(String, Instant)>,
    /// What others took away lately, and was put back.
    pub(super) mended: Mended,
    /// What keeps that from being done in the kernel.
    pub(super) plane_trouble: Trouble,
    pub(super) files: Files,
    /// By which it is seen to work.
    pulse: Pulse,
}

impl Engine {
    /// Reconciles what was saved with what the kernel holds.
    ///
    /// # Errors
    /// If that fails; what the kernel holds stays in force.
    pub(crate) fn start(settings: Settings, names: Asker, pulse: Pulse) -> anyhow::Result<Self> {
        let asks = !settings.trial && settings.backend != Choice::Memory;
        let opened = Geodata::open(&settings.state_dir, settings.geodata.clone(), asks)?;
        let geodata::Opened { geo, geodata, warnings: unreadable } = opened;
        let mut store = Store::open(&settings.state_dir)?;
        let mut backend = plane::open(&settings);
        let mut warnings = unreadable;
        let trial = store.on_trial();
        let last = unsaved::read(&settings.runtime_dir)
            .max(trial.peek().map(|tried| tried.last).unwrap_or_default());
        let loaded = match settings.trial {
            true => store.peek().map_or(Loaded::Nothing, Loaded::State),
            false => store.load()?,
        };
        let store = if settings.trial { trial } else { store };
        let (mut unusable, mut is_of_copy) = (false, false);
        let observed = match backend.observe() {
            Err(error @ Error::Torn { .. }) if matches!(loaded, Loaded::State(_)) => {
                unusable = true;
                warnings.push(format!("{error}; what was saved is in its place"));
                None
            }
            Err(error @ (Error::OtherVersion { .. } | Error::Unfinished { .. }))
                if matches!(loaded, Loaded::State(_)) =>
            {
                unusable = true;
                tracing::info!("{error}: what was saved takes its place");
                None
            }
            Err(
                error
                @ (Error::Torn { .. } | Error::OtherVersion { .. } | Error::Unfinished { .. }),
            ) => {
                return Err(error).context(
                    "there is no saved policy to put in its place, so it stays; remove the pins to let everything pass and begin anew",
                );
            }
            observed => observed?,
        };
        let saved = match loaded {
            Loaded::Nothing => None,
            Loaded::State(saved) => Some(saved),
            Loaded::Corrupt { aside, why } => {
                let copy = store.copy().filter(|copy| is_as_in_kernel(copy, observed.as_ref()));
                warnings.push(format!(
                    "the saved state was corrupt ({why}) and is kept in {}; {}",
                    aside.display(),
                    instead(copy.as_ref(), observed.as_ref())
                ));
                is_of_copy = copy.is_some();
                copy
            }
        };
        let Begun { ledger, warning } = Ledger::open(&settings, &geo, names)?;
        warnings.extend(warning);
        let usual_scope = UsualScope::look(&settings, saved.as_ref());
        let new = settings.trial || observed.is_none();
        let saved = saved.or_else(|| new.then(|| usual_scope.first()));
        let saved = if settings.trial { saved.map(|saved| trial_of(saved, last)) } else { saved };
        let (mut machine, effect) = Machine::start(saved, last, observed.as_ref(), clock::boot());
        if is_of_copy {
            // The next start is to find it.
            machine.save_again_soon();
        }
        let log = AttackLog::new();
        let ear = Ear::new(settings.manager.clone());
        let fleet = Fleet::open(&settings, &mut warnings);
        let kept = (!settings.trial).then_some(settings.state_dir.as_path());
        let watch = Watch::begin(kept, Arc::clone(geo.world()));
        let mut engine = Self {
            settings,
            backend,
            machine,
            geo,
            ledger,
            store,
            log,
            usual_scope,
            sources: Sources::default(),
            ear,
            bans: Bans::default(),
            watch,
            geodata,
            fleet,
            warnings,
            trouble: None,
            mended: Mended::default(),
            plane_trouble: Trouble::default(),
            files: Files::new(),
            pulse,
        };
        engine.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        if let Some(error) = engine.drive(effect)?.unsaved {
            engine.note_trouble(format!("cannot save the state: {error}"));
        }
        if unusable && !engine.machine.attached() {
            engine.backend.detach().context("what should be off is attached")?;
        }
        Ok(engine)
    }

    /// Works until nobody can ask any more. The filter stays in force.
    pub(crate) fn run(mut self, jobs: &Receiver<Job>) {
        let mut beat = Instant::now();
        loop {
            self.pulse.beat();
            let rest = match self.needs_beats() {
                true => beat.saturating_duration_since(Instant::now()),
                false => ROUND,
            };
            let job = jobs.recv_timeout(rest);
            match job {
                Ok(Job::Answer { request, answer: back }) => {
                    let answer = self.answer(request);
                    // It fails when the client has gone away.
                    let _ = back.send(answer);
                }
                Ok(Job::Reload(settings)) => self.reload(*settings),
                Ok(Job::Mended(what)) => self.was_mended(what),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.leave(),
            }
            self.look_after_geodata();
            self.look_after_fleet();
            self.look_after_files();
            self.watch.note(self.machine.dropping(clock::boot()).is_some());
            if self.needs_beats() && beat <= Instant::now() {
                self.beat();
                beat = Instant::now() + BEAT;
            }
        }
    }

    /// Others may have come since it attached, and some may have left before it as the host shuts down.
    fn leave(&mut self) {
        if self.machine.attached() {
            let before = protected::recall(&self.settings.state_dir);
            if let Err(error) = self.remember_interfaces(before) {
                tracing::warn!("{error:#}");
            }
        }
    }

    /// Goes by other settings from now on, as far as that needs no restart.
    fn reload(&mut self, settings: Settings) {
        if settings.manager != self.settings.manager {
            self.ear = Ear::new(settings.manager.clone());
            self.settings.manager = settings.manager;
        }
        if settings.shares_bans != self.settings.shares_bans {
            self.settings.shares_bans = settings.shares_bans;
            self.fleet.begin_anew();
        }
        match self.wish(settings.geodata) {
            Ok(()) => tracing::info!("the configuration was read anew, and is in force"),
            Err(failure) => self.note_trouble(failure.message),
        }
    }

    fn needs_beats(&self) -> bool {
        self.machine.attached()
            || self.machine.deadline().is_some()
            || self.machine.unsaved()
            || self.ledger.names.follows_any()
            || self.geodata.runs()
            || self.fleet.is_member()
    }

    fn beat(&mut self) {
        self.look_after_plane();
        self.drain();
        self.look_at_sources();
        self.look_after_overrides();
        self.listen_to_the_pbx();
        if self.trouble.as_ref().is_some_and(|(_, again)| Instant::now() < *again) {
            return;
        }
        let now = clock::boot();
        let ended = self.machine.deadline().is_some_and(|deadline| now >= deadline);
        let effect = self.machine.handle(Input::Tick(now));
        let settled = self.drive(effect);
        if ended && settled.is_ok() {
            self.say_it_went_back();
        }
        match settled {
            Ok(Outcome { unsaved: Some(error), .. }) => {
                self.note_trouble(format!("cannot save the state: {error}"));
            }
            Ok(Outcome { unsaved: None, .. }) => self.trouble = None,
            Err(refusal) => self.note_trouble(refusal.to_string()),
        }
    }

    /// The kernel went back at the deadline; what the machine put in force for good is compared.
    fn say_it_went_back(&mut self) {
        let generation = self.machine.generation(clock::boot()).0;
        match self.compare() {
            Ok(()) => tracing::info!(
                generation,
                "the deadline has passed: what was confirmed is in force, read back and compared"
            ),
            Err(error) => {
                let error = format!(
                    "after the deadline the kernel differs from what was confirmed: {error}"
                );
                tracing::error!("{error}");
                self.warnings.push(error);
            }
        }
    }

    fn drain(&mut self) {
        if !self.machine.attached() {
            return;
        }
        let now = Now { boot: clock::boot(), wall: clock::wall() };
        let Self { backend, log, .. } = self;
        if let Err(error) = backend.drain_events(now.boot, &mut |event| log.add(event, now)) {
            self.note_trouble(format!("cannot read the drops from the kernel: {error}"));
        }
        self.log.tell(&self.geo);
    }

    pub(super) fn note_trouble(&mut self, message: String) {
        if self.trouble.as_ref().is_none_or(|(known, _)| *known != message) {
            tracing::warn!("{message}");
        }
        self.trouble = Some((message, Instant::now() + REST));
    }

    /// Carries out effects until the machine has an answer.
    fn drive(&mut self, mut effect: Effect) -> Result<Outcome, Refusal> {
        loop {
            let result = match effect {
                Effect::Answer(answer) => return answer,
                Effect::Persist(saved) => self.persist(&saved),
                Effect::Attach(desired) => {
                    self.remember_baseline();
                    self.attach(&desired)
                }
                Effect::Apply(desired) => {
                    self.backend.apply(&desired, self.ledger.clock()).map(drop).map_err(describe)
                }
                Effect::Detach => {
                    self.drain();
                    self.sources = Sources::default();
                    self.backend.detach().map_err(describe).inspect(|()| self.forget_interfaces())
                }
            };
            effect = self.machine.handle(Input::Done(result));
        }
    }

    /// Without them the filter comes later at the next boot, and not at all if nothing has a route then.
    pub(super) fn remember_interfaces(&mut self, others: Vec<String>) -> anyhow::Result<()> {
        if self.settings.trial || self.settings.backend == Choice::Memory {
            return Ok(());
        }
        let attached = self.observed(&mut Vec::new()).map(|observed| observed.attachments);
        let attached = attached.into_iter().flatten().map(|attachment| attachment.interface);
        let names: BTreeSet<String> = attached.chain(others).collect();
        let names: Vec<String> = names.into_iter().collect();
        protected::remember(&self.settings.state_dir, &names)
            .context("the interfaces are not remembered for the next boot")
    }

    fn forget_interfaces(&self) {
        if self.settings.trial {
            return;
        }
        if let Err(error) = protected::forget(&self.settings.state_dir) {
            tracing::warn!(%error, "the interfaces that were protected can't be forgotten");
        }
    }

    fn persist(&mut self, saved: &Saved) -> Result<(), String> {
        let runtime_dir = &self.settings.runtime_dir;
        match self.store.save(saved) {
            Ok(()) => {
                unsaved::forget(runtime_dir);
                Ok(())
            }
            Err(error) => {
                unsaved::keep(runtime_dir, saved.last);
                Err(format!("{}: {error}", self.settings.state_dir.display()))
            }
        }
    }

    pub(crate) fn answer(&mut self, request: Request) -> Answer {
        let reply = match request {
            Request::Log { follow, country, reason } => {
                return self.log(follow, Filter { country, reason });
            }
            Request::Status => self.status(),
            Request::Why { address, port, protocol } => self.why(address, port, protocol),
            Request::Enforce { change, confirm_within, keep_registered } => {
                answered(self.enforce(change, confirm_within, keep_registered))
            }
            Request::Preview { change, keep_registered } => {
                answered(self.preview(change, keep_registered))
            }
            Request::Sources { limit } => self.busiest(limit),
            Request::Confirm { generation } => match self.is_pending(generation) {
                Ok(()) => self.command(Command::Confirm),
                Err(failure) => Reply::Error(failure),
            },
            Request::Revert { generation } => match self.is_pending(generation) {
                Ok(()) => self.revert(),
                Err(failure) => Reply::Error(failure),
            },
            Request::Observe => self.command(Command::Observe),
            Request::Pause { seconds } => self.command(Command::Pause(nanoseconds(seconds))),
            Request::Resume => self.command(Command::Resume),
            Request::Off => self.off(),
            Request::List { kind, targets } => answered(self.list(kind, &targets)),
            Request::Add { kind, targets, seconds, note, origin } => {
                answered(self.add(kind, &targets, seconds, note, origin))
            }
            Request::Remove { kind, targets, origin } => {
                answered(self.remove(kind, &targets, origin))
            }
            Request::Fail2ban { ask } => answered(self.fail2ban(ask)),
            Request::Protected { address } => self.protected(address),
            Request::Evidence => self.evidence(),
            Request::Geodata { ask } => answered(self.geodata(ask)),
            Request::Peers => answered(self.peers()),
            Request::RemovePeer { peer } => answered(self.remove_peer(peer)),
            Request::Join { membership } => answered(self.join(membership)),
            Request::Leave => answered(self.leave_fleet()),
        };
        Answer::Reply(reply)
    }

    fn log(&self, follow: bool, filter: Filter) -> Answer {
        let follow = follow.then(|| self.log.follow());
        Answer::Log { recent: self.log.recent(filter, &self.geo), filter, follow }
    }

    fn off(&mut self) -> Reply {
        let was_attached = self.observed(&mut Vec::new()).is_some();
        let reply = self.command(Command::Off);
        let Reply::Changed(changed) = reply else { return reply };
        self.proven(changed, was_attached)
    }

    /// Whether it is still this change that is pending, if one was named.
    fn is_pending(&self, generation: Option<Generation>) -> Result<(), Failure> {
        let now = clock::boot();
        let pending = self.machine.deadline().filter(|deadline| now < *deadline);
        let current = self.machine.generation(now);
        match generation {
            Some(generation) if pending.is_some() && generation != current => {
                Err(cli::failed(format!(
                    "generation {} is not pending any more, generation {} is in its place: nothing was changed",
                    generation.0, current.0
                )))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn revert(&mut self) -> Reply {
        let reply = self.command(Command::Revert);
        let Reply::Changed(changed) = reply else { return reply };
        if let Err(error) = self.compare() {
            return Reply::Error(cli::failed(format!(
                "the change was taken back, but that the kernel holds what was confirmed could not be proven: {error}; see `geofilter status`"
            )));
        }
        let changed = Changed { compared: true, ..changed };
        match changed.state {
            State::Off => self.proven(changed, true),
            State::Observing | State::Enforcing | State::Paused | State::Pending => {
                Reply::Changed(changed)
            }
        }
    }

    /// Whether that is what the kernel was asked to hold.
    pub(super) fn holds(&self, observed: Option<&Observed>) -> bool {
        match (observed, self.machine.desired()) {
            (Some(observed), Some(desired)) => observed.holds(&desired),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        }
    }

    /// Reads the kernel's state back, and compares it with what it was asked to hold.
    fn compare(&mut self) -> Result<(), String> {
        let observed = self.backend.observe().map_err(describe)?;
        match self.holds(observed.as_ref()) {
            true => Ok(()),
            false => Err(match observed {
                Some(observed) => format!("it holds {observed}"),
                None => "it holds nothing".to_owned(),
            }),
        }
    }

    /// With the proof that nothing remains.
    fn proven(&mut self, changed: Changed, was_attached: bool) -> Reply {
        if self.settings.backend == Choice::Memory {
            return Reply::Changed(changed);
        }
        match baseline::prove(&self.settings, self.files.baseline.take(), was_attached) {
            Ok(proof) => Reply::Changed(Changed { proof, ..changed }),
            Err(error) => {
                let warning = format!("that nothing remains could not be proven: {error:#}");
                tracing::warn!("{warning}");
                let warnings = changed.warnings.into_iter().chain([warning]).collect();
                Reply::Changed(Changed { warnings, ..changed })
            }
        }
    }

    /// A filter without proof of its removal is better than none.
    fn remember_baseline(&mut self) {
        if self.settings.backend == Choice::Memory {
            return;
        }
        let is_attached = !matches!(self.backend.observe(), Ok(None));
        let remembered = baseline::remember(&self.settings.state_dir, is_attached);
        if let Err(error) = remembered.map(|unwritten| self.files.baseline = unwritten) {
            let warning =
                format!("`off` will not be able to prove that nothing remains: {error:#}");
            tracing::warn!("{warning}");
            self.warnings.push(warning);
        }
    }

    pub(super) fn command(&mut self, command: Command) -> Reply {
        let before = self.backend.observe();
        let effect = self.machine.handle(Input::Command(command, clock::boot()));
        match self.drive(effect) {
            Ok(outcome) => {
                self.trouble = None;
                self.changed(outcome)
            }
            Err(refusal @ (Refusal::NotApplied(_) | Refusal::NotAttached(_))) => {
                let now = self.backend.observe();
                let same = before.is_ok_and(|before| now.is_ok_and(|now| before == now));
                let stands = match same {
                    true => "what was in force before still is",
                    false => "see `geofilter status` for what is in force now",
                };
                Reply::Error(cli::failed(format!("{refusal}; {stands}")))
            }
            Err(refusal) => Reply::Error(failure(&refusal)),
        }
    }

    fn changed(&mut self, outcome: Outcome) -> Reply {
        let now = clock::boot();
        let mut warnings = Vec::new();
        let observed = self.observed(&mut warnings);
        warnings.extend(outcome.unsaved.map(|error| {
            format!("this is in force but could not be saved, so a restart would undo it: {error}")
        }));
        let standing = self.machine.current(now);
        let state = geofilter_core::apply::state(observed.as_ref(), now);
        tracing::info!(?state, generation = self.machine.generation(now).0, "changed");
        Reply::Changed(Changed {
            state,
            mode: standing.policy.mode,
            countries: standing.policy.countries,
            generation: self.machine.generation(now),
            remaining: self.remaining(now),
            replaced: outcome.replaced,
            fallback: (state == State::Pending).then(|| self.fallback()),
            compared: false,
            proof: None,
            warnings,
        })
    }

    fn fallback(&self) -> Fallback {
        let Standing { generation, stance, policy } = self.machine.confirmed();
        let state = match stance {
            Stance::Off => State::Off,
            Stance::Observe => State::Observing,
            Stance::Enforce => State::Enforcing,
        };
        let (mode, countries) = (policy.mode, policy.countries);
        Fallback { state, mode, countries, generation: *generation }
    }

    pub(super) fn observed(&mut self, warnings: &mut Vec<String>) -> Option<Observed> {
        match self.backend.observe() {
            Ok(observed) => {
                warnings.extend(observed.iter().flat_map(|observed| observed.warnings.clone()));
                observed
            }
            Err(error) => {
                warnings.push(format!("cannot read back what the kernel holds: {error}"));
                None
            }
        }
    }

    pub(super) fn remaining(&self, now: BootTime) -> Option<u64> {
        let left = self.machine.deadline()?.0.saturating_sub(now.0);
        (left > 0).then(|| left.div_ceil(NANOSECONDS))
    }
}

/// Whether a copy of what was confirmed is no older than what the kernel holds.
fn is_as_in_kernel(copy: &Saved, observed: Option<&Observed>) -> bool {
    observed.is_none_or(|observed| {
        observed.active.0 == copy.confirmed.generation && observed.fallback.is_none()
    })
}

/// What stands in for a saved state that can't be read.
fn instead(copy: Option<&Saved>, observed: Option<&Observed>) -> &'static str {
    match (copy, observed) {
        (Some(_), _) => "what was confirmed last was read from its copy, and is in force",
        (None, Some(_)) => "what the kernel held was left in force",
        (None, None) => {
            "the kernel held nothing, so that everything passes until you choose a policy with `allow` or `block`"
        }
    }
}

/// What a trial begins with: it observes what an agent was told before, under a number of its own.
fn trial_of(saved: Saved, last: Generation) -> Saved {
    let generation = saved.last.max(last).next();
    let policy = saved.confirmed.policy;
    let confirmed = Standing { generation, stance: Stance::Observe, policy };
    Saved { last: generation, confirmed, interim: None }
}

pub(super) fn nanoseconds(seconds: u64) -> u64 {
    seconds.saturating_mul(NANOSECONDS)
}

fn answered(reply: Result<Reply, Failure>) -> Reply {
    reply.unwrap_or_else(Reply::Error)
}

pub(super) fn failure(refusal: &Refusal) -> Failure {
    let kind = match refusal {
        Refusal::NothingPending
        | Refusal::TooLate
        | Refusal::NotPaused
        | Refusal::NothingToPause
        | Refusal::PolicyLost => FailureKind::Unfit,
        Refusal::NotSaved(_)
        | Refusal::NotApplied(_)
        | Refusal::NotAttached(_)
        | Refusal::NotDetached(_) => FailureKind::Failed,
    };
    Failure::new(kind, refusal.to_string())
}

/// The error with what caused it.
pub(super) fn describe(error: geofilter_dataplane::Error) -> String {
    format!("{:#}", anyhow::Error::from(error))
}
