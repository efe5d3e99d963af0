//! What people read of `detect`.

use std::fmt::Write;

use geofilter_core::detected::Detected;
use geofilter_core::pbx::{Device, Pbx, Trunk, is_too_wide};
use geofilter_core::policy::Scope;
use geofilter_core::surroundings::{Firewall, Surroundings};

use super::render::{Style, number, row, scope, words};

/// How many of anything a list shows.
const TOP: usize = 10;

/// `detect`.
pub(crate) fn detected(found: &Detected, style: Style) -> String {
    let mut text = String::new();
    for warning in &found.warnings {
        let _ = writeln!(text, "{} {}\n", style.red("WARNING:"), warning.message);
    }
    if found.pbx.is_empty() {
        row(&mut text, "PBX", "none found: neither Asterisk nor Kamailio runs here");
    }
    found.pbx.iter().for_each(|pbx| describe(&mut text, pbx, style));
    row(&mut text, "To protect", &to_protect(found.scope.as_ref()));
    surroundings(&mut text, &found.surroundings);
    for note in &found.notes {
        let _ = writeln!(text, "{} {note}", style.yellow("Not known:"));
    }
    text
}

fn to_protect(found: Option<&Scope>) -> String {
    match found {
        Some(found) => scope(found),
        None => format!("nothing was found, so by default {}", scope(&Scope::default())),
    }
}

fn describe(text: &mut String, pbx: &Pbx, style: Style) {
    let version = pbx.version.as_deref().unwrap_or("(version not known)");
    let place = if pbx.container { ", in a container" } else { "" };
    row(text, "PBX", &format!("{}{place}", style.bold(&format!("{} {version}", pbx.kind.name()))));
    if let Some(product) = &pbx.distribution {
        let version = product.version.as_deref().unwrap_or("(version not known)");
        row(text, "", &format!("{} {version}: {}", product.name, product.note));
    }
    let sockets = pbx.sockets.iter().map(|it| format!("{}/{}", words(&it.protocol), it.address));
    list(text, "Listens on", sockets);
    if let Some((first, last)) = pbx.rtp {
        row(text, "Voice", &format!("udp/{first}-{last}, not filtered"));
    }
    list(text, "Trunks", pbx.trunks.iter().map(trunk));
    if pbx.transports.is_some() || !pbx.devices.is_empty() {
        row(text, "Devices", &format!("{} registered", number(pbx.devices.len() as u64)));
    }
    list(text, "", pbx.devices.iter().map(device));
}

/// A row for each of the first few.
fn list(text: &mut String, name: &str, items: impl ExactSizeIterator<Item = String>) {
    let more = items.len().saturating_sub(TOP);
    for (index, item) in items.take(TOP).enumerate() {
        row(text, if index == 0 { name } else { "" }, &item);
    }
    if more > 0 {
        row(text, "", &format!("and {} more", number(more as u64)));
    }
}

fn trunk(trunk: &Trunk) -> String {
    let wide = |prefix| if is_too_wide(prefix) { " (too wide)" } else { "" };
    let addresses = trunk.addresses.iter().map(ToString::to_string);
    let hosts = trunk.hosts.iter().map(ToString::to_string);
    let prefixes = trunk.prefixes.iter().map(|prefix| format!("{prefix}{}", wide(prefix)));
    let places: Vec<String> = addresses.chain(hosts).chain(prefixes).collect();
    let shown = places.iter().take(TOP).cloned().collect::<Vec<_>>().join(" ");
    let more = match places.len().saturating_sub(TOP) {
        0 => String::new(),
        more => format!(" and {} more", number(more as u64)),
    };
    format!("{} ({}): {shown}{more}", trunk.name, words(&trunk.how))
}

fn device(device: &Device) -> String {
    let Device { endpoint, address, transport, user_agent } = device;
    let agent = user_agent.as_deref().unwrap_or_default();
    format!("{endpoint} at {address} ({}) {agent}", words(transport)).trim_end().to_owned()
}

fn surroundings(text: &mut String, found: &Surroundings) {
    if let Some(fail2ban) = &found.fail2ban {
        let jails = match &fail2ban.jails {
            Some(jails) if jails.is_empty() => "runs without a jail".to_owned(),
            Some(jails) => format!("jails {}", jails.join(" ")),
            None => "runs".to_owned(),
        };
        row(text, "fail2ban", &jails);
    }
    if found.crowdsec {
        row(text, "CrowdSec", "runs");
    }
    list(text, "Firewalls", found.firewalls.iter().map(firewall));
    let program = |it: &geofilter_core::surroundings::Program| {
        format!("{} on {} ({})", it.name, it.interface, it.hook)
    };
    list(text, "Programs", found.programs.iter().map(program));
}

fn firewall(firewall: &Firewall) -> String {
    let mut text = firewall.name.clone();
    if let Some(owner) = firewall.owner {
        let _ = write!(text, ", of {owner}");
    }
    for set in &firewall.large_sets {
        let _ = write!(text, ", set {} with {} elements", set.name, number(set.elements as u64));
    }
    text
}
