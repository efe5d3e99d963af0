//! [`Fleet`]: what the agent of a host does for the portal of a fleet. It takes what the [`link`](crate::fleet) brings, puts it in force as it
//! would for an operator of this host, and says what the kernel holds.

mod bans;

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use geofilter_core::apply::Command;
use geofilter_core::change::{Change, Edit};
use geofilter_core::counters::Counters;
use geofilter_core::evidence::OfDay;
use geofilter_core::limits::Limits;
use geofilter_core::policy::Policy;
use geofilter_core::series::{Look, Sampler, Slot};
use geofilter_core::wire::{EvidenceDay, Failure, FailureKind, FleetReport, Membership, Reply};
use geofilter_fleet::{
    CUTS, DAYS, Mark, Previewed, Question, Refused, Report, SLOTS, Said, Served, Snapshot,
    Standing, digest,
};
use serde::{Deserialize, Serialize};

use super::change::is_unselected;
use super::child::Child;
use super::clock;
use super::engine::Engine;
use super::settings::Settings;
use crate::cli;
use crate::files::{Loaded, read_whole, write_whole};
use crate::fleet::{Heard, Job, Tell};
use bans::Sharing;

const SCHEMA: u32 = 1;
const FOLDER: &str = "fleet";
const MEMBERSHIP: &str = "membership.json";
const MARKS: &str = "marks.json";
/// How often the portal is told how the host stands, if nothing happens.
const TOLD: Duration = Duration::from_secs(10);
/// A link that said nothing for so long while it was connected, although it was told, is started again.
const SILENCE: Duration = Duration::from_secs(90);
/// Steps that are kept for a portal that is away: two hours.
const UNSENT: usize = 720;
/// Figures that are said at a time, each of less than a hundred bytes: more than those of one step from all countries.
const FIGURES: usize = 500;
/// How often it is looked whether the logs tell more of a day.
const DIARY: Duration = Duration::from_secs(300);
/// Steps with which there is room for days.
const FEW: usize = 3;
/// How soon what was refused is tried again.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long it may take to tell a portal that this host is its no more.
const FAREWELL: Duration = Duration::from_secs(30);
/// How soon a link is started again that ended.
const REST: Duration = Duration::from_secs(5);

#[derive(Serialize, Deserialize)]
struct Kept {
    schema: u32,
    membership: Membership,
}

/// How far it is. What is older than what came is never put in force.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Marks {
    schema: u32,
    received: Option<Mark>,
    applied: Option<Mark>,
    /// Of the policy that was put in force for it.
    #[serde(default)]
    digest: Option<String>,
    /// What may be done here at most.
    #[serde(default)]
    limits: Limits,
}

/// See the module.
pub(super) struct Fleet {
    dir: PathBuf,
    membership: Option<Membership>,
    marks: Marks,
    link: Option<Child<Heard>>,
    /// What tells the portal of before that this host is its no more, and until when.
    farewell: Option<(Child<Heard>, Instant)>,
    /// When the link is started again.
    again: Option<Instant>,
    is_connected: bool,
    trouble: Option<String>,
    refused: Option<Refused>,
    /// When the portal is told next.
    due: Option<Instant>,
    /// What was refused, and when it is tried again: the reason may pass.
    waiting: Option<(Snapshot, Instant)>,
    /// When the link said something last.
    heard: Instant,
    /// When it is counted next what the kernel did.
    look: Option<Instant>,
    telemetry: Telemetry,
    /// What it was asked, and says next.
    previewed: Option<Previewed>,
    diary: Diary,
    bans: Sharing,
}

/// What the logs told, day by day, until the portal has it.
#[derive(Default)]
struct Diary {
    /// What the portal has.
    known: BTreeMap<String, OfDay>,
    /// What was said last, and by which number.
    said: Option<(u64, Vec<EvidenceDay>)>,
    /// When it is looked at next.
    due: Option<Instant>,
}

impl Diary {
    /// Some days of which the portal does not know what is known here, by that number.
    fn next(&mut self, days: impl FnOnce() -> Vec<EvidenceDay>, number: u64) -> Vec<EvidenceDay> {
        if self.due.is_some_and(|due| due > Instant::now()) {
            return Vec::new();
        }
        let is_new = |day: &EvidenceDay| self.known.get(&day.day) != Some(&day.of_day);
        let new: Vec<EvidenceDay> = days().into_iter().filter(is_new).take(DAYS).collect();
        // Where there are more they are said with the next words.
        if new.len() < DAYS {
            self.due = Some(Instant::now() + DIARY);
        }
        self.said = Some((number, new.clone()));
        new
    }

    /// The portal has what was said by this number.
    fn acknowledge(&mut self, number: u64) {
        if let Some((_, days)) = self.said.take_if(|(said, _)| *said == number) {
            self.known.extend(days.into_iter().map(|day| (day.day, day.of_day)));
        }
    }

    /// What was on its way may be lost.
    fn begin_anew(&mut self) {
        (self.said, self.due) = (None, None);
    }
}

/// What is counted for the portal until it has it.
#[derive(Default)]
struct Telemetry {
    sampler: Sampler,
    /// Steps that the portal has not acknowledged, the oldest first.
    unsent: VecDeque<Slot>,
}

impl Telemetry {
    fn take(&mut self, time: i64, look: Option<Look>) {
        self.unsent.extend(self.sampler.take(time, look));
        let over = self.unsent.len().saturating_sub(UNSENT);
        self.unsent.drain(..over);
    }

    /// As much as is said at a time: the portal reads no more than so many bytes.
    fn next(&self) -> Vec<Slot> {
        let mut figures = 0;
        let some = self.unsent.iter().take(SLOTS).take_while(|slot| {
            figures += slot.counts.reasons.len() + slot.counts.countries.len();
            figures <= FIGURES
        });
        some.cloned().collect()
    }

    /// By which number they are said: the time of the last one, or one that is before all.
    fn number(slots: &[Slot]) -> u64 {
        slots.iter().map(|slot| slot.time.unsigned_abs()).max().unwrap_or(1)
    }

    /// The portal has what was said by this number.
    fn acknowledge(&mut self, number: u64) {
        self.unsent.retain(|slot| slot.time.unsigned_abs() > number);
    }
}

impl Fleet {
    /// What this host is to its portal, if it has one. What can't be read is said, and kept aside. An agent on trial has nothing to do
    /// with it.
    pub(super) fn open(settings: &Settings, warnings: &mut Vec<String>) -> Self {
        let dir = settings.state_dir.join(FOLDER);
        let membership = match settings.trial {
            true => None,
            false => Self::membership(&dir, warnings),
        };
        let marks = match read_whole::<Marks>(&dir, MARKS, SCHEMA) {
            Ok(Loaded::State(marks)) => marks,
            Ok(Loaded::Nothing) => Marks::default(),
            Ok(Loaded::Corrupt { .. }) | Err(_) => {
                warnings.push("how far this host of a fleet was is not known: whatever its portal asks next is put in force, also if that is older".to_owned());
                Marks::default()
            }
        };
        let bans = match membership {
            Some(_) => Sharing::open(&dir, warnings),
            None => Sharing::default(),
        };
        Self { bans, ..Self::of(dir, membership, marks) }
    }

    /// One that has said and heard nothing yet.
    fn of(dir: PathBuf, membership: Option<Membership>, marks: Marks) -> Self {
        Self {
            dir,
            membership,
            marks,
            link: None,
            farewell: None,
            again: None,
            is_connected: false,
            trouble: None,
            refused: None,
            due: None,
            waiting: None,
            heard: Instant::now(),
            look: None,
            telemetry: Telemetry::default(),
            previewed: None,
            diary: Diary::default(),
            bans: Sharing::default(),
        }
    }

    fn membership(dir: &Path, warnings: &mut Vec<String>) -> Option<Membership> {
        match read_whole::<Kept>(dir, MEMBERSHIP, SCHEMA) {
            Ok(Loaded::State(kept)) => Some(kept.membership),
            Ok(Loaded::Nothing) => None,
            Ok(Loaded::Corrupt { aside, why }) => {
                warnings.push(format!(
                    "what makes this host one of a portal can't be read ({why}) and is kept in {}: enrol it again",
                    aside.display()
                ));
                None
            }
            Err(error) => {
                warnings
                    .push(format!("what makes this host one of a portal is not known: {error:#}"));
                None
            }
        }
    }

    /// Whether it has a portal.
    pub(super) fn is_member(&self) -> bool {
        self.membership.is_some()
    }

    /// What may be done here at most.
    pub(super) fn limits(&self) -> &Limits {
        &self.marks.limits
    }

    /// What makes it one of a portal.
    pub(super) fn member_of(&self) -> Option<&Membership> {
        self.membership.as_ref()
    }

    /// Whether the portal is heard now.
    pub(super) fn hears(&self) -> bool {
        self.is_connected
    }

    /// How it stands with it.
    pub(super) fn report(&self) -> Option<FleetReport> {
        let Membership { portal, host, .. } = self.membership.as_ref()?;
        Some(FleetReport {
            portal: portal.clone(),
            host: *host,
            connected: self.is_connected,
            trouble: self.trouble.clone(),
            received: self.marks.received.map(|mark| mark.to_string()),
            applied: self.marks.applied.map(|mark| mark.to_string()),
            refused: self.refused.as_ref().map(|refused| refused.why.clone()),
        })
    }

    fn keep(&self, membership: &Membership) -> anyhow::Result<()> {
        let kept = Kept { schema: SCHEMA, membership: membership.clone() };
        self.write(MEMBERSHIP, &kept).with_context(|| {
            format!("cannot keep the host's certificate in {}", self.dir.display())
        })
    }

    fn write(&self, name: &str, content: &impl Serialize) -> io::Result<()> {
        // The key is root's alone.
        DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
        fs::set_permissions(&self.dir, Permissions::from_mode(0o700))?;
        write_whole(&self.dir, name, &serde_json::to_vec_pretty(content)?)
    }

    fn remove(&self, name: &str) -> Result<(), Failure> {
        let path = self.dir.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(cli::failed(format!("cannot remove {}: {error}", path.display())))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn mark(&mut self, marks: Marks) {
        if self.marks == marks {
            return;
        }
        self.marks = Marks { schema: SCHEMA, ..marks };
        if let Err(error) = self.write(MARKS, &self.marks) {
            tracing::warn!(%error, "how far this host is could not be saved: the portal says it again");
        }
    }

    /// Begins with another portal, or with none. The one before is told, if it hears that.
    fn become_of(&mut self, membership: Option<Membership>) {
        let farewell = self.link.take().and_then(|mut link| {
            let told = link.tell(&Tell::Leave);
            told.is_ok().then(|| (link, Instant::now() + FAREWELL))
        });
        let new = Self::of(std::mem::take(&mut self.dir), membership, Marks::default());
        *self = Self { farewell, ..new };
    }

    /// What the link says. It is started when there is none.
    fn heard(&mut self) -> Vec<Heard> {
        if let Some((link, until)) = &mut self.farewell
            && (link.heard().1.is_some() || *until <= Instant::now())
        {
            self.farewell = None;
        }
        let Some(membership) = &self.membership else { return Vec::new() };
        let Some(link) = &mut self.link else {
            if self.again.is_none_or(|again| again <= Instant::now()) {
                let job = Job::Link { membership: membership.clone() };
                match Child::start(["fleet", "link"], &job) {
                    Ok(link) => self.link = Some(link),
                    Err(error) => self.lose(format!("cannot start a process for it: {error}")),
                }
            }
            return Vec::new();
        };
        let (heard, ended) = link.heard();
        if !heard.is_empty() {
            self.heard = Instant::now();
        }
        if let Some(how) = ended {
            self.link = None;
            self.lose(format!("the process that speaks to it ended: {how}"));
        } else if self.is_connected && self.heard.elapsed() > SILENCE {
            self.link = None;
            self.lose("the process that speaks to it does not answer".to_owned());
        }
        heard
    }

    fn tell(&mut self, what: &Tell) {
        let told = self.link.as_mut().map(|link| link.tell(what));
        if let Some(Err(error)) = told {
            self.link = None;
            self.lose(format!("the process that speaks to it does not listen: {error}"));
        }
    }

    /// What there is no room for of the fleet's bans, if anything.
    pub(super) fn warning(&self) -> Option<String> {
        self.bans.trouble.warning()
    }

    /// Connects again, to be told all of it.
    pub(super) fn begin_anew(&mut self) {
        (self.link, self.again, self.is_connected) = (None, None, false);
    }

    fn lose(&mut self, why: String) {
        self.again = Some(Instant::now() + REST);
        self.be_without(why);
    }

    fn be_without(&mut self, why: String) {
        if self.trouble.as_ref() != Some(&why) {
            tracing::warn!(
                "the portal of the fleet is not heard, and what is in force stays: {why}"
            );
        }
        (self.is_connected, self.trouble) = (false, Some(why));
    }
}

impl Engine {
    /// Makes this host one of a portal.
    pub(super) fn join(&mut self, membership: Membership) -> Result<Reply, Failure> {
        if self.settings.trial {
            let why =
                "this agent is on trial: start one that stays, `geofilter agent`, and enrol that";
            return Err(Failure::new(FailureKind::Unfit, why));
        }
        // What another portal said has nothing to do with what this one says.
        self.fleet.remove(MARKS)?;
        self.forget_bans()?;
        self.fleet.keep(&membership).map_err(|error| cli::failed(format!("{error:#}")))?;
        self.fleet.become_of(Some(membership));
        self.forget_portals_data();
        Ok(Reply::Fleet(self.fleet.report()))
    }

    /// Makes it nobody's.
    pub(super) fn leave_fleet(&mut self) -> Result<Reply, Failure> {
        if !self.fleet.is_member() {
            return Err(Failure::new(FailureKind::Unfit, "this host has no portal to leave"));
        }
        self.forget_bans()?;
        self.fleet.remove(MEMBERSHIP)?;
        self.fleet.remove(MARKS)?;
        self.fleet.become_of(None);
        self.forget_portals_data();
        Ok(Reply::Fleet(None))
    }

    /// Does what the portal asks, and says how the host stands.
    pub(super) fn look_after_fleet(&mut self) {
        for heard in self.fleet.heard() {
            match heard {
                Heard::Connected => {
                    (self.fleet.is_connected, self.fleet.trouble) = (true, None);
                    self.fleet.due = Some(Instant::now());
                    self.fleet.diary.begin_anew();
                    self.fleet.bans.begin();
                    tracing::info!("the portal of the fleet is heard");
                }
                Heard::Snapshot { snapshot } => self.take_snapshot(*snapshot),
                Heard::Bans { bans } => self.take_bans(bans),
                Heard::World { served } => self.hear_of_world(served),
                Heard::Renewed { membership } => {
                    if let Err(error) = self.fleet.keep(&membership) {
                        self.note_trouble(format!("{error:#}"));
                    }
                    self.fleet.membership = Some(membership);
                }
                Heard::Preview { question } => self.answer_fleet(*question),
                Heard::Lost { why } => self.fleet.be_without(why),
                Heard::Sent => {}
                Heard::Noted { number } if Sharing::is_of(number) => {
                    if self.fleet.bans.noted(number) {
                        self.keep_bans();
                    }
                }
                Heard::Noted { number } => {
                    self.fleet.telemetry.acknowledge(number);
                    self.fleet.diary.acknowledge(number);
                    // What was kept while it was away is said without waiting.
                    if self.fleet.telemetry.unsent.len() > SLOTS / 2 {
                        self.fleet.due = Some(Instant::now());
                    }
                }
                // This is said to whoever enrols.
                Heard::Enrolled { .. } => {}
            }
        }
        if self.fleet.waiting.as_ref().is_some_and(|(_, again)| *again <= Instant::now())
            && let Some((snapshot, _)) = self.fleet.waiting.take()
        {
            self.take_snapshot(snapshot);
        }
        if self.fleet.is_member() && self.fleet.look.is_none_or(|look| look <= Instant::now()) {
            self.fleet.look = Some(Instant::now() + TOLD);
            self.count_for_fleet();
        }
        if self.fleet.is_connected && self.fleet.due.is_some_and(|due| due <= Instant::now()) {
            let report = self.report_to_fleet();
            self.fleet.due = Some(Instant::now() + TOLD);
            // A line has room for one of them.
            let previewed = self.fleet.previewed.take().map(Box::new);
            let counted = match previewed {
                Some(_) => Vec::new(),
                None => self.fleet.telemetry.next(),
            };
            let number = Telemetry::number(&counted);
            let days = match counted.len() {
                0..=FEW if previewed.is_none() => {
                    self.fleet.diary.next(|| self.watch.days(), number)
                }
                _ => Vec::new(),
            };
            // Only how it stands needs not be noted: it is said again.
            let number = if counted.is_empty() && days.is_empty() { 0 } else { number };
            let said =
                Box::new(Said { number, report, counted, previewed, days, ..Said::default() });
            self.fleet.tell(&Tell::Report { said });
        }
        self.look_after_bans();
    }

    /// Puts in force what the portal asks, unless it is older than what it asked before.
    fn take_snapshot(&mut self, snapshot: Snapshot) {
        let Snapshot { mark, policy, within, limits } = snapshot.clone();
        self.fleet.waiting = None;
        let marks = self.fleet.marks.clone();
        self.fleet.due = Some(Instant::now());
        if marks.received > Some(mark) {
            let received = marks.received.map(|mark| mark.to_string()).unwrap_or_default();
            let why = format!(
                "revision {mark} is older than {received}, which came before; the portal may have been taken back to an old state"
            );
            tracing::warn!("{why}");
            self.fleet.refused = Some(Refused { mark, why, risks: Vec::new() });
            return;
        }
        let marks = Marks { received: Some(mark), limits, ..marks };
        self.fleet.mark(marks.clone());
        // A host that lost its policy is given it again.
        let is_lost = is_unselected(&self.machine.current(clock::boot()).policy);
        if marks.applied == Some(mark) && !is_lost {
            self.fleet.refused = None;
            return;
        }
        let Some(policy) = policy else {
            // What was tried is not to stay, and there was nothing before: the host does what it did.
            if self.tries_for_fleet()
                && let Reply::Error(failure) = self.command(Command::Revert)
            {
                tracing::warn!(%mark, "what was tried for the portal of the fleet ends at its deadline: {}", failure.message);
            }
            return;
        };
        // Its ports are this host's own.
        let change = Change { edit: Edit::Replace, scope: None, ..policy };
        match self.enforce_for_fleet(change, within) {
            Ok(()) => {
                tracing::info!(%mark, "what the portal of the fleet asked is in force");
                self.fleet.refused = None;
                let digest = Some(digest(&self.machine.current(clock::boot()).policy));
                self.fleet.mark(Marks { applied: Some(mark), digest, ..marks });
            }
            Err(Failure { message: why, risks, .. }) => {
                if self.fleet.refused.as_ref().is_none_or(|known| known.why != why) {
                    tracing::warn!(%mark, "what the portal of the fleet asked is not in force: {why}");
                }
                self.fleet.refused = Some(Refused { mark, why, risks });
                self.fleet.waiting = Some((snapshot, Instant::now() + PATIENCE));
            }
        }
    }

    /// Whether what is in force until a deadline was asked by the portal.
    fn tries_for_fleet(&self) -> bool {
        let now = clock::boot();
        let asked = self.fleet.marks.digest.as_ref();
        self.remaining(now).is_some() && asked == Some(&digest(&self.machine.current(now).policy))
    }

    /// Puts a change in force, or keeps it if it is in force until a deadline.
    fn enforce_for_fleet(&mut self, change: Change, within: Option<u64>) -> Result<(), Failure> {
        let now = clock::boot();
        let is_pending = self.remaining(now).is_some();
        if is_pending && within.is_none() {
            let same = self.plan(change.clone())? == self.machine.current(now).policy;
            if same {
                return match self.command(Command::Confirm) {
                    Reply::Error(failure) => Err(failure),
                    _ => Ok(()),
                };
            }
        }
        self.enforce(change, within, None).map(drop)
    }

    /// Looks whom it would cut to do this.
    fn answer_fleet(&mut self, question: Question) {
        let Question { number, policy } = question;
        let change = policy.map(|policy| Change { edit: Edit::Replace, scope: None, ..policy });
        let mut previewed = Previewed { number, ..Previewed::default() };
        // What is chosen for nobody changes nothing.
        if let Some(change) = change {
            match self.preview(Some(change), None) {
                Ok(Reply::Preview(preview)) => {
                    let mut cut = preview.would_cut;
                    cut.retain(|cut| !cut.already);
                    previewed.more =
                        u32::try_from(cut.len().saturating_sub(CUTS)).unwrap_or(u32::MAX);
                    cut.truncate(CUTS);
                    (previewed.would_cut, previewed.risks) = (cut, preview.risks);
                }
                Ok(_) => {}
                Err(failure) => {
                    (previewed.failed, previewed.risks) = (Some(failure.message), failure.risks);
                }
            }
        }
        self.fleet.previewed = Some(previewed);
        self.fleet.due = Some(Instant::now());
    }

    fn count_for_fleet(&mut self) {
        let look = self.backend.observe().ok().and_then(|observed| {
            let state = geofilter_core::apply::state(observed.as_ref(), clock::boot());
            // What is off has counted nothing. What can't be read has, and nobody knows what.
            let counters = match observed {
                None => Counters::default(),
                Some(_) => self.backend.counters().ok()?,
            };
            Some(Look::at(state, &counters))
        });
        self.fleet.telemetry.take(now(), look);
    }

    fn report_to_fleet(&mut self) -> Report {
        Report {
            time: now(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            received: self.fleet.marks.received,
            applied: self.fleet.marks.applied,
            refused: self.fleet.refused.clone(),
            standing: self.standing(),
            instead: self.instead(),
            served: self.served(),
            world: Some(self.report_of_world()),
        }
    }

    /// The policy in force, if somebody chose it here after the portal asked for another.
    fn instead(&self) -> Option<Box<Change>> {
        let asked = self.fleet.marks.digest.as_ref()?;
        let policy = &self.machine.current(clock::boot()).policy;
        let is_another = digest(policy) != *asked && !is_unselected(policy);
        is_another.then(|| Box::new(whole(policy)))
    }

    /// Whom the PBX serves, as it said last.
    fn served(&mut self) -> Option<Served> {
        let trusted = self.ear.trusted()?;
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let served = Served {
            phones: count(trusted.devices.len()),
            trunks: count(trusted.trunks.len()),
            registrations: count(trusted.registrations),
            peers: 0,
        };
        let peers = self.live_peers(&mut Vec::new()).len();
        Some(Served { peers: count(peers), ..served })
    }

    /// What the kernel holds, as it is read back.
    fn standing(&mut self) -> Option<Standing> {
        let observed = self.backend.observe().ok()?;
        let now = clock::boot();
        // What the kernel holds is what this agent believes, or nothing that has a name.
        let holds = self.holds(observed.as_ref());
        let counters = self.backend.counters().unwrap_or_default();
        let total = counters.total();
        Some(Standing {
            state: geofilter_core::apply::state(observed.as_ref(), now),
            policy: match holds {
                true => digest(&self.machine.current(now).policy),
                false => String::new(),
            },
            confirmed: self.remaining(now).is_none(),
            dropped: total.dropped.packets,
            passed: total.passed.packets,
        })
    }
}

/// A change that makes this policy, whatever was before. Its ports, and countries that hold for a while, are the host's own.
fn whole(policy: &Policy) -> Change {
    Change {
        unknown: Some(policy.unknown),
        hosting: Some(policy.hosting),
        disputed: Some(policy.disputed),
        ..Change::new(policy.mode, policy.countries)
    }
}

/// Milliseconds since 1970.
fn now() -> i64 {
    i64::try_from(clock::wall().as_millis()).unwrap_or(i64::MAX)
}
