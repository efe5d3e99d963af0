//! `evidence`: what the PBX logged, day by day.

use std::cmp::Reverse;
use std::fmt::Write;

use geofilter_core::evidence::{MOST_OF_A_DAY, OfDay, Span};
use geofilter_core::wire::{EvidenceDay, EvidenceReport, Reply, Request};

use super::args::{Evidence, Global};
use super::render::{Style, number, warnings};
use super::{Outcome, client, confused, show};

/// How many countries a day shows.
const SHOWN: usize = 4;

pub(super) fn run(args: &Evidence, global: &Global) -> Outcome {
    let Reply::Evidence(mut report) = client::ask(&global.socket, &Request::Evidence)? else {
        return Err(confused());
    };
    let hidden = report.days.len().saturating_sub(args.days);
    let looked = report.days.drain(..hidden).any(|day| day.of_day.watched > 0);
    show(global, *report, |report, style| render(report, looked, style))
}

/// `looked`: an agent looked on a day before these.
fn render(report: &EvidenceReport, mut looked: bool, style: Style) -> String {
    let mut text = String::new();
    for EvidenceDay { day, of_day } in &report.days {
        let attempts = number(of_day.attempted());
        let logins = number(of_day.logins);
        let _ = writeln!(
            text,
            "{day}  {attempts:>9} attempts  {logins:>9} logins  {:<16}  {}",
            policy(of_day, looked),
            countries(of_day)
        );
        looked |= of_day.watched > 0;
    }
    if report.days.is_empty() {
        text.push_str(
            "Nothing was logged yet, or no log of the PBX is known: see `geofilter detect`.\n",
        );
    }
    text.push_str(&comparison(report.without, report.with, style));
    if !report.logs.is_empty() {
        let _ = writeln!(
            text,
            "{}",
            style.faint(&format!(
                "Counted from {}. A request that was refused counts once, however many lines tell of it; what is dropped never gets that far. Attacks come and go: the more days, the better.",
                report.logs.join(" ")
            ))
        );
    }
    warnings(&mut text, &report.warnings, style);
    text
}

/// For how much of the day a policy dropped packets. Since an agent looked for the first time, only what it saw is known.
fn policy(day: &OfDay, looked: bool) -> String {
    match day.enforced {
        0 if looked && day.watched < MOST_OF_A_DAY => "nobody looked".to_owned(),
        0 => "no policy".to_owned(),
        seconds if seconds >= MOST_OF_A_DAY => "policy".to_owned(),
        seconds => format!("policy for {:.1} h", f64::from(seconds) / 3600.0),
    }
}

/// The countries that tried most.
fn countries(day: &OfDay) -> String {
    let mut countries: Vec<_> = day.attempts.iter().collect();
    countries.sort_by_key(|(code, attempts)| (Reverse(**attempts), **code));
    let most = countries.iter().take(SHOWN);
    let mut shown: Vec<String> =
        most.map(|(code, attempts)| format!("{code} {}", number(**attempts))).collect();
    let others = countries.len().saturating_sub(SHOWN);
    if others > 0 {
        shown.push(format!("{others} more"));
    }
    shown.join(", ")
}

fn comparison(without: Span, with: Span, style: Style) -> String {
    let days = |span: Span| match span.days {
        1 => "1 whole day".to_owned(),
        days => format!("{} whole days", number(days)),
    };
    let mut text = String::new();
    if without.days > 0 {
        let _ = writeln!(
            text,
            "{} without a policy: {:.0} attempts a day",
            days(without),
            without.a_day()
        );
    }
    if with.days > 0 {
        let fewer = match without.attempts {
            0 => String::new(),
            _ => {
                let change = 100.0 - 100.0 * with.a_day() / without.a_day();
                let word = if change < 0.0 { "more" } else { "fewer" };
                format!(", {}", style.bold(&format!("{:.1} % {word}", change.abs())))
            }
        };
        let _ =
            writeln!(text, "{} with one: {:.0} attempts a day{fewer}", days(with), with.a_day());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_without_a_policy_are_set_against_those_with_one() {
        let span = |days, attempts| Span { days, attempts, logins: 0 };
        let said = |without, with| comparison(without, with, Style { colour: false });
        assert_eq!(said(span(0, 0), span(0, 0)), "");
        assert_eq!(
            said(span(2, 2_000), span(1, 38)),
            "2 whole days without a policy: 1000 attempts a day\n\
             1 whole day with one: 38 attempts a day, 96.2 % fewer\n"
        );
        assert!(said(span(1, 10), span(1, 20)).contains("100.0 % more"));
        assert!(said(span(1, 0), span(1, 20)).ends_with("20 attempts a day\n"));
    }
}
