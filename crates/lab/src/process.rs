//! [`Agent`]: the real binary, running in a namespace.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::namespace::Namespace;

const PATIENCE: Duration = Duration::from_secs(20);

/// Where an agent keeps its state, and the agent that may be running on it.
#[derive(Debug)]
pub struct Agent<'a> {
    namespace: &'a Namespace,
    folder: TempDir,
    program: PathBuf,
    words: Vec<String>,
    environment: Vec<(String, String)>,
    /// What its kernel lacks.
    lacks: Option<&'static str>,
    /// Whether it hears no Ctrl-C.
    is_apart: bool,
    running: Option<Child>,
}

impl<'a> Agent<'a> {
    /// Starts an agent with these further words and waits until it answers.
    ///
    /// # Errors
    /// If it does not answer in time.
    pub fn start(namespace: &'a Namespace, words: &[&str]) -> Result<Self> {
        let mut agent = Self::prepare(namespace, words)?;
        agent.restart(None)?;
        Ok(agent)
    }

    /// Makes the folders for an agent and starts nothing. The backend `clsact` stands for `tc` on a kernel
    /// without TCX.
    ///
    /// # Errors
    /// If they can't be made.
    pub fn prepare(namespace: &'a Namespace, words: &[&str]) -> Result<Self> {
        // The portal's user passes through.
        let passable = Permissions::from_mode(0o755);
        let folder = tempfile::Builder::new().prefix("gf").permissions(passable).tempdir()?;
        let mut agent = Self {
            namespace,
            folder,
            program: binary()?,
            words: Vec::new(),
            environment: Vec::new(),
            lacks: None,
            is_apart: false,
            running: None,
        };
        agent.with_words(words);
        Ok(agent)
    }

    /// Has it started with other words from now on.
    pub fn with_words(&mut self, words: &[&str]) -> &mut Self {
        let word = |word: &&str| if *word == "clsact" { "tc" } else { *word }.to_owned();
        self.words = words.iter().map(word).collect();
        self.lacks = words.contains(&"clsact").then_some("no-tcx");
        self
    }

    /// Has another build started, and asked, from now on.
    pub fn with_program(&mut self, program: &Path) -> &mut Self {
        self.program = program.to_owned();
        self
    }

    /// Has it started, and asked, with this in its environment from now on.
    pub fn with_environment(&mut self, name: &str, value: &str) -> &mut Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Has a Ctrl-C at the terminal reach neither it nor what is asked of it, from now on: whoever started it ends it.
    pub fn set_apart(&mut self) -> &mut Self {
        self.is_apart = true;
        self
    }

    fn program(&self) -> Command {
        let mut command = Command::new(&self.program);
        if self.is_apart {
            command.process_group(0);
        }
        command
    }

    fn environment(&self) -> impl Iterator<Item = (&str, &str)> {
        self.environment.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Starts it again, to be killed at the fault point if one is named; waits until it answers, or until it
    /// was killed.
    ///
    /// # Errors
    /// If it does neither in time.
    pub fn restart(&mut self, fault: Option<&str>) -> Result<()> {
        let mut command = self.program();
        command.arg("agent").args(&self.words).args(["--state-dir", path(&self.state_dir())]);
        command.args(["--runtime-dir", path(&self.runtime_dir())]);
        let armed = format!("@{}", path(&self.armed_file()));
        let faults: Vec<&str> = self.lacks.into_iter().chain(fault).chain([&*armed]).collect();
        command.env("GEOFILTER_FAULT", faults.join(","));
        command.envs(self.environment());
        let log = fs::File::options().create(true).append(true).open(self.log_file())?;
        command.stdout(Stdio::null()).stderr(log).stdin(Stdio::null());
        self.running = Some(self.namespace.inside(move || command.spawn())??);
        let since = Instant::now();
        while !self.ask(&["status"])?.status.success() {
            if self.ended()? && fault.is_some() {
                return Ok(());
            }
            ensure!(!self.ended()?, "the agent ended: {}", self.log());
            ensure!(since.elapsed() < PATIENCE, "the agent does not answer: {}", self.log());
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Has this fault happen from now on, also to the agent that runs; none if it is empty.
    ///
    /// # Errors
    /// If that can't be said.
    pub fn arm(&self, fault: &str) -> Result<()> {
        // Whole at once: the agent may be reading it.
        let new = self.folder.path().join("faults.new");
        fs::write(&new, fault)?;
        Ok(fs::rename(new, self.armed_file())?)
    }

    /// Sends a signal to the process.
    ///
    /// # Errors
    /// If it does not run.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let child = self.running.as_ref().context("no agent runs")?;
        Ok(kill_process(Pid::from_child(child), signal)?)
    }

    /// The processes that it has started.
    ///
    /// # Errors
    /// If no agent runs.
    pub fn children(&self) -> Result<Vec<u32>> {
        let pid = self.pid().context("no agent runs")?.as_raw_nonzero();
        let mut children = Vec::new();
        for thread in fs::read_dir(format!("/proc/{pid}/task"))?.flatten() {
            // A thread may have ended meanwhile.
            let of = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            children.extend(of.split_whitespace().flat_map(str::parse::<u32>));
        }
        Ok(children)
    }

    /// Runs a client command against this agent, and returns what it printed, whatever its exit code.
    ///
    /// # Errors
    /// If it can't be run.
    pub fn ask(&self, words: &[&str]) -> Result<Output> {
        self.ask_with(words, "")
    }

    /// The same with this on its standard input.
    ///
    /// # Errors
    /// If it can't be run.
    pub fn ask_with(&self, words: &[&str], input: &str) -> Result<Output> {
        let socket = self.socket();
        let file = self.folder.path().join("input");
        fs::write(&file, input)?;
        let mut command = self.program();
        command.args(words).arg("--socket").arg(socket).stdin(fs::File::open(file)?);
        command.envs(self.environment());
        Ok(self.namespace.inside(move || command.output())??)
    }

    /// Runs a client command that must succeed, and returns its JSON.
    ///
    /// # Errors
    /// If it fails, with what it said.
    pub fn json(&self, words: &[&str]) -> Result<Value> {
        let output = self.ask(&[words, &["--json"]].concat())?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            bail!("{words:?}: {said}{}", String::from_utf8_lossy(&output.stdout));
        }
        serde_json::from_slice(&output.stdout).with_context(|| format!("the JSON of {words:?}"))
    }

    /// Its process, while it runs.
    pub fn pid(&self) -> Option<Pid> {
        Pid::from_raw(self.running.as_ref()?.id().try_into().ok()?)
    }

    /// `kill -9`.
    ///
    /// # Errors
    /// If it does not die.
    pub fn kill(&mut self) -> Result<()> {
        if let Some(mut child) = self.running.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// Whether it has ended, by itself or by a fault point.
    ///
    /// # Errors
    /// If the system won't say.
    pub fn ended(&mut self) -> Result<bool> {
        Ok(match &mut self.running {
            Some(child) => child.try_wait()?.is_some(),
            None => true,
        })
    }

    /// Waits until it has ended by itself.
    ///
    /// # Errors
    /// If it does not in time.
    pub fn wait_for_the_end(&mut self) -> Result<()> {
        let since = Instant::now();
        while !self.ended()? {
            ensure!(since.elapsed() < PATIENCE, "the agent goes on: {}", self.log());
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// What the agent logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// Its state folder.
    pub fn state_dir(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// Where it listens.
    pub fn socket(&self) -> PathBuf {
        self.runtime_dir().join("agent.sock")
    }

    /// Its runtime folder.
    pub fn runtime_dir(&self) -> PathBuf {
        self.folder.path().join("run")
    }

    fn revert(&mut self) -> Result<()> {
        self.arm("")?;
        // A test that failed may have stopped it.
        let _ = self.signal(Signal::CONT);
        if self.ended()? {
            self.restart(None)?;
        }
        self.json(&["off"]).map(drop)
    }

    fn armed_file(&self) -> PathBuf {
        self.folder.path().join("faults")
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("log")
    }
}

impl Drop for Agent<'_> {
    /// Reverts, whatever the outcome, so that nothing stays behind on the machine.
    fn drop(&mut self) {
        // It may be about to end, by a Ctrl-C that reached it too: then another one reverts.
        let reverted = self.revert().or_else(|_| {
            self.kill()?;
            self.revert()
        });
        if let Err(error) = reverted {
            eprintln!("the agent could not be turned off: {error:#}");
        }
        let _ = self.kill();
    }
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap_or_default()
}

/// The binary that was built beside this program: a test lies in a folder below, the demo next to it.
///
/// # Errors
/// If it was not.
pub fn binary() -> Result<PathBuf> {
    let program = env::current_exe()?;
    let folders = program.ancestors().skip(1).take(2);
    let built = folders.map(|folder| folder.join("geofilter")).find(|path| path.is_file());
    built.with_context(|| {
        format!("geofilter is not built beside {}: run `cargo build` first", program.display())
    })
}
