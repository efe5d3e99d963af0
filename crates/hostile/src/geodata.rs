//! Files of data sources: whoever publishes them, or stands between, writes what he likes.

use std::fmt::Debug;
use std::io::{BufRead, BufReader, Cursor};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use geofilter_core::country::CountryId;
use geofilter_core::geodata::as_classes::AsClasses;
use geofilter_core::geodata::corrections::Corrections;
use geofilter_core::geodata::hosting::HostingList;
use geofilter_core::geodata::ipfire::{Database, Trust, text};
use geofilter_core::geodata::maxmind_csv::Locations;
use geofilter_core::geodata::{
    AsTable, Listing, Packing, WorldImage, as_csv, delegated, mmdb, range_csv,
};
use geofilter_core::steps::{Address, Steps};
use geofilter_update::parsers;

/// Read from a window of seven bytes or at once, it is the same, error or not.
fn read_twice<T: PartialEq + Debug, E: Debug>(
    data: &[u8],
    read: impl Fn(&mut dyn BufRead) -> Result<T, E>,
) -> Option<T> {
    let whole = read(&mut &data[..]);
    let pieces = read(&mut BufReader::with_capacity(7, data));
    match (whole, pieces) {
        (Ok(whole), Ok(pieces)) => {
            assert_eq!(whole, pieces);
            Some(whole)
        }
        (Err(whole), Err(pieces)) => {
            assert_eq!(format!("{whole:?}"), format!("{pieces:?}"));
            None
        }
        (whole, pieces) => panic!("{whole:?}, but read in pieces {pieces:?}"),
    }
}

/// Ascending, without a step that changes nothing, and from the lowest address on.
fn assert_steps<A: Address, V: Copy + Eq + Debug>(steps: &Steps<A, V>) {
    let all: Vec<(A, V)> = steps.iter().collect();
    assert_eq!(all[0].0, A::MIN);
    for pair in all.windows(2) {
        assert!(pair[0].0 < pair[1].0 && pair[0].1 != pair[1].1, "{pair:?}");
    }
}

fn assert_listing(listing: &Listing) {
    assert_steps(&listing.v4);
    assert_steps(&listing.v6);
}

fn assert_systems(systems: &AsTable) {
    assert_steps(&systems.layer().v4);
    assert_steps(&systems.layer().v6);
    systems.names().for_each(|(_, name)| assert_shown(name));
    let image = systems.encode(Packing::Quick).unwrap();
    assert_eq!(&AsTable::decode(&image).unwrap(), systems);
}

/// It moves no cursor.
fn assert_shown(name: &str) {
    assert!(name.chars().count() <= 200 && !name.chars().any(char::is_control), "{name:?}");
}

/// The same countries, as the plainest of the tables has them.
fn written(listing: &Listing) -> String {
    let line = |first: IpAddr, last: IpAddr, country: Option<CountryId>| {
        let code = country?.code();
        Some(format!("{first},{last},{code}\n"))
    };
    let v4 = |at: u32| IpAddr::from(Ipv4Addr::from(at));
    let v6 = |at: u128| IpAddr::from(Ipv6Addr::from(at));
    let of_v4 = listing.v4.ranges().filter_map(|(at, of)| line(v4(at.first), v4(at.last), of));
    let of_v6 = listing.v6.ranges().filter_map(|(at, of)| line(v6(at.first), v6(at.last), of));
    of_v4.chain(of_v6).collect()
}

/// `start,end,country` and `network,country`. What is read is read once more as it is written.
pub fn range_csv(data: &[u8]) {
    let Some(listing) = read_twice(data, |file| range_csv::parse(file)) else { return };
    assert_listing(&listing);
    // An IPv4 address inside of an IPv6 one is written as what it is.
    let mapped = listing.v6.ranges().any(|(at, country)| {
        country.is_some() && at.first <= 0xffff_ffff_ffff && at.last >= 0xffff_0000_0000
    });
    if !mapped {
        assert_eq!(range_csv::parse(written(&listing).as_bytes()).unwrap(), listing);
    }
}

/// Networks with the numbers of places, after what places these are. Between the two files stands a zero byte.
pub fn maxmind_csv(data: &[u8]) {
    let (places, networks) = split(data);
    let Some(places) = read_twice(places, |file| Locations::parse(file)) else { return };
    let listing = read_twice(networks, |file| places.parse_networks(file));
    listing.iter().for_each(assert_listing);
}

fn split(data: &[u8]) -> (&[u8], &[u8]) {
    let at = data.iter().position(|byte| *byte == 0).unwrap_or(data.len());
    (&data[..at], data.get(at + 1..).unwrap_or_default())
}

/// Who announces what, as CSV.
pub fn as_csv(data: &[u8]) {
    read_twice(data, |file| as_csv::parse(file)).iter().for_each(assert_systems);
}

/// The registries' statistics.
pub fn delegated(data: &[u8]) {
    read_twice(data, |file| delegated::parse(file)).iter().for_each(assert_listing);
}

/// IPFire's text.
pub fn ipfire_text(data: &[u8]) {
    read_twice(data, |file| text::parse_countries(file)).iter().for_each(assert_listing);
    read_twice(data, |file| text::parse_asns(file)).iter().for_each(assert_systems);
}

/// IPFire's database. Its signature is checked before it is read, and this is what could be read had somebody the key.
pub fn ipfire_database(data: &[u8]) {
    let Ok(database) = Database::open(data, &Trust::Anybody) else { return };
    database.countries().iter().for_each(assert_listing);
    database.asns().iter().for_each(assert_systems);
}

/// Corrections, and lists of hosting systems.
pub fn lists(data: &[u8]) {
    let corrections = read_twice(data, |file| Corrections::parse(file));
    corrections.iter().for_each(|it| assert_listing(it.layer()));
    drop(HostingList::parse(data));
}

/// What kinds of networks there are, as JSON.
pub fn as_classes(data: &[u8]) {
    read_twice(data, |file| AsClasses::parse(file));
}

/// MaxMind's database.
pub fn mmdb(data: &[u8]) {
    mmdb::parse_countries(data).iter().for_each(assert_listing);
    mmdb::parse_asns(data).iter().for_each(assert_systems);
}

/// A file as it is fetched or imported: compressed or not, in an archive or not, of any of those formats.
pub fn import(data: &[u8]) {
    parsers::countries(Cursor::new(data.to_vec())).iter().for_each(assert_listing);
    parsers::systems(Cursor::new(data.to_vec())).iter().for_each(assert_systems);
}

/// An image of ours, as a process without privileges hands it to the agent. The first byte says whether the bytes are the
/// file, or the content of its pieces, each after its length: few random bytes are compressed.
pub fn image(data: &[u8]) {
    let Some((how, rest)) = data.split_first() else { return };
    let file = match how {
        b'W' | b'A' => packed(*how, rest),
        _ => rest.to_vec(),
    };
    if let Ok(image) = WorldImage::open(&file)
        && let Ok(says) = image.sources()
    {
        assert_steps(&says.v4);
        assert_steps(&says.v6);
        image.edition().sources().for_each(|source| assert_shown(&source.name));
        let again = WorldImage::encode(image.edition(), &says, Packing::Quick).unwrap();
        let again = WorldImage::open(&again).unwrap();
        assert_eq!(again.edition(), image.edition());
        assert_eq!(again.sources().unwrap(), says);
        for address in ["0.0.0.0", "192.0.2.1", "255.255.255.255", "::", "2001:db8::1"] {
            let address: IpAddr = address.parse().unwrap();
            let (first, last, at) = image.says(address).unwrap();
            assert!(first <= address && address <= last);
            assert_eq!(at, says.get(address));
        }
        // It has room for no more than so many different entries.
        drop(image.world());
    }
    AsTable::decode(&file).iter().for_each(assert_systems);
}

/// An image of these pieces.
pub fn packed(kind: u8, mut rest: &[u8]) -> Vec<u8> {
    let mut file = [&b"GeoF"[..], &[kind, 2]].concat();
    while let Some(([low, high], after)) = rest.split_first_chunk::<2>() {
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(after.len());
        let (content, after) = after.split_at(length);
        let piece = zstd::bulk::compress(content, 1).unwrap();
        file.extend((content.len() as u32).to_le_bytes());
        file.extend((piece.len() as u32).to_le_bytes());
        file.extend(piece);
        rest = after;
    }
    file
}
