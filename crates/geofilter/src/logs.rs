//! What the readers of logs ask of the clock of this host.

use std::time::SystemTime;

use geofilter_core::logs::{Calendar, Stamp};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

/// For a log that was written until then.
pub(crate) fn calendar(until: SystemTime) -> Calendar {
    let time = Timestamp::try_from(until).unwrap_or_default().to_zoned(TimeZone::system());
    let ahead = i64::from(time.offset().seconds()) * 1000;
    Calendar { now: Stamp(time.timestamp().as_millisecond() + ahead), ahead }
}

/// A time of a log of this host, in RFC 3339.
pub(crate) fn rfc3339(stamp: Stamp) -> Option<String> {
    let time = Timestamp::from_millisecond(stamp.0).ok()?.to_zoned(TimeZone::UTC).datetime();
    Some(DateTime::to_zoned(time, TimeZone::system()).ok()?.timestamp().to_string())
}

/// The day of such a time: `3 May 2026`.
pub(crate) fn day(rfc3339: &str) -> String {
    let time = rfc3339.parse::<Timestamp>().map(|time| Zoned::new(time, TimeZone::system()));
    time.map_or_else(|_| rfc3339.to_owned(), |time| time.strftime("%-d %B %Y").to_string())
}
