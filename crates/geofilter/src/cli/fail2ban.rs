//! `fail2ban`: what its action calls.

use std::io::{self, Read};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use geofilter_core::clock::UnixTime;
use geofilter_core::fail2ban::{Ask, proves};
use geofilter_core::wire::{Failure, FailureKind, Reply, Request};

use super::args::{Fail2ban, Global, OfJail, Ticket};
use super::{Outcome, client, confused, failed, render_records, show};
use crate::logs::calendar;

/// Bytes of log lines: fail2ban keeps as many lines as its jail lets pass.
const MOST: u64 = 1 << 20;
/// How long a ban waits for an agent that is being restarted: fail2ban does not ask again.
const PATIENCE: Duration = Duration::from_secs(5);
const MOMENT: Duration = Duration::from_millis(100);

pub(super) fn run(command: Fail2ban, global: &Global) -> Outcome {
    let ask = match command {
        Fail2ban::Ban { ticket, of: OfJail { jail }, restored } => Ask::Ban {
            address: ticket.address,
            jail,
            began: (restored == 1).then_some(UnixTime(ticket.time)),
            until: until(&ticket),
            proven: proves(&lines()?, ticket.address, calendar(SystemTime::now())),
        },
        Fail2ban::Unban { ticket } => Ask::Unban { address: ticket.address, until: until(&ticket) },
        Fail2ban::Check(OfJail { jail }) => Ask::Check { jail },
        Fail2ban::Repair(OfJail { jail }) => Ask::Repair { jail },
    };
    let patience = match ask {
        Ask::Ban { .. } | Ask::Unban { .. } => PATIENCE,
        Ask::Check { .. } | Ask::Repair { .. } => Duration::ZERO,
    };
    match patiently(&Request::Fail2ban { ask }, patience, global)? {
        Reply::Noted(noted) => show(global, noted, |noted, style| {
            render_records::noted(noted, "banned", usize::MAX, style)
        }),
        _ => Err(confused()),
    }
}

fn until(ticket: &Ticket) -> Option<UnixTime> {
    u64::try_from(ticket.bantime).ok().map(|lasts| UnixTime(ticket.time).plus(lasts))
}

fn lines() -> Result<Vec<u8>, Failure> {
    let mut lines = Vec::new();
    let read = io::stdin().lock().take(MOST).read_to_end(&mut lines);
    read.map_err(|error| failed(format!("cannot read the log lines behind the ban: {error}")))?;
    Ok(lines)
}

fn patiently(request: &Request, patience: Duration, global: &Global) -> Result<Reply, Failure> {
    let since = Instant::now();
    loop {
        match client::ask(&global.socket, request) {
            Err(failure)
                if failure.kind == FailureKind::Unreachable && since.elapsed() < patience =>
            {
                thread::sleep(MOMENT);
            }
            reply => return reply,
        }
    }
}
