//! Exemptions, bans and peers: what the commands do, what is kept, and what is refused.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::support::{Place, Signal, binary, text};
use serde_json::{Value, json};

fn targets(place: &Place, kind: &str) -> Vec<String> {
    let records = place.json(&[kind, "list"])["records"].clone();
    let target = |record: &Value| record["target"].as_str().expect("a target").to_owned();
    records.as_array().expect("records").iter().map(target).collect()
}

fn reason(place: &Place, address: &str) -> String {
    place.json(&["why", address])["reason"].as_str().expect("a reason").to_owned()
}

/// Runs a client that reads this.
fn with_input(place: &Place, args: &[&str], input: &str) -> std::process::Output {
    let mut client = binary();
    client.args(args).env("GEOFILTER_SOCKET", place.socket()).stdin(Stdio::piped());
    let mut client =
        client.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a client");
    client.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("input");
    client.wait_with_output().expect("its output")
}

#[test]
fn exemptions_and_bans_come_before_the_country() {
    let place = Place::new();
    let _agent = place.agent();
    place.json(&["allow", "ES", "--yes"]);
    assert_eq!(reason(&place, "1.2.4.16"), "country");
    let noted = place.json(&["exempt", "add", "1.2.4.0/24", "AS3352", "--note", "branch office"]);
    assert_eq!((&noted["schema"], &noted["added"]), (&json!(1), &json!(["1.2.4.0/24", "AS3352"])));
    let why = place.json(&["why", "1.2.4.16"]);
    assert_eq!((&why["verdict"], &why["reason"]), (&json!("pass"), &json!("exemption")));
    let by = &why["decided_by"];
    assert_eq!((&by["kind"], &by["target"]), (&json!("exemption"), &json!("1.2.4.0/24")));
    assert_eq!((&by["note"], &by["until"]), (&json!("branch office"), &json!(null)));
    assert_eq!(reason(&place, "80.58.61.250"), "exemption");
    place.json(&["ban", "add", "2.56.64.16", "2a00:1::7", "--for", "1h"]);
    let why = place.json(&["why", "2.56.64.16"]);
    assert_eq!((&why["verdict"], &why["reason"]), (&json!("drop"), &json!("ban")));
    assert_eq!(why["decided_by"]["target"], "2.56.64.16");
    assert_eq!(reason(&place, "2a00:1::8"), "ban", "an IPv6 address is banned with its /64");
    let noted = place.json(&["ban", "add", "1.2.4.16"]);
    assert!(noted["warnings"][0].as_str().unwrap().contains("no effect"), "{noted}");
    assert_eq!(reason(&place, "1.2.4.16"), "exemption");
    place.json(&["exempt", "remove", "1.2.4.0/24"]);
    assert_eq!(reason(&place, "1.2.4.16"), "ban");
    let removed = place.json(&["ban", "remove", "1.2.4.16", "203.0.113.200"]);
    assert_eq!(removed["removed"], json!(["1.2.4.16"]));
    assert!(removed["warnings"][0].as_str().unwrap().contains("203.0.113.200 was not banned"));
    assert_eq!(reason(&place, "1.2.4.16"), "country");
    let status = place.json(&["status"]);
    assert_eq!(status["counts"], json!({"exemptions": 1, "bans": 2, "peers": 0}));
}

#[test]
fn they_hold_from_the_first_policy_on_and_are_listed_before_it() {
    let place = Place::new();
    let _agent = place.agent();
    place.json(&["exempt", "add", "203.0.113.0/24"]);
    assert_eq!(targets(&place, "exempt"), ["203.0.113.0/24"]);
    place.json(&["allow", "ES", "--yes"]);
    assert_eq!(reason(&place, "203.0.113.9"), "exemption");
    place.json(&["off"]);
    assert_eq!(targets(&place, "exempt"), ["203.0.113.0/24"]);
}

#[test]
fn adding_again_replaces_the_end_and_the_note() {
    let place = Place::new();
    let _agent = place.agent();
    place.json(&["ban", "add", "203.0.113.9", "--for", "10m", "--note", "first"]);
    place.json(&["ban", "add", "203.0.113.9", "--note", "second"]);
    let records = place.json(&["ban", "list"])["records"].clone();
    assert_eq!(records.as_array().unwrap().len(), 1);
    let record = &records[0];
    assert_eq!((&record["note"], &record["until"]), (&json!("second"), &json!(null)));
    // Another origin keeps a record of its own, and can't shorten what the operator asked for.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().to_string();
    place.json(&[
        "fail2ban",
        "ban",
        "203.0.113.9",
        "--jail",
        "asterisk",
        "--time",
        &now,
        "--bantime",
        "60",
    ]);
    let only = place.json(&["ban", "list", "203.0.113.9"]);
    assert_eq!((&only["schema"], &only["kind"]), (&json!(1), &json!("ban")));
    assert_eq!(only["records"].as_array().unwrap().len(), 2);
    assert_eq!(place.json(&["why", "203.0.113.9"])["decided_by"]["note"], "second");
    place.json(&["ban", "remove", "203.0.113.9"]);
    assert_eq!(targets(&place, "ban"), Vec::<String>::new());
}

#[test]
fn they_end_by_themselves() {
    let place = Place::new();
    let agent = place.agent();
    place.json(&["allow", "ES", "--yes"]);
    place.json(&["exempt", "add", "203.0.113.9", "--for", "2s"]);
    let remaining = place.json(&["exempt", "list"])["records"][0]["remaining"].as_u64().unwrap();
    assert!((1..=2).contains(&remaining), "{remaining}");
    assert_eq!(reason(&place, "203.0.113.9"), "exemption");
    let began = Instant::now();
    while reason(&place, "203.0.113.9") == "exemption" {
        assert!(began.elapsed() < Duration::from_secs(5));
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(targets(&place, "exempt"), Vec::<String>::new());
    agent.kill();
    let _agent = place.agent();
    assert_eq!(targets(&place, "exempt"), Vec::<String>::new());
}

#[test]
fn they_survive_a_kill_and_a_restart() {
    let place = Place::new();
    let agent = place.agent();
    place.json(&["allow", "ES", "--yes"]);
    place.json(&["exempt", "add", "203.0.113.0/24", "--note", "office"]);
    place.json(&["ban", "add", "198.51.100.7", "--for", "7d"]);
    place.json(&["ban", "add", "198.51.100.8"]);
    place.json(&["ban", "remove", "198.51.100.8"]);
    let before = (place.json(&["exempt", "list"]), targets(&place, "ban"));
    agent.kill();
    let agent = place.agent();
    assert_eq!((place.json(&["exempt", "list"]), targets(&place, "ban")), before);
    assert_eq!(reason(&place, "203.0.113.9"), "exemption");
    agent.end(Signal::TERM);
    let _agent = place.agent();
    assert_eq!((place.json(&["exempt", "list"]), targets(&place, "ban")), before);
}

#[test]
fn a_trial_begins_with_what_is_saved_and_leaves_it() {
    let place = Place::new();
    let agent = place.agent();
    place.json(&["exempt", "add", "203.0.113.0/24"]);
    agent.end(Signal::TERM);
    let journal = place.path("state/overrides.jsonl");
    let saved = fs::read(&journal).unwrap();
    let up = place.start(&mut place.daemon("up"));
    assert_eq!(reason(&place, "203.0.113.9"), "exemption");
    place.json(&["exempt", "remove", "203.0.113.0/24"]);
    place.json(&["ban", "add", "203.0.113.9"]);
    assert_eq!(reason(&place, "203.0.113.9"), "ban");
    up.end(Signal::INT);
    assert_eq!(fs::read(&journal).unwrap(), saved);
}

#[test]
fn a_newer_journal_is_left_alone() {
    let place = Place::new();
    fs::create_dir(place.path("state")).unwrap();
    let journal = place.path("state/overrides.jsonl");
    fs::write(&journal, "{\"schema\":2}\n").unwrap();
    let output = place.daemon("agent").output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("overrides.jsonl") && said.contains("newer"), "{said}");
    assert_eq!(fs::read_to_string(&journal).unwrap(), "{\"schema\":2}\n");
}

#[test]
fn a_corrupt_journal_is_set_aside_and_said() {
    let place = Place::new();
    let agent = place.agent();
    place.json(&["exempt", "add", "203.0.113.0/24"]);
    place.json(&["ban", "add", "198.51.100.7"]);
    agent.kill();
    let journal = place.path("state/overrides.jsonl");
    let broken = fs::read_to_string(&journal).unwrap().replace("198.51.100.7", "198.51.100.777");
    fs::write(&journal, broken).unwrap();
    let _agent = place.agent();
    assert_eq!(targets(&place, "exempt"), ["203.0.113.0/24"]);
    let warnings = place.json(&["status"])["warnings"].to_string();
    assert!(warnings.contains("overrides.jsonl.corrupt-1"), "{warnings}");
    assert!(place.path("state/overrides.jsonl.corrupt-1").exists());
}

#[test]
fn a_change_that_cannot_be_saved_is_refused() {
    let place = Place::new();
    // A file may have 8 blocks of 512 bytes, as if the disk were full behind them.
    let mut limited = Command::new("sh");
    let agent = place.daemon("agent");
    limited.arg("-c").arg("trap '' XFSZ; ulimit -f 8; exec \"$0\" \"$@\"").arg(agent.get_program());
    limited.args(agent.get_args()).env_remove("GEOFILTER_SOCKET");
    limited.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let agent = place.start(&mut limited);
    place.json(&["allow", "ES", "--yes"]);
    let note = "x".repeat(200);
    let mut taken = Vec::new();
    let said = loop {
        let target = format!("203.0.113.{}", taken.len() + 1);
        let output = place.run(&["exempt", "add", &target, "--note", &note]);
        match output.status.code() {
            Some(0) => taken.push(target),
            code => {
                assert_eq!(code, Some(1));
                assert_eq!(reason(&place, &target), "unknown");
                break text(&output.stderr);
            }
        }
        assert!(taken.len() < 40);
    };
    assert!(said.contains("can't be saved, so it was not done"), "{said}");
    assert!(taken.len() > 5);
    taken.sort();
    let listed = |mut targets: Vec<String>| {
        targets.sort();
        targets
    };
    assert_eq!(listed(targets(&place, "exempt")), taken);
    place.refused(1, &["exempt", "remove", &taken[0], &taken[1], &taken[2], &taken[3], &taken[4]]);
    assert_eq!(reason(&place, &taken[0]), "exemption");
    agent.kill();
    let _agent = place.agent();
    assert_eq!(listed(targets(&place, "exempt")), taken);
    place.json(&["exempt", "add", "203.0.113.100"]);
}

#[test]
fn what_names_nothing_is_usage_and_changes_nothing() {
    let place = Place::new();
    let _agent = place.agent();
    let wrong: [(&[&str], &str); 17] = [
        (&["exempt", "add"], "TARGET"),
        (&["exempt", "add", "203.0.113.9/24"], "203.0.113.0/24"),
        (&["exempt", "add", "203.0.113.0/33"], "203.0.113.0/33"),
        (&["exempt", "add", "0.0.0.0/0"], "geofilter observe"),
        (&["exempt", "add", "10.0.0.0/8"], "private"),
        (&["exempt", "add", "fe80::1"], "link-local"),
        (&["exempt", "add", "localhost"], "sip.example.com"),
        (&["exempt", "add", "_sip._udp.example.com"], "SRV"),
        (&["exempt", "add", "@nobody"], "@telnyx"),
        (&["exempt", "add", "AS0"], "AS64500"),
        (&["exempt", "add", "203.0.113.9", "--for", "soon"], "soon"),
        (&["exempt", "add", "203.0.113.9", "--note", "two\nlines"], "one line"),
        (&["ban", "add", "203.0.113.9", "8.0.0.0/7"], "/8"),
        (&["ban", "add", "trunk.example.net"], "can't be banned"),
        (&["ban", "add", "@telnyx"], "can't be banned"),
        (&["ban", "remove", "nonsense"], "nonsense"),
        (&["peer", "remove", "203.0.113.9"], "ADDR:PORT"),
    ];
    for (args, word) in wrong {
        let said = place.refused(2, args);
        assert!(said.contains(word), "{args:?}: {said}");
    }
    assert_eq!(targets(&place, "exempt").len() + targets(&place, "ban").len(), 0);
}

#[test]
fn the_agent_reads_targets_anew() {
    let place = Place::new();
    let _agent = place.agent();
    for (targets, word) in [
        (json!(["10.0.0.1"]), "private"),
        (json!(["203.0.113.9", "trunk.example.net"]), "can't be banned"),
    ] {
        let request = json!({"command": "add", "kind": "ban", "targets": targets}).to_string();
        let replies = place.send(format!("{request}\n").as_bytes());
        let error = &replies[0]["error"];
        assert_eq!(error["kind"], "invalid", "{error}");
        assert!(error["message"].as_str().unwrap().contains(word), "{error}");
    }
    assert_eq!(targets(&place, "ban"), Vec::<String>::new());
    // By default an IPv6 address is banned with its /64, also without our client.
    let request = r#"{"command":"add","kind":"ban","targets":["2a00:1::1"]}"#;
    place.send(format!("{request}\n").as_bytes());
    assert_eq!(targets(&place, "ban"), ["2a00:1::/64"]);
}

#[test]
fn protected_answers_by_its_exit_code() {
    let place = Place::new();
    place.refused(4, &["protected", "203.0.113.9"]);
    let _agent = place.agent();
    place.json(&["allow", "ES", "--yes"]);
    let ask = |address: &str| {
        let output = place.run(&["protected", address]);
        assert_eq!(text(&output.stderr), "", "{address}");
        (output.status.code(), text(&output.stdout))
    };
    let (code, said) = ask("203.0.113.9");
    assert_eq!(code, Some(1));
    assert!(said.contains("may be banned"), "{said}");
    place.json(&["exempt", "add", "203.0.113.0/24", "--note", "our trunk"]);
    let (code, said) = ask("203.0.113.9");
    assert_eq!(code, Some(0));
    assert!(said.contains("exempt") && said.contains("our trunk"), "{said}");
    assert_eq!(ask("192.168.1.7").0, Some(0));
    for address in ["203.0.113.9", "198.51.100.1"] {
        let output = place.run(&["protected", address, "--quiet"]);
        assert!(output.stdout.is_empty() && output.stderr.is_empty());
    }
    let found = place.json(&["protected", "203.0.113.9"]);
    assert_eq!((&found["schema"], &found["protected"]), (&json!(1), &json!(true)));
    assert_eq!(found["because"][0]["reason"], "exemption");
}

#[test]
fn peers_are_listed_and_removed() {
    let place = Place::new();
    let _agent = place.agent();
    place.json(&["allow", "ES", "--yes"]);
    assert_eq!(place.json(&["peer", "list"])["peers"], json!([]));
    let noted = place.json(&["peer", "remove", "203.0.113.9:5060"]);
    assert_eq!(noted["warnings"], json!(["203.0.113.9:5060 was no peer"]));
}

#[test]
fn the_lists_of_providers_say_where_they_are_from() {
    let place = Place::new();
    let lists = place.json(&["exempt", "providers"]);
    assert_eq!(lists["schema"], 1);
    let telnyx = lists["providers"].as_array().unwrap().iter();
    let telnyx = telnyx.clone().find(|list| list["name"] == "@telnyx").unwrap();
    assert!(telnyx["source"].as_str().unwrap().starts_with("https://developers.telnyx.com/"));
    let _agent = place.agent();
    place.json(&["allow", "ES", "--yes"]);
    assert_eq!(reason(&place, "52.113.0.1"), "country");
    place.json(&["exempt", "add", "@Teams"]);
    let why = place.json(&["why", "52.113.0.1"]);
    assert_eq!(
        (&why["reason"], &why["decided_by"]["target"]),
        (&json!("exemption"), &json!("@teams"))
    );
}

#[test]
fn many_are_read_from_standard_input() {
    let place = Place::new();
    let _agent = place.agent();
    place.json(&["allow", "ES", "--yes"]);
    let many: String = (0..10_000_u32)
        .map(|number| format!("{}\n", std::net::Ipv4Addr::from(0x0200_0000 + number)))
        .collect();
    let text_of = format!("# bad ones\n\n{many}");
    let output = with_input(&place, &["ban", "add", "-", "--json", "--for", "1h"], &text_of);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(place.json(&["status"])["counts"]["bans"], 10_000);
    assert_eq!(reason(&place, "2.0.39.15"), "ban");
    let output = with_input(&place, &["ban", "add", "-"], "203.0.113.1\nnonsense\n");
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("line 2: `nonsense`"));
    let output = with_input(&place, &["ban", "remove", "-"], &many);
    assert!(output.status.success());
    assert_eq!(place.json(&["status"])["counts"]["bans"], 0);
}

#[test]
fn more_than_fits_is_refused_whole() {
    let place = Place::new();
    let _agent = place.agent();
    let some = |first: u32, count: u32| -> String {
        (first..first + count)
            .map(|number| format!("{}\n", std::net::Ipv4Addr::from(0x0200_0000 + number)))
            .collect()
    };
    let output = with_input(&place, &["exempt", "add", "-"], &some(0, 10_000));
    assert!(output.status.success(), "{}", text(&output.stderr));
    let said = place.refused(1, &["exempt", "add", "203.0.113.1"]);
    assert!(said.contains("10001") && said.contains("10000 fit"), "{said}");
    // What has taken up the room may be replaced, and bans of addresses have room of their own.
    place.json(&["exempt", "add", "2.0.0.1", "--note", "again"]);
    place.json(&["ban", "add", "203.0.113.1"]);
    place.refused(1, &["ban", "add", "203.0.112.0/24"]);
}

#[test]
fn an_as_that_announces_nothing_stands_for_nobody() {
    let place = Place::new();
    let _agent = place.agent();
    let noted = place.json(&["exempt", "add", "AS3352", "AS64500"]);
    let warnings = noted["warnings"].as_array().unwrap();
    assert_eq!(warnings.len(), 1, "{noted}");
    assert!(warnings[0].as_str().unwrap().starts_with("AS64500 announces nothing"), "{noted}");
}
