//! From the [`Book`] to what a data plane searches: [`Compiled`] holds the whole table, and what has to be
//! known to change one address in it without making it anew.

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv4Subnets, Ipv6Net, Ipv6Subnets};

use super::record::sooner;
use super::{Book, Clock, Kind, Record, Resolution, Target, UnixTime};
use crate::decide::{Overrides, Timed};
use crate::dxr::CapacityExceeded;
use crate::geodata::{AsNumber, AsTable};
use crate::overrides::{AddressKey, Span, Spans, Table};

/// A book as a data plane searches it.
#[derive(Debug, Clone)]
pub struct Compiled {
    /// What a data plane is given.
    pub table: Table,
    /// What the table says of single addresses for another reason than a record of just that address:
    /// because a name has it, a provider lists it or an AS announces it.
    shared: HashMap<AddressKey, Spans>,
    clock: Clock,
}

/// A record that covers an address, and how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cover<'a> {
    /// Exemption or ban.
    pub kind: Kind,
    /// The record.
    pub record: &'a Record,
    /// When it ends for this address.
    pub until: Option<UnixTime>,
}

impl Compiled {
    /// Compiles a book; `systems` is needed where a record names an autonomous system.
    ///
    /// # Errors
    /// [`CapacityExceeded`] if there is more than a data plane holds.
    pub fn new(
        book: &Book,
        clock: Clock,
        systems: Option<&AsTable>,
    ) -> Result<Self, CapacityExceeded> {
        let mut overrides = Overrides::default();
        let mut shared: HashMap<AddressKey, Spans> = HashMap::new();
        for kind in [Kind::Exemption, Kind::Ban] {
            for record in book.records(kind) {
                for Ending { value: prefix, until } in book.prefixes(record, systems) {
                    let until = until.map(|until| clock.boot(until));
                    let timed = Timed { value: prefix, until };
                    let of_its_own = record.target.single().is_some();
                    if let (Some(key), false) = (AddressKey::exactly(prefix), of_its_own) {
                        let known = shared.entry(key).or_default();
                        *known = known.max(spans(kind, Span::until(until)));
                    }
                    match kind {
                        Kind::Exemption => overrides.exemptions.push(timed),
                        Kind::Ban => overrides.bans.push(timed),
                    }
                }
            }
        }
        let mut table = Table::compile(&overrides)?;
        table.addresses.retain(|_, spans| *spans != Spans::NONE);
        Ok(Self { table, shared, clock })
    }

    /// The clock it was compiled with.
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// What is known of one address after records of just that address have changed.
    pub fn spans(&self, book: &Book, key: AddressKey) -> Spans {
        let target = Target::of_single(key);
        let of = |kind| {
            let ends = book.records_for(kind, &target);
            let ends = ends.map(|record| record.until.map(|until| self.clock.boot(until)));
            spans(kind, ends.map(Span::until).max().unwrap_or_default())
        };
        let shared = self.shared.get(&key).copied().unwrap_or_default();
        of(Kind::Exemption).max(of(Kind::Ban)).max(shared)
    }

    /// Keeps the table as the data plane's is, after one address was changed there.
    pub fn set(&mut self, key: AddressKey, spans: Spans) {
        self.table.set(key, spans);
    }

    /// The addresses to change one by one to come from this table to another; `None` if more differs than
    /// addresses, or more than `most` of them.
    pub fn difference(&self, other: &Self, most: usize) -> Option<Vec<(AddressKey, Spans)>> {
        let (ours, theirs) = (&self.table.addresses, &other.table.addresses);
        if self.table.prefixes != other.table.prefixes {
            return None;
        }
        let gone = ours.keys().filter(|key| !theirs.contains_key(key));
        let gone = gone.map(|key| (*key, Spans::NONE));
        let new = theirs.iter().filter(|(key, spans)| ours.get(key) != Some(spans));
        let changes: Vec<_> =
            gone.chain(new.map(|(key, spans)| (*key, *spans))).take(most + 1).collect();
        (changes.len() <= most).then_some(changes)
    }
}

/// A prefix, and when it ends.
struct Ending {
    value: IpNet,
    until: Option<UnixTime>,
}

fn spans(kind: Kind, span: Span) -> Spans {
    match kind {
        Kind::Exemption => Spans { exempt: span, ..Spans::NONE },
        Kind::Ban => Spans { ban: span, ..Spans::NONE },
    }
}

impl Book {
    /// Whatever is exempt at this time.
    pub fn exempt(&self, systems: Option<&AsTable>, now: UnixTime) -> Vec<IpNet> {
        let records = self.records(Kind::Exemption).filter(|record| record.holds(now));
        let prefixes = records.flat_map(|record| self.prefixes(record, systems));
        let holds = |ending: &Ending| ending.until.is_none_or(|until| now < until);
        prefixes.filter(holds).map(|ending| ending.value).collect()
    }

    /// The prefixes that a record stands for, with their ends.
    fn prefixes(&self, record: &Record, systems: Option<&AsTable>) -> Vec<Ending> {
        let whole = |value: IpNet| Ending { value, until: record.until };
        match &record.target {
            Target::Address(address) => vec![whole((*address).into())],
            Target::Prefix(prefix) => vec![whole(*prefix)],
            Target::System(number) => systems
                .map_or_else(Vec::new, |systems| announced(systems, *number))
                .into_iter()
                .map(whole)
                .collect(),
            Target::Name(_) | Target::Provider(_) => {
                let listed = match &record.target {
                    Target::Provider(provider) => provider.prefixes.as_slice(),
                    Target::Address(_)
                    | Target::Prefix(_)
                    | Target::Name(_)
                    | Target::System(_) => &[],
                };
                let listed = listed.iter().copied().map(whole);
                let named = self.named(record);
                listed
                    .chain(named.map(|(address, until)| Ending { value: address.into(), until }))
                    .collect()
            }
        }
    }

    /// The addresses that a record stands for by name.
    fn named(&self, record: &Record) -> impl Iterator<Item = (IpAddr, Option<UnixTime>)> {
        let resolutions = record.target.names().iter().filter_map(|name| self.resolution(name));
        let until = record.until;
        resolutions
            .flat_map(Resolution::addresses)
            .map(move |(address, lingers)| (address, sooner(until, lingers)))
    }

    /// The records that cover an address, longest first; `announced_by` is the AS that announces it.
    pub fn covering(
        &self,
        address: IpAddr,
        announced_by: Option<AsNumber>,
        now: UnixTime,
    ) -> Vec<Cover<'_>> {
        let mut covers = Vec::new();
        for kind in [Kind::Exemption, Kind::Ban] {
            for record in self.records(kind).filter(|record| record.holds(now)) {
                let until = self.cover(record, address, announced_by);
                let until = until.filter(|until| until.is_none_or(|until| now < until));
                covers.extend(until.map(|until| Cover { kind, record, until }));
            }
        }
        covers.sort_by_key(|cover| (cover.until.is_some(), std::cmp::Reverse(cover.until)));
        covers
    }

    /// How long a record covers an address, if it does.
    fn cover(
        &self,
        record: &Record,
        address: IpAddr,
        announced_by: Option<AsNumber>,
    ) -> Option<Option<UnixTime>> {
        let covered = match &record.target {
            Target::Address(one) => *one == address,
            Target::Prefix(prefix) => prefix.contains(&address),
            Target::System(number) => announced_by == Some(*number),
            Target::Provider(provider) => {
                provider.prefixes.iter().any(|prefix| prefix.contains(&address))
            }
            Target::Name(_) => false,
        };
        if covered {
            return Some(record.until);
        }
        let named = self.named(record).filter(|(named, _)| *named == address);
        named.map(|(_, until)| until).max_by_key(|until| (until.is_none(), *until))
    }
}

/// The space that a system announces, as prefixes.
fn announced(systems: &AsTable, number: AsNumber) -> Vec<IpNet> {
    let v4 = systems.ranges_v4(number).into_iter().flat_map(|range| {
        Ipv4Subnets::new(range.first.into(), range.last.into(), 0)
            .map(|net: Ipv4Net| IpNet::V4(net))
    });
    let v6 = systems.ranges_v6(number).into_iter().flat_map(|range| {
        Ipv6Subnets::new(range.first.into(), range.last.into(), 0)
            .map(|net: Ipv6Net| IpNet::V6(net))
    });
    v4.chain(v6).filter(|net| Target::of_prefix(*net).check(Kind::Exemption).is_ok()).collect()
}
