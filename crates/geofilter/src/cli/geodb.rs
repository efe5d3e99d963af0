//! `geodb`: the world data. The agent keeps it; where none runs, what came with the program is shown.

use std::io::IsTerminal;
use std::net::IpAddr;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use geofilter_core::wire::{
    Failure, FailureKind, Geodata, GeodataAsk, Lookup, Reply, Request, Running, UpdateOutcome,
};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::args::{Geodb, Global, Import};
use super::{Outcome, client, confused, failed, invalid, render, render_geodb, show};
use crate::geo::{self, Geo};

/// How often the agent is asked how far an update is.
const BLINK: Duration = Duration::from_millis(200);

/// `geodb`, whatever of it.
pub(super) fn run(command: Geodb, global: &Global) -> Outcome {
    match command {
        Geodb::Status => show(global, state(global)?, render_geodb::state),
        Geodb::Update => update(GeodataAsk::Update, global),
        Geodb::Import(import) => update(taken(import)?, global),
        Geodb::Approve => show(global, ask(GeodataAsk::Approve, global)?, render_geodb::state),
        Geodb::Rollback => show(global, ask(GeodataAsk::Rollback, global)?, render_geodb::state),
        Geodb::Lookup { address } => show(global, lookup(address, global)?, render::lookup),
        Geodb::Work => crate::agent::work_on_geodata(),
    }
}

/// The files as the agent finds them, wherever it runs.
fn taken(import: Import) -> Result<GeodataAsk, Failure> {
    let absolute = |file: &PathBuf| {
        let found = file.canonicalize();
        let found =
            found.map_err(|error| invalid(format!("cannot use {}: {error}", file.display())))?;
        Ok(found.display().to_string())
    };
    let first = import.files.first().and_then(|file| file.file_name());
    let called = first.map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    Ok(GeodataAsk::Import {
        files: import.files.iter().map(absolute).collect::<Result<_, Failure>>()?,
        locations: import.locations.as_ref().map(absolute).transpose()?,
        name: import.name.unwrap_or(called),
    })
}

fn ask(ask: GeodataAsk, global: &Global) -> Result<Geodata, Failure> {
    match client::ask(&global.socket, &Request::Geodata { ask })? {
        Reply::Geodata(geodata) => Ok(*geodata),
        _ => Err(confused()),
    }
}

fn state(global: &Global) -> Result<Geodata, Failure> {
    match ask(GeodataAsk::State, global) {
        Err(failure) if failure.kind == FailureKind::Unreachable => {
            let geo = Geo::embedded().map_err(|error| failed(format!("{error:#}")))?;
            Ok(Geodata {
                data: geo.data(),
                embedded: true,
                previous: None,
                held: None,
                running: None,
                last: None,
                next: None,
                portal: None,
            })
        }
        answered => answered,
    }
}

/// What the data that the agent uses says, or what came with the program.
fn lookup(address: IpAddr, global: &Global) -> Result<Lookup, Failure> {
    let request = Request::Why { address, port: None, protocol: None };
    match client::ask(&global.socket, &request) {
        Ok(Reply::Why(why)) => Ok(why.lookup),
        Ok(_) => Err(confused()),
        Err(failure) if failure.kind == FailureKind::Unreachable => {
            geo::lookup(address).map_err(|error| failed(format!("{error:#}")))
        }
        Err(failure) => Err(failure),
    }
}

/// Begins, shows how far it is, and says what came of it.
fn update(what: GeodataAsk, global: &Global) -> Outcome {
    let mut geodata = ask(what, global)?;
    let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::hidden());
    if !global.json && std::io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::stderr());
    }
    let style = ProgressStyle::with_template("{msg} {wide_bar} {bytes}/{total_bytes} {eta}");
    if let Ok(style) = style {
        bar.set_style(style);
    }
    while let Some(running) = &geodata.running {
        advance(&bar, running);
        thread::sleep(BLINK);
        geodata = ask(GeodataAsk::State, global)?;
    }
    bar.finish_and_clear();
    let last = geodata.last.clone();
    let why = last.as_ref().and_then(|last| last.why.clone()).unwrap_or_default();
    match last.map(|last| last.outcome) {
        Some(UpdateOutcome::Failed) => {
            Err(failed(format!("the world data was not updated: {why}")))
        }
        Some(UpdateOutcome::Held) => Err(Failure::new(
            FailureKind::Risky,
            format!("the new world data is held, and what was in use stays so: {why}"),
        )),
        Some(UpdateOutcome::Used | UpdateOutcome::Same) | None => {
            show(global, geodata, render_geodb::state)
        }
    }
}

fn advance(bar: &ProgressBar, running: &Running) {
    let Running { source, bytes, total } = running;
    bar.set_length(total.unwrap_or(*bytes));
    bar.set_position(*bytes);
    bar.set_message(source.clone().unwrap_or_else(|| "Building the table".to_owned()));
}
