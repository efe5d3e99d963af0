//! [`Occupied`]: a runtime directory holds one agent, its lock and its sockets.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use geofilter_portal::sandbox::User;
use rustix::fs::Mode;

use super::door::Door;
use super::settings::Settings;
use crate::cli::args::Choice;

const LOCK: &str = "agent.lock";
const BURIAL: Duration = Duration::from_secs(2);
const MOMENT: Duration = Duration::from_millis(20);

/// What is served at a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Serves {
    /// Whoever asks the agent to do something.
    Clients(Door),
    /// Monitoring.
    Metrics,
}

/// The sockets that an agent listens on.
pub(crate) type Listeners = Vec<(Serves, UnixListener)>;

/// A socket that an agent listens on.
#[derive(Debug, Clone)]
struct Socket {
    serves: Serves,
    path: PathBuf,
    /// Who may open it beside root.
    user: Option<User>,
}

/// The place of this agent; it is left when this is dropped.
#[derive(Debug)]
pub(crate) struct Occupied {
    dir: PathBuf,
    /// What this agent put there, last first.
    ours: Vec<PathBuf>,
    /// Where it listens.
    sockets: Vec<Socket>,
    /// Held, not used: the kernel gives the locks back when this process ends, however it ends.
    locks: Vec<File>,
}

impl Occupied {
    /// Takes the place and listens. A socket left by a killed agent is replaced. The directories of the
    /// settings become what they are called everywhere: without links, and without a slash at the end.
    ///
    /// # Errors
    /// If another agent holds the place, or a directory can't be used.
    pub(crate) fn occupy(settings: Settings) -> anyhow::Result<(Settings, Self, Listeners)> {
        let runtime_dir = make(&settings.runtime_dir, "runtime")?;
        let state_dir = make(&settings.state_dir, "state")?;
        let settings = Settings { runtime_dir, state_dir, ..settings };
        let dir = settings.runtime_dir.clone();
        let lock_file = dir.join(LOCK);
        let lock = lock(&lock_file)?;
        let sockets = sockets(&settings);
        let mut occupied = Self { dir, ours: vec![lock_file], sockets, locks: vec![lock] };
        occupied.locks.push(lock_dir(&settings.state_dir)?);
        for socket in [settings.socket(), settings.portal_socket(), settings.metrics_socket()] {
            match fs::remove_file(&socket) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(error)
                        .with_context(|| format!("cannot replace {}", socket.display()));
                }
                Ok(()) | Err(_) => {}
            }
        }
        let listeners = occupied.listen()?;
        Ok((settings, occupied, listeners))
    }

    /// Takes the place again where somebody has removed a part of it. What others have put there instead is theirs.
    ///
    /// # Errors
    /// If a part of it can't be used.
    pub(crate) fn renew(&mut self) -> anyhow::Result<Listeners> {
        if self.sockets.iter().all(|socket| socket.path.exists()) {
            return Ok(Vec::new());
        }
        make(&self.dir, "runtime")?;
        let lock_file = self.dir.join(LOCK);
        if !lock_file.exists() {
            self.locks.push(lock(&lock_file)?);
        }
        self.listen()
    }

    /// Listens on the sockets that are not there.
    fn listen(&mut self) -> anyhow::Result<Listeners> {
        let mut listeners = Vec::new();
        for Socket { serves, path, user } in &self.sockets {
            if path.exists() {
                continue;
            }
            let listener =
                bind(path).with_context(|| format!("cannot listen on {}", path.display()))?;
            if !self.ours.contains(path) {
                self.ours.insert(0, path.clone());
            }
            if let Some(user) = user {
                hand_over(path, user)
                    .with_context(|| format!("cannot give {} to {}", path.display(), user.name))?;
            }
            listeners.push((*serves, listener));
        }
        Ok(listeners)
    }
}

fn sockets(settings: &Settings) -> Vec<Socket> {
    let of_root = |serves, path| Socket { serves, path, user: None };
    let root = of_root(Serves::Clients(Door::Root), settings.socket());
    let metrics = of_root(Serves::Metrics, settings.metrics_socket());
    let portal = settings.portal.clone().map(|user| Socket {
        serves: Serves::Clients(Door::Portal { uid: user.uid }),
        path: settings.portal_socket(),
        user: Some(user),
    });
    [root, metrics].into_iter().chain(portal).collect()
}

/// Until here the socket was root's alone. Who may not give files away, but has the portal's group, shares it with that.
fn hand_over(socket: &Path, user: &User) -> io::Result<()> {
    match chown(socket, Some(user.uid), Some(user.gid)) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            chown(socket, None, Some(user.gid))?;
            fs::set_permissions(socket, Permissions::from_mode(0o660))
        }
        done => done,
    }
}

impl Drop for Occupied {
    fn drop(&mut self) {
        for path in &self.ours {
            if let Err(error) = fs::remove_file(path) {
                tracing::warn!(%error, path = %path.display(), "cannot remove");
            }
        }
        // It fails when others keep files there, and then it stays.
        let _ = fs::remove_dir(&self.dir);
        self.locks.clear();
    }
}

/// What is pinned is found again by the path of a directory, so there is one path to each.
fn make(dir: &Path, what: &str) -> anyhow::Result<PathBuf> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(dir)
        .and_then(|()| fs::canonicalize(dir))
        .with_context(|| format!("cannot make the {what} directory {}", dir.display()))
}

/// Two agents with one state would undo each other's. A directory is locked without writing to a disk
/// that may be full.
fn lock_dir(dir: &Path) -> anyhow::Result<File> {
    match take_dir(dir).with_context(|| format!("cannot lock {}", dir.display()))? {
        Some(folder) => Ok(folder),
        None => bail!(
            "another agent keeps its state in {}: stop it first, or give this one a --state-dir of its own",
            dir.display()
        ),
    }
}

/// The lock of a directory, until it is dropped; none if somebody else has it.
pub(crate) fn take_dir(dir: &Path) -> io::Result<Option<File>> {
    let began = Instant::now();
    let folder = File::open(dir)?;
    loop {
        match folder.try_lock() {
            Ok(()) => return Ok(Some(folder)),
            Err(TryLockError::WouldBlock) if began.elapsed() < BURIAL => thread::sleep(MOMENT),
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

fn lock(path: &Path) -> anyhow::Result<File> {
    let began = Instant::now();
    loop {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        match file.try_lock() {
            Ok(()) if is_still(path, &file) => {
                file.set_len(0)
                    .and_then(|()| writeln!(file, "{}", std::process::id()))
                    .with_context(|| format!("cannot write {}", path.display()))?;
                return Ok(file);
            }
            Ok(()) => {}
            // The kernel needs a moment to bury an agent that was killed.
            Err(TryLockError::WouldBlock) if began.elapsed() < BURIAL => thread::sleep(MOMENT),
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let _ = file.read_to_string(&mut holder);
                bail!(
                    "another agent (process {}) runs in {}: stop it first, or give this one a --runtime-dir and a --state-dir of its own",
                    holder.trim(),
                    path.parent().unwrap_or(path).display()
                );
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", path.display()));
            }
        }
    }
}

/// An agent that was just leaving may have removed the file that is locked now.
fn is_still(path: &Path, file: &File) -> bool {
    let both = fs::metadata(path).ok().zip(file.metadata().ok());
    both.is_some_and(|(named, held)| (named.dev(), named.ino()) == (held.dev(), held.ino()))
}

/// Nobody but the owner can connect, at no moment.
fn bind(path: &Path) -> io::Result<UnixListener> {
    let before = rustix::process::umask(Mode::from_raw_mode(0o177));
    let listener = UnixListener::bind(path);
    rustix::process::umask(before);
    let listener = listener?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Capabilities by their number in the kernel's interface.
const NET_ADMIN: u32 = 12;
const SYS_ADMIN: u32 = 21;
const PERFMON: u32 = 38;
const BPF: u32 = 39;

/// Says at once what would otherwise fail later in a less telling way.
pub(crate) fn check_privileges(backend: Choice) -> anyhow::Result<()> {
    if backend == Choice::Memory {
        return Ok(());
    }
    let status = fs::read_to_string("/proc/self/status").context("cannot read own privileges")?;
    let held = effective_capabilities(&status).unwrap_or(0);
    let missing = match backend {
        // Without BPF there is nftables.
        Choice::Auto | Choice::Nft if held >> NET_ADMIN & 1 == 1 => Vec::new(),
        Choice::Nft => vec!["CAP_NET_ADMIN"],
        _ => missing_capabilities(held),
    };
    match missing.is_empty() {
        true => Ok(()),
        false => bail!(
            "this needs root (or CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON), and {} is missing: run it with sudo",
            missing.join(" and ")
        ),
    }
}

fn effective_capabilities(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

fn missing_capabilities(held: u64) -> Vec<&'static str> {
    let has = |number: u32| held >> number & 1 == 1;
    let needed = [
        ("CAP_BPF", has(BPF) || has(SYS_ADMIN)),
        ("CAP_NET_ADMIN", has(NET_ADMIN)),
        ("CAP_PERFMON", has(PERFMON) || has(SYS_ADMIN)),
    ];
    needed.into_iter().filter(|(_, held)| !held).map(|(name, _)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_holds_one_agent() {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings::in_memory(&dir.path().join("run"));
        let (settings, occupied, _listener) = Occupied::occupy(settings).unwrap();
        let error = Occupied::occupy(settings.clone()).unwrap_err().to_string();
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
        let mode = fs::metadata(settings.socket()).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600);
        drop(occupied);
        assert!(!settings.runtime_dir.exists());
    }

    #[test]
    fn a_stale_socket_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings::in_memory(dir.path());
        drop(UnixListener::bind(settings.socket()).unwrap());
        drop(UnixListener::bind(settings.portal_socket()).unwrap());
        let (settings, ..) = Occupied::occupy(settings).unwrap();
        assert!(!settings.portal_socket().exists(), "no portal was named");
    }

    #[test]
    fn a_directory_has_one_path_however_it_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().canonicalize().unwrap().join("run");
        fs::create_dir(&real).unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&real, &link).unwrap();
        for named in [real.join(""), link.clone(), link.join("."), link.join("../run")] {
            assert_eq!(make(&named, "runtime").unwrap().as_os_str(), real.as_os_str());
        }
    }

    #[test]
    fn missing_capabilities_are_named() {
        let status = "Name:\tx\nCapEff:\t0000000000001000\n";
        let held = effective_capabilities(status).unwrap();
        assert_eq!(missing_capabilities(held), ["CAP_BPF", "CAP_PERFMON"]);
        assert!(missing_capabilities(1 << NET_ADMIN | 1 << SYS_ADMIN).is_empty());
    }
}
