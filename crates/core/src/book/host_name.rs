//! [`HostName`]: a name that DNS can be asked for.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest name that DNS carries.
const LONGEST: usize = 253;
const LONGEST_LABEL: usize = 63;

/// A fully qualified host name, in lower case and without the dot at its end.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostName(String);

/// Why a text is no host name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHostName {
    /// One label alone.
    #[error("has no dot: write the whole name, such as sip.example.com")]
    Unqualified,
    /// Too long as a whole.
    #[error("is longer than the {LONGEST} characters of a host name")]
    TooLong,
    /// An empty or too long part.
    #[error("has a part that is empty or longer than {LONGEST_LABEL} characters")]
    Part,
    /// A hyphen at the wrong place.
    #[error("has a part that begins or ends with a hyphen")]
    Hyphen,
    /// A service name.
    #[error("has an underscore: write the host name alone, its SRV records are asked for too")]
    Service,
    /// Letters beyond ASCII.
    #[error("is not ASCII: write its form that begins with xn--")]
    NotAscii,
    /// Anything else.
    #[error("has a character that host names don't have")]
    Character,
    /// Digits at the end.
    #[error("is neither an address nor a host name: a host name does not end in a number")]
    Number,
}

impl HostName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for HostName {
    type Err = InvalidHostName;

    fn from_str(text: &str) -> Result<Self, InvalidHostName> {
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        if !name.is_ascii() {
            return Err(InvalidHostName::NotAscii);
        }
        if name.len() > LONGEST {
            return Err(InvalidHostName::TooLong);
        }
        name.split('.').try_for_each(check_label)?;
        match name.rsplit_once('.') {
            None => Err(InvalidHostName::Unqualified),
            Some((_, last)) if last.bytes().all(|byte| byte.is_ascii_digit()) => {
                Err(InvalidHostName::Number)
            }
            Some(_) => Ok(Self(name)),
        }
    }
}

fn check_label(label: &str) -> Result<(), InvalidHostName> {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    match label {
        _ if label.is_empty() || label.len() > LONGEST_LABEL => Err(InvalidHostName::Part),
        _ if label.contains('_') => Err(InvalidHostName::Service),
        _ if !label.bytes().all(known) => Err(InvalidHostName::Character),
        _ if label.starts_with('-') || label.ends_with('-') => Err(InvalidHostName::Hyphen),
        _ => Ok(()),
    }
}

impl TryFrom<String> for HostName {
    type Error = InvalidHostName;

    fn try_from(text: String) -> Result<Self, InvalidHostName> {
        text.parse()
    }
}

impl From<HostName> for String {
    fn from(name: HostName) -> Self {
        name.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_one_form() {
        let name: HostName = "SIP.Example.COM.".parse().unwrap();
        assert_eq!(name.as_str(), "sip.example.com");
        let long = |labels: usize| vec!["a".repeat(31); labels].join(".");
        assert!(long(7).parse::<HostName>().is_ok());
        assert_eq!(long(8).parse::<HostName>(), Err(InvalidHostName::TooLong));
    }

    #[test]
    fn what_is_no_name_is_refused() {
        use InvalidHostName as Is;
        let label = "a".repeat(64);
        for (text, why) in [
            ("", Is::Part),
            ("localhost", Is::Unqualified),
            ("a..b", Is::Part),
            (&format!("{label}.com"), Is::Part),
            ("-a.com", Is::Hyphen),
            ("a-.com", Is::Hyphen),
            ("_sip._udp.example.com", Is::Service),
            ("münchen.example", Is::NotAscii),
            ("a b.com", Is::Character),
            ("sip:a.com", Is::Character),
            ("1.2.3.999", Is::Number),
            ("1.2.3", Is::Number),
        ] {
            assert_eq!(text.parse::<HostName>(), Err(why), "{text}");
        }
    }
}
