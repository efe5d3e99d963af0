//! The agent as a process: what survives it, who may be beside it, and what clients can't do to it.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::{Place, Signal};
use serde_json::json;

#[test]
fn a_policy_survives_a_kill_and_a_restart() {
    let place = Place::new();
    let agent = place.agent();
    place.json(&["allow", "ES", "PT", "--yes"]);
    let before = place.json(&["status"]);
    agent.kill();
    assert!(place.socket().exists(), "a killed agent can't tidy up");
    let agent = place.agent();
    assert_eq!(place.json(&["status"]), before);
    let (status, _, said) = agent.end(Signal::TERM);
    assert!(status.success(), "{said}");
    assert!(!place.path("run").exists());
    let _agent = place.agent();
    assert_eq!(place.json(&["status"]), before);
}

#[test]
fn off_survives_a_restart() {
    let place = Place::new();
    let agent = place.agent();
    place.json(&["allow", "ES", "--yes"]);
    place.json(&["off"]);
    agent.kill();
    let _agent = place.agent();
    assert_eq!(place.json(&["status"])["state"], "off");
}

#[test]
fn an_unconfirmed_change_does_not_outlive_what_the_kernel_forgot() {
    let place = Place::new();
    let agent = place.agent();
    place.json(&["allow", "ES", "--yes"]);
    let pending = place.json(&["block", "RU", "--confirm-within", "1h"]);
    agent.kill();
    let _agent = place.agent();
    let status = place.json(&["status"]);
    assert_eq!((&status["state"], &status["countries"]), (&json!("enforcing"), &json!(["ES"])));
    let next = place.json(&["allow", "PT", "--yes"]);
    assert!(next["generation"].as_u64() > pending["generation"].as_u64(), "{next}");
}

#[test]
fn a_second_agent_is_told_who_is_there() {
    let place = Place::new();
    let agent = place.agent();
    place.json(&["allow", "ES", "--yes"]);
    for role in ["agent", "up"] {
        let output = place.daemon(role).output().unwrap();
        let said = crate::support::text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("another agent (process "), "{said}");
    }
    assert_eq!(place.json(&["status"])["state"], "enforcing");
    agent.end(Signal::INT);
}

#[test]
fn two_agents_with_their_own_directories_run_side_by_side() {
    let (one, two) = (Place::new(), Place::new());
    let _agents = (one.agent(), two.agent());
    one.json(&["allow", "ES", "--yes"]);
    assert_eq!(two.json(&["status"])["state"], "off");
}

#[test]
fn a_stale_socket_is_replaced_and_only_root_may_use_the_new_one() {
    let place = Place::new();
    fs::create_dir(place.path("run")).unwrap();
    drop(UnixListener::bind(place.socket()).unwrap());
    place.refused(4, &["status"]);
    let _agent = place.agent();
    let mode = fs::metadata(place.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_corrupt_state_is_said_and_kept_aside() {
    let place = Place::new();
    let agent = place.agent();
    place.json(&["allow", "ES", "--yes"]);
    agent.kill();
    fs::write(place.state(), b"{\"schema\":1,\"state\":{\"last\":").unwrap();
    let _agent = place.agent();
    let status = place.json(&["status"]);
    let warning = status["warnings"][0].as_str().unwrap();
    assert!(warning.contains("corrupt") && warning.contains("state.json.corrupt-1"), "{warning}");
    assert!(place.path("state/state.json.corrupt-1").exists());
    place.json(&["allow", "PT", "--yes"]);
}

#[test]
fn a_state_of_a_newer_version_is_left_alone() {
    let place = Place::new();
    fs::create_dir(place.path("state")).unwrap();
    fs::write(place.state(), b"{\"schema\":99}").unwrap();
    let output = place.daemon("agent").output().unwrap();
    let said = crate::support::text(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("schema 99"), "{said}");
    assert_eq!(fs::read(place.state()).unwrap(), b"{\"schema\":99}");
}

#[test]
fn a_disk_that_refuses_stops_the_change() {
    let place = Place::new();
    let _agent = place.agent();
    place.json(&["allow", "ES", "--yes"]);
    let before = place.json(&["status"]);
    fs::create_dir(place.path("state/state.json.new")).unwrap();
    let said = place.refused(1, &["allow", "PT", "--yes"]);
    assert!(said.contains("nothing was changed") && said.contains("state"), "{said}");
    assert_eq!(place.json(&["status"]), before);
    fs::remove_dir(place.path("state/state.json.new")).unwrap();
    assert_eq!(place.json(&["allow", "PT", "--yes"])["countries"], json!(["PT"]));
}

#[test]
fn a_missing_interface_is_named() {
    let place = Place::new();
    let output = place.daemon("agent").args(["--interface", "nowhere0"]).output().unwrap();
    let said = crate::support::text(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("nowhere0"), "{said}");
}

#[test]
fn without_privileges_it_says_which_are_missing() {
    let place = Place::new();
    fs::set_permissions(place.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    let copy = place.path("geofilter");
    fs::copy(env!("CARGO_BIN_EXE_geofilter"), &copy).unwrap();
    for role in ["agent", "up"] {
        let mut command = Command::new(&copy);
        command.args([role, "--interface", "lo"]);
        command.arg("--state-dir").arg(place.path("s")).arg("--runtime-dir").arg(place.path("r"));
        if rustix::process::geteuid().is_root() {
            command.uid(65_534);
        }
        let output = command.output().unwrap();
        let said = crate::support::text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("CAP_BPF") && said.contains("sudo"), "{said}");
    }
    assert!(!place.path("r").exists() && !place.path("s").exists());
}

#[test]
fn a_configuration_is_read_and_its_mistakes_are_named() {
    let place = Place::new();
    let config = place.path("agent.toml");
    let text = format!(
        "state-dir = {:?}\nruntime-dir = {:?}\ninterfaces = [\"lo\"]\nbackend = \"memory\"\n",
        place.path("state"),
        place.path("run")
    );
    fs::write(&config, text).unwrap();
    let mut command = crate::support::binary();
    command.arg("agent").arg("--config").arg(&config);
    let agent = place.start(command.stdout(std::process::Stdio::piped()));
    assert_eq!(place.json(&["status"])["interfaces"], json!(["lo"]));
    agent.kill();
    fs::write(&config, "interface = \"lo\"\n").unwrap();
    let output =
        crate::support::binary().arg("agent").arg("--config").arg(&config).output().unwrap();
    let said = crate::support::text(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("agent.toml") && said.contains("interface"), "{said}");
}

#[test]
fn no_agent_is_said_with_the_socket_and_what_to_do() {
    let place = Place::new();
    for command in ["status", "off", "observe", "log", "confirm"] {
        let said = place.refused(4, &[command]);
        assert!(said.contains("agent.sock") && said.contains("geofilter up"), "{said}");
    }
}

#[test]
fn requests_that_are_none_are_answered_and_harm_nobody() {
    let place = Place::new();
    let _agent = place.agent();
    let long = [vec![b'x'; 200_000], b"\n".to_vec()].concat();
    let deep = [vec![b'['; 60_000], b"\n".to_vec()].concat();
    for bytes in
        [&b"hello\n"[..], b"\n", b"{}\n", b"\0\xff\n", b"{\"command\":\"reboot\"}\n", &long, &deep]
    {
        for reply in place.send(bytes) {
            assert_eq!(reply["error"]["kind"], "invalid", "{reply}");
        }
    }
    assert_eq!(place.json(&["status"])["state"], "off");
}

#[test]
fn clients_that_say_nothing_keep_nobody_waiting_for_long() {
    let place = Place::new();
    let _agent = place.agent();
    let idle: Vec<_> = (0..200).filter_map(|_| UnixStream::connect(place.socket()).ok()).collect();
    let mut dripping = UnixStream::connect(place.socket()).unwrap();
    dripping.write_all(b"{\"comm").unwrap();
    let began = Instant::now();
    place.json(&["status"]);
    assert!(began.elapsed() < Duration::from_secs(25), "{:?}", began.elapsed());
    drop(idle);
}

#[test]
fn many_clients_are_served_at_once() {
    let place = Place::new();
    let _agent = place.agent();
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| {
                for _ in 0..5 {
                    let reply = place.send(b"{\"command\":\"status\"}\n");
                    assert_eq!(reply[0]["status"]["state"], "off");
                }
            });
        }
    });
}

#[test]
fn followers_end_when_they_go_and_when_the_agent_does() {
    let place = Place::new();
    let agent = place.agent();
    for _ in 0..40 {
        let mut gone = UnixStream::connect(place.socket()).unwrap();
        gone.write_all(b"{\"command\":\"log\",\"follow\":true}\n").unwrap();
    }
    std::thread::sleep(Duration::from_millis(200));
    let mut follower = crate::support::binary();
    follower.args(["log", "--follow"]).env("GEOFILTER_SOCKET", place.socket());
    let mut follower = follower.spawn().unwrap();
    std::thread::sleep(Duration::from_millis(200));
    assert!(follower.try_wait().unwrap().is_none(), "it still follows");
    let (status, _, _) = agent.end(Signal::TERM);
    assert!(status.success());
    assert!(follower.wait().unwrap().success());
}

#[test]
fn up_observes_says_what_is_next_and_reverts() {
    let place = Place::new();
    let agent = place.start(&mut place.daemon("up"));
    assert_eq!(place.wait_for_state("observing")["generation"], 1);
    place.json(&["allow", "ES", "--yes"]);
    let (status, stdout, stderr) = agent.end(Signal::INT);
    assert!(status.success(), "{stderr}");
    assert!(stdout.contains("observing on lo (memory)"), "{stdout}");
    let next = format!("--socket {} allow ES PT", place.socket().display());
    assert!(stdout.contains(&next), "{stdout}");
    assert!(stdout.contains("off: nothing is attached"), "{stdout}");
    assert!(!place.path("run").exists());
    let _agent = place.agent();
    assert_eq!(place.json(&["status"])["state"], "off");
}

#[test]
fn up_enforces_at_once_when_told() {
    let place = Place::new();
    let agent = place.start(place.daemon("up").args(["--allow", "ES", "PT"]));
    let status = place.wait_for_state("enforcing");
    assert_eq!(status["countries"], json!(["ES", "PT"]));
    let (status, stdout, _) = agent.end(Signal::TERM);
    assert!(status.success() && stdout.contains("allow ES PT"), "{stdout}");
    let output = place.daemon("up").args(["--block", "Atlantis"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}
