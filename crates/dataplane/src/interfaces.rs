//! [`Interface`]: what a data plane needs to know of a network interface.

use std::net::IpAddr;

use geofilter_core::decide::{LocalSources, is_private};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{
    InfoKind, InfoPortKind, LinkAttribute, LinkInfo, LinkLayerType, LinkMessage, LinkXdp,
    XdpAttached,
};
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
    /// It is a port of a bridge, a bond or a team: what the host sends leaves by that one.
    pub enslaved: bool,
}

impl Interface {
    /// Whether packets of the host leave by it, to somewhere else.
    pub fn leads_out(&self) -> bool {
        !self.local.loopback && !self.enslaved
    }
}

/// Every interface of this network namespace.
///
/// # Errors
/// [`Error::Netlink`] if the kernel does not answer.
pub fn all() -> Result<Vec<Interface>, Error> {
    let ask = |request| dump(request).map_err(Error::Netlink);
    let links = ask(RouteNetlinkMessage::GetLink(LinkMessage::default()))?;
    let addresses = ask(RouteNetlinkMessage::GetAddress(AddressMessage::default()))?;
    let routes = ask(RouteNetlinkMessage::GetRoute(RouteMessage::default()))?;
    let links: Vec<LinkMessage> = links
        .into_iter()
        .filter_map(|message| match message {
            RouteNetlinkMessage::NewLink(link) => Some(link),
            _ => None,
        })
        .collect();
    let mut interfaces: Vec<Interface> = links.iter().filter_map(read_link).collect();
    for message in addresses.into_iter().chain(routes) {
        match message {
            RouteNetlinkMessage::NewAddress(address) => add_address(&mut interfaces, &address),
            RouteNetlinkMessage::NewRoute(route) => add_route(&mut interfaces, &route),
            _ => {}
        }
    }
    add_what_lies_above(&mut interfaces, &links);
    Ok(interfaces)
}

/// The protected interfaces: those named, or every one with a default route and every one in `held`, by
/// index, which was protected before and may be without its route for a while.
///
/// # Errors
/// [`Error::NoInterface`] or [`Error::NoDefaultRoute`] if there are none; [`Error::Netlink`].
pub fn select(names: &[String], held: &[u32]) -> Result<Vec<Interface>, Error> {
    let all = all()?;
    if names.is_empty() {
        let found: Vec<Interface> = all
            .into_iter()
            .filter(|interface| interface.default_route || held.contains(&interface.index))
            .collect();
        return if found.is_empty() { Err(Error::NoDefaultRoute) } else { Ok(found) };
    }
    names
        .iter()
        .map(|name| {
            let found = all.iter().find(|interface| interface.name == *name).cloned();
            found.ok_or_else(|| Error::NoInterface { name: name.clone() })
        })
        .collect()
}

/// What is known of the interfaces to protect.
#[derive(Debug)]
pub struct Known<'a> {
    /// Those that were named, if any.
    pub named: &'a [String],
    /// Those that are protected now, by index.
    pub held: &'a [u32],
    /// Those that were protected before: they may come later, and their routes too, as they do at boot.
    pub before: &'a [String],
}

/// The interfaces to protect.
#[derive(Debug)]
pub struct Found {
    /// Those that are there.
    pub present: Vec<Interface>,
    /// Those that are expected.
    pub absent: Vec<String>,
}

impl Known<'_> {
    /// Finds them. One that was never protected must be there.
    ///
    /// # Errors
    /// As [`select`].
    pub fn find(&self) -> Result<Found, Error> {
        let all = all()?;
        let is_there = |name: &&String| all.iter().any(|interface| interface.name == **name);
        let wanted = if self.named.is_empty() { self.before } else { self.named };
        let known = wanted.iter().filter(|name| self.before.contains(name));
        let absent: Vec<String> = known.filter(|name| !is_there(name)).cloned().collect();
        let names: Vec<String> =
            self.named.iter().filter(|name| !absent.contains(name)).cloned().collect();
        let selected = match !self.named.is_empty() && names.is_empty() {
            true => Ok(Vec::new()),
            false => select(&names, self.held),
        };
        let mut present = match selected {
            Err(Error::NoDefaultRoute) if !self.before.is_empty() => Vec::new(),
            selected => selected?,
        };
        if self.named.is_empty() {
            let is_new = |it: &Interface| !present.iter().any(|found| found.index == it.index);
            let before = all.into_iter().filter(|it| self.before.contains(&it.name));
            let before: Vec<Interface> = before.filter(is_new).collect();
            present.extend(before);
        }
        Ok(Found { present, absent })
    }
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
        enslaved: false,
    };
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::IfName(name) => interface.name.clone_from(name),
            LinkAttribute::LinkInfo(infos) => interface.enslaved = infos.iter().any(is_port),
            LinkAttribute::Xdp(xdp) => interface.xdp_program = xdp_program(xdp),
            _ => {}
        }
    }
    (!interface.name.is_empty()).then_some(interface)
}

/// What a VRF holds sends by itself.
fn is_port(info: &LinkInfo) -> bool {
    matches!(
        info,
        LinkInfo::PortKind(InfoPortKind::Bond | InfoPortKind::Bridge | InfoPortKind::Team)
    )
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
    let interface = interfaces.iter_mut().find(|found| found.index == message.header.index);
    let Some(interface) = interface else { return };
    for attribute in &message.attributes {
        match attribute {
            // On a point-to-point link the one is the host's and the other the far end's.
            AddressAttribute::Local(address) | AddressAttribute::Address(address) => {
                add_private(interface, *address);
            }
            _ => {}
        }
    }
}

fn add_route(interfaces: &mut [Interface], message: &RouteMessage) {
    if message.header.kind != RouteType::Unicast {
        return;
    }
    let mut indices = Vec::new();
    let mut destination = None;
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Oif(oif) => indices.push(*oif),
            RouteAttribute::MultiPath(hops) => {
                indices.extend(hops.iter().map(|hop| hop.interface_index));
            }
            RouteAttribute::Destination(RouteAddress::Inet(v4)) => {
                destination = Some(IpAddr::V4(*v4));
            }
            RouteAttribute::Destination(RouteAddress::Inet6(v6)) => {
                destination = Some(IpAddr::V6(*v6));
            }
            _ => {}
        }
    }
    for interface in interfaces.iter_mut().filter(|found| indices.contains(&found.index)) {
        match destination {
            None => interface.default_route |= message.header.destination_prefix_length == 0,
            Some(destination) => add_private(interface, destination),
        }
    }
}

/// A packet is judged on the protected interface, whatever lies above: what is local on a VLAN, a macvlan
/// or a bridge is local on the interface below.
fn add_what_lies_above(interfaces: &mut [Interface], links: &[LinkMessage]) {
    let pairs: Vec<(u32, u32)> = links.iter().filter_map(upper_and_lower).collect();
    // Once for each storey that can be built: VLAN on bridge on bond on device.
    for _ in 0..4 {
        for (upper, lower) in &pairs {
            let above = interfaces.iter().find(|it| it.index == *upper).map(|it| it.local);
            let below = interfaces.iter_mut().find(|it| it.index == *lower);
            if let Some((above, below)) = above.zip(below) {
                below.local.private_v4 |= above.private_v4;
                below.local.private_v6 |= above.private_v6;
            }
        }
    }
}

/// What an interface lies upon, or the bridge or bond that lies upon it. A veth names its peer in the
/// same way as a VLAN its device, so the kind counts.
fn upper_and_lower(link: &LinkMessage) -> Option<(u32, u32)> {
    let stacked = link.attributes.iter().any(|attribute| match attribute {
        LinkAttribute::LinkInfo(infos) => infos.iter().any(|info| {
            matches!(
                info,
                LinkInfo::Kind(
                    InfoKind::Vlan | InfoKind::MacVlan | InfoKind::MacVtap | InfoKind::IpVlan
                )
            )
        }),
        _ => false,
    });
    link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Link(lower) if stacked => Some((link.header.index, *lower)),
        LinkAttribute::Controller(upper) => Some((*upper, link.header.index)),
        _ => None,
    })
}

/// Private space on an interface makes such sources local there.
fn add_private(interface: &mut Interface, address: IpAddr) {
    match address {
        IpAddr::V4(_) => interface.local.private_v4 |= is_private(address),
        IpAddr::V6(_) => interface.local.private_v6 |= is_private(address),
    }
}
