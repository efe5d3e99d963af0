//! What there is on this host: [`host`] finds all of it, [`pbxs`] only the PBXs.
//!
//! [`processes`] finds PBXs by their processes, and the sockets these own; [`asterisk`] and [`kamailio`]
//! ask them, over [`control`] sockets or by [`manager`]; [`surroundings`] tells of fail2ban, firewalls and
//! the programs of others. Nothing here waits long for anybody: a PBX that hangs is said to hang. No
//! configuration file that may hold a password is read.

mod asterisk;
mod connections;
mod control;
mod kamailio;
mod manager;
mod processes;
mod program;
mod surroundings;

use std::net::IpAddr;

use geofilter_core::detected::Detected;
use geofilter_core::pbx::{Kind, Pbx, Socket};
use geofilter_core::policy::Transport;

pub(crate) use connections::connections;
use control::Trouble;
pub(crate) use manager::{Manager, is_whole};
use processes::Found;
pub(crate) use program::run;

/// What was found of the PBXs.
#[derive(Debug, Default)]
pub(crate) struct Pbxs {
    pub(crate) pbxs: Vec<Pbx>,
    /// The sources of the attempts they logged.
    pub(crate) attempts: Vec<IpAddr>,
    /// What could not be found out.
    pub(crate) notes: Vec<String>,
    /// One of them did not say all that it was asked. Those in containers do not count.
    pub(crate) cut_short: bool,
}

/// Finds everything.
pub(crate) fn host(manager: Option<&Manager>) -> Detected {
    let Pbxs { pbxs, mut attempts, mut notes, .. } = pbxs(manager);
    let (surroundings, banned) = surroundings::look(&mut notes);
    attempts.extend(banned);
    Detected::new(pbxs, surroundings, &attempts, notes)
}

/// Finds the PBXs and asks them.
pub(crate) fn pbxs(manager: Option<&Manager>) -> Pbxs {
    let mut result = Pbxs::default();
    match processes::find() {
        Ok(found) => found.iter().for_each(|found| ask(found, manager, &mut result)),
        Err(error) => {
            result.notes.push(format!("the processes of this host can't be listed: {error}"))
        }
    }
    result
}

fn ask(found: &Found, manager: Option<&Manager>, result: &mut Pbxs) {
    let mut pbx = Pbx { container: found.container, ..Pbx::new(found.kind) };
    pbx.sockets.clone_from(&found.sockets);
    if found.hidden {
        result.notes.push(format!(
            "which sockets belong to {} is hidden from you, those on ports known for SIP are shown: ask as root",
            found.kind.name()
        ));
    }
    let asked = match found.kind {
        Kind::Asterisk => {
            let manager = manager.filter(|manager| is_of(manager, found, &mut result.notes));
            asterisk::ask(found, manager, &mut pbx, result)
        }
        Kind::Kamailio => kamailio::ask(found, &mut pbx),
    };
    result.cut_short |= asked.is_err() && !found.container;
    if let Err(error) = asked
        && !(found.hidden && matches!(error, Trouble::NoSocket))
    {
        result.notes.push(format!("{}: {error}", found.kind.name()));
    }
    pbx.devices
        .sort_by(|one, other| (&one.endpoint, one.address).cmp(&(&other.endpoint, other.address)));
    if let Some((first, last)) = pbx.rtp {
        pbx.sockets.retain(|socket| !(first..=last).contains(&socket.address.port()));
    }
    result.pbxs.push(pbx);
}

/// Whether this is the manager of that Asterisk: a secret is told to nobody else.
fn is_of(manager: &Manager, found: &Found, notes: &mut Vec<String>) -> bool {
    if found.container {
        return false;
    }
    let listens = |socket: &Socket| {
        socket.protocol == Transport::Tcp && socket.address.port() == manager.address.port()
    };
    let owned = found.hidden || found.sockets.iter().any(listens);
    if !owned {
        let address = manager.address;
        notes.push(format!("Asterisk does not listen on {address}, so its manager is not asked"));
    }
    owned
}
