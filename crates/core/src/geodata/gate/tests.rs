use std::path::Path;
use std::sync::LazyLock;

use super::*;
use crate::country::{CountryCode, CountrySet};
use crate::decide::decide_source;
use crate::geodata::asn::AsNumber;
use crate::geodata::{Layer, Listing, Says, WorldData, embedded, mmdb, range_csv};
use crate::policy::{Mode, Policy};
use crate::steps::{Range, Steps};
use crate::world::Entry;

/// The editions of two months that follow on each other, with the same registries and systems.
static EDITIONS: LazyLock<Editions> = LazyLock::new(Editions::read);

struct Editions {
    data: WorldData,
    september: World,
    october: World,
}

impl Editions {
    fn read() -> Self {
        let data = embedded::world().unwrap();
        let csv = zstd::decode_all(&source("dbip-country-lite-2026-10-v4.csv.zst")[..]).unwrap();
        let mut mmdb = Vec::new();
        let file = source("dbip-country-lite-2026-09.mmdb.xz");
        lzma_rs::xz_decompress(&mut &file[..], &mut mmdb).unwrap();
        let september = with(&data.sources, &mmdb::parse_countries(&mmdb).unwrap());
        let october = with(&data.sources, &range_csv::parse(&csv[..]).unwrap());
        Self { data, september, october }
    }
}

fn source(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/sources").join(name))
        .unwrap()
}

/// The world of what the sources say, with another primary source for IPv4.
fn with(sources: &Layer<Says>, primary: &Listing) -> World {
    let v4 = sources.v4.zip(&primary.v4, |says, listed| {
        Says { primary: listed.unwrap_or_default(), ..says }.entry()
    });
    World::from_steps(&v4, &sources.v6.map(Says::entry)).unwrap()
}

fn id(code: &str) -> CountryId {
    CountryCode::parse(code).unwrap().id()
}

/// A world in which each of these countries has addresses up to this one, one country after the other.
fn world(countries: &[(&str, u32)]) -> World {
    let mut v4 = Steps::with_capacity(0);
    let mut first = 0;
    for (code, last) in countries {
        v4.push(first, Entry { primary: id(code), second: id(code), hosting: false });
        first = last.wrapping_add(1);
    }
    World::from_steps(&v4, &Steps::constant(Entry::UNKNOWN)).unwrap()
}

fn policy() -> Policy {
    let mut countries = CountrySet::EMPTY;
    countries.insert(id("ES"));
    Policy::new(Mode::AllowSelected, countries)
}

fn judged(world: &World, address: IpAddr) -> Verdict {
    decide_source(address, &policy(), world).verdict
}

fn compared(before: &World, after: &World) -> GateReport {
    compare(before, after, &[], judged)
}

fn kinds(report: &GateReport) -> Vec<HeldFor> {
    report.reasons.iter().map(|reason| reason.held_for).collect()
}

const M: u32 = 1_000_000;

#[test]
fn a_normal_month_passes() {
    let report = compared(&EDITIONS.september, &EDITIONS.october);
    assert_eq!(report.reasons, []);
    assert!(!report.held && report.turned.is_empty());
    assert!(report.labelled > 3_000_000_000, "{}", report.labelled);
    let share = report.changed as f64 / report.labelled as f64;
    assert!((0.004..0.008).contains(&share), "{share}");
}

#[test]
fn the_edition_that_calls_amazon_british_is_held() {
    let Editions { data, october, .. } = &*EDITIONS;
    let amazon = embedded::asns().unwrap().ranges_v4(AsNumber::new(16509).unwrap());
    let mut left = 48 * M;
    let british = amazon.into_iter().map_while(|Range { first, last }| {
        let last = last.min(first.checked_add(left.checked_sub(1)?)?);
        left -= last - first + 1;
        Some((Range { first, last }, true))
    });
    let british = Steps::from_ranges(false, british.collect());
    let faulty = data.sources.v4.zip(&british, |says, british| match british {
        true => Says { primary: id("GB"), ..says }.entry(),
        false => says.entry(),
    });
    let faulty = World::from_steps(&faulty, &data.sources.v6.map(Says::entry)).unwrap();
    let report = compared(october, &faulty);
    assert_eq!(kinds(&report)[..2], [HeldFor::Changed, HeldFor::Country]);
    assert!(report.reasons[0].text.starts_with("4"), "{}", report.reasons[0].text);
    assert!(
        report.reasons[1].text.starts_with("United Kingdom (GB) would gain"),
        "{}",
        report.reasons[1].text
    );
    assert_eq!(report.countries[0].country.as_str(), "GB");
}

#[test]
fn so_much_may_change_and_no_more() {
    let before = world(&[("ES", 1000 * M - 1), ("ZZ", u32::MAX)]);
    let within = world(&[("ES", 988 * M - 1), ("PT", 1000 * M - 1), ("ZZ", u32::MAX)]);
    let report = compared(&before, &within);
    assert_eq!(
        (report.held, report.labelled, report.changed),
        (false, 1000 * u64::from(M), 12 * u64::from(M))
    );
    let beyond = world(&[("ES", 988 * M - 2), ("ZZ", u32::MAX)]);
    let report = compared(&before, &beyond);
    assert!(report.held);
    assert_eq!(
        report.reasons[0].text,
        "12.0 million IPv4 addresses would be in another country, 1.2 % of all; in a normal month it is 0.6 %, \
         and 1.2 % at most goes into use by itself"
    );
    let new = compared(&world(&[("ZZ", u32::MAX)]), &before);
    assert_eq!((new.held, new.labelled, new.changed), (false, 0, 0));
}

#[test]
fn so_much_may_a_country_gain_or_lose() {
    let rest = |code: &'static str, end| world(&[(code, end), ("US", 3000 * M), ("ZZ", u32::MAX)]);
    let before = rest("PT", 2 * M - 1);
    assert!(!compared(&before, &rest("PT", 2 * M - 300_000 - 1)).held);
    let less = compared(&before, &rest("PT", 2 * M - 300_000 - 2));
    assert_eq!(kinds(&less), [HeldFor::Country]);
    assert_eq!(
        less.reasons[0].text,
        "Portugal (PT) would lose 15 % of its IPv4 addresses, from 2.0 million to 1.7 million; 15 % at most goes \
         into use by itself"
    );
    assert_eq!(kinds(&compared(&before, &rest("PT", 3 * M))), [HeldFor::Country]);
    assert!(!compared(&rest("PT", M - 1), &rest("FR", M - 1)).held, "too small to count");
}

#[test]
fn watched_addresses_keep_their_verdict() {
    let before = world(&[("ES", 999), ("PT", 1999), ("US", 3000 * M), ("ZZ", u32::MAX)]);
    let after = world(&[("ES", 499), ("FR", 1999), ("US", 3000 * M), ("ZZ", u32::MAX)]);
    let watched = |label: &str, address: &str| Watched {
        label: label.to_owned(),
        address: address.parse().unwrap(),
    };
    let list = [
        watched("trunk sip.example.com", "0.0.2.0"),
        watched("phone 17", "0.0.0.9"),
        watched("phone 18", "0.0.4.0"),
        watched("tunnel", "2002:0:200::1"),
    ];
    let report = compare(&before, &after, &list, judged);
    let labels: Vec<_> = report.turned.iter().map(|turned| turned.label.as_str()).collect();
    assert_eq!(labels, ["trunk sip.example.com", "tunnel"]);
    assert_eq!(
        report.reasons[0].text,
        "trunk sip.example.com (0.0.2.0) is let through now and would be dropped: its country would be FR and no \
         longer ES"
    );
    let exempt = compare(&before, &after, &list, |_, _| Verdict::Pass);
    assert!(!exempt.held);
    let many = vec![list[0].clone(); 12];
    let report = compare(&before, &after, &many, judged);
    assert_eq!((report.turned.len(), report.reasons.len()), (12, MAX_NAMED + 1));
    assert_eq!(
        report.reasons[MAX_NAMED].text,
        "2 more watched addresses would be treated otherwise than now"
    );
}
