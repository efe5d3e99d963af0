//! [`Sources`]: who sends packets to this host, as the data plane remembers it and this agent adds it up.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use geofilter_core::country::CountryCode;
use geofilter_core::decide::judged_address;
use geofilter_core::seen::{Seen, Source, source_of};
use geofilter_core::wire::{self, CountryReport, Reply, SourceReport};

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
        Reply::Sources(wire::Sources {
            known: seen.len(),
            countries: self.countries_seen(),
            sources: self.report_sources(&seen.busiest(limit)),
        })
    }

    /// The countries of everybody who was seen, the busiest first.
    fn countries_seen(&self) -> Vec<CountryReport> {
        let mut countries = BTreeMap::new();
        for (address, source) in self.sources.seen.iter() {
            let country = self.country_of(address);
            let report = countries.entry(country).or_insert(CountryReport {
                country,
                sources: 0,
                passed: 0,
                dropped: 0,
            });
            report.sources += 1;
            report.passed += source.passed;
            report.dropped += source.dropped;
        }
        let mut countries: Vec<CountryReport> = countries.into_values().collect();
        countries.sort_by_key(|report| Reverse(report.passed + report.dropped));
        countries
    }

    /// What was seen of the source that an address belongs to.
    pub(super) fn seen_of(&self, address: IpAddr) -> Option<SourceReport> {
        let source = self.sources.seen.get(address)?;
        self.report_sources(&[(source_of(address), source)]).pop()
    }

    /// Reports all at once: unpacking who announces an address costs the more the oftener it is asked.
    fn report_sources(&self, sources: &[(IpAddr, &Source)]) -> Vec<SourceReport> {
        let mut announced = self.geo.announced_by(sources.iter().map(|(address, _)| *address));
        let report = |&(address, source): &(IpAddr, &Source)| {
            let (asn, as_name) = announced.remove(&address).unzip();
            SourceReport {
                source: match address {
                    IpAddr::V4(v4) => v4.to_string(),
                    IpAddr::V6(v6) => format!("{v6}/64"),
                },
                country: self.country_of(address),
                asn,
                as_name,
                passed: source.passed,
                dropped: source.dropped,
                lately: source.lately,
                first: records::rfc3339(source.first),
                last: records::rfc3339(source.last),
            }
        };
        sources.iter().map(report).collect()
    }

    fn country_of(&self, address: IpAddr) -> CountryCode {
        self.geo.world().lookup(judged_address(address)).primary.code()
    }
}
