//! `geofilter portal`: `run` becomes the portal's user before anything else, and is the portal from then on; `reset` lets an
//! operator in again. [`fetcher`] is what fetches world data for a fleet.

mod fetcher;

use std::fs;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::Path;

use geofilter_core::wire::Failure;
use geofilter_portal::fleet::Keeping;
use geofilter_portal::sandbox::{self, User};
use geofilter_portal::{Invitation, Pem, Ready, Server, Settings, courier};
use rustix::process::{Pid, Signal, geteuid, getppid, set_parent_process_death_signal};

use crate::cli::args::{PortalReset, PortalRun, PortalToken};
use crate::cli::{failed, invalid};
pub(crate) use fetcher::fetch;

/// Runs until SIGTERM or SIGINT.
pub(crate) fn run(run: PortalRun, json: bool) -> Result<(), Failure> {
    let PortalRun {
        listen,
        fleet,
        config,
        world_spread,
        no_world_data,
        tls_certificate,
        tls_key,
        names,
        state_dir,
        database,
        agent,
        user,
        beside,
    } = run;
    // Its own user may not read the key.
    let tls = tls_certificate.zip(tls_key).map(|(certificate, key)| pem(&certificate, &key));
    let tls = tls.transpose()?;
    let wishes = match fleet {
        Some(_) if !no_world_data => {
            let wishes = fetcher::check(config.as_ref());
            Some(wishes.map_err(|error| invalid(format!("{error:#}")))?)
        }
        Some(_) | None => None,
    };
    let world = wishes.map(|wishes| Keeping { every: wishes.interval(), spread: world_spread });
    match (user, geteuid().is_root()) {
        (Some(user), true) => User::named(&user)
            .and_then(|user| sandbox::drop_privileges(&user, &state_dir))
            .map_err(|error| failed(error.to_string()))?,
        (None, false) => {}
        (None, true) => {
            return Err(invalid(
                "the portal does not serve as root: name the user it is to become, `--user geofilter-portal`, or `--user nobody` for a try".to_owned(),
            ));
        }
        (Some(user), false) => {
            return Err(invalid(format!(
                "only root can become {user}: run it with sudo, or as that user without --user"
            )));
        }
    }
    if let Some(parent) = beside {
        end_with(parent)?;
    }
    let fetcher = world.map(|_| fetcher::start(&state_dir, config.as_deref())).transpose();
    let fetcher = fetcher.map_err(|error| {
        failed(format!("cannot start the process that fetches world data: {error}"))
    })?;
    let settings = Settings { listen, fleet, tls, names, state_dir, database, agent, world };
    let courier = courier::start();
    let courier = courier.map_err(|error| failed(format!("cannot start the courier: {error}")))?;
    geofilter_portal::run(settings, courier, fetcher, |ready| say(ready, json || beside.is_some()))
        .map_err(|error| failed(error.to_string()))
}

/// Lets an operator in again.
pub(crate) fn reset(reset: &PortalReset, json: bool) -> Result<(), Failure> {
    let PortalReset { name, state_dir, database } = reset;
    become_the_portal(state_dir, database.as_ref())?;
    let password = geofilter_portal::reset(state_dir, database.as_ref(), name);
    let password = password.map_err(|error| failed(error.to_string()))?;
    print(&match json {
        true => serde_json::json!({ "password": password }).to_string(),
        false => format!(
            "{name} signs in with this password, and chooses another before anything else:\n  {password}"
        ),
    })
}

/// Makes a token for a host of a group.
pub(crate) fn token(token: &PortalToken, json: bool) -> Result<(), Failure> {
    let PortalToken { group, organisation, state_dir, database } = token;
    become_the_portal(state_dir, database.as_ref())?;
    let invitation =
        geofilter_portal::invite(state_dir, database.as_ref(), organisation.as_deref(), group);
    let Invitation { ticket, portal, is_new } =
        invitation.map_err(|error| failed(error.to_string()))?;
    if json {
        return print(&serde_json::json!({ "token": ticket, "portal": portal }).to_string());
    }
    let new = if is_new { format!("The group {group} is new.\n") } else { String::new() };
    let at = portal.as_deref().unwrap_or("https://PORTAL");
    let where_to = match portal {
        Some(_) => "",
        None => "\nNo portal of a fleet has run here yet: `geofilter portal run --fleet ADDRESS`.",
    };
    print(&format!(
        "{new}On the host, within a quarter of an hour, once:\n  geofilter enrol {at} --token {ticket}{where_to}"
    ))
}

/// What root wrote the portal could not use.
fn become_the_portal(state_dir: &Path, server: Option<&Server>) -> Result<(), Failure> {
    let kept = match server {
        None => state_dir.join("portal.db"),
        Some(_) => state_dir.to_owned(),
    };
    if let Err(error) = fs::metadata(&kept) {
        return Err(failed(format!(
            "cannot use {}: {error}; name the portal's folder with --state-dir, and run it with sudo",
            kept.display()
        )));
    }
    if geteuid().is_root() {
        User::of(state_dir)
            .and_then(|user| sandbox::drop_privileges(&user, state_dir))
            .map_err(|error| failed(error.to_string()))?;
    }
    Ok(())
}

fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{text}").map_err(|error| failed(format!("cannot print it: {error}")))
}

fn pem(certificate: &Path, key: &Path) -> Result<Pem, Failure> {
    let read = |path: &Path| {
        fs::read(path).map_err(|error| failed(format!("cannot read {}: {error}", path.display())))
    };
    Ok(Pem { certificate: read(certificate)?, key: read(key)? })
}

/// What the portal started to carry its notices: its socket is its standard input.
pub(crate) fn carry() -> Result<(), Failure> {
    let socket = std::io::stdin().as_fd().try_clone_to_owned();
    let socket = socket.map_err(|error| failed(format!("cannot use its socket: {error}")))?;
    courier::carry(socket).map_err(|error| failed(error.to_string()))
}

/// After it became its user: the kernel forgets this wish when a process changes its user.
fn end_with(parent: u32) -> Result<(), Failure> {
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|error| failed(format!("cannot end with process {parent}: {error}")))?;
    match getppid().map(Pid::as_raw_pid) {
        Some(alive) if alive.cast_unsigned() == parent => Ok(()),
        Some(_) | None => Err(failed(format!("process {parent} has ended"))),
    }
}

/// A reader that has gone away is no failure.
fn say(ready: &Ready, json: bool) {
    let known = ready.fingerprint.as_ref();
    let known = known.map_or_else(String::new, |known| {
        format!("\nBrowsers will warn of its own certificate. Compare its SHA-256 fingerprint:\n  {known}")
    });
    let hosts = ready.fleet.as_ref();
    let hosts =
        hosts.map_or_else(String::new, |at| format!("\nHosts of its fleet connect to {at}"));
    let text = match serde_json::to_string(ready) {
        Ok(line) if json => line,
        Ok(_) | Err(_) => match &ready.first {
            Some(link) => {
                format!(
                    "The portal serves. This link, once, makes its first operator:\n  {link}{known}{hosts}"
                )
            }
            None => format!("The portal serves at {}{known}{hosts}", ready.url),
        },
    };
    let mut stdout = std::io::stdout();
    let _ = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
}
