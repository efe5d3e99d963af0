//! What is spoken over the agent's socket and printed as JSON: one [`Request`] a line, answered by one
//! [`Reply`] a line, or by a line for each entry of the log.
//!
//! The fields are a contract: new ones may come, none goes or changes its meaning within a [`SCHEMA`].

mod door;
mod evidence;
mod fleet;
mod gate;
mod geodata;
mod preview;
mod records;
mod sources;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::book::{Kind, Origin};
use crate::change::{Change, Risk};
use crate::counters::{Counters, Outcomes, Reason, Traffic};
use crate::country::{CountryCode, CountryId, CountrySet};
use crate::desired::{Attachment, Generation, State};
use crate::fail2ban::Ask;
use crate::logs::Stamp;
use crate::logs::stamp::DAY;
use crate::policy::{Disputed, Mode, Policy, Scope, TimeBox, Transport, Verdict};

pub use evidence::{EvidenceDay, EvidenceReport};
pub use fleet::{FleetReport, Membership};
pub use gate::{CountryShift, GateReason, GateReport, HeldFor, Turned};
pub use geodata::{
    Attempt, Geodata, GeodataAsk, Held, PortalData, PortalDataProgress, Running, UpdateOutcome,
};
pub use preview::{
    Cut, Kept, Preview, PreviewAddresses, PreviewCountry, PreviewLog, Selection, Share, Who,
};
pub use records::{
    Because, Counts, DecidedBy, NameReport, Noted, PeerReport, Peers, Protected, RecordReport,
    Records,
};
pub use sources::{CountryReport, SourceReport, Sources};

/// The version of everything here.
pub const SCHEMA: u32 = 1;

/// A document as it is printed: its body beside the schema number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document<T> {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The fields.
    #[serde(flatten)]
    pub body: T,
}

impl<T> Document<T> {
    /// A document of the present schema.
    pub fn new(body: T) -> Self {
        Self { schema: SCHEMA, body }
    }
}

/// What a client asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Request {
    /// The state.
    Status,
    /// A new policy.
    Enforce {
        /// What to change.
        change: Change,
        /// Seconds in which it must be confirmed; without it stands at once.
        #[serde(default)]
        confirm_within: Option<u64>,
        /// Seconds for which the devices that are registered now, and that it would cut, are exempt.
        #[serde(default)]
        keep_registered: Option<u64>,
    },
    /// What a change would do, and to whom; the policy in force if none is named.
    Preview {
        /// What to change.
        #[serde(default)]
        change: Option<Change>,
        /// As in [`Request::Enforce`].
        #[serde(default)]
        keep_registered: Option<u64>,
    },
    /// Who sends packets to protected ports, the busiest first.
    Sources {
        /// How many.
        limit: usize,
    },
    /// Keep the pending change.
    Confirm {
        /// Only if it has this number; whichever is pending if not said.
        #[serde(default)]
        generation: Option<Generation>,
    },
    /// Undo the pending change.
    Revert {
        /// As in [`Request::Confirm`].
        #[serde(default)]
        generation: Option<Generation>,
    },
    /// Keep the policy, count only.
    Observe,
    /// Let everything pass for a while.
    Pause {
        /// For how many seconds.
        seconds: u64,
    },
    /// End a pause.
    Resume,
    /// Detach everything.
    Off,
    /// What happens to an address, and why.
    Why {
        /// The source.
        address: IpAddr,
        /// The destination port; the first protected one if not said.
        #[serde(default)]
        port: Option<u16>,
        /// The protocol; that of the first protected port if not said.
        #[serde(default)]
        protocol: Option<Transport>,
    },
    /// Exemptions or bans.
    List {
        /// Which.
        kind: Kind,
        /// Only those for these targets.
        #[serde(default)]
        targets: Vec<String>,
    },
    /// Exempts or bans, all of the targets or none. What there was for the same target of the same origin
    /// is replaced.
    Add {
        /// Which.
        kind: Kind,
        /// What to exempt or ban, as an operator writes it.
        targets: Vec<String>,
        /// For how many seconds; for ever without.
        #[serde(default)]
        seconds: Option<u64>,
        /// A remark.
        #[serde(default)]
        note: String,
        /// Who asks.
        #[serde(default)]
        origin: Origin,
    },
    /// Ends exemptions or bans.
    Remove {
        /// Which.
        kind: Kind,
        /// Of what, as an operator writes it.
        targets: Vec<String>,
        /// Only those of this origin.
        #[serde(default)]
        origin: Option<Origin>,
    },
    /// What fail2ban's action asks.
    Fail2ban {
        /// What.
        ask: Ask,
    },
    /// Whether an address must never be banned.
    Protected {
        /// The address.
        address: IpAddr,
    },
    /// What the logs of the PBX told of attempts, day by day.
    Evidence,
    /// The world data.
    Geodata {
        /// What to do with it.
        ask: GeodataAsk,
    },
    /// The addresses the PBX itself sent a request to.
    Peers,
    /// Ends a peer.
    RemovePeer {
        /// Its address and port.
        peer: SocketAddr,
    },
    /// Becomes a host of a portal.
    Join {
        /// Of which.
        membership: Membership,
    },
    /// Is no host of a portal any more. The policy stays.
    Leave,
    /// Recent drops.
    Log {
        /// Whether to go on with those to come.
        #[serde(default)]
        follow: bool,
        /// Only from this country.
        #[serde(default)]
        country: Option<CountryCode>,
        /// Only for this reason.
        #[serde(default)]
        reason: Option<Reason>,
    },
}

/// What the agent answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// To [`Request::Status`].
    Status(Box<Status>),
    /// To every request that changes something.
    Changed(Changed),
    /// To [`Request::Preview`].
    Preview(Box<Preview>),
    /// To [`Request::Sources`].
    Sources(Sources),
    /// To [`Request::Why`].
    Why(Box<Why>),
    /// To [`Request::List`].
    Records(Records),
    /// To [`Request::Add`], [`Request::Remove`], [`Request::RemovePeer`] and [`Request::Fail2ban`].
    Noted(Noted),
    /// To [`Request::Protected`].
    Protected(Protected),
    /// To [`Request::Evidence`].
    Evidence(Box<EvidenceReport>),
    /// To [`Request::Geodata`].
    Geodata(Box<Geodata>),
    /// To [`Request::Peers`].
    Peers(Peers),
    /// To [`Request::Join`] and [`Request::Leave`]: how it stands with its portal; nothing if it has none.
    Fleet(Option<FleetReport>),
    /// To [`Request::Log`], as many as there are.
    Entry(Box<LogEntry>),
    /// To [`Request::Log`], when the client was too slow for this many entries.
    Skipped(u64),
    /// To anything, when it failed; nothing was changed unless the message says so.
    Error(Failure),
}

/// What kind of failure it is; each has its exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureKind {
    /// It was tried and failed.
    Failed,
    /// The request makes no sense.
    Invalid,
    /// What the host does now leaves nothing to do of that kind, such as to confirm.
    Unfit,
    /// It is dangerous, and the danger was not accepted.
    Risky,
    /// No agent answers.
    Unreachable,
}

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Its kind.
    pub kind: FailureKind,
    /// What failed, on what, and what to do.
    pub message: String,
    /// The risk that would have to be accepted; the first, if they are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub risk: Option<Risk>,
    /// Every risk that would have to be accepted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub risks: Vec<Risk>,
}

impl Failure {
    /// Something that failed.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), risk: None, risks: Vec::new() }
    }

    /// A danger, or several, that were not accepted.
    pub fn risky(risks: Vec<Risk>, message: impl Into<String>) -> Self {
        let risk = risks.first().copied();
        Self { risk, risks, ..Self::new(FailureKind::Risky, message) }
    }
}

/// Packets and bytes, whole, by country and by reason.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct Tally {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
    /// By country; countries without a packet are left out.
    pub by_country: BTreeMap<CountryCode, Traffic>,
    /// By reason; reasons without a packet are left out.
    #[serde(default)]
    pub by_reason: BTreeMap<Reason, Traffic>,
}

impl Tally {
    /// Everything that came to this.
    pub fn of(counters: &Counters, came_to: impl Fn(&Outcomes) -> Traffic) -> Self {
        let Traffic { packets, bytes } = came_to(&counters.total());
        let by_country = std::iter::once(CountryId::UNKNOWN)
            .chain(CountryId::all())
            .map(|country| (country.code(), came_to(counters.country(country))))
            .filter(|(_, traffic)| traffic.packets > 0)
            .collect();
        let by_reason = Reason::ALL
            .into_iter()
            .map(|reason| (reason, came_to(counters.reason(reason))))
            .filter(|(_, traffic)| traffic.packets > 0)
            .collect();
        Self { packets, bytes, by_country, by_reason }
    }
}

/// One source of the world data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DataSource {
    /// Its name.
    pub name: String,
    /// Its date or edition.
    pub date: String,
    /// The licence it is used under.
    pub licence: String,
    /// The credit the licence asks for.
    pub credit: String,
    /// The address that the credit links to.
    pub link: String,
}

impl DataSource {
    /// The days from 1970-01-01 to its date, such as `2026-10-03`, or to the first of its month, such as `2026-10`.
    pub fn day(&self) -> Option<i64> {
        let mut parts = self.date.splitn(3, '-').map(str::parse);
        let (year, month) = (parts.next()?.ok()?, parts.next()?.ok()?);
        let day = parts.next().unwrap_or(Ok(1)).ok()?;
        Some(Stamp::new((year, month, day), (0, 0, 0), 0)?.0 / DAY)
    }
}

/// The world data in use.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct Data {
    /// Its sources, the one that decides first.
    pub sources: Vec<DataSource>,
    /// Ranges of IPv4 space.
    pub ipv4_ranges: usize,
    /// Ranges of IPv6 space.
    pub ipv6_ranges: usize,
}

/// What is known of the PBX of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct PbxKnown {
    /// Registered devices.
    pub devices: usize,
    /// Trunks.
    pub trunks: usize,
    /// The one private address that all SIP arrives from: then a choice of countries stops nobody.
    #[schema(value_type = Option<String>)]
    pub one_private_source: Option<IpAddr>,
}

/// The warning of a [`Status`] whose policy is not known.
pub const POLICY_LOST: &str = "the kernel holds a policy that this agent does not know; it stays in force until you choose one with `allow` or `block`";
/// The warning of a [`Status`] that is not on disk.
pub const UNSAVED: &str = "what is in force could not be saved yet: a restart would undo it";

/// The state of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// What the kernel does now.
    pub state: State,
    /// Allow or block.
    pub mode: Mode,
    /// The selected countries.
    pub countries: CountrySet,
    /// Unknown space.
    pub unknown: Verdict,
    /// Hosting networks.
    pub hosting: Verdict,
    /// Disputed space.
    pub disputed: Disputed,
    /// Protected ports.
    pub scope: Scope,
    /// Countries that are selected for a while.
    #[serde(default)]
    pub time_boxes: Vec<TimeBox>,
    /// The number of what is in force.
    pub generation: Generation,
    /// Seconds until the state ends by itself.
    pub remaining: Option<u64>,
    /// The data plane; none while off.
    pub backend: Option<String>,
    /// The interfaces that are or would be protected.
    pub interfaces: Vec<String>,
    /// Programs on interfaces.
    pub attachments: Vec<Attachment>,
    /// World data.
    pub data: Data,
    /// Dropped since the programs were attached.
    pub dropped: Tally,
    /// Passed while observing, would have been dropped.
    pub would_drop: Tally,
    /// Judged and passed.
    pub passed: Tally,
    /// Drops that the log could not show.
    pub skipped_events: u64,
    /// What is said by country and of sources is estimated from samples of the packets.
    #[serde(default)]
    pub sampled: bool,
    /// Exemptions, bans and peers.
    #[serde(default)]
    pub counts: Counts,
    /// What is known of the PBX; nothing if none was found, or it has not answered yet.
    #[serde(default)]
    pub pbx: Option<PbxKnown>,
    /// How it stands with the portal of its fleet; nothing if it has none.
    #[serde(default)]
    pub fleet: Option<FleetReport>,
    /// What the operator should know.
    pub warnings: Vec<String>,
}

impl Status {
    /// The policy.
    pub fn policy(&self) -> Policy {
        Policy {
            mode: self.mode,
            countries: self.countries,
            scope: self.scope.clone(),
            hosting: self.hosting,
            unknown: self.unknown,
            disputed: self.disputed,
            time_boxes: self.time_boxes.clone(),
        }
    }
}

/// What a change came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Changed {
    /// What the kernel does now.
    pub state: State,
    /// Allow or block.
    pub mode: Mode,
    /// The selected countries.
    pub countries: CountrySet,
    /// The number of what is in force.
    pub generation: Generation,
    /// Seconds until the state ends by itself.
    pub remaining: Option<u64>,
    /// The unconfirmed change that this one replaced or ended.
    pub replaced: Option<Generation>,
    /// While a change is pending: what is in force again unless it is confirmed.
    #[serde(default)]
    pub fallback: Option<Fallback>,
    /// After a revert: the kernel's state was read back, and is what was confirmed.
    #[serde(default)]
    pub compared: bool,
    /// After `off`: the machine compared with what it was before.
    pub proof: Option<Proof>,
    /// What the operator should know.
    pub warnings: Vec<String>,
}

/// What is in force again unless a change is confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Fallback {
    /// What the kernel will do.
    pub state: State,
    /// Allow or block.
    pub mode: Mode,
    /// The selected countries.
    pub countries: CountrySet,
    /// Its number.
    pub generation: Generation,
}

/// What comparing the machine with its baseline found.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct Proof {
    /// Nothing of GeoFilter remains.
    pub clean: bool,
    /// What was compared, with the number of its parts.
    pub compared: BTreeMap<String, usize>,
    /// What of GeoFilter remains.
    pub remains: Vec<String>,
    /// What others changed meanwhile.
    pub changed_by_others: Vec<String>,
}

/// What one source says of an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Opinion {
    /// The source.
    pub source: String,
    /// The country.
    pub country: CountryCode,
}

/// What the world data says of an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Lookup {
    /// The address asked about.
    #[schema(value_type = String)]
    pub address: IpAddr,
    /// The IPv4 address inside, where the address is that of a tunnel.
    #[schema(value_type = Option<String>)]
    pub judged_as: Option<IpAddr>,
    /// Its country.
    pub country: CountryCode,
    /// What each source says.
    pub sources: Vec<Opinion>,
    /// The largest prefix around it of which the sources say the same.
    pub prefix: String,
    /// The AS that announces it.
    pub asn: Option<u32>,
    /// The name of that AS.
    pub as_name: Option<String>,
    /// A hosting network.
    pub hosting: bool,
    /// The sources disagree.
    pub disputed: bool,
    /// Nobody's space: set aside for special use, or neither registered nor announced.
    pub reserved: bool,
}

/// What happens to an address, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Why {
    /// What the world data says.
    #[serde(flatten)]
    pub lookup: Lookup,
    /// The verdict of the policy; none if the policy is not known.
    pub verdict: Option<Verdict>,
    /// The reason of the verdict.
    pub reason: Option<Reason>,
    /// The destination port it was judged for.
    pub port: Option<u16>,
    /// The protocol it was judged for.
    pub protocol: Option<Transport>,
    /// What the kernel does now; none if no agent was asked.
    pub state: Option<State>,
    /// The exemption, ban or peer that decided, if one did.
    #[serde(default)]
    pub decided_by: Option<DecidedBy>,
    /// What was seen of it, or of its /64.
    #[serde(default)]
    pub seen: Option<SourceReport>,
    /// What was judged of its country since the programs were attached.
    #[serde(default)]
    pub of_country: Option<Outcomes>,
}

/// What happens to the addresses of a host name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhyName {
    /// The name.
    pub name: String,
    /// Its addresses, and those of the servers its SRV records name.
    pub addresses: Vec<Why>,
    /// What of it could not be resolved, and why.
    pub incomplete: Option<String>,
}

/// One line of the attack log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogEntry {
    /// When, in RFC 3339.
    pub time: String,
    /// Dropped, or only counted as would-drop.
    pub enforced: bool,
    /// Source address.
    #[schema(value_type = String)]
    pub source: IpAddr,
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub port: u16,
    /// Protocol.
    pub protocol: String,
    /// Country of the source.
    pub country: CountryCode,
    /// The AS that announces the source.
    pub asn: Option<u32>,
    /// The name of that AS.
    pub as_name: Option<String>,
    /// Why.
    pub reason: Reason,
    /// Interface.
    pub interface: String,
    /// Length in bytes.
    pub length: u32,
    /// Drops of its source that this one stands for: it, and those since the last that was shown.
    #[serde(default)]
    pub packets: u32,
    /// SIP method, of a request.
    pub method: Option<String>,
    /// First line, if it is text.
    pub first_line: Option<String>,
    /// SIP User-Agent.
    pub user_agent: Option<String>,
    /// The generation that judged it.
    pub generation: Generation,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_day_of_data_is_counted_as_the_calendar_does() {
        let day = |date: &str| {
            let none = String::new;
            let date = date.to_owned();
            DataSource { name: none(), date, licence: none(), credit: none(), link: none() }.day()
        };
        for (date, days) in [
            ("1970-01-01", 0),
            ("1970-03-01", 59),
            ("2000-02-29", 11_016),
            ("2026-10", 20_727),
            ("2026-11-22", 20_779),
        ] {
            assert_eq!(day(date), Some(days), "{date}");
        }
        for date in ["", "2026", "x-y-z", "2026-13", "2026-01-40"] {
            assert_eq!(day(date), None, "{date}");
        }
    }
}
