//! [`Settings`]: the command line, over the configuration file, over the defaults.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use geofilter_core::decide::LocalSources;
use geofilter_dataplane::interfaces::{self, Interface};
use geofilter_dataplane::kernel::{self, Awaited};
use geofilter_portal::sandbox::User;
use serde::Deserialize;

use crate::agent::geodata::Wishes;
use crate::agent::place::check_privileges;
use crate::agent::protected;
use crate::cli::args::{Choice, Place};
use crate::detect::Manager;

const STATE_DIR: &str = "/var/lib/geofilter";
const RUNTIME_DIR: &str = "/run/geofilter";
/// The newest form of the file that is known.
const SCHEMA: u32 = 1;

/// What an agent needs to know to start.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) state_dir: PathBuf,
    pub(crate) runtime_dir: PathBuf,
    /// Those to protect that are present. At least one, unless some are awaited.
    pub(crate) interfaces: Vec<Interface>,
    /// Those that were protected before and are not present: at boot the agent may come first.
    pub(crate) awaited: Awaited,
    pub(crate) backend: Choice,
    /// It observes until told otherwise, and keeps its state apart from that of the agent that stays.
    pub(crate) trial: bool,
    /// How to log in to Asterisk's manager.
    pub(crate) manager: Option<Manager>,
    /// Whom to ask for names; those of the host if there are none.
    pub(crate) nameservers: Vec<SocketAddr>,
    /// Who the portal runs as, if there is one: it has a socket of its own.
    pub(crate) portal: Option<User>,
    /// Where world data comes from.
    pub(crate) geodata: Wishes,
    /// Where metrics are handed out besides at their socket.
    pub(crate) metrics: Option<SocketAddr>,
    /// Whether it has part in the bans that the hosts of its fleet share.
    pub(crate) shares_bans: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Config {
    /// The form of the file.
    #[serde(default)]
    schema: Option<u32>,
    state_dir: Option<PathBuf>,
    runtime_dir: Option<PathBuf>,
    #[serde(default)]
    interfaces: Vec<String>,
    backend: Option<Choice>,
    asterisk: Option<Asterisk>,
    #[serde(default)]
    nameservers: Vec<SocketAddr>,
    portal: Option<Portal>,
    #[serde(default)]
    geodata: Wishes,
    metrics: Option<Metrics>,
    #[serde(default)]
    fleet: OfFleet,
}

/// What can be read of any form of it.
#[derive(Debug, Deserialize)]
struct Version {
    schema: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Portal {
    user: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct OfFleet {
    shared_bans: bool,
}

impl Default for OfFleet {
    fn default() -> Self {
        Self { shared_bans: true }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Metrics {
    address: SocketAddr,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Asterisk {
    #[serde(default = "usual_manager")]
    ami: SocketAddr,
    ami_user: String,
    ami_secret_file: PathBuf,
}

fn usual_manager() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 5038))
}

/// How to log in to Asterisk's manager, if the configuration says.
///
/// # Errors
/// If the file can't be read or used.
pub(crate) fn manager(config: Option<&Path>) -> anyhow::Result<Option<Manager>> {
    config.map(read).transpose()?.unwrap_or_default().manager()
}

/// Where world data comes from, as a configuration says.
///
/// # Errors
/// If the file can't be read or used.
pub(crate) fn geodata(config: Option<&Path>) -> anyhow::Result<Wishes> {
    Ok(config.map(read).transpose()?.unwrap_or_default().geodata)
}

/// Where an agent with a configuration keeps its things.
#[derive(Debug)]
pub(crate) struct Folders {
    pub(crate) state_dir: PathBuf,
    pub(crate) runtime_dir: PathBuf,
}

/// Those of the configuration, or the usual ones.
///
/// # Errors
/// If the file can't be read or used.
pub(crate) fn folders(config: Option<&Path>) -> anyhow::Result<Folders> {
    let config = config.map(read).transpose()?.unwrap_or_default();
    Ok(Folders {
        state_dir: folder(config.state_dir, STATE_DIR),
        runtime_dir: folder(config.runtime_dir, RUNTIME_DIR),
    })
}

impl Config {
    fn manager(&self) -> anyhow::Result<Option<Manager>> {
        let Some(asterisk) = &self.asterisk else { return Ok(None) };
        let Asterisk { ami: address, ami_user, ami_secret_file } = asterisk;
        ensure!(
            address.ip().is_loopback(),
            "cannot use {address} as `ami`: the secret would travel in clear, so it must be a loopback address"
        );
        ensure!(!ami_user.contains(['\r', '\n']), "cannot use `ami-user`: it has a line end in it");
        let (user, secret_file) = (ami_user.clone(), ami_secret_file.clone());
        Ok(Some(Manager { address: *address, user, secret_file }))
    }
}

impl Settings {
    /// Settles what was said where.
    ///
    /// # Errors
    /// If the file can't be read, a privilege or an interface is missing.
    pub(crate) fn new(place: Place, config: Option<&Path>) -> anyhow::Result<Self> {
        let config = config.map(read).transpose()?.unwrap_or_default();
        let manager = config.manager()?;
        let portal = config.portal.map(|portal| User::named(&portal.user)).transpose()?;
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
        let backend = place.backend.or(config.backend).unwrap_or(Choice::Auto);
        // A look at what is pinned would fail in a less telling way.
        check_privileges(backend)?;
        let runtime_dir = folder(place.runtime_dir.or(config.runtime_dir), RUNTIME_DIR);
        // One that is not there yet has nothing pinned.
        let canonical = fs::canonicalize(&runtime_dir).unwrap_or_else(|_| runtime_dir.clone());
        let state_dir = folder(place.state_dir.or(config.state_dir), STATE_DIR);
        let known = interfaces::Known {
            named: &names,
            held: &kernel::held(&canonical)?,
            before: &protected::recall(&state_dir),
        };
        let found = known.find()?;
        Ok(Self {
            state_dir,
            interfaces: found.present,
            awaited: Awaited { names: found.absent, by_route: names.is_empty() },
            runtime_dir,
            backend,
            trial: false,
            manager,
            nameservers: config.nameservers,
            portal,
            geodata: config.geodata,
            metrics: config.metrics.map(|metrics| metrics.address),
            shares_bans: config.fleet.shared_bans,
        })
    }

    /// Those of an agent whose data plane touches no kernel, all in one directory.
    #[cfg(test)]
    pub(crate) fn in_memory(dir: &Path) -> Self {
        Self {
            state_dir: dir.to_owned(),
            runtime_dir: dir.to_owned(),
            interfaces: Vec::new(),
            awaited: Awaited::default(),
            backend: Choice::Memory,
            trial: false,
            manager: None,
            nameservers: Vec::new(),
            portal: None,
            geodata: Wishes::default(),
            metrics: None,
            shares_bans: true,
        }
    }

    /// What other settings change that holds after a restart alone.
    pub(crate) fn fixed_beside(&self, new: &Self) -> Vec<&'static str> {
        let changed = [
            ("state-dir", self.state_dir != new.state_dir),
            ("runtime-dir", self.runtime_dir != new.runtime_dir),
            ("interfaces", self.all_names() != new.all_names()),
            ("backend", self.backend != new.backend),
            ("nameservers", self.nameservers != new.nameservers),
            ("portal", self.portal != new.portal),
            ("metrics", self.metrics != new.metrics),
        ];
        changed.into_iter().filter(|(_, changed)| *changed).map(|(name, _)| name).collect()
    }

    /// Where clients reach this agent.
    pub(crate) fn socket(&self) -> PathBuf {
        self.runtime_dir.join("agent.sock")
    }

    /// Where the portal reaches this agent, and nobody else does.
    pub(crate) fn portal_socket(&self) -> PathBuf {
        self.runtime_dir.join("portal.sock")
    }

    /// Where monitoring reads its metrics.
    pub(crate) fn metrics_socket(&self) -> PathBuf {
        self.runtime_dir.join("metrics.sock")
    }

    /// The names of the interfaces.
    pub(crate) fn names(&self) -> Vec<String> {
        self.interfaces.iter().map(|interface| interface.name.clone()).collect()
    }

    /// The names of the interfaces, with those that are awaited.
    pub(crate) fn all_names(&self) -> Vec<String> {
        [self.names(), self.awaited.names.clone()].concat()
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
    parse(&text).with_context(|| format!("cannot use the configuration {}", path.display()))
}

fn parse(text: &str) -> anyhow::Result<Config> {
    if let Ok(Version { schema: Some(newer) }) = toml::from_str(text)
        && newer > SCHEMA
    {
        bail!("it has schema {newer}, and this geofilter knows only {SCHEMA}");
    }
    let config: Config = toml::from_str(text)?;
    match config.schema {
        None | Some(SCHEMA) => Ok(config),
        Some(schema) => bail!("there is no schema {schema}"),
    }
}

/// What is wrong with the text of a configuration, whatever host it is for.
pub(crate) fn check_text(text: &str) -> anyhow::Result<()> {
    parse(text)?.manager().map(drop)
}

/// All that is wrong with a configuration, as far as it can be told on this host now.
pub(crate) fn check(path: &Path) -> Vec<String> {
    let config = match read(path) {
        Ok(config) => config,
        Err(error) => return vec![format!("{error:#}")],
    };
    let portal = config.portal.as_ref().map(|portal| User::named(&portal.user)).transpose();
    let manager = config.manager().map(|manager| manager.map(|it| it.secret_file));
    let secret = manager.and_then(|secret| {
        secret.map(fs::metadata).transpose().context("cannot read `ami-secret-file`")
    });
    let interfaces = interfaces::select(&config.interfaces, &[]);
    let checked: [anyhow::Result<()>; 5] = [
        portal.map(drop).map_err(Into::into),
        secret.map(drop),
        interfaces.map(drop).map_err(Into::into),
        config.geodata.sources().map(drop),
        config.geodata.corrections().map(drop),
    ];
    let wrong = checked.into_iter().filter_map(Result::err);
    wrong.map(|error| format!("{error:#}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_named() {
        let error = toml::from_str::<Config>("state-dir = '/x'\nintefaces = []").unwrap_err();
        assert!(error.to_string().contains("intefaces"), "{error}");
    }

    #[test]
    fn the_manager_is_on_this_host() {
        let config = |ami: &str| {
            let text = format!("[asterisk]\n{ami}\nami-user = 'gf'\nami-secret-file = '/x'");
            toml::from_str::<Config>(&text).unwrap().manager()
        };
        let usual = config("").unwrap().unwrap();
        assert_eq!(usual.address.to_string(), "127.0.0.1:5038");
        assert!(config("ami = '192.0.2.1:5038'").unwrap_err().to_string().contains("in clear"));
        assert_eq!(Config::default().manager().unwrap(), None);
    }
}
