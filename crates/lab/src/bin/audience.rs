//! `make audience`: 200 operators watch the portal's page while a flood is dropped, a million packets a minute. How long the API
//! takes to answer, what the portal holds, and whether its figures are exact goes into `bench/AUDIENCE.md`.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use geofilter_core::geodata::embedded;
use geofilter_lab::addresses::Addresses;
use geofilter_lab::flood::{Aim, Flood};
use geofilter_lab::portal::{Client, HOST, Scene};
use geofilter_lab::siege::blocked;
use serde_json::json;

const OPERATORS: usize = 200;
/// Packets a second: a million a minute.
const FLOOD: u32 = 16_667;
const LASTS: Duration = Duration::from_secs(60);
/// Time between two reads.
const PACE: Duration = Duration::from_millis(20);
/// What must be so.
const SLOWEST: Duration = Duration::from_millis(50);
const MOST_MEMORY: u64 = 150 << 10;

/// What was asked while they watched.
const READS: [&str; 6] =
    ["status", "exemptions", "bans", "peers", "sources", "why?address=1.2.3.4"];

/// What an operator saw.
#[derive(Debug, Default, Clone, Copy)]
struct Seen {
    statuses: u64,
    drops: u64,
    skipped: u64,
}

fn main() -> Result<()> {
    let world = embedded::world()?.world;
    let addresses = Addresses::new(&world);
    let mut text = String::new();
    Scene::set(&["--backend", "xdp"], |scene| {
        // It must be so by the end, or there is no text.
        text = measure(scene, &addresses).unwrap_or_else(|error| format!("failed: {error:#}\n"));
    })?;
    print!("{text}");
    anyhow::ensure!(text.starts_with('#'), "nothing was measured");
    fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bench/AUDIENCE.md"), &text)?;
    Ok(())
}

fn measure(scene: &Scene<'_>, addresses: &Addresses<'_>) -> Result<String> {
    let ana = scene.portal.first_operator()?;
    let change = json!({ "change": { "mode": "allow", "countries": ["ES", "PT"] } });
    ana.must("PUT", &format!("{HOST}/policy"), Some(&change))?;
    thread::scope(|scope| {
        let watchers: Vec<_> = (0..OPERATORS).map(|_| scope.spawn(|| watch(&ana))).collect();
        let flood = Flood::start(scene.site(), addresses, &blocked(), Aim::Pbx, Some(FLOOD))?;
        let mut took = reads(&ana)?;
        let a_second = flood.finish()?;
        let seen = watchers
            .into_iter()
            .map(|watcher| watcher.join().map_err(|_| anyhow!("an operator panicked"))?);
        let seen: Vec<Seen> = seen.collect::<Result<_>>()?;
        let told = ana.read(&format!("{HOST}/status"))?["dropped"]["packets"].clone();
        let exact = scene.agent.json(&["status"])?["dropped"]["packets"].clone();
        anyhow::ensure!(told == exact, "the portal says {told}, the kernel {exact}");
        took.sort_unstable();
        Ok(tell(&took, &seen, a_second, exact.as_u64().unwrap_or_default(), memory(scene)?))
    })
}

/// What a page hears in that time.
fn watch(client: &Client<'_>) -> Result<Seen> {
    let mut events = client.events(&format!("{HOST}/events"))?;
    let (began, mut seen) = (Instant::now(), Seen::default());
    while began.elapsed() < LASTS {
        let (name, data) = events.any()?;
        match name.as_str() {
            "status" => seen.statuses += 1,
            "drop" => seen.drops += 1,
            "skipped" => seen.skipped += data["entries"].as_u64().unwrap_or_default(),
            _ => {}
        }
    }
    Ok(seen)
}

/// How long each read took.
fn reads(client: &Client<'_>) -> Result<Vec<(Duration, &'static str)>> {
    let (began, mut took) = (Instant::now(), Vec::new());
    for path in READS.iter().cycle() {
        if began.elapsed() > LASTS {
            break;
        }
        let since = Instant::now();
        client.read(&format!("{HOST}/{path}"))?;
        took.push((since.elapsed(), *path));
        thread::sleep(PACE);
    }
    Ok(took)
}

/// The most that the portal ever held, in KiB.
fn memory(scene: &Scene<'_>) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", scene.portal.pid()))?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    Ok(peak.trim().trim_end_matches(" kB").parse()?)
}

fn tell(
    took: &[(Duration, &str)],
    seen: &[Seen],
    a_second: f64,
    dropped: u64,
    memory: u64,
) -> String {
    let within = |share: f64| took[((took.len() as f64 * share) as usize).min(took.len() - 1)].0;
    let met = |met: bool| if met { "yes" } else { "**no**" };
    let least = |of: fn(&Seen) -> u64| seen.iter().map(of).min().unwrap_or_default();
    let most = |of: fn(&Seen) -> u64| seen.iter().map(of).max().unwrap_or_default();
    let p99 = within(0.99);
    let mut text = format!(
        "# {OPERATORS} operators watch\n\nWritten by `make audience`; every figure was measured, on one machine that also sends the flood and \
         is the operators. {OPERATORS} pages are open for {} s while {a_second:.0} packets a second from blocked countries are dropped, and somebody reads the \
         API 50 times a second at most: {}.\n\n| measure | measured | must | met |\n|---|---|---|---|\n",
        LASTS.as_secs(),
        READS.join(", "),
    );
    let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
    let _ = writeln!(
        text,
        "| API reads, p50 / p99 of {} | {:.1} / {:.1} ms | p99 < {} ms | {} |",
        took.len(),
        milliseconds(within(0.5)),
        milliseconds(p99),
        SLOWEST.as_millis(),
        met(p99 < SLOWEST)
    );
    let slow = took.iter().filter(|(took, _)| *took >= SLOWEST).map(|(_, path)| *path);
    let slow: Vec<_> = slow.collect();
    let of = |path: &&str| format!("{path} {}", slow.iter().filter(|it| it == &path).count());
    let slow: Vec<_> = READS.iter().map(of).collect();
    let _ = writeln!(text, "| reads that took longer | {} | | |", slow.join(", "));
    let _ = writeln!(
        text,
        "| memory of the portal at most | {:.1} MB | < 150 MB | {} |",
        memory as f64 / 1024.0,
        met(memory < MOST_MEMORY)
    );
    let _ = writeln!(
        text,
        "| dropped packets, by the portal and by the kernel | {dropped}, the same | the same | yes |"
    );
    let _ = writeln!(
        text,
        "| states told to each page, one a second | {} to {} | | |\n| drops told to each page | {} to {} | | |\n| drops of which each page was told that they were not told | {} to {} | said | yes |",
        least(|seen| seen.statuses),
        most(|seen| seen.statuses),
        least(|seen| seen.drops),
        most(|seen| seen.drops),
        least(|seen| seen.skipped),
        most(|seen| seen.skipped),
    );
    text
}
