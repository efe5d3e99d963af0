//! What the agent says, and what it left behind.

use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use geofilter_core::decide::is_global;
use geofilter_core::detected::Detected;
use geofilter_core::doctor::Seen;
use geofilter_core::doctor::facts::{Agent, Folder, Judged};
use geofilter_core::wire::{Reply, Request, Status};
use geofilter_dataplane::kernel;
use rustix::fs::{Access, access, statvfs};
use rustix::io::Errno;

use super::{Where, is_root};
use crate::cli::{client, confused};

/// How long the agent may take for one answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// How many trunks it is asked about.
const MANY: usize = 100;

pub(super) fn look(place: &Where) -> Agent {
    let held = kernel::held(&place.runtime_dir).map(|held| !held.is_empty());
    let (status, trouble) = status(&place.socket);
    Agent {
        status,
        trouble,
        attached: held.map_err(|error| format!("{:#}", anyhow::Error::from(error))),
        state_dir: folder(&place.state_dir),
    }
}

/// What it says, and what came instead of an answer.
fn status(socket: &Path) -> (Seen<Option<Status>>, Option<String>) {
    match UnixStream::connect(socket) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            let shown = socket.display();
            return (
                Err(format!("the agent's socket {shown} is closed to you: ask as root")),
                None,
            );
        }
        Err(_) => return (Ok(None), None),
    }
    match ask(socket, &Request::Status) {
        Ok(Reply::Status(status)) => (Ok(Some(*status)), None),
        Ok(_) => (Ok(None), Some(confused().message)),
        Err(why) => (Ok(None), Some(why)),
    }
}

/// Asks the agent for one answer, and does not wait for long.
pub(super) fn ask(socket: &Path, request: &Request) -> Seen<Reply> {
    let replies = client::stream(socket, request, Some(PATIENCE));
    let reply = replies.map_err(|failure| failure.message)?.next();
    let reply = reply.ok_or("the agent closed the connection")?;
    reply.map_err(|failure| failure.message)
}

fn folder(path: &Path) -> Seen<Option<Folder>> {
    let shown = path.display().to_string();
    match path.metadata() {
        Ok(_) if is_root() => {}
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Ok(_) | Err(_) => {
            return Err(format!("what can be written to {shown} root alone can tell"));
        }
    }
    let refuses = match access(path, Access::WRITE_OK) {
        Ok(()) => None,
        Err(Errno::ROFS) => Some("it is mounted read-only".to_owned()),
        Err(error) => Some(error.to_string()),
    };
    let space = statvfs(path).map_err(|error| format!("{shown}: {error}"))?;
    let free = if space.f_files > 0 && space.f_favail == 0 {
        0
    } else {
        space.f_bavail.saturating_mul(space.f_frsize)
    };
    Ok(Some(Folder { path: shown, refuses, free }))
}

/// Asks what the policy in force says of the trunks that were found.
pub(super) fn judge(socket: &Path, agent: &Agent, found: &Detected) -> Seen<Vec<Judged>> {
    if agent.status.clone()?.is_none() {
        return Err("no agent answers".to_owned());
    }
    let trunks = found.pbx.iter().filter(|pbx| !pbx.container).flat_map(|pbx| &pbx.trunks);
    let mut judged: Vec<Judged> = Vec::new();
    for trunk in trunks {
        for address in trunk.addresses.iter().map(|address| address.ip()) {
            let known = judged.iter().any(|it| it.why.lookup.address == address);
            if known || !is_global(address) || judged.len() == MANY {
                continue;
            }
            let request = Request::Why { address, port: None, protocol: None };
            if let Reply::Why(why) = ask(socket, &request)? {
                judged.push(Judged { trunk: trunk.name.clone(), why: *why });
            }
        }
    }
    Ok(judged)
}
