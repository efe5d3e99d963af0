//! [`preview`]: what a policy would do to those whom a host knows, before it is in force, and [`list`] to a
//! list of addresses, and [`log`] to those whom logs tell of. It judges by [`decide`], as the data plane will.

pub mod list;
pub mod log;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::change::Risk;
use crate::counters::Reason;
use crate::country::{CountryId, CountrySet};
use crate::decide::{Context, Decision, Overrides, decide};
use crate::packet::{Frame, Packet, Upper};
use crate::policy::{Policy, Transport, Verdict};
use crate::seen::{Seen, source_of};
use crate::wire::{Cut, Preview, PreviewAddresses, PreviewCountry, Selection, Share, Who};
use crate::world::World;

/// Somebody whom this host serves, or who works on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Party {
    /// Who they are.
    pub who: Who,
    /// What they are called.
    pub name: String,
    /// Where their packets come from.
    pub address: SocketAddr,
    /// What carries these.
    pub transport: Transport,
    /// To which port; any protected one if it is not known.
    pub port: Option<u16>,
}

/// What the host knows beside the policy. `overrides` says what it knows of one address.
pub struct Host<'a> {
    /// The same for every address, but for the overrides.
    pub context: Context<'a>,
    /// What is known of an address.
    pub overrides: &'a dyn Fn(IpAddr) -> Overrides,
}

impl Host<'_> {
    fn judge(&self, policy: &Policy, party: &Party) -> Decision {
        let port = party.port.unwrap_or_else(|| first_port(policy, party.transport));
        let overrides = (self.overrides)(party.address.ip().to_canonical());
        self.judge_packet(policy, party.address, party.transport, port, &overrides)
    }

    /// Judges somebody of whom nothing is known but the address. If the PBX sent a request there, what comes
    /// back counts.
    pub fn judge_source(&self, policy: &Policy, source: IpAddr) -> Decision {
        let overrides = (self.overrides)(source);
        let peer = overrides.peers.iter().find(|peer| source_of(peer.value.ip()) == source);
        let (address, transport) = match (peer, policy.scope.0.first()) {
            (None, Some(ports)) => (SocketAddr::new(source, 0), ports.transport),
            (Some(peer), _) => (peer.value, Transport::Udp),
            (None, None) => (SocketAddr::new(source, 0), Transport::Udp),
        };
        self.judge_packet(policy, address, transport, first_port(policy, transport), &overrides)
    }

    fn judge_packet(
        &self,
        policy: &Policy,
        from: SocketAddr,
        transport: Transport,
        destination: u16,
        overrides: &Overrides,
    ) -> Decision {
        let upper = Upper::Ports { transport, source: from.port(), destination };
        let packet = Packet { source: from.ip().to_canonical(), upper };
        decide(&Frame::Ip(packet), policy, &Context { overrides, ..self.context })
    }

    fn country(&self, address: IpAddr) -> CountryId {
        self.context.world.lookup(crate::decide::judged_address(address)).primary
    }
}

/// A port that is judged; none if no port of this transport is protected.
fn first_port(policy: &Policy, transport: Transport) -> u16 {
    let mut ports = policy.scope.0.iter().filter(|ports| ports.transport == transport);
    ports.next().map_or(0, |ports| ports.first)
}

/// Whom a policy would cut of these. `in_force` is what drops now, if anything does.
pub fn cut(
    policy: &Policy,
    in_force: Option<&Policy>,
    parties: &[Party],
    host: &Host<'_>,
) -> Vec<Cut> {
    let dropped = |policy: &Policy, party| {
        let decision = host.judge(policy, party);
        (decision.verdict == Verdict::Drop).then_some(decision.reason)
    };
    let cut = parties.iter().filter_map(|party| {
        let banned = dropped(policy, party)? == Reason::Ban;
        let address = party.address.ip().to_canonical();
        let already = in_force.is_some_and(|in_force| dropped(in_force, party).is_some());
        let risk = risk(party.who).filter(|_| !already && !banned);
        let country = host.country(address).code();
        let what = party.to_string();
        Some(Cut { address, country, what, who: party.who, risk, already, banned, logins: None })
    });
    let mut cut: Vec<Cut> = cut.collect();
    cut.sort_by(|a, b| (a.who, &a.what, a.address).cmp(&(b.who, &b.what, b.address)));
    cut.dedup();
    cut
}

/// What must be accepted to lose somebody.
fn risk(who: Who) -> Option<Risk> {
    match who {
        Who::Trunk => Some(Risk::LoseTrunk),
        Who::Phone => Some(Risk::LosePhones),
        Who::Ssh => Some(Risk::LoseSsh),
        Who::Portal => Some(Risk::LosePortal),
        Who::Connection => None,
    }
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.who {
            Who::Trunk => write!(f, "trunk {}", self.name),
            Who::Phone => write!(f, "phone {}", self.name),
            Who::Ssh => f.write_str("ssh session"),
            Who::Portal => f.write_str("portal session"),
            Who::Connection => write!(f, "connection to {}", self.name),
        }
    }
}

/// Whether hosting networks would be dropped from now on although no trunk is known: trunk providers, push
/// services and hosted phone systems are such networks.
pub fn risks_unknown_trunks(policy: &Policy, in_force: &Policy, trunks: usize) -> bool {
    let newly = policy.hosting == Verdict::Drop && in_force.hosting == Verdict::Pass;
    newly && trunks == 0
}

/// What a policy would have done to the sources that were seen, and what it selects. Whom it would cut is
/// for [`cut`].
pub fn preview(policy: &Policy, seen: &Seen, host: &Host<'_>) -> Preview {
    let mut preview = Preview {
        packets: Some(Share::default()),
        selection: selection(policy.countries, host.context.world),
        ..Preview::default()
    };
    let mut packets = Share::default();
    let mut countries: BTreeMap<CountryId, (u64, u64)> = BTreeMap::new();
    for (address, source) in seen.iter() {
        let decision = host.judge_source(policy, address);
        let entry = host.context.world.lookup(crate::decide::judged_address(address));
        let dropped = u64::from(decision.verdict == Verdict::Drop);
        let (all, lost) = countries.entry(entry.primary).or_default();
        *all += 1;
        *lost += dropped;
        add(&mut packets, source.packets(), dropped * source.packets());
        if entry.primary == CountryId::UNKNOWN {
            add(&mut preview.unknown, 1, dropped);
        }
        if entry.disputed() {
            add(&mut preview.disputed, 1, dropped);
        }
    }
    preview.packets = Some(packets);
    preview.by_country = by_country(countries);
    preview.addresses = PreviewAddresses {
        total: preview.by_country.iter().map(|row| row.total).sum(),
        dropped: preview.by_country.iter().map(|row| row.dropped).sum(),
        ..PreviewAddresses::default()
    };
    preview
}

fn add(share: &mut Share, total: u64, dropped: u64) {
    share.total += total;
    share.dropped += dropped;
}

/// Addresses and dropped addresses by country, as a preview tells them.
pub fn by_country(
    countries: impl IntoIterator<Item = (CountryId, (u64, u64))>,
) -> Vec<PreviewCountry> {
    let seen = countries.into_iter().filter(|(_, (total, _))| *total > 0);
    let mut rows: Vec<PreviewCountry> = seen
        .map(|(country, (total, dropped))| PreviewCountry {
            country: country.code(),
            total,
            dropped,
            attempts: None,
        })
        .collect();
    rows.sort_by_key(|row| (std::cmp::Reverse(row.total), row.country));
    rows
}

/// The IPv4 addresses of some countries.
pub fn selection(countries: CountrySet, world: &World) -> Selection {
    let mut selection = Selection::default();
    for (range, id) in world.v4().ranges() {
        let entry = &world.entries()[usize::from(id)];
        if !countries.contains(entry.primary) {
            continue;
        }
        let addresses = u64::from(range.last - range.first) + 1;
        selection.addresses += addresses;
        selection.disputed += if entry.disputed() { addresses } else { 0 };
        selection.hosting += if entry.hosting { addresses } else { 0 };
    }
    selection
}

#[cfg(test)]
mod tests;
