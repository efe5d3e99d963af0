//! What monitoring reads of a fleet, as OpenMetrics text. No name or address of a host is in it.

use std::fmt;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// What it is, for whoever reads it.
pub(crate) const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A host, as it is counted.
#[derive(Debug)]
pub(crate) struct Counted {
    /// Of which group.
    pub(crate) group: String,
    /// How far it is.
    pub(crate) progress: String,
    /// Whether it listens.
    pub(crate) connected: bool,
    /// Whether its clock is off.
    pub(crate) clock: bool,
    /// Whether it has other world data than what it is served.
    pub(crate) world: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct How {
    group: String,
    progress: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Of {
    group: String,
}

/// These hosts, in the text format of OpenMetrics 1.0 (<https://prometheus.io/docs/specs/om/open_metrics_spec/>).
///
/// # Errors
/// None but that of the formatter.
pub(crate) fn text(hosts: &[Counted]) -> Result<String, fmt::Error> {
    let (far, listening, off, behind) = (
        Family::<How, Gauge>::default(),
        Family::<Of, Gauge>::default(),
        Family::<Of, Gauge>::default(),
        Family::<Of, Gauge>::default(),
    );
    for Counted { group, progress, connected, clock, world } in hosts {
        let of = Of { group: group.clone() };
        let how = How { group: group.clone(), progress: progress.clone() };
        far.get_or_create(&how).inc();
        listening.get_or_create(&of).inc_by((*connected).into());
        off.get_or_create(&of).inc_by((*clock).into());
        behind.get_or_create(&of).inc_by((*world).into());
    }
    let mut registry = Registry::default();
    registry.register(
        "geofilter_fleet_hosts",
        "Hosts, by how far they are with what is chosen",
        far,
    );
    registry.register(
        "geofilter_fleet_hosts_connected",
        "Hosts that listen to a portal",
        listening,
    );
    registry.register(
        "geofilter_fleet_clocks_off",
        "Hosts whose clock is a minute off or more",
        off,
    );
    registry.register(
        "geofilter_fleet_world_data_older",
        "Hosts whose world data is not that which the portal serves",
        behind,
    );
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_counted_by_group_and_progress_and_names_are_escaped() {
        let host = |progress: &str, connected| Counted {
            group: "a \"b\"\n".to_owned(),
            progress: progress.to_owned(),
            connected,
            clock: false,
            world: connected,
        };
        let told = text(&[host("confirmed", true), host("confirmed", false)]).unwrap();
        let group = r#"group="a \"b\"\n""#;
        for line in [
            format!("geofilter_fleet_hosts{{{group},progress=\"confirmed\"}} 2\n"),
            format!("geofilter_fleet_hosts_connected{{{group}}} 1\n"),
            format!("geofilter_fleet_clocks_off{{{group}}} 0\n"),
            format!("geofilter_fleet_world_data_older{{{group}}} 1\n"),
        ] {
            assert!(told.contains(&line), "{told}");
        }
    }
}
