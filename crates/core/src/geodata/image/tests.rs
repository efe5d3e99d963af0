use proptest::prelude::*;

use super::frame::{ImageKind, pack, unpack};
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

/// Damage to a file: where, and to what.
fn damage() -> impl Strategy<Value = (prop::sample::Index, u8)> {
    (any::<prop::sample::Index>(), 1..=255_u8)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn worlds_survive_the_image(world in world()) {
        prop_assert_eq!(WorldData::decode(&world.encode().unwrap()), Ok(world));
    }

    #[test]
    fn as_tables_survive_the_image(table in as_table()) {
        prop_assert_eq!(AsTable::decode(&table.encode().unwrap()), Ok(table));
    }

    #[test]
    fn a_changed_file_is_refused_or_the_same(world in world(), (at, change) in damage()) {
        let mut image = world.encode().unwrap();
        let at = at.index(image.len());
        image[at] ^= change;
        if let Ok(decoded) = WorldData::decode(&image) {
            prop_assert_eq!(decoded, world);
        }
    }

    #[test]
    fn a_truncated_file_is_refused(world in world(), at in any::<prop::sample::Index>()) {
        let image = world.encode().unwrap();
        prop_assert!(WorldData::decode(&image[..at.index(image.len())]).is_err());
    }

    #[test]
    fn nonsense_with_a_right_checksum_does_no_harm(
        world in world(),
        table in as_table(),
        damage in prop::collection::vec(damage(), 1..4),
    ) {
        let mut content = unpack(ImageKind::World, &world.encode().unwrap()).unwrap();
        damage.iter().for_each(|(at, change)| {
            let at = at.index(content.len());
            content[at] ^= change;
        });
        let _ = WorldData::decode(&pack(ImageKind::World, &content).unwrap());
        let mut content = unpack(ImageKind::Asns, &table.encode().unwrap()).unwrap();
        damage.iter().for_each(|(at, change)| {
            let at = at.index(content.len());
            content[at] ^= change;
        });
        let _ = AsTable::decode(&pack(ImageKind::Asns, &content).unwrap());
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
    assert_eq!(error(&newer), "the image has version 200, this program reads version 1");
    let mut large = world.to_vec();
    large[9] = 0xff;
    assert_eq!(error(&large), "the image is truncated or corrupt");
}
