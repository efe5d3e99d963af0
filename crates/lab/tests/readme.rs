//! What the README says of a live PBX is what happens: its commands are run in their order, on a host with a
//! real Asterisk, phones at home and abroad, and attackers. `cargo test --test readme -- --nocapture` prints
//! what they said.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use geofilter_core::geodata::embedded;
use geofilter_lab::addresses::Addresses;
use geofilter_lab::asterisk::{Asterisk, Config};
use geofilter_lab::phones::register;
use geofilter_lab::process::Agent;
use geofilter_lab::sip;
use geofilter_lab::site::{SIP, Site, WAN};
use serde_json::json;

const SECTION: &str = "## On a live PBX";
const ATTACKERS: [&str; 8] = ["CN", "RU", "US", "BR", "VN", "IN", "DE", "ES"];

/// The commands of the section, and whether they are said to be refused.
fn commands() -> Vec<Vec<String>> {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let readme = std::fs::read_to_string(readme).unwrap();
    let section = readme.split_once(SECTION).expect("the README has the section").1;
    let section = section.split("\n## ").next().unwrap();
    let commands = section.lines().filter_map(|line| line.strip_prefix("$ geofilter "));
    commands.map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
}

/// Eight guesses from four addresses of each of some countries.
fn attack(site: &Site, addresses: &Addresses<'_>) {
    for country in ATTACKERS {
        for source in addresses.several_v4(country, 4) {
            for extension in [100, 101] {
                let source = SocketAddr::new(IpAddr::V4(source), 5060);
                let guess = sip::register(source, "UDP", extension);
                site.send(source.ip(), SIP, guess.as_bytes()).unwrap();
            }
        }
    }
}

#[test]
fn a_live_pbx_gets_from_observing_to_enforcing_as_the_readme_says() {
    let world = embedded::world().unwrap().world;
    let addresses = Addresses::new(&world);
    let site = Site::new().unwrap();
    let config = Config::new().endpoint("1001").endpoint("1002").endpoint("1003");
    let carrier = SocketAddr::from((addresses.v4("FR"), 5060));
    let _asterisk =
        Asterisk::start(&site.host, &config.trunk_qualified_every("carrier", 60, carrier)).unwrap();
    let agent = Agent::start(&site.host, &["--backend", "tc", "--interface", WAN]).unwrap();
    let [home, other] = addresses.several_v4("PT", 2)[..] else { panic!("few") };
    let phones = [(home, 1001), (other, 1002), (addresses.v4("MA"), 1003)];
    let _phones = phones.map(|(address, extension)| register(&site, address, extension));
    let mut states = Vec::new();
    for command in commands() {
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        let output = agent.ask(&words).unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let complained = String::from_utf8_lossy(&output.stderr).into_owned();
        println!("$ geofilter {}\n{said}{complained}", command.join(" "));
        let risky = words == ["allow", "ES", "PT", "--confirm-within", "2m"];
        let expected = if risky { 3 } else { 0 };
        assert_eq!(output.status.code(), Some(expected), "{command:?}: {said}{complained}");
        if matches!(words[0], "observe" | "confirm") {
            attack(&site, &addresses);
        }
        states.push(agent.json(&["status"]).unwrap()["state"].clone());
    }
    states.dedup();
    assert_eq!(json!(states), json!(["off", "observing", "pending", "enforcing", "off"]));
}
