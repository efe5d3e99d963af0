//! [`Siege`]: a botnet at a real Asterisk or Kamailio, with a real fail2ban before it or without, with GeoFilter or another
//! country filter beside that or without, and what came of it.

use std::collections::HashMap;
use std::fs;
use std::net::{IpAddr, UdpSocket};
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use geofilter_core::country::select;
use geofilter_core::logs::{Attempts, Calendar, Counted, Reader, Stamp};
use geofilter_core::world::World;

use crate::addresses::Addresses;
use crate::asterisk::{Asterisk, Config};
use crate::attack::is_answered;
use crate::botnet::{Botnet, Carrier, EXTENSIONS, Pace, Tally};
use crate::fail2ban::{Fail2ban, asterisk_jail};
use crate::intruders::Answered;
use crate::kamailio::Kamailio;
use crate::process::Agent;
use crate::rivals::Rival;
use crate::rivals::lists::Lists;
use crate::site::{SIP, Site, WAN};
use crate::trunk::Trunk;

/// Where the bots are; one of the countries is let in.
pub const BOTS: [&str; 12] =
    ["BR", "CN", "DE", "FR", "IN", "IR", "NL", "PT", "RU", "UA", "US", "VN"];
/// Who may come in: the PBX's own phones, and some of the bots.
pub const ALLOWED: [&str; 2] = ["ES", "PT"];

/// The countries of [`BOTS`] that are not let in.
pub fn blocked() -> Vec<&'static str> {
    BOTS.into_iter().filter(|country| !ALLOWED.contains(country)).collect()
}

/// Milliseconds.
const YEAR: i64 = 366 * 86_400_000;

/// What stands between the bots and the PBX.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Defence {
    /// Nothing.
    Nothing,
    /// fail2ban with its stock jail for Asterisk.
    Fail2ban,
    /// The same, and GeoFilter, attached as this backend says.
    GeoFilter(&'static str),
    /// The same, and one merged nftables set of the blocked countries.
    NftSet,
}

impl Defence {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Nothing,
        Self::Fail2ban,
        Self::GeoFilter("xdp"),
        Self::GeoFilter("tc"),
        Self::NftSet,
    ];

    /// What tables call it.
    pub fn name(self) -> String {
        match self {
            Self::Nothing => "nothing".to_owned(),
            Self::Fail2ban => "fail2ban".to_owned(),
            Self::GeoFilter(backend) => format!("fail2ban, GeoFilter ({})", backend.to_uppercase()),
            Self::NftSet => "fail2ban, nftables set".to_owned(),
        }
    }
}

/// Which PBX the bots try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Asterisk 22.
    Asterisk,
    /// Kamailio 5.6, over UDP and IPv4 alone, and without fail2ban, which has no jail for it.
    Kamailio,
}

/// A PBX that runs.
enum Running {
    Asterisk(Asterisk),
    Kamailio(Kamailio),
}

/// How the bots go about it.
#[derive(Debug, Clone, Copy)]
pub struct Siege {
    /// Whom they try.
    pub target: Target,
    /// What carries their guesses.
    pub carrier: Carrier,
    /// How often each of them guesses.
    pub pace: Pace,
    /// How many there are in each country.
    pub each: usize,
}

/// What came of it, for bots of blocked countries and for those of the one that is let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// Blocked countries.
    pub blocked: Share,
    /// The allowed one.
    pub allowed: Share,
    /// How often the trunk asked meanwhile.
    pub trunk: Answered,
}

/// What came of some of the bots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Their guesses.
    pub tally: Tally,
    /// Attempts that the PBX's log tells of.
    pub logged: u64,
    /// How many of them fail2ban banned.
    pub banned: usize,
}

impl Siege {
    /// Lays it.
    ///
    /// # Errors
    /// If something of it does not start, or a phone of an allowed country is not served throughout.
    pub fn lay(&self, world: &World, defence: Defence) -> Result<Outcome> {
        let addresses = Addresses::new(world);
        let site = Site::new()?;
        let trunk = Trunk::new(&site, &addresses)?;
        let running = self.target.start(&site, &trunk)?;
        let messages = running.log();
        let mut fail2ban = Fail2ban::install(&asterisk_jail(&[&messages], ""))?;
        let has_fail2ban = defence != Defence::Nothing && self.target == Target::Asterisk;
        if has_fail2ban {
            fail2ban.start(&site.host)?;
        }
        let _agent = set_up(&site, world, defence)?;
        let phone = site.anywhere(addresses.v4(ALLOWED[0]), SIP)?;
        serve(&phone).context("before the attack")?;
        let mut botnet = Botnet::new(&site, &addresses, self.carrier, &BOTS, self.each)?;
        let (attacked, trunk) = trunk.asks_during(|| botnet.attack(self.pace))?;
        attacked?;
        serve(&phone).context("after the attack")?;
        let logged = attempts(&fs::read(&messages)?);
        let banned = match has_fail2ban {
            true => fail2ban.banned_at_last(&site.host, "asterisk")?,
            false => Vec::new(),
        };
        let share = |of_allowed: bool| {
            let chosen = |country: &str| ALLOWED.contains(&country) == of_allowed;
            let bots = botnet.addresses(chosen);
            Share {
                tally: botnet.tally(chosen),
                logged: bots.iter().filter_map(|bot| logged.get(bot)).sum(),
                banned: bots.iter().filter(|bot| banned.contains(bot)).count(),
            }
        };
        Ok(Outcome { blocked: share(false), allowed: share(true), trunk })
    }
}

impl Target {
    /// Starts it, with this trunk.
    fn start(self, site: &Site, trunk: &Trunk) -> Result<Running> {
        Ok(match self {
            Self::Asterisk => {
                Running::Asterisk(Asterisk::start(&site.host, &trunk.known_to(pbx()))?)
            }
            Self::Kamailio => Running::Kamailio(Kamailio::guarded(&site.host, &[&trunk.uri()])?),
        })
    }

    /// What tables call a defence before it.
    pub fn name_of(self, defence: Defence) -> String {
        let name = defence.name();
        match self {
            Self::Asterisk => name,
            Self::Kamailio => name.trim_start_matches("fail2ban, ").to_owned(),
        }
    }
}

impl Running {
    fn log(&self) -> PathBuf {
        match self {
            Self::Asterisk(asterisk) => asterisk.logs().join("messages.log"),
            Self::Kamailio(kamailio) => kamailio.log(),
        }
    }
}

/// Half of the extensions that are tried, with passwords.
pub fn pbx() -> Config {
    let extensions = EXTENSIONS.take(EXTENSIONS.len() / 2);
    let logger = "messages.log => notice,warning,error\n";
    extensions.fold(Config::new().logger(logger), |config, extension| {
        config.endpoint_with_password(&extension.to_string(), "correct horse battery staple")
    })
}

/// Puts a defence before the PBX, but for fail2ban.
pub(crate) fn set_up<'a>(
    site: &'a Site,
    world: &World,
    defence: Defence,
) -> Result<Option<Agent<'a>>> {
    match defence {
        Defence::Nothing | Defence::Fail2ban => Ok(None),
        Defence::GeoFilter(backend) => {
            let agent = Agent::start(&site.host, &["--backend", backend, "--interface", WAN])?;
            // An attacker whose connection is open looks like a phone.
            let words = ["--accept-risk", "lose-phones", "--yes"];
            agent.json(&[&["allow"][..], &ALLOWED, &words].concat())?;
            Ok(Some(agent))
        }
        Defence::NftSet => {
            Rival::MergedSet.install(&site.host, &Lists::new(world, select(ALLOWED)?))?;
            Ok(None)
        }
    }
}

fn serve(phone: &UdpSocket) -> Result<()> {
    ensure!(is_answered(phone)?, "the phone was not answered");
    Ok(())
}

/// The attempts that a log tells of, by address.
fn attempts(log: &[u8]) -> HashMap<IpAddr, u64> {
    let mut attempts = Attempts::default();
    let mut counted: HashMap<IpAddr, u64> = HashMap::new();
    let mut tell = |one: Counted| *counted.entry(one.source).or_default() += one.attempts;
    // The year of its dates does not matter here.
    let calendar = Calendar { now: Stamp(YEAR), ahead: 0 };
    Reader::new(calendar).read(log, |event| attempts.add(&event, &mut tell));
    attempts.finish(&mut tell);
    counted
}
