//! The demonstration: a PBX host and attackers from twelve countries, between network namespaces of its
//! own. Every figure it prints was measured in this run. It takes everything down, also when interrupted.

use std::net::{IpAddr, UdpSocket};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use geofilter_core::country::CountryCode;
use geofilter_core::geodata::embedded;
use geofilter_lab::addresses::Addresses;
use geofilter_lab::attack::{Gang, is_answered};
use geofilter_lab::interrupt::Interrupt;
use geofilter_lab::namespace::ensure_gone;
use geofilter_lab::process::Agent;
use geofilter_lab::site::{PBX_V4, SIP, Site, WAN};
use geofilter_lab::standin::StandIn;
use geofilter_lab::style::Style;

/// Where the attackers are; one of the countries will be allowed.
const ATTACKERS: [&str; 12] =
    ["BR", "CN", "DE", "FR", "IN", "IR", "NL", "PT", "RU", "UA", "US", "VN"];
/// Where the friendly phone is, and an attacker too.
const ALLOWED: [&str; 2] = ["ES", "PT"];

fn main() -> ExitCode {
    let interrupt = match Interrupt::listen() {
        Ok(interrupt) => interrupt,
        Err(error) => {
            eprintln!("demo: cannot listen for signals: {error}");
            return ExitCode::FAILURE;
        }
    };
    let began = Instant::now();
    let shown = Demo::new(interrupt.clone()).and_then(|demo| demo.show());
    match (shown, interrupt.came()) {
        (Ok(()), _) => {
            println!("The namespaces are gone too. {:.0} s.", began.elapsed().as_secs_f64());
            ExitCode::SUCCESS
        }
        (Err(_), true) => {
            println!("\nInterrupted: everything was taken down.");
            ExitCode::from(130)
        }
        (Err(error), false) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

struct Demo {
    interrupt: Interrupt,
    style: Style,
    gangs: Vec<Gang>,
    phone: IpAddr,
}

impl Demo {
    fn new(interrupt: Interrupt) -> Result<Self> {
        let world = embedded::world()?.world;
        let addresses = Addresses::new(&world);
        let gangs = ATTACKERS.iter().map(|country| Gang::of(country, &addresses));
        Ok(Self {
            interrupt,
            style: Style::choose(),
            gangs: gangs.collect::<Result<_>>()?,
            phone: addresses.v4(ALLOWED[0]).into(),
        })
    }

    fn show(&self) -> Result<()> {
        let site = Site::new()?;
        let pbx = StandIn::start(&site.host)?;
        let friend = site.anywhere(self.phone, SIP)?;
        self.introduce();

        self.title("Before: GeoFilter is not there");
        let before = self.attack(&site, &friend, None)?;
        ensure!(before == self.guesses(), "the lab lost packets: {before} answers");
        let reached = pbx.requests();
        println!("{before} of {} guesses were answered.", self.guesses());

        self.title("Select: only Spain and Portugal may reach the PBX");
        let agent = Agent::start(&site.host, &["--interface", WAN])?;
        self.command(&agent, &["observe"])?;
        self.command(&agent, &[&["allow"], ALLOWED.as_slice(), &["--yes"]].concat())?;

        self.title("After: the same attack again");
        let after = self.attack(&site, &friend, Some(&agent))?;
        let reached_now = pbx.requests() - reached;
        println!(
            "{after} of {} guesses were answered, all from an allowed country: what is left is work for \
             fail2ban.\nThe PBX saw {reached_now} requests instead of {reached}; {} of them were your \
             phone's.",
            self.guesses(),
            reached_now - after as u64
        );

        self.title("Why, and what the host says");
        self.command(&agent, &["why", &self.stranger()?.to_string()])?;
        self.command(&agent, &["status"])?;

        self.title("Off: the machine is as it was");
        self.command(&agent, &["off"])?;
        let back = self.attack_silently(&site, &friend)?;
        println!("\nWithout it {back} of {} guesses are answered again.", self.guesses());
        let names = [site.host.name().to_owned(), site.internet.name().to_owned()];
        drop(agent);
        drop((pbx, friend, site));
        ensure_gone(&names)
    }

    fn introduce(&self) {
        println!(
            "{}",
            self.style.bold("GeoFilter in two network namespaces: a PBX host, and the internet")
        );
        println!(
            "The PBX at {PBX_V4}:{SIP} is a stand-in: it answers every REGISTER with 401, as a PBX would, \
             and counts.\nAttackers in {} countries guess passwords: {} each, over UDP and TCP, IPv4 and \
             IPv6,\nfrom real addresses of those countries. Your phone in Spain ({}) registers too.",
            self.gangs.len(),
            self.gangs[0].guesses(),
            self.phone
        );
    }

    /// Everybody attacks, country by country; prints how many guesses were answered, and how many packets
    /// the kernel dropped. Returns the number answered.
    fn attack(&self, site: &Site, friend: &UdpSocket, agent: Option<&Agent<'_>>) -> Result<usize> {
        let dropped = if agent.is_some() { "  dropped" } else { "" };
        println!("\n{}", self.style.faint(&format!("{:28}{:>9}{dropped}", "", "answered")));
        let mut total = 0;
        for gang in &self.gangs {
            self.interrupt.go_on()?;
            let answered = gang.attack(site, friend)?;
            let dropped = agent.map(|agent| dropped_from(agent, &gang.country)).transpose()?;
            println!("{}", self.row(&gang.country, answered, gang.guesses(), dropped));
            total += answered;
        }
        ensure!(is_answered(friend)?, "the phone in Spain was not answered");
        println!("{}", self.style.green(&format!("  {:26}{:>9}", "ES Spain, your phone", "yes")));
        Ok(total)
    }

    fn attack_silently(&self, site: &Site, friend: &UdpSocket) -> Result<usize> {
        let attack = |gang: &Gang| {
            self.interrupt.go_on()?;
            gang.attack(site, friend)
        };
        self.gangs.iter().map(attack).sum()
    }

    fn row(&self, country: &str, answered: usize, guesses: usize, dropped: Option<u64>) -> String {
        let name = CountryCode::parse(country).map(|code| code.id().name()).unwrap_or_default();
        let bar =
            "█".repeat(answered * BAR / guesses) + &"·".repeat(BAR - answered * BAR / guesses);
        let dropped = dropped.map(|packets| packets.to_string()).unwrap_or_default();
        let row = format!("  {:26}{answered:>9}  {dropped:>7}  ", format!("{country} {name}"));
        let bar = if answered > 0 { self.style.red(&bar) } else { self.style.faint(&bar) };
        row + &bar
    }

    /// Runs the real command, and shows what it said and how long it took.
    fn command(&self, agent: &Agent<'_>, words: &[&str]) -> Result<()> {
        self.interrupt.go_on()?;
        let began = Instant::now();
        let output = agent.ask(words)?;
        let took = format!("{:.0} ms", began.elapsed().as_secs_f64() * 1e3);
        let line = format!("$ geofilter {}", words.join(" "));
        println!("\n{}  {}", self.style.bold(&line), self.style.faint(&took));
        print!("{}", String::from_utf8_lossy(&output.stdout));
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{line}: {}", errors.trim());
        Ok(())
    }

    fn title(&self, text: &str) {
        println!("\n{}", self.style.bold(text));
    }

    fn guesses(&self) -> usize {
        self.gangs.iter().map(Gang::guesses).sum()
    }

    /// An attacker in China, whose network is known.
    fn stranger(&self) -> Result<IpAddr> {
        let networks = embedded::asns()?;
        let chinese = self.gangs.iter().filter(|gang| gang.country == "CN");
        let mut addresses = chinese.flat_map(|gang| &gang.udp);
        let known = addresses.find(|address| networks.lookup(**address).is_some());
        known.copied().context("there is no such attacker")
    }
}

/// Width of a full bar.
const BAR: usize = 20;

fn dropped_from(agent: &Agent<'_>, country: &str) -> Result<u64> {
    let status = agent.json(&["status"])?;
    Ok(status["dropped"]["by_country"][country]["packets"].as_u64().unwrap_or(0))
}
