//! [`Worker`]: the process that fetches and makes images for this agent, and ends with it. It has no privileges but a folder and a
//! way out; what it made is judged by whoever started it.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, SyncSender, TryRecvError};
use std::thread;

use geofilter_core::wire::Failure;
use geofilter_portal::sandbox;
use geofilter_update::{Job, Told};
use rustix::process::{Signal, set_parent_process_death_signal};

use crate::agent::memory;
use crate::cli::failed;

/// Bytes of what it is told, and of a line that it tells.
const LONGEST: u64 = 64 * 1024;
/// Lines that wait to be heard: who tells more has to wait.
const WAITING: usize = 64;

/// See the module.
#[derive(Debug)]
pub(super) struct Worker {
    child: Child,
    told: Receiver<Told>,
}

impl Worker {
    /// Starts on a job.
    ///
    /// # Errors
    /// If there can be no such process.
    pub(super) fn start(job: &Job) -> io::Result<Self> {
        let mut command = Command::new("/proc/self/exe");
        command.arg0("geofilter").args(["geodb", "work"]).current_dir("/").env_clear();
        // A host may reach others by a proxy alone.
        let proxies = ["HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"];
        command.envs(proxies.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        let mut child = command.spawn()?;
        let handed = child.stdin.take().map(|mut stdin| {
            serde_json::to_writer(&mut stdin, job)?;
            stdin.write_all(b"\n")
        });
        let (tell, told) = mpsc::sync_channel(WAITING);
        if let Some(stdout) = child.stdout.take() {
            let listen = move || listen(BufReader::new(stdout), &tell);
            thread::Builder::new().name("geodata".to_owned()).spawn(listen)?;
        }
        let worker = Self { child, told };
        handed.transpose()?;
        Ok(worker)
    }

    /// What it told since the last time; that it failed, if it ended without a word.
    pub(super) fn heard(&mut self) -> Vec<Told> {
        let mut heard = Vec::new();
        while heard.len() < WAITING {
            match self.told.try_recv() {
                Ok(told) => heard.push(told),
                Err(TryRecvError::Empty) => return heard,
                Err(TryRecvError::Disconnected) => {
                    // It may have closed its output and gone on.
                    let _ = self.child.kill();
                    let why = match self.child.wait() {
                        Ok(status) => format!("the process that updates ended early: {status}"),
                        Err(error) => format!("the process that updates is gone: {error}"),
                    };
                    heard.push(Told::Failed { why });
                    return heard;
                }
            }
        }
        heard
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Hears what is told, a line each, until there is no more, or what is told makes no sense.
fn listen(mut from: impl BufRead, tell: &SyncSender<Told>) {
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = from.by_ref().take(LONGEST).read_until(b'\n', &mut line);
        let told = read.is_ok().then(|| serde_json::from_slice(&line).ok()).flatten();
        if told.is_none_or(|told| tell.send(told).is_err()) {
            return;
        }
    }
}

/// What that process does.
///
/// # Errors
/// If it can't be confined, or is not told what to do.
pub(crate) fn work() -> Result<(), Failure> {
    memory::give_back_what_is_large();
    let unusable = |error: io::Error| failed(format!("cannot read what to do: {error}"));
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|error| failed(format!("cannot end with the agent: {error}")))?;
    let mut line = String::new();
    BufReader::new(io::stdin().take(LONGEST)).read_line(&mut line).map_err(unusable)?;
    let job: Job = serde_json::from_str(&line).map_err(|error| unusable(error.into()))?;
    let trust = geofilter_reach::trusted();
    confine(&job.folder)?;
    let mut tell = |told: Told| {
        let mut line = serde_json::to_vec(&told).unwrap_or_default();
        line.push(b'\n');
        let mut stdout = io::stdout().lock();
        // Who does not listen any more has ended, and this process with it.
        let _ = stdout.write_all(&line).and_then(|()| stdout.flush());
    };
    match geofilter_update::update(&job, trust, &mut tell) {
        Ok(made) => tell(Told::Done { made }),
        Err(error) => tell(Told::Failed { why: error.to_string() }),
    }
    Ok(())
}

fn confine(folder: &Path) -> Result<(), Failure> {
    sandbox::enter_fetcher(folder).map(drop).map_err(|error| failed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One that says this and goes on.
    fn worker(words: &str) -> Worker {
        let child = Command::new("sleep").arg("600").spawn().unwrap();
        let (tell, told) = mpsc::sync_channel(WAITING);
        let words = words.to_owned();
        thread::spawn(move || listen(words.as_bytes(), &tell));
        Worker { child, told }
    }

    #[test]
    fn one_that_falls_silent_and_goes_on_is_ended() {
        let mut worker = worker("{\"told\":\"making\"}\nnonsense\n");
        let mut heard = Vec::new();
        while heard.len() < 2 {
            heard.extend(worker.heard());
        }
        assert_eq!(heard[0], Told::Making);
        assert!(
            matches!(&heard[1], Told::Failed { why } if why.contains("ended early")),
            "{heard:?}"
        );
    }

    #[test]
    fn one_that_tells_without_end_is_heard_in_parts() {
        let mut worker = worker(&"{\"told\":\"making\"}\n".repeat(100 * WAITING));
        for _ in 0..100 {
            assert!(worker.heard().len() <= WAITING);
        }
    }
}
