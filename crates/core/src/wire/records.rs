//! Exemptions, bans and peers as they are spoken of.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::book::{Kind, Origin};
use crate::counters::Reason;

/// What let an address pass or dropped it before its country was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum DecidedBy {
    /// An exemption.
    Exemption(RecordReport),
    /// A ban.
    Ban(RecordReport),
    /// A peer.
    Peer(PeerReport),
}

/// An exemption or ban.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RecordReport {
    /// Whom it is for.
    pub target: String,
    /// Who asked for it.
    pub origin: Origin,
    /// When it was asked for, in RFC 3339.
    pub added: String,
    /// When it ends, in RFC 3339.
    pub until: Option<String>,
    /// Seconds until then.
    pub remaining: Option<u64>,
    /// The remark.
    pub note: String,
    /// What DNS says, for each name it stands for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<NameReport>,
}

/// What DNS says of a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NameReport {
    /// The name.
    pub name: String,
    /// Its addresses.
    #[schema(value_type = Vec<String>)]
    pub addresses: Vec<IpAddr>,
    /// Addresses it has no more, and until when they stay exempt, in RFC 3339.
    #[schema(value_type = BTreeMap<String, String>)]
    pub lingering: BTreeMap<IpAddr, String>,
    /// Addresses of the answer that can't be sources on the internet.
    #[schema(value_type = Vec<String>)]
    pub ignored: Vec<IpAddr>,
    /// When it last answered, in RFC 3339.
    pub answered: Option<String>,
    /// When it failed since then, in RFC 3339.
    pub failed: Option<String>,
    /// What failed.
    pub failure: Option<String>,
}

/// Exemptions or bans.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Records {
    /// Which.
    pub kind: Kind,
    /// They, by target.
    pub records: Vec<RecordReport>,
}

/// What a change of exemptions, bans or peers came to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct Noted {
    /// What is now exempt or banned, as it was understood.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub added: Vec<String>,
    /// What is so no more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<String>,
    /// What the operator should know.
    pub warnings: Vec<String>,
}

/// Whether an address must never be banned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Protected {
    /// The address.
    #[schema(value_type = String)]
    pub address: IpAddr,
    /// Whether it must not.
    pub protected: bool,
    /// Why not, each reason with a line for people.
    pub because: Vec<Because>,
}

/// A reason never to ban an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Because {
    /// Which one.
    pub reason: Reason,
    /// The same for people.
    pub said: String,
}

/// A peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PeerReport {
    /// Its address and port.
    #[schema(value_type = String)]
    pub peer: SocketAddr,
    /// When it ends unless the PBX sends it another request, in RFC 3339.
    pub until: Option<String>,
    /// Seconds until then.
    pub remaining: Option<u64>,
}

/// The peers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Peers {
    /// They, by address.
    pub peers: Vec<PeerReport>,
}

/// How many there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct Counts {
    /// Exemptions.
    pub exemptions: usize,
    /// Bans.
    pub bans: usize,
    /// Peers.
    pub peers: usize,
}
