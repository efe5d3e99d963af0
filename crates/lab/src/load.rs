//! [`Load`]: calls at a real Asterisk, first alone and then during a flood, behind each defence, and what both cost.

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use geofilter_core::world::World;

use crate::addresses::Addresses;
use crate::asterisk::Asterisk;
use crate::calls::{Calls, EXTENSION, NAME, Report};
use crate::fail2ban::{Fail2ban, asterisk_jail};
use crate::flood::Flood;
use crate::intruders::Answered;
use crate::siege::{ALLOWED, BOTS, Defence, pbx, set_up};
use crate::sip;
use crate::site::{PBX_V4, SIP, Site, next};

/// How long each call is.
const LONG: Duration = Duration::from_secs(2);
/// Where the trunk is.
const TRUNK: &str = "CN";
/// How long it waits for an answer.
const TRUNK_WAITS: Duration = Duration::from_millis(500);

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Calls at a time.
    pub calls: usize,
    /// How long, once all of them go on.
    pub time: Duration,
    /// Requests of the flood a second; as many as there can be if that is not said.
    pub a_second: Option<u32>,
}

/// What came of it.
#[derive(Debug, Clone)]
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

/// What came of the calls in one of the two.
#[derive(Debug, Clone)]
pub struct Share {
    /// Of the calls.
    pub report: Report,
    /// What Asterisk spent: 1 is one processor all the time.
    pub cpu: f64,
}

impl Outcome {
    /// How much longer the slowest of a hundred calls took to set up.
    pub fn set_up(&self) -> f64 {
        let slowest = |share: &Share| share.report.set_up_within(0.99).as_secs_f64();
        slowest(&self.flooded) / slowest(&self.alone)
    }

    /// How much more Asterisk spent.
    pub fn cpu(&self) -> f64 {
        self.flooded.cpu / self.alone.cpu
    }
}

impl Load {
    /// Measures.
    ///
    /// # Errors
    /// If something of it does not start.
    pub fn measure(&self, world: &World, defence: Defence) -> Result<Outcome> {
        let addresses = Addresses::new(world);
        let site = Site::new()?;
        let at = SocketAddr::from((addresses.v4(TRUNK), SIP));
        // It hears the PBX ask from the start, and says nothing itself before the flood.
        let trunk = site.anywhere(at.ip(), at.port())?;
        let config = pbx().endpoint(NAME).echo("phones", EXTENSION);
        let config = config
            .trunk_qualified_every("trunk", 1, at)
            .identify("trunk", &format!("{}/32", at.ip()));
        let asterisk = Asterisk::start(&site.host, &config)?;
        let messages = asterisk.logs().join("messages.log");
        let mut fail2ban = Fail2ban::install(&asterisk_jail(&[&messages], ""))?;
        if defence != Defence::Nothing {
            fail2ban.start(&site.host)?;
        }
        let _agent = set_up(&site, world, defence)?;
        let alone = self.calls(&site, &addresses, &asterisk)?;
        let blocked: Vec<_> =
            BOTS.iter().copied().filter(|country| !ALLOWED.contains(country)).collect();
        let flood = Flood::start(&site, &addresses, &blocked, self.a_second)?;
        let (flooded, trunk) = thread::scope(|scope| {
            let asking = scope.spawn(|| ask(&trunk, LONG + self.time));
            (self.calls(&site, &addresses, &asterisk), asking.join())
        });
        let a_second = flood.finish()?;
        let trunk = trunk.map_err(|_| anyhow!("the trunk panicked"))??;
        Ok(Outcome { alone, flooded: flooded?, a_second, trunk })
    }

    fn calls(&self, site: &Site, addresses: &Addresses<'_>, asterisk: &Asterisk) -> Result<Share> {
        let calls = Calls::start(site, addresses, ALLOWED[0], self.calls, LONG)?;
        sleep(LONG);
        let (before, began) = (spent(asterisk)?, Instant::now());
        sleep(self.time);
        let cpu = (spent(asterisk)? - before).as_secs_f64() / began.elapsed().as_secs_f64();
        Ok(Share { report: calls.finish()?, cpu })
    }
}

/// A trunk asks the PBX something ten times a second.
fn ask(trunk: &UdpSocket, time: Duration) -> Result<Answered> {
    let (began, mut answered) = (Instant::now(), Answered::default());
    trunk.set_read_timeout(Some(TRUNK_WAITS))?;
    while began.elapsed() < time {
        let extension = 5000 + answered.of as u32;
        let request = sip::register(trunk.local_addr()?, "UDP", extension);
        // fail2ban would take more for a guess.
        let request = request.replace("REGISTER", "OPTIONS");
        trunk.send_to(request.as_bytes(), (PBX_V4, SIP))?;
        let it = format!("From: <sip:{extension}@");
        let is_it = |text: &str| text.starts_with("SIP/2.0 ") && text.contains(&it);
        let asked = Instant::now();
        // The PBX asks too, and is not answered.
        let heard =
            std::iter::from_fn(|| (asked.elapsed() < TRUNK_WAITS).then(|| next(trunk).ok())?)
                .any(|(text, _)| is_it(&text));
        answered.add(heard);
        thread::sleep(Duration::from_millis(100));
    }
    Ok(answered)
}

/// The time that Asterisk spent on processors.
fn spent(asterisk: &Asterisk) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", asterisk.pid()?))?;
    let (_, fields) = stat.rsplit_once(')').context("the fields of a process")?;
    let ticks: u64 = fields.split_whitespace().skip(11).take(2).flat_map(str::parse::<u64>).sum();
    Ok(Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second()))
}
