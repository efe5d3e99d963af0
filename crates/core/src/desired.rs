//! [`Desired`]: what a data plane is asked to hold, and [`Observed`]: what was read back from it.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::policy::Policy;

/// Monotonic number of a policy in the kernel; every change has a new one.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    Default,
    ToSchema,
)]
#[serde(transparent)]
pub struct Generation(pub u64);

impl Generation {
    /// The generation after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// A point of `CLOCK_BOOTTIME`, in nanoseconds since boot: the clock of the kernel's dead-man.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BootTime(pub u64);

/// What a bank does with the packets it judges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Everything passes, nothing is judged.
    Pass,
    /// Packets are judged and counted as would-drop; all pass.
    Observe,
    /// What the policy drops is dropped.
    Enforce,
}

/// One policy as the kernel holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bank {
    /// Its number.
    pub generation: Generation,
    /// What is done with its verdicts.
    pub action: Action,
    /// What it judges by.
    pub policy: Arc<Policy>,
}

/// The state of a host, as the operator sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Nothing is attached.
    Off,
    /// Judged and counted, nothing dropped.
    Observing,
    /// The policy drops.
    Enforcing,
    /// Attached, all passes; the kernel resumes by itself.
    Paused,
    /// Enforcing a change that is not confirmed; the kernel goes back by itself.
    Pending,
}

/// The bank the kernel uses once the deadline has passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fallback {
    /// What is in force after the deadline.
    pub bank: Bank,
    /// From this time on the fallback decides.
    pub deadline: BootTime,
}

/// The whole state a data plane is asked to hold while it is attached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desired {
    /// In force now.
    pub active: Bank,
    /// In force after a deadline: present exactly when paused or pending.
    pub fallback: Option<Fallback>,
}

impl Desired {
    /// The state this is, at a time when the deadline has not passed.
    pub fn state(&self) -> State {
        match (&self.fallback, self.active.action) {
            (Some(_), Action::Pass) => State::Paused,
            (Some(_), Action::Observe | Action::Enforce) => State::Pending,
            (None, Action::Pass | Action::Observe) => State::Observing,
            (None, Action::Enforce) => State::Enforcing,
        }
    }
}

/// How a program sits on an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AttachmentKind {
    /// XDP in the driver.
    XdpNative,
    /// XDP in the stack; only when asked for.
    XdpGeneric,
    /// Traffic control ingress.
    Tc,
    /// A table of nftables.
    Nft,
    /// No kernel at all: tests only.
    Memory,
}

/// A program on an interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Attachment {
    /// The interface's name.
    pub interface: String,
    /// How the program sits there.
    pub kind: AttachmentKind,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pass => "passing",
            Self::Observe => "observing",
            Self::Enforce => "enforcing",
        })
    }
}

/// What a data plane holds, read back from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// Programs and where they sit.
    pub attachments: Vec<Attachment>,
    /// Generation and action of the active bank.
    pub active: (Generation, Action),
    /// Generation and action of the fallback bank, with the deadline.
    pub fallback: Option<(Generation, Action, BootTime)>,
    /// What keeps it from holding for every packet.
    pub warnings: Vec<String>,
}

/// For people: without what keeps it from holding.
impl fmt::Display for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (generation, action) = self.active;
        write!(f, "{action} (generation {})", generation.0)?;
        if let Some((generation, action, _)) = self.fallback {
            write!(f, ", after a deadline {action} (generation {})", generation.0)?;
        }
        let names: Vec<&str> =
            self.attachments.iter().map(|attachment| attachment.interface.as_str()).collect();
        match names.is_empty() {
            true => f.write_str(", on no interface"),
            false => write!(f, ", on {}", names.join(" ")),
        }
    }
}

impl Observed {
    /// Whether the banks are those that were asked for.
    pub fn holds(&self, desired: &Desired) -> bool {
        let bank = |bank: &Bank| (bank.generation, bank.action);
        let fallback = desired.fallback.as_ref().map(|fallback| {
            let (generation, action) = bank(&fallback.bank);
            (generation, action, fallback.deadline)
        });
        self.active == bank(&desired.active) && self.fallback == fallback
    }
}
