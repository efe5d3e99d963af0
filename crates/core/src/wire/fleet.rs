//! What a host of a fleet knows of its portal.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What makes a host one of a portal. Its key is in it: it is root's to read.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Membership {
    /// Where the portal is: `https://` and a name or an address, with a port if it is not 443.
    pub portal: String,
    /// The number of this host there.
    pub host: i64,
    /// The certificate of the portal's authority, in PEM.
    pub authority: String,
    /// That of this host.
    pub certificate: String,
    /// Its key.
    pub key: String,
    /// Seconds since 1970 at which the certificate ends.
    pub until: i64,
}

/// The key is not for logs.
impl fmt::Debug for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { portal, host, .. } = self;
        f.debug_struct("Membership")
            .field("portal", portal)
            .field("host", host)
            .finish_non_exhaustive()
    }
}

/// How a host of a fleet stands with its portal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FleetReport {
    /// Where the portal is.
    pub portal: String,
    /// The number of this host there.
    pub host: i64,
    /// Whether it is connected.
    pub connected: bool,
    /// Why not, if it was tried.
    pub trouble: Option<String>,
    /// The last that came: epoch and revision.
    pub received: Option<String>,
    /// The one that was put in force last.
    pub applied: Option<String>,
    /// Why the last one that came was not.
    pub refused: Option<String>,
}
