//! [`WorldData`]: the world table with what each source says and where it comes from.

use std::net::IpAddr;

use super::listing::Layer;
use super::merge::Says;
use crate::world::{TooManyEntries, World};

/// Where a part of the data comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceInfo {
    /// Its name, such as `DB-IP Country Lite`.
    pub name: String,
    /// Its date or edition, such as `2026-10`.
    pub date: String,
    /// The licence it is used under.
    pub licence: String,
    /// The credit the licence asks for, to be shown as it is.
    pub credit: String,
    /// The address that the credit links to.
    pub link: String,
}

/// Where the data comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edition {
    /// The source that decides.
    pub primary: SourceInfo,
    /// The second opinion.
    pub registry: SourceInfo,
    /// What the hosting flag was built from.
    pub hosting: Vec<SourceInfo>,
}

impl Edition {
    /// Every source, the one that decides first.
    pub fn sources(&self) -> impl Iterator<Item = &SourceInfo> {
        [&self.primary, &self.registry].into_iter().chain(&self.hosting)
    }
}

/// The world table, what each source says, and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorldData {
    /// Where the data comes from.
    pub edition: Edition,
    /// What the sources say of every address.
    pub sources: Layer<Says>,
    /// The table made of it.
    pub world: World,
}

impl WorldData {
    /// Builds the world table from what the sources say.
    ///
    /// # Errors
    /// [`TooManyEntries`] if the sources say more different things than the kernel's table can hold.
    pub fn new(edition: Edition, sources: Layer<Says>) -> Result<Self, TooManyEntries> {
        let world = World::build(&sources.v4, &sources.v6, Says::entry)?;
        Ok(Self { edition, sources, world })
    }

    /// What the sources say of an address, and the first and last address around it of which they say
    /// the same.
    pub fn says(&self, address: IpAddr) -> (IpAddr, IpAddr, Says) {
        self.sources.step(address)
    }
}
