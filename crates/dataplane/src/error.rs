//! What can fail at the edge to the kernel.

use std::io;
use std::path::PathBuf;

use aya::maps::MapError;
use geofilter_core::desired::Observed;
use geofilter_core::dxr::CapacityExceeded;

/// Each variant names the operation that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An operation that needs an attached data plane.
    #[error("cannot {operation}: nothing is attached")]
    NotAttached {
        /// What was asked for.
        operation: &'static str,
    },
    /// No interface of that name.
    #[error("there is no interface `{name}`: see `ip link` for the names of this host")]
    NoInterface {
        /// The name asked for.
        name: String,
    },
    /// No interface was named, and none has a default route.
    #[error("no interface has a default route: name the protected ones with --interface")]
    NoDefaultRoute,
    /// Asking the kernel about interfaces failed.
    #[error("cannot ask the kernel about its interfaces")]
    Netlink(#[source] io::Error),
    /// The pins could not be made or removed.
    #[error("cannot use {path} for pinned BPF objects")]
    Pins {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The programs could not be loaded.
    #[error(
        "the kernel refused the BPF programs; they need root (or CAP_BPF, CAP_NET_ADMIN and \
         CAP_PERFMON) and Linux 5.10 or newer"
    )]
    Load(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The programs of this host may not be listed.
    #[error("cannot list the BPF programs of this host: it needs root (or CAP_SYS_ADMIN)")]
    Programs(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A map could not be created, opened or written.
    #[error("cannot use the BPF map {map}")]
    Map {
        /// Its name.
        map: &'static str,
        /// Why.
        #[source]
        source: Box<MapError>,
    },
    /// A map could not be mapped into memory or emptied.
    #[error("cannot use the memory of the BPF map {map}")]
    Memory {
        /// Its name.
        map: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The wait for packets in flight failed.
    #[error("cannot wait for the packets in flight (membarrier)")]
    Grace(#[source] io::Error),
    /// Every bank is in use: a fault of this program.
    #[error("no policy bank is free")]
    NoBank,
    /// The world table is too large for the kernel's maps.
    #[error(transparent)]
    Capacity(#[from] CapacityExceeded),
    /// An interface refused the program.
    #[error("cannot attach {kind} to `{interface}`{advice}")]
    Attach {
        /// The interface.
        interface: String,
        /// What was to be attached.
        kind: &'static str,
        /// What to do instead, as the rest of the sentence.
        advice: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A link could not be detached.
    #[error("cannot detach from the interface with index {interface}")]
    Detach {
        /// The interface.
        interface: u32,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What is pinned has another layout.
    #[error(
        "what is attached is another version's (layout {found}, this one has {expected}), pinned in {path}"
    )]
    OtherVersion {
        /// Layout of the pinned maps.
        found: u64,
        /// Layout of this program.
        expected: u64,
        /// Where they are pinned.
        path: PathBuf,
    },
    /// An agent died while it made what is pinned.
    #[error("what is pinned in {path} was not finished by the agent that made it")]
    Unfinished {
        /// Where.
        path: PathBuf,
    },
    /// The policy that programs judge by was unpinned by somebody else.
    #[error("what is attached judges by a policy that somebody has removed from {path}")]
    Torn {
        /// Where it was pinned.
        path: PathBuf,
    },
    /// Part of the machine's state could not be read.
    #[error("cannot read the machine's state: {area}")]
    Baseline {
        /// Which part.
        area: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Something of ours is still in the kernel after everything was detached.
    #[error("still in the kernel after detaching: {0}")]
    Remains(String),
    /// nftables did not take or tell something.
    #[error("cannot {operation} in nftables: {said}")]
    Nft {
        /// What was to be done.
        operation: &'static str,
        /// What it said.
        said: String,
    },
    /// What was read back is not what was written.
    #[error("what the kernel holds is not what was asked for: {observed}")]
    Differs {
        /// What it holds.
        observed: Box<Observed>,
    },
}

impl Error {
    pub(crate) fn map(map: &'static str, source: MapError) -> Self {
        Self::Map { map, source: Box::new(source) }
    }
}
