//! What the agent costs under a flood, the attack log above all: its processor time while frames from one
//! source, a thousand or 65,536 are dropped as fast as they come. Needs root, and the release binary.

#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::thread;
use std::time::{Duration, Instant};

use geofilter_core::geodata::embedded;
use geofilter_lab::gun::{Draw, Gun, frame};
use geofilter_lab::process::Agent;
use geofilter_lab::site::{Site, WAN};
use rustix::process::Pid;

/// Bots, all of which flood.
const SOURCES: [usize; 3] = [1, 1_000, 65_536];
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(4);
/// Clock ticks of /proc in a second.
const TICKS: f64 = 100.0;
/// Drops a second that the goal is for.
const GOAL: f64 = 1e6;

/// Seconds that a process has computed.
fn computed(pid: Pid) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11..13].iter().map(|ticks| ticks.parse::<f64>().unwrap()).sum::<f64>() / TICKS
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Drops a second, and the share of a core that the agent computed meanwhile.
fn flood(gun: &Gun, frames: &[Vec<u8>], agent: &Agent<'_>) -> (f64, f64) {
    let pid = agent.pid().unwrap();
    let dropped = || agent.json(&["status"]).unwrap()["dropped"]["packets"].as_u64().unwrap();
    let (before, since, began) = (dropped(), computed(pid), Instant::now());
    while began.elapsed() < ROUND {
        gun.fire(frames).unwrap();
    }
    let (seconds, computed) = (began.elapsed().as_secs_f64(), computed(pid) - since);
    ((dropped() - before) as f64 / seconds, computed / seconds)
}

fn main() {
    let world = embedded::world().unwrap().world;
    let site = Site::new().unwrap();
    let agent = Agent::start(&site.host, &["--backend", "xdp", "--interface", WAN]).unwrap();
    agent.json(&["allow", "AD", "--yes"]).unwrap();
    let gun = Gun::new(&site.internet, "net0").unwrap();
    thread::sleep(Duration::from_secs(2));
    let idle = {
        let (pid, began) = (agent.pid().unwrap(), Instant::now());
        let since = computed(pid);
        thread::sleep(ROUND);
        (computed(pid) - since) / began.elapsed().as_secs_f64()
    };
    println!("the agent takes {:.2} % of a core while nothing comes", idle * 100.0);
    for count in SOURCES {
        let mut draw = Draw::new(&world);
        let mut frames: Vec<Vec<u8>> = (0..count).map(|_| frame(draw.v4().into())).collect();
        while frames.len() < 4_096 {
            frames.extend_from_within(..);
        }
        let rounds: Vec<(f64, f64)> = (0..ROUNDS).map(|_| flood(&gun, &frames, &agent)).collect();
        let rate = median(rounds.iter().map(|(rate, _)| *rate).collect());
        let share = median(rounds.iter().map(|(_, share)| *share).collect());
        println!(
            "{count} sources: {:.2} M drops/s; the agent takes {:.2} % of a core",
            rate / GOAL,
            share * 100.0
        );
    }
}
