//! [`Frame`] and [`Packet`]: what the decision needs to know of what arrived; [`Departure`]: what the
//! tracker needs to know of what leaves. Written apart from the kernel programs and held against them
//! packet by packet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::policy::Transport;

/// VLAN tags that are looked through.
pub const MAX_VLAN_TAGS: usize = 2;
/// IPv6 extension headers that are looked through.
pub const MAX_EXTENSION_HEADERS: usize = 8;

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const ETHERTYPES_VLAN: [u16; 2] = [0x8100, 0x88a8];

const TCP: u8 = 6;
const UDP: u8 = 17;
const UDP_HEADER: usize = 8;
const IPV6_HEADER: u32 = 40;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
/// Hop-by-hop, routing, destination options, mobility: length in units of eight bytes.
const PLAIN_EXTENSIONS: [u8; 4] = [0, 43, 60, 135];

/// What follows the IP header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upper {
    /// Neither UDP nor TCP, or a fragment without their header: never judged.
    Other,
    /// UDP or TCP.
    Ports {
        /// Which of the two.
        transport: Transport,
        /// Source port.
        source: u16,
        /// Destination port.
        destination: u16,
    },
    /// UDP or TCP may hide behind what can't be read: judged as if in scope.
    Unreadable,
}

/// What arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame {
    /// An IP packet.
    Ip(Packet),
    /// Nothing with a readable IP header.
    NotIp,
    /// More VLAN tags than are looked through. Linux takes off any number of priority tags, so what is
    /// below them could be for the PBX.
    Buried,
}

/// An IP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet {
    /// Source address.
    pub source: IpAddr,
    /// What follows.
    pub upper: Upper,
}

/// A UDP datagram on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Departure<'a> {
    /// Where it goes.
    pub to: SocketAddr,
    /// The port it comes from.
    pub port: u16,
    /// What it carries.
    pub payload: &'a [u8],
}

/// The start of an IP packet, as somebody copied it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Excerpt<'a> {
    /// What the decision knows of it.
    pub packet: Packet,
    /// Bytes that the whole of it has, from the IP header on, by what that says.
    pub length: u32,
    /// What it carries, as far as that was copied.
    pub payload: &'a [u8],
}

impl Frame {
    /// Reads an Ethernet frame.
    pub fn from_ethernet(frame: &[u8]) -> Self {
        match read_ethernet(frame) {
            Ok(datagram) => datagram.map_or(Self::NotIp, |datagram| Self::Ip(datagram.packet())),
            Err(Buried) => Self::Buried,
        }
    }
}

impl<'a> Departure<'a> {
    /// Reads an Ethernet frame; `None` if it is not UDP.
    pub fn from_ethernet(frame: &'a [u8]) -> Option<Self> {
        let Datagram { destination, upper, transport, .. } = read_ethernet(frame).ok()??;
        let Upper::Ports { transport: Transport::Udp, source, destination: port } = upper else {
            return None;
        };
        let payload = transport.and_then(|udp| udp.get(UDP_HEADER..)).unwrap_or_default();
        Some(Self { to: SocketAddr::new(destination, port), port: source, payload })
    }
}

impl Packet {
    /// Reads what follows an ethertype.
    pub fn from_ip(ethertype: u16, packet: &[u8]) -> Option<Self> {
        Datagram::read(ethertype, packet).map(|datagram| datagram.packet())
    }
}

impl<'a> Excerpt<'a> {
    /// Reads what begins with an IP header.
    pub fn from_ip(packet: &'a [u8]) -> Option<Self> {
        let (ethertype, length) = match packet.first()? >> 4 {
            4 => (ETHERTYPE_IPV4, u32::from(be16(packet, 2)?)),
            _ => (ETHERTYPE_IPV6, IPV6_HEADER + u32::from(be16(packet, 4)?)),
        };
        let datagram = Datagram::read(ethertype, packet)?;
        let payload = datagram.transport.and_then(|header| match datagram.upper {
            Upper::Ports { transport: Transport::Udp, .. } => header.get(UDP_HEADER..),
            Upper::Ports { transport: Transport::Tcp, .. } => {
                header.get(usize::from(header.get(12)? >> 4) * 4..)
            }
            Upper::Other | Upper::Unreadable => None,
        });
        Some(Self { packet: datagram.packet(), length, payload: payload.unwrap_or_default() })
    }
}

/// An IP packet, and what follows its IP headers.
struct Datagram<'a> {
    source: IpAddr,
    destination: IpAddr,
    upper: Upper,
    /// From the transport header on.
    transport: Option<&'a [u8]>,
}

/// More VLAN tags than are looked through.
struct Buried;

fn read_ethernet(frame: &[u8]) -> Result<Option<Datagram<'_>>, Buried> {
    let mut rest = frame.get(12..).unwrap_or_default();
    for _ in 0..MAX_VLAN_TAGS {
        if is_tag(rest) {
            rest = rest.get(4..).unwrap_or_default();
        }
    }
    if is_tag(rest) {
        return Err(Buried);
    }
    Ok(be16(rest, 0).and_then(|kind| Datagram::read(kind, rest.get(2..)?)))
}

fn is_tag(rest: &[u8]) -> bool {
    be16(rest, 0).is_some_and(|ethertype| ETHERTYPES_VLAN.contains(&ethertype))
}

impl<'a> Datagram<'a> {
    fn read(ethertype: u16, packet: &'a [u8]) -> Option<Self> {
        match ethertype {
            ETHERTYPE_IPV4 => Self::read_ipv4(packet),
            ETHERTYPE_IPV6 => Self::read_ipv6(packet),
            _ => None,
        }
    }

    fn read_ipv4(packet: &'a [u8]) -> Option<Self> {
        let header = packet.get(..20)?;
        let length = usize::from(header[0] & 0xf) * 4;
        if header[0] >> 4 != 4 || length < 20 {
            return None;
        }
        let address = |at| Some(Ipv4Addr::from(<[u8; 4]>::try_from(header.get(at..at + 4)?).ok()?));
        let later_fragment = be16(header, 6)? & 0x1fff != 0;
        let transport = packet.get(length..);
        let upper = match later_fragment {
            true => Upper::Other,
            false => Upper::read(header[9], transport),
        };
        let (source, destination) = (address(12)?.into(), address(16)?.into());
        Some(Self { source, destination, upper, transport })
    }

    fn read_ipv6(packet: &'a [u8]) -> Option<Self> {
        let header = packet.get(..40)?;
        if header[0] >> 4 != 6 {
            return None;
        }
        let address =
            |at| Some(Ipv6Addr::from(<[u8; 16]>::try_from(header.get(at..at + 16)?).ok()?));
        let (upper, transport) = Upper::read_behind_extensions(header[6], packet.get(40..));
        let (source, destination) = (address(8)?.into(), address(24)?.into());
        Some(Self { source, destination, upper, transport })
    }

    fn packet(&self) -> Packet {
        Packet { source: self.source, upper: self.upper }
    }
}

impl Upper {
    fn read(protocol: u8, header: Option<&[u8]>) -> Self {
        let transport = match protocol {
            TCP => Transport::Tcp,
            UDP => Transport::Udp,
            _ => return Self::Other,
        };
        let ports = header.and_then(|header| Some((be16(header, 0)?, be16(header, 2)?)));
        match ports {
            Some((source, destination)) => Self::Ports { transport, source, destination },
            None => Self::Unreadable,
        }
    }

    fn read_behind_extensions(mut next: u8, mut rest: Option<&[u8]>) -> (Self, Option<&[u8]>) {
        for seen in 0.. {
            let plain = PLAIN_EXTENSIONS.contains(&next);
            if !plain && next != FRAGMENT && next != AUTHENTICATION {
                break;
            }
            let Some(header) = rest.and_then(|rest| rest.get(..4)) else {
                return (Self::Unreadable, None);
            };
            if seen == MAX_EXTENSION_HEADERS {
                return (Self::Unreadable, None);
            }
            let length = match next {
                FRAGMENT if u16::from_be_bytes([header[2], header[3]]) >> 3 != 0 => {
                    return (Self::Other, None);
                }
                FRAGMENT => 8,
                AUTHENTICATION => (usize::from(header[1]) + 2) * 4,
                _ => (usize::from(header[1]) + 1) * 8,
            };
            next = header[0];
            rest = rest.and_then(|rest| rest.get(length..));
        }
        (Self::read(next, rest), rest)
    }
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}
