//! Requests that Asterisk refused, as it tells them at the level of notices. The texts of the client stand in
//! them as they came; where one of them could be taken for the address, the line says nothing.

use std::hash::{DefaultHasher, Hasher};
use std::net::{IpAddr, SocketAddr};

use memchr::memmem;

use crate::logs::{Event, Line, Stamp, Teller, What, account_hash};

const FAILED: &[u8] = b"' failed for '";
const NOT_FOUND: &[u8] = b"' rejected because extension not found in context '";

/// Reads a notice.
pub(super) fn read(file: &[u8], text: &[u8], time: Option<Stamp>) -> Line {
    let read = match file {
        b"res_pjsip/pjsip_distributor.c" | b"pjsip_distributor.c"
            if text.starts_with(b"Request ") =>
        {
            request(text)
        }
        b"chan_sip.c" if text.starts_with(b"Registration from '") => registration(text),
        b"chan_sip.c" if text.starts_with(b"Call from '' (") => guest_call(text),
        _ => return Line::Nothing,
    };
    let (source, port, what) = match read {
        Ok(read) => read,
        Err(line) => return line,
    };
    Line::Event(Event {
        time,
        source,
        port,
        transport: None,
        account: caller(text).map(account_hash),
        teller: Teller::Notices,
        kept: false,
        what,
    })
}

/// `endpoint: Call (UDP:192.0.2.1:5060) to extension '…' rejected because extension not found in context '…'.`, of
/// chan_pjsip. It tells nothing, but a client chose the extension.
pub(super) fn session(text: &[u8]) -> Line {
    let is_open = memmem::find(text, b") to extension '").is_some() && !closes(text);
    if is_open { Line::Open } else { Line::Nothing }
}

/// Whether it has what follows an extension.
pub(super) fn closes(text: &[u8]) -> bool {
    memmem::rfind(text, NOT_FOUND).is_some()
}

/// The user in `from '"name" <sip:1001@host>'`, as the client calls itself.
fn caller(text: &[u8]) -> Option<&[u8]> {
    let (_, uri) = cut(text, b"sip:")?;
    let (user, _) = cut(uri, b"@")?;
    (!user.is_empty() && user.len() <= 64).then_some(user)
}

type Refusal = Result<(IpAddr, Option<u16>, What), Line>;

/// `Request 'REGISTER' from '…' failed for '192.0.2.1:5060' (callid: …) - Failed to authenticate`, of
/// chan_pjsip. Both texts are the client's, one on each side of the address.
fn request(text: &[u8]) -> Refusal {
    let (before, after) = cut(text, FAILED).ok_or(Line::Nothing)?;
    if memmem::find(after, FAILED).is_some() {
        return Err(Line::Ambiguous);
    }
    let (place, _) = cut(after, b"' (callid: ").ok_or(Line::Unreadable)?;
    let (source, port) = place_of(place).ok_or(Line::Ambiguous)?;
    let end = memmem::rfind(after, b") - ").ok_or(Line::Unreadable)?;
    let reason = &after[end + b") - ".len()..];
    let mut hasher = DefaultHasher::new();
    hasher.write(before);
    hasher.write(&after[..end]);
    let request = Some(hasher.finish());
    let what = match reason {
        // `No matching endpoint found`, `Not match Endpoint ACL`, `Not match Endpoint Contact ACL`.
        [b'N', b'o', ..] => What::Rejected(request),
        // `Failed to authenticate`, `Error to authenticate`.
        _ => What::WrongSecret { rejected: false, request },
    };
    Ok((source, port, what))
}

/// `Registration from '…' failed for '192.0.2.1:5060' - Wrong password`, of chan_sip. The last address counts,
/// since nothing of the client follows it.
fn registration(text: &[u8]) -> Refusal {
    let at = memmem::rfind(text, FAILED).ok_or(Line::Nothing)?;
    let (place, reason) = cut(&text[at + FAILED.len()..], b"' - ").ok_or(Line::Unreadable)?;
    let (source, port) = place_of(place).ok_or(Line::Unreadable)?;
    if !reason.iter().all(|byte| byte.is_ascii_alphabetic() || b" /().-".contains(byte)) {
        return Err(Line::Ambiguous);
    }
    let what = match reason {
        b"Wrong password" | b"Username/auth name mismatch" => {
            What::WrongSecret { rejected: false, request: None }
        }
        b"No matching peer found" => What::Rejected(None),
        _ => What::Refused,
    };
    Ok((source, port, what))
}

/// `Call from '' (192.0.2.1:5060) to extension '…' rejected because extension not found in context '…'.`, of
/// chan_sip. Of a peer it would name the peer, and that is a wrong number.
fn guest_call(text: &[u8]) -> Refusal {
    let (place, rest) =
        cut(&text[b"Call from '' (".len()..], b") to extension '").ok_or(Line::Nothing)?;
    if !closes(rest) {
        return Err(Line::Open);
    }
    let (source, port) = place_of(place).ok_or(Line::Unreadable)?;
    Ok((source, port, What::Refused))
}

/// What is before and what is behind the first of these.
fn cut<'a>(text: &'a [u8], between: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = memmem::find(text, between)?;
    Some((&text[..at], &text[at + between.len()..]))
}

/// `192.0.2.1:5060`, `[2001:db8::1]:5060` or only the address.
fn place_of(text: &[u8]) -> Option<(IpAddr, Option<u16>)> {
    let text = std::str::from_utf8(text).ok()?;
    let (address, port) = match text.parse::<SocketAddr>() {
        Ok(place) => (place.ip(), Some(place.port())),
        Err(_) => (text.parse().ok()?, None),
    };
    Some((address.to_canonical(), port))
}
