//! The machine as it was before the first change, on disk, so that `off` can prove that nothing remains
//! even when another agent attached.

use std::fs;
use std::io;
use std::path::Path;

use anyhow::{Context, bail};
use geofilter_core::wire::Proof;
use geofilter_dataplane::baseline::{Baseline, Difference, Traces};
use geofilter_dataplane::kernel;
use serde::{Deserialize, Serialize};

use super::settings::Settings;
use crate::files::write_whole;

const FILE: &str = "baseline.json";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Remembered {
    /// The boot it was captured in: a reboot makes another machine.
    boot: String,
    baseline: Baseline,
}

/// Captures the baseline, unless it was captured already and no `off` has ended that since.
pub(crate) fn remember(dir: &Path) -> anyhow::Result<()> {
    let boot = boot()?;
    if load(dir).is_ok_and(|known| known.is_some_and(|known| known.boot == boot)) {
        return Ok(());
    }
    let remembered = Remembered { boot, baseline: Baseline::capture()? };
    let text = serde_json::to_vec(&remembered)?;
    write_whole(dir, FILE, &text)
        .with_context(|| format!("cannot write {}", dir.join(FILE).display()))
}

/// Compares the machine with its baseline, and forgets that if nothing remains. Without one there is
/// nothing to prove, unless something was attached.
pub(crate) fn prove(settings: &Settings, was_attached: bool) -> anyhow::Result<Option<Proof>> {
    let boot = boot()?;
    let dir = &settings.state_dir;
    let before = match load(dir)?.filter(|known| known.boot == boot) {
        Some(known) => known.baseline,
        None if was_attached => bail!("what was before it was attached is not known"),
        None => return Ok(None),
    };
    let now = Baseline::capture()?;
    let found = before.compare(&now, &traces(settings));
    let clean = found.holds();
    if clean {
        forget(dir)?;
    }
    Ok(Some(Proof {
        clean,
        compared: found.compared,
        remains: found.ours.iter().map(describe).collect(),
        changed_by_others: found.theirs.iter().map(describe).collect(),
    }))
}

fn traces(settings: &Settings) -> Traces {
    Traces { paths: kernel::paths(&settings.runtime_dir), interfaces: settings.all_names() }
}

fn load(dir: &Path) -> anyhow::Result<Option<Remembered>> {
    let path = dir.join(FILE);
    let text = match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read.with_context(|| format!("cannot read {}", path.display()))?,
    };
    let remembered = serde_json::from_slice(&text);
    remembered.map(Some).with_context(|| format!("cannot understand {}", path.display()))
}

fn forget(dir: &Path) -> anyhow::Result<()> {
    match fs::remove_file(dir.join(FILE)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", dir.join(FILE).display()))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

fn boot() -> anyhow::Result<String> {
    let path = "/proc/sys/kernel/random/boot_id";
    let id = fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    match id.trim() {
        "" => bail!("{path} is empty"),
        id => Ok(id.to_owned()),
    }
}

fn describe(difference: &Difference) -> String {
    let what = if difference.appeared { "new" } else { "gone" };
    format!("{} ({what}): {}", difference.area, difference.line)
}
