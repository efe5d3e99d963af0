//! [`Load`]: calls at a real Asterisk, by turns alone and during a flood, behind each defence, and what both cost.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use geofilter_core::world::World;

use crate::addresses::Addresses;
use crate::asterisk::Asterisk;
use crate::calls::{Calls, EXTENSION, NAME, Report};
use crate::fail2ban::{Fail2ban, asterisk_jail};
use crate::flood::{Aim, Flood};
use crate::intruders::Answered;
use crate::processors::pinned;
use crate::siege::{ALLOWED, Defence, blocked, pbx, set_up};
use crate::site::Site;
use crate::trunk::Trunk;

/// How long each call is.
const LONG: Duration = Duration::from_secs(2);
/// The processor of PBX and callers, the next one. What a flood costs its [sender](crate::flood::FLOOD_ON) costs them nothing.
const CALLS_ON: usize = 1;

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Calls at a time.
    pub calls: usize,
    /// How long in each round, once all of them go on.
    pub time: Duration,
    /// How often alone and flooded, by turns.
    pub rounds: usize,
    /// Whom the flood is for.
    pub aim: Aim,
    /// Requests of the flood a second; as many as there can be if that is not said.
    pub a_second: Option<u32>,
}

/// What came of it.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Without a flood.
    pub alone: Share,
    /// During it.
    pub flooded: Share,
    /// Requests of the flood a second.
    pub a_second: f64,
    /// How often the trunk in a blocked country asked during the flood.
    pub trunk: Answered,
}

/// What came of the calls of all rounds, alone or flooded.
#[derive(Debug, Clone, Default)]
pub struct Share {
    /// Of the calls.
    pub report: Report,
    /// What Asterisk spent, and in what time.
    pub spent: Duration,
    /// See there.
    pub time: Duration,
}

impl Share {
    /// What Asterisk spent: 1 is one processor all the time.
    pub fn cpu(&self) -> f64 {
        self.spent.as_secs_f64() / self.time.as_secs_f64()
    }

    fn add(&mut self, other: &Self) {
        let Self { report, spent, time } = other;
        self.report.add(report);
        self.spent += *spent;
        self.time += *time;
    }
}

impl Outcome {
    /// How much longer the slowest of a hundred calls took to set up.
    pub fn set_up(&self) -> f64 {
        let slowest = |share: &Share| share.report.set_up_within(0.99).as_secs_f64();
        slowest(&self.flooded) / slowest(&self.alone)
    }

    /// How much more Asterisk spent.
    pub fn cpu(&self) -> f64 {
        self.flooded.cpu() / self.alone.cpu()
    }
}

impl Load {
    /// Measures.
    ///
    /// # Errors
    /// If something of it does not start, or there is no second processor.
    pub fn measure(&self, world: &World, defence: Defence) -> Result<Outcome> {
        pinned(CALLS_ON, || self.measure_here(world, defence))?
    }

    fn measure_here(&self, world: &World, defence: Defence) -> Result<Outcome> {
        let addresses = Addresses::new(world);
        let site = Site::with_queues(CALLS_ON + 1)?;
        let trunk = Trunk::new(&site, &addresses)?;
        let config = trunk.known_to(pbx().endpoint(NAME).echo("phones", EXTENSION));
        let asterisk = Asterisk::start(&site.host, &config)?;
        let messages = asterisk.logs().join("messages.log");
        let mut fail2ban = Fail2ban::install(&asterisk_jail(&[&messages], ""))?;
        if defence != Defence::Nothing {
            fail2ban.start(&site.host)?;
        }
        let _agent = set_up(&site, world, defence)?;
        let mut outcome = Outcome::default();
        for _ in 0..self.rounds {
            outcome.alone.add(&self.calls(&site, &addresses, &asterisk)?);
            let flood = Flood::start(&site, &addresses, &blocked(), self.aim, self.a_second)?;
            let (flooded, trunk) =
                trunk.asks_during(|| self.calls(&site, &addresses, &asterisk))?;
            outcome.a_second += flood.finish()? / self.rounds as f64;
            outcome.flooded.add(&flooded?);
            outcome.trunk.of += trunk.of;
            outcome.trunk.answered += trunk.answered;
        }
        Ok(outcome)
    }

    fn calls(&self, site: &Site, addresses: &Addresses<'_>, asterisk: &Asterisk) -> Result<Share> {
        let calls = Calls::start(site, addresses, ALLOWED[0], self.calls, LONG)?;
        sleep(LONG);
        let (before, began) = (spent(asterisk)?, Instant::now());
        sleep(self.time);
        let (spent, time) = (spent(asterisk)? - before, began.elapsed());
        Ok(Share { report: calls.finish()?, spent, time })
    }
}

/// The time that Asterisk spent on processors.
fn spent(asterisk: &Asterisk) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", asterisk.pid()?))?;
    let (_, fields) = stat.rsplit_once(')').context("the fields of a process")?;
    let ticks: u64 = fields.split_whitespace().skip(11).take(2).flat_map(str::parse::<u64>).sum();
    Ok(Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second()))
}
