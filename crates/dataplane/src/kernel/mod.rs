//! [`Kernel`]: the BPF data plane, XDP and TC. [`abi`] is the layout it shares with `bpf/`, [`control`]
//! the policy banks, [`table`] the world table, [`grace`] when a bank or a table is free again, [`sources`]
//! exemptions and bans, [`peers`] whom the PBX contacted, [`live`] all of it loaded; [`attach`] puts the programs on interfaces, [`pins`] is what
//! outlives the agent.

mod abi;
mod attach;
mod clsact;
mod control;
mod grace;
mod judge;
mod live;
mod mapped;
mod peers;
mod pins;
mod remains;
mod seen;
mod sources;
mod sys;
mod table;

use std::collections::{BTreeSet, HashSet};
use std::net::SocketAddr;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::thread;

use geofilter_core::clock::Clock;
use geofilter_core::counters::Counters;
use geofilter_core::decide::{LocalSources, Timed};
use geofilter_core::desired::{Action, Attachment, Bank, BootTime, Desired, Generation, Observed};
use geofilter_core::dxr::Dxr;
use geofilter_core::event::DropEvent;
use geofilter_core::overrides::{AddressKey, Spans, Table};
use geofilter_core::policy::{Mode, Policy};
use geofilter_core::seen::Count;
use geofilter_core::world::World;

use crate::interfaces::{self, Interface};
use crate::{Backend, Error, Preference, boot_time, fault, nft};
pub(crate) use abi::unpack_event;
pub(crate) use clsact::is_ours as is_our_filter;
pub use judge::{Judge, count_run_time};
use live::{Live, open_control};
use peers::Peers;
use pins::{Hold, Pins, Task};
use remains::Remains;
pub use sys::clock_is_synchronised;
pub(crate) use sys::strips_vlan_tags;

/// The BPF data plane.
pub struct Kernel {
    names: Vec<String>,
    awaited: Awaited,
    preference: Preference,
    runtime_dir: PathBuf,
    pins: Pins,
    live: Option<Live>,
    /// What others have taken away and was put back, until somebody asks.
    mended: Vec<String>,
}

/// Interfaces that may come later than the agent, as they do at boot: they are attached to when they are there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Awaited {
    /// Their names.
    pub names: Vec<String>,
    /// Nobody named them: as long as none of them is there, whatever gets a default route is taken instead.
    pub by_route: bool,
}

impl Kernel {
    /// A data plane for these interfaces; for every one with a default route if none is named.
    pub fn new(names: Vec<String>, preference: Preference, runtime_dir: PathBuf) -> Self {
        let (awaited, pins) = (Awaited::default(), Pins::of(&runtime_dir));
        Self { names, awaited, preference, runtime_dir, pins, live: None, mended: Vec::new() }
    }

    /// The same, and these interfaces once they are there.
    #[must_use]
    pub fn awaiting(self, awaited: Awaited) -> Self {
        Self { awaited, ..self }
    }

    /// Loads the programs without attaching them anywhere, to judge frames by a [`Judge`].
    ///
    /// # Errors
    /// As [`Backend::attach`].
    pub fn load(
        &mut self,
        world: &World,
        overrides: &Table,
        desired: &Desired,
        clock: Clock,
    ) -> Result<(), Error> {
        let usable = self.unusable()?.is_none();
        self.live = Some(self.load_and_fill(usable, &[], world, overrides, desired, clock)?);
        self.finish()
    }

    /// A handle on the loaded programs, to judge frames without a wire.
    ///
    /// # Errors
    /// [`Error::NotAttached`] before anything is loaded.
    pub fn judge(&mut self) -> Result<Judge, Error> {
        let live = self.live_mut("judge a frame")?;
        Judge::new(&mut live.programs).map_err(|source| Error::Load(source.into()))
    }

    /// Puts a policy in force as [`Backend::apply`] does, without looking at the interfaces or reading it back;
    /// for who measures how soon packets meet it, and does it millions of times.
    ///
    /// # Errors
    /// [`Error::NotAttached`], or [`Error::Grace`].
    pub fn store(&mut self, desired: &Desired, clock: Clock) -> Result<(), Error> {
        self.live_mut("store a policy")?.control.store(desired, clock)
    }

    /// Waits until the tables that are not in force any more are freed, as the next change of a table does.
    ///
    /// # Errors
    /// [`Error::NotAttached`], or [`Error::Grace`].
    pub fn wait_until_freed(&mut self) -> Result<(), Error> {
        self.live_mut("wait for a table to be freed")?.control.wait_for_slots()
    }

    /// Says what source addresses are local on an interface.
    ///
    /// # Errors
    /// [`Error::NotAttached`], or [`Error::Map`].
    pub fn set_local_sources(&mut self, index: u32, local: LocalSources) -> Result<(), Error> {
        self.live_mut("describe an interface")?.describe(index, local)
    }

    fn live_mut(&mut self, operation: &'static str) -> Result<&mut Live, Error> {
        self.live.as_mut().ok_or(Error::NotAttached { operation })
    }

    /// Loads the programs, with maps that are filled. Where those that are pinned are not usable they are new ones, which are not
    /// said to be finished.
    fn load_and_fill(
        &self,
        usable: bool,
        needed: &[&str],
        world: &World,
        overrides: &Table,
        desired: &Desired,
        clock: Clock,
    ) -> Result<Live, Error> {
        fault::point("attach-start");
        if !usable {
            let learnt = Peers::usable(&self.pins)?;
            self.pins.remove_maps(&learnt)?;
        }
        self.pins.create()?;
        fault::point("attach-folder");
        // The verifier and the table take long, and neither waits for the other.
        let (live, dxr) = thread::scope(|scope| {
            let dxr = scope.spawn(|| Dxr::compile(world));
            let live = Live::load(&self.pins, needed);
            (live, dxr.join().unwrap_or_else(|panic| resume_unwind(panic)))
        });
        let (mut live, dxr) = (live?, dxr?);
        fault::point("attach-loaded");
        live.fill(&dxr, overrides, desired, clock)?;
        // The first drops are told too.
        live.seen.renew(boot_time());
        match usable {
            true => live.control.set_abi(),
            false => live.peers.fill_filter()?,
        }
        fault::point("attach-filled");
        Ok(live)
    }

    /// Attaches to the protected interfaces, and tracks on all that lead out.
    fn attach_to(&mut self, mut live: Live, interfaces: &[Interface]) -> Result<(), Error> {
        let all = interfaces::all()?;
        clsact::adopt(&self.pins, &all).map_err(Error::Netlink)?;
        let earlier = self.pins.holds()?;
        for interface in interfaces {
            if let Err(error) = live.protect(&self.pins, interface, self.preference) {
                self.release(|hold| !earlier.contains(hold))?;
                return Err(error);
            }
        }
        Self::track(&self.pins, &mut live, &all);
        self.release_gone(&all);
        // Those that an earlier agent protected and this one does not.
        self.release(|hold| {
            let protected = interfaces.iter().any(|interface| interface.index == hold.interface);
            hold.task() == Task::Judge && !protected
        })?;
        live.note_marks(&self.pins)?;
        self.live = Some(live);
        fault::point("attach-done");
        Ok(())
    }

    /// Puts the tracker wherever it is missing, and says from where it was taken. An interface that refuses it costs
    /// nobody the filter, and is asked again when the host's interfaces change.
    fn track(pins: &Pins, live: &mut Live, all: &[Interface]) -> Vec<String> {
        live.untracked.clear();
        let mut mended = Vec::new();
        for interface in all.iter().filter(|interface| interface.leads_out()) {
            if live.tracks(interface.index) {
                continue;
            }
            let was_on = live.was_on(interface.index, Task::Track);
            match live.track(pins, interface) {
                Ok(()) if was_on => mended.push(format!(
                    "what learns whom the PBX sends requests to was taken off {}, and was put back",
                    interface.name
                )),
                Ok(()) => {}
                Err(error) => {
                    tracing::warn!(interface = interface.name, %error, "cannot track what leaves");
                    live.untracked.push(interface.name.clone());
                }
            }
        }
        mended
    }

    /// Detaches what is chosen.
    fn release(&self, chosen: impl Fn(&Hold) -> bool) -> Result<(), Error> {
        for hold in self.pins.holds()?.into_iter().filter(chosen) {
            attach::release(&self.pins, &hold)?;
        }
        Ok(())
    }

    /// Removes what held programs on interfaces that are gone, such as those of containers that ended: they
    /// would become more for ever.
    fn release_gone(&self, all: &[Interface]) {
        let is_gone = |index| !all.iter().any(|interface| interface.index == index);
        let released = self.release(|hold| is_gone(hold.interface) && hold.is_left_over());
        if let Err(error) = released {
            tracing::warn!(%error, "cannot clear up after an interface that is gone");
        }
    }

    /// The interfaces to protect that are there. None is enough where some are awaited.
    fn choose(&self) -> Result<Vec<Interface>, Error> {
        let held = protected(&self.pins.holds()?);
        if !self.names.is_empty() || self.awaited.names.is_empty() {
            return interfaces::select(&self.names, &held);
        }
        let is_ours = |it: &Interface| {
            self.awaited.names.contains(&it.name)
                || self.awaited.by_route && (it.default_route || held.contains(&it.index))
        };
        Ok(interfaces::all()?.into_iter().filter(is_ours).collect())
    }

    /// Takes what has a default route by now, if none of the interfaces that were awaited is there.
    fn take_what_leads_out(&mut self, all: &[Interface]) {
        if self.awaited.by_route && !all.iter().any(|it| self.names.contains(&it.name)) {
            let found = all.iter().filter(|it| it.default_route).map(|it| it.name.clone());
            self.names.extend(found);
        }
    }

    /// Looks at the interfaces again: what is local there may have changed, and one that went away may be
    /// back.
    fn refresh(&mut self) -> Result<(), Error> {
        let all = interfaces::all()?;
        self.take_what_leads_out(&all);
        let Some(live) = &mut self.live else { return Ok(()) };
        let mut refused = Ok(());
        for interface in all.iter().filter(|interface| self.names.contains(&interface.name)) {
            if live.holds(interface.index) {
                live.describe(interface.index, interface.local)?;
                continue;
            }
            let was_on = live.was_on(interface.index, Task::Judge);
            // One that refuses must not cost another one the filter.
            match live.protect(&self.pins, interface, self.preference) {
                Ok(()) if was_on => self.mended.push(format!(
                    "the filter was taken off {}, and was put back; until then everything passed there",
                    interface.name
                )),
                Ok(()) => {
                    tracing::warn!(interface = interface.name, "attached to an interface that came");
                }
                Err(error) => refused = Err(error),
            }
        }
        live.forget_trackers(|index| !all.iter().any(|interface| interface.index == index));
        self.mended.extend(Self::track(&self.pins, live, &all));
        live.note_marks(&self.pins)?;
        self.release_gone(&all);
        refused
    }

    /// Sees to it that what was attached is, and stays without this process.
    fn look(&mut self) -> Result<(), Error> {
        let pinned = self.pin_again();
        if self.live_mut("look at what is attached")?.needs_a_look()? {
            self.refresh()?;
        }
        pinned
    }

    /// Pins again what somebody has unpinned.
    fn pin_again(&mut self) -> Result<(), Error> {
        let Some(live) = &self.live else { return Ok(()) };
        if live.is_pinned(&self.pins)? {
            return Ok(());
        }
        // Where it was may be no bpffs any more.
        let pins = Pins::of(&self.runtime_dir);
        pins.create()?;
        live.pin(&pins)?;
        self.mended.push(format!(
            "what keeps the filter in force without the agent was removed from {}, and was pinned again",
            self.pins.folder().display()
        ));
        self.pins = pins;
        Ok(())
    }

    /// Why this program can't go on with what is pinned, if it can't: the policy is gone, while other maps are still
    /// there, it is another version's, or an agent died before it had made all of it.
    fn unusable(&self) -> Result<Option<Error>, Error> {
        let path = self.pins.folder().to_owned();
        let policy = ["gf_control", "gf_banks"];
        if !self.pins.exist() {
            return Ok(None);
        }
        if !policy.iter().all(|name| self.pins.map(name).exists()) {
            return Ok(Some(Error::Torn { path }));
        }
        Ok(match live::pinned_abi(&self.pins)? {
            abi::ABI => None,
            0 => Some(Error::Unfinished { path }),
            found => Some(Error::OtherVersion { found, expected: abi::ABI, path }),
        })
    }

    /// Says that all is made, and judges. What the tracker of another agent learnt meanwhile counts too.
    fn finish(&mut self) -> Result<(), Error> {
        let live = self.live_mut("finish attaching")?;
        live.peers.fill_filter()?;
        live.control.set_abi();
        Ok(())
    }

    fn observed(&self) -> Option<Observed> {
        let live = self.live.as_ref()?;
        let mut observed = live.observed();
        if live.awaits_all() {
            let names = self.names.join(" ");
            observed.warnings.push(format!("nothing is protected until it is there: {names}"));
        }
        Some(observed)
    }

    /// Reads back, and compares with what was asked for.
    fn verify(&self, desired: &Desired, clock: Clock) -> Result<Observed, Error> {
        let live =
            self.live.as_ref().ok_or(Error::NotAttached { operation: "read back the policy" })?;
        let observed = live.observed();
        if observed.holds(desired) && live.control.holds(desired, clock) {
            return Ok(observed);
        }
        Err(Error::Differs { observed: Box::new(observed) })
    }
}

/// The interfaces that are protected by an agent with this runtime folder, or were when it died, by
/// index.
///
/// # Errors
/// [`Error::Pins`] if the pins can't be read.
pub fn held(runtime_dir: &Path) -> Result<Vec<u32>, Error> {
    Ok(protected(&Pins::of(runtime_dir).holds()?))
}

fn protected(holds: &[Hold]) -> Vec<u32> {
    holds.iter().filter(|hold| hold.kind().is_some()).map(|hold| hold.interface).collect()
}

/// Detaches what an agent with this runtime folder left, for one that filters in another way now.
///
/// # Errors
/// As [`Backend::detach`].
pub(crate) fn leave(runtime_dir: &Path) -> Result<(), Error> {
    match Pins::of(runtime_dir).exist() {
        true => Kernel::new(Vec::new(), Preference::Auto, runtime_dir.to_owned()).detach(),
        false => Ok(()),
    }
}

/// The paths that are there only while the agent with this runtime folder has something attached.
pub fn paths(runtime_dir: &Path) -> Vec<String> {
    Pins::of(runtime_dir).paths().map(|path| path.display().to_string()).collect()
}

impl Backend for Kernel {
    fn attach(
        &mut self,
        world: &World,
        overrides: &Table,
        desired: &Desired,
        clock: Clock,
    ) -> Result<Observed, Error> {
        let interfaces = self.choose()?;
        let found = interfaces.iter().map(|interface| &interface.name);
        let awaited = self.awaited.names.iter();
        self.names = found.chain(awaited).cloned().collect::<BTreeSet<_>>().into_iter().collect();
        let earlier = self.pins.exist();
        let usable = self.unusable()?.is_none();
        let before = match usable && earlier {
            true => Some(open_control(&self.pins)?.word()),
            false => None,
        };
        let needed = attach::needed(&self.pins, &interfaces, self.preference)?;
        let attached = self
            .load_and_fill(usable, &needed, world, overrides, desired, clock)
            .and_then(|live| self.attach_to(live, &interfaces))
            // What takes another's place is not finished before that is taken everywhere.
            .and_then(|()| if usable { Ok(()) } else { self.finish() })
            .and_then(|()| self.verify(desired, clock))
            .and_then(|observed| nft::leave(&self.runtime_dir).map(|()| observed));
        if attached.is_err() {
            self.live = None;
            match before {
                Some(before) => open_control(&self.pins)?.go_back(before),
                None if earlier => {}
                None => self.detach()?,
            }
        }
        attached
    }

    fn apply(&mut self, desired: &Desired, clock: Clock) -> Result<Observed, Error> {
        // What can't be mended is said the next time somebody asks, and keeps no policy from being changed.
        if let Err(error) = self.look() {
            tracing::debug!(%error, "what is attached is not as it should be");
        }
        let live = self.live_mut("apply a policy")?;
        fault::point("apply-start");
        let before = live.control.word();
        live.control.store(desired, clock)?;
        fault::point("apply-stored");
        let verified = self.verify(desired, clock);
        if verified.is_err() {
            self.live_mut("go back to the policy before")?.control.go_back(before);
        }
        verified
    }

    fn swap_world(&mut self, world: &World) -> Result<(), Error> {
        let dxr = Dxr::compile(world)?;
        self.live_mut("swap the world table")?.swap_world(&dxr)
    }

    fn set_overrides(&mut self, overrides: &Table) -> Result<(), Error> {
        self.live_mut("set the overrides")?.set_overrides(overrides)
    }

    fn set_addresses(&mut self, changes: &[(AddressKey, Spans)]) -> Result<(), Error> {
        let live = self.live_mut("set addresses")?;
        changes.iter().try_for_each(|(key, spans)| live.set_address(*key, *spans))
    }

    fn set_contacts(&mut self, contacts: &HashSet<AddressKey>) -> Result<(), Error> {
        self.live_mut("set the contacts")?.peers.set_contacts(contacts)
    }

    fn peers(&mut self) -> Result<Vec<Timed<SocketAddr>>, Error> {
        self.live_mut("read the peers")?.peers.list()
    }

    fn set_peer(&mut self, peer: SocketAddr, until: BootTime) -> Result<(), Error> {
        self.live_mut("set a peer")?.peers.set(peer, until)
    }

    fn remove_peer(&mut self, peer: SocketAddr) -> Result<bool, Error> {
        self.live_mut("remove a peer")?.peers.remove(peer)
    }

    fn observe(&mut self) -> Result<Option<Observed>, Error> {
        if self.live.is_some() {
            return Ok(self.observed());
        }
        let holds = self.pins.holds()?;
        let names = interfaces::all()?;
        let attachment = |hold: &Hold| {
            let interface = names.iter().find(|interface| interface.index == hold.interface)?;
            let kind = hold.kind().filter(|_| hold.is_effective())?;
            Some(Attachment { interface: interface.name.clone(), kind })
        };
        let attachments: Vec<Attachment> = holds.iter().filter_map(attachment).collect();
        if attachments.is_empty() {
            return Ok(None);
        }
        if let Some(why) = self.unusable()? {
            return Err(why);
        }
        let control = open_control(&self.pins)?;
        let (active, fallback) = control.read();
        Ok(Some(Observed { attachments, active, fallback, warnings: Vec::new() }))
    }

    fn mend(&mut self) -> Result<Vec<String>, Error> {
        self.look()?;
        Ok(std::mem::take(&mut self.mended))
    }

    fn counters(&mut self) -> Result<Counters, Error> {
        self.live_mut("read the counters")?.counters()
    }

    fn sources(&mut self) -> Result<Vec<Count>, Error> {
        Ok(self.live_mut("read who sends packets")?.seen.sources())
    }

    fn drain_events(
        &mut self,
        now: BootTime,
        sink: &mut dyn FnMut(DropEvent),
    ) -> Result<(), Error> {
        let live = self.live_mut("read the attack log")?;
        live.drain_events(sink);
        live.seen.renew(now);
        live.sweep_peers(now)
    }

    fn detach(&mut self) -> Result<(), Error> {
        fault::point("detach-start");
        // What is not pinned or marked would not be found.
        if let Err(error) = self.pin_again() {
            tracing::warn!(%error, "what others have unpinned may remain");
        }
        let remains = Remains::find(&self.pins)?;
        if self.unusable().is_ok_and(|why| why.is_none()) {
            pass_everything(&self.pins);
        }
        fault::point("detach-passing");
        // Our descriptors would keep the links.
        self.live = None;
        for hold in self.pins.holds()? {
            attach::release(&self.pins, &hold)?;
            fault::point("detach-released");
        }
        for path in self.pins.maps()? {
            std::fs::remove_file(&path).map_err(|source| Error::Pins { path, source })?;
            fault::point("detach-unpinned");
        }
        self.pins.remove()?;
        remains.wait_until_gone()
    }
}

/// Lets everything pass while the programs leave one by one. What is pinned may be half made, by an
/// agent that was killed: then nothing judges, and nothing is to be done.
fn pass_everything(pins: &Pins) {
    let Ok(mut control) = open_control(pins) else {
        return;
    };
    let policy = Policy::new(Mode::BlockSelected, Default::default());
    let generation = Generation(control.newest().0 + 1);
    let bank = Bank { generation, action: Action::Pass, policy: policy.into() };
    let desired = Desired { active: bank, fallback: None };
    if let Err(error) = control.store(&desired, Clock::default()) {
        tracing::warn!(%error, "detaching while the policy is still in force");
    }
}
