//! [`find`]: the PBXs that run on this host, by their processes.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use geofilter_core::pbx::{Kind, Socket};
use geofilter_core::policy::{Scope, Transport};
use procfs::ProcResult;
use procfs::net::{TcpState, UnixState};
use procfs::process::{FDTarget, Process, all_processes};
use rustix::fs::{Mode, OFlags, ResolveFlags};

/// A PBX that runs.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) kind: Kind,
    /// Its processes; the first is the ancestor of the others.
    pub(super) pids: Vec<i32>,
    /// It is in another network namespace than this process.
    pub(super) container: bool,
    /// What it listens on.
    pub(super) sockets: Vec<Socket>,
    /// Its sockets in the file system, as it sees them.
    pub(super) controls: Vec<PathBuf>,
    /// Who owns which socket may not be seen, so `sockets` are guessed and `controls` missing.
    pub(super) hidden: bool,
}

impl Found {
    /// Opens a path as the PBX sees it: links in it lead nowhere else than within its own root. Who may
    /// not see its sockets may not see its root either, and takes it to be the same.
    pub(super) fn open(&self, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        match self.pids.first().filter(|_| !self.hidden) {
            Some(pid) => open_below(Path::new(&format!("/proc/{pid}/root")), path, flags),
            None => open_below(Path::new("/"), path, flags),
        }
    }
}

impl Found {
    /// The files that it holds open, as far as that may be seen.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let processes = self.pids.iter().filter_map(|pid| Process::new(*pid).ok());
        let descriptors = processes.filter_map(|process| process.fd().ok()).flatten().flatten();
        descriptors
            .filter_map(|descriptor| match descriptor.target {
                FDTarget::Path(path) => Some(path),
                _ => None,
            })
            .collect()
    }
}

fn open_below(root: &Path, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    let root = rustix::fs::open(root, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?;
    let flags = flags | OFlags::CLOEXEC;
    Ok(rustix::fs::openat2(root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT)?)
}

/// A process of a PBX.
struct Member {
    process: Process,
    kind: Kind,
    parent: i32,
}

/// Finds every PBX of this host.
///
/// # Errors
/// If processes can't be listed.
pub(super) fn find() -> ProcResult<Vec<Found>> {
    let members: Vec<Member> = all_processes()?.filter_map(Result::ok).filter_map(member).collect();
    let parents: BTreeMap<i32, i32> =
        members.iter().map(|member| (member.process.pid, member.parent)).collect();
    let mut groups: BTreeMap<i32, Vec<Member>> = BTreeMap::new();
    for member in members {
        groups.entry(ancestor(member.process.pid, &parents)).or_default().push(member);
    }
    let own = Process::myself().ok().and_then(|own| network(&own));
    Ok(groups.into_values().filter_map(|group| found(group, own)).collect())
}

fn member(process: Process) -> Option<Member> {
    let kind = kind(&process)?;
    let parent = process.stat().ok()?.ppid;
    Some(Member { process, kind, parent })
}

/// Processes whose parents are of the same PBX belong together.
fn ancestor(mut pid: i32, parents: &BTreeMap<i32, i32>) -> i32 {
    // Processes come and go while they are listed, so what is listed may even be a ring.
    for _ in 0..parents.len() {
        match parents.get(&pid) {
            Some(parent) if parents.contains_key(parent) => pid = *parent,
            Some(_) | None => break,
        }
    }
    pid
}

/// What a process is, by the program it runs; where that is a loader, by the program that it loaded.
pub(super) fn kind(process: &Process) -> Option<Kind> {
    let words = process.cmdline().ok().filter(|words| !words.is_empty())?;
    let program = process.exe().map(|path| path.display().to_string());
    let program = base(program.as_deref().unwrap_or(&words[0])).to_owned();
    let kind = match program.starts_with("ld-") {
        true => words.iter().find_map(|word| known(base(word))),
        false => known(&program),
    }?;
    let console = kind == Kind::Asterisk && words.iter().any(|word| is_console(word));
    (!console).then_some(kind)
}

fn known(name: &str) -> Option<Kind> {
    match name {
        "asterisk" => Some(Kind::Asterisk),
        "kamailio" => Some(Kind::Kamailio),
        _ => None,
    }
}

/// A program that was replaced while it ran is marked.
fn base(path: &str) -> &str {
    let path = path.strip_suffix(" (deleted)").unwrap_or(path);
    path.rsplit('/').next().unwrap_or(path)
}

/// `-r`, `-R` and `-x`, also among others: a console that is connected to the Asterisk that runs.
fn is_console(word: &str) -> bool {
    let letters = word.strip_prefix('-').unwrap_or_default();
    letters.bytes().all(|letter| letter.is_ascii_alphabetic()) && letters.contains(['r', 'R', 'x'])
}

fn network(process: &Process) -> Option<u64> {
    let namespaces = process.namespaces().ok()?;
    namespaces.0.get(std::ffi::OsStr::new("net")).map(|namespace| namespace.identifier)
}

fn found(group: Vec<Member>, own: Option<u64>) -> Option<Found> {
    let first = group.first()?;
    let kind = first.kind;
    let theirs = network(&first.process);
    let owned = owned(&group);
    let is = |inode: u64| owned.as_ref().is_none_or(|owned| owned.contains(&inode));
    let mut sockets = listeners(&first.process, is);
    if owned.is_none() {
        let known = Scope::default();
        sockets.retain(|socket| known.contains(socket.protocol, socket.address.port()));
    }
    sockets.sort();
    sockets.dedup();
    Some(Found {
        kind,
        container: theirs.is_some() && own.is_some() && theirs != own,
        sockets,
        controls: if owned.is_some() { controls(&first.process, is) } else { Vec::new() },
        hidden: owned.is_none(),
        pids: group.iter().map(|member| member.process.pid).collect(),
    })
}

/// The inodes of the sockets that these processes hold; `None` if that may not be seen.
fn owned(group: &[Member]) -> Option<BTreeSet<u64>> {
    let mut inodes = BTreeSet::new();
    for member in group {
        for descriptor in member.process.fd().ok()?.filter_map(Result::ok) {
            if let FDTarget::Socket(inode) = descriptor.target {
                inodes.insert(inode);
            }
        }
    }
    Some(inodes)
}

/// What is listened on in the network of a process.
fn listeners(process: &Process, is: impl Fn(u64) -> bool) -> Vec<Socket> {
    let socket = |protocol, address: SocketAddr| Socket {
        protocol,
        address: SocketAddr::new(address.ip().to_canonical(), address.port()),
    };
    let tcp = [process.tcp(), process.tcp6()].into_iter().filter_map(Result::ok).flatten();
    let tcp = tcp.filter(|it| it.state == TcpState::Listen && is(it.inode));
    let udp = [process.udp(), process.udp6()].into_iter().filter_map(Result::ok).flatten();
    let udp = udp.filter(|it| it.remote_address.port() == 0 && is(it.inode));
    let tcp = tcp.map(|it| socket(Transport::Tcp, it.local_address));
    tcp.chain(udp.map(|it| socket(Transport::Udp, it.local_address))).collect()
}

/// The sockets in the file system that are listened on.
fn controls(process: &Process, is: impl Fn(u64) -> bool) -> Vec<PathBuf> {
    const STREAM: u16 = 1;
    let entries = process.unix().unwrap_or_default().into_iter();
    entries
        .filter(|it| it.socket_type == STREAM && it.state == UnixState::UNCONNECTED && is(it.inode))
        .filter_map(|it| it.path)
        .filter(|path| path.is_absolute())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_known_by_their_names() {
        assert_eq!(known(base("/usr/sbin/asterisk (deleted)")), Some(Kind::Asterisk));
        assert_eq!(known(base("/opt/kamailio/sbin/kamailio")), Some(Kind::Kamailio));
        assert_eq!(known(base("/usr/bin/vim")), None);
        for console in ["-r", "-rvvv", "-Rx", "-vvvr", "-x"] {
            assert!(is_console(console), "{console}");
        }
        for daemon in ["-f", "-vvvg", "-C", "asterisk", "/x/r", "-", "--library-path"] {
            assert!(!is_console(daemon), "{daemon}");
        }
    }

    #[test]
    fn links_stay_within_the_root() {
        let root = tempfile::tempdir().unwrap();
        let place = |name: &str| root.path().join(name);
        std::fs::create_dir_all(place("run/asterisk")).unwrap();
        std::fs::create_dir(place("var")).unwrap();
        std::fs::write(place("run/asterisk/log"), "inside").unwrap();
        std::os::unix::fs::symlink("/run", place("var/run")).unwrap();
        std::os::unix::fs::symlink("/../../etc/passwd", place("run/out")).unwrap();
        let open = |path: &str| open_below(root.path(), Path::new(path), OFlags::RDONLY);
        let inside = std::fs::File::from(open("/var/run/asterisk/log").unwrap());
        assert_eq!(io::read_to_string(inside).unwrap(), "inside");
        assert!(open("/var/run/out").is_err());
    }

    #[test]
    fn families_are_kept_together() {
        let parents = BTreeMap::from([(10, 1), (11, 10), (12, 11), (20, 1), (30, 31), (31, 30)]);
        assert_eq!([10, 11, 12, 20].map(|pid| ancestor(pid, &parents)), [10, 10, 10, 20]);
        let _ = ancestor(30, &parents);
    }
}
