use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::evidence::{OfDay, Span};

/// What the logs of the PBX told of attempts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct EvidenceReport {
    /// Day by day.
    pub days: Vec<EvidenceDay>,
    /// The whole days on which no policy dropped anything.
    pub without: Span,
    /// The whole days on which one did, for at least 23 hours.
    pub with: Span,
    /// The logs that are followed.
    pub logs: Vec<String>,
    /// What the operator should know.
    pub warnings: Vec<String>,
}

/// A day of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EvidenceDay {
    /// Its date, as ISO 8601 writes it.
    pub day: String,
    /// What is known of it.
    #[serde(flatten)]
    pub of_day: OfDay,
}
