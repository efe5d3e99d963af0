//! Promise 8 over a fleet: what the PBXs of hosts logged, before a policy and with one, and what was dropped, as their portal tells of a month.
//! By the real binary, a real Asterisk and a botnet.

use std::fs;
use std::time::{Duration, Instant};

use geofilter_core::evidence::Day;
use geofilter_core::geodata::embedded;
use geofilter_core::logs::Stamp;
use geofilter_lab::addresses::Addresses;
use geofilter_lab::asterisk::{Asterisk, Config};
use geofilter_lab::awaited::within;
use geofilter_lab::botnet::{Botnet, Carrier, EXTENSIONS, Pace};
use geofilter_lab::browser::Browser;
use geofilter_lab::portal::{Client, Portal};
use geofilter_lab::process::Agent;
use geofilter_lab::site::{Site, WAN};
use rustix::process::Signal;
use serde_json::{Value, json};

const FLEET: &str = "/api/v1/fleet";
const AT: &str = "127.0.0.1:8443";
const PORTAL: &str = "https://127.0.0.1:8443";
const PATIENCE: Duration = Duration::from_secs(40);
const BOTS: u64 = 3;
const PACE: Pace = Pace { guesses: 4, every: Duration::from_millis(200) };
const DAY: i64 = 86_400;

#[test]
fn a_month_of_a_fleet_is_what_its_hosts_logged_and_dropped() {
    let world = embedded::world().unwrap().world;
    let addresses = Addresses::new(&world);
    let site = Site::new().unwrap();
    site.host.ip("link set lo up").unwrap();
    let mut agent = Agent::start(&site.host, &["--interface", WAN]).unwrap();
    let portal = Portal::lead(&site.host, AT.parse().unwrap(), None).unwrap();
    let ana = portal.first_operator().unwrap();
    let made = |what: &str, body: &Value| {
        let made = ana.must("POST", &format!("{FLEET}/{what}"), Some(body)).unwrap();
        made["id"].as_i64().unwrap()
    };
    let north = made("tenants", &json!({ "name": "North" }));
    let group = made("groups", &json!({ "name": "Offices", "tenant": north }));
    let path = format!("{FLEET}/groups/{group}/tokens");
    let token = ana.must("POST", &path, None).unwrap()["token"].clone();
    let words = ["enrol", PORTAL, "--token", token.as_str().unwrap(), "--name", "pbx-1"];
    agent.json(&words).unwrap();
    agent.json(&["observe"]).unwrap();

    let config = Config::new().logger("messages.log => notice\nsecurity.log => security\n");
    let config = EXTENSIONS.take(4).fold(config, |config, extension| {
        config.endpoint_with_password(&extension.to_string(), "correct horse battery staple")
    });
    let _pbx = Asterisk::start(&site.host, &config).unwrap();
    let logs = || agent.json(&["evidence"]).unwrap()["logs"].as_array().unwrap().len();
    within(PATIENCE, Instant::now(), || logs() == 2, || "no logs".to_owned());
    let mut bots = Botnet::new(&site, &addresses, Carrier::Udp, &["CN"], BOTS as usize).unwrap();
    bots.attack(PACE).unwrap();
    ana.must(
        "PUT",
        &format!("{FLEET}/tenants/{north}/policy"),
        Some(&json!({ "mode": "allow", "countries": ["FR"] })),
    )
    .unwrap();
    let applied = || agent.json(&["status"]).unwrap()["state"] == "enforcing";
    within(PATIENCE, Instant::now(), applied, || "not enforcing".to_owned());
    bots.attack(PACE).unwrap();

    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let today = i64::try_from(now.as_secs()).unwrap() / DAY;
    let month = |back: i64| {
        let date = Day::of(Stamp((today - back) * DAY * 1000)).to_string();
        date[..7].to_owned()
    };
    let report = |by: &Client<'_>, month: &str| {
        by.read(&format!("{FLEET}/report?tenant={north}&month={month}")).unwrap()
    };
    let counted = |months: &[String], what: &str, country: &str| -> u64 {
        let of = |month: &String| {
            let told = report(&ana, month);
            let all = told[what].as_array().unwrap().clone();
            let found = all.iter().find(|of| of["country"] == country);
            found.map_or(0, |of| of["count"].as_u64().unwrap())
        };
        months.iter().map(of).sum()
    };
    let mut months = vec![month(0), month(10)];
    months.dedup();
    let dropped = || counted(&months[..1], "dropped", "CN");
    within(PATIENCE, Instant::now(), || dropped() >= BOTS * 4, || dropped().to_string());

    // What is told of counts when the agent ends. It has known its PBX for ten days, without a policy and with one.
    agent.signal(Signal::TERM).unwrap();
    agent.wait_for_the_end().unwrap();
    let file = agent.state_dir().join("evidence.json");
    let mut kept: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let of_day = |attempts: u64, enforced: u64| json!({ "attempts": { "BR": attempts }, "probes": 0, "logins": 1, "watched": DAY, "enforced": enforced });
    for (ago, attempts, enforced) in [
        (10, 999, 0),
        (9, 100, 0),
        (8, 300, 0),
        (7, 50, 40_000),
        (6, 20, 86_400),
        (5, 10, 86_400),
        (4, 0, 86_400),
    ] {
        kept["evidence"][(today - ago).to_string()] = of_day(attempts, enforced);
    }
    fs::write(&file, kept.to_string()).unwrap();
    agent.restart(None).unwrap();

    let is_told = || report(&ana, &month(0))["with"]["days"] == 3;
    within(PATIENCE, Instant::now(), is_told, || report(&ana, &month(0)).to_string());
    let told = report(&ana, &month(0));
    assert_eq!(told["organisation"], "North");
    // The first day is left out, since it may have begun before the log, and so is one that was neither.
    assert_eq!(told["without"], json!({ "days": 2, "attempts": 400, "logins": 2 }));
    assert_eq!(told["with"], json!({ "days": 3, "attempts": 30, "logins": 3 }));
    assert_eq!(told["hosts"][0]["with"], told["with"]);
    // What was dropped was never logged.
    assert_eq!(counted(&months, "attempts", "CN"), BOTS * 4);
    assert_eq!(counted(&months, "attempts", "BR"), 999 + 100 + 300 + 50 + 20 + 10);

    // Another organisation has none of it, and who is of one sees no other.
    let sam = portal.operator_of(&ana, "sam", "viewer", Some(1)).unwrap();
    let other = sam.read(&format!("{FLEET}/report?month={}", month(0))).unwrap();
    assert_eq!((&other["organisation"], &other["hosts"]), (&json!("Organisation"), &json!([])));
    assert_eq!(other["with"]["days"], 0);
    assert_eq!(sam.get(&format!("{FLEET}/report?tenant={north}")).unwrap().status, 404);
    for odd in ["2026-13", "2026", "x"] {
        assert_eq!(ana.get(&format!("{FLEET}/report?month={odd}")).unwrap().status, 422);
    }

    let mut browser = Browser::open(portal.namespace()).unwrap();
    browser.enter(&portal, &ana).unwrap();
    let mut does = |deed: &str, words: &[&str]| browser.does(deed, words).unwrap();
    does("go", &["Hosts"]);
    does("go", &["Report of a month"]);
    does("choose", &["Of", "North"]);
    does("sees", &["On 3 days of a host with one it refused 10"]);
    does("sees", &["95% fewer"]);
    browser.shoot("report").unwrap();
}
