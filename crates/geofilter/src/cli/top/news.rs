//! [`follow`]: asks the agent again and again, beside the screen.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use geofilter_core::wire::{Failure, LogEntry, Reply, Request, Sources, Status};

use crate::cli::{client, confused};

/// How often the agent is asked.
pub(super) const INTERVAL: Duration = Duration::from_secs(1);
/// More sources than a screen has lines.
const SOURCES: usize = 100;

/// What the agent said at a time.
#[derive(Debug, Clone)]
pub(super) struct Reading {
    pub(super) at: Instant,
    pub(super) status: Status,
    pub(super) sources: Sources,
}

/// What there is to know.
pub(super) enum News {
    Reading(Box<Reading>),
    Entry(Box<LogEntry>),
    Trouble(Failure),
}

/// Asks once.
pub(super) fn read(socket: &Path) -> Result<Reading, Failure> {
    let Reply::Status(status) = client::ask(socket, &Request::Status)? else {
        return Err(confused());
    };
    let at = Instant::now();
    let Reply::Sources(sources) = client::ask(socket, &Request::Sources { limit: SOURCES })? else {
        return Err(confused());
    };
    Ok(Reading { at, status: *status, sources })
}

/// Asks for as long as somebody listens.
pub(super) fn follow(socket: PathBuf) -> Receiver<News> {
    let (tell, told) = mpsc::channel();
    let (log_tell, log_socket) = (tell.clone(), socket.clone());
    thread::spawn(move || follow_readings(&socket, &tell));
    thread::spawn(move || follow_log(&log_socket, &log_tell));
    told
}

fn follow_readings(socket: &Path, tell: &Sender<News>) {
    loop {
        thread::sleep(INTERVAL);
        let news = match read(socket) {
            Ok(reading) => News::Reading(Box::new(reading)),
            Err(failure) => News::Trouble(failure),
        };
        if tell.send(news).is_err() {
            return;
        }
    }
}

/// An agent that ends is waited for: the other thread says so.
fn follow_log(socket: &Path, tell: &Sender<News>) {
    let request = Request::Log { follow: true, country: None, reason: None };
    loop {
        let replies = client::stream(socket, &request, None).into_iter().flatten();
        for entry in replies {
            if let Ok(Reply::Entry(entry)) = entry
                && tell.send(News::Entry(entry)).is_err()
            {
                return;
            }
        }
        thread::sleep(INTERVAL);
    }
}
