//! What the engine says when asked and nothing changes: `status` and `why`.

use std::net::{IpAddr, SocketAddr};

use geofilter_core::apply;
use geofilter_core::book::{Cover, Kind};
use geofilter_core::counters::{Counters, Reason};
use geofilter_core::decide::{Context, Overrides, Timed, decide, judged_address};
use geofilter_core::packet::{Frame, Packet, Upper};
use geofilter_core::policy::{Policy, Transport};
use geofilter_core::wire::{Counts, DecidedBy, POLICY_LOST, Reply, Status, Tally, UNSAVED, Why};

use super::engine::Engine;
use super::overrides::peer_report;
use super::{clock, ledger, plane, records};
use crate::cli::failed;

/// The source port of a packet changes no verdict unless it is that of a peer.
const SOURCE_PORT: u16 = 5060;

impl Engine {
    pub(super) fn status(&mut self) -> Reply {
        let now = clock::boot();
        let mut warnings = self.warnings.clone();
        let observed = self.observed(&mut warnings);
        let counters = match observed {
            Some(_) => self.counters(&mut warnings),
            None => Counters::default(),
        };
        warnings.extend(self.trouble.as_ref().map(|(trouble, _)| trouble.clone()));
        warnings.extend(self.plane_trouble.warning());
        warnings.extend(self.files.trouble.warning());
        warnings.extend(self.fleet.warning());
        warnings.extend(self.mended.warnings(now));
        if self.machine.policy_lost() {
            warnings.push(POLICY_LOST.to_owned());
        }
        if self.machine.unsaved() {
            warnings.push(UNSAVED.to_owned());
        }
        let counts = self.counts(&mut warnings);
        let standing = self.machine.current(now);
        let Policy { mode, countries, scope, hosting, unknown, disputed, time_boxes } =
            standing.policy.clone();
        let attachments = observed.as_ref().map(|observed| observed.attachments.clone());
        let attachments = attachments.unwrap_or_default();
        Reply::Status(Box::new(Status {
            state: apply::state(observed.as_ref(), now),
            mode,
            countries,
            unknown,
            hosting,
            disputed,
            scope,
            time_boxes,
            generation: self.machine.generation(now),
            remaining: self.remaining(now),
            backend: attachments.first().map(|first| plane::name(first.kind).to_owned()),
            interfaces: self.settings.names(),
            attachments,
            data: self.geo.data(),
            dropped: Tally::of(&counters, |outcomes| outcomes.dropped),
            would_drop: Tally::of(&counters, |outcomes| outcomes.would_drop),
            passed: Tally::of(&counters, |outcomes| outcomes.passed),
            skipped_events: counters.skipped_events,
            sampled: counters.sampled,
            counts,
            pbx: self.ear.known(),
            fleet: self.fleet.report(),
            warnings,
        }))
    }

    fn counters(&mut self, warnings: &mut Vec<String>) -> Counters {
        self.backend.counters().unwrap_or_else(|error| {
            warnings.push(format!("cannot read the counters: {error}"));
            Counters::default()
        })
    }

    pub(super) fn why(
        &mut self,
        address: IpAddr,
        port: Option<u16>,
        protocol: Option<Transport>,
    ) -> Reply {
        let lookup = match self.geo.lookup(address) {
            Ok(lookup) => lookup,
            Err(error) => return Reply::Error(failed(format!("{error:#}"))),
        };
        let now = clock::boot();
        let observed = self.observed(&mut Vec::new());
        self.ask_for_sources();
        let counters = observed.as_ref().map(|_| self.counters(&mut Vec::new()));
        let country = self.geo.world().lookup(judged_address(address)).primary;
        let peers = self.live_peers(&mut Vec::new());
        let peer = peers.iter().find(|peer| peer.value.ip() == address);
        let policy = &self.machine.current(now).policy;
        let first = policy.scope.0.first();
        let protocol = protocol.or(first.map(|ports| ports.transport)).unwrap_or(Transport::Udp);
        let port = port.or(first.map(|ports| ports.first)).unwrap_or(SOURCE_PORT);
        let source = peer.map_or(SOURCE_PORT, |peer| peer.value.port());
        let upper = Upper::Ports { transport: protocol, source, destination: port };
        let covers = self.covers(address, ledger::unix_now());
        let context = Context {
            world: self.geo.world(),
            overrides: &overrides(address, &covers, peer),
            interface: self.settings.local_sources(),
            now,
            clock: self.ledger.clock(),
        };
        let decision = decide(&Frame::Ip(Packet { source: address, upper }), policy, &context);
        let known = !self.machine.policy_lost();
        let reason = known.then_some(decision.reason);
        Reply::Why(Box::new(Why {
            lookup,
            verdict: known.then_some(decision.verdict),
            reason,
            port: Some(port),
            protocol: Some(protocol),
            state: Some(apply::state(observed.as_ref(), now)),
            decided_by: reason.and_then(|reason| self.decided_by(reason, &covers, peer)),
            seen: self.seen_of(address),
            of_country: counters.map(|counters| *counters.country(country)),
        }))
    }

    fn decided_by(
        &self,
        reason: Reason,
        covers: &[Cover<'_>],
        peer: Option<&Timed<SocketAddr>>,
    ) -> Option<DecidedBy> {
        let longest = |kind| {
            let cover = covers.iter().find(|cover| cover.kind == kind)?;
            Some(records::report(cover.record, &self.ledger.book, ledger::unix_now()))
        };
        match reason {
            Reason::Exemption => longest(Kind::Exemption).map(DecidedBy::Exemption),
            Reason::Ban => longest(Kind::Ban).map(DecidedBy::Ban),
            Reason::Peer => peer.map(peer_report).map(DecidedBy::Peer),
            Reason::NotIp
            | Reason::OutOfScope
            | Reason::Local
            | Reason::Martian
            | Reason::Country
            | Reason::Unknown
            | Reason::Hosting => None,
        }
    }

    fn counts(&mut self, warnings: &mut Vec<String>) -> Counts {
        let peers = self.live_peers(warnings).len();
        let now = ledger::unix_now();
        let book = &self.ledger.book;
        let count = |kind| book.records(kind).filter(|record| record.holds(now)).count();
        Counts { exemptions: count(Kind::Exemption), bans: count(Kind::Ban), peers }
    }
}

/// What is known of one address alone.
fn overrides(address: IpAddr, covers: &[Cover<'_>], peer: Option<&Timed<SocketAddr>>) -> Overrides {
    let of = |kind| {
        let covers = covers.iter().filter(move |cover| cover.kind == kind);
        covers.map(|_| Timed { value: address.into(), until: None }).collect()
    };
    Overrides {
        exemptions: of(Kind::Exemption),
        bans: of(Kind::Ban),
        peers: peer.copied().into_iter().collect(),
    }
}
