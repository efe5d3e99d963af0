//! [`parts`]: the files of a state, each as it was at one moment. The portal's folder belongs to a user who is not trusted:
//! nothing there is followed elsewhere.

use std::fs::{self, File};
use std::io::{self, Cursor, Read, Seek};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use geofilter_dataplane::fault;
use rusqlite::{Connection, OpenFlags};
use rustix::fs::OFlags;
use sha2::{Digest, Sha256};

use super::{DATABASE, PORTAL, Part};

/// What the agent keeps and needs again: the policy, exemptions and bans with the last addresses of names, and evidence.
/// Its baseline is of this machine and this boot, and no other one's.
const OF_AGENT: [&str; 3] = ["state.json", "overrides.jsonl", "evidence.json"];
/// How long a portal that writes is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a part is read from.
pub(super) type Content = Box<dyn Read>;

/// The parts of the state in this folder; `work` is a folder for copies.
pub(super) fn parts(state_dir: &Path, work: &Path) -> anyhow::Result<Vec<(Part, Content)>> {
    let mut parts = Vec::new();
    for name in OF_AGENT {
        let path = state_dir.join(name);
        let content = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            read => read.with_context(|| format!("cannot read {}", path.display()))?,
        };
        parts.push(part(name.to_owned(), Cursor::new(whole_lines(name, content)))?);
    }
    let portal = state_dir.join(PORTAL);
    if portal.join(DATABASE).exists() {
        let copy = work.join(DATABASE);
        copy_database(&portal.join(DATABASE), &copy)
            .context("cannot copy the portal's database")?;
        fault::point("backup-copied");
        parts.push(part(format!("{PORTAL}/{DATABASE}"), File::open(copy)?)?);
    }
    for (name, file) in others(&portal)
        .with_context(|| format!("cannot read the portal's folder {}", portal.display()))?
    {
        parts.push(part(format!("{PORTAL}/{name}"), file)?);
    }
    Ok(parts)
}

/// The last line of a journal that is being written may not be whole.
fn whole_lines(name: &str, mut content: Vec<u8>) -> Vec<u8> {
    if name.ends_with(".jsonl") {
        let end = content.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        content.truncate(end);
    }
    content
}

fn part(name: String, mut content: impl Read + Seek + 'static) -> anyhow::Result<(Part, Content)> {
    let mut digest = Sha256::new();
    let bytes =
        io::copy(&mut content, &mut digest).with_context(|| format!("cannot read {name}"))?;
    content.rewind()?;
    let sha256 = hexadecimal(&digest.finalize());
    Ok((Part { name, bytes, sha256 }, Box::new(content)))
}

pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// As it is at one moment, whoever writes to it meanwhile.
fn copy_database(from: &Path, to: &Path) -> anyhow::Result<()> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let database = Connection::open_with_flags(from, flags)?;
    database.busy_timeout(PATIENCE)?;
    database.execute_batch("PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;")?;
    let to = to.to_str().context("the file's path is no text")?;
    database.execute("VACUUM INTO ?1", [to])?;
    Ok(File::open(to)?.sync_all()?)
}

/// What else is in the portal's folder: plain files of one name.
fn others(portal: &Path) -> io::Result<Vec<(String, File)>> {
    let entries = match fs::read_dir(portal) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut others = Vec::new();
    for entry in entries {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if name.starts_with(DATABASE) || !entry.file_type()?.is_file() {
            continue;
        }
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
        let file = File::options().read(true).custom_flags(flags).open(entry.path())?;
        let of = file.metadata()?;
        if of.is_file() && of.nlink() == 1 {
            others.push((name, file));
        }
    }
    others.sort_by(|(one, _), (other, _)| one.cmp(other));
    Ok(others)
}
