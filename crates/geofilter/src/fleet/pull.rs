//! [`Puller`]: the process that pulls world data from the portal of a fleet, without privileges, into a folder. What it brought is read by whoever
//! started it.

use std::fs;
use std::io;
use std::path::PathBuf;

use geofilter_core::wire::{Failure, Membership};
use geofilter_fleet::{Client, Error, world};
use geofilter_portal::sandbox;
use serde::{Deserialize, Serialize};

use crate::agent::child::{self, Child};
use crate::cli::failed;

/// What it brought, in its folder.
pub(crate) const BROUGHT: &str = "pulled";
/// What the portal says when too many pull (RFC 9110, 15.6.4).
const BUSY: u16 = 503;

/// What the process is for.
#[derive(Debug, Serialize, Deserialize)]
struct Job {
    membership: Membership,
    digest: String,
    folder: PathBuf,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "pulled", rename_all = "kebab-case")]
pub(crate) enum Pulled {
    /// It is there.
    Done,
    /// Too many hosts pull.
    Busy,
    /// Why not.
    Failed { why: String },
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Puller(Child<Pulled>);

impl Puller {
    /// Begins to pull what has this digest.
    ///
    /// # Errors
    /// If there can be no such process.
    pub(crate) fn start(
        membership: &Membership,
        digest: &str,
        folder: PathBuf,
    ) -> io::Result<Self> {
        let (membership, digest) = (membership.clone(), digest.to_owned());
        Child::start(["fleet", "pull"], &Job { membership, digest, folder }).map(Self)
    }

    /// What came of it, once that is known.
    pub(crate) fn heard(&mut self) -> Option<Pulled> {
        let (heard, ended) = self.0.heard();
        let early =
            |how| Pulled::Failed { why: format!("the process that pulls it ended early: {how}") };
        heard.into_iter().next().or_else(|| ended.map(early))
    }
}

/// What that process does.
///
/// # Errors
/// If it can't be confined, or is not told what to do.
pub(crate) fn pull() -> Result<(), Failure> {
    let job: Job = child::begin()?;
    sandbox::enter_fetcher(&job.folder, &[]).map_err(|error| failed(error.to_string()))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| failed(format!("cannot start the runtime: {error}")))?;
    child::tell(&runtime.block_on(bring(&job)));
    Ok(())
}

async fn bring(Job { membership, digest, folder }: &Job) -> Pulled {
    let brought = match Client::member(membership) {
        Ok(client) => client.world(digest).await,
        Err(error) => Err(error),
    };
    match brought {
        Ok(content) if world::digest(&content) != *digest => Pulled::Failed {
            why: "what the portal sent is not what it said that it serves".to_owned(),
        },
        Ok(content) => match fs::write(folder.join(BROUGHT), content) {
            Ok(()) => Pulled::Done,
            Err(error) => Pulled::Failed { why: format!("it could not be kept: {error}") },
        },
        Err(Error::Refused { status: BUSY, .. }) => Pulled::Busy,
        Err(error) => Pulled::Failed { why: error.to_string() },
    }
}
