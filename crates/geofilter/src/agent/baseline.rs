//! The machine as it was before the first change, on disk, so that `off` can prove that nothing remains
//! even when another agent attached.

use std::fs;
use std::io;
use std::path::Path;

use anyhow::{Context, bail};
use geofilter_core::wire::Proof;
use geofilter_dataplane::baseline::{Baseline, Difference, Traces};
use geofilter_dataplane::{kernel, nft};
use serde::{Deserialize, Serialize};

use super::settings::Settings;
use crate::files::write_whole;

const FILE: &str = "baseline.json";

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Remembered {
    /// The boot it was captured in: a reboot makes another machine.
    boot: String,
    baseline: Baseline,
}

impl Remembered {
    /// Writes it down.
    ///
    /// # Errors
    /// If the disk refuses.
    pub(super) fn write(&self, dir: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_vec(self)?;
        write_whole(dir, FILE, &text)
            .with_context(|| format!("cannot write {}", dir.join(FILE).display()))
    }
}

/// Captures the baseline, unless it was captured already and no `off` has ended that since. Returns what could not be
/// written yet.
///
/// # Errors
/// If it can't be captured, or could only be of a machine on which something is attached already.
pub(super) fn remember(dir: &Path, is_attached: bool) -> anyhow::Result<Option<Remembered>> {
    let boot = boot()?;
    let known = load(dir);
    if known.as_ref().is_ok_and(|known| known.as_ref().is_some_and(|known| known.boot == boot)) {
        return Ok(None);
    }
    if is_attached {
        let why = known.err().map_or_else(|| "it is not there".to_owned(), |it| format!("{it:#}"));
        bail!("what was before it was attached is not known: {why}");
    }
    let remembered = Remembered { boot, baseline: Baseline::capture()? };
    let written = remembered.write(dir).inspect_err(|error| tracing::warn!("{error:#}"));
    Ok(written.is_err().then_some(remembered))
}

/// Compares the machine with its baseline, and forgets that if nothing remains. Without one there is
/// nothing to prove, unless something was attached.
pub(super) fn prove(
    settings: &Settings,
    unwritten: Option<Remembered>,
    was_attached: bool,
) -> anyhow::Result<Option<Proof>> {
    let boot = boot()?;
    let dir = &settings.state_dir;
    let known = unwritten.map_or_else(|| load(dir), |unwritten| Ok(Some(unwritten)))?;
    let before = match known.filter(|known| known.boot == boot) {
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
    let dir = &settings.runtime_dir;
    Traces {
        paths: kernel::paths(dir),
        interfaces: settings.all_names(),
        table: nft::table_of(dir),
    }
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
