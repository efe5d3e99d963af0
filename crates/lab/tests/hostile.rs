//! Who means the agent harm at its sockets: users without rights, and a portal that was broken into. Whatever they do
//! there, the commands of root are answered at once, and the agent stays small.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::{self, Permissions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use geofilter_lab::namespace::Namespace;
use geofilter_lab::process::Agent;
use rustix::process::{Gid, Uid};
use rustix::thread::{set_thread_res_gid, set_thread_res_uid};
use serde_json::{Value, json};
use tempfile::TempDir;

const NOBODY: u32 = 65_534;
const STATUS: &[u8] = b"{\"command\":\"status\"}\n";
/// By then root has its answer, on two processors that others keep busy.
const AT_ONCE: Duration = Duration::from_secs(1);

/// A host whose agent knows who the portal is, and touches no kernel.
fn agent(host: &Namespace) -> (Agent<'_>, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("agent.toml");
    fs::write(&config, "[portal]\nuser = \"nobody\"\n").unwrap();
    let words = ["--backend", "memory", "--interface", "lo", "--config", config.to_str().unwrap()];
    (Agent::start(host, &words).unwrap(), folder)
}

fn door(agent: &Agent) -> PathBuf {
    agent.runtime_dir().join("portal.sock")
}

/// Becomes nobody, on a thread that can't go back.
fn become_nobody() {
    let (uid, gid) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    set_thread_res_gid(gid, gid, gid).unwrap();
    set_thread_res_uid(uid, uid, uid).unwrap();
}

/// Says this and reads all that is answered.
fn say(socket: &Path, words: &[u8]) -> io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    // It may be refused before it has said anything.
    let _ = stream.write_all(words);
    let mut said = String::new();
    let _ = BufReader::new(stream).read_line(&mut said)?;
    Ok(said)
}

/// How many times it was done, by eight threads of nobody, while root asks for the status twenty times and has each
/// answer at once.
fn while_root_asks(agent: &Agent, hostile: impl Fn() + Sync) -> usize {
    let (ends, done) = (AtomicBool::new(false), AtomicUsize::new(0));
    let (ends, done, hostile) = (&ends, &done, &hostile);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(move || {
                become_nobody();
                while !ends.load(Ordering::Relaxed) {
                    hostile();
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        thread::sleep(Duration::from_millis(200));
        let longest = (0..20).map(|_| longest_status(agent)).max().unwrap();
        ends.store(true, Ordering::Relaxed);
        assert!(longest < AT_ONCE, "{longest:?}");
    });
    done.load(Ordering::Relaxed)
}

fn longest_status(agent: &Agent) -> Duration {
    let since = Instant::now();
    assert_eq!(agent.json(&["status"]).unwrap()["state"], "off");
    since.elapsed()
}

/// Its memory and the most that it was, in bytes.
fn memory(agent: &Agent) -> u64 {
    let path = format!("/proc/{}/status", agent.pid().unwrap().as_raw_nonzero());
    let status = fs::read_to_string(path).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

#[test]
fn a_user_without_rights_gets_nowhere_and_costs_root_nothing() {
    let host = Namespace::new("hostile").unwrap();
    let (agent, _config) = agent(&host);
    let socket = agent.socket();
    let tries = while_root_asks(&agent, || {
        let error = UnixStream::connect(&socket).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    });
    assert!(tries > 100, "{tries}");
    // Who may connect, because somebody opened the socket to all, is still told from root.
    fs::set_permissions(&socket, Permissions::from_mode(0o666)).unwrap();
    let off = json!({"command": "off"}).to_string() + "\n";
    let tries = while_root_asks(&agent, || {
        if let Ok(said) = say(&socket, off.as_bytes())
            && !said.is_empty()
        {
            assert!(said.contains("root alone"), "{said}");
        }
    });
    assert!(tries > 100, "{tries}");
    let log = agent.log();
    assert_eq!(log.matches("a client of another user was refused").count(), 1, "{log}");
}

#[test]
fn a_portal_that_asks_as_fast_as_it_can_is_slowed_down_and_root_is_not() {
    let host = Namespace::new("hostile").unwrap();
    let (agent, _config) = agent(&host);
    let door = door(&agent);
    let began = Instant::now();
    let preview = json!({"command": "preview"}).to_string() + "\n";
    let asked = while_root_asks(&agent, || {
        let said = say(&door, preview.as_bytes()).unwrap();
        assert!(said.contains("preview"), "{said}");
    });
    // 400 at once, 200 a second from then on.
    let most = 450 + 200 * (began.elapsed().as_secs() as usize + 1);
    assert!(asked < most, "{asked} in {:?}", began.elapsed());
}

#[test]
fn a_portal_that_takes_no_answers_costs_no_memory() {
    let host = Namespace::new("hostile").unwrap();
    let (agent, _config) = agent(&host);
    let note = "n".repeat(200);
    for part in 0..40_u32 {
        let ban = |number: u32| format!("9.{}.{}.{}", part, number / 250, number % 250);
        let targets: Vec<_> = (0..1000).map(ban).collect();
        let add = json!({"command": "add", "kind": "ban", "targets": targets, "note": note});
        let said = say(&agent.socket(), format!("{add}\n").as_bytes()).unwrap();
        assert!(said.contains("noted"), "{said}");
    }
    let list = json!({"command": "list", "kind": "ban"}).to_string() + "\n";
    let whole = say(&agent.socket(), list.as_bytes()).unwrap().len() as u64;
    assert!(whole > 8_000_000, "{whole}");
    let before = memory(&agent);
    let waiting: Vec<UnixStream> = thread::scope(|scope| {
        let ask = || {
            become_nobody();
            let ask = |_| {
                let mut stream = UnixStream::connect(door(&agent)).unwrap();
                stream.write_all(list.as_bytes()).unwrap();
                stream
            };
            (0..64).map(ask).collect()
        };
        scope.spawn(ask).join().unwrap()
    });
    thread::sleep(Duration::from_secs(2));
    let longest = longest_status(&agent);
    assert!(longest < AT_ONCE, "{longest:?}");
    let grown = memory(&agent) - before;
    // Four of them at a time, and what one is made of.
    assert!(grown < 8 * whole, "{grown} bytes for lists of {whole}");
    drop(waiting);
}

#[test]
fn a_request_has_an_end() {
    let host = Namespace::new("hostile").unwrap();
    let (agent, _config) = agent(&host);
    for (user, socket) in [(0, agent.socket()), (NOBODY, door(&agent))] {
        thread::scope(|scope| {
            scope.spawn(|| {
                if user != 0 {
                    become_nobody();
                }
                let before = memory(&agent);
                // A line that never ends, as fast as it is taken.
                let said = say(&socket, &vec![b'x'; 1 << 22]).unwrap();
                assert!(said.contains("one line of at most 65536 bytes"), "{said}");
                assert!(memory(&agent) - before < 1 << 22);
                // And one that comes byte by byte.
                let mut slow = UnixStream::connect(&socket).unwrap();
                let mut hears = slow.try_clone().unwrap();
                let began = Instant::now();
                while began.elapsed() < Duration::from_secs(4) {
                    if slow.write_all(b" ").is_err() {
                        break;
                    }
                    thread::sleep(Duration::from_millis(50));
                }
                let mut said = String::new();
                let _ = hears.read_to_string(&mut said);
                assert!(said.contains("no request came within 2 s"), "{said}");
                assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
            });
        });
    }
}

#[test]
fn one_process_of_root_leaves_room_for_the_others() {
    let host = Namespace::new("hostile").unwrap();
    let (agent, _config) = agent(&host);
    // As many as there are places, from one process: it has 32 of them, for two seconds.
    let mut held: Vec<_> =
        (0..512).filter_map(|_| UnixStream::connect(agent.socket()).ok()).collect();
    let longest = longest_status(&agent);
    assert!(longest < AT_ONCE, "{longest:?}");
    let mut said = String::new();
    let _ = held.last_mut().unwrap().read_to_string(&mut said);
    let said: Value = serde_json::from_str(&said).unwrap();
    let why = said["error"]["message"].as_str().unwrap();
    assert!(why.contains("this process has 32 connections"), "{said}");
    drop(held);
    assert!(say(&agent.socket(), STATUS).unwrap().contains("\"off\""));
}

#[test]
fn a_follower_that_goes_on_talking_is_ended() {
    let host = Namespace::new("hostile").unwrap();
    let (agent, _config) = agent(&host);
    let mut stream = UnixStream::connect(agent.socket()).unwrap();
    stream.write_all(b"{\"command\":\"log\",\"follow\":true}\n").unwrap();
    let began = Instant::now();
    while stream.write_all(&[b' '; 64]).is_ok() {
        assert!(began.elapsed() < AT_ONCE * 10, "it is listened to");
        thread::sleep(Duration::from_millis(10));
    }
}
