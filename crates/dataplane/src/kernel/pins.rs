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
        self.folder.is_dir()
    }

    /// The pin of a map.
    pub(crate) fn map(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The pin of the link on an interface.
    pub(crate) fn link(&self, interface: &str, kind: &str) -> PathBuf {
        self.folder.join(format!("link_{kind}_{}", escape(interface)))
    }

    /// Every pinned link, as (interface, kind, path).
    pub(crate) fn links(&self) -> Result<Vec<(String, String, PathBuf)>, Error> {
        let links = self.files()?.into_iter().filter_map(|path| {
            let name = path.file_name()?.to_str()?.strip_prefix("link_")?.to_owned();
            let (kind, interface) = name.split_once('_')?;
            Some((unescape(interface), kind.to_owned(), path))
        });
        Ok(links.collect())
    }

    /// Every pin that is not a link.
    pub(crate) fn maps(&self) -> Result<Vec<PathBuf>, Error> {
        let is_link = |path: &PathBuf| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("link_"))
        };
        Ok(self.files()?.into_iter().filter(|path| !is_link(path)).collect())
    }

    fn files(&self) -> Result<Vec<PathBuf>, Error> {
        let fail = |source| Error::Pins { path: self.folder.clone(), source };
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(fail)?,
        };
        entries.map(|entry| Ok(entry.map_err(fail)?.path())).collect()
    }

    /// Removes the folder, empty by now, and the mount if it is ours.
    pub(crate) fn remove(&self) -> Result<(), Error> {
        let fail = |source| Error::Pins { path: self.folder.clone(), source };
        let gone = |result: io::Result<()>| match result {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            result => result,
        };
        gone(fs::remove_dir(&self.folder)).map_err(fail)?;
        if let Some(own) = &self.own_mount {
            if is_bpffs(own) {
                unmount(own, UnmountFlags::empty()).map_err(|error| fail(error.into()))?;
            }
            gone(fs::remove_dir(own)).map_err(fail)?;
        }
        Ok(())
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

fn unescape(name: &str) -> String {
    let mut parts = name.split('%');
    let mut plain = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (hex, rest) = part.split_at_checked(2).unwrap_or((part, ""));
        plain.extend(u8::from_str_radix(hex, 16).ok());
        plain.extend(rest.as_bytes());
    }
    String::from_utf8_lossy(&plain).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_interfaces_survive_the_pin() {
        for name in ["eth0", "eth0.10", "br-lan", "ä%/ x"] {
            assert_eq!(unescape(&escape(name)), name);
            assert!(!escape(name).contains(['.', '/']));
        }
    }

    #[test]
    fn agents_with_other_runtime_folders_pin_apart() {
        assert_eq!(name(Path::new("/run/geofilter")), "geofilter");
        assert_ne!(name(Path::new("/run/a")), name(Path::new("/run/b")));
    }
}
