//! [`Fetched`]: a real PBX, or what stands beside one, that was fetched by `scripts/fetch` and is not installed. It
//! runs with the loader and the libraries that came along.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use anyhow::{Context, Result, ensure};

use crate::namespace::{Namespace, succeed};

/// How long a PBX may take to start.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A program and everything it needs.
#[derive(Debug)]
pub struct Fetched {
    root: PathBuf,
    /// Such as `x86_64-linux-gnu`.
    triplet: String,
}

impl Fetched {
    /// Where `scripts/fetch` has it, fetched if it is not there yet.
    ///
    /// # Errors
    /// If it can't be fetched.
    pub fn new(name: &str) -> Result<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/fetch");
        let output = succeed(Command::new(script).arg(name))?;
        let root = PathBuf::from(String::from_utf8(output.stdout)?.trim());
        let folders = fs::read_dir(root.join("usr/lib"))?.filter_map(std::result::Result::ok);
        let mut names = folders.filter_map(|folder| folder.file_name().into_string().ok());
        let triplet = names.find(|name| name.ends_with("-linux-gnu"));
        Ok(Self { triplet: triplet.context("no libraries came along")?, root })
    }

    /// The folder of its libraries, or of something in it.
    pub fn library(&self, name: &str) -> PathBuf {
        self.root.join("usr/lib").join(&self.triplet).join(name)
    }

    /// A file of it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The start of a command line that runs one of its programs.
    ///
    /// # Errors
    /// If no loader came along.
    pub fn command(&self, program: &str, libraries: &[&str]) -> Result<Command> {
        let old = self.root.join("lib").join(&self.triplet);
        let folders = [old, self.library("")];
        let found = folders.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten();
        let mut found = found.filter_map(std::result::Result::ok);
        let is_loader = |name: &str| name.starts_with("ld-linux") && name.contains(".so.");
        let loader = found.find(|file| file.file_name().to_str().is_some_and(is_loader));
        let others = libraries.iter().map(|name| self.library(name));
        let folders: Vec<String> =
            folders.iter().cloned().chain(others).map(|path| path.display().to_string()).collect();
        let mut command = Command::new(loader.context("no loader came along")?.path());
        command.arg("--library-path").arg(folders.join(":")).arg(self.path(program));
        Ok(command)
    }
}

/// A PBX that ends with this process, however that ends: its keeper ends it when the pipe between them
/// closes.
#[derive(Debug)]
pub(crate) struct Kept(Child);

impl Kept {
    /// Starts it in a namespace; a signal of this name ends it.
    pub(crate) fn start(
        namespace: &Namespace,
        pbx: &Command,
        signal: &str,
        output: &Path,
    ) -> Result<Self> {
        const KEEPER: &str = r#"signal=$1; shift
"$@" </dev/null & pid=$!
read -r _
kill -s "$signal" "$pid"
wait "$pid""#;
        let output = fs::File::create(output)?;
        let mut keeper = Command::new("sh");
        keeper.args(["-c", KEEPER, "sh", signal]).arg(pbx.get_program()).args(pbx.get_args());
        keeper.stdin(Stdio::piped()).stdout(output.try_clone()?).stderr(output);
        Ok(Self(namespace.inside(move || keeper.spawn())??))
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// Tries until it works.
///
/// # Errors
/// With that of the last attempt, if it takes too long.
pub fn within_patience<T>(mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    let since = Instant::now();
    loop {
        match attempt() {
            Ok(value) => return Ok(value),
            Err(error) => ensure!(since.elapsed() < PATIENCE, "it does not answer: {error:#}"),
        }
        thread::sleep(Duration::from_millis(10));
    }
}
