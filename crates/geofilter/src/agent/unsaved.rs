//! The highest generation that could not be written to the state directory, kept in the runtime directory:
//! that is another file system, and lives as long as the numbers have to be told apart.

use std::fs;
use std::io;
use std::path::Path;

use geofilter_core::desired::Generation;

use crate::files::write_whole;

const FILE: &str = "generation";

/// What was kept, or nothing.
pub(crate) fn read(runtime_dir: &Path) -> Generation {
    let text = fs::read_to_string(runtime_dir.join(FILE)).unwrap_or_default();
    Generation(text.trim().parse().unwrap_or_default())
}

/// Keeps a number. What needs it can't wait until this works.
pub(crate) fn keep(runtime_dir: &Path, last: Generation) {
    if let Err(error) = write_whole(runtime_dir, FILE, last.0.to_string().as_bytes()) {
        tracing::warn!(%error, "cannot keep the number of a change that could not be saved");
    }
}

/// It is in the state directory now.
pub(crate) fn forget(runtime_dir: &Path) {
    match fs::remove_file(runtime_dir.join(FILE)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(%error, "cannot forget a number that was saved");
        }
        Ok(()) | Err(_) => {}
    }
}
