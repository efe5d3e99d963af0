//! [`Geo`]: the world data as this process uses it, and [`lookup`], which needs no more of it than concerns
//! one address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, OnceLock};

use anyhow::Context;
use geofilter_core::country::CountryId;
use geofilter_core::decide::judged_address;
use geofilter_core::geodata::{AsTable, Edition, SourceInfo, embedded};
use geofilter_core::wire::{Data, DataSource, Lookup, Opinion};
use geofilter_core::world::World;

const UNREADABLE: &str = "cannot read the world data built into this binary";

/// The world table, and the autonomous systems once an exemption or a ban names one. Who announces an address,
/// and what each source says of it, is left in the images: as tables they would be larger than the world.
#[derive(Debug)]
pub(crate) struct Geo {
    edition: Edition,
    world: Arc<World>,
    systems: OnceLock<Option<AsTable>>,
}

impl Geo {
    /// The data built into this binary.
    pub(crate) fn embedded() -> anyhow::Result<Self> {
        let image = embedded::world_image().context(UNREADABLE)?;
        let world = image.world().context(UNREADABLE)?;
        Ok(Self {
            edition: image.edition().clone(),
            world: Arc::new(world),
            systems: OnceLock::new(),
        })
    }

    /// The table.
    pub(crate) fn world(&self) -> &Arc<World> {
        &self.world
    }

    /// What the data is, and whose.
    pub(crate) fn data(&self) -> Data {
        Data {
            sources: self.edition.sources().map(source).collect(),
            ipv4_ranges: self.world.v4().len(),
            ipv6_ranges: self.world.v6().len(),
        }
    }

    /// The autonomous systems.
    pub(crate) fn systems(&self) -> Option<&AsTable> {
        let systems = self.systems.get_or_init(|| {
            embedded::asns()
                .inspect_err(|error| {
                    tracing::warn!(%error, "cannot read the AS data built into this binary");
                })
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
        let found = embedded::as_image().and_then(|systems| systems.announced_by_all(judged));
        let found = found.unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot read the AS data built into this binary");
            HashMap::new()
        });
        let by = |address: IpAddr| found.get(&judged_address(address));
        let named =
            |address| by(address).map(|(number, name)| (address, (number.get(), name.clone())));
        addresses.into_iter().filter_map(named).collect()
    }
}

/// What the data built into this binary says of an address.
pub(crate) fn lookup(address: IpAddr) -> anyhow::Result<Lookup> {
    let judged = judged_address(address);
    let image = embedded::world_image().context(UNREADABLE)?;
    let (first, last, says) = image.says(judged).context(UNREADABLE)?;
    let entry = World::entry_of(judged, says.entry());
    let announced = embedded::as_image().and_then(|systems| systems.announced_by(judged));
    let announced = announced.context("cannot read the AS data built into this binary")?;
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

fn source(source: &SourceInfo) -> DataSource {
    let SourceInfo { name, date, licence, credit, link } = source.clone();
    DataSource { name, date, licence, credit, link }
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
    fn a_tunnel_is_looked_through() {
        let inside = lookup("80.58.61.250".parse().unwrap()).unwrap();
        let tunnel = lookup("2002:503a:3dfa::1".parse().unwrap()).unwrap();
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
            let (found, entry) = (lookup(address).unwrap(), geo.world().lookup(address));
            assert_eq!(found.country, entry.primary.code(), "{address}");
            assert_eq!((found.hosting, found.disputed), (entry.hosting, entry.disputed()));
            let announced = geo.announced_by([address]);
            assert_eq!(found.asn, announced.get(&address).map(|(number, _)| *number), "{address}");
        }
    }
}
