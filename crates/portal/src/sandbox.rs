//! The portal's confinement. [`drop_privileges`] makes root the portal's [`User`], for good; [`enter`] takes from
//! the process what it does not need once it listens: [`Confined`] says what the kernel could take.
//!
//! [`enter_courier`] confines the [courier](crate::courier), which reaches others, and none of that; [`enter_fetcher`] the process that
//! fetches world data for the agent, or for the portal of a fleet, which has a folder besides; [`enter_link`] the one that speaks to the portal of a fleet.
//!
//! What is left to whoever breaks in: the portal's own folder, the connections it serves, and the socket of the agent,
//! which judges every request by itself. `docs/security.md` says so in prose.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::iter;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, LandlockStatus, NetPort,
    Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, Scope, path_beneath_rules,
};
use rustix::fs::OFlags;
use rustix::process::{DumpableBehavior, Gid, Uid, set_dumpable_behavior, umask};
use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs, set_thread_groups,
    set_thread_res_gid, set_thread_res_uid,
};

use crate::Settings;
use crate::fleet::FOLDER;
use calls::Role;

mod calls;

/// Why a process could not be confined. It must not serve then.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody has that name.
    #[error(
        "there is no user {0} on this host: make it with `useradd --system --shell /usr/sbin/nologin {0}`"
    )]
    NoUser(String),
    /// Whoever is root stays root.
    #[error("{0} is root: name a user who has no privileges")]
    Root(String),
    /// The folder could not be made, or given to the user.
    #[error("cannot use {path} as the portal's user: {source}")]
    Folder {
        /// Which.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The kernel refused.
    #[error("cannot confine the portal: cannot {what}: {source}")]
    Kernel {
        /// What it was asked.
        what: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// What confines a thread does not confine those that are there already.
    #[error("cannot confine the portal: it has {0} threads by now, and only one would be confined")]
    Threads(usize),
    /// Files and connections could not be restricted.
    #[error("cannot confine the portal to its folder: {0}")]
    Landlock(#[from] RulesetError),
    /// System calls could not be restricted.
    #[error("cannot confine the portal to its system calls: {0}")]
    Seccomp(#[from] seccompiler::Error),
}

/// Who a portal runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The name.
    pub name: String,
    /// The number.
    pub uid: u32,
    /// The number of its group.
    pub gid: u32,
}

impl User {
    /// The user of this host with this name, who is not root.
    ///
    /// # Errors
    /// If there is none.
    pub fn named(name: &str) -> Result<Self, Error> {
        let users = fs::read_to_string("/etc/passwd").map_err(kernel("read /etc/passwd"))?;
        let user = users.lines().find_map(|line| Self::read(line, name));
        match user.ok_or_else(|| Error::NoUser(name.to_owned()))? {
            Self { name, uid: 0, .. } | Self { name, gid: 0, .. } => Err(Error::Root(name)),
            user => Ok(user),
        }
    }

    /// Whose this folder is.
    ///
    /// # Errors
    /// If it is not there, or root's.
    pub fn of(folder: &Path) -> Result<Self, Error> {
        let found = fs::metadata(folder)
            .map_err(|source| Error::Folder { path: folder.display().to_string(), source })?;
        match (found.uid(), found.gid()) {
            (uid, gid) if uid != 0 && gid != 0 => Ok(Self { name: uid.to_string(), uid, gid }),
            _ => Err(Error::Root(format!("the owner of {}", folder.display()))),
        }
    }

    fn read(line: &str, wanted: &str) -> Option<Self> {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| *name == wanted)?.to_owned();
        let mut numbers = fields.skip(1).map(str::parse);
        Some(Self { name, uid: numbers.next()?.ok()?, gid: numbers.next()?.ok()? })
    }
}

/// What the kernel took. What it could not take is for the log, and for whoever chooses the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Confined {
    /// Files outside of its folder (Linux 5.13).
    pub files: bool,
    /// Connecting by TCP, and listening anew (Linux 6.7). System calls are taken in any case.
    pub tcp: bool,
    /// Signals to others, and abstract sockets of others (Linux 6.12).
    pub scopes: bool,
    /// How many system calls are left to it.
    pub calls: usize,
}

/// Makes the folder, which is the user's alone from then on, and root that user, who can't become root again.
///
/// # Errors
/// If the kernel refuses a step; the process must end then.
pub fn drop_privileges(user: &User, state_dir: &Path) -> Result<(), Error> {
    check_threads()?;
    let of_world = state_dir.join(FOLDER);
    for dir in iter::once(state_dir).chain(of_world.is_dir().then_some(&*of_world)) {
        hand_over(dir, user)
            .map_err(|source| Error::Folder { path: dir.display().to_string(), source })?;
    }
    empty_bounding_set()?;
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    set_thread_groups(&[]).map_err(kernel("leave its groups"))?;
    set_thread_res_gid(gid, gid, gid).map_err(kernel("become the group"))?;
    set_thread_res_uid(uid, uid, uid).map_err(kernel("become the user"))?;
    give_up()
}

/// Confines this process, which has one thread and listens already, and whatever thread it starts, for good.
///
/// # Errors
/// If the kernel refuses what it knows. What it is too old for is left out, and said.
pub fn enter(settings: &Settings) -> Result<Confined, Error> {
    check_threads()?;
    give_up()?;
    let tcp = AccessNet::BindTcp | AccessNet::ConnectTcp;
    let folder = Some(&*settings.state_dir);
    let Some(server) = &settings.database else {
        let confined = restrict(folder, &READ, tcp, &[])?;
        let confined = Confined { calls: calls::restrict(Role::Portal)?, ..confined };
        tell(confined, "the portal is confined to its folder and the agent's socket");
        return Ok(confined);
    };
    let files = server.files().iter().map(String::as_str);
    let read: Vec<&str> = READ.into_iter().chain(REACHING).chain(files).collect();
    let confined = restrict(folder, &read, tcp, &[server.port(), DNS])?;
    let confined = Confined { calls: calls::restrict(Role::Replica)?, ..confined };
    tell(
        confined,
        "the portal is confined to its folder, the agent's socket and the port of its database",
    );
    Ok(confined)
}

/// Confines this process, which has one thread and is the courier, for good.
///
/// # Errors
/// As [`enter`].
pub fn enter_courier() -> Result<Confined, Error> {
    check_threads()?;
    give_up()?;
    let confined = restrict(None, &REACHING, AccessNet::BindTcp.into(), &[])?;
    let confined = Confined { calls: calls::restrict(Role::Courier)?, ..confined };
    tell(confined, "the courier is confined to connecting");
    Ok(confined)
}

/// Confines this process, which has one thread and fetches into this folder, for good. It may read these files besides.
///
/// # Errors
/// As [`enter`].
pub fn enter_fetcher(folder: &Path, files: &[&str]) -> Result<Confined, Error> {
    check_threads()?;
    give_up()?;
    let read: Vec<&str> = REACHING.iter().chain(files).copied().collect();
    let confined = restrict(Some(folder), &read, AccessNet::BindTcp.into(), &[])?;
    let confined = Confined { calls: calls::restrict(Role::Fetcher)?, ..confined };
    tell(
        confined,
        "the process that fetches world data is confined to its folder, and to connecting",
    );
    Ok(confined)
}

/// Confines this process, which has one thread and speaks to the portal of a fleet, for good.
///
/// # Errors
/// As [`enter`].
pub fn enter_link() -> Result<Confined, Error> {
    check_threads()?;
    give_up()?;
    let confined = restrict(None, &REACHING, AccessNet::BindTcp.into(), &[])?;
    let confined = Confined { calls: calls::restrict(Role::Courier)?, ..confined };
    tell(confined, "the process that speaks to the fleet's portal is confined to connecting");
    Ok(confined)
}

fn tell(confined: Confined, so: &'static str) {
    let Confined { files, tcp, scopes, calls } = confined;
    match files && tcp && scopes {
        true => tracing::info!(calls, "{so}"),
        false => tracing::warn!(
            files,
            tcp,
            scopes,
            calls,
            "this kernel has no landlock, or an old one: it is confined by its user and its system calls, and by landlock only where it says true"
        ),
    }
}

/// A folder that another user had is this one's with its files.
fn hand_over(dir: &Path, user: &User) -> io::Result<()> {
    if let Some(parent) = dir.parent() {
        fs::create_dir_all(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let no_link = |path: &Path| {
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        fs::File::options().read(true).custom_flags(flags.bits().cast_signed()).open(path)
    };
    let folder = no_link(dir)?;
    if !folder.metadata()?.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    fchown(&folder, Some(user.uid), Some(user.gid))?;
    folder.set_permissions(Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(dir)? {
        let Ok(file) = no_link(&entry?.path()) else { continue };
        let of = file.metadata()?;
        // A second name could be that of a file elsewhere.
        if of.is_file() && of.nlink() == 1 && of.uid() != user.uid {
            fchown(&file, Some(user.uid), Some(user.gid))?;
        }
    }
    Ok(())
}

fn check_threads() -> Result<(), Error> {
    match fs::read_dir("/proc/self/task").map_err(kernel("count its threads"))?.count() {
        1 => Ok(()),
        threads => Err(Error::Threads(threads)),
    }
}

fn empty_bounding_set() -> Result<(), Error> {
    let last = fs::read_to_string("/proc/sys/kernel/cap_last_cap");
    let last = last.ok().and_then(|last| last.trim().parse().ok()).unwrap_or(40_u32);
    for number in 0..=last.min(63) {
        remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << number))
            .map_err(kernel("give up capabilities for good"))?;
    }
    Ok(())
}

/// What even a user without privileges may have been given.
fn give_up() -> Result<(), Error> {
    // Not on every kernel that this runs on are there ambient capabilities.
    let _ = clear_ambient_capability_set();
    let none = CapabilitySet::empty();
    let none = CapabilitySets { effective: none, permitted: none, inheritable: none };
    set_capabilities(None, none).map_err(kernel("give up its capabilities"))?;
    set_no_new_privs(true).map_err(kernel("refuse privileges of programs"))?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(kernel("keep its memory from others"))?;
    umask(rustix::fs::Mode::from_raw_mode(0o077));
    Ok(())
}

/// What it reads besides its folder, where there is such a thing; chance is what SQLite begins with.
const READ: [&str; 3] = ["/usr/share/zoneinfo", "/etc/localtime", "/dev/urandom"];
/// What names and certificates are found by.
const REACHING: [&str; 9] = [
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/etc/host.conf",
    "/etc/ssl",
    "/etc/pki",
    "/usr/share/ca-certificates",
    "/run/systemd/resolve",
];

/// Where names are looked up when the answer is long.
const DNS: u16 = 53;

/// All that is known of by this kernel is taken; only these files are given back, and connecting to these ports.
fn restrict(
    state_dir: Option<&Path>,
    read: &[&str],
    tcp: BitFlags<AccessNet>,
    ports: &[u16],
) -> Result<Confined, Error> {
    let abi = ABI::V6;
    let reading = AccessFs::ReadFile | AccessFs::ReadDir;
    let working = reading
        | AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::MakeReg
        | AccessFs::RemoveFile;
    let status = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(abi))?
        .handle_access(tcp)?
        .scope(Scope::from_all(abi))?
        .create()?
        .add_rules(path_beneath_rules(state_dir, working))?
        .add_rules(path_beneath_rules(read, reading))?
        .add_rules(
            ports
                .iter()
                .map(|port| Ok::<_, RulesetError>(NetPort::new(*port, AccessNet::ConnectTcp))),
        )?
        .restrict_self()?;
    let abi = match status.landlock {
        LandlockStatus::Available { effective_abi, .. } => effective_abi,
        LandlockStatus::NotEnabled | LandlockStatus::NotImplemented => ABI::Unsupported,
    };
    Ok(Confined { files: abi >= ABI::V1, tcp: abi >= ABI::V4, scopes: abi >= ABI::V6, calls: 0 })
}

fn kernel<E: Into<io::Error>>(what: &'static str) -> impl FnOnce(E) -> Error {
    move |source| Error::Kernel { what, source: source.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_the_whole_name_and_is_not_root() {
        let read = |line, name| User::read(line, name).map(|user| (user.uid, user.gid));
        assert_eq!(read("nobody:x:65534:65533:n:/:/bin/false", "nobody"), Some((65_534, 65_533)));
        assert_eq!(read("nobody2:x:1:1:n:/:/bin/false", "nobody"), None);
        assert_eq!(read("nobody:x:many:1:n:/:/bin/false", "nobody"), None);
        assert!(matches!(User::named("root"), Err(Error::Root(_))));
        assert!(matches!(User::named("no:body"), Err(Error::NoUser(_))));
    }
}
