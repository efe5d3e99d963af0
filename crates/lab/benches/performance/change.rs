//! How soon a change is in force: another selection, a new world table.

use std::fs;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use geofilter_core::clock::Clock;
use geofilter_core::country::{CountrySet, select};
use geofilter_core::desired::{
    Action, AttachmentKind, Bank, BootTime, Desired, Fallback, Generation,
};
use geofilter_core::geodata::{WorldImage, embedded};
use geofilter_core::policy::{Mode, Policy};
use geofilter_dataplane::kernel::Judge;
use geofilter_dataplane::{Backend, Preference};
use geofilter_lab::addresses::Addresses;
use geofilter_lab::gun::frame;
use geofilter_lab::plane::{Plane, now};
use geofilter_lab::process::Agent;
use geofilter_lab::processors::{pin, pinned};
use geofilter_lab::site::{Site, WAN};

use crate::data::{ALLOWED, Data};
use crate::host::RECEIVING;
use crate::report::{Bound, Goal, Report, Unit};
use crate::statistics::Spread;

const FLIPS: usize = 200;
const CHANGES: usize = 25;
const SWAPS: usize = 11;
/// Packets that are judged in one system call: so many that hardly a change falls between two.
const CALL: u32 = 200_000;
const PATIENCE: Duration = Duration::from_secs(2);
/// A generation that the plane does not come to.
const FIRST: u64 = 1 << 20;
/// Where the selection is changed, while packets are judged on the other.
const CHANGING: usize = 1;

const STORE: Goal = Goal {
    measure: "another selection, from store to effective",
    unit: Unit::Seconds,
    must: Bound::AtMost(1e-6),
    stretch: Bound::AtMost(3e-7),
};
const ENTER: Goal = Goal {
    measure: "another selection, from Enter to effective",
    unit: Unit::Seconds,
    must: Bound::AtMost(20e-3),
    stretch: Bound::AtMost(8e-3),
};
const WORLD: Goal = Goal {
    measure: "new world table, from file to in force",
    unit: Unit::Seconds,
    must: Bound::AtMost(150e-3),
    stretch: Bound::AtMost(50e-3),
};

/// Measures all of it.
pub(crate) fn measure(data: &Data, report: &mut Report) -> Result<()> {
    let site = Site::new()?;
    let mut plane = Plane::observe(&site.host, Preference::Xdp, &data.world, data.allowed)?;
    eprintln!("{FLIPS} flips");
    pinned(CHANGING, || from_store(&mut plane, data, report))??;
    eprintln!("{SWAPS} world tables");
    from_file(&mut plane, report)?;
    drop(plane);
    eprintln!("{CHANGES} changes");
    from_enter(report)
}

/// A source of which every packet is let in until the selection changes, and the first drop told. Each flip
/// has another: of one that was dropped before, the first drop would not be told again.
fn from_store(plane: &mut Plane<'_>, data: &Data, report: &mut Report) -> Result<()> {
    let country = "DE";
    let sources = Addresses::new(&data.world).several_v4(country, FLIPS);
    ensure!(sources.len() == FLIPS, "too few ranges");
    let more = select(ALLOWED.into_iter().chain([country]))?;
    let judge = plane.with(|kernel| kernel.judge())?;
    let mut times = Vec::new();
    for (generation, source) in (FIRST..).zip(sources) {
        // The bank of the next selection is written now, as what would be gone back to.
        let next = enforced(data.allowed, generation);
        let fallback = Fallback { bank: next.clone(), deadline: BootTime(u64::MAX) };
        let now_in_force = Desired { active: enforced(more, 0), fallback: Some(fallback) };
        let next = Desired { active: next, fallback: None };
        plane.with(|kernel| kernel.store(&now_in_force, Clock::default()))?;
        plane.with(|kernel| kernel.drain_events(now(), &mut drop))?;
        let store = || {
            plane.with(|kernel| {
                let before = now();
                kernel.store(&next, Clock::default()).map(|()| before)
            })
        };
        let stored = under_fire(&judge, source.into(), store)?;
        let dropped = first_drop(plane, source.into())?;
        times.push(dropped.checked_sub(stored.0).context("dropped before it was stored")? as f64);
    }
    let times: Vec<f64> = times.into_iter().map(|time| time / 1e9).collect();
    let from = format!(
        "clock just before the call that stores it, and of the first drop's event, while another processor judges packet \
         after packet: an upper bound, with what it takes to tell of the drop; {FLIPS} changes"
    );
    report.add(STORE, Spread::of(times), from);
    Ok(())
}

fn enforced(countries: CountrySet, generation: u64) -> Bank {
    let policy = Arc::new(Policy::new(Mode::AllowSelected, countries));
    Bank { generation: Generation(generation), action: Action::Enforce, policy }
}

/// Does something while packets are judged on another processor, and some after it.
fn under_fire<T>(judge: &Judge, source: IpAddr, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let done = AtomicBool::new(false);
    let fire = || {
        pin(RECEIVING)?;
        let frame = frame(source);
        loop {
            let last = done.load(Ordering::Relaxed);
            judge.run(AttachmentKind::XdpNative, &frame, CALL)?;
            if last {
                return anyhow::Ok(());
            }
        }
    };
    thread::scope(|scope| {
        let firing = scope.spawn(fire);
        thread::sleep(Duration::from_millis(2));
        let worked = work();
        done.store(true, Ordering::Relaxed);
        firing.join().map_err(|_| anyhow::anyhow!("who judges panicked"))??;
        worked
    })
}

/// When the first packet of a source was dropped.
fn first_drop(plane: &mut Plane<'_>, source: IpAddr) -> Result<u64> {
    let since = Instant::now();
    loop {
        let mut dropped = None;
        plane.with(|kernel| {
            kernel.drain_events(now(), &mut |event| {
                if event.source == source && event.enforced {
                    dropped.get_or_insert(event.time.0);
                }
            })
        })?;
        match dropped {
            Some(time) => return Ok(time),
            None => ensure!(since.elapsed() < PATIENCE, "no drop of {source} was told"),
        }
    }
}

/// What `swap_world` returns from, the next packet is judged by; the old table is freed after that.
fn from_file(plane: &mut Plane<'_>, report: &mut Report) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("world.img");
    fs::write(&file, embedded::WORLD)?;
    let (mut in_force, mut freed) = (Vec::new(), Vec::new());
    for _ in 0..SWAPS {
        let began = Instant::now();
        let image = fs::read(&file)?;
        let world = WorldImage::open(&image)?.world()?;
        plane.with(|kernel| kernel.swap_world(&world))?;
        in_force.push(began.elapsed().as_secs_f64());
        plane.with(|kernel| kernel.wait_until_freed())?;
        freed.push(began.elapsed().as_secs_f64());
    }
    let freed = Unit::Seconds.spread(Spread::of(freed));
    let from = format!(
        "read, decode, compile, fill, and the store from which on packets are judged by it; the old table is freed \
         in the background, {freed} after the beginning; {SWAPS} tables"
    );
    report.add(WORLD, Spread::of(in_force), from);
    Ok(())
}

/// The agent has answered when a policy is in force, so the end of the command is later than its effect.
fn from_enter(report: &mut Report) -> Result<()> {
    let site = Site::new()?;
    let agent = Agent::start(&site.host, &["--backend", "xdp", "--interface", WAN])?;
    let mut times = Vec::new();
    for _ in 0..CHANGES {
        agent.json(&["allow", "AD", "--yes"])?;
        let began = Instant::now();
        let output = agent.ask(&[&["allow"][..], &ALLOWED, &["--yes"]].concat())?;
        times.push(began.elapsed().as_secs_f64());
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let words = ALLOWED.join(" ");
    let from = format!(
        "`geofilter allow {words} --yes`, start to end, an upper bound; no PBX on the host; {CHANGES} changes"
    );
    report.add(ENTER, Spread::of(times), from);
    Ok(())
}
