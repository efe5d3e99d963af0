//! Two who are inside already when a filter comes: [`open_flow`], an attacker whose connections are open, and
//! [`hosting`], bots in hosting networks of the country that is let in.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Result, ensure};
use geofilter_core::country::CountryCode;
use geofilter_core::world::World;

use crate::addresses::Addresses;
use crate::asterisk::Asterisk;
use crate::attack::is_answered;
use crate::process::Agent;
use crate::siege::{ALLOWED, Defence, pbx, set_up};
use crate::sip;
use crate::site::{PBX_V4, SIP, Site, WAN};

/// Far longer than Asterisk takes to answer.
const SILENCE: Duration = Duration::from_millis(300);
/// Guesses of an attacker over each protocol.
const GUESSES: u32 = 6;

/// How many of so many were answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Answered {
    /// Of these.
    pub of: usize,
    /// So many.
    pub answered: usize,
}

impl Answered {
    /// One more.
    pub fn add(&mut self, answered: bool) {
        self.of += 1;
        self.answered += usize::from(answered);
    }
}

/// An attacker in a blocked country who is answered over UDP from a fixed port and over a TCP connection goes on over
/// both once the defence is there: what is answered before, and after.
///
/// # Errors
/// If something does not start.
pub fn open_flow(world: &World, defence: Defence) -> Result<[Answered; 2]> {
    let source = SocketAddr::from((Addresses::new(world).v4("CN"), 5068));
    let site = Site::new()?;
    // Every flow is tracked from its first packet on, as it is where rules for connections stand.
    site.host.feed(
        "nft",
        &["-f", "-"],
        "add table inet tracked\nadd chain inet tracked input { type filter hook input priority 0; }\n\
         add rule inet tracked input ct state established,related accept\n",
    )?;
    let _asterisk = Asterisk::start(&site.host, &pbx())?;
    let udp = site.anywhere(source.ip(), source.port())?;
    udp.set_read_timeout(Some(SILENCE))?;
    let mut tcp = site.connect_from(source, SILENCE)?;
    tcp.set_read_timeout(Some(SILENCE))?;
    let mut guess = |extensions: std::ops::Range<u32>| -> Result<Answered> {
        let mut answered = Answered::default();
        for extension in extensions {
            udp.send_to(sip::register(source, "UDP", extension).as_bytes(), (PBX_V4, SIP))?;
            let mut buffer = [0; 4096];
            answered.add(udp.recv(&mut buffer).is_ok());
            // A connection that was reset is not answered either.
            let asked = tcp.write_all(sip::register(source, "TCP", extension).as_bytes());
            answered.add(asked.is_ok() && tcp.read(&mut buffer).is_ok_and(|length| length > 0));
        }
        Ok(answered)
    };
    let before = guess(1000..1000 + GUESSES)?;
    let _agent = set_up(&site, world, defence)?;
    Ok([before, guess(1000 + GUESSES..1000 + 2 * GUESSES)?])
}

/// With `hosting = drop`: which bots in hosting networks of the country that is let in are answered, and which phones
/// in its other networks.
///
/// # Errors
/// If something does not start.
pub fn hosting(world: &World, backend: &str, each: usize) -> Result<[Answered; 2]> {
    let site = Site::new()?;
    let _asterisk = Asterisk::start(&site.host, &pbx())?;
    let agent = Agent::start(&site.host, &["--backend", backend, "--interface", WAN])?;
    let country = ALLOWED[0];
    // There is no trunk here that could be in a hosting network.
    let accept = ["--accept-risk", "lose-trunk", "--yes"];
    agent.json(&[&["allow", country, "--hosting", "drop"][..], &accept].concat())?;
    let bots = hosted(world, country, each);
    let phones = Addresses::new(world).several_v4(country, each);
    ensure!(bots.len() == each && phones.len() == each, "{country} has too few networks");
    let ask = |sources: &[Ipv4Addr]| -> Result<Answered> {
        let mut answered = Answered::default();
        for source in sources {
            let socket: UdpSocket = site.anywhere(*source, SIP)?;
            socket.set_read_timeout(Some(SILENCE))?;
            answered.add(is_answered(&socket)?);
        }
        Ok(answered)
    };
    Ok([ask(&bots)?, ask(&phones)?])
}

/// So many addresses in hosting networks of a country, each in another range.
fn hosted(world: &World, country: &str, count: usize) -> Vec<Ipv4Addr> {
    let wanted = CountryCode::parse(country).map(|code| code.id()).unwrap_or_default();
    let is_one = |address: Ipv4Addr| {
        let entry = world.lookup(IpAddr::V4(address));
        entry.primary == wanted && entry.hosting && !entry.disputed()
    };
    let starts = world.v4().iter().map(|(start, _)| Ipv4Addr::from(start | 0x10));
    starts.filter(|address| is_one(*address)).take(count).collect()
}
