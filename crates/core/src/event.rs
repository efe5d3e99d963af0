//! [`DropEvent`]: a sample of a packet the policy dropped, or would have dropped.

use std::net::IpAddr;

use crate::counters::Reason;
use crate::country::CountryId;
use crate::desired::{BootTime, Generation};

/// One sampled packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DropEvent {
    /// When it arrived.
    pub time: BootTime,
    /// The generation that judged it.
    pub generation: Generation,
    /// Dropped, or only observed.
    pub enforced: bool,
    /// Why.
    pub reason: Reason,
    /// The primary country of its source.
    pub country: CountryId,
    /// Index of the interface it arrived on.
    pub interface: u32,
    /// Source address.
    pub source: IpAddr,
    /// IP protocol number of the transport; 0 if it could not be read.
    pub protocol: u8,
    /// Source port; 0 if it could not be read.
    pub source_port: u16,
    /// Destination port; 0 if it could not be read.
    pub destination_port: u16,
    /// Length from the link header on, in bytes.
    pub length: u32,
    /// Drops of its source that this one stands for: it, and those since the last that was told.
    pub packets: u32,
    /// The start of the transport payload, at most 512 bytes.
    pub payload: Vec<u8>,
}
