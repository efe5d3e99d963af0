//! [`Frame`] and [`Packet`]: what the decision needs to know of what arrived. Written apart from the kernel programs and
//! held against them packet by packet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

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

impl Frame {
    /// Reads an Ethernet frame.
    pub fn from_ethernet(frame: &[u8]) -> Self {
        let mut rest = frame.get(12..).unwrap_or_default();
        for _ in 0..MAX_VLAN_TAGS {
            if is_tag(rest) {
                rest = rest.get(4..).unwrap_or_default();
            }
        }
        if is_tag(rest) {
            return Self::Buried;
        }
        let packet = be16(rest, 0).and_then(|kind| Packet::from_ip(kind, rest.get(2..)?));
        packet.map_or(Self::NotIp, Self::Ip)
    }
}

fn is_tag(rest: &[u8]) -> bool {
    be16(rest, 0).is_some_and(|ethertype| ETHERTYPES_VLAN.contains(&ethertype))
}

impl Packet {
    /// Reads what follows an ethertype.
    pub fn from_ip(ethertype: u16, packet: &[u8]) -> Option<Self> {
        match ethertype {
            ETHERTYPE_IPV4 => Self::from_ipv4(packet),
            ETHERTYPE_IPV6 => Self::from_ipv6(packet),
            _ => None,
        }
    }

    fn from_ipv4(packet: &[u8]) -> Option<Self> {
        let header = packet.get(..20)?;
        let length = usize::from(header[0] & 0xf) * 4;
        if header[0] >> 4 != 4 || length < 20 {
            return None;
        }
        let source = Ipv4Addr::from(<[u8; 4]>::try_from(&header[12..16]).ok()?);
        let later_fragment = be16(header, 6)? & 0x1fff != 0;
        let upper = match later_fragment {
            true => Upper::Other,
            false => Upper::read(header[9], packet.get(length..)),
        };
        Some(Self { source: source.into(), upper })
    }

    fn from_ipv6(packet: &[u8]) -> Option<Self> {
        let header = packet.get(..40)?;
        if header[0] >> 4 != 6 {
            return None;
        }
        let source = Ipv6Addr::from(<[u8; 16]>::try_from(&header[8..24]).ok()?);
        let upper = Upper::read_behind_extensions(header[6], packet.get(40..));
        Some(Self { source: source.into(), upper })
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

    fn read_behind_extensions(mut next: u8, mut rest: Option<&[u8]>) -> Self {
        for seen in 0.. {
            let plain = PLAIN_EXTENSIONS.contains(&next);
            if !plain && next != FRAGMENT && next != AUTHENTICATION {
                break;
            }
            let Some(header) = rest.and_then(|rest| rest.get(..4)) else {
                return Self::Unreadable;
            };
            if seen == MAX_EXTENSION_HEADERS {
                return Self::Unreadable;
            }
            let length = match next {
                FRAGMENT if u16::from_be_bytes([header[2], header[3]]) >> 3 != 0 => {
                    return Self::Other;
                }
                FRAGMENT => 8,
                AUTHENTICATION => (usize::from(header[1]) + 2) * 4,
                _ => (usize::from(header[1]) + 1) * 8,
            };
            next = header[0];
            rest = rest.and_then(|rest| rest.get(length..));
        }
        Self::read(next, rest)
    }
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}
