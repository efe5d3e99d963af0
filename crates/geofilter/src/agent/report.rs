//! What the engine says when asked and nothing changes: `status` and `why`.

use std::net::IpAddr;

use geofilter_core::apply;
use geofilter_core::counters::Counters;
use geofilter_core::decide::{Context, Overrides, decide};
use geofilter_core::packet::{Frame, Packet, Upper};
use geofilter_core::policy::{Policy, Transport};
use geofilter_core::wire::{Reply, Status, Tally, Why};

use super::engine::Engine;
use super::{clock, plane};

/// Any port that is not protected: the source port of a packet changes no verdict without peers.
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
        if self.machine.policy_lost() {
            warnings.push(
                "the kernel holds a policy that this agent does not know; it stays in force until you choose one with `allow` or `block`"
                    .to_owned(),
            );
        }
        if self.machine.unsaved() {
            warnings.push(
                "what is in force could not be saved yet: a restart would undo it".to_owned(),
            );
        }
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
        let now = clock::boot();
        let observed = self.observed(&mut Vec::new());
        let policy = &self.machine.current(now).policy;
        let first = policy.scope.0.first();
        let protocol = protocol.or(first.map(|ports| ports.transport)).unwrap_or(Transport::Udp);
        let port = port.or(first.map(|ports| ports.first)).unwrap_or(SOURCE_PORT);
        let upper = Upper::Ports { transport: protocol, source: SOURCE_PORT, destination: port };
        let context = Context {
            world: self.geo.world(),
            overrides: &Overrides::default(),
            interface: self.settings.local_sources(),
            now,
            booted_at: clock::booted_at(),
        };
        let decision = decide(&Frame::Ip(Packet { source: address, upper }), policy, &context);
        let known = !self.machine.policy_lost();
        Reply::Why(Why {
            lookup: self.geo.lookup(address),
            verdict: known.then_some(decision.verdict),
            reason: known.then_some(decision.reason),
            port: Some(port),
            protocol: Some(protocol),
            state: Some(apply::state(observed.as_ref(), now)),
        })
    }
}
