//! The world table: from its image, as it comes with the program or as a file, to what the kernel searches.

#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

mod support;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use geofilter_core::dxr::Dxr;
use geofilter_core::geodata::{AsTable, WorldData, embedded};

/// An image to the table that every lookup asks, in bytes of the image.
fn decode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode");
    group.throughput(Throughput::Bytes(embedded::WORLD.len() as u64));
    group.bench_function("world image", |bench| {
        bench.iter_with_large_drop(|| WorldData::decode(embedded::WORLD).unwrap());
    });
    group.throughput(Throughput::Bytes(embedded::ASNS.len() as u64));
    group.bench_function("AS image", |bench| {
        bench.iter_with_large_drop(|| AsTable::decode(embedded::ASNS).unwrap());
    });
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

criterion_group!(name = benches; config = support::criterion(); targets = decode, build);
criterion_main!(benches);
