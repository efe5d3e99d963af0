//! [`warnings`]: what of all that was found the operator must know before anything else.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde::Serialize;

use super::{How, Pbx, is_too_wide};
use crate::decide::is_private;
use crate::surroundings::{Forward, Surroundings};

/// What is wrong. The words are stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// All SIP arrives from one private address.
    OnePrivateSource,
    /// A PBX runs in a container.
    Container,
    /// Another firewall sends SIP on to elsewhere.
    Forwarded,
    /// An identify takes calls from a good part of the world.
    IdentifyTooWide,
}

/// Something the operator must know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Warning {
    /// What it is.
    pub code: Code,
    /// The same for people.
    pub message: String,
}

/// What is to be warned of; the worst first. `attempts` are the sources of logged attempts.
pub fn warnings(pbxs: &[Pbx], attempts: &[IpAddr], surroundings: &Surroundings) -> Vec<Warning> {
    let warning = |code, message| Warning { code, message };
    let mut warnings = Vec::new();
    if let Some(address) = one_private_source(pbxs, attempts) {
        warnings.push(warning(Code::OnePrivateSource, format!(
            "all SIP arrives from the one private address {address}: something before this host (a session border controller, a load balancer, NAT) hides who sends it, and a country filter on this host is useless. Filter where the public address is"
        )));
    }
    for pbx in pbxs.iter().filter(|pbx| pbx.container) {
        warnings.push(warning(Code::Container, format!(
            "{} runs in a network namespace of its own, as a container does: its ports there need not be those of this host, so name the protected ports with --scope",
            pbx.kind.name()
        )));
    }
    for Forward { by, what } in &surroundings.forwards {
        warnings.push(warning(Code::Forwarded, format!(
            "{by} sends SIP on to elsewhere ({what}): GeoFilter judges what arrives at this host, before that; protect the ports that are forwarded"
        )));
    }
    for trunk in pbxs.iter().flat_map(|pbx| &pbx.trunks).filter(|it| it.how == How::Identify) {
        for prefix in trunk.prefixes.iter().filter(|prefix| is_too_wide(prefix)) {
            warnings.push(warning(Code::IdentifyTooWide, format!(
                "the identify of {} takes calls without a password from {prefix}, a good part of the world; GeoFilter exempts nobody because of it",
                trunk.name
            )));
        }
    }
    warnings
}

/// The one private address that all devices and attempts come from, if there are at least two of them.
/// Those of a container do not count: it may see one address where this host sees all of them.
pub fn one_private_source(pbxs: &[Pbx], attempts: &[IpAddr]) -> Option<IpAddr> {
    let pbxs = pbxs.iter().filter(|pbx| !pbx.container);
    let devices = pbxs.flat_map(|pbx| pbx.devices.iter().map(|device| device.address.ip()));
    let sources: Vec<IpAddr> =
        devices.chain(attempts.iter().copied()).map(|address| address.to_canonical()).collect();
    let different: BTreeSet<&IpAddr> = sources.iter().collect();
    match (sources.as_slice(), different.len()) {
        ([first, _, ..], 1) if is_private(*first) => Some(*first),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pbx::{Device, Kind, Trunk};

    fn pbx(uris: &[&str]) -> Pbx {
        let devices = uris.iter().filter_map(|uri| Device::at("1001", uri, "")).collect();
        Pbx { devices, ..Pbx::new(Kind::Asterisk) }
    }

    fn found(uris: &[&str], attempts: &[&str]) -> Option<String> {
        let attempts: Vec<IpAddr> = attempts.iter().map(|text| text.parse().unwrap()).collect();
        one_private_source(&[pbx(uris)], &attempts).map(|address| address.to_string())
    }

    #[test]
    fn a_single_private_source_makes_the_filter_useless() {
        let inside = "sip:1@10.0.0.1:5060";
        assert_eq!(found(&[inside, "sip:2@10.0.0.1:5070"], &[]).as_deref(), Some("10.0.0.1"));
        assert_eq!(found(&[inside], &["10.0.0.1"]).as_deref(), Some("10.0.0.1"));
        assert_eq!(found(&[], &["fd00::1", "fd00::1"]).as_deref(), Some("fd00::1"));
        assert_eq!(found(&[inside], &[]), None, "one is no proof");
        assert_eq!(found(&[inside, "sip:2@10.0.0.2"], &[]), None, "two phones in an office");
        assert_eq!(found(&[inside, inside], &["192.0.2.1"]), None);
        let container = Pbx { container: true, ..pbx(&[inside, inside]) };
        assert_eq!(one_private_source(&[container], &[]), None);
        assert_eq!(found(&["sip:1@192.0.2.1", "sip:2@192.0.2.1"], &[]), None, "not private");
        let warnings = warnings(&[pbx(&[inside, inside])], &[], &Surroundings::default());
        assert_eq!(warnings[0].code, Code::OnePrivateSource);
        assert!(warnings[0].message.contains("useless"));
    }

    #[test]
    fn an_identify_of_the_whole_world_is_no_exemption() {
        let mut trunk = Trunk::new("provider", How::Identify);
        trunk.prefixes = vec!["0.0.0.0/0".parse().unwrap(), "198.51.100.0/24".parse().unwrap()];
        let pbx = Pbx { trunks: vec![trunk], ..pbx(&[]) };
        assert_eq!(pbx.identified_prefixes(), ["198.51.100.0/24".parse().unwrap()]);
        let warnings = warnings(&[pbx], &[], &Surroundings::default());
        assert_eq!(warnings.len(), 1);
        assert_eq!(warnings[0].code, Code::IdentifyTooWide);
    }
}
