//! Reads MaxMind DB files: countries (DB-IP, GeoLite2, IPinfo, ...) and autonomous systems (iptoasn).

use maxminddb::{LookupResult, MaxMindDbError, PathElement, Reader, WithinOptions};
use std::collections::{BTreeMap, HashMap};

use super::asn::{AsNumber, AsTable};
use super::fold::fold;
use super::listing::{Layer, Listing, Ranges};
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

/// Reads the country of every network: `country.iso_code` as MaxMind and DB-IP have it, or
/// `country_code` as IPinfo has it, or `registered_country.iso_code` where there is no other.
///
/// # Errors
/// [`MmdbError`] if the file is not a MaxMind DB, is damaged, or has no countries.
pub fn parse_countries(file: &[u8]) -> Result<Listing, MmdbError> {
    read(file, country)?.ok_or(MmdbError::Empty("a country"))
}

/// Reads the autonomous system of every network, and their names.
///
/// # Errors
/// [`MmdbError`] if the file is not a MaxMind DB, is damaged, or has no autonomous systems.
pub fn parse_asns(file: &[u8]) -> Result<AsTable, MmdbError> {
    let mut names = BTreeMap::new();
    let layer: Option<Layer<Option<AsNumber>>> = read(file, |result| {
        let number: Option<u32> =
            result.decode_path(&[PathElement::Key("autonomous_system_number")])?;
        let name: Option<&str> =
            result.decode_path(&[PathElement::Key("autonomous_system_organization")])?;
        let number = number.and_then(AsNumber::new);
        if let Some(number) = number {
            names.entry(number).or_insert_with(|| name.unwrap_or_default().to_owned());
        }
        Ok(number)
    })?;
    let layer = layer.ok_or(MmdbError::Empty("an autonomous system"))?;
    Ok(AsTable::new(layer, names.iter().map(|(number, name)| (*number, name.as_str()))))
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
    const PATHS: [&[PathElement<'_>]; 3] = [
        &[PathElement::Key("country_code")],
        &[PathElement::Key("country"), PathElement::Key("iso_code")],
        &[PathElement::Key("registered_country"), PathElement::Key("iso_code")],
    ];
    for path in PATHS {
        let code: Option<&str> = result.decode_path(path)?;
        if let Some(code) = code {
            let network = || result.network().map_or_else(|_| String::new(), |at| at.to_string());
            let unreadable = || MmdbError::Country { network: network(), code: code.to_owned() };
            return fold(code).map(Some).ok_or_else(unreadable);
        }
    }
    Ok(None)
}
