//! The command line: [`args`] reads it, each command has its module, [`client`] asks the agent and
//! [`render`] prints for people.

pub(crate) mod args;
mod calendar;
mod change;
mod check;
pub(crate) mod client;
mod countdown;
mod detect;
mod doctor;
mod evidence;
mod fail2ban;
mod geodb;
mod log;
mod manual;
mod overrides;
mod preview;
mod recommend;
pub(crate) mod render;
mod render_detect;
mod render_doctor;
mod render_geodb;
pub(crate) mod render_preview;
mod render_preview_log;
mod render_recommend;
mod render_records;
mod state;
mod status;
mod terminal;
mod top;
mod trace;
mod why;

pub(crate) use change::countries;
use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;
use geofilter_core::policy::Mode;
use geofilter_core::wire::{Document, Failure, FailureKind, Request};
use serde::Serialize;

use args::{Command, FleetCommand, Global, Line, Portal};
use render::Style;

/// What a command does when it can't do its work.
pub(crate) type Outcome = Result<(), Failure>;

/// Reads the command line, obeys, and says how it went.
pub(crate) fn run() -> ExitCode {
    let line = match Line::try_parse() {
        Ok(line) => line,
        Err(error) => return misread(&error),
    };
    let global = &line.global;
    match obey(line.command, global) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // An answer that is no has its exit code, and nothing to complain of.
            if !failure.message.is_empty() {
                complain(&failure, global.json);
            }
            exit_code(failure.kind)
        }
    }
}

/// Help that was asked for, or what is wrong with the command line.
fn misread(error: &clap::Error) -> ExitCode {
    let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    // What was read so far is lost, so whether JSON was asked for is read again.
    if !asked && std::env::args_os().any(|word| word == "--json") {
        let message = error.to_string();
        let message = message.strip_prefix("error: ").unwrap_or(&message).trim_end();
        complain(&invalid(message.to_owned()), true);
    } else {
        let _ = error.print();
    }
    ExitCode::from(if asked { 0 } else { 2 })
}

fn obey(command: Command, global: &Global) -> Outcome {
    match command {
        Command::Up(up) => {
            trace::on_stderr(global);
            crate::up::run(up, Style::choose(global))
        }
        Command::Agent(agent) => {
            trace::in_journal(global);
            crate::agent::run(agent)
        }
        Command::Portal(portal) => obey_portal(*portal, global),
        Command::Allow(select) => change::enforce(Mode::AllowSelected, select, global),
        Command::Block(select) => change::enforce(Mode::BlockSelected, select, global),
        Command::Confirm => change::simple(&Request::Confirm { generation: None }, global),
        Command::Revert => change::simple(&Request::Revert { generation: None }, global),
        Command::Observe => change::simple(&Request::Observe, global),
        Command::Pause(pause) => {
            change::simple(&Request::Pause { seconds: pause.span.seconds }, global)
        }
        Command::Resume => change::simple(&Request::Resume, global),
        Command::Off => change::simple(&Request::Off, global),
        Command::Status => status::run(global),
        Command::Why(why) => why::run(&why, global),
        Command::Exempt(command) => overrides::exempt(command, global),
        Command::Ban(command) => overrides::ban(command, global),
        Command::Peer(command) => overrides::peer(command, global),
        Command::Protected(protected) => overrides::protected(&protected, global),
        Command::Fail2ban(command) => fail2ban::run(command, global),
        Command::Log(log) => log::run(&log, global),
        Command::Top => top::run(global),
        Command::Preview(preview) => preview::run(&preview, global),
        Command::Evidence(evidence) => evidence::run(&evidence, global),
        Command::Recommend(recommend) => recommend::run(&recommend, global),
        Command::Detect(detect) => detect::run(&detect, global),
        Command::Check(check) => check::run(&check.config, global),
        Command::Doctor(doctor) => doctor::run(&doctor, global),
        Command::Backup(saved) => state::backup(&saved, global),
        Command::Restore(saved) => state::restore(&saved, global),
        Command::Enrol(enrol) => crate::fleet::enrol(&enrol, global),
        Command::Leave => crate::fleet::leave(global),
        Command::Fleet(FleetCommand::Link) => {
            trace::on_stderr(global);
            crate::fleet::run()
        }
        Command::Fleet(FleetCommand::Pull) => {
            trace::on_stderr(global);
            crate::fleet::pull()
        }
        Command::Geodb(command) => geodb::run(command, global),
        Command::Completions { shell } => manual::completions(shell),
        Command::Man { dir } => manual::man(dir.as_deref()),
    }
}

fn obey_portal(portal: Portal, global: &Global) -> Outcome {
    match portal {
        Portal::Run(run) => {
            trace::on_stderr(global);
            crate::portal::run(*run, global.json)
        }
        Portal::Reset(reset) => crate::portal::reset(&reset, global.json),
        Portal::Token(token) => crate::portal::token(&token, global.json),
        Portal::Courier => {
            trace::on_stderr(global);
            crate::portal::carry()
        }
        Portal::Fetcher(fetcher) => {
            trace::on_stderr(global);
            crate::portal::fetch(fetcher)
        }
    }
}

/// Prints a document, or the same for people.
fn show<T: Serialize>(
    global: &Global,
    body: T,
    people: impl FnOnce(&T, Style) -> String,
) -> Outcome {
    let text = match global.json {
        true => {
            let json = serde_json::to_string_pretty(&Document::new(body));
            json.map_err(|error| failed(format!("cannot write JSON: {error}")))? + "\n"
        }
        false => people(&body, Style::choose(global)),
    };
    print(&text)
}

/// Prints; a reader that has gone away is no failure.
fn print(text: &str) -> Outcome {
    print_on(text).map(drop)
}

/// Prints, and says whether anybody reads on.
fn print_on(text: &str) -> Result<bool, Failure> {
    let mut stdout = std::io::stdout();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(failed(format!("cannot write to standard output: {error}"))),
    }
}

fn complain(failure: &Failure, as_json: bool) {
    let json = Document::new(serde_json::json!({ "error": failure }));
    let text = match serde_json::to_string_pretty(&json) {
        Ok(json) if as_json => json,
        Ok(_) | Err(_) => format!("geofilter: {}", failure.message),
    };
    let _ = writeln!(std::io::stderr(), "{text}");
}

fn exit_code(kind: FailureKind) -> ExitCode {
    ExitCode::from(match kind {
        FailureKind::Failed | FailureKind::Unfit => 1,
        FailureKind::Invalid => 2,
        FailureKind::Risky => 3,
        FailureKind::Unreachable => 4,
    })
}

/// A failure of kind [`FailureKind::Failed`].
pub(crate) fn failed(message: String) -> Failure {
    Failure::new(FailureKind::Failed, message)
}

/// A failure of kind [`FailureKind::Invalid`].
pub(crate) fn invalid(message: String) -> Failure {
    Failure::new(FailureKind::Invalid, message)
}

/// The agent answered something else than was asked.
pub(crate) fn confused() -> Failure {
    failed("the agent answered something else; is it another version?".to_owned())
}
