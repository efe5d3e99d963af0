//! [`Clock`]: what turns the calendar's time into the kernel's, which counts from boot.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::desired::BootTime;

const NANOSECONDS: i128 = 1_000_000_000;
/// How far the wall clock may move against the time since boot before it counts as set anew.
const STEP: i128 = NANOSECONDS / 2;

/// Seconds since 1970.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default,
)]
#[serde(transparent)]
pub struct UnixTime(pub u64);

impl UnixTime {
    /// So many seconds later.
    #[must_use]
    pub fn plus(self, seconds: u64) -> Self {
        Self(self.0.saturating_add(seconds))
    }
}

/// How the wall clock relates to the time since boot. By default 1970 was the moment of boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Clock {
    ahead: i128,
}

impl Clock {
    /// From both, read at the same moment.
    pub fn new(boot: BootTime, wall: Duration) -> Self {
        let wall = i128::try_from(wall.as_nanos()).unwrap_or(i128::MAX);
        Self { ahead: wall.saturating_sub(i128::from(boot.0)) }
    }

    /// The time since boot at which the wall clock shows this; 0 for what was before.
    pub fn boot(self, time: UnixTime) -> BootTime {
        let nanoseconds = i128::from(time.0) * NANOSECONDS - self.ahead;
        BootTime(u64::try_from(nanoseconds.max(0)).unwrap_or(u64::MAX - 1))
    }

    /// What the wall clock shows then, in whole seconds.
    pub fn wall(self, time: BootTime) -> UnixTime {
        let seconds = (i128::from(time.0) + self.ahead).div_euclid(NANOSECONDS);
        UnixTime(u64::try_from(seconds).unwrap_or_default())
    }

    /// Whether the wall clock was set in between.
    pub fn stepped(self, since: Self) -> bool {
        (self.ahead - since.ahead).abs() > STEP
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_goes_both_ways() {
        let clock = Clock::new(BootTime(5_250_000_000), Duration::from_millis(1_000_000_750));
        assert_eq!(clock.boot(UnixTime(1_000_001)), BootTime(5_500_000_000));
        assert_eq!(clock.wall(BootTime(5_500_000_000)), UnixTime(1_000_001));
        assert_eq!(clock.wall(BootTime(5_499_999_999)), UnixTime(1_000_000));
        assert_eq!(clock.boot(UnixTime(0)), BootTime(0));
        assert!(clock.boot(UnixTime(u64::MAX)) > clock.boot(UnixTime(1_000_001)));
    }

    #[test]
    fn only_a_set_clock_counts_as_stepped() {
        let at = |boot: u64, wall: u64| Clock::new(BootTime(boot), Duration::from_nanos(wall));
        let clock = at(0, 10_000_000_000);
        assert!(!at(60_000_000_000, 70_400_000_000).stepped(clock));
        assert!(at(60_000_000_000, 70_600_000_000).stepped(clock));
        assert!(at(60_000_000_000, 69_400_000_000).stepped(clock));
    }
}
