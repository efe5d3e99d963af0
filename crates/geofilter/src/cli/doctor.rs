//! `doctor`.

use std::path::{Path, PathBuf};

use geofilter_core::wire::{Document, Failure, FailureKind};
use serde::Serialize;

use super::args::{Doctor, Global};
use super::{Outcome, failed, print, render_doctor, show};
use crate::agent;
use crate::doctor::{self, Examined, Where};

/// What `--bundle` prints.
#[derive(Serialize)]
struct Written {
    bundle: PathBuf,
}

pub(super) fn run(asked: &Doctor, global: &Global) -> Outcome {
    let wrong = |error: anyhow::Error| failed(format!("{error:#}"));
    let place = place(asked.config.as_deref(), global).map_err(wrong)?;
    let examined = doctor::examination(&place);
    if let Some(file) = &asked.bundle {
        return bundle(&examined, &place, file.as_deref(), global);
    }
    let verbose = global.verbose > 0;
    let problem = examined.report.has_problem();
    show(global, examined.report, |report, style| render_doctor::report(report, verbose, style))?;
    // The report has said it.
    if problem { Err(Failure::new(FailureKind::Failed, "")) } else { Ok(()) }
}

fn place(config: Option<&Path>, global: &Global) -> anyhow::Result<Where> {
    let (folders, manager) = (agent::folders(config)?, agent::manager(config)?);
    let usual = global.socket == Path::new(super::args::DEFAULT_SOCKET);
    let socket = if usual { folders.runtime_dir.join("agent.sock") } else { global.socket.clone() };
    Ok(Where { socket, state_dir: folders.state_dir, runtime_dir: folders.runtime_dir, manager })
}

fn bundle(examined: &Examined, place: &Where, file: Option<&Path>, global: &Global) -> Outcome {
    let wrong = |error: anyhow::Error| failed(format!("{error:#}"));
    let document = Document::new(doctor::bundle(examined, place).map_err(wrong)?);
    let text = serde_json::to_string_pretty(&document)
        .map_err(|error| failed(format!("cannot write JSON: {error}")))?
        + "\n";
    if file == Some(Path::new("-")) {
        return print(&text);
    }
    let bundle = doctor::write(file, &text).map_err(wrong)?;
    show(global, Written { bundle }, |written, _| {
        format!(
            "Wrote {}: addresses and names were taken out of it; look through it before you publish it.\n",
            written.bundle.display()
        )
    })
}
