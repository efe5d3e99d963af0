//! Countries: [`CountryCode`] is what people and sources write, [`CountryId`] the dense index the
//! tables use, [`CountrySet`] a set of them. [`select`] reads what an operator writes, [`groups`] are the
//! words for many at once.

mod groups;
mod names;
mod select;

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use groups::{Group, groups};
use names::{ALIASES, NAMES};
pub use select::{SelectionError, select};

/// Every code GeoFilter knows, in the order of [`CountryId`]: `ZZ` (unknown) first, then ISO 3166-1
/// alpha-2 with `XK` in alphabetical order.
pub const CODES: [&str; 251] = [
    "ZZ", "AD", "AE", "AF", "AG", "AI", "AL", "AM", "AO", "AQ", "AR", "AS", "AT", "AU", "AW", "AX",
    "AZ", "BA", "BB", "BD", "BE", "BF", "BG", "BH", "BI", "BJ", "BL", "BM", "BN", "BO", "BQ", "BR",
    "BS", "BT", "BV", "BW", "BY", "BZ", "CA", "CC", "CD", "CF", "CG", "CH", "CI", "CK", "CL", "CM",
    "CN", "CO", "CR", "CU", "CV", "CW", "CX", "CY", "CZ", "DE", "DJ", "DK", "DM", "DO", "DZ", "EC",
    "EE", "EG", "EH", "ER", "ES", "ET", "FI", "FJ", "FK", "FM", "FO", "FR", "GA", "GB", "GD", "GE",
    "GF", "GG", "GH", "GI", "GL", "GM", "GN", "GP", "GQ", "GR", "GS", "GT", "GU", "GW", "GY", "HK",
    "HM", "HN", "HR", "HT", "HU", "ID", "IE", "IL", "IM", "IN", "IO", "IQ", "IR", "IS", "IT", "JE",
    "JM", "JO", "JP", "KE", "KG", "KH", "KI", "KM", "KN", "KP", "KR", "KW", "KY", "KZ", "LA", "LB",
    "LC", "LI", "LK", "LR", "LS", "LT", "LU", "LV", "LY", "MA", "MC", "MD", "ME", "MF", "MG", "MH",
    "MK", "ML", "MM", "MN", "MO", "MP", "MQ", "MR", "MS", "MT", "MU", "MV", "MW", "MX", "MY", "MZ",
    "NA", "NC", "NE", "NF", "NG", "NI", "NL", "NO", "NP", "NR", "NU", "NZ", "OM", "PA", "PE", "PF",
    "PG", "PH", "PK", "PL", "PM", "PN", "PR", "PS", "PT", "PW", "PY", "QA", "RE", "RO", "RS", "RU",
    "RW", "SA", "SB", "SC", "SD", "SE", "SG", "SH", "SI", "SJ", "SK", "SL", "SM", "SN", "SO", "SR",
    "SS", "ST", "SV", "SX", "SY", "SZ", "TC", "TD", "TF", "TG", "TH", "TJ", "TK", "TL", "TM", "TN",
    "TO", "TR", "TT", "TV", "TW", "TZ", "UA", "UG", "UM", "US", "UY", "UZ", "VA", "VC", "VE", "VG",
    "VI", "VN", "VU", "WF", "WS", "XK", "YE", "YT", "ZA", "ZM", "ZW",
];

/// ISO 3166-1 alpha-2, plus `XK`; `ZZ` is unknown. Always one of [`CODES`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, ToSchema)]
#[schema(value_type = String, example = "ES", pattern = "^[A-Z]{2}$")]
pub struct CountryCode([u8; 2]);

/// Dense index of a country in [`CODES`]; 0 is unknown.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct CountryId(u8);

/// The index of each pair of letters: a file of a source has a million codes.
const IDS: [[u8; 26]; 26] = {
    let mut ids = [[0; 26]; 26];
    let mut index = 1;
    while index < CODES.len() {
        let code = CODES[index].as_bytes();
        ids[(code[0] - b'A') as usize][(code[1] - b'A') as usize] = index as u8;
        index += 1;
    }
    ids
};

/// A two-letter code that is not in [`CODES`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a country code: use an ISO 3166-1 alpha-2 code such as ES")]
pub struct UnknownCode(pub String);

impl CountryId {
    /// No source knows the country.
    pub const UNKNOWN: Self = Self(0);

    /// The country at this index of [`CODES`].
    pub fn new(index: u8) -> Option<Self> {
        (usize::from(index) < CODES.len()).then_some(Self(index))
    }

    /// The index into [`CODES`].
    pub fn index(self) -> usize {
        usize::from(self.0)
    }

    /// The code of this country.
    pub fn code(self) -> CountryCode {
        let code = CODES[self.index()].as_bytes();
        CountryCode([code[0], code[1]])
    }

    /// The short English name.
    pub fn name(self) -> &'static str {
        NAMES[self.index()].1
    }

    /// Every country but unknown, in the order of [`CODES`].
    pub fn all() -> impl Iterator<Item = Self> {
        (1..CODES.len()).map(|index| Self(index as u8))
    }
}

impl CountryCode {
    /// Reads a code in any case.
    ///
    /// # Errors
    /// [`UnknownCode`] if the code is not in [`CODES`]; no folding happens here.
    pub fn parse(text: &str) -> Result<Self, UnknownCode> {
        let code = match text.as_bytes() {
            [first, second] => Self([first.to_ascii_uppercase(), second.to_ascii_uppercase()]),
            _ => return Err(UnknownCode(text.to_owned())),
        };
        let known = code.0 == *b"ZZ" || code.id() != CountryId::UNKNOWN;
        known.then_some(code).ok_or_else(|| UnknownCode(text.to_owned()))
    }

    /// The dense index of this code.
    pub fn id(self) -> CountryId {
        let [first, second] = self.0.map(|letter| usize::from(letter.wrapping_sub(b'A')));
        let id = IDS.get(first).and_then(|row| row.get(second));
        CountryId(id.copied().unwrap_or_default())
    }

    /// The two letters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("ZZ")
    }
}

impl fmt::Display for CountryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for CountryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for CountryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code().as_str())
    }
}

impl Serialize for CountryCode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for CountryCode {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// A set of countries. Never contains [`CountryId::UNKNOWN`]: the policy's `unknown` decides about it.
#[derive(Clone, Copy, PartialEq, Eq, Default, ToSchema)]
#[schema(value_type = Vec<CountryCode>)]
pub struct CountrySet([u64; 4]);

impl CountrySet {
    /// The set without a country.
    pub const EMPTY: Self = Self([0; 4]);

    /// Adds a country; unknown is ignored.
    pub fn insert(&mut self, country: CountryId) {
        if country != CountryId::UNKNOWN {
            self.0[country.index() / 64] |= 1 << (country.index() % 64);
        }
    }

    /// Removes a country.
    pub fn remove(&mut self, country: CountryId) {
        self.0[country.index() / 64] &= !(1 << (country.index() % 64));
    }

    /// Whether the country is in the set.
    pub fn contains(&self, country: CountryId) -> bool {
        self.0[country.index() / 64] >> (country.index() % 64) & 1 == 1
    }

    /// How many countries the set has.
    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Whether no country is in the set.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The countries, in the order of [`CODES`].
    pub fn iter(&self) -> impl Iterator<Item = CountryId> {
        CountryId::all().filter(|country| self.contains(*country))
    }
}

impl FromIterator<CountryId> for CountrySet {
    fn from_iter<I: IntoIterator<Item = CountryId>>(countries: I) -> Self {
        let mut set = Self::EMPTY;
        countries.into_iter().for_each(|country| set.insert(country));
        set
    }
}

impl fmt::Debug for CountrySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl Serialize for CountrySet {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(CountryId::code))
    }
}

impl<'de> Deserialize<'de> for CountrySet {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let codes = Vec::<CountryCode>::deserialize(deserializer)?;
        Ok(codes.into_iter().map(CountryCode::id).collect())
    }
}
