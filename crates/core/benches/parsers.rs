//! What is read from others: the files of the sources, and the answers of PBXs.

#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

mod support;

use std::fmt::Write;
use std::hint::black_box;
use std::path::Path;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use geofilter_core::geodata::{Listing, delegated, hosting, mmdb, range_csv};
use geofilter_core::pbx::{ami, asterisk, binrpc, kamailio};
use geofilter_core::surroundings;

macro_rules! sample {
    ($name:literal) => {
        include_str!(concat!("../tests/samples/", $name))
    };
}

/// A source in `data/sources`, decompressed by the ending of its name.
fn source(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/sources").join(name);
    let file = std::fs::read(path).unwrap();
    if name.ends_with(".zst") {
        return zstd::decode_all(&file[..]).unwrap();
    }
    let mut content = Vec::new();
    lzma_rs::xz_decompress(&mut &file[..], &mut content).unwrap();
    content
}

/// Measures a reader, in bytes of what it reads.
fn reader<T>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    text: &[u8],
    read: impl Fn(&[u8]) -> T,
) {
    group.throughput(Throughput::Bytes(text.len() as u64));
    group.bench_function(name, |bench| bench.iter_with_large_drop(|| read(black_box(text))));
}

/// The IPv4 part of a listing as the registries would write it.
fn as_delegated(listing: &Listing) -> String {
    let mut text = String::from("2|iana|20261001|1|19830705|20261001|+0000\n");
    for (range, country) in listing.v4.ranges() {
        if let (Some(country), Some(count)) = (country, (range.last - range.first).checked_add(1)) {
            let (code, start) = (country.code(), std::net::Ipv4Addr::from(range.first));
            writeln!(text, "iana|{code}|ipv4|{start}|{count}|20200101|allocated").unwrap();
        }
    }
    text
}

/// Files of countries and of autonomous systems.
fn sources(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("sources");
    for family in ["v4", "v6"] {
        let csv = source(&format!("dbip-country-lite-2026-10-{family}.csv.zst"));
        let name = format!("ranges as CSV, {family}");
        reader(&mut group, &name, &csv, |csv| range_csv::parse(csv).unwrap());
    }
    let registries = source("rir-delegated-iptocc-1.4.175-v4.csv.zst");
    let delegated = as_delegated(&range_csv::parse(&registries[..]).unwrap());
    reader(&mut group, "delegated statistics", delegated.as_bytes(), |text| {
        delegated::parse(text).unwrap()
    });
    let countries = source("dbip-country-lite-2026-09.mmdb.xz");
    reader(&mut group, "MMDB of countries", &countries, |file| {
        mmdb::parse_countries(file).unwrap()
    });
    let systems = source("iptoasn-asn-2026-09.mmdb.xz");
    reader(&mut group, "MMDB of autonomous systems", &systems, |file| {
        mmdb::parse_asns(file).unwrap()
    });
    let hosting = include_bytes!("../../../data/sources/bad-asn-list-2026-03.csv");
    reader(&mut group, "list of hosting systems", hosting, |text| {
        hosting::HostingList::parse(text).unwrap()
    });
}

/// Answers of Asterisk, of its manager interface, and of Kamailio.
fn pbx(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pbx");
    let mut asterisk = |name: &str, text: &str, read: fn(&str) -> usize| {
        reader(&mut group, name, text.as_bytes(), |text| read(&asterisk::plain(text)));
    };
    asterisk("database show registrar", sample!("database-show-registrar-many.txt"), |text| {
        asterisk::registered(text).len()
    });
    asterisk("pjsip show contacts", sample!("pjsip-show-contacts-many.txt"), |text| {
        asterisk::aors_with_static_contacts(text, &[]).len()
    });
    asterisk("pjsip show identifies", sample!("asterisk-pjsip-show-identifies.txt"), |text| {
        asterisk::identifies(text).len()
    });
    asterisk("pjsip list transports", sample!("asterisk-pjsip-list-transports.txt"), |text| {
        asterisk::transports(text).len()
    });
    asterisk("manager interface", sample!("ami-lists.txt"), |text| {
        let events = ami::events(text);
        let registered = ami::registered(&events);
        ami::static_contacts(&events, &registered).len() + ami::registrations(&events).len()
    });
    let dump = include_bytes!("../tests/samples/kamailio-ul-dump.bin");
    reader(&mut group, "kamailio ul.dump", dump, |dump| {
        kamailio::devices(&binrpc::reply(dump).unwrap())
    });
}

/// The rules of other firewalls around a PBX.
fn host(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("host");
    let ruleset = sample!("nft-ruleset.json");
    reader(&mut group, "nftables ruleset", ruleset.as_bytes(), |json| {
        surroundings::nft(json).unwrap()
    });
}

criterion_group!(name = benches; config = support::criterion(); targets = sources, pbx, host);
criterion_main!(benches);
