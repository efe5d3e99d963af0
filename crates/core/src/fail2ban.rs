//! What fail2ban asks for, and how far it is believed. [`Ask`] is a question of its action, [`Guard`] judges a ban.
//!
//! fail2ban bans whom a log blames, and over UDP anybody can be blamed: a single packet with a forged source
//! leaves a failed attempt of that source. So a ban is *proven* only where every line behind it is a security event
//! over TCP or TLS, whose handshake a forger can't make ([`proves`]). Any other ban is *spoofable*: it is
//! [`SHORT`], and there are only so many a minute, of a host and of a network. Those that fail2ban restores when it
//! starts come all at once, and have a budget of their own.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::clock::UnixTime;
use crate::logs::{Calendar, Event, Reader, Teller};
use crate::policy::Transport;

/// How long a spoofable ban lasts at most, in seconds.
pub const SHORT: u64 = 600;
/// How many spoofable bans a host makes in a minute.
pub const MOST: u32 = 60;
/// How many of them in the same network: a /24 of IPv4, a /48 of IPv6.
pub const MOST_OF_A_NETWORK: u32 = 4;

/// How many spoofable bans fail2ban restores in ten minutes; each was in the budget of its minute when it was made.
pub const MOST_RESTORED: u32 = 600;
/// How many of them in the same network.
pub const MOST_RESTORED_OF_A_NETWORK: u32 = 40;

const MINUTE: u64 = 60;

/// The name of a jail: one short word of printable ASCII.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Jail(String);

/// A text that names no jail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a jail's name is one word of at most {} printable letters", Jail::LONGEST)]
pub struct InvalidJail;

impl Jail {
    /// Most letters.
    pub const LONGEST: usize = 64;

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Jail {
    type Err = InvalidJail;

    fn from_str(text: &str) -> Result<Self, InvalidJail> {
        let fits = (1..=Self::LONGEST).contains(&text.len());
        let fits = fits && text.bytes().all(|byte| byte.is_ascii_graphic());
        if fits { Ok(Self(text.to_owned())) } else { Err(InvalidJail) }
    }
}

impl TryFrom<String> for Jail {
    type Error = InvalidJail;

    fn try_from(text: String) -> Result<Self, InvalidJail> {
        text.parse()
    }
}

impl From<Jail> for String {
    fn from(jail: Jail) -> Self {
        jail.0
    }
}

/// What fail2ban's action asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case")]
pub enum Ask {
    /// Ban somebody. What fail2ban banned for longer stays so.
    Ban {
        /// Whom.
        address: IpAddr,
        /// For which jail.
        jail: Jail,
        /// When it began, if that was before a restart of fail2ban; it begins now without.
        #[serde(default)]
        began: Option<UnixTime>,
        /// When it ends; never without.
        #[serde(default)]
        until: Option<UnixTime>,
        /// What [`proves`] says.
        #[serde(default)]
        proven: bool,
    },
    /// End a ban that was to end then, or never. One that lasts longer was asked for by another jail, and stays.
    Unban {
        /// Of whom.
        address: IpAddr,
        /// When it was to end.
        #[serde(default)]
        until: Option<UnixTime>,
    },
    /// Fails if something that this jail believes banned is not any more.
    Check {
        /// Which jail.
        jail: Jail,
    },
    /// From now on the jail bans anew whom it finds again.
    Repair {
        /// Which jail.
        jail: Jail,
    },
}

/// Whether the lines behind a ban prove who sent the packets: each is a security event of this address, over TCP.
pub fn proves(lines: &[u8], address: IpAddr, calendar: Calendar) -> bool {
    let mut reader = Reader::new(calendar);
    let mut events = 0;
    let is_proof = |event: &Event| {
        event.source == address.to_canonical()
            && event.teller == Teller::Security
            && event.transport == Some(Transport::Tcp)
    };
    reader.read(lines, |event| events += u64::from(is_proof(&event)));
    events > 0 && events == reader.lines().total
}

/// What becomes of a ban.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// It is made as it was asked for.
    Whole,
    /// It is spoofable, and ends then.
    Short(UnixTime),
    /// It was spoofable, and has ended.
    Over,
    /// It is spoofable, and there were too many of them by now.
    OverBudget,
}

/// Counts the spoofable bans of a minute, and those that are restored in ten.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    made: Budget,
    restored: Budget,
}

impl Guard {
    /// Judges a ban that began some time up to now and is to end some time after, and counts it.
    pub fn judge(
        &mut self,
        address: IpAddr,
        (began, until): (UnixTime, Option<UnixTime>),
        proven: bool,
        now: UnixTime,
    ) -> Judgement {
        let short = began.plus(SHORT);
        let is_short = until.is_some_and(|until| until <= short);
        if proven {
            return Judgement::Whole;
        }
        if !is_short && short <= now {
            return Judgement::Over;
        }
        let has_room = match began < now {
            true => {
                let most = (MOST_RESTORED, MOST_RESTORED_OF_A_NETWORK);
                self.restored.take(address, now.0 / (10 * MINUTE), most)
            }
            false => self.made.take(address, now.0 / MINUTE, (MOST, MOST_OF_A_NETWORK)),
        };
        match has_room {
            false => Judgement::OverBudget,
            true if is_short => Judgement::Whole,
            true => Judgement::Short(short),
        }
    }
}

/// What was made in a period.
#[derive(Debug, Clone, Default)]
struct Budget {
    period: u64,
    made: u32,
    networks: HashMap<IpAddr, u32>,
}

impl Budget {
    /// Takes one of as many of a host and of a network; whether there was one.
    fn take(
        &mut self,
        address: IpAddr,
        period: u64,
        (most, most_of_a_network): (u32, u32),
    ) -> bool {
        if self.period != period {
            *self = Self { period, ..Self::default() };
        }
        if self.made >= most {
            return false;
        }
        let of_network = self.networks.entry(network(address)).or_default();
        if *of_network >= most_of_a_network {
            return false;
        }
        self.made += 1;
        *of_network += 1;
        true
    }
}

/// The network that an address is counted with.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits() >> 8 << 8).into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 80 << 80).into(),
    }
}

#[cfg(test)]
mod tests;
