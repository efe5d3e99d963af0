//! `backup` and `restore`: the state of this host as a file. They need root, and no agent.

use std::path::PathBuf;

use geofilter_core::wire::Failure;
use serde::Serialize;

use super::args::{Global, Saved};
use super::{Outcome, failed, show};
use crate::agent::folders;
use crate::backup::{self, Manifest, Restored};

/// What is in a file.
#[derive(Serialize)]
struct Report {
    file: PathBuf,
    #[serde(flatten)]
    manifest: Told,
    /// Where the former state is, after it was restored.
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<PathBuf>,
}

/// A [`Manifest`] without its own schema.
#[derive(Serialize)]
struct Told {
    version: String,
    time: String,
    parts: Vec<backup::Part>,
}

impl Told {
    fn of(Manifest { version, time, parts, schema: _ }: Manifest) -> Self {
        Self { version, time, parts }
    }

    fn listed(&self) -> String {
        self.parts
            .iter()
            .map(|part| format!("  {:<24} {} bytes\n", part.name, part.bytes))
            .collect()
    }
}

pub(super) fn backup(saved: &Saved, global: &Global) -> Outcome {
    let manifest = backup::backup(&state_dir(saved)?, &saved.file).map_err(told)?;
    let report = Report { file: saved.file.clone(), manifest: Told::of(manifest), before: None };
    show(global, report, |report, _| {
        format!(
            "Written: {}\n{}It holds hashes of passwords and the portal's other secrets: keep it where only you can read it.\n",
            report.file.display(),
            report.manifest.listed()
        )
    })
}

pub(super) fn restore(saved: &Saved, global: &Global) -> Outcome {
    let Restored { manifest, before } =
        backup::restore(&state_dir(saved)?, &saved.file).map_err(told)?;
    let report =
        Report { file: saved.file.clone(), manifest: Told::of(manifest), before: Some(before) };
    show(global, report, |report, _| {
        let before = report.before.iter().map(|before| before.display().to_string());
        format!(
            "Restored: the state of {}\n{}What was there before is in {}.\nStart the agent, and the portal if there is one: what is in force changes then, and not before.\n",
            report.manifest.time,
            report.manifest.listed(),
            before.collect::<String>()
        )
    })
}

fn state_dir(saved: &Saved) -> Result<PathBuf, Failure> {
    match &saved.state_dir {
        Some(dir) => Ok(dir.clone()),
        None => folders(saved.config.as_deref()).map(|folders| folders.state_dir).map_err(told),
    }
}

fn told(error: anyhow::Error) -> Failure {
    failed(format!("{error:#}"))
}
