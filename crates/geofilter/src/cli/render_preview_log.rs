//! What people read of a preview of logs: what share of the attempts a policy would have dropped, and what of
//! those who logged in.

use std::fmt::Write;

use geofilter_core::wire::{Cut, Preview, PreviewCountry, PreviewLog, Share};

use super::render::{Style, TOP, country, number, share, warnings};
use crate::logs::day;

/// How many of those who would be cut are named.
const NAMED: usize = 10;

pub(super) fn preview(
    preview: &Preview,
    attempts: &Share,
    log: &PreviewLog,
    style: Style,
) -> String {
    let mut text = told(preview, attempts, log, style);
    for PreviewCountry { country: code, attempts, total, .. } in preview.by_country.iter().take(TOP)
    {
        let Share { total: all, dropped } = attempts.unwrap_or_default();
        let _ = writeln!(
            text,
            "  {:<28} {:>12} from {:<16} {:>12} dropped",
            country(*code),
            number(all),
            many(*total, "address", "addresses"),
            number(dropped)
        );
    }
    if preview.by_country.len() > TOP {
        let _ = writeln!(text, "  and {} more", preview.by_country.len() - TOP);
    }
    logins(&mut text, preview, log.logins, style);
    others(&mut text, log);
    lines(&mut text, log);
    warnings(&mut text, &preview.warnings, style);
    text
}

/// `Of 18,240 attempts from 312 addresses since 3 May 2026, this policy drops 97.1 %`.
fn told(preview: &Preview, attempts: &Share, log: &PreviewLog, style: Style) -> String {
    if attempts.total == 0 {
        return "The logs tell of no attempt.\n".to_owned();
    }
    let since = preview.since.as_deref().map(|since| format!(" since {}", day(since)));
    let more = if log.more_addresses { "more than " } else { "" };
    let hosting = match log.dropped_with_hosting == attempts.dropped {
        true => String::new(),
        false => {
            format!(" (with --hosting drop {})", share(log.dropped_with_hosting, attempts.total))
        }
    };
    format!(
        "Of {} from {more}{}{}, this policy drops {}{hosting}.\n",
        many(attempts.total, "attempt", "attempts"),
        many(preview.addresses.total, "address", "addresses"),
        since.unwrap_or_default(),
        style.bold(&share(attempts.dropped, attempts.total))
    )
}

fn logins(text: &mut String, preview: &Preview, logins: Share, style: Style) {
    let Share { total, dropped } = logins;
    let _ = match (total, dropped) {
        (0, _) => writeln!(text, "The logs tell of no login, so whom it would cut is not known."),
        (_, 0) => writeln!(text, "It would have cut none of {}.", many(total, LOGIN, LOGINS)),
        (..) => writeln!(
            text,
            "It would also have cut {} of {}: {}.",
            style.red(&number(dropped)),
            many(total, LOGIN, LOGINS),
            cut(&preview.would_cut)
        ),
    };
}

pub(super) const LOGIN: &str = "successful login";
pub(super) const LOGINS: &str = "successful logins";

/// `1001 from 198.51.100.7 (MA), 3 times`.
pub(super) fn cut(lost: &[Cut]) -> String {
    let named = lost.iter().take(NAMED).map(|cut| {
        let name = cut.what.strip_prefix("phone ").unwrap_or(&cut.what);
        let times = match cut.logins {
            None | Some(1) => String::new(),
            Some(times) => format!(", {} times", number(times)),
        };
        format!("{name} from {} ({}){times}", cut.address, cut.country)
    });
    let named: Vec<String> = named.collect();
    match lost.len().saturating_sub(NAMED) {
        0 => named.join("; "),
        more => format!("{}; and {more} more", named.join("; ")),
    }
}

fn others(text: &mut String, log: &PreviewLog) {
    if log.found > 0 {
        let _ = writeln!(
            text,
            "{} of the attempts are lines that only fail2ban tells of; one attempt may have left several.",
            number(log.found)
        );
    }
    let PreviewLog { probes, banned, .. } = log;
    for (Share { total, dropped }, one, several) in [
        (probes, "request that never sent credentials", "requests that never sent credentials"),
        (banned, "address that fail2ban banned", "addresses that fail2ban banned"),
    ] {
        if *total > 0 {
            let dropped = share(*dropped, *total);
            let _ = writeln!(text, "Of {}, it drops {dropped}.", many(*total, one, several));
        }
    }
}

fn lines(text: &mut String, log: &PreviewLog) {
    let mut line = |many: u64, why: &str| {
        if many > 0 {
            let all = number(log.lines);
            let _ = writeln!(text, "{} of {all} lines {why}.", number(many));
        }
    };
    line(log.unreadable, "were not understood");
    line(log.ambiguous, "could be about several addresses, and tell nothing: somebody forges them");
    line(log.traced, "are traced SIP messages, and were passed over");
}

pub(super) fn many(value: u64, one: &str, several: &str) -> String {
    match value {
        1 => format!("1 {one}"),
        _ => format!("{} {several}", number(value)),
    }
}
