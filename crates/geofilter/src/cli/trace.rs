//! Where a process that goes on tells what it does: on standard error; or, if that is the journal, there with every value as a
//! field of its own.

use std::env;
use std::io::{self, IsTerminal};

use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::args::Global;
use super::render::Style;

/// Fields in the journal begin so: `GEOFILTER_GENERATION=7`.
const PREFIX: &str = "GEOFILTER";

/// Tells on standard error from now on.
pub(super) fn on_stderr(global: &Global) {
    begin(global, None);
}

/// Tells in the journal from now on, if standard error goes there, or else on standard error.
pub(super) fn in_journal(global: &Global) {
    begin(global, journal());
}

fn begin(global: &Global, journal: Option<tracing_journald::Layer>) {
    let level = match global.verbose {
        0 => Level::INFO,
        1 => Level::DEBUG,
        _ => Level::TRACE,
    };
    let stderr = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        // Where standard error is lost, there is nowhere to complain about that.
        .log_internal_errors(false)
        .with_ansi(Style::choose(global).colour && io::stderr().is_terminal());
    let stderr = journal.is_none().then_some(stderr);
    let all = tracing_subscriber::registry().with(LevelFilter::from_level(level));
    all.with(journal).with(stderr).init();
}

/// The journal, if it is there that standard error goes (`JOURNAL_STREAM` in systemd.exec(5)).
fn journal() -> Option<tracing_journald::Layer> {
    let named = env::var("JOURNAL_STREAM").ok()?;
    let stderr = rustix::fs::fstat(io::stderr()).ok()?;
    if named != format!("{}:{}", stderr.st_dev, stderr.st_ino) {
        return None;
    }
    let journal = tracing_journald::layer().ok()?;
    Some(journal.with_field_prefix(Some(PREFIX.to_owned())))
}
