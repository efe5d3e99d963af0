//! Promise 7: for any address what happens to it and why, and what was dropped lately.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::IpAddr;
use std::time::{Duration, Instant};

use geofilter_core::geodata::embedded;
use geofilter_lab::addresses::Addresses;
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
    for backend in ["xdp", "tc"] {
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
