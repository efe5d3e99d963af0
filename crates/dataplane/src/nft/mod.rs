//! [`Nft`]: the data plane of a host that lets nobody load BPF programs, in one table of nftables. [`script`] is what is
//! written to it and says how a packet goes through it, [`tool`] and [`elements`] how that gets there, [`ruleset`] what is there, and
//! [`samples`] what is known of packets afterwards.
//!
//! It judges as the oracle does, within what nftables can see: docs/nftables.md says where not, and what it costs.

mod elements;
mod log;
mod netfilter;
mod ruleset;
pub(crate) mod samples;
mod script;
mod tool;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use geofilter_core::clock::Clock;
use geofilter_core::counters::{Counters, Outcomes, Reason, Traffic};
use geofilter_core::country::CountryId;
use geofilter_core::decide::{Timed, decide_source};
use geofilter_core::desired::{
    self, Action, Attachment, AttachmentKind, BootTime, Desired, Generation, Observed,
};
use geofilter_core::dropped::{Dropped, next_change};
use geofilter_core::event::DropEvent;
use geofilter_core::overrides::{AddressKey, Spans, Table};
use geofilter_core::seen::Count;
use geofilter_core::world::World;

use crate::netlink::Watch;
use crate::parsers::Listed;
use crate::{Backend, Error, boot_time, fault, interfaces, kernel};
use elements::Elements;
use log::Log;
use ruleset::{Element, Rule};
use samples::{Judged, Samples};
use script::{Bank, Local, Script};

/// The runtime folder of the agent that a host has.
const USUAL: &str = "/run/geofilter";
/// Ranges from which on `nft add element` to any set of the host takes about a second: see docs/nftables.md.
const QUICK: usize = 50_000;
/// The warning of a kernel that logs no packets.
const UNSEEN: &str = "this kernel logs no packets: the attack log, who sends packets and the countries of the figures stay empty";
/// Addresses that are changed in one transaction: a container's socket takes no more.
const AT_ONCE: usize = 128;
/// So many changes of the calendar are in the kernel beforehand, each with sets of its own.
const AHEAD: usize = 2;

/// The nftables data plane.
pub struct Nft {
    names: Vec<String>,
    by_route: bool,
    runtime_dir: PathBuf,
    table: String,
    held: Option<Held>,
}

/// What it holds.
struct Held {
    world: World,
    overrides: Table,
    /// Who is registered, once it is known.
    contacts: Option<HashSet<AddressKey>>,
    desired: Desired,
    clock: Clock,
    active: Bank,
    /// What judges once the deadline of the active one has passed.
    fallback: Option<(Bank, BootTime)>,
    /// What the sets of each number hold.
    dropped: BTreeMap<u64, Dropped>,
    /// The last number that was given to anything.
    serial: u64,
    interfaces: Looked,
    /// When the calendar changes what is dropped.
    next_change: Option<BootTime>,
    /// The number of the ruleset when it was as it should be.
    ruleset: u32,
    /// Nothing of what was in force before is there any more.
    is_clear: bool,
    /// Something about the interfaces has changed since they were looked at.
    is_stale: bool,
    watch: Watch,
    /// Or why this kernel logs no packets.
    samples: io::Result<Samples>,
}

/// What is known of the protected interfaces.
struct Looked {
    /// All of them, with what is local there.
    local: Local,
    /// Those that are there.
    present: Vec<String>,
    /// What keeps them from being protected.
    warnings: Vec<String>,
}

impl Held {
    /// What is in use.
    fn banks(&self) -> impl Iterator<Item = &Bank> {
        [Some(&self.active), self.after().map(|(bank, _)| bank)].into_iter().flatten()
    }

    /// Changes something beside the policy, which need not be read back for that.
    fn quietly(&mut self, change: impl FnOnce() -> Result<(), Error>) -> Result<(), Error> {
        let before = ruleset::generation().map_err(Error::Netlink)?;
        change()?;
        let after = ruleset::generation().map_err(Error::Netlink)?;
        // Nobody else changed anything meanwhile.
        if self.ruleset == before && after == before.wrapping_add(1) {
            self.ruleset = after;
        }
        Ok(())
    }

    fn warnings(&self) -> Vec<String> {
        let unseen = self.samples.as_ref().err().map(|error| format!("{UNSEEN}: {error}"));
        self.interfaces.warnings.iter().cloned().chain(unseen).collect()
    }

    fn after(&self) -> Option<(&Bank, BootTime)> {
        self.fallback.as_ref().map(|(bank, deadline)| (bank, *deadline))
    }
}

/// What the chains in the kernel say.
struct Read {
    active: (u64, Generation, Action),
    fallback: Option<((u64, Generation, Action), BootTime)>,
}

impl Read {
    /// What the rules of the chain say.
    fn of(rules: &[Rule]) -> Option<Self> {
        let mut read: Option<Self> = None;
        let mut on_trial = None;
        for rule in rules {
            let trial = rule.set.as_deref().and_then(script::read_trial);
            let bank = rule.chain.as_deref().and_then(Bank::read);
            match (trial, bank, on_trial) {
                (Some(deadline), Some(active), _) => on_trial = Some((active, deadline)),
                (None, Some(fallback), Some((active, deadline))) => {
                    read = Some(Self { active, fallback: Some((fallback, deadline)) });
                }
                (None, Some(active), None) => read = Some(Self { active, fallback: None }),
                (_, None, _) => {}
            }
        }
        read
    }
}

impl Nft {
    /// A data plane for these interfaces, whether they are there yet or not; where nobody named them also for
    /// what gets a default route later.
    pub fn new(names: Vec<String>, by_route: bool, runtime_dir: &Path) -> Self {
        let runtime_dir = runtime_dir.to_owned();
        Self { names, by_route, table: table_of(&runtime_dir), runtime_dir, held: None }
    }

    fn held_mut(&mut self, operation: &'static str) -> Result<&mut Held, Error> {
        self.held.as_mut().ok_or(Error::NotAttached { operation })
    }

    /// What the chains say, if there are any.
    fn read(&self) -> Result<Option<Read>, Error> {
        let rules = ruleset::rules(&self.table, "arriving").map_err(Error::Netlink)?;
        Ok(Read::of(&rules))
    }

    fn observed_in(&self, read: &Read, names: Vec<String>) -> Observed {
        let attachment = |interface| Attachment { interface, kind: AttachmentKind::Nft };
        let (_, generation, action) = read.active;
        Observed {
            attachments: names.into_iter().map(attachment).collect(),
            active: (generation, action),
            fallback: read
                .fallback
                .map(|((_, generation, action), deadline)| (generation, action, deadline)),
            warnings: self.held.iter().flat_map(Held::warnings).collect(),
        }
    }

    /// The interfaces that the table names.
    fn protected(&self) -> Result<Vec<String>, Error> {
        let elements = ruleset::elements(&self.table, "protected").map_err(Error::Netlink)?;
        Ok(elements.iter().filter_map(|name| name.name().map(str::to_owned)).collect())
    }

    /// Writes the banks of a desired state, sends packets there, and clears away what was there before.
    fn store(&mut self, desired: &Desired, clock: Clock) -> Result<Observed, Error> {
        let table = self.table.clone();
        let held = self.held_mut("apply a policy")?;
        let now = boot_time();
        let mut script = Script::new(&table);
        let mut elements = Elements::of(&table);
        let mut serial = held.serial;
        let mut dropped = held.dropped.clone();
        let mut make = |bank: &desired::Bank, at: BootTime, script: &mut Script<'_>| {
            serial += 1;
            let number = serial;
            let drops =
                over_time(bank, &held.world, at, clock).into_iter().map(|(until, drops)| {
                    // What is there already need not be written again: sets are large.
                    let known = dropped.iter().find(|(_, known)| **known == drops);
                    let sets = known.map(|(number, _)| *number).unwrap_or_else(|| {
                        serial += 1;
                        script.dropped(serial);
                        script::drops(&mut elements, serial, &drops);
                        dropped.insert(serial, drops);
                        serial
                    });
                    (until, sets)
                });
            let made = Bank {
                serial: number,
                generation: bank.generation,
                action: bank.action,
                scope: bank.policy.scope.clone(),
                drops: drops.collect(),
            };
            script.bank(&made);
            made
        };
        let active = make(&desired.active, now, &mut script);
        let fallback = desired.fallback.as_ref().map(|fallback| {
            // It begins then.
            (make(&fallback.bank, now.max(fallback.deadline), &mut script), fallback.deadline)
        });
        // Whatever comes of it, no number is given twice, and what is left over is removed.
        (held.serial, held.is_clear) = (serial, false);
        let after = fallback.as_ref().map(|(bank, deadline)| (bank, *deadline));
        let trial = after.map(|(_, deadline)| (active.trial(deadline), deadline));
        if let Some((trial, _)) = &trial {
            script.trial(trial);
        }
        if trial.is_some() || dropped.len() > held.dropped.len() {
            tool::run_long("write a policy", &script)?;
            script = Script::new(&table);
            elements.commit_in_pieces().map_err(Error::Netlink)?;
        }
        if let Some((trial, deadline)) = trial.filter(|(_, deadline)| *deadline > now) {
            let mut elements = Elements::of(&table);
            script::FAMILIES.iter().for_each(|it| elements.add(&trial, &[*it], Some(deadline)));
            elements.commit().map_err(Error::Netlink)?;
        }
        fault::point("nft-written");
        script.switch(
            if fault::is_asked_for("bank-damaged") { &held.active } else { &active },
            after,
        );
        let applied = tool::run("apply a policy", script.text());
        fault::point("nft-applied");
        let verified = applied.and_then(|()| self.verify(desired));
        let held = self.held_mut("apply a policy")?;
        if verified.is_err() {
            let mut script = Script::new(&table);
            script.switch(&held.active, held.after());
            // What was before is still there, unless nothing is.
            if let Err(error) = tool::run("go back to the policy before", script.text()) {
                tracing::debug!(%error, "it is made anew when that is seen");
            }
            return verified;
        }
        let banks = [Some(&desired.active), desired.fallback.as_ref().map(|it| &it.bank)];
        held.next_change =
            banks.into_iter().flatten().filter_map(|it| next_change(&it.policy, now, clock)).min();
        (held.desired, held.clock) = (desired.clone(), clock);
        (held.active, held.fallback) = (active, fallback);
        let used: Vec<u64> = held.banks().flat_map(Bank::sets).collect();
        held.dropped = dropped;
        held.dropped.retain(|number, _| used.contains(number));
        verified
    }

    /// Removes chains and sets that nothing in use names.
    fn clear(&mut self) -> Result<(), Error> {
        let operation = "clear away what was in force before";
        let table = self.table.clone();
        let held = self.held_mut(operation)?;
        let (chains, sets) = (ruleset::chains(&table), ruleset::sets(&table));
        let mut kept: BTreeSet<String> = held.banks().flat_map(Bank::chains).collect();
        kept.extend(held.banks().flat_map(Bank::sets).flat_map(script::drop_sets));
        kept.extend(held.after().map(|(_, deadline)| held.active.trial(deadline)));
        let unused = |mut names: Vec<String>, prefixes: [&str; 3]| {
            names.retain(|name| prefixes.iter().any(|prefix| name.starts_with(prefix)));
            names.retain(|name| !kept.contains(name));
            names
        };
        let chains = unused(chains.map_err(Error::Netlink)?, ["bank_", "judge_", "learn_"]);
        let sets = unused(sets.map_err(Error::Netlink)?, ["drop4_", "drop6_", "trial_"]);
        if !chains.is_empty() || !sets.is_empty() {
            self.change(operation, |script| script.clear(&chains, &sets))?;
        }
        self.held_mut(operation)?.is_clear = true;
        fault::point("nft-cleared");
        Ok(())
    }

    /// Changes something beside the policy.
    fn change(
        &mut self,
        operation: &'static str,
        write: impl FnOnce(&mut Script<'_>),
    ) -> Result<(), Error> {
        let table = self.table.clone();
        let held = self.held_mut(operation)?;
        let mut script = Script::new(&table);
        write(&mut script);
        held.quietly(|| tool::run_long(operation, &script))
    }

    /// Reads the counters, and then what was logged.
    fn take_samples(
        &mut self,
        operation: &'static str,
    ) -> Result<BTreeMap<String, Traffic>, Error> {
        let table = self.table.clone();
        let held = self.held_mut(operation)?;
        let counted = ruleset::counters(&table).map_err(Error::Netlink)?;
        let now = boot_time();
        let judging = match &held.desired.fallback {
            Some(fallback) if fallback.deadline <= now => &fallback.bank,
            _ => &held.desired.active,
        };
        if let Ok(samples) = &mut held.samples {
            let (policy, world) = (&judging.policy, &held.world);
            let judge = |source| {
                let decision = decide_source(source, policy, world);
                let country = decision.entry.map_or(CountryId::UNKNOWN, |entry| entry.primary);
                Judged { country, reason: decision.reason }
            };
            let taken = samples.take(&counted, (now, judging.generation), judge);
            taken.map_err(Error::Netlink)?;
        }
        Ok(counted)
    }

    fn verify(&mut self, desired: &Desired) -> Result<Observed, Error> {
        let operation = "read back the policy";
        let names = self.held_mut(operation)?.interfaces.present.clone();
        let ruleset = ruleset::generation().map_err(Error::Netlink)?;
        let read = self.read()?.ok_or(Error::NotAttached { operation })?;
        let observed = self.observed_in(&read, names);
        if !observed.holds(desired) {
            return Err(Error::Differs { observed: Box::new(observed) });
        }
        self.held_mut(operation)?.ruleset = ruleset;
        Ok(observed)
    }

    /// Looks at the protected interfaces. One that is not there yet is protected when it comes.
    fn look_at_interfaces(&self, before: &[String]) -> Result<Looked, Error> {
        // Some may be known in both ways.
        let names: BTreeSet<String> = match self.by_route {
            false => self.names.iter().cloned().collect(),
            // What has a default route now, and what had one before.
            true => {
                let before = &[&self.names, before].concat();
                let known = interfaces::Known { named: &[], held: &[], before };
                let interfaces::Found { present, absent } = known.find()?;
                present.into_iter().map(|it| it.name).chain(absent).collect()
            }
        };
        let all = interfaces::all()?;
        let find = |name: &String| all.iter().find(|it| it.name == *name);
        let mut warnings = Vec::new();
        if names.iter().all(|name| find(name).is_none()) {
            let names = Vec::from_iter(names.iter().map(String::as_str)).join(" ");
            warnings.push(format!("nothing is protected until it is there: {names}"));
        }
        for port in names.iter().filter_map(find).filter(|it| it.enslaved) {
            warnings.push(format!(
                "nftables does not see what comes in by {}, which is a port of a bridge or a bond: protect that instead",
                port.name
            ));
        }
        let local = |name: &String| find(name).map(|it| it.local).unwrap_or_default();
        Ok(Looked {
            local: names.iter().map(|name| (name.clone(), local(name))).collect(),
            present: names.iter().filter(|name| find(name).is_some()).cloned().collect(),
            warnings,
        })
    }

    /// Writes everything anew where somebody has taken it away.
    fn rebuild(&mut self) -> Result<(), Error> {
        let table = self.table.clone();
        let held = self.held_mut("put the filter back")?;
        let mut script = Script::new(&table);
        script.frame(held.samples.as_ref().ok().map(Samples::group));
        script.interfaces(&held.interfaces.local);
        script.overrides(&held.overrides, boot_time());
        script.contacts(held.contacts.iter().flatten());
        tool::run_long("put the filter back", &script)?;
        let counted = ruleset::counters(&table).map_err(Error::Netlink)?;
        held.samples.iter_mut().for_each(|samples| samples.begin(&counted));
        held.dropped.clear();
        let (desired, clock) = (held.desired.clone(), held.clock);
        self.store(&desired, clock).map(drop)
    }
}

impl Backend for Nft {
    fn attach(
        &mut self,
        world: &World,
        overrides: &Table,
        desired: &Desired,
        clock: Clock,
    ) -> Result<Observed, Error> {
        fault::point("attach-start");
        let before = self.read()?;
        let names = before.as_ref().map_or_else(|| Ok(Vec::new()), |_| self.protected())?;
        let interfaces = self.look_at_interfaces(&names)?;
        let log = Log::open();
        let mut script = Script::new(&self.table);
        script.frame(log.as_ref().ok().map(Log::group));
        script.interfaces(&interfaces.local);
        script.overrides(overrides, boot_time());
        tool::run_long("make a table", &script)?;
        fault::point("attach-filled");
        let counted = ruleset::counters(&self.table).map_err(Error::Netlink)?;
        // Whatever an earlier agent named has a lower number.
        let numbers = |read: &Read| {
            let fallback = read.fallback.map_or(0, |((serial, ..), _)| serial);
            read.active.0.max(fallback)
        };
        let serial = before.as_ref().map_or(0, numbers).max(boot_time().0);
        let none = Bank {
            serial,
            generation: desired.active.generation,
            action: Action::Pass,
            scope: desired.active.policy.scope.clone(),
            drops: Vec::new(),
        };
        self.held = Some(Held {
            world: world.clone(),
            overrides: overrides.clone(),
            contacts: None,
            desired: desired.clone(),
            clock,
            active: none,
            fallback: None,
            dropped: BTreeMap::new(),
            serial,
            interfaces,
            next_change: None,
            ruleset: 0,
            is_clear: false,
            is_stale: false,
            watch: Watch::new().map_err(Error::Netlink)?,
            samples: log.map(|log| Samples::new(log, &counted)),
        });
        let stored = self.store(desired, clock);
        if stored.is_err() {
            self.held = None;
            if before.is_none() {
                self.detach()?;
            }
        }
        if stored.is_ok() {
            kernel::leave(&self.runtime_dir)?;
        }
        fault::point("attach-done");
        stored
    }

    fn apply(&mut self, desired: &Desired, clock: Clock) -> Result<Observed, Error> {
        self.store(desired, clock)
    }

    fn swap_world(&mut self, world: &World) -> Result<(), Error> {
        let held = self.held_mut("swap the world table")?;
        let before = std::mem::replace(&mut held.world, world.clone());
        let (desired, clock) = (held.desired.clone(), held.clock);
        let stored = self.store(&desired, clock);
        if stored.is_err() {
            self.held_mut("go back to the world table before")?.world = before;
        }
        stored.map(drop)
    }

    fn set_overrides(&mut self, overrides: &Table) -> Result<(), Error> {
        let operation = "set the overrides";
        self.change(operation, |script| script.overrides(overrides, boot_time()))?;
        self.held_mut(operation)?.overrides = overrides.clone();
        Ok(())
    }

    fn set_addresses(&mut self, changes: &[(AddressKey, Spans)]) -> Result<(), Error> {
        let table = self.table.clone();
        let held = self.held_mut("set addresses")?;
        for chunk in changes.chunks(AT_ONCE) {
            let mut elements = Elements::of(&table);
            for (key, spans) in chunk {
                script::address(&mut elements, *key, *spans, boot_time());
            }
            held.quietly(|| elements.commit().map_err(Error::Netlink))?;
            chunk.iter().for_each(|(key, spans)| held.overrides.set(*key, *spans));
        }
        Ok(())
    }

    fn set_contacts(&mut self, contacts: &HashSet<AddressKey>) -> Result<(), Error> {
        let operation = "set the contacts";
        if self.held_mut(operation)?.contacts.as_ref() != Some(contacts) {
            self.change(operation, |script| script.contacts(contacts.iter()))?;
            self.held_mut(operation)?.contacts = Some(contacts.clone());
        }
        Ok(())
    }

    fn peers(&mut self) -> Result<Vec<Timed<SocketAddr>>, Error> {
        self.held_mut("read the peers")?;
        let now = boot_time();
        let mut peers = Vec::new();
        for set in ["peers4", "peers6"] {
            let elements = ruleset::elements(&self.table, set).map_err(Error::Netlink)?;
            peers.extend(elements.iter().filter_map(|element| element.peer(now)));
        }
        Ok(peers)
    }

    fn set_peer(&mut self, peer: SocketAddr, until: BootTime) -> Result<(), Error> {
        let left = Duration::from_nanos(until.0.saturating_sub(boot_time().0));
        self.change("make a peer", |script| script.peer(peer, Some(left)))
    }

    fn remove_peer(&mut self, peer: SocketAddr) -> Result<bool, Error> {
        let was = self.peers()?.iter().any(|timed| timed.value == peer);
        if was {
            self.change("remove a peer", |script| script.peer(peer, None))?;
        }
        Ok(was)
    }

    fn observe(&mut self) -> Result<Option<Observed>, Error> {
        if let Some(held) = &self.held
            // What was read back then is what there is.
            && held.ruleset == ruleset::generation().map_err(Error::Netlink)?
        {
            let read = Read {
                active: held.active.tells(),
                fallback: held.after().map(|(bank, deadline)| (bank.tells(), deadline)),
            };
            return Ok(Some(self.observed_in(&read, held.interfaces.present.clone())));
        }
        let Some(read) = self.read()? else { return Ok(None) };
        let names = match &self.held {
            Some(held) => held.interfaces.present.clone(),
            None => self.protected()?,
        };
        Ok(Some(self.observed_in(&read, names)))
    }

    fn mend(&mut self) -> Result<Vec<String>, Error> {
        let operation = "look at what is attached";
        let mut mended = Vec::new();
        let held = self.held_mut(operation)?;
        held.is_stale |= held.watch.changed().map_err(Error::Netlink)?;
        if ruleset::generation().map_err(Error::Netlink)? != held.ruleset {
            let desired = held.desired.clone();
            let names = held.interfaces.present.join(" ");
            if self.verify(&desired).is_err() {
                self.rebuild()?;
                mended.push(format!(
                    "the filter was taken off {names}, and was put back; until then everything passed there"
                ));
            }
        }
        if self.held_mut(operation)?.is_stale {
            let held = self.held_mut(operation)?;
            let before: Vec<String> = held.interfaces.local.keys().cloned().collect();
            let interfaces = self.look_at_interfaces(&before)?;
            if self.held_mut(operation)?.interfaces.local != interfaces.local {
                self.change(operation, |script| script.interfaces(&interfaces.local))?;
            }
            let held = self.held_mut(operation)?;
            (held.interfaces, held.is_stale) = (interfaces, false);
        }
        let held = self.held_mut(operation)?;
        if held.next_change.is_some_and(|next| next <= boot_time()) {
            let (desired, clock) = (held.desired.clone(), held.clock);
            self.store(&desired, clock)?;
        }
        if !self.held_mut(operation)?.is_clear {
            self.clear()?;
        }
        Ok(mended)
    }

    fn counters(&mut self) -> Result<Counters, Error> {
        let operation = "read the counters";
        self.take_samples(operation)?;
        // What was counted until then is shared out now.
        let counted = self.take_samples(operation)?;
        let mut counters = Counters { sampled: true, ..Counters::default() };
        for (name, traffic) in &counted {
            if let Some((reason, outcome)) = counted_as(name) {
                *outcome(&mut counters.by_reason[reason as usize]) += *traffic;
            }
        }
        if let Some(Held { samples: Ok(samples), .. }) = &self.held {
            samples.complete(&counted, &mut counters);
        }
        Ok(counters)
    }

    fn sources(&mut self) -> Result<Vec<Count>, Error> {
        let operation = "read who sends packets";
        self.take_samples(operation)?;
        let samples = self.held_mut(operation)?.samples.as_ref();
        Ok(samples.map(Samples::sources).unwrap_or_default())
    }

    fn drain_events(&mut self, _: BootTime, sink: &mut dyn FnMut(DropEvent)) -> Result<(), Error> {
        let operation = "read the attack log";
        self.take_samples(operation)?;
        let samples = self.held_mut(operation)?.samples.as_mut();
        samples.map(Samples::events).into_iter().flatten().for_each(sink);
        Ok(())
    }

    fn quick_up_to(&self) -> Option<usize> {
        Some(QUICK)
    }

    fn detach(&mut self) -> Result<(), Error> {
        fault::point("detach-start");
        self.held = None;
        if ruleset::has_table(&self.table).map_err(Error::Netlink)? {
            let mut script = Script::new(&self.table);
            script.remove();
            tool::run("remove the table", script.text())?;
        }
        Ok(())
    }
}

/// Removes what an agent with this runtime folder left in nftables, for one that filters in another way now.
///
/// # Errors
/// As [`Backend::detach`].
pub(crate) fn leave(runtime_dir: &Path) -> Result<(), Error> {
    match ruleset::has_table(&table_of(runtime_dir)) {
        Ok(true) => Nft::new(Vec::new(), false, runtime_dir).detach(),
        // A kernel without nftables has no table.
        Ok(false) | Err(_) => Ok(()),
    }
}

/// What a bank drops from a time on, and until which second since 1970; what comes after a few changes of the calendar is
/// for an agent to write.
fn over_time(
    bank: &desired::Bank,
    world: &World,
    from: BootTime,
    clock: Clock,
) -> Vec<(Option<u64>, Dropped)> {
    if bank.action == Action::Pass {
        return vec![(None, Dropped::default())];
    }
    let mut drops = Vec::new();
    let mut at = from;
    while let Some(next) = next_change(&bank.policy, at, clock)
        && drops.len() < AHEAD
    {
        let until = Some(clock.wall(next).0);
        drops.push((until, Dropped::of(&bank.policy, world, at, clock)));
        at = next;
    }
    drops.push((None, Dropped::of(&bank.policy, world, at, clock)));
    drops
}

/// The table of the agent with this runtime folder: the host's own has the plain name.
pub fn table_of(runtime_dir: &Path) -> String {
    if runtime_dir == Path::new(USUAL) {
        return "geofilter".to_owned();
    }
    let mut hasher = DefaultHasher::new();
    runtime_dir.hash(&mut hasher);
    format!("geofilter_{:016x}", hasher.finish())
}

/// What the kernel lists of rules and sets, for [`parsers`](crate::parsers).
pub(crate) fn read(datagram: &[u8], now: BootTime) -> Listed {
    let (rules, elements) = ruleset::read(datagram);
    let banks = Read::of(&rules).map(|Read { active: (_, active, _), fallback }| {
        (active, fallback.map(|((_, generation, _), deadline)| (generation, deadline)))
    });
    Listed { banks, peers: elements.iter().filter_map(|it| Element::peer(it, now)).collect() }
}

/// Where a kind of outcome is counted.
type Of = fn(&mut Outcomes) -> &mut Traffic;

/// What a counter of this name counts.
fn counted_as(name: &str) -> Option<(Reason, Of)> {
    let outcomes: [(&str, Of); 3] = [
        ("pass_", |outcomes| &mut outcomes.passed),
        ("drop_", |outcomes| &mut outcomes.dropped),
        ("would_drop_", |outcomes| &mut outcomes.would_drop),
    ];
    outcomes.into_iter().find_map(|(prefix, outcome)| {
        let reason = match name.strip_prefix(prefix)? {
            "local" => Reason::Local,
            "exemption" => Reason::Exemption,
            "peer" => Reason::Peer,
            "martian" => Reason::Martian,
            "ban" => Reason::Ban,
            "country" => Reason::Country,
            _ => return None,
        };
        Some((reason, outcome))
    })
}
