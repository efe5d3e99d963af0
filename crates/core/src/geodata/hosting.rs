//! Decides which autonomous systems are hosting companies: those of a list, and those whose names speak
//! of the trade and not of access to the Internet.

use std::collections::BTreeSet;

use super::asn::AsNumber;
use super::line::{LineProblem, ParseError, lines, unquote};

/// The autonomous systems of a list of hosting companies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostingList(BTreeSet<AsNumber>);

impl HostingList {
    /// Reads lines that begin with the number of an autonomous system, after a header.
    ///
    /// # Errors
    /// [`ParseError`] with the number of the line that cannot be read, or if there is none at all.
    pub fn parse(text: &[u8]) -> Result<Self, ParseError> {
        let mut list = BTreeSet::new();
        for line in lines(text) {
            let (number, line) = line?;
            let field = unquote(line.split(',').next().unwrap_or(line));
            match field.parse() {
                Ok(asn) => drop(list.insert(asn)),
                Err(_) if number == 1 => {}
                Err(_) => {
                    let problem = LineProblem::AsNumber(field.to_owned());
                    return Err(ParseError::Line { number, problem });
                }
            }
        }
        if list.is_empty() { Err(ParseError::Empty) } else { Ok(Self(list)) }
    }

    /// Whether the autonomous system is a hosting company, by the list or by its name.
    pub fn is_hosting(&self, number: AsNumber, name: &str) -> bool {
        self.0.contains(&number) || speaks_of_hosting(name)
    }
}

/// Parts of words that only the trade uses.
const TRADE_PARTS: &[&str] = &[
    "hosting",
    "webhost",
    "datacenter",
    "datacentre",
    "datacamp",
    "cloud",
    "server",
    "vps",
    "colocation",
    "hetzner",
    "digitalocean",
    "linode",
    "akamai",
    "contabo",
    "leaseweb",
    "vultr",
    "choopa",
    "scaleway",
    "amazon",
    "aliyun",
    "alibaba",
    "tencent",
    "rackspace",
    "ionos",
    "netcup",
    "hostinger",
    "godaddy",
    "m247",
    "worldstream",
    "ovh",
    "gthost",
    "hostwinds",
    "racknerd",
    "colocrossing",
    "quadranet",
];

/// Whole words that only the trade uses.
const TRADE_WORDS: &[&str] = &[
    "host",
    "hosts",
    "hosted",
    "dedicated",
    "colo",
    "vds",
    "idc",
    "dc",
    "iaas",
    "paas",
    "rackspace",
    "data center",
    "data centre",
    "data centers",
];

/// Parts of words that those use who give people access to the Internet, or run a network of their own.
const ACCESS_PARTS: &[&str] = &[
    "telecom",
    "telekom",
    "telefon",
    "telco",
    "mobile",
    "mobil",
    "wireless",
    "broadband",
    "cable",
    "fiber",
    "fibre",
    "universi",
    "college",
    "school",
    "academ",
    "research",
    "government",
    "ministry",
    "municip",
    "hospital",
    "bank",
    "insurance",
    "cellular",
    "satellite",
    "telephone",
    "communicat",
    "internet service",
    "isp",
];

fn speaks_of_hosting(name: &str) -> bool {
    let name = name.to_lowercase();
    let words = format!(" {} ", name.replace(|letter: char| !letter.is_alphanumeric(), " "));
    let has_word = |word: &&str| words.contains(&format!(" {word} "));
    let has_part = |part: &&str| name.contains(*part);
    let trade = TRADE_PARTS.iter().any(has_part) || TRADE_WORDS.iter().any(has_word);
    trade && !ACCESS_PARTS.iter().any(has_part)
}
