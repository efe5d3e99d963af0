//! What an update of the data would change, as it is told.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::country::CountryCode;
use crate::policy::Verdict;

/// What an update would change, and whether it waits for approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GateReport {
    /// Whether it waits for approval.
    pub held: bool,
    /// Why; empty if it does not wait.
    pub reasons: Vec<GateReason>,
    /// IPv4 addresses that have a country now.
    pub labelled: u64,
    /// Those of them that would have another, or none.
    pub changed: u64,
    /// The countries whose number of IPv4 addresses would change, the largest change first.
    pub countries: Vec<CountryShift>,
    /// The watched addresses whose verdict would change.
    pub turned: Vec<Turned>,
}

/// A reason to wait for approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GateReason {
    /// The kind of reason.
    pub held_for: HeldFor,
    /// The reason in words.
    pub text: String,
}

/// Kinds of reasons to wait for approval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum HeldFor {
    /// Too many addresses would change their country.
    Changed,
    /// A country would gain or lose too many addresses.
    Country,
    /// A watched address would be judged otherwise.
    Verdict,
}

/// The IPv4 addresses of a country, now and after an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CountryShift {
    /// The country.
    pub country: CountryCode,
    /// Its addresses now.
    pub before: u64,
    /// Its addresses after the update.
    pub after: u64,
}

/// A watched address whose verdict would change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Turned {
    /// Who that is.
    pub label: String,
    /// The address.
    #[schema(value_type = String)]
    pub address: IpAddr,
    /// What happens to it now.
    pub before: Verdict,
    /// What would happen to it.
    pub after: Verdict,
    /// Its country now.
    pub country_before: CountryCode,
    /// The country it would have.
    pub country_after: CountryCode,
}
