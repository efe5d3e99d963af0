//! Decides which autonomous systems are hosting companies: those of a list, those that are classed so, and
//! of those without a class the ones whose names speak of the trade and not of access to the Internet.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use aho_corasick::AhoCorasick;

use super::as_classes::{AsClass, AsClasses};
use super::asn::AsNumber;
use super::fields::unquote;
use super::line::{LineProblem, ParseError, each_data_line};

/// The autonomous systems of a list of hosting companies, and the classes of systems.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostingList {
    list: BTreeSet<AsNumber>,
    classes: AsClasses,
}

impl HostingList {
    /// Reads lines of `number,name`, after a header.
    ///
    /// The list this is made for also has networks of Nigeria whatever their trade, mobile carriers and
    /// universities among them: those are left out.
    ///
    /// # Errors
    /// [`ParseError`] with the number of the line that cannot be read, or if there is none at all.
    pub fn parse(text: &[u8]) -> Result<Self, ParseError> {
        let mut list = BTreeSet::new();
        each_data_line(text, |number, line| {
            let (field, name) = line.split_once(',').unwrap_or((line, ""));
            match unquote(field).parse() {
                Ok(asn) if !unquote(name).ends_with(", NG") => drop(list.insert(asn)),
                Ok(_) => {}
                Err(_) if number == 1 => {}
                Err(_) => return Err(LineProblem::AsNumber(unquote(field).to_owned())),
            }
            Ok(())
        })?;
        if list.is_empty() {
            return Err(ParseError::Empty);
        }
        Ok(Self { list, classes: AsClasses::default() })
    }

    /// The same list, refined by classes.
    #[must_use]
    pub fn with_classes(self, classes: AsClasses) -> Self {
        Self { classes, ..self }
    }

    /// The list that comes with the program.
    pub fn embedded() -> Self {
        const LIST: &[u8] = include_bytes!("../../../../data/sources/bad-asn-list-2026-03.csv");
        Self::parse(LIST).unwrap_or_default()
    }

    /// Whether the list has the autonomous system.
    pub fn contains(&self, number: AsNumber) -> bool {
        self.list.contains(&number)
    }

    /// Whether the autonomous system is a hosting company: by its class; else by the list, which a class of
    /// another trade does not overrule unless it is one of access, teaching or the state; else, if it has no
    /// class, by its name.
    pub fn is_hosting(&self, number: AsNumber, name: &str) -> bool {
        if ACCESS_SYSTEMS.contains(&number.get()) {
            return false;
        }
        match self.classes.get(number) {
            Some(AsClass::Hosting) => true,
            Some(AsClass::Isp | AsClass::EducationResearch | AsClass::GovernmentAdmin) => false,
            Some(AsClass::Business) => self.contains(number),
            Some(AsClass::Other) | None => self.contains(number) || speaks_of_hosting(name),
        }
    }
}

/// Networks of access that the list or their name would call hosting: tw telecom, iHighway, Aire
/// Networks, The Cable of St. Kitts, The Cloud (public Wi-Fi), LTD Broadband.
const ACCESS_SYSTEMS: [u32; 6] = [4323, 7850, 29119, 36290, 41012, 394_330];

/// Parts of names that speak of the trade, or of a company known for it.
#[rustfmt::skip]
const TRADE_PARTS: &[&str] = &[
    "host", "datacenter", "datacentre", "cloud", "server", "vps", "colocation",
    "akamai", "alibaba", "aliyun", "amazon", "aruba-asn", "choopa", "colocrossing", "contabo", "datacamp",
    "digitalocean", "exoscale", "gcorelabs", "godaddy", "hetzner", "infomaniak", "ionos", "kamatera",
    "latitude-sh", "leaseweb", "linode", "locaweb", "m247", "mevspace", "netcup", "oracle-bmc", "ovh",
    "packethub", "proton66", "quadranet", "racknerd", "rackspace", "sakura internet", "scaleway", "selectel",
    "tencent", "timeweb", "transip", "vdsina", "vultr", "worldstream", "zenlayer",
];

/// The same as whole words between blanks, too short to be looked for inside others.
#[rustfmt::skip]
const TRADE_WORDS: &[&str] = &[
    " aeza ", " beget ", " colo ", " data center ", " data centers ", " data centre ", " dc ", " dedicated ",
    " gcore ", " iaas ", " idc ", " paas ", " vds ",
];

/// Parts of names of those who give people access to the Internet, or run a network of their own.
#[rustfmt::skip]
const ACCESS_PARTS: &[&str] = &[
    "telecom", "telekom", "telefon", "telephone", "telco", "communicat", "mobil", "wireless", "cellular",
    "satellite", "broadband", "banda larga", "cable", "fiber", "fibre", "internet service", "isp", "afrihost",
    "universi", "college", "school", "academ", "research", "government", "ministry", "municip", "hospital",
    "bank", "insurance",
];

fn speaks_of_hosting(name: &str) -> bool {
    static TRADE: LazyLock<AhoCorasick> = LazyLock::new(|| any_of(TRADE_PARTS));
    static WORDS: LazyLock<AhoCorasick> = LazyLock::new(|| any_of(TRADE_WORDS));
    static ACCESS: LazyLock<AhoCorasick> = LazyLock::new(|| any_of(ACCESS_PARTS));
    let words = || format!(" {} ", name.replace(|letter: char| !letter.is_alphanumeric(), " "));
    (TRADE.is_match(name) || WORDS.is_match(&words())) && !ACCESS.is_match(name)
}

/// Finds any of these, in any case.
#[expect(clippy::expect_used, reason = "they are the few above")]
fn any_of(parts: &[&str]) -> AhoCorasick {
    let finder = AhoCorasick::builder().ascii_case_insensitive(true).build(parts);
    finder.expect("a few words are not too many")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flagged(number: u32, name: &str) -> bool {
        let list =
            b"ASN,Entity\n4323,\"tw telecom\"\n\"3561\",\"Savvis, US\"\n29465,\"VCG-AS, NG\"\n";
        HostingList::parse(list).unwrap().is_hosting(AsNumber::new(number).unwrap(), name)
    }

    #[test]
    fn the_list_decides_with_its_exceptions() {
        assert!(flagged(3561, "CENTURYLINK-LEGACY-SAVVIS"));
        assert!(!flagged(4323, "TWTC"));
        assert!(!flagged(29465, "VCG-AS"));
        assert!(!flagged(41012, "THECLOUD"));
    }

    #[test]
    fn names_speak_of_the_trade() {
        let hosting = [
            "GOOGLE-CLOUD-PLATFORM",
            "OVH",
            "HETZNER-AS",
            "CT-HANGZHOU-IDC",
            "DREAMHOST-AS",
            "SD-DATA-CENTER",
            "ADMINVPS",
            "GD-EMEA-DC-CGN1",
            "ORACLE-BMC-31898",
            "AEZA-AS",
            "Cloudflare, Inc.",
        ];
        hosting.iter().for_each(|name| assert!(flagged(64500, name), "{name}"));
        let access = [
            "TELEFONICA_DE_ESPANA",
            "DTAG Deutsche Telekom AG",
            "FIBERHOST-ASN",
            "AFRIHOST-SP",
            "COMCAST-7922",
            "CAT-CLOUD-AP CAT Telecom Public Company Limited",
            "IWserver Internet Banda Larga Ltda.",
            "Caezar Provedor de Internet EIRELI",
            "BIGCORE-ASN",
            "",
        ];
        access.iter().for_each(|name| assert!(!flagged(64500, name), "{name}"));
    }

    #[test]
    fn classes_refine_the_list_and_the_names() {
        let classes = br#"[
            {"asn": 64500, "metadata": {"category": "hosting"}},
            {"asn": 64501, "metadata": {"category": "business"}},
            {"asn": 64502, "metadata": {"category": "isp"}},
            {"asn": 64503, "metadata": {"category": "government_admin"}},
            {"asn": 4323, "metadata": {"category": "hosting"}}
        ]"#;
        let list = HostingList::parse(b"64501,a\n64502,b\n4323,c\n").unwrap();
        let list = list.with_classes(AsClasses::parse(&classes[..]).unwrap());
        let flagged = |number, name| list.is_hosting(AsNumber::new(number).unwrap(), name);
        assert!(flagged(64500, "EXAMPLE TELECOM"));
        assert!(flagged(64501, "EXAMPLE"));
        assert!(!flagged(64502, "EXAMPLE HOSTING"));
        assert!(!flagged(64503, "EXAMPLE CLOUD"));
        assert!(!flagged(4323, "TWTC"));
        assert!(flagged(64504, "EXAMPLE CLOUD"));
        assert!(!flagged(64504, "EXAMPLE"));
    }

    #[test]
    fn errors_name_the_line() {
        let error = |text: &str| HostingList::parse(text.as_bytes()).unwrap_err().to_string();
        assert_eq!(error(""), "there is not one line of data in it");
        assert_eq!(
            error("ASN,Entity\n64500,a\nno,b"),
            "line 3: `no` is not the number of an autonomous system"
        );
    }
}
