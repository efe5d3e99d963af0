//! [`Remains`]: the programs and maps that are to leave the kernel. They go when nobody holds them and
//! no packet uses them any more, which is a moment after they were unpinned.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use aya::maps::{MapData, loaded_maps};
use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::loaded_programs;

use crate::Error;
use crate::kernel::pins::{Hold, How, Pins};

/// How often, and how far apart, it is asked what is still there: the kernel tells nobody when it frees
/// an object.
const ATTEMPTS: usize = 1_000;
const INTERVAL: Duration = Duration::from_millis(5);

/// What was pinned, by id.
pub(crate) struct Remains {
    programs: BTreeSet<u32>,
    maps: BTreeSet<u32>,
}

impl Remains {
    /// What is pinned now. A pin that can't be read, half made by an agent that was killed, has nothing
    /// behind it.
    pub(crate) fn find(pins: &Pins) -> Result<Self, Error> {
        // A filter's program holds the maps, so that these tell of it too.
        let program = |hold: Hold| match hold.how {
            How::Link { pin, .. } => {
                let link = FdLink::from(PinnedLink::from_pin(pin).ok()?);
                Some(link.info().ok()?.program_id())
            }
            How::Filter { .. } | How::Qdisc => None,
        };
        let map = |path| Some(MapData::from_pin(path).ok()?.info().ok()?.id());
        Ok(Self {
            programs: pins.holds()?.into_iter().filter_map(program).collect(),
            maps: pins.maps()?.into_iter().filter_map(map).collect(),
        })
    }

    /// Waits until the kernel has let go of all of it.
    pub(crate) fn wait_until_gone(&self) -> Result<(), Error> {
        for _ in 0..ATTEMPTS {
            if self.still_there().is_empty() {
                return Ok(());
            }
            thread::sleep(INTERVAL);
        }
        Err(Error::Remains(self.still_there().join(", ")))
    }

    fn still_there(&self) -> Vec<String> {
        let programs = loaded_programs()
            .filter_map(|program| Some(program.ok()?.id()))
            .filter(|id| self.programs.contains(id))
            .map(|id| format!("program {id}"));
        let maps = loaded_maps()
            .filter_map(|map| Some(map.ok()?.id()))
            .filter(|id| self.maps.contains(id))
            .map(|id| format!("map {id}"));
        programs.chain(maps).collect()
    }
}
