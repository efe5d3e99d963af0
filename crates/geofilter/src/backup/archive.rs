//! The file: a tar archive, compressed by gzip. Its manifest comes first, so that whatever is read is checked against it.

use std::fs::{DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Component, Path};

use anyhow::{Context, bail, ensure};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::collect::{Content, hexadecimal};
use super::{Manifest, PORTAL, Part, SCHEMA};

const MANIFEST: &str = "manifest.json";
/// Bytes of a manifest.
const LONGEST: u64 = 1 << 20;

/// Writes one, durably, where there is none yet.
pub(super) fn write(
    path: &Path,
    manifest: &Manifest,
    parts: Vec<(Part, Content)>,
) -> io::Result<()> {
    let file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
    let mut archive = tar::Builder::new(GzEncoder::new(file, Compression::default()));
    let text = serde_json::to_vec_pretty(manifest)?;
    archive.append_data(&mut header(text.len() as u64), MANIFEST, &*text)?;
    for (part, content) in parts {
        let content = content.take(part.bytes);
        archive.append_data(&mut header(part.bytes), &part.name, content)?;
    }
    archive.into_inner()?.finish()?.sync_all()
}

fn header(bytes: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes);
    header.set_mode(0o600);
    header
}

#[derive(Deserialize)]
struct Version {
    schema: u32,
}

/// Takes one apart into an empty folder, and checks all of it.
///
/// # Errors
/// If it is not whole, or was written by a later version. Nothing is to be made of the folder then.
pub(super) fn read(path: &Path, into: &Path) -> anyhow::Result<Manifest> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    read_from(file, path, into)
}

/// The same of what a file holds.
///
/// # Errors
/// As above.
pub(super) fn read_from(file: impl Read, path: &Path, into: &Path) -> anyhow::Result<Manifest> {
    let damaged =
        || format!("{} is damaged, cut short or no backup: use another one", path.display());
    let mut archive = tar::Archive::new(GzDecoder::new(file));
    let manifest = {
        // Raw: no name of ours is so long that it has an entry of its own, which would be read into memory.
        let mut entries = archive.entries().with_context(damaged)?.raw(true);
        let first = entries.next().with_context(damaged)?.with_context(damaged)?;
        let manifest = manifest(first).with_context(damaged)?;
        if manifest.schema > SCHEMA {
            bail!(
                "{} has schema {}, and this geofilter knows only {SCHEMA}: it was written by version {}; use that",
                path.display(),
                manifest.schema,
                manifest.version
            );
        }
        for part in &manifest.parts {
            let entry = entries.next().with_context(damaged)?.with_context(damaged)?;
            take(entry, part, into).with_context(damaged)?;
        }
        ensure!(entries.next().is_none(), damaged());
        manifest
    };
    // The checksum of the whole stands at its very end.
    io::copy(&mut archive.into_inner(), &mut io::sink()).with_context(damaged)?;
    Ok(manifest)
}

fn manifest(entry: tar::Entry<'_, impl Read>) -> anyhow::Result<Manifest> {
    ensure!(entry.path()? == Path::new(MANIFEST), "it has no manifest");
    let mut text = Vec::new();
    entry.take(LONGEST).read_to_end(&mut text)?;
    let Version { schema } = serde_json::from_slice(&text)?;
    match schema > SCHEMA {
        // What else it says may be anything by then.
        true => {
            let value: serde_json::Value = serde_json::from_slice(&text)?;
            let version = value["version"].as_str().unwrap_or("a later one").to_owned();
            Ok(Manifest { schema, version, time: String::new(), parts: Vec::new() })
        }
        false => Ok(serde_json::from_slice(&text)?),
    }
}

/// Writes one part, durably, if it is the one that was announced.
fn take(mut entry: tar::Entry<'_, impl Read>, part: &Part, into: &Path) -> anyhow::Result<()> {
    let name = Path::new(&part.name);
    ensure!(is_ours(name), "{} belongs nowhere", part.name);
    ensure!(entry.path()? == name && entry.size() == part.bytes, "{} is missing", part.name);
    let to = into.join(name);
    if let Some(folder) = to.parent().filter(|folder| !folder.exists()) {
        DirBuilder::new().mode(0o700).create(folder)?;
    }
    let file = File::options().write(true).create_new(true).mode(0o600).open(&to)?;
    let mut both = Both { file, digest: Sha256::new() };
    let bytes = io::copy(&mut entry, &mut both)?;
    let Both { file, digest } = both;
    let same = bytes == part.bytes && hexadecimal(&digest.finalize()) == part.sha256;
    ensure!(same, "{} is not what was written", part.name);
    Ok(file.sync_all()?)
}

/// A file of the agent's folder, or of the portal's in it.
fn is_ours(name: &Path) -> bool {
    let parts: Vec<_> = name.components().collect();
    match parts.as_slice() {
        [Component::Normal(_)] => true,
        [Component::Normal(folder), Component::Normal(_)] => *folder == PORTAL,
        _ => false,
    }
}

struct Both {
    file: File,
    digest: Sha256,
}

impl Write for Both {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.digest.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_written_but_where_a_state_has_files() {
        for ours in ["state.json", "portal/portal.db"] {
            assert!(is_ours(Path::new(ours)), "{ours}");
        }
        for other in ["", "/etc/passwd", "../state.json", "portal/../x", "bin/sh", "portal/a/b"] {
            assert!(!is_ours(Path::new(other)), "{other}");
        }
    }
}
