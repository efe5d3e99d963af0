//! [`Reader`]: a log in blocks of whole lines, as events.

use memchr::memchr;

use super::header::{Header, header};
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

/// Reads one log.
#[derive(Debug, Default)]
pub struct Reader {
    calendar: Calendar,
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
        match read(text, &self.calendar) {
            Line::Event(event) => return Some(event),
            Line::Nothing => {}
            Line::Ambiguous => self.lines.ambiguous += 1,
            Line::Unreadable => self.lines.understood -= 1,
            Line::Trace(length) => self.traced = length,
        }
        None
    }
}

/// Reads a line, which does not end in a line break.
fn read(line: &[u8], calendar: &Calendar) -> Line {
    if line[0] != b'{' {
        return message(&header(line, calendar));
    }
    let Some(entry) = journal::entry(line) else { return Line::Unreadable };
    let inner = header(entry.message.as_bytes(), calendar);
    let program = entry.program.as_ref().map_or(&b""[..], |program| program.as_bytes());
    message(&Header { time: entry.time(calendar).or(inner.time), program, message: inner.message })
}

fn message(header: &Header<'_>) -> Line {
    asterisk::read(header)
        .or_else(|| fail2ban::read(header))
        .or_else(|| kamailio::read(header))
        .unwrap_or(Line::Unreadable)
}
