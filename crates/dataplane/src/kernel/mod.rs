//! [`Kernel`]: the BPF data plane, XDP and TC. [`abi`] is the layout it shares with `bpf/`, [`control`]
//! the policy banks, [`table`] the world table, [`live`] all of it loaded; [`attach`] puts the programs on
//! interfaces, [`pins`] is what outlives the agent.

mod abi;
mod attach;
mod clsact;
mod control;
mod judge;
mod live;
mod mapped;
mod pins;
mod remains;
mod sys;
mod table;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use geofilter_core::counters::Counters;
use geofilter_core::decide::{LocalSources, Timed};
use geofilter_core::desired::{Action, Attachment, Bank, BootTime, Desired, Generation, Observed};
use geofilter_core::dxr::Dxr;
use geofilter_core::event::DropEvent;
use geofilter_core::overrides::{AddressKey, Spans, Table};
use geofilter_core::policy::{Mode, Policy};
use geofilter_core::world::World;

use crate::interfaces::{self, Interface};
use crate::{Backend, Error, Preference, fault};
pub use judge::Judge;
use live::{Live, open_control};
use pins::{Hold, Pins};
use remains::Remains;

/// The BPF data plane.
pub struct Kernel {
    names: Vec<String>,
    preference: Preference,
    pins: Pins,
    live: Option<Live>,
}

impl Kernel {
    /// A data plane for these interfaces; for every one with a default route if none is named.
    pub fn new(names: Vec<String>, preference: Preference, runtime_dir: PathBuf) -> Self {
        let pins = Pins::of(&runtime_dir);
        Self { names, preference, pins, live: None }
    }

    /// Loads the programs without attaching them anywhere, to judge frames by a [`Judge`].
    ///
    /// # Errors
    /// As [`Backend::attach`].
    pub fn load(&mut self, world: &World, desired: &Desired) -> Result<(), Error> {
        self.attach_to(&[], world, desired)
    }

    /// A handle on the loaded programs, to judge frames without a wire.
    ///
    /// # Errors
    /// [`Error::NotAttached`] before anything is loaded.
    pub fn judge(&self) -> Result<Judge, Error> {
        let live = self.live.as_ref().ok_or(Error::NotAttached { operation: "judge a frame" })?;
        Judge::new(&live.programs).map_err(|source| Error::Load(source.into()))
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

    fn attach_to(
        &mut self,
        interfaces: &[Interface],
        world: &World,
        desired: &Desired,
    ) -> Result<(), Error> {
        let dxr = Dxr::compile(world)?;
        fault::point("attach-start");
        self.pins.create()?;
        fault::point("attach-folder");
        let mut live = Live::load(&self.pins)?;
        fault::point("attach-loaded");
        live.fill(&self.pins, &dxr, desired)?;
        live.renew_budget()?;
        fault::point("attach-filled");
        let earlier: Vec<u32> = self.pins.holds()?.iter().map(|hold| hold.interface).collect();
        for interface in interfaces {
            if let Err(error) = live.protect(&self.pins, interface, self.preference) {
                self.release(|index| !earlier.contains(&index))?;
                return Err(error);
            }
        }
        // Those that an earlier agent protected and this one does not.
        self.release(|index| !interfaces.iter().any(|interface| interface.index == index))?;
        self.live = Some(live);
        fault::point("attach-done");
        Ok(())
    }

    /// Detaches from the interfaces that are chosen by index.
    fn release(&self, chosen: impl Fn(u32) -> bool) -> Result<(), Error> {
        for hold in self.pins.holds()?.into_iter().filter(|hold| chosen(hold.interface)) {
            attach::release(&self.pins, &hold)?;
        }
        Ok(())
    }

    /// Looks at the interfaces again: what is local there may have changed, and one that went away may be
    /// back.
    fn refresh(&mut self) -> Result<(), Error> {
        let Some(live) = &mut self.live else { return Ok(()) };
        let all = interfaces::all()?;
        for interface in all.iter().filter(|interface| self.names.contains(&interface.name)) {
            if live.holds(interface.index) {
                live.describe(interface.index, interface.local)?;
            } else {
                tracing::warn!(interface = interface.name, "attaching again");
                live.protect(&self.pins, interface, self.preference)?;
            }
        }
        Ok(())
    }

    fn observed(&self) -> Option<Observed> {
        self.live.as_ref().map(Live::observed)
    }

    /// Reads back, and compares with what was asked for.
    fn verify(&self, desired: &Desired) -> Result<Observed, Error> {
        let observed =
            self.observed().ok_or(Error::NotAttached { operation: "read back the policy" })?;
        let bank = |bank: &Bank| (bank.generation, bank.action);
        let fallback = desired.fallback.as_ref().map(|fallback| {
            let (generation, action) = bank(&fallback.bank);
            (generation, action, fallback.deadline)
        });
        if observed.active == bank(&desired.active) && observed.fallback == fallback {
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
    Ok(Pins::of(runtime_dir).holds()?.iter().map(|hold| hold.interface).collect())
}

/// The paths that are there only while the agent with this runtime folder has something attached.
pub fn paths(runtime_dir: &Path) -> Vec<String> {
    Pins::of(runtime_dir).paths().map(|path| path.display().to_string()).collect()
}

impl Backend for Kernel {
    fn attach(
        &mut self,
        world: &World,
        _overrides: &Table,
        desired: &Desired,
    ) -> Result<Observed, Error> {
        let held: Vec<u32> = self.pins.holds()?.iter().map(|hold| hold.interface).collect();
        let interfaces = interfaces::select(&self.names, &held)?;
        self.names = interfaces.iter().map(|interface| interface.name.clone()).collect();
        let earlier = self.pins.exist();
        if let Err(error) = self.attach_to(&interfaces, world, desired) {
            self.live = None;
            if !earlier {
                self.detach()?;
            }
            return Err(error);
        }
        self.verify(desired)
    }

    fn apply(&mut self, desired: &Desired) -> Result<Observed, Error> {
        if self.live_mut("apply a policy")?.needs_a_look()? {
            self.refresh()?;
        }
        let live = self.live_mut("apply a policy")?;
        fault::point("apply-start");
        let table = live.control.word().table;
        live.control.store(desired, table)?;
        fault::point("apply-stored");
        self.verify(desired)
    }

    fn swap_world(&mut self, world: &World) -> Result<(), Error> {
        let dxr = Dxr::compile(world)?;
        self.live_mut("swap the world table")?.swap(&dxr)
    }

    fn set_overrides(&mut self, _overrides: &Table) -> Result<(), Error> {
        Ok(())
    }

    fn set_address(&mut self, _address: AddressKey, _spans: Spans) -> Result<(), Error> {
        Ok(())
    }

    fn set_contacts(&mut self, _contacts: &HashSet<AddressKey>) -> Result<(), Error> {
        Ok(())
    }

    fn peers(&mut self) -> Result<Vec<Timed<SocketAddr>>, Error> {
        Ok(Vec::new())
    }

    fn set_peer(&mut self, _peer: SocketAddr, _until: BootTime) -> Result<(), Error> {
        Ok(())
    }

    fn remove_peer(&mut self, _peer: SocketAddr) -> Result<bool, Error> {
        Ok(false)
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
        let control = open_control(&self.pins)?;
        let (active, fallback) = control.read();
        Ok(Some(Observed { attachments, active, fallback, warnings: Vec::new() }))
    }

    fn counters(&mut self) -> Result<Counters, Error> {
        self.live_mut("read the counters")?.counters()
    }

    fn drain_events(&mut self, sink: &mut dyn FnMut(DropEvent)) -> Result<(), Error> {
        if self.live_mut("read the attack log")?.needs_a_look()? {
            self.refresh()?;
        }
        let live = self.live_mut("read the attack log")?;
        live.drain_events(sink);
        live.renew_budget()
    }

    fn detach(&mut self) -> Result<(), Error> {
        fault::point("detach-start");
        let remains = Remains::find(&self.pins)?;
        if self.pins.exist() {
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
    let table = control.word().table;
    if let Err(error) = control.store(&Desired { active: bank, fallback: None }, table) {
        tracing::warn!(%error, "detaching while the policy is still in force");
    }
}
