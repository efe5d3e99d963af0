//! [`during_calls`]: everything an operator does to the filter while calls go on, one change after the other, each with
//! what it cost them.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};
use geofilter_core::country::select;
use geofilter_core::policy::Scope;
use geofilter_core::steps::Steps;
use geofilter_core::world::{Entry, World};
use geofilter_dataplane::{Backend, Preference};

use crate::addresses::Addresses;
use crate::asterisk::{Asterisk, Config};
use crate::calls::{Calls, EXTENSION, NAME, Report};
use crate::plane::Plane;
use crate::process::Agent;
use crate::site::{Site, WAN};

/// Where the callers are.
const HOME: &str = "ES";

/// What a change cost the calls.
#[derive(Debug, Clone)]
pub struct Change {
    /// What was done.
    pub name: &'static str,
    /// Of the calls meanwhile.
    pub report: Report,
}

/// So many calls at a time, each this long, go on before, during and after each change. The scope is what the agent
/// finds, or this one.
///
/// # Errors
/// If something does not start, or a change is refused.
pub fn during_calls(
    world: &World,
    at_a_time: usize,
    long: Duration,
    scope: Option<&str>,
) -> Result<Vec<Change>> {
    let addresses = Addresses::new(world);
    let site = Site::new()?;
    let config = Config::new().endpoint(NAME).echo("phones", EXTENSION);
    let _asterisk = Asterisk::start(&site.host, &config)?;
    let mut changes = Vec::new();
    let mut change = |name, work: &mut dyn FnMut() -> Result<()>| -> Result<()> {
        let calls = Calls::start(&site, &addresses, HOME, at_a_time, long)?;
        sleep(long);
        let done = work().with_context(|| format!("{name}, during calls"));
        sleep(long / 2);
        changes.push(Change { name, report: calls.finish()? });
        done
    };
    let words = scope.map_or(Vec::new(), |scope| vec!["--scope", scope]);
    let allow =
        |countries: &[&'static str]| [&["allow"][..], countries, &words, &["--yes"]].concat();
    let mut agent = Agent::prepare(&site.host, &["--backend", "xdp", "--interface", WAN])?;
    change("attach", &mut || {
        agent.restart(None)?;
        agent.json(&allow(&[HOME])).map(drop)
    })?;
    change("country change", &mut || {
        for countries in [&[HOME, "PT"][..], &[HOME], &[HOME, "FR", "DE"]] {
            agent.json(&allow(countries))?;
        }
        Ok(())
    })?;
    change("backend change, XDP to TC", &mut || {
        agent.kill()?;
        agent.with_words(&["--backend", "tc", "--interface", WAN]).restart(None)
    })?;
    change("backend change, TC to XDP", &mut || {
        agent.kill()?;
        agent.with_words(&["--backend", "xdp", "--interface", WAN]).restart(None)
    })?;
    change("pause", &mut || agent.json(&["pause", "--for", "1m"]).map(drop))?;
    change("resume", &mut || agent.json(&["resume"]).map(drop))?;
    change("off", &mut || agent.json(&["off"]).map(drop))?;
    drop(agent);
    let scope = scope.map(|scope| scope.split(',').map(str::parse).collect::<Result<_, _>>());
    let scope = scope.transpose()?.map(Scope);
    let other = other_world(world)?;
    for (name, preference) in
        [("table swap, XDP", Preference::Xdp), ("table swap, TC", Preference::Tc)]
    {
        let mut plane = Plane::observe(&site.host, preference, world, select([HOME])?)?;
        if let Some(scope) = &scope {
            plane.judge(scope.clone());
        }
        plane.enforce()?;
        change(name, &mut || {
            for world in [&other, world] {
                plane.with(|kernel| kernel.swap_world(world))?;
            }
            Ok(())
        })?;
    }
    Ok(changes)
}

/// A world that knows no other country.
fn other_world(world: &World) -> Result<World> {
    let home = select([HOME])?;
    let moved = |entry: Entry| match home.contains(entry.primary) {
        true => entry,
        false => Entry::UNKNOWN,
    };
    let entry = |id: u16| moved(world.entries()[usize::from(id)]);
    let v4: Steps<u32, Entry> = world.v4().map(entry);
    let v6: Steps<u128, Entry> = world.v6().map(entry);
    Ok(World::from_steps(&v4, &v6)?)
}
