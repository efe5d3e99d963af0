//! Reads MaxMind DB files: countries (DB-IP, GeoLite2, IPinfo, ...) and autonomous systems (iptoasn).

use maxminddb::{LookupResult, MaxMindDbError, PathElement, Reader, WithinOptions};
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};

use super::asn::{AsNumber, AsTable};
use super::fold::fold;
use super::listing::{Layer, Listing};
use super::ranges::Ranges;
use crate::country::CountryId;

/// More networks than any such file has: one that claims more is broken or hostile.
const MAX_NETWORKS: usize = 16_000_000;

/// A MaxMind DB that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum MmdbError {
    /// Truncated, corrupt or of another format.
    #[error("not a readable MaxMind DB: {0}")]
    Unreadable(#[from] MaxMindDbError),
    /// A record names a country by something that is not a code.
    #[error("the record of {network} says `{code}`, which is not a country code")]
    Country {
        /// A network that has the record.
        network: String,
        /// What the record says.
        code: String,
    },
    /// Readable, but no network has what is looked for.
    #[error("no network in it has {0}")]
    Empty(&'static str),
    /// A tree without end.
    #[error("it claims more than {MAX_NETWORKS} networks")]
    TooMany,
}

/// Reads the country of every network: `country_code` as IPinfo has it, or `country.iso_code` as MaxMind
/// and DB-IP have it, or `country` where that is text, or `registered_country.iso_code` where there is no
/// other.
///
/// # Errors
/// [`MmdbError`] if the file is not a MaxMind DB, is damaged, or has no countries.
pub fn parse_countries(file: &[u8]) -> Result<Listing, MmdbError> {
    read(file, country)?.ok_or(MmdbError::Empty("a country"))
}

/// Reads the autonomous system of every network, and their names: `autonomous_system_number` and
/// `autonomous_system_organization` as MaxMind and iptoasn have them, or `asn` and `as_name` as IPinfo has
/// them.
///
/// # Errors
/// [`MmdbError`] if the file is not a MaxMind DB, is damaged, or has no autonomous systems.
pub fn parse_asns(file: &[u8]) -> Result<AsTable, MmdbError> {
    let mut names = BTreeMap::new();
    let layer: Option<Layer<Option<AsNumber>>> = read(file, |result| {
        let Some((number, name)) = system(result)? else { return Ok(None) };
        names.entry(number).or_insert_with(|| name.to_owned());
        Ok(Some(number))
    })?;
    let layer = layer.ok_or(MmdbError::Empty("an autonomous system"))?;
    Ok(AsTable::new(layer, names.iter().map(|(number, name)| (*number, name.as_str()))))
}

fn system<'a>(result: &LookupResult<'a, &[u8]>) -> Result<Option<(AsNumber, &'a str)>, MmdbError> {
    let text = |key| result.decode_path::<&str>(&[PathElement::Key(key)]);
    let number: Option<u32> =
        result.decode_path(&[PathElement::Key("autonomous_system_number")])?;
    let (number, name) = match number {
        Some(number) => (AsNumber::new(number), text("autonomous_system_organization")?),
        None => (text("asn")?.and_then(|number| number.parse().ok()), text("as_name")?),
    };
    Ok(number.map(|number| (number, name.unwrap_or_default())))
}

/// Reads what `value` makes of the record of every network. Many networks share a record, so each is
/// read once.
fn read<V: Copy + Eq>(
    file: &[u8],
    mut value: impl FnMut(&LookupResult<'_, &[u8]>) -> Result<Option<V>, MmdbError>,
) -> Result<Option<Layer<Option<V>>>, MmdbError> {
    let reader = Reader::from_source(file)?;
    let mut ranges = Ranges::default();
    let mut records: HashMap<Option<usize>, Option<V>> = HashMap::new();
    for (count, result) in reader.networks(WithinOptions::default())?.enumerate() {
        let result = result?;
        if count >= MAX_NETWORKS {
            return Err(MmdbError::TooMany);
        }
        let known = records.get(&result.offset()).copied();
        let value = match known {
            Some(value) => value,
            None => value(&result)?,
        };
        records.insert(result.offset(), value);
        if let Some(value) = value {
            let network = result.network()?;
            let (first, last) = (network.network(), network.broadcast());
            ranges.push(first, last, value).map_err(|_| MmdbError::TooMany)?;
        }
    }
    Ok(ranges.into_listing())
}

fn country(result: &LookupResult<'_, &[u8]>) -> Result<Option<CountryId>, MmdbError> {
    let place = |key| result.decode_path::<Place<'_>>(&[PathElement::Key(key)]);
    for key in ["country_code", "country", "registered_country"] {
        if let Some(code) = place(key)?.and_then(Place::code) {
            let network = || result.network().map_or_else(|_| String::new(), |at| at.to_string());
            let unreadable = || MmdbError::Country { network: network(), code: code.to_owned() };
            return fold(code).map(Some).ok_or_else(unreadable);
        }
    }
    Ok(None)
}

/// A country as a record has it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Place<'a> {
    Code(&'a str),
    Record {
        #[serde(borrow)]
        iso_code: Option<&'a str>,
    },
}

impl<'a> Place<'a> {
    fn code(self) -> Option<&'a str> {
        match self {
            Self::Code(code) => Some(code),
            Self::Record { iso_code } => iso_code,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Vec<u8> {
        let length = match text.len() as u8 {
            short @ ..29 => vec![0x40 | short],
            long => vec![0x40 | 29, long - 29],
        };
        [&length, text.as_bytes()].concat()
    }

    fn map(pairs: &[(&str, Vec<u8>)]) -> Vec<u8> {
        let pairs_of_bytes =
            pairs.iter().flat_map(|(key, value)| [text(key), value.clone()].concat());
        std::iter::once(0xe0 | pairs.len() as u8).chain(pairs_of_bytes).collect()
    }

    fn number(number: u32) -> Vec<u8> {
        [&[0xc4], &number.to_be_bytes()[..]].concat()
    }

    /// A file of one node: the lower half of IPv4 has the record, the upper half has none.
    fn file(record: Vec<u8>) -> Vec<u8> {
        let short = |number: u16| [&[0xa2], &number.to_be_bytes()[..]].concat();
        let metadata = map(&[
            ("binary_format_major_version", short(2)),
            ("binary_format_minor_version", short(0)),
            ("build_epoch", vec![0x01, 0x02, 0x07]),
            ("database_type", text("Test")),
            ("description", map(&[])),
            ("ip_version", short(4)),
            ("languages", vec![0x00, 0x04]),
            ("node_count", number(1)),
            ("record_size", short(24)),
        ]);
        let tree = [0, 0, 1 + 16, 0, 0, 1];
        [&tree[..], &[0; 16], &record, b"\xab\xcd\xefMaxMind.com", &metadata].concat()
    }

    fn countries(record: Vec<u8>) -> Result<Option<String>, String> {
        let listing = parse_countries(&file(record)).map_err(|error| error.to_string())?;
        assert_eq!(listing.v4.get(1 << 31), None);
        assert_eq!(listing.v6.get(0), None);
        Ok(listing.v4.get((1 << 31) - 1).map(|country| country.code().to_string()))
    }

    #[test]
    fn countries_are_where_the_publishers_put_them() {
        let code = |key, code| map(&[(key, text(code))]);
        let maxmind = map(&[("country", code("iso_code", "ES"))]);
        assert_eq!(countries(maxmind), Ok(Some("ES".to_owned())));
        let registered = map(&[("registered_country", code("iso_code", "PT"))]);
        assert_eq!(countries(registered), Ok(Some("PT".to_owned())));
        let ipinfo = map(&[("country", text("United Kingdom")), ("country_code", text("UK"))]);
        assert_eq!(countries(ipinfo), Ok(Some("GB".to_owned())));
        let both = map(&[
            ("continent", code("code", "EU")),
            (
                "country",
                map(&[("geoname_id", number(1)), ("iso_code", text("ES")), ("names", map(&[]))]),
            ),
            ("registered_country", code("iso_code", "PT")),
        ]);
        assert_eq!(countries(both), Ok(Some("ES".to_owned())));
        let nowhere =
            map(&[("country", code("names", "")), ("registered_country", code("iso_code", "PT"))]);
        assert_eq!(countries(nowhere), Ok(Some("PT".to_owned())));
        assert_eq!(countries(code("country", "ES")), Ok(Some("ES".to_owned())));
        let nonsense = countries(code("country_code", "Spain"));
        assert_eq!(
            nonsense.unwrap_err(),
            "the record of 0.0.0.0/1 says `Spain`, which is not a country code"
        );
        assert_eq!(countries(code("city", "Lima")).unwrap_err(), "no network in it has a country");
    }

    #[test]
    fn autonomous_systems_have_numbers_and_names() {
        let record = map(&[
            ("autonomous_system_number", number(64500)),
            ("autonomous_system_organization", text("EXAMPLE")),
        ]);
        let table = parse_asns(&file(record)).unwrap();
        let found = table.lookup("9.9.9.9".parse().unwrap()).unwrap();
        assert_eq!((found.number.get(), found.name), (64500, "EXAMPLE"));
        assert_eq!(found.last.to_string(), "127.255.255.255");
        assert_eq!(table.ranges_v4(found.number).len(), 1);
        assert_eq!(table.lookup("200.0.0.1".parse().unwrap()), None);
        let ipinfo = map(&[
            ("as_name", text("Example")),
            ("asn", text("AS64500")),
            ("country_code", text("ES")),
        ]);
        let table = parse_asns(&file(ipinfo)).unwrap();
        let found = table.lookup("9.9.9.9".parse().unwrap()).unwrap();
        assert_eq!((found.number.get(), found.name), (64500, "Example"));
        let nobody = parse_asns(&file(map(&[("asn", text(""))]))).unwrap_err().to_string();
        assert_eq!(nobody, "no network in it has an autonomous system");
    }

    #[test]
    fn what_is_no_database_is_refused() {
        for bytes in [&b""[..], b"1.0.0.0,1.0.0.255,AU", &file(map(&[]))[..60]] {
            let error = parse_countries(bytes).unwrap_err().to_string();
            assert!(error.starts_with("not a readable MaxMind DB"), "{error}");
        }
    }
}
