//! The book against an oracle that keeps plain lists, and one address at a time against the whole table.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::IpAddr;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::desired::BootTime;

use crate::geodata::{AsNumber, AsTable, Layer};
use crate::overrides::{AddressKey, Spans};
use crate::steps::{Range, Steps};

const NAMES: [&str; 2] = ["sip.example.com", "trunk.example.net"];

/// AS1 announces 203.0.113.0 to 203.0.113.8, whose last piece is a single address, and a /64.
fn systems() -> AsTable {
    let number = AsNumber::new(1);
    let v4 = Range { first: 0xcb00_7100_u32, last: 0xcb00_7108 };
    let v6 = Range {
        first: 0x2a00_0001_u128 << 96,
        last: (0x2a00_0001_u128 << 96) | u128::from(u64::MAX),
    };
    let layer = Layer {
        v4: Steps::from_ranges(None, vec![(v4, number)]),
        v6: Steps::from_ranges(None, vec![(v6, number)]),
    };
    AsTable::new(layer, number.map(|number| (number, "ONE")))
}

fn clock() -> Clock {
    Clock::new(BootTime(0), Duration::ZERO)
}

fn target() -> impl Strategy<Value = (Kind, Target)> {
    let texts = [
        "203.0.113.7",
        "203.0.113.8",
        "203.0.113.8/31",
        "203.0.113.0/24",
        "2a00:1::/64",
        "2a00:1::5/128",
        "2a00:1::/48",
        "AS1",
        "sip.example.com",
        "trunk.example.net",
        "@telnyx",
        "192.76.120.10",
    ];
    let kind = prop_oneof![Just(Kind::Exemption), Just(Kind::Ban)];
    let target =
        prop::sample::select(texts.to_vec()).prop_map(|text| text.parse::<Target>().unwrap());
    (kind, target).prop_filter("can't be banned", |(kind, target)| target.check(*kind).is_ok())
}

#[derive(Debug, Clone)]
enum Step {
    Put(Kind, Target, Origin, Option<u64>),
    Remove(Kind, Target, Option<Origin>),
    Answer(usize, Vec<u8>),
    Later(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let origin = prop_oneof![
        Just(Origin::Operator),
        Just(Origin::Fail2ban),
        Just(Origin::Pbx),
        Just(Origin::Fleet)
    ];
    prop_oneof![
        4 => (target(), origin.clone(), prop::option::of(0..20_u64))
            .prop_map(|((kind, target), origin, end)| Step::Put(kind, target, origin, end)),
        2 => (target(), prop::option::of(origin))
            .prop_map(|((kind, target), origin)| Step::Remove(kind, target, origin)),
        1 => (0..NAMES.len(), vec(6..10_u8, 0..3)).prop_map(|(name, last)| Step::Answer(name, last)),
        1 => (1..5_u64).prop_map(Step::Later),
    ]
}

/// Lists, and nothing else.
#[derive(Default)]
struct Oracle {
    records: Vec<(Kind, Target, Origin, Option<u64>)>,
    names: BTreeMap<HostName, Resolution>,
    now: u64,
}

impl Oracle {
    fn take(&mut self, step: &Step) {
        match step {
            Step::Put(kind, target, origin, end) => {
                self.records.retain(|(k, t, o, _)| (k, t, o) != (kind, target, origin));
                self.records.push((*kind, target.clone(), *origin, *end));
            }
            Step::Remove(kind, target, origin) => self.records.retain(|(k, t, o, _)| {
                (k, t) != (kind, target) || origin.is_some_and(|origin| origin != *o)
            }),
            Step::Answer(name, last) => {
                let name: HostName = NAMES[*name].parse().unwrap();
                if self.records.iter().any(|(_, target, _, _)| target.names().contains(&name)) {
                    let known = self.names.entry(name).or_default();
                    *known = known.after(&answer(last), UnixTime(self.now));
                }
            }
            Step::Later(seconds) => self.now += seconds,
        }
        let now = self.now;
        self.records.retain(|(_, _, _, end)| end.is_none_or(|end| now < end));
        let wanted = |name: &HostName| {
            self.records.iter().any(|(_, target, _, _)| target.names().contains(name))
        };
        let wanted: HashSet<_> = self.names.keys().filter(|name| wanted(name)).cloned().collect();
        self.names.retain(|name, _| wanted.contains(name));
    }

    fn holds(&self, wanted: Kind, source: IpAddr, systems: &AsTable, at: u64) -> bool {
        self.records.iter().filter(|(kind, ..)| *kind == wanted).any(|(_, target, _, end)| {
            let named =
                target.names().iter().filter_map(|name| self.names.get(name)).any(|known| {
                    known.addresses().any(|(address, until)| {
                        address == source && until.is_none_or(|until| UnixTime(at) < until)
                    })
                });
            let covers = match target {
                Target::Address(address) => *address == source,
                Target::Prefix(prefix) => prefix.contains(&source),
                Target::System(number) => {
                    systems.lookup(source).is_some_and(|found| found.number == *number)
                }
                Target::Provider(provider) => {
                    provider.prefixes.iter().any(|net| net.contains(&source))
                }
                Target::Name(_) => false,
            };
            (covers || named) && end.is_none_or(|end| at < end)
        })
    }
}

fn answer(last: &[u8]) -> Answer {
    let addresses: BTreeSet<_> =
        last.iter().map(|last| IpAddr::from([203, 0, 113, *last])).collect();
    Answer::Addresses { addresses, ttl: 60, incomplete: None }
}

/// The edits that a step comes to.
fn edits(book: &Book, step: &Step, now: u64) -> Vec<Edit> {
    match step {
        Step::Put(kind, target, origin, end) => {
            let record = Record {
                target: target.clone(),
                origin: *origin,
                until: end.map(UnixTime),
                note: Note::default(),
                added: UnixTime(now),
            };
            vec![Edit::Put { kind: *kind, record }]
        }
        Step::Remove(kind, target, origin) => book.removal(*kind, target, *origin),
        Step::Answer(name, last) => {
            let name: HostName = NAMES[*name].parse().unwrap();
            let known = book.resolution(&name).cloned().unwrap_or_default();
            let wanted = book.wanted_names().contains(&name);
            let resolution = known.after(&answer(last), UnixTime(now));
            wanted.then_some(Edit::Resolve { name, resolution }).into_iter().collect()
        }
        Step::Later(_) => Vec::new(),
    }
}

fn sources() -> Vec<IpAddr> {
    let texts = [
        "203.0.113.6",
        "203.0.113.7",
        "203.0.113.8",
        "203.0.113.9",
        "203.0.113.200",
        "192.76.120.10",
        "2a00:1::5",
        "2a00:1::6",
        "2a00:1:0:1::",
        "198.51.100.1",
    ];
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

    #[test]
    fn the_table_says_what_was_asked_for(steps in vec(step(), 1..20)) {
        let (systems, clock) = (systems(), clock());
        let (mut book, mut oracle) = (Book::default(), Oracle::default());
        for step in &steps {
            let change = edits(&book, step, oracle.now);
            book.change(change).unwrap();
            oracle.take(step);
            let sweep = book.sweep(UnixTime(oracle.now));
            book.change(sweep).unwrap();
        }
        prop_assert_eq!(book.size(), oracle.records.len() + oracle.names.len());
        let table = Compiled::new(&book, clock, Some(&systems)).unwrap().table;
        for source in sources() {
            for at in [oracle.now, oracle.now + 7, oracle.now + 100, oracle.now + 10_000] {
                let spans = table.lookup(source);
                let now = clock.boot(UnixTime(at));
                let exempt = oracle.holds(Kind::Exemption, source, &systems, at);
                // Where an address is exempt as its /64 too, a /128 is.
                prop_assert_eq!(spans.exempt.holds(now), exempt, "{} exempt at {}", source, at);
                let banned = oracle.holds(Kind::Ban, source, &systems, at);
                prop_assert_eq!(spans.ban.holds(now), banned, "{} banned at {}", source, at);
                let announced = systems.lookup(source).map(|found| found.number);
                let covers = book.covering(source, announced, UnixTime(at));
                for (kind, holds) in [(Kind::Exemption, exempt), (Kind::Ban, banned)] {
                    prop_assert_eq!(covers.iter().any(|cover| cover.kind == kind), holds);
                }
            }
        }
    }

    #[test]
    fn one_address_at_a_time_comes_to_the_same_table(steps in vec(step(), 1..20)) {
        let (systems, clock) = (systems(), clock());
        let mut book = Book::default();
        let mut kept = Compiled::new(&book, clock, Some(&systems)).unwrap();
        for step in &steps {
            let change = edits(&book, step, 0);
            let single = |edit: &Edit| match edit {
                Edit::Put { record, .. } => record.target.single(),
                Edit::Remove { target, .. } => target.single(),
                Edit::Resolve { .. } | Edit::Forget { .. } => None,
            };
            let keys: Option<Vec<AddressKey>> = change.iter().map(single).collect();
            book.change(change).unwrap();
            let whole = Compiled::new(&book, clock, Some(&systems)).unwrap();
            let changes: Option<Vec<(AddressKey, Spans)>> = match keys {
                Some(keys) => Some(keys.into_iter().map(|key| (key, kept.spans(&book, key))).collect()),
                None => kept.difference(&whole, 100),
            };
            match changes {
                Some(changes) => {
                    for (key, spans) in changes {
                        kept.set(key, spans);
                    }
                    prop_assert_eq!(&kept.table, &whole.table);
                    kept = whole;
                }
                None => kept = whole,
            }
        }
    }

    #[test]
    fn every_change_can_be_undone(before in vec(step(), 0..10), after in vec(step(), 1..10)) {
        let mut book = Book::default();
        for step in &before {
            let change = edits(&book, step, 0);
            book.change(change).unwrap();
        }
        let (kept, mut inverses) = (book.clone(), Vec::new());
        for step in &after {
            let change = edits(&book, step, 0);
            inverses.push(book.change(change).unwrap());
        }
        let mut again = Book::default();
        again.change(book.edits().collect()).unwrap();
        prop_assert_eq!(&again, &book);
        inverses.into_iter().rev().for_each(|inverse| book.replay(inverse));
        prop_assert_eq!(book, kept);
    }
}

fn put(kind: Kind, target: Target) -> Edit {
    let note = Note::default();
    Edit::Put {
        kind,
        record: Record { target, origin: Origin::Operator, until: None, note, added: UnixTime(0) },
    }
}

#[test]
fn a_change_that_names_a_target_twice_is_undone_in_reverse() {
    let mut book = Book::default();
    let target = numbered(1);
    let twice = vec![put(Kind::Ban, target.clone()), put(Kind::Ban, target.clone())];
    let inverse = book.change(twice).unwrap();
    assert_eq!(book.size(), 1);
    book.replay(inverse);
    assert_eq!(book, Book::default());
}

#[test]
fn an_address_of_a_name_ends_with_its_hour_or_its_exemption() {
    let end = |until: u64| {
        let mut record = put(Kind::Exemption, NAMES[0].parse().unwrap());
        if let Edit::Put { record, .. } = &mut record {
            record.until = Some(UnixTime(until));
        }
        let first = Resolution::default().after(&answer(&[6]), UnixTime(0));
        let resolution = first.after(&answer(&[7]), UnixTime(10));
        let name = NAMES[0].parse().unwrap();
        let mut book = Book::default();
        book.change(vec![record, Edit::Resolve { name, resolution }]).unwrap();
        let table = Compiled::new(&book, clock(), None).unwrap().table;
        let end =
            |last| table.lookup([203, 0, 113, last].into()).exempt.nanoseconds() / 1_000_000_000;
        (end(6), end(7))
    };
    assert_eq!(end(100_000), (10 + names::LINGER, 100_000));
    assert_eq!(end(60), (60, 60));
}

fn numbered(number: usize) -> Target {
    Target::Address(IpAddr::from((0x0200_0000 + number as u32).to_be_bytes()))
}

#[test]
fn no_more_bans_are_taken_than_fit() {
    let mut book = Book::default();
    let bans = (0..MAX_ADDRESS_BANS).map(|number| put(Kind::Ban, numbered(number)));
    book.change(bans.collect()).unwrap();
    let full = book.clone();
    let one_more = vec![put(Kind::Ban, numbered(7)), put(Kind::Ban, numbered(MAX_ADDRESS_BANS))];
    let error = book.change(one_more).unwrap_err();
    assert_eq!((error.limit, error.found), (MAX_ADDRESS_BANS, MAX_ADDRESS_BANS + 1));
    assert_eq!(book, full, "a part of what was refused is there");
    book.change(vec![put(Kind::Ban, numbered(7))]).unwrap();
    let removal = book.removal(Kind::Ban, &numbered(7), None);
    book.change(removal).unwrap();
    book.change(vec![put(Kind::Ban, numbered(MAX_ADDRESS_BANS))]).unwrap();
    assert!(Compiled::new(&book, clock(), None).is_ok());
}

#[test]
fn no_more_exemptions_and_names_are_taken_than_fit() {
    let mut book = Book::default();
    let exemptions = (0..MAX_OTHERS).map(|number| put(Kind::Exemption, numbered(number)));
    book.change(exemptions.collect()).unwrap();
    let one_more = vec![put(Kind::Ban, "203.0.112.0/23".parse().unwrap())];
    assert_eq!(book.change(one_more).unwrap_err().limit, MAX_OTHERS);
    let mut book = Book::default();
    let name = |number: usize| Target::Name(format!("trunk{number}.example").parse().unwrap());
    book.change((0..MAX_NAMES).map(|number| put(Kind::Exemption, name(number))).collect()).unwrap();
    let error = book.change(vec![put(Kind::Exemption, name(MAX_NAMES))]).unwrap_err();
    assert_eq!((error.what, error.limit), ("host names", MAX_NAMES));
}

#[test]
fn a_step_of_the_clock_moves_the_ends() {
    let mut book = Book::default();
    let mut record = put(Kind::Ban, numbered(1));
    if let Edit::Put { record, .. } = &mut record {
        record.until = Some(UnixTime(100));
    }
    book.change(vec![record]).unwrap();
    let source = IpAddr::from([2, 0, 0, 1]);
    let end = |ahead| {
        let clock = Clock::new(BootTime(0), Duration::from_secs(ahead));
        let spans = Compiled::new(&book, clock, None).unwrap().table.lookup(source);
        spans.ban.nanoseconds() / 1_000_000_000
    };
    assert_eq!((end(0), end(40)), (100, 60));
    assert_eq!(end(100), 0, "what has ended before the machine started is nothing");
}
