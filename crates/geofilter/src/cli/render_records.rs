//! Exemptions, bans and peers for people.

use std::fmt::Write;

use geofilter_core::book::Provider;
use geofilter_core::wire::{
    Counts, DecidedBy, NameReport, Noted, Peers, Protected, RecordReport, Records,
};
use serde::Serialize;

use super::render::{Style, number, row, warnings, words};

/// How many addresses of a name a list shows.
const SHOWN: usize = 8;

/// The lists of providers.
#[derive(Debug, Serialize)]
pub(super) struct Providers {
    providers: Vec<ProviderReport>,
}

#[derive(Debug, Serialize)]
struct ProviderReport {
    name: String,
    title: String,
    source: String,
    date: String,
    prefixes: Vec<String>,
    hosts: Vec<String>,
}

impl Providers {
    pub(super) fn of(providers: &[Provider]) -> Self {
        let report = |provider: &Provider| ProviderReport {
            name: format!("@{}", provider.name),
            title: provider.title.clone(),
            source: provider.source.clone(),
            date: provider.date.clone(),
            prefixes: provider.prefixes.iter().map(ToString::to_string).collect(),
            hosts: provider.names.iter().map(ToString::to_string).collect(),
        };
        Self { providers: providers.iter().map(report).collect() }
    }
}

/// `exempt providers`.
pub(super) fn providers(providers: &Providers, style: Style) -> String {
    let mut text = String::new();
    for provider in &providers.providers {
        let ProviderReport { name, title, source, date, prefixes, hosts } = provider;
        row(&mut text, name, &format!("{}, collected on {date}; check with", style.bold(title)));
        row(&mut text, "", source);
        for line in prefixes.chunks(4).chain(hosts.chunks(3)) {
            row(&mut text, "", &line.join(" "));
        }
    }
    text
}

/// `exempt list` and `ban list`.
pub(super) fn records(records: &Records, style: Style) -> String {
    if records.records.is_empty() {
        return "none\n".to_owned();
    }
    let width = records.records.iter().map(|record| record.target.len()).max().unwrap_or_default();
    let mut text = String::new();
    for record in &records.records {
        let left = record.remaining.map_or_else(|| "for ever".to_owned(), time_left);
        let origin = words(&record.origin);
        let line = format!("{:<width$}  {left:<12}  {origin:<8}  {}", record.target, record.note);
        let _ = writeln!(text, "{}", line.trim_end());
        for name in &record.names {
            names(&mut text, name, style);
        }
    }
    text
}

fn names(text: &mut String, name: &NameReport, style: Style) {
    let listed = |addresses: Vec<String>| {
        let more = addresses.len().saturating_sub(SHOWN);
        let shown = addresses.into_iter().take(SHOWN).collect::<Vec<_>>().join(" ");
        if more > 0 { format!("{shown} and {more} more") } else { shown }
    };
    if !name.addresses.is_empty() {
        let addresses = listed(name.addresses.iter().map(ToString::to_string).collect());
        let _ = writeln!(text, "  {} {addresses}", style.faint(&format!("{}:", name.name)));
    }
    if !name.lingering.is_empty() {
        let addresses = listed(name.lingering.keys().map(ToString::to_string).collect());
        let _ = writeln!(text, "  {} {addresses}", style.faint("until their hour is over:"));
    }
    if let Some(trouble) = trouble(name) {
        let _ = writeln!(text, "  {} {trouble}", style.yellow("Warning:"));
    }
    if !name.ignored.is_empty() {
        let addresses = listed(name.ignored.iter().map(ToString::to_string).collect());
        let _ = writeln!(
            text,
            "  {} {} has addresses that are not of the internet, which are ignored: {addresses}",
            style.yellow("Warning:"),
            name.name
        );
    }
}

/// What is wrong with a name.
pub(super) fn trouble(name: &NameReport) -> Option<String> {
    let kept = match name.addresses.len() {
        0 => "it has no address yet".to_owned(),
        kept => format!("its {kept} last addresses are kept"),
    };
    match (&name.failure, &name.failed, &name.answered) {
        (Some(failure), Some(failed), _) => Some(format!(
            "{} failed at {failed}: {failure}; {kept}, and it is asked for again",
            name.name
        )),
        (_, _, None) => Some(format!("{} has not been answered; {kept}", name.name)),
        (_, _, Some(_)) => None,
    }
}

/// What a change came to; `what` is what its targets are now, or no more.
pub(super) fn noted(noted: &Noted, what: &str, most: usize, style: Style) -> String {
    let mut text = String::new();
    for (targets, said) in
        [(&noted.added, what.to_owned()), (&noted.removed, format!("no longer {what}"))]
    {
        match targets.len() {
            0 => {}
            few if few <= most => {
                let _ = writeln!(text, "{}: {}", style.bold(&said), targets.join(" "));
            }
            many => {
                let _ = writeln!(text, "{}: {} targets", style.bold(&said), number(many as u64));
            }
        }
    }
    warnings(&mut text, &noted.warnings, style);
    text
}

/// `protected`.
pub(super) fn protected(protected: &Protected, style: Style) -> String {
    if protected.because.is_empty() {
        return format!("{} is not protected: it may be banned.\n", protected.address);
    }
    let mut text = format!("{} must not be banned:\n", style.bold(&protected.address.to_string()));
    for because in &protected.because {
        let _ = writeln!(text, "  {}", because.said);
    }
    text
}

/// `peer list`.
pub(super) fn peers(peers: &Peers, _style: Style) -> String {
    if peers.peers.is_empty() {
        return "none\n".to_owned();
    }
    let mut text = String::new();
    for peer in &peers.peers {
        let left = peer.remaining.map_or_else(|| "for ever".to_owned(), time_left);
        let _ = writeln!(text, "{:<47} {left}", peer.peer.to_string());
    }
    text
}

/// What decided in `why`.
pub(super) fn decided_by(decided_by: &DecidedBy) -> String {
    let record = |kind: &str, record: &RecordReport| {
        let until = record.until.as_ref().map(|until| format!(" until {until}"));
        let note =
            if record.note.is_empty() { String::new() } else { format!(" ({})", record.note) };
        format!("{kind} of {}{}{note}", record.target, until.unwrap_or_default())
    };
    match decided_by {
        DecidedBy::Exemption(exemption) => record("the exemption", exemption),
        DecidedBy::Ban(ban) => record("the ban", ban),
        DecidedBy::Peer(peer) => format!("the PBX itself sent a request to {}", peer.peer),
    }
}

/// In `status`.
pub(super) fn counts(counts: &Counts) -> String {
    let Counts { exemptions, bans, peers } = *counts;
    let counts = [(exemptions, "exemption"), (bans, "ban"), (peers, "peer")];
    counts.map(|(many, one)| count(many, one)).join(", ")
}

/// How many there are of something.
pub(super) fn count(many: usize, one: &str) -> String {
    match many {
        1 => format!("1 {one}"),
        many => format!("{} {one}s", number(many as u64)),
    }
}

fn time_left(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min {} s", seconds % 60),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_told_in_two_units() {
        let told = [0, 59, 60, 3_599, 3_600, 86_399, 86_400, 864_000].map(time_left);
        let wanted = [
            "0 s",
            "59 s",
            "1 min 0 s",
            "59 min 59 s",
            "1 h 0 min",
            "23 h 59 min",
            "1 d 0 h",
            "10 d 0 h",
        ];
        assert_eq!(told, wanted);
    }
}
