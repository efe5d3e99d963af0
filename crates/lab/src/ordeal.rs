//! [`costs_nothing`]: calls through a real PBX, and an attack on it, while something becomes of the agent. For tests: it fails
//! by panicking.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};

use geofilter_core::geodata::embedded;

use crate::addresses::Addresses;
use crate::asterisk::{Asterisk, Config};
use crate::calls::{Calls, EXTENSION, NAME};
use crate::flood::{Aim, Flood};
use crate::namespace::Namespace;
use crate::process::Agent;
use crate::processors::pinned;
use crate::siege::blocked;
use crate::site::{Site, WAN};

const CALLS: usize = 20;
const A_SECOND: u32 = 20_000;
/// How long each call is.
const LONG: Duration = Duration::from_secs(2);
/// The processor of PBX, callers and agent: what sending a flood costs is not theirs.
const APART: usize = 1;

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

/// How many packets the agent knows to be dropped.
pub fn dropped(agent: &Agent<'_>) -> u64 {
    agent.json(&["status"]).unwrap()["dropped"]["packets"].as_u64().unwrap()
}

/// Does something to the agent during both: no packet of the attack arrives, and no call loses one. The agent is
/// prepared, and not started, when `begin` gets it. What `change` returns is how many drops were counted, and are not any more.
pub fn costs_nothing(
    backend: &str,
    begin: impl FnOnce(&mut Agent<'_>) + Send,
    change: impl FnOnce(&mut Agent<'_>) -> u64 + Send,
) {
    pinned(APART, || go_through(backend, begin, change)).unwrap();
}

fn go_through(
    backend: &str,
    begin: impl FnOnce(&mut Agent<'_>),
    change: impl FnOnce(&mut Agent<'_>) -> u64,
) {
    let world = embedded::world().unwrap().world;
    let addresses = Addresses::new(&world);
    let site = Site::with_queues(APART + 1).unwrap();
    let callers = addresses.several_v4("ES", CALLS);
    count_intruders(&site.host, &callers);
    let config = Config::new().endpoint(NAME).echo("phones", EXTENSION);
    let asterisk = Asterisk::start(&site.host, &config).unwrap();
    let words = ["--backend", backend, "--interface", WAN];
    let mut agent = Agent::prepare(&site.host, &words).unwrap();
    begin(&mut agent);
    agent.json(&["allow", "ES", "--yes"]).unwrap();
    let flood = Flood::start(&site, &addresses, &blocked(), Aim::Pbx, Some(A_SECOND)).unwrap();
    let began = Instant::now();
    let calls = Calls::from(&site, &callers, LONG).unwrap();
    // Until all of them go on.
    thread::sleep(LONG);
    let counted = change(&mut agent);
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
    let dropped = counted + dropped(&agent);
    assert!(dropped as f64 > least * time.as_secs_f64(), "{backend}");
}
