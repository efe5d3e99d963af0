//! [`Portal`]: the portal beside the agent of `up`, as a process and a user of its own that ends with it.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::time::{Duration, Instant};
use std::{fs, thread};

use anyhow::{Context, bail};
use geofilter_portal::Ready;
use geofilter_portal::sandbox::{self, User};
use rustix::process::{Pid, Signal, geteuid, kill_process};

use crate::agent::Settings;

/// Its user where GeoFilter is installed, and else one that every system has.
const USERS: [&str; 2] = ["geofilter-portal", "nobody"];
const START: Duration = Duration::from_secs(10);
const END: Duration = Duration::from_secs(3);
const MOMENT: Duration = Duration::from_millis(10);

/// A portal that serves, until it is dropped.
#[derive(Debug)]
pub(super) struct Portal {
    child: Child,
    pub(super) ready: Ready,
    /// Whether it was told to end.
    told: Arc<AtomicBool>,
}

/// Who it is to run as. Only root can give it a user of its own.
pub(super) fn user() -> anyhow::Result<User> {
    if !geteuid().is_root() {
        bail!("it needs a user of its own, which only root can give it: run `up` with sudo");
    }
    let [own, any] = USERS;
    User::named(own)
        .or_else(|error| match error {
            sandbox::Error::NoUser(_) => User::named(any),
            error => Err(error),
        })
        .context("it needs a user of its own")
}

impl Portal {
    /// Starts it on the door that this agent keeps for the user, and waits until it serves.
    ///
    /// # Errors
    /// If it does not; it has said why by then.
    pub(super) fn start(
        settings: &Settings,
        user: &User,
        listen: SocketAddr,
    ) -> anyhow::Result<Self> {
        let mut command = Command::new("/proc/self/exe");
        command.arg0("geofilter").args(["portal", "run", "--user", &user.name]);
        command.args(["--beside", &std::process::id().to_string()]);
        command.args(["--listen", &listen.to_string()]);
        command.arg("--state-dir").arg(settings.state_dir.join("portal"));
        command.arg("--agent").arg(settings.portal_socket());
        // Ctrl-C on the terminal is for this process alone, and what root's shell knows for nobody.
        command.process_group(0).env_clear().current_dir("/");
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().context("cannot start a process")?;
        let told = Arc::new(AtomicBool::new(false));
        let heard = child.stdout.take().context("it has no output").and_then(|stdout| {
            let (said, heard) = mpsc::channel();
            let told = Arc::clone(&told);
            thread::Builder::new()
                .name("portal".to_owned())
                .spawn(move || listen_to(stdout, &said, &told))
                .context("cannot start a thread")?;
            heard.recv_timeout(START).context("it does not serve")
        });
        match heard {
            Ok(ready) => Ok(Self { child, ready, told }),
            Err(error) => {
                told.store(true, Ordering::Relaxed);
                end(&mut child);
                Err(error)
            }
        }
    }

    /// Tells it to end, and does not wait.
    pub(super) fn tell_to_end(&self) {
        self.told.store(true, Ordering::Relaxed);
        tell(&self.child);
    }

    /// The words that reach it from another computer, if nobody sits at this one.
    pub(super) fn tunnel(&self) -> Option<String> {
        let at = self.ready.url.strip_prefix("http://")?.trim_end_matches('/');
        let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let came = set("SSH_CONNECTION");
        if came.is_none() && (set("DISPLAY").is_some() || set("WAYLAND_DISPLAY").is_some()) {
            return None;
        }
        let host = came.as_deref().and_then(|came| came.split(' ').nth(2)).map(str::to_owned);
        let name = || fs::read_to_string(Path::new("/proc/sys/kernel/hostname")).ok();
        let host = host.or_else(name)?;
        let (_, port) = at.rsplit_once(':')?;
        Some(format!("ssh -L {port}:{at} {}", host.trim()))
    }
}

impl Drop for Portal {
    fn drop(&mut self) {
        self.told.store(true, Ordering::Relaxed);
        end(&mut self.child);
    }
}

/// Hands on its first line, and says so if it ends without having been told to.
fn listen_to(stdout: ChildStdout, said: &Sender<Ready>, told: &AtomicBool) {
    let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
    let ready = lines.next().and_then(|line| serde_json::from_str(&line).ok());
    // Without it the channel closes, and who waits there knows.
    let Some(ready) = ready else { return };
    if said.send(ready).is_err() {
        return;
    }
    lines.for_each(drop);
    if !told.load(Ordering::Relaxed) {
        let _ = writeln!(
            std::io::stderr(),
            "geofilter: the portal has ended; the filter goes on as it is, and so does the command line"
        );
    }
}

fn tell(child: &Child) {
    // It fails if it has ended before.
    let _ = kill_process(Pid::from_child(child), Signal::TERM);
}

/// Gives it a moment, and then none.
fn end(child: &mut Child) {
    tell(child);
    let since = Instant::now();
    while since.elapsed() < END && matches!(child.try_wait(), Ok(None)) {
        thread::sleep(MOMENT);
    }
    let _ = child.kill();
    let _ = child.wait();
}
