//! [`Kernel`]: the BPF data plane, XDP and TC. [`abi`] is the layout it shares with `bpf/`, [`control`]
//! the policy banks, [`table`] the world table, [`attach`] the links, [`pins`] what outlives the agent.

mod abi;
mod attach;
mod clsact;
mod control;
mod judge;
mod mapped;
mod pins;
mod remains;
mod sys;
mod table;

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use aya::maps::{HashMap, Map, MapData, PerCpuArray, PerCpuValues, RingBuf};
use aya::programs::ProgramError;
use aya::{Ebpf, EbpfLoader};
use geofilter_core::counters::Counters;
use geofilter_core::desired::{Action, Attachment, Bank, Desired, Generation, Observed};
use geofilter_core::dxr::Dxr;
use geofilter_core::event::DropEvent;
use geofilter_core::policy::{Mode, Policy};
use geofilter_core::world::World;

use crate::interfaces::{self, Interface};
use crate::netlink::Watch;
use crate::{Backend, Error, Preference, fault};
use abi::CounterTable;
use control::Control;
pub use judge::Judge;
use mapped::Mapped;
use pins::{Hold, How, Pins};
use remains::Remains;
use table::Slots;

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/geofilter.bpf.o"));

const MAPS: [&str; 9] = [
    "gf_index",
    "gf_v4_chunks",
    "gf_v6_chunks",
    "gf_banks",
    "gf_control",
    "gf_interfaces",
    "gf_counters",
    "gf_budget",
    "gf_events",
];

/// Drops that each CPU may tell of between two calls of [`Backend::drain_events`].
const EVENT_BUDGET: u64 = 100;

/// The BPF data plane.
pub struct Kernel {
    names: Vec<String>,
    preference: Preference,
    pins: Pins,
    live: Option<Live>,
}

/// What an attached data plane holds.
struct Live {
    programs: Ebpf,
    control: Control,
    slots: Slots,
    counters: PerCpuArray<MapData, CounterTable>,
    budget: PerCpuArray<MapData, u64>,
    interfaces: HashMap<MapData, u32, u32>,
    events: RingBuf<MapData>,
    attached: Vec<Attached>,
    watch: Watch,
}

/// A program on an interface.
struct Attached {
    index: u32,
    attachment: Attachment,
    how: Held,
}

/// What keeps it there.
enum Held {
    /// A link. Our descriptor keeps it even if somebody unmounts the pins.
    Link(OwnedFd),
    /// A filter with this priority on the clsact qdisc.
    Filter(u16),
}

impl Attached {
    /// Whether the kernel still has it there.
    fn holds(&self) -> bool {
        match &self.how {
            Held::Link(link) => sys::interface_of(link).is_ok_and(|index| index == self.index),
            Held::Filter(priority) => clsact::has_filter(self.index, *priority).unwrap_or(false),
        }
    }

    /// What may let packets by although the program is in its place.
    fn warning(&self) -> Option<String> {
        match self.how {
            Held::Filter(priority) if priority > clsact::FIRST => Some(format!(
                "on {} filters of others come before ours and may let packets by: see `tc filter show dev \
                 {} ingress`, or use --backend xdp",
                self.attachment.interface, self.attachment.interface
            )),
            Held::Filter(_) | Held::Link(_) => None,
        }
    }
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
    pub fn set_local_sources(
        &mut self,
        index: u32,
        local: geofilter_core::decide::LocalSources,
    ) -> Result<(), Error> {
        let live = self.live_mut("describe an interface")?;
        live.interfaces
            .insert(index, abi::pack_local_sources(local), 0)
            .map_err(|source| Error::map("gf_interfaces", source))
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
            let held = live.attached.iter().any(|it| it.index == interface.index && it.holds());
            if held {
                live.describe(interface)?;
            } else {
                tracing::warn!(interface = interface.name, "attaching again");
                live.protect(&self.pins, interface, self.preference)?;
            }
        }
        Ok(())
    }

    fn observed(&self) -> Option<Observed> {
        let live = self.live.as_ref()?;
        let (active, fallback) = live.control.read();
        let effective = live.attached.iter().filter(|attached| attached.holds());
        let attachments = effective.map(|attached| attached.attachment.clone()).collect();
        let warnings = live.attached.iter().filter_map(Attached::warning).collect();
        Some(Observed { attachments, active, fallback, warnings })
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

impl Live {
    /// Loads the programs on the pinned maps, making those that are not there yet.
    fn load(pins: &Pins) -> Result<Self, Error> {
        let fail = |source: aya::EbpfError| Error::Load(Box::new(source));
        let mut loader = EbpfLoader::new();
        for name in MAPS {
            loader.map_pin_path(name, pins.map(name));
        }
        let mut programs = loader.load(OBJECT).map_err(fail)?;
        for (_, program) in programs.programs_mut() {
            let loaded = match program {
                aya::programs::Program::Xdp(program) => program.load(),
                aya::programs::Program::SchedClassifier(program) => program.load(),
                _ => Ok(()),
            };
            loaded.map_err(refused_by_verifier)?;
        }
        let open =
            |name| MapData::from_pin(pins.map(name)).map_err(|source| Error::map(name, source));
        Ok(Self {
            control: Control::new(
                mapped(&open("gf_control")?, "gf_control", 1)?,
                mapped(&open("gf_banks")?, "gf_banks", abi::BANKS)?,
            ),
            slots: Slots::open(pins)?,
            counters: typed(Map::PerCpuArray(open("gf_counters")?), "gf_counters")?,
            budget: typed(Map::PerCpuArray(open("gf_budget")?), "gf_budget")?,
            interfaces: typed(Map::HashMap(open("gf_interfaces")?), "gf_interfaces")?,
            events: typed(Map::RingBuf(open("gf_events")?), "gf_events")?,
            programs,
            attached: Vec::new(),
            watch: Watch::new().map_err(Error::Netlink)?,
        })
    }

    /// Attaches to an interface, or takes it over, and keeps hold of it.
    fn protect(
        &mut self,
        pins: &Pins,
        interface: &Interface,
        preference: Preference,
    ) -> Result<(), Error> {
        self.describe(interface)?;
        let kind = attach::attach(&mut self.programs, pins, interface, preference)?;
        let fail = |source| Error::Pins { path: pins.map(""), source };
        let of_interface = |hold: &Hold| hold.interface == interface.index;
        for hold in pins.holds()?.into_iter().filter(of_interface) {
            let how = match hold.how {
                How::Link { pin, .. } => Held::Link(sys::open_pin(&pin).map_err(fail)?),
                How::Filter { priority } => Held::Filter(priority),
                How::Qdisc => continue,
            };
            self.attached.retain(|attached| attached.attachment.interface != interface.name);
            let attachment = Attachment { interface: interface.name.clone(), kind };
            self.attached.push(Attached { index: interface.index, attachment, how });
        }
        Ok(())
    }

    /// Tells the programs what is local on an interface.
    fn describe(&mut self, interface: &Interface) -> Result<(), Error> {
        self.interfaces
            .insert(interface.index, abi::pack_local_sources(interface.local), 0)
            .map_err(|source| Error::map("gf_interfaces", source))
    }

    /// Puts table and policy into the maps: into new ones before anything is attached, into those of
    /// an earlier agent while they are in use.
    fn fill(&mut self, pins: &Pins, dxr: &Dxr, desired: &Desired) -> Result<(), Error> {
        match self.control.abi() {
            0 => {
                self.slots.fill(0, dxr)?;
                self.control.store(desired, 0)?;
                self.control.set_abi();
                Ok(())
            }
            abi::ABI => {
                self.swap(dxr)?;
                self.control.store(desired, self.control.word().table)
            }
            found => Err(Error::OtherVersion { found, expected: abi::ABI, path: pins.map("") }),
        }
    }

    /// Lets every CPU tell of drops again.
    fn renew_budget(&mut self) -> Result<(), Error> {
        let fail = |source| Error::Memory { map: "gf_budget", source };
        let cpus = aya::util::nr_cpus().map_err(|(_, source)| fail(source))?;
        let budget = PerCpuValues::try_from(vec![EVENT_BUDGET; cpus]).map_err(fail)?;
        self.budget.set(0, budget, 0).map_err(|source| Error::map("gf_budget", source))
    }

    fn swap(&mut self, dxr: &Dxr) -> Result<(), Error> {
        let old = self.control.word().table;
        let new = 1 - old;
        self.slots.clear(new)?;
        if let Err(error) = self.slots.fill(new, dxr) {
            self.slots.clear(new)?;
            return Err(error);
        }
        fault::point("swap-filled");
        self.control.switch_table(new);
        fault::point("swap-switched");
        self.control.wait()?;
        self.slots.clear(old)
    }
}

/// Keeps the end of what the verifier said: the rest is thousands of lines of the way there.
fn refused_by_verifier(error: ProgramError) -> Error {
    let ProgramError::LoadError { io_error, verifier_log } = error else {
        return Error::Load(Box::new(error));
    };
    let log = verifier_log.to_string();
    tracing::debug!(log, "the verifier's whole log");
    let end: Vec<&str> = log.lines().rev().take(5).collect();
    let end: Vec<&str> = end.into_iter().rev().collect();
    Error::Load(format!("{io_error}: {}", end.join("; ")).into())
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

fn mapped<T: aya::Pod>(map: &MapData, name: &'static str, n: usize) -> Result<Mapped<T>, Error> {
    Mapped::new(map.fd(), n).map_err(|source| Error::Memory { map: name, source })
}

fn typed<T: TryFrom<Map, Error = aya::maps::MapError>>(
    map: Map,
    name: &'static str,
) -> Result<T, Error> {
    map.try_into().map_err(|source| Error::map(name, source))
}

impl Backend for Kernel {
    fn attach(&mut self, world: &World, desired: &Desired) -> Result<Observed, Error> {
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
        self.refresh()?;
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
        let live = self.live_mut("read the counters")?;
        let tables =
            live.counters.get(&0, 0).map_err(|source| Error::map("gf_counters", source))?;
        Ok(abi::sum_counters(tables.iter()))
    }

    fn drain_events(&mut self, sink: &mut dyn FnMut(DropEvent)) -> Result<(), Error> {
        let live = self.live_mut("read the attack log")?;
        if live.watch.changed().map_err(Error::Netlink)? {
            self.refresh()?;
        }
        let live = self.live_mut("read the attack log")?;
        while let Some(item) = live.events.next() {
            abi::unpack_event(&item).into_iter().for_each(&mut *sink);
        }
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

fn open_control(pins: &Pins) -> Result<Control, Error> {
    let open = |name| MapData::from_pin(pins.map(name)).map_err(|source| Error::map(name, source));
    Ok(Control::new(
        mapped(&open("gf_control")?, "gf_control", 1)?,
        mapped(&open("gf_banks")?, "gf_banks", abi::BANKS)?,
    ))
}
