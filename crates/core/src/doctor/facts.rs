//! [`Facts`]: what was looked at.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::detected::Detected;
use crate::wire::{Status, Why};

/// What was seen, or why it could not be.
pub type Seen<T> = Result<T, String>;

/// Everything that was looked at on a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The machine and its kernel.
    pub machine: Machine,
    /// The agent.
    pub agent: Agent,
    /// The interfaces of this network namespace.
    pub interfaces: Seen<Vec<Interface>>,
    /// The PBX, and what else has a say about packets.
    pub detected: Detected,
    /// What the policy in force says of the trunks.
    pub trunks: Seen<Vec<Judged>>,
    /// fail2ban, if it is installed.
    pub fail2ban: Seen<Option<Fail2ban>>,
}

/// The machine and its kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// The days since 1970-01-01.
    pub today: i64,
    /// What the kernel can't do of what is needed.
    pub lacking: Seen<Vec<&'static str>>,
    /// The effective capabilities of the agent, or of root where there is none.
    pub capabilities: Seen<u64>,
    /// `net.core.bpf_jit_enable`.
    pub jit: Seen<u8>,
    /// Whether a bpffs is mounted where it belongs.
    pub bpffs: Seen<bool>,
    /// The CPUs that the scheduler leaves alone, as the kernel lists them.
    pub isolated: Seen<String>,
    /// Memory in KiB.
    pub memory: Seen<u64>,
    /// Whether something keeps the clock right.
    pub synchronised: Seen<bool>,
    /// Whether the agent starts with the machine.
    pub starts_at_boot: Seen<bool>,
}

/// The agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// What it says; `None` if none answers.
    pub status: Seen<Option<Status>>,
    /// What came instead of an answer, where something took the question.
    pub trouble: Option<String>,
    /// Whether programs are on interfaces, with an agent or without.
    pub attached: Seen<bool>,
    /// Its state folder, if it is there.
    pub state_dir: Seen<Option<Folder>>,
}

/// A folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    /// Where it is.
    pub path: String,
    /// Why nothing can be written there, if so.
    pub refuses: Option<String>,
    /// Bytes that are free there.
    pub free: u64,
}

/// An interface.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// It carries a default route.
    pub default_route: bool,
    /// It is the loopback interface.
    pub loopback: bool,
    /// Its packets start with an Ethernet header.
    pub ethernet: bool,
    /// It is a VLAN on another interface.
    pub vlan: bool,
    /// The largest packet it takes.
    pub mtu: u32,
    /// The host's addresses on it.
    pub addresses: Vec<IpAddr>,
    /// Whether it takes VLAN tags off what arrives, if it says.
    pub strips_vlan_tags: Option<bool>,
}

/// A trunk, and what the policy in force says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// Its name.
    pub trunk: String,
    /// What becomes of it.
    pub why: Why,
}

/// fail2ban.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fail2ban {
    /// The jails that run; none if it does not.
    pub running: Option<Vec<String>>,
    /// The jails as they are configured.
    pub jails: Seen<Vec<Jail>>,
    /// Who is banned.
    pub banned: Vec<IpAddr>,
    /// Who of them must never be, as the agent says.
    pub protected: BTreeSet<IpAddr>,
}

/// A jail of fail2ban.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Jail {
    /// Its name.
    pub name: String,
    /// It reads the journal instead of files.
    pub journal: bool,
    /// The files it reads.
    pub files: Vec<String>,
    /// Whom it never bans.
    pub ignored: Vec<IpNet>,
    /// What it asks whether somebody must not be banned.
    pub ignore_command: Option<String>,
    /// The names of its actions.
    pub actions: Vec<String>,
}
