//! `preview`: what a policy would do to those whom the agent of this host knows, to a [`list`] of addresses, or
//! to those whom [`log`] files tell of. The latter two need neither root nor, when a policy is named, an agent.

mod blocks;
mod database;
mod list;
pub(super) mod log;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use geofilter_core::change::{Change, Risk};
use geofilter_core::impact::list::Answers;
use geofilter_core::policy::{Policy, Scope};
use geofilter_core::wire::{Failure, Preview, Reply, Request};

use super::args::{self, Global};
use super::{Outcome, client, confused, countries, failed, invalid, render_preview, show};
use crate::geo::Geo;

pub(super) fn run(args: &args::Preview, global: &Global) -> Outcome {
    match &args.addresses {
        Some(file) => of_addresses(args, file, global),
        None if !args.log.is_empty() => of_logs(args, global),
        None => of_this_host(change(args)?, None, global),
    }
}

/// What a change would do to those whom the agent knows.
pub(super) fn of_this_host(
    change: Option<Change>,
    keep_registered: Option<u64>,
    global: &Global,
) -> Outcome {
    let preview = ask(change, keep_registered, global)?;
    show(global, *preview, render_preview::preview)
}

/// Asks the agent for it.
pub(super) fn ask(
    change: Option<Change>,
    keep_registered: Option<u64>,
    global: &Global,
) -> Result<Box<Preview>, Failure> {
    match client::ask(&global.socket, &Request::Preview { change, keep_registered })? {
        Reply::Preview(preview) => Ok(preview),
        _ => Err(confused()),
    }
}

fn of_addresses(args: &args::Preview, file: &Path, global: &Global) -> Outcome {
    let policy = policy(args, global)?;
    let unreadable =
        |error| failed(format!("cannot read addresses from {}: {error}", file.display()));
    let input = open(file).map_err(unreadable)?;
    let counted = list::count(input, &answers(&policy)?).map_err(unreadable)?;
    show(global, counted.preview(), render_preview::preview)
}

fn of_logs(args: &args::Preview, global: &Global) -> Outcome {
    let logs = log::open(&args.log, !global.json)?;
    let answers = answers(&policy(args, global)?)?;
    show(global, log::count(logs, &answers)?, render_preview::preview)
}

/// What the policy does to every address.
fn answers(policy: &Policy) -> Result<Answers, Failure> {
    let geo = Geo::embedded().map_err(|error| failed(format!("{error:#}")))?;
    Answers::new(policy, geo.world()).map_err(|error| failed(error.to_string()))
}

/// The policy named, else that of the agent.
fn policy(args: &args::Preview, global: &Global) -> Result<Policy, Failure> {
    let Some(change) = change(args)? else {
        return match client::ask(&global.socket, &Request::Status) {
            Ok(Reply::Status(status)) => Ok(status.policy()),
            Ok(_) => Err(confused()),
            Err(failure) => Err(Failure {
                message: format!(
                    "no policy was named (such as `preview allow ES PT`), and {}",
                    failure.message
                ),
                ..failure
            }),
        };
    };
    // Nothing is changed, so nothing is at risk.
    let change = Change { accept: vec![Risk::CutEveryone], ..change };
    let nothing = geofilter_core::apply::nothing_selected();
    change.policy(&nothing, 0).map_err(|objection| invalid(objection.to_string()))
}

/// The change named.
fn change(args: &args::Preview) -> Result<Option<Change>, Failure> {
    let Some(mode) = args.mode else { return Ok(None) };
    let countries = countries(&args.countries).map_err(|error| invalid(error.to_string()))?;
    Ok(Some(Change {
        unknown: args.unknown,
        hosting: args.hosting,
        disputed: args.disputed,
        scope: args.scope.clone().map(Scope),
        ..Change::new(mode, countries)
    }))
}

fn open(path: &Path) -> io::Result<Box<dyn Read + Send>> {
    Ok(match path == Path::new("-") {
        true => Box::new(io::stdin()),
        false => Box::new(File::open(path)?),
    })
}
