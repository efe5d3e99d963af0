//! `allow`, `block` and every other command that changes the state.

use std::io::Write;

use geofilter_core::change::{Change, Edit};
use geofilter_core::country::{CountrySet, SelectionError, select};
use geofilter_core::policy::{Mode, Scope};
use geofilter_core::wire::{Changed, Failure, Reply, Request};

use super::args::{Global, Select};
use super::calendar::Until;
use super::render::Style;
use super::{
    Outcome, client, confused, countdown, failed, invalid, preview, render, render_preview, show,
    terminal,
};

/// `allow` and `block`.
pub(super) fn enforce(mode: Mode, select: Select, global: &Global) -> Outcome {
    let countries = countries(&select.countries).map_err(|error| invalid(error.to_string()))?;
    let edit = match (select.add, select.remove, select.until) {
        (true, ..) => Edit::Add,
        (_, true, _) => Edit::Remove,
        (.., Some(Until(until))) => {
            Edit::Within { from: select.from.map_or(0, |from| from.0), until }
        }
        (false, false, None) => Edit::Replace,
    };
    let change = Change {
        edit,
        unknown: select.unknown,
        hosting: select.hosting,
        disputed: select.disputed,
        scope: select.scope.map(Scope),
        accept: select.accept_risk,
        ..Change::new(mode, countries)
    };
    let keep_registered = select.keep_registered.map(|span| span.seconds);
    if select.dry_run {
        return preview::of_this_host(Some(change), keep_registered, global);
    }
    let confirm_within = match select.confirm_within {
        Some(span) => Some(span.seconds),
        None if select.yes => None,
        None if terminal::is_there() => return try_out(change, keep_registered, global),
        None => return Err(nobody_to_ask()),
    };
    simple(&Request::Enforce { change, confirm_within, keep_registered }, global)
}

/// Makes the change for a while, and keeps it if somebody at the terminal says so.
fn try_out(change: Change, keep_registered: Option<u64>, global: &Global) -> Outcome {
    let preview = preview::ask(Some(change.clone()), keep_registered, global)?;
    let preview = render_preview::preview(&preview, Style::on_stderr(global));
    // Whoever closed it reads nothing of the countdown either, and the change goes back by itself.
    let _ = std::io::stderr().write_all(preview.as_bytes());
    let confirm_within = Some(countdown::seconds());
    let request = Request::Enforce { change, confirm_within, keep_registered };
    countdown::run(&changed(&request, global)?, global)
}

fn nobody_to_ask() -> Failure {
    invalid(
        "without a terminal nobody can be asked: add --yes, or --confirm-within 60s to go back unless confirmed"
            .to_owned(),
    )
}

/// A request that is answered by what it changed.
pub(super) fn simple(request: &Request, global: &Global) -> Outcome {
    let changed = changed(request, global)?;
    let unclean = changed.proof.as_ref().is_some_and(|proof| !proof.clean);
    show(global, changed, render::changed)?;
    match unclean {
        true => Err(failed("something of GeoFilter remains, see above".to_owned())),
        false => Ok(()),
    }
}

fn changed(request: &Request, global: &Global) -> Result<Changed, Failure> {
    match client::ask(&global.socket, request)? {
        Reply::Changed(changed) => Ok(changed),
        _ => Err(confused()),
    }
}

/// The countries of a selection as written on a command line.
pub(crate) fn countries(words: &[String]) -> Result<CountrySet, SelectionError> {
    select(words.iter().map(String::as_str))
}
