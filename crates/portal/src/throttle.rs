//! [`Throttle`]: after several wrong passwords, codes or links for a name, that name waits before it may be tried again from there, longer
//! each time; other operators, and the same one from elsewhere, don't.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::PoisonError;

use crate::clock;
use crate::problem::{Kind, Problem};
use crate::server::Shared;
use crate::session::network;

/// Attempts that cost nothing.
const FREE: u32 = 5;
/// Seconds that the first one after them costs; each further one twice as much.
const FIRST: u64 = 15;
const LONGEST: u64 = 900;
/// Names and sources that are told apart; more are taken for an attack, and all wait.
const MOST: usize = 10_000;

/// Who failed to sign in lately.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    failures: HashMap<(String, String), Failures>,
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
        let key = key(name, source);
        let waits = match self.failures.get(&key) {
            Some(failures) => failures.until.saturating_sub(now),
            None if self.failures.len() >= MOST => FIRST,
            None => 0,
        };
        self.failures.retain(|_, failures| failures.until + LONGEST > now);
        if waits > 0 {
            return Err(waits);
        }
        let failures = self.failures.entry(key).or_insert(Failures { count: 0, until: now });
        failures.count = failures.count.saturating_add(1);
        let cost = match failures.count.checked_sub(FREE + 1) {
            None => 0,
            Some(doubled) => FIRST.saturating_mul(1 << doubled.min(10)).min(LONGEST),
        };
        failures.until = now + cost;
        Ok(())
    }

    /// The last attempt was right.
    pub(crate) fn succeeded(&mut self, name: &str, source: &str) {
        self.failures.remove(&key(name, source));
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

/// Whoever has an IPv6 address has its whole network.
fn key(name: &str, source: &str) -> (String, String) {
    let place = match source.parse() {
        Ok(IpAddr::V6(address)) => network(address).to_string(),
        Ok(IpAddr::V4(_)) | Err(_) => source.to_owned(),
    };
    (name.to_lowercase(), place)
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
    fn what_is_remembered_of_many_names_is_bounded() {
        let mut throttle = Throttle::default();
        for number in 0..MOST {
            assert_eq!(throttle.try_once(&number.to_string(), "::1", 100), Ok(()));
        }
        assert_eq!(throttle.try_once("one more", "::1", 100), Err(FIRST));
        assert_eq!(throttle.try_once("0", "::1", 100 + 2 * LONGEST), Ok(()));
        assert_eq!(throttle.failures.len(), 1);
    }
}
