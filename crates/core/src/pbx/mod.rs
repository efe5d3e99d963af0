//! What a PBX says of itself. [`Pbx`] is what was found of one, [`Trunk`] and [`Device`] whom it talks to.
//!
//! Reading order: [`asterisk`] reads the command line's answers and [`ami`] the manager's, [`kamailio`]
//! what is carried by [`binrpc`], [`freepbx`] its files; [`uri`] finds the host in a SIP URI. [`Pbx::scope`]
//! says which ports to protect, [`trusted`] whom never to cut, [`findings`] what is worth a warning. Much of all that text is an
//! attacker's: a registration names its own address and User-Agent. So nothing here is trusted, every
//! list is bounded ([`MOST`]) and every text [`printable`].
//!
//! Asterisk's chan_sip, gone since Asterisk 21, is not asked.

pub mod ami;
pub mod asterisk;
pub mod binrpc;
pub mod findings;
pub mod freepbx;
pub mod kamailio;
mod scope;
pub mod trusted;
pub mod uri;

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use serde::{Serialize, Serializer};

use crate::policy::Transport;
pub use uri::{Host, HostPort};

/// How many of anything are kept: more devices than any PBX registers.
pub const MOST: usize = 100_000;
/// How much of a text is kept.
const LONGEST: usize = 200;

/// A kind of PBX.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Asterisk, also below FreePBX.
    Asterisk,
    /// Kamailio.
    Kamailio,
}

impl Kind {
    /// As its makers write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Asterisk => "Asterisk",
            Self::Kamailio => "Kamailio",
        }
    }
}

/// What was found of a PBX.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pbx {
    /// Its kind.
    pub kind: Kind,
    /// Its version, if it could be asked.
    pub version: Option<String>,
    /// What it is part of.
    pub distribution: Option<Distribution>,
    /// It runs in a network namespace of its own.
    pub container: bool,
    /// What its processes listen on.
    pub sockets: Vec<Socket>,
    /// What it calls its SIP transports; `None` if it could not be asked.
    pub transports: Option<Vec<SipTransport>>,
    /// Where it serves SIP over WebSocket.
    pub websockets: Vec<SocketAddr>,
    /// Its ports for voice, first and last.
    pub rtp: Option<(u16, u16)>,
    /// Whom it trusts, or registers at.
    pub trunks: Vec<Trunk>,
    /// Who is registered at it.
    pub devices: Vec<Device>,
    /// The files it logs to; `None` if it could not be asked.
    pub logs: Option<Vec<LogFile>>,
}

/// A file that a PBX logs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LogFile {
    /// Where it is.
    pub path: String,
    /// Which levels are written there, as the PBX calls them.
    pub levels: Vec<String>,
}

impl LogFile {
    /// Whether lines of this level are written there.
    pub fn writes(&self, level: &str) -> bool {
        self.levels.iter().any(|one| one == level)
    }
}

/// A product around a PBX.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Distribution {
    /// Its name.
    pub name: &'static str,
    /// Its version, if it is written down.
    pub version: Option<String>,
    /// How far this is to be believed.
    pub note: &'static str,
}

/// A socket that a process of the PBX listens on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Socket {
    /// Its protocol.
    pub protocol: Transport,
    /// Where it is bound.
    pub address: SocketAddr,
}

/// How SIP is carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Carrier {
    /// Datagrams.
    Udp,
    /// TCP.
    Tcp,
    /// TLS over TCP.
    Tls,
    /// WebSocket.
    Ws,
    /// WebSocket over TLS.
    Wss,
}

impl Carrier {
    /// Reads the word for it, in any case.
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word.to_ascii_lowercase().as_str() {
            "udp" => Self::Udp,
            "tcp" => Self::Tcp,
            "tls" => Self::Tls,
            "ws" => Self::Ws,
            "wss" => Self::Wss,
            _ => return None,
        })
    }

    /// What carries it.
    pub fn protocol(self) -> Transport {
        match self {
            Self::Udp => Transport::Udp,
            Self::Tcp | Self::Tls | Self::Ws | Self::Wss => Transport::Tcp,
        }
    }
}

/// A SIP transport as the PBX lists it. A WebSocket is bound by its web server, not here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SipTransport {
    /// Its name.
    pub name: String,
    /// How it carries SIP.
    pub carrier: Carrier,
    /// Where it is bound.
    pub bind: SocketAddr,
}

/// How the PBX knows a trunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// It registers there.
    Registration,
    /// It is configured to call there.
    StaticContact,
    /// It takes calls from these addresses.
    Identify,
}

/// Somebody the PBX's configuration names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Trunk {
    /// Its name.
    pub name: String,
    /// How the PBX knows it.
    pub how: How,
    /// Where it is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<SocketAddr>,
    /// Those of them that are reached by TCP: what they open themselves comes from any port.
    #[serde(skip)]
    pub by_tcp: Vec<IpAddr>,
    /// Where it is, by a name that is still to be resolved.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<HostPort>,
    /// Where its calls come from.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prefixes: Vec<IpNet>,
    /// Whether the PBX is registered there, where it registers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registered: Option<bool>,
}

impl Trunk {
    /// A trunk that is nowhere yet.
    pub fn new(name: &str, how: How) -> Self {
        let name = printable(name);
        let (addresses, by_tcp, hosts, prefixes) = Default::default();
        Self { name, how, addresses, by_tcp, hosts, prefixes, registered: None }
    }

    /// Adds where a SIP URI leads, if it leads anywhere.
    pub fn lead(&mut self, uri: &str) {
        if let Some(Host::Address(address)) = uri::host(uri)
            && uri::carrier(uri).protocol() == Transport::Tcp
            && !self.by_tcp.contains(&address.ip())
        {
            self.by_tcp.push(address.ip());
        }
        match uri::host(uri) {
            Some(Host::Address(address)) if !self.addresses.contains(&address) => {
                self.addresses.push(address);
            }
            Some(Host::Name(host)) if !self.hosts.contains(&host) => self.hosts.push(host),
            Some(_) | None => {}
        }
    }
}

/// A device that registered. Its address is where the PBX sends to: with `rewrite_contact`, as behind NAT,
/// that is the source of its packets, otherwise its own claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Device {
    /// As whom it registered.
    pub endpoint: String,
    /// Where the PBX sends to.
    pub address: SocketAddr,
    /// How.
    pub transport: Carrier,
    /// What it calls itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
}

impl Device {
    /// A device at the address of this SIP URI, unless it names none.
    pub fn at(endpoint: &str, uri: &str, user_agent: &str) -> Option<Self> {
        let Host::Address(address) = uri::host(uri)? else { return None };
        let user_agent = printable(user_agent);
        Some(Self {
            endpoint: printable(endpoint),
            address,
            transport: uri::carrier(uri),
            user_agent: (!user_agent.is_empty()).then_some(user_agent),
        })
    }
}

impl Pbx {
    /// A PBX of which nothing but its kind is known.
    pub fn new(kind: Kind) -> Self {
        Self {
            kind,
            version: None,
            distribution: None,
            container: false,
            sockets: Vec::new(),
            transports: None,
            websockets: Vec::new(),
            rtp: None,
            trunks: Vec::new(),
            devices: Vec::new(),
            logs: None,
        }
    }

    /// The addresses its trunks are at, as far as they are written as addresses.
    pub fn trunk_addresses(&self) -> Vec<SocketAddr> {
        sorted(self.trunks.iter().flat_map(|trunk| trunk.addresses.clone()))
    }

    /// The host names its trunks are at, still to be resolved.
    pub fn trunk_hosts(&self) -> Vec<HostPort> {
        sorted(self.trunks.iter().flat_map(|trunk| trunk.hosts.clone()))
    }

    /// The prefixes it takes calls from without a password. One so wide that it could not be a provider's
    /// is left out, see [`is_too_wide`].
    pub fn identified_prefixes(&self) -> Vec<IpNet> {
        let prefixes = self.trunks.iter().flat_map(|trunk| trunk.prefixes.clone());
        sorted(prefixes.filter(|prefix| !is_too_wide(prefix)))
    }

    /// The addresses that its registered devices are at.
    pub fn registered_addresses(&self) -> Vec<IpAddr> {
        sorted(self.devices.iter().map(|device| device.address.ip()))
    }
}

/// Whether a prefix is wider than any one provider's: `0.0.0.0/0` is how some take calls from everybody.
pub fn is_too_wide(prefix: &IpNet) -> bool {
    match prefix {
        IpNet::V4(v4) => v4.prefix_len() < 16,
        IpNet::V6(v6) => v6.prefix_len() < 32,
    }
}

/// What may be shown of a text: nothing but printable ASCII reaches a terminal, and not too much of it.
pub fn printable(text: &str) -> String {
    let shown = |letter| if matches!(letter, ' '..='~') { letter } else { '?' };
    text.trim().chars().take(LONGEST).map(shown).collect()
}

fn sorted<T: Ord>(items: impl Iterator<Item = T>) -> Vec<T> {
    let mut items: Vec<T> = items.collect();
    items.sort();
    items.dedup();
    items
}

impl Serialize for HostPort {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
