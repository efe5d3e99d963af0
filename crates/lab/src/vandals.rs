//! [`Deed`]: what other tools, and whoever uses them, do to a filter that is not theirs. For tests: it fails by panicking.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use aya::maps::{Array, Map, MapData};
use geofilter_dataplane::kernel;

use crate::namespace::succeed;
use crate::process::Agent;
use crate::site::{Site, WAN};

const BPF_OBJ_GET: libc::c_long = 7;
const BPF_LINK_DETACH: libc::c_long = 34;

/// Something that is done to the filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// Every program of ours is detached by force (`bpftool link detach`), and stays pinned.
    Detach,
    /// The clsact qdisc goes, and the filters on it.
    DeleteQdisc,
    /// The filters go that judge what arrives.
    DeleteFilters,
    /// The pins of the links go (`rm`), or the marks that stand for them.
    RemoveLinks,
    /// The pins of the maps go.
    RemoveMaps,
    /// The folder goes, with all that is in it.
    RemoveFolder,
    /// The bpffs is unmounted that all of it is in.
    Unmount,
}

impl Deed {
    /// Those that can be done to what is attached in this way. XDP and TC are both held by links: what is done to the
    /// pins is done to one of them.
    pub fn of(backend: &str) -> &'static [Self] {
        match backend {
            "clsact" => &[
                Self::DeleteQdisc,
                Self::DeleteFilters,
                Self::RemoveLinks,
                Self::RemoveMaps,
                Self::Unmount,
            ],
            "xdp" => &[Self::Detach, Self::RemoveFolder],
            _ => &[Self::Detach, Self::RemoveLinks, Self::RemoveMaps, Self::Unmount],
        }
    }

    /// Whether the filter is in force all the same while nobody puts it back: with an agent, and without.
    pub fn spares(self, backend: &str) -> [bool; 2] {
        match self {
            Self::Detach | Self::DeleteQdisc | Self::DeleteFilters => [false, false],
            Self::RemoveMaps => [true, true],
            // An agent that runs holds the links. A filter on a qdisc needs nobody.
            Self::RemoveLinks | Self::RemoveFolder | Self::Unmount => [true, backend == "clsact"],
        }
    }

    /// Does it.
    pub fn commit(self, site: &Site, agent: &Agent<'_>) {
        match self {
            Self::Detach => {
                pins(agent).iter().filter(|pin| is_link(pin)).for_each(|pin| detach(pin))
            }
            Self::DeleteQdisc => tc(site, &["qdisc", "del", "dev", WAN, "clsact"]),
            Self::DeleteFilters => tc(site, &["filter", "del", "dev", WAN, "ingress"]),
            Self::RemoveLinks => pins(agent).iter().filter(|pin| !is_map(pin)).for_each(remove),
            Self::RemoveMaps => pins(agent).iter().filter(|pin| is_map(pin)).for_each(remove),
            Self::RemoveFolder => {
                pins(agent).iter().for_each(remove);
                fs::remove_dir(folder(agent)).unwrap();
            }
            Self::Unmount => drop(unmount(agent).unwrap()),
        }
    }
}

/// A bpffs of the agent's own, which can be unmounted without harm to others on this machine. It is gone when this is.
#[derive(Debug)]
pub struct Bpffs(PathBuf);

impl Bpffs {
    /// Mounts it where the agent would.
    pub fn of(agent: &Agent<'_>) -> Self {
        let own = agent.runtime_dir().join("bpf");
        fs::create_dir_all(&own).unwrap();
        let mut mount = Command::new("mount");
        succeed(mount.args(["-t", "bpf", "-o", "mode=0700", "geofilter"]).arg(&own)).unwrap();
        Self(own)
    }
}

impl Drop for Bpffs {
    fn drop(&mut self) {
        // An agent that was turned off has unmounted it.
        if self.0.exists() {
            let _ = Command::new("umount").args(["--lazy", "--quiet"]).arg(&self.0).status();
        }
    }
}

/// What is pinned, or marked, by name.
pub fn pinned(agent: &Agent<'_>) -> Vec<String> {
    let name = |pin: PathBuf| pin.file_name().unwrap().to_str().unwrap().to_owned();
    let mut names: Vec<String> = pins(agent).into_iter().map(name).collect();
    names.sort();
    names
}

/// What a reboot takes away, of an agent that does not run.
pub fn empty_the_kernel(site: &Site, agent: &Agent<'_>) {
    // It may not be there.
    let _ = site.host.command("tc", &["qdisc", "del", "dev", WAN, "clsact"]);
    pins(agent).iter().for_each(remove);
    // Where the host has a bpffs, the agent mounts none.
    let _ = unmount(agent);
}

/// Has the maps of an agent that does not run be of another version's layout.
pub fn of_another_layout(agent: &Agent<'_>) {
    let map = MapData::from_pin(folder(agent).join("gf_control")).unwrap();
    let mut control: Array<_, [u64; 2]> = Map::Array(map).try_into().unwrap();
    let [word, layout] = control.get(&0, 0).unwrap();
    control.set(0, [word, layout - 1], 0).unwrap();
}

fn folder(agent: &Agent<'_>) -> PathBuf {
    PathBuf::from(kernel::paths(&agent.runtime_dir()).swap_remove(0))
}

fn pins(agent: &Agent<'_>) -> Vec<PathBuf> {
    // While it is away there is nothing in it.
    let entries = fs::read_dir(folder(agent)).into_iter().flatten();
    entries.map(|entry| entry.unwrap().path()).collect()
}

fn unmount(agent: &Agent<'_>) -> anyhow::Result<Output> {
    let own = agent.runtime_dir().join("bpf");
    succeed(Command::new("umount").arg("--lazy").arg(own))
}

fn tc(site: &Site, words: &[&str]) {
    site.host.command("tc", words).unwrap();
}

fn is_link(pin: &Path) -> bool {
    pin.file_name().unwrap().to_str().unwrap().starts_with("link_")
}

fn is_map(pin: &Path) -> bool {
    pin.file_name().unwrap().to_str().unwrap().starts_with("gf_")
}

fn remove(pin: &PathBuf) {
    match pin.is_dir() {
        true => fs::remove_dir(pin).unwrap(),
        false => fs::remove_file(pin).unwrap(),
    }
}

#[expect(unsafe_code, reason = "the library detaches no link that is pinned")]
fn detach(pin: &Path) {
    let path = CString::new(pin.as_os_str().as_bytes()).unwrap();
    let get = [path.as_ptr() as u64, 0];
    // SAFETY: the kernel reads `get` and, through it, `path`; the descriptor it returns is ours.
    let link = unsafe {
        let link = libc::syscall(libc::SYS_bpf, BPF_OBJ_GET, &raw const get, size_of_val(&get));
        assert!(link >= 0, "{}", io::Error::last_os_error());
        OwnedFd::from_raw_fd(link as i32)
    };
    let attr = [link.as_raw_fd() as u64];
    // SAFETY: the kernel reads `attr`.
    let detached = unsafe {
        libc::syscall(libc::SYS_bpf, BPF_LINK_DETACH, &raw const attr, size_of_val(&attr))
    };
    assert_eq!(detached, 0, "{}", io::Error::last_os_error());
}
