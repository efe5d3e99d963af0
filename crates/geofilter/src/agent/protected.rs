//! The interfaces that were protected last, on disk. At boot the agent is there before they are, and before a route
//! tells which they are.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use crate::files::write_whole;

const FILE: &str = "interfaces.json";

/// Their names; none if nothing was protected, or that can't be read.
pub(super) fn recall(dir: &Path) -> Vec<String> {
    read(dir).map(Option::unwrap_or_default).unwrap_or_else(|error| {
        let path = dir.join(FILE);
        let path = path.display();
        tracing::warn!(%path, %error, "the interfaces that were protected last are not known");
        Vec::new()
    })
}

/// Whether there are names that can be read.
pub(super) fn is_known(dir: &Path) -> bool {
    matches!(read(dir), Ok(Some(_)))
}

fn read(dir: &Path) -> io::Result<Option<Vec<String>>> {
    match fs::read(dir.join(FILE)) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        read => read.and_then(|text| serde_json::from_slice(&text).map_err(io::Error::from)),
    }
}

/// Keeps their names, if they are not those already.
pub(super) fn remember(dir: &Path, names: &[String]) -> anyhow::Result<()> {
    match read(dir).is_ok_and(|known| known.unwrap_or_default() == names) {
        true => Ok(()),
        false => write_whole(dir, FILE, &serde_json::to_vec(names)?).map_err(Into::into),
    }
}

/// Nothing is protected any more.
pub(super) fn forget(dir: &Path) -> io::Result<()> {
    match fs::remove_file(dir.join(FILE)) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_protected_last_is_recalled_until_it_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        assert!(recall(dir.path()).is_empty());
        let names = ["eth0".to_owned(), "eth1".to_owned()];
        remember(dir.path(), &names).unwrap();
        assert_eq!(recall(dir.path()), names);
        fs::write(dir.path().join(FILE), "[").unwrap();
        assert!(recall(dir.path()).is_empty());
        forget(dir.path()).unwrap();
        forget(dir.path()).unwrap();
        assert!(recall(dir.path()).is_empty());
    }
}
