//! A host of a fleet. [`enrol`] makes this host one of a portal, [`leave`] ends that; in between a [`link`], which the agent starts and which has no
//! privileges, speaks to the portal. [`pull`] is what brings world data from there, for a while and into a folder.

mod link;
mod pull;

use std::io::Write as _;

use geofilter_core::wire::{Failure, FleetReport, Reply, Request};

use crate::agent::child::Child;
use crate::cli::args::{self, Global};
use crate::cli::{client, confused, failed, invalid};
pub(crate) use link::{Heard, Job, Tell, run};
pub(crate) use pull::{BROUGHT, Pulled, Puller, pull};

/// Makes this host one of a portal.
///
/// # Errors
/// If the agent does not answer, or the portal does not take this host.
pub(crate) fn enrol(enrol: &args::Enrol, global: &Global) -> Result<(), Failure> {
    let ticket = enrol.token.parse::<geofilter_fleet::Ticket>();
    ticket.map_err(|error| invalid(error.to_string()))?;
    // A token is good once: it is not used up for an agent that is not there.
    client::ask(&global.socket, &Request::Status)?;
    let name = enrol.name.clone();
    let name =
        name.unwrap_or_else(|| rustix::system::uname().nodename().to_string_lossy().into_owned());
    let job = Job::Enrol { portal: enrol.portal.clone(), token: enrol.token.clone(), name };
    let child = Child::start(["fleet", "link"], &job);
    let mut child = child.map_err(|error| failed(format!("cannot start a process: {error}")))?;
    let membership = match child.hear() {
        Some(Heard::Enrolled { membership }) => membership,
        Some(Heard::Lost { why }) => return Err(failed(why)),
        Some(
            Heard::Connected
            | Heard::Sent
            | Heard::Noted { .. }
            | Heard::World { .. }
            | Heard::Snapshot { .. }
            | Heard::Preview { .. }
            | Heard::Bans { .. }
            | Heard::Renewed { .. },
        ) => {
            return Err(confused());
        }
        None => {
            return Err(failed(format!("the process that enrols ended early: {}", child.end())));
        }
    };
    tell(&client::ask(&global.socket, &Request::Join { membership })?, global)
}

/// Makes it nobody's.
///
/// # Errors
/// If the agent does not answer.
pub(crate) fn leave(global: &Global) -> Result<(), Failure> {
    tell(&client::ask(&global.socket, &Request::Leave)?, global)
}

fn tell(reply: &Reply, global: &Global) -> Result<(), Failure> {
    let Reply::Fleet(report) = reply else { return Err(confused()) };
    let text = match (global.json, report) {
        (true, report) => {
            serde_json::json!({ "schema": geofilter_core::wire::SCHEMA, "fleet": report })
                .to_string()
        }
        (false, Some(FleetReport { portal, host, .. })) => {
            format!(
                "This is host {host} of {portal} now. `geofilter status` says how it stands, `geofilter leave` ends it."
            )
        }
        (false, None) => "This host is its own again. What was in force still is.".to_owned(),
    };
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{text}").map_err(|error| failed(format!("cannot print it: {error}")))
}
