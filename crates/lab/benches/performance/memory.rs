//! What the agent takes of the memory, and its files of the disk.

use std::collections::{BTreeMap, HashSet};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;
use std::{fs, thread};

use anyhow::{Context, Result};
use aya::maps::{ArrayOfMaps, Map, MapData, MapInfo, MapType};
use geofilter_lab::site::Site;
use rustix::process::Pid;

use crate::host;
use crate::report::{Bound, Goal, Report, Unit};
use crate::statistics::Spread;

const RESIDENT: Goal = Goal {
    measure: "agent, resident memory",
    unit: Unit::Bytes,
    must: Bound::AtMost(40e6),
    stretch: Bound::AtMost(24e6),
};
const MAPS: Goal = Goal {
    measure: "agent, BPF maps",
    unit: Unit::Bytes,
    must: Bound::AtMost(24e6),
    stretch: Bound::AtMost(16e6),
};

/// Measures the agent that enforces, once it has come to rest.
pub(crate) fn measure(report: &mut Report) -> Result<()> {
    let site = Site::new()?;
    let agent = host::agent(&site, "xdp")?;
    thread::sleep(Duration::from_secs(3));
    let pid = agent.pid().context("no agent runs")?;
    let status = Lines::read(&format!("/proc/{}/status", pid.as_raw_nonzero()))?;
    let [anonymous, file, shared] = ["RssAnon", "RssFile", "RssShmem"].map(|name| status.kb(name));
    let (anonymous, file, shared) = (anonymous?, file?, shared?);
    let split = [("anonymous", anonymous), ("of files and maps", file), ("shared", shared)];
    let split = split.map(|(name, bytes)| format!("{} {name}", Unit::Bytes.write(bytes)));
    report.add(RESIDENT, Spread::exactly(anonymous + file + shared), split.join(", "));

    let maps = maps(pid)?;
    let bytes = maps.iter().map(|map| Ok(memory(map)? as f64)).sum::<Result<f64>>()?;
    let from = format!("`memlock` of {} maps, those of the world table included", maps.len());
    report.add(MAPS, Spread::exactly(bytes), from);
    Ok(())
}

/// Files of /proc with a name and a value on each line.
struct Lines(BTreeMap<String, String>);

impl Lines {
    fn read(path: &str) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| path.to_owned())?;
        let pairs = text.lines().filter_map(|line| line.split_once(':'));
        Ok(Self(pairs.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect()))
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.0.get(name)?.split(' ').next()?.parse().ok()
    }

    fn kb(&self, name: &str) -> Result<f64> {
        Ok(self.number(name).context("no such line")? as f64 * 1024.0)
    }
}

/// The maps that a process holds, and those that lie in them.
fn maps(pid: Pid) -> Result<HashSet<u32>> {
    let mut maps = HashSet::new();
    for entry in fs::read_dir(format!("/proc/{}/fdinfo", pid.as_raw_nonzero()))? {
        // The agent may have closed it since.
        let Ok(info) = Lines::read(&entry?.path().to_string_lossy()) else { continue };
        let Some(map) = info.number("map_id") else { continue };
        maps.insert(map as u32);
    }
    for map in maps.clone() {
        if MapInfo::from_id(map)?.map_type()? == MapType::ArrayOfMaps {
            maps.extend(inner(map)?);
        }
    }
    Ok(maps)
}

fn inner(outer: u32) -> Result<Vec<u32>> {
    let outer: ArrayOfMaps<MapData> = Map::ArrayOfMaps(MapData::from_id(outer)?).try_into()?;
    let held = (0..outer.len()).filter_map(|place| outer.get(&place, 0).ok());
    held.map(|map| Ok(map.info()?.id())).collect()
}

/// What the kernel says that a map takes.
fn memory(map: &u32) -> Result<u64> {
    let map = MapInfo::from_id(*map)?.fd()?;
    let info = Lines::read(&format!("/proc/self/fdinfo/{}", map.as_fd().as_raw_fd()))?;
    info.number("memlock").context("no memlock")
}
