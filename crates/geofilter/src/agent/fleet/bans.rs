//! [`Sharing`]: what the agent does about the bans that hosts share. It tells the portal which were made here, and whom this host protects;
//! what it hears of others' it takes as bans of an origin of their own, but for those who are protected here and those that somebody here ended.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use geofilter_core::book::{
    Book, Edit, Kind, MAX_ADDRESS_BANS, MAX_OTHERS, Note, Origin, Record, Target, UnixTime,
};
use geofilter_core::wire::Failure;
use geofilter_fleet::Said;
use geofilter_fleet::bans::{
    LONGEST_PROVEN, MADE, MadeBan, OfBans, Part, Prefixes, Protected, SHARED, SharedBan,
    SharedBans, is_single,
};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::super::engine::Engine;
use super::super::ledger;
use super::super::upkeep::Trouble;
use super::SCHEMA;
use crate::files::{Loaded, read_whole};
use crate::fleet::Tell;

const FILE: &str = "bans.json";
/// What is said of bans has a number like this and more, which no step of time has.
const NUMBERS: u64 = 1 << 63;
/// Bans that wait to be said at most. Those that wait longest go first: they end first.
const UNSAID: usize = 256;
/// Bans that somebody here ended at most.
const DECLINED: usize = 10_000;
/// How soon it is said again what the portal has not written down.
const AGAIN: Duration = Duration::from_secs(10);
/// How often it is looked at whom this host protects, and how soon it is said that it protects somebody no more.
const LOOK: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(60);
/// Room that bans of others leave to this host's own.
const LEFT: usize = 10_000;
const LEFT_OF_OTHERS: usize = 2_000;
/// A ban that is ended so many seconds before its end ended by itself: clocks are not of one mind.
const BY_ITSELF: u64 = 5;

/// What is kept, as a restart of the agent changes nothing of it.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Kept {
    schema: u32,
    /// Bans that the portal has not written down yet, the oldest first.
    made: VecDeque<MadeBan>,
    /// Whom somebody here set free, and until when.
    declined: BTreeMap<IpNet, UnixTime>,
}

/// What was said and may be written down.
struct Pending {
    number: u64,
    made: Vec<MadeBan>,
    protects: Option<Protected>,
    at: Instant,
}

/// See the module.
#[derive(Default)]
pub(super) struct Sharing {
    kept: Kept,
    pending: Option<Pending>,
    /// How often something was said.
    serial: u64,
    /// Whom this host protects, and what of that it can keep from all.
    protects: Prefixes,
    keeps: Protected,
    /// What the portal knows of that, and since when.
    told: Option<(Protected, Instant)>,
    looked: Option<Instant>,
    /// A ban that may not be is still there.
    has_failed: bool,
    /// Lines of all there is, until the last of them came.
    gathered: Option<BTreeMap<IpNet, SharedBan>>,
    /// Bans for which there was no room.
    waiting: BTreeMap<IpNet, SharedBan>,
    pub(super) trouble: Trouble,
}

impl Sharing {
    pub(super) fn open(dir: &Path, warnings: &mut Vec<String>) -> Self {
        let kept = match read_whole::<Kept>(dir, FILE, SCHEMA) {
            Ok(Loaded::State(kept)) => kept,
            Ok(Loaded::Nothing) => Kept::default(),
            Ok(Loaded::Corrupt { .. }) | Err(_) => {
                warnings.push("which of the fleet's bans were ended here is not known: they come back until they end".to_owned());
                Kept::default()
            }
        };
        Self { kept, ..Self::default() }
    }

    /// The portal is heard anew: it is told all of it.
    pub(super) fn begin(&mut self) {
        (self.pending, self.told, self.gathered) = (None, None, None);
    }

    /// What was said by this number is written down. Whether something is not to be said again.
    pub(super) fn noted(&mut self, number: u64) -> bool {
        let Some(pending) = self.pending.take_if(|pending| pending.number == number) else {
            return false;
        };
        if let Some(protects) = pending.protects {
            self.told = Some((protects, Instant::now()));
        }
        self.kept.made.retain(|made| !pending.made.contains(made));
        !pending.made.is_empty()
    }

    /// Whether a number is one of what is said here.
    pub(super) fn is_of(number: u64) -> bool {
        number >= NUMBERS
    }

    fn make(&mut self, made: MadeBan) {
        self.kept.made.retain(|other| other.target != made.target);
        self.kept.made.push_back(made);
        let over = self.kept.made.len().saturating_sub(UNSAID);
        self.kept.made.drain(..over);
    }

    /// What there is to be said now.
    fn next(&self) -> OfBans {
        if self.pending.as_ref().is_some_and(|pending| pending.at.elapsed() < AGAIN) {
            return OfBans::default();
        }
        let protects = &self.keeps;
        let is_due = self.told.as_ref().is_none_or(|(told, at)| {
            let known: BTreeSet<&IpNet> = told.prefixes.iter().collect();
            let is_more = protects.prefixes.iter().any(|prefix| !known.contains(prefix));
            let is_more = is_more || protects.left_out > told.left_out;
            is_more || told != protects && at.elapsed() >= PATIENCE
        });
        // Before it is known whom this host protects there is nothing to say.
        let is_known = self.looked.is_some();
        OfBans {
            made: self.kept.made.iter().filter(|_| is_known).take(MADE).cloned().collect(),
            protects: Some(protects.clone()).filter(|_| is_known && is_due),
        }
    }

    /// What is said, with its number.
    fn say(&mut self, bans: OfBans) -> Said {
        self.serial += 1;
        let number = NUMBERS + self.serial;
        let OfBans { made, protects } = bans.clone();
        self.pending = Some(Pending { number, made, protects, at: Instant::now() });
        Said { number, bans, ..Said::default() }
    }

    fn is_declined(&self, target: IpNet, now: UnixTime) -> bool {
        self.kept.declined.get(&target).is_some_and(|until| now < *until)
    }
}

impl Engine {
    /// Somebody was banned here, which the other hosts are to know.
    pub(in super::super) fn share_ban(
        &mut self,
        target: &Target,
        until: Option<UnixTime>,
        proven: bool,
        why: &str,
    ) {
        let target = target.prefix().filter(|prefix| is_single(*prefix));
        let Some(target) = target.filter(|_| self.fleet.is_member() && self.settings.shares_bans)
        else {
            return;
        };
        let until = until.unwrap_or_else(|| ledger::unix_now().plus(LONGEST_PROVEN)).0;
        self.fleet.bans.make(MadeBan { target, until, proven, why: why.to_owned() });
        self.keep_bans();
    }

    /// Somebody here set these free who were banned: what the fleet shares does not ban them again before that was to end.
    pub(in super::super) fn decline_bans(&mut self, bans: &[(Target, Option<UnixTime>)]) {
        if !self.fleet.is_member() {
            return;
        }
        let now = ledger::unix_now();
        let latest = now.plus(LONGEST_PROVEN);
        let declined = &mut self.fleet.bans.kept.declined;
        declined.retain(|_, until| now < *until);
        let before = declined.len();
        for (target, until) in bans {
            let until = until.map_or(latest, |until| until.min(latest));
            let target = target.prefix().filter(|prefix| is_single(*prefix));
            if let Some(target) = target.filter(|_| until.0 > now.0 + BY_ITSELF)
                && declined.len() < DECLINED
            {
                declined.insert(target, until);
                self.fleet.bans.waiting.remove(&target);
            }
        }
        if self.fleet.bans.kept.declined.len() != before {
            self.keep_bans();
        }
    }

    /// Has none of the fleet's bans any more.
    fn drop_shared_bans(&mut self) -> Result<(), Failure> {
        self.fleet.bans.waiting.clear();
        let all = shared(&self.ledger.book).collect();
        self.end_shared(all)
    }

    /// Forgets all of it, with what was to be said.
    pub(super) fn forget_bans(&mut self) -> Result<(), Failure> {
        self.drop_shared_bans()?;
        self.fleet.remove(FILE)
    }

    fn end_shared(&mut self, targets: Vec<Target>) -> Result<(), Failure> {
        let book = &self.ledger.book;
        let removal = |target| book.removal(Kind::Ban, &target, Some(Origin::Fleet));
        self.change(targets.into_iter().flat_map(removal).collect())
    }

    pub(super) fn keep_bans(&mut self) {
        self.fleet.bans.kept.schema = SCHEMA;
        if let Err(error) = self.fleet.write(FILE, &self.fleet.bans.kept) {
            tracing::warn!(%error, "what is to be said of this host's bans could not be saved: a restart of the agent would forget it");
        }
    }

    /// Looks whom this host protects, and says what there is to say.
    pub(super) fn look_after_bans(&mut self) {
        if !self.fleet.is_member() {
            return;
        }
        if self.fleet.bans.looked.is_none_or(|looked| looked.elapsed() >= LOOK) {
            self.look_whom_it_protects();
        }
        if !self.fleet.is_connected {
            return;
        }
        let next = self.fleet.bans.next();
        if next.is_empty() {
            return;
        }
        let report = self.report_to_fleet();
        let said = Said { report, ..self.fleet.bans.say(next) };
        self.fleet.tell(&Tell::Report { said: Box::new(said) });
    }

    fn look_whom_it_protects(&mut self) {
        let is_first = self.fleet.bans.looked.replace(Instant::now()).is_none();
        let all = self.whom_it_protects();
        let protects = Prefixes::of(all.iter().copied());
        let is_new = is_first || protects != self.fleet.bans.protects;
        self.fleet.bans.protects = protects;
        // What is narrow is kept from all beside what is too wide for that, although it is in it.
        self.fleet.bans.keeps = Protected::of(all);
        if is_new || self.fleet.bans.has_failed || !self.settings.shares_bans {
            self.end_what_may_not_be();
        }
        if !self.fleet.bans.waiting.is_empty() {
            let waiting = std::mem::take(&mut self.fleet.bans.waiting);
            self.have(waiting, Vec::new());
        }
    }

    /// Ends what the fleet shares of whom this host protects, or all of it if it has no part in that.
    fn end_what_may_not_be(&mut self) {
        let protects = &self.fleet.bans.protects;
        let is_out = |target: &Target| {
            !self.settings.shares_bans
                || target.prefix().is_none_or(|prefix| protects.overlap(prefix))
        };
        let out: Vec<Target> = shared(&self.ledger.book).filter(is_out).collect();
        let ended = self.end_shared(out).map_err(|failure| not_ended(&failure));
        let bans = &mut self.fleet.bans;
        if ended.is_err() || bans.has_failed {
            bans.has_failed = ended.is_err();
            bans.trouble.take(ended);
        }
    }

    /// Whom no ban of others is for.
    fn whom_it_protects(&mut self) -> Vec<IpNet> {
        let now = ledger::unix_now();
        let systems = ledger::systems_for(&self.ledger.book, &self.geo);
        let exempt = self.ledger.book.exempt(systems, now);
        let peers = self.live_peers(&mut Vec::new()).into_iter().map(|peer| peer.value.ip());
        let peers: Vec<_> = peers.collect();
        let trusted = self.ear.trusted();
        let trunks = trusted.into_iter().flat_map(|it| it.trunks.iter().map(SocketAddr::ip));
        let registered = trusted.into_iter().flat_map(|it| it.registered.iter().copied());
        let single = peers.into_iter().chain(trunks).chain(registered);
        exempt.into_iter().chain(single.map(|one| IpNet::from(one.to_canonical()))).collect()
    }

    /// Takes what the portal says of bans.
    pub(super) fn take_bans(&mut self, bans: SharedBans) {
        if !self.settings.shares_bans {
            return;
        }
        let now = ledger::unix_now().0;
        let SharedBans { part, put, withdrawn } = bans;
        let put = put.into_iter().filter_map(|ban| ban.tidy(now)).map(|ban| (ban.target, ban));
        let all = match part {
            Part::Change => {
                self.fleet.bans.gathered = None;
                return self.have(put.collect(), withdrawn);
            }
            Part::First | Part::Whole => self.fleet.bans.gathered.insert(BTreeMap::new()),
            // Its beginning was not heard.
            Part::Next | Part::Last => match &mut self.fleet.bans.gathered {
                Some(all) => all,
                None => return,
            },
        };
        all.extend(put.take(SHARED.saturating_sub(all.len())));
        if let Part::Whole | Part::Last = part {
            let all = self.fleet.bans.gathered.take().unwrap_or_default();
            let is_gone = |target: &IpNet| !all.contains_key(target);
            let here = shared(&self.ledger.book).filter_map(|target| target.prefix());
            let gone = here.filter(is_gone).collect();
            self.fleet.bans.waiting.clear();
            self.have(all, gone);
        }
    }

    /// Has these of the fleet's bans, and those no more.
    fn have(&mut self, put: BTreeMap<IpNet, SharedBan>, gone: Vec<IpNet>) {
        let protects = Prefixes::of(self.whom_it_protects());
        let now = ledger::unix_now();
        let book = &self.ledger.book;
        let mut edits = Vec::new();
        for target in gone {
            self.fleet.bans.waiting.remove(&target);
            let target = Target::of_prefix(target);
            edits.extend(book.removal(Kind::Ban, &target, Some(Origin::Fleet)));
        }
        let mut room = Room::in_book(book);
        for (prefix, ban) in &put {
            let target = Target::of_prefix(*prefix);
            let known = || book.records_for(Kind::Ban, &target);
            let is_own = |record: &Record| {
                record.origin != Origin::Fleet
                    && record.until.is_none_or(|until| until.0 >= ban.until)
            };
            if ban.until <= now.0
                || protects.overlap(*prefix)
                || self.fleet.bans.is_declined(*prefix, now)
                || known().any(is_own)
            {
                continue;
            }
            let record = record(target.clone(), ban, now);
            let here = known().find(|here| here.origin == Origin::Fleet);
            match here {
                Some(here) if here.until == record.until && here.note == record.note => continue,
                Some(_) => {}
                None if room.take(&target) => {}
                None => {
                    if self.fleet.bans.waiting.len() < SHARED {
                        self.fleet.bans.waiting.insert(*prefix, ban.clone());
                    }
                    continue;
                }
            }
            edits.push(Edit::Put { kind: Kind::Ban, record });
        }
        let changed = edits.len();
        let made = self.change(edits);
        if made.is_err() {
            self.fleet.bans.waiting = put;
        } else if changed > 0 {
            tracing::info!(changed, "bans that the fleet shares are in force, or ended");
        }
        let waiting = self.fleet.bans.waiting.len();
        self.fleet.bans.trouble.take(match (made, waiting) {
            (Ok(()), 0) => Ok(()),
            (Ok(()), _) => Err(format!(
                "bans that the fleet shares are not in force, {waiting} of them: this host has so many of its own that there is no room"
            )),
            (Err(failure), _) => Err(not_ended(&failure)),
        });
    }
}

fn not_ended(failure: &Failure) -> String {
    format!("bans that the fleet shares are not as they should be: {}", failure.message)
}

/// Whom the fleet's bans are for that are here.
fn shared(book: &Book) -> impl Iterator<Item = Target> {
    let of_fleet = |record: &&Record| record.origin == Origin::Fleet;
    book.records(Kind::Ban).filter(of_fleet).map(|record| record.target.clone())
}

fn record(target: Target, ban: &SharedBan, now: UnixTime) -> Record {
    let by = match (ban.proven, ban.hosts) {
        (true, _) => "proven on a host".to_owned(),
        (false, hosts) => format!("made by {hosts} hosts"),
    };
    // What was tidied is one short line.
    let note = Note::try_from(format!("{by}: {}", ban.why)).unwrap_or_default();
    let until = Some(UnixTime(ban.until));
    Record { target, origin: Origin::Fleet, until, note, added: now }
}

/// How many bans of others there is room for.
struct Room {
    addresses: usize,
    others: usize,
}

impl Room {
    fn in_book(book: &Book) -> Self {
        let bans = book.records(Kind::Ban);
        let single = bans.filter(|record| record.target.single().is_some()).count();
        let others = book.records(Kind::Ban).len() - single + book.records(Kind::Exemption).len();
        Self {
            addresses: (MAX_ADDRESS_BANS - LEFT).saturating_sub(single),
            others: (MAX_OTHERS - LEFT_OF_OTHERS).saturating_sub(others),
        }
    }

    fn take(&mut self, target: &Target) -> bool {
        let room = match target.single() {
            Some(_) => &mut self.addresses,
            None => &mut self.others,
        };
        let is_there = *room > 0;
        *room = room.saturating_sub(1);
        is_there
    }
}

#[cfg(test)]
mod tests;
