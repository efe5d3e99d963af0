//! [`host`]: where a SIP URI leads.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::Carrier;

/// The longest name that DNS knows.
const LONGEST_NAME: usize = 253;

/// Where something is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// At an address.
    Address(SocketAddr),
    /// At whatever a name resolves to.
    Name(HostPort),
}

/// A host name and a port; without a port, DNS may name one (SRV).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostPort {
    /// The name, in lower case.
    pub name: String,
    /// The port, if it is named.
    pub port: Option<u16>,
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// The host of `sip:user@host:port;parameters`, which may stand in angle brackets; `None` if there is none.
pub fn host(uri: &str) -> Option<Host> {
    let uri = bare(uri);
    let (scheme, rest) = uri.split_once(':')?;
    let default = match scheme.to_ascii_lowercase().as_str() {
        "sips" => 5061,
        "sip" if carrier(uri) == Carrier::Tls => 5061,
        "sip" => 5060,
        _ => return None,
    };
    let authority = rest.split(['?', '>', ' ']).next()?;
    // A user part may hold parameters of its own, so it goes first; a host can't hold an @.
    let place = authority.rsplit_once('@').map_or(authority, |(_, place)| place);
    parse_place(place.split(';').next()?, default)
}

/// What carries a message to this URI.
pub fn carrier(uri: &str) -> Carrier {
    let mut parameters = bare(uri).split(';').skip(1);
    let named = parameters.find_map(|parameter| {
        let (key, value) = parameter.split_once('=')?;
        key.eq_ignore_ascii_case("transport").then(|| Carrier::parse(value.trim()))?
    });
    let sips = uri.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("sips:"));
    named.unwrap_or(if sips { Carrier::Tls } else { Carrier::Udp })
}

/// An address or a name with the port that may follow it.
pub(crate) fn parse_place(place: &str, default: u16) -> Option<Host> {
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => {
            let (address, after) = rest.split_once(']')?;
            (address, after.strip_prefix(':').or(after.is_empty().then_some(""))?)
        }
        None => place.split_once(':').unwrap_or((place, "")),
    };
    let port = match port {
        "" => None,
        digits => Some(digits.parse::<u16>().ok().filter(|port| *port > 0)?),
    };
    if let Ok(address) = host.parse::<IpAddr>() {
        let address = address.to_canonical();
        return Some(Host::Address(SocketAddr::new(address, port.unwrap_or(default))));
    }
    is_name(host).then(|| Host::Name(HostPort { name: host.to_ascii_lowercase(), port }))
}

fn bare(uri: &str) -> &str {
    let uri = uri.trim();
    uri.split_once('<').map_or(uri, |(_, inside)| inside.split('>').next().unwrap_or(inside))
}

/// Digits and dots alone would be an address, had it been a right one.
fn is_name(host: &str) -> bool {
    let label = |label: &str| {
        let letters = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        (1..=63).contains(&label.len()) && label.bytes().all(letters)
    };
    host.len() <= LONGEST_NAME
        && host.trim_end_matches('.').split('.').all(label)
        && host.bytes().any(|byte| byte.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(uri: &str) -> String {
        match host(uri) {
            Some(Host::Address(address)) => address.to_string(),
            Some(Host::Name(name)) => name.to_string(),
            None => "nowhere".to_owned(),
        }
    }

    #[test]
    fn uris_lead_somewhere() {
        for (uri, leads) in [
            ("sip:2.26.182.211:5060", "2.26.182.211:5060"),
            ("sip:1001@192.0.2.7", "192.0.2.7:5060"),
            ("sips:1001@192.0.2.7", "192.0.2.7:5061"),
            ("sip:192.0.2.7;transport=TLS", "192.0.2.7:5061"),
            ("sip:1001@[2a0d:7200::1]:5066;x-ast-orig-host=10.0.0.1:5", "[2a0d:7200::1]:5066"),
            ("sip:[::ffff:192.0.2.9]", "192.0.2.9:5060"),
            ("\"x\" <sip:SIP.Example.NET>;expires=60", "sip.example.net"),
            ("sip:me:pass@sip.example.net:5080;lr", "sip.example.net:5080"),
            ("sip:a;b=1@c@192.0.2.8", "192.0.2.8:5060"),
        ] {
            assert_eq!(place(uri), leads, "{uri}");
        }
    }

    #[test]
    fn nonsense_leads_nowhere() {
        for uri in [
            "",
            "sip:",
            "sip:@",
            "tel:100",
            "192.0.2.1",
            "sip:256.1.1.1",
            "sip:1.2.3",
            "sip:[::1",
            "sip:[::1]x",
            "sip:h:0",
            "sip:h:99999",
            "sip:a\tb",
            "sip:\u{1b}[31m",
            "sip:-?",
            "sip:a..b",
        ] {
            assert_eq!(place(uri), "nowhere", "{uri}");
        }
    }

    #[test]
    fn the_carrier_is_named_or_known() {
        assert_eq!(carrier("sip:a@h;transport=ws"), Carrier::Ws);
        assert_eq!(carrier("sips:a@h"), Carrier::Tls);
        assert_eq!(carrier("sip:a@h;transport=carrier-pigeon"), Carrier::Udp);
    }
}
