//! [`Record`]: one exemption or ban as it was asked for, and the [`Clock`] that tells its end to the kernel.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::target::Target;
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

/// How the wall clock relates to the time since boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

/// Which of the two a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// It passes whatever its country.
    Exemption,
    /// It is dropped unless exempt or a peer.
    Ban,
}

/// Who asked for it. Each has its own records, so that none undoes another's.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default,
)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// A person.
    #[default]
    Operator,
    /// fail2ban.
    Fail2ban,
    /// What the PBX is configured with.
    Pbx,
}

impl Origin {
    /// The first in order.
    pub(super) const FIRST: Self = Self::Operator;
    /// The last in order.
    pub(super) const LAST: Self = Self::Pbx;
}

/// A remark: one line of printable text.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Note(String);

/// A text that is no remark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a note is one line of at most {} characters", Note::LONGEST)]
pub struct InvalidNote;

impl Note {
    /// Most characters.
    pub const LONGEST: usize = 200;

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl TryFrom<String> for Note {
    type Error = InvalidNote;

    fn try_from(text: String) -> Result<Self, InvalidNote> {
        let fits = text.chars().count() <= Self::LONGEST && !text.chars().any(char::is_control);
        if fits { Ok(Self(text)) } else { Err(InvalidNote) }
    }
}

impl std::str::FromStr for Note {
    type Err = InvalidNote;

    fn from_str(text: &str) -> Result<Self, InvalidNote> {
        Self::try_from(text.to_owned())
    }
}

impl From<Note> for String {
    fn from(note: Note) -> Self {
        note.0
    }
}

/// One exemption or ban.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Whom it is for.
    pub target: Target,
    /// Who asked for it.
    pub origin: Origin,
    /// When it ends; never without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<UnixTime>,
    /// A remark.
    #[serde(default, skip_serializing_if = "Note::is_empty")]
    pub note: Note,
    /// When it was asked for.
    pub added: UnixTime,
}

impl Record {
    /// Whether it has not ended.
    pub fn holds(&self, now: UnixTime) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

/// The earlier of two ends.
pub(super) fn sooner(one: Option<UnixTime>, other: Option<UnixTime>) -> Option<UnixTime> {
    one.into_iter().chain(other).min()
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

    #[test]
    fn a_note_is_one_short_line() {
        assert!("ticket 7, ünïcode".parse::<Note>().is_ok());
        assert!("two\nlines".parse::<Note>().is_err());
        assert!("x".repeat(201).parse::<Note>().is_err());
        assert!("é".repeat(200).parse::<Note>().is_ok());
    }
}
