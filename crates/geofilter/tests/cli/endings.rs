//! Whoever reads what is printed may go away, a terminal may close, and a disk may be full.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::net::UnixListener;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::{Place, Signal, binary, text};
use serde_json::json;

/// A pipe that nobody reads.
fn broken_pipe() -> Stdio {
    let (_, write) = std::io::pipe().expect("a pipe");
    write.into()
}

#[test]
fn an_agent_outlives_whoever_read_its_log() {
    let place = Place::new();
    let agent = place.start(place.daemon("agent").stderr(broken_pipe()));
    place.json(&["allow", "ES", "--yes"]);
    agent.signal(Signal::HUP);
    place.json(&["observe"]);
    agent.signal(Signal::TERM);
    assert!(agent.status().success());
    assert!(!place.path("run").exists());
}

#[test]
fn up_reverts_although_nobody_reads_what_it_says() {
    for (stdout, stderr) in [
        (broken_pipe(), broken_pipe()),
        (File::create("/dev/full").unwrap().into(), File::create("/dev/full").unwrap().into()),
    ] {
        let place = Place::new();
        let up = place.start(place.daemon("up").stdout(stdout).stderr(stderr));
        place.json(&["allow", "ES", "--yes"]);
        up.signal(Signal::INT);
        assert!(up.status().success());
        assert!(!place.path("run").exists());
    }
}

#[test]
fn up_reverts_when_its_terminal_closes() {
    for signal in [Signal::HUP, Signal::QUIT, Signal::TERM, Signal::INT] {
        let place = Place::new();
        let up = place.start(&mut place.daemon("up"));
        place.json(&["allow", "ES", "--yes"]);
        let (status, stdout, stderr) = up.end(signal);
        assert!(status.success() && stdout.contains("off: nothing is attached"), "{stderr}");
    }
}

#[test]
fn up_only_observes_what_an_agent_was_told_and_leaves_it_as_it_was() {
    let place = Place::new();
    let agent = place.agent();
    let told = place.json(&["allow", "ES", "--yes"]);
    agent.end(Signal::TERM);
    let saved = fs::read(place.state()).unwrap();
    let up = place.start(&mut place.daemon("up"));
    let status = place.json(&["status"]);
    assert_eq!((&status["state"], &status["countries"]), (&json!("observing"), &json!(["ES"])));
    assert!(status["generation"].as_u64() > told["generation"].as_u64(), "{status}");
    let tried = place.json(&["block", "RU", "--yes"]);
    up.kill();
    let up = place.start(&mut place.daemon("up"));
    assert_eq!(place.json(&["status"])["countries"], json!(["ES"]));
    up.end(Signal::INT);
    assert_eq!(fs::read(place.state()).unwrap(), saved);
    let _agent = place.agent();
    let status = place.json(&["status"]);
    assert_eq!((&status["state"], &status["countries"]), (&json!("enforcing"), &json!(["ES"])));
    let next = place.json(&["allow", "PT", "--yes"]);
    assert!(next["generation"].as_u64() > tried["generation"].as_u64(), "{next}");
}

#[test]
fn following_the_log_ends_when_nobody_reads_it() {
    let place = Place::new();
    fs::create_dir(place.path("run")).unwrap();
    let listener = UnixListener::bind(place.socket()).unwrap();
    let mut follower = binary();
    follower.args(["log", "--follow"]).env("GEOFILTER_SOCKET", place.socket());
    let mut follower = follower.stdout(broken_pipe()).stderr(Stdio::null()).spawn().unwrap();
    let (mut client, _) = listener.accept().unwrap();
    let began = Instant::now();
    while client.write_all(b"{\"skipped\":1}\n").is_ok() {
        std::thread::sleep(Duration::from_millis(10));
        if began.elapsed() > Duration::from_secs(10) {
            follower.kill().unwrap();
            panic!("it reads on although nobody reads it");
        }
    }
    assert!(follower.wait().unwrap().success());
}

#[test]
fn a_state_directory_serves_one_agent() {
    let place = Place::new();
    let agent = place.agent();
    let mut other = binary();
    other.args(["agent", "--backend", "memory", "--interface", "lo", "--state-dir"]);
    other.arg(place.path("state")).arg("--runtime-dir").arg(place.path("other"));
    let output = other.output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("keeps its state in") && said.contains("--state-dir"), "{said}");
    assert!(!place.path("other").exists());
    agent.end(Signal::TERM);
}

#[test]
fn a_start_that_fails_leaves_its_place() {
    let place = Place::new();
    fs::create_dir(place.path("state")).unwrap();
    fs::write(place.state(), b"{\"schema\":99}").unwrap();
    let output = place.daemon("agent").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(!place.path("run").exists());
}

#[test]
fn a_full_disk_stops_new_policies_but_nothing_that_lets_more_through() {
    let place = Place::new();
    let agent = place.agent();
    place.json(&["allow", "ES", "--yes"]);
    place.json(&["block", "RU", "--confirm-within", "1h"]);
    let full = place.path("state/state.json.new");
    fs::create_dir(&full).unwrap();
    for (command, state) in [
        ("revert", "enforcing"),
        ("pause", "paused"),
        ("resume", "enforcing"),
        ("observe", "observing"),
    ] {
        let changed = place.json(&[command]);
        assert_eq!(changed["state"], state);
        assert!(
            changed["warnings"][0].as_str().unwrap().contains("could not be saved"),
            "{changed}"
        );
        place.refused(1, &["allow", "PT", "--yes"]);
    }
    let off = place.json(&["off"]);
    assert_eq!(off["state"], "off");
    agent.kill();
    // It starts, full disk or not, with what was written last.
    let _agent = place.agent();
    assert_eq!(place.json(&["status"])["countries"], json!(["ES"]));
    assert_eq!(place.json(&["observe"])["state"], "observing");
    fs::remove_dir(&full).unwrap();
    let changed = place.json(&["allow", "PT", "--yes"]);
    assert!(changed["generation"].as_u64() > off["generation"].as_u64(), "{changed}");
}

#[test]
fn an_agent_starts_although_it_cannot_save_what_it_finds() {
    let place = Place::new();
    let agent = place.agent();
    place.json(&["allow", "ES", "--yes"]);
    place.json(&["block", "RU", "--confirm-within", "1h"]);
    agent.kill();
    fs::create_dir(place.path("state/state.json.new")).unwrap();
    let _agent = place.agent();
    let status = place.json(&["status"]);
    assert_eq!((&status["state"], &status["countries"]), (&json!("enforcing"), &json!(["ES"])));
    assert!(status["warnings"].to_string().contains("could not be saved"), "{status}");
}

#[test]
fn a_generation_that_no_kernel_counts_to_is_corrupt() {
    let place = Place::new();
    let agent = place.agent();
    place.json(&["allow", "ES", "--yes"]);
    agent.kill();
    let mut saved: serde_json::Value =
        serde_json::from_slice(&fs::read(place.state()).unwrap()).unwrap();
    saved["state"]["last"] = u64::MAX.into();
    fs::write(place.state(), saved.to_string()).unwrap();
    let _agent = place.agent();
    let warnings = place.json(&["status"])["warnings"].to_string();
    assert!(warnings.contains("18446744073709551615"), "{warnings}");
    place.json(&["allow", "PT", "--yes"]);
}

#[test]
fn there_is_nothing_to_add_to_before_a_policy_was_chosen() {
    let place = Place::new();
    let _agent = place.agent();
    let said = place.refused(2, &["allow", "--add", "ES", "--yes"]);
    assert!(said.contains("no policy was chosen yet"), "{said}");
}

#[test]
fn an_interface_that_is_named_twice_counts_once() {
    let place = Place::new();
    let _agent = place.start(place.daemon("agent").args(["--interface", "lo"]));
    assert_eq!(place.json(&["status"])["interfaces"], json!(["lo"]));
}

#[test]
fn a_mistyped_command_is_json_when_asked_for() {
    let output = binary().args(["--json", "allow", "--no-such-option"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(said["error"]["kind"], "invalid");
    assert!(said["error"]["message"].as_str().unwrap().contains("--no-such-option"), "{said}");
}

#[test]
fn an_empty_socket_variable_is_none() {
    let said = |socket: Option<&str>| {
        let mut command = binary();
        socket.map(|socket| command.env("GEOFILTER_SOCKET", socket));
        text(&command.arg("status").output().unwrap().stderr)
    };
    assert_eq!(said(Some("")), said(None));
}
