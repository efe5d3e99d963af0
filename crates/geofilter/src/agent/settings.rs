//! [`Settings`]: the command line, over the configuration file, over the defaults.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use rustix::net::{AddressFamily, SocketType, netdevice, socket};
use serde::Deserialize;

use crate::cli::args::{Choice, Place};

/// What an agent needs to know to start.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) state_dir: PathBuf,
    pub(crate) runtime_dir: PathBuf,
    /// At least one, all present.
    pub(crate) interfaces: Vec<String>,
    pub(crate) backend: Choice,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Config {
    state_dir: Option<PathBuf>,
    runtime_dir: Option<PathBuf>,
    #[serde(default)]
    interfaces: Vec<String>,
    backend: Option<Choice>,
}

impl Settings {
    /// Settles what was said where.
    ///
    /// # Errors
    /// If the file can't be read, or an interface is missing.
    pub(crate) fn new(place: Place, config: Option<&Path>) -> anyhow::Result<Self> {
        let config = config.map(read).transpose()?.unwrap_or_default();
        let interfaces = match place.interfaces.is_empty() {
            true => config.interfaces,
            false => place.interfaces,
        };
        let or = |first: Option<PathBuf>, second: Option<PathBuf>, default: &str| {
            first.or(second).unwrap_or_else(|| PathBuf::from(default))
        };
        Ok(Self {
            state_dir: or(place.state_dir, config.state_dir, "/var/lib/geofilter"),
            runtime_dir: or(place.runtime_dir, config.runtime_dir, "/run/geofilter"),
            interfaces: check(interfaces)?,
            backend: place.backend.or(config.backend).unwrap_or(Choice::Auto),
        })
    }
}

fn read(path: &Path) -> anyhow::Result<Config> {
    let text = fs::read_to_string(path)
        .with_context(|| format!("cannot read the configuration {}", path.display()))?;
    toml::from_str(&text)
        .with_context(|| format!("cannot use the configuration {}", path.display()))
}

fn check(mut interfaces: Vec<String>) -> anyhow::Result<Vec<String>> {
    if interfaces.is_empty() {
        interfaces = with_default_route();
    }
    if interfaces.is_empty() {
        bail!(
            "no interface has a default route, so none was chosen: name one with --interface (here are {})",
            present().join(", ")
        );
    }
    interfaces.sort();
    interfaces.dedup();
    let socket = socket(AddressFamily::INET, SocketType::DGRAM, None)
        .context("cannot open a socket to look up interfaces")?;
    let missing = |name: &&String| netdevice::name_to_index(&socket, name).is_err();
    match interfaces.iter().find(missing) {
        Some(name) => {
            bail!("there is no interface `{name}` here; there are {}", present().join(", "))
        }
        None => Ok(interfaces),
    }
}

fn with_default_route() -> Vec<String> {
    let v4 = fs::read_to_string("/proc/net/route").unwrap_or_default();
    let v6 = fs::read_to_string("/proc/net/ipv6_route").unwrap_or_default();
    default_routes_v4(&v4).chain(default_routes_v6(&v6)).map(str::to_owned).collect()
}

/// `eth0 00000000 0102A8C0 0003 0 0 100 00000000 …`: destination and mask are zero, and it is up.
fn default_routes_v4(table: &str) -> impl Iterator<Item = &str> {
    table.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (destination, mask) = (fields.get(1)?, fields.get(7)?);
        (*destination == "00000000" && *mask == "00000000").then_some(fields[0])
    })
}

/// `0…0 00 0…0 00 NEXT_HOP … eth0`: the destination has length zero. Without a route the kernel lists an
/// unreachable one on `lo`.
fn default_routes_v6(table: &str) -> impl Iterator<Item = &str> {
    table.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (destination, length, name) = (fields.first()?, fields.get(1)?, fields.get(9)?);
        let default = *length == "00" && destination.bytes().all(|digit| digit == b'0');
        (default && *name != "lo").then_some(*name)
    })
}

fn present() -> Vec<String> {
    let devices = fs::read_to_string("/proc/net/dev").unwrap_or_default();
    let names = devices.lines().skip(2).filter_map(|line| line.split_once(':'));
    names.map(|(name, _)| name.trim().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_routes_are_found() {
        let v4 = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
                  eth0\t00000000\t0102A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n\
                  eth1\t0002A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0\n";
        assert_eq!(default_routes_v4(v4).collect::<Vec<_>>(), ["eth0"]);
        let zero = "0".repeat(32);
        let line = |destination: &str, length, name| {
            format!(
                "{destination} {length} {zero} 00 {zero} 00000400 00000001 00000000 00000001 {name}\n"
            )
        };
        let v6 = line(&zero, "00", "wan0")
            + &line(&zero, "00", "lo")
            + &line("20010db8000000000000000000000000", "40", "lan0");
        assert_eq!(default_routes_v6(&v6).collect::<Vec<_>>(), ["wan0"]);
    }

    #[test]
    fn an_unknown_key_is_named() {
        let error = toml::from_str::<Config>("state-dir = '/x'\nintefaces = []").unwrap_err();
        assert!(error.to_string().contains("intefaces"), "{error}");
    }
}
