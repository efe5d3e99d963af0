//! The images that come with the program, so that it works without a network.

use super::asn::AsTable;
use super::image::{AsImage, ImageError, WorldImage};
use super::world_data::WorldData;

/// The image of the world, built from `data/sources`.
pub const WORLD: &[u8] = include_bytes!("../../../../data/world.img");

/// The image of the autonomous systems, built from `data/sources`.
pub const ASNS: &[u8] = include_bytes!("../../../../data/as.img");

/// Opens the image of the world, to read only what is asked for.
///
/// # Errors
/// None with the images that are committed: a test decodes them.
pub fn world_image() -> Result<WorldImage<'static>, ImageError> {
    WorldImage::open(WORLD)
}

/// Opens the image of the autonomous systems, to read only what is asked for.
///
/// # Errors
/// None with the images that are committed: a test decodes them.
pub fn as_image() -> Result<AsImage<'static>, ImageError> {
    AsImage::open(ASNS)
}

/// Decodes the embedded world.
///
/// # Errors
/// None with the images that are committed: a test decodes them.
pub fn world() -> Result<WorldData, ImageError> {
    WorldData::decode(WORLD)
}

/// Decodes the embedded autonomous systems.
///
/// # Errors
/// None with the images that are committed: a test decodes them.
pub fn asns() -> Result<AsTable, ImageError> {
    AsTable::decode(ASNS)
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    #[test]
    fn the_embedded_images_are_within_their_size() {
        assert!(WORLD.len() <= 1_000_000, "{}", WORLD.len());
        assert!(ASNS.len() <= 2_500_000, "{}", ASNS.len());
    }

    #[test]
    fn well_known_addresses_are_where_they_are() {
        let world = world().unwrap().world;
        let asns = asns().unwrap();
        let at = |address: &str| {
            let entry = world.lookup(address.parse().unwrap());
            format!("{:?} {}", entry.primary, entry.hosting)
        };
        assert_eq!(at("80.58.61.250"), "ES false");
        assert_eq!(at("193.136.134.1"), "PT false");
        assert_eq!(at("2001:41d0::1"), "FR true");
        assert_eq!(at("10.0.0.1"), "ZZ false");
        assert_eq!(at("240.0.0.1"), "ZZ false");
        let ovh = asns.lookup("51.254.0.1".parse().unwrap()).unwrap();
        assert_eq!((ovh.number.get(), ovh.name), (16276, "OVH"));
    }

    #[test]
    fn many_addresses_are_announced_by_whom_the_table_says() {
        let (image, table) = (as_image().unwrap(), asns().unwrap());
        let v4 = (0..2_000_u32).map(|number| IpAddr::V4(number.wrapping_mul(0x9e37_79b1).into()));
        let v6 = (0..500_u128).map(|number| IpAddr::V6((0x2a << 120 | number << 100).into()));
        let addresses: Vec<IpAddr> = v4.chain(v6).collect();
        let found = image.announced_by_all(addresses.iter().copied()).unwrap();
        for address in addresses {
            let expected = table.lookup(address).map(|by| (by.number, by.name.to_owned()));
            assert_eq!(found.get(&address), expected.as_ref(), "{address}");
        }
        assert!(found.len() > 1_000, "{}", found.len());
    }
}
