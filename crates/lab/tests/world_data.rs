//! The real data: every border of every range of every source answers exactly, in the sources as parsed,
//! in the merged world and in the embedded images; and the images are those of the sources, bit for bit.
//!
//! The oracle shares nothing with the product: it reads the lines by itself, keeps them as they are, and
//! asks the MMDB for one address at a time.

#![expect(clippy::unwrap_used, reason = "a test panics where it fails")]

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use geofilter_core::country::{CODES, CountryId};
use geofilter_core::geodata::merge::special_use;
use geofilter_core::geodata::{AsNumber, AsTable, Packing, Says, WorldData, embedded, mmdb};
use geofilter_core::steps::{Address, Steps};
use geofilter_core::world::Entry;
use geofilter_lab::images::{Sources, data_folder, read};
use maxminddb::Reader;

static SOURCES: LazyLock<Sources> = LazyLock::new(|| Sources::read(&data_folder()).unwrap());
static WORLD: LazyLock<WorldData> = LazyLock::new(|| embedded::world().unwrap());
static ASNS: LazyLock<AsTable> = LazyLock::new(|| embedded::asns().unwrap());

/// The lines of a source that does not overlap, ascending.
struct Lines<A>(Vec<(A, A, CountryId)>);

impl<A: Address> Lines<A> {
    fn read(name: &str, number: impl Fn(&str) -> A) -> Self {
        let text = String::from_utf8(read(&data_folder(), name).unwrap()).unwrap();
        let mut lines: Vec<_> = text
            .lines()
            .map(|line| {
                let fields: Vec<&str> = line.split(',').collect();
                (number(fields[0]), number(fields[1]), country(fields[2]))
            })
            .collect();
        lines.sort_by_key(|line| line.0);
        assert!(lines.is_sorted_by(|one, two| one.1 < two.0), "{name} overlaps");
        Self(lines)
    }

    fn at(&self, address: A) -> Option<CountryId> {
        let before = self.0.partition_point(|line| line.0 <= address);
        let line = self.0[..before].last()?;
        (address <= line.1).then_some(line.2)
    }

    /// The first and last address of every line and their neighbours.
    fn borders(&self) -> impl Iterator<Item = A> {
        let around = |line: &(A, A, CountryId)| {
            [Some(line.0), Some(line.1), line.0.previous(), line.1.next()]
        };
        self.0.iter().flat_map(around).flatten()
    }
}

fn country(code: &str) -> CountryId {
    let code = if code == "UK" { "GB" } else { code };
    let index = CODES.iter().position(|known| *known == code).unwrap_or(0);
    CountryId::new(index as u8).unwrap()
}

/// Who announces an address, asked of the file each time.
struct Announced {
    reader: Reader<Vec<u8>>,
    records: HashMap<usize, Option<u32>>,
}

impl Announced {
    fn read() -> Self {
        let file = read(&data_folder(), "iptoasn-asn-2026-09.mmdb.xz").unwrap();
        Self { reader: Reader::from_source(file).unwrap(), records: HashMap::new() }
    }

    fn at(&mut self, address: IpAddr) -> Option<AsNumber> {
        let found = self.reader.lookup(address).unwrap();
        let path = [maxminddb::PathElement::Key("autonomous_system_number")];
        let record = found.offset()?;
        let number =
            self.records.entry(record).or_insert_with(|| found.decode_path(&path).unwrap());
        number.and_then(AsNumber::new)
    }
}

fn is_special_v4(address: u32) -> bool {
    let address = Ipv4Addr::from(address);
    let [a, b, c, _] = address.octets();
    address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || matches!((a, b, c), (0, ..) | (224.., ..))
        || matches!((a, b, c), (100, 64..=127, _) | (198, 18 | 19, _))
        || matches!((a, b, c), (192, 0, 0) | (192, 88, 99))
}

fn is_special_v6(address: u128) -> bool {
    let [a, b, c, ..] = Ipv6Addr::from(address).segments();
    match (a, b) {
        (0x2001, 0 | 0x10..=0x2f | 0xdb8) => true,
        (0x2001, 2) => c == 0,
        (0x2002, _) => true,
        (0x3fff, 0..=0x0fff) => true,
        _ => false,
    }
}

/// What the sources together make of an address.
fn combined(
    primary: Option<CountryId>,
    registry: Option<CountryId>,
    announced: Option<AsNumber>,
    special: bool,
) -> (Says, Entry) {
    let says = Says {
        primary: primary.unwrap_or_default(),
        registry: registry.unwrap_or_default(),
        hosting: announced.is_some_and(|number| SOURCES.is_hosting(number)),
        masked: special || (registry.is_none() && announced.is_none()),
    };
    let (first, second) = match (says.primary, says.registry) {
        _ if says.masked => (CountryId::UNKNOWN, CountryId::UNKNOWN),
        (CountryId::UNKNOWN, registry) => (registry, registry),
        (primary, CountryId::UNKNOWN) => (primary, primary),
        both => both,
    };
    let hosting = says.hosting && !says.masked;
    (says, Entry { primary: first, second, hosting })
}

#[test]
fn every_border_of_every_ipv4_range_answers_exactly() {
    let number = |text: &str| u32::from(text.parse::<Ipv4Addr>().unwrap());
    let primary = Lines::read("dbip-country-lite-2026-10-v4.csv.zst", number);
    let registry = Lines::read("rir-delegated-iptocc-1.4.175-v4.csv.zst", number);
    let mut announced = Announced::read();
    let systems = SOURCES.asns.layer().v4.iter().map(|(start, _)| start);
    let mut addresses: Vec<u32> = primary.borders().chain(registry.borders()).collect();
    addresses.extend(systems.flat_map(|start| [start, start.saturating_sub(1)]));
    addresses.extend(special_use().v4.iter().map(|(start, _)| start));
    addresses.sort_unstable();
    addresses.dedup();
    for address in &addresses {
        let ip = IpAddr::V4((*address).into());
        let (listed, second) = (primary.at(*address), registry.at(*address));
        let system = announced.at(ip);
        assert_eq!(SOURCES.primary.v4.get(*address), listed, "{ip}");
        assert_eq!(SOURCES.registry.v4.get(*address), second, "{ip}");
        assert_eq!(ASNS.lookup(ip).map(|by| by.number), system, "{ip}");
        let expected = combined(listed, second, system, is_special_v4(*address));
        assert_eq!((WORLD.says(ip).2, WORLD.world.lookup(ip)), expected, "{ip}");
    }
    assert!(addresses.len() > 1_000_000, "only {} addresses", addresses.len());
    assert_borders_are_among(WORLD.world.v4(), &addresses);
}

#[test]
fn every_border_of_every_ipv6_range_answers_exactly() {
    let number = |text: &str| u128::from(text.parse::<Ipv6Addr>().unwrap());
    let primary = Lines::read("dbip-country-lite-2026-10-v6.csv.zst", number);
    let registry = Lines::read("rir-delegated-iptocc-1.4.175-v6.csv.zst", number);
    let mut announced = Announced::read();
    let systems = SOURCES.asns.layer().v6.iter().map(|(start, _)| start);
    let mut addresses: Vec<u128> = primary.borders().chain(registry.borders()).collect();
    addresses.extend(systems.flat_map(|start| [start, start.saturating_sub(1)]));
    addresses.extend(special_use().v6.iter().map(|(start, _)| start));
    addresses.extend([0x2000 << 112, 0x4000 << 112]);
    addresses.sort_unstable();
    addresses.dedup();
    for address in &addresses {
        let ip = IpAddr::V6((*address).into());
        let (listed, second) = (primary.at(*address), registry.at(*address));
        assert_eq!(SOURCES.primary.v6.get(*address), listed, "{ip}");
        assert_eq!(SOURCES.registry.v6.get(*address), second, "{ip}");
        if address >> 125 != 1 {
            assert_eq!(WORLD.world.lookup(ip), Entry::UNKNOWN, "{ip}");
            continue;
        }
        let system = announced.at(ip);
        assert_eq!(ASNS.lookup(ip).map(|by| by.number), system, "{ip}");
        let expected = combined(listed, second, system, is_special_v6(*address));
        assert_eq!((WORLD.says(ip).2, WORLD.world.lookup(ip)), expected, "{ip}");
    }
    assert!(addresses.len() > 800_000, "only {} addresses", addresses.len());
    assert_borders_are_among(WORLD.world.v6(), &addresses);
}

/// The table changes only where a source does, or special space begins or ends.
fn assert_borders_are_among<A: Address, V: Copy + Eq>(table: &Steps<A, V>, addresses: &[A]) {
    let mut others = table.iter().filter(|(start, _)| addresses.binary_search(start).is_err());
    assert_eq!(others.next().map(|(start, _)| start), None, "a border that no source has");
}

#[test]
fn the_images_are_those_of_the_sources_bit_for_bit() {
    let rebuild = "the committed image is not what `build-images` makes of data/sources";
    assert!(SOURCES.world_image().unwrap() == embedded::WORLD, "world: {rebuild}");
    assert!(SOURCES.asns.encode(Packing::Smallest).unwrap() == embedded::ASNS, "AS: {rebuild}");
}

#[test]
fn the_mmdb_of_the_month_before_agrees() {
    let file = read(&data_folder(), "dbip-country-lite-2026-09.mmdb.xz").unwrap();
    let before = mmdb::parse_countries(&file).unwrap();
    let pairs = before.zip(&SOURCES.primary, |before, now| (before, now));
    let (mut same, mut both) = (0.0, 0.0);
    for (range, (before, now)) in pairs.v4.ranges() {
        if before.is_some() && now.is_some() {
            let size = f64::from(range.last - range.first) + 1.0;
            both += size;
            same += if before == now { size } else { 0.0 };
        }
    }
    assert!(both > 3.5e9 && same / both > 0.98, "{same} of {both}");
}

#[test]
fn a_damaged_mmdb_is_refused() {
    let file = read(&data_folder(), "dbip-country-lite-2026-09.mmdb.xz").unwrap();
    for length in [0, 1, 1000, file.len() / 2, file.len() - 20] {
        let error = mmdb::parse_countries(&file[..length]).unwrap_err().to_string();
        assert!(error.starts_with("not a readable MaxMind DB"), "{length}: {error}");
    }
    let error = mmdb::parse_asns(&file).unwrap_err().to_string();
    assert_eq!(error, "no network in it has an autonomous system");
}
