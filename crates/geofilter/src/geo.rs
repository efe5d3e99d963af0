//! [`Geo`]: the world data as this process uses it, out of its [`Images`], which are built in, or kept by an agent in a file.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::{Arc, OnceLock};

use anyhow::Context;
use geofilter_core::country::CountryId;
use geofilter_core::decide::judged_address;
use geofilter_core::geodata::bundle::{self, BundleError};
use geofilter_core::geodata::corrections::Corrections;
use geofilter_core::geodata::merge::correct;
use geofilter_core::geodata::{
    AsImage, AsTable, Edition, Says, SourceInfo, WorldData, WorldImage, embedded,
};
use geofilter_core::wire::{Data, Lookup, Opinion};
use geofilter_core::world::World;
use geofilter_fleet::world;

use crate::files::write_whole;

const UNREADABLE: &str = "cannot read the world data";

/// What data is read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Images {
    /// Of the world: `geofilter_core::geodata::WorldImage`.
    pub(crate) world: Cow<'static, [u8]>,
    /// Of the autonomous systems: `geofilter_core::geodata::AsImage`.
    pub(crate) systems: Cow<'static, [u8]>,
}

impl Images {
    /// Those built into this binary.
    pub(crate) const EMBEDDED: Self =
        Self { world: Cow::Borrowed(embedded::WORLD), systems: Cow::Borrowed(embedded::ASNS) };

    /// Whether they are those. Of what is borrowed no byte need be looked at.
    pub(crate) fn are_embedded(&self) -> bool {
        let is_borrowed = |image| matches!(image, &Cow::Borrowed(_));
        [&self.world, &self.systems].into_iter().all(is_borrowed) || *self == Self::EMBEDDED
    }

    /// Reads what [`Images::write`] wrote; `None` if there is no such file.
    ///
    /// # Errors
    /// If it is damaged, or can't be read.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Option<Self>> {
        let content = match fs::metadata(path) {
            Ok(file) if file.len() > bundle::LONGEST as u64 => anyhow::bail!("it is too long"),
            Ok(_) => fs::read(path)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        Ok(Some(Self::unpack(&content)?))
    }

    /// Those in a [`bundle`].
    ///
    /// # Errors
    /// If it is none, or damaged.
    pub(crate) fn unpack(content: &[u8]) -> Result<Self, BundleError> {
        let (world, systems) = bundle::unpack(content)?;
        Ok(Self { world: Cow::Owned(world.to_owned()), systems: Cow::Owned(systems.to_owned()) })
    }

    /// The [`bundle`] of them.
    ///
    /// # Errors
    /// If they are too long.
    pub(crate) fn pack(&self) -> Result<Vec<u8>, BundleError> {
        bundle::pack(&self.world, &self.systems)
    }

    /// Writes them as a file that is whole at any moment.
    ///
    /// # Errors
    /// If that fails; what was there is there.
    pub(crate) fn write(&self, dir: &Path, name: &str) -> io::Result<()> {
        write_whole(dir, name, &self.pack().map_err(io::Error::other)?)
    }

    /// What the sources say of an address.
    ///
    /// # Errors
    /// If an image is damaged.
    pub(crate) fn lookup(
        &self,
        address: IpAddr,
        corrections: &Corrections,
    ) -> anyhow::Result<Lookup> {
        let judged = judged_address(address);
        let image = WorldImage::open(&self.world).context(UNREADABLE)?;
        let said = image.says(judged).context(UNREADABLE)?;
        let (first, last, says) = correct_one(said, judged, corrections);
        let entry = World::entry_of(judged, says.entry());
        let systems = AsImage::open(&self.systems);
        let announced = systems.and_then(|systems| systems.announced_by(judged));
        let announced = announced.context("cannot read who announces what")?;
        let opinion = |source: &SourceInfo, country: CountryId| Opinion {
            source: source.name.clone(),
            country: country.code(),
        };
        let edition = image.edition();
        Ok(Lookup {
            address,
            judged_as: (judged != address).then_some(judged),
            country: entry.primary.code(),
            sources: vec![
                opinion(&edition.primary, says.primary),
                opinion(&edition.registry, says.registry),
            ],
            prefix: prefix(judged, first, last),
            asn: announced.as_ref().map(|(number, _)| number.get()),
            as_name: announced.map(|(_, name)| name).filter(|name| !name.is_empty()),
            hosting: entry.hosting,
            disputed: entry.disputed(),
            reserved: says.masked,
        })
    }
}

/// What the data built into this binary says of an address: where no agent is asked.
///
/// # Errors
/// None with the images that are committed.
pub(crate) fn lookup(address: IpAddr) -> anyhow::Result<Lookup> {
    Images::EMBEDDED.lookup(address, &Corrections::none())
}

/// The world table, and the autonomous systems once an exemption or a ban names one. Who announces an address,
/// and what each source says of it, is left in the images: as tables they would be larger than the world.
#[derive(Debug)]
pub(crate) struct Geo {
    images: Images,
    corrections: Corrections,
    edition: Edition,
    world: Arc<World>,
    systems: OnceLock<Option<AsTable>>,
    digest: OnceLock<String>,
}

impl Geo {
    /// The data built into this binary.
    pub(crate) fn embedded() -> anyhow::Result<Self> {
        Self::of(Images::EMBEDDED, Corrections::none())
    }

    /// The data in these images, corrected.
    ///
    /// # Errors
    /// If they are damaged.
    pub(crate) fn of(images: Images, corrections: Corrections) -> anyhow::Result<Self> {
        let image = WorldImage::open(&images.world).context(UNREADABLE)?;
        let world = match corrections == Corrections::none() {
            true => image.world().context(UNREADABLE)?,
            false => {
                let says = correct(&image.sources().context(UNREADABLE)?, &corrections);
                WorldData::new(image.edition().clone(), says).context(UNREADABLE)?.world
            }
        };
        let world = Arc::new(world);
        let edition = image.edition().clone();
        if let Cow::Owned(systems) = &images.systems {
            AsImage::open(systems).context("cannot read who announces what")?;
        }
        let (systems, digest) = (OnceLock::new(), OnceLock::new());
        Ok(Self { images, corrections, edition, world, systems, digest })
    }

    /// What it was read from.
    pub(crate) fn images(&self) -> &Images {
        &self.images
    }

    /// What it was corrected by.
    pub(crate) fn corrections(&self) -> &Corrections {
        &self.corrections
    }

    /// What the sources say of an address.
    ///
    /// # Errors
    /// If an image is damaged.
    pub(crate) fn lookup(&self, address: IpAddr) -> anyhow::Result<Lookup> {
        self.images.lookup(address, &self.corrections)
    }

    /// The table.
    pub(crate) fn world(&self) -> &Arc<World> {
        &self.world
    }

    /// What the data is, and whose.
    pub(crate) fn data(&self) -> Data {
        Data::of(&self.edition, &self.world)
    }

    /// By what a fleet knows what it was read from: nobody's corrections count.
    pub(crate) fn digest(&self) -> &str {
        let digest = || self.images.pack().map(|content| world::digest(&content));
        self.digest.get_or_init(|| digest().unwrap_or_default())
    }

    /// The autonomous systems.
    pub(crate) fn systems(&self) -> Option<&AsTable> {
        let systems = self.systems.get_or_init(|| {
            AsTable::decode(&self.images.systems)
                .inspect_err(|error| tracing::warn!(%error, "cannot read who announces what"))
                .ok()
        });
        systems.as_ref()
    }

    /// Whether somebody needed all of them.
    #[cfg(test)]
    pub(crate) fn has_read_systems(&self) -> bool {
        self.systems.get().is_some()
    }

    /// The ASes that announce addresses, with their names. What is asked for is read from the image: the whole
    /// table takes more memory than all else here.
    pub(crate) fn announced_by(
        &self,
        addresses: impl IntoIterator<Item = IpAddr>,
    ) -> HashMap<IpAddr, (u32, String)> {
        let addresses: Vec<IpAddr> = addresses.into_iter().collect();
        let judged = addresses.iter().copied().map(judged_address);
        let systems = AsImage::open(&self.images.systems);
        let found = systems.and_then(|systems| systems.announced_by_all(judged));
        let found = found.unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot read who announces what");
            HashMap::new()
        });
        let by = |address: IpAddr| found.get(&judged_address(address));
        let named =
            |address| by(address).map(|(number, name)| (address, (number.get(), name.clone())));
        addresses.into_iter().filter_map(named).collect()
    }
}

/// What is said of an address after corrections, and around it where no other one begins.
fn correct_one(
    (first, last, says): (IpAddr, IpAddr, Says),
    address: IpAddr,
    corrections: &Corrections,
) -> (IpAddr, IpAddr, Says) {
    let (from, to, corrected) = corrections.layer().step(address);
    let says = corrected.map_or(says, |country| says.corrected(country));
    (first.max(from), last.min(to), says)
}

/// The largest prefix around an address that lies within the range.
fn prefix(address: IpAddr, first: IpAddr, last: IpAddr) -> String {
    let bits = |address: IpAddr| match address {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    };
    let width = if address.is_ipv4() { 32 } else { 128 };
    let (address, range) = (bits(address), bits(first)..=bits(last));
    let host = |length: u32| match width - length {
        128 => u128::MAX,
        free => (1 << free) - 1,
    };
    let fits = |length: &u32| {
        range.contains(&(address & !host(*length))) && range.contains(&(address | host(*length)))
    };
    let length = (0..=width).find(fits).unwrap_or(width);
    let network = address & !host(length);
    match width {
        32 => format!("{}/{length}", Ipv4Addr::from(network as u32)),
        _ => format!("{}/{length}", Ipv6Addr::from(network)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_prefix_in_a_range_is_found() {
        let prefix = |address: &str, first: &str, last: &str| {
            prefix(address.parse().unwrap(), first.parse().unwrap(), last.parse().unwrap())
        };
        assert_eq!(prefix("192.0.2.9", "192.0.2.0", "192.0.2.255"), "192.0.2.0/24");
        assert_eq!(prefix("192.0.2.9", "192.0.2.9", "192.0.2.9"), "192.0.2.9/32");
        assert_eq!(prefix("192.0.2.9", "192.0.2.1", "192.0.2.255"), "192.0.2.8/29");
        assert_eq!(prefix("1.2.3.4", "0.0.0.0", "255.255.255.255"), "0.0.0.0/0");
        let v6 = prefix("2001:db8::1", "2001:db8::", "2001:db8:0:ffff:ffff:ffff:ffff:ffff");
        assert_eq!(v6, "2001:db8::/48");
    }

    #[test]
    fn images_are_read_as_they_were_written_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("images");
        assert_eq!(Images::read(&path).unwrap(), None);
        Images::EMBEDDED.write(dir.path(), "images").unwrap();
        assert_eq!(Images::read(&path).unwrap().as_ref(), Some(&Images::EMBEDDED));
        let written = fs::read(&path).unwrap();
        for place in [0, 25, 30, written.len() / 2, written.len() - 1] {
            let mut changed = written.clone();
            changed[place] ^= 1;
            fs::write(&path, &changed).unwrap();
            assert!(Images::read(&path).is_err(), "{place}");
            fs::write(&path, &written[..place]).unwrap();
            assert!(Images::read(&path).is_err(), "{place}");
        }
    }

    #[test]
    fn a_tunnel_is_looked_through() {
        let lookup = |address: &str| lookup(address.parse().unwrap()).unwrap();
        let inside = lookup("80.58.61.250");
        let tunnel = lookup("2002:503a:3dfa::1");
        assert_eq!(tunnel.country, inside.country);
        assert_eq!(tunnel.judged_as, Some(inside.address));
        assert_eq!(inside.judged_as, None);
    }

    #[test]
    fn one_address_is_looked_up_as_in_the_table() {
        let geo = Geo::embedded().unwrap();
        let addresses =
            ["80.58.61.250", "51.254.0.1", "10.0.0.1", "2001:41d0::1", "4000::1", "::1"];
        for address in addresses.map(|address| address.parse().unwrap()) {
            let (found, entry) = (geo.lookup(address).unwrap(), geo.world().lookup(address));
            assert_eq!(found.country, entry.primary.code(), "{address}");
            assert_eq!((found.hosting, found.disputed), (entry.hosting, entry.disputed()));
            let announced = geo.announced_by([address]);
            assert_eq!(found.asn, announced.get(&address).map(|(number, _)| *number), "{address}");
        }
    }
}
