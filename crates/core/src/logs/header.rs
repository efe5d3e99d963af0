//! What stands before a message: when, and which program wrote it. Nothing of a genuine one is an attacker's text.

use memchr::memchr;

use super::stamp::{Calendar, Stamp, epoch, iso, without_year};

/// Who put a line where it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// The program itself, into a file of its own.
    File,
    /// syslog, or the journal as text.
    Syslog,
    /// The journal, as JSON.
    Journal,
}

/// A line in its parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header<'a> {
    pub(super) origin: Origin,
    /// When it was written, if it says.
    pub(super) time: Option<Stamp>,
    /// The program that told it to syslog or the journal; empty if it wrote the file itself.
    pub(super) program: &'a [u8],
    /// The message.
    pub(super) message: &'a [u8],
}

/// Takes a line apart: `[time] message`, `time message`, `time host program[pid]: message`, or only a message.
pub(super) fn header<'a>(line: &'a [u8], calendar: &Calendar) -> Header<'a> {
    let plain = Header { origin: Origin::File, time: None, program: b"", message: line };
    let read = match line.first() {
        Some(b'[') => bracketed(line, calendar),
        Some(digit) if digit.is_ascii_digit() => unbracketed(line),
        Some(b'A'..=b'Z') => {
            without_year(line, calendar).and_then(|read| by_syslog(read, calendar))
        }
        Some(_) | None => None,
    };
    read.unwrap_or(plain)
}

/// `[2026-11-22 08:48:18.905] …`, `[May  3 10:00:00] …` or `[1795337298] …`.
fn bracketed<'a>(line: &'a [u8], calendar: &Calendar) -> Option<Header<'a>> {
    let text = &line[1..];
    let (time, rest) =
        iso(text).or_else(|| without_year(text, calendar)).or_else(|| epoch(text, calendar))?;
    let message = rest.strip_prefix(b"] ")?;
    Some(Header { origin: Origin::File, time: Some(time), program: b"", message })
}

/// `2026-11-22 08:49:24,312 …` of a program itself, or with a `T` by syslog or the journal.
fn unbracketed(line: &[u8]) -> Option<Header<'_>> {
    let (time, rest) = iso(line)?;
    match line.get(10) {
        Some(b'T') => by_syslog((time, rest), &Calendar::default()),
        Some(_) | None => {
            let message = rest.trim_ascii_start();
            Some(Header { origin: Origin::File, time: Some(time), program: b"", message })
        }
    }
}

/// ` host program[pid]: message`, after a time. Asterisk writes its own time once more into what it tells the
/// journal.
fn by_syslog<'a>((time, rest): (Stamp, &'a [u8]), calendar: &Calendar) -> Option<Header<'a>> {
    let rest = rest.strip_prefix(b" ")?;
    let rest = &rest[memchr(b' ', rest)? + 1..];
    let (program, message) = rest.split_at(memchr(b' ', rest)?);
    let program = program.strip_suffix(b":")?;
    let program = &program[..memchr(b'[', program).unwrap_or(program.len())];
    let message = message.trim_ascii_start();
    let message = match message.first() {
        Some(b'[') => bracketed(message, calendar).map_or(message, |inner| inner.message),
        Some(_) | None => message,
    };
    Some(Header { origin: Origin::Syslog, time: Some(time), program, message })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_taken_apart() {
        let at = |seconds: i64| Some(Stamp(1_795_337_298_000 + seconds * 1000));
        let calendar = Calendar { now: at(0).unwrap(), ahead: 0 };
        let cases: [(&str, Option<Stamp>, &str); 10] = [
            ("[2026-11-22 08:48:18] m", at(0), ""),
            ("[Nov 22 08:48:19] m", at(1), ""),
            ("[1795337298] m", at(0), ""),
            ("2026-11-22 08:48:20,000 m", at(2), ""),
            ("2026-11-22T08:48:20.000000+01:00 pbx asterisk[12]: m", at(2), "asterisk"),
            ("2026-11-22T08:48:20+0100 pbx /usr/sbin/kamailio[1]: m", at(2), "/usr/sbin/kamailio"),
            ("Nov 22 08:48:20 pbx asterisk[12]: [Nov 22 08:48:19] m", at(2), "asterisk"),
            ("Nov 22 08:48:20 pbx asterisk: m", at(2), "asterisk"),
            ("m", None, ""),
            ("", None, ""),
        ];
        for (line, time, program) in cases {
            let message = if line.is_empty() { "" } else { "m" };
            let origin = if program.is_empty() { Origin::File } else { Origin::Syslog };
            let (program, message) = (program.as_bytes(), message.as_bytes());
            let expected = Header { origin, time, program, message };
            assert_eq!(header(line.as_bytes(), &calendar), expected, "{line}");
        }
        let broken = b"[2026-11-22 08:48:18 m";
        assert_eq!(header(broken, &calendar).message, broken);
    }
}
