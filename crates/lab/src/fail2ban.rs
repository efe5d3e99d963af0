//! [`Fail2ban`]: a real one, with Debian's own configuration and a jail of the test's, running in a
//! namespace.

use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use std::{fs, thread};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::namespace::{Namespace, succeed};
use crate::pbx::{Fetched, Kept, within_patience};
use crate::process::{Agent, binary};

/// It looks at a log every second or two; what does not change for so long does not change any more.
const LOOK: Duration = Duration::from_secs(4);
const LOOKS: u32 = 60;

/// A real fail2ban, until it is dropped. Its socket, database and configuration are its own.
#[derive(Debug)]
pub struct Fail2ban {
    kept: Option<Kept>,
    folder: TempDir,
}

impl Fail2ban {
    /// Installs one with these lines in its `jail.local`, and does not start it.
    ///
    /// # Errors
    /// If it can't be fetched.
    pub fn install(jails: &str) -> Result<Self> {
        let fetched = Fetched::new("fail2ban")?;
        let folder = tempfile::Builder::new().prefix("gf-fail2ban").tempdir()?;
        let installed = Self { kept: None, folder };
        fs::create_dir(installed.programs())?;
        let stock = fetched.path("etc/fail2ban");
        succeed(Command::new("cp").arg("-r").arg(stock).arg(installed.path("etc")))?;
        // Debian's default jail watches for sshd, which has no log here.
        let _ = fs::remove_file(installed.path("etc/jail.d/defaults-debian.conf"));
        let here = installed.folder.path().display();
        let own = format!(
            "[Definition]\nsocket = {here}/socket\npidfile = {here}/pid\ndbfile = {here}/database\n\
             logtarget = {here}/log\nallowipv6 = auto\n"
        );
        fs::write(installed.path("etc/fail2ban.local"), own)?;
        installed.configure(jails)?;
        for program in ["fail2ban-client", "fail2ban-server"] {
            installed.wrap(&fetched, program)?;
        }
        Ok(installed)
    }

    /// Gives it GeoFilter's action and drop-in as they are packaged, for this agent.
    ///
    /// # Errors
    /// If they can't be written.
    pub fn with_geofilter(&self, agent: &Agent<'_>) -> Result<()> {
        let packaged = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/fail2ban");
        for folder in ["action.d", "jail.d"] {
            let file = Path::new(folder).join("geofilter.conf");
            fs::copy(packaged.join(&file), self.path("etc").join(&file))?;
        }
        let program = self.programs().join("geofilter");
        let (binary, socket) = (binary()?, agent.socket());
        let text =
            format!("#!/bin/sh\nexec {} --socket {} \"$@\"\n", binary.display(), socket.display());
        write_program(&program, &text)
    }

    /// Takes the drop-in away again.
    ///
    /// # Errors
    /// If there is none.
    pub fn without_drop_in(&self) -> Result<()> {
        Ok(fs::remove_file(self.path("etc/jail.d/geofilter.conf"))?)
    }

    /// Starts one with its stock jail for Asterisk, of which no log tells anything.
    ///
    /// # Errors
    /// If it can't be fetched, or does not start.
    pub fn idle(namespace: &Namespace) -> Result<Self> {
        let mut idle = Self::install("")?;
        let log = idle.path("asterisk-log");
        fs::write(&log, "")?;
        idle.configure(&asterisk_jail(&[&log], ""))?;
        idle.start(namespace)?;
        Ok(idle)
    }

    /// Has a jail ban these addresses, and returns when its action has been run for each.
    ///
    /// # Errors
    /// If its client fails.
    pub fn ban(&self, namespace: &Namespace, jail: &str, addresses: &[IpAddr]) -> Result<()> {
        let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        let words = ["set", jail, "banip"].into_iter().chain(addresses.iter().map(String::as_str));
        self.client(namespace, &words.collect::<Vec<_>>()).map(drop)
    }

    /// Changes its `jail.local`, of which a server takes note when it starts.
    ///
    /// # Errors
    /// If it can't be written.
    pub fn configure(&self, jails: &str) -> Result<()> {
        let jails =
            format!("[DEFAULT]\nbanaction = nftables-multiport\nbackend = polling\n{jails}");
        Ok(fs::write(self.path("etc/jail.local"), jails)?)
    }

    /// Starts it, and waits until it answers.
    ///
    /// # Errors
    /// If it does not.
    pub fn start(&mut self, namespace: &Namespace) -> Result<()> {
        let mut command = Command::new(self.programs().join("fail2ban-server"));
        command.args(["-xf", "start"]);
        self.kept = Some(Kept::start(namespace, &command, "TERM", &self.path("output"))?);
        within_patience(|| {
            let answer = self.client(namespace, &["ping"])?;
            ensure!(answer.contains("pong"), "it said: {answer}");
            Ok(())
        })
        .with_context(|| fs::read_to_string(self.path("output")).unwrap_or_default())
    }

    /// Ends it.
    pub fn stop(&mut self) {
        self.kept = None;
    }

    /// `kill -9`.
    ///
    /// # Errors
    /// If it does not run.
    pub fn kill(&mut self) -> Result<()> {
        let pid: i32 = fs::read_to_string(self.path("pid"))?.trim().parse()?;
        kill_process(Pid::from_raw(pid).context("the process id of fail2ban")?, Signal::KILL)?;
        self.kept = None;
        Ok(())
    }

    /// Asks its client.
    ///
    /// # Errors
    /// If it fails.
    pub fn client(&self, namespace: &Namespace, words: &[&str]) -> Result<String> {
        let client = self.programs().join("fail2ban-client");
        namespace.command(client.to_str().context("the path of the client")?, words)
    }

    /// What it logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Whom a jail has banned once it has read all that was logged.
    ///
    /// # Errors
    /// If its client fails, or it goes on and on.
    pub fn banned_at_last(&self, namespace: &Namespace, jail: &str) -> Result<Vec<IpAddr>> {
        let mut before = String::new();
        for _ in 0..LOOKS {
            let status = self.client(namespace, &["status", jail])?;
            if status == before {
                let banned = self.client(namespace, &["get", jail, "banip"])?;
                return Ok(banned
                    .split_whitespace()
                    .filter_map(|word| word.parse().ok())
                    .collect());
            }
            before = status;
            thread::sleep(LOOK);
        }
        bail!("fail2ban is still reading: {before}")
    }

    /// The folder of its programs.
    pub fn programs(&self) -> PathBuf {
        self.path("bin")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a program that runs one of its own with the Python that came along.
    fn wrap(&self, fetched: &Fetched, program: &str) -> Result<()> {
        let python = fetched.command("usr/bin/python3.11", &[])?;
        let words = [python.get_program()].into_iter().chain(python.get_args());
        let python: Vec<String> = words.map(|word| word.to_string_lossy().into_owned()).collect();
        let text = format!(
            "#!/bin/sh\nexport PATH={bin}:$PATH PYTHONHOME={home} PYTHONPATH={home}/lib/python3/dist-packages \
             PYTHONDONTWRITEBYTECODE=1\nexec {python} {script} -c {config} \"$@\"\n",
            bin = self.programs().display(),
            home = fetched.path("usr").display(),
            python = python.join(" "),
            script = fetched.path("usr/bin").join(program).display(),
            config = self.path("etc").display(),
        );
        write_program(&self.programs().join(program), &text)
    }
}

fn write_program(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text)?;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o755))?)
}

/// Lines of a jail for Asterisk that reads these files.
pub fn asterisk_jail(files: &[&Path], more: &str) -> String {
    let files: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    format!("[asterisk]\nenabled = true\nlogpath = {}\n{more}\n", files.join("\n          "))
}
