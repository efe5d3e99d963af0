//! [`Geo`]: the world data as this process uses it.

use std::net::IpAddr;

use anyhow::Context;
use geofilter_core::steps::Steps;
use geofilter_core::wire::{Data, Lookup, Opinion};
use geofilter_core::world::{Entry, World};

/// The world table with what is known beside it.
#[derive(Debug)]
pub(crate) struct Geo {
    world: World,
}

impl Geo {
    /// The data built into this binary.
    pub(crate) fn embedded() -> anyhow::Result<Self> {
        let world =
            World::from_steps(&Steps::constant(Entry::UNKNOWN), &Steps::constant(Entry::UNKNOWN))
                .context("cannot read the world data built into this binary")?;
        Ok(Self { world })
    }

    /// The table.
    pub(crate) fn world(&self) -> &World {
        &self.world
    }

    /// What the data is.
    pub(crate) fn data(&self) -> Data {
        Data {
            sources: Vec::new(),
            ipv4_ranges: self.world.v4().len(),
            ipv6_ranges: self.world.v6().len(),
        }
    }

    /// The AS that announces an address, with its name.
    pub(crate) fn announced_by(&self, _address: IpAddr) -> Option<(u32, String)> {
        None
    }

    /// What the data says of an address.
    pub(crate) fn lookup(&self, address: IpAddr) -> Lookup {
        let entry = self.world.lookup(address);
        let announced = self.announced_by(address);
        Lookup {
            address,
            country: entry.primary.code(),
            sources: vec![Opinion { source: "primary".to_owned(), country: entry.primary.code() }],
            prefix: None,
            asn: announced.as_ref().map(|(asn, _)| *asn),
            as_name: announced.map(|(_, name)| name),
            hosting: entry.hosting,
            disputed: entry.disputed(),
        }
    }
}
