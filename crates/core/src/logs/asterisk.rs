//! What Asterisk writes: `LEVEL[thread][call] file.c: message` into a file, and the same with the line and
//! function behind the file's name to syslog. Its security events are for [`security`], its notices for
//! [`notice`].

mod notice;
mod security;

use memchr::memchr;
use memchr::memmem;

use super::Line;
use super::header::Header;

/// A message of Asterisk by the parts before its text.
struct Message<'a> {
    level: &'a [u8],
    file: &'a [u8],
    text: &'a [u8],
}

/// Reads a line of Asterisk; `None` if it is none.
pub(super) fn read<'a>(header: &Header<'a>) -> Option<Line> {
    let Some(Message { level, file, text }) = message(header.message) else {
        // The first line after a start or a rotation.
        let is_start = header.time.is_some() && header.message.starts_with(b"Asterisk ");
        return is_start.then_some(Line::Nothing);
    };
    Some(match (level, file) {
        (b"SECURITY", b"res_security_log.c") => security::read(text, header.time),
        (b"NOTICE" | b"WARNING", _) => notice::read(file, text, header.time),
        (b"VERBOSE" | b"DEBUG", b"res_pjsip_logger.c") => trace(text),
        _ => Line::Nothing,
    })
}

fn message(message: &[u8]) -> Option<Message<'_>> {
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
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let text = match digits {
        0 => rest,
        // ` in function:` or ` function:`.
        _ => &rest[memmem::find(rest, b": ")? + 1..],
    };
    Some(Message { level, file, text: text.trim_ascii_start() })
}

/// What follows `[…]`, if that holds nothing else.
fn after_brackets(text: &[u8], is_part: fn(&u8) -> bool) -> Option<&[u8]> {
    let text = text.strip_prefix(b"[")?;
    let end = memchr(b']', text)?;
    (end > 0 && text[..end].iter().all(is_part)).then(|| &text[end + 1..])
}

/// `<--- Received SIP request (512 bytes) from UDP:…`: whoever sent that wrote the next lines.
fn trace(text: &[u8]) -> Line {
    let length = || {
        let text = text.strip_prefix(b"<--- ")?;
        let (_, rest) = text.split_at(memchr(b'(', text)?);
        let (length, rest) = rest[1..].split_at(memmem::find(rest, b" bytes)")?.checked_sub(1)?);
        let length = super::stamp::number(length.get(..length.len().min(6))?)?;
        rest.starts_with(b" bytes)").then_some(length as usize)
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
            let Message { level, file, text } = message(case.as_bytes()).unwrap();
            assert_eq!(
                (level, file, text),
                (&b"NOTICE"[..], &b"chan_sip.c"[..], &b"m"[..]),
                "{case}"
            );
        }
        for case in ["notice[12] x.c: m", "NOTICE[x] x.c: m", "NOTICE[12] a b: m", "NOTICE", ""] {
            assert!(message(case.as_bytes()).is_none(), "{case}");
        }
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
        assert_eq!(line(b"<--- ( bytes)"), Some(0));
        assert_eq!(line(b"<--- (x bytes)"), None);
        assert_eq!(line(b"Contact added"), None);
    }
}
