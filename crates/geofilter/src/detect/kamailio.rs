//! Asks Kamailio, over its control socket.

use std::time::Duration;

use geofilter_core::pbx::binrpc::{self, Item};
use geofilter_core::pbx::{Pbx, kamailio};

use super::control::{Patience, Trouble, open, receive, send};
use super::processes::Found;

const PATIENCE: Duration = Duration::from_secs(2);

/// Fills in what Kamailio says. A module that is not loaded has nothing to tell.
pub(super) fn ask(found: &Found, pbx: &mut Pbx) -> Result<(), Trouble> {
    let patience = Patience::new(PATIENCE);
    let ask = |command| exchange(found, command, patience);
    pbx.version = kamailio::version(&ask("core.version")?);
    pbx.transports = Some(kamailio::transports(&ask("core.sockets_list")?));
    let listed = |command| match ask(command) {
        Err(Trouble::Wrong(binrpc::Wrong::Fault(_))) => Ok(Vec::new()),
        answer => answer,
    };
    pbx.trunks = kamailio::dispatched(&listed("dispatcher.list")?);
    pbx.devices = kamailio::devices(&listed("ul.dump")?);
    Ok(())
}

fn exchange(found: &Found, command: &str, patience: Patience) -> Result<Vec<Item>, Trouble> {
    let is_control =
        |path: &&std::path::PathBuf| path.as_os_str().as_encoded_bytes().ends_with(b"ctl");
    let control = found.controls.iter().find(is_control).ok_or(Trouble::NoSocket)?;
    let mut stream = open(found, control, patience)?;
    send(&mut stream, &binrpc::request(command), patience)?;
    let mut answer = Vec::new();
    receive(&mut stream, &mut answer, patience, |answer| {
        Ok(binrpc::length(answer)?.is_some_and(|length| answer.len() >= length))
    })?;
    Ok(binrpc::reply(&answer)?)
}
