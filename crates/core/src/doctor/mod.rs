//! [`examine`]: what could go wrong on a host, and how to mend it.
//!
//! [`facts`] is what was looked at, gathered elsewhere. Each [`Code`] has one check, in the module of
//! what it is about: [`machine`], [`agent`], [`network`], [`phones`], [`jails`]. A check finds something,
//! passes, or says why it could not be made: nothing is skipped in silence. [`dump`] reads what fail2ban
//! says of itself. [`bundle`] is what of all that goes into a public bug report, and [`redact`] takes out
//! of its texts whom it is about.

mod agent;
pub mod bundle;
pub mod dump;
pub mod facts;
mod jails;
mod machine;
mod network;
mod phones;
pub mod redact;

use serde::Serialize;

pub use facts::{Facts, Seen};

/// How bad it is; the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// It does harm now, or lets through what should not pass.
    Problem,
    /// It may do harm.
    Warning,
    /// Worth knowing.
    Note,
}

/// What is checked. The words are stable; [docs/doctor.md](../../../../docs/doctor.md) lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "each is told of in docs/doctor.md, and by its check")]
pub enum Code {
    KernelLacks,
    CapabilitiesMissing,
    JitOff,
    BpffsMissing,
    LittleMemory,
    IsolatedCpus,
    ClockNotSynchronised,
    NotStartedAtBoot,
    AgentUnreachable,
    AgentWarning,
    PolicyLost,
    PolicyUnsaved,
    NotEnforcing,
    StateDir,
    WorldDataOld,
    InterfaceUnprotected,
    Ipv6Unprotected,
    NotNativeXdp,
    GenericXdp,
    VlanTagsHidden,
    ProgramsOfOthers,
    LargeNftSets,
    OtherFirewall,
    HostNotSeen,
    OnePrivateSource,
    Container,
    Forwarded,
    IdentifyTooWide,
    PortsUnprotected,
    Iax2Open,
    TrunkDropped,
    AsteriskNoSecurityLog,
    #[serde(rename = "fail2ban-not-running")]
    Fail2banNotRunning,
    #[serde(rename = "fail2ban-no-jail")]
    Fail2banNoJail,
    #[serde(rename = "fail2ban-log-unread")]
    Fail2banLogUnread,
    #[serde(rename = "fail2ban-counts-twice")]
    Fail2banCountsTwice,
    #[serde(rename = "fail2ban-may-ban-friends")]
    Fail2banMayBanFriends,
    #[serde(rename = "fail2ban-bans-friends")]
    Fail2banBansFriends,
    #[serde(rename = "fail2ban-table-missing")]
    Fail2banTableMissing,
    #[serde(rename = "fail2ban-bans-unenforced")]
    Fail2banBansUnenforced,
    #[serde(rename = "fail2ban-blind-to-floods")]
    Fail2banBlindToFloods,
}

/// Something that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is.
    pub code: Code,
    /// How bad it is.
    pub severity: Severity,
    /// What was found, on what.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

/// A check that could not be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NotChecked {
    /// Which.
    pub code: Code,
    /// Why.
    pub why: String,
}

/// What the examination came to: every [`Code`] is in at least one of the lists.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Report {
    /// What was found, the worst first.
    pub findings: Vec<Finding>,
    /// What was looked at and is well.
    pub passed: Vec<Code>,
    /// What could not be looked at.
    pub not_checked: Vec<NotChecked>,
}

impl Report {
    /// Whether something is wrong now.
    pub fn has_problem(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Problem)
    }
}

/// One thing that a check complains of.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Complaint {
    severity: Severity,
    message: String,
    remedy: String,
}

impl Complaint {
    fn new(severity: Severity, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { severity, message: message.into(), remedy: remedy.into() }
    }

    /// The only complaint of a check, where it applies.
    fn if_so(
        applies: bool,
        severity: Severity,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Outcome {
        Ok(applies.then(|| Self::new(severity, message, remedy)).into_iter().collect())
    }
}

/// What a check came to: nothing to complain of, complaints, or why it could not be made.
type Outcome = Seen<Vec<Complaint>>;
type Check = (Code, fn(&Facts) -> Outcome);

/// Makes every check.
pub fn examine(facts: &Facts) -> Report {
    let checks = [machine::CHECKS, agent::CHECKS, network::CHECKS, phones::CHECKS, jails::CHECKS];
    let mut report = Report::default();
    for (code, check) in checks.into_iter().flatten() {
        match check(facts) {
            Ok(complaints) if complaints.is_empty() => report.passed.push(*code),
            Ok(complaints) => report.findings.extend(complaints.into_iter().map(|complaint| {
                let Complaint { severity, message, remedy } = complaint;
                Finding { code: *code, severity, message, remedy }
            })),
            Err(why) => report.not_checked.push(NotChecked { code: *code, why }),
        }
    }
    report.findings.sort_by_key(|finding| finding.severity);
    report
}

#[cfg(test)]
mod tests;
