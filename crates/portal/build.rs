//! Puts the built page where it is embedded from. Without one the portal says at `/` what is missing.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    // Asked for now: this program may have been built for another checkout of the repository.
    let folder = |name| env::var_os(name).map(PathBuf::from).ok_or(io::ErrorKind::NotFound);
    let built = folder("CARGO_MANIFEST_DIR")?.join("../../web/dist");
    let out = folder("OUT_DIR")?.join("page");
    println!("cargo::rerun-if-changed={}", built.display());
    println!("cargo::rerun-if-changed=migrations");
    if out.exists() {
        fs::remove_dir_all(&out)?;
    }
    fs::create_dir_all(&out)?;
    match built.is_dir() {
        true => copy(&built, &out),
        false => Ok(()),
    }
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => copy(&entry.path(), &to)?,
            false => drop(fs::copy(entry.path(), to)?),
        }
    }
    Ok(())
}
