//! [`Sources`]: who sends packets to this host, as the data plane remembers it and this agent adds it up.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use geofilter_core::decide::judged_address;
use geofilter_core::seen::{Seen, Source, source_of};
use geofilter_core::wire::{self, Reply, SourceReport};

use super::engine::{Engine, describe};
use super::{ledger, records};

/// How often the data plane is asked.
const INTERVAL: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Sources {
    pub(super) seen: Seen,
    asked: Option<Instant>,
}

impl Engine {
    /// Asks the data plane, when it is time.
    pub(super) fn look_at_sources(&mut self) {
        if self.sources.asked.is_none_or(|asked| asked.elapsed() >= INTERVAL) {
            self.ask_for_sources();
        }
    }

    /// Asks the data plane, so that nothing is missing.
    pub(super) fn ask_for_sources(&mut self) {
        if !self.machine.attached() {
            return;
        }
        self.sources.asked = Some(Instant::now());
        match self.backend.sources() {
            Ok(counts) => self.sources.seen.take(&counts, ledger::unix_now()),
            Err(error) => {
                let error = describe(error);
                self.note_trouble(format!("cannot read who sends packets: {error}"));
            }
        }
    }

    pub(super) fn busiest(&mut self, limit: usize) -> Reply {
        self.ask_for_sources();
        let seen = &self.sources.seen;
        let busiest = seen.busiest(limit).into_iter();
        let sources = busiest.map(|(address, source)| self.report_source(address, source));
        Reply::Sources(wire::Sources { known: seen.len(), sources: sources.collect() })
    }

    /// What was seen of the source that an address belongs to.
    pub(super) fn seen_of(&self, address: IpAddr) -> Option<SourceReport> {
        let source = self.sources.seen.get(address)?;
        Some(self.report_source(source_of(address), source))
    }

    fn report_source(&self, address: IpAddr, source: &Source) -> SourceReport {
        let entry = self.geo.world().lookup(judged_address(address));
        let announced = self.geo.announced_by([address]).remove(&address);
        SourceReport {
            source: match address {
                IpAddr::V4(v4) => v4.to_string(),
                IpAddr::V6(v6) => format!("{v6}/64"),
            },
            country: entry.primary.code(),
            asn: announced.as_ref().map(|(asn, _)| *asn),
            as_name: announced.map(|(_, name)| name),
            passed: source.passed,
            dropped: source.dropped,
            lately: source.lately,
            first: records::rfc3339(source.first),
            last: records::rfc3339(source.last),
        }
    }
}
