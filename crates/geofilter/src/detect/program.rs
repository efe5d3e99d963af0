//! [`run`]: what another program prints, without waiting for it for long.

use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// How much of what it says is read: more than any ruleset worth having.
const LONGEST: u64 = 64 << 20;

/// What a program prints, if it ends well and in time.
pub(crate) fn run(program: &str, words: &[&str], patience: Duration) -> Result<Vec<u8>, String> {
    let mut command = Command::new(program);
    command.args(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => format!("{program} is not installed"),
        _ => format!("{program} can't be run: {error}"),
    })?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let said = read_aside(stdout);
    let complained = read_aside(stderr);
    let said = said.recv_timeout(patience);
    if said.is_err() {
        // It fails when the program has just ended.
        let _ = child.kill();
    }
    let status = child.wait().map_err(|error| format!("{program}: {error}"))?;
    let said = said.map_err(|_| format!("{program} did not answer in time"))?;
    if status.success() {
        return Ok(said);
    }
    let complaint = complained.recv_timeout(patience).unwrap_or_default();
    let complaint = String::from_utf8_lossy(&complaint);
    let first = complaint.lines().next().unwrap_or("it failed, ask as root");
    Err(format!("{program}: {}", geofilter_core::pbx::printable(first)))
}

/// Reads on a thread of its own, which ends when the program does.
fn read_aside(pipe: Option<impl Read + Send + 'static>) -> mpsc::Receiver<Vec<u8>> {
    let (done, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(pipe) = pipe {
            // What was read until it failed is cut, and so no whole answer.
            let _ = pipe.take(LONGEST).read_to_end(&mut bytes);
        }
        done.send(bytes)
    });
    receiver
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(2);

    #[test]
    fn a_program_that_hangs_is_not_waited_for() {
        let since = Instant::now();
        assert!(run("sleep", &["60"], PATIENCE).unwrap_err().contains("in time"));
        assert!(since.elapsed() < PATIENCE * 3);
        assert_eq!(run("echo", &["x"], PATIENCE).unwrap(), b"x\n");
        assert!(run("false", &[], PATIENCE).unwrap_err().contains("false"));
        assert!(run("no-such-program", &[], PATIENCE).unwrap_err().contains("not installed"));
    }
}
