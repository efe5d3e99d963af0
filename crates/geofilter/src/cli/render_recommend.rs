//! What people read of a recommendation: what was seen, what is proposed and what that would have done, what
//! they must decide themselves, what nobody knows, and at the end what to run.

use std::fmt::Write;

use geofilter_core::policy::{Disputed, Mode, Verdict};
use geofilter_core::recommend::{
    Action, Country, Exempted, Proposal, Recommendation, Role, Suspect, TrunkSeen, Undecided,
};

use super::render::{Style, country, number, row, share, warnings};
use super::render_preview_log::{LOGIN, LOGINS, cut, many};
use crate::logs::day;

pub(super) fn recommendation(told: &Recommendation, style: Style) -> String {
    let mut text = String::new();
    row(&mut text, "Seen", &seen(told));
    proposal(&mut text, told, style);
    countries(&mut text, &told.countries, told.proposal.mode.is_some(), style);
    trunks(&mut text, &told.trunks, style);
    undecided(&mut text, &told.undecided, style);
    suspects(&mut text, &told.suspects, style);
    cannot_know(&mut text, &told.cannot_know, style);
    if !told.warnings.is_empty() {
        text.push('\n');
        warnings(&mut text, &told.warnings, style);
    }
    run(&mut text, told, style);
    text
}

fn seen(told: &Recommendation) -> String {
    let (seen, more) = (&told.seen, if told.seen.more { "more than " } else { "" });
    let mut all = vec![
        format!(
            "{} from {more}{}",
            many(told.attempts.total, "attempt", "attempts"),
            many(seen.addresses, "address", "addresses")
        ),
        match (seen.local_logins, seen.accounts) {
            (0, accounts) => {
                let logins = many(told.logins.total, LOGIN, LOGINS);
                format!("{logins} of {}", many(accounts, "account", "accounts"))
            }
            (local, accounts) => format!(
                "{} ({} from local addresses, the others of {})",
                many(told.logins.total, LOGIN, LOGINS),
                number(local),
                many(accounts, "account", "accounts")
            ),
        },
    ];
    if seen.probes > 0 {
        all.push(many(
            seen.probes,
            "request that never sent credentials",
            "requests that never sent credentials",
        ));
    }
    all.extend(seen.registered.map(|it| many(it, "registered device", "registered devices")));
    let files = many(seen.files.len() as u64, "log", "logs");
    let when = match (&told.since, &told.until) {
        (Some(since), Some(until)) => match (day(since), day(until)) {
            (since, until) if since == until => format!(" of {since}"),
            (since, until) => format!(" from {since} to {until}"),
        },
        _ => String::new(),
    };
    format!("{}, in {files}{when}", all.join(", "))
}

fn proposal(text: &mut String, told: &Recommendation, style: Style) {
    let proposal = &told.proposal;
    let policy = policy(proposal);
    let first = match (proposal.action, &policy) {
        (Action::Observe, Some(policy)) => format!("observe first; if it can't wait, {policy}"),
        (Action::Observe, None) => "observe first".to_owned(),
        (Action::Allow | Action::Block, policy) => policy.clone().unwrap_or_default(),
    };
    row(text, "Proposed", &style.bold(&first));
    row(text, "", &proposal.why);
    proposal.why_hosting.iter().for_each(|why| row(text, "", why));
    if policy.is_none() {
        return;
    }
    let dropped = share(told.attempts.dropped, told.attempts.total);
    let without = match told.dropped_without_hosting == told.attempts.dropped {
        true => String::new(),
        false => {
            let without = share(told.dropped_without_hosting, told.attempts.total);
            format!(" ({without} without --hosting drop)")
        }
    };
    row(text, "It drops", &format!("{} of the attempts{without}", style.bold(&dropped)));
    let cuts = match told.logins.dropped {
        0 if told.logins.total == 0 => "not known whom: the logs tell of no login".to_owned(),
        0 => "none of the logins".to_owned(),
        lost => {
            let (lost, all) = (style.red(&number(lost)), number(told.logins.total));
            format!("{lost} of {all} logins: {}", cut(&told.would_cut))
        }
    };
    row(text, "It cuts", &cuts);
}

fn policy(proposal: &Proposal) -> Option<String> {
    let mode = match proposal.mode? {
        Mode::AllowSelected => "allow",
        Mode::BlockSelected => "block",
    };
    let countries: Vec<&str> = proposal.countries.iter().map(|it| it.as_str()).collect();
    let hosting = match proposal.hosting {
        Verdict::Drop => ", drop hosting networks",
        Verdict::Pass => "",
    };
    let disputed = match proposal.disputed {
        Disputed::Lenient => ", let in who one of the sources says is there",
        Disputed::Primary | Disputed::Strict => "",
    };
    Some(format!("{mode} {}{hosting}{disputed}", countries.join(" ")))
}

fn countries(text: &mut String, countries: &[Country], judged: bool, style: Style) {
    if countries.is_empty() {
        return;
    }
    let head = format!("\n{:<28} {:>8} {:>9} {:>9}", "Country", "logins", "accounts", "attempts");
    let _ = writeln!(text, "{}", style.faint(&head));
    for it in countries {
        let what = match (it.role, it.passes) {
            (Role::Home | Role::Attacking, _) if !judged => "",
            (Role::Undecided, _) if !judged => "few logins",
            (Role::Suspect, _) if !judged => "in doubt, see below",
            (Role::Home | Role::Attacking, true) => "let in",
            (Role::Home | Role::Attacking, false) => "dropped",
            (Role::Undecided, true) => "let in, few logins",
            (Role::Undecided, false) => "decide yourself, see below",
            (Role::Suspect, true) => "let in, in doubt",
            (Role::Suspect, false) => "in doubt, see below",
        };
        let _ = writeln!(
            text,
            "  {:<26} {:>8} {:>9} {:>9}  {what}",
            country(it.country),
            number(it.logins),
            number(it.accounts),
            number(it.attempts)
        );
    }
}

fn trunks(text: &mut String, trunks: &[TrunkSeen], style: Style) {
    if trunks.is_empty() {
        return;
    }
    let by_itself: Vec<&str> =
        trunks.iter().filter(|it| it.passes_by_itself).map(|it| it.name.as_str()).collect();
    if !by_itself.is_empty() {
        let names = by_itself.join(", ");
        let _ = writeln!(
            text,
            "\n{} {names}: the agent lets these in by itself, whatever their country",
            style.bold("Trunks:")
        );
    }
    for trunk in trunks {
        if let Some(remark) = &trunk.remark {
            let places = trunk.places.join(" ");
            let _ = writeln!(text, "{} {} ({places}): {remark}", style.yellow("Trunk"), trunk.name);
        }
    }
}

fn undecided(text: &mut String, undecided: &[Undecided], style: Style) {
    if undecided.is_empty() {
        return;
    }
    let title = style.bold("Decide yourself:");
    let _ = writeln!(
        text,
        "\n{title} few logins came from there. Whoever belongs to you gets in like this, after the rest:"
    );
    for it in undecided {
        let _ = writeln!(
            text,
            "  {}: {}; {}, {}\n      {}",
            country(it.country),
            some(&it.phones),
            many(it.logins, "login", "logins"),
            many(it.attempts, "attempt", "attempts"),
            it.command
        );
    }
}

/// A few of them.
fn some(names: &[String]) -> String {
    const NAMED: usize = 5;
    match names.len().saturating_sub(NAMED) {
        0 => names.join(", "),
        more => format!("{} and {more} more", names[..NAMED].join(", ")),
    }
}

fn suspects(text: &mut String, suspects: &[Suspect], style: Style) {
    const NAMED: usize = 10;
    if suspects.is_empty() {
        return;
    }
    let title = style.red("In doubt:");
    let _ = writeln!(
        text,
        "\n{title} these logins may be a thief's, and speak for no country; ask, or change the password"
    );
    for it in suspects.iter().take(NAMED) {
        let (logins, address) = (many(it.logins, "login", "logins"), it.address);
        let _ =
            write!(text, "  {} at {address} ({}), {logins}: {}", it.account, it.country, it.why);
        let _ = match it.passes {
            true => writeln!(
                text,
                "\n      it would be let in; to keep it out: geofilter ban add {address}"
            ),
            false => writeln!(text),
        };
    }
    if suspects.len() > NAMED {
        let _ = writeln!(text, "  and {} more", suspects.len() - NAMED);
    }
}

fn cannot_know(text: &mut String, cannot: &[String], style: Style) {
    let _ = writeln!(text, "\n{}", style.bold("What this can't know:"));
    for it in cannot {
        let _ = writeln!(text, "  - {it}");
    }
}

fn run(text: &mut String, told: &Recommendation, style: Style) {
    for Exempted { target, why, .. } in &told.exemptions {
        let _ = writeln!(text, "{} {target}: {why}", style.yellow("To exempt:"));
    }
    let _ = writeln!(text, "\n{}", style.bold("Run:"));
    for command in &told.commands {
        let when = match command == "geofilter confirm" {
            true => style.faint("     # within 10 minutes, if the phones still work"),
            false => String::new(),
        };
        let _ = writeln!(text, "  {command}{when}");
    }
    if told.proposal.action == Action::Observe {
        let _ = writeln!(text, "and `geofilter recommend` again in a week.");
        told.at_once().iter().for_each(|command| {
            let _ = writeln!(text, "If it can't wait, with figures as above:\n  {command}");
        });
    }
}
