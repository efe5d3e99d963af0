//! [`Reader`]: a log in blocks of whole lines, as events.
//!
//! A log is of the [`Format`] of its first line that is understood, and lines of another tell nothing. Reading may
//! begin at a line that a client wrote into Asterisk's log, whose own lines prevail therefore.

use memchr::memchr;

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
}

impl Lines {
    /// Adds those of another log.
    pub fn add(&mut self, other: &Self) {
        self.total += other.total;
        self.understood += other.understood;
        self.ambiguous += other.ambiguous;
        self.traced += other.traced;
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

/// Reads one log.
#[derive(Debug, Default)]
pub struct Reader {
    calendar: Calendar,
    format: Option<Format>,
    /// How many lines may still be pieces of a line that is open.
    open: u8,
    /// How many bytes of a traced message are to come.
    traced: usize,
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
    pub fn lines(&self) -> &Lines {
        &self.lines
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
        if self.traced > 0 {
            self.traced = self.traced.saturating_sub(line.len());
            self.lines.traced += 1;
            return None;
        }
        let text = line.trim_ascii_end();
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
            Line::Trace(length) => self.traced = length,
        }
        None
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
