//! What the engine does about exemptions, bans and peers: the requests, and what comes due by itself.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use geofilter_core::book::{
    Answer, Cover, Edit, HostName, Kind, Note, Origin, Record, Resolution, Target, UnixTime,
};
use geofilter_core::counters::Reason;
use geofilter_core::decide::{Timed, is_global};
use geofilter_core::desired::Desired;
use geofilter_core::wire::{
    Because, Failure, FailureKind, Noted, PeerReport, Peers, Protected, RecordReport, Records,
    Reply,
};

use super::engine::{Engine, describe};
use super::{clock, ledger, records};
use crate::cli::{failed, invalid};

/// How often what has ended is let go, and the wall clock looked at.
const TIDY: Duration = Duration::from_secs(1);
/// So many bans are looked at for whether somebody protected is among them.
const LOOKED_AT: usize = 100;

impl Engine {
    pub(super) fn list(&self, kind: Kind, targets: &[String]) -> Result<Reply, Failure> {
        let targets = parse(targets, kind)?;
        let now = ledger::unix_now();
        let book = &self.ledger.book;
        let holds = |record: &&Record| record.holds(now);
        let report = |record: &Record| records::report(record, book, now);
        let records: Vec<RecordReport> = match targets.as_slice() {
            [] => book.records(kind).filter(holds).map(report).collect(),
            some => {
                let named = some.iter().flat_map(|target| book.records_for(kind, target));
                named.filter(holds).map(report).collect()
            }
        };
        Ok(Reply::Records(Records { kind, records }))
    }

    pub(super) fn add(
        &mut self,
        kind: Kind,
        targets: &[String],
        seconds: Option<u64>,
        note: String,
        origin: Origin,
    ) -> Result<Reply, Failure> {
        let targets = parse(targets, kind)?;
        let note = Note::try_from(note).map_err(|error| invalid(error.to_string()))?;
        let added = ledger::unix_now();
        let until = seconds.map(|seconds| added.plus(seconds));
        let record = |target: &Target| Record {
            target: target.clone(),
            origin,
            until,
            note: note.clone(),
            added,
        };
        if (kind, origin) == (Kind::Exemption, Origin::Operator) {
            self.check_limits(&targets)?;
        }
        let put = |target| Edit::Put { kind, record: record(target) };
        self.change(targets.iter().map(put).collect())?;
        for name in targets.iter().flat_map(Target::names) {
            self.ledger.names.ask(name.clone());
        }
        // What is for ever is for those who live here, and what is wide too.
        if let (Kind::Ban, Origin::Operator, Some(_)) = (kind, origin, until) {
            targets
                .iter()
                .for_each(|target| self.share_ban(target, until, true, "an administrator"));
        }
        let mut warnings = match (kind, origin) {
            (Kind::Ban, Origin::Operator) => self.in_vain(&targets),
            (Kind::Exemption | Kind::Ban, _) => Vec::new(),
        };
        warnings.extend(targets.iter().filter_map(|target| self.is_nobody(target)));
        warnings.extend(self.not_in_force());
        let added = targets.iter().map(ToString::to_string).collect();
        Ok(Reply::Noted(Noted { added, removed: Vec::new(), warnings }))
    }

    /// Whether the portal of this host lets its operators exempt these too.
    fn check_limits(&self, targets: &[Target]) -> Result<(), Failure> {
        let limits = self.fleet.limits();
        let exempt: BTreeSet<&Target> = self
            .ledger
            .book
            .records(Kind::Exemption)
            .filter(|record| record.origin == Origin::Operator)
            .map(|record| &record.target)
            .collect();
        let new = targets.iter().filter(|target| !exempt.contains(target));
        for (more, target) in new.enumerate() {
            let allowed = limits.check(target, exempt.len() + more);
            allowed.map_err(|exceeded| {
                Failure::new(FailureKind::Unfit, format!("{target} is not exempt: {exceeded}"))
            })?;
        }
        Ok(())
    }

    pub(super) fn remove(
        &mut self,
        kind: Kind,
        targets: &[String],
        origin: Option<Origin>,
    ) -> Result<Reply, Failure> {
        let targets = parse(targets, kind)?;
        let (mut edits, mut noted, mut ended) = (Vec::new(), Noted::default(), Vec::new());
        for target in &targets {
            let removal = self.ledger.book.removal(kind, target, origin);
            if kind == Kind::Ban && origin.is_none() {
                let records = self.ledger.book.records_for(kind, target);
                let last = records.map(|record| record.until).max_by_key(|it| (it.is_none(), *it));
                ended.extend(last.map(|last| (target.clone(), last)));
            }
            match removal.is_empty() {
                true => noted.warnings.push(format!("{target} was not {}", is(kind))),
                false => noted.removed.push(target.to_string()),
            }
            edits.extend(removal);
        }
        self.change(edits)?;
        self.decline_bans(&ended);
        noted.warnings.extend(self.not_in_force());
        Ok(Reply::Noted(noted))
    }

    /// Makes a change of the book, or none of it.
    pub(super) fn change(&mut self, edits: Vec<Edit>) -> Result<(), Failure> {
        if edits.is_empty() {
            return Ok(());
        }
        let Self { ledger, backend, machine, geo, .. } = self;
        let backend = machine.attached().then_some(backend.as_mut());
        ledger.change(edits, backend, geo).map_err(|refused| failed(refused.to_string()))
    }

    pub(super) fn protected(&mut self, address: IpAddr) -> Reply {
        let because = self.because(address);
        Reply::Protected(Protected { address, protected: !because.is_empty(), because })
    }

    /// Why an address must not be banned by itself, if it must not.
    pub(super) fn reason_to_spare(&mut self, address: IpAddr) -> Option<String> {
        self.because(address).into_iter().next().map(|because| because.said)
    }

    fn because(&mut self, address: IpAddr) -> Vec<Because> {
        let mut because = Vec::new();
        if !is_global(address) {
            let said =
                "it is no address of the internet, so it is a local one or forged".to_owned();
            because.push(Because { reason: Reason::Local, said });
        }
        let now = ledger::unix_now();
        let covers = self.covers(address, now);
        let exempt = covers.iter().filter(|cover| cover.kind == Kind::Exemption);
        because.extend(exempt.map(|cover| {
            let said = format!("it is exempt: {}", records::describe(cover, address));
            Because { reason: Reason::Exemption, said }
        }));
        because.extend(self.live_peers(&mut Vec::new()).into_iter().filter_map(|peer| {
            let said = format!("it is a peer: the PBX sent a request to {}", peer.value);
            (peer.value.ip() == address).then_some(Because { reason: Reason::Peer, said })
        }));
        because.extend(
            self.ear
                .protects(address)
                .map(|said| Because { reason: Reason::Peer, said: said.to_owned() }),
        );
        because
    }

    pub(super) fn peers(&mut self) -> Result<Reply, Failure> {
        let mut warnings = Vec::new();
        let mut peers = self.live_peers(&mut warnings);
        if let Some(warning) = warnings.pop() {
            return Err(failed(warning));
        }
        peers.sort_by_key(|peer| peer.value);
        let peers = peers.iter().map(peer_report).collect();
        Ok(Reply::Peers(Peers { peers }))
    }

    pub(super) fn remove_peer(&mut self, peer: SocketAddr) -> Result<Reply, Failure> {
        let was = match self.machine.attached() {
            true => self.backend.remove_peer(peer).map_err(|error| failed(describe(error)))?,
            false => false,
        };
        let mut noted = Noted::default();
        match was {
            true => noted.removed.push(peer.to_string()),
            false => noted.warnings.push(format!("{peer} was no peer")),
        }
        Ok(Reply::Noted(noted))
    }

    /// The peers that have not ended.
    pub(super) fn live_peers(&mut self, warnings: &mut Vec<String>) -> Vec<Timed<SocketAddr>> {
        if !self.machine.attached() {
            return Vec::new();
        }
        let now = clock::boot();
        match self.backend.peers() {
            Ok(peers) => peers.into_iter().filter(|peer| peer.holds(now)).collect(),
            Err(error) => {
                warnings.push(format!("cannot read the peers: {error}"));
                Vec::new()
            }
        }
    }

    /// The records that cover an address, longest first.
    pub(super) fn covers(&self, address: IpAddr, now: UnixTime) -> Vec<Cover<'_>> {
        let systems = ledger::systems_for(&self.ledger.book, &self.geo);
        let announced_by = systems.and_then(|systems| systems.lookup(address));
        self.ledger.book.covering(address, announced_by.map(|by| by.number), now)
    }

    /// Attaches by the book as it is now.
    pub(super) fn attach(&mut self, desired: &Desired) -> Result<(), String> {
        self.listen_to_the_pbx();
        let Self { ledger, backend, geo, .. } = self;
        ledger.renew(geo).map_err(|error| {
            format!("the exemptions and bans do not fit into the data plane: {error}")
        })?;
        backend.attach(geo.world(), ledger.table(), desired, ledger.clock()).map_err(describe)?;
        self.tell_who_is_known();
        let remembered = self.remember_interfaces(self.settings.awaited.names.clone());
        self.note_files(remembered);
        Ok(())
    }

    /// What is due: names that have answered, records that have ended, a wall clock that was set.
    pub(super) fn look_after_overrides(&mut self) {
        let answers = self.ledger.names.answers();
        if !answers.is_empty() {
            self.take_answers(&answers);
        }
        if self.ledger.tidied.elapsed() < TIDY {
            return;
        }
        let Self { ledger, backend, machine, geo, .. } = self;
        let backend = machine.attached().then_some(backend.as_mut());
        let clock = ledger.clock();
        if let Err(refused) = ledger.tidy(backend, geo) {
            self.note_trouble(format!("cannot tidy the exemptions and bans: {refused}"));
        }
        if self.ledger.clock() != clock {
            self.reckon_anew();
        }
    }

    /// The wall clock was set: the times of countries are other ones in the kernel.
    fn reckon_anew(&mut self) {
        let Some(desired) = self.machine.desired() else { return };
        tracing::info!("the wall clock was set: what ends by the calendar is reckoned anew");
        if let Err(error) = self.backend.apply(&desired, self.ledger.clock()) {
            self.note_trouble(format!("cannot follow the wall clock: {}", describe(error)));
        }
    }

    fn take_answers(&mut self, answers: &[(HostName, Answer)]) {
        let now = ledger::unix_now();
        let book = &mut self.ledger.book;
        let wanted = book.wanted_names();
        let mut edits = Vec::new();
        for (name, answer) in answers.iter().filter(|(name, _)| wanted.contains(name)) {
            tracing::debug!(%name, ?answer, "a name has answered");
            let known = book.resolution(name);
            let resolution = known.unwrap_or(&Resolution::default()).after(answer, now);
            let same = known.is_some_and(|known| known.says_the_same(&resolution));
            let edit = Edit::Resolve { name: name.clone(), resolution };
            match same {
                // Only its time is new.
                true => book.replay(vec![edit]),
                false => edits.push(edit),
            }
        }
        if edits.is_empty() {
            return;
        }
        let Self { ledger, backend, machine, geo, .. } = self;
        let backend = machine.attached().then_some(backend.as_mut());
        if let Err(refused) = ledger.resolve(edits, backend, geo) {
            self.note_trouble(format!("cannot follow the names that are exempt: {refused}"));
        }
    }

    /// Bans that drop nothing now, since exemptions and peers come first.
    fn in_vain(&mut self, bans: &[Target]) -> Vec<String> {
        let now = ledger::unix_now();
        let peers = self.live_peers(&mut Vec::new());
        let mut warnings = Vec::new();
        for target in bans.iter().take(LOOKED_AT) {
            let Some(prefix) = target.prefix() else { continue };
            // To ask who exempts it takes much longer than to ask whether it is exempt.
            let covers = match self.ledger.exempts(prefix.addr()) {
                true => self.covers(prefix.addr(), now),
                false => Vec::new(),
            };
            if let Some(cover) = covers.iter().find(|cover| cover.kind == Kind::Exemption) {
                let by = records::describe(cover, prefix.addr());
                warnings.push(format!("{target} is exempt, so this ban has no effect now: {by}"));
            }
            if let Some(peer) = peers.iter().find(|peer| prefix.contains(&peer.value.ip())) {
                warnings.push(format!(
                    "{} is a peer, so this ban does not reach it now: the PBX itself sent it a request",
                    peer.value
                ));
            }
        }
        warnings
    }

    /// An AS without space.
    fn is_nobody(&self, target: &Target) -> Option<String> {
        let Target::System(number) = target else { return None };
        let systems = self.geo.systems()?;
        let none = systems.ranges_v4(*number).is_empty() && systems.ranges_v6(*number).is_empty();
        none.then(|| {
            format!("{target} announces nothing, by the data in use, so this stands for nobody")
        })
    }

    pub(super) fn not_in_force(&self) -> Option<String> {
        let lost = self.machine.policy_lost() && !self.machine.attached();
        lost.then(|| {
            "this is saved, and in force once you choose a policy with `allow` or `block`: the kernel holds one that this agent does not know".to_owned()
        })
    }
}

/// A peer as it is told of.
pub(super) fn peer_report(peer: &Timed<SocketAddr>) -> PeerReport {
    let now = clock::boot();
    let left = peer.until.map(|until| until.0.saturating_sub(now.0).div_ceil(1_000_000_000));
    let until = peer.until.map(|until| records::rfc3339(ledger::now().wall(until)));
    PeerReport { peer: peer.value, until, remaining: left }
}

fn parse(targets: &[String], kind: Kind) -> Result<Vec<Target>, Failure> {
    let parsed = targets.iter().map(|text| Target::parse(text, kind)).collect::<Result<_, _>>();
    parsed.map_err(|error| invalid(error.to_string()))
}

fn is(kind: Kind) -> &'static str {
    match kind {
        Kind::Exemption => "exempt",
        Kind::Ban => "banned",
    }
}

#[cfg(test)]
mod tests;
