//! What Asterisk writes: `[time] LEVEL[thread][call] file.c: message` into a file, and the same with the line and
//! function behind the file's name to syslog. Its security events are for [`security`], its notices for
//! [`notice`].
//!
//! **Lines of a client.** Asterisk writes line breaks into its files as it got them, and takes `%0A` in the user of
//! a URI for one. So a client chooses 36 bytes of `AccountID="…` in an event of an unknown account, and as the name
//! of an extension 79 bytes, each with as many line breaks as it likes. What is left of the genuine line follows:
//! `",SessionID="`, the Call-ID, which is free text, and the addresses. A line that tells something can't be
//! made of 36 bytes, since each kind of line has to have at its beginning, from byte to byte as its program writes it,
//! more than they hold:
//!
//! - a line of Asterisk a time of 13 bytes or more and `NOTICE[1] chan_sip.c: Call from '' (192.0.2.1) to `, or what is
//!   longer still; a line number, behind which text may be skipped, only what syslog wrote;
//! - fail2ban's a time of 20 bytes, `fail2ban.filter INFO [sip] Found ` and the address;
//! - what is told by its end, as by Kamailio, has the genuine line's end there, or is a whole line: 39 bytes.
//!
//! Nor does it rest on that alone. A genuine line that breaks off within such a text [is open](Line::Open), and none
//! of the lines up to the one that [closes] it tells anything; and a log is of [one format](super::reader).

mod notice;
mod security;

use memchr::memchr;
use memchr::memmem;

use super::Line;
use super::header::{Header, Origin};

/// A message of Asterisk by the parts before its text.
struct Message<'a> {
    level: &'a [u8],
    file: &'a [u8],
    text: &'a [u8],
}

/// Reads a line of Asterisk; `None` if it is none. But for the journal it writes no line without a time.
pub(super) fn read(header: &Header<'_>) -> Option<Line> {
    if header.time.is_none() && header.origin != Origin::Journal {
        return None;
    }
    let Some(Message { level, file, text }) = message(header.message, header.origin) else {
        // The first line after a start or a rotation.
        let is_start = header.time.is_some() && header.message.starts_with(b"Asterisk ");
        return is_start.then_some(Line::Nothing);
    };
    Some(match (level, file) {
        (b"SECURITY", b"res_security_log.c") => security::read(text, header.time),
        (b"NOTICE", b"res_pjsip_session.c") => notice::session(text),
        (b"NOTICE" | b"WARNING", _) => notice::read(file, text, header.time),
        (b"VERBOSE" | b"DEBUG", b"res_pjsip_logger.c") => trace(text),
        _ => Line::Nothing,
    })
}

/// Whether a line ends the text of a client in an open line: no text of a client is long enough to hold such an end.
pub(super) fn closes(line: &[u8]) -> bool {
    security::closes(line) || notice::closes(line)
}

fn message(message: &[u8], origin: Origin) -> Option<Message<'_>> {
    let (level, rest) = message.split_at(memchr(b'[', message).filter(|end| *end <= 12)?);
    if level.is_empty() || !level.iter().all(u8::is_ascii_uppercase) {
        return None;
    }
    let mut rest = after_brackets(rest, u8::is_ascii_digit)?;
    if let Some(after) = rest.strip_prefix(b"[C-") {
        rest = &after[memchr(b']', after)? + 1..];
    }
    let rest = rest.strip_prefix(b":").unwrap_or(rest).strip_prefix(b" ")?;
    let (file, rest) = rest.split_at(memchr(b':', rest)?);
    if memchr(b' ', file).is_some() {
        return None;
    }
    let rest = &rest[1..];
    let text = match rest {
        [] | [b' ', ..] => rest,
        _ if origin == Origin::File => return None,
        _ => after_function(rest)?,
    };
    Some(Message { level, file, text: text.trim_ascii_start() })
}

/// What follows `28926 in function: ` or `28926 function: `.
fn after_function(text: &[u8]) -> Option<&[u8]> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let text = text[digits..].strip_prefix(b" ").filter(|_| digits > 0)?;
    let text = text.strip_prefix(b"in ").unwrap_or(text);
    let word = |byte: &&u8| byte.is_ascii_alphanumeric() || **byte == b'_';
    let (function, text) = text.split_at(text.iter().take_while(word).count());
    text.strip_prefix(b":").filter(|_| !function.is_empty())
}

/// What follows `[…]`, if that holds nothing else.
fn after_brackets(text: &[u8], is_part: fn(&u8) -> bool) -> Option<&[u8]> {
    let text = text.strip_prefix(b"[")?;
    let end = memchr(b']', text)?;
    (end > 0 && text[..end].iter().all(is_part)).then(|| &text[end + 1..])
}

/// `<--- Received SIP request (512 bytes) from UDP:192.0.2.1:5060 --->`: whoever sent that wrote the next lines, unless
/// it follows in the same one.
fn trace(text: &[u8]) -> Line {
    /// Neither a packet nor a message over TCP is longer.
    const LONGEST: usize = 65_535;
    const END: &[u8] = b" --->";
    let length = || {
        memmem::find(text, END).filter(|end| end + END.len() == text.len())?;
        let text = text.strip_prefix(b"<--- ")?;
        let (_, rest) = text.split_at(memchr(b'(', text)?);
        let (length, rest) = rest[1..].split_at(memmem::find(rest, b" bytes)")?.checked_sub(1)?);
        let length = super::stamp::number(length.get(..length.len().min(6))?)?;
        rest.starts_with(b" bytes)").then_some(LONGEST.min(length as usize))
    };
    length().map_or(Line::Nothing, Line::Trace)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_before_the_text_are_told_apart() {
        let cases = [
            "NOTICE[12] chan_sip.c: m",
            "NOTICE[12][C-0000af] chan_sip.c: m",
            "NOTICE[12]: chan_sip.c:28926 in handle_request_register: m",
            "NOTICE[12][C-0000af]: chan_sip.c:28926 handle_request_register: m",
        ];
        for case in cases {
            let Message { level, file, text } = message(case.as_bytes(), Origin::Syslog).unwrap();
            assert_eq!(
                (level, file, text),
                (&b"NOTICE"[..], &b"chan_sip.c"[..], &b"m"[..]),
                "{case}"
            );
        }
        for case in [
            "notice[12] x.c: m",
            "NOTICE[x] x.c: m",
            "NOTICE[12] a b: m",
            "NOTICE[12] x.c:1 in a b: m",
            "NOTICE[12] x.c:1\",y=\"z: m",
            "NOTICE[12] x.c:1 : m",
            "NOTICE[12] x.c:in y: m",
            "NOTICE",
            "",
        ] {
            assert!(message(case.as_bytes(), Origin::Syslog).is_none(), "{case}");
        }
        assert!(message(cases[2].as_bytes(), Origin::File).is_none());
    }

    #[test]
    fn a_traced_message_says_how_long_it_is() {
        let line = |text: &[u8]| match trace(text) {
            Line::Trace(length) => Some(length),
            _ => None,
        };
        assert_eq!(
            line(b"<--- Received SIP request (512 bytes) from UDP:192.0.2.1:5 --->"),
            Some(512)
        );
        assert_eq!(
            line(b"<--- Transmitting SIP response (3 bytes) to UDP:192.0.2.1:5 --->"),
            Some(3)
        );
        assert_eq!(line(b"<--- (999999 bytes) --->"), Some(65_535));
        assert_eq!(line(b"<--- ( bytes) --->"), Some(0));
        assert_eq!(line(b"<--- (x bytes) --->"), None);
        assert_eq!(line(b"<--- (512 bytes) --->#012REGISTER --->"), None, "it is in this line");
        assert_eq!(line(b"Contact added"), None);
    }
}
