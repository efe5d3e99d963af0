//! Reads logs in [blocks](Blocks) of whole lines, so that memory does not grow with them, and all of them at
//! once, in the order of the time of their lines: several tell of the same attempts. Rotated ones are logs as
//! any other, compressed by gzip or not.
//!
//! The database of fail2ban is not read: SQLite would have to come along for nothing but the bans, which its log
//! has as well.

use std::collections::{BTreeSet, VecDeque};
use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use flate2::read::MultiGzDecoder;
use geofilter_core::impact::list::Answers;
use geofilter_core::impact::log::Tally;
use geofilter_core::logs::{Event, Lines, Reader, Stamp};
use geofilter_core::wire::{Failure, Preview};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::blocks::Blocks;
use crate::cli::failed;
use crate::logs;

/// Each log has one block.
const BLOCK: usize = 1 << 16;

const UNDERSTOOD: &str = "Understood are Asterisk's messages and security events, fail2ban's log, and Kamailio's lines \
     about pike and failed authentication, as files or as `journalctl` prints them";

/// Logs that are being read.
pub(super) struct Logs {
    logs: Vec<Log>,
    bar: ProgressBar,
}

/// Opens logs, each once. Their progress is shown if it may be and standard error is a terminal.
pub(super) fn open(paths: &[PathBuf], progress: bool) -> Result<Logs, Failure> {
    let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::hidden());
    let mut logs = Vec::new();
    let mut different = BTreeSet::new();
    for path in paths {
        if different.insert(path.canonicalize().unwrap_or_else(|_| path.clone())) {
            logs.push(Log::open(path, &bar).map_err(|error| unreadable(path, &error))?);
        }
    }
    if let Ok(style) = ProgressStyle::with_template("{wide_bar} {bytes}/{total_bytes} {eta}") {
        bar.set_style(style);
    }
    if progress {
        bar.set_draw_target(ProgressDrawTarget::stderr());
    }
    Ok(Logs { logs, bar })
}

/// Counts what the policy does to those whom logs tell of.
pub(super) fn count(logs: Logs, answers: &Answers) -> Result<Preview, Failure> {
    let Logs { mut logs, bar } = logs;
    let mut tally = Tally::new(answers);
    for log in &mut logs {
        log.fill()?;
    }
    // Of lines of the same moment, those of the log that begins earlier come first: it was rotated.
    logs.sort_by_key(|log| log.events.front().map(|event| event.time));
    while let Some((first, until)) = next(&logs) {
        let log = &mut logs[first];
        while let Some(event) =
            log.events.pop_front_if(|event| until.is_none_or(|it| event.time <= it))
        {
            tally.add(&event);
        }
        log.fill()?;
    }
    bar.finish_and_clear();
    let (mut preview, since) = tally.preview();
    preview.since = since.and_then(logs::rfc3339);
    tell_of_lines(&logs, &mut preview)?;
    Ok(preview)
}

/// The log whose next event comes first, and the time of the first one of the others.
fn next(logs: &[Log]) -> Option<(usize, Option<Time>)> {
    let mut heads: Vec<(Time, usize)> = logs
        .iter()
        .enumerate()
        .filter_map(|(index, log)| Some((log.events.front()?.time, index)))
        .collect();
    heads.sort_unstable();
    let (_, first) = *heads.first()?;
    Some((first, heads.get(1).map(|(time, _)| *time)))
}

type Time = Option<Stamp>;

/// Fills in how much was understood, and fails if nothing was.
fn tell_of_lines(logs: &[Log], preview: &mut Preview) -> Result<(), Failure> {
    let mut all = Lines::default();
    for log in logs {
        let lines = log.reader.lines();
        all.add(lines);
        if lines.total > 0 && lines.understood == 0 {
            let nothing = format!("nothing in {} was understood", log.path.display());
            preview.warnings.push(nothing);
        }
    }
    if all.total > 0 && all.understood == 0 {
        return Err(failed(format!("{}. {UNDERSTOOD}", preview.warnings.join(", "))));
    }
    if let Some(log) = &mut preview.log {
        log.lines = all.total;
        log.unreadable = all.total - all.understood;
        log.ambiguous = all.ambiguous;
        log.traced = all.traced;
    }
    Ok(())
}

/// A log, read as far as its next events.
struct Log {
    path: PathBuf,
    blocks: Blocks<Box<dyn Read>>,
    block: Vec<u8>,
    reader: Reader,
    events: VecDeque<Event>,
}

impl Log {
    fn open(path: &Path, bar: &ProgressBar) -> io::Result<Self> {
        let (input, until): (Box<dyn Read>, _) = if path == Path::new("-") {
            (Box::new(io::stdin().lock()), SystemTime::now())
        } else {
            let file = File::open(path)?;
            let metadata = file.metadata()?;
            bar.inc_length(metadata.len());
            (
                Box::new(bar.wrap_read(file)),
                metadata.modified().unwrap_or_else(|_| SystemTime::now()),
            )
        };
        Ok(Self {
            path: path.to_owned(),
            blocks: Blocks::new(plain(input)?, BLOCK),
            block: Vec::with_capacity(BLOCK),
            reader: Reader::new(logs::calendar(until)),
            events: VecDeque::new(),
        })
    }

    /// Reads on until there is an event, unless the log ends before.
    fn fill(&mut self) -> Result<(), Failure> {
        while self.events.is_empty() {
            let next = self.blocks.next(&mut self.block);
            if next.map_err(|error| unreadable(&self.path, &error))?.is_none() {
                break;
            }
            self.reader.read(&self.block, |event| self.events.push_back(event));
        }
        Ok(())
    }
}

/// The input as text, if it is compressed.
fn plain(mut input: Box<dyn Read>) -> io::Result<Box<dyn Read>> {
    let mut start = Vec::new();
    input.by_ref().take(16).read_to_end(&mut start)?;
    let is_gzip = start.starts_with(&[0x1f, 0x8b]);
    if start.starts_with(b"SQLite format 3") {
        let why =
            "this is a database, of fail2ban perhaps; give its log (/var/log/fail2ban.log) instead";
        return Err(io::Error::new(io::ErrorKind::Unsupported, why));
    }
    let whole = Cursor::new(start).chain(input);
    Ok(if is_gzip { Box::new(MultiGzDecoder::new(whole)) } else { Box::new(whole) })
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    let hint = match error.kind() {
        io::ErrorKind::PermissionDenied => ": run this as root, or as a user who may read it",
        _ => "",
    };
    failed(format!("cannot read the log {}: {error}{hint}", path.display()))
}
