//! What monitoring reads: [`text`] is how the host stands, as OpenMetrics text, and [`server`] hands it out. No address of
//! anybody is in it.

mod server;

use std::fmt;

use geofilter_core::counters::Traffic;
use geofilter_core::desired::State;
use geofilter_core::wire::{Geodata, Status, UpdateOutcome};
use jiff::Timestamp;
use procfs::process::Process;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

pub(super) use server::{Listener, serve, serve_at};

use super::plane;
use crate::cli::render::words;

const DAY: i64 = 86_400;
const UNLABELLED: [(&str, &str); 0] = [];
const STATES: [State; 5] =
    [State::Off, State::Observing, State::Enforcing, State::Paused, State::Pending];
const OUTCOMES: [UpdateOutcome; 4] =
    [UpdateOutcome::Used, UpdateOutcome::Same, UpdateOutcome::Held, UpdateOutcome::Failed];

/// How the host stands, in the text format of OpenMetrics 1.0 (<https://prometheus.io/docs/specs/om/open_metrics_spec/>).
///
/// # Errors
/// None but that of the formatter.
pub(super) fn text(status: Box<Status>, geodata: Box<Geodata>) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Host { status, geodata }));
    registry.register_collector(Box::new(Agent));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

/// What the agent answered.
#[derive(Debug)]
struct Host {
    status: Box<Status>,
    geodata: Box<Geodata>,
}

impl Collector for Host {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut families = Families(encoder);
        self.of_the_filter(&mut families)?;
        self.of_the_packets(&mut families)?;
        self.of_the_data(&mut families)
    }
}

impl Host {
    fn of_the_filter(&self, families: &mut Families<'_>) -> fmt::Result {
        let Status { state, generation, remaining, counts, pbx, warnings, .. } = &*self.status;
        let is = STATES.map(|one| ([("state", words(&one))], truth(one == *state)));
        families.gauges("geofilter_state", "What the kernel does now: 1", is)?;
        families.gauge(
            "geofilter_generation",
            "What is in force has this number",
            generation.0 as f64,
        )?;
        if let Some(seconds) = remaining {
            let until = "Until what is in force ends by itself; absent if it does not";
            families.gauge("geofilter_remaining_seconds", until, *seconds as f64)?;
        }
        families.gauges(
            "geofilter_interface_protected",
            "1 for an interface that the filter is attached to",
            self.interfaces(),
        )?;
        let warned = "What `geofilter status` warns of";
        families.gauge("geofilter_warnings", warned, count(warnings.len()))?;
        families.gauge("geofilter_exemptions", "Exemptions that hold", count(counts.exemptions))?;
        families.gauge("geofilter_bans", "Bans that hold", count(counts.bans))?;
        families.gauge("geofilter_peers", "Whom the PBX contacted first", count(counts.peers))?;
        let known = pbx.iter().flat_map(|pbx| [("device", pbx.devices), ("trunk", pbx.trunks)]);
        let known = known.map(|(kind, number)| ([("kind", kind)], count(number)));
        families.gauges("geofilter_pbx_known", "What the PBX knows; absent without one", known)
    }

    /// Those that are to be protected, by how each is.
    fn interfaces(&self) -> impl Iterator<Item = ([(&str, &str); 2], f64)> {
        self.status.interfaces.iter().map(|name| {
            let mut attached = self.status.attachments.iter();
            let backend = attached.find(|one| one.interface == *name);
            let backend = backend.map(|attached| plane::name(attached.kind));
            let labels = [("interface", &**name), ("backend", backend.unwrap_or("none"))];
            (labels, truth(backend.is_some()))
        })
    }

    fn of_the_packets(&self, families: &mut Families<'_>) -> fmt::Result {
        let Status { dropped, would_drop, passed, skipped_events, .. } = &*self.status;
        let tallies = [("dropped", dropped), ("would_drop", would_drop), ("passed", passed)];
        let mut by_country = Vec::new();
        let mut by_reason = Vec::new();
        for (verdict, tally) in tallies {
            let verdict = ("verdict", verdict.to_owned());
            by_country.extend(tally.by_country.iter().map(|(country, traffic)| {
                ([verdict.clone(), ("country", country.to_string())], *traffic)
            }));
            by_reason.extend(
                tally.by_reason.iter().map(|(reason, traffic)| {
                    ([verdict.clone(), ("reason", words(reason))], *traffic)
                }),
            );
        }
        families.traffic("geofilter", "judged, by the country of the source", &by_country)?;
        families.traffic(
            "geofilter_by_reason",
            "judged, by the reason of the verdict",
            &by_reason,
        )?;
        let skipped = "Drops that the log does not tell of";
        families.counter("geofilter_log_skipped", skipped, *skipped_events)
    }

    fn of_the_data(&self, families: &mut Families<'_>) -> fmt::Result {
        let Geodata { data, held, last, .. } = &*self.geodata;
        let dates = data
            .sources
            .iter()
            .filter_map(|source| Some(([("source", &*source.name)], (source.day()? * DAY) as f64)));
        families.gauges("geofilter_data_date_seconds", "Of when a source is, since 1970", dates)?;
        let ranges = [("4", data.ipv4_ranges), ("6", data.ipv6_ranges)];
        let ranges = ranges.map(|(family, ranges)| ([("ip", family)], count(ranges)));
        families.gauges("geofilter_data_ranges", "Ranges of the country data", ranges)?;
        let waits = "1 while new country data waits for an approval";
        families.gauge("geofilter_data_held", waits, truth(held.is_some()))?;
        let Some(last) = last else { return Ok(()) };
        let came = OUTCOMES.map(|one| ([("outcome", words(&one))], truth(one == last.outcome)));
        families.gauges(
            "geofilter_data_update_outcome",
            "What came of the last update: 1",
            came,
        )?;
        let ended = "When the last update ended, since 1970";
        match last.time.parse::<Timestamp>() {
            Ok(at) => families.gauge("geofilter_data_update_seconds", ended, at.as_second() as f64),
            Err(_) => Ok(()),
        }
    }
}

/// The agent as a process, by the names that Prometheus' clients give what every process has.
#[derive(Debug)]
struct Agent;

impl Collector for Agent {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Ok(process) = Process::myself() else { return Ok(()) };
        let mut families = Families(encoder);
        if let Ok(stat) = process.stat() {
            let seconds = (stat.utime + stat.stime) as f64 / procfs::ticks_per_second() as f64;
            families.counter("process_cpu_seconds", "CPU that the agent used", seconds)?;
            let resident = stat.rss as f64 * procfs::page_size() as f64;
            families.gauge("process_resident_memory_bytes", "Memory of the agent", resident)?;
        }
        match process.fd_count() {
            Ok(open) => families.gauge("process_open_fds", "Open files of the agent", count(open)),
            Err(_) => Ok(()),
        }
    }
}

/// Families of metrics, one after the other.
struct Families<'a>(DescriptorEncoder<'a>);

impl Families<'_> {
    fn of<Labels: EncodeLabelSet, Value: EncodeMetric>(
        &mut self,
        (name, help): (&str, &str),
        kind: MetricType,
        values: impl IntoIterator<Item = (Labels, Value)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, kind)?;
        values
            .into_iter()
            .try_for_each(|(labels, value)| value.encode(family.encode_family(&labels)?))
    }

    fn gauges<Labels: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Labels, f64)>,
    ) -> fmt::Result {
        let values = values.into_iter().map(|(labels, value)| (labels, ConstGauge::new(value)));
        self.of((name, help), MetricType::Gauge, values)
    }

    fn gauge(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        self.gauges(name, help, [(UNLABELLED, value)])
    }

    fn counters<Labels: EncodeLabelSet, Value>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Labels, Value)>,
    ) -> fmt::Result
    where
        ConstCounter<Value>: EncodeMetric,
    {
        let values = values.into_iter().map(|(labels, value)| (labels, ConstCounter::new(value)));
        self.of((name, help), MetricType::Counter, values)
    }

    fn counter<Value>(&mut self, name: &str, help: &str, value: Value) -> fmt::Result
    where
        ConstCounter<Value>: EncodeMetric,
    {
        self.counters(name, help, [(UNLABELLED, value)])
    }

    /// Packets, and bytes.
    fn traffic(
        &mut self,
        name: &str,
        of_which: &str,
        traffic: &[([(&str, String); 2], Traffic)],
    ) -> fmt::Result {
        let each = |of: fn(&Traffic) -> u64| {
            traffic.iter().map(move |(labels, traffic)| (labels.clone(), of(traffic)))
        };
        let packets = each(|traffic| traffic.packets);
        self.counters(&format!("{name}_packets"), &format!("packets {of_which}"), packets)?;
        let bytes = each(|traffic| traffic.bytes);
        self.counters(&format!("{name}_bytes"), &format!("bytes {of_which}"), bytes)
    }
}

fn truth(is: bool) -> f64 {
    f64::from(u8::from(is))
}

fn count(number: usize) -> f64 {
    number as f64
}
