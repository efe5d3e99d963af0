//! [`Rival`]: other ways to keep countries out of a Linux host, each as its own documentation says, so that
//! they can be compared with ours. [`lists`] is what they are given; [`nft`], [`geoip_shell`] and [`ipset`]
//! write what their tools load. Each blocks at least as early and with at least as little work as its
//! documentation advises, so that none is slower here than on a host. Space that no source knows is in no list: all but
//! [`geoip_shell::allowing`] let it in.

pub mod geoip_shell;
pub mod ipset;
pub mod lists;
pub mod nft;

use anyhow::Result;

use crate::namespace::Namespace;
use lists::Lists;

/// Another way to let in some countries only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rival {
    /// [`nft::merged_set`].
    MergedSet,
    /// [`nft::world_map`].
    WorldMap,
    /// [`ipset::load`].
    Ipset,
    /// [`geoip_shell::allowing`].
    GeoipShellAllow,
    /// [`geoip_shell::blocking`].
    GeoipShellBlock,
}

impl Rival {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::MergedSet,
        Self::WorldMap,
        Self::Ipset,
        Self::GeoipShellAllow,
        Self::GeoipShellBlock,
    ];

    /// What tables call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::MergedSet => "nftables, one merged set",
            Self::WorldMap => "nftables, map of the world",
            Self::Ipset => "iptables with ipset",
            Self::GeoipShellAllow => "geoip-shell, allowing countries",
            Self::GeoipShellBlock => "geoip-shell, blocking countries",
        }
    }

    /// Sets it up in a namespace, with which it goes away.
    ///
    /// # Errors
    /// If its tool is missing or refuses, with what that said.
    pub fn install(self, host: &Namespace, lists: &Lists) -> Result<()> {
        match self {
            Self::MergedSet => nft::load(host, &nft::merged_set(lists)),
            Self::WorldMap => nft::load(host, &nft::world_map(lists)),
            Self::Ipset => ipset::load(host, lists),
            Self::GeoipShellAllow => nft::load(host, &geoip_shell::allowing(lists)),
            Self::GeoipShellBlock => nft::load(host, &geoip_shell::blocking(lists)),
        }
    }
}
