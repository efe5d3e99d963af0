//! What the engine knows of whom a policy would cut.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};

use geofilter_core::apply::state;
use geofilter_core::book::{Kind, Resolution};
use geofilter_core::change::{Change, Risk};
use geofilter_core::decide::{Context, Overrides, Timed};
use geofilter_core::desired::State;
use geofilter_core::dropped::Dropped;
use geofilter_core::impact::{self, Host, Party};
use geofilter_core::policy::{Policy, Transport};
use geofilter_core::seen::source_of;
use geofilter_core::wire::{Cut, Failure, Kept, Preview, Reply, Who};

use super::engine::Engine;
use super::{clock, records};
use crate::detect;

impl Engine {
    /// What a change would do, or what the policy in force does.
    pub(super) fn preview(
        &mut self,
        change: Option<Change>,
        keep_registered: Option<u64>,
    ) -> Result<Reply, Failure> {
        let accept = change.as_ref().map(|change| change.accept.clone()).unwrap_or_default();
        let policy = match change {
            Some(change) => self.plan(change)?,
            None => self.machine.current(clock::boot()).policy.clone(),
        };
        self.hear_the_pbx_now();
        self.ask_for_sources();
        let mut cut = self.cut_by(&policy);
        let phones = cut.iter().filter(|cut| cut.who == Who::Phone).count();
        let mut exempted = 0;
        if keep_registered.is_some() {
            exempted = cut.iter().filter(|cut| cut.can_be_kept()).count();
            cut.retain(|cut| !cut.can_be_kept());
        }
        let risks = self.risks(&policy, &cut, &accept);
        let kept = self.kept(phones, exempted);
        let warnings = self.doubts();
        let since = self.sources.seen.since().map(records::rfc3339);
        let seen = std::mem::take(&mut self.sources.seen);
        let preview = self.with_host(|host| impact::preview(&policy, &seen, host));
        self.sources.seen = seen;
        Ok(Reply::Preview(Box::new(Preview {
            since,
            would_cut: cut,
            kept,
            risks,
            warnings,
            ..preview
        })))
    }

    /// Whom a policy would cut, of those who are known.
    pub(super) fn cut_by(&mut self, policy: &Policy) -> Vec<Cut> {
        let in_force = self.machine.dropping(clock::boot()).cloned();
        let parties = self.parties(policy);
        self.with_host(|host| impact::cut(policy, in_force.as_ref(), &parties, host))
    }

    /// What must still be accepted before this policy is in force.
    pub(super) fn risks(&self, policy: &Policy, cut: &[Cut], accept: &[Risk]) -> Vec<Risk> {
        let in_force = &self.machine.current(clock::boot()).policy;
        let unknown = impact::risks_unknown_trunks(policy, in_force, self.trunks());
        let unknown = unknown.then_some(Risk::LoseTrunk);
        let (now, clock) = (clock::boot(), self.ledger.clock());
        let is_slow = self.backend.quick_up_to().is_some_and(|ranges| {
            Dropped::of(policy, self.geo.world(), now, clock).ranges() > ranges
        });
        let slow = is_slow.then_some(Risk::SlowNft);
        let cut = cut.iter().filter_map(|cut| cut.risk);
        let mut risks: Vec<Risk> = unknown.into_iter().chain(slow).chain(cut).collect();
        risks.retain(|risk| !accept.contains(risk));
        risks.sort();
        risks.dedup();
        risks
    }

    /// How many trunks are known, or listed by the operator.
    fn trunks(&self) -> usize {
        let detected = self.ear.trusted().map_or(0, |trusted| trusted.trunks.len());
        detected + self.ledger.book.records(Kind::Exemption).len()
    }

    /// Those whom the PBX knows, and those who are connected to a port that would be judged.
    pub(super) fn parties(&self, policy: &Policy) -> Vec<Party> {
        let trusted = self.ear.trusted();
        let devices = trusted.into_iter().flat_map(|trusted| &trusted.devices);
        let mut parties: Vec<Party> = devices
            .map(|device| Party {
                who: Who::Phone,
                name: device.endpoint.clone(),
                address: device.address,
                transport: device.transport.protocol(),
                port: None,
            })
            .collect();
        let known: HashSet<IpAddr> = parties.iter().map(|party| party.address.ip()).collect();
        let judged = |port| policy.scope.contains(Transport::Tcp, port);
        for connection in detect::connections(judged) {
            if connection.who == Who::Phone && known.contains(&connection.remote.ip()) {
                continue;
            }
            parties.push(Party {
                who: connection.who,
                name: connection.program,
                address: connection.remote,
                transport: Transport::Tcp,
                port: Some(connection.port),
            });
        }
        parties
    }

    fn kept(&mut self, cut: usize, exempted: usize) -> Kept {
        let peers = self.live_peers(&mut Vec::new()).len();
        let trusted = self.ear.trusted();
        let (trunks, phones) =
            trusted.map_or((0, 0), |trusted| (trusted.trunks.len(), trusted.devices.len()));
        Kept { trunks, phones: phones.saturating_sub(cut), peers, exempted }
    }

    /// What is not known and would matter.
    fn doubts(&mut self) -> Vec<String> {
        let mut doubts = Vec::new();
        let observed = self.observed(&mut doubts);
        if state(observed.as_ref(), clock::boot()) == State::Off {
            doubts.push(
                "nothing is attached, so nobody was seen: run `geofilter observe` for a day first"
                    .to_owned(),
            );
        } else if self.sources.seen.is_empty() {
            doubts.push(
                "nobody was seen yet: observe for a day, so that everyone who calls has called"
                    .to_owned(),
            );
        }
        doubts.extend(self.ear.doubt().map(str::to_owned));
        let private = self.ear.trusted().map_or(0, |trusted| trusted.private);
        if private > 0 {
            doubts.push(format!("{private} registered phones give a private address: they pass if they are in a network of this host, but where those behind NAT elsewhere call from is not known (rewrite_contact=yes in Asterisk tells)"));
        }
        let book = &self.ledger.book;
        let nameless = book.wanted_names().into_iter().filter(|name| {
            book.resolution(name)
                .is_none_or(|known: &Resolution| known.addresses().next().is_none())
        });
        doubts.extend(nameless.map(|name| {
            format!("{name} is exempt or a trunk, but DNS has given no address for it: calls from there would be judged by country")
        }));
        doubts
    }

    /// Everything that a decision depends on beside the policy, as it would be once it is in force.
    pub(super) fn with_host<T>(&mut self, ask: impl FnOnce(&Host<'_>) -> T) -> T {
        let peers = self.peers_to_be();
        let ledger = &self.ledger;
        let now = clock::boot();
        let overrides = |address: IpAddr| {
            let spans = ledger.table().lookup(address);
            let one = |holds: bool| holds.then(|| Timed { value: address.into(), until: None });
            Overrides {
                exemptions: one(spans.exempt.holds(now)).into_iter().collect(),
                bans: one(spans.ban.holds(now)).into_iter().collect(),
                peers: peers.get(&source_of(address)).cloned().unwrap_or_default(),
            }
        };
        ask(&Host {
            context: Context {
                world: self.geo.world(),
                overrides: &Overrides::default(),
                interface: self.settings.local_sources(),
                now,
                clock: ledger.clock(),
            },
            overrides: &overrides,
        })
    }

    /// The peers there are, and those that the PBX's trunks become.
    fn peers_to_be(&mut self) -> HashMap<IpAddr, Vec<Timed<SocketAddr>>> {
        let mut peers: HashMap<_, Vec<_>> = HashMap::new();
        let trunks = self.ear.trusted().map(|trusted| trusted.trunks.clone()).unwrap_or_default();
        let trunks = trunks.into_iter().map(|value| Timed { value, until: None });
        for peer in self.live_peers(&mut Vec::new()).into_iter().chain(trunks) {
            peers.entry(source_of(peer.value.ip())).or_default().push(peer);
        }
        peers
    }
}
