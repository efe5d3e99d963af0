//! The machine and its kernel.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::path::Path;

use geofilter_core::doctor::Seen;
use geofilter_core::doctor::facts::Machine;
use geofilter_dataplane::features;
use procfs::Current;
use procfs::process::Process;
use rustix::net::sockopt::socket_peercred;

use super::is_root;
use crate::agent::wall;

const JIT: &str = "/proc/sys/net/core/bpf_jit_enable";
const BPFFS: &str = "/sys/fs/bpf";
/// `BPF_FS_MAGIC`.
const BPFFS_MAGIC: u32 = 0xcafe_4a11;
const CPUS: &str = "/sys/devices/system/cpu";

pub(super) fn look(socket: &Path) -> Machine {
    Machine {
        today: (wall().as_secs() / 86_400) as i64,
        lacking: features::lacking().map_err(|error| {
            format!("the kernel does not let this process try it ({error}): ask as root")
        }),
        capabilities: capabilities(socket),
        jit: jit(),
        bpffs: bpffs(),
        isolated: isolated(),
        memory: memory(),
        synchronised: features::clock_is_synchronised()
            .map_err(|error| format!("the kernel does not say: {error}")),
        starts_at_boot: starts_at_boot(),
    }
}

/// Those of the agent; where none answers, those root has here.
fn capabilities(socket: &Path) -> Seen<u64> {
    let agent = UnixStream::connect(socket).ok().and_then(|stream| socket_peercred(&stream).ok());
    let process = match agent {
        Some(agent) => Process::new(agent.pid.as_raw_nonzero().get()),
        None if is_root() => Process::myself(),
        None => return Err("no agent can be reached, and this process is not root's".to_owned()),
    };
    let status = process.and_then(|process| process.status());
    status.map(|status| status.capeff).map_err(|error| format!("its status can't be read: {error}"))
}

fn jit() -> Seen<u8> {
    let text = fs::read_to_string(JIT).map_err(|error| match error.kind() {
        ErrorKind::NotFound => format!("{JIT} is not shown in this network namespace"),
        _ => format!("{JIT}: {error}"),
    })?;
    text.trim().parse().map_err(|error| format!("{JIT}: {error}"))
}

fn bpffs() -> Seen<bool> {
    match rustix::fs::statfs(BPFFS) {
        Ok(found) => Ok(u32::try_from(found.f_type) == Ok(BPFFS_MAGIC)),
        Err(rustix::io::Errno::NOENT) => Ok(false),
        Err(error) => Err(format!("{BPFFS}: {error}")),
    }
}

/// A kernel that can't isolate CPUs has no such files.
fn isolated() -> Seen<String> {
    let mut lists = Vec::new();
    for name in ["isolated", "nohz_full"] {
        let path = format!("{CPUS}/{name}");
        match fs::read_to_string(&path) {
            // How it says that there are none.
            Ok(list) if matches!(list.trim(), "" | "(null)") => {}
            Ok(list) if !lists.contains(&list.trim().to_owned()) => {
                lists.push(list.trim().to_owned());
            }
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound && Path::new(CPUS).exists() => {}
            Err(error) => return Err(format!("{path}: {error}")),
        }
    }
    Ok(lists.join(","))
}

fn memory() -> Seen<u64> {
    let memory = procfs::Meminfo::current().map_err(|error| format!("/proc/meminfo: {error}"))?;
    Ok(memory.mem_total >> 10)
}

/// Whether systemd wants a unit of ours; other init systems are not known.
fn starts_at_boot() -> Seen<bool> {
    const FOLDERS: [&str; 3] =
        ["/etc/systemd/system", "/usr/lib/systemd/system", "/run/systemd/generator"];
    if !Path::new("/run/systemd/system").is_dir() {
        return Err("systemd does not run here, and no other way to start it is known".to_owned());
    }
    let wanted = FOLDERS.iter().flat_map(|folder| entries(folder)).filter(|name| {
        Path::new(name).extension().is_some_and(|end| end == "wants" || end == "requires")
    });
    Ok(wanted.flat_map(|folder| entries(&folder)).any(|unit| {
        let name = unit.rsplit('/').next().unwrap_or_default();
        name.starts_with("geofilter") && name.ends_with(".service")
    }))
}

/// The paths in a folder, if it can be read.
fn entries(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path().display().to_string()).collect()
}
