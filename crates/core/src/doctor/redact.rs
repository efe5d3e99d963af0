//! [`Redactor`]: takes out of a text whom it is about, and leaves placeholders, the same for the same, so
//! that relations stay readable.
//!
//! It would rather take out too much: what merely looks like an address, such as a version with four
//! parts, goes too.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

use crate::country::CountryCode;
use crate::decide::is_private;

/// The longest text of an address: a mapped IPv4 address in full.
const LONGEST: usize = 45;
/// Ends of names that are files, units and the like, not hosts.
const NO_HOSTS: [&str; 12] =
    ["conf", "d", "db", "json", "jsonl", "lock", "log", "pid", "service", "sock", "socket", "toml"];
/// The same where there is one label before, as in `jail.local`; `pbx.acme.local` is a host.
const SELDOM_HOSTS: [&str; 4] = ["local", "md", "rs", "so"];

/// Takes out addresses and names. One redactor is for one document.
pub struct Redactor<'a> {
    country: &'a dyn Fn(IpAddr) -> CountryCode,
    /// In lower case, the longest first.
    known: Vec<String>,
    /// Those of them with an address inside.
    known_with_address: Vec<String>,
    places: HashMap<String, usize>,
    names: HashMap<String, usize>,
}

impl<'a> Redactor<'a> {
    /// Takes out these names as well: extensions, trunks, hosts.
    pub fn new(
        country: &'a dyn Fn(IpAddr) -> CountryCode,
        names: impl IntoIterator<Item = String>,
    ) -> Self {
        let lower = names.into_iter().map(|name| name.trim().to_ascii_lowercase());
        let mut known: Vec<String> = lower.filter(|name| !name.is_empty()).collect();
        known.sort_by_key(|name| std::cmp::Reverse(name.len()));
        known.dedup();
        let (known_with_address, known) =
            known.into_iter().partition(|it| has_address_and_more(it));
        Self { country, known, known_with_address, places: HashMap::new(), names: HashMap::new() }
    }

    /// The text without them.
    pub fn text(&mut self, text: &str) -> String {
        // Of a name that has an address in it the rest would not be known any more.
        let known = std::mem::take(&mut self.known_with_address);
        let text = self.known_names(text, &known);
        self.known_with_address = known;
        let text = self.addresses(&text);
        let known = std::mem::take(&mut self.known);
        let text = self.known_names(&text, &known);
        self.known = known;
        let text = self.words(&text);
        // The number of a placeholder may have become the first group of an address.
        self.addresses(&text)
    }

    /// The same for every text in a document, and for the names of its fields as far as they are addresses.
    pub fn document(&mut self, value: serde_json::Value) -> serde_json::Value {
        use serde_json::Value;
        match value {
            Value::String(text) => Value::String(self.text(&text)),
            Value::Array(items) => items.into_iter().map(|item| self.document(item)).collect(),
            Value::Object(fields) => {
                let field =
                    |(name, value): (String, Value)| (self.addresses(&name), self.document(value));
                Value::Object(fields.into_iter().map(field).collect())
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => value,
        }
    }

    fn addresses(&mut self, text: &str) -> String {
        let mut result = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(letter) = rest.chars().next() {
            let length = match found(rest) {
                Some((Place::Hardware, length)) => {
                    result.push_str(&self.place("mac", &rest[..length], " (hardware)"));
                    length
                }
                Some((Place::Address(address), length)) => {
                    result.push_str(&self.address(address));
                    length
                }
                Some((Place::Odd, length)) => {
                    result.push_str(&self.place("address", &rest[..length], " (odd)"));
                    length
                }
                None => {
                    result.push(letter);
                    letter.len_utf8()
                }
            };
            rest = &rest[length..];
        }
        result
    }

    fn address(&mut self, address: IpAddr) -> String {
        let address = address.to_canonical();
        if address.is_unspecified() {
            return if address.is_ipv4() { "any (v4)" } else { "any (v6)" }.to_owned();
        }
        if address.is_loopback() {
            return "loopback".to_owned();
        }
        let label = match is_private(address) {
            true => " (private)".to_owned(),
            false => format!(" ({})", (self.country)(address)),
        };
        self.place("address", &address.to_string(), &label)
    }

    fn place(&mut self, kind: &str, place: &str, label: &str) -> String {
        let next = self.places.len() + 1;
        let number = *self.places.entry(place.to_ascii_lowercase()).or_insert(next);
        format!("{kind}-{number}{label}")
    }

    fn name(&mut self, name: &str) -> String {
        let next = self.names.len() + 1;
        format!("name-{}", *self.names.entry(name.to_ascii_lowercase()).or_insert(next))
    }

    /// A name for a word that is not one of ours already.
    fn hide(&mut self, word: &str) -> String {
        if word.is_empty() || is_placeholder(word) { word.to_owned() } else { self.name(word) }
    }

    /// Known names, wherever they are no part of a longer word.
    fn known_names(&mut self, text: &str, known: &[String]) -> String {
        let mut text = text.to_owned();
        for name in known {
            // A lower case of ASCII alone leaves every place where it was.
            let lower = text.to_ascii_lowercase();
            let inside = |letter: Option<char>| letter.is_some_and(|it| it.is_alphanumeric());
            let whole = |at: usize| {
                let after = lower[at + name.len()..].chars().next();
                !inside(lower[..at].chars().next_back()) && !inside(after)
            };
            let places: Vec<usize> =
                lower.match_indices(name).map(|(at, _)| at).filter(|at| whole(*at)).collect();
            for at in places.into_iter().rev() {
                let placeholder = self.name(name);
                text.replace_range(at..at + name.len(), &placeholder);
            }
        }
        text
    }

    /// What looks like a user or a host although nobody named it.
    fn words(&mut self, text: &str) -> String {
        let part = |letter: char| letter.is_alphanumeric() || "._-+%@".contains(letter);
        let mut result = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(start) = rest.find(part) {
            let word = &rest[start..];
            let word = &word[..word.find(|letter| !part(letter)).unwrap_or(word.len())];
            result.push_str(&rest[..start]);
            let in_path = result.ends_with('/') && !result.ends_with("://");
            let scheme = ["sip:", "sips:", "tel:"].iter().any(|it| ends_with(&result, it));
            match word.split_once('@') {
                Some((user, host)) => {
                    let (user, host) = (self.hide(user), self.hide(host));
                    result.push_str(&format!("{user}@{host}"));
                }
                None if scheme => result.push_str(&self.hide(word)),
                None if !in_path && is_host(word) => {
                    let name = word.trim_end_matches('.');
                    result.push_str(&self.name(name));
                    result.push_str(&word[name.len()..]);
                }
                None => result.push_str(word),
            }
            rest = &rest[start + word.len()..];
        }
        result + rest
    }
}

/// Whether there is an address in a name, and letters outside of it.
fn has_address_and_more(name: &str) -> bool {
    let (mut any, mut more, mut rest) = (false, false, name);
    while let Some(letter) = rest.chars().next() {
        let place = found(rest).map(|(_, length)| length);
        any |= place.is_some();
        more |= place.is_none() && letter.is_alphabetic();
        rest = &rest[place.unwrap_or(letter.len_utf8())..];
    }
    any && more
}

fn ends_with(text: &str, end: &str) -> bool {
    let from = text.len().checked_sub(end.len());
    from.and_then(|from| text.get(from..)).is_some_and(|tail| tail.eq_ignore_ascii_case(end))
}

fn is_placeholder(word: &str) -> bool {
    let is_number = |rest: &str| !rest.is_empty() && rest.bytes().all(|it| it.is_ascii_digit());
    let starts = ["address-", "name-", "mac-"].iter();
    matches!(word, "any" | "loopback")
        || starts.filter_map(|start| word.strip_prefix(start)).any(is_number)
}

/// Labels with dots between them, of which the last has letters alone and is no ending of files.
fn is_host(word: &str) -> bool {
    let Some((labels, last)) = word.trim_end_matches('.').rsplit_once('.') else { return false };
    let lower = last.to_ascii_lowercase();
    let last_is_domain = last.len() >= 2
        && last.chars().all(char::is_alphabetic)
        && !NO_HOSTS.contains(&lower.as_str())
        && (labels.contains('.') || !SELDOM_HOSTS.contains(&lower.as_str()));
    let is_label = |label: &str| {
        !label.is_empty() && label.chars().all(|it| it.is_alphanumeric() || matches!(it, '-' | '_'))
    };
    last_is_domain && labels.split('.').all(is_label)
}

/// What a text may begin with.
enum Place {
    Address(IpAddr),
    /// A MAC address.
    Hardware,
    /// Four groups of digits that are no address as it is written.
    Odd,
}

/// The longest place that a text begins with, and its length.
fn found(text: &str) -> Option<(Place, usize)> {
    let first = *text.as_bytes().first()?;
    (first.is_ascii_hexdigit() || first == b':').then_some(())?;
    if is_hardware(text) {
        return Some((Place::Hardware, HARDWARE));
    }
    let letters = text.bytes().take(LONGEST);
    let most = letters.take_while(|it| it.is_ascii_hexdigit() || matches!(it, b':' | b'.')).count();
    let parsed = (2..=most).rev().find_map(|length| {
        let address: IpAddr = text[..length].parse().ok()?;
        Some((Place::Address(address), length))
    });
    parsed.or_else(|| odd(&text[..most]))
}

/// The length of a MAC address.
const HARDWARE: usize = 17;

fn is_hardware(text: &str) -> bool {
    let Some(head) = text.as_bytes().get(..HARDWARE) else { return false };
    let separator = head[2];
    let ends = |it: &u8| it.is_ascii_hexdigit() || *it == separator;
    !text.as_bytes().get(HARDWARE).is_some_and(ends)
        && matches!(separator, b':' | b'-')
        && head.iter().enumerate().all(|(at, it)| match at % 3 {
            2 => *it == separator,
            _ => it.is_ascii_hexdigit(),
        })
}

/// `010.001.002.003`: some programs write addresses so.
fn odd(text: &str) -> Option<(Place, usize)> {
    let mut length = 0;
    let mut octets = [0; 4];
    for (index, octet) in octets.iter_mut().enumerate() {
        if index > 0 {
            (text.as_bytes().get(length) == Some(&b'.')).then_some(())?;
            length += 1;
        }
        let digits = text[length..].bytes().take(3).take_while(u8::is_ascii_digit).count();
        *octet = text[length..length + digits].parse::<u16>().ok()?;
        length += digits;
    }
    let bytes = octets.map(u8::try_from);
    let place = match bytes {
        [Ok(a), Ok(b), Ok(c), Ok(d)] => Place::Address(Ipv4Addr::new(a, b, c, d).into()),
        _ => Place::Odd,
    };
    Some((place, length))
}

#[cfg(test)]
mod tests;
