//! [`connections`]: who is connected to this host by TCP.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;

use geofilter_core::pbx::printable;
use geofilter_core::wire::Who;
use procfs::net::{TcpNetEntry, TcpState, tcp, tcp6};
use procfs::process::{FDTarget, Process, all_processes};

use super::processes;

/// A connection that somebody else opened.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    /// Who that is, by the program they are connected to.
    pub(crate) who: Who,
    /// That program.
    pub(crate) program: String,
    /// Where they are.
    pub(crate) remote: SocketAddr,
    /// The port they are connected to.
    pub(crate) port: u16,
}

/// The connections to ports that are asked about. What can't be seen is left out.
pub(crate) fn connections(asked: impl Fn(u16) -> bool) -> Vec<Connection> {
    let entries = [tcp(), tcp6()].into_iter().filter_map(Result::ok).flatten();
    let open =
        entries.filter(|it| it.state == TcpState::Established && asked(it.local_address.port()));
    let open: Vec<TcpNetEntry> = open.collect();
    if open.is_empty() {
        return Vec::new();
    }
    let owners = owners(&open);
    let connection = |entry: TcpNetEntry| {
        let (who, program) = owners.get(&entry.inode).cloned()?;
        let remote = entry.remote_address;
        let remote = SocketAddr::new(remote.ip().to_canonical(), remote.port());
        Some(Connection { who, program, remote, port: entry.local_address.port() })
    };
    open.into_iter().filter_map(connection).collect()
}

/// Whose the sockets are.
fn owners(sockets: &[TcpNetEntry]) -> BTreeMap<u64, (Who, String)> {
    let asked: HashSet<u64> = sockets.iter().map(|socket| socket.inode).collect();
    let mut owners = BTreeMap::new();
    for process in all_processes().into_iter().flatten().filter_map(Result::ok) {
        let Ok(descriptors) = process.fd() else { continue };
        for descriptor in descriptors.filter_map(Result::ok) {
            if let FDTarget::Socket(inode) = descriptor.target
                && asked.contains(&inode)
            {
                owners.entry(inode).or_insert_with(|| owner(&process));
            }
        }
    }
    owners
}

fn owner(process: &Process) -> (Who, String) {
    if let Some(pbx) = processes::kind(process) {
        return (Who::Phone, format!("connected to {}", pbx.name()));
    }
    let name = process.stat().map(|stat| stat.comm).unwrap_or_default();
    let who = match name.as_str() {
        "sshd" | "sshd-session" | "dropbear" => Who::Ssh,
        "geofilter" => Who::Portal,
        _ => Who::Connection,
    };
    (who, printable(&name))
}
