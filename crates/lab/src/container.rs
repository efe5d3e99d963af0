//! [`Container`]: a PBX in a container, behind the bridge and the rules that Docker makes. A stand-in for Docker:
//! the namespace, the bridge and the rules are what it would make, and it is not needed to make them.

use std::net::{Ipv4Addr, UdpSocket};

use anyhow::{Context, Result};

use crate::namespace::Namespace;
use crate::site::{SIP, Site};

/// The container's address.
pub const CONTAINER: Ipv4Addr = Ipv4Addr::new(172, 17, 0, 2);

/// What `docker run -p 5060:5060/udp` leaves in iptables.
const RULES: &str = "*nat
:PREROUTING ACCEPT
:OUTPUT ACCEPT
:POSTROUTING ACCEPT
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
-A POSTROUTING -s 172.17.0.2/32 -d 172.17.0.2/32 -p udp -m udp --dport 5060 -j MASQUERADE
-A DOCKER -i docker0 -j RETURN
-A DOCKER ! -i docker0 -p udp -m udp --dport 5060 -j DNAT --to-destination 172.17.0.2:5060
COMMIT
*filter
:INPUT ACCEPT
:FORWARD DROP
:OUTPUT ACCEPT
:DOCKER - [0:0]
:DOCKER-ISOLATION-STAGE-1 - [0:0]
:DOCKER-ISOLATION-STAGE-2 - [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-ISOLATION-STAGE-1
-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o docker0 -j DOCKER
-A FORWARD -i docker0 ! -o docker0 -j ACCEPT
-A FORWARD -i docker0 -o docker0 -j ACCEPT
-A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p udp -m udp --dport 5060 -j ACCEPT
-A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2
-A DOCKER-ISOLATION-STAGE-1 -j RETURN
-A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP
-A DOCKER-ISOLATION-STAGE-2 -j RETURN
-A DOCKER-USER -j RETURN
COMMIT
";

/// A container on the host of a site.
#[derive(Debug)]
pub struct Container {
    /// Where what runs in it runs.
    pub inside: Namespace,
}

impl Container {
    /// Makes one whose SIP port is published.
    ///
    /// # Errors
    /// If a tool fails.
    pub fn run(site: &Site) -> Result<Self> {
        let (host, inside) = (&site.host, Namespace::new("container")?);
        host.set("net.ipv4.ip_forward", "1")?;
        host.ip("link add docker0 type bridge")?;
        host.ip("addr add 172.17.0.1/16 dev docker0")?;
        host.ip("link set docker0 up")?;
        host.ip(&format!("link add veth1a2b3c4 type veth peer name eth0 netns {}", inside.name()))?;
        host.ip("link set veth1a2b3c4 master docker0 up")?;
        inside.ip(&format!("addr add {CONTAINER}/16 dev eth0"))?;
        inside.ip("link set eth0 up")?;
        inside.ip("route add default via 172.17.0.1")?;
        host.feed("iptables-nft-restore", &["-w"], RULES)?;
        Ok(Self { inside })
    }

    /// The socket of a PBX in it.
    ///
    /// # Errors
    /// If it can't be opened.
    pub fn pbx(&self) -> Result<UdpSocket> {
        self.inside.inside(|| UdpSocket::bind((CONTAINER, SIP)))?.context("listen in the container")
    }
}
