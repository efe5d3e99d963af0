//! [`decide`]: the decision of docs/security.md, pure. It is the oracle that every data plane must equal.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;

use crate::clock::{Clock, UnixTime};
use crate::counters::Reason;
use crate::country::CountryId;
use crate::desired::BootTime;
use crate::packet::{Frame, Packet, Upper};
use crate::policy::{Disputed, Mode, Policy, Transport, Verdict};
use crate::world::{Entry, World};

/// What source addresses may be local on an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LocalSources {
    /// It has a private IPv4 address, or a route to private IPv4 space.
    pub private_v4: bool,
    /// It has a unique local IPv6 address, or a route to such space.
    pub private_v6: bool,
    /// It is the loopback interface.
    pub loopback: bool,
}

/// Something that holds until a time, or for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timed<T> {
    /// What holds.
    pub value: T,
    /// From this time on it does not.
    pub until: Option<BootTime>,
}

impl<T> Timed<T> {
    /// Whether it holds at this time.
    pub fn holds(&self, now: BootTime) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

/// What the host knows of single sources, before geography is asked.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// Prefixes that pass whatever their country.
    pub exemptions: Vec<Timed<IpNet>>,
    /// Addresses and UDP ports the PBX itself sent a request to.
    pub peers: Vec<Timed<SocketAddr>>,
    /// Prefixes that are dropped unless exempt or peer.
    pub bans: Vec<Timed<IpNet>>,
}

/// Everything beside the policy that a decision depends on.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The table.
    pub world: &'a World,
    /// Single sources.
    pub overrides: &'a Overrides,
    /// The interface the packet arrived on.
    pub interface: LocalSources,
    /// When it arrived.
    pub now: BootTime,
    /// What that is in the calendar's time.
    pub clock: Clock,
}

/// A verdict with its reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// Pass or drop, when enforcing.
    pub verdict: Verdict,
    /// Why.
    pub reason: Reason,
    /// The world table's answer, where the decision got as far as asking it.
    pub entry: Option<Entry>,
}

impl Decision {
    fn pass(reason: Reason) -> Self {
        Self { verdict: Verdict::Pass, reason, entry: None }
    }

    fn drop(reason: Reason) -> Self {
        Self { verdict: Verdict::Drop, reason, entry: None }
    }
}

/// Judges what arrived.
pub fn decide(frame: &Frame, policy: &Policy, context: &Context<'_>) -> Decision {
    let packet = match frame {
        Frame::Ip(packet) => packet,
        Frame::NotIp => return Decision::pass(Reason::NotIp),
        Frame::Buried => return Decision::drop(Reason::Martian),
    };
    if !in_scope(packet, policy) {
        return Decision::pass(Reason::OutOfScope);
    }
    decide_local(packet.source, context.interface)
        .or_else(|| decide_override(packet, context))
        .unwrap_or_else(|| {
            let entry = context.world.lookup(judged_address(packet.source));
            decide_entry_at(entry, policy, context.now, context.clock)
        })
}

fn in_scope(packet: &Packet, policy: &Policy) -> bool {
    match packet.upper {
        Upper::Other => false,
        Upper::Ports { transport, destination, .. } => {
            policy.scope.contains(transport, destination)
        }
        Upper::Unreadable => true,
    }
}

/// Where an address belongs before any table is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    Global,
    LinkLocal,
    Private,
    Loopback,
    Multicast,
}

/// Whether an address is of private space: RFC 1918, 100.64/10 and unique local IPv6.
pub fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_private() || v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64,
        IpAddr::V6(v6) => v6.is_unique_local(),
    }
}

fn origin(address: IpAddr) -> Origin {
    match address {
        IpAddr::V4(v4) if v4.is_link_local() => Origin::LinkLocal,
        IpAddr::V6(v6) if v6.is_unicast_link_local() => Origin::LinkLocal,
        _ if is_private(address) => Origin::Private,
        _ if address.is_loopback() => Origin::Loopback,
        _ if address.is_multicast() => Origin::Multicast,
        _ => Origin::Global,
    }
}

/// Whether the decision looks further than where an address belongs: neither private, link-local, loopback
/// nor multicast.
pub fn is_global(address: IpAddr) -> bool {
    origin(address) == Origin::Global
}

fn decide_local(source: IpAddr, interface: LocalSources) -> Option<Decision> {
    let private = match source {
        IpAddr::V4(_) => interface.private_v4,
        IpAddr::V6(_) => interface.private_v6,
    };
    match origin(source) {
        Origin::Global => None,
        Origin::LinkLocal => Some(Decision::pass(Reason::Local)),
        Origin::Private => private.then(|| Decision::pass(Reason::Local)),
        Origin::Loopback if interface.loopback => Some(Decision::pass(Reason::Local)),
        Origin::Loopback | Origin::Multicast => Some(Decision::drop(Reason::Martian)),
    }
}

fn decide_override(packet: &Packet, context: &Context<'_>) -> Option<Decision> {
    let Overrides { exemptions, peers, bans } = context.overrides;
    let covers =
        |prefix: &Timed<IpNet>| prefix.value.contains(&packet.source) && prefix.holds(context.now);
    let is_peer = match packet.upper {
        Upper::Ports { transport: Transport::Udp, source, .. } => {
            let source = SocketAddr::new(packet.source, source);
            peers.iter().any(|peer| peer.value == source && peer.holds(context.now))
        }
        Upper::Ports { transport: Transport::Tcp, .. } | Upper::Other | Upper::Unreadable => false,
    };
    if exemptions.iter().any(covers) {
        return Some(Decision::pass(Reason::Exemption));
    }
    if is_peer {
        return Some(Decision::pass(Reason::Peer));
    }
    bans.iter().any(covers).then(|| Decision::drop(Reason::Ban))
}

/// Judges a source by the world table alone (step 7), and by what is selected for good.
pub fn decide_source(source: IpAddr, policy: &Policy, world: &World) -> Decision {
    decide_entry(world.lookup(judged_address(source)), policy)
}

/// The same of what the table says.
pub fn decide_entry(entry: Entry, policy: &Policy) -> Decision {
    decide_by_world(entry, policy, |country| policy.country_verdict(country))
}

/// The same at a time.
pub(crate) fn decide_entry_at(
    entry: Entry,
    policy: &Policy,
    now: BootTime,
    clock: Clock,
) -> Decision {
    decide_by_world(entry, policy, |country| policy.country_verdict_at(country, now, clock))
}

fn decide_by_world(
    entry: Entry,
    policy: &Policy,
    verdict: impl Fn(CountryId) -> Verdict,
) -> Decision {
    let by_country = by_country(entry, policy.disputed, verdict);
    let (verdict, reason) = match by_country {
        Verdict::Pass if entry.hosting && policy.hosting == Verdict::Drop => {
            (Verdict::Drop, Reason::Hosting)
        }
        _ if entry.primary == CountryId::UNKNOWN => (by_country, Reason::Unknown),
        _ => (by_country, Reason::Country),
    };
    Decision { verdict, reason, entry: Some(entry) }
}

fn by_country(entry: Entry, disputed: Disputed, verdict: impl Fn(CountryId) -> Verdict) -> Verdict {
    let (primary, second) = (verdict(entry.primary), verdict(entry.second));
    match disputed {
        Disputed::Primary => primary,
        Disputed::Lenient if primary == Verdict::Drop => second,
        Disputed::Lenient => Verdict::Pass,
        Disputed::Strict if primary == Verdict::Pass => second,
        Disputed::Strict => Verdict::Drop,
    }
}

impl Policy {
    /// The verdict on one country, without a second opinion and outside of its time.
    pub fn country_verdict(&self, country: CountryId) -> Verdict {
        self.verdict_if(country, self.countries.contains(country))
    }

    /// The same at a time.
    fn country_verdict_at(&self, country: CountryId, now: BootTime, clock: Clock) -> Verdict {
        let boot_time = |seconds| clock.boot(UnixTime(seconds));
        let boxed = self.time_box(country).is_some_and(|time_box| {
            boot_time(time_box.from) <= now && now < boot_time(time_box.until)
        });
        self.verdict_if(country, boxed || self.countries.contains(country))
    }

    fn verdict_if(&self, country: CountryId, selected: bool) -> Verdict {
        match (country, self.mode) {
            (CountryId::UNKNOWN, _) => self.unknown,
            (_, Mode::AllowSelected) if selected => Verdict::Pass,
            (_, Mode::AllowSelected) => Verdict::Drop,
            (_, Mode::BlockSelected) if selected => Verdict::Drop,
            (_, Mode::BlockSelected) => Verdict::Pass,
        }
    }
}

/// The address the table is asked about: for 6to4, NAT64 and Teredo the IPv4 address inside.
pub fn judged_address(source: IpAddr) -> IpAddr {
    match source {
        IpAddr::V4(_) => source,
        IpAddr::V6(v6) => inner_v4(v6).map_or(source, IpAddr::V4),
    }
}

fn inner_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let bits = u128::from(address);
    match address.segments() {
        [0x2002, ..] => Some(Ipv4Addr::from((bits >> 80) as u32)),
        [0x2001, 0, ..] => Some(Ipv4Addr::from(!(bits as u32))),
        [0x64, 0xff9b, 0, 0, 0, 0, ..] => Some(Ipv4Addr::from(bits as u32)),
        _ => None,
    }
}
