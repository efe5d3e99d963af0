//! What the README says of a live PBX is what happens: its commands are run in their order, on a host with a
//! real Asterisk, phones at home and abroad, and attackers. `cargo test --test readme -- --nocapture` prints
//! what they said. And the tests that docs/operating.md names are there.

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

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)).unwrap()
}

/// The commands of the section.
fn commands() -> Vec<Vec<String>> {
    let readme = read("README.md");
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

/// The text of every Rust file below a folder, with its path.
fn sources(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.extension() {
            None if path.is_dir() => sources(&path, found),
            Some(extension) if extension == "rs" => {
                found.push((path.display().to_string(), std::fs::read_to_string(&path).unwrap()));
            }
            Some(_) | None => {}
        }
    }
}

#[test]
fn every_promise_names_a_test_that_is_there() {
    let mut code = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join(".."), &mut code);
    let is_there = |name: &str| match name.rsplit_once("::").unwrap() {
        (file, "*" | "tests") => code.iter().any(|(path, _)| {
            path.ends_with(&format!("/{file}.rs")) || path.contains(&format!("/{file}/"))
        }),
        (_, test) => {
            // One for each way to attach.
            let test =
                test.split_once("_{").map_or_else(|| format!("{test}("), |(it, _)| it.to_owned());
            code.iter().any(|(_, text)| text.contains(&format!("fn {test}")))
        }
    };
    let mut before = 0;
    for document in ["devices", "fail2ban", "fleet", "hostile", "nftables", "operating", "portal"]
        .map(|it| read(&format!("docs/{it}.md")))
    {
        let rows = document.lines().skip_while(|line| !line.starts_with("| promise"));
        let promises = rows.filter(|row| row.starts_with("| ") && !row.starts_with("| promise"));
        for row in promises {
            let named: Vec<&str> = row.split('`').filter(|word| word.contains("::")).collect();
            assert!(!named.is_empty() || row.contains("the same"), "no test: {row}");
            named.iter().for_each(|name| assert!(is_there(name), "there is no {name}"));
            before += 1;
        }
    }
    assert!(before > 20, "the promises were not found");
}

/// What introduces the words of an alarm in the code: in the log, and in what `status` warns of.
const LOGGED: &[&str] = &["tracing::warn!(", "tracing::error!("];
const WARNED: &[&str] = &[
    "warnings.push(",
    "warnings.extend(",
    "note_trouble(",
    "trouble.take(",
    "mended.push(",
    "was_mended(",
];

/// What comes before the parenthesis that closes those before.
fn arguments(text: &str) -> &str {
    let (mut open, mut quoted) = (1, false);
    let end = text.find(|letter| {
        quoted ^= letter == '"';
        open += match letter {
            '(' if !quoted => 1,
            ')' if !quoted => -1,
            _ => 0,
        };
        open == 0
    });
    &text[..end.unwrap()]
}

/// The alarms of a file, each by its words up to the first value. Those that begin with a value are said elsewhere.
fn alarms<'a>(text: &'a str, calls: &[&[&str]]) -> Vec<&'a str> {
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    let begin = calls.concat().into_iter().flat_map(|call| text.match_indices(call));
    let words = begin.filter_map(|(at, call)| {
        // The words come after the fields.
        let arguments = arguments(&text[at + call.len()..]);
        let words = arguments.split('"').skip(1).step_by(2).max_by_key(|words| words.len())?;
        words.split('{').next()
    });
    words.map(str::trim).filter(|words| words.len() > 6).collect()
}

#[test]
fn every_alarm_is_in_the_runbook() {
    let mut code = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join(".."), &mut code);
    let operating = read("docs/operating.md");
    let (_, runbook) = operating.split_once("## Every alarm").unwrap();
    let (runbook, _) = runbook.split_once("\n## ").unwrap();
    let told: Vec<&str> = runbook.split('`').skip(1).step_by(2).collect();
    let mut found = 0;
    for (path, text) in code {
        // What the portal warns of otherwise answers whoever changed something.
        let calls: &[&[&str]] = match path.contains("portal/src") {
            true => &[LOGGED],
            false => &[LOGGED, WARNED],
        };
        let speaks = ["geofilter/src/agent", "geofilter/src/geo.rs", "dataplane/src", "portal/src"];
        if !speaks.iter().any(|part| path.contains(part)) || path.contains("/tests") {
            continue;
        }
        for alarm in alarms(&text, calls) {
            let is_told =
                told.iter().any(|told| alarm.starts_with(told) || told.starts_with(alarm));
            assert!(is_told, "{path}: the runbook does not say what `{alarm}` means");
            found += 1;
        }
    }
    assert!(found > 40, "{found} alarms: they were not found");
}
