//! [`Terminal`]: a command in a real terminal, of a tmux server that ends with the test.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};
use std::{fs, thread};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::namespace::{Namespace, succeed};

const PATIENCE: Duration = Duration::from_secs(20);
const COLUMNS: &str = "120";
const LINES: &str = "40";

/// A terminal with a command in it. Its server has a socket of its own, so that no other one is met.
#[derive(Debug)]
pub struct Terminal {
    folder: TempDir,
}

impl Terminal {
    /// Runs a command of the shell in a new terminal inside of the namespace, with these variables.
    ///
    /// # Errors
    /// If tmux can't be started.
    pub fn start(namespace: &Namespace, command: &str, variables: &[(&str, &str)]) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("gf").tempdir()?;
        let terminal = Self { folder };
        let mut tmux = terminal.tmux(&["-f", "/dev/null", "new-session", "-d", "-x", COLUMNS]);
        // The shell stays when the command has ended, and what is on the screen with it.
        let code = terminal.code().display().to_string();
        let script = format!("({command}); echo $? >{code}.new; mv {code}.new {code}; exec cat");
        tmux.args(["-y", LINES, "sh", "-c", &script]).env("TERM", "xterm");
        tmux.envs(variables.iter().copied());
        namespace.inside(move || succeed(&mut tmux))?.context("start tmux")?;
        Ok(terminal)
    }

    /// What is on the screen, without the empty lines below.
    ///
    /// # Errors
    /// If the server has ended.
    pub fn screen(&self) -> Result<String> {
        let output = succeed(&mut self.tmux(&["capture-pane", "-p", "-J"]))?;
        Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
    }

    /// Waits until the screen has this text, and returns all of it.
    ///
    /// # Errors
    /// If it does not come in time.
    pub fn wait_for(&self, text: &str) -> Result<String> {
        let since = Instant::now();
        loop {
            let screen = self.screen()?;
            if screen.contains(text) {
                return Ok(screen);
            }
            if since.elapsed() > PATIENCE {
                bail!("no {text:?} on the screen:\n{screen}");
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Presses keys, by the names that tmux has for them: `Enter`, `n`, `C-c`.
    ///
    /// # Errors
    /// If the server has ended.
    pub fn press(&self, keys: &[&str]) -> Result<()> {
        succeed(self.tmux(&["send-keys"]).args(keys)).map(drop)
    }

    /// Waits until the command has ended, and returns its exit code.
    ///
    /// # Errors
    /// If it goes on.
    pub fn exit_code(&self) -> Result<i32> {
        let since = Instant::now();
        loop {
            if let Ok(code) = fs::read_to_string(self.code()) {
                return code.trim().parse().with_context(|| format!("the exit code {code:?}"));
            }
            if since.elapsed() > PATIENCE {
                bail!("the command goes on:\n{}", self.screen()?);
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Closes the terminal, as when a connection breaks: what runs there gets SIGHUP.
    ///
    /// # Errors
    /// If the server has ended.
    pub fn close(&self) -> Result<()> {
        succeed(&mut self.tmux(&["kill-server"])).map(drop)
    }

    fn tmux(&self, words: &[&str]) -> Command {
        let mut command = Command::new("tmux");
        command.arg("-S").arg(self.socket()).args(words).env_remove("TMUX");
        command
    }

    /// Where the exit code is written to.
    fn code(&self) -> PathBuf {
        self.folder.path().join("code")
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("tmux")
    }
}

impl Drop for Terminal {
    /// The server ends whatever the outcome; it may have already.
    fn drop(&mut self) {
        let _ = self.tmux(&["kill-server"]).output();
    }
}
