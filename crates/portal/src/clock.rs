//! The only place that reads a clock.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Year and month, in UTC.
pub(crate) fn month() -> (i32, u8) {
    let date = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
    (date.year().into(), date.month().unsigned_abs())
}

/// A time of [`now`] in RFC 3339.
pub(crate) fn written(time: i64) -> String {
    jiff::Timestamp::from_millisecond(time).unwrap_or_default().to_string()
}

/// The day of a time of [`now`], in UTC, as ISO 8601 writes it.
pub(crate) fn day(time: i64) -> String {
    let date = jiff::Timestamp::from_millisecond(time).unwrap_or_default();
    date.to_zoned(jiff::tz::TimeZone::UTC).date().to_string()
}

/// A time in RFC 3339 as one of [`now`].
pub(crate) fn read(text: &str) -> Option<i64> {
    text.parse::<jiff::Timestamp>().ok().map(|time| time.as_millisecond())
}
