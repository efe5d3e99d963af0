//! Reads tables of `start,end,country` or `network,country`, the forms that DB-IP, IPinfo and many others
//! publish.
//!
//! Addresses are written as usual or as decimal numbers; a pair of numbers that both fit IPv4 is IPv4. A
//! network is a prefix or one address. Fields may be quoted and separated by commas, semicolons or tabs.
//! Columns are where a header says; where there is none, or none that is understood, they are in the order
//! above, and what follows the country is not read. Blank lines and lines that begin with `#` are passed
//! over.

use std::io::BufRead;
use std::net::{IpAddr, Ipv6Addr};

use super::fields::{Fields, ip, network};
use super::fold::fold;
use super::line::{LineProblem, ParseError, each_data_line};
use super::listing::Listing;
use super::ranges::Ranges;

/// Names of the columns, as publishers call them.
const START: &[&str] =
    &["start_ip", "ip_range_start", "range_start", "ip_start", "ip_from", "start"];
const END: &[&str] = &["end_ip", "ip_range_end", "range_end", "ip_end", "ip_to", "end"];
const NETWORK: &[&str] = &["network", "prefix", "cidr", "ip_range"];
const COUNTRY: &[&str] = &["country_code", "country_iso_code", "iso_code", "country"];

/// Reads a whole file.
///
/// # Errors
/// [`ParseError`] with the number of the line that cannot be read, or if there is none at all.
pub fn parse(file: impl BufRead) -> Result<Listing, ParseError> {
    let mut ranges = Ranges::default();
    let mut columns = None;
    let mut first = true;
    each_data_line(file, |_, line| {
        let fields = Fields::of(line);
        if std::mem::take(&mut first) && fields.is_header() {
            columns = Columns::named(&fields);
            return Ok(());
        }
        let columns = *columns.get_or_insert_with(|| Columns::guessed(&fields));
        let code = fields.at(columns.country)?;
        let country = fold(code).ok_or_else(|| LineProblem::Country(code.to_owned()))?;
        let (first, last) = columns.place.of(&fields)?;
        ranges.push(first, last, country)
    })?;
    ranges.into_listing().ok_or(ParseError::Empty)
}

/// Where the columns are, counted from 0.
#[derive(Clone, Copy)]
struct Columns {
    place: Place,
    country: usize,
}

impl Columns {
    /// As a header has them.
    fn named(header: &Fields<'_>) -> Option<Self> {
        Some(Self { place: Place::named(header)?, country: header.column(COUNTRY)? })
    }

    /// As a line of data has them: a prefix, or whatever comes before two letters, is a network.
    fn guessed(line: &Fields<'_>) -> Self {
        let is_prefix = line.all().first().is_some_and(|field| field.contains('/'));
        let is_code =
            |field: &&str| field.len() == 2 && field.bytes().all(|byte| byte.is_ascii_alphabetic());
        if is_prefix || line.all().get(1).is_some_and(is_code) {
            Self { place: Place::Network(0), country: 1 }
        } else {
            Self { place: Place::Ends(0, 1), country: 2 }
        }
    }
}

/// Which columns say where a range is, counted from 0.
#[derive(Clone, Copy)]
pub(super) enum Place {
    /// Its first and its last address.
    Ends(usize, usize),
    /// A network.
    Network(usize),
}

impl Place {
    /// The columns that a header names.
    pub(super) fn named(header: &Fields<'_>) -> Option<Self> {
        let ends = || Some(Self::Ends(header.column(START)?, header.column(END)?));
        header.column(NETWORK).map(Self::Network).or_else(ends)
    }

    /// The ends of the range that a line is about.
    pub(super) fn of(self, line: &Fields<'_>) -> Result<(IpAddr, IpAddr), LineProblem> {
        match self {
            Self::Network(place) => network(line.at(place)?),
            Self::Ends(start, end) => {
                same_family(address(line.at(start)?)?, address(line.at(end)?)?)
            }
        }
    }
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
    let address = ip(field).map(Written::Address);
    address.or_else(number).ok_or_else(|| LineProblem::Address(field.to_owned()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
            &b"\xef\xbb\xbfstart,end,country\r\n\
              # a comment\r\n\
              1.0.0.0,1.0.0.255,AU\r\n\
              \r\n\
              \"16777472\",\"16778239\",\"CN\",\"China, People's Republic\"\r\n\
              2a00::;2a00:ffff:ffff:ffff:ffff:ffff:ffff:ffff;UK\n\
              50552053919387978162022445795852161024\t50552053919387978162022445795852161025\t-\n\
              ::ffff:9.0.0.0,::ffff:9.255.255.255,US"[..],
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
        let listing = parse(&b"1.0.0.0,1.0.0.255,AU\n1.0.0.0,1.255.255.255,CN\n"[..]).unwrap();
        assert_eq!(at(&listing, "1.0.0.7"), "AU");
        assert_eq!(at(&listing, "1.0.1.0"), "CN");
    }

    #[test]
    fn whole_spaces_and_single_addresses() {
        let listing = parse(
            &b"0.0.0.0,255.255.255.255,US\n255.255.255.255,255.255.255.255,FR\n0.0.0.0,0.0.0.0,ES\n\
              ::,ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff,DE\n::1,::1,IT\n"[..],
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
    fn networks_stand_for_ranges() {
        let listing =
            parse(&b"1.0.0.0/24,AU\n1.0.1.7,CN,China\n2a00::/16,ES\n2a00:1::/32,\n"[..]).unwrap();
        assert_eq!(at(&listing, "1.0.0.255"), "AU");
        assert_eq!(at(&listing, "1.0.1.6"), "not listed");
        assert_eq!(at(&listing, "1.0.1.7"), "CN");
        assert_eq!(at(&listing, "2a00:2::"), "ES");
        assert_eq!(at(&listing, "2a00:1::"), "ZZ");
        let listing = parse(&b"9.9.9.9,US\n"[..]).unwrap();
        assert_eq!(at(&listing, "9.9.9.9"), "US");
    }

    #[test]
    fn columns_are_where_the_header_says() {
        let ipinfo =
            b"network,country,country_code,continent,continent_code,asn,as_name,as_domain\n\
            1.0.0.0/24,Australia,AU,Oceania,OC,AS13335,\"Cloudflare, Inc.\",cloudflare.com\n\
            1.0.1.0,\"Korea, Republic of\",KR,Asia,AS,,,\n\
            2001:db8::/32,,,,,,,\n";
        let listing = parse(&ipinfo[..]).unwrap();
        assert_eq!(at(&listing, "1.0.0.9"), "AU");
        assert_eq!(at(&listing, "1.0.1.0"), "KR");
        assert_eq!(at(&listing, "1.0.1.1"), "not listed");
        assert_eq!(at(&listing, "2001:db8::1"), "ZZ");
        let older = parse(&b"country,start_ip,end_ip\nJP,1.0.16.0,1.0.31.255\n"[..]).unwrap();
        assert_eq!(at(&older, "1.0.31.255"), "JP");
        let unknown = parse(&b"von,bis,land\n1.0.16.0,1.0.31.255,JP\n"[..]).unwrap();
        assert_eq!(at(&unknown, "1.0.31.255"), "JP");
    }

    proptest! {
        #[test]
        fn whatever_is_read_does_not_panic(text in "([0-9a-f:./,;\"\t\nAUst_network]{0,12}\n?){0,9}") {
            drop(parse(text.as_bytes()));
        }
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
            (
                "1.0.0.7/24,AU",
                "line 1: `1.0.0.7/24` is not a network: write it as 192.0.2.0/24 or 192.0.2.7",
            ),
            ("network,country\n1.0.0.0/24", "line 2: there are fewer fields than the format has"),
            ("-1,5,AU", "line 1: `-1` is not an address"),
            (
                "1,999999999999999999999999999999999999999999,AU",
                "line 1: `999999999999999999999999999999999999999999` is not an address",
            ),
        ];
        for (text, message) in cases {
            assert_eq!(error(text), message, "{text}");
        }
        let binary = parse(&b"1.0.0.0,1.0.0.255,AU\n\xff\xfe,1.0.0.1,AU"[..]).unwrap_err();
        assert_eq!(binary.to_string(), "line 2: the line is not text");
    }
}
