//! [`Interface`]: what a data plane needs to know of a network interface.

use std::net::IpAddr;

use geofilter_core::decide::LocalSources;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkLayerType, LinkMessage, LinkXdp, XdpAttached};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteType};

use crate::Error;
use crate::netlink::dump;

/// An interface of this network namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its index.
    pub index: u32,
    /// Its packets start with an Ethernet header.
    pub ethernet: bool,
    /// The XDP program on it, by id.
    pub xdp_program: Option<u32>,
    /// It carries a default route.
    pub default_route: bool,
    /// What source addresses may be local there.
    pub local: LocalSources,
}

/// Every interface of this network namespace.
///
/// # Errors
/// [`Error::Netlink`] if the kernel does not answer.
pub fn all() -> Result<Vec<Interface>, Error> {
    let links = dump(RouteNetlinkMessage::GetLink(LinkMessage::default()));
    let addresses = dump(RouteNetlinkMessage::GetAddress(AddressMessage::default()));
    let routes = dump(RouteNetlinkMessage::GetRoute(RouteMessage::default()));
    let mut interfaces: Vec<Interface> = links
        .map_err(Error::Netlink)?
        .iter()
        .filter_map(|message| match message {
            RouteNetlinkMessage::NewLink(link) => read_link(link),
            _ => None,
        })
        .collect();
    for message in
        addresses.map_err(Error::Netlink)?.into_iter().chain(routes.map_err(Error::Netlink)?)
    {
        match message {
            RouteNetlinkMessage::NewAddress(address) => add_address(&mut interfaces, &address),
            RouteNetlinkMessage::NewRoute(route) => add_route(&mut interfaces, &route),
            _ => {}
        }
    }
    Ok(interfaces)
}

/// The protected interfaces: those named, or every one with a default route.
///
/// # Errors
/// [`Error::NoInterface`] or [`Error::NoDefaultRoute`] if there are none; [`Error::Netlink`].
pub fn select(names: &[String]) -> Result<Vec<Interface>, Error> {
    let all = all()?;
    if names.is_empty() {
        let default: Vec<Interface> =
            all.into_iter().filter(|interface| interface.default_route).collect();
        return if default.is_empty() { Err(Error::NoDefaultRoute) } else { Ok(default) };
    }
    names
        .iter()
        .map(|name| {
            let found = all.iter().find(|interface| interface.name == *name).cloned();
            found.ok_or_else(|| Error::NoInterface { name: name.clone() })
        })
        .collect()
}

fn read_link(link: &LinkMessage) -> Option<Interface> {
    let mut interface = Interface {
        name: String::new(),
        index: link.header.index,
        ethernet: matches!(
            link.header.link_layer_type,
            LinkLayerType::Ether | LinkLayerType::Loopback
        ),
        xdp_program: None,
        default_route: false,
        local: LocalSources {
            loopback: link.header.link_layer_type == LinkLayerType::Loopback,
            ..LocalSources::default()
        },
    };
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::IfName(name) => interface.name.clone_from(name),
            LinkAttribute::Xdp(xdp) => interface.xdp_program = xdp_program(xdp),
            _ => {}
        }
    }
    (!interface.name.is_empty()).then_some(interface)
}

fn xdp_program(attributes: &[LinkXdp]) -> Option<u32> {
    let attached = attributes
        .iter()
        .any(|xdp| matches!(xdp, LinkXdp::Attached(kind) if *kind != XdpAttached::None));
    attributes.iter().find_map(|xdp| match xdp {
        LinkXdp::ProgId(id) | LinkXdp::DrvProgId(id) | LinkXdp::SkbProgId(id) if attached => {
            Some(*id)
        }
        _ => None,
    })
}

fn add_address(interfaces: &mut [Interface], message: &AddressMessage) {
    let address = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Address(address) => Some(*address),
        _ => None,
    });
    let interface = interfaces.iter_mut().find(|found| found.index == message.header.index);
    if let Some((interface, address)) = interface.zip(address) {
        add_private(interface, address);
    }
}

fn add_route(interfaces: &mut [Interface], message: &RouteMessage) {
    if message.header.kind != RouteType::Unicast {
        return;
    }
    let mut index = None;
    let mut destination = None;
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Oif(oif) => index = Some(*oif),
            RouteAttribute::Destination(RouteAddress::Inet(v4)) => {
                destination = Some(IpAddr::V4(*v4));
            }
            RouteAttribute::Destination(RouteAddress::Inet6(v6)) => {
                destination = Some(IpAddr::V6(*v6));
            }
            _ => {}
        }
    }
    let interface = interfaces.iter_mut().find(|found| Some(found.index) == index);
    match (interface, destination) {
        (Some(interface), None) if message.header.destination_prefix_length == 0 => {
            interface.default_route = true;
        }
        (Some(interface), Some(destination)) => add_private(interface, destination),
        _ => {}
    }
}

/// Private space on an interface makes such sources local there.
fn add_private(interface: &mut Interface, address: IpAddr) {
    match address {
        IpAddr::V4(v4) => {
            let shared = v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64;
            interface.local.private_v4 |= v4.is_private() || shared;
        }
        IpAddr::V6(v6) => interface.local.private_v6 |= v6.is_unique_local(),
    }
}
