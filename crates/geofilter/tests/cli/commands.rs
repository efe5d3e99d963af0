//! What each command does, its exit code and its JSON.

use crate::support::{Place, binary, text};
use serde_json::json;

#[test]
fn a_new_agent_is_off_and_says_what_it_would_protect() {
    let place = Place::new();
    let _agent = place.agent();
    let status = place.json(&["status"]);
    assert_eq!(status["schema"], 1);
    assert_eq!(status["state"], "off");
    assert_eq!(status["generation"], 0);
    assert_eq!(status["interfaces"], json!(["lo"]));
    assert_eq!(status["attachments"], json!([]));
    assert_eq!(status["backend"], json!(null));
    for tally in ["dropped", "would_drop", "passed"] {
        let nothing = json!({"packets": 0, "bytes": 0, "by_country": {}, "by_reason": {}});
        assert_eq!(status[tally], nothing);
    }
    assert!(status["data"]["sources"][0]["credit"].as_str().unwrap().contains("DB-IP"));
}

#[test]
fn allow_and_block_enforce() {
    let place = Place::new();
    let _agent = place.agent();
    let changed = place.json(&["allow", "pt", "Spain", "--yes"]);
    assert_eq!(changed["state"], "enforcing");
    assert_eq!(changed["mode"], "allow");
    assert_eq!(changed["countries"], json!(["ES", "PT"]));
    let status = place.json(&["status"]);
    assert_eq!(status["unknown"], "drop");
    assert_eq!(status["attachments"], json!([{"interface": "lo", "kind": "memory"}]));
    let changed = place.json(&["block", "ru,cn", "--yes", "--unknown", "drop"]);
    assert_eq!(changed["countries"], json!(["CN", "RU"]));
    assert!(changed["generation"].as_u64() > status["generation"].as_u64());
    assert_eq!(place.json(&["status"])["unknown"], "drop");
}

#[test]
fn countries_are_added_and_removed() {
    let place = Place::new();
    let _agent = place.agent();
    place.json(&["allow", "ES", "--yes", "--unknown", "pass", "--scope", "udp/5060"]);
    place.json(&["allow", "--add", "PT", "FR", "--yes"]);
    let changed = place.json(&["allow", "--remove", "FR", "--yes"]);
    assert_eq!(changed["countries"], json!(["ES", "PT"]));
    let status = place.json(&["status"]);
    assert_eq!((&status["unknown"], &status["scope"]), (&json!("pass"), &json!(["udp/5060"])));
    let said = place.refused(2, &["block", "--add", "RU", "--yes"]);
    assert!(said.contains("name the whole selection"), "{said}");
}

#[test]
fn what_makes_no_sense_is_usage_and_changes_nothing() {
    let place = Place::new();
    let _agent = place.agent();
    place.json(&["allow", "ES", "--yes"]);
    let before = place.json(&["status"]);
    let wrong: [(&[&str], &str); 10] = [
        (&["allow", "Atlantis", "--yes"], "Atlantis"),
        (&["allow", "@atlantis", "--yes"], "@atlantis"),
        (&["allow", "ES", "ZZ", "--yes"], "--unknown"),
        (&["block", "--yes"], "observe"),
        (&["allow", "ES", "--scope", "udp/0", "--yes"], "udp/0"),
        (&["allow", "ES", "--hosting", "maybe", "--yes"], "maybe"),
        (&["allow", "ES", "--yes", "--confirm-within", "60s"], "--confirm-within"),
        (&["allow", "ES", "--confirm-within", "soon"], "soon"),
        (&["pause", "--for", "0s"], "0s"),
        (&["why", "example"], "example"),
    ];
    for (args, word) in wrong {
        let said = place.refused(2, args);
        assert!(said.contains(word), "{args:?}: {said}");
    }
    assert_eq!(place.json(&["status"]), before);
}

#[test]
fn without_a_terminal_a_change_needs_yes_or_a_deadline() {
    let place = Place::new();
    let _agent = place.agent();
    for mode in ["allow", "block"] {
        let said = place.refused(2, &[mode, "ES"]);
        assert!(said.contains("--yes") && said.contains("--confirm-within"), "{said}");
    }
    assert_eq!(place.json(&["status"])["state"], "off");
}

#[test]
fn a_dry_run_asks_nothing_and_changes_nothing() {
    let place = Place::new();
    let _agent = place.agent();
    place.json(&["allow", "ES", "--yes"]);
    let before = place.json(&["status"]);
    let said = text(&place.run(&["allow", "PT", "--dry-run"]).stderr);
    assert!(!said.contains("--yes"), "{said}");
    assert_eq!(place.json(&["status"]), before);
    place.refused(2, &["allow", "PT", "--dry-run", "--yes"]);
}

#[test]
fn what_a_pending_change_goes_back_to_is_told() {
    let place = Place::new();
    let _agent = place.agent();
    let first = place.json(&["allow", "ES", "--confirm-within", "1m"]);
    assert_eq!(first["fallback"]["state"], "off", "{first}");
    let kept = place.json(&["confirm"]);
    assert_eq!((&kept["fallback"], &kept["compared"]), (&json!(null), &json!(false)));
    place.json(&["observe"]);
    let said = text(&place.run(&["block", "RU", "--confirm-within", "1m"]).stdout);
    assert!(said.contains("back to observing: allow ES (generation 2)"), "{said}");
    let back = place.json(&["revert"]);
    assert_eq!((&back["state"], &back["compared"]), (&json!("observing"), &json!(true)));
}

#[test]
fn dangers_must_be_accepted_by_name() {
    let place = Place::new();
    let _agent = place.agent();
    let said = place.refused(3, &["allow", "--yes"]);
    assert!(said.contains("--accept-risk cut-everyone"), "{said}");
    let said = place.refused(3, &["allow", "ES", "--hosting", "drop", "--yes"]);
    assert!(said.contains("--accept-risk lose-trunk"), "{said}");
    assert_eq!(place.json(&["status"])["state"], "off");
    place.json(&["allow", "ES", "--hosting", "drop", "--yes", "--accept-risk", "lose-trunk"]);
    place.refused(3, &["allow", "--remove", "ES", "--yes"]);
    let changed = place.json(&["allow", "--yes", "--accept-risk", "cut-everyone"]);
    assert_eq!(changed["countries"], json!([]));
}

#[test]
fn a_failure_is_json_too() {
    let place = Place::new();
    let _agent = place.agent();
    let output = place.run(&["--json", "allow", "--yes"]);
    let said: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(said["schema"], 1);
    assert_eq!(
        (&said["error"]["kind"], &said["error"]["risk"]),
        (&json!("risky"), &json!("cut-everyone"))
    );
}

#[test]
fn a_pause_ends_by_itself_or_by_resume() {
    let place = Place::new();
    let _agent = place.agent();
    let said = place.refused(1, &["pause"]);
    assert!(said.contains("nothing to pause"), "{said}");
    place.refused(1, &["resume"]);
    place.json(&["allow", "ES", "--yes"]);
    let paused = place.json(&["pause", "--for", "1s"]);
    assert_eq!((&paused["state"], &paused["remaining"]), (&json!("paused"), &json!(1)));
    let after = place.wait_for_state("enforcing");
    assert_eq!(after["countries"], json!(["ES"]));
    assert_eq!(place.json(&["pause"])["remaining"], 600);
    assert_eq!(place.json(&["resume"])["state"], "enforcing");
}

#[test]
fn an_unconfirmed_change_goes_back_by_itself() {
    let place = Place::new();
    let _agent = place.agent();
    place.json(&["allow", "ES", "--yes"]);
    let pending = place.json(&["block", "RU", "--confirm-within", "1s"]);
    assert_eq!((&pending["state"], &pending["mode"]), (&json!("pending"), &json!("block")));
    let after = place.wait_for_state("enforcing");
    assert_eq!((&after["mode"], &after["countries"]), (&json!("allow"), &json!(["ES"])));
    place.refused(1, &["confirm"]);
    place.json(&["block", "RU", "--confirm-within", "1m"]);
    let second = place.json(&["block", "CN", "--confirm-within", "1m"]);
    assert!(second["replaced"].is_u64(), "{second}");
    let kept = place.json(&["confirm"]);
    assert_eq!((&kept["state"], &kept["countries"]), (&json!("enforcing"), &json!(["CN"])));
    place.json(&["block", "IR", "--confirm-within", "1m"]);
    assert_eq!(place.json(&["revert"])["countries"], json!(["CN"]));
    place.refused(1, &["revert"]);
}

#[test]
fn observe_keeps_the_policy_and_off_keeps_nothing_attached() {
    let place = Place::new();
    let _agent = place.agent();
    place.json(&["allow", "ES", "--yes"]);
    let observing = place.json(&["observe"]);
    assert_eq!(
        (&observing["state"], &observing["countries"]),
        (&json!("observing"), &json!(["ES"]))
    );
    let off = place.json(&["off"]);
    assert_eq!(off["state"], "off");
    assert!(off.as_object().unwrap().contains_key("proof"));
    assert_eq!(place.json(&["status"])["attachments"], json!([]));
    assert_eq!(place.json(&["off"])["state"], "off");
}

#[test]
fn why_explains_with_and_without_an_agent() {
    let place = Place::new();
    let alone = place.json(&["why", "80.58.61.250"]);
    assert_eq!((&alone["country"], &alone["verdict"]), (&json!("ES"), &json!(null)));
    let _agent = place.agent();
    place.json(&["allow", "PT", "--yes"]);
    let why = place.json(&["why", "80.58.61.250"]);
    for (key, value) in [
        ("address", json!("80.58.61.250")),
        ("verdict", json!("drop")),
        ("reason", json!("country")),
        ("country", json!("ES")),
        ("hosting", json!(false)),
        ("disputed", json!(false)),
        ("asn", json!(3352)),
        ("port", json!(5060)),
        ("state", json!("enforcing")),
    ] {
        assert_eq!(why[key], value, "{key}");
    }
    assert_eq!(why["sources"].as_array().unwrap().len(), 2);
    let elsewhere = place.json(&["why", "80.58.61.250", "--port", "22", "--proto", "tcp"]);
    assert_eq!(
        (&elsewhere["verdict"], &elsewhere["reason"]),
        (&json!("pass"), &json!("out-of-scope"))
    );
}

#[test]
fn geodb_needs_no_agent() {
    let place = Place::new();
    let found = place.json(&["geodb", "lookup", "2001:41d0::1"]);
    assert_eq!((&found["country"], &found["hosting"]), (&json!("FR"), &json!(true)));
    let status = place.json(&["geodb", "status"]);
    assert!(status["ipv4_ranges"].as_u64().unwrap() > 100_000);
    let people = text(&place.run(&["geodb", "status"]).stdout);
    assert!(people.contains("https://db-ip.com") && people.contains("CC BY 4.0"), "{people}");
}

#[test]
fn the_log_of_a_quiet_agent_is_empty() {
    let place = Place::new();
    let _agent = place.agent();
    let output = place.run(&["log", "--country", "RU", "--reason", "country"]);
    assert!(output.status.success() && output.stdout.is_empty());
}

#[test]
fn preview_reads_files_and_standard_input() {
    let place = Place::new();
    let file = place.path("addresses");
    std::fs::write(&file, "80.58.61.250\n193.136.134.1\n2001:41d0::1\nnonsense\n").unwrap();
    let file = file.to_str().unwrap();
    let preview = place.json(&["preview", "allow", "ES", "--addresses", file]);
    assert_eq!(
        preview["addresses"],
        json!({"total": 3, "dropped": 2, "invalid": 1, "first_invalid": 4})
    );
    let row = json!({"country": "ES", "total": 1, "dropped": 0});
    assert!(preview["by_country"].as_array().unwrap().contains(&row), "{preview}");
    let hosting = place.json(&["preview", "allow", "FR", "--hosting", "drop", "--addresses", file]);
    assert_eq!(hosting["addresses"]["dropped"], 3);
    let piped = binary()
        .args(["preview", "block", "ES", "--json", "--addresses", "-"])
        .stdin(std::fs::File::open(file).unwrap())
        .output()
        .unwrap();
    let piped: serde_json::Value = serde_json::from_slice(&piped.stdout).unwrap();
    assert_eq!(piped["addresses"]["dropped"], 1);
    place.refused(1, &["preview", "allow", "ES", "--addresses", "/nonexistent"]);
    place.refused(4, &["preview", "--addresses", file]);
    let _agent = place.agent();
    place.json(&["block", "PT", "--yes"]);
    assert_eq!(place.json(&["preview", "--addresses", file])["addresses"]["dropped"], 1);
}

#[test]
fn manuals_and_completions_are_printed() {
    let place = Place::new();
    let page = text(&place.run(&["man"]).stdout);
    assert!(page.contains(".TH geofilter"), "{page}");
    let dir = place.path("man");
    assert!(place.run(&["man", "--dir", dir.to_str().unwrap()]).status.success());
    assert!(dir.join("geofilter-allow.1").exists());
    for shell in ["bash", "zsh", "fish"] {
        assert!(text(&place.run(&["completions", shell]).stdout).contains("geofilter"));
    }
}

#[test]
fn every_command_explains_itself() {
    let help = |args: &[&str]| {
        let output = binary().args(args).arg("--help").env("COLUMNS", "100").output().unwrap();
        assert!(output.status.success(), "{args:?}");
        text(&output.stdout)
    };
    insta::assert_snapshot!("geofilter", help(&[]));
    for command in [
        "up",
        "agent",
        "portal",
        "portal run",
        "allow",
        "block",
        "confirm",
        "revert",
        "observe",
        "pause",
        "resume",
        "off",
        "status",
        "recommend",
        "backup",
        "restore",
        "why",
        "exempt",
        "exempt add",
        "exempt remove",
        "exempt list",
        "exempt providers",
        "ban",
        "ban add",
        "ban remove",
        "ban list",
        "peer",
        "peer list",
        "peer remove",
        "protected",
        "log",
        "preview",
        "detect",
        "doctor",
        "geodb",
        "completions",
        "man",
    ] {
        let words: Vec<_> = command.split(' ').collect();
        insta::assert_snapshot!(command.replace(' ', "_"), help(&words));
    }
}
