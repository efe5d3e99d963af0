//! [`AsTable`]: which autonomous system announces an address, and what it is called.

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::str::FromStr;

use super::listing::Layer;
use super::names::shown;
use crate::steps::{Address, Range, Steps};

/// The number of an autonomous system; never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AsNumber(NonZeroU32);

/// A text that is not the number of an autonomous system.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not the number of an autonomous system: write AS64500")]
pub struct InvalidAsNumber(pub String);

impl AsNumber {
    /// The autonomous system of this number; `None` for 0.
    pub fn new(number: u32) -> Option<Self> {
        NonZeroU32::new(number).map(Self)
    }

    /// The number.
    pub fn get(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Display for AsNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AS{}", self.0)
    }
}

impl FromStr for AsNumber {
    type Err = InvalidAsNumber;

    /// Reads `AS64500`, in any case, or `64500`.
    fn from_str(text: &str) -> Result<Self, InvalidAsNumber> {
        let digits = match text.get(..2) {
            Some(prefix) if prefix.eq_ignore_ascii_case("as") => &text[2..],
            _ => text,
        };
        digits.parse().ok().map(Self).ok_or_else(|| InvalidAsNumber(text.to_owned()))
    }
}

/// Who announces an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Announcement<'a> {
    /// The number of the autonomous system.
    pub number: AsNumber,
    /// Its name; empty if the source has none.
    pub name: &'a str,
    /// The first address of the space around that it announces without a gap.
    pub first: IpAddr,
    /// The last address of that space.
    pub last: IpAddr,
}

/// The table: address -> autonomous system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AsTable {
    layer: Layer<Option<AsNumber>>,
    names: Names,
}

impl AsTable {
    /// The table of a layer, with names in ascending order of their numbers.
    pub fn new<'a>(
        layer: Layer<Option<AsNumber>>,
        names: impl IntoIterator<Item = (AsNumber, &'a str)>,
    ) -> Self {
        Self { layer, names: names.into_iter().collect() }
    }

    /// Who announces the address.
    pub fn lookup(&self, address: IpAddr) -> Option<Announcement<'_>> {
        let (first, last, number) = self.layer.step(address);
        number.map(|number| Announcement { number, name: self.name(number), first, last })
    }

    /// The name of an autonomous system; empty if there is none.
    pub fn name(&self, number: AsNumber) -> &str {
        self.names.get(number)
    }

    /// Every autonomous system with its name, ascending.
    pub fn names(&self) -> impl ExactSizeIterator<Item = (AsNumber, &str)> {
        self.names.iter()
    }

    /// The IPv4 space that an autonomous system announces, ascending.
    pub fn ranges_v4(&self, number: AsNumber) -> Vec<Range<u32>> {
        ranges(&self.layer.v4, number)
    }

    /// The IPv6 space that an autonomous system announces, ascending.
    pub fn ranges_v6(&self, number: AsNumber) -> Vec<Range<u128>> {
        ranges(&self.layer.v6, number)
    }

    /// The table itself.
    pub fn layer(&self) -> &Layer<Option<AsNumber>> {
        &self.layer
    }
}

fn ranges<A: Address>(steps: &Steps<A, Option<AsNumber>>, number: AsNumber) -> Vec<Range<A>> {
    let announced = steps.ranges().filter(|(_, value)| *value == Some(number));
    announced.map(|(range, _)| range).collect()
}

/// Names by number, in one piece of memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Names {
    numbers: Vec<AsNumber>,
    ends: Vec<usize>,
    text: String,
}

impl Names {
    fn get(&self, number: AsNumber) -> &str {
        self.numbers.binary_search(&number).map_or("", |index| self.at(index))
    }

    fn at(&self, index: usize) -> &str {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[start..self.ends[index]]
    }

    fn iter(&self) -> impl ExactSizeIterator<Item = (AsNumber, &str)> {
        self.numbers.iter().enumerate().map(|(index, number)| (*number, self.at(index)))
    }
}

impl<'a> FromIterator<(AsNumber, &'a str)> for Names {
    fn from_iter<I: IntoIterator<Item = (AsNumber, &'a str)>>(named: I) -> Self {
        let mut names = Self::default();
        for (number, name) in named {
            debug_assert!(names.numbers.last().is_none_or(|last| *last < number));
            names.numbers.push(number);
            names.text.extend(shown(name));
            names.ends.push(names.text.len());
        }
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_people_write_them() {
        for text in ["AS64500", "as64500", "64500"] {
            assert_eq!(text.parse::<AsNumber>().unwrap().to_string(), "AS64500");
        }
        for text in ["", "AS", "AS0", "0", "ASX", "-1", "4294967296", "é"] {
            assert_eq!(text.parse::<AsNumber>(), Err(InvalidAsNumber(text.to_owned())));
        }
    }

    #[test]
    fn systems_have_ranges_in_both_families() {
        let system = |number| AsNumber::new(number).unwrap();
        let v4 = vec![
            (Range { first: 10, last: 19 }, Some(system(1))),
            (Range { first: 20, last: 29 }, Some(system(2))),
            (Range { first: 40, last: u32::MAX }, Some(system(1))),
        ];
        let v6 = vec![(Range { first: 5, last: 5 }, Some(system(2)))];
        let layer = Layer { v4: Steps::from_ranges(None, v4), v6: Steps::from_ranges(None, v6) };
        let table = AsTable::new(layer, [(system(1), "ONE"), (system(3), "THREE")]);
        let ranges = [Range { first: 10, last: 19 }, Range { first: 40, last: u32::MAX }];
        assert_eq!(table.ranges_v4(system(1)), ranges);
        assert_eq!(table.ranges_v6(system(2)), [Range { first: 5, last: 5 }]);
        assert_eq!(table.ranges_v4(system(3)), []);
        assert_eq!((table.name(system(1)), table.name(system(2))), ("ONE", ""));
        assert_eq!(table.lookup("0.0.0.9".parse().unwrap()), None);
        assert_eq!(table.lookup("0.0.0.10".parse().unwrap()).unwrap().name, "ONE");
    }
}
