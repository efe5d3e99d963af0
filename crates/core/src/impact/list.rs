//! A list of addresses, one a line: [`Answers`] is what a policy does to every address, [`Tally`] counts what
//! it does to those of the list. The list comes in blocks of whole lines, which may be counted apart and put
//! together in any order.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::by_country;
use crate::country::{CODES, CountryId};
use crate::decide::{decide_entry, judged_address};
use crate::dxr::{CapacityExceeded, Dxr};
use crate::policy::{Policy, Verdict};
use crate::wire::{Preview, PreviewAddresses};
use crate::world::World;

/// What is longer is no address, whatever is in it.
pub const LONGEST_LINE: usize = 256;

/// What a policy does to an address.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answer {
    pub(super) country: CountryId,
    pub(super) dropped: bool,
    /// Whether it would be dropped if hosting networks were.
    pub(super) dropped_with_hosting: bool,
}

/// What a policy does to every address, in the form in which most addresses a second are looked up.
#[derive(Debug)]
pub struct Answers(Dxr<Answer>);

impl Answers {
    /// What this policy does.
    ///
    /// # Errors
    /// [`CapacityExceeded`] if the world has more borders than fit that form.
    pub fn new(policy: &Policy, world: &World) -> Result<Self, CapacityExceeded> {
        let with_hosting = Policy { hosting: Verdict::Drop, ..policy.clone() };
        let drops = |entry, policy| decide_entry(entry, policy).verdict == Verdict::Drop;
        let answers = Dxr::compile(world)?.map(|entry| Answer {
            country: entry.primary,
            dropped: drops(entry, policy),
            dropped_with_hosting: drops(entry, &with_hosting),
        });
        Ok(Self(answers))
    }

    pub(super) fn of(&self, address: IpAddr) -> Answer {
        self.0.lookup(judged_address(address))
    }
}

/// What was counted of a list so far.
#[derive(Debug, Clone)]
pub struct Tally {
    /// By country: seen, would be dropped.
    countries: Vec<(u64, u64)>,
    invalid: u64,
    first_invalid: Option<u64>,
}

impl Default for Tally {
    fn default() -> Self {
        Self { countries: vec![(0, 0); CODES.len()], invalid: 0, first_invalid: None }
    }
}

impl Tally {
    /// Counts a block of lines; `number` is that of the first.
    pub fn count(&mut self, block: &[u8], mut number: u64, answers: &Answers) {
        let mut rest = block;
        while !rest.is_empty() {
            rest = match plain(rest) {
                Some((address, rest)) => {
                    self.add(answers.of(address));
                    rest
                }
                None => {
                    let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
                    self.line(&rest[..end], number, answers);
                    rest.get(end + 1..).unwrap_or_default()
                }
            };
            number += 1;
        }
    }

    /// Adds what was counted apart.
    pub fn merge(&mut self, other: &Self) {
        for ((seen, dropped), (more, lost)) in self.countries.iter_mut().zip(&other.countries) {
            *seen += more;
            *dropped += lost;
        }
        self.invalid += other.invalid;
        self.first_invalid = self.first_invalid.into_iter().chain(other.first_invalid).min();
    }

    /// What it comes to.
    pub fn preview(&self) -> Preview {
        let countries = std::iter::once(CountryId::UNKNOWN).chain(CountryId::all());
        let by_country = by_country(countries.zip(self.countries.iter().copied()));
        let addresses = PreviewAddresses {
            total: by_country.iter().map(|row| row.total).sum(),
            dropped: by_country.iter().map(|row| row.dropped).sum(),
            invalid: self.invalid,
            first_invalid: self.first_invalid,
        };
        Preview { addresses, by_country, ..Preview::default() }
    }

    fn add(&mut self, Answer { country, dropped, .. }: Answer) {
        let (seen, lost) = &mut self.countries[country.index()];
        *seen += 1;
        *lost += u64::from(dropped);
    }

    /// An address with blanks around, nothing, or a comment; else it is invalid.
    fn line(&mut self, line: &[u8], number: u64, answers: &Answers) {
        let text = line.trim_ascii();
        if text.is_empty() || text[0] == b'#' {
            return;
        }
        let text = Some(text).filter(|_| line.len() <= LONGEST_LINE);
        let text = text.and_then(|text| std::str::from_utf8(text).ok());
        match text.and_then(|text| text.parse().ok()) {
            Some(address) => self.add(answers.of(address)),
            None => {
                self.invalid += 1;
                self.first_invalid = Some(self.first_invalid.map_or(number, |at| at.min(number)));
            }
        }
    }
}

/// The address that is the whole first line, and the lines after it: the common case, faster than the general
/// one. `None` if the line is anything else, or an address in an unusual form.
fn plain(lines: &[u8]) -> Option<(IpAddr, &[u8])> {
    let v4 = || dotted(lines).map(|(address, rest)| (IpAddr::V4(address), rest));
    let v6 = || grouped(lines).map(|(address, rest)| (IpAddr::V6(address), rest));
    let (address, rest) = v4().or_else(v6)?;
    match rest {
        [b'\n', rest @ ..] | [b'\r', b'\n', rest @ ..] | rest @ [] => Some((address, rest)),
        _ => None,
    }
}

/// The IPv4 address at the start, and what follows.
fn dotted(text: &[u8]) -> Option<(Ipv4Addr, &[u8])> {
    let (first, rest) = octet(text)?;
    let (second, rest) = octet(rest.strip_prefix(b".")?)?;
    let (third, rest) = octet(rest.strip_prefix(b".")?)?;
    let (fourth, rest) = octet(rest.strip_prefix(b".")?)?;
    Some((Ipv4Addr::new(first, second, third, fourth), rest))
}

/// Of 16 bits, in an IPv6 address.
const GROUPS: usize = 8;

/// The IPv6 address at the start, and what follows. `::` stands for one group or more.
fn grouped(text: &[u8]) -> Option<(Ipv6Addr, &[u8])> {
    let (mut groups, mut count, mut gap, mut rest) = ([0; GROUPS], 0, None, text);
    if let Some(after) = rest.strip_prefix(b"::") {
        (gap, rest) = (Some(0), after);
    }
    loop {
        match group(rest) {
            Some((group, after)) => {
                *groups.get_mut(count)? = group;
                (count, rest) = (count + 1, after);
            }
            None if gap == Some(count) => break,
            None => return None,
        }
        match rest {
            [b':', b':', after @ ..] if gap.is_none() => (gap, rest) = (Some(count), after),
            [b':', after @ ..] => rest = after,
            _ => break,
        }
    }
    match gap {
        Some(at) if count < GROUPS => groups[at..].rotate_right(GROUPS - count),
        None if count == GROUPS => {}
        Some(_) | None => return None,
    }
    Some((Ipv6Addr::from(groups), rest))
}

/// A number of one to four hexadecimal digits.
#[inline]
fn group(text: &[u8]) -> Option<(u16, &[u8])> {
    let (mut group, mut length) = (0, 0);
    while let Some(byte) = text.get(length).filter(|_| length < 4)
        && let digit = HEXADECIMAL[usize::from(*byte)]
        && digit < 16
    {
        group = group << 4 | u16::from(digit);
        length += 1;
    }
    (length > 0).then(|| (group, &text[length..]))
}

/// The value of a byte as a hexadecimal digit; 16 if it is none.
const HEXADECIMAL: [u8; 256] = {
    let (mut values, mut digit) = ([16; 256], 0);
    while digit < 16 {
        let letter = b"0123456789abcdef"[digit];
        values[letter as usize] = digit as u8;
        values[letter.to_ascii_uppercase() as usize] = digit as u8;
        digit += 1;
    }
    values
};

/// A number of one to three digits, none of them a leading zero.
#[inline]
fn octet(text: &[u8]) -> Option<(u8, &[u8])> {
    let digit =
        |at: usize| text.get(at).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit < 10);
    let first = digit(0)?;
    let Some(second) = digit(1) else { return Some((first, &text[1..])) };
    let two = first * 10 + second;
    let octet = match digit(2) {
        None => (two, &text[2..]),
        Some(third) => (two.checked_mul(10)?.checked_add(third)?, &text[3..]),
    };
    (first > 0).then_some(octet)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::apply::nothing_selected;
    use crate::country::select;
    use crate::geodata::embedded;
    use crate::policy::Mode;

    fn count(block: &[u8]) -> PreviewAddresses {
        let answers = Answers::new(&nothing_selected(), &embedded::world().unwrap().world);
        let mut tally = Tally::default();
        tally.count(block, 1, &answers.unwrap());
        tally.preview().addresses
    }

    #[test]
    fn lines_are_addresses_or_counted() {
        let addresses = count(
            b"192.0.2.1\r\n\n# comment\n  2001:db8::1  \nhello\n192.0.2.256\n1.2.3\n01.2.3.4\n192.0.2.9",
        );
        assert_eq!((addresses.total, addresses.invalid), (3, 4));
        assert_eq!(addresses.first_invalid, Some(5));
        let none = count(b"");
        assert_eq!((none.total, none.invalid, none.first_invalid), (0, 0, None));
        let last = count(b"\xef\xbb\xbf192.0.2.1\n\t192.0.2.1 \n192.0.2.1\r");
        assert_eq!((last.total, last.invalid), (2, 1));
    }

    #[test]
    fn a_long_line_is_no_address() {
        let long = [&b"192.0.2.1"[..], &[b' '; LONGEST_LINE], b"\n192.0.2.1\n"].concat();
        let addresses = count(&long);
        assert_eq!((addresses.total, addresses.invalid), (1, 1));
    }

    #[test]
    fn blocks_counted_apart_come_to_the_same() {
        let world = embedded::world().unwrap().world;
        let policy = Policy::new(Mode::AllowSelected, select(["ES"]).unwrap());
        let answers = Answers::new(&policy, &world).unwrap();
        let blocks = ["80.58.61.250\n2001:41d0::1\n", "193.136.134.1\nx\n", "y\n10.0.0.1\n"];
        let mut whole = Tally::default();
        whole.count(blocks.concat().as_bytes(), 1, &answers);
        let mut merged = Tally::default();
        for (index, block) in blocks.iter().enumerate().rev() {
            let mut apart = Tally::default();
            apart.count(block.as_bytes(), index as u64 * 2 + 1, &answers);
            merged.merge(&apart);
        }
        assert_eq!(merged.preview(), whole.preview());
        assert_eq!(whole.preview().addresses.first_invalid, Some(4));
        assert_eq!((whole.preview().addresses.total, whole.preview().addresses.dropped), (4, 3));
    }

    /// Texts that are nearly addresses.
    fn nearly_an_address() -> impl Strategy<Value = String> {
        let part = prop_oneof![
            "[0-9]{1,4}",
            "[0-9a-fA-F]{0,5}",
            Just("::".to_owned()),
            Just("0".to_owned())
        ];
        let parts = prop::collection::vec(part, 1..10);
        (parts, prop_oneof![Just("."), Just(":")]).prop_map(|(parts, between)| parts.join(between))
    }

    fn assert_read_as_by_the_general_way(text: &str) {
        let address = text.parse::<IpAddr>().ok();
        for end in ["", "\n", "\r\n", "\nx"] {
            let line = format!("{text}{end}");
            if let Some((read, rest)) = plain(line.as_bytes()) {
                assert_eq!((Some(read), rest), (address, end.trim_start().as_bytes()), "{text}");
            }
        }
    }

    proptest! {
        #[test]
        fn the_fast_way_reads_nothing_else_than_the_general_one(text in nearly_an_address()) {
            assert_read_as_by_the_general_way(&text);
        }

        #[test]
        fn the_fast_way_reads_addresses(v4: Ipv4Addr, v6: Ipv6Addr, zeros in 0..128_u32, shift in 0..128_u32) {
            let sparse = Ipv6Addr::from(u128::from(v6) & (u128::MAX << zeros) >> shift);
            for address in [IpAddr::V4(v4), IpAddr::V6(v6), IpAddr::V6(sparse)] {
                let text = address.to_string();
                // An address of the one family within the other is rare.
                if !(address.is_ipv6() && text.contains('.')) {
                    prop_assert_eq!(plain(text.as_bytes()), Some((address, &b""[..])));
                }
                assert_read_as_by_the_general_way(&text.to_ascii_uppercase());
            }
        }
    }

    #[test]
    fn the_fast_way_knows_the_ends() {
        let addresses = [
            "0.0.0.0",
            "255.255.255.255",
            "10.0.0.10",
            "::",
            "::1",
            "1::",
            "1:2:3:4:5:6:7::",
            "::2:3:4:5:6:7:8",
            "1:2:3:4:5:6:7:8",
            "1:0002::aBcD",
        ];
        for text in addresses {
            let read = plain(text.as_bytes()).map(|(address, _)| address);
            assert_eq!(read, text.parse().ok(), "{text}");
        }
        let others = [
            "",
            ".",
            "1.2.3.4.",
            "1..2.3",
            "1.2.3.4.5",
            "00.1.2.3",
            "1.2.3.04",
            "256.1.1.1",
            "1.2.3.1000",
            ":",
            ":::",
            "1:::2",
            "1::2::3",
            "1:2:3:4:5:6:7",
            "1:2:3:4:5:6:7:8:9",
            "1:2:3:4:5:6:7::8",
            "::1:2:3:4:5:6:7:8",
            "1:",
            ":1",
            "1:2:3:4:5:6:7:",
            "12345::",
            "g::",
            "fe80::1%eth0",
        ];
        for text in others {
            assert_eq!(plain(text.as_bytes()), None, "{text}");
            assert!(text.parse::<IpAddr>().is_err(), "{text}");
        }
    }
}
