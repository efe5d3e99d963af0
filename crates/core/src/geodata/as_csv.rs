//! Reads tables that say which autonomous system announces what: iptoasn's
//! (`start,end,number,country,name`, separated by tabs, without a header) and those with a header, such as
//! those of IPinfo Lite and GeoLite2 ASN.

use std::collections::HashMap;
use std::io::BufRead;

use super::asn::{AsNumber, AsTable};
use super::fields::Fields;
use super::line::{LineProblem, ParseError, each_data_line};
use super::range_csv::Place;
use super::ranges::Ranges;

/// Names of the columns, as publishers call them.
const NUMBER: &[&str] = &["asn", "autonomous_system_number"];
const NAME: &[&str] = &["as_name", "autonomous_system_organization", "as_description"];

/// Reads a whole file. Space whose number is 0 or empty is announced by nobody.
///
/// # Errors
/// [`ParseError`] with the number of the line that cannot be read, or if nobody announces anything.
pub fn parse(file: impl BufRead) -> Result<AsTable, ParseError> {
    let mut ranges = Ranges::default();
    let mut names = HashMap::new();
    let mut columns = None;
    each_data_line(file, |_, line| {
        let fields = Fields::of(line);
        if columns.is_none() && fields.is_header() {
            columns = Some(Columns::named(&fields)?);
            return Ok(());
        }
        let columns = columns.get_or_insert(Columns::IPTOASN);
        let Some(number) = number(fields.at(columns.number)?)? else { return Ok(()) };
        let (first, last) = columns.place.of(&fields)?;
        ranges.push(first, last, number)?;
        names.entry(number).or_insert_with(|| columns.name(&fields));
        Ok(())
    })?;
    let layer = ranges.into_listing().ok_or(ParseError::Empty)?;
    let mut names: Vec<(AsNumber, Box<str>)> = names.into_iter().collect();
    names.sort_unstable_by_key(|(number, _)| *number);
    Ok(AsTable::new(layer, names.iter().map(|(number, name)| (*number, &**name))))
}

/// The number in a field; `None` for nobody.
fn number(field: &str) -> Result<Option<AsNumber>, LineProblem> {
    match field {
        "" | "0" | "AS0" => Ok(None),
        number => match number.parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(LineProblem::AsNumber(number.to_owned())),
        },
    }
}

/// Where the columns are, counted from 0.
struct Columns {
    place: Place,
    number: usize,
    name: Option<usize>,
}

impl Columns {
    const IPTOASN: Self = Self { place: Place::Ends(0, 1), number: 2, name: Some(4) };

    fn named(header: &Fields<'_>) -> Result<Self, LineProblem> {
        Ok(Self {
            place: Place::named(header).ok_or(LineProblem::Column("network"))?,
            number: header.column(NUMBER).ok_or(LineProblem::Column("asn"))?,
            name: header.column(NAME),
        })
    }

    fn name(&self, line: &Fields<'_>) -> Box<str> {
        let name = self.name.and_then(|name| line.at(name).ok()).unwrap_or_default();
        name.replace("\"\"", "\"").into()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(table: &AsTable, address: &str) -> String {
        match table.lookup(address.parse().unwrap()) {
            Some(by) => format!("{} {}", by.number, by.name),
            None => "nobody".to_owned(),
        }
    }

    #[test]
    fn reads_what_iptoasn_publishes() {
        let table = parse(
            &b"1.0.0.0\t1.0.0.255\t13335\tUS\tCLOUDFLARENET\n\
               1.0.1.0\t1.0.3.255\t0\tNone\tNot routed\n\
               2001:200::\t2001:200:ffff:ffff:ffff:ffff:ffff:ffff\t2500\tJP\tWIDE, \"BB\"\n"[..],
        )
        .unwrap();
        assert_eq!(at(&table, "1.0.0.255"), "AS13335 CLOUDFLARENET");
        assert_eq!(at(&table, "1.0.1.0"), "nobody");
        assert_eq!(at(&table, "2001:200::1"), "AS2500 WIDE, \"BB\"");
    }

    #[test]
    fn reads_what_ipinfo_publishes() {
        let table = parse(
            &b"network,country,country_code,continent,continent_code,asn,as_name,as_domain\n\
               1.0.0.0/24,Australia,AU,Oceania,OC,AS13335,\"Cloudflare, \"\"Inc\"\"\",cloudflare.com\n\
               1.0.1.0/24,China,CN,Asia,AS,,,\n\
               1.0.2.1,Japan,JP,Asia,AS,AS2519,ARTERIA,\n"[..],
        )
        .unwrap();
        assert_eq!(at(&table, "1.0.0.1"), "AS13335 Cloudflare, \"Inc\"");
        assert_eq!(at(&table, "1.0.1.0"), "nobody");
        assert_eq!(at(&table, "1.0.2.1"), "AS2519 ARTERIA");
        assert_eq!(at(&table, "1.0.2.2"), "nobody");
    }

    #[test]
    fn reads_what_maxmind_publishes() {
        let table = parse(
            &b"network,autonomous_system_number,autonomous_system_organization\n\
               1.0.0.0/24,13335,\"CLOUDFLARENET, Inc\"\n"[..],
        )
        .unwrap();
        assert_eq!(at(&table, "1.0.0.1"), "AS13335 CLOUDFLARENET, Inc");
    }

    #[test]
    fn errors_name_the_line_and_the_problem() {
        let error = |text: &str| parse(text.as_bytes()).unwrap_err().to_string();
        assert_eq!(error("1.0.0.0\t1.0.0.255\t0\tNone\t-"), "there is not one line of data in it");
        assert_eq!(
            error("1.0.0.0\t1.0.0.255\tX\tUS\tA"),
            "line 1: `X` is not the number of an autonomous system"
        );
        assert_eq!(error("network,name\n"), "line 1: the header has no column `asn`");
        assert_eq!(error("asn,name\n"), "line 1: the header has no column `network`");
    }

    proptest! {
        #[test]
        fn whatever_is_read_does_not_panic(text in "([0-9a-fS:./,\"\t\n]{0,12}\n?){0,9}") {
            drop(parse(text.as_bytes()));
            drop(parse(format!("network,asn\n{text}").as_bytes()));
        }
    }
}
