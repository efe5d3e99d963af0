use std::net::IpAddr;

use proptest::prelude::*;

use super::frame::{ImageError, ImageKind, Packing, Unpacker, pack, unpack};
use super::{AsImage, WorldImage};
use crate::country::CountryId;
use crate::geodata::{AsNumber, AsTable, Edition, Layer, Says, SourceInfo, WorldData, embedded};
use crate::steps::{Address, Range, Steps};

fn steps<A: Address, V: Copy + Eq + std::fmt::Debug>(
    outside: V,
    values: impl Strategy<Value = V>,
) -> impl Strategy<Value = Steps<A, V>> {
    let range =
        (any::<u128>(), any::<u128>(), 0..128_u32, values).prop_map(|(one, two, shift, value)| {
            let narrow =
                |wide: u128| A::narrow((wide & A::MAX.widen()) >> shift << shift).unwrap_or(A::MIN);
            let (one, two) = (narrow(one), narrow(two));
            (Range { first: one.min(two), last: one.max(two) }, value)
        });
    prop::collection::vec(range, 0..60).prop_map(move |ranges| Steps::from_ranges(outside, ranges))
}

fn country() -> impl Strategy<Value = CountryId> {
    (0..251_u8).prop_map(|index| CountryId::new(index).unwrap())
}

fn says() -> impl Strategy<Value = Says> {
    (country(), country(), any::<bool>(), any::<bool>()).prop_map(
        |(primary, registry, hosting, masked)| Says { primary, registry, hosting, masked },
    )
}

fn source(name: &str) -> SourceInfo {
    let text = |what: &str| format!("{name}: {what}");
    SourceInfo {
        name: name.to_owned(),
        date: text("date"),
        licence: text("licence"),
        credit: text("credit"),
        link: String::new(),
    }
}

fn world() -> impl Strategy<Value = WorldData> {
    (steps(Says::NOTHING, says()), steps(Says::NOTHING, says())).prop_map(|(v4, v6)| {
        let edition = Edition {
            primary: source("primary"),
            registry: source("registry"),
            hosting: vec![source("one"), source("two")],
        };
        WorldData::new(edition, Layer { v4, v6 }).unwrap()
    })
}

fn as_table() -> impl Strategy<Value = AsTable> {
    let system = || (0..90_u32).prop_map(|number| AsNumber::new(number * 47_721_858));
    (steps(None, system()), steps(None, system())).prop_map(|(v4, v6)| {
        let numbers = (1..90).filter_map(|number: u32| AsNumber::new(number * 47_721_858));
        let names: Vec<String> = numbers.clone().map(|number| format!("NAME {number}\r")).collect();
        AsTable::new(Layer { v4, v6 }, numbers.zip(names.iter().map(String::as_str)))
    })
}

fn image_of(world: &WorldData) -> Vec<u8> {
    WorldImage::encode(&world.edition, &world.sources, Packing::Quick).unwrap()
}

/// The contents of the pieces of an image.
fn contents(kind: ImageKind, image: &[u8]) -> Result<Vec<Vec<u8>>, ImageError> {
    let mut unpacker = Unpacker::new()?;
    let pieces = unpack(kind, image)?;
    pieces.iter().map(|piece| unpacker.unpack(piece).map(<[u8]>::to_vec)).collect()
}

/// Damage to a file: where, and to what.
fn damage() -> impl Strategy<Value = (prop::sample::Index, u8)> {
    (any::<prop::sample::Index>(), 1..=255_u8)
}

fn spoil(pieces: &mut [Vec<u8>], damage: &[(prop::sample::Index, u8)]) {
    for (at, change) in damage {
        let piece = at.index(pieces.len());
        let piece = &mut pieces[piece];
        let at = at.index(piece.len());
        piece[at] ^= change;
    }
}

/// Of the embedded images, whose families have many blocks.
#[test]
fn the_first_and_the_last_of_every_step_are_found() {
    let (world, asns) = (embedded::world().unwrap(), embedded::asns().unwrap());
    let (worlds, systems) = (embedded::world_image().unwrap(), embedded::as_image().unwrap());
    assert!(worlds.world().unwrap() == world.world);
    let v4 =
        world.sources.v4.ranges().step_by(1_021).flat_map(|(range, _)| {
            [range.first, range.last].map(|address| IpAddr::V4(address.into()))
        });
    let v6 =
        world.sources.v6.ranges().step_by(1_021).flat_map(|(range, _)| {
            [range.first, range.last].map(|address| IpAddr::V6(address.into()))
        });
    for address in v4.chain(v6) {
        assert_eq!(worlds.says(address), Ok(world.says(address)), "{address}");
        let announced = asns.lookup(address).map(|by| (by.number, by.name.to_owned()));
        assert_eq!(systems.announced_by(address), Ok(announced), "{address}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn worlds_survive_the_image(world in world()) {
        prop_assert_eq!(WorldData::decode(&image_of(&world)), Ok(world));
    }

    #[test]
    fn as_tables_survive_the_image(table in as_table()) {
        prop_assert_eq!(AsTable::decode(&table.encode(Packing::Quick).unwrap()), Ok(table));
    }

    #[test]
    fn a_changed_file_is_refused_or_the_same(world in world(), (at, change) in damage()) {
        let mut image = image_of(&world);
        let at = at.index(image.len());
        image[at] ^= change;
        if let Ok(decoded) = WorldData::decode(&image) {
            prop_assert_eq!(decoded, world);
        }
    }

    #[test]
    fn a_truncated_file_is_refused(world in world(), at in any::<prop::sample::Index>()) {
        let image = image_of(&world);
        prop_assert!(WorldData::decode(&image[..at.index(image.len())]).is_err());
    }

    #[test]
    fn nonsense_with_a_right_checksum_does_no_harm(
        world in world(),
        table in as_table(),
        damage in prop::collection::vec(damage(), 1..4),
        addresses: [IpAddr; 2],
    ) {
        let mut pieces = contents(ImageKind::World, &image_of(&world)).unwrap();
        spoil(&mut pieces, &damage);
        let image = pack(ImageKind::World, &pieces, Packing::Quick).unwrap();
        let _ = WorldData::decode(&image);
        if let Ok(image) = WorldImage::open(&image) {
            let _ = (image.world(), image.says(addresses[0]), image.says(addresses[1]));
        }
        let mut pieces = contents(ImageKind::Asns, &table.encode(Packing::Quick).unwrap()).unwrap();
        spoil(&mut pieces, &damage);
        let image = pack(ImageKind::Asns, &pieces, Packing::Quick).unwrap();
        let _ = AsTable::decode(&image);
        if let Ok(image) = AsImage::open(&image) {
            let _ = (image.announced_by(addresses[0]), image.announced_by(addresses[1]));
        }
    }

    #[test]
    fn an_image_says_of_one_address_what_the_whole_does(
        world in world(),
        table in as_table(),
        v4 in any::<[u32; 8]>(),
        v6 in any::<[u128; 8]>(),
    ) {
        let image = image_of(&world);
        let worlds = WorldImage::open(&image).unwrap();
        prop_assert_eq!(worlds.world(), Ok(world.world.clone()));
        prop_assert_eq!(worlds.edition(), &world.edition);
        let image = table.encode(Packing::Quick).unwrap();
        let systems = AsImage::open(&image).unwrap();
        let v4 = v4.map(|bits| IpAddr::V4(bits.into())).into_iter();
        for address in v4.chain(v6.map(|bits| IpAddr::V6(bits.into()))) {
            prop_assert_eq!(worlds.says(address), Ok(world.says(address)));
            let announced = table.lookup(address).map(|by| (by.number, by.name.to_owned()));
            prop_assert_eq!(systems.announced_by(address), Ok(announced));
        }
    }

    #[test]
    fn the_embedded_image_notices_a_change((at, change) in damage()) {
        let mut image = embedded::ASNS.to_vec();
        let at = at.index(image.len());
        image[at] ^= change;
        if let Ok(decoded) = AsTable::decode(&image) {
            prop_assert!(decoded == embedded::asns().unwrap());
        }
    }
}

#[test]
fn errors_say_what_is_wrong() {
    let world = embedded::WORLD;
    let error = |image: &[u8]| WorldData::decode(image).unwrap_err().to_string();
    assert_eq!(error(b""), "not a GeoFilter image of this kind");
    assert_eq!(error(embedded::ASNS), "not a GeoFilter image of this kind");
    assert_eq!(error(&world[..world.len() / 2]), "the image is truncated or corrupt");
    let mut newer = world.to_vec();
    newer[5] = 200;
    assert_eq!(error(&newer), "the image has version 200, this program reads version 2");
    let mut large = world.to_vec();
    large[9] = 0xff;
    assert_eq!(error(&large), "the image is truncated or corrupt");
}
