//! [`Child`]: a process of ours without privileges that works for this agent, and ends with it. What it tells is judged by whoever
//! started it.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, SyncSender, TryRecvError};
use std::thread;

use geofilter_core::wire::Failure;
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::process::{Signal, set_parent_process_death_signal};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::agent::memory;
use crate::cli::failed;

/// Bytes of what it is told first, and of a line that it tells.
const LONGEST: u64 = 64 * 1024;
/// Lines that wait to be heard: who tells more has to wait.
const WAITING: usize = 64;

/// See the module.
#[derive(Debug)]
pub(crate) struct Child<T> {
    process: std::process::Child,
    stdin: Option<ChildStdin>,
    told: Receiver<T>,
}

impl<T: DeserializeOwned + Send + 'static> Child<T> {
    /// Starts `geofilter` with these words on a job.
    ///
    /// # Errors
    /// If there can be no such process.
    pub(crate) fn start(words: [&str; 2], job: &impl Serialize) -> io::Result<Self> {
        let mut command = Command::new("/proc/self/exe");
        command.arg0("geofilter").args(words).current_dir("/").env_clear();
        // A host may reach others by a proxy alone.
        let proxies = ["HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"];
        command.envs(proxies.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        let mut process = command.spawn()?;
        let stdin = process.stdin.take();
        // Who does not listen keeps nobody waiting: there is room for some hundred lines.
        if let Some(stdin) = &stdin {
            fcntl_setfl(stdin, OFlags::NONBLOCK)?;
        }
        let (tell, told) = mpsc::sync_channel(WAITING);
        if let Some(stdout) = process.stdout.take() {
            let listen = move || listen(BufReader::new(stdout), &tell);
            thread::Builder::new().name(words[0].to_owned()).spawn(listen)?;
        }
        let mut child = Self { process, stdin, told };
        child.tell(job)?;
        Ok(child)
    }

    /// Tells it something, in a line.
    ///
    /// # Errors
    /// If it does not listen any more, and then it may have got a part of it.
    pub(crate) fn tell(&mut self, what: &impl Serialize) -> io::Result<()> {
        let stdin = self.stdin.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        let mut line = serde_json::to_vec(what)?;
        line.push(b'\n');
        stdin.write_all(&line)
    }

    /// What it told since the last time, and why it ended, if it did.
    pub(crate) fn heard(&mut self) -> (Vec<T>, Option<String>) {
        let mut heard = Vec::new();
        while heard.len() < WAITING {
            match self.told.try_recv() {
                Ok(told) => heard.push(told),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return (heard, Some(self.end())),
            }
        }
        (heard, None)
    }

    /// What it tells next; none if it has ended.
    pub(crate) fn hear(&mut self) -> Option<T> {
        self.told.recv().ok()
    }

    /// How it ended. It may have closed its output and gone on.
    pub(crate) fn end(&mut self) -> String {
        let _ = self.process.kill();
        match self.process.wait() {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        }
    }
}

impl<T> Drop for Child<T> {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Hears what is told, a line each, until there is no more, or what is told makes no sense.
fn listen<T: DeserializeOwned>(mut from: impl BufRead, tell: &SyncSender<T>) {
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

/// What such a process begins with: it ends with who started it, and reads its job.
///
/// # Errors
/// If it is not told what to do.
pub(crate) fn begin<Job: DeserializeOwned>() -> Result<Job, Failure> {
    memory::give_back_what_is_large();
    let unusable = |error: io::Error| failed(format!("cannot read what to do: {error}"));
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|error| failed(format!("cannot end with the agent: {error}")))?;
    let mut line = Vec::new();
    io::stdin().lock().take(LONGEST).read_until(b'\n', &mut line).map_err(unusable)?;
    serde_json::from_slice(&line).map_err(|error| unusable(error.into()))
}

/// Tells who started it something, in a line. Who does not listen any more has ended, and this process with it.
pub(crate) fn tell(what: &impl Serialize) {
    let mut line = serde_json::to_vec(what).unwrap_or_default();
    line.push(b'\n');
    let mut stdout = io::stdout().lock();
    let _ = stdout.write_all(&line).and_then(|()| stdout.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One that says this and goes on.
    fn child(words: &str) -> Child<u32> {
        let process = Command::new("sleep").arg("600").spawn().unwrap();
        let (tell, told) = mpsc::sync_channel(WAITING);
        let words = words.to_owned();
        thread::spawn(move || listen(words.as_bytes(), &tell));
        Child { process, stdin: None, told }
    }

    #[test]
    fn one_that_falls_silent_and_goes_on_is_ended() {
        let mut child = child("7\nnonsense\n");
        let mut all = Vec::new();
        let why = loop {
            let (heard, why) = child.heard();
            all.extend(heard);
            if let Some(why) = why {
                break why;
            }
        };
        assert_eq!(all, [7]);
        assert!(why.contains("signal"), "{why}");
    }

    #[test]
    fn one_that_tells_without_end_is_heard_in_parts() {
        let mut child = child(&"7\n".repeat(100 * WAITING));
        for _ in 0..100 {
            assert!(child.heard().0.len() <= WAITING);
        }
    }
}
