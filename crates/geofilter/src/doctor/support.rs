//! The file for a bug report.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use geofilter_core::book::Kind;
use geofilter_core::country::CountryCode;
use geofilter_core::decide::judged_address;
use geofilter_core::doctor::bundle::{Bundle, InterfaceSummary, PbxSummary, kind_of, names};
use geofilter_core::pbx::printable;
use geofilter_core::wire::{RecordReport, Reply, Request};

use super::{Examined, Where, agent};
use crate::agent::wall;
use crate::detect::run;
use crate::geo::Geo;

/// The packages whose versions matter.
const PACKAGES: [&str; 12] = [
    "asterisk",
    "kamailio",
    "freepbx",
    "fail2ban",
    "crowdsec",
    "nftables",
    "iptables",
    "firewalld",
    "ufw",
    "docker.io",
    "docker-ce",
    "systemd",
];

/// Makes the document, without customers' addresses and names.
///
/// # Errors
/// If the world data can't be read, which tells the countries of the addresses taken out.
pub(crate) fn bundle(examined: &Examined, place: &Where) -> Result<serde_json::Value> {
    let Examined { facts, report } = examined;
    let geo = Geo::embedded()?;
    let country = |address: IpAddr| -> CountryCode {
        geo.world().lookup(judged_address(address)).primary.code()
    };
    let records = [Kind::Exemption, Kind::Ban].map(|kind| (kind, records(place, kind)));
    let bundle = Bundle {
        made: now().to_string(),
        geofilter: env!("CARGO_PKG_VERSION").to_owned(),
        kernel: kernel("osrelease"),
        machine: std::env::consts::ARCH.to_owned(),
        system: system(),
        doctor: report.clone(),
        status: facts.agent.status.clone().ok().flatten(),
        overrides: counts(&records),
        pbx: facts.detected.pbx.iter().map(PbxSummary::new).collect(),
        interfaces: InterfaceSummary::all(facts),
        firewalls: facts.detected.surroundings.firewalls.clone(),
        programs: facts.detected.surroundings.programs.clone(),
        packages: packages(),
    };
    let mut known = names(facts);
    known.push(kernel("hostname"));
    for record in records.iter().flat_map(|(_, records)| records) {
        known.extend([record.note.clone(), record.target.clone()]);
        known.extend(record.names.iter().map(|name| name.name.clone()));
    }
    let document = bundle.redacted(known, &country).context("cannot write the support file")?;
    Ok(document)
}

/// Writes it to a file that is not there yet and that nobody else may read; returns where.
///
/// # Errors
/// If the file is there, or can't be written.
pub(crate) fn write(file: Option<&Path>, text: &str) -> Result<PathBuf> {
    let usual =
        || PathBuf::from(now().strftime("geofilter-support-%Y%m%dT%H%M%SZ.json").to_string());
    let path = file.map_or_else(usual, Path::to_owned);
    let failed = || format!("cannot write the support file {}", path.display());
    let mut options = fs::OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(&path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).with_context(failed)?;
    Ok(path)
}

fn now() -> jiff::Timestamp {
    jiff::Timestamp::from_second(wall().as_secs() as i64).unwrap_or_default()
}

fn kernel(name: &str) -> String {
    let text = fs::read_to_string(format!("/proc/sys/kernel/{name}")).unwrap_or_default();
    printable(&text)
}

fn system() -> Option<String> {
    let text = fs::read_to_string("/etc/os-release").ok()?;
    let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
    Some(printable(name.trim_matches('"')))
}

fn records(place: &Where, kind: Kind) -> Vec<RecordReport> {
    match agent::ask(&place.socket, &Request::List { kind, targets: Vec::new() }) {
        Ok(Reply::Records(found)) => found.records,
        Ok(_) | Err(_) => Vec::new(),
    }
}

fn counts(records: &[(Kind, Vec<RecordReport>)]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for (kind, records) in records {
        let word = match kind {
            Kind::Exemption => "exempt",
            Kind::Ban => "banned",
        };
        for record in records {
            *counts.entry(format!("{word} {}", kind_of(&record.target))).or_default() += 1;
        }
    }
    counts
}

/// As dpkg has them; other systems have their versions in what the programs say.
fn packages() -> BTreeMap<String, String> {
    const FORMAT: &str = "${Package} ${Version}\\n";
    let mut versions = BTreeMap::new();
    // It fails if one of them is not there, so each is asked for alone.
    for package in PACKAGES {
        let said = run("dpkg-query", &["-W", "-f", FORMAT, package], Duration::from_secs(2));
        let said = String::from_utf8_lossy(&said.unwrap_or_default()).into_owned();
        if let Some((name, version)) = said.trim().split_once(' ') {
            versions.insert(printable(name), printable(version));
        }
    }
    versions
}
