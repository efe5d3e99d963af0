//! What Kamailio and OpenSIPS write to syslog, in the words of their modules and stock configurations:
//!
//! - `WARNING: pike [pike_funcs.c:151]: pike_check_req(): PIKE - BLOCKing ip 192.0.2.1, node=0x…`;
//! - `ALERT: <script>: ALERT: pike blocking REGISTER from sip:… (IP:192.0.2.1:5060)`, and any line of a script
//!   that speaks of authentication which failed and ends in such an address.
//!
//! The servers themselves don't log who failed to authenticate: their scripts do, each in its own words. The
//! end of the line counts, where the stock configuration has the source; a script that ends a line with what
//! the client sent can be made to name another, here as by fail2ban.

use std::net::{IpAddr, SocketAddr};

use memchr::memmem;

use super::header::Header;
use super::{Event, Line, Teller, What};

/// Reads a line of these; `None` if it is none.
pub(super) fn read(header: &Header<'_>) -> Option<Line> {
    let program = header.program.rsplit(|byte| *byte == b'/').next()?;
    let message = header.message.trim_ascii();
    if !matches!(program, b"kamailio" | b"opensips") && !begins_as_theirs(message) {
        return None;
    }
    let Some((source, port)) = by_pike(message).or_else(|| by_script(message)) else {
        return Some(Line::Nothing);
    };
    Some(Line::Event(Event {
        time: header.time,
        source: source.to_canonical(),
        port,
        transport: None,
        account: None,
        teller: Teller::Kamailio,
        kept: false,
        what: What::Refused,
    }))
}

/// ` 5(30) ALERT: <script>: …`, as they write without syslog.
fn begins_as_theirs(message: &[u8]) -> bool {
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let process = digits(message);
    let Some(rest) = message[process..].strip_prefix(b"(").filter(|_| process > 0) else {
        return false;
    };
    let number = digits(rest);
    let Some(rest) = rest[number..].strip_prefix(b") ").filter(|_| number > 0) else {
        return false;
    };
    let level = rest.iter().take_while(|byte| byte.is_ascii_uppercase()).count();
    level >= 4 && rest[level..].starts_with(b": ")
}

fn by_pike(message: &[u8]) -> Option<(IpAddr, Option<u16>)> {
    const BLOCKING: &[u8] = b"PIKE - BLOCKing ip ";
    let at = memmem::rfind(message, BLOCKING)?;
    let is_own = memmem::find(&message[..at], b" pike [").is_some()
        && memmem::find(message, b"<script>").is_none();
    let text = std::str::from_utf8(&message[at + BLOCKING.len()..]).ok().filter(|_| is_own)?;
    let (address, node) = text.split_once(", node=")?;
    let is_pointer = node.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_pointer.then(|| address.parse().ok().map(|address| (address, None)))?
}

fn by_script(message: &[u8]) -> Option<(IpAddr, Option<u16>)> {
    let at = memmem::rfind(message, b"(IP:")?;
    let (before, place) = (&message[..at], &message[at + 4..]);
    let script = memmem::find(before, b"<script>: ")?;
    if !tells_of_failure(&before[script..]) {
        return None;
    }
    let place = std::str::from_utf8(place.strip_suffix(b")")?).ok()?;
    if let Ok(place) = place.parse::<SocketAddr>() {
        return Some((place.ip(), Some(place.port())));
    }
    // Kamailio writes IPv6 addresses without brackets here, or with them.
    let bare = |text: &str| text.trim_matches(['[', ']']).parse::<IpAddr>().ok();
    match place
        .rsplit_once(':')
        .and_then(|(address, port)| Some((bare(address)?, port.parse().ok()?)))
    {
        Some((address, port)) => Some((address, Some(port))),
        None => Some((bare(place)?, None)),
    }
}

fn tells_of_failure(text: &[u8]) -> bool {
    let text = text.to_ascii_lowercase();
    let holds = |part: &[u8]| memmem::find(&text, part).is_some();
    holds(b"pike block") || holds(b"auth") && (holds(b"fail") || holds(b"invalid"))
}
