//! The portal's door and its confinement: it is a process and a user of its own, reaches the agent by a socket of its
//! own, may ask there what an operator may, and neither its end nor its breach costs the filter anything.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use geofilter_lab::namespace::Namespace;
use geofilter_lab::process::{Agent, binary};
use rustix::process::{Gid, Pid, Signal, Uid, kill_process};
use rustix::thread::{set_thread_res_gid, set_thread_res_uid};
use serde_json::{Value, json};
use tempfile::TempDir;

const NOBODY: u32 = 65_534;
const PATIENCE: Duration = Duration::from_secs(20);
const MEMORY: [&str; 4] = ["--backend", "memory", "--interface", "lo"];

/// An agent that knows who the portal is, and its configuration.
fn agent_with_a_door(host: &Namespace) -> (Agent<'_>, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("agent.toml");
    fs::write(&config, "[portal]\nuser = \"nobody\"\n").unwrap();
    let words = [&MEMORY[..], &["--config", config.to_str().unwrap()]].concat();
    let agent = Agent::start(host, &words).unwrap();
    // Others than root get as far as the sockets.
    open(agent.runtime_dir().parent().unwrap());
    (agent, folder)
}

fn open(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Does it as this user, on a thread that can't go back.
fn by<T: Send>(user: u32, work: impl FnOnce() -> T + Send) -> T {
    let work = || {
        let (uid, gid) = (Uid::from_raw(user), Gid::from_raw(user));
        set_thread_res_gid(gid, gid, gid).unwrap();
        set_thread_res_uid(uid, uid, uid).unwrap();
        work()
    };
    thread::scope(|scope| scope.spawn(work).join()).unwrap()
}

fn ask(user: u32, socket: &Path, request: &Value) -> io::Result<Value> {
    let line = by(user, || {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        // It may be refused before it has said anything.
        let _ = writeln!(stream, "{request}");
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line)?;
        io::Result::Ok(line)
    })?;
    Ok(serde_json::from_str(&line)?)
}

#[test]
fn the_portals_socket_is_there_for_its_user_alone() {
    let host = Namespace::new("door").unwrap();
    let (mut agent, _config) = agent_with_a_door(&host);
    let door = agent.runtime_dir().join("portal.sock");
    let found = fs::metadata(&door).unwrap();
    assert_eq!((found.uid(), found.gid(), found.mode() & 0o777), (NOBODY, NOBODY, 0o600));
    let status = json!({"command": "status"});
    assert_eq!(ask(NOBODY, &door, &status).unwrap()["status"]["state"], "off");
    // Root gets past the mode, and is told that this is not its door.
    let refused = ask(0, &door, &status).unwrap();
    assert_eq!(refused["error"]["kind"], "invalid", "{refused}");
    let closed = |socket: &Path, user| ask(user, socket, &status).unwrap_err().kind();
    assert_eq!(closed(&door, 1), io::ErrorKind::PermissionDenied);
    assert_eq!(closed(&agent.socket(), NOBODY), io::ErrorKind::PermissionDenied);
    agent.signal(Signal::TERM).unwrap();
    agent.wait_for_the_end().unwrap();
    assert!(!agent.runtime_dir().exists());
}

#[test]
fn an_agent_that_was_not_told_of_a_portal_has_no_door_for_one() {
    let host = Namespace::new("door").unwrap();
    let agent = Agent::start(&host, &MEMORY).unwrap();
    assert!(!agent.runtime_dir().join("portal.sock").exists());
}

#[test]
fn the_portal_asks_as_an_operator_or_not_at_all() {
    let host = Namespace::new("door").unwrap();
    let (agent, _config) = agent_with_a_door(&host);
    let door = agent.runtime_dir().join("portal.sock");
    let refused = |request: Value| {
        let reply = ask(NOBODY, &door, &request).unwrap();
        assert_eq!(reply["error"]["kind"], "invalid", "{request}: {reply}");
        reply["error"]["message"].as_str().unwrap().to_owned()
    };
    let fail2ban = json!({"ask": "ban", "address": "192.0.2.1", "jail": "asterisk"});
    let said = refused(json!({"command": "fail2ban", "ask": fail2ban}));
    assert!(said.contains("portal may not"), "{said}");
    let add = json!({"command": "add", "kind": "ban", "targets": ["192.0.2.1"]});
    for origin in ["fail2ban", "pbx"] {
        let mut add = add.clone();
        add["origin"] = origin.into();
        refused(add);
    }
    refused(json!({"command": "run", "program": "/bin/sh"}));
    assert_eq!(agent.json(&["ban", "list"]).unwrap()["records"], json!([]));
    let added = ask(NOBODY, &door, &add).unwrap();
    assert!(added.get("noted").is_some(), "{added}");
    let records = agent.json(&["ban", "list"]).unwrap();
    assert_eq!(records["records"][0]["origin"], "operator", "{records}");
}

#[test]
fn a_portal_that_takes_every_place_at_its_door_keeps_nobody_from_the_other() {
    let host = Namespace::new("door").unwrap();
    let (agent, _config) = agent_with_a_door(&host);
    let door = agent.runtime_dir().join("portal.sock");
    let idle: Vec<_> = by(NOBODY, || {
        // More than root's door has places.
        (0..600).map_while(|_| connect_at_once(&door)).collect()
    });
    assert!(idle.len() > 64, "{}", idle.len());
    let since = Instant::now();
    agent.json(&["status"]).unwrap();
    assert!(since.elapsed() < Duration::from_secs(1), "{:?}", since.elapsed());
    drop(idle);
    assert!(ask(NOBODY, &door, &json!({"command": "status"})).is_ok());
}

/// None once the queue of those who wait to be heard is full.
fn connect_at_once(socket: &Path) -> Option<rustix::fd::OwnedFd> {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let own =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap();
    let there = SocketAddrUnix::new(socket).unwrap();
    rustix::net::connect(&own, &there).ok().map(|()| own)
}

/// `geofilter up` with a data plane that touches no kernel.
struct Up<'a> {
    host: &'a Namespace,
    folder: TempDir,
    child: Child,
    /// What it said on standard output, until it was ready.
    greeting: String,
}

impl<'a> Up<'a> {
    fn start(host: &'a Namespace, words: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        open(folder.path());
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let mut command = Command::new(binary().unwrap());
        command.arg("up").args(MEMORY).args(words);
        command.arg("--state-dir").arg(folder.path().join("state"));
        command.arg("--runtime-dir").arg(folder.path().join("run"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        command.env_remove("DISPLAY").env("SSH_CONNECTION", "192.0.2.9 1024 192.0.2.7 22");
        command.env("GEOFILTER_TEST_SECRET", "of root's shell");
        let mut child = host.inside(move || command.spawn()).unwrap().unwrap();
        // Read on, so that it can be written to its end; read byte by byte, so that nothing is read ahead.
        let mut greeting = String::new();
        let mut byte = [0];
        while !greeting.ends_with("Ctrl-C reverts everything.\n") {
            child.stdout.as_mut().unwrap().read_exact(&mut byte).unwrap();
            greeting.push(byte[0].into());
        }
        Self { host, folder, child, greeting }
    }

    fn status(&self) -> Value {
        let mut command = Command::new(binary().unwrap());
        command.args(["status", "--json", "--socket"]).arg(self.path("run/agent.sock"));
        let Output { stdout, .. } = self.host.inside(move || command.output()).unwrap().unwrap();
        serde_json::from_slice(&stdout).unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap()
    }

    /// The process of the portal.
    fn portal(&self) -> Pid {
        let of = format!("/proc/{0}/task/{0}/children", self.child.id());
        let children = fs::read_to_string(of).unwrap();
        Pid::from_raw(children.trim().parse().unwrap()).unwrap()
    }

    /// Ctrl-C, and what it said from then on.
    fn end(mut self) -> String {
        kill_process(Pid::from_child(&self.child), Signal::INT).unwrap();
        let mut said = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        assert!(self.child.wait().unwrap().success(), "{}", self.log());
        assert!(!self.path("run").exists());
        said
    }
}

impl Drop for Up<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let since = Instant::now();
    while !done() {
        assert!(since.elapsed() < PATIENCE, "{what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// A line of `/proc/PID/status`.
fn line(pid: Pid, name: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_pid())).ok()?;
    let found = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
    Some(found.unwrap_or_default().to_owned())
}

fn has_ended(pid: Pid) -> bool {
    line(pid, "State").is_none_or(|state| state.starts_with('Z'))
}

#[test]
fn up_serves_a_portal_that_has_no_privileges_and_ends_with_it() {
    let host = Namespace::new("door").unwrap();
    let up = Up::start(&host, &[]);
    assert!(up.greeting.contains("http://127.0.0.1:8470/first#"), "{}\n{}", up.greeting, up.log());
    assert!(up.greeting.contains("ssh -L 8470:127.0.0.1:8470 192.0.2.7\n"), "{}", up.greeting);
    let portal = up.portal();
    let of = |name| line(portal, name).unwrap();
    let ids = format!("{NOBODY}\t{NOBODY}\t{NOBODY}\t{NOBODY}");
    assert_eq!((of("Uid"), of("Gid"), of("Groups")), (ids.clone(), ids, " ".to_owned()));
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(of(set), "0000000000000000", "{set}");
    }
    assert_eq!((of("NoNewPrivs"), of("Seccomp")), ("1".to_owned(), "2".to_owned()));
    let tasks = fs::read_dir(format!("/proc/{}/task", portal.as_raw_pid())).unwrap();
    let tasks: Vec<_> = tasks.map(|task| task.unwrap().path().join("status")).collect();
    assert!(tasks.len() > 1, "its threads are confined too");
    for status in tasks {
        assert!(fs::read_to_string(&status).unwrap().contains("Seccomp:\t2"), "{status:?}");
    }
    let environment = fs::read(format!("/proc/{}/environ", portal.as_raw_pid())).unwrap();
    assert_eq!(String::from_utf8_lossy(&environment), "", "what root's shell knows");
    let folder = fs::metadata(up.path("state/portal")).unwrap();
    assert_eq!((folder.uid(), folder.mode() & 0o777), (NOBODY, 0o700));
    let page = host.command("curl", &["-sS", "-m", "10", "http://127.0.0.1:8470/api/v1/session"]);
    assert!(page.unwrap().starts_with('{'));
    let said = up.end();
    assert!(said.contains("off: nothing is attached"), "{said}");
    assert!(has_ended(portal));
}

#[test]
fn a_portal_does_not_outlive_an_up_that_is_killed() {
    let host = Namespace::new("door").unwrap();
    let mut up = Up::start(&host, &[]);
    let portal = up.portal();
    assert!(!has_ended(portal));
    up.child.kill().unwrap();
    up.child.wait().unwrap();
    until("the portal goes on alone", || has_ended(portal));
}

#[test]
fn a_portal_that_dies_costs_the_filter_nothing_and_is_told_of_once() {
    let host = Namespace::new("door").unwrap();
    let up = Up::start(&host, &[]);
    kill_process(up.portal(), Signal::KILL).unwrap();
    until("nobody says so", || up.log().contains("the portal has ended"));
    assert_eq!(up.status()["state"], "observing");
    assert_eq!(up.log().matches("the portal has ended").count(), 1);
    up.end();
}

#[test]
fn without_its_port_there_is_no_portal_and_up_observes_all_the_same() {
    let host = Namespace::new("door").unwrap();
    let _taken = host.inside(|| std::net::TcpListener::bind("127.0.0.1:8470")).unwrap().unwrap();
    let up = Up::start(&host, &[]);
    assert!(!up.greeting.contains("http://"), "{}", up.greeting);
    assert!(up.log().contains("--listen 127.0.0.1:8471"), "{}", up.log());
    assert_eq!(up.status()["state"], "observing");
    up.end();
    let up = Up::start(&host, &["--listen", "127.0.0.1:8471"]);
    assert!(up.greeting.contains("http://127.0.0.1:8471/"), "{}", up.greeting);
    up.end();
}

#[test]
fn the_portal_refuses_to_be_root() {
    let output = Command::new(binary().unwrap()).args(["portal", "run"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("--user"), "{said}");
}
