//! Reads logs in [blocks](Blocks) of whole lines, so that memory does not grow with them, and all of them at
//! once, in the order of the time of their lines: several tell of the same attempts. Rotated ones are logs as
//! any other, compressed by gzip or not.
//! The [`database`] of fail2ban is one of them; it is read as a whole.

use std::collections::{BTreeSet, VecDeque};
use std::fs::File;
use std::io::{self, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use flate2::bufread::MultiGzDecoder;
use geofilter_core::impact::list::Answers;
use geofilter_core::impact::log::Tally;
use geofilter_core::logs::{Calendar, Event, Lines, Reader, Stamp};
use geofilter_core::wire::{Failure, Preview};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::blocks::Blocks;
use super::database;
use crate::cli::failed;
use crate::logs;

/// Each log has one block, and all of them together no more than [`BLOCKS`]: there may be hundreds.
const BLOCK: usize = 1 << 16;
const BLOCKS: usize = 4 << 20;
/// A line that is longer than a block is passed over, and counted as not understood.
const SHORTEST_BLOCK: usize = 1 << 13;
/// What of a compressed log is read at a time.
const PIECE: usize = 1 << 12;

const UNDERSTOOD: &str = "Understood are Asterisk's messages and security events, fail2ban's log, and Kamailio's lines \
     about pike and failed authentication, as files or as `journalctl` prints them; and fail2ban's database";

/// Logs that are being read.
pub(in crate::cli) struct Logs {
    logs: Vec<Log>,
    bar: ProgressBar,
}

/// Opens logs, each once. Their progress is shown if it may be and standard error is a terminal.
pub(in crate::cli) fn open(paths: &[PathBuf], progress: bool) -> Result<Logs, Failure> {
    let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::hidden());
    let mut different = BTreeSet::new();
    let once = paths.iter().filter(|path| {
        different.insert(path.canonicalize().unwrap_or_else(|_| path.to_path_buf()))
    });
    let once: Vec<_> = once.collect();
    let block = (BLOCKS / once.len().max(1)).clamp(SHORTEST_BLOCK, BLOCK);
    let open =
        |path: &PathBuf| Log::open(path, block, &bar).map_err(|error| unreadable(path, &error));
    let logs = once.into_iter().map(open).collect::<Result<Vec<_>, _>>()?;
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
    let mut tally = Tally::new(answers);
    let Told { lines, warnings } = read(logs, |event| tally.add(event))?;
    let (mut preview, since) = tally.preview();
    preview.since = since.and_then(logs::rfc3339);
    preview.warnings.extend(warnings);
    if let Some(log) = &mut preview.log {
        log.lines = lines.total;
        log.unreadable = lines.total - lines.understood;
        log.ambiguous = lines.ambiguous;
        log.traced = lines.traced;
    }
    Ok(preview)
}

/// What became of the lines of logs.
pub(in crate::cli) struct Told {
    pub(in crate::cli) lines: Lines,
    pub(in crate::cli) warnings: Vec<String>,
}

/// Tells of the events of logs in the order of their time, and fails if nothing of them was understood.
pub(in crate::cli) fn read(logs: Logs, mut tell: impl FnMut(&Event)) -> Result<Told, Failure> {
    let Logs { mut logs, bar } = logs;
    logs.iter_mut().for_each(Log::fill);
    // Of lines of the same moment, those of the log that begins earlier come first: it was rotated.
    logs.sort_by_key(|log| log.events.front().map(|event| event.time));
    while let Some((first, until)) = next(&logs) {
        let log = &mut logs[first];
        while let Some(event) =
            log.events.pop_front_if(|event| until.is_none_or(|it| event.time <= it))
        {
            tell(&event);
        }
        log.fill();
    }
    bar.finish_and_clear();
    told(&logs)
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

/// How much was understood; fails if nothing was.
fn told(logs: &[Log]) -> Result<Told, Failure> {
    let mut told = Told { lines: Lines::default(), warnings: Vec::new() };
    let mut damaged = None;
    for log in logs {
        let mut lines = log.database;
        lines.add(&log.reader.lines());
        if lines.hidden > 0 {
            told.warnings.push(format!(
                "{}: a traced SIP message is shorter than Asterisk says, as a client can make it; {} lines behind it \
                 were passed over, and nothing that they tell counts. Leave such a log out, or `pjsip set logger off`",
                log.path.display(),
                lines.hidden
            ));
        }
        told.lines.add(&lines);
        if let Some(error) = &log.damaged {
            let path = log.path.display();
            let said = format!(
                "cannot read the log {path} to its end: {error}; the {} lines before count",
                lines.total
            );
            told.warnings.push(said.clone());
            damaged.get_or_insert(said);
        }
        if log.more {
            told.warnings.push(format!(
                "{} holds more bans than are read: the latest were",
                log.path.display()
            ));
        }
        if lines.total > 0 && lines.understood == 0 {
            told.warnings.push(format!("nothing in {} was understood", log.path.display()));
        }
    }
    if let Some(damaged) = damaged.filter(|_| told.lines.understood == 0) {
        return Err(failed(damaged));
    }
    if told.lines.total > 0 && told.lines.understood == 0 {
        let paths: Vec<String> = logs.iter().map(|log| log.path.display().to_string()).collect();
        return Err(failed(format!(
            "nothing in {} was understood. {UNDERSTOOD}",
            paths.join(", ")
        )));
    }
    Ok(told)
}

/// A log, read as far as its next events.
struct Log {
    path: PathBuf,
    /// What is still to be read.
    blocks: Option<Blocks<Box<dyn Read>>>,
    block: Vec<u8>,
    reader: Reader,
    /// The rows of a database.
    database: Lines,
    /// It has more of them than were read.
    more: bool,
    /// Why it could not be read to its end.
    damaged: Option<io::Error>,
    events: VecDeque<Event>,
}

impl Log {
    fn open(path: &Path, block: usize, bar: &ProgressBar) -> io::Result<Self> {
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
        let (start, input) = begun(input)?;
        if start.starts_with(database::START) {
            // Its locks belong to the process: whoever closes the file gives them up.
            drop(input);
            return Self::of_database(path, logs::calendar(until));
        }
        let input: Box<dyn Read> = match start.starts_with(&[0x1f, 0x8b]) {
            true => Box::new(MultiGzDecoder::new(BufReader::with_capacity(PIECE, input))),
            false => input,
        };
        Ok(Self {
            path: path.to_owned(),
            blocks: Some(Blocks::new(input, block)),
            block: Vec::with_capacity(block),
            reader: Reader::new(logs::calendar(until)),
            database: Lines::default(),
            more: false,
            damaged: None,
            events: VecDeque::new(),
        })
    }

    fn of_database(path: &Path, calendar: Calendar) -> io::Result<Self> {
        if path == Path::new("-") {
            let why = "this is a database, which can't be read from a pipe; name the file";
            return Err(io::Error::new(io::ErrorKind::Unsupported, why));
        }
        let told = database::read(path, calendar).map_err(io::Error::other)?;
        Ok(Self {
            path: path.to_owned(),
            blocks: None,
            block: Vec::new(),
            reader: Reader::default(),
            database: told.lines,
            more: told.more,
            damaged: None,
            events: told.events,
        })
    }

    /// Reads on until there is an event, unless the log ends before, or can't be read any further.
    fn fill(&mut self) {
        let Some(blocks) = &mut self.blocks else { return };
        while self.events.is_empty() {
            match blocks.next(&mut self.block) {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(error) => self.damaged = Some(error),
            }
            self.reader.read(&self.block, |event| self.events.push_back(event));
            if self.damaged.is_some() {
                self.blocks = None;
                break;
            }
        }
    }
}

/// The start of an input, and all of it.
fn begun(mut input: Box<dyn Read>) -> io::Result<(Vec<u8>, Box<dyn Read>)> {
    let mut start = Vec::new();
    input.by_ref().take(16).read_to_end(&mut start)?;
    let whole = Cursor::new(start.clone()).chain(input);
    Ok((start, Box::new(whole)))
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    let hint = match error.kind() {
        io::ErrorKind::PermissionDenied => ": run this as root, or as a user who may read it",
        _ => "",
    };
    failed(format!("cannot read the log {}: {error}{hint}", path.display()))
}
