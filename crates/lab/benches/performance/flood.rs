//! What the agent computes while frames are dropped as fast as they come, the attack log above all.

use std::fs;
use std::net::IpAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use geofilter_lab::generator::{Generator, SOURCES};
use geofilter_lab::gun::Draw;
use geofilter_lab::process::Agent;
use geofilter_lab::rivals::lists::Family;
use geofilter_lab::site::Site;
use rustix::process::Pid;

use crate::data::Data;
use crate::host::{self, fire};
use crate::report::{Bound, Goal, Report, Unit};
use crate::rounds;
use crate::statistics::Spread;

const TIME: Duration = Duration::from_secs(2);

const fn share(measure: &'static str) -> Goal {
    Goal { measure, unit: Unit::Percent, must: Bound::AtMost(2.0), stretch: Bound::Any }
}

const FLOODS: [(usize, Goal); 3] = [
    (1, share("agent's share of a core, flood from 1 source")),
    (1_000, share("agent's share of a core, flood from 1,000 sources")),
    (SOURCES, share("agent's share of a core, flood from 65,536 sources")),
];

/// Measures it with the real agent.
pub(crate) fn measure(data: &Data, report: &mut Report) -> Result<()> {
    let site = Site::new()?;
    let agent = host::agent(&site, "xdp")?;
    let pid = agent.pid().context("no agent runs")?;
    let senders = data.senders(&mut Draw::new(&data.world), Family::V4);
    thread::sleep(TIME);
    let (began, since) = (Instant::now(), computed(pid)?);
    thread::sleep(TIME);
    let idle = (computed(pid)? - since) / began.elapsed().as_secs_f64() * 100.0;
    for (count, goal) in FLOODS {
        let sources: Vec<IpAddr> = senders[..count].to_vec();
        let mut generator = Generator::new(&site.internet, "net0", &sources)?;
        let (mut shares, mut rates) = (Vec::new(), Vec::new());
        for round in 0..rounds() {
            eprintln!("round {} of {}: flood from {count}", round + 1, rounds());
            let (dropped, since, began) = (dropped(&agent)?, computed(pid)?, Instant::now());
            fire(&mut generator, TIME)?;
            let (share, seconds) = (computed(pid)? - since, began.elapsed().as_secs_f64());
            shares.push(share / seconds * 100.0);
            rates.push((self::dropped(&agent)? - dropped) / seconds);
        }
        let rate = Unit::Rate.write(Spread::of(rates).median);
        let from = format!("at {rate} drops; {} when nothing comes", Unit::Percent.write(idle));
        report.add(goal, Spread::of(shares), from);
    }
    Ok(())
}

fn dropped(agent: &Agent<'_>) -> Result<f64> {
    agent.json(&["status"])?["dropped"]["packets"].as_f64().context("no count of drops")
}

/// Seconds that the threads of a process have computed.
fn computed(pid: Pid) -> Result<f64> {
    let mut nanoseconds = 0.0;
    for thread in fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero()))? {
        // It may have ended since.
        let Ok(times) = fs::read_to_string(thread?.path().join("schedstat")) else { continue };
        let time = times.split(' ').next().context("no schedstat")?;
        nanoseconds += time.parse::<f64>()?;
    }
    Ok(nanoseconds / 1e9)
}
