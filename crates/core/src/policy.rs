//! [`Policy`]: what the operator chose. Exemptions, bans and peers belong to the host, not to it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::country::{CountryCode, CountryId, CountrySet};

/// Whether the selected countries are the only ones let in, or the ones kept out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum Mode {
    /// Only the selected countries pass.
    #[serde(rename = "allow")]
    AllowSelected,
    /// The selected countries are dropped.
    #[serde(rename = "block")]
    BlockSelected,
}

/// What happens to a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It goes on as if GeoFilter were not there.
    Pass,
    /// The kernel drops it.
    Drop,
}

/// How space is judged whose country the two sources dispute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Disputed {
    /// Drop only if both countries drop.
    Lenient,
    /// The primary source decides.
    #[default]
    Primary,
    /// Drop if either country drops.
    Strict,
}

/// A transport protocol with ports.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// User datagrams.
    Udp,
    /// TCP, and what runs over it: TLS, WebSocket.
    Tcp,
}

/// An inclusive range of ports of one protocol, written `udp/5060` or `udp/10000-20000`; `tls/…` and
/// `ws/…` are other words for `tcp/…`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ports {
    /// The protocol.
    pub transport: Transport,
    /// First port.
    pub first: u16,
    /// Last port, not below `first`.
    pub last: u16,
}

/// A scope that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a scope: write PROTO/PORT or PROTO/FIRST-LAST, such as udp/5060 or tcp/5060-5061"
)]
pub struct InvalidScope(String);

impl FromStr for Ports {
    type Err = InvalidScope;

    fn from_str(text: &str) -> Result<Self, InvalidScope> {
        let invalid = || InvalidScope(text.to_owned());
        let (protocol, ports) = text.split_once('/').ok_or_else(invalid)?;
        let transport = match protocol.to_ascii_lowercase().as_str() {
            "udp" => Transport::Udp,
            "tcp" | "tls" | "ws" | "wss" => Transport::Tcp,
            _ => return Err(invalid()),
        };
        let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
        let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0);
        let (first, last) = port(first).zip(port(last)).ok_or_else(invalid)?;
        (first <= last).then_some(Self { transport, first, last }).ok_or_else(invalid)
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = match self.transport {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
        };
        write!(f, "{protocol}/{}", self.first)?;
        if self.last > self.first {
            write!(f, "-{}", self.last)?;
        }
        Ok(())
    }
}

impl Serialize for Ports {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Ports {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The protected ports. The protected interfaces belong to the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = Vec<String>, example = json!(["udp/5060", "tcp/5060-5061"]))]
pub struct Scope(pub Vec<Ports>);

impl Scope {
    /// Whether packets to this port are judged.
    pub fn contains(&self, transport: Transport, port: u16) -> bool {
        self.0
            .iter()
            .any(|ports| ports.transport == transport && (ports.first..=ports.last).contains(&port))
    }
}

impl Default for Scope {
    /// The ports PBXs listen on for SIP: UDP, TCP and TLS, FreePBX's second pair, and SIP over WebSocket.
    fn default() -> Self {
        let ports = |transport, first, last| Ports { transport, first, last };
        Self(vec![
            ports(Transport::Udp, 5060, 5061),
            ports(Transport::Udp, 5160, 5161),
            ports(Transport::Tcp, 5060, 5061),
            ports(Transport::Tcp, 5160, 5161),
            ports(Transport::Tcp, 8088, 8089),
        ])
    }
}

/// A country that is selected for a while only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TimeBox {
    /// The country.
    pub country: CountryCode,
    /// From this second since 1970 on.
    pub from: u64,
    /// Until before this one.
    pub until: u64,
}

/// How many countries may have one.
pub const MAX_TIME_BOXES: usize = 63;

/// What the operator chose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Allow only the selection, or block it.
    pub mode: Mode,
    /// The selected countries.
    pub countries: CountrySet,
    /// Protected ports.
    pub scope: Scope,
    /// Hosting networks, in either mode.
    pub hosting: Verdict,
    /// Space whose country no source knows.
    pub unknown: Verdict,
    /// Space whose country the sources dispute.
    pub disputed: Disputed,
    /// Countries that are selected for a while, at most one time for each; of no effect on those that are
    /// selected anyway.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub time_boxes: Vec<TimeBox>,
}

impl Policy {
    /// A policy with the defaults of its mode: unknown space is dropped in allow mode and passes in
    /// block mode, hosting networks pass, the primary source decides.
    pub fn new(mode: Mode, countries: CountrySet) -> Self {
        Self {
            mode,
            countries,
            scope: Scope::default(),
            hosting: Verdict::Pass,
            unknown: Self::default_unknown(mode),
            disputed: Disputed::default(),
            time_boxes: Vec::new(),
        }
    }

    /// The time for which a country is selected beyond the selection.
    pub fn time_box(&self, country: CountryId) -> Option<&TimeBox> {
        let mut boxes = self.time_boxes.iter();
        boxes.find(|it| it.country == country.code() && !self.countries.contains(country))
    }

    /// What a mode does with unknown space unless told otherwise.
    pub fn default_unknown(mode: Mode) -> Verdict {
        match mode {
            Mode::AllowSelected => Verdict::Drop,
            Mode::BlockSelected => Verdict::Pass,
        }
    }
}
