//! What a data plane counted, by country and by [`Reason`]: exact, but for one that only samples countries.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::country::CountryId;

/// Why a packet got its verdict.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Reason {
    /// Not IPv4 or IPv6, or no readable IP header: nothing to judge.
    NotIp = 0,
    /// Not to a protected port.
    OutOfScope = 1,
    /// A local source.
    Local = 2,
    /// Impossible on a wire, so forged: multicast or loopback as a source, or IP below more VLAN tags than
    /// are looked through.
    Martian = 3,
    /// An exemption of the operator.
    Exemption = 4,
    /// The PBX itself sent a request there.
    Peer = 5,
    /// A ban.
    Ban = 6,
    /// The country decided.
    Country = 7,
    /// The country is unknown, and the policy's `unknown` decided.
    Unknown = 8,
    /// A hosting network.
    Hosting = 9,
}

impl Reason {
    /// Every reason, in the order of its number.
    pub const ALL: [Self; 10] = [
        Self::NotIp,
        Self::OutOfScope,
        Self::Local,
        Self::Martian,
        Self::Exemption,
        Self::Peer,
        Self::Ban,
        Self::Country,
        Self::Unknown,
        Self::Hosting,
    ];
}

/// Packets and bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct Traffic {
    /// Packets; a merged buffer counts as the packets it was merged from.
    pub packets: u64,
    /// Bytes from the link header on.
    pub bytes: u64,
}

impl std::ops::AddAssign for Traffic {
    fn add_assign(&mut self, other: Self) {
        self.packets += other.packets;
        self.bytes += other.bytes;
    }
}

/// Traffic by what became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct Outcomes {
    /// Passed by the policy.
    pub passed: Traffic,
    /// Dropped.
    pub dropped: Traffic,
    /// Passed while observing, would have been dropped.
    pub would_drop: Traffic,
}

/// Everything counted since the programs were attached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counters {
    /// By country index; packets that were judged by the world table.
    pub by_country: Vec<Outcomes>,
    /// What is said by country is estimated from samples.
    pub sampled: bool,
    /// By [`Reason`] as a number.
    pub by_reason: [Outcomes; Reason::ALL.len()],
    /// Drops whose sample was skipped, by rate limit or a full buffer.
    pub skipped_events: u64,
    /// Peers there was no room for.
    pub lost_peers: u64,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            by_country: vec![Outcomes::default(); crate::country::CODES.len()],
            sampled: false,
            by_reason: Default::default(),
            skipped_events: 0,
            lost_peers: 0,
        }
    }
}

impl Counters {
    /// The counters of one country.
    pub fn country(&self, country: CountryId) -> &Outcomes {
        &self.by_country[country.index()]
    }

    /// The counters of one reason.
    pub fn reason(&self, reason: Reason) -> &Outcomes {
        &self.by_reason[reason as usize]
    }

    /// Everything, whatever the reason.
    pub fn total(&self) -> Outcomes {
        self.by_reason.iter().fold(Outcomes::default(), |mut total, outcomes| {
            total.passed += outcomes.passed;
            total.dropped += outcomes.dropped;
            total.would_drop += outcomes.would_drop;
            total
        })
    }
}
