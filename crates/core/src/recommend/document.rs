//! [`Recommendation`]: what is proposed, what it rests on, and what nobody knows, as `geofilter recommend --json`
//! prints it.

use std::net::IpAddr;

use serde::Serialize;

use crate::country::CountryCode;
use crate::policy::{Disputed, Mode, Verdict};
use crate::wire::{Cut, Share};

/// What is proposed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Recommendation {
    /// The time of the first event in the logs, in RFC 3339; for whoever read them to fill in, as the next
    /// and the lines.
    pub since: Option<String>,
    /// That of the last.
    pub until: Option<String>,
    /// How many seconds are between these.
    pub covers: u64,
    /// What was seen.
    pub seen: Seen,
    /// What to do.
    pub proposal: Proposal,
    /// The attempts, and those that the proposal would have dropped.
    pub attempts: Share,
    /// How many of these without dropping hosting networks.
    pub dropped_without_hosting: u64,
    /// The logins, and those that the proposal would have cut.
    pub logins: Share,
    /// Where logins and most of the attempts come from.
    pub countries: Vec<Country>,
    /// Whom the proposal would cut.
    pub would_cut: Vec<Cut>,
    /// Countries that somebody should decide about who knows the people.
    pub undecided: Vec<Undecided>,
    /// Those who logged in and may be thieves.
    pub suspects: Vec<Suspect>,
    /// Whom to exempt.
    pub exemptions: Vec<Exempted>,
    /// The trunks of the PBX.
    pub trunks: Vec<TrunkSeen>,
    /// What to run, in this order.
    pub commands: Vec<String>,
    /// What this can't know.
    pub cannot_know: Vec<String>,
    /// What the operator should know.
    pub warnings: Vec<String>,
}

/// What was seen.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Seen {
    /// The files that were read.
    pub files: Vec<String>,
    /// Lines of these.
    pub lines: u64,
    /// Those that were not understood.
    pub unreadable: u64,
    /// Different addresses of the attempts.
    pub addresses: u64,
    /// There were more addresses or phones than are told apart.
    pub more: bool,
    /// Attempts that are lines of fail2ban alone.
    pub found: u64,
    /// Requests that never sent credentials.
    pub probes: u64,
    /// Addresses that fail2ban banned.
    pub banned: u64,
    /// Accounts that logged in from the internet.
    pub accounts: u64,
    /// Logins from local addresses, which pass whatever the policy.
    pub local_logins: u64,
    /// Devices that are registered now, if the PBX was asked.
    pub registered: Option<u64>,
}

/// What to do first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Observe, since too little is known.
    Observe,
    /// Let in some countries.
    Allow,
    /// Keep some out.
    Block,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Proposal {
    /// What to do first. If it is to observe, the rest is what could be done at once.
    pub action: Action,
    /// The mode of the policy, if there is one.
    pub mode: Option<Mode>,
    /// Its countries.
    pub countries: Vec<CountryCode>,
    /// Hosting networks.
    pub hosting: Verdict,
    /// Disputed space.
    pub disputed: Disputed,
    /// Why this mode and these countries.
    pub why: String,
    /// Why hosting networks are dropped, or not.
    pub why_hosting: Option<String>,
}

/// What a country is to this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Phones are at home there.
    Home,
    /// Somebody logged in from there, and it is not clear whether they belong there.
    Undecided,
    /// Only those logged in who may be thieves.
    Suspect,
    /// Nobody logged in.
    Attacking,
}

/// Who came from a country.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Country {
    /// Which.
    pub country: CountryCode,
    /// What it is to this host.
    pub role: Role,
    /// Logins.
    pub logins: u64,
    /// Accounts of these that are not in doubt.
    pub accounts: u64,
    /// Attempts.
    pub attempts: u64,
    /// Addresses of these.
    pub addresses: u64,
    /// Whether the proposal lets it in.
    pub passes: bool,
}

/// A country that somebody should decide about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Undecided {
    /// Which.
    pub country: CountryCode,
    /// Who was there.
    pub phones: Vec<String>,
    /// Logins from there.
    pub logins: u64,
    /// Attempts from there.
    pub attempts: u64,
    /// What lets them in with little else.
    pub command: String,
}

/// Somebody who logged in and may be a thief.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Suspect {
    /// From where.
    pub address: IpAddr,
    /// The country of that.
    pub country: CountryCode,
    /// As whom.
    pub account: String,
    /// How often.
    pub logins: u64,
    /// Why.
    pub why: String,
    /// Whether the proposal lets them in, since others of that country are.
    pub passes: bool,
}

/// Somebody to exempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Exempted {
    /// Whom.
    pub target: String,
    /// A remark for it.
    pub note: String,
    /// Why.
    pub why: String,
}

/// A trunk of the PBX.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TrunkSeen {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub places: Vec<String>,
    /// Whether the agent lets it in without being told, whatever its country.
    pub passes_by_itself: bool,
    /// If not, why.
    pub remark: Option<String>,
}

impl Recommendation {
    /// The command for what could be done at once, where it is proposed to observe first.
    pub fn at_once(&self) -> Option<String> {
        (self.proposal.action == Action::Observe).then(|| self.proposal.command())?
    }
}

impl Proposal {
    /// The command that makes the policy.
    pub fn command(&self) -> Option<String> {
        let word = match self.mode? {
            Mode::AllowSelected => "allow",
            Mode::BlockSelected => "block",
        };
        let countries: Vec<&str> = self.countries.iter().map(CountryCode::as_str).collect();
        let hosting = if self.hosting == Verdict::Drop { " --hosting drop" } else { "" };
        let disputed = match self.disputed {
            Disputed::Lenient => " --disputed lenient",
            Disputed::Primary | Disputed::Strict => "",
        };
        Some(format!(
            "geofilter {word} {}{hosting}{disputed} --confirm-within 10m",
            countries.join(" ")
        ))
    }
}
