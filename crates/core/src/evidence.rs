//! [`Evidence`]: what the logs of this host told of attempts and logins, day by day, and for how long of each day
//! a policy was dropping. [`Evidence::compare`] sets the days without a policy against those with one.
//!
//! An attempt is what [`logs::Attempts`](crate::logs::Attempts) counts, so that it is the PBX's own complaint, counted
//! once: what was dropped was never logged. Attacks come and go, so a difference proves nothing by itself; how
//! many days there are is told with it.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::country::CountryCode;
use crate::logs::stamp::DAY;
use crate::logs::{Counted, Stamp};

/// Days that are kept: two years.
pub const KEPT: usize = 731;

/// Seconds of a day in which a policy must have been dropping for the day to count as one with it, or none for the day to
/// count as one without.
pub const MOST_OF_A_DAY: u32 = 23 * 3600;

/// A day of the calendar on this host's wall.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Day(i64);

impl Day {
    /// The day of a time.
    pub fn of(time: Stamp) -> Self {
        Self(time.0.div_euclid(DAY))
    }
}

impl FromStr for Day {
    type Err = NoDay;

    /// As it is [written](Self::fmt).
    fn from_str(text: &str) -> Result<Self, NoDay> {
        let number = |digits: &str| digits.parse().map_err(|_| NoDay);
        let mut parts = text.splitn(3, '-');
        let mut part = || parts.next().ok_or(NoDay).and_then(number);
        let date = (part()?, part()?, part()?);
        let day = Stamp::new(date, (0, 0, 0), 0).map(Self::of).ok_or(NoDay)?;
        // There is one way to write it.
        if day.to_string() == text { Ok(day) } else { Err(NoDay) }
    }
}

/// This is no day, as `2026-11-23` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no day, as 2026-11-23 is")]
pub struct NoDay;

impl fmt::Display for Day {
    /// As ISO 8601 writes it: `2026-11-23`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = Stamp(self.0 * DAY).date();
        write!(formatter, "{year:04}-{month:02}-{day:02}")
    }
}

/// What is known of a day.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct OfDay {
    /// Requests that were refused, by the country they came from.
    pub attempts: BTreeMap<CountryCode, u64>,
    /// Requests that were challenged and not followed up.
    pub probes: u64,
    /// Logins that succeeded.
    pub logins: u64,
    /// Seconds in which the logs were followed as they were written.
    pub watched: u32,
    /// Seconds of these in which a policy was dropping.
    pub enforced: u32,
}

impl OfDay {
    /// Attempts from all countries.
    pub fn attempted(&self) -> u64 {
        self.attempts.values().copied().fold(0, u64::saturating_add)
    }
}

/// Some of the days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct Span {
    /// How many.
    pub days: u64,
    /// Attempts on all of them.
    pub attempts: u64,
    /// Logins on all of them.
    pub logins: u64,
}

impl Span {
    /// Attempts on one of them.
    pub fn a_day(self) -> f64 {
        self.attempts as f64 / self.days.max(1) as f64
    }

    fn add(&mut self, day: &OfDay) {
        self.days += 1;
        self.attempts = self.attempts.saturating_add(day.attempted());
        self.logins = self.logins.saturating_add(day.logins);
    }
}

/// The whole days on which no policy dropped anything, and those on which one did for at least 23 hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Comparison {
    /// Those without.
    pub without: Span,
    /// Those with one.
    pub with: Span,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Evidence {
    days: BTreeMap<Day, OfDay>,
}

impl FromIterator<(Day, OfDay)> for Evidence {
    fn from_iter<T: IntoIterator<Item = (Day, OfDay)>>(days: T) -> Self {
        Self { days: days.into_iter().collect() }
    }
}

impl Evidence {
    /// The days of which anything is known, in their order.
    pub fn days(&self) -> impl DoubleEndedIterator<Item = (Day, &OfDay)> {
        self.days.iter().map(|(day, of_day)| (*day, of_day))
    }

    /// Counts attempts from a country.
    pub fn count(&mut self, counted: &Counted, country: CountryCode, now: Stamp) {
        let day = self.day(counted.since.unwrap_or(now), now);
        day.probes += counted.probes;
        if counted.attempts > 0 {
            *day.attempts.entry(country).or_default() += counted.attempts;
        }
    }

    /// Counts a login.
    pub fn login(&mut self, time: Stamp, now: Stamp) {
        self.day(time, now).logins += 1;
    }

    /// Counts time in which the logs were followed.
    pub fn watch(&mut self, seconds: u32, enforced: bool, now: Stamp) {
        let day = self.day(now, now);
        day.watched = day.watched.saturating_add(seconds);
        day.enforced = day.enforced.saturating_add(if enforced { seconds } else { 0 });
    }

    /// Sets days without a policy against those with one. Today, which this time is of, is not over, and the first day may have begun before
    /// the log: both are left out. So are days on which nobody looked most of the time, since what was in force then is
    /// not known; until an agent looked for the first time there was none.
    pub fn compare(&self, now: Stamp) -> Comparison {
        let mut comparison = Comparison::default();
        let watched = self.days.iter().find(|(_, of_day)| of_day.watched > 0).map(|(day, _)| *day);
        let whole = self.days.range(..Day::of(now)).skip(1);
        for (day, of_day) in whole {
            let before = watched.is_none_or(|watched| *day <= watched);
            match (of_day.enforced, of_day.watched) {
                (MOST_OF_A_DAY.., _) => comparison.with.add(of_day),
                (0, MOST_OF_A_DAY..) => comparison.without.add(of_day),
                (0, _) if before => comparison.without.add(of_day),
                _ => {}
            }
        }
        comparison
    }

    /// A line from the future counts for now, and what is older than all that is kept is let go.
    fn day(&mut self, time: Stamp, now: Stamp) -> &mut OfDay {
        let day = Day::of(time.min(now));
        self.days.entry(day).or_default();
        while self.days.len() > KEPT {
            self.days.pop_first();
        }
        let oldest = self.days.first_key_value().map_or(day, |(oldest, _)| *oldest);
        self.days.entry(day.max(oldest)).or_default()
    }
}

#[cfg(test)]
mod tests;
