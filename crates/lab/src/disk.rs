//! [`SmallDisk`]: a disk that is soon full.

use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use tempfile::TempDir;

use crate::namespace::succeed;

/// A disk in memory, until it is dropped.
#[derive(Debug)]
pub struct SmallDisk {
    folder: TempDir,
}

impl SmallDisk {
    /// One of so many kB.
    ///
    /// # Errors
    /// If it can't be mounted.
    pub fn new(kilobytes: u32) -> Result<Self> {
        let passable = Permissions::from_mode(0o755);
        let folder = tempfile::Builder::new().prefix("gf-disk").permissions(passable).tempdir()?;
        let size = format!("size={kilobytes}k,mode=755");
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &size, "none"]).arg(folder.path());
        succeed(&mut command)?;
        Ok(Self { folder })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Lets nobody write to it.
    ///
    /// # Errors
    /// If somebody is writing.
    pub fn close(&self) -> Result<()> {
        self.remount("remount,ro")
    }

    /// Lets it be written to again.
    ///
    /// # Errors
    /// If that can't be done.
    pub fn open(&self) -> Result<()> {
        self.remount("remount,rw")
    }

    fn remount(&self, how: &str) -> Result<()> {
        succeed(Command::new("mount").args(["-o", how]).arg(self.path())).map(drop)
    }

    fn ballast(&self) -> PathBuf {
        self.folder.path().join("ballast")
    }

    /// Takes all the room that is left.
    ///
    /// # Errors
    /// If that can't be done.
    pub fn fill(&self) -> Result<()> {
        let mut file = File::options().create(true).append(true).open(self.ballast())?;
        loop {
            match file.write(&[0; 4096]) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Gives it back.
    ///
    /// # Errors
    /// If that can't be done.
    pub fn make_room(&self) -> io::Result<()> {
        fs::remove_file(self.ballast())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Whoever still has a file there ends soon.
        let _ = Command::new("umount").arg("--lazy").arg(self.folder.path()).status();
    }
}
