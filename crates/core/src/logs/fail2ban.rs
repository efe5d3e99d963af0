//! `fail2ban.filter [1372]: INFO [asterisk] Found 192.0.2.1 - 2026-11-22 08:48:18`, and the same of bans. Only
//! jails whose name says that they guard a phone system count.

use std::net::IpAddr;

use memchr::memchr;

use super::header::{Header, Origin};
use super::stamp::iso;
use super::{Event, Line, Teller, What};

/// Part of the name of a jail that guards a phone system.
const JAILS: [&[u8]; 8] =
    [b"asterisk", b"sip", b"kamailio", b"freepbx", b"pbx", b"voip", b"freeswitch", b"iax"];

/// Reads a line of fail2ban; `None` if it is none. Into its own log it writes no line without a time.
pub(super) fn read(header: &Header<'_>) -> Option<Line> {
    let (component, text) = match header.origin {
        Origin::File => {
            let end = header.message.iter().position(u8::is_ascii_whitespace)?;
            header.time?;
            header.message.split_at(end)
        }
        Origin::Syslog | Origin::Journal => (header.program, header.message),
    };
    if !component.starts_with(b"fail2ban.") {
        return None;
    }
    if !matches!(component, b"fail2ban.filter" | b"fail2ban.actions") {
        return Some(Line::Nothing);
    }
    Some(event(text, header).map_or(Line::Nothing, Line::Event))
}

/// `[1372]: INFO [jail] Found …`, to syslog without the number: each word is where fail2ban has it.
fn event(text: &[u8], header: &Header<'_>) -> Option<Event> {
    let words = text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let mut words = words.skip_while(|word| is_pid(word));
    words.next().filter(|level| level.iter().all(u8::is_ascii_uppercase))?;
    let jail = words.next()?.strip_prefix(b"[")?.strip_suffix(b"]")?;
    if !guards_a_phone_system(jail) {
        return None;
    }
    let (what, address) = match (words.next()?, words.next()?) {
        (b"Found", address) => (What::Found, address),
        (b"Ban", address) => (What::Ban, address),
        (b"Restore", b"Ban") => (What::Ban, words.next()?),
        _ => return None,
    };
    let source: IpAddr = std::str::from_utf8(address).ok()?.parse().ok()?;
    let of_match = || iso(&header.message[header.message.len().checked_sub(19)?..]);
    let time = match what {
        What::Found => of_match().map(|(time, _)| time).or(header.time),
        _ => header.time,
    };
    Some(Event {
        time,
        source: source.to_canonical(),
        port: None,
        transport: None,
        account: None,
        teller: Teller::Fail2ban,
        kept: false,
        what,
    })
}

/// `[1372]:`
fn is_pid(word: &[u8]) -> bool {
    let number = word.strip_prefix(b"[").and_then(|word| word.strip_suffix(b"]:"));
    number.is_some_and(|number| number.iter().all(u8::is_ascii_digit))
}

pub(super) fn guards_a_phone_system(jail: &[u8]) -> bool {
    let jail = jail.to_ascii_lowercase();
    let holds = |part: &[u8]| memchr::memmem::find(&jail, part).is_some();
    memchr(b' ', &jail).is_none() && JAILS.iter().any(|part| holds(part))
}
