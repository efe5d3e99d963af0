//! [`Record`]: one exemption or ban as it was asked for.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::target::Target;
use crate::clock::UnixTime;

/// Which of the two a record is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "kebab-case")]
#[schema(as = RecordKind)]
pub enum Kind {
    /// It passes whatever its country.
    Exemption,
    /// It is dropped unless exempt or a peer.
    Ban,
}

/// Who asked for it. Each has its own records, so that none undoes another's.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    Default,
    ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// A person.
    #[default]
    Operator,
    /// fail2ban.
    Fail2ban,
    /// What the PBX is configured with.
    Pbx,
    /// The other hosts of the fleet.
    Fleet,
}

impl Origin {
    /// The first in order.
    pub(super) const FIRST: Self = Self::Operator;
    /// The last in order.
    pub(super) const LAST: Self = Self::Fleet;
}

/// A remark: one line of printable text.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Note(String);

/// A text that is no remark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a note is one line of at most {} characters", Note::LONGEST)]
pub struct InvalidNote;

impl Note {
    /// Most characters.
    pub const LONGEST: usize = 200;

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl TryFrom<String> for Note {
    type Error = InvalidNote;

    fn try_from(text: String) -> Result<Self, InvalidNote> {
        let fits = text.chars().count() <= Self::LONGEST && !text.chars().any(char::is_control);
        if fits { Ok(Self(text)) } else { Err(InvalidNote) }
    }
}

impl std::str::FromStr for Note {
    type Err = InvalidNote;

    fn from_str(text: &str) -> Result<Self, InvalidNote> {
        Self::try_from(text.to_owned())
    }
}

impl From<Note> for String {
    fn from(note: Note) -> Self {
        note.0
    }
}

/// One exemption or ban.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Whom it is for.
    pub target: Target,
    /// Who asked for it.
    pub origin: Origin,
    /// When it ends; never without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<UnixTime>,
    /// A remark.
    #[serde(default, skip_serializing_if = "Note::is_empty")]
    pub note: Note,
    /// When it was asked for.
    pub added: UnixTime,
}

impl Record {
    /// Whether it has not ended.
    pub fn holds(&self, now: UnixTime) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

/// The earlier of two ends.
pub(super) fn sooner(one: Option<UnixTime>, other: Option<UnixTime>) -> Option<UnixTime> {
    one.into_iter().chain(other).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_one_short_line() {
        assert!("ticket 7, ünïcode".parse::<Note>().is_ok());
        assert!("two\nlines".parse::<Note>().is_err());
        assert!("x".repeat(201).parse::<Note>().is_err());
        assert!("é".repeat(200).parse::<Note>().is_ok());
    }
}
