//! [`Detected`]: what was found on a host, as `geofilter detect --json` prints it.

use std::net::IpAddr;

use serde::Serialize;

use crate::pbx::Pbx;
use crate::pbx::findings::{self, Warning};
use crate::policy::{Ports, Scope};
use crate::surroundings::Surroundings;

/// What was found on a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Detected {
    /// What the operator must know before anything else.
    pub warnings: Vec<Warning>,
    /// The PBXs.
    pub pbx: Vec<Pbx>,
    /// The ports to protect, if any were found.
    pub scope: Option<Scope>,
    /// What else has a say about packets.
    pub surroundings: Surroundings,
    /// What could not be found out, and what to do about it.
    pub notes: Vec<String>,
}

impl Detected {
    /// Puts together what was found; `attempts` are the sources of logged attempts.
    pub fn new(
        pbx: Vec<Pbx>,
        surroundings: Surroundings,
        attempts: &[IpAddr],
        notes: Vec<String>,
    ) -> Self {
        let warnings = findings::warnings(&pbx, attempts, &surroundings);
        Self { warnings, scope: scope(&pbx), pbx, surroundings, notes }
    }
}

/// The ports of all of them.
pub fn scope(pbxs: &[Pbx]) -> Option<Scope> {
    let mut ports: Vec<Ports> = pbxs.iter().filter_map(Pbx::scope).flat_map(|it| it.0).collect();
    ports.sort();
    ports.dedup();
    (!ports.is_empty()).then_some(Scope(ports))
}
