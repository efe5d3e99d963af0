//! Looks at this host for `doctor`: [`look`] gathers the facts, which `core::doctor` judges. It changes
//! nothing, and waits for nobody longer than a few seconds.
//!
//! [`machine`] is the kernel and what is on it, [`agent`] what the agent says, [`fail2ban`] what that says;
//! [`support`] makes the file for a bug report.

mod agent;
mod fail2ban;
mod machine;
mod support;

use std::path::{Path, PathBuf};

use geofilter_core::doctor::Facts;
use geofilter_core::doctor::facts::Interface;
use geofilter_core::doctor::{Seen, examine};
use geofilter_dataplane::{details, interfaces};

use crate::detect::{self, Manager};
pub(crate) use support::{bundle, write};

/// Where to look.
#[derive(Debug)]
pub(crate) struct Where {
    /// The agent's socket.
    pub(crate) socket: PathBuf,
    /// Its folders.
    pub(crate) state_dir: PathBuf,
    pub(crate) runtime_dir: PathBuf,
    /// How to log in to Asterisk's manager.
    pub(crate) manager: Option<Manager>,
}

/// What was found, and what came of it.
pub(crate) struct Examined {
    pub(crate) facts: Facts,
    pub(crate) report: geofilter_core::doctor::Report,
}

/// Looks at everything, and judges it.
pub(crate) fn examination(place: &Where) -> Examined {
    let facts = look(place);
    let report = examine(&facts);
    Examined { facts, report }
}

fn look(place: &Where) -> Facts {
    let mut detected = detect::host(place.manager.as_ref());
    let logs = detected.pbx.iter_mut().filter_map(|pbx| pbx.logs.as_mut()).flatten();
    logs.for_each(|log| log.path = real(&log.path));
    let agent = agent::look(place);
    Facts {
        machine: machine::look(&place.socket),
        trunks: agent::judge(&place.socket, &agent, &detected),
        fail2ban: fail2ban::look(&place.socket),
        interfaces: interfaces_here(),
        agent,
        detected,
    }
}

fn interfaces_here() -> Seen<Vec<Interface>> {
    let unseen = |error: geofilter_dataplane::Error| format!("{:#}", anyhow::Error::from(error));
    let details = details::all().map_err(unseen)?;
    let found = interfaces::all().map_err(unseen)?.into_iter().filter_map(|interface| {
        let more = details.iter().find(|it| it.index == interface.index)?;
        Some(Interface {
            name: interface.name,
            default_route: interface.default_route,
            loopback: interface.local.loopback,
            ethernet: interface.ethernet,
            vlan: more.vlan,
            mtu: more.mtu,
            addresses: more.addresses.clone(),
            strips_vlan_tags: more.strips_vlan_tags,
        })
    });
    Ok(found.collect())
}

/// A path without the links in it, if it is there.
fn real(path: &str) -> String {
    let real = Path::new(path).canonicalize();
    real.map_or_else(|_| path.to_owned(), |path| path.display().to_string())
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
