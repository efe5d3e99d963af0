//! [`Browser`]: somebody at the portal's page, in a real Chromium. `web/e2e/browser.mjs` does what it is told.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::namespace::Namespace;

/// A page that is open.
#[derive(Debug)]
pub struct Browser {
    child: Child,
    told: Option<ChildStdin>,
    said: BufReader<ChildStdout>,
}

impl Browser {
    /// Opens one in a namespace.
    ///
    /// # Errors
    /// If Node or Chromium is missing, or what they need was not fetched (`scripts/page`).
    pub fn open(namespace: &Namespace) -> Result<Self> {
        let web = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../web");
        let mut command = Command::new("../scripts/node");
        command.args(["node", "e2e/browser.mjs"]).current_dir(web);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = namespace.inside(move || command.spawn())?.context("node")?;
        let told = child.stdin.take();
        let said = BufReader::new(child.stdout.take().context("its output")?);
        Ok(Self { child, told, said })
    }

    /// Has something done, as the script names it, with these words.
    ///
    /// # Errors
    /// What went wrong with it.
    pub fn does(&mut self, deed: &str, words: &[&str]) -> Result<()> {
        let line = [&[deed], words].concat().join("\t");
        writeln!(self.told.as_mut().context("it was closed")?, "{line}")?;
        let mut said = String::new();
        self.said.read_line(&mut said)?;
        ensure!(said == "done\n", "the browser: {said}");
        Ok(())
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It ends when it is told nothing more.
        drop(self.told.take());
        let _ = self.child.wait();
    }
}
