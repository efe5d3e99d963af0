//! [`World`]: the policy-free table that maps every address to an [`Entry`].

use std::net::IpAddr;

use crate::country::CountryId;
use crate::steps::{self, Steps};

/// Index into [`World::entries`]; 0 is the entry of unknown space.
pub type EntryId = u16;

/// What the world data says of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Entry {
    /// The country, from the primary source or, where that one is silent, from the second.
    pub primary: CountryId,
    /// What the second source says where it disagrees with `primary`; otherwise equal to `primary`.
    pub second: CountryId,
    /// The network belongs to a hosting company.
    pub hosting: bool,
}

impl Entry {
    /// Space nobody knows.
    pub const UNKNOWN: Self =
        Self { primary: CountryId::UNKNOWN, second: CountryId::UNKNOWN, hosting: false };

    /// Whether the sources name different countries.
    pub fn disputed(&self) -> bool {
        self.primary != self.second
    }
}

/// The table: address -> [`Entry`]. It knows nothing of policies. IPv6 outside 2000::/3 is unknown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct World {
    entries: Vec<Entry>,
    v4: Steps<u32, EntryId>,
    v6: Steps<u128, EntryId>,
}

impl World {
    /// The entry of an address exactly as given: tunnels are not looked through here.
    pub fn lookup(&self, address: IpAddr) -> Entry {
        let id = match address {
            IpAddr::V4(address) => self.v4.get(steps::v4(address)),
            IpAddr::V6(address) => self.v6.get(steps::v6(address)),
        };
        self.entries[usize::from(id)]
    }

    /// Every distinct entry; index 0 is [`Entry::UNKNOWN`].
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The IPv4 table.
    pub fn v4(&self) -> &Steps<u32, EntryId> {
        &self.v4
    }

    /// The IPv6 table; unknown outside 2000::/3.
    pub fn v6(&self) -> &Steps<u128, EntryId> {
        &self.v6
    }
}
