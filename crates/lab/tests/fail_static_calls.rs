//! Promise 10: whatever becomes of the agent during an attack, no packet of it gets in, and no call loses one.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};

use geofilter_core::geodata::embedded;
use geofilter_lab::addresses::Addresses;
use geofilter_lab::asterisk::{Asterisk, Config};
use geofilter_lab::calls::{Calls, EXTENSION, NAME};
use geofilter_lab::flood::{Aim, Flood};
use geofilter_lab::namespace::Namespace;
use geofilter_lab::process::Agent;
use geofilter_lab::processors::pinned;
use geofilter_lab::siege::blocked;
use geofilter_lab::site::{Site, WAN};
use rustix::process::Signal;

const CALLS: usize = 20;
const A_SECOND: u32 = 20_000;
/// How long each call is.
const LONG: Duration = Duration::from_secs(2);
/// The processor of PBX, callers and agent: what sending a flood costs is not theirs.
const APART: usize = 1;

/// What becomes of the agent.
const ENDS: [(&str, Signal); 5] = [
    ("it crashes", Signal::SEGV),
    ("it aborts", Signal::ABORT),
    ("it is killed", Signal::KILL),
    ("it is restarted, as for an upgrade", Signal::TERM),
    ("it reads its configuration anew", Signal::HUP),
];

/// Counts whatever arrives behind the filter for the PBX and is not from a caller.
fn count_intruders(host: &Namespace, callers: &[Ipv4Addr]) {
    let callers: Vec<String> = callers.iter().map(ToString::to_string).collect();
    let rules = format!(
        "table inet intruders {{\n set callers {{ type ipv4_addr; elements = {{ {} }} }}\n\
         chain arrives {{ type filter hook prerouting priority -300;\n\
         udp dport 5060 ip saddr != @callers counter\n udp dport 5060 ip saddr @callers counter\n }}\n}}\n",
        callers.join(", ")
    );
    host.feed("nft", &["-f", "-"], &rules).unwrap();
}

/// How many of the others arrived, and of the callers' requests.
fn arrived(host: &Namespace) -> [u64; 2] {
    let rules = host.command("nft", &["list", "chain", "inet", "intruders", "arrives"]).unwrap();
    let counts = rules.split("counter packets ").skip(1);
    let counts = counts.map(|rest| rest.split(' ').next().unwrap().parse().unwrap());
    counts.collect::<Vec<u64>>().try_into().unwrap()
}

fn end_in_each_way(agent: &mut Agent<'_>) {
    for (what, signal) in ENDS {
        println!("{what}");
        let lines = agent.log().lines().count();
        agent.signal(signal).unwrap();
        match signal {
            Signal::HUP => {
                let since = Instant::now();
                while !agent.log().lines().skip(lines).any(|line| line.contains("read anew")) {
                    assert!(since.elapsed() < Duration::from_secs(5), "{}", agent.log());
                }
            }
            _ => {
                // A real crash happens again when the handler of the first one has looked at it.
                while signal == Signal::SEGV && !agent.ended().unwrap() {
                    let _ = agent.signal(signal);
                }
                agent.wait_for_the_end().unwrap();
                // A while with nobody there.
                thread::sleep(LONG / 10);
                agent.restart(None).unwrap();
            }
        }
    }
}

fn ends_cost_nothing(backend: &str) {
    let world = embedded::world().unwrap().world;
    let addresses = Addresses::new(&world);
    let site = Site::with_queues(APART + 1).unwrap();
    let callers = addresses.several_v4("ES", CALLS);
    count_intruders(&site.host, &callers);
    let config = Config::new().endpoint(NAME).echo("phones", EXTENSION);
    let asterisk = Asterisk::start(&site.host, &config).unwrap();
    let mut agent = Agent::start(&site.host, &["--backend", backend, "--interface", WAN]).unwrap();
    agent.json(&["allow", "ES", "--yes"]).unwrap();
    let dropped = |agent: &Agent<'_>| {
        agent.json(&["status"]).unwrap()["dropped"]["packets"].as_u64().unwrap()
    };
    let flood = Flood::start(&site, &addresses, &blocked(), Aim::Pbx, Some(A_SECOND)).unwrap();
    let began = Instant::now();
    let calls = Calls::from(&site, &callers, LONG).unwrap();
    // Until all of them go on.
    thread::sleep(LONG);
    end_in_each_way(&mut agent);
    thread::sleep(LONG / 2);
    let report = calls.finish().unwrap();
    let time = began.elapsed();
    let a_second = flood.finish().unwrap();
    println!("{backend}: {a_second:.0}/s for {time:?}, {:?}, late {:?}", report.heard, report.late);
    assert_eq!(report.harm(), (0, 0, 0), "{backend}: {report:?} {}", asterisk.log());
    assert!(report.calls > CALLS, "{report:?}");
    let [intruders, of_callers] = arrived(&site.host);
    assert_eq!(intruders, 0, "{backend}: of {a_second}/s");
    assert!(of_callers > 0, "it counts");
    let least = f64::from(A_SECOND) * 0.75;
    assert!(a_second > least, "{backend}: {a_second} a second");
    // All of them were dropped by the filter, also while nobody was there.
    assert!(dropped(&agent) as f64 > least * time.as_secs_f64(), "{backend}");
}

#[test]
fn an_agent_that_ends_in_any_way_during_an_attack_lets_nobody_in_and_costs_no_call_a_packet() {
    for backend in ["xdp", "tc"] {
        pinned(APART, || ends_cost_nothing(backend)).unwrap();
    }
}
