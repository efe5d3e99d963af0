//! [`Source`]: where world data comes from, and what must be said of it. The addresses are those that their owners publish.

use serde::{Deserialize, Serialize};

/// A day: year, month and day of the month.
pub type Day = (i16, i8, i8);

/// What a source is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// The country of every range: the source that decides.
    Primary,
    /// The second opinion.
    Second,
    /// Who announces what.
    Systems,
    /// What kinds of networks announce it.
    Classes,
}

/// A source that is known by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Known {
    /// DB-IP Country Lite: no key, a new edition each month.
    DbipLite,
    /// GeoLite2 Country of MaxMind: an account and a licence key.
    Maxmind,
    /// IPinfo Lite: a token.
    IpinfoLite,
    /// The delegated statistics of the five registries.
    Rir,
    /// IPFire's location database, which is signed.
    Ipfire,
    /// iptoasn: who announces what.
    Iptoasn,
    /// The kinds of autonomous systems, by ipverse.
    AsMetadata,
}

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// Ranges and countries as text.
    Csv,
    /// MaxMind's database of countries, IPinfo's, or DB-IP's.
    Mmdb,
    /// The registries' statistics.
    Delegated,
    /// IPFire's database.
    Ipfire,
    /// The same as text.
    IpfireText,
    /// GeoLite2's text: the locations, and the networks that refer to them.
    MaxmindCsv,
    /// Ranges and autonomous systems as text.
    AsCsv,
    /// Kinds of autonomous systems as JSON.
    AsClasses,
    /// Countries in one of these, told by what is in the file.
    Guess,
}

/// A file with the digest that its owner publishes, if there is one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Where it is; if the first is not there, the next.
    pub urls: Vec<String>,
    /// What follows the address of the file where its digest is.
    pub digest: Option<Digest>,
}

/// Which digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Digest {
    /// `.sha256`
    Sha256,
    /// `.md5`: against what was cut off or mixed up, not against whoever changes it on purpose.
    Md5,
}

/// Where data comes from, and what must be said of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Its name for people.
    pub name: String,
    /// The licence it is used under.
    pub licence: String,
    /// The credit the licence asks for.
    pub credit: String,
    /// The address that the credit links to.
    pub link: String,
    /// How it is written.
    pub format: Format,
    /// Its files, all of which are needed.
    pub places: Vec<Place>,
    /// A header that says who asks: name and value.
    pub authorization: Option<(String, String)>,
    /// Bytes that one of its files may have.
    pub most: u64,
}

const MIB: u64 = 1024 * 1024;

impl Known {
    /// The source on that day, with these secrets if it asks for any.
    pub fn source(self, today: Day) -> Source {
        let source = |name: &str, licence: &str, credit: &str, link: &str, format| Source {
            name: name.to_owned(),
            licence: licence.to_owned(),
            credit: credit.to_owned(),
            link: link.to_owned(),
            format,
            places: Vec::new(),
            authorization: None,
            most: 64 * MIB,
        };
        let file = |url: &str, digest| Place { urls: vec![url.to_owned()], digest };
        match self {
            Self::DbipLite => Source {
                places: vec![Place { urls: dbip(today), digest: None }],
                ..source(
                    "DB-IP Country Lite",
                    "CC BY 4.0",
                    "IP Geolocation by DB-IP",
                    "https://db-ip.com",
                    Format::Csv,
                )
            },
            Self::Maxmind => Source {
                places: vec![file(
                    "https://download.maxmind.com/geoip/databases/GeoLite2-Country/download?suffix=tar.gz",
                    Some(Digest::Sha256),
                )],
                ..source(
                    "GeoLite2 Country",
                    "GeoLite2 EULA",
                    "This product includes GeoLite2 data created by MaxMind",
                    "https://www.maxmind.com",
                    Format::Mmdb,
                )
            },
            Self::IpinfoLite => Source {
                places: vec![file("https://ipinfo.io/data/ipinfo_lite.mmdb", None)],
                ..source(
                    "IPinfo Lite",
                    "CC BY-SA 4.0",
                    "IP address data is powered by IPinfo",
                    "https://ipinfo.io",
                    Format::Mmdb,
                )
            },
            Self::Rir => Source {
                places: ["afrinic", "apnic", "arin", "lacnic", "ripencc"].map(registry).into(),
                ..source(
                    "RIR delegated statistics",
                    "free to use",
                    "Delegated statistics by the registries",
                    "https://www.nro.net",
                    Format::Delegated,
                )
            },
            Self::Ipfire => Source {
                places: vec![file("https://location.ipfire.org/databases/1/location.db.xz", None)],
                ..source(
                    "IPFire Location",
                    "CC BY-SA 4.0",
                    "Location data by the IPFire project",
                    "https://location.ipfire.org",
                    Format::Ipfire,
                )
            },
            Self::AsMetadata => Source {
                places: vec![file(
                    "https://raw.githubusercontent.com/ipverse/as-metadata/master/as.json",
                    None,
                )],
                most: 256 * MIB,
                ..source(
                    "as-metadata",
                    "CC0",
                    "Kinds of networks by ipverse",
                    "https://github.com/ipverse/as-metadata",
                    Format::AsClasses,
                )
            },
            Self::Iptoasn => Source {
                places: vec![file("https://iptoasn.com/data/ip2asn-combined.tsv.gz", None)],
                ..source(
                    "iptoasn",
                    "PDDL",
                    "AS data by iptoasn.com",
                    "https://iptoasn.com",
                    Format::AsCsv,
                )
            },
        }
    }
}

/// That of this month, and until it is there that of the last.
fn dbip((year, month, _): Day) -> Vec<String> {
    let before = if month == 1 { (year - 1, 12) } else { (year, month - 1) };
    let at = |(year, month)| {
        format!("https://download.db-ip.com/free/dbip-country-lite-{year:04}-{month:02}.csv.gz")
    };
    vec![at((year, month)), at(before)]
}

fn registry(name: &str) -> Place {
    let url = format!("https://ftp.ripe.net/pub/stats/{name}/delegated-{name}-extended-latest");
    Place { urls: vec![url], digest: Some(Digest::Md5) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_edition_of_the_month_is_asked_for_and_then_that_of_the_month_before() {
        let urls = Known::DbipLite.source((2027, 1, 2)).places[0].urls.clone();
        let endings = ["-2027-01.csv.gz", "-2026-12.csv.gz"];
        assert!(urls.iter().zip(endings).all(|(url, ending)| url.ends_with(ending)), "{urls:?}");
    }
}
