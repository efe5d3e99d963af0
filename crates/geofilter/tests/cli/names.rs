//! Exemptions by host name, with a name server of the test's own.

use std::time::{Duration, Instant};

use crate::dns::Dns;
use crate::support::{Agent, Place, Signal};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(20);
const NAME: &str = "trunk.example.net";

/// An agent that asks this server.
fn start(place: &Place, dns: &Dns) -> Agent {
    let config = place.path("agent.toml");
    std::fs::write(&config, format!("nameservers = [\"{}\"]\n", dns.at)).expect("a file");
    place.start(place.daemon("agent").arg("--config").arg(config))
}

fn name(place: &Place) -> Value {
    place.json(&["exempt", "list", NAME])["records"][0]["names"][0].clone()
}

/// Waits until what is known of the name is as it should be.
fn wait_for(place: &Place, holds: impl Fn(&Value) -> bool) -> Value {
    let began = Instant::now();
    loop {
        let name = name(place);
        if holds(&name) {
            return name;
        }
        assert!(began.elapsed() < PATIENCE, "{name}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn reason(place: &Place, address: &str) -> Value {
    place.json(&["why", address])["reason"].clone()
}

#[test]
fn a_name_lets_its_addresses_in_and_those_of_its_servers() {
    let dns = Dns::start();
    dns.set(NAME, &["203.0.113.1", "2a00:1::1"]);
    dns.set_servers(
        &format!("_sip._udp.{NAME}"),
        &[(10, "one.example.net."), (20, "two.example.net.")],
    );
    dns.set_servers(&format!("_sips._tcp.{NAME}"), &[(0, "three.example.net."), (0, ".")]);
    dns.set("one.example.net", &["203.0.113.11"]);
    dns.set("two.example.net", &["203.0.113.12"]);
    dns.set("three.example.net", &["203.0.113.13"]);
    let place = Place::new();
    let _agent = start(&place, &dns);
    place.json(&["allow", "ES", "--yes"]);
    let noted = place.json(&["exempt", "add", "Trunk.Example.NET.", "--note", "our trunk"]);
    assert_eq!((&noted["added"], &noted["warnings"]), (&json!([NAME]), &json!([])));
    let addresses = ["203.0.113.1", "203.0.113.11", "203.0.113.12", "203.0.113.13", "2a00:1::1"];
    assert_eq!(name(&place)["addresses"], json!(addresses));
    for address in addresses {
        let why = place.json(&["why", address]);
        assert_eq!((&why["verdict"], &why["reason"]), (&json!("pass"), &json!("exemption")));
        assert_eq!(why["decided_by"]["target"], NAME);
    }
    assert_eq!(reason(&place, "203.0.113.2"), "unknown");
}

#[test]
fn an_address_that_leaves_lingers_and_a_failure_keeps_the_last_ones() {
    let dns = Dns::start();
    dns.set(NAME, &["203.0.113.1", "203.0.113.2"]);
    let place = Place::new();
    let agent = start(&place, &dns);
    place.json(&["allow", "ES", "--yes"]);
    place.json(&["exempt", "add", NAME]);
    dns.set(NAME, &["203.0.113.2", "203.0.113.3"]);
    // Asked for again, it is asked for at once.
    place.json(&["exempt", "add", NAME]);
    let changed =
        wait_for(&place, |name| name["addresses"] == json!(["203.0.113.2", "203.0.113.3"]));
    assert!(changed["lingering"]["203.0.113.1"].is_string(), "{changed}");
    for address in ["203.0.113.1", "203.0.113.2", "203.0.113.3"] {
        assert_eq!(reason(&place, address), "exemption", "{address}");
    }
    dns.set_broken(true);
    place.json(&["exempt", "add", NAME]);
    let failed = wait_for(&place, |name| name["failure"].is_string());
    assert!(failed["failed"].is_string());
    assert_eq!(failed["addresses"], changed["addresses"]);
    let people = place.run(&["exempt", "list"]);
    let people = crate::support::text(&people.stdout);
    assert!(people.contains("its 2 last addresses are kept"), "{people}");
    // Neither a restart nor a killed agent loses what was known.
    agent.kill();
    let agent = start(&place, &dns);
    assert_eq!(name(&place)["addresses"], changed["addresses"]);
    assert_eq!(name(&place)["lingering"], changed["lingering"]);
    assert_eq!(reason(&place, "203.0.113.1"), "exemption");
    dns.set_broken(false);
    agent.end(Signal::TERM);
    let _agent = start(&place, &dns);
    wait_for(&place, |name| name["failure"].is_null());
    place.json(&["exempt", "remove", NAME]);
    assert_eq!(reason(&place, "203.0.113.2"), "unknown");
    assert_eq!(place.json(&["exempt", "list"])["records"], json!([]));
}

#[test]
fn a_name_without_an_address_is_taken_with_a_warning() {
    let dns = Dns::start();
    let place = Place::new();
    let _agent = start(&place, &dns);
    let noted = place.json(&["exempt", "add", NAME]);
    let warning = noted["warnings"][0].as_str().unwrap();
    assert!(warning.contains(NAME) && warning.contains("asked for again"), "{warning}");
    dns.set(NAME, &["203.0.113.1"]);
    let noted = place.json(&["exempt", "add", NAME]);
    wait_for(&place, |name| name["addresses"] == json!(["203.0.113.1"]));
    assert_eq!(noted["added"], json!([NAME]));
}

#[test]
fn a_large_answer_is_asked_for_over_tcp_and_one_too_large_is_refused() {
    let dns = Dns::start();
    let many = |count: u32| -> Vec<String> {
        (0..count).map(|number| format!("203.0.{}.{}", number / 250, number % 250 + 1)).collect()
    };
    let set = |count| {
        let many = many(count);
        dns.set(NAME, &many.iter().map(String::as_str).collect::<Vec<_>>());
    };
    set(64);
    let place = Place::new();
    let _agent = start(&place, &dns);
    place.json(&["exempt", "add", NAME]);
    assert_eq!(name(&place)["addresses"].as_array().unwrap().len(), 64);
    assert!(dns.was_asked_over_tcp());
    set(1_000);
    place.json(&["exempt", "add", NAME]);
    let refused = wait_for(&place, |name| name["failure"].is_string());
    assert!(refused["failure"].as_str().unwrap().contains("1000 addresses"), "{refused}");
    assert_eq!(refused["addresses"].as_array().unwrap().len(), 64);
}

#[test]
fn addresses_that_are_not_of_the_internet_are_ignored_and_said() {
    let dns = Dns::start();
    dns.set(NAME, &["203.0.113.1", "10.0.0.1", "127.0.0.1", "fe80::1"]);
    let place = Place::new();
    let _agent = start(&place, &dns);
    place.json(&["exempt", "add", NAME]);
    let name = name(&place);
    assert_eq!(name["addresses"], json!(["203.0.113.1"]));
    assert_eq!(name["ignored"], json!(["10.0.0.1", "127.0.0.1", "fe80::1"]));
    let people = crate::support::text(&place.run(&["exempt", "list"]).stdout);
    assert!(people.contains("ignored: 10.0.0.1"), "{people}");
}
