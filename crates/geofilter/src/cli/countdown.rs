//! What follows a change on a terminal: it is in force, and goes back by itself unless somebody presses a
//! key in time. The deadline is the kernel's; this only shows it, and asks for more or less.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use geofilter_core::desired::{BootTime, State};
use geofilter_core::wire::{Changed, Failure, FailureKind, Reply, Request, Status, Tally};
use geofilter_dataplane::fault;

use super::args::Global;
use super::render::{self, Style};
use super::terminal::Raw;
use super::{Outcome, client, confused, failed, show};
use crate::agent::clock::boot;

/// Seconds in which a change must be confirmed.
const SECONDS: u64 = 60;
/// How often the agent is asked.
const SECOND: Duration = Duration::from_secs(1);
/// How often the line is written anew, at least.
const BLINK: Duration = Duration::from_millis(100);
/// How long after the deadline the agent may take to answer what is in force.
const AFTERWARDS: Duration = Duration::from_secs(3);

/// For how many seconds a change on a terminal is pending.
pub(super) fn seconds() -> u64 {
    fault::number("countdown").unwrap_or(SECONDS)
}

/// What somebody at the terminal wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Choice {
    Keep,
    GoBack,
}

/// How it ended.
#[derive(Debug)]
enum End {
    /// Somebody chose, and the agent did it.
    Chosen(Choice, Changed),
    /// Somebody chose, and the agent refused.
    Refused(Failure),
    /// Nobody chose.
    OutOfTime,
    /// Another client was faster.
    Elsewhere(Box<Status>),
    /// This program is to end.
    Interrupted,
}

/// Waits for a key while the change is pending. It is kept only if this succeeds.
pub(super) fn run(pending: &Changed, global: &Global) -> Outcome {
    say(&render::changed(pending, Style::on_stderr(global)));
    let countdown = Countdown::new(pending, global);
    let end = countdown.wait().map_err(|error| {
        failed(format!(
            "cannot read keys from the terminal: {error}; {}, `geofilter confirm` keeps it",
            countdown.goes_back()
        ))
    })?;
    countdown.finish(end)
}

struct Countdown<'a> {
    pending: &'a Changed,
    global: &'a Global,
    /// The kernel's deadline, or a moment after it.
    deadline: BootTime,
}

/// What the agent said last.
#[derive(Default)]
struct Seen {
    first: Option<Tally>,
    last: Option<Box<Status>>,
    silent: bool,
}

impl<'a> Countdown<'a> {
    fn new(pending: &'a Changed, global: &'a Global) -> Self {
        let left = Duration::from_secs(pending.remaining.unwrap_or_default());
        let deadline = BootTime(boot().0.saturating_add(left.as_nanos() as u64));
        Self { pending, global, deadline }
    }

    fn left(&self) -> Duration {
        Duration::from_nanos(self.deadline.0.saturating_sub(boot().0))
    }

    fn wait(&self) -> io::Result<End> {
        let raw = Raw::enter()?;
        let reports = watch(self.global.socket.clone());
        let mut seen = Seen::default();
        let mut shown = String::new();
        while !self.left().is_zero() {
            if raw.is_told_to_end() {
                return Ok(End::Interrupted);
            }
            for report in reports.try_iter() {
                if let Some(status) = self.take(report, &mut seen) {
                    return Ok(End::Elsewhere(status));
                }
            }
            let line = self.line(&seen);
            if line != shown {
                raw.rewrite(&line)?;
                shown = line;
            }
            if let Some(choice) = raw.key(BLINK)?.and_then(meaning)
                && let Some(end) = self.choose(choice, &mut seen)
            {
                return Ok(end);
            }
        }
        Ok(End::OutOfTime)
    }

    /// Keeps what the agent said for the line, unless it says that this change is no longer pending.
    fn take(&self, report: Result<Box<Status>, Failure>, seen: &mut Seen) -> Option<Box<Status>> {
        seen.silent = report.is_err();
        let status = report.ok()?;
        // What ends at the deadline has ended by itself.
        if !self.is_pending(&status) && self.left() > SECOND {
            return Some(status);
        }
        seen.first.get_or_insert_with(|| status.dropped.clone());
        seen.last = Some(status);
        None
    }

    fn is_pending(&self, status: &Status) -> bool {
        status.state == State::Pending && status.generation == self.pending.generation
    }

    fn choose(&self, choice: Choice, seen: &mut Seen) -> Option<End> {
        let generation = Some(self.pending.generation);
        let request = match choice {
            Choice::Keep => Request::Confirm { generation },
            Choice::GoBack => Request::Revert { generation },
        };
        match client::ask(&self.global.socket, &request) {
            Ok(Reply::Changed(changed)) => Some(End::Chosen(choice, changed)),
            Ok(_) => Some(End::Refused(confused())),
            Err(failure) if failure.kind == FailureKind::Unreachable => {
                seen.silent = true;
                None
            }
            Err(failure) => Some(End::Refused(failure)),
        }
    }

    fn line(&self, seen: &Seen) -> String {
        let left = self.left().as_nanos().div_ceil(SECOND.as_nanos());
        if seen.silent {
            return format!("No agent answers: the kernel goes back by itself in {left} s.");
        }
        let dropped = match (&seen.first, &seen.last) {
            (Some(first), Some(last)) => render::dropped_since(first, &last.dropped),
            _ => "waiting for figures".to_owned(),
        };
        format!("Keep it? Enter keeps, n goes back. {left} s left. {dropped}")
    }

    fn goes_back(&self) -> String {
        match self.left().as_secs() {
            0 => "it has gone back by itself".to_owned(),
            left => format!("it goes back by itself in {left} s"),
        }
    }

    fn finish(&self, end: End) -> Outcome {
        match end {
            End::Chosen(choice, changed) => {
                show(self.global, changed, render::changed)?;
                match choice {
                    Choice::Keep => Ok(()),
                    Choice::GoBack => Err(failed("not kept: the change was taken back".to_owned())),
                }
            }
            End::Refused(failure) => Err(failed(format!("not kept: {}", failure.message))),
            End::OutOfTime => Err(failed(match self.after_the_deadline() {
                Some(now) => format!("not confirmed in time: back to {}", described(&now)),
                None => format!(
                    "not confirmed in time: the kernel has gone back by itself{}, and no agent answers to prove it",
                    self.expected()
                ),
            })),
            End::Elsewhere(status) => self.elsewhere(&status),
            End::Interrupted => Err(failed(format!(
                "nobody waits for a key any more: {}, `geofilter confirm` keeps it",
                self.goes_back()
            ))),
        }
    }

    /// What is in force again, read back by the agent.
    fn after_the_deadline(&self) -> Option<Box<Status>> {
        let end = self.deadline.0.saturating_add(AFTERWARDS.as_nanos() as u64);
        while boot().0 < end {
            match status(&self.global.socket) {
                Ok(status) if status.state != State::Pending => return Some(status),
                Ok(_) | Err(_) => thread::sleep(BLINK),
            }
        }
        None
    }

    fn expected(&self) -> String {
        let fallback = self.pending.fallback.as_ref();
        let fallback =
            fallback.map(|it| render::in_force(it.state, it.mode, it.countries, it.generation));
        fallback.map_or_else(String::new, |fallback| format!(" to {fallback}"))
    }

    fn elsewhere(&self, status: &Status) -> Outcome {
        let now = described(status);
        match (status.state, status.generation == self.pending.generation) {
            (State::Enforcing, true) => {
                say(&format!("Another client has confirmed it: {now} stays.\n"));
                Ok(())
            }
            (State::Pending, _) => Err(failed(format!(
                "not kept: another client has put another change in its place, which is pending: {now}"
            ))),
            _ => Err(failed(format!("not kept: another client has ended it; now in force: {now}"))),
        }
    }
}

/// What a key means.
fn meaning(key: KeyEvent) -> Option<Choice> {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        KeyCode::Enter => Some(Choice::Keep),
        KeyCode::Esc => Some(Choice::GoBack),
        KeyCode::Char('c' | 'd') if control => Some(Choice::GoBack),
        KeyCode::Char(letter) if !control => match letter.to_ascii_lowercase() {
            'y' | 'k' | ' ' => Some(Choice::Keep),
            'n' | 'r' | 'q' => Some(Choice::GoBack),
            _ => None,
        },
        _ => None,
    }
}

/// Asks the agent again and again, on a thread of its own: an agent that does not answer keeps nobody from
/// pressing a key.
fn watch(socket: PathBuf) -> Receiver<Result<Box<Status>, Failure>> {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        while tell.send(status(&socket)).is_ok() {
            thread::sleep(SECOND);
        }
    });
    told
}

fn status(socket: &std::path::Path) -> Result<Box<Status>, Failure> {
    match client::ask(socket, &Request::Status)? {
        Reply::Status(status) => Ok(status),
        _ => Err(confused()),
    }
}

fn described(status: &Status) -> String {
    render::in_force(status.state, status.mode, status.countries, status.generation)
}

/// Where the questions go. Nobody may be there to read them.
fn say(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_keep_or_go_back_and_others_do_nothing() {
        let plain = |code| meaning(KeyEvent::new(code, KeyModifiers::NONE));
        let control = |letter| meaning(KeyEvent::new(KeyCode::Char(letter), KeyModifiers::CONTROL));
        for code in [KeyCode::Enter, KeyCode::Char('y'), KeyCode::Char('k'), KeyCode::Char(' ')] {
            assert_eq!(plain(code), Some(Choice::Keep), "{code:?}");
        }
        for code in [KeyCode::Esc, KeyCode::Char('n'), KeyCode::Char('r'), KeyCode::Char('q')] {
            assert_eq!(plain(code), Some(Choice::GoBack), "{code:?}");
        }
        assert_eq!([control('c'), control('d')], [Some(Choice::GoBack); 2]);
        let others = [KeyCode::Char('x'), KeyCode::Up, KeyCode::Tab, KeyCode::Backspace];
        assert!(others.into_iter().all(|code| plain(code).is_none()));
        assert!(['y', 'k', 'n', 'z'].into_iter().all(|letter| control(letter).is_none()));
    }
}
