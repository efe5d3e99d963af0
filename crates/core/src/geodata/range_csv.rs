//! Reads lines of `start,end,country`, the form that DB-IP and many others publish.
//!
//! Addresses are written as usual or as decimal numbers; a pair of numbers that both fit IPv4 is IPv4.
//! Fields may be quoted and separated by commas, semicolons or tabs; fields after the third are not read.
//! A header, blank lines and lines that begin with `#` are passed over.

use std::net::{IpAddr, Ipv6Addr};

use super::fold::fold;
use super::line::{LineProblem, ParseError, lines, unquote};
use super::listing::{Listing, Ranges};

/// Reads a whole file.
///
/// # Errors
/// [`ParseError`] with the number of the line that cannot be read, or if there is none at all.
pub fn parse(text: &[u8]) -> Result<Listing, ParseError> {
    let mut ranges = Ranges::default();
    for line in lines(text) {
        let (number, line) = line?;
        if number == 1 && is_header(line) {
            continue;
        }
        parse_line(line, &mut ranges).map_err(|problem| ParseError::Line { number, problem })?;
    }
    ranges.into_listing().ok_or(ParseError::Empty)
}

fn parse_line(line: &str, ranges: &mut Ranges) -> Result<(), LineProblem> {
    let mut fields = line.split([',', ';', '\t']).map(unquote);
    let (Some(start), Some(end), Some(code)) = (fields.next(), fields.next(), fields.next()) else {
        return Err(LineProblem::TooFewFields);
    };
    let country = fold(code).ok_or_else(|| LineProblem::Country(code.to_owned()))?;
    let (first, last) = (address(start)?, address(end)?);
    let (first, last) = same_family(first, last)?;
    ranges.push(first, last, country)
}

/// Numbers on both ends share the family of the larger one.
fn same_family(first: Written, last: Written) -> Result<(IpAddr, IpAddr), LineProblem> {
    let is_v6 =
        |end: &Written| matches!(end, Written::Number(number) if u32::try_from(*number).is_err());
    let numbers_are_v6 = is_v6(&first) || is_v6(&last);
    Ok((first.resolve(numbers_are_v6), last.resolve(numbers_are_v6)))
}

/// An end of a range as it was written.
enum Written {
    Address(IpAddr),
    Number(u128),
}

impl Written {
    fn resolve(self, numbers_are_v6: bool) -> IpAddr {
        match self {
            Self::Address(address) => address.to_canonical(),
            Self::Number(number) => match u32::try_from(number) {
                Ok(number) if !numbers_are_v6 => IpAddr::V4(number.into()),
                _ => IpAddr::V6(Ipv6Addr::from(number)).to_canonical(),
            },
        }
    }
}

fn address(field: &str) -> Result<Written, LineProblem> {
    let number = || field.parse().ok().filter(|_| !field.starts_with('+')).map(Written::Number);
    let address = field.parse().ok().map(Written::Address);
    address.or_else(number).ok_or_else(|| LineProblem::Address(field.to_owned()))
}

/// Whether the first field is a word, such as `start_ip`.
fn is_header(line: &str) -> bool {
    let first = unquote(line.split([',', ';', '\t']).next().unwrap_or(line));
    first.starts_with(|letter: char| letter.is_alphabetic()) && !first.contains(':')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(listing: &Listing, address: &str) -> String {
        match listing.get(address.parse().unwrap()) {
            Some(country) => country.code().to_string(),
            None => "not listed".to_owned(),
        }
    }

    fn error(text: &str) -> String {
        parse(text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn reads_addresses_and_numbers_of_both_families() {
        let listing = parse(
            b"\xef\xbb\xbfstart,end,country\r\n\
              # a comment\r\n\
              1.0.0.0,1.0.0.255,AU\r\n\
              \r\n\
              \"16777472\",\"16778239\",\"CN\",\"China, People's Republic\"\r\n\
              2a00::;2a00:ffff:ffff:ffff:ffff:ffff:ffff:ffff;UK\n\
              50552053919387978162022445795852161024\t50552053919387978162022445795852161025\t-\n\
              ::ffff:9.0.0.0,::ffff:9.255.255.255,US",
        )
        .unwrap();
        assert_eq!(at(&listing, "0.255.255.255"), "not listed");
        assert_eq!(at(&listing, "1.0.0.0"), "AU");
        assert_eq!(at(&listing, "1.0.3.255"), "CN");
        assert_eq!(at(&listing, "1.0.4.0"), "not listed");
        assert_eq!(at(&listing, "9.1.2.3"), "US");
        assert_eq!(at(&listing, "2a00:1::"), "GB");
        assert_eq!(at(&listing, "2607:f8f0::"), "not listed");
        assert_eq!(at(&listing, "2608::"), "not listed");
    }

    #[test]
    fn the_smallest_range_wins() {
        let listing = parse(b"1.0.0.0,1.0.0.255,AU\n1.0.0.0,1.255.255.255,CN\n").unwrap();
        assert_eq!(at(&listing, "1.0.0.7"), "AU");
        assert_eq!(at(&listing, "1.0.1.0"), "CN");
    }

    #[test]
    fn whole_spaces_and_single_addresses() {
        let listing = parse(
            b"0.0.0.0,255.255.255.255,US\n255.255.255.255,255.255.255.255,FR\n0.0.0.0,0.0.0.0,ES\n\
              ::,ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff,DE\n::1,::1,IT\n",
        )
        .unwrap();
        assert_eq!(at(&listing, "0.0.0.0"), "ES");
        assert_eq!(at(&listing, "0.0.0.1"), "US");
        assert_eq!(at(&listing, "255.255.255.255"), "FR");
        assert_eq!(at(&listing, "::"), "DE");
        assert_eq!(at(&listing, "::1"), "IT");
        assert_eq!(at(&listing, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), "DE");
    }

    #[test]
    fn errors_name_the_line_and_the_problem() {
        let cases = [
            ("", "there is not one line of data in it"),
            ("start,end,cc\n", "there is not one line of data in it"),
            ("1.0.0.0,1.0.0.255,AU\n1.0.0.300,1.0.1.0,AU", "line 2: `1.0.0.300` is not an address"),
            ("1.0.0.0,1.0.0.255", "line 1: there are fewer fields than the format has"),
            ("1.0.0.0,1.0.0.255,Australia", "line 1: `Australia` is not a country code"),
            ("1.0.0.9,1.0.0.1,AU", "line 1: the range ends before it starts"),
            (
                "1.0.0.0,2a00::,AU",
                "line 1: the range starts in one address family and ends in the other",
            ),
            ("-1,5,AU", "line 1: `-1` is not an address"),
            (
                "1,999999999999999999999999999999999999999999,AU",
                "line 1: `999999999999999999999999999999999999999999` is not an address",
            ),
        ];
        for (text, message) in cases {
            assert_eq!(error(text), message, "{text}");
        }
        let binary = parse(b"1.0.0.0,1.0.0.255,AU\n\xff\xfe,1.0.0.1,AU").unwrap_err();
        assert_eq!(binary.to_string(), "line 2: the line is not text");
    }
}
