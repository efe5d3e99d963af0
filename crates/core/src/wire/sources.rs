//! Who sends packets, as it is told.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::country::CountryCode;

/// A source that was seen: an IPv4 address, or the /64 of an IPv6 one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SourceReport {
    /// The address, or the prefix.
    pub source: String,
    /// Its country.
    pub country: CountryCode,
    /// The AS that announces it.
    pub asn: Option<u32>,
    /// The name of that AS.
    pub as_name: Option<String>,
    /// Packets of it that passed.
    pub passed: u64,
    /// Packets of it that were dropped, or would have been.
    pub dropped: u64,
    /// Packets of it in the last ten seconds or so.
    pub lately: u64,
    /// When it was seen first, in RFC 3339.
    pub first: String,
    /// When it was seen last, in RFC 3339.
    pub last: String,
}

/// What was seen of a country.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CountryReport {
    /// The country.
    pub country: CountryCode,
    /// How many sources of it are known.
    pub sources: usize,
    /// Packets of them that passed.
    pub passed: u64,
    /// Packets of them that were dropped, or would have been.
    pub dropped: u64,
}

/// Who sends packets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Sources {
    /// How many sources are known.
    pub known: usize,
    /// Their countries, the busiest first.
    pub countries: Vec<CountryReport>,
    /// The busiest of them.
    pub sources: Vec<SourceReport>,
}
