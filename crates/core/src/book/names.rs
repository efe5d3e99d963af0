//! [`Resolution`]: the addresses that a name has had, and how they change with what DNS answers.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::target::check_global;
use crate::clock::UnixTime;

/// Most addresses of one name; an answer with more is refused whole.
pub const MAX_ADDRESSES: usize = 64;
/// Most addresses of one name that have left its answers and are still exempt.
pub const MAX_LINGERING: usize = 192;
/// How long an address stays exempt after it has left the answer, in seconds: calls may be up, and providers
/// take turns with their addresses.
pub const LINGER: u64 = 3600;
/// Bounds of the time after which a name is asked for again, in seconds.
pub const TTL: std::ops::RangeInclusive<u64> = 30..=3600;
/// The longest wait after failures, in seconds.
const LONGEST_RETRY: u64 = 600;

/// What DNS said of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Addresses.
    Addresses {
        /// All of them.
        addresses: BTreeSet<IpAddr>,
        /// How long the answer holds, in seconds.
        ttl: u64,
        /// What could not be asked, if something could not.
        incomplete: Option<String>,
    },
    /// None, and why.
    Failed(String),
}

impl Answer {
    /// After how many seconds to ask again; `failures` is how many times in a row it failed, this one
    /// included.
    pub fn again(&self, failures: u32) -> u64 {
        match self {
            Self::Addresses { ttl, incomplete: None, .. } => (*ttl).clamp(*TTL.start(), *TTL.end()),
            Self::Addresses { .. } | Self::Failed(_) => {
                let doubled =
                    TTL.start().checked_shl(failures.saturating_sub(1)).unwrap_or(u64::MAX);
                match failures < 32 {
                    true => doubled.min(LONGEST_RETRY),
                    false => LONGEST_RETRY,
                }
            }
        }
    }
}

/// A failure, and when it happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    /// When.
    pub at: UnixTime,
    /// What failed.
    pub why: String,
}

/// What is known of a name.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resolution {
    /// The addresses of the last answer that could be used.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub current: BTreeSet<IpAddr>,
    /// Addresses that have left the answer, and when they end.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub lingering: BTreeMap<IpAddr, UnixTime>,
    /// Addresses of the last answer that can't be sources on the internet.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub ignored: BTreeSet<IpAddr>,
    /// When it last answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered: Option<UnixTime>,
    /// The failure since then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

impl Resolution {
    /// What is known after an answer.
    #[must_use]
    pub fn after(&self, answer: &Answer, now: UnixTime) -> Self {
        let failed = |why: String| Self { failure: Some(Failure { at: now, why }), ..self.clone() };
        let mut next = match answer {
            Answer::Failed(why) => failed(why.clone()),
            Answer::Addresses { addresses, incomplete, .. } => {
                let (usable, ignored): (BTreeSet<_>, BTreeSet<_>) = addresses
                    .iter()
                    .partition(|address| check_global(IpNet::from(**address)).is_ok());
                match usable.len() {
                    0 => Self {
                        ignored,
                        ..failed("the answer has no address that can be used".to_owned())
                    },
                    1..=MAX_ADDRESSES => Self {
                        ignored,
                        answered: Some(now),
                        failure: incomplete.clone().map(|why| Failure { at: now, why }),
                        ..self.replaced(usable, incomplete.is_none(), now)
                    },
                    many => failed(format!(
                        "the answer has {many} addresses, more than the {MAX_ADDRESSES} that are taken"
                    )),
                }
            }
        };
        next.lingering.retain(|_, until| now < *until);
        next
    }

    /// The addresses of a new answer; what is not in a whole one lingers.
    fn replaced(&self, usable: BTreeSet<IpAddr>, whole: bool, now: UnixTime) -> Self {
        let gone = self.current.difference(&usable).copied();
        let mut lingering = self.lingering.clone();
        lingering.extend(gone.map(|address| (address, now.plus(LINGER))));
        lingering.retain(|address, _| !usable.contains(address));
        let current = match whole {
            true => usable,
            // What could not be asked for may still be so.
            false => usable.union(&self.current).copied().collect(),
        };
        lingering.retain(|address, _| !current.contains(address));
        while lingering.len() > MAX_LINGERING {
            let soonest = lingering.iter().min_by_key(|(_, until)| **until);
            let Some(soonest) = soonest.map(|(address, _)| *address) else { break };
            lingering.remove(&soonest);
        }
        Self { current, lingering, ..Self::default() }
    }

    /// Whether both exempt the same addresses for as long, and have the same to say of it.
    pub fn says_the_same(&self, other: &Self) -> bool {
        let failed = |of: &Self| of.failure.as_ref().map(|failure| failure.why.clone());
        (&self.current, &self.lingering, &self.ignored)
            == (&other.current, &other.lingering, &other.ignored)
            && failed(self) == failed(other)
            && self.answered.is_some() == other.answered.is_some()
    }

    /// The addresses with their ends; none for those that stay.
    pub fn addresses(&self) -> impl Iterator<Item = (IpAddr, Option<UnixTime>)> {
        let current = self.current.iter().map(|address| (*address, None));
        current.chain(self.lingering.iter().map(|(address, until)| (*address, Some(*until))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(addresses: &[&str]) -> Answer {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        Answer::Addresses { addresses, ttl: 60, incomplete: None }
    }

    fn current(resolution: &Resolution) -> Vec<String> {
        resolution.current.iter().map(ToString::to_string).collect()
    }

    const NOW: UnixTime = UnixTime(1_000_000);

    #[test]
    fn an_address_that_leaves_lingers_for_an_hour() {
        let first = Resolution::default().after(&answer(&["203.0.113.1", "203.0.113.2"]), NOW);
        let second = first.after(&answer(&["203.0.113.2", "203.0.113.3"]), NOW.plus(60));
        assert_eq!(current(&second), ["203.0.113.2", "203.0.113.3"]);
        let left: IpAddr = "203.0.113.1".parse().unwrap();
        assert_eq!(second.lingering, BTreeMap::from([(left, NOW.plus(60 + LINGER))]));
        let back = second.after(&answer(&["203.0.113.1"]), NOW.plus(120));
        assert!(!back.lingering.contains_key(&left) && back.lingering.len() == 2);
        let later = second.after(&answer(&["203.0.113.2", "203.0.113.3"]), NOW.plus(60 + LINGER));
        assert!(later.lingering.is_empty());
    }

    #[test]
    fn a_failure_keeps_the_last_addresses() {
        let first = Resolution::default().after(&answer(&["203.0.113.1"]), NOW);
        let failed = first.after(&Answer::Failed("timed out".to_owned()), NOW.plus(60));
        assert_eq!(current(&failed), ["203.0.113.1"]);
        assert_eq!(failed.failure, Some(Failure { at: NOW.plus(60), why: "timed out".to_owned() }));
        assert_eq!(failed.answered, Some(NOW));
        assert_eq!(failed.after(&answer(&["203.0.113.1"]), NOW.plus(90)).failure, None);
    }

    #[test]
    fn what_could_not_be_asked_does_not_take_addresses_away() {
        let first = Resolution::default().after(&answer(&["203.0.113.1", "2a00::1"]), NOW);
        let addresses = BTreeSet::from(["203.0.113.2".parse().unwrap()]);
        let incomplete = Some("AAAA timed out".to_owned());
        let half = Answer::Addresses { addresses, ttl: 60, incomplete };
        let second = first.after(&half, NOW.plus(60));
        assert_eq!(current(&second), ["203.0.113.1", "203.0.113.2", "2a00::1"]);
        assert!(second.lingering.is_empty() && second.failure.is_some());
    }

    #[test]
    fn an_answer_that_is_too_large_is_refused_whole() {
        let first = Resolution::default().after(&answer(&["203.0.113.1"]), NOW);
        let many: Vec<_> = (0..65).map(|number| format!("203.0.113.{number}")).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        let refused = first.after(&answer(&many), NOW.plus(60));
        assert_eq!(current(&refused), ["203.0.113.1"]);
        assert!(refused.failure.unwrap().why.contains("65 addresses"));
        assert_eq!(first.after(&answer(&many[..64]), NOW).current.len(), 64);
    }

    #[test]
    fn what_is_not_of_the_internet_is_ignored_and_said() {
        let local =
            ["10.0.0.1", "127.0.0.1", "169.254.1.1", "239.0.0.1", "fd00::1", "::1", "0.0.0.0"];
        let mixed: Vec<_> = local.iter().chain(&["203.0.113.1"]).copied().collect();
        let resolution = Resolution::default().after(&answer(&mixed), NOW);
        assert_eq!(current(&resolution), ["203.0.113.1"]);
        assert_eq!(resolution.ignored.len(), local.len());
        let only = resolution.after(&answer(&local), NOW.plus(60));
        assert_eq!(current(&only), ["203.0.113.1"]);
        assert!(only.failure.is_some());
    }

    #[test]
    fn few_linger_at_a_time() {
        let mut resolution = Resolution::default();
        for round in 0..10_u64 {
            let addresses =
                (0..64).map(|number| IpAddr::from([203, 0, round as u8, number])).collect();
            let answer = Answer::Addresses { addresses, ttl: 30, incomplete: None };
            resolution = resolution.after(&answer, NOW.plus(30 * round));
        }
        assert_eq!((resolution.current.len(), resolution.lingering.len()), (64, MAX_LINGERING));
        let oldest = resolution.lingering.values().min().copied();
        assert_eq!(oldest, Some(NOW.plus(30 * 7 + LINGER)));
    }

    #[test]
    fn it_asks_again_in_time() {
        let after =
            |ttl| Answer::Addresses { addresses: BTreeSet::new(), ttl, incomplete: None }.again(0);
        assert_eq!([0, 30, 300, 3600, 86_400].map(after), [30, 30, 300, 3600, 3600]);
        let failed = Answer::Failed(String::new());
        assert_eq!(
            [1, 2, 3, 5, 6, 40].map(|times| failed.again(times)),
            [30, 60, 120, 480, 600, 600]
        );
    }
}
