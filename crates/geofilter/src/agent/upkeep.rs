//! What others take away while the agent runs is put back within a second, and said: what is attached and pinned by the
//! data plane, the files of the state folder here. [`Mended`] is what was put back lately, [`Trouble`] what can't be.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::time::{Duration, Instant};

use geofilter_core::clock::UnixTime;
use geofilter_core::desired::BootTime;

use super::engine::{Engine, describe};
use super::{baseline, clock, ledger, place, protected, records};
use crate::cli::args::Choice;

/// How often the files are looked at.
const INTERVAL: Duration = Duration::from_millis(500);
/// How long it is said that something was put back, in nanoseconds.
const TOLD: u64 = 3_600_000_000_000;
const ADVICE: &str = "look for who does that";

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Mended(BTreeMap<String, Times>);

#[derive(Debug)]
struct Times {
    times: u64,
    last: BootTime,
    wall: UnixTime,
}

impl Mended {
    /// Something was put back.
    pub(super) fn note(&mut self, what: String, now: BootTime, wall: UnixTime) {
        tracing::warn!("{what}: {ADVICE}");
        let before = self.0.get(&what).map_or(0, |before| before.times);
        self.0.insert(what, Times { times: before + 1, last: now, wall });
    }

    /// What `status` says of it.
    pub(super) fn warnings(&mut self, now: BootTime) -> Vec<String> {
        self.0.retain(|_, times| now.0.saturating_sub(times.last.0) < TOLD);
        let told = self.0.iter().map(|(what, Times { times, wall, .. })| {
            let often = if *times == 1 { String::new() } else { format!("{times} times, last ") };
            format!("{what} ({often}at {}): {ADVICE}", records::rfc3339(*wall))
        });
        told.collect()
    }
}

/// What fails by itself again and again, until it does not.
#[derive(Debug, Default)]
pub(super) struct Trouble(Option<String>);

impl Trouble {
    /// Takes what came of the latest attempt. It is logged once.
    pub(super) fn take(&mut self, result: Result<(), String>) {
        let trouble = result.err();
        if let Some(message) = trouble.as_ref().filter(|_| self.0 != trouble) {
            tracing::warn!("{message}");
        }
        self.0 = trouble;
    }

    /// What `status` says of it, if it goes on.
    pub(super) fn warning(&self) -> Option<String> {
        self.0.clone()
    }
}

/// The files of the state folder, as far as they are looked after here.
#[derive(Debug)]
pub(super) struct Files {
    looked: Instant,
    /// Held, not used: another lock of the folder, where the one that was locked is gone.
    locks: Vec<File>,
    /// The machine before the first change, until it is on disk.
    pub(super) baseline: Option<baseline::Remembered>,
    pub(super) trouble: Trouble,
}

impl Files {
    pub(super) fn new() -> Self {
        let (locks, trouble) = (Vec::new(), Trouble::default());
        Self { looked: Instant::now(), locks, baseline: None, trouble }
    }
}

impl Engine {
    /// Sees to it that what is attached stays so.
    pub(super) fn look_after_plane(&mut self) {
        if !self.machine.attached() {
            return self.plane_trouble.take(Ok(()));
        }
        let mended = self.backend.mend().map_err(|error| {
            format!("what is attached is not as it should be: {}", describe(error))
        });
        let mended = mended.map(|mended| mended.into_iter().for_each(|what| self.was_mended(what)));
        self.plane_trouble.take(mended);
    }

    /// Says that something was put back.
    pub(super) fn was_mended(&mut self, what: String) {
        self.mended.note(what, clock::boot(), ledger::unix_now());
    }

    /// Sees to it that the files are there without which the next agent, or the next boot, would do something else.
    pub(super) fn look_after_files(&mut self) {
        if self.settings.trial || self.files.looked.elapsed() < INTERVAL {
            return;
        }
        self.files.looked = Instant::now();
        let kept = self.keep_files();
        match &kept {
            // What could not be written before is not what somebody removed.
            Ok(gone) if !gone.is_empty() && self.files.trouble.warning().is_none() => {
                let (gone, dir) = (gone.join(", "), self.settings.state_dir.display());
                self.was_mended(format!(
                    "{gone} could not be found in {dir}, and was written again"
                ));
            }
            Ok(_) | Err(_) => {}
        }
        self.note_files(kept.map(drop));
    }

    /// What came of writing down what the next start needs. It is tried again until it is done.
    pub(super) fn note_files(&mut self, written: anyhow::Result<()>) {
        let dir = self.settings.state_dir.display();
        let written = written.map_err(|error| {
            format!(
                "what the next start needs can't be written to {dir}: {error:#}; make room there, and see that it can be written"
            )
        });
        self.files.trouble.take(written);
    }

    /// Returns what was not there any more.
    fn keep_files(&mut self) -> anyhow::Result<Vec<&'static str>> {
        let mut gone = Vec::new();
        if self.keep_folder()? {
            gone.push("the folder itself");
        }
        if self.store.is_gone() {
            // It is written by the machine, which may be in the middle of something.
            if !self.machine.unsaved() {
                gone.push("the policy");
            }
            self.machine.save_again_soon();
        }
        let attached = self.machine.attached() && self.settings.backend != Choice::Memory;
        if self.ledger.keep_journal()? {
            gone.push("the exemptions and bans");
        }
        if attached && !protected::is_known(&self.settings.state_dir) {
            self.remember_interfaces(self.settings.all_names())?;
            gone.push("the protected interfaces");
        }
        if let Some(baseline) = &self.files.baseline {
            baseline.write(&self.settings.state_dir)?;
            self.files.baseline = None;
        }
        if self.geodata.keep(self.geo.images())? {
            gone.push("the country data");
        }
        Ok(gone)
    }

    /// Makes the state folder again if somebody has removed it; whether that was so.
    fn keep_folder(&mut self) -> io::Result<bool> {
        let dir = &self.settings.state_dir;
        if dir.exists() {
            return Ok(false);
        }
        DirBuilder::new().recursive(true).mode(0o755).create(dir)?;
        // Whoever has it already goes on beside this agent, which can't be helped.
        self.files.locks.clear();
        self.files.locks.extend(place::take_dir(dir)?);
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_back_is_counted_and_told_for_an_hour() {
        let mut mended = Mended::default();
        let minute = |number: u64| BootTime(number * 60_000_000_000);
        let told = |mended: &mut Mended, now| mended.warnings(minute(now));
        mended.note("it was gone".to_owned(), minute(1), UnixTime(60));
        assert_eq!(
            told(&mut mended, 1),
            ["it was gone (at 1970-01-01T00:01:00Z): look for who does that"]
        );
        mended.note("it was gone".to_owned(), minute(2), UnixTime(120));
        assert!(told(&mut mended, 61)[0].contains("2 times, last at 1970-01-01T00:02:00Z"));
        assert!(told(&mut mended, 62).is_empty());
    }
}
