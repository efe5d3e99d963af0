//! [`Samples`]: what packets that the rules log say of all that the rules count. The counters are exact, and know no
//! countries; the samples know them, and are some of the packets.
//!
//! Each chain that counts logs twice: the header of any packet, for the figures, and of what is dropped also one by the turn of its
//! source, for the log, so that a flood hides nobody there. While the kernel logs every header the figures are exact.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::IpAddr;

use geofilter_core::counters::{Counters, Outcomes, Reason, Traffic};
use geofilter_core::country::CountryId;
use geofilter_core::desired::{BootTime, Generation};
use geofilter_core::event::DropEvent;
use geofilter_core::packet::{Excerpt, Upper};
use geofilter_core::policy::Transport;
use geofilter_core::seen::{Count, MAX_SOURCES, source_of};

use crate::parsers::LoggedPacket;

use super::counted_as;
use super::log::{Log, Logged, logged};
use super::script::{COUNTED, COUNTERS, TOLD};

/// Bytes below IP, which nftables does not count: an Ethernet header.
const LINK: u32 = 14;

/// See the module.
pub(super) struct Samples {
    log: Log,
    classes: BTreeMap<&'static str, Class>,
    by_country: Vec<Outcomes>,
    sources: HashMap<IpAddr, Source>,
    /// How often it has read.
    round: u64,
    /// Drops that were counted before it began, and those that were told since.
    before: u64,
    told: u64,
    events: Vec<DropEvent>,
}

/// The packets of one counter.
#[derive(Default)]
struct Class {
    /// What was counted at the round before.
    counted: Traffic,
    /// What the samples stand for.
    shared_out: Traffic,
    /// The samples of the last round that had any. What was counted then and not logged came beside them.
    last: Vec<Sample>,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    source: IpAddr,
    country: CountryId,
    bytes: u32,
}

impl Sample {
    /// What it stands for if every packet is logged.
    fn alone(&self) -> Traffic {
        Traffic { packets: 1, bytes: self.bytes.into() }
    }
}

#[derive(Default)]
struct Source {
    passed: u64,
    dropped: u64,
    /// Drops since the last one that was told.
    untold: u64,
    /// The round in which it was seen last.
    round: u64,
}

/// What the policy in force says of a source by the world table.
pub(super) struct Judged {
    pub(super) country: CountryId,
    pub(super) reason: Reason,
}

/// A packet that was logged.
struct Read {
    counter: &'static str,
    is_told: bool,
    interface: u32,
    source: IpAddr,
    upper: Upper,
    bytes: u32,
    payload: Vec<u8>,
}

impl Read {
    fn new(logged: &Logged<'_>) -> Option<Self> {
        let (purpose, counter) = logged.prefix.split_once(' ')?;
        let excerpt = Excerpt::from_ip(logged.packet)?;
        Some(Self {
            counter: COUNTERS.into_iter().find(|it| *it == counter)?,
            is_told: match purpose {
                COUNTED => false,
                TOLD => true,
                _ => return None,
            },
            interface: logged.interface,
            source: excerpt.packet.source,
            upper: excerpt.packet.upper,
            bytes: excerpt.length,
            payload: excerpt.payload.to_vec(),
        })
    }
}

/// What of a datagram of logged packets counts, for [`parsers`](crate::parsers).
pub(crate) fn read(datagram: &[u8]) -> Vec<LoggedPacket> {
    let read = logged(datagram).filter_map(|it| Read::new(&it));
    read.map(|Read { source, bytes, payload, .. }| LoggedPacket { source, bytes, payload })
        .collect()
}

impl Samples {
    /// Begins, beside counters that may have counted before.
    pub(super) fn new(log: Log, counters: &BTreeMap<String, Traffic>) -> Self {
        let mut samples = Self {
            log,
            classes: BTreeMap::new(),
            by_country: Counters::default().by_country,
            sources: HashMap::new(),
            round: 0,
            before: 0,
            told: 0,
            events: Vec::new(),
        };
        samples.begin(counters);
        samples
    }

    /// The group that rules are to log to.
    pub(super) fn group(&self) -> u16 {
        self.log.group()
    }

    /// What the counters say now is nothing that came since.
    pub(super) fn begin(&mut self, counters: &BTreeMap<String, Traffic>) {
        self.classes = COUNTERS
            .into_iter()
            .map(|name| {
                let traffic = traffic(counters, name);
                (name, Class { counted: traffic, shared_out: traffic, last: Vec::new() })
            })
            .collect();
        (self.before, self.told) = (drops(counters), 0);
    }

    /// Reads what was logged since the last call. The counters were read before.
    ///
    /// # Errors
    /// If the kernel does not answer.
    pub(super) fn take(
        &mut self,
        counters: &BTreeMap<String, Traffic>,
        (now, generation): (BootTime, Generation),
        judge: impl Fn(IpAddr) -> Judged,
    ) -> io::Result<()> {
        self.round += 1;
        let mut read = Vec::new();
        self.log.read(&mut |logged| read.extend(Read::new(&logged)))?;
        let mut new: BTreeMap<&str, Vec<Sample>> = BTreeMap::new();
        for packet in read {
            let Judged { country, reason } = judge(packet.source);
            if packet.is_told {
                let event = self.event(packet, country, reason, (now, generation));
                self.events.push(event);
            } else {
                let Read { counter, source, bytes, .. } = packet;
                let sample = Sample { source, country, bytes };
                self.add(counter, &sample, sample.alone());
                new.entry(counter).or_default().push(sample);
            }
        }
        for name in COUNTERS {
            self.share_out(name, new.remove(name).unwrap_or_default(), traffic(counters, name));
        }
        self.make_room();
        Ok(())
    }

    /// Shares out what was counted until the round before and not logged, among the samples from then on.
    fn share_out(&mut self, name: &'static str, new: Vec<Sample>, counted: Traffic) {
        let class = self.classes.entry(name).or_default();
        new.iter().for_each(|sample| class.shared_out += sample.alone());
        let before = std::mem::replace(&mut class.counted, counted);
        let rest = Traffic {
            packets: before.packets.saturating_sub(class.shared_out.packets),
            bytes: before.bytes.saturating_sub(class.shared_out.bytes),
        };
        let among: Vec<Sample> = class.last.iter().chain(&new).copied().collect();
        if !new.is_empty() {
            class.last = new;
        }
        if rest != Traffic::default() && !among.is_empty() {
            class.shared_out += rest;
            let until =
                |at: usize, of: u64| (u128::from(of) * at as u128 / among.len() as u128) as u64;
            let share = |at: usize, of: u64| until(at + 1, of) - until(at, of);
            for (at, sample) in among.iter().enumerate() {
                let (packets, bytes) = (share(at, rest.packets), share(at, rest.bytes));
                self.add(name, sample, Traffic { packets, bytes });
            }
        }
    }

    /// A sample stands for so much of what a counter counts.
    fn add(&mut self, counter: &str, sample: &Sample, stands_for: Traffic) {
        let Some((reason, outcome)) = counted_as(counter) else { return };
        if reason == Reason::Country {
            *outcome(&mut self.by_country[sample.country.index()]) += stands_for;
        }
        let source = self.sources.entry(source_of(sample.source)).or_default();
        source.round = self.round;
        if counter.starts_with("pass_") {
            source.passed += stands_for.packets;
        } else {
            source.dropped += stands_for.packets;
            source.untold += stands_for.packets;
        }
    }

    fn event(
        &mut self,
        packet: Read,
        country: CountryId,
        reason: Reason,
        (time, generation): (BootTime, Generation),
    ) -> DropEvent {
        self.told += 1;
        let source = self.sources.get_mut(&source_of(packet.source));
        let packets = source.map_or(1, |source| std::mem::take(&mut source.untold).max(1));
        let (protocol, source_port, destination_port) = match packet.upper {
            Upper::Ports { transport: Transport::Udp, source, destination } => {
                (17, source, destination)
            }
            Upper::Ports { transport: Transport::Tcp, source, destination } => {
                (6, source, destination)
            }
            Upper::Other | Upper::Unreadable => (0, 0, 0),
        };
        DropEvent {
            time,
            generation,
            enforced: packet.counter.starts_with("drop_"),
            reason: match counted_as(packet.counter) {
                Some((counted, _)) if counted != Reason::Country => counted,
                _ => reason,
            },
            country,
            interface: packet.interface,
            source: packet.source,
            protocol,
            source_port,
            destination_port,
            length: packet.bytes + LINK,
            packets: u32::try_from(packets).unwrap_or(u32::MAX),
            payload: packet.payload,
        }
    }

    /// Half of the sources go, those that were seen longest ago.
    fn make_room(&mut self) {
        if self.sources.len() > MAX_SOURCES {
            let mut rounds: Vec<u64> = self.sources.values().map(|source| source.round).collect();
            let (_, median, _) = rounds.select_nth_unstable(MAX_SOURCES / 2);
            let median = *median;
            self.sources.retain(|_, source| source.round > median);
        }
    }

    /// What the counters say, with what the samples say of countries.
    pub(super) fn complete(&self, counters: &BTreeMap<String, Traffic>, into: &mut Counters) {
        into.by_country.clone_from(&self.by_country);
        into.skipped_events = drops(counters).saturating_sub(self.before + self.told);
    }

    /// Who sent packets.
    pub(super) fn sources(&self) -> Vec<Count> {
        let count = |(address, source): (&IpAddr, &Source)| Count {
            source: *address,
            // Beyond that it begins anew.
            passed: source.passed as u32,
            dropped: source.dropped as u32,
        };
        self.sources.iter().map(count).collect()
    }

    /// The drops that were told since the last call.
    pub(super) fn events(&mut self) -> Vec<DropEvent> {
        std::mem::take(&mut self.events)
    }
}

fn traffic(counters: &BTreeMap<String, Traffic>, name: &str) -> Traffic {
    counters.get(name).copied().unwrap_or_default()
}

/// Packets that were dropped, or would have been.
fn drops(counters: &BTreeMap<String, Traffic>) -> u64 {
    let drops = COUNTERS.into_iter().filter(|name| !name.starts_with("pass_"));
    drops.map(|name| traffic(counters, name).packets).sum()
}
