//! The state of a host as one file, and back: of an agent and a portal at work, from a file that is damaged, and by one who is
//! killed at each step.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use geofilter_lab::portal::{HOST, Portal, Scene};
use geofilter_lab::process::{Agent, binary};
use geofilter_lab::site::Site;
use serde_json::{Value, json};

/// Runs `backup` or `restore` on this state, to be killed at a fault point if one is named.
fn run(command: &str, state_dir: &Path, file: &Path, fault: &str) -> Output {
    let mut program = Command::new(binary().unwrap());
    program.arg(command).arg(file).arg("--json").arg("--state-dir").arg(state_dir);
    program.env("GEOFILTER_FAULT", fault).output().unwrap()
}

/// The same, which must succeed.
fn done(command: &str, state_dir: &Path, file: &Path) -> Value {
    let output = run(command, state_dir, file, "");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The same, which must fail, and says why.
fn refused(state_dir: &Path, file: &Path) -> String {
    let output = run("restore", state_dir, file, "");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let told: Value = serde_json::from_slice(&output.stderr).unwrap();
    told["error"]["message"].as_str().unwrap().to_owned()
}

/// Every file below a folder.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => drop(found.insert(path.clone(), fs::read(path).unwrap())),
        }
    }
    found
}

fn shell(script: &str, dir: &Path) {
    let output = Command::new("sh").args(["-ec", script]).current_dir(dir).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn what_is_backed_up_while_all_is_at_work_is_there_after_a_restore() {
    Scene::set(&["--backend", "xdp"], |scene| {
        let state_dir = scene.agent.state_dir();
        let namespace = scene.portal.namespace();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("backup");
        let mut portal =
            Portal::start_in(namespace, &scene.agent, &state_dir.join("portal")).unwrap();
        fs::write(state_dir.join("portal/tls.key"), "secret").unwrap();
        let ana = portal.first_operator().unwrap();
        let iberia = json!({ "mode": "allow", "countries": ["ES", "PT"] });
        ana.must("POST", "/api/v1/profiles", Some(&json!({ "name": "Iberia", "choice": iberia })))
            .unwrap();
        scene.agent.json(&["allow", "ES", "--yes"]).unwrap();
        scene.agent.json(&["exempt", "add", "192.0.2.1", "--note", "ours"]).unwrap();
        scene.agent.json(&["ban", "add", "198.51.100.0/24"]).unwrap();

        // Both are written to meanwhile.
        let over = AtomicBool::new(false);
        let backed = thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    ana.must("PUT", &format!("{HOST}/draft"), Some(&iberia)).unwrap();
                }
            });
            let mut backed = Value::Null;
            (0..5).for_each(|_| backed = done("backup", &state_dir, &file));
            over.store(true, Ordering::Relaxed);
            backed
        });
        let parts = backed["parts"].as_array().unwrap();
        let names: Vec<_> = parts.iter().map(|part| part["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["state.json", "overrides.jsonl", "portal/portal.db", "portal/tls.key"]);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");

        // Another life, which ends.
        scene.agent.json(&["allow", "ES", "CN", "--yes"]).unwrap();
        scene.agent.json(&["exempt", "remove", "192.0.2.1"]).unwrap();
        assert!(scene.reached());
        ana.must("DELETE", "/api/v1/profiles/1", None).unwrap();
        assert!(refused(&state_dir, &file).contains("an agent is at work"));
        scene.agent.kill().unwrap();
        assert!(refused(&state_dir, &file).contains("a portal is at work"));
        portal.end().unwrap();
        let restored = done("restore", &state_dir, &file);
        assert!(scene.reached(), "what the kernel holds stays until the agent starts");

        let owner = fs::metadata(state_dir.join("portal/portal.db")).unwrap().uid();
        assert_eq!(owner, fs::metadata(state_dir.join("portal")).unwrap().uid());
        assert_ne!(owner, 0, "it is the portal's again");
        scene.agent.restart(None).unwrap();
        portal.restart().unwrap();
        assert!(!scene.reached());
        assert_eq!(scene.agent.json(&["status"]).unwrap()["countries"], json!(["ES"]));
        let listed = |kind: &str| scene.agent.json(&[kind, "list"]).unwrap()["records"].clone();
        assert_eq!(listed("exempt")[0]["target"], "192.0.2.1");
        assert_eq!(listed("ban")[0]["target"], "198.51.100.0/24");
        let profiles = ana.read("/api/v1/profiles").unwrap();
        assert_eq!(profiles["profiles"][0]["choice"], iberia);
        assert_eq!(fs::read_to_string(state_dir.join("portal/tls.key")).unwrap(), "secret");
        let before = Path::new(restored["before"].as_str().unwrap());
        let before = fs::read_to_string(before.join("state.json")).unwrap();
        assert!(before.contains("CN"), "what was there before is set aside: {before}");
        drop(portal);
    })
    .unwrap();
}

/// A state with a policy, a backup of it, and another policy since.
fn with_state(test: impl FnOnce(&Path, &Path)) {
    let site = Site::new().unwrap();
    let words = ["--backend", "memory", "--interface", "lo"];
    let mut agent = Agent::start(&site.host, &words).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (state_dir, file) = (agent.state_dir(), folder.path().join("backup"));
    agent.json(&["allow", "ES", "--yes"]).unwrap();
    done("backup", &state_dir, &file);
    agent.json(&["allow", "FR", "--yes"]).unwrap();
    agent.kill().unwrap();
    test(&state_dir, &file);
}

fn countries(state_dir: &Path) -> Value {
    let state: Value =
        serde_json::from_slice(&fs::read(state_dir.join("state.json")).unwrap()).unwrap();
    state["state"]["confirmed"]["policy"]["countries"].clone()
}

#[test]
fn a_file_that_is_not_whole_or_too_new_changes_nothing() {
    with_state(|state_dir, file| {
        let whole = fs::read(file).unwrap();
        let before = files(state_dir);
        let unchanged = |why: &str| {
            assert_eq!(files(state_dir), before, "{why}");
            let left = fs::read_dir(state_dir.parent().unwrap()).unwrap();
            let left = left.filter(|entry| {
                entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("state.")
            });
            assert_eq!(left.count(), 0, "{why}");
        };
        for length in [0, 10, whole.len() / 2, whole.len() - 9, whole.len() - 1] {
            fs::write(file, &whole[..length]).unwrap();
            assert!(
                refused(state_dir, file).contains("damaged, cut short or no backup"),
                "{length}"
            );
            unchanged("cut short");
        }
        for at in (10..whole.len()).step_by(whole.len() / 40) {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x10;
            fs::write(file, &damaged).unwrap();
            refused(state_dir, file);
            unchanged("damaged");
        }
        // By the words of its manifest alone.
        let folder = file.parent().unwrap();
        let pack = "tar -czf backup manifest.json state.json overrides.jsonl 2>/dev/null || tar -czf backup manifest.json state.json";
        fs::write(file, &whole).unwrap();
        shell(
            &format!(
                "tar -xzf backup; sed -i 's/\"schema\": 1/\"schema\": 2/' manifest.json; {pack}"
            ),
            folder,
        );
        assert!(refused(state_dir, file).contains("has schema 2"));
        unchanged("too new");
        shell(
            &format!(
                "sed -i 's/\"schema\": 2/\"schema\": 1/' manifest.json; echo >>state.json; {pack}"
            ),
            folder,
        );
        assert!(refused(state_dir, file).contains("damaged"));
        unchanged("another part");
        fs::write(file, &whole).unwrap();
        done("restore", state_dir, file);
        assert_eq!(countries(state_dir), json!(["ES"]));
    });
}

#[test]
fn whoever_is_killed_leaves_a_whole_backup_and_a_whole_state() {
    with_state(|state_dir, file| {
        let whole = fs::read(file).unwrap();
        let killed = |command: &str, fault: &str| {
            let output = run(command, state_dir, file, fault);
            assert_eq!(output.status.code(), None, "{command} {fault}: {output:?}");
        };
        killed("backup", "backup-written");
        assert_eq!(fs::read(file).unwrap(), whole, "the former one is there");
        let before = files(state_dir);
        for step in
            ["restore-read", "settle-start", "state.json-written", "settle-done", "restore-built"]
        {
            killed("restore", step);
            assert_eq!(files(state_dir), before, "{step}");
        }
        killed("restore", "restore-exchanged");
        assert_eq!(countries(state_dir), json!(["ES"]), "it is restored");
        // Once more, to the end: no former state is lost.
        done("restore", state_dir, file);
        assert_eq!(countries(state_dir), json!(["ES"]));
        let aside = |number| state_dir.with_file_name(format!("state.before-{number}"));
        assert_eq!(countries(&aside(1)), json!(["FR"]));
        assert_eq!(countries(&aside(2)), json!(["ES"]));
        assert!(
            !state_dir.join("restoring").exists()
                && !state_dir.with_file_name("state.restoring").exists()
        );
    });
}

#[test]
fn a_state_that_is_not_there_is_said_to_be_missing() {
    let folder = tempfile::tempdir().unwrap();
    let output = run("backup", &folder.path().join("nothing"), &folder.path().join("file"), "");
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("--state-dir"), "{told}");
    assert!(!folder.path().join("file").exists());
}
