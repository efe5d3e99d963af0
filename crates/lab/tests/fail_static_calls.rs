//! Promise 10: whatever becomes of the agent during an attack, no packet of it gets in, and no call loses one.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::thread;
use std::time::{Duration, Instant};

use geofilter_lab::ordeal::costs_nothing;
use geofilter_lab::process::Agent;
use rustix::process::Signal;

/// With nobody there.
const A_WHILE: Duration = Duration::from_millis(200);

/// What becomes of the agent.
const ENDS: [(&str, Signal); 5] = [
    ("it crashes", Signal::SEGV),
    ("it aborts", Signal::ABORT),
    ("it is killed", Signal::KILL),
    ("it is restarted, as for an upgrade", Signal::TERM),
    ("it reads its configuration anew", Signal::HUP),
];

fn end_in_each_way(agent: &mut Agent<'_>) -> u64 {
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
                thread::sleep(A_WHILE);
                agent.restart(None).unwrap();
            }
        }
    }
    // The kernel counts on.
    0
}

#[test]
fn an_agent_that_ends_in_any_way_during_an_attack_lets_nobody_in_and_costs_no_call_a_packet() {
    for backend in ["xdp", "tc", "nft"] {
        costs_nothing(backend, |agent| agent.restart(None).unwrap(), end_in_each_way);
    }
}
