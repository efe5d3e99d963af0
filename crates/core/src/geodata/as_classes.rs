//! [`AsClasses`]: what kind of network an autonomous system is, by `as.json` of ipverse's `as-metadata`
//! (CC0, <https://github.com/ipverse/as-metadata>), an array of 60 MB of which two fields are read.

use std::collections::BTreeMap;
use std::io::{self, Read};

use serde::Deserialize;

use super::asn::AsNumber;

/// More systems than there are, by far: a file with more is broken or hostile.
const MAX_SYSTEMS: usize = 1_000_000;

/// So much is read at once, in bytes.
const CHUNK: u64 = 64 << 10;

/// The largest system that is read, in bytes. The largest known has 4,000.
const MAX_SYSTEM: usize = 1 << 20;

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
    /// Not JSON, not of this form, or cut off.
    #[error("it is not the as.json of as-metadata (after byte {after}: {problem}): fetch it again")]
    Form {
        /// How far it could be read.
        after: u64,
        /// What is wrong there.
        problem: String,
    },
    /// The file cannot be read to its end.
    #[error("after byte {after} the file breaks off ({kind}): fetch it again")]
    Broken {
        /// How far it could be read.
        after: u64,
        /// What kind of failure it was.
        kind: io::ErrorKind,
    },
    /// Readable, but no system has a class.
    #[error("no autonomous system in it has a category: use an edition of 2026-02-08 or later")]
    Empty,
}

impl AsClasses {
    /// Reads a whole file, piece by piece.
    ///
    /// # Errors
    /// [`AsClassesError`] if it is not such a file, breaks off, or has no classes.
    pub fn parse(file: impl Read) -> Result<Self, AsClassesError> {
        let mut file = Window { file, held: Vec::new(), position: 0, before: 0 };
        let mut classes = BTreeMap::new();
        let mut next = file.sign()?;
        let mut expected = b'[';
        while next == Some(expected) {
            let System { asn, metadata } = file.system()?;
            let class = metadata.and_then(|metadata| metadata.category);
            let class = class.filter(|class| *class != AsClass::Other);
            classes.extend(AsNumber::new(asn).zip(class));
            if classes.len() > MAX_SYSTEMS {
                return Err(file.wrong("there are too many systems"));
            }
            next = file.sign()?;
            expected = b',';
        }
        if expected != b',' || next != Some(b']') || file.sign()?.is_some() {
            return Err(file.wrong("an array of systems should begin, go on or end there"));
        }
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

/// The part of a file that is held while a system is read from it: three times as quick as to read
/// systems from the file itself.
struct Window<R> {
    file: R,
    held: Vec<u8>,
    /// So much of `held` is read.
    position: usize,
    /// So many bytes were before `held`.
    before: u64,
}

impl<R: Read> Window<R> {
    /// The next byte that is no blank; `None` at the end.
    fn sign(&mut self) -> Result<Option<u8>, AsClassesError> {
        loop {
            let rest = &self.held[self.position..];
            match rest.iter().position(|byte| !byte.is_ascii_whitespace()) {
                Some(blanks) => {
                    self.position += blanks + 1;
                    return Ok(self.held.get(self.position - 1).copied());
                }
                None => self.position = self.held.len(),
            }
            if !self.read_on()? {
                return Ok(None);
            }
        }
    }

    /// The next system.
    fn system(&mut self) -> Result<System, AsClassesError> {
        loop {
            let rest = &self.held[self.position..];
            let mut json = serde_json::Deserializer::from_slice(rest).into_iter();
            let error = match json.next() {
                Some(Ok(system)) => {
                    self.position += json.byte_offset();
                    return Ok(system);
                }
                Some(Err(error)) if !error.is_eof() => return Err(self.wrong(error)),
                Some(Err(error)) => Some(error),
                None => None,
            };
            if !self.read_on()? {
                let end = || "a system should begin there".to_owned();
                return Err(self.wrong(error.map_or_else(end, |error| error.to_string())));
            }
        }
    }

    /// Holds the next chunk too, and no more what was read; `false` at the end, or if too much is held.
    fn read_on(&mut self) -> Result<bool, AsClassesError> {
        self.held.drain(..self.position);
        self.before += self.position as u64;
        self.position = 0;
        if self.held.len() >= MAX_SYSTEM {
            return Ok(false);
        }
        let after = self.before + self.held.len() as u64;
        let read = self.file.by_ref().take(CHUNK).read_to_end(&mut self.held);
        let read = read.map_err(|error| AsClassesError::Broken { after, kind: error.kind() })?;
        Ok(read > 0)
    }

    fn wrong(&self, problem: impl ToString) -> AsClassesError {
        AsClassesError::Form {
            after: self.before + self.position as u64,
            problem: problem.to_string(),
        }
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
    fn systems_lie_across_chunks() {
        let system =
            |number| format!("{{\"asn\": {number}, \"metadata\": {{\"category\": \"isp\"}}}}");
        let systems: Vec<_> = (1..=5_000).map(system).collect();
        let file = format!(" [ {} ]\n", systems.join(" ,\n"));
        assert!(file.len() as u64 > 3 * CHUNK);
        assert_eq!(AsClasses::parse(file.as_bytes()).unwrap().0.len(), 5_000);
        let chunks = io::Cursor::new(&file[..9]).chain(&file.as_bytes()[9..]);
        assert_eq!(AsClasses::parse(chunks).unwrap().0.len(), 5_000);
    }

    #[test]
    fn what_is_not_such_a_file_is_refused() {
        let form = "it is not the as.json of as-metadata (after byte";
        assert!(error("").starts_with(&format!("{form} 0: an array of systems should begin")));
        assert!(error(r#"{"asn": 1}"#).starts_with(&format!("{form} 1: an array")));
        assert!(error("[]").starts_with(form));
        assert!(error("[").starts_with(&format!("{form} 1: a system should begin there")));
        assert!(error(r#"[{"asn": -1}]"#).starts_with(&format!("{form} 1: invalid value")));
        assert!(error(&SAMPLE[..SAMPLE.len() - 2]).contains("an array of systems should"));
        assert!(error(&SAMPLE[..SAMPLE.len() - 6]).contains("EOF while parsing"));
        assert!(error(&format!("{SAMPLE}]")).contains("an array of systems should"));
        assert!(error(r#"[{"asn": 1}{"asn": 2}]"#).starts_with(&format!("{form} 12: an array")));
        assert!(error(&"[".repeat(1_000)).starts_with(form));
        assert!(error(r#"[{"asn": 1}]"#).starts_with("no autonomous system in it has a category"));
    }

    #[test]
    fn a_system_without_end_is_refused_before_it_is_kept() {
        let endless = (&b"[{\"asn\": 1, \"x\": \""[..]).chain(io::repeat(b'a'));
        let error = AsClasses::parse(endless).unwrap_err().to_string();
        assert!(error.contains("EOF while parsing a string"), "{error}");
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
