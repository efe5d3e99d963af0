//! Kamailio's control protocol: [`request`] makes the bytes to send, [`reply`] reads those that come back.
//!
//! A record is a byte, a value and, if the value's size does not fit into three bits, the size between
//! them. Structures are not built up, only walked through, so no nesting is too deep.

use super::printable;

/// The longest header: magic and version, kind and sizes, the length, the cookie.
pub const HEADER: usize = 10;

const MAGIC: u8 = 0xa1;
const COOKIE: [u8; 4] = *b"gfil";
const TEXT: u8 = 1;

/// Why a reply is of no use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// It is something else, or it ends too early.
    #[error("the answer is not binrpc")]
    Malformed,
    /// Kamailio refused, with this reason.
    #[error("Kamailio answered: {0}")]
    Fault(String),
}

/// What a structure holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Text.
    Text(String),
    /// A whole number.
    Number(i64),
    /// A structure or a list; what is in it follows.
    Open,
}

/// A value and its name, if it has one.
pub type Item = (String, Value);

/// The request for a command without arguments, whose name is short.
pub fn request(command: &str) -> Vec<u8> {
    let mut body = Vec::new();
    let length = (command.len() + 1).min(usize::from(u8::MAX)) as u8;
    body.extend([0x90 | TEXT, length]);
    body.extend(command.bytes().take(usize::from(length) - 1).chain([0]));
    // A request, one byte of length, four of cookie.
    let mut bytes = vec![MAGIC, 0x03, body.len() as u8];
    bytes.extend(COOKIE);
    bytes.extend(body);
    bytes
}

/// How long the whole reply is, once this much of it is there; `None` as long as it can't be told.
///
/// # Errors
/// [`Wrong::Malformed`].
pub fn length(start: &[u8]) -> Result<Option<usize>, Wrong> {
    Ok(header(start)?.map(|header| header.size + header.body))
}

struct Header {
    fault: bool,
    size: usize,
    body: usize,
}

fn header(start: &[u8]) -> Result<Option<Header>, Wrong> {
    let [magic, kind, rest @ ..] = start else { return Ok(None) };
    if *magic != MAGIC || !matches!(kind >> 4, 1 | 3) {
        return Err(Wrong::Malformed);
    }
    let (length, cookie) = (usize::from(kind >> 2 & 3) + 1, usize::from(kind & 3) + 1);
    let Some(digits) = rest.get(..length) else { return Ok(None) };
    let body = digits.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
    Ok(Some(Header { fault: kind >> 4 == 3, size: 2 + length + cookie, body }))
}

/// What a reply holds, in its order.
///
/// # Errors
/// [`Wrong`].
pub fn reply(bytes: &[u8]) -> Result<Vec<Item>, Wrong> {
    let header = header(bytes)?.ok_or(Wrong::Malformed)?;
    let body = bytes.get(header.size..header.size + header.body).ok_or(Wrong::Malformed)?;
    let items = items(body)?;
    if header.fault {
        let said = items.iter().find_map(|(_, value)| match value {
            Value::Text(text) => Some(printable(text)),
            Value::Number(_) | Value::Open => None,
        });
        return Err(Wrong::Fault(said.unwrap_or_default()));
    }
    Ok(items)
}

fn items(mut rest: &[u8]) -> Result<Vec<Item>, Wrong> {
    const STRUCT: u8 = 3;
    const ARRAY: u8 = 4;
    const NAME: u8 = 5;
    let mut items = Vec::new();
    let mut name = String::new();
    while let Some((first, after)) = rest.split_first() {
        let (kind, long) = (first & 0x0f, first & 0x80 != 0);
        let size = usize::from(first >> 4 & 7);
        if matches!(kind, STRUCT | ARRAY) {
            // The long form ends it.
            if !long {
                items.push((std::mem::take(&mut name), Value::Open));
            }
            rest = after;
            continue;
        }
        let (value, after) = value(after, size, long).ok_or(Wrong::Malformed)?;
        rest = after;
        match kind {
            NAME => name = text(value),
            TEXT => items.push((std::mem::take(&mut name), Value::Text(text(value)))),
            0 => items.push((std::mem::take(&mut name), Value::Number(number(value)))),
            _ => name.clear(),
        }
    }
    Ok(items)
}

/// The bytes of a value, and those after it.
fn value(rest: &[u8], size: usize, long: bool) -> Option<(&[u8], &[u8])> {
    if long && size == 0 {
        // Eight bytes of a number: their size flows over into the bit before it, and nothing follows.
        return rest.split_at_checked(8);
    }
    let (digits, rest) = rest.split_at_checked(if long { size } else { 0 })?;
    let size = match long {
        true => digits
            .iter()
            .try_fold(0_usize, |sum, byte| sum.checked_mul(256)?.checked_add(usize::from(*byte)))?,
        false => size,
    };
    rest.split_at_checked(size)
}

fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value.strip_suffix(b"\0").unwrap_or(value)).into_owned()
}

fn number(value: &[u8]) -> i64 {
    value.iter().fold(0_i64, |sum, byte| sum.wrapping_shl(8) | i64::from(*byte))
}
