//! `make soak`: rounds of calls, floods, bots and changes at one agent that is never started anew, for as long as is
//! said. No round may harm a call or let a bot in, and what the agent holds must not grow: memory, open files, the
//! files of its state. What it held, the first rounds aside, goes into `bench/SOAK.md`.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use geofilter_core::geodata::embedded;
use geofilter_core::world::World;
use geofilter_lab::addresses::Addresses;
use geofilter_lab::asterisk::Asterisk;
use geofilter_lab::botnet::{Botnet, Carrier, Pace};
use geofilter_lab::calls::{Calls, EXTENSION, NAME};
use geofilter_lab::fail2ban::{Fail2ban, asterisk_jail};
use geofilter_lab::flood::{Aim, Flood};
use geofilter_lab::process::Agent;
use geofilter_lab::siege::{ALLOWED, blocked, pbx};
use geofilter_lab::site::{Site, WAN};
use geofilter_lab::trunk::Trunk;

/// Calls at a time, each this long.
const CALLS: usize = 20;
const LONG: Duration = Duration::from_secs(2);
/// Requests of the flood a second.
const FLOOD: u32 = 20_000;
const PACE: Pace = Pace { guesses: 4, every: Duration::from_millis(500) };
/// Bans, and exemptions, of each round.
const OVERRIDES: usize = 80;
/// Rounds that fill what is meant to be filled: caches, tables of sources, logs.
const WARM_UP: usize = 20;
/// What each of [`Held`] may grow by, of what it was after that.
const GROWTH: f64 = 0.05;

/// What an agent holds after a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Held {
    /// Resident memory in KiB.
    memory: u64,
    /// Open files, sockets and maps.
    files: u64,
    /// KiB of its state folder.
    state: u64,
}

fn main() -> Result<()> {
    let hours = std::env::args().nth(1).context("say for how many hours, as in `soak 0.5`")?;
    let hours: f64 = hours.parse().with_context(|| format!("`{hours}` is no number of hours"))?;
    ensure!(hours > 0.0 && hours < 10_000.0, "`{hours}` is no number of hours");
    let lasts = Duration::from_secs_f64(hours * 3600.0);
    let held = soak(&embedded::world()?.world, lasts)?;
    let after = held.get(WARM_UP..).unwrap_or_default();
    ensure!(after.len() >= 6, "{} rounds say nothing of growth: give it more time", held.len());
    let (text, grew) = tell(after, held.len());
    fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bench/SOAK.md"), &text)?;
    println!("{text}");
    ensure!(!grew, "something grew, see the table");
    Ok(())
}

/// What the agent held after each round.
fn soak(world: &World, lasts: Duration) -> Result<Vec<Held>> {
    let addresses = Addresses::new(world);
    let site = Site::new()?;
    let trunk = Trunk::new(&site, &addresses)?;
    let config = trunk.known_to(pbx().endpoint(NAME).echo("phones", EXTENSION));
    let asterisk = Asterisk::start(&site.host, &config)?;
    let mut fail2ban =
        Fail2ban::install(&asterisk_jail(&[&asterisk.logs().join("messages.log")], ""))?;
    fail2ban.start(&site.host)?;
    let agent = Agent::start(&site.host, &["--backend", "xdp", "--interface", WAN])?;
    let words = ["--accept-risk", "lose-phones", "--yes"];
    agent.json(&[&["allow"][..], &ALLOWED, &words].concat())?;
    let (began, mut held) = (Instant::now(), Vec::new());
    while began.elapsed() < lasts {
        let number = held.len();
        let (done, served) = trunk.asks_during(|| round(&site, &addresses, &agent, number))?;
        done.with_context(|| format!("round {number}"))?;
        ensure!(served.of == served.answered, "round {number}: the trunk: {served:?}");
        let now = Held::of(&agent)?;
        eprintln!("round {number}: {now:?}");
        held.push(now);
    }
    Ok(held)
}

/// Calls throughout, meanwhile a flood, bots, and everything an operator changes.
fn round(site: &Site, addresses: &Addresses<'_>, agent: &Agent<'_>, number: usize) -> Result<()> {
    let calls = Calls::start(site, addresses, ALLOWED[0], CALLS, LONG)?;
    sleep(LONG);
    let blocked = blocked();
    let flood = Flood::start(site, addresses, &blocked, Aim::Pbx, Some(FLOOD))?;
    let mut botnet = Botnet::new(site, addresses, Carrier::Udp, &blocked, 4)?;
    botnet.attack(PACE)?;
    ensure!(botnet.tally(|_| true).answered == 0, "a bot was answered");
    for countries in [&["ES", "PT", "FR"][..], &ALLOWED] {
        agent.json(&[&["allow"][..], countries, &["--yes"]].concat())?;
    }
    // So many that the journal of them is written anew every few rounds. Half of the rounds take theirs back.
    for (kind, third) in [("ban", 0..OVERRIDES), ("exempt", 100..100 + OVERRIDES)] {
        let addresses: Vec<_> =
            third.map(|third| format!("198.18.{third}.{}", number % 250)).collect();
        let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
        agent.json(&[&[kind, "add"][..], &addresses, &["--for", "30s"]].concat())?;
        if number.is_multiple_of(2) {
            agent.json(&[&[kind, "remove"][..], &addresses].concat())?;
        }
    }
    flood.finish()?;
    for words in [&["pause", "--for", "1m"][..], &["resume"], &["why", "192.0.2.1"], &["evidence"]]
    {
        agent.json(words)?;
    }
    let report = calls.finish()?;
    ensure!(report.harm() == (0, 0, 0), "calls were harmed: {:?}", report.harm());
    Ok(())
}

impl Held {
    fn of(agent: &Agent<'_>) -> Result<Self> {
        let pid = agent.pid().context("the agent ended")?.as_raw_pid();
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let memory = memory.and_then(|line| line.trim().strip_suffix(" kB"));
        let state = fs::read_dir(agent.state_dir())?.map(|file| Ok(file?.metadata()?.len()));
        Ok(Self {
            memory: memory.context("no VmRSS")?.parse()?,
            files: fs::read_dir(format!("/proc/{pid}/fd"))?.count() as u64,
            state: state.sum::<Result<u64>>()? / 1024,
        })
    }
}

/// A table of the first and the last third of the rounds, and whether anything grew.
fn tell(held: &[Held], rounds: usize) -> (String, bool) {
    let mut text = format!(
        "# What an agent holds after hours of attacks\n\nWritten by `make soak`: {rounds} rounds of {CALLS} calls at a time, a \
         flood of {FLOOD} requests a second, bots in {} blocked countries, changes of countries, bans, exemptions and pauses, \
         at one agent that was never started anew. In each no call was harmed, no bot answered, and a trunk in a blocked \
         country always served. Most in the first third of the rounds after {WARM_UP}, and in the last. Must: grown by at \
         most {:.0} %.\n\n| held | first third | last third | grown | met |\n|---|---|---|---|---|\n",
        blocked().len(),
        GROWTH * 100.0
    );
    let third = held.len() / 3;
    let (first, last) = (&held[..third], &held[held.len() - third..]);
    let names = ["memory, KiB", "open files", "state folder, KiB"];
    let most = |part: &[Held]| {
        part.iter().fold([0; 3], |most, Held { memory, files, state }| {
            [most[0].max(*memory), most[1].max(*files), most[2].max(*state)]
        })
    };
    let mut grew = false;
    for ((name, before), after) in names.into_iter().zip(most(first)).zip(most(last)) {
        let grown = after as f64 / before.max(1) as f64 - 1.0;
        let met = grown <= GROWTH;
        grew |= !met;
        let said = if met { "yes" } else { "**no**" };
        let _ = writeln!(text, "| {name} | {before} | {after} | {:.1} % | {said} |", grown * 100.0);
    }
    (text, grew)
}
