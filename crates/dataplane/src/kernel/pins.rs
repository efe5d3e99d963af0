//! [`Pins`]: the one bpffs folder that keeps maps and links alive without an agent.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::Error;

const SYSTEM_BPFFS: &str = "/sys/fs/bpf";
const DEFAULT_RUNTIME_DIR: &str = "/run/geofilter";
const BPF_FS_MAGIC: u32 = 0xcafe_4a11;

/// Where maps and links of one agent are pinned: below `/sys/fs/bpf` where a bpffs is mounted there,
/// else in a bpffs of our own below the runtime folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pins {
    folder: PathBuf,
    /// The mount that is ours.
    own_mount: Option<PathBuf>,
}

impl Pins {
    /// Where the pins of the agent with this runtime folder are, or would be.
    pub(crate) fn of(runtime_dir: &Path) -> Self {
        let own = runtime_dir.join("bpf");
        if is_bpffs(Path::new(SYSTEM_BPFFS)) && !is_bpffs(&own) {
            return Self {
                folder: Path::new(SYSTEM_BPFFS).join(name(runtime_dir)),
                own_mount: None,
            };
        }
        Self { folder: own.join("geofilter"), own_mount: Some(own) }
    }

    /// What is not there before [`Pins::create`] and after [`Pins::remove`].
    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        [Some(&self.folder), self.own_mount.as_ref()].into_iter().flatten().map(PathBuf::as_path)
    }

    /// Makes the folder, mounting a bpffs where none is.
    pub(crate) fn create(&self) -> Result<(), Error> {
        let fail = |source| Error::Pins { path: self.folder.clone(), source };
        if let Some(own) = self.own_mount.as_ref().filter(|own| !is_bpffs(own)) {
            fs::create_dir_all(own).map_err(fail)?;
            let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
            mount("geofilter", own, "bpf", flags, c"mode=0700").map_err(|e| fail(e.into()))?;
        }
        match fs::create_dir(&self.folder) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(fail(error)),
            _ => Ok(()),
        }
    }

    /// Whether anything is pinned.
    pub(crate) fn exist(&self) -> bool {
        fs::read_dir(&self.folder).is_ok_and(|mut entries| entries.next().is_some())
    }

    /// The pin of a map.
    pub(crate) fn map(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The pin of the link on an interface, named by its index: names change hands.
    pub(crate) fn link(&self, interface: u32, kind: &str) -> PathBuf {
        self.folder.join(format!("link_{kind}_{interface}"))
    }

    /// Says that a filter of ours is, or is about to be, on an interface.
    pub(crate) fn mark_filter(&self, interface: u32, task: Task, priority: u16) -> io::Result<()> {
        mark(&self.filter(interface, task, priority))
    }

    /// Says that it is gone.
    pub(crate) fn unmark_filter(
        &self,
        interface: u32,
        task: Task,
        priority: u16,
    ) -> io::Result<()> {
        unmark(&self.filter(interface, task, priority))
    }

    /// Says that the clsact qdisc of an interface is, or is about to be, ours.
    pub(crate) fn mark_qdisc(&self, interface: u32) -> io::Result<()> {
        mark(&self.qdisc(interface))
    }

    /// Says that it is gone, or not ours any more.
    pub(crate) fn unmark_qdisc(&self, interface: u32) -> io::Result<()> {
        unmark(&self.qdisc(interface))
    }

    fn filter(&self, interface: u32, task: Task, priority: u16) -> PathBuf {
        let what = match task {
            Task::Judge => "filter",
            Task::Track => TRACKER,
        };
        self.folder.join(format!("{what}_{priority}_{interface}"))
    }

    fn qdisc(&self, interface: u32) -> PathBuf {
        self.folder.join(format!("qdisc_{interface}"))
    }

    /// Where it is pinned or marked that something holds a program.
    pub(crate) fn path_of(&self, hold: &Hold) -> PathBuf {
        match &hold.how {
            How::Link { pin, .. } => pin.clone(),
            How::Filter { task, priority } => self.filter(hold.interface, *task, *priority),
            How::Qdisc => self.qdisc(hold.interface),
        }
    }

    /// Marks again what holds a program on an interface and can't be pinned.
    pub(crate) fn mark_again(&self, hold: &Hold) -> Result<(), Error> {
        mark(&self.path_of(hold))
            .map_err(|source| Error::Pins { path: self.folder.clone(), source })
    }

    /// The folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Removes the pins of all maps but these: they are made anew together, or judge by what does not belong together.
    pub(crate) fn remove_maps(&self, but: &[&str]) -> Result<(), Error> {
        let but: Vec<PathBuf> = but.iter().map(|name| self.map(name)).collect();
        self.maps()?.into_iter().filter(|path| !but.contains(path)).try_for_each(|path| {
            fs::remove_file(&path).map_err(|source| Error::Pins { path, source })
        })
    }

    /// Everything that holds a program on an interface, qdiscs behind the filters on them.
    pub(crate) fn holds(&self) -> Result<Vec<Hold>, Error> {
        let mut holds: Vec<Hold> = self.files()?.into_iter().filter_map(Hold::read).collect();
        holds.sort_by_key(|hold| hold.how == How::Qdisc);
        Ok(holds)
    }

    /// Every pin of a map.
    pub(crate) fn maps(&self) -> Result<Vec<PathBuf>, Error> {
        let is_map = |path: &PathBuf| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("gf_"))
        };
        Ok(self.files()?.into_iter().filter(is_map).collect())
    }

    /// Whatever is pinned or marked.
    pub(crate) fn files(&self) -> Result<Vec<PathBuf>, Error> {
        let fail = |source| Error::Pins { path: self.folder.clone(), source };
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(fail)?,
        };
        entries.map(|entry| Ok(entry.map_err(fail)?.path())).collect()
    }

    /// Removes the folder, empty by now, and the mount if it is ours. A service that may write there alone has the
    /// folder as a mount of its own, which was there before and stays for as long as it runs.
    pub(crate) fn remove(&self) -> Result<(), Error> {
        let fail = |source| Error::Pins { path: self.folder.clone(), source };
        let gone = |result: io::Result<()>| match result {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            result => result,
        };
        let left = match fs::remove_dir(&self.folder) {
            Err(error)
                if [ErrorKind::ReadOnlyFilesystem, ErrorKind::ResourceBusy]
                    .contains(&error.kind())
                    && !self.exist() =>
            {
                Ok(())
            }
            result => gone(result),
        };
        left.map_err(fail)?;
        if let Some(own) = &self.own_mount {
            if is_bpffs(own) {
                // Nothing is in it, and whoever just looks around there keeps it from nobody else.
                unmount(own, UnmountFlags::DETACH).map_err(|error| fail(error.into()))?;
            }
            gone(fs::remove_dir(own)).map_err(fail)?;
        }
        Ok(())
    }
}

/// What a program does on its interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Task {
    /// Judges what arrives.
    Judge,
    /// Learns from what leaves.
    Track,
}

/// The word for a tracker in the name of a pin.
pub(crate) const TRACKER: &str = "track";

/// What holds a program on an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hold {
    /// The index of the interface.
    pub(crate) interface: u32,
    pub(crate) how: How,
}

/// How a program is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum How {
    /// By a pinned link of this kind.
    Link { kind: String, pin: PathBuf },
    /// By a filter with this priority on the clsact qdisc.
    Filter { task: Task, priority: u16 },
    /// Not yet, or no more: the qdisc was added for it.
    Qdisc,
}

impl Hold {
    fn read(pin: PathBuf) -> Option<Self> {
        let name = pin.file_name()?.to_str()?.to_owned();
        let (what, rest) = name.split_once('_')?;
        let (interface, how) = match (what, rest.split_once('_')) {
            ("link", Some((kind, interface))) => {
                (interface, How::Link { kind: kind.to_owned(), pin })
            }
            ("filter", Some((priority, interface))) => {
                (interface, How::Filter { task: Task::Judge, priority: priority.parse().ok()? })
            }
            (TRACKER, Some((priority, interface))) => {
                (interface, How::Filter { task: Task::Track, priority: priority.parse().ok()? })
            }
            ("qdisc", _) => (rest, How::Qdisc),
            _ => return None,
        };
        Some(Self { interface: interface.parse().ok()?, how })
    }

    /// What the program it holds does.
    pub(crate) fn task(&self) -> Task {
        match &self.how {
            How::Link { kind, .. } if kind == TRACKER => Task::Track,
            How::Filter { task, .. } => *task,
            How::Link { .. } | How::Qdisc => Task::Judge,
        }
    }
}

/// bpffs holds no plain files, so a mark is a folder.
fn mark(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

fn unmark(path: &Path) -> io::Result<()> {
    match fs::remove_dir(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn is_bpffs(path: &Path) -> bool {
    rustix::fs::statfs(path).is_ok_and(|stat| stat.f_type as u32 == BPF_FS_MAGIC)
}

/// `geofilter` for the default runtime folder, and a name of its own for every other.
fn name(runtime_dir: &Path) -> String {
    match runtime_dir.to_str() {
        Some(DEFAULT_RUNTIME_DIR) => "geofilter".to_owned(),
        _ => format!("geofilter-{}", escape(&runtime_dir.to_string_lossy())),
    }
}

/// bpffs refuses dots in names, and a slash would be a folder: both become `%XX`.
fn escape(name: &str) -> String {
    name.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'@' | b':' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02x}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_with_other_runtime_folders_pin_apart() {
        assert_eq!(name(Path::new("/run/geofilter")), "geofilter");
        assert_ne!(name(Path::new("/run/a")), name(Path::new("/run/b")));
        assert!(!name(Path::new("/run/a.b/c")).contains(['.', '/']));
    }
}
