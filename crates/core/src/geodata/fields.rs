//! What the readers of tables share: the fields of a line, where a header says the columns are, and how
//! networks are written.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::line::LineProblem;

/// How many fields of a line are looked at. No known table has more columns.
const MAX_FIELDS: usize = 16;

/// The fields of a line without the blanks and quotes around them. Within quotes a separator is text.
/// A quote within quotes stays doubled, and a field ends with its line.
pub(super) struct Fields<'a> {
    fields: [&'a str; MAX_FIELDS],
    count: usize,
}

impl<'a> Fields<'a> {
    /// Splits a line.
    pub(super) fn of(line: &'a str) -> Self {
        let mut split = Self { fields: [""; MAX_FIELDS], count: 0 };
        // What may stand between two fields; the first of them in a line is the one that counts there.
        let separator = memchr::memchr3(b',', b';', b'\t', line.as_bytes());
        let separator = separator.map(|at| line.as_bytes()[at]);
        let mut start = 0;
        for (field, end) in split.fields.iter_mut().zip(ends(line.as_bytes(), separator)) {
            *field = unquote(&line[start..end]);
            start = end + 1;
            split.count += 1;
        }
        split
    }

    /// All of them.
    pub(super) fn all(&self) -> &[&'a str] {
        &self.fields[..self.count]
    }

    /// The one at this place, counted from 0.
    pub(super) fn at(&self, place: usize) -> Result<&'a str, LineProblem> {
        self.all().get(place).copied().ok_or(LineProblem::TooFewFields)
    }

    /// Whether they are a header: the first is a word, such as `start_ip`.
    pub(super) fn is_header(&self) -> bool {
        self.fields[0].starts_with(|letter: char| letter.is_alphabetic())
            && !self.fields[0].contains(':')
    }

    /// The place of the column that has the first of these names, or else the next.
    pub(super) fn column(&self, names: &[&str]) -> Option<usize> {
        let named =
            |name: &&str| self.all().iter().position(|field| field.eq_ignore_ascii_case(name));
        names.iter().find_map(named)
    }

    /// The place of a column that must be there.
    pub(super) fn required(&self, name: &'static str) -> Result<usize, LineProblem> {
        self.column(&[name]).ok_or(LineProblem::Column(name))
    }
}

/// Where the fields of a line end.
fn ends(line: &[u8], separator: Option<u8>) -> impl Iterator<Item = usize> {
    let mut quoted = false;
    let separators = separator.map(|separator| {
        memchr::memchr2_iter(separator, b'"', line).filter(move |at| {
            quoted ^= line[*at] == b'"';
            line[*at] == separator && !quoted
        })
    });
    separators.into_iter().flatten().chain([line.len()])
}

/// The field without the blanks and quotes around it.
pub(super) fn unquote(field: &str) -> &str {
    let field = field.trim_ascii();
    field.strip_prefix('"').and_then(|field| field.strip_suffix('"')).unwrap_or(field)
}

/// An address. The library, which tries both families, takes longer.
pub(super) fn ip(text: &str) -> Option<IpAddr> {
    ipv4(text).map(IpAddr::V4).or_else(|| ipv6(text).map(IpAddr::V6))
}

/// An IPv4 address, as the library reads it: four decimal numbers without leading zeros.
pub(super) fn ipv4(text: &str) -> Option<Ipv4Addr> {
    let (mut octets, mut at) = ([0; 4], 0);
    let (mut octet, mut digits) = (0_u16, 0);
    for byte in text.bytes() {
        match byte {
            b'0'..=b'9' if digits == 0 || digits < 3 && octet > 0 => {
                octet = octet * 10 + u16::from(byte - b'0');
                digits += 1;
            }
            b'.' if digits > 0 && at < 3 => {
                octets[at] = u8::try_from(octet).ok()?;
                (at, octet, digits) = (at + 1, 0, 0);
            }
            _ => return None,
        }
    }
    octets[3] = u8::try_from(octet).ok()?;
    (at == 3 && digits > 0).then(|| octets.into())
}

/// An IPv6 address, as the library reads it, which takes longer: it looks for an IPv4 address in each group.
pub(super) fn ipv6(text: &str) -> Option<Ipv6Addr> {
    let (mut groups, mut count, mut gap) = ([0; 8], 0, None);
    let (mut group, mut digits) = (0, 0);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b':' if digits > 0 => {
                *groups.get_mut(count)? = group;
                (count, group, digits) = (count + 1, 0, 0);
            }
            b':' if at == 0 && text.starts_with("::") => {}
            b':' if at > 0 && gap.is_none() => gap = Some(count),
            b'.' => return text.parse().ok(),
            _ if digits < 4 => {
                group = group << 4 | (byte as char).to_digit(16)? as u16;
                digits += 1;
            }
            _ => return None,
        }
    }
    if digits > 0 {
        *groups.get_mut(count)? = group;
        count += 1;
    } else if gap != Some(count) {
        return None;
    }
    match gap {
        // It stands for one group at least.
        Some(gap) if count < groups.len() => {
            let after = groups.len() - (count - gap);
            groups.copy_within(gap..count, after);
            groups[gap..after].fill(0);
        }
        None if count == groups.len() => {}
        Some(_) | None => return None,
    }
    Some(groups.into())
}

/// The first and last address of a network: a prefix, or one address. IPv4 that is mapped into IPv6 is
/// IPv4.
pub(super) fn network(text: &str) -> Result<(IpAddr, IpAddr), LineProblem> {
    let ends = match text.split_once('/') {
        Some((address, length)) => prefix(address, length),
        None => ip(text).map(|address| (address, address)),
    };
    let (first, last) = ends.ok_or_else(|| LineProblem::Network(text.to_owned()))?;
    match (first.to_canonical(), last.to_canonical()) {
        (first @ IpAddr::V4(_), last @ IpAddr::V4(_)) => Ok((first, last)),
        _ => Ok((first, last)),
    }
}

fn prefix(address: &str, length: &str) -> Option<(IpAddr, IpAddr)> {
    let digits = length.bytes().all(|byte| byte.is_ascii_digit());
    let length: u32 = length.parse().ok().filter(|_| digits)?;
    match ip(address)? {
        IpAddr::V4(first) if length <= 32 => {
            let host = u32::MAX.checked_shr(length).unwrap_or(0);
            let first = u32::from(first);
            let ends = [first, first | host].map(|end| IpAddr::V4(Ipv4Addr::from(end)));
            (first & host == 0).then_some(ends.into())
        }
        IpAddr::V6(first) if length <= 128 => {
            let host = u128::MAX.checked_shr(length).unwrap_or(0);
            let first = u128::from(first);
            let ends = [first, first | host].map(|end| IpAddr::V6(Ipv6Addr::from(end)));
            (first & host == 0).then_some(ends.into())
        }
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_ipv4_address_is_what_the_library_takes_for_one(
            text in "[0-9]{0,4}(\\.[0-9]{0,4}){2,4}|[0-9.:a]{0,9}|[0-9]{1,3}(\\.(0|[1-9][0-9]{0,2})){3}"
        ) {
            prop_assert_eq!(ipv4(&text), text.parse().ok());
            prop_assert_eq!(ip(&text), text.parse().ok());
        }

        #[test]
        fn an_ipv6_address_is_what_the_library_takes_for_one(
            text in "[0-9a-fA-F:]{0,12}|([0-9a-f]{0,4}:){0,9}:?([0-9a-f]{1,5}:){0,7}([0-9a-f]{0,4}|1.2.3.[0-9]{1,3})|[:.0-9g%]{0,9}"
        ) {
            prop_assert_eq!(ipv6(&text), text.parse().ok());
        }

        #[test]
        fn an_ipv6_address_is_read_as_it_is_written(address: u128) {
            // Many have groups of zeros.
            for kept in [address, address & !(u128::MAX >> 64), address & 0xffff_0000_ffff, address & (0xffff << 112)] {
                let written = Ipv6Addr::from(kept);
                prop_assert_eq!(ipv6(&written.to_string()), Some(written));
            }
        }

        #[test]
        fn fields_without_quotes_are_what_lies_between_separators(line in "[a-c;, ]{0,40}") {
            let separator = if line.find([',', ';']).is_some_and(|at| &line[at..=at] == ";") { ';' } else { ',' };
            let expected: Vec<&str> = line.split(separator).map(str::trim).take(MAX_FIELDS).collect();
            let fields = Fields::of(&line);
            prop_assert_eq!(fields.all(), expected);
        }
    }

    #[test]
    fn fields_end_at_separators_outside_quotes() {
        let split = |line| Fields::of(line).all().to_vec();
        assert_eq!(split("a, b ,,c"), ["a", "b", "", "c"]);
        assert_eq!(split("\"1\";\"x;y\";z,"), ["1", "x;y", "z,"]);
        assert_eq!(
            split("1.0.0.0/24,\"Cloudflare, \"\"Inc\"\"\",x"),
            ["1.0.0.0/24", "Cloudflare, \"\"Inc\"\"", "x"]
        );
        assert_eq!(split("a\tb;c\t"), ["a", "b;c", ""]);
        assert_eq!(split("\"open,a"), ["\"open,a"]);
        assert_eq!(split(""), [""]);
    }

    #[test]
    fn columns_are_found_by_the_first_of_their_names() {
        let header = Fields::of("network,Country,country_code");
        assert!(header.is_header());
        assert_eq!(header.column(&["country_code", "country"]), Some(2));
        assert_eq!(header.column(&["cc", "country"]), Some(1));
        let missing = header.required("geoname_id").unwrap_err().to_string();
        assert_eq!(missing, "the header has no column `geoname_id`");
        let many = ",".repeat(100);
        assert_eq!(Fields::of(&many).at(MAX_FIELDS), Err(LineProblem::TooFewFields));
    }

    #[test]
    fn networks_are_prefixes_or_addresses() {
        let ends = |text| {
            let (first, last) = network(text).unwrap();
            format!("{first} {last}")
        };
        assert_eq!(ends("1.0.0.0/24"), "1.0.0.0 1.0.0.255");
        assert_eq!(ends("0.0.0.0/0"), "0.0.0.0 255.255.255.255");
        assert_eq!(ends("1.2.3.4/32"), "1.2.3.4 1.2.3.4");
        assert_eq!(ends("1.2.3.4"), "1.2.3.4 1.2.3.4");
        assert_eq!(ends("2a00::/127"), "2a00:: 2a00::1");
        assert_eq!(ends("::/0"), ":: ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
        assert_eq!(ends("::ffff:1.2.3.0/120"), "1.2.3.0 1.2.3.255");
        assert_eq!(ends("::/80"), ":: ::ffff:255.255.255.255");
        for text in
            ["", "/", "1.2.3.4/24", "1.2.3.0/33", "1.2.3.0/+24", "1.2.3.0/", "2a00::/129", "a"]
        {
            assert_eq!(network(text), Err(LineProblem::Network(text.to_owned())), "{text}");
        }
    }
}
