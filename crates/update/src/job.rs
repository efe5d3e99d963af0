//! [`Job`]: what the process that updates is told, and [`Told`] what it tells, a JSON document a line each.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::fetch::Patience;
use crate::sources::{Part, Source};

/// The images that an update begins with, and what it makes of them, in its folder.
pub const BASE: Images = Images { world: "base-world.img", systems: "base-as.img" };
/// The images that it made.
pub const MADE: Images = Images { world: "world.img", systems: "as.img" };

/// A file that is there since one came that is another than before, until whoever uses the images removes it: what is made of
/// it may be lost meanwhile.
pub const FRESH: &str = "fresh";

/// What two images are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Images {
    /// That of the world.
    pub world: &'static str,
    /// That of the autonomous systems.
    pub systems: &'static str,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Where files are fetched to, and images lie. Nothing else is touched.
    pub folder: PathBuf,
    /// The sources, and what each is for. What is for none of them stays as it is.
    pub sources: Vec<(Part, Source)>,
    /// How long is waited for servers.
    pub patience: Patience,
}

/// What is told meanwhile, and in the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "told", rename_all = "kebab-case")]
pub enum Told {
    /// So much of a file is there.
    Fetching {
        /// Of whose.
        source: String,
        /// Bytes that are there.
        bytes: u64,
        /// Bytes that there will be, if the server said.
        total: Option<u64>,
    },
    /// Images are being made.
    Making,
    /// The end: images were made, or there is nothing new.
    Done {
        /// Whether they were.
        made: bool,
    },
    /// The end: why it was not done.
    Failed {
        /// What failed, on what, and what to do.
        why: String,
    },
}
