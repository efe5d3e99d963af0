//! Groups of countries that people select by one word. The seven continents share out all countries;
//! the others overlap as they like.

use super::{CountryCode, CountrySet};

/// A named set of countries, selected as `@name`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group {
    /// Its name with the `@`, in lower case.
    pub name: &'static str,
    /// What it holds, for people.
    pub description: &'static str,
    /// The countries in it.
    pub countries: CountrySet,
}

/// Every group, continents first.
pub fn groups() -> impl Iterator<Item = Group> {
    GROUPS.iter().map(|(name, description, parts)| Group {
        name,
        description,
        countries: parts.iter().flat_map(|codes| countries(codes)).collect(),
    })
}

fn countries(codes: &'static str) -> impl Iterator<Item = super::CountryId> {
    codes.split(' ').filter_map(|code| CountryCode::parse(code).ok()).map(CountryCode::id)
}

const AFRICA: &str = "AO BF BI BJ BW CD CF CG CI CM CV DJ DZ EG EH ER ET GA GH GM GN GQ GW KE KM LR LS LY MA MG \
    ML MR MU MW MZ NA NE NG RE RW SC SD SH SL SN SO SS ST SZ TD TG TN TZ UG YT ZA ZM ZW";
const ANTARCTICA: &str = "AQ BV GS HM TF";
const ASIA: &str = "AE AF AM AZ BD BH BN BT CC CN CX GE HK ID IL IN IO IQ IR JO JP KG KH KP KR KW KZ LA LB LK MM MN \
    MO MV MY NP OM PH PK PS QA SA SG SY TH TJ TL TM TR TW UZ VN YE";
const EUROPE: &str = "AD AL AT AX BA BE BG BY CH CY CZ DE DK EE ES FI FO FR GB GG GI GR HR HU IE IM IS IT JE LI LT \
    LU LV MC MD ME MK MT NL NO PL PT RO RS RU SE SI SJ SK SM UA VA XK";
const NORTH_AMERICA: &str = "AG AI AW BB BL BM BQ BS BZ CA CR CU CW DM DO GD GL GP GT HN HT JM KN KY LC MF MQ MS MX \
    NI PA PM PR SV SX TC TT US VC VG VI";
const OCEANIA: &str =
    "AS AU CK FJ FM GU KI MH MP NC NF NR NU NZ PF PG PN PW SB TK TO TV UM VU WF WS";
const SOUTH_AMERICA: &str = "AR BO BR CL CO EC FK GF GY PE PY SR UY VE";

const EU: &str = "AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK";
const EEA: &str = "IS LI NO";
const CARIBBEAN: &str =
    "AG AI AW BB BL BQ BS CU CW DM DO GD GP HT JM KN KY LC MF MQ MS PR SX TC TT VC VG VI";
const CENTRAL_AMERICA: &str = "BZ CR GT HN NI PA SV";
const LATIN_SOUTH: &str = "AR BO BR CL CO EC GF GY PE PY SR UY VE";
const GULF: &str = "AE BH KW OM QA SA";
const LEVANT_AND_BEYOND: &str = "CY EG IL IQ IR JO LB PS SY TR YE";
const MAGHREB: &str = "DZ EG LY MA TN";
const SOUTH_EAST_ASIA: &str = "BN ID KH LA MM MY PH SG TH TL VN";
const EAST_ASIA: &str = "CN HK JP KP KR MN MO TW";
const SOUTH_ASIA: &str = "AF BD BT IN LK MV NP PK";

#[rustfmt::skip]
const GROUPS: &[(&str, &str, &[&str])] = &[
    ("@africa", "Africa with its islands", &[AFRICA]),
    ("@antarctica", "Antarctica and the islands around it", &[ANTARCTICA]),
    ("@asia", "Asia, with Turkey and the Caucasus", &[ASIA]),
    ("@europe", "Europe, with Russia, Cyprus and Kosovo", &[EUROPE]),
    ("@north-america", "North America, with Central America and the Caribbean", &[NORTH_AMERICA]),
    ("@oceania", "Australia, New Zealand and the Pacific islands", &[OCEANIA]),
    ("@south-america", "South America", &[SOUTH_AMERICA]),
    ("@eu", "European Union", &[EU]),
    ("@eea", "European Economic Area: EU, Iceland, Liechtenstein, Norway", &[EU, EEA]),
    ("@efta", "European Free Trade Association", &[EEA, "CH"]),
    ("@schengen", "Schengen area, with the microstates inside it", &["AD AT BE BG CH CZ DE DK EE ES FI FR GR HR HU IS IT LI LT LU LV MC MT NL NO PL PT RO SE SI SK SM VA"]),
    ("@eurozone", "Countries of the EU that use the euro", &["AT BE BG CY DE EE ES FI FR GR HR IE IT LT LU LV MT NL PT SI SK"]),
    ("@nordics", "Nordic countries with Åland, the Faroes and Greenland", &["AX DK FI FO GL IS NO SE SJ"]),
    ("@baltics", "Estonia, Latvia, Lithuania", &["EE LV LT"]),
    ("@benelux", "Belgium, Netherlands, Luxembourg", &["BE NL LU"]),
    ("@dach", "Germany, Austria, Switzerland, Liechtenstein", &["DE AT CH LI"]),
    ("@balkans", "Balkan peninsula", &["AL BA BG GR HR ME MK RO RS SI XK"]),
    ("@iberia", "Spain, Portugal, Andorra, Gibraltar", &["ES PT AD GI"]),
    ("@uk-ireland", "United Kingdom, Ireland, Channel Islands, Isle of Man", &["GB IE GG JE IM"]),
    ("@cis", "Commonwealth of Independent States, with associates and former members", &["AM AZ BY KG KZ MD RU TJ TM UZ"]),
    ("@caribbean", "Islands of the Caribbean and the Bahamas", &[CARIBBEAN]),
    ("@central-america", "Belize to Panama", &[CENTRAL_AMERICA]),
    ("@latam", "Latin America: Mexico, Central and South America, the Caribbean", &["MX", CENTRAL_AMERICA, LATIN_SOUTH, CARIBBEAN]),
    ("@gulf", "Gulf Cooperation Council", &[GULF]),
    ("@middle-east", "Egypt to Iran, with Turkey, Cyprus and the Gulf", &[GULF, LEVANT_AND_BEYOND]),
    ("@mena", "Middle East and North Africa", &[GULF, LEVANT_AND_BEYOND, MAGHREB, "EH MR SD"]),
    ("@sea", "South-east Asia", &[SOUTH_EAST_ASIA]),
    ("@apac", "Asia-Pacific: East, South and South-east Asia, Oceania", &[EAST_ASIA, SOUTH_ASIA, SOUTH_EAST_ASIA, OCEANIA, "CC CX"]),
    ("@five-eyes", "Australia, Canada, New Zealand, United Kingdom, United States", &["AU CA NZ GB US"]),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::country::CountryId;

    fn group(name: &str) -> CountrySet {
        groups().find(|group| group.name == name).unwrap().countries
    }

    #[test]
    fn continents_share_out_all_countries() {
        let continents: Vec<_> = groups().take(7).collect();
        for country in CountryId::all() {
            let homes = continents.iter().filter(|group| group.countries.contains(country)).count();
            assert_eq!(homes, 1, "{country:?} is in {homes} continents");
        }
    }

    #[test]
    fn unions_have_the_members_they_have() {
        assert_eq!(group("@eu").len(), 27);
        assert_eq!(group("@eea").len(), 30);
        assert_eq!(group("@efta").len(), 4);
        assert_eq!(group("@eurozone").len(), 21);
        assert_eq!(group("@gulf").len(), 6);
        assert_eq!(group("@sea").len(), 11);
        assert_eq!(group("@five-eyes").len(), 5);
        assert!(group("@eu").iter().all(|country| group("@europe").contains(country)));
    }

    #[test]
    fn every_code_of_every_group_is_known() {
        for (name, _, parts) in GROUPS {
            let codes = parts.iter().flat_map(|part| part.split(' '));
            codes.for_each(|code| assert!(CountryCode::parse(code).is_ok(), "{code} in {name}"));
        }
    }
}
