//! [`From`] and [`Until`]: moments as people write them, in the time zone of this host.

use std::str::FromStr;

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

/// The moment from which something holds, in seconds since 1970: a date begins at midnight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct From(pub(crate) u64);

/// The moment from which it holds no more: a date includes the whole day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Until(pub(crate) u64);

impl FromStr for From {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        read(text, &TimeZone::system(), 0).map(Self)
    }
}

impl FromStr for Until {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        read(text, &TimeZone::system(), 1).map(Self)
    }
}

/// A moment as people read it, in the time zone of this host.
pub(crate) fn show(unix_seconds: u64) -> String {
    let time = i64::try_from(unix_seconds).ok().and_then(|time| Timestamp::from_second(time).ok());
    time.map_or_else(
        || unix_seconds.to_string(),
        |time| time.to_zoned(TimeZone::system()).strftime("%F %H:%M").to_string(),
    )
}

/// A timestamp with its zone, a local date and time, or midnight of a local date and so many days later.
fn read(text: &str, zone: &TimeZone, days: i64) -> Result<u64, String> {
    let invalid =
        || "write a date such as 2027-07-01, or a time such as 2027-07-01T08:30".to_owned();
    let is_date = text.len() == "2027-07-01".len();
    let time = match text.parse::<Timestamp>() {
        Ok(time) => time,
        Err(_) if is_date => {
            let date: Date = text.parse().map_err(|_| invalid())?;
            let date = date.checked_add(Span::new().days(days)).map_err(|_| invalid())?;
            date.to_zoned(zone.clone()).map_err(|_| invalid())?.timestamp()
        }
        Err(_) => {
            let time: DateTime = text.parse().map_err(|_| invalid())?;
            time.to_zoned(zone.clone()).map_err(|_| invalid())?.timestamp()
        }
    };
    u64::try_from(time.as_second()).map_err(|_| invalid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_includes_its_day() {
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        let day = 24 * 3600;
        let midnight = 1_814_392_800; // 2027-07-01T00:00+02:00
        assert_eq!(read("2027-07-01", &zone, 0), Ok(midnight));
        assert_eq!(read("2027-07-01", &zone, 1), Ok(midnight + day));
        assert_eq!(read("2027-07-01T08:30", &zone, 1), Ok(midnight + 8 * 3600 + 1800));
        assert_eq!(read("2027-07-01T08:30Z", &zone, 1), Ok(midnight + 10 * 3600 + 1800));
        for wrong in ["", "1 July", "2027-13-01", "2027-07-32", "tomorrow", "1950-01-01"] {
            assert!(read(wrong, &zone, 0).is_err(), "{wrong}");
        }
    }
}
