//! `make soak`: rounds of calls, floods, bots and changes, each with what a day may bring: new country data, bans, exemptions, an
//! interface that goes and comes, a configuration that is read anew; for as long as is said. No round may harm a call or let a bot
//! in, and what the agent holds must not grow: memory, open files, what is pinned, the files of its folders. Three quarters of
//! the rounds are of one agent that is never started anew; in the others it is killed and started in each. What it held, the first
//! rounds aside, goes into `bench/SOAK.md`.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use flate2::Compression;
use geofilter_core::geodata::embedded;
use geofilter_core::world::World;
use geofilter_dataplane::kernel;
use geofilter_lab::addresses::Addresses;
use geofilter_lab::asterisk::Asterisk;
use geofilter_lab::botnet::{Botnet, Carrier, Pace};
use geofilter_lab::calls::{Calls, EXTENSION, NAME};
use geofilter_lab::fail2ban::{Fail2ban, asterisk_jail};
use geofilter_lab::fileserver::FileServer;
use geofilter_lab::flood::{Aim, Flood};
use geofilter_lab::images::{dbip, packed};
use geofilter_lab::process::Agent;
use geofilter_lab::siege::{ALLOWED, blocked, pbx};
use geofilter_lab::site::{Site, WAN};
use geofilter_lab::trunk::Trunk;
use rustix::process::Signal;

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
/// The same after which an agent that is started in each round has been so.
const WARM_AGAIN: usize = 3;
/// What each of [`Held`] may grow by, of what it was after that.
const GROWTH: f64 = 0.05;
/// Where the country data is published.
const PATH: &str = "/dbip.csv.gz";
/// An interface that goes and comes.
const FLAPS: &str = "flaps";

/// What an agent holds after a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Held {
    /// Resident memory in KiB.
    memory: u64,
    /// Open files, sockets and maps.
    files: u64,
    /// What is pinned.
    pins: u64,
    /// Files of its folders.
    kept: u64,
    /// KiB of these.
    state: u64,
}

/// Where all this happens.
struct Stage<'a> {
    site: &'a Site,
    addresses: Addresses<'a>,
    server: FileServer,
    /// The file that the country data is made of.
    dbip: Vec<u8>,
}

fn main() -> Result<()> {
    let hours = std::env::args().nth(1).context("say for how many hours, as in `soak 0.5`")?;
    let hours: f64 = hours.parse().with_context(|| format!("`{hours}` is no number of hours"))?;
    ensure!(hours > 0.0 && hours < 10_000.0, "`{hours}` is no number of hours");
    let lasts = Duration::from_secs_f64(hours * 3600.0);
    let (steady, restarted) = soak(&embedded::world()?.world, lasts)?;
    let rounds = steady.len() + restarted.len();
    let (steady, restarted) = (steady.get(WARM_UP..), restarted.get(WARM_AGAIN..));
    let both = steady.zip(restarted).filter(|(one, other)| one.len() >= 6 && other.len() >= 6);
    let (steady, restarted) =
        both.with_context(|| format!("{rounds} rounds say nothing of growth: give it more time"))?;
    let (text, grew) = tell(steady, restarted, rounds);
    fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bench/SOAK.md"), &text)?;
    println!("{text}");
    ensure!(!grew, "something grew, see the table");
    Ok(())
}

/// What the agent held after each round: while it went on, and while it was started in each.
fn soak(world: &World, lasts: Duration) -> Result<(Vec<Held>, Vec<Held>)> {
    let site = Site::new()?;
    let addresses = Addresses::new(world);
    let trunk = Trunk::new(&site, &addresses)?;
    let config = trunk.known_to(pbx().endpoint(NAME).echo("phones", EXTENSION));
    let asterisk = Asterisk::start(&site.host, &config)?;
    let mut fail2ban =
        Fail2ban::install(&asterisk_jail(&[&asterisk.logs().join("messages.log")], ""))?;
    fail2ban.start(&site.host)?;
    let server = FileServer::start(&site.host)?;
    let stage = Stage { site: &site, addresses, server, dbip: dbip()? };
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("geofilter.toml");
    let mirror = stage.server.url(PATH);
    fs::write(
        &file,
        format!(
            "[geodata]\nevery-hours = 0\nsecond = 'kept'\nsystems = 'kept'\n\
             [geodata.mirrors]\ndbip-lite = ['{mirror}']\n"
        ),
    )?;
    site.host.ip(&format!("link add {FLAPS} type veth peer name {FLAPS}0"))?;
    let words = ["--interface", WAN, "--interface", FLAPS, "--config"];
    let words = [&["--backend", "xdp"][..], &words, &[file.to_str().context("a path")?]].concat();
    let mut agent = Agent::start(&site.host, &words)?;
    let words = ["--accept-risk", "lose-phones", "--yes"];
    agent.json(&[&["allow"][..], &ALLOWED, &words].concat())?;
    let (began, mut steady, mut restarted) = (Instant::now(), Vec::new(), Vec::new());
    while began.elapsed() < lasts {
        let is_steady = began.elapsed() < lasts.mul_f64(0.75);
        let number = steady.len() + restarted.len();
        let (done, served) = trunk.asks_during(|| round(&stage, &mut agent, number, !is_steady))?;
        done.with_context(|| format!("round {number}"))?;
        ensure!(served.of == served.answered, "round {number}: the trunk: {served:?}");
        let now = Held::of(&agent)?;
        eprintln!("round {number}: {now:?}");
        if is_steady { steady.push(now) } else { restarted.push(now) }
    }
    Ok((steady, restarted))
}

/// Calls throughout, meanwhile a flood, bots, and everything that operators and days change.
fn round(stage: &Stage<'_>, agent: &mut Agent<'_>, number: usize, restart: bool) -> Result<()> {
    let Stage { site, addresses, server, dbip } = stage;
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
    // Another edition each time, in which a small network is in one country or another.
    let moved = ["FR", "PT"][number % 2];
    let moved = format!("80.58.61.0,80.58.61.255,{moved}\n");
    server.put(PATH, packed(&[dbip, moved.as_bytes()].concat(), Compression::fast())?);
    let updated = agent.json(&["geodb", "update"])?;
    ensure!(updated["last"]["outcome"] == "used", "the country data: {updated}");
    site.host.ip(&format!("link del {FLAPS}"))?;
    agent.signal(Signal::HUP)?;
    site.host.ip(&format!("link add {FLAPS} type veth peer name {FLAPS}0"))?;
    if restart {
        agent.kill()?;
        agent.restart(None)?;
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
        let pinned = kernel::paths(&agent.runtime_dir()).swap_remove(0);
        let mut kept = Vec::new();
        sizes(&agent.state_dir(), &mut kept)?;
        sizes(&agent.runtime_dir(), &mut kept)?;
        Ok(Self {
            memory: memory.context("no VmRSS")?.parse()?,
            files: fs::read_dir(format!("/proc/{pid}/fd"))?.count() as u64,
            pins: fs::read_dir(pinned)?.count() as u64,
            kept: kept.len() as u64,
            state: kept.iter().sum::<u64>() / 1024,
        })
    }
}

/// Bytes of each file below a folder; what is mounted there is not looked at.
fn sizes(folder: &Path, found: &mut Vec<u64>) -> Result<()> {
    let on = fs::metadata(folder)?.dev();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let data = fs::symlink_metadata(&path)?;
        match data.is_dir() {
            true if data.dev() == on => sizes(&path, found)?,
            true => {}
            false => found.push(data.len()),
        }
    }
    Ok(())
}

/// Tables of the first and the last third of the rounds, and whether anything grew.
fn tell(steady: &[Held], restarted: &[Held], rounds: usize) -> (String, bool) {
    let mut text = format!(
        "# What an agent holds after days of attacks\n\nWritten by `make soak`: {rounds} rounds, each with what a day may bring: \
         {CALLS} calls at a time, a flood of {FLOOD} requests a second, bots in {} blocked countries, changes of countries, \
         {OVERRIDES} bans and as many exemptions, new country data, an interface that goes and comes, a configuration that is read \
         anew, a pause. In each no call was harmed, no bot answered, and a trunk in a blocked country always served. Most in the \
         first third of the rounds after the first few, and in the last. Must: grown by at most {:.0} %.\n",
        blocked().len(),
        GROWTH * 100.0
    );
    let of_one = table("One agent that is never started anew", steady, &mut text);
    let of_many = table("Killed and started in each round", restarted, &mut text);
    (text, of_one | of_many)
}

fn table(title: &str, held: &[Held], text: &mut String) -> bool {
    let _ = write!(
        text,
        "\n## {title}\n{} rounds.\n\n| held | first third | last third | grown | met |\n|---|---|---|---|---|\n",
        held.len()
    );
    let third = held.len() / 3;
    let (first, last) = (&held[..third], &held[held.len() - third..]);
    let names =
        ["memory, KiB", "open files", "pinned objects", "files of its folders", "these, KiB"];
    let most = |part: &[Held]| {
        part.iter().fold([0; 5], |most, Held { memory, files, pins, kept, state }| {
            let now = [memory, files, pins, kept, state];
            std::array::from_fn(|at| most[at].max(*now[at]))
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
    grew
}
