//! The decision: a lookup in the world as the oracle and as the kernel do it, the verdict, and the table of
//! exemptions and bans.

#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

#[path = "support/announced.rs"]
mod announced;
mod support;

use std::hint::black_box;
use std::net::IpAddr;

use announced::Announced;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use geofilter_core::clock::Clock;
use geofilter_core::country::select;
use geofilter_core::decide::{Context, LocalSources, Overrides, Timed, decide};
use geofilter_core::desired::BootTime;
use geofilter_core::dxr::Dxr;
use geofilter_core::geodata::embedded;
use geofilter_core::impact::list::{Answers, Tally};
use geofilter_core::overrides::Table;
use geofilter_core::packet::{Frame, Packet, Upper};
use geofilter_core::policy::{Mode, Policy, Transport};
use ipnet::IpNet;

/// As many as do not fit the nearest caches together with what is searched.
const SOURCES: usize = 1 << 16;
const BANS: usize = 100_000;
const EXEMPTIONS: usize = 10_000;

/// Measures a question about single addresses, in addresses.
fn ask<T>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    addresses: &[IpAddr],
    answer: impl Fn(IpAddr) -> T,
) {
    group.throughput(Throughput::Elements(addresses.len() as u64));
    group.bench_function(name, |bench| {
        bench.iter(|| {
            for address in addresses {
                black_box(answer(black_box(*address)));
            }
        });
    });
}

/// A SIP request from an address.
fn request(source: IpAddr) -> Frame {
    let upper = Upper::Ports { transport: Transport::Udp, source: 5060, destination: 5060 };
    Frame::Ip(Packet { source, upper })
}

/// Announced sources, both families.
fn judge(criterion: &mut Criterion) {
    let world = embedded::world().unwrap().world;
    let dxr = Dxr::compile(&world).unwrap();
    let mut announced = Announced::by(&embedded::asns().unwrap());
    let policy = Policy::new(Mode::AllowSelected, select(["ES", "PT", "FR"]).unwrap());
    let context = Context {
        world: &world,
        overrides: &Overrides::default(),
        interface: LocalSources::default(),
        now: BootTime(0),
        clock: Clock::default(),
    };
    for (family, sources) in [("v4", announced.v4(SOURCES)), ("v6", announced.v6(SOURCES))] {
        let mut group = criterion.benchmark_group(format!("judge {family}"));
        ask(&mut group, "lookup in the world", &sources, |source| world.lookup(source));
        ask(&mut group, "lookup in the kernel's table", &sources, |source| dxr.lookup(source));
        ask(&mut group, "verdict on a request", &sources, |source| {
            decide(&request(source), &policy, &context)
        });
    }
}

/// A list of addresses, on one core.
fn preview(criterion: &mut Criterion) {
    let world = embedded::world().unwrap().world;
    let mut announced = Announced::by(&embedded::asns().unwrap());
    let policy = Policy::new(Mode::AllowSelected, select(["ES", "PT", "FR"]).unwrap());
    let mut group = criterion.benchmark_group("preview");
    group.bench_function("a policy made ready", |bench| {
        bench.iter_with_large_drop(|| Answers::new(&policy, &world).unwrap());
    });
    let answers = Answers::new(&policy, &world).unwrap();
    group.throughput(Throughput::Elements(SOURCES as u64));
    for (family, sources) in [("v4", announced.v4(SOURCES)), ("v6", announced.v6(SOURCES))] {
        let list: String = sources.iter().map(|address| format!("{address}\n")).collect();
        group.bench_function(format!("a list, {family}"), |bench| {
            bench.iter(|| {
                let mut tally = Tally::default();
                tally.count(black_box(list.as_bytes()), 1, &answers);
                tally
            });
        });
    }
}

/// Many bans and exemptions, in both.
fn overrides(criterion: &mut Criterion) {
    let mut announced = Announced::by(&embedded::asns().unwrap());
    let timed = |address: IpAddr, length: u8| Timed {
        value: IpNet::new_assert(address, length).trunc(),
        until: Some(BootTime(u64::MAX - 1)),
    };
    let lengths = [20, 22, 24, 28].into_iter().cycle();
    let overrides = Overrides {
        bans: announced.v4(BANS).into_iter().map(|address| timed(address, 32)).collect(),
        exemptions: announced
            .v4(EXEMPTIONS)
            .into_iter()
            .zip(lengths)
            .map(|(address, length)| timed(address, length))
            .collect(),
        peers: Vec::new(),
    };
    let mut group = criterion.benchmark_group("overrides");
    group.throughput(Throughput::Elements((BANS + EXEMPTIONS) as u64));
    group.bench_function("compile 100,000 bans and 10,000 exemptions", |bench| {
        bench.iter_with_large_drop(|| Table::compile(&overrides).unwrap());
    });
    let table = Table::compile(&overrides).unwrap();
    ask(&mut group, "lookup", &announced.v4(SOURCES), |source| table.lookup(source));
}

criterion_group!(name = benches; config = support::criterion(); targets = judge, preview, overrides);
criterion_main!(benches);
