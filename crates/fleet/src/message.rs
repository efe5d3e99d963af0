//! The messages, as JSON.

use std::fmt;
use std::mem::take;

use data_encoding::HEXLOWER;
use geofilter_core::change::{Change, Risk};
use geofilter_core::desired::State;
use geofilter_core::limits::Limits;
use geofilter_core::policy::Policy;
use geofilter_core::series::Slot;
use geofilter_core::wire::{Cut, EvidenceDay};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::bans::{OfBans, SharedBans};
use crate::world;

/// The number of a host at its portal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HostId(pub i64);

impl HostId {
    /// One that no other has, as far as chance goes. A page can say it exactly: it has 53 bits.
    ///
    /// # Errors
    /// If the kernel gives no random bits.
    pub fn new() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 8];
        getrandom::fill(&mut bytes)?;
        Ok(Self((u64::from_le_bytes(bytes) >> 11).cast_signed()))
    }
}

impl fmt::Display for HostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a host says to be enrolled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrol {
    /// The secret of its ticket.
    pub secret: String,
    /// What it calls itself.
    pub name: String,
    /// A request for a certificate, in PEM (PKCS #10).
    pub request: String,
}

/// What it is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolled {
    /// Its number.
    pub host: HostId,
    /// Its certificate, in PEM.
    pub certificate: String,
    /// That of the portal's authority.
    pub authority: String,
    /// Seconds since 1970 at which its certificate ends.
    pub until: i64,
}

/// What a host says for another certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renew {
    /// As in [`Enrol`].
    pub request: String,
}

/// What it is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renewed {
    /// As in [`Enrolled`].
    pub certificate: String,
    /// See there.
    pub until: i64,
}

/// Which of all that a portal ever asked: an epoch begins when a portal is taken back to an old state, and its revisions count up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Mark {
    /// The epoch.
    pub epoch: u64,
    /// The revision in it.
    pub revision: u64,
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.revision)
    }
}

/// The whole of what a host is to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Which one it is.
    #[serde(flatten)]
    pub mark: Mark,
    /// The policy, with every setting; none while nobody has chosen one.
    pub policy: Option<Change>,
    /// Seconds in which the host must hear that it stays so, by another snapshot: or it goes back by itself. For good without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<u64>,
    /// What may be done at the host at most.
    #[serde(default)]
    pub limits: Limits,
}

/// What a host says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Report {
    /// The version that it runs.
    pub version: String,
    /// The last snapshot that came.
    pub received: Option<Mark>,
    /// The one that is in force.
    pub applied: Option<Mark>,
    /// Why the last one that came is not.
    pub refused: Option<Refused>,
    /// What the kernel holds; none if that could not be read.
    pub standing: Option<Standing>,
    /// What the host's clock says, in milliseconds since 1970.
    #[serde(default)]
    pub time: i64,
    /// Which world data it has.
    #[serde(default)]
    pub world: Option<world::Report>,
    /// The policy in force where that is not what the portal asked: somebody chose it at the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instead: Option<Box<Change>>,
    /// Whom the host serves; none if it has no PBX that answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served: Option<Served>,
}

/// Whom a host serves, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Served {
    /// Devices that are registered at its PBX.
    pub phones: u32,
    /// Trunks that its PBX knows.
    pub trunks: u32,
    /// Trunks at which its PBX is registered.
    pub registrations: u32,
    /// Those that the PBX has sent a request to, not long ago.
    pub peers: u32,
}

/// What a host says at one time: a line of what it says while it listens.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Said {
    /// Its number, which the host chooses: the portal [notes](Heard::Noted) it once all of it is written down. By 0 nobody waits for that, and
    /// nothing is noted.
    pub number: u64,
    /// How it stands.
    pub report: Report,
    /// What was counted there, step by step, that the portal has not acknowledged yet: at most [`SLOTS`](crate::SLOTS).
    #[serde(default)]
    pub counted: Vec<Slot>,
    /// What it was asked, and says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previewed: Option<Box<Previewed>>,
    /// What its logs told of some days, at most [`DAYS`](crate::DAYS), of which the portal has not acknowledged that yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub days: Vec<EvidenceDay>,
    /// What there is to say of bans.
    #[serde(default, skip_serializing_if = "OfBans::is_empty")]
    pub bans: OfBans,
}

/// What a host is asked before it is told: whom this would cut there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// Its number.
    pub number: i64,
    /// What the host would be to do; none if nothing was chosen for it then.
    pub policy: Option<Change>,
}

/// What a host says to that.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Previewed {
    /// To which question.
    pub number: i64,
    /// Trunks, phones and others that it would cut, and that are not cut already: at most [`CUTS`].
    pub would_cut: Vec<Cut>,
    /// How many more.
    pub more: u32,
    /// What would have to be accepted.
    pub risks: Vec<Risk>,
    /// Why it could not be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

/// See [`Previewed`].
pub const CUTS: usize = 50;

impl Previewed {
    /// What of it is kept, as of a [`Report`].
    #[must_use]
    pub fn tidy(mut self) -> Self {
        self.would_cut.truncate(CUTS);
        for who in &mut self.would_cut {
            who.what = cut(take(&mut who.what), NAME);
        }
        self.risks.truncate(RISKS);
        self.failed = self.failed.map(|why| cut(why, REASON));
        self
    }
}

/// Of what a host says no more is kept than an agent has to say: a version, a reason, a digest, and every risk once.
const VERSION: usize = 32;
pub(crate) const REASON: usize = 1000;
pub(crate) const DIGEST: usize = 64;
const RISKS: usize = 16;
/// And of those who would be cut: a few words.
const NAME: usize = 100;

impl Report {
    /// What of it is kept, whatever the host may be up to. It can be written down anywhere.
    #[must_use]
    pub fn tidy(mut self) -> Self {
        self.version = cut(self.version, VERSION);
        if let Some(refused) = &mut self.refused {
            refused.why = cut(take(&mut refused.why), REASON);
            refused.risks.truncate(RISKS);
        }
        if let Some(standing) = &mut self.standing {
            standing.policy = cut(take(&mut standing.policy), DIGEST);
        }
        if let Some(instead) = &mut self.instead {
            // Its ports are the host's own.
            instead.scope = None;
            instead.accept.truncate(RISKS);
        }
        self.world = self.world.map(world::Report::tidy);
        self
    }
}

/// So many characters of a line.
pub(crate) fn cut(text: String, most: usize) -> String {
    if text.len() <= most && !text.contains(char::is_control) {
        return text;
    }
    text.chars().filter(|it| !it.is_control()).take(most).collect()
}

/// Why a snapshot was not put in force. What was before still is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Which one.
    #[serde(flatten)]
    pub mark: Mark,
    /// Why.
    pub why: String,
    /// What would have to be accepted.
    pub risks: Vec<Risk>,
}

/// What a host hears: a line of what its portal says while it listens. An empty line says that the portal is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Heard {
    /// What it is to do.
    Snapshot(Box<Snapshot>),
    /// What it said by this number is written down.
    Noted(u64),
    /// What it is asked.
    Preview(Box<Question>),
    /// Bans of other hosts, which it is to have.
    Bans(SharedBans),
    /// World data that it can pull; none if its portal serves none.
    World(Option<world::Served>),
}

impl Heard {
    /// It, as it is said.
    pub fn line(&self) -> Vec<u8> {
        // All of it has a JSON.
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
    }
}

/// What a kernel holds, as it was read back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// What it does.
    pub state: State,
    /// [`digest`] of the policy that it does it by.
    pub policy: String,
    /// Whether that holds without a deadline.
    pub confirmed: bool,
    /// Packets that were dropped, and that passed, since the filter was attached.
    pub dropped: u64,
    /// See there.
    pub passed: u64,
}

/// SHA-256 of a policy beside its ports, which are each host's own, in hexadecimal: what tells whether a host does what it is to.
pub fn digest(policy: &Policy) -> String {
    let Policy { mode, countries, scope: _, hosting, unknown, disputed, time_boxes } = policy;
    let said = serde_json::to_vec(&(mode, countries, hosting, unknown, disputed, time_boxes));
    // Of these all have a JSON.
    HEXLOWER.encode(&Sha256::digest(said.unwrap_or_default()))
}
