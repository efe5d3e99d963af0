//! The world table: from its image, as it comes with the program or as a file, to what the kernel searches.

#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

mod support;

use std::hint::black_box;
use std::net::IpAddr;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use geofilter_core::dxr::Dxr;
use geofilter_core::geodata::{AsTable, WorldData, embedded};

/// An image to the table that every lookup asks, in bytes of the image.
fn decode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode");
    group.throughput(Throughput::Bytes(embedded::WORLD.len() as u64));
    group.bench_function("world image", |bench| {
        bench.iter_with_large_drop(|| embedded::world_image().unwrap().world().unwrap());
    });
    group.bench_function("world image, with what each source says", |bench| {
        bench.iter_with_large_drop(|| WorldData::decode(embedded::WORLD).unwrap());
    });
    group.throughput(Throughput::Bytes(embedded::ASNS.len() as u64));
    group.bench_function("AS image", |bench| {
        bench.iter_with_large_drop(|| AsTable::decode(embedded::ASNS).unwrap());
    });
}

/// What is said of one address, with nothing decoded before.
fn find(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("find in the image");
    group.throughput(Throughput::Elements(1));
    for address in ["80.58.61.250", "2001:41d0::1"] {
        let address: IpAddr = address.parse().unwrap();
        group.bench_function(format!("what the sources say of {address}"), |bench| {
            bench.iter(|| embedded::world_image().unwrap().says(black_box(address)).unwrap());
        });
        group.bench_function(format!("who announces {address}"), |bench| {
            bench.iter(|| embedded::as_image().unwrap().announced_by(black_box(address)).unwrap());
        });
    }
}

/// What the sources say to the table, and that to the kernel's, in borders.
fn build(criterion: &mut Criterion) {
    let WorldData { edition, sources, world } = embedded::world().unwrap();
    let mut group = criterion.benchmark_group("build");
    group.throughput(Throughput::Elements((sources.v4.len() + sources.v6.len()) as u64));
    group.bench_function("world from what the sources say", |bench| {
        bench.iter_batched(
            || (edition.clone(), sources.clone()),
            |(edition, sources)| WorldData::new(edition, sources).unwrap(),
            BatchSize::LargeInput,
        );
    });
    group.throughput(Throughput::Elements((world.v4().len() + world.v6().len()) as u64));
    group.bench_function("kernel table from the world", |bench| {
        bench.iter_with_large_drop(|| Dxr::compile(&world).unwrap());
    });
}

criterion_group!(name = benches; config = support::criterion(); targets = decode, find, build);
criterion_main!(benches);
