//! `allow`, `block` and every other command that changes the state.

use std::io::{BufRead, IsTerminal, Write};

use geofilter_core::change::{Change, Edit, word};
use geofilter_core::country::{CountrySet, SelectionError, select};
use geofilter_core::policy::{Mode, Scope};
use geofilter_core::wire::{Reply, Request};

use super::args::{Global, Select};
use super::calendar::Until;
use super::{Outcome, client, confused, failed, invalid, render, show};

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
    if !select.yes && select.confirm_within.is_none() && !agreed(&change)? {
        return Err(failed("nothing was changed".to_owned()));
    }
    let confirm_within = select.confirm_within.map(|span| span.seconds);
    let keep_registered = select.keep_registered.map(|span| span.seconds);
    simple(&Request::Enforce { change, confirm_within, keep_registered }, global)
}

/// A request that is answered by what it changed.
pub(super) fn simple(request: &Request, global: &Global) -> Outcome {
    let Reply::Changed(changed) = client::ask(&global.socket, request)? else {
        return Err(confused());
    };
    let unclean = changed.proof.as_ref().is_some_and(|proof| !proof.clean);
    show(global, changed, render::changed)?;
    match unclean {
        true => Err(failed("something of GeoFilter remains, see above".to_owned())),
        false => Ok(()),
    }
}

/// The countries of a selection as written on a command line.
pub(crate) fn countries(words: &[String]) -> Result<CountrySet, SelectionError> {
    select(words.iter().map(String::as_str))
}

/// Asks on a terminal; elsewhere nobody can answer.
fn agreed(change: &Change) -> Result<bool, geofilter_core::wire::Failure> {
    let (stdin, mut stderr) = (std::io::stdin(), std::io::stderr());
    if !stdin.is_terminal() || !stderr.is_terminal() {
        return Err(invalid(
            "without a terminal nobody can be asked: add --yes, or --confirm-within 60s to go back unless confirmed"
                .to_owned(),
        ));
    }
    let edit = match change.edit {
        Edit::Replace => String::new(),
        Edit::Add => " --add".to_owned(),
        Edit::Remove => " --remove".to_owned(),
        Edit::Within { from, until } => format!(" {}", render::within(from, until)),
    };
    let question = format!(
        "{}{edit} {}: enforce this at once? [y/N] ",
        word(change.mode),
        render::codes(change.countries)
    );
    let mut answer = String::new();
    let asked = stderr
        .write_all(question.as_bytes())
        .and_then(|()| stderr.flush())
        .and_then(|()| stdin.lock().read_line(&mut answer));
    asked.map_err(|error| failed(format!("cannot ask on the terminal: {error}")))?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}
