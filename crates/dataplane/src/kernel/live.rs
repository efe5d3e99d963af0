//! [`Live`]: the loaded programs with their maps, and what holds them on the interfaces.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use aya::maps::{HashMap, Map, MapData, MapError, PerCpuArray, RingBuf};
use aya::programs::{Program, ProgramError};
use aya::{Ebpf, EbpfLoader, Pod};
use geofilter_core::clock::Clock;
use geofilter_core::counters::Counters;
use geofilter_core::decide::LocalSources;
use geofilter_core::desired::{Attachment, BootTime, Desired, Observed};
use geofilter_core::dxr::Dxr;
use geofilter_core::event::DropEvent;
use geofilter_core::overrides::{AddressKey, Spans, Table};
use geofilter_core::tracker::MAX_PEERS;

use crate::interfaces::Interface;
use crate::kernel::abi::{self, CounterTable};
use crate::kernel::control::{self, Control};
use crate::kernel::mapped::Mapped;
use crate::kernel::peers::Peers;
use crate::kernel::pins::{Hold, How, Pins, Task};
use crate::kernel::seen::Seen;
use crate::kernel::sources::Sources;
use crate::kernel::table::Slots;
use crate::kernel::{attach, clsact, sys};
use crate::netlink::Watch;
use crate::{Error, Preference, fault};

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/geofilter.bpf.o"));

const MAPS: [&str; 15] = [
    "gf_index",
    "gf_v4_chunks",
    "gf_v6_chunks",
    "gf_banks",
    "gf_control",
    "gf_interfaces",
    "gf_counters",
    "gf_seen",
    "gf_events",
    "gf_prefixes",
    "gf_addresses",
    "gf_filter",
    "gf_peers",
    "gf_marks",
    "gf_contacts",
];

/// How often the peers that have ended make room, in nanoseconds.
const SWEEP: u64 = 60_000_000_000;

/// What an attached data plane holds.
pub(crate) struct Live {
    pub(crate) programs: Ebpf,
    pub(crate) control: Control,
    slots: Arc<Slots>,
    sources: Sources,
    pub(crate) peers: Peers,
    counters: PerCpuArray<MapData, CounterTable>,
    pub(crate) seen: Seen,
    interfaces: HashMap<MapData, u32, u32>,
    events: RingBuf<MapData>,
    /// When the peers that have ended were removed last.
    swept: Option<BootTime>,
    /// The overrides by prefix that this process put in force.
    prefixes: Option<Dxr<Spans>>,
    attached: Vec<Attached>,
    trackers: Vec<Tracker>,
    /// What holds programs and can't be pinned, so that marks tell of it.
    marks: Vec<Hold>,
    /// Interfaces that refused the tracker.
    pub(crate) untracked: Vec<String>,
    watch: Watch,
}

/// A program that judges on an interface.
struct Attached {
    index: u32,
    attachment: Attachment,
    how: Held,
}

/// A program that tracks on an interface.
struct Tracker {
    index: u32,
    how: Held,
}

/// What keeps it there.
enum Held {
    /// A link, pinned under this kind. Our descriptor keeps it even if somebody unmounts the pins.
    Link { link: OwnedFd, kind: String },
    /// A filter with this priority on the clsact qdisc.
    Filter(Task, u16),
}

impl Held {
    /// Opens what a pin or a mark stands for; a qdisc holds nothing.
    fn open(hold: &Hold) -> std::io::Result<Option<Self>> {
        Ok(match &hold.how {
            How::Link { kind, pin } => {
                Some(Self::Link { link: sys::open_pin(pin)?, kind: kind.clone() })
            }
            How::Filter { task, priority } => Some(Self::Filter(*task, *priority)),
            How::Qdisc => None,
        })
    }

    /// Whether the kernel still has the program on the interface.
    fn is_on(&self, interface: u32) -> bool {
        match self {
            Self::Link { link, .. } => {
                sys::interface_of(link).is_ok_and(|index| index == interface)
            }
            Self::Filter(task, priority) => {
                clsact::has_filter(interface, *task, *priority).unwrap_or(false)
            }
        }
    }

    /// Its pin, unless it can't have one.
    fn pin(&self, pins: &Pins, interface: u32) -> Option<PathBuf> {
        match self {
            Self::Link { kind, .. } => Some(pins.link(interface, kind)),
            Self::Filter(..) => None,
        }
    }
}

impl Attached {
    /// Whether the kernel still has it there.
    fn holds(&self) -> bool {
        self.how.is_on(self.index)
    }

    /// What may let packets by although the program is in its place.
    fn warning(&self) -> Option<String> {
        match self.how {
            Held::Filter(_, priority) if priority > clsact::FIRST => Some(format!(
                "on {} filters of others come before ours and may let packets by: see `tc filter show dev \
                 {} ingress`, or use --backend xdp",
                self.attachment.interface, self.attachment.interface
            )),
            Held::Filter(..) | Held::Link { .. } => None,
        }
    }
}

impl Live {
    /// Loads the programs on the pinned maps, making those that are not there yet.
    ///
    /// Those that are `needed` are loaded at once. One that is refused is tried again where it is attached, and that says
    /// why.
    pub(crate) fn load(pins: &Pins, needed: &[&str]) -> Result<Self, Error> {
        let fail = |source: aya::EbpfError| Error::Load(Box::new(source));
        let mut loader = EbpfLoader::new();
        // The programs read no types of the kernel's, whose description takes megabytes.
        loader.btf(None);
        for name in MAPS {
            loader.map_pin_path(name, pins.map(name));
        }
        let mut programs = loader.load(OBJECT).map_err(fail)?;
        for (name, program) in programs.programs_mut() {
            let tracks = name == attach::TRACKER_PROGRAM;
            if !tracks && !needed.contains(&name) {
                continue;
            }
            let loaded = match program {
                Program::Xdp(program) => program.load(),
                Program::SchedClassifier(program) => program.load(),
                _ => Ok(()),
            };
            match loaded.map_err(refused_by_verifier) {
                Err(error) if tracks => return Err(error),
                Err(error) => tracing::debug!(program = name, %error, "refused"),
                Ok(()) => {}
            }
        }
        let open =
            |name| MapData::from_pin(pins.map(name)).map_err(|source| Error::map(name, source));
        let control = open_control(pins)?;
        control.begin_to_wait();
        Ok(Self {
            control,
            slots: Arc::new(Slots::open(pins)?),
            sources: Sources::new(
                mapped(&open("gf_prefixes")?, "gf_prefixes", 2)?,
                typed(Map::HashMap(open("gf_addresses")?), "gf_addresses")?,
                mapped(&open("gf_filter")?, "gf_filter", 1)?,
            ),
            peers: Peers::new(
                typed(Map::HashMap(open("gf_peers")?), "gf_peers")?,
                mapped(&open("gf_filter")?, "gf_filter", 1)?,
                typed(Map::HashMap(open("gf_contacts")?), "gf_contacts")?,
            ),
            counters: typed(Map::PerCpuArray(open("gf_counters")?), "gf_counters")?,
            seen: Seen::new(mapped(&open("gf_seen")?, "gf_seen", 1)?),
            interfaces: typed(Map::HashMap(open("gf_interfaces")?), "gf_interfaces")?,
            events: typed(Map::RingBuf(open("gf_events")?), "gf_events")?,
            programs,
            swept: None,
            prefixes: None,
            attached: Vec::new(),
            trackers: Vec::new(),
            marks: Vec::new(),
            untracked: Vec::new(),
            watch: Watch::new().map_err(Error::Netlink)?,
        })
    }

    /// Attaches to an interface, or takes it over, and keeps hold of it.
    pub(crate) fn protect(
        &mut self,
        pins: &Pins,
        interface: &Interface,
        preference: Preference,
    ) -> Result<(), Error> {
        self.describe(interface.index, interface.local)?;
        let kind = attach::attach(&mut self.programs, pins, interface, preference)?;
        let fail = |source| Error::Pins { path: pins.map(""), source };
        for hold in attach::holds(pins, interface, Task::Judge)? {
            let Some(how) = Held::open(&hold).map_err(fail)? else { continue };
            self.attached.retain(|attached| attached.attachment.interface != interface.name);
            let attachment = Attachment { interface: interface.name.clone(), kind };
            self.attached.push(Attached { index: interface.index, attachment, how });
        }
        Ok(())
    }

    /// Puts the tracker on an interface, or takes it over, and keeps hold of it.
    pub(crate) fn track(&mut self, pins: &Pins, interface: &Interface) -> Result<(), Error> {
        attach::track(&mut self.programs, pins, interface)?;
        let fail = |source| Error::Pins { path: pins.map(""), source };
        for hold in attach::holds(pins, interface, Task::Track)? {
            let Some(how) = Held::open(&hold).map_err(fail)? else { continue };
            self.trackers.retain(|tracker| tracker.index != interface.index);
            self.trackers.push(Tracker { index: interface.index, how });
        }
        Ok(())
    }

    /// Lets go of trackers whose interface is gone: each would keep a descriptor for ever.
    pub(crate) fn forget_trackers(&mut self, is_gone: impl Fn(u32) -> bool) {
        self.trackers.retain(|tracker| !is_gone(tracker.index) || tracker.how.is_on(tracker.index));
    }

    /// Whether a program of ours was put on an interface, although it may not be there any more.
    pub(crate) fn was_on(&self, index: u32, task: Task) -> bool {
        match task {
            Task::Judge => self.attached.iter().any(|attached| attached.index == index),
            Task::Track => self.trackers.iter().any(|tracker| tracker.index == index),
        }
    }

    /// Whether none of the interfaces to protect has been there yet.
    pub(crate) fn awaits_all(&self) -> bool {
        self.attached.is_empty()
    }

    /// Takes note of what can't be pinned, to mark it again.
    pub(crate) fn note_marks(&mut self, pins: &Pins) -> Result<(), Error> {
        let is_link = |hold: &Hold| matches!(hold.how, How::Link { .. });
        self.marks = pins.holds()?.into_iter().filter(|hold| !is_link(hold)).collect();
        Ok(())
    }

    /// Whether all that is in force would stay so without this process.
    pub(crate) fn is_pinned(&self, pins: &Pins) -> Result<bool, Error> {
        let found = pins.files()?;
        let is_there = |pin: &PathBuf| found.contains(pin);
        let held = |held: &Held, index| {
            held.pin(pins, index).is_none_or(|pin| is_there(&pin)) || !held.is_on(index)
        };
        Ok(MAPS.iter().all(|name| is_there(&pins.map(name)))
            && self.attached.iter().all(|attached| held(&attached.how, attached.index))
            && self.trackers.iter().all(|tracker| held(&tracker.how, tracker.index))
            && self
                .marks
                .iter()
                .all(|mark| is_there(&pins.path_of(mark)) || !clsact::is_there(mark)))
    }

    /// Pins and marks whatever is not: the links first, which keep the filter in force by themselves.
    pub(crate) fn pin(&self, pins: &Pins) -> Result<(), Error> {
        let found = pins.files()?;
        let attached = self.attached.iter().map(|attached| (&attached.how, attached.index));
        let trackers = self.trackers.iter().map(|tracker| (&tracker.how, tracker.index));
        for (held, index) in attached.chain(trackers) {
            let Held::Link { link, kind } = held else { continue };
            let path = pins.link(index, kind);
            if !found.contains(&path) && held.is_on(index) {
                sys::pin(link, &path).map_err(|source| Error::Pins { path, source })?;
            }
        }
        fault::point("links-pinned-again");
        for mark in self.marks.iter().filter(|mark| clsact::is_there(mark)) {
            pins.mark_again(mark)?;
        }
        for (name, map) in self.programs.maps() {
            let path = pins.map(name);
            if MAPS.contains(&name) && !found.contains(&path) {
                let pinned = map.pin(&path).map_err(std::io::Error::other);
                pinned.map_err(|source| Error::Pins { path, source })?;
            }
        }
        Ok(())
    }

    /// Whether the tracker is on an interface.
    pub(crate) fn tracks(&self, index: u32) -> bool {
        self.trackers.iter().any(|tracker| tracker.index == index && tracker.how.is_on(index))
    }

    /// Tells the programs what is local on an interface.
    pub(crate) fn describe(&mut self, index: u32, local: LocalSources) -> Result<(), Error> {
        self.interfaces
            .insert(index, abi::pack_local_sources(local), 0)
            .map_err(|source| Error::map("gf_interfaces", source))
    }

    /// Whether a program of ours is on an interface.
    pub(crate) fn holds(&self, index: u32) -> bool {
        self.attached.iter().any(|attached| attached.index == index && attached.holds())
    }

    /// What the kernel holds now.
    pub(crate) fn observed(&self) -> Observed {
        let (active, fallback) = self.control.read();
        let effective = self.attached.iter().filter(|attached| attached.holds());
        Observed {
            attachments: effective.map(|attached| attached.attachment.clone()).collect(),
            active,
            fallback,
            warnings: self.warnings(),
        }
    }

    fn warnings(&self) -> Vec<String> {
        let untracked = self.untracked.iter().map(|name| {
            format!(
                "what the PBX sends by {name} is not seen, so that it makes no peers there: see the agent's log"
            )
        });
        let lost = self.counters().map_or(0, |counters| counters.lost_peers);
        let lost = (lost > 0).then(|| {
            format!(
                "{lost} requests of the PBX made no peer, since there is room for {MAX_PEERS}: see `geofilter peer list`"
            )
        });
        let away = self.attached.iter().filter(|attached| !attached.holds());
        let away = away.map(|attached| {
            format!(
                "nothing is protected on {} until it is there and takes the filter: see `ip link`",
                attached.attachment.interface
            )
        });
        let warnings = self.attached.iter().filter_map(Attached::warning);
        warnings.chain(away).chain(untracked).chain(lost).collect()
    }

    /// Removes the peers that have ended, now and then.
    pub(crate) fn sweep_peers(&mut self, now: BootTime) -> Result<(), Error> {
        if self.swept.is_some_and(|swept| now.0.saturating_sub(swept.0) < SWEEP) {
            return Ok(());
        }
        self.swept = Some(now);
        self.peers.sweep(now)
    }

    /// What every CPU counted.
    pub(crate) fn counters(&self) -> Result<Counters, Error> {
        let tables =
            self.counters.get(&0, 0).map_err(|source| Error::map("gf_counters", source))?;
        Ok(abi::sum_counters(tables.iter()))
    }

    /// Hands over the drops that were sampled.
    pub(crate) fn drain_events(&mut self, sink: &mut dyn FnMut(DropEvent)) {
        while let Some(item) = self.events.next() {
            abi::unpack_event(&item).into_iter().for_each(&mut *sink);
        }
    }

    /// Whether interfaces, addresses or routes changed since the last call, or a program of ours is gone.
    pub(crate) fn needs_a_look(&mut self) -> Result<bool, Error> {
        let changed = self.watch.changed().map_err(Error::Netlink)?;
        let in_place = self.attached.iter().all(Attached::holds)
            && self.trackers.iter().all(|tracker| tracker.how.is_on(tracker.index));
        Ok(changed || !in_place)
    }

    /// Puts tables and policy into the maps: into new ones before anything judges by them, into those of an earlier
    /// agent while they are in use.
    pub(crate) fn fill(
        &mut self,
        dxr: &Dxr,
        overrides: &Table,
        desired: &Desired,
        clock: Clock,
    ) -> Result<(), Error> {
        if self.control.abi() == abi::ABI {
            self.swap_world(dxr)?;
            self.set_overrides(overrides)?;
        } else {
            self.fill_world(0, dxr)?;
            self.fill_prefixes(0, &overrides.prefixes)?;
            self.sources.set_addresses(overrides)?;
        }
        self.control.store(desired, clock)
    }

    /// Replaces the world table. It is in force when this returns; the old one is freed some time later.
    pub(crate) fn swap_world(&mut self, dxr: &Dxr) -> Result<(), Error> {
        self.control.wait_for_slots()?;
        let old = self.control.word().table;
        self.fill_world(1 - old, dxr)?;
        fault::point("swap-filled");
        self.control.switch_table(self.clearing(old));
        fault::point("swap-switched");
        Ok(())
    }

    /// Replaces exemptions and bans: the prefixes at once, then the addresses one by one.
    pub(crate) fn set_overrides(&mut self, overrides: &Table) -> Result<(), Error> {
        if self.prefixes.as_ref() != Some(&overrides.prefixes) {
            self.control.wait_for_slots()?;
            let old = self.control.word().overrides;
            self.fill_prefixes(1 - old, &overrides.prefixes)?;
            fault::point("overrides-filled");
            self.control.switch_overrides(self.clearing(abi::OVERRIDES_SLOT + old));
        }
        self.sources.set_addresses(overrides)
    }

    /// Frees a slot. What can't be freed is when the slot is filled again.
    fn clearing(&self, slot: usize) -> impl FnOnce() + Send + 'static {
        let slots = Arc::clone(&self.slots);
        move || {
            fault::point("swap-passed");
            if let Err(error) = slots.clear(slot) {
                tracing::warn!(%error, "a table that is not in force any more still takes room");
            }
        }
    }

    /// Changes what is known of one address.
    pub(crate) fn set_address(&mut self, address: AddressKey, spans: Spans) -> Result<(), Error> {
        self.sources.set(address, spans)
    }

    fn fill_world(&mut self, slot: usize, dxr: &Dxr) -> Result<(), Error> {
        self.fill_slot(slot, dxr, |_, entry| abi::pack_entry(entry))
    }

    fn fill_prefixes(&mut self, slot: usize, prefixes: &Dxr<Spans>) -> Result<(), Error> {
        let table = abi::OVERRIDES_SLOT + slot;
        // Without a table every address is without an override.
        match prefixes.is_empty() {
            true => self.slots.clear(table)?,
            false => self.fill_slot(table, prefixes, |number, _| number as u32)?,
        }
        self.sources.prefixes.fill(slot).fill(prefixes);
        self.prefixes = Some(prefixes.clone());
        Ok(())
    }

    /// Fills a slot that no program uses, or leaves it empty.
    fn fill_slot<E: Copy + Sync>(
        &mut self,
        slot: usize,
        dxr: &Dxr<E>,
        pack: impl Fn(usize, &E) -> u32 + Send,
    ) -> Result<(), Error> {
        self.slots.clear(slot)?;
        let filled = self.slots.fill(slot, dxr, pack);
        if filled.is_err() {
            self.slots.clear(slot)?;
        }
        filled
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

/// Version of the layout that the pinned maps were filled with; 0 if they are new. It lies in the same place in all versions.
pub(crate) fn pinned_abi(pins: &Pins) -> Result<u64, Error> {
    const NAME: &str = "gf_control";
    let map = MapData::from_pin(pins.map(NAME)).map_err(|source| Error::map(NAME, source))?;
    Ok(control::abi_in(&mapped(&map, NAME, 1)?))
}

/// The policy in the pinned maps.
pub(crate) fn open_control(pins: &Pins) -> Result<Control, Error> {
    let open = |name| MapData::from_pin(pins.map(name)).map_err(|source| Error::map(name, source));
    Ok(Control::new(
        mapped(&open("gf_control")?, "gf_control", 1)?,
        mapped(&open("gf_banks")?, "gf_banks", abi::BANKS)?,
    ))
}

fn mapped<T: Pod>(map: &MapData, name: &'static str, n: usize) -> Result<Mapped<T>, Error> {
    Mapped::new(map.fd(), n).map_err(|source| Error::Memory { map: name, source })
}

fn typed<T: TryFrom<Map, Error = MapError>>(map: Map, name: &'static str) -> Result<T, Error> {
    map.try_into().map_err(|source| Error::map(name, source))
}
