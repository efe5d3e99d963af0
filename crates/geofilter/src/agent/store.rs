//! [`Store`]: what the apply machine saves, as a file that is always whole.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use geofilter_core::apply::Saved;
use geofilter_dataplane::fault;
use serde::{Deserialize, Serialize};

use crate::files::{Loaded, read_whole, write_whole};

const SCHEMA: u32 = 1;

/// `<state-dir>/state.json`, or `up.json` for an agent on trial.
#[derive(Debug)]
pub(crate) struct Store {
    dir: PathBuf,
    file: &'static str,
    /// Whether the file is there, unless somebody else has removed it.
    is_kept: bool,
}

const STATE: &str = "state.json";
const TRIAL: &str = "up.json";
/// What was confirmed last, a second time: a file that can't be read must not cost the policy.
const COPY: &str = "confirmed.json";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    schema: u32,
    state: Saved,
}

impl Store {
    /// Opens the state directory, making it if it is missing.
    pub(crate) fn open(dir: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(dir)
            .with_context(|| format!("cannot make the state directory {}", dir.display()))?;
        Ok(Self { dir: dir.to_owned(), file: STATE, is_kept: false })
    }

    /// The same for an agent on trial, which leaves what another one saved as it is.
    pub(crate) fn on_trial(&self) -> Self {
        Self { dir: self.dir.clone(), file: TRIAL, is_kept: false }
    }

    /// What was saved last, if it can be read.
    pub(crate) fn peek(&self) -> Option<Saved> {
        peek(&self.path())
    }

    /// What was confirmed last, where what was saved last can't be read. A change that was under way then is unknown.
    pub(crate) fn copy(&self) -> Option<Saved> {
        peek(&self.dir.join(COPY))
    }

    /// Whether somebody else has removed what was saved.
    pub(crate) fn is_gone(&self) -> bool {
        self.is_kept && !self.path().exists()
    }

    /// Reads what was saved last. What can't be read is kept beside it.
    ///
    /// # Errors
    /// If the file can't be opened, or was written by a newer version.
    pub(crate) fn load(&mut self) -> anyhow::Result<Loaded<Saved>> {
        Ok(match read_whole::<Content>(&self.dir, self.file, SCHEMA)? {
            Loaded::Nothing => Loaded::Nothing,
            Loaded::State(content) => {
                self.is_kept = true;
                Loaded::State(content.state)
            }
            Loaded::Corrupt { aside, why } => Loaded::Corrupt { aside, why },
        })
    }

    /// Saves durably: after an error the old state is still there.
    pub(crate) fn save(&mut self, state: &Saved) -> io::Result<()> {
        let content = Content { schema: SCHEMA, state: state.clone() };
        let mut text = serde_json::to_vec_pretty(&content)?;
        text.push(b'\n');
        // A test names the step by what is saved: what is under way, or what it came to.
        let (before, after) = match state.interim {
            Some(_) => ("announce-start", "announce-done"),
            None => ("settle-start", "settle-done"),
        };
        fault::point(before);
        write_whole(&self.dir, self.file, &text)?;
        fault::point(after);
        self.is_kept = true;
        if self.file == STATE && state.interim.is_none() {
            write_whole(&self.dir, COPY, &text)?;
        }
        Ok(())
    }

    fn path(&self) -> PathBuf {
        self.dir.join(self.file)
    }
}

fn peek(path: &Path) -> Option<Saved> {
    let text = fs::read(path).ok()?;
    parse(&text)
}

/// What a file says.
pub(crate) fn parse(text: &[u8]) -> Option<Saved> {
    serde_json::from_slice::<Content>(text).ok().map(|content| content.state)
}

/// Makes what was saved in one directory the successor of what was in another: nothing of it is under way, and whatever
/// it puts in force has a number that nothing had there.
///
/// # Errors
/// If it can't be read or written.
pub(crate) fn renumber(dir: &Path, after: &Path) -> anyhow::Result<()> {
    let mut store = Store::open(dir)?;
    let saved = match store.load()? {
        Loaded::Nothing => return Ok(()),
        Loaded::State(saved) => saved,
        Loaded::Corrupt { why, .. } => bail!("its policy can't be read: {why}"),
    };
    let before = Store::open(after)?.peek().map_or(saved.last, |before| before.last);
    let last = saved.last.max(before);
    store.save(&Saved { last, interim: None, ..saved }).context("cannot save the policy")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("deep/state")).unwrap();
        (dir, store)
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let (_dir, mut store) = store();
        assert!(matches!(store.load().unwrap(), Loaded::Nothing));
        store.save(&Saved::default()).unwrap();
        assert!(matches!(store.load().unwrap(), Loaded::State(saved) if saved == Saved::default()));
    }

    #[test]
    fn a_file_that_stopped_half_way_is_kept_aside() {
        let (_dir, mut store) = store();
        for number in 1..=2 {
            fs::write(store.path(), r#"{"schema":1,"state":{"last"#).unwrap();
            let Loaded::Corrupt { aside, .. } = store.load().unwrap() else { panic!("read it") };
            assert!(aside.ends_with(format!("state.json.corrupt-{number}")));
            assert!(aside.exists() && !store.path().exists());
        }
    }

    #[test]
    fn a_newer_file_is_left_alone() {
        let (_dir, mut store) = store();
        fs::write(store.path(), r#"{"schema":2,"more":true}"#).unwrap();
        assert!(store.load().unwrap_err().to_string().contains("schema 2"));
        assert!(store.path().exists());
    }

    #[test]
    fn a_failed_save_leaves_nothing_half_written() {
        let (_dir, mut store) = store();
        fs::create_dir(store.path()).unwrap();
        assert!(store.save(&Saved::default()).is_err());
        assert!(!store.dir.join("state.json.new").exists());
    }

    #[test]
    fn a_failed_save_leaves_the_old_state() {
        let (_dir, mut store) = store();
        store.save(&Saved::default()).unwrap();
        fs::create_dir(store.dir.join("state.json.new")).unwrap();
        assert!(store.save(&Saved::default()).is_err());
        assert!(matches!(store.load().unwrap(), Loaded::State(_)));
    }
}
