//! The state of a host as one file, and back. [`collect`] gathers its parts from the folders of an agent and a portal that
//! may be at work, [`archive`] is the file, [`restore`] puts what it holds in the place of what there is, in one step.

mod archive;
mod collect;
mod restore;

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use geofilter_dataplane::fault;
use serde::{Deserialize, Serialize};

pub(crate) use restore::{Restored, restore};

/// Takes a backup apart into an empty folder.
///
/// # Errors
/// If it is not whole.
pub(crate) fn take_apart(file: impl io::Read, into: &Path) -> anyhow::Result<()> {
    archive::read_from(file, Path::new("it"), into).map(drop)
}

/// The version of the file.
const SCHEMA: u32 = 1;
/// The portal's folder within the agent's.
const PORTAL: &str = "portal";
/// The portal's database there.
const DATABASE: &str = "portal.db";

/// What the file says of itself; it comes first in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    /// [`SCHEMA`].
    pub(crate) schema: u32,
    /// The version of the program that wrote it.
    pub(crate) version: String,
    /// When, in RFC 3339.
    pub(crate) time: String,
    /// What it holds, in this order.
    pub(crate) parts: Vec<Part>,
}

/// One file of the state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Part {
    /// Where it belongs, within the agent's folder.
    pub(crate) name: String,
    /// Its length.
    pub(crate) bytes: u64,
    /// SHA-256 of its content, in hexadecimal.
    pub(crate) sha256: String,
}

/// Writes the state in this folder into a file that is whole or not there, and that only its owner reads.
///
/// # Errors
/// If it can't be read or written; what was at the file's place is there as before.
pub(crate) fn backup(state_dir: &Path, file: &Path) -> anyhow::Result<Manifest> {
    let state_dir = fs::canonicalize(state_dir).with_context(|| {
        format!(
            "cannot find the state in {}: name its folder with --state-dir",
            state_dir.display()
        )
    })?;
    let work = Work::beside(file)?;
    let parts = collect::parts(&state_dir, &work.dir)?;
    ensure!(!parts.is_empty(), "there is no state in {} yet", state_dir.display());
    let manifest = Manifest {
        schema: SCHEMA,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        time: jiff::Timestamp::now().to_string(),
        parts: parts.iter().map(|(part, _)| part.clone()).collect(),
    };
    let written = work.dir.join("backup");
    archive::write(&written, &manifest, parts)
        .and_then(|()| {
            fault::point("backup-written");
            fs::rename(&written, file)?;
            sync_parent(file)
        })
        .with_context(|| format!("cannot write {}: is there room?", file.display()))?;
    Ok(manifest)
}

/// A folder beside a file, for what is not finished; it goes when this is dropped.
struct Work {
    dir: PathBuf,
}

impl Work {
    fn beside(file: &Path) -> anyhow::Result<Self> {
        let name = file.file_name().with_context(|| format!("{} names no file", file.display()))?;
        let mut name = name.to_owned();
        name.push(".unfinished");
        let dir = file.with_file_name(name);
        // One that was killed left its own.
        let made = match fs::remove_dir_all(&dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => DirBuilder::new().mode(0o700).create(&dir),
        };
        made.with_context(|| format!("cannot make the folder {}", dir.display()))?;
        Ok(Self { dir })
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        // What stays only takes room, and the next one removes it.
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Makes what was renamed survive a power cut.
fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    fs::File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}
