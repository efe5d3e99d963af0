//! Every state a host can be in is said on the page in a sentence, in a real browser before the real program; a picture of each is
//! kept in `target/tmp/portal/states`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::{Ipv4Addr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use geofilter_core::geodata::embedded;
use geofilter_core::wire::Data;
use geofilter_lab::addresses::Addresses;
use geofilter_lab::asterisk::{Asterisk, Config};
use geofilter_lab::browser::Browser;
use geofilter_lab::portal::{Client, HOST, Scene};
use geofilter_lab::sip;
use geofilter_lab::site::{PBX_V4, next};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(40);
/// Where attacks come from.
const ABROAD: [&str; 12] = ["CN", "RU", "US", "NL", "BR", "IN", "VN", "ID", "IR", "UA", "TR", "PK"];
/// Rows that the log of an agent holds.
const ROWS: usize = 10_000;
/// Rows that are in the page at a time, at most: those in sight and a few more.
const DRAWN: u64 = 40;
/// As long as a name of a host may be, nearly.
const LONG: &str = "the-private-branch-exchange-of-the-branch-office-of-timisoara";
/// In milliseconds.
const DAY: i64 = 86_400_000;
/// A private address that all SIP comes from, and where the PBX of that scene listens.
const BORDER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 5);
const MOVED: u16 = 5080;

/// So many addresses of each of these countries, in turn.
fn addresses(each: usize) -> Vec<Ipv4Addr> {
    let world = embedded::world().unwrap().world;
    let addresses = Addresses::new(&world);
    let all: Vec<_> = ABROAD.iter().map(|country| addresses.several_v4(country, each)).collect();
    (0..each).flat_map(|at| all.iter().filter_map(move |of| of.get(at).copied())).collect()
}

fn enforce(client: &Client<'_>, countries: &[&str], confirm_within: Option<u64>) {
    let change = json!({ "mode": "allow", "countries": countries });
    let body = json!({ "change": change, "confirm_within": confirm_within });
    client.must("PUT", &format!("{HOST}/policy"), Some(&body)).unwrap();
}

/// Asks until the answer is as wanted.
fn until(client: &Client<'_>, path: &str, wanted: impl Fn(&Value) -> bool) {
    let since = Instant::now();
    loop {
        let answer = client.read(path).unwrap();
        if wanted(&answer) {
            return;
        }
        assert!(since.elapsed() < PATIENCE, "{path}: {} bytes", answer.to_string().len());
        thread::sleep(Duration::from_millis(100));
    }
}

/// Looks whether these sentences are there, and keeps a picture.
fn seen(browser: &mut Browser, state: &str, sentences: &[&str]) {
    for sentence in sentences {
        browser.does("sees", &[sentence]).unwrap();
    }
    browser.shoot(&format!("states/{state}")).unwrap();
}

#[test]
fn each_state_of_a_host_is_said_in_a_sentence() {
    Scene::set(&[], |scene| {
        let mut browser = Browser::open(scene.portal.namespace()).unwrap();
        let first = scene.portal.first.clone().unwrap();
        browser.does("open", &[&format!("{}first#{first}", scene.portal.url)]).unwrap();
        seen(&mut browser, "first-start", &["Welcome to GeoFilter"]);
        let ana = scene.portal.first_operator().unwrap();
        browser.enter(&scene.portal, &ana).unwrap();
        seen(&mut browser, "off", &["Off: nothing is filtered", "the PBX answers the whole world"]);

        browser.does("click", &["Only observe"]).unwrap();
        let sentences = [
            "Observing: nothing is blocked yet",
            "No packet for the PBX was seen yet",
            "No PBX was found on this host",
        ];
        seen(&mut browser, "observing", &sentences);
        quiet_and_attacked(scene, &ana, &mut browser);
        on_trial_and_reverted(&ana, &mut browser);
        away_and_offline(scene, &mut browser);
    })
    .unwrap();
}

fn quiet_and_attacked(scene: &Scene<'_>, ana: &Client<'_>, browser: &mut Browser) {
    enforce(ana, &["ES", "PT"], None);
    let protected = "Protected: only 2 countries may call";
    browser.does("go", &["Live"]).unwrap();
    seen(browser, "quiet", &[protected, "Nothing was dropped yet."]);
    for _ in 0..3 {
        scene.guess_from(&addresses(20)).unwrap();
    }
    let sentences = [protected, "country not chosen", "friendly-scanner", "Vietnam", "720"];
    seen(browser, "attack", &sentences);
    browser.does("go", &["Log"]).unwrap();
    seen(browser, "attack-log", &["country not chosen", "Save as CSV"]);
}

fn on_trial_and_reverted(ana: &Client<'_>, browser: &mut Browser) {
    browser.does("go", &["Policy"]).unwrap();
    enforce(ana, &["ES"], Some(120));
    let ends = "If nobody keeps it, the former choice comes back by itself";
    seen(browser, "pending", &["On trial for another", ends]);
    ana.must("POST", &format!("{HOST}/revert"), Some(&json!({}))).unwrap();
    browser.does("sees", &["Protected: only 2 countries may call"]).unwrap();
    enforce(ana, &["ES"], Some(3));
    browser.does("sees", &["On trial for another"]).unwrap();
    let back = "Nobody kept it: the former choice is back since";
    seen(browser, "reverted", &[back, "Protected: only 2 countries may call"]);
}

fn away_and_offline(scene: &mut Scene<'_>, browser: &mut Browser) {
    scene.agent.kill().unwrap();
    let away = "The kernel still filters with the last confirmed choice.";
    seen(browser, "away", &[away]);
    assert!(!scene.reached(), "and so it does");
    browser.does("wear", &["light", "360"]).unwrap();
    browser.does("click", &["More"]).unwrap();
    browser.does("go", &["Hosts"]).unwrap();
    seen(browser, "away-hosts", &["Its agent does not answer"]);
    scene.agent.restart(None).unwrap();
    browser.does("sees", &["Protected: only 2 countries may call"]).unwrap();
    browser.does("go", &["Policy"]).unwrap();
    browser.does("sees", &["Who may call"]).unwrap();
    scene.portal.end().unwrap();
    let offline = "The portal does not answer. What you see may be old";
    seen(browser, "offline", &[offline]);
    assert!(!scene.reached());
}

#[test]
fn what_is_strange_about_a_host_is_said_in_a_sentence() {
    Scene::set(&[], |scene| {
        let ana = scene.portal.first_operator().unwrap();
        enforce(&ana, &["ES", "PT"], None);
        let mut browser = Browser::open(scene.portal.namespace()).unwrap();
        browser.enter(&scene.portal, &ana).unwrap();
        data_that_is_old(&ana, &mut browser);
        long_names(scene, &ana, &mut browser);
        nobody_changes_anything(scene, &ana, &mut browser);
        browser.enter(&scene.portal, &ana).unwrap();
        one_private_address(scene, &ana, &mut browser);
        browser.does("go", &["Settings"]).unwrap();
        browser.does("choose", &["Language", "ro"]).unwrap();
        browser.does("go", &["Politică"]).unwrap();
        let sentences =
            ["Protejat: pot suna doar 2 țări", "Tot traficul SIP vine de la o singură adresă"];
        seen(&mut browser, "romanian", &sentences);
        browser.does("go", &["Gazde"]).unwrap();
        seen(&mut browser, "romanian-hosts", &["Date despre țări"]);
    })
    .unwrap();
}

/// The browser's clock is what makes it old: the data is that of the program, and all of a machine has one clock.
fn data_that_is_old(ana: &Client<'_>, browser: &mut Browser) {
    let status = ana.read(&format!("{HOST}/status")).unwrap();
    let data: Data = serde_json::from_value(status["data"].clone()).unwrap();
    let day = data.sources[0].day().unwrap();
    dated(browser, day + 60);
    browser.does("sees", &["Who may call"]).unwrap();
    browser.does("misses", &["days old"]).unwrap();
    dated(browser, day + 61);
    seen(browser, "old-data", &["61 days old: some addresses have moved since"]);
    dated(browser, day + 30);
}

/// The page as it is on this day.
fn dated(browser: &mut Browser, day: i64) {
    browser.does("dated", &[&(day * DAY).to_string()]).unwrap();
    browser.does("reload", &[]).unwrap();
}

fn one_private_address(scene: &Scene<'_>, ana: &Client<'_>, browser: &mut Browser) {
    let config = Config::default()
        .transport("moved", "udp", &format!("0.0.0.0:{MOVED}"))
        .endpoint("1001")
        .endpoint("1002");
    let _pbx = Asterisk::start(&scene.site().host, &config).unwrap();
    let _phones = [1001, 1002].map(|extension| register(scene, extension));
    // What a choice would do is asked of the PBX as well.
    ana.must("POST", &format!("{HOST}/preview"), Some(&json!({ "change": null }))).unwrap();
    let one = "All SIP arrives from one private address, 10.9.0.5";
    browser.does("go", &["Policy"]).unwrap();
    seen(browser, "one-private-address", &[one, "2 devices"]);
    browser.does("go", &["Hosts"]).unwrap();
    seen(browser, "hosts", &["all SIP arrives from 10.9.0.5", "wan0 by"]);
}

/// A device at the private address registers, and goes on listening.
fn register(scene: &Scene<'_>, extension: u32) -> UdpSocket {
    let phone = scene.site().anywhere(BORDER, 0).unwrap();
    let request = sip::register(phone.local_addr().unwrap(), "UDP", extension);
    phone.send_to(request.as_bytes(), (PBX_V4, MOVED)).unwrap();
    let (answer, _) = next(&phone).unwrap();
    assert!(sip::is_success(answer.as_bytes()), "{answer}");
    phone
}

fn long_names(scene: &mut Scene<'_>, ana: &Client<'_>, browser: &mut Browser) {
    scene.portal.restart_on(LONG).unwrap();
    let choice = json!({ "mode": "allow", "countries": ["ES"], "hosting": "drop" });
    let name = "A choice for the summer holidays, when nobody is in the office";
    let profile = json!({ "name": name, "choice": choice });
    ana.must("POST", "/api/v1/profiles", Some(&profile)).unwrap();
    browser.enter(&scene.portal, ana).unwrap();
    browser.does("unfold", &["Profiles"]).unwrap();
    seen(browser, "long-names", &[LONG, name]);
    browser.does("go", &["Hosts"]).unwrap();
    seen(browser, "long-names-hosts", &[LONG]);
}

fn nobody_changes_anything(scene: &Scene<'_>, ana: &Client<'_>, browser: &mut Browser) {
    let ion = scene.portal.operator(ana, "Ion", "viewer").unwrap();
    browser.enter(&scene.portal, &ion).unwrap();
    seen(browser, "no-permission", &["Your role only lets you look. Ask an admin of this portal."]);
    // Who may not change it may look at what a change would do.
    browser.does("tick", &["France"]).unwrap();
    browser.does("sees", &["3 chosen"]).unwrap();
    let changing = ["Turn off", "Apply, keep within 2:00", "Only observe", "Pause for 10 minutes"];
    for name in changing {
        browser.does("lacks", &[name]).unwrap();
    }
    let pages = [
        ("Exemptions", "They are let in"),
        ("Bans", "They are dropped"),
        ("Hosts", "What this portal"),
    ];
    for (page, there) in pages {
        browser.does("go", &[page]).unwrap();
        browser.does("sees", &[there]).unwrap();
        for name in ["Add", "Make a link", "Turn off"] {
            browser.does("lacks", &[name]).unwrap();
        }
    }
}

#[test]
fn ten_thousand_rows_of_the_log_are_scrolled_of_which_few_are_drawn() {
    Scene::set(&[], |scene| {
        let ana = scene.portal.first_operator().unwrap();
        enforce(&ana, &["ES", "PT"], None);
        let sources = addresses(ROWS / ABROAD.len() + 200);
        assert!(sources.len() > ROWS, "{}", sources.len());
        let log = format!("{HOST}/log");
        until(&ana, &log, |told| {
            let full = told["entries"].as_array().unwrap().len() == ROWS;
            // Reading all of it costs more than what is added by one round.
            (0..if full { 0 } else { 5 }).for_each(|_| scene.guess_from(&sources).unwrap());
            full
        });
        let mut browser = Browser::open(scene.portal.namespace()).unwrap();
        browser.enter(&scene.portal, &ana).unwrap();
        browser.does("go", &["Log"]).unwrap();
        browser.does("sees", &["10,000 shown"]).unwrap();
        seen(&mut browser, "ten-thousand-rows", &["country not chosen"]);
        for width in ["1280", "360"] {
            browser.does("wear", &["light", width]).unwrap();
            let told = browser.tells("scrolled", &["Drops", "300"]).unwrap();
            println!("scrolled at {width} px: {told}");
            let told: Value = serde_json::from_str(&told).unwrap();
            assert_eq!(told["rows"], ROWS, "{told}");
            assert!(told["most"].as_u64().unwrap() <= DRAWN, "{told}");
            assert_eq!(told["blank"], 0, "what is in sight is drawn: {told}");
        }
    })
    .unwrap();
}
