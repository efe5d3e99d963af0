//! [`Reader`]: a log in blocks of whole lines, as events.
//!
//! A log is of the [`Format`] of its first line that is understood, and lines of another tell nothing. Reading may
//! begin at a line that a client wrote into Asterisk's log, whose own lines prevail therefore.

use memchr::{memchr, memmem};

use super::header::{Header, Origin, header};
use super::stamp::Calendar;
use super::{Event, Line, asterisk, fail2ban, journal, kamailio};

/// How many lines were read, by what became of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lines {
    /// All but empty ones.
    pub total: u64,
    /// Those in a format that is understood.
    pub understood: u64,
    /// Those that could be about several addresses.
    pub ambiguous: u64,
    /// Those that are the text of traced SIP messages.
    pub traced: u64,
    /// Those of the traced that may be something else, since a message was shorter than it was said to be.
    pub hidden: u64,
}

impl Lines {
    /// Adds those of another log.
    pub fn add(&mut self, other: &Self) {
        self.total += other.total;
        self.understood += other.understood;
        self.ambiguous += other.ambiguous;
        self.traced += other.traced;
        self.hidden += other.hidden;
    }
}

/// Whose a log is, or who wrote the lines of several programs into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Asterisk,
    Fail2ban,
    Kamailio,
    Syslog,
    Journal,
}

impl Format {
    /// Whether no client can write a line of it into a log of another.
    fn is_firm(self) -> bool {
        match self {
            Self::Asterisk | Self::Fail2ban => true,
            Self::Kamailio | Self::Syslog | Self::Journal => false,
        }
    }
}

/// How many lines a client's text can be at most: Asterisk keeps no more than 79 bytes of what may hold line breaks.
const MOST_PIECES: u8 = 80;

/// A traced message that is passed over.
///
/// Asterisk says how long it is, and writes it up to its first NUL: then lines follow within that length that are
/// Asterisk's own. They can't be told from those of the client, and none is believed. Among them may be traces
/// of others, so it is over when each that seems to begin in it is.
#[derive(Debug, Default)]
struct Trace {
    /// How many bytes are to come.
    left: usize,
    /// How many lines were passed over.
    lines: u64,
    /// It did not end where it was to.
    doubtful: bool,
}

impl Trace {
    /// Passes over a line, at which another one may seem to begin.
    fn pass_over(&mut self, length: usize, another: usize) {
        // A line break follows the message, and is not counted with it.
        self.doubtful |= length > self.left + 1;
        let left = self.left.saturating_sub(length);
        self.doubtful |= another > left;
        self.left = left.max(another);
        self.lines += 1;
    }

    /// How many lines it may have hidden, once it is over.
    fn hidden(&self) -> u64 {
        if self.doubtful { self.lines } else { 0 }
    }
}

/// Reads one log.
#[derive(Debug, Default)]
pub struct Reader {
    calendar: Calendar,
    format: Option<Format>,
    /// How many lines may still be pieces of a line that is open.
    open: u8,
    trace: Trace,
    lines: Lines,
}

impl Reader {
    /// Reads a log whose dates are to be understood by this.
    pub fn new(calendar: Calendar) -> Self {
        Self { calendar, ..Self::default() }
    }

    /// Goes on at another time.
    pub fn at(&mut self, calendar: Calendar) {
        self.calendar = calendar;
    }

    /// What was read so far.
    pub fn lines(&self) -> Lines {
        let Self { trace, lines, .. } = self;
        let within = if trace.left > 0 { trace.lines } else { 0 };
        Lines { hidden: lines.hidden + within, ..*lines }
    }

    /// Reads a block of lines. One without an end is passed over: where it was cut, the last address in it may
    /// be the client's.
    pub fn read(&mut self, mut block: &[u8], mut tell: impl FnMut(Event)) {
        while let Some(end) = memchr(b'\n', block) {
            let (line, rest) = block.split_at(end + 1);
            block = rest;
            if let Some(event) = self.line(line) {
                tell(event);
            }
        }
        self.lines.total += u64::from(!block.is_empty());
    }

    fn line(&mut self, line: &[u8]) -> Option<Event> {
        let text = line.trim_ascii_end();
        if self.trace.left > 0 && self.pass_over(line, text) {
            return None;
        }
        if text.is_empty() {
            return None;
        }
        self.lines.total += 1;
        self.lines.understood += 1;
        if self.open > 0 {
            self.open = if asterisk::closes(text) { 0 } else { self.open - 1 };
            self.lines.ambiguous += 1;
            return None;
        }
        match self.told(text) {
            Line::Event(event) => return Some(event),
            Line::Nothing => {}
            Line::Ambiguous => self.lines.ambiguous += 1,
            Line::Open => {
                self.lines.ambiguous += 1;
                // Who writes several programs' lines into a log writes each into one.
                let is_own = self.format == Some(Format::Asterisk);
                self.open = if is_own { MOST_PIECES } else { 0 };
            }
            Line::Unreadable => self.lines.understood -= 1,
            Line::Trace(left) => self.trace = Trace { left, ..Trace::default() },
        }
        None
    }

    /// Passes over a line of a traced message; `false` if another program wrote it.
    fn pass_over(&mut self, line: &[u8], text: &[u8]) -> bool {
        let length = match self.format {
            Some(Format::Syslog) => {
                let Header { program, message, .. } = header(text, &self.calendar);
                may_be_asterisk(program).then_some(message.len() + 1)
            }
            Some(Format::Journal) => journal::entry(text).map_or(Some(1), |entry| {
                let program = entry.program.unwrap_or_default();
                may_be_asterisk(program.as_bytes()).then_some(entry.message.len() + 1)
            }),
            _ => Some(line.len()),
        };
        let Some(length) = length else { return false };
        let read = if text.is_empty() { None } else { read(text, &self.calendar) };
        let another = match read {
            Some((_, Line::Trace(length))) => length,
            _ => 0,
        };
        self.trace.pass_over(length, another);
        self.lines.total += 1;
        self.lines.understood += 1;
        self.lines.traced += 1;
        if self.trace.left == 0 {
            self.lines.hidden += self.trace.hidden();
        }
        true
    }

    fn told(&mut self, text: &[u8]) -> Line {
        let Some((format, line)) = read(text, &self.calendar) else { return Line::Unreadable };
        let own = *self.format.get_or_insert(format);
        if own == format {
            return line;
        }
        if format.is_firm() && !own.is_firm() {
            self.format = Some(format);
            return line;
        }
        Line::Unreadable
    }
}

fn may_be_asterisk(program: &[u8]) -> bool {
    program.is_empty() || memmem::find(program, b"asterisk").is_some()
}

/// Reads a line, which does not end in a line break; `None` if it is in no format that is understood.
fn read(line: &[u8], calendar: &Calendar) -> Option<(Format, Line)> {
    if line[0] != b'{' {
        return message(&header(line, calendar));
    }
    let entry = journal::entry(line)?;
    let inner = header(entry.message.as_bytes(), calendar);
    let program = entry.program.as_ref().map_or(&b""[..], |program| program.as_bytes());
    let time = entry.time(calendar).or(inner.time);
    message(&Header { origin: Origin::Journal, time, program, message: inner.message })
}

fn message(header: &Header<'_>) -> Option<(Format, Line)> {
    let by = |format| move |line| (format, line);
    let read = asterisk::read(header).map(by(Format::Asterisk));
    let read = read.or_else(|| fail2ban::read(header).map(by(Format::Fail2ban)));
    let (format, line) = read.or_else(|| kamailio::read(header).map(by(Format::Kamailio)))?;
    let format = match header.origin {
        Origin::File => format,
        Origin::Syslog => Format::Syslog,
        Origin::Journal => Format::Journal,
    };
    Some((format, line))
}
