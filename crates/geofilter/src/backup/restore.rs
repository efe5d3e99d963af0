//! [`restore`]: builds the new state beside the one that there is, and exchanges the two in one step. Whoever is killed before
//! that has changed nothing, and whoever is killed after it has the new state, with the former one beside it.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use geofilter_dataplane::fault;
use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::{Manifest, PORTAL, archive, sync_parent};
use crate::agent::{renumber, take_dir};

/// Stands in a folder that is not a state yet.
const MARK: &str = "restoring";
/// What belongs to the machine and not to the state.
const OF_MACHINE: [&str; 2] = ["baseline.json", "interfaces.json"];

/// What was done.
#[derive(Debug)]
pub(crate) struct Restored {
    pub(crate) manifest: Manifest,
    /// Where the former state is.
    pub(crate) before: PathBuf,
}

/// Makes the state in a file that of this folder.
///
/// # Errors
/// If an agent or a portal is at work there, or the file is not whole; the state is as it was then.
pub(crate) fn restore(state_dir: &Path, file: &Path) -> anyhow::Result<Restored> {
    let state_dir = made(state_dir)?;
    let _locks = locks(&state_dir)?;
    let new = beside(&state_dir, "restoring");
    clear(&state_dir, &new)?;
    let built = build(&state_dir, &new, file);
    let manifest = match built {
        Ok(manifest) => manifest,
        Err(error) => {
            // What is half built only takes room, and the error to tell is the first one.
            let _ = fs::remove_dir_all(&new);
            return Err(error.context("nothing was restored, and the state is as it was"));
        }
    };
    fault::point("restore-built");
    exchange(&state_dir, &new)?;
    fault::point("restore-exchanged");
    let before = set_aside(&state_dir, &new)
        .with_context(|| format!("it is restored, and the former state is in {}", new.display()))?;
    Ok(Restored { manifest, before })
}

fn made(state_dir: &Path) -> anyhow::Result<PathBuf> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(state_dir)
        .and_then(|()| fs::canonicalize(state_dir))
        .with_context(|| format!("cannot use the folder {}", state_dir.display()))
}

/// Nobody works in these folders, and nobody begins to before this is over.
fn locks(state_dir: &Path) -> anyhow::Result<Vec<File>> {
    let mut locks = Vec::new();
    let portal = state_dir.join(PORTAL);
    for (dir, who, unit) in
        [(state_dir, "an agent", "geofilter"), (&portal, "a portal", "geofilter-portal")]
    {
        if !dir.exists() {
            continue;
        }
        match take_dir(dir).with_context(|| format!("cannot lock {}", dir.display()))? {
            Some(lock) => locks.push(lock),
            None => bail!(
                "{who} is at work in {}: stop it first (`systemctl stop {unit}`, or end `geofilter up`), and try again; what the kernel holds stays in force meanwhile",
                dir.display()
            ),
        }
    }
    Ok(locks)
}

/// A folder that is called as the state's, and something more.
fn beside(state_dir: &Path, more: &str) -> PathBuf {
    let mut name = state_dir.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{more}"));
    state_dir.with_file_name(name)
}

/// What one that was killed left: its own, or a former state, which is never removed.
fn clear(state_dir: &Path, new: &Path) -> anyhow::Result<()> {
    unmark(state_dir)
        .and_then(|()| match (new.exists(), new.join(MARK).exists()) {
            (false, _) => Ok(()),
            (true, true) => fs::remove_dir_all(new),
            (true, false) => set_aside(state_dir, new).map(drop),
        })
        .with_context(|| format!("cannot clear {} away", new.display()))
}

fn unmark(dir: &Path) -> io::Result<()> {
    match fs::remove_file(dir.join(MARK)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => File::open(dir)?.sync_all(),
    }
}

fn build(state_dir: &Path, new: &Path, file: &Path) -> anyhow::Result<Manifest> {
    let building = || format!("cannot build the new state in {}", new.display());
    DirBuilder::new().mode(0o700).create(new).with_context(building)?;
    File::create(new.join(MARK)).with_context(building)?;
    let manifest = archive::read(file, new)?;
    fault::point("restore-read");
    renumber(new, state_dir).with_context(|| format!("cannot use {}", file.display()))?;
    keep_machine(state_dir, new)
        .and_then(|()| dress(state_dir, new))
        .and_then(|()| File::open(new)?.sync_all())
        .with_context(building)?;
    Ok(manifest)
}

fn keep_machine(state_dir: &Path, new: &Path) -> io::Result<()> {
    for file in OF_MACHINE {
        match fs::copy(state_dir.join(file), new.join(file)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
            Ok(_) => File::open(new.join(file))?.sync_all()?,
        }
    }
    Ok(())
}

/// Everything belongs to whom it belonged. A portal that was not here yet takes its folder when it starts.
fn dress(state_dir: &Path, new: &Path) -> io::Result<()> {
    let was = fs::metadata(state_dir)?;
    fs::set_permissions(new, Permissions::from_mode(was.mode() & 0o7777))?;
    chown(new, Some(was.uid()), Some(was.gid()))?;
    let portal = new.join(PORTAL);
    let Ok(was) = fs::symlink_metadata(state_dir.join(PORTAL)) else { return Ok(()) };
    if !was.is_dir() || !portal.exists() {
        return Ok(());
    }
    for entry in fs::read_dir(&portal)? {
        chown(entry?.path(), Some(was.uid()), Some(was.gid()))?;
    }
    chown(&portal, Some(was.uid()), Some(was.gid()))?;
    File::open(&portal)?.sync_all()
}

fn exchange(state_dir: &Path, new: &Path) -> anyhow::Result<()> {
    renameat_with(CWD, new, CWD, state_dir, RenameFlags::EXCHANGE)
        .map_err(io::Error::from)
        .and_then(|()| sync_parent(state_dir))
        .with_context(|| {
            format!(
                "cannot put {} in the place of {}, and nothing was changed: if that is a mount point, restore into another folder with --state-dir, and copy from there",
                new.display(),
                state_dir.display()
            )
        })
}

/// Gives a former state a name that says so.
fn set_aside(state_dir: &Path, former: &Path) -> io::Result<PathBuf> {
    let numbered = |number: u64| beside(state_dir, &format!("before-{number}"));
    let aside = (1..).map(numbered).find(|aside| !aside.exists()).unwrap_or_else(|| numbered(0));
    fs::rename(former, &aside)?;
    unmark(state_dir)?;
    sync_parent(state_dir)?;
    Ok(aside)
}
