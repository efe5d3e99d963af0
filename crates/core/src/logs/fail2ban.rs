//! `fail2ban.filter [1372]: INFO [asterisk] Found 192.0.2.1 - 2026-11-22 08:48:18`, and the same of bans. Only
//! jails whose name says that they guard a phone system count.

use std::net::IpAddr;

use memchr::memchr;

use super::header::Header;
use super::stamp::iso;
use super::{Event, Line, Teller, What};

/// Part of the name of a jail that guards a phone system.
const JAILS: [&[u8]; 8] =
    [b"asterisk", b"sip", b"kamailio", b"freepbx", b"pbx", b"voip", b"freeswitch", b"iax"];

/// Reads a line of fail2ban; `None` if it is none.
pub(super) fn read(header: &Header<'_>) -> Option<Line> {
    let component = match header.program.starts_with(b"fail2ban") {
        true => header.program,
        false => header.message.split(|byte| byte.is_ascii_whitespace() || *byte == b'[').next()?,
    };
    if !component.starts_with(b"fail2ban.") {
        return None;
    }
    if !matches!(component, b"fail2ban.filter" | b"fail2ban.actions") {
        return Some(Line::Nothing);
    }
    Some(event(header).map_or(Line::Nothing, Line::Event))
}

fn event(header: &Header<'_>) -> Option<Event> {
    let mut words = header.message.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let jail =
        words.find(|word| word.starts_with(b"[") && word.ends_with(b"]") && !is_pid(word))?;
    if !guards_a_phone_system(&jail[1..jail.len() - 1]) {
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

/// `[1372]:` ends in a colon; without one it holds nothing but digits.
fn is_pid(word: &[u8]) -> bool {
    word[1..word.len() - 1].iter().all(u8::is_ascii_digit)
}

pub(super) fn guards_a_phone_system(jail: &[u8]) -> bool {
    let jail = jail.to_ascii_lowercase();
    let holds = |part: &[u8]| memchr::memmem::find(&jail, part).is_some();
    memchr(b' ', &jail).is_none() && JAILS.iter().any(|part| holds(part))
}
