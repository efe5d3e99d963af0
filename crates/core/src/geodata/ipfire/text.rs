//! Reads the text export: blocks of `key: value`, with blank lines between them.
//!
//! A block that begins with `net:` is a network, with its `country:`, the `aut-num:` of who announces it,
//! and flags such as `is-anycast: yes`. One that begins with `aut-num:` gives a system its `name:`.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::net::IpAddr;

use super::super::asn::{AsNumber, AsTable};
use super::super::fields::network;
use super::super::fold::fold;
use super::super::line::{LineProblem, ParseError, each_line};
use super::super::listing::Listing;
use super::super::ranges::Ranges;
use crate::country::CountryId;

/// Flags of networks that are in no country.
const NOWHERE: [&str; 3] = ["is-anonymous-proxy", "is-satellite-provider", "is-anycast"];

/// Reads the country of every network.
///
/// # Errors
/// [`ParseError`] with the number of the line that cannot be read, or if there is no network at all.
pub fn parse_countries(file: impl BufRead) -> Result<Listing, ParseError> {
    let mut ranges = Ranges::default();
    let mut network = None;
    each_attribute(file, |block, attribute| {
        match (block, attribute) {
            (Block::Network(ends), Attribute::First) => network = Some((ends, Place::default())),
            (Block::Network(_), Attribute::Next("country", code)) => {
                let country = fold(code).ok_or_else(|| LineProblem::Country(code.to_owned()))?;
                network.iter_mut().for_each(|(_, place)| place.country = country);
            }
            (Block::Network(_), Attribute::Next(flag, "yes")) if NOWHERE.contains(&flag) => {
                network.iter_mut().for_each(|(_, place)| place.nowhere = true);
            }
            (Block::Network(_), Attribute::End) => {
                if let Some(((first, last), place)) = network.take() {
                    ranges.push(first, last, place.country())?;
                }
            }
            (Block::Network(_) | Block::System(_), _) => {}
        }
        Ok(())
    })?;
    ranges.into_listing().ok_or(ParseError::Empty)
}

/// Reads which system announces every network, and the names of the systems.
///
/// # Errors
/// [`ParseError`] with the number of the line that cannot be read, or if nobody announces anything.
pub fn parse_asns(file: impl BufRead) -> Result<AsTable, ParseError> {
    let mut ranges = Ranges::default();
    let mut names: BTreeMap<AsNumber, Box<str>> = BTreeMap::new();
    each_attribute(file, |block, attribute| {
        match (block, attribute) {
            (Block::Network((first, last)), Attribute::Next("aut-num", number)) => {
                let number = system(number)?;
                // Some have no block of their own.
                names.entry(number).or_default();
                ranges.push(first, last, number)?;
            }
            (Block::System(number), Attribute::Next("name", name)) => {
                names.insert(number, name.into());
            }
            (Block::Network(_) | Block::System(_), _) => {}
        }
        Ok(())
    })?;
    let layer = ranges.into_listing().ok_or(ParseError::Empty)?;
    Ok(AsTable::new(layer, names.iter().map(|(number, name)| (*number, &**name))))
}

/// Where a network is.
#[derive(Clone, Copy, Default)]
struct Place {
    country: CountryId,
    nowhere: bool,
}

impl Place {
    fn country(self) -> CountryId {
        if self.nowhere { CountryId::UNKNOWN } else { self.country }
    }
}

/// What a block is about.
#[derive(Clone, Copy)]
enum Block {
    Network((IpAddr, IpAddr)),
    System(AsNumber),
}

/// A line of a block.
#[derive(Clone, Copy)]
enum Attribute<'a> {
    /// The one that says what the block is about.
    First,
    /// Another, with its key and its value.
    Next(&'a str, &'a str),
    /// There is no other.
    End,
}

/// Calls `each` with every line of every block of a network or a system. Other blocks are passed over.
fn each_attribute(
    file: impl BufRead,
    mut each: impl FnMut(Block, Attribute<'_>) -> Result<(), LineProblem>,
) -> Result<(), ParseError> {
    let (mut inside, mut block) = (false, None);
    let mut lines = 0;
    each_line(file, |number, line| {
        lines = number;
        if line.starts_with('#') {
            return Ok(());
        }
        if line.is_empty() {
            inside = false;
            return block.take().map_or(Ok(()), |block| each(block, Attribute::End));
        }
        let (key, value) = line.split_once(':').ok_or(LineProblem::TooFewFields)?;
        let value = value.trim();
        if !std::mem::replace(&mut inside, true) {
            block = match key {
                "net" => Some(Block::Network(network(value)?)),
                "aut-num" => Some(Block::System(system(value)?)),
                _ => None,
            };
            return block.map_or(Ok(()), |block| each(block, Attribute::First));
        }
        block.map_or(Ok(()), |block| each(block, Attribute::Next(key, value)))
    })?;
    let end = block.map_or(Ok(()), |block| each(block, Attribute::End));
    end.map_err(|problem| ParseError::Line { number: lines, problem })
}

fn system(number: &str) -> Result<AsNumber, LineProblem> {
    number.parse().map_err(|_| LineProblem::AsNumber(number.to_owned()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EXPORT: &str = "\
#
# Location Database Export
#

aut-num:                 AS64500
name:                    EXAMPLE: one

aut-num:                 AS64501
name:                    OTHER

net:                     1.0.0.0/8
country:                 AU
aut-num:                 64500

net:                     1.1.0.0/16

net:                     1.2.0.0/16
country:                 UK
aut-num:                 64501
drop:                    yes

net:                     1.3.0.0/16
country:                 ES
is-anonymous-proxy:      yes

net:                     1.4.0.0/16
is-anycast:              yes
country:                 ES

net:                     2a00::/16
country:                 PT";

    #[test]
    fn networks_have_countries_unless_they_are_nowhere() {
        let listing = parse_countries(EXPORT.as_bytes()).unwrap();
        let at =
            |address: &str| listing.get(address.parse().unwrap()).map(|at| at.code().to_string());
        assert_eq!(at("1.0.0.1").as_deref(), Some("AU"));
        assert_eq!(at("1.1.0.1").as_deref(), Some("ZZ"));
        assert_eq!(at("1.2.0.1").as_deref(), Some("GB"));
        assert_eq!(at("1.3.0.1").as_deref(), Some("ZZ"));
        assert_eq!(at("1.4.0.1").as_deref(), Some("ZZ"));
        assert_eq!(at("1.5.0.1").as_deref(), Some("AU"));
        assert_eq!(at("2a00:1::").as_deref(), Some("PT"));
        assert_eq!(at("2.0.0.0"), None);
    }

    #[test]
    fn networks_are_announced_by_systems() {
        let table = parse_asns(EXPORT.as_bytes()).unwrap();
        let at = |address: &str| table.lookup(address.parse().unwrap()).map(|by| by.name);
        assert_eq!(at("1.0.0.1"), Some("EXAMPLE: one"));
        assert_eq!(at("1.1.0.1"), Some("EXAMPLE: one"));
        assert_eq!(at("1.2.0.1"), Some("OTHER"));
        assert_eq!(at("2a00::"), None);
    }

    #[test]
    fn errors_name_the_line() {
        let error = |text: &str| parse_countries(text.as_bytes()).unwrap_err().to_string();
        assert_eq!(error("# nothing\n"), "there is not one line of data in it");
        assert_eq!(error("aut-num: AS1\nname: X\n"), "there is not one line of data in it");
        assert_eq!(
            error("net: 1.0.0.0/8\nhello\n"),
            "line 2: there are fewer fields than the format has"
        );
        assert_eq!(
            error("net: 1.0.0.0/8\ncountry: Spain\n"),
            "line 2: `Spain` is not a country code"
        );
        assert_eq!(
            error("\nnet: 1.0.0.1/8\n"),
            "line 2: `1.0.0.1/8` is not a network: write it as 192.0.2.0/24 or 192.0.2.7"
        );
        let error = parse_asns(&b"net: 1.0.0.0/8\naut-num: x\n"[..]).unwrap_err().to_string();
        assert_eq!(error, "line 2: `x` is not the number of an autonomous system");
    }

    proptest! {
        #[test]
        fn whatever_is_read_does_not_panic(
            text in "((net|aut-num|country|is-anycast|name)?[: ]{0,2}[0-9a-fS:./]{0,9}\n{0,2}){0,9}",
        ) {
            drop(parse_countries(text.as_bytes()));
            drop(parse_asns(text.as_bytes()));
        }
    }
}
