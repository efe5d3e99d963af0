//! [`Browser`]: somebody at the portal's page, in a real Chromium. `web/e2e/browser.mjs` does what it is told.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result};

use crate::namespace::Namespace;
use crate::portal::{Client, Portal};

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
        self.tells(deed, words).map(drop)
    }

    /// The same, and returns what the script says of it.
    ///
    /// # Errors
    /// What went wrong with it.
    pub fn tells(&mut self, deed: &str, words: &[&str]) -> Result<String> {
        let line = [&[deed], words].concat().join("\t");
        writeln!(self.told.as_mut().context("it was closed")?, "{line}")?;
        let mut said = String::new();
        self.said.read_line(&mut said)?;
        let told = said.trim_end().strip_prefix("done");
        let told = told.with_context(|| format!("the browser: {said}"))?;
        Ok(told.trim_start().to_owned())
    }

    /// Makes the portal's first operator there, by the one-time link.
    ///
    /// # Errors
    /// If it is not taken.
    pub fn begin(&mut self, portal: &Portal<'_>) -> Result<()> {
        let token = portal.first.as_deref().context("there is no one-time link")?;
        self.does("open", &[&format!("{}first#{token}", portal.url)])?;
        self.does("fill", &["Name", "Ana"])?;
        self.does("fill", &["Password, at least 12 characters", "correct horse battery"])?;
        self.does("click", &["Begin"])?;
        self.does("click", &["Not now"])?;
        self.does("sees", &["Observing: nothing is blocked yet"])
    }

    /// Is somebody who has signed in elsewhere, at the beginning of the page.
    ///
    /// # Errors
    /// If they have no session, or the page does not come.
    pub fn enter(&mut self, portal: &Portal<'_>, who: &Client<'_>) -> Result<()> {
        let cookie = who.cookie.as_deref().context("nobody signed in")?;
        self.does("enter", &[&portal.url, cookie])
    }

    /// Takes pictures of the page, which has to be in order: wide, on a phone, and in the dark.
    ///
    /// # Errors
    /// What is not in order.
    pub fn shoot(&mut self, name: &str) -> Result<()> {
        let folder = shots()?;
        for (colours, width) in [("light", "1280"), ("light", "360"), ("dark", "1280")] {
            self.does("wear", &[colours, width])?;
            let file = folder.join(format!("{name}-{colours}-{width}.png"));
            fs::create_dir_all(file.parent().context("its folder")?)?;
            self.does("shot", &[&file.to_string_lossy()])?;
            self.does("check", &[]).with_context(|| name.to_owned())?;
        }
        self.does("wear", &["light", "1280"])
    }
}

/// Where what was seen is kept.
fn shots() -> Result<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tmp/portal");
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It ends when it is told nothing more.
        drop(self.told.take());
        let _ = self.child.wait();
    }
}
