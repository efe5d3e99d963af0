//! [`Throttle`]: after several wrong passwords for a name, that name waits before it may be tried again from there, longer
//! each time; other operators, and the same one from elsewhere, don't.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

/// Wrong passwords that cost nothing.
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
    /// Seconds that this name has to wait at this source; none if it need not.
    pub(crate) fn waits(&self, name: &str, source: &str, now: u64) -> Option<u64> {
        let key = key(name, source);
        match self.failures.get(&key) {
            Some(failures) => failures.until.checked_sub(now).filter(|seconds| *seconds > 0),
            None => (self.failures.len() >= MOST).then_some(FIRST),
        }
    }

    /// A wrong password.
    pub(crate) fn failed(&mut self, name: &str, source: &str, now: u64) {
        self.failures.retain(|_, failures| failures.until + LONGEST > now);
        let failures =
            self.failures.entry(key(name, source)).or_insert(Failures { count: 0, until: now });
        failures.count = failures.count.saturating_add(1);
        let cost = match failures.count.checked_sub(FREE + 1) {
            None => 0,
            Some(doubled) => FIRST.saturating_mul(1 << doubled.min(10)).min(LONGEST),
        };
        failures.until = now + cost;
    }

    /// The right one.
    pub(crate) fn succeeded(&mut self, name: &str, source: &str) {
        self.failures.remove(&key(name, source));
    }
}

/// Whoever has an IPv6 address has its whole /64.
fn key(name: &str, source: &str) -> (String, String) {
    let place = match source.parse() {
        Ok(IpAddr::V6(address)) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).to_string()
        }
        Ok(IpAddr::V4(_)) | Err(_) => source.to_owned(),
    };
    (name.to_lowercase(), place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_waits_longer_after_each_wrong_password_beyond_the_fifth() {
        let mut throttle = Throttle::default();
        for _ in 0..FREE {
            assert_eq!(throttle.waits("ana", "::1", 100), None);
            throttle.failed("Ana", "::1", 100);
        }
        assert_eq!(throttle.waits("ana", "::1", 100), None);
        throttle.failed("ana", "::1", 100);
        assert_eq!(throttle.waits("ana", "::1", 100), Some(15));
        assert_eq!(throttle.waits("ana", "::1", 115), None);
        throttle.failed("ana", "::1", 115);
        assert_eq!(throttle.waits("ANA", "::1", 115), Some(30));
        for _ in 0..40 {
            throttle.failed("ana", "::1", 115);
        }
        assert_eq!(throttle.waits("ana", "::1", 115), Some(LONGEST));
        assert_eq!(throttle.waits("ana", "192.0.2.1", 115), None, "from elsewhere");
        assert_eq!(throttle.waits("ana", "::2", 115), Some(LONGEST), "from the same network");
        assert_eq!(throttle.waits("ana", "2001:db8::1", 115), None, "from another one");
        assert_eq!(throttle.waits("ion", "::1", 115), None, "somebody else");
        throttle.succeeded("ana", "::1");
        assert_eq!(throttle.waits("ana", "::1", 115), None);
    }

    #[test]
    fn what_is_remembered_of_many_names_is_bounded() {
        let mut throttle = Throttle::default();
        for number in 0..MOST {
            throttle.failed(&number.to_string(), "::1", 100);
        }
        assert_eq!(throttle.waits("one more", "::1", 100), Some(FIRST));
        throttle.failed("0", "::1", 100 + 2 * LONGEST);
        assert_eq!(throttle.failures.len(), 1);
    }
}
