//! [`Throttle`]: after several wrong passwords, codes or links for a name, that name waits before it may be tried again from there, longer
//! each time; other operators, and the same one from elsewhere, don't.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::PoisonError;

use crate::clock;
use crate::problem::{Kind, Problem};
use crate::secret::digest;
use crate::server::Shared;
use crate::session::network;

/// Attempts for a name at a place that cost nothing.
const FREE: u32 = 5;
/// Attempts for whatever names at a place that cost nothing.
const FREE_OF_ONE: u32 = 30;
/// Seconds that the first one after them costs; each further one twice as much.
const FIRST: u64 = 15;
const LONGEST: u64 = 900;
/// What is remembered at most: then what is over first is forgotten.
const MOST: usize = 10_000;

/// Who failed to sign in lately.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    failures: HashMap<[u8; 32], Failures>,
}

#[derive(Debug, Clone, Copy)]
struct Failures {
    count: u32,
    /// Seconds since 1970.
    until: u64,
}

impl Throttle {
    /// Counts an attempt, which is taken for a wrong one until it [`succeeded`](Self::succeeded): of many at once no more come
    /// through than one after the other.
    ///
    /// # Errors
    /// The seconds for which this name has to wait at this source.
    pub(crate) fn try_once(&mut self, name: &str, source: &str, now: u64) -> Result<(), u64> {
        self.failures.retain(|_, failures| failures.until + LONGEST > now);
        let keys = keys(name, source);
        let until = keys.iter().filter_map(|(key, _)| self.failures.get(key)).map(|it| it.until);
        let waits = until.max().unwrap_or_default().saturating_sub(now);
        if waits > 0 {
            return Err(waits);
        }
        for (key, free) in keys {
            self.make_room();
            let failures = self.failures.entry(key).or_insert(Failures { count: 0, until: now });
            failures.count = failures.count.saturating_add(1);
            let cost = match failures.count.checked_sub(free + 1) {
                None => 0,
                Some(doubled) => FIRST.saturating_mul(1 << doubled.min(10)).min(LONGEST),
            };
            failures.until = now + cost;
        }
        Ok(())
    }

    /// The last attempt was right.
    pub(crate) fn succeeded(&mut self, name: &str, source: &str) {
        for (key, _) in keys(name, source) {
            self.failures.remove(&key);
        }
    }

    fn make_room(&mut self) {
        if self.failures.len() >= MOST {
            let first = self.failures.iter().min_by_key(|(_, failures)| failures.until);
            if let Some(first) = first.map(|(key, _)| *key) {
                self.failures.remove(&first);
            }
        }
    }
}

impl Shared {
    /// Lets somebody try a secret, which counts as wrong until it [`succeeded`](Self::succeeded).
    ///
    /// # Errors
    /// If too many were wrong lately.
    pub(crate) fn try_once(&self, name: &str, source: &str) -> Result<(), Problem> {
        let seconds = u64::try_from(clock::now() / 1000).unwrap_or_default();
        let mut throttle = self.throttle.lock().unwrap_or_else(PoisonError::into_inner);
        throttle.try_once(name, source, seconds).map_err(|wait| Problem {
            retry_after: Some(wait),
            ..Problem::new(Kind::Locked, format!("too many wrong attempts: wait {wait} s"))
        })
    }

    /// What somebody tried was right.
    pub(crate) fn succeeded(&self, name: &str, source: &str) {
        let mut throttle = self.throttle.lock().unwrap_or_else(PoisonError::into_inner);
        throttle.succeeded(name, source);
    }
}

/// Under what an attempt counts, and how many of each cost nothing: the name at this place, and the place, unless that is this
/// host, from which all come who use SSH. Whoever has an IPv6 address has its whole network.
fn keys(name: &str, source: &str) -> Vec<([u8; 32], u32)> {
    let address = source.parse().ok();
    let place = match address {
        Some(IpAddr::V6(address)) => network(address).to_string(),
        Some(IpAddr::V4(_)) | None => source.to_owned(),
    };
    let named = (digest(&format!("{}\n{place}", name.to_lowercase())), FREE);
    let all = address.filter(|it| !it.is_loopback()).map(|_| (digest(&place), FREE_OF_ONE));
    [Some(named), all].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_waits_longer_after_each_attempt_beyond_the_fifth() {
        let mut throttle = Throttle::default();
        let mut tries = |name, source, now| throttle.try_once(name, source, now);
        for _ in 0..=FREE {
            assert_eq!(tries("Ana", "::1", 100), Ok(()));
        }
        assert_eq!(tries("ana", "::1", 100), Err(15));
        assert_eq!(
            tries("ana", "::1", 114),
            Err(1),
            "who is told to wait is not told to wait longer"
        );
        assert_eq!(tries("ana", "::1", 115), Ok(()));
        assert_eq!(tries("ANA", "::1", 115), Err(30));
        assert_eq!(tries("ana", "::2", 115), Err(30), "from the same network");
        assert_eq!(tries("ana", "192.0.2.1", 115), Ok(()), "from elsewhere");
        assert_eq!(tries("ana", "2001:db8::1", 115), Ok(()), "from another one");
        assert_eq!(tries("ion", "::1", 115), Ok(()), "somebody else");
        let mut now = 145;
        for _ in 0..40 {
            assert_eq!(tries("ana", "::1", now), Ok(()));
            let waits = tries("ana", "::1", now).unwrap_err();
            assert!(waits <= LONGEST);
            now += waits;
        }
        assert_eq!(tries("ana", "::1", now), Ok(()));
        assert_eq!(tries("ana", "::1", now), Err(LONGEST));
        throttle.succeeded("ana", "::1");
        assert_eq!(throttle.try_once("ana", "::1", now), Ok(()));
    }

    #[test]
    fn a_place_that_tries_many_names_waits_and_this_host_does_not() {
        let mut throttle = Throttle::default();
        let mut tries = |number: u32, source| throttle.try_once(&number.to_string(), source, 100);
        for number in 0..=FREE_OF_ONE {
            assert_eq!(tries(number, "192.0.2.1"), Ok(()));
            assert_eq!(tries(number, "127.0.0.1"), Ok(()));
        }
        assert_eq!(tries(99, "192.0.2.1"), Err(FIRST));
        assert_eq!(tries(99, "127.0.0.1"), Ok(()));
    }

    #[test]
    fn what_is_remembered_is_bounded_and_keeps_nobody_out() {
        let mut throttle = Throttle::default();
        for _ in 0..=FREE {
            assert_eq!(throttle.try_once("ana", "127.0.0.1", 100), Ok(()));
        }
        for number in 0..2 * MOST {
            assert_eq!(throttle.try_once(&number.to_string(), "127.0.0.1", 100), Ok(()));
        }
        assert_eq!(throttle.failures.len(), MOST);
        assert_eq!(
            throttle.try_once("ana", "127.0.0.1", 100),
            Err(FIRST),
            "what is over last stays"
        );
        assert_eq!(throttle.try_once("0", "127.0.0.1", 100 + 2 * LONGEST), Ok(()));
        assert_eq!(throttle.failures.len(), 1);
    }
}
