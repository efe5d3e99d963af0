//! [`AsClasses`]: what kind of network an autonomous system is, by `as.json` of ipverse's `as-metadata`
//! (CC0, <https://github.com/ipverse/as-metadata>), an array of 60 MB of which two fields are read.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;

use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};

use super::asn::AsNumber;

/// More systems than there are, by far: a file with more is broken or hostile.
const MAX_SYSTEMS: usize = 1_000_000;

/// So many bytes are read of a file. In 2026 it has 60 MB.
const MAX_FILE: u64 = 256 << 20;

/// What an autonomous system does in the first place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AsClass {
    /// It gives people access to the Internet.
    Isp,
    /// Hosting, cloud or content.
    Hosting,
    /// A company or a society, on its own account.
    Business,
    /// A school, a university, research.
    EducationResearch,
    /// A state or its offices.
    GovernmentAdmin,
    /// A class that came later than this program.
    #[serde(other)]
    Other,
}

/// The classes of the autonomous systems that have one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AsClasses(BTreeMap<AsNumber, AsClass>);

/// A file of classes that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum AsClassesError {
    /// Not JSON, or not of this form; the error names line and column.
    #[error("it is not the as.json of as-metadata ({0}): fetch it again")]
    Json(#[from] serde_json::Error),
    /// Readable, but no system has a class.
    #[error("no autonomous system in it has a category: use an edition of 2026-02-08 or later")]
    Empty,
}

impl AsClasses {
    /// Reads a whole file, piece by piece. Give a buffered reader.
    ///
    /// # Errors
    /// [`AsClassesError`] if it is not such a file, breaks off, or has no classes.
    pub fn parse(file: impl Read) -> Result<Self, AsClassesError> {
        let mut json = serde_json::Deserializer::from_reader(file.take(MAX_FILE));
        let classes = json.deserialize_seq(Systems)?;
        json.end()?;
        if classes.is_empty() { Err(AsClassesError::Empty) } else { Ok(Self(classes)) }
    }

    /// The class of a system, if it is known.
    pub fn get(&self, number: AsNumber) -> Option<AsClass> {
        self.0.get(&number).copied()
    }
}

/// An element of the array.
#[derive(Deserialize)]
struct System {
    asn: u32,
    metadata: Option<Metadata>,
}

#[derive(Deserialize)]
struct Metadata {
    category: Option<AsClass>,
}

/// Reads the array and keeps the classes only.
struct Systems;

impl<'de> Visitor<'de> for Systems {
    type Value = BTreeMap<AsNumber, AsClass>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of autonomous systems")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
        let mut classes = BTreeMap::new();
        while let Some(System { asn, metadata }) = array.next_element()? {
            let class = metadata.and_then(|metadata| metadata.category);
            let class = class.filter(|class| *class != AsClass::Other);
            classes.extend(AsNumber::new(asn).zip(class));
            if classes.len() > MAX_SYSTEMS {
                return Err(serde::de::Error::custom("there are too many systems"));
            }
        }
        Ok(classes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SAMPLE: &str = r#"[
  {"asn": 0, "metadata": {"handle": "IANA-RSVD-0", "category": "isp"}, "stats": null},
  {"asn": 64500, "metadata": {"description": "A \"B\" \u00e9", "category": "hosting", "networkRole": "stub"},
   "stats": {"ipv4": {"prefixes": 12}, "connectivity": {"providerAsns": [174, 3356]}}, "lastAnnounced": "2026-01-04"},
  {"lastAnnounced": null, "metadata": {"category": "education_research"}, "asn": 64501},
  {"asn": 64502, "metadata": {"category": null}},
  {"asn": 64503, "metadata": {"category": "spaceship"}},
  {"asn": 64504, "metadata": null},
  {"asn": 64505}
]"#;

    fn error(text: &str) -> String {
        AsClasses::parse(text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn systems_have_classes_or_none() {
        let classes = AsClasses::parse(SAMPLE.as_bytes()).unwrap();
        let get = |number| classes.get(AsNumber::new(number).unwrap());
        assert_eq!(get(64500), Some(AsClass::Hosting));
        assert_eq!(get(64501), Some(AsClass::EducationResearch));
        for number in 64502..64507 {
            assert_eq!(get(number), None, "{number}");
        }
    }

    #[test]
    fn what_is_not_such_a_file_is_refused() {
        assert!(error("").starts_with("it is not the as.json of as-metadata (EOF while parsing"));
        assert!(
            error(r#"{"asn": 1}"#).contains("expected an array of autonomous systems at line 1")
        );
        assert!(error(r#"[{"asn": -1}]"#).contains("line 1 column"));
        assert!(error(&SAMPLE[..SAMPLE.len() - 2]).contains("EOF while parsing"));
        assert!(error(&format!("{SAMPLE}]")).contains("trailing characters"));
        assert!(error(&"[".repeat(1_000)).contains("line 1"));
        assert!(error(r#"[{"asn": 1}]"#).starts_with("no autonomous system in it has a category"));
    }

    proptest! {
        #[test]
        fn a_changed_file_does_no_harm(at in 0..SAMPLE.len(), byte in any::<u8>()) {
            let mut file = SAMPLE.as_bytes().to_vec();
            file[at] = byte;
            drop(AsClasses::parse(&file[..]));
        }
    }
}
