//! Exemptions and bans as the agent tells of them.

use std::net::IpAddr;

use geofilter_core::book::{Book, Cover, HostName, Record, Target, UnixTime};
use geofilter_core::wire::{NameReport, RecordReport};

/// A record as it is told of.
pub(super) fn report(record: &Record, book: &Book, now: UnixTime) -> RecordReport {
    RecordReport {
        target: record.target.to_string(),
        origin: record.origin,
        added: rfc3339(record.added),
        until: record.until.map(rfc3339),
        remaining: record.until.map(|until| until.0.saturating_sub(now.0)),
        note: record.note.as_str().to_owned(),
        names: record.target.names().iter().map(|name| name_report(name, book)).collect(),
    }
}

fn name_report(name: &HostName, book: &Book) -> NameReport {
    let known = book.resolution(name).cloned().unwrap_or_default();
    NameReport {
        name: name.to_string(),
        addresses: known.current.into_iter().collect(),
        lingering: known
            .lingering
            .into_iter()
            .map(|(address, until)| (address, rfc3339(until)))
            .collect(),
        ignored: known.ignored.into_iter().collect(),
        answered: known.answered.map(rfc3339),
        failed: known.failure.as_ref().map(|failure| rfc3339(failure.at)),
        failure: known.failure.map(|failure| failure.why),
    }
}

/// Why a record covers an address, for people.
pub(super) fn describe(cover: &Cover<'_>, address: IpAddr) -> String {
    let Record { target, note, .. } = cover.record;
    let what = match target {
        Target::Name(name) => format!("{address} is an address of {name}"),
        Target::System(number) => format!("{number} announces it"),
        Target::Provider(provider) => format!("@{} ({}) lists it", provider.name, provider.title),
        Target::Address(_) | Target::Prefix(_) => target.to_string(),
    };
    let until = cover.until.map(|until| format!(", until {}", rfc3339(until))).unwrap_or_default();
    match note.as_str() {
        "" => format!("{what}{until}"),
        note => format!("{what}{until} ({note})"),
    }
}

/// A time as it is printed.
pub(super) fn rfc3339(time: UnixTime) -> String {
    let seconds = i64::try_from(time.0).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds)
        .map_or_else(|_| "never".to_owned(), |time| time.to_string())
}

/// The day of a time, in UTC.
pub(super) fn day(time: UnixTime) -> (i16, i8, i8) {
    let seconds = i64::try_from(time.0).unwrap_or(i64::MAX);
    let date = jiff::Timestamp::from_second(seconds).unwrap_or_default();
    let date = date.to_zoned(jiff::tz::TimeZone::UTC).date();
    (date.year(), date.month(), date.day())
}
