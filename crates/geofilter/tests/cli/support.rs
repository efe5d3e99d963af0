//! An agent of the real binary, with the data plane that touches no kernel, in a directory of its own.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

pub(crate) use rustix::process::Signal;
use rustix::process::{Pid, kill_process};
use serde_json::Value;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(20);

/// A place for agents.
pub(crate) struct Place {
    dir: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        // The portal is another user, and has its folder below.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("its mode");
        Self { dir }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.path("run/agent.sock")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.path("state/state.json")
    }

    /// The command line of a daemon here.
    pub(crate) fn daemon(&self, role: &str) -> Command {
        let mut command = binary();
        command
            .args([role, "--backend", "memory", "--interface", "lo"])
            .arg("--state-dir")
            .arg(self.path("state"))
            .arg("--runtime-dir")
            .arg(self.path("run"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if role == "up" {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        command
    }

    /// Starts an agent and waits until it answers.
    pub(crate) fn agent(&self) -> Agent {
        self.start(&mut self.daemon("agent"))
    }

    pub(crate) fn start(&self, command: &mut Command) -> Agent {
        let mut child = command.spawn().expect("a started agent");
        let began = Instant::now();
        loop {
            if let Some(status) = child.try_wait().expect("a child") {
                let output = child.wait_with_output().expect("its output");
                panic!("the agent ended with {status}: {}", text(&output.stderr));
            }
            if UnixStream::connect(self.socket()).is_ok() && self.run(&["status"]).status.success()
            {
                return Agent { child };
            }
            assert!(began.elapsed() < PATIENCE, "the agent does not answer");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Runs a client.
    pub(crate) fn run(&self, args: &[&str]) -> Output {
        binary()
            .args(args)
            .env("GEOFILTER_SOCKET", self.socket())
            .stdin(Stdio::null())
            .output()
            .expect("a run of the binary")
    }

    /// Runs a client that must succeed, and reads its JSON.
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let output = self.run(&[args, &["--json"]].concat());
        assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    /// Runs a client that must fail with this code, and returns what it said.
    pub(crate) fn refused(&self, code: i32, args: &[&str]) -> String {
        let output = self.run(args);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        assert_eq!(text(&output.stdout), "", "{args:?}");
        said
    }

    /// Sends bytes to the socket and returns the lines that come back.
    pub(crate) fn send(&self, bytes: &[u8]) -> Vec<Value> {
        let mut stream = UnixStream::connect(self.socket()).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time limit");
        // The agent may answer and close before it has read everything.
        let _ = stream.write_all(bytes);
        let lines = BufReader::new(stream).lines().map_while(Result::ok);
        lines.map(|line| serde_json::from_str(&line).expect("JSON")).collect()
    }

    /// Waits until the state is this.
    pub(crate) fn wait_for_state(&self, state: &str) -> Value {
        let began = Instant::now();
        loop {
            let status = self.json(&["status"]);
            if status["state"] == state {
                return status;
            }
            assert!(began.elapsed() < PATIENCE, "{status}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// A daemon that runs; killed if it still does when the test ends.
pub(crate) struct Agent {
    child: Child,
}

impl Agent {
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("a signal");
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().expect("a kill");
        self.child.wait().expect("its end");
    }

    /// Waits for its end.
    pub(crate) fn status(mut self) -> ExitStatus {
        self.child.wait().expect("its end")
    }

    /// Ends it with a signal.
    pub(crate) fn end(self, signal: Signal) -> (ExitStatus, String, String) {
        self.signal(signal);
        self.wait()
    }

    /// Waits for its end, and returns what it said.
    pub(crate) fn wait(mut self) -> (ExitStatus, String, String) {
        let status = self.child.wait().expect("its end");
        let read = |pipe: Option<&mut dyn std::io::Read>| {
            let mut said = String::new();
            pipe.expect("a pipe").read_to_string(&mut said).expect("text");
            said
        };
        let stdout = read(self.child.stdout.as_mut().map(|pipe| pipe as &mut dyn std::io::Read));
        let stderr = read(self.child.stderr.as_mut().map(|pipe| pipe as &mut dyn std::io::Read));
        (status, stdout, stderr)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_geofilter"));
    command.env_remove("GEOFILTER_SOCKET").env_remove("NO_COLOR");
    command
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
