//! What a change would do, as it is told.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::change::Risk;
use crate::country::CountryCode;

/// Addresses of one country in a preview.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PreviewCountry {
    /// The country.
    pub country: CountryCode,
    /// Addresses seen.
    pub total: u64,
    /// Addresses that would be dropped.
    pub dropped: u64,
    /// The attempts of these, where logs were read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<Share>,
}

/// Addresses of a preview.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct PreviewAddresses {
    /// Addresses of a list, or sources that were seen.
    pub total: u64,
    /// Those that would be dropped.
    pub dropped: u64,
    /// Lines of a list that are no address.
    #[serde(default)]
    pub invalid: u64,
    /// The number of the first of these, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_invalid: Option<u64>,
}

/// A part of a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct Share {
    /// All.
    pub total: u64,
    /// Those that would be dropped.
    pub dropped: u64,
}

/// Who somebody is to this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Who {
    /// A trunk of the PBX.
    Trunk,
    /// A device that is registered at the PBX, or connected to it.
    Phone,
    /// A shell from elsewhere.
    Ssh,
    /// A browser at the portal.
    Portal,
    /// A connection to a program that is none of these.
    Connection,
}

/// Somebody whom a policy would cut.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Cut {
    /// Where they are.
    #[schema(value_type = String)]
    pub address: IpAddr,
    /// The country of that.
    pub country: CountryCode,
    /// Who they are, in a few words: `phone 1001`.
    pub what: String,
    /// The same as a kind.
    pub who: Who,
    /// What must be accepted to do it.
    pub risk: Option<Risk>,
    /// Whether what is in force now drops them already.
    pub already: bool,
    /// Whether it is a ban that drops them, whatever the policy.
    #[serde(default)]
    pub banned: bool,
    /// How often they logged in, where logs were read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logins: Option<u64>,
}

impl Cut {
    /// Whether an exemption for a while is to keep them: a registered device that nobody banned.
    pub fn can_be_kept(&self) -> bool {
        self.who == Who::Phone && !self.banned
    }
}

/// Who would go on being let in, of those who are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct Kept {
    /// Trunks of the PBX.
    pub trunks: usize,
    /// Registered devices whose country is let in, or who are exempt.
    pub phones: usize,
    /// Addresses and ports the PBX itself sent a request to.
    pub peers: usize,
    /// Devices that would be exempt for a while.
    pub exempted: usize,
}

/// The IPv4 addresses that a selection lets in or keeps out, and what is not certain of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct Selection {
    /// Addresses whose country is selected.
    pub addresses: u64,
    /// Those of them of which the second source says another country.
    pub disputed: u64,
    /// Those of them in hosting networks.
    pub hosting: u64,
}

/// What logs tell beside the attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct PreviewLog {
    /// Attempts that would be dropped if hosting networks were as well.
    pub dropped_with_hosting: u64,
    /// Those of the attempts of which only fail2ban tells; of these each line counts.
    pub found: u64,
    /// Requests for existing accounts that were challenged and not followed up.
    pub probes: Share,
    /// Successful logins.
    pub logins: Share,
    /// Addresses that fail2ban banned.
    pub banned: Share,
    /// There were more addresses than are told apart.
    pub more_addresses: bool,
    /// Lines read.
    pub lines: u64,
    /// Those in no format that is understood, or too long.
    pub unreadable: u64,
    /// Those that could be about several addresses, and so tell nothing.
    pub ambiguous: u64,
    /// Those that are the text of SIP messages.
    pub traced: u64,
}

/// What a policy would do.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct Preview {
    /// The addresses given, the sources this host has seen, or those of the attempts in logs.
    pub addresses: PreviewAddresses,
    /// Attempts to get in, where logs were read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<Share>,
    /// What else the logs tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<PreviewLog>,
    /// The packets of the sources this host has seen.
    #[serde(default)]
    pub packets: Option<Share>,
    /// Since when sources were seen, or the time of the first event in logs, in RFC 3339.
    #[serde(default)]
    pub since: Option<String>,
    /// By country, most addresses first.
    pub by_country: Vec<PreviewCountry>,
    /// Whom it would cut.
    #[serde(default)]
    pub would_cut: Vec<Cut>,
    /// Whom it would not.
    #[serde(default)]
    pub kept: Kept,
    /// What is selected.
    #[serde(default)]
    pub selection: Selection,
    /// Sources seen whose country is unknown.
    #[serde(default)]
    pub unknown: Share,
    /// Sources seen whose country is disputed.
    #[serde(default)]
    pub disputed: Share,
    /// What must be accepted by name before the change is made.
    #[serde(default)]
    pub risks: Vec<Risk>,
    /// What the operator should know.
    #[serde(default)]
    pub warnings: Vec<String>,
}
