//! [`Corrections`]: what an administrator knows better than every source, as lines of
//! `prefix,country[,note]`.
//!
//! A prefix is written as 192.0.2.0/24 or, of one address, as 192.0.2.7. `ZZ` is the country of space that
//! shall be unknown. The most specific prefix decides. Notes are for people. A header, blank lines and
//! lines that begin with `#` are passed over.

use std::collections::BTreeMap;
use std::io::BufRead;

use super::fields::{Fields, network};
use super::line::{LineProblem, ParseError, each_data_line};
use super::listing::{Layer, Listing};
use super::ranges::Ranges;
use crate::country::{CountryCode, CountryId};

/// How many lines such a file may have. Who needs more has a source of their own.
pub const MAX_CORRECTIONS: usize = 100_000;

/// The country of every prefix that was corrected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Corrections(Listing);

impl Corrections {
    /// No correction at all.
    pub fn none() -> Self {
        Self(Layer::constant(None))
    }

    /// Reads a whole file. One without a correction is no error.
    ///
    /// # Errors
    /// [`ParseError`] with the number of the line that cannot be read, repeats a prefix, or is one too many.
    pub fn parse(file: impl BufRead) -> Result<Self, ParseError> {
        let mut corrected = BTreeMap::new();
        let mut ranges = Ranges::default();
        let mut first_line = true;
        each_data_line(file, |number, line| {
            let fields = Fields::of(line);
            if std::mem::take(&mut first_line) && fields.is_header() {
                return Ok(());
            }
            let prefix = fields.at(0)?;
            let (first, last) = network(prefix)?;
            if let Some(before) = corrected.insert((first, last), number) {
                return Err(LineProblem::Repeated { prefix: prefix.to_owned(), before });
            }
            if corrected.len() > MAX_CORRECTIONS {
                return Err(LineProblem::TooMany(MAX_CORRECTIONS));
            }
            ranges.push(first, last, country(fields.at(1)?)?)
        })?;
        Ok(ranges.into_listing().map_or_else(Self::none, Self))
    }

    /// The country that an address was given; `None` where nothing was corrected.
    pub fn layer(&self) -> &Listing {
        &self.0
    }
}

/// Stricter than what is read from sources: a code that nobody has is a slip of the pen.
fn country(code: &str) -> Result<CountryId, LineProblem> {
    match code {
        "UK" | "uk" => country("GB"),
        code => match CountryCode::parse(code) {
            Ok(code) => Ok(code.id()),
            Err(_) => Err(LineProblem::Country(code.to_owned())),
        },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_most_specific_prefix_decides() {
        let corrections = Corrections::parse(
            &b"prefix,country,note\n\
               # our branch in Lisbon\n\
               192.0.2.0/25,pt,\"leased line, since May\"\n\
               192.0.2.128/25,PT\n\
               192.0.2.0/24,ES\n\
               192.0.2.7,UK\n\
               2a00:1::/32;ZZ\n"[..],
        )
        .unwrap();
        let at = |address: &str| {
            corrections.layer().get(address.parse().unwrap()).map(|at| at.code().to_string())
        };
        assert_eq!(at("192.0.2.0").as_deref(), Some("PT"));
        assert_eq!(at("192.0.2.255").as_deref(), Some("PT"));
        assert_eq!(at("192.0.2.7").as_deref(), Some("GB"));
        assert_eq!(at("192.0.3.0"), None);
        assert_eq!(at("2a00:1::1").as_deref(), Some("ZZ"));
        assert_eq!(at("2a00:2::1"), None);
    }

    #[test]
    fn a_file_without_a_correction_corrects_nothing() {
        for text in ["", "# none\n", "prefix,country,note\n"] {
            assert_eq!(Corrections::parse(text.as_bytes()), Ok(Corrections::none()));
        }
    }

    #[test]
    fn errors_name_the_line_and_what_to_do() {
        let error = |text: &str| Corrections::parse(text.as_bytes()).unwrap_err().to_string();
        assert_eq!(
            error("192.0.2.7/24,ES"),
            "line 1: `192.0.2.7/24` is not a network: write it as 192.0.2.0/24 or 192.0.2.7"
        );
        assert_eq!(error("#\n192.0.2.7"), "line 2: there are fewer fields than the format has");
        assert_eq!(error("192.0.2.7,Spain"), "line 1: `Spain` is not a country code");
        assert_eq!(error("192.0.2.7,EU"), "line 1: `EU` is not a country code");
        assert_eq!(
            error("192.0.2.0/24,ES\n\n192.0.2.0/24,PT"),
            "line 3: `192.0.2.0/24` is in line 1 already: keep one of the two"
        );
    }

    #[test]
    fn a_file_of_too_many_lines_is_refused() {
        let lines = (0..=MAX_CORRECTIONS as u32)
            .map(|bits| format!("{},ES\n", std::net::Ipv4Addr::from(bits)));
        let error = Corrections::parse(lines.collect::<String>().as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), "line 100001: there are more than 100000 of them");
    }

    proptest! {
        #[test]
        fn whatever_is_read_does_not_panic(text in "([0-9a-f:./,\"]{0,12},?(ES|ZZ|UK|x)?\n?){0,9}") {
            drop(Corrections::parse(text.as_bytes()));
        }
    }
}
