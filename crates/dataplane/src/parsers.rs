//! What is read of what the kernel hands over, without where it comes from: for the tests of hostile input alone.

use std::net::{IpAddr, SocketAddr};

use geofilter_core::decide::Timed;
use geofilter_core::desired::{BootTime, Generation};
use geofilter_core::event::DropEvent;

use crate::{kernel, nft};

/// A record of the ring buffer, which holds the start of an attacker's packet; none if it is no such record.
pub fn event(raw: &[u8]) -> Option<DropEvent> {
    kernel::unpack_event(raw)
}

/// A packet that rules of nftables logged.
#[derive(Debug)]
pub struct LoggedPacket {
    /// Its source.
    pub source: IpAddr,
    /// Bytes, by what its header says.
    pub bytes: u32,
    /// What it carries, as far as that was copied.
    pub payload: Vec<u8>,
}

/// Reads a datagram of netlink's that holds packets which rules logged: their starts are attackers'.
pub fn logged(datagram: &[u8]) -> Vec<LoggedPacket> {
    nft::samples::read(datagram)
}

/// What the kernel lists of a table of ours in nftables.
#[derive(Debug, Default)]
pub struct Listed {
    /// Which changes its chains have in force, now and once a deadline has passed.
    pub banks: Option<(Generation, Option<(Generation, BootTime)>)>,
    /// The elements of its sets that are peers.
    pub peers: Vec<Timed<SocketAddr>>,
}

/// Reads a datagram of netlink's that lists rules or elements.
pub fn listed(datagram: &[u8], now: BootTime) -> Listed {
    nft::read(datagram, now)
}
