//! [`all`]: what of an interface decides how a program can sit there, for whoever wants to know why.

use std::net::IpAddr;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkInfo, LinkMessage};

use crate::Error;
use crate::kernel::strips_vlan_tags;
use crate::netlink::dump;

/// An interface of this network namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Details {
    /// Its index.
    pub index: u32,
    /// It is a VLAN on another interface.
    pub vlan: bool,
    /// The largest packet it takes.
    pub mtu: u32,
    /// The host's addresses on it.
    pub addresses: Vec<IpAddr>,
    /// Whether it takes VLAN tags off what arrives, if it says.
    pub strips_vlan_tags: Option<bool>,
}

/// Every interface.
///
/// # Errors
/// [`Error::Netlink`] if the kernel does not answer.
pub fn all() -> Result<Vec<Details>, Error> {
    let ask = |request| dump(request).map_err(Error::Netlink);
    let links = ask(RouteNetlinkMessage::GetLink(LinkMessage::default()))?;
    let mut found: Vec<Details> = links
        .iter()
        .filter_map(|message| match message {
            RouteNetlinkMessage::NewLink(link) => Some(read_link(link)),
            _ => None,
        })
        .collect();
    for message in ask(RouteNetlinkMessage::GetAddress(AddressMessage::default()))? {
        if let RouteNetlinkMessage::NewAddress(message) = message
            && let Some(details) = found.iter_mut().find(|it| it.index == message.header.index)
        {
            details.addresses.extend(address(&message));
        }
    }
    Ok(found)
}

/// The host's own address, which on a point-to-point link is not the far end's.
fn address(message: &AddressMessage) -> Option<IpAddr> {
    let attributes = message.attributes.iter();
    let local = attributes.clone().find_map(|attribute| match attribute {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    });
    local.or_else(|| {
        attributes.clone().find_map(|attribute| match attribute {
            AddressAttribute::Address(address) => Some(*address),
            _ => None,
        })
    })
}

fn read_link(link: &LinkMessage) -> Details {
    let mut details = Details {
        index: link.header.index,
        vlan: false,
        mtu: 0,
        addresses: Vec::new(),
        strips_vlan_tags: None,
    };
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::IfName(name) => details.strips_vlan_tags = strips_vlan_tags(name),
            LinkAttribute::Mtu(mtu) => details.mtu = *mtu,
            LinkAttribute::LinkInfo(infos) => {
                details.vlan =
                    infos.iter().any(|info| matches!(info, LinkInfo::Kind(InfoKind::Vlan)));
            }
            _ => {}
        }
    }
    details
}
