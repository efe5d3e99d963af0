//! Files that are whole at any moment, and what becomes of those that can't be read.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use geofilter_dataplane::fault;
use serde::Deserialize;
use serde::de::DeserializeOwned;

#[derive(Deserialize)]
struct Version {
    schema: u32,
}

/// What was found.
#[derive(Debug)]
pub(crate) enum Loaded<T> {
    Nothing,
    State(T),
    /// It could not be read and was set aside, if the disk took that.
    Corrupt {
        aside: PathBuf,
        why: String,
    },
}

/// Reads what [`write_whole`] wrote. What can't be read is kept beside it, or where it is on a disk that refuses.
///
/// # Errors
/// If the file can't be opened, or was written by a newer version.
pub(crate) fn read_whole<T: DeserializeOwned>(
    dir: &Path,
    name: &str,
    schema: u32,
) -> anyhow::Result<Loaded<T>> {
    let path = dir.join(name);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Loaded::Nothing),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read {}", path.display()));
        }
    };
    if let Ok(Version { schema: newer }) = serde_json::from_slice(&text)
        && newer > schema
    {
        bail!(
            "{} has schema {newer}, and this geofilter knows only {schema}: it was saved by a newer one; use that, or move the file away",
            path.display()
        );
    }
    match serde_json::from_slice(&text) {
        Ok(content) => Ok(Loaded::State(content)),
        Err(error) => Ok(match set_aside(&path) {
            Ok(aside) => Loaded::Corrupt { aside, why: error.to_string() },
            Err(refused) => Loaded::Corrupt { aside: path, why: format!("{error}; {refused:#}") },
        }),
    }
}

/// Where a file goes that can't be read: beside those before it.
pub(crate) fn aside(path: &Path) -> PathBuf {
    let numbered = |number| PathBuf::from(format!("{}.corrupt-{number}", path.display()));
    (1_u64..).map(numbered).find(|aside| !aside.exists()).unwrap_or_else(|| numbered(0))
}

/// Moves a file that can't be read to where it does not stand in the way.
///
/// # Errors
/// If it can't be moved.
pub(crate) fn set_aside(path: &Path) -> anyhow::Result<PathBuf> {
    let aside = aside(path);
    fs::rename(path, &aside)
        .with_context(|| format!("cannot set the corrupt {} aside", path.display()))?;
    Ok(aside)
}

/// Writes a file so that at any moment either the old one or the new one is there, whole.
pub(crate) fn write_whole(dir: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    let temporary = dir.join(format!("{name}.new"));
    let mut file = File::create(&temporary)?;
    let written = file
        .write_all(content)
        .and_then(|()| file.sync_all())
        .inspect(|()| fault::point(&format!("{name}-written")))
        .and_then(|()| fs::rename(&temporary, dir.join(name)));
    if written.is_err() {
        // What is half written only takes room, and the error to tell is the first one.
        let _ = fs::remove_file(&temporary);
    }
    written?;
    File::open(dir)?.sync_all()
}
