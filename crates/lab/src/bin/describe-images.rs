//! Prints the figures that `docs/geo-data.md` states about the embedded images and their sources.

use std::time::Instant;

use anyhow::Result;
use geofilter_core::country::CountryId;
use geofilter_core::geodata::{AsNumber, Says, embedded, merge};
use geofilter_core::steps::{Range, Steps};
use geofilter_core::world::World;
use geofilter_lab::images::{Sources, data_folder};

fn main() -> Result<()> {
    time("decode the world image", embedded::world)?;
    time("decode the AS image", embedded::asns)?;
    let data = embedded::world()?;
    describe_world(&data.world);
    let sources = Sources::read(&data_folder())?;
    describe_mask(&sources);
    describe_hosting(&sources);
    println!("\ndisputed: {:.2} % of announced IPv4", {
        let says = data.sources.v4.zip(&sources.asns.layer().v4, |says, asn| (says, asn.is_some()));
        let disputed =
            share(&says, |(says, announced): (Says, bool)| announced && says.entry().disputed());
        100.0 * disputed / share(&says, |(_, announced)| announced)
    });
    Ok(())
}

fn time<T, E>(what: &str, run: impl Fn() -> Result<T, E>) -> Result<(), E> {
    let mut times = Vec::new();
    for _ in 0..15 {
        let start = Instant::now();
        let value = run()?;
        times.push(start.elapsed());
        drop(value);
    }
    times.sort();
    println!("{what}: {:.1?} (median), {:.1?} (best)", times[times.len() / 2], times[0]);
    Ok(())
}

fn describe_world(world: &World) {
    println!("\nentries: {}", world.entries().len());
    println!("borders: {} IPv4, {} IPv6", world.v4().len() - 1, world.v6().len() - 1);
    let finer = world.v6().iter().filter(|(start, _)| start.trailing_zeros() < 64).count();
    println!("IPv6 borders finer than /64: {finer}");
    let v4 = world.v4().iter().map(|(start, _)| u128::from(start >> 16));
    println!("most borders in an IPv4 bucket of 16 bits: {}", fullest(v4));
    for bits in [16, 18, 20] {
        let global = world.v6().iter().filter(|(start, _)| start >> 125 == 1);
        let buckets = global.map(|(start, _)| start << 3 >> (128 - bits));
        println!(
            "most borders in an IPv6 bucket of {bits} bits after 2000::/3: {}",
            fullest(buckets)
        );
    }
}

/// How often the most frequent of ascending buckets occurs.
fn fullest(buckets: impl Iterator<Item = u128>) -> usize {
    let (mut most, mut count, mut last) = (0, 0, None);
    for bucket in buckets {
        count = if last == Some(bucket) { count + 1 } else { 1 };
        last = Some(bucket);
        most = most.max(count);
    }
    most
}

/// What is known of a piece of space.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Place {
    primary: CountryId,
    listed: bool,
    announced: bool,
    special: bool,
}

impl Place {
    fn masked(self) -> bool {
        !self.listed && !self.announced
    }
}

fn describe_mask(sources: &Sources) {
    let places = sources
        .primary
        .zip(&sources.registry, |primary, registry| (primary.unwrap_or_default(), registry))
        .zip(sources.asns.layer(), |(primary, registry), asn| (primary, registry, asn.is_some()))
        .zip(&merge::special_use(), |(primary, registry, announced), special| Place {
            primary,
            listed: registry.is_some(),
            announced,
            special,
        });
    let print = |what: &str, matches: fn(Place) -> bool| {
        let v4 = share(&places.v4, |place| !place.special && matches(place));
        println!("{what}: {:.3} M IPv4", v4 / 1e6 + 0.0);
    };
    println!("\noutside special space:");
    print("announced", |place| place.announced);
    print("announced, no registry lists it", |place| place.announced && !place.listed);
    print("not announced, a registry lists it", |place| !place.announced && place.listed);
    print("masked", Place::masked);
    print("masked, the primary source names a country", |place| {
        place.masked() && place.primary != CountryId::UNKNOWN
    });
    print("not masked, the primary source is silent", |place| {
        !place.masked() && place.primary == CountryId::UNKNOWN
    });
    let networks = |matches: fn(Place) -> bool| -> f64 {
        let global = places.v6.ranges().filter(|(range, _)| range.first >> 125 == 1);
        let matching = global.filter(|(_, place)| !place.special && matches(*place));
        matching.map(|(range, _)| ((range.last - range.first) >> 80) as f64 + 1.0).sum()
    };
    let unlisted = networks(|place| place.announced && !place.listed);
    println!(
        "announced IPv6 that no registry lists: {:.4} %",
        100.0 * unlisted / networks(|place| place.announced)
    );
}

fn describe_hosting(sources: &Sources) {
    let mut systems: Vec<(f64, AsNumber, &str)> = Vec::new();
    for (number, name) in sources.asns.names() {
        if sources.is_hosting(number) {
            systems.push((0.0, number, name));
        }
    }
    let mut announced = 0.0;
    for (range, number) in sources.asns.layer().v4.ranges() {
        let size = size(range);
        announced += if number.is_some() { size } else { 0.0 };
        let found = number.map(|number| systems.binary_search_by_key(&number, |system| system.1));
        if let Some(Ok(index)) = found {
            systems[index].0 += size;
        }
    }
    let flagged: f64 = systems.iter().map(|system| system.0).sum();
    println!("\nhosting: {} systems of {}", systems.len(), sources.asns.names().len());
    println!("hosting: {:.2} % of announced IPv4", 100.0 * flagged / announced);
    systems.sort_by(|one, two| two.0.total_cmp(&one.0));
    for (addresses, number, name) in systems.iter().take(40) {
        let listed = if sources.hosting.contains(*number) { "list" } else { "name" };
        println!("{:8.3} M  {number} {name} ({listed})", addresses / 1e6);
    }
}

fn share<V: Copy + Eq>(steps: &Steps<u32, V>, matches: impl Fn(V) -> bool) -> f64 {
    steps.ranges().filter(|(_, value)| matches(*value)).map(|(range, _)| size(range)).sum()
}

fn size(range: Range<u32>) -> f64 {
    f64::from(range.last - range.first) + 1.0
}
