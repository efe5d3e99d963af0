//! Lines of `journalctl -o json`.

use std::borrow::Cow;

use serde::Deserialize;

use super::stamp::{Calendar, Stamp};

/// What is read of an entry.
#[derive(Deserialize)]
pub(super) struct Entry<'a> {
    /// What was said; not text if it holds bytes that are none.
    #[serde(rename = "MESSAGE", borrow)]
    pub(super) message: Cow<'a, str>,
    /// Microseconds since 1970.
    #[serde(rename = "__REALTIME_TIMESTAMP", borrow)]
    time: Option<Cow<'a, str>>,
    /// The program.
    #[serde(rename = "SYSLOG_IDENTIFIER", borrow)]
    pub(super) program: Option<Cow<'a, str>>,
}

impl Entry<'_> {
    pub(super) fn time(&self, calendar: &Calendar) -> Option<Stamp> {
        let microseconds: i64 = self.time.as_ref()?.parse().ok()?;
        Some(Stamp((microseconds / 1000).checked_add(calendar.ahead)?))
    }
}

/// Reads an entry; `None` if it is none.
pub(super) fn entry(line: &[u8]) -> Option<Entry<'_>> {
    serde_json::from_slice(line).ok()
}
