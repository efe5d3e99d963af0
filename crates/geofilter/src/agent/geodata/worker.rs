//! [`Worker`]: the process that fetches and makes images. It has a folder and a way out; what it made is judged by whoever started it.

use std::io;
use std::path::Path;

use geofilter_core::wire::Failure;
use geofilter_portal::sandbox;
use geofilter_update::{Job, Told};

use crate::agent::child::{self, Child};
use crate::cli::failed;

/// See the module.
#[derive(Debug)]
pub(super) struct Worker(Child<Told>);

impl Worker {
    /// Starts on a job.
    ///
    /// # Errors
    /// If there can be no such process.
    pub(super) fn start(job: &Job) -> io::Result<Self> {
        Child::start(["geodb", "work"], job).map(Self)
    }

    /// What it told since the last time; that it failed, if it ended without a word.
    pub(super) fn heard(&mut self) -> Vec<Told> {
        let (mut heard, ended) = self.0.heard();
        let failed =
            |how| Told::Failed { why: format!("the process that updates ended early: {how}") };
        heard.extend(ended.map(failed));
        heard
    }
}

/// What that process does.
///
/// # Errors
/// If it can't be confined, or is not told what to do.
pub(crate) fn work() -> Result<(), Failure> {
    let job: Job = child::begin()?;
    let trust = geofilter_reach::trusted();
    confine(&job.folder)?;
    let mut tell = |told: Told| child::tell(&told);
    match geofilter_update::update(&job, trust, &mut tell) {
        Ok(made) => tell(Told::Done { made }),
        Err(error) => tell(Told::Failed { why: error.to_string() }),
    }
    Ok(())
}

fn confine(folder: &Path) -> Result<(), Failure> {
    // Its job has what it needs of secrets.
    sandbox::enter_fetcher(folder, &[]).map(drop).map_err(|error| failed(error.to_string()))
}
