//! [`Settings`]: the command line, over the configuration file, over the defaults.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use geofilter_core::decide::LocalSources;
use geofilter_dataplane::interfaces::{self, Interface};
use geofilter_dataplane::kernel;
use serde::Deserialize;

use crate::cli::args::{Choice, Place};

/// What an agent needs to know to start.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) state_dir: PathBuf,
    pub(crate) runtime_dir: PathBuf,
    /// At least one, all present.
    pub(crate) interfaces: Vec<Interface>,
    pub(crate) backend: Choice,
    /// It observes until told otherwise, and keeps its state apart from that of the agent that stays.
    pub(crate) trial: bool,
    /// Whom to ask for names; those of the host if there are none.
    pub(crate) nameservers: Vec<SocketAddr>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Config {
    state_dir: Option<PathBuf>,
    runtime_dir: Option<PathBuf>,
    #[serde(default)]
    interfaces: Vec<String>,
    backend: Option<Choice>,
    #[serde(default)]
    nameservers: Vec<SocketAddr>,
}

impl Settings {
    /// Settles what was said where.
    ///
    /// # Errors
    /// If the file can't be read, or an interface is missing.
    pub(crate) fn new(place: Place, config: Option<&Path>) -> anyhow::Result<Self> {
        let config = config.map(read).transpose()?.unwrap_or_default();
        let named = match place.interfaces.is_empty() {
            true => config.interfaces,
            false => place.interfaces,
        };
        let mut names = Vec::new();
        for name in named {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let runtime_dir = folder(place.runtime_dir.or(config.runtime_dir), "/run/geofilter");
        // One that is not there yet has nothing pinned.
        let canonical = fs::canonicalize(&runtime_dir).unwrap_or_else(|_| runtime_dir.clone());
        Ok(Self {
            state_dir: folder(place.state_dir.or(config.state_dir), "/var/lib/geofilter"),
            interfaces: interfaces::select(&names, &kernel::held(&canonical)?)?,
            runtime_dir,
            backend: place.backend.or(config.backend).unwrap_or(Choice::Auto),
            trial: false,
            nameservers: config.nameservers,
        })
    }

    /// Where clients reach this agent.
    pub(crate) fn socket(&self) -> PathBuf {
        self.runtime_dir.join("agent.sock")
    }

    /// The names of the interfaces.
    pub(crate) fn names(&self) -> Vec<String> {
        self.interfaces.iter().map(|interface| interface.name.clone()).collect()
    }

    /// What may be a local source on any of the interfaces.
    pub(crate) fn local_sources(&self) -> LocalSources {
        let any = |is: fn(&LocalSources) -> bool| self.interfaces.iter().any(|one| is(&one.local));
        LocalSources {
            private_v4: any(|local| local.private_v4),
            private_v6: any(|local| local.private_v6),
            loopback: any(|local| local.loopback),
        }
    }
}

fn folder(named: Option<PathBuf>, default: &str) -> PathBuf {
    named.unwrap_or_else(|| PathBuf::from(default))
}

fn read(path: &Path) -> anyhow::Result<Config> {
    let text = fs::read_to_string(path)
        .with_context(|| format!("cannot read the configuration {}", path.display()))?;
    toml::from_str(&text)
        .with_context(|| format!("cannot use the configuration {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_named() {
        let error = toml::from_str::<Config>("state-dir = '/x'\nintefaces = []").unwrap_err();
        assert!(error.to_string().contains("intefaces"), "{error}");
    }
}
