//! Interfaces, how the programs sit on them, and what else filters there.

use std::net::IpAddr;

use super::Severity::{Note, Problem, Warning};
use super::agent::status;
use super::facts::Interface;
use super::{Check, Code, Complaint, Facts, Outcome, Seen};
use crate::decide::is_global;
use crate::desired::AttachmentKind;
use crate::pbx::{Pbx, Socket};

/// Larger packets than this no driver takes beside native XDP (the smallest of those that were measured).
const LARGEST: u32 = 3498;
/// A set of this size makes every `nft add element` on the machine take a tenth of a second.
const LARGE: usize = 10_000;

pub(super) const CHECKS: &[Check] = &[
    (Code::InterfaceUnprotected, interface_unprotected),
    (Code::Ipv6Unprotected, ipv6_unprotected),
    (Code::NotNativeXdp, not_native_xdp),
    (Code::GenericXdp, generic_xdp),
    (Code::VlanTagsHidden, vlan_tags_hidden),
    (Code::ProgramsOfOthers, programs_of_others),
    (Code::LargeNftSets, large_nft_sets),
    (Code::OtherFirewall, other_firewall),
];

fn interfaces(facts: &Facts) -> Seen<&[Interface]> {
    facts.interfaces.as_deref().map_err(Clone::clone)
}

/// The interfaces to elsewhere that are not protected.
fn unprotected(facts: &Facts) -> Seen<impl Iterator<Item = &Interface>> {
    let protected = &status(facts)?.interfaces;
    let others = interfaces(facts)?.iter();
    Ok(others.filter(move |it| !it.loopback && !protected.contains(&it.name)))
}

/// What the PBXs of this host take calls on.
fn sip_sockets(facts: &Facts) -> impl Iterator<Item = &Socket> {
    let pbxs = facts.detected.pbx.iter();
    pbxs.flat_map(|pbx: &Pbx| {
        let scope = pbx.scope().unwrap_or_else(|| crate::policy::Scope(Vec::new()));
        pbx.sockets.iter().filter(move |it| scope.contains(it.protocol, it.address.port()))
    })
}

/// Whether calls to this address reach the PBX.
fn takes_calls(facts: &Facts, address: IpAddr) -> bool {
    sip_sockets(facts).any(|socket| {
        let bound = socket.address.ip();
        bound == address || bound.is_unspecified() && bound.is_ipv6() == address.is_ipv6()
    })
}

fn interface_unprotected(facts: &Facts) -> Outcome {
    let remedy = "name every interface that calls arrive on with --interface, or in `interfaces` of the configuration, and restart the agent";
    let complaint = |interface: &Interface| {
        let name = &interface.name;
        if interface.default_route {
            return Some(Complaint::new(
                Problem,
                format!(
                    "{name} has a default route and is not protected: what arrives there is not filtered"
                ),
                remedy,
            ));
        }
        let open = |address: &IpAddr| is_global(*address) && takes_calls(facts, *address);
        let address = interface.addresses.iter().find(|it| it.is_ipv4() && open(it))?;
        Some(Complaint::new(
            Warning,
            format!("the PBX takes calls to {address} on {name}, which is not protected"),
            remedy,
        ))
    };
    Ok(unprotected(facts)?.filter_map(complaint).collect())
}

fn ipv6_unprotected(facts: &Facts) -> Outcome {
    let complaint = |interface: &Interface| {
        let open = |it: &&IpAddr| it.is_ipv6() && is_global(**it) && takes_calls(facts, **it);
        let address = interface.addresses.iter().find(open)?;
        Some(Complaint::new(
            Problem,
            format!(
                "the PBX takes calls over IPv6, to {address} on {}, which is not protected",
                interface.name
            ),
            "protect that interface too (--interface), or have the PBX listen on IPv4 alone",
        ))
    };
    Ok(unprotected(facts)?.filter_map(complaint).collect())
}

fn not_native_xdp(facts: &Facts) -> Outcome {
    let all = interfaces(facts)?;
    let by_tc = status(facts)?.attachments.iter().filter(|it| it.kind == AttachmentKind::Tc);
    let complaint = |name: &str| {
        let why = why_not_native(facts, all.iter().find(|it| it.name == name));
        Complaint::new(
            Note,
            format!(
                "on {name} the filter sits on TC, which costs several times as much as native XDP: {why}"
            ),
            "nothing has to be done; for native XDP see to that reason and restart the agent with --backend xdp in a quiet moment, since it may reset the card",
        )
    };
    Ok(by_tc.map(|attachment| complaint(&attachment.interface)).collect())
}

fn why_not_native(facts: &Facts, interface: Option<&Interface>) -> String {
    let Some(interface) = interface else { return "the interface is gone".to_owned() };
    let mut of_others = facts.detected.surroundings.programs.iter();
    let xdp = of_others.find(|it| it.interface == interface.name && it.hook == "xdp");
    match xdp {
        _ if !interface.ethernet => "its packets have no Ethernet header".to_owned(),
        Some(program) => format!("the XDP program {} of somebody else holds it", program.name),
        None if interface.vlan => {
            "it is a VLAN on another interface, which no driver takes it on".to_owned()
        }
        None if interface.mtu > LARGEST => {
            format!(
                "its MTU of {} is too large for it (up to {LARGEST} on most drivers)",
                interface.mtu
            )
        }
        None => "it was asked for, a PBX was listening when it was attached, or the driver refused"
            .to_owned(),
    }
}

fn generic_xdp(facts: &Facts) -> Outcome {
    let generic = status(facts)?.attachments.iter();
    let generic = generic.filter(|it| it.kind == AttachmentKind::XdpGeneric);
    Ok(generic.map(|it| Complaint::new(
        Warning,
        format!("on {} the filter sits on generic XDP: every packet is copied into one piece first, which costs 3.5 times as much as native XDP", it.interface),
        "restart the agent with --backend tc, or with --backend xdp where the driver takes it",
    )).collect())
}

fn vlan_tags_hidden(facts: &Facts) -> Outcome {
    let status = status(facts)?;
    let is_generic = |name: &str| {
        let mut attachments = status.attachments.iter();
        attachments.any(|it| it.interface == name && it.kind == AttachmentKind::XdpGeneric)
    };
    let generic = interfaces(facts)?.iter().filter(|it| is_generic(&it.name));
    let mut complaints = Vec::new();
    for interface in generic {
        let strips = interface.strips_vlan_tags;
        let strips = strips.ok_or_else(|| format!("{} does not say", interface.name))?;
        complaints.extend(strips.then(|| Complaint::new(
            Note,
            format!("{} takes VLAN tags off before generic XDP sees the packets (rxvlan): those of all VLANs are judged as if they had none", interface.name),
            format!("use --backend tc, or ethtool -K {} rxvlan off", interface.name),
        )));
    }
    Ok(complaints)
}

fn programs_of_others(facts: &Facts) -> Outcome {
    let notes = &facts.detected.notes;
    if let Some(why) = notes.iter().find(|note| note.starts_with("the programs on")) {
        return Err(why.clone());
    }
    let protected = &status(facts)?.interfaces;
    let programs = facts.detected.surroundings.programs.iter();
    let inbound = programs.filter(|it| it.hook != "tc egress" && protected.contains(&it.interface));
    Ok(inbound.map(|it| Complaint::new(
        Note,
        format!("the program {} of somebody else is on {} too ({}): what it drops or sends elsewhere GeoFilter does not count", it.name, it.interface, it.hook),
        "see `bpftool net` for whose it is; `status` warns where it comes before GeoFilter and may let packets by",
    )).collect())
}

/// Rulesets can't be listed.
pub(super) fn unlisted(facts: &Facts) -> Option<String> {
    facts.detected.notes.iter().find(|note| note.starts_with("the nftables")).cloned()
}

fn large_nft_sets(facts: &Facts) -> Outcome {
    if let Some(why) = unlisted(facts) {
        return Err(why);
    }
    let firewalls = facts.detected.surroundings.firewalls.iter();
    let sets =
        firewalls.flat_map(|firewall| firewall.large_sets.iter().map(move |set| (firewall, set)));
    let large = sets.filter(|(_, set)| set.elements >= LARGE);
    Ok(large.map(|(firewall, set)| Complaint::new(
        Warning,
        format!("the set {} of {} has {} elements: with it every `nft add element` on this machine is slow (a tenth of a second for 10,000, 14 s and more for the whole world), and fail2ban gives up after 60 s", set.name, firewall.name, set.elements),
        "let GeoFilter do that filtering and remove the set, or merge its neighbouring prefixes",
    )).collect())
}

fn other_firewall(facts: &Facts) -> Outcome {
    if let Some(why) = unlisted(facts) {
        return Err(why);
    }
    let surroundings = &facts.detected.surroundings;
    let mut owners: Vec<&str> = surroundings.firewalls.iter().filter_map(|it| it.owner).collect();
    let product = facts.detected.pbx.iter().filter_map(|pbx| pbx.distribution.as_ref());
    owners.extend(product.map(|product| product.name));
    owners.sort_unstable();
    owners.dedup();
    let complaints = owners.iter().filter_map(|owner| {
        let does = match *owner {
            "firewalld" => "its reload replaces its own table alone",
            "ufw" => "its reload flushes its own chains alone",
            "Docker" => "its restart writes its own chains anew, and fail2ban's or yours in the same tables may go",
            "FreePBX" => "it flushes iptables whenever it starts, and fail2ban's chains there with it",
            _ => return None,
        };
        Some(Complaint::new(
            Note,
            format!("{owner} filters here too: {does}. Nothing of that touches GeoFilter, whose programs are in no ruleset, and which lets nothing past the rules of others"),
            "nothing has to be done; what GeoFilter lets in must be let in there as well",
        ))
    });
    Ok(complaints.collect())
}
