//! World data as it is asked for and told.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Data, DataSource};
use crate::geodata::{Edition, SourceInfo};
use crate::world::World;

/// What is to be done with the world data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GeodataAsk {
    /// Say how it stands.
    State,
    /// Ask the sources for what is new.
    Update,
    /// Take the countries in these files of this host.
    Import {
        /// Absolute paths; where files speak of the same range, the last one counts.
        files: Vec<String>,
        /// The file of places that GeoLite2's networks refer to.
        locations: Option<String>,
        /// What the source is called.
        name: String,
    },
    /// Use the data that is held.
    Approve,
    /// Use the data that was in use before.
    Rollback,
}

/// How the world data stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Geodata {
    /// What is in use.
    #[serde(flatten)]
    pub data: Data,
    /// Whether it is what came with the program.
    pub embedded: bool,
    /// What was in use before, and `rollback` uses again.
    pub previous: Option<Data>,
    /// What came from the sources and is not used, because it differs too much.
    pub held: Option<Held>,
    /// What is being done now.
    pub running: Option<Running>,
    /// What came of the last update.
    pub last: Option<Attempt>,
    /// When the sources are asked next by themselves, in RFC 3339.
    pub next: Option<String>,
    /// That of the portal of its fleet, which this host then uses in the place of its own sources.
    #[serde(default)]
    pub portal: Option<PortalData>,
}

/// World data that the portal of a fleet serves, as it stands on a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PortalData {
    /// Where the portal is.
    pub portal: String,
    /// SHA-256 of what it serves.
    pub digest: String,
    /// How far this host is with it.
    pub progress: PortalDataProgress,
}

/// How far a host is with the world data of its portal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PortalDataProgress {
    /// It is in use.
    InUse,
    /// It is held on this host.
    Held,
    /// It comes by itself, at a time that is not that of other hosts.
    Comes,
    /// It comes when it is asked for.
    Asked,
    /// Somebody chose other data on this host.
    PassedOver,
}

impl Data {
    /// What there is to say of a table, and of where it comes from.
    pub fn of(edition: &Edition, world: &World) -> Self {
        let source = |source: &SourceInfo| {
            let SourceInfo { name, date, licence, credit, link } = source.clone();
            DataSource { name, date, licence, credit, link }
        };
        Self {
            sources: edition.sources().map(source).collect(),
            ipv4_ranges: world.v4().len(),
            ipv6_ranges: world.v6().len(),
        }
    }
}

/// Data that waits for an approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Held {
    /// What it is.
    pub data: Data,
    /// Why it is held, each in a sentence.
    pub reasons: Vec<String>,
}

/// An update that runs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct Running {
    /// The source that is being fetched; none when all is there, and is made use of.
    pub source: Option<String>,
    /// Bytes of it that are there.
    pub bytes: u64,
    /// Bytes that there will be, if the server said.
    pub total: Option<u64>,
}

/// What came of an update.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Attempt {
    /// When, in RFC 3339.
    pub time: String,
    /// What came of it.
    pub outcome: UpdateOutcome,
    /// Why, if it failed or is held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// What came of an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum UpdateOutcome {
    /// What is new is in use.
    Used,
    /// The sources have nothing new.
    Same,
    /// What is new differs too much, and waits for an approval.
    Held,
    /// It failed.
    Failed,
}
