//! `make update`: a host that enforces is told to update its country data from a server on loopback. What that costs goes into
//! `bench/UPDATE.md`.

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use flate2::Compression;
use geofilter_core::geodata::{AsTable, Listing, embedded};
use geofilter_lab::fileserver::FileServer;
use geofilter_lab::images::{Sources, data_folder, dbip, packed};
use geofilter_lab::process::Agent;
use geofilter_lab::site::{Site, WAN};
use procfs::process::Process;

/// Rounds, each of which updates from what came with the program.
const ROUNDS: usize = 5;
/// What must be so.
const MOST_CPU: f64 = 1.5;
const MOST_MEMORY: u64 = 64;

fn main() -> Result<()> {
    let site = Site::new()?;
    let server = FileServer::start(&site.host)?;
    let folder = tempfile::tempdir()?;
    publish(&server, folder.path())?;
    let config = folder.path().join("geofilter.toml");
    let url = |name: &str| server.url(name);
    let text = format!(
        "[geodata]\nevery-hours = 0\n[geodata.mirrors]\ndbip-lite = ['{}']\nrir = ['{}']\niptoasn = ['{}']\n",
        url("/dbip.csv.gz"),
        url("/delegated"),
        url("/ip2asn.tsv.gz"),
    );
    fs::write(&config, text)?;
    let words = ["--interface", WAN, "--config", config.to_str().context("a path")?];
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        // From nothing each time: what is unchanged costs nothing.
        let agent = Agent::start(&site.host, &words)?;
        agent.json(&["allow", "ES", "--yes"])?;
        rounds.push(measure(&agent)?);
    }
    let text = tell(&mut rounds);
    print!("{text}");
    fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bench/UPDATE.md"), &text)?;
    Ok(())
}

/// What a round cost.
#[derive(Debug, Clone, Copy)]
struct Round {
    /// Seconds of CPU of the process that fetches and makes images.
    worker: f64,
    /// Seconds of CPU of the agent, which compares and puts it into the kernel.
    agent: f64,
    /// MiB of both at their most.
    worker_memory: u64,
    agent_memory: u64,
    /// From the command to its answer.
    took: Duration,
}

fn measure(agent: &Agent<'_>) -> Result<Round> {
    let pid = agent.pid().context("no agent runs")?.as_raw_nonzero().get();
    let process = Process::new(pid)?;
    let ticks = procfs::ticks_per_second() as f64;
    let before = process.stat()?;
    let began = Instant::now();
    let (mut worker_memory, mut done) = (0, None);
    thread::scope(|scope| -> Result<()> {
        let updating = scope.spawn(|| agent.json(&["geodb", "update"]));
        while !updating.is_finished() {
            for child in agent.children()? {
                // It may have just ended.
                let peak = Process::new(child.cast_signed()).and_then(|child| child.status());
                let peak = peak.ok().and_then(|status| status.vmhwm).unwrap_or_default();
                worker_memory = worker_memory.max(peak);
            }
            thread::sleep(Duration::from_millis(2));
        }
        done = updating.join().ok();
        Ok(())
    })?;
    let took = began.elapsed();
    let state = done.context("the update panicked")??;
    ensure!(state["last"]["outcome"] == "used", "{state}");
    let after = process.stat()?;
    let memory = process.status()?.vmhwm.unwrap_or_default();
    let seconds = |ticks_of: u64| ticks_of as f64 / ticks;
    Ok(Round {
        worker: seconds(
            (after.cutime + after.cstime - before.cutime - before.cstime).cast_unsigned(),
        ),
        agent: seconds(after.utime + after.stime - before.utime - before.stime),
        worker_memory: worker_memory / 1024,
        agent_memory: memory / 1024,
        took,
    })
}

/// Serves the files as their owners publish them.
fn publish(server: &FileServer, folder: &Path) -> Result<()> {
    let level = Compression::default();
    // Somebody has moved, so that there is something new.
    let dbip = [dbip()?, b"80.58.61.0,80.58.61.255,CN\n".to_vec()].concat();
    server.put("/dbip.csv.gz", packed(&dbip, level)?);
    let sources = Sources::read(&data_folder())?;
    let delegated = delegated(&sources.registry)?;
    let file = folder.join("delegated");
    fs::write(&file, &delegated)?;
    let digest = Command::new("md5sum").arg(&file).output()?.stdout;
    server.put("/delegated.md5", digest);
    server.put("/delegated", delegated.into_bytes());
    server.put("/ip2asn.tsv.gz", packed(table(&embedded::asns()?)?.as_bytes(), level)?);
    Ok(())
}

/// As the registries would write it.
fn delegated(listing: &Listing) -> Result<String> {
    let mut text = String::from("2|nro|20261001|1|19830705|20261001|+0000\n");
    for (range, country) in listing.v4.ranges() {
        let count = u64::from(range.last - range.first) + 1;
        if let Some(country) = country.filter(|_| count <= u64::from(u32::MAX)) {
            let (code, start) = (country.code(), Ipv4Addr::from(range.first));
            writeln!(text, "nro|{code}|ipv4|{start}|{count}|20200101|allocated")?;
        }
    }
    for (range, country) in listing.v6.ranges() {
        let Some(country) = country else { continue };
        let (code, mut first) = (country.code(), range.first);
        loop {
            // The largest prefix that begins there and does not go beyond.
            let free = first.trailing_zeros().min((range.last - first).saturating_add(1).ilog2());
            let start = Ipv6Addr::from(first);
            writeln!(text, "nro|{code}|ipv6|{start}|{}|20200101|allocated", 128 - free.min(127))?;
            let last = first | ((1_u128 << free.min(127)) - 1);
            if last >= range.last {
                break;
            }
            first = last + 1;
        }
    }
    Ok(text)
}

/// As iptoasn writes it.
fn table(systems: &AsTable) -> Result<String> {
    let mut text = String::new();
    for (range, number) in systems.layer().v4.ranges() {
        let (first, last) = (Ipv4Addr::from(range.first), Ipv4Addr::from(range.last));
        line(&mut text, systems, first, last, number)?;
    }
    for (range, number) in systems.layer().v6.ranges() {
        let (first, last) = (Ipv6Addr::from(range.first), Ipv6Addr::from(range.last));
        line(&mut text, systems, first, last, number)?;
    }
    Ok(text)
}

fn line(
    text: &mut String,
    systems: &AsTable,
    first: impl std::fmt::Display,
    last: impl std::fmt::Display,
    number: Option<geofilter_core::geodata::AsNumber>,
) -> Result<()> {
    match number {
        Some(number) => {
            let name = systems.name(number);
            writeln!(text, "{first}\t{last}\t{}\tZZ\t{name}", number.get())?;
        }
        None => writeln!(text, "{first}\t{last}\t0\tNone\tNot routed")?,
    }
    Ok(())
}

fn tell(rounds: &mut [Round]) -> String {
    rounds.sort_by(|one, other| (one.worker + one.agent).total_cmp(&(other.worker + other.agent)));
    let middle = rounds[rounds.len() / 2];
    let most = |of: fn(&Round) -> u64| rounds.iter().map(of).max().unwrap_or_default();
    let met = |met: bool| if met { "yes" } else { "**no**" };
    let cpu = middle.worker + middle.agent;
    let memory = most(|round| round.worker_memory);
    let mut text = String::from(
        "# An update of the whole table\n\nWritten by `make update`; every figure was measured. A host that enforces is told to update: it fetches DB-IP, the registries and iptoasn \
         from a server on loopback, makes images of them, compares them with what is in use, and puts them into the kernel.\n\n| measure | measured | must | met |\n|---|---|---|---|\n",
    );
    let _ = writeln!(
        text,
        "| CPU, median of {} | {cpu:.2} s: {:.2} s to fetch and make, {:.2} s to compare and put into force | <= {MOST_CPU} s | {} |",
        rounds.len(),
        middle.worker,
        middle.agent,
        met(cpu <= MOST_CPU)
    );
    let _ = writeln!(
        text,
        "| memory of who fetches and makes, at most | {memory} MiB | <= {MOST_MEMORY} MiB | {} |",
        met(memory <= MOST_MEMORY)
    );
    let _ = writeln!(
        text,
        "| memory of the agent at most | {} MiB | | |",
        most(|round| round.agent_memory)
    );
    let _ = writeln!(
        text,
        "| from the command to its answer | {:.2} s | | |",
        middle.took.as_secs_f64()
    );
    text
}
