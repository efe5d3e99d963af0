//! World data that is kept current: fetched by a real agent from a real server that behaves well or badly, judged, put into the
//! kernel, and taken back.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::symlink;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use flate2::Compression;
use geofilter_core::geodata::{AsNumber, embedded};
use geofilter_lab::disk::SmallDisk;
use geofilter_lab::fileserver::{FileServer, Manner};
use geofilter_lab::guarded::Guarded;
use geofilter_lab::images::{dbip, packed};
use geofilter_lab::process::Agent;
use geofilter_lab::site::{Site, WAN};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Of Spain in the data that comes with the program; somebody announces it.
const MADRID: Ipv4Addr = Ipv4Addr::new(80, 58, 61, 250);
/// Of Spain too, and to be judged as it is.
const CANARY: Ipv4Addr = Ipv4Addr::new(80, 58, 62, 1);
const PATH: &str = "/dbip.csv.gz";

/// The file of the source that the embedded data was made of.
static DBIP: LazyLock<Vec<u8>> = LazyLock::new(|| dbip().unwrap());

/// The same with further lines, compressed as it is published.
fn edition(further: &str) -> Vec<u8> {
    packed(&[&DBIP, further.as_bytes()].concat(), Compression::fast()).unwrap()
}

/// Madrid has moved to China.
const MOVED: &str = "80.58.61.0,80.58.61.255,CN\n";

/// An agent in a namespace that fetches from a server of its own.
struct Host<'a> {
    agent: Agent<'a>,
    server: FileServer,
    config: TempDir,
}

impl<'a> Host<'a> {
    fn new(site: &'a Site) -> Self {
        let server = FileServer::start(&site.host).unwrap();
        let config = tempfile::tempdir().unwrap();
        let file = config.path().join("geofilter.toml");
        let text = format!(
            "[geodata]\nevery-hours = 0\nsecond = 'kept'\nsystems = 'kept'\n\
             corrections = '{}'\ncanaries = ['{CANARY}']\n\
             patience = {{ silence = 1, attempt = 20, pause = 0 }}\n\
             [geodata.mirrors]\ndbip-lite = ['{}']\n",
            config.path().join("corrections.csv").display(),
            server.url(PATH)
        );
        fs::write(&file, text).unwrap();
        fs::write(config.path().join("corrections.csv"), "").unwrap();
        let words = ["--interface", WAN, "--config", file.to_str().unwrap()];
        let agent = Agent::start(&site.host, &words).unwrap();
        Self { agent, server, config }
    }

    /// The exit code of a command, and what it said.
    fn geodb(&self, command: &str) -> (i32, String) {
        let output = self.agent.ask(&["geodb", command]).unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8(said).unwrap())
    }

    fn country(&self, address: impl Into<IpAddr>) -> String {
        let address = address.into().to_string();
        let found = self.agent.json(&["geodb", "lookup", &address]).unwrap();
        found["country"].as_str().unwrap().to_owned()
    }

    fn state(&self) -> Value {
        self.agent.json(&["geodb", "status"]).unwrap()
    }
}

#[test]
fn what_is_fetched_is_in_the_kernel_at_once_and_is_taken_back() {
    let site = Site::new().unwrap();
    let mut host = Host::new(&site);
    host.server.put(PATH, edition(MOVED));
    let guarded = Guarded::new(&site, &host.agent);
    assert!(guarded.arrives(MADRID.into()));
    assert_eq!(host.state()["embedded"], true);

    let (code, said) = host.geodb("update");
    assert_eq!(code, 0, "{said}");
    assert_eq!(host.country(MADRID), "CN");
    assert!(!guarded.arrives(MADRID.into()));
    assert!(guarded.serves(), "nobody else has moved");
    let state = host.state();
    assert_eq!((&state["embedded"], &state["last"]["outcome"]), (&json!(false), &json!("used")));

    // A second time nothing is fetched, since nothing has changed.
    host.server.behave(Manner::Well);
    assert_eq!(host.geodb("update").0, 0);
    assert_eq!(host.state()["last"]["outcome"], "same");
    assert!(host.server.asked()[0].contains("if-none-match"), "{:?}", host.server.asked());

    drop(guarded);
    // It is there after a crash, and after what was kept was damaged it is what was before.
    host.agent.kill().unwrap();
    host.agent.restart(None).unwrap();
    assert_eq!(host.country(MADRID), "CN");
    host.agent.kill().unwrap();
    let kept = host.agent.state_dir().join("geodata/current");
    let whole = fs::read(&kept).unwrap();
    fs::write(&kept, &whole[..whole.len() / 2]).unwrap();
    host.agent.restart(None).unwrap();
    assert_eq!(host.country(MADRID), "ES");
    let warned = host.agent.json(&["status"]).unwrap()["warnings"].to_string();
    assert!(warned.contains("geodb update"), "{warned}");
}

#[test]
fn rollback_uses_what_was_before_and_again_what_was_after() {
    let site = Site::new().unwrap();
    let host = Host::new(&site);
    let guarded = Guarded::new(&site, &host.agent);
    assert_eq!(host.geodb("rollback").0, 1, "there is nothing before");
    host.server.put(PATH, edition(MOVED));
    assert_eq!(host.geodb("update").0, 0);
    for (country, arrives) in [("ES", true), ("CN", false)] {
        assert_eq!(host.geodb("rollback").0, 0);
        assert_eq!(host.country(MADRID), country);
        assert_eq!(guarded.arrives(MADRID.into()), arrives);
    }
}

#[test]
fn what_was_fetched_and_not_kept_yet_is_used_by_the_next_update() {
    let site = Site::new().unwrap();
    let mut host = Host::new(&site);
    host.server.put(PATH, edition(MOVED));
    host.agent.arm("previous-written").unwrap();
    assert_ne!(host.geodb("update").0, 0, "the agent was killed");
    host.agent.arm("").unwrap();
    host.agent.kill().unwrap();
    host.agent.restart(None).unwrap();
    assert_eq!(host.country(MADRID), "ES");

    // The server has nothing that is new to who fetches.
    host.server.behave(Manner::Well);
    let (code, said) = host.geodb("update");
    assert_eq!(code, 0, "{said}");
    assert!(host.server.asked()[0].contains("if-none-match"), "{:?}", host.server.asked());
    assert_eq!(host.country(MADRID), "CN");
    assert_eq!(host.geodb("update").0, 0);
    assert_eq!(host.state()["last"]["outcome"], "same");
}

#[test]
fn what_was_cut_off_goes_on_where_it_was() {
    let site = Site::new().unwrap();
    let host = Host::new(&site);
    let file = edition(MOVED);
    host.server.put(PATH, file.clone());
    host.server.behave(Manner::Cuts(file.len() / 5 + 1));
    let (code, said) = host.geodb("update");
    assert_eq!(code, 0, "{said}");
    assert_eq!(host.country(MADRID), "CN");
    let asked = host.server.asked();
    assert_eq!(asked.len(), 5);
    assert!(
        asked[4].contains(&format!("range: bytes={}-", 4 * (file.len() / 5 + 1))),
        "{}",
        asked[4]
    );
}

#[test]
fn whatever_a_server_does_what_is_in_use_stays_and_it_is_said_why() {
    let site = Site::new().unwrap();
    let host = Host::new(&site);
    let guarded = Guarded::new(&site, &host.agent);
    let good = edition(MOVED);
    let elsewhere = "http://192.0.2.1/dbip.csv.gz".to_owned();
    let cases: [(Manner, Vec<u8>, &str); 11] = [
        (Manner::Silent, good.clone(), "timeout"),
        (Manner::Endless, good.clone(), "no such file is"),
        (Manner::Redirects(host.server.url(PATH)), good.clone(), "redirect"),
        (Manner::Redirects(elsewhere), good.clone(), "http"),
        (Manner::Answers(401), good.clone(), "account and key"),
        (Manner::Answers(503), good.clone(), "503"),
        (Manner::Answers(404), good.clone(), "no such file"),
        (Manner::Well, good[..good.len() / 2].to_vec(), "breaks off"),
        (Manner::Well, b"<html>Not found</html>".to_vec(), "cannot read"),
        (Manner::Well, vec![0; 1 << 20], "cannot read"),
        (Manner::Well, Vec::new(), "cannot read"),
    ];
    for (manner, file, expected) in cases {
        host.server.put(PATH, file);
        host.server.behave(manner.clone());
        let since = Instant::now();
        let (code, said) = host.geodb("update");
        assert_eq!(code, 1, "{manner:?}: {said}");
        assert!(said.to_lowercase().contains(expected), "{manner:?}: {said}");
        assert!(since.elapsed() < Duration::from_secs(60), "{manner:?}");
        assert_eq!(host.state()["embedded"], true, "{manner:?}");
    }
    assert!(guarded.serves() && guarded.arrives(MADRID.into()));

    // What was no good is fetched anew, whatever was kept of it.
    host.server.put(PATH, good);
    host.server.behave(Manner::Well);
    let (code, said) = host.geodb("update");
    assert_eq!(code, 0, "{said}");
    assert_eq!(host.country(MADRID), "CN");
}

#[test]
fn who_fetches_has_no_privileges_and_ends_with_the_agent() {
    let site = Site::new().unwrap();
    let mut host = Host::new(&site);
    host.server.behave(Manner::Silent);
    let asking = host.agent.json(&["geodb", "status"]).unwrap();
    assert_eq!(asking["running"], Value::Null);
    std::thread::scope(|scope| {
        scope.spawn(|| host.agent.ask(&["geodb", "update"]));
        let since = Instant::now();
        let worker = loop {
            let found = host.agent.children().unwrap().first().copied();
            if let (Some(child), false) = (found, host.server.asked().is_empty()) {
                break child;
            }
            assert!(since.elapsed() < Duration::from_secs(10), "nobody fetches");
        };
        let status = fs::read_to_string(format!("/proc/{worker}/status")).unwrap();
        let says = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap().trim().to_owned()
        };
        assert_eq!(says("CapEff:"), "0000000000000000");
        assert_eq!(says("CapPrm:"), "0000000000000000");
        assert_eq!((says("NoNewPrivs:").as_str(), says("Seccomp:").as_str()), ("1", "2"));
        let busy = host.agent.ask(&["geodb", "update"]).unwrap();
        assert_eq!(busy.status.code(), Some(1), "one at a time");
        host.agent.signal(Signal::KILL).unwrap();
        let since = Instant::now();
        while fs::exists(format!("/proc/{worker}")).unwrap() {
            assert!(since.elapsed() < Duration::from_secs(10), "it goes on without its agent");
        }
    });
    host.agent.kill().unwrap();
    host.server.behave(Manner::Well);
    host.server.put(PATH, edition(MOVED));
    host.agent.restart(None).unwrap();
    assert_eq!(host.geodb("update").0, 0);
    assert_eq!(host.country(MADRID), "CN");
}

#[test]
fn data_that_differs_too_much_is_held_until_somebody_approves() {
    let site = Site::new().unwrap();
    let host = Host::new(&site);
    let guarded = Guarded::new(&site, &host.agent);
    // As a published file really had it: the addresses of Amazon were British.
    let systems = embedded::asns().unwrap();
    let amazon = [14618, 16509].map(|number| AsNumber::new(number).unwrap());
    let ranges = amazon.into_iter().flat_map(|number| systems.ranges_v4(number));
    let british: String = ranges
        .map(|range| {
            let [first, last] = [range.first, range.last].map(Ipv4Addr::from);
            format!("{first},{last},GB\n")
        })
        .collect();
    host.server.put(PATH, edition(&(british + MOVED)));
    let (code, said) = host.geodb("update");
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("United Kingdom"), "{said}");
    let state = host.state();
    assert!(state["held"]["reasons"][0].as_str().unwrap().contains("another country"), "{state}");
    assert_eq!((host.country(MADRID).as_str(), &state["last"]["outcome"]), ("ES", &json!("held")));
    assert!(guarded.arrives(MADRID.into()));

    // Nothing is new, and it is held still.
    assert_eq!(host.geodb("update").0, 0);
    assert!(host.state()["held"].is_object());
    assert_eq!(host.geodb("approve").0, 0);
    assert!(!guarded.arrives(MADRID.into()));
    assert_eq!((host.state()["held"].clone(), host.geodb("approve").0), (Value::Null, 1));
    assert_eq!(host.geodb("rollback").0, 0);
    assert!(guarded.arrives(MADRID.into()));
}

#[test]
fn data_that_would_cut_somebody_who_is_watched_is_held() {
    let site = Site::new().unwrap();
    let host = Host::new(&site);
    let _guarded = Guarded::new(&site, &host.agent);
    host.server.put(PATH, edition("80.58.62.0,80.58.62.255,CN\n"));
    let (code, said) = host.geodb("update");
    assert_eq!(code, 3, "{said}");
    assert!(said.contains(&format!("a canary ({CANARY})")), "{said}");
    assert_eq!(host.country(CANARY), "ES");
}

#[test]
fn what_the_administrator_knows_better_wins_over_every_source() {
    let site = Site::new().unwrap();
    let host = Host::new(&site);
    let guarded = Guarded::new(&site, &host.agent);
    host.server.put(PATH, edition(""));
    let correct = |text: &str| {
        fs::write(host.config.path().join("corrections.csv"), text).unwrap();
        host.geodb("update")
    };
    assert_eq!(correct("prefix,country,note\n80.58.61.0/24,CN,moved\n").0, 0);
    assert_eq!(host.country(MADRID), "CN");
    assert!(!guarded.arrives(MADRID.into()));
    let (code, said) = correct("80.58.61.0/24,Spain\n");
    assert_eq!(code, 1);
    assert!(said.contains("line 1") && said.contains("Spain"), "{said}");
    assert_eq!(host.country(MADRID), "CN", "what was there stays");
    assert_eq!(correct("").0, 0);
    assert_eq!(host.country(MADRID), "ES");
    assert!(guarded.arrives(MADRID.into()));
}

#[test]
fn without_room_on_the_disk_nothing_changes_and_it_goes_on_once_there_is() {
    let site = Site::new().unwrap();
    let host = Host::new(&site);
    let disk = SmallDisk::new(64 << 10).unwrap();
    symlink(disk.path(), host.agent.state_dir().join("geodata")).unwrap();
    host.server.put(PATH, edition(MOVED));
    disk.fill().unwrap();
    let (code, said) = host.geodb("update");
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("No space left"), "{said}");
    assert_eq!(host.country(MADRID), "ES");
    disk.make_room().unwrap();
    let (code, said) = host.geodb("update");
    assert_eq!(code, 0, "{said}");
    assert_eq!(host.country(MADRID), "CN");
}

#[test]
fn who_fetches_and_is_killed_is_said_to_be_and_asked_again() {
    let site = Site::new().unwrap();
    let host = Host::new(&site);
    host.server.put(PATH, edition(MOVED));
    host.server.behave(Manner::Silent);
    let (code, said) = std::thread::scope(|scope| {
        let updating = scope.spawn(|| host.geodb("update"));
        let since = Instant::now();
        while host.server.asked().is_empty() {
            assert!(since.elapsed() < Duration::from_secs(10), "nobody fetches");
        }
        let worker = host.agent.children().unwrap()[0];
        kill_process(Pid::from_raw(worker.cast_signed()).unwrap(), Signal::KILL).unwrap();
        updating.join().unwrap()
    });
    assert_eq!(code, 1);
    assert!(said.contains("ended early"), "{said}");
    host.server.behave(Manner::Well);
    assert_eq!(host.geodb("update").0, 0);
    assert_eq!(host.country(MADRID), "CN");
}

#[test]
fn files_of_the_host_are_taken_instead_of_a_source() {
    let site = Site::new().unwrap();
    let host = Host::new(&site);
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, content: &[u8]| {
        let file = folder.path().join(name);
        fs::write(&file, content).unwrap();
        file.to_str().unwrap().to_owned()
    };
    let import = |words: &[&str]| {
        let output = host.agent.ask(&[&["geodb", "import"], words].concat()).unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (whole, moved) = (put("mine.csv", &DBIP), put("moved.csv", MOVED.as_bytes()));
    let done = import(&[&whole, &moved]);
    assert_eq!(done.0, 0, "{}", done.1);
    assert_eq!(host.country(MADRID), "CN");
    assert_eq!(host.state()["sources"][0]["name"], "mine.csv");

    // GeoLite2's form refers to places by their numbers.
    let networks = put(
        "blocks.csv",
        b"network,geoname_id,registered_country_geoname_id\n80.58.61.0/24,2510769,\n",
    );
    let places = put("locations.csv", b"geoname_id,country_iso_code\n2510769,ES\n");
    let (code, said) = import(&[&networks, "--locations", &places]);
    assert_eq!(code, 3, "so little is no edition: {said}");
    let held = host.state()["held"].clone();
    assert_eq!(held["data"]["sources"][0]["name"], "blocks.csv");

    for (words, code) in [(&["/nowhere"][..], 2), (&["/dev/zero"], 2), (&[&*whole, "/"], 2)] {
        assert_eq!(import(words).0, code, "{words:?}");
    }
    assert_eq!(host.country(MADRID), "CN");
}
