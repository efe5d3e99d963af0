//! `geofilter up`: the agent in the foreground for a first try, and the [`portal`] beside it. It observes at
//! once, and reverts everything when it ends.

mod portal;

use std::io::Write;
use std::path::Path;

use geofilter_core::change::Change;
use geofilter_core::country::SelectionError;
use geofilter_core::policy::Mode;
use geofilter_core::wire::{Failure, Reply, Request, Status};

use crate::agent::{Agent, Hangup, Settings};
use crate::cli::args::{DEFAULT_SOCKET, Up};
use crate::cli::render::{self, Style};
use crate::cli::{confused, countries, failed, invalid};
use portal::Portal;

/// Runs until Ctrl-C, SIGTERM, or the terminal closes. Nobody may be there to read what it says.
pub(crate) fn run(up: Up, style: Style) -> Result<(), Failure> {
    let first = first_request(&up).map_err(|error| invalid(error.to_string()))?;
    let broken = |error: anyhow::Error| failed(format!("{error:#}"));
    let settings = Settings::new(up.place, None).map_err(broken)?;
    let user = portal::user();
    let portal = user.as_ref().ok().cloned();
    let agent = Agent::start(Settings { trial: true, portal, ..settings }).map_err(broken)?;
    let begun = begin(&agent, first);
    let reverted = match &begun {
        Ok(status) => {
            let portal = user.and_then(|user| Portal::start(agent.settings(), &user, up.listen));
            let portal = portal.map_err(|error| complain_of_portal(&error)).ok();
            let pages = portal.as_ref().map(|portal| (&portal.ready, portal.tunnel()));
            say(&render::greeting(status, &client(agent.settings()), pages, style));
            let ending = agent.until_told(Hangup::Ends);
            if let Some(portal) = &portal {
                portal.tell_to_end();
            }
            ending.revert()
        }
        Err(_) => agent.at_once().revert(),
    };
    begun?;
    let Reply::Changed(changed) = reverted? else { return Err(confused()) };
    say(&format!("\n{}", render::changed(&changed, style)));
    match changed.proof.is_none_or(|proof| proof.clean) {
        true => Ok(()),
        false => Err(failed("something of GeoFilter remains, see above".to_owned())),
    }
}

/// The filter needs no portal.
fn complain_of_portal(error: &anyhow::Error) {
    let _ = writeln!(
        std::io::stderr(),
        "geofilter: there is no web page: {error:#}; the filter works without it. If its port is taken, name another one: up --listen 127.0.0.1:8471"
    );
}

/// What was attached is reverted whether or not this can be written.
fn say(text: &str) {
    let mut stdout = std::io::stdout();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

/// The command line that reaches this agent, as this one was called.
fn client(settings: &Settings) -> String {
    let program = std::env::args().next().unwrap_or_else(|| "geofilter".to_owned());
    match settings.socket() {
        socket if socket == Path::new(DEFAULT_SOCKET) => program,
        socket => format!("{program} --socket {}", socket.display()),
    }
}

/// Enforces what was asked for; otherwise it stays at observing.
fn begin(agent: &Agent, first: Option<Request>) -> Result<Status, Failure> {
    if let Some(request) = first {
        agent.ask(request)?;
    }
    status(agent)
}

fn status(agent: &Agent) -> Result<Status, Failure> {
    match agent.ask(Request::Status)? {
        Reply::Status(status) => Ok(*status),
        _ => Err(confused()),
    }
}

fn first_request(up: &Up) -> Result<Option<Request>, SelectionError> {
    let (mode, words) = match (up.allow.as_slice(), up.block.as_slice()) {
        ([], []) => return Ok(None),
        ([], words) => (Mode::BlockSelected, words),
        (words, _) => (Mode::AllowSelected, words),
    };
    let accept = up.accept_risk.clone();
    let change = Change { accept, ..Change::new(mode, countries(words)?) };
    let keep_registered = up.keep_registered.map(|span| span.seconds);
    Ok(Some(Request::Enforce { change, confirm_within: None, keep_registered }))
}
