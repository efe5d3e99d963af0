//! Promise 7: for any address what happens to it and why, and what was dropped lately.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use geofilter_core::geodata::embedded;
use geofilter_lab::addresses::Addresses;
use geofilter_lab::nameserver::NameServer;
use geofilter_lab::phones::BACKENDS;
use geofilter_lab::process::Agent;
use geofilter_lab::site::{PBX_V4, PBX_V6, SIP, Site, WAN};
use serde_json::Value;

const REGISTER: &[u8] = b"REGISTER sip:pbx.example SIP/2.0\r\nVia: SIP/2.0/UDP 1.2.3.4\r\n\
    User-Agent: friendly-scanner\r\nContent-Length: 0\r\n\r\n";

/// The log, once it has this many entries.
fn log(agent: &Agent<'_>, entries: usize) -> Vec<Value> {
    let since = Instant::now();
    loop {
        let output = agent.ask(&["log", "--json"]).unwrap();
        let lines = String::from_utf8(output.stdout).unwrap();
        let log: Vec<Value> =
            lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        if log.len() >= entries {
            return log;
        }
        assert!(since.elapsed() < Duration::from_secs(5), "{lines}");
    }
}

#[test]
fn the_log_tells_of_every_drop() {
    let world = embedded::world().unwrap().world;
    let addresses = Addresses::new(&world);
    for backend in ["xdp", "tc", "nft"] {
        let site = Site::new().unwrap();
        let words = ["--backend", backend, "--interface", WAN];
        let agent = Agent::start(&site.host, &words).unwrap();
        agent.json(&["allow", "ES", "--yes"]).unwrap();
        let (v4, v6): (IpAddr, IpAddr) = (addresses.v4("CN").into(), addresses.v6("RU").into());
        site.anywhere(v4, 4444).unwrap().send_to(REGISTER, (PBX_V4, SIP)).unwrap();
        site.anywhere(v6, 5555).unwrap().send_to(REGISTER, (PBX_V6, SIP)).unwrap();
        let log = log(&agent, 2);
        for (entry, source, country, port) in [(&log[0], v4, "CN", 4444), (&log[1], v6, "RU", 5555)]
        {
            assert_eq!(entry["source"], source.to_string(), "{entry}");
            assert_eq!(entry["country"], country, "{entry}");
            assert_eq!(entry["source_port"], port, "{entry}");
            assert_eq!(entry["reason"], "country", "{entry}");
            assert_eq!(entry["method"], "REGISTER", "{entry}");
            assert_eq!(entry["user_agent"], "friendly-scanner", "{entry}");
        }
    }
}

/// How many entries of the log are of each source, and how many drops they stand for.
fn by_source(log: &[Value]) -> BTreeMap<String, (u64, u64)> {
    let mut sources = BTreeMap::new();
    for entry in log {
        let (entries, packets) =
            sources.entry(entry["source"].as_str().unwrap().to_owned()).or_insert((0, 0));
        *entries += 1;
        *packets += entry["packets"].as_u64().unwrap();
    }
    sources
}

/// A flood ends, also if the test fails.
const LONGEST_FLOOD: Duration = Duration::from_secs(30);

/// Waits until the log shows every drop of these sources, so many of each.
fn shown_each(agent: &Agent<'_>, sources: &[IpAddr], drops: u64) {
    let since = Instant::now();
    loop {
        let shown = by_source(&log(agent, 0));
        let of =
            |source: &IpAddr| shown.get(&source.to_string()).map_or(0, |(entries, _)| *entries);
        let hidden: Vec<_> = sources.iter().filter(|source| of(source) != drops).collect();
        if hidden.is_empty() {
            return;
        }
        assert!(since.elapsed() < Duration::from_secs(5), "not shown {drops} times: {hidden:?}");
    }
}

#[test]
fn a_flood_hides_nobody_and_what_is_not_told_is_counted() {
    let world = embedded::world().unwrap().world;
    let addresses = Addresses::new(&world);
    for backend in BACKENDS {
        let site = Site::new().unwrap();
        let agent = Agent::start(&site.host, &["--backend", backend, "--interface", WAN]).unwrap();
        agent.json(&["allow", "ES", "--yes"]).unwrap();
        let floods = addresses.several_v4("CN", 60);
        let quiet: Vec<IpAddr> =
            addresses.several_v4("RU", 30).into_iter().map(IpAddr::V4).collect();
        let quiet =
            [quiet, addresses.several_v6("RU", 10).into_iter().map(IpAddr::V6).collect()].concat();
        let flooding: Vec<_> = floods.iter().map(|it| site.anywhere(*it, 0).unwrap()).collect();
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                let since = Instant::now();
                while !stop.load(Ordering::Relaxed) && since.elapsed() < LONGEST_FLOOD {
                    for socket in &flooding {
                        socket.send_to(REGISTER, (PBX_V4, SIP)).unwrap();
                    }
                }
            });
            // The flood is known by then.
            thread::sleep(Duration::from_secs(2));
            for round in 1..=3 {
                for source in &quiet {
                    site.send(*source, SIP, REGISTER).unwrap();
                    thread::sleep(Duration::from_millis(10));
                }
                shown_each(&agent, &quiet, round);
            }
            stop.store(true, Ordering::Relaxed);
        });
        // The last ones are read within a tenth of a second.
        thread::sleep(Duration::from_millis(500));
        let sources = by_source(&log(&agent, quiet.len() * 3));
        let dropped = agent.json(&["status"]).unwrap();
        let packets = dropped["dropped"]["packets"].as_u64().unwrap();
        let told: u64 = sources.values().map(|(entries, _)| entries).sum();
        assert!(packets > 20_000, "{backend}: the flood was none: {packets}");
        assert!(told < packets / 10, "{backend}: {told} entries of {packets} drops");
        assert_eq!(told + dropped["skipped_events"].as_u64().unwrap(), packets, "{backend}");
        let stands_for: u64 = floods.iter().map(|it| sources[&it.to_string()].1).sum();
        assert!(stands_for > packets / 10, "{backend}: entries say how much they stand for");
    }
}

#[test]
fn why_takes_host_names() {
    let world = embedded::world().unwrap().world;
    let addresses = Addresses::new(&world);
    let site = Site::new().unwrap();
    let names = NameServer::start(&site.host, 53).unwrap();
    let (abroad, home) = (addresses.v4("CN"), addresses.v4("ES"));
    names.set(&[abroad, home]);
    let agent = Agent::start(&site.host, &["--backend", "tc", "--interface", WAN]).unwrap();
    agent.json(&["allow", "ES", "--yes"]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let resolv = folder.path().join("resolv.conf");
    std::fs::write(&resolv, format!("nameserver {}\n", names.at.ip())).unwrap();
    let socket = agent.runtime_dir().join("agent.sock");
    let ask = |name: &str| {
        let script = format!(
            "mount --bind {} /etc/resolv.conf && exec {} why {name} --json --socket {}",
            resolv.display(),
            geofilter_lab::process::binary().unwrap().display(),
            socket.display()
        );
        let mut command = std::process::Command::new("unshare");
        command.args(["--mount", "sh", "-c", &script]);
        site.host.inside(move || command.output()).unwrap().unwrap()
    };
    let output = ask("trunk.example.net");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let why: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(why["name"], "trunk.example.net");
    let verdict = |address: &str| {
        let addresses = why["addresses"].as_array().unwrap();
        addresses.iter().find(|why| why["address"] == address).unwrap()["verdict"].clone()
    };
    assert_eq!(verdict(&abroad.to_string()), "drop");
    assert_eq!(verdict(&home.to_string()), "pass");
    names.set(&[]);
    let unknown = ask("nobody.example.net");
    assert_eq!(unknown.status.code(), Some(1));
    let said = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(said.contains("nobody.example.net cannot be resolved"), "{said}");
}

#[test]
fn why_says_what_the_kernel_does() {
    let world = embedded::world().unwrap().world;
    let addresses = Addresses::new(&world);
    let site = Site::new().unwrap();
    let agent = Agent::start(&site.host, &["--backend", "tc", "--interface", WAN]).unwrap();
    agent.json(&["allow", "ES", "PT", "--yes"]).unwrap();
    let cases: [(IpAddr, &str, &str); 5] = [
        (addresses.v4("ES").into(), "pass", "country"),
        (addresses.v6("PT").into(), "pass", "country"),
        (addresses.v4("CN").into(), "drop", "country"),
        (addresses.v6("CN").into(), "drop", "country"),
        (addresses.unknown_v4().into(), "drop", "unknown"),
    ];
    for (address, verdict, reason) in cases {
        let why = agent.json(&["why", &address.to_string()]).unwrap();
        assert_eq!((&why["verdict"], &why["reason"]), (&verdict.into(), &reason.into()), "{why}");
        assert_eq!(why["address"], address.to_string());
    }
    let other_port = agent.json(&["why", "8.8.8.8", "--port", "53", "--proto", "udp"]).unwrap();
    assert_eq!(other_port["reason"], "out-of-scope");
}
