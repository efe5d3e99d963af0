//! The other half of `bpf/abi.h`: the layout the kernel programs and the agent share. No other file
//! knows it. [`sources`] is the part on overrides and peers, [`seen`] that on who sends packets.

pub(crate) mod seen;
pub(crate) mod sources;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use aya::Pod;
use geofilter_core::clock::{Clock, UnixTime};
use geofilter_core::counters::{Counters, Outcomes, Reason, Traffic};
use geofilter_core::country::{CODES, CountryId};
use geofilter_core::decide::LocalSources;
use geofilter_core::desired::{Action, Bank, BootTime, Generation};
use geofilter_core::dxr::{self, Bucket};
use geofilter_core::event::DropEvent;
use geofilter_core::policy::{Disputed, MAX_TIME_BOXES, Policy, Transport, Verdict};
use geofilter_core::world::{Entry, EntryId, MAX_ENTRIES};

/// Version of this layout.
pub(crate) const ABI: u64 = 5;
/// Banks there are.
pub(crate) const BANKS: usize = 4;
/// The first of the slots for overrides.
pub(crate) const OVERRIDES_SLOT: usize = 2;
/// Chunks a family may have in one table slot.
pub(crate) const CHUNKS: usize = dxr::MAX_CHUNKS;

/// Time boxes a bank holds; the first stands for none.
const BOXES: usize = 64;
const _: () = assert!(MAX_TIME_BOXES == BOXES - 1);
const _: () = assert!(dxr::MAX_CHUNKS * dxr::CHUNK == 1 << BUCKET_BASE_BITS);
const ENTRY_HOSTING: u32 = 1 << 16;
const BUCKET_BORDERS: u32 = 1 << 31;
const BUCKET_BASE_BITS: u32 = 21;
const PAYLOAD: usize = 512;
/// Bytes of `struct gf_event` before its payload.
const EVENT_HEAD: usize = 56;
const REASONS: usize = Reason::ALL.len();

/// `struct gf_index`
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct IndexTable {
    pub(crate) v4: [u32; 1 << 16],
    pub(crate) v6: [u32; 1 << dxr::V6_BITS],
    pub(crate) fine: [u32; dxr::MAX_FINE_BUCKETS],
    pub(crate) fine_suffix: [u64; dxr::MAX_FINE_BORDERS],
    pub(crate) fine_entry: [u16; dxr::MAX_FINE_BORDERS],
    pub(crate) entry: [u32; MAX_ENTRIES],
}

/// `struct gf_v4_chunk` and `struct gf_v6_chunk`
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct ChunkTable<B> {
    pub(crate) border: [B; dxr::CHUNK],
}

/// `struct gf_bank`
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct BankTable {
    generation: u64,
    deadline: u64,
    action: u8,
    disputed: u8,
    drop_hosting: u8,
    reserved: [u8; 5],
    drop: [u8; 256],
    udp: [u64; 1024],
    tcp: [u64; 1024],
    boxes: [BoxTable; BOXES],
}

/// `struct gf_box`
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct BoxTable {
    from: u64,
    until: u64,
}

/// `struct gf_control`
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Control {
    pub(crate) word: u64,
    pub(crate) abi: u64,
}

#[derive(Clone, Copy)]
#[repr(C)]
struct RawTraffic {
    packets: u64,
    bytes: u64,
}

/// `struct gf_counters`
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct CounterTable {
    country: [[RawTraffic; 3]; 256],
    reason: [[RawTraffic; 3]; REASONS],
    skipped_events: u64,
    lost_peers: u64,
}

const _: () = {
    assert!(size_of::<IndexTable>() == 2_883_584);
    assert!(size_of::<ChunkTable<u32>>() == 1_048_576);
    assert!(size_of::<ChunkTable<u64>>() == 2_097_152);
    assert!(size_of::<BankTable>() == 17_688);
    assert!(size_of::<Control>() == 16);
    assert!(size_of::<CounterTable>() == 12_784);
};

#[expect(unsafe_code, reason = "plain integers in C layout, without padding that matters")]
mod pod {
    use super::{BankTable, ChunkTable, Control, CounterTable, IndexTable, Pod};

    unsafe impl Pod for IndexTable {}
    unsafe impl Pod for ChunkTable<u32> {}
    unsafe impl Pod for ChunkTable<u64> {}
    unsafe impl Pod for BankTable {}
    unsafe impl Pod for Control {}
    unsafe impl Pod for CounterTable {}
}

/// The control word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Word {
    pub(crate) generation: Generation,
    pub(crate) active: usize,
    pub(crate) fallback: usize,
    pub(crate) timed: bool,
    /// Slot of the world table.
    pub(crate) table: usize,
    /// Slot of the overrides by prefix.
    pub(crate) overrides: usize,
}

impl Word {
    pub(crate) fn pack(self) -> u64 {
        self.active as u64
            | (self.fallback as u64) << 2
            | u64::from(self.timed) << 4
            | (self.table as u64) << 5
            | (self.overrides as u64) << 6
            | self.generation.0 << 16
    }

    pub(crate) fn unpack(word: u64) -> Self {
        Self {
            generation: Generation(word >> 16),
            active: (word & 3) as usize,
            fallback: (word >> 2 & 3) as usize,
            timed: word >> 4 & 1 == 1,
            table: (word >> 5 & 1) as usize,
            overrides: (word >> 6 & 1) as usize,
        }
    }
}

impl BankTable {
    pub(crate) fn new(bank: &Bank, deadline: Option<BootTime>, clock: Clock) -> Box<Self> {
        let policy = &*bank.policy;
        let mut table = Box::new(Self {
            generation: bank.generation.0,
            deadline: deadline.map_or(0, |deadline| deadline.0),
            action: match bank.action {
                Action::Pass => 0,
                Action::Observe => 1,
                Action::Enforce => 2,
            },
            disputed: match policy.disputed {
                Disputed::Lenient => 0,
                Disputed::Primary => 1,
                Disputed::Strict => 2,
            },
            drop_hosting: is_drop(policy.hosting),
            reserved: [0; 5],
            drop: [0; 256],
            udp: [0; 1024],
            tcp: [0; 1024],
            boxes: [BoxTable::default(); BOXES],
        });
        table.fill(policy);
        table.add_time_boxes(policy, clock);
        table
    }

    fn add_time_boxes(&mut self, policy: &Policy, clock: Clock) {
        let boxed =
            CountryId::all().filter_map(|country| Some((country, policy.time_box(country)?)));
        for (number, (country, time_box)) in (1_u8..).zip(boxed).take(BOXES - 1) {
            let boot_time = |seconds| clock.boot(UnixTime(seconds)).0;
            let (from, until) = (boot_time(time_box.from), boot_time(time_box.until));
            self.boxes[usize::from(number)] = BoxTable { from, until };
            self.drop[country.index()] |= number << 1;
        }
    }

    fn fill(&mut self, policy: &Policy) {
        let countries = std::iter::once(CountryId::UNKNOWN).chain(CountryId::all());
        for country in countries {
            self.drop[country.index()] = is_drop(policy.country_verdict(country));
        }
        for ports in &policy.scope.0 {
            let bits = match ports.transport {
                Transport::Udp => &mut self.udp,
                Transport::Tcp => &mut self.tcp,
            };
            for port in ports.first..=ports.last {
                bits[usize::from(port >> 6)] |= 1 << (port & 63);
            }
        }
    }
}

/// What tells a bank from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BankHead {
    pub(crate) generation: Generation,
    pub(crate) action: Action,
    pub(crate) deadline: BootTime,
}

impl BankHead {
    /// Reads the first three words of a `struct gf_bank`.
    pub(crate) fn unpack([generation, deadline, rest]: [u64; 3]) -> Self {
        let action = match rest.to_ne_bytes()[0] {
            0 => Action::Pass,
            1 => Action::Observe,
            _ => Action::Enforce,
        };
        Self { generation: Generation(generation), action, deadline: BootTime(deadline) }
    }
}

fn is_drop(verdict: Verdict) -> u8 {
    u8::from(verdict == Verdict::Drop)
}

/// A bucket as the programs read it; `entry` says what an entry id stands for.
pub(crate) fn pack_bucket(bucket: Bucket, entry: impl FnOnce(EntryId) -> u32) -> u32 {
    let many = dxr::MANY as u32;
    match bucket {
        Bucket::Entry(id) => entry(id),
        Bucket::Borders { base, count } => {
            let count = if count < many { count } else { many - 1 + count / many };
            BUCKET_BORDERS | count << BUCKET_BASE_BITS | base
        }
    }
}

/// A border as the programs read it: what they compare comes first.
pub(crate) trait Border: Sized {
    /// The low bits of its address.
    type Suffix: Copy;

    fn pack(suffix: Self::Suffix, entry: EntryId) -> Self;
}

impl Border for u32 {
    type Suffix = u16;

    fn pack(suffix: u16, entry: EntryId) -> Self {
        u32::from(suffix) << 16 | u32::from(entry)
    }
}

impl Border for u64 {
    type Suffix = u64;

    fn pack(suffix: u64, entry: EntryId) -> Self {
        suffix << 16 | u64::from(entry)
    }
}

pub(crate) fn pack_entry(entry: &Entry) -> u32 {
    entry.primary.index() as u32
        | (entry.second.index() as u32) << 8
        | if entry.hosting { ENTRY_HOSTING } else { 0 }
}

/// The value of `gf_interfaces`.
pub(crate) fn pack_local_sources(local: LocalSources) -> u32 {
    u32::from(local.private_v4) | u32::from(local.private_v6) << 1 | u32::from(local.loopback) << 2
}

/// Adds up what each CPU counted.
pub(crate) fn sum_counters<'a>(tables: impl Iterator<Item = &'a CounterTable>) -> Counters {
    let mut sum = Counters::default();
    for table in tables {
        for (into, from) in sum.by_country.iter_mut().zip(&table.country[..CODES.len()]) {
            add(into, from);
        }
        for (into, from) in sum.by_reason.iter_mut().zip(&table.reason) {
            add(into, from);
        }
        sum.skipped_events += table.skipped_events;
        sum.lost_peers += table.lost_peers;
    }
    sum
}

fn add(into: &mut Outcomes, from: &[RawTraffic; 3]) {
    let traffic = |raw: &RawTraffic| Traffic { packets: raw.packets, bytes: raw.bytes };
    into.passed += traffic(&from[0]);
    into.dropped += traffic(&from[1]);
    into.would_drop += traffic(&from[2]);
}

/// Reads a `struct gf_event`; `None` if it is not one.
pub(crate) fn unpack_event(raw: &[u8]) -> Option<DropEvent> {
    let (head, payload) = raw.split_at_checked(EVENT_HEAD)?;
    let u64_at = |at: usize| Some(u64::from_ne_bytes(head.get(at..at + 8)?.try_into().ok()?));
    let u32_at = |at: usize| Some(u32::from_ne_bytes(head.get(at..at + 4)?.try_into().ok()?));
    let u16_at = |at: usize| Some(u16::from_ne_bytes(head.get(at..at + 2)?.try_into().ok()?));
    let source: [u8; 16] = head[16..32].try_into().ok()?;
    let source = match head[44] {
        4 => IpAddr::V4(Ipv4Addr::new(source[0], source[1], source[2], source[3])),
        _ => IpAddr::V6(Ipv6Addr::from(source)),
    };
    Some(DropEvent {
        time: BootTime(u64_at(0)?),
        generation: Generation(u64_at(8)?),
        enforced: head[48] == 1,
        reason: *Reason::ALL.get(usize::from(head[46]))?,
        country: CountryId::new(head[47])?,
        interface: u32_at(32)?,
        source,
        protocol: head[45],
        source_port: u16_at(40)?,
        destination_port: u16_at(42)?,
        length: u32_at(36)?,
        packets: u32_at(52)?,
        payload: payload.get(..usize::from(u16_at(50)?).min(PAYLOAD))?.to_vec(),
    })
}
