//! Promise 8: what a real PBX logged is counted while the agent runs, each attempt once and by its country; what was
//! dropped was never logged. What is recommended comes of the same logs.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use geofilter_core::geodata::embedded;
use geofilter_lab::addresses::Addresses;
use geofilter_lab::asterisk::{Asterisk, Config};
use geofilter_lab::botnet::{Botnet, Carrier, EXTENSIONS, Pace};
use geofilter_lab::phones::register;
use geofilter_lab::process::Agent;
use geofilter_lab::site::{Site, WAN};
use rustix::process::Signal;
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(30);
const BOTS: u64 = 3;
const PACE: Pace = Pace { guesses: 4, every: Duration::from_millis(200) };

fn evidence(agent: &Agent<'_>) -> Value {
    agent.json(&["evidence"]).unwrap()
}

#[test]
fn what_the_pbx_logs_is_counted_by_country_before_and_after() {
    let world = embedded::world().unwrap().world;
    let addresses = Addresses::new(&world);
    let site = Site::new().unwrap();
    let config = Config::new().logger("messages.log => notice\nsecurity.log => security\n");
    let config = EXTENSIONS.take(4).fold(config, |config, extension| {
        config.endpoint_with_password(&extension.to_string(), "correct horse battery staple")
    });
    let _pbx = Asterisk::start(&site.host, &config).unwrap();
    let mut agent = Agent::start(&site.host, &["--backend", "xdp", "--interface", WAN]).unwrap();
    agent.json(&["observe"]).unwrap();
    let since = Instant::now();
    while evidence(&agent)["logs"].as_array().unwrap().len() < 2 {
        assert!(since.elapsed() < PATIENCE, "{}", evidence(&agent));
        std::thread::yield_now();
    }
    let attack = |countries: [&str; 2]| {
        let mut bots =
            Botnet::new(&site, &addresses, Carrier::Udp, &countries, BOTS as usize).unwrap();
        bots.attack(PACE).unwrap();
        countries.map(|country| bots.tally(|one| one == country).answered as u64)
    };
    assert_eq!(attack(["CN", "ES"]), [BOTS * 4, BOTS * 4]);
    agent.json(&["allow", "FR", "--yes"]).unwrap();
    assert_eq!(attack(["CN", "FR"]), [0, BOTS * 4]);
    // What is told of until then counts when it ends.
    agent.signal(Signal::TERM).unwrap();
    agent.wait_for_the_end().unwrap();
    agent.restart(None).unwrap();
    let report = evidence(&agent);
    // Before and after midnight, perhaps.
    let days = report["days"].as_array().unwrap();
    let of = |country: &str| -> u64 {
        days.iter().filter_map(|day| day["attempts"][country].as_u64()).sum()
    };
    assert_eq!(["CN", "ES", "FR"].map(of), [BOTS * 4; 3], "{report}");
    assert!(days.iter().any(|day| day["watched"].as_u64() > Some(0)), "{report}");
}

#[test]
fn without_being_told_of_logs_it_recommends_by_those_that_the_pbx_writes() {
    let world = embedded::world().unwrap().world;
    let addresses = Addresses::new(&world);
    let site = Site::new().unwrap();
    // As few as make a home.
    let phones = 2001..2004;
    let config = Config::new().logger("messages.log => notice\nsecurity.log => security\n");
    let config = phones.clone().fold(config, |config, phone| config.endpoint(&phone.to_string()));
    let pbx = Asterisk::start(&site.host, &config).unwrap();
    let homes = addresses.several_v4("ES", phones.len());
    let _phones: Vec<_> =
        phones.zip(homes).map(|(phone, home)| register(&site, home, phone)).collect();
    let mut bots = Botnet::new(&site, &addresses, Carrier::Udp, &["CN"], BOTS as usize).unwrap();
    bots.attack(PACE).unwrap();
    // No agent has to run.
    let agent = Agent::prepare(&site.host, &[]).unwrap();
    let recommended = agent.json(&["recommend"]).unwrap();
    let files: Vec<_> = ["messages.log", "security.log"]
        .map(|name| Value::from(pbx.logs().join(name).display().to_string()))
        .into();
    assert_eq!(recommended["seen"]["files"], Value::from(files), "{recommended}");
    assert_eq!(recommended["attempts"]["total"], BOTS * 4, "{recommended}");
    assert_eq!(recommended["attempts"]["dropped"], BOTS * 4, "{recommended}");
    assert_eq!(recommended["seen"]["registered"], 3, "{recommended}");
    assert_eq!(recommended["proposal"]["mode"], "allow", "{recommended}");
    assert_eq!(recommended["proposal"]["countries"], serde_json::json!(["ES"]), "{recommended}");
}
