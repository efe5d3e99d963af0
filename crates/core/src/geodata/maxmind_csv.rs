//! Reads GeoLite2 and GeoIP2 Country as CSV: a file of networks for each family, which names places by
//! their numbers, and a file of [`Locations`], which says what country a number is.
//!
//! Columns are where the headers say (<https://dev.maxmind.com/geoip/docs/databases/city-and-country/>).

use std::collections::BTreeMap;
use std::io::BufRead;

use super::fields::{Fields, network};
use super::fold::fold;
use super::line::{LineProblem, ParseError, each_data_line};
use super::listing::Listing;
use super::ranges::Ranges;
use crate::country::CountryId;

/// More places than there are countries and continents by far: a file with more is another one.
const MAX_LOCATIONS: usize = 10_000;

/// The country of every number (`geoname_id`); unknown for a continent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Locations(BTreeMap<u32, CountryId>);

impl Locations {
    /// Reads `GeoLite2-Country-Locations-en.csv`, or the same in another language.
    ///
    /// # Errors
    /// [`ParseError`] with the number of the line that cannot be read, or if there is none at all.
    pub fn parse(file: impl BufRead) -> Result<Self, ParseError> {
        let mut locations = BTreeMap::new();
        let mut columns = None;
        each_data_line(file, |_, line| {
            let fields = Fields::of(line);
            let Some((number, country)) = columns else {
                let required = |name| fields.required(name);
                columns = Some((required("geoname_id")?, required("country_iso_code")?));
                return Ok(());
            };
            let (number, code) = (fields.at(number)?, fields.at(country)?);
            let number = number.parse().map_err(|_| LineProblem::Place(number.to_owned()))?;
            let country = fold(code).ok_or_else(|| LineProblem::Country(code.to_owned()))?;
            if locations.len() >= MAX_LOCATIONS {
                return Err(LineProblem::TooMany(MAX_LOCATIONS));
            }
            locations.insert(number, country);
            Ok(())
        })?;
        if locations.is_empty() { Err(ParseError::Empty) } else { Ok(Self(locations)) }
    }

    /// Reads `GeoLite2-Country-Blocks-IPv4.csv` or `…-IPv6.csv`. A network is in the country where it is,
    /// or where that is not known in the one where it is registered. Anonymous proxies and satellites are
    /// in none.
    ///
    /// # Errors
    /// [`ParseError`] with the number of the line that cannot be read, or if there is none at all.
    pub fn parse_networks(&self, file: impl BufRead) -> Result<Listing, ParseError> {
        let mut ranges = Ranges::default();
        let mut columns = None;
        each_data_line(file, |_, line| {
            let fields = Fields::of(line);
            let Some(columns) = &columns else {
                columns = Some(Columns::named(&fields)?);
                return Ok(());
            };
            let (first, last) = network(fields.at(columns.network)?)?;
            ranges.push(first, last, self.country(&fields, columns)?)
        })?;
        ranges.into_listing().ok_or(ParseError::Empty)
    }

    fn country(&self, line: &Fields<'_>, columns: &Columns) -> Result<CountryId, LineProblem> {
        for flag in columns.nowhere.into_iter().flatten() {
            if line.at(flag)? == "1" {
                return Ok(CountryId::UNKNOWN);
            }
        }
        match self.at(line.at(columns.place)?)? {
            CountryId::UNKNOWN => self.at(line.at(columns.registered)?),
            country => Ok(country),
        }
    }

    /// The country of a number as it is written; unknown if none is.
    fn at(&self, number: &str) -> Result<CountryId, LineProblem> {
        if number.is_empty() {
            return Ok(CountryId::UNKNOWN);
        }
        let country = number.parse().ok().and_then(|number: u32| self.0.get(&number).copied());
        country.ok_or_else(|| LineProblem::Place(number.to_owned()))
    }
}

/// Where the columns of a file of networks are, counted from 0.
struct Columns {
    network: usize,
    place: usize,
    registered: usize,
    /// Those whose networks are in no country.
    nowhere: [Option<usize>; 2],
}

impl Columns {
    fn named(header: &Fields<'_>) -> Result<Self, LineProblem> {
        Ok(Self {
            network: header.required("network")?,
            place: header.required("geoname_id")?,
            registered: header.required("registered_country_geoname_id")?,
            nowhere: ["is_anonymous_proxy", "is_satellite_provider"]
                .map(|name| header.column(&[name])),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LOCATIONS: &str = "\
geoname_id,locale_code,continent_code,continent_name,country_iso_code,country_name,is_in_european_union
2510769,en,EU,Europe,ES,Spain,1
2264397,en,EU,Europe,PT,Portugal,1
6255148,en,EU,Europe,,,0
7626844,en,NA,\"North America\",BQ,\"Bonaire, Sint Eustatius, and Saba\",0
";

    const HEADER: &str = "network,geoname_id,registered_country_geoname_id,\
        represented_country_geoname_id,is_anonymous_proxy,is_satellite_provider,is_anycast\n";

    fn locations() -> Locations {
        Locations::parse(LOCATIONS.as_bytes()).unwrap()
    }

    fn networks(rows: &str) -> Result<Listing, ParseError> {
        locations().parse_networks(format!("{HEADER}{rows}").as_bytes())
    }

    #[test]
    fn networks_are_where_they_are_or_where_they_are_registered() {
        let listing = networks(
            "2.136.0.0/24,2510769,2264397,,0,0,\n\
             2.136.1.0/24,,2264397,,0,0,\n\
             2.136.2.0/24,6255148,2264397,,0,0,\n\
             2.136.3.0/24,,,,0,0,\n\
             2.136.4.0/24,2510769,2510769,,1,0,\n\
             2.136.5.0/24,2510769,2510769,,0,1,\n\
             2a02::/24,7626844,,,0,0,1\n",
        )
        .unwrap();
        let at = |address: &str| {
            listing.get(address.parse().unwrap()).map(|country| country.code().to_string())
        };
        let codes = ["ES", "PT", "PT", "ZZ", "ZZ", "ZZ"];
        for (third, code) in codes.iter().enumerate() {
            assert_eq!(at(&format!("2.136.{third}.255")).as_deref(), Some(*code), "{third}");
        }
        assert_eq!(at("2a02:ff::").as_deref(), Some("BQ"));
        assert_eq!(at("2.136.6.0"), None);
    }

    #[test]
    fn errors_name_the_line_and_what_to_do() {
        let error = |rows: &str| networks(rows).unwrap_err().to_string();
        assert_eq!(error(""), "there is not one line of data in it");
        assert_eq!(
            error("2.136.0.0/24,99,,,0,0,\n"),
            "line 2: no location has the number `99`: use the locations of the same edition"
        );
        assert_eq!(
            error("2.136.0.0/24,2510769\n"),
            "line 2: there are fewer fields than the format has"
        );
        let swapped = locations().parse_networks(LOCATIONS.as_bytes()).unwrap_err();
        assert_eq!(swapped.to_string(), "line 1: the header has no column `network`");
        let other = Locations::parse(HEADER.as_bytes()).unwrap_err().to_string();
        assert_eq!(other, "line 1: the header has no column `country_iso_code`");
    }

    #[test]
    fn a_file_of_too_many_locations_is_refused() {
        let rows = (0..=MAX_LOCATIONS).map(|number| format!("{number},ES\n"));
        let file: String =
            std::iter::once("geoname_id,country_iso_code\n".to_owned()).chain(rows).collect();
        let error = Locations::parse(file.as_bytes()).unwrap_err().to_string();
        assert_eq!(error, "line 10002: there are more than 10000 of them");
    }

    proptest! {
        #[test]
        fn whatever_is_read_does_not_panic(rows in "([0-9a-f:./,\"\\n]{0,12}\\n?){0,9}") {
            drop(networks(&rows));
            drop(Locations::parse(format!("geoname_id,country_iso_code\n{rows}").as_bytes()));
        }
    }
}
