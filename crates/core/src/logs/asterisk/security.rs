//! `SecurityEvent="…",EventTV="…",Severity="…",Service="…",EventVersion="…",AccountID="…",SessionID="…",
//! LocalAddress="…",RemoteAddress="IPV4/UDP/ip/port",…`, of `res_security_log`.
//!
//! Nothing is escaped. The session is the Call-ID, and some accounts are user names: both are the attacker's,
//! and both come before the address, so the last address counts. Some events end in what the client answered
//! (`Challenge`, `Response`, ...), and a nonce that is written in brackets may hold quotes. Where one of those
//! tells of two addresses, it can't be told which is true, and the line says nothing.

use std::net::IpAddr;

use memchr::{memchr, memmem, memrchr};

use crate::logs::{Event, Line, Stamp, Teller, What, account_hash};
use crate::policy::Transport;

const SESSION: &[u8] = b",SessionID=\"";
const LOCAL: &[u8] = b"\",LocalAddress=\"";
const REMOTE: &[u8] = b",RemoteAddress=\"";

/// What is done with an event of some kind.
enum Kind {
    Rejected,
    WrongSecret,
    Refused,
    /// Refused as well, and what the client sent follows the address.
    RefusedWithText,
    Challenge,
    Login,
    /// The host refused for its own sake.
    Limit,
}

fn kind(name: &[u8]) -> Option<Kind> {
    Some(match name {
        b"InvalidAccountID" | b"FailedACL" => Kind::Rejected,
        b"ChallengeResponseFailed" | b"InvalidPassword" => Kind::WrongSecret,
        b"UnexpectedAddress" => Kind::Refused,
        b"RequestNotSupported"
        | b"RequestNotAllowed"
        | b"AuthMethodNotAllowed"
        | b"RequestBadFormat"
        | b"InvalidTransport" => Kind::RefusedWithText,
        b"ChallengeSent" => Kind::Challenge,
        b"SuccessfulAuth" => Kind::Login,
        b"SessionLimit" | b"MemoryLimit" | b"LoadAverageLimit" => Kind::Limit,
        _ => return None,
    })
}

/// Reads an event.
pub(super) fn read(text: &[u8], time: Option<Stamp>) -> Line {
    let Some((name, service, rest)) = start(text) else { return Line::Unreadable };
    let Some((before, remote)) = addresses(rest) else { return Line::Open };
    let is_sip = matches!(service, b"PJSIP" | b"SIP");
    let Some(kind) = kind(name).filter(|_| is_sip) else { return Line::Nothing };
    let (what, doubtful) = match kind {
        Kind::Rejected => (What::Rejected(None), false),
        Kind::WrongSecret => {
            (What::WrongSecret { rejected: is_unknown(rest), request: None }, true)
        }
        Kind::Refused => (What::Refused, false),
        Kind::RefusedWithText => (What::Refused, true),
        Kind::Challenge => (What::Challenge { rejected: is_unknown(rest) }, false),
        Kind::Login => (What::Login(account(rest)), false),
        Kind::Limit => return Line::Nothing,
    };
    if doubtful && memmem::find(before, REMOTE).is_some() {
        return Line::Ambiguous;
    }
    match place(remote) {
        Some((source, port, transport)) => Line::Event(Event {
            time,
            source,
            port: Some(port),
            transport: Some(transport),
            account: Some(account_text(rest)).filter(|it| *it != UNKNOWN).map(account_hash),
            teller: Teller::Security,
            kept: false,
            what,
        }),
        None => Line::Unreadable,
    }
}

/// Whether it has what follows an account.
pub(super) fn closes(text: &[u8]) -> bool {
    addresses(text).is_some()
}

/// What is before the last address, and that address and what follows. In between two quotes a client could write
/// one that is sooner there, so all that comes between an account and it has to be there.
fn addresses(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = memmem::rfind(text, REMOTE)?;
    let (before, remote) = (&text[..at], &text[at + REMOTE.len()..]);
    let local = before.strip_suffix(b"\"")?;
    let start = memrchr(b'"', local)? + 1;
    place(&before[start..])?;
    let session = local[..start].strip_suffix(LOCAL)?;
    memmem::find(session, SESSION)?;
    Some((before, remote))
}

/// Event, service and what follows the service: the fields so far are Asterisk's own words.
fn start(text: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (event, rest) = field(text, b"SecurityEvent=\"")?;
    let (_, rest) = field(rest, b",EventTV=\"")?;
    let (_, rest) = field(rest, b",Severity=\"")?;
    let (service, rest) = field(rest, b",Service=\"")?;
    Some((event, service, rest))
}

fn field<'a>(text: &'a [u8], name: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let text = text.strip_prefix(name)?;
    let end = memchr(b'"', text)?;
    Some((&text[..end], &text[end + 1..]))
}

/// The account, behind the version. That of a login or of a failed answer is of the configuration.
fn account_text(rest: &[u8]) -> &[u8] {
    let account =
        field(rest, b",EventVersion=\"").and_then(|(_, rest)| field(rest, b",AccountID=\""));
    account.map_or(b"", |(account, _)| account)
}

fn account(rest: &[u8]) -> Box<str> {
    /// Names of endpoints are shorter.
    const MOST: usize = 64;
    let text = String::from_utf8_lossy(account_text(rest));
    text.chars().filter(|letter| !letter.is_control()).take(MOST).collect::<String>().into()
}

/// Stands in for accounts which don't exist or are not allowed.
const UNKNOWN: &[u8] = b"<unknown>";

fn is_unknown(rest: &[u8]) -> bool {
    account_text(rest) == UNKNOWN
}

/// `IPV4/UDP/192.0.2.1/5060"`.
fn place(text: &[u8]) -> Option<(IpAddr, u16, Transport)> {
    let text = &text[..memchr(b'"', text)?];
    let text = text.strip_prefix(b"IPV4/").or_else(|| text.strip_prefix(b"IPV6/"))?;
    let (transport, rest) = text.split_at(memchr(b'/', text)?);
    let transport = match transport {
        b"UDP" => Transport::Udp,
        _ => Transport::Tcp,
    };
    let rest = std::str::from_utf8(&rest[1..]).ok()?;
    let (address, port) = rest.rsplit_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    Some((address.to_canonical(), port.parse().ok()?, transport))
}
