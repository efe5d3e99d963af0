//! What fail2ban says of itself.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;
use std::thread;
use std::time::Duration;

use geofilter_core::doctor::facts::Fail2ban;
use geofilter_core::doctor::{Seen, dump};
use geofilter_core::surroundings::{banned, jails};
use geofilter_core::wire::{Reply, Request};

use super::{agent, is_root, real};
use crate::detect::run;

const CLIENT: &str = "fail2ban-client";
/// How long its client may take: it is Python, on a machine that may be busy.
const PATIENCE: Duration = Duration::from_secs(6);
/// How many of the banned the agent is asked about.
const MANY: usize = 200;

/// Asks it; `None` if it is not installed.
pub(super) fn look(socket: &Path) -> Seen<Option<Fail2ban>> {
    if !is_installed() {
        return Ok(None);
    }
    let ask = |word: &'static str| {
        let said = run(CLIENT, &[word], PATIENCE);
        said.map(|said| String::from_utf8_lossy(&said).into_owned())
    };
    let (status, listing, configured) = thread::scope(|scope| {
        let status = scope.spawn(|| ask("status"));
        let listing = scope.spawn(|| ask("banned"));
        let configured = ask("-d");
        (status.join(), listing.join(), configured)
    });
    let lost = || "its client could not be asked".to_owned();
    let status = status.map_err(|_| lost())?;
    if let Err(why) = &status
        && !is_root()
    {
        return Err(format!("{why}: ask as root"));
    }
    let listing = listing.map_err(|_| lost())?.unwrap_or_default();
    let banned = banned(&listing);
    let jails_configured = configured.map(|said| {
        let mut jails = dump::jails(&said);
        jails.iter_mut().flat_map(|jail| &mut jail.files).for_each(|file| *file = real(file));
        jails
    });
    Ok(Some(Fail2ban {
        running: status.ok().map(|said| jails(&said).unwrap_or_default()),
        jails: jails_configured,
        protected: protected(socket, &banned),
        banned,
    }))
}

fn is_installed() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(CLIENT).is_file())
}

/// Who of the banned must never be, as far as the agent can be asked.
fn protected(socket: &Path, banned: &[IpAddr]) -> BTreeSet<IpAddr> {
    let mut found = BTreeSet::new();
    for address in banned.iter().take(MANY) {
        match agent::ask(socket, &Request::Protected { address: *address }) {
            Ok(Reply::Protected(answer)) if answer.protected => found.insert(*address),
            Ok(_) => false,
            Err(_) => break,
        };
    }
    found
}
