//! Reads delegated statistics, the lists in which the registries (RIRs) say what they gave to whom.
//!
//! A line is `registry|country|type|start|size|date|status`, with more fields in the extended form. The
//! size of an IPv4 block is a count of addresses, of an IPv6 block the length of its prefix. Blocks that
//! are available or reserved are not listed; allocated ones without a country are, as unknown.

use std::io::BufRead;
use std::net::IpAddr;

use super::fields::{ipv4, ipv6};
use super::fold::fold;
use super::line::{LineProblem, ParseError, each_data_line};
use super::listing::Listing;
use super::ranges::Ranges;

/// Reads a whole file; several may be joined into one.
///
/// # Errors
/// [`ParseError`] with the number of the line that cannot be read, or if no block is in it at all.
pub fn parse(file: impl BufRead) -> Result<Listing, ParseError> {
    let mut ranges = Ranges::default();
    each_data_line(file, |_, line| parse_line(line, &mut ranges))?;
    ranges.into_listing().ok_or(ParseError::Empty)
}

fn parse_line(line: &str, ranges: &mut Ranges) -> Result<(), LineProblem> {
    if is_version(line) || line.ends_with("summary") {
        return Ok(());
    }
    let mut fields = line.split('|').map(str::trim_ascii);
    let mut field = || fields.next().ok_or(LineProblem::TooFewFields);
    let (_registry, code, kind, start) = (field()?, field()?, field()?, field()?);
    let (size, _date, status) = (field()?, field()?, field()?);
    if !matches!(status, "allocated" | "assigned") {
        return Ok(());
    }
    let (first, last) = match kind {
        "ipv4" => block_v4(start, size)?,
        "ipv6" => block_v6(start, size)?,
        _ => return Ok(()),
    };
    let country = fold(code).ok_or_else(|| LineProblem::Country(code.to_owned()))?;
    ranges.push(first, last, country)
}

/// The first line begins with the version of the format in place of a registry: `2` or `2.3`.
fn is_version(line: &str) -> bool {
    line.starts_with(|letter: char| letter.is_ascii_digit())
}

fn block_v4(start: &str, size: &str) -> Result<(IpAddr, IpAddr), LineProblem> {
    let first = ipv4(start).ok_or_else(|| LineProblem::Address(start.to_owned()))?;
    let last = size
        .parse::<u32>()
        .ok()
        .and_then(|count| count.checked_sub(1))
        .and_then(|count| u32::from(first).checked_add(count));
    let last = last.ok_or_else(|| LineProblem::Size(size.to_owned()))?;
    Ok((first.into(), IpAddr::V4(last.into())))
}

fn block_v6(start: &str, size: &str) -> Result<(IpAddr, IpAddr), LineProblem> {
    let first = ipv6(start).ok_or_else(|| LineProblem::Address(start.to_owned()))?;
    let length = size.parse::<u32>().ok().filter(|length| *length <= 128);
    let length = length.ok_or_else(|| LineProblem::Size(size.to_owned()))?;
    let host = u128::MAX.checked_shr(length).unwrap_or(0);
    match u128::from(first) & host {
        0 => Ok((first.into(), IpAddr::V6((u128::from(first) | host).into()))),
        _ => Err(LineProblem::Size(size.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = "\
2|ripencc|20261001|4|19830705|20261001|+0200
ripencc|*|ipv4|*|3|summary
# comment
ripencc|FR|ipv4|2.0.0.0|1048576|20100712|allocated|f4f1
ripencc|UK|ipv4|2.16.0.0|768|20100712|assigned
ripencc|EU|ipv4|2.17.0.0|256|20100712|allocated
apnic||ipv4|2.18.0.0|256||available
iana|ZZ|ipv4|2.19.0.0|256||reserved
ripencc|DE|ipv6|2a00:1::|32|20100712|allocated
ripencc|DE|ipv6|2a00:2::1|128|20100712|assigned
ripencc|DE|asn|3333|1|20100712|allocated
";

    fn error(line: &str) -> String {
        parse(line.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn reads_blocks_and_passes_over_the_rest() {
        let listing = parse(SAMPLE.as_bytes()).unwrap();
        let at =
            |address: &str| listing.get(address.parse().unwrap()).map(|at| at.code().to_string());
        assert_eq!(at("2.0.0.0").as_deref(), Some("FR"));
        assert_eq!(at("2.15.255.255").as_deref(), Some("FR"));
        assert_eq!(at("2.16.2.255").as_deref(), Some("GB"));
        assert_eq!(at("2.16.3.0"), None);
        assert_eq!(at("2.17.0.9").as_deref(), Some("ZZ"));
        assert_eq!(at("2.18.0.9"), None);
        assert_eq!(at("2.19.0.9"), None);
        assert_eq!(at("2a00:1:ffff:ffff:ffff:ffff:ffff:ffff").as_deref(), Some("DE"));
        assert_eq!(at("2a00:2::1").as_deref(), Some("DE"));
        assert_eq!(at("2a00:2::2"), None);
    }

    #[test]
    fn errors_name_the_line_and_the_problem() {
        let cases = [
            (
                "2|ripencc|20261001|4|19830705|20261001|+0200\n",
                "there is not one line of data in it",
            ),
            ("ripencc|FR|ipv4|2.0.0.0", "line 1: there are fewer fields than the format has"),
            ("ripencc|FR|ipv4|2.0.0|256|20100712|allocated", "line 1: `2.0.0` is not an address"),
            (
                "ripencc|FR|ipv4|2.0.0.0|0|20100712|allocated",
                "line 1: `0` is not the size of a block that starts there",
            ),
            (
                "ripencc|FR|ipv4|255.255.255.0|257|20100712|allocated",
                "line 1: `257` is not the size of a block that starts there",
            ),
            (
                "ripencc|FR|ipv6|2a00::|129|20100712|allocated",
                "line 1: `129` is not the size of a block that starts there",
            ),
            (
                "ripencc|FR|ipv6|2a00::1|32|20100712|allocated",
                "line 1: `32` is not the size of a block that starts there",
            ),
            (
                "ripencc|France|ipv4|2.0.0.0|256|20100712|allocated",
                "line 1: `France` is not a country code",
            ),
        ];
        for (line, message) in cases {
            assert_eq!(error(line), message, "{line}");
        }
    }
}
