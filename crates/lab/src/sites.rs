//! [`Sites`]: many PBX hosts on one internet, a namespace each.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};

use anyhow::{Context, Result};

use crate::namespace::Namespace;
use crate::site::{SIP, WAN};

/// The internet's end of every host's wire.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
const NETWORK: &str = "203.0.113.0/24";
/// The last part of the first host's address.
const FIRST: u8 = 10;
/// What the wires end at.
const BRIDGE: &str = "wires";

/// The internet, where every other address is, and what hosts are attached to it.
#[derive(Debug)]
pub struct Sites {
    /// Everybody but the hosts.
    pub internet: Namespace,
}

/// A host.
#[derive(Debug)]
pub struct Attached {
    /// Where it is.
    pub namespace: Namespace,
    /// Its public address.
    pub address: Ipv4Addr,
}

impl Sites {
    /// An internet without hosts.
    ///
    /// # Errors
    /// If the namespace or the bridge can't be made.
    pub fn new() -> Result<Self> {
        let internet = Namespace::new("net")?;
        take_from_everywhere(&internet)?;
        let laid = format!(
            "link add {BRIDGE} type bridge mcast_snooping 0
link set {BRIDGE} up
addr add {GATEWAY}/24 dev {BRIDGE}
route add local 0.0.0.0/0 dev lo
route add {NETWORK} dev {BRIDGE} table local"
        );
        batch(&internet, &laid)?;
        Ok(Self { internet })
    }

    /// Attaches a host, of which this is the number.
    ///
    /// # Errors
    /// If the namespace or the wire can't be made.
    pub fn attach(&self, number: u8) -> Result<Attached> {
        let namespace = Namespace::new("host")?;
        take_from_everywhere(&namespace)?;
        let [a, b, c, _] = GATEWAY.octets();
        let address = Ipv4Addr::new(a, b, c, FIRST + number);
        let wire = format!("to{number}");
        let laid = format!(
            "link add {wire} type veth peer name {WAN} netns {}
link set {wire} master {BRIDGE}
link set {wire} up",
            namespace.name()
        );
        batch(&self.internet, &laid)?;
        namespace.set(&format!("net.ipv6.conf.{WAN}.accept_dad"), "0")?;
        let laid = format!(
            "link set {WAN} up
addr add {address}/24 dev {WAN}
route add default via {GATEWAY}"
        );
        batch(&namespace, &laid)?;
        Ok(Attached { namespace, address })
    }

    /// Cuts a host off from the internet, or attaches it again.
    ///
    /// # Errors
    /// If the wire can't be set.
    pub fn wire(&self, number: u8, is_up: bool) -> Result<()> {
        let state = if is_up { "up" } else { "down" };
        batch(&self.internet, &format!("link set to{number} {state}"))
    }

    /// A phone anywhere on the internet.
    ///
    /// # Errors
    /// If it can't be opened.
    pub fn phone(&self, source: Ipv4Addr) -> Result<UdpSocket> {
        let bind = || UdpSocket::bind(SocketAddrV4::new(source, SIP));
        self.internet.inside(bind)?.with_context(|| format!("call from {source}"))
    }
}

fn take_from_everywhere(namespace: &Namespace) -> Result<()> {
    for which in ["all", "default"] {
        namespace.set(&format!("net.ipv4.conf.{which}.rp_filter"), "0")?;
    }
    Ok(())
}

fn batch(namespace: &Namespace, lines: &str) -> Result<()> {
    namespace.feed("ip", &["-batch", "-"], lines)
}
