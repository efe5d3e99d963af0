//! What people read: short, aligned, coloured only on a terminal.

use std::fmt::Write;
use std::io::IsTerminal;

use geofilter_core::change::word;
use geofilter_core::counters::Outcomes;
use geofilter_core::country::{CountryCode, CountrySet};
use geofilter_core::desired::{Generation, State};
use geofilter_core::policy::{Disputed, Mode, Policy, Scope, TimeBox, Verdict};
use geofilter_core::wire::{
    Changed, Data, FleetReport, LogEntry, Lookup, Proof, SourceReport, Status, Tally, Why, WhyName,
};
use geofilter_portal::Ready;

use super::args::Global;
use super::calendar;
use super::render_records;

/// How many countries a list shows.
pub(super) const TOP: usize = 10;

/// Whether to colour.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Style {
    pub(crate) colour: bool,
}

impl Style {
    /// Colours on a terminal, unless told not to.
    pub(crate) fn choose(global: &Global) -> Self {
        Self::on(std::io::stdout().is_terminal(), global)
    }

    /// The same for what people read on standard error.
    pub(crate) fn on_stderr(global: &Global) -> Self {
        Self::on(std::io::stderr().is_terminal(), global)
    }

    fn on(terminal: bool, global: &Global) -> Self {
        let refused =
            global.no_color || std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
        Self { colour: !refused && terminal }
    }

    fn paint(self, code: &str, text: &str) -> String {
        match self.colour {
            true => format!("\x1b[{code}m{text}\x1b[0m"),
            false => text.to_owned(),
        }
    }

    pub(super) fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    pub(super) fn faint(self, text: &str) -> String {
        self.paint("2", text)
    }

    pub(super) fn red(self, text: &str) -> String {
        self.paint("31", text)
    }

    pub(super) fn green(self, text: &str) -> String {
        self.paint("32", text)
    }

    pub(super) fn yellow(self, text: &str) -> String {
        self.paint("33", text)
    }

    fn state(self, state: State) -> String {
        let word = state_word(state);
        match state {
            State::Enforcing => self.green(word),
            State::Observing | State::Paused | State::Pending => self.yellow(word),
            State::Off => self.bold(word),
        }
    }

    fn verdict(self, verdict: Verdict) -> String {
        match verdict {
            Verdict::Pass => self.green("pass"),
            Verdict::Drop => self.red("drop"),
        }
    }
}

/// `status`.
pub(crate) fn status(status: &Status, style: Style) -> String {
    let mut text = String::new();
    let until = status.remaining.map(|left| format!(", {left} s left")).unwrap_or_default();
    row(
        &mut text,
        "State",
        &format!("{} (generation {}{until})", style.state(status.state), status.generation.0),
    );
    row(&mut text, "Policy", &policy(&status.policy()));
    row(&mut text, "Ports", &scope(&status.scope));
    row(&mut text, "Interfaces", &interfaces(status));
    row(&mut text, "World data", &data_line(&status.data));
    row(&mut text, "Overrides", &render_records::counts(&status.counts));
    if let Some(report) = &status.fleet {
        row(&mut text, "Fleet", &fleet(report, status.state));
    }
    if status.state != State::Off {
        tally(&mut text, "Dropped", &status.dropped);
        tally(&mut text, "Would drop", &status.would_drop);
        tally(&mut text, "Passed", &status.passed);
        if status.sampled {
            row(&mut text, "By country", "estimated from samples; in all it is exact");
        }
    }
    warnings(&mut text, &status.warnings, style);
    text
}

/// How a host stands with its portal.
fn fleet(report: &FleetReport, state: State) -> String {
    let FleetReport { portal, host, connected, trouble, applied, refused, .. } = report;
    let heard = match (connected, trouble) {
        (true, _) => "connected".to_owned(),
        (false, Some(why)) => format!("not heard: {why}"),
        (false, None) => "connecting".to_owned(),
    };
    let done = match (refused, applied) {
        (Some(why), _) => format!("; refused: {why}"),
        (None, Some(mark)) if matches!(state, State::Off | State::Observing) => {
            format!("; revision {mark} was put in force, and is not now")
        }
        (None, Some(mark)) => format!("; revision {mark} was put in force"),
        (None, None) => String::new(),
    };
    format!("host {host} of {portal}, {heard}{done}")
}

/// What a change came to.
pub(crate) fn changed(changed: &Changed, style: Style) -> String {
    let mut text = match changed.state {
        State::Off => format!("{}: nothing is attached.\n", style.state(changed.state)),
        State::Observing if changed.countries.is_empty() => format!(
            "{}: everything passes and is counted (generation {}).\n",
            style.state(changed.state),
            changed.generation.0
        ),
        State::Observing => format!(
            "{}: everything passes, what {} would drop is counted (generation {}).\n",
            style.state(changed.state),
            selection(changed.mode, changed.countries),
            changed.generation.0
        ),
        State::Enforcing => format!(
            "{}: {} (generation {}).\n",
            style.state(changed.state),
            selection(changed.mode, changed.countries),
            changed.generation.0
        ),
        State::Paused => format!(
            "{}: everything passes for {} s, then {} is enforced again by itself; `geofilter resume` ends it.\n",
            style.state(changed.state),
            changed.remaining.unwrap_or(0),
            selection(changed.mode, changed.countries)
        ),
        State::Pending => format!(
            "{}: {} (generation {}) goes back by itself in {} s; `geofilter confirm` keeps it.\n",
            style.state(changed.state),
            selection(changed.mode, changed.countries),
            changed.generation.0,
            changed.remaining.unwrap_or(0)
        ),
    };
    if let Some(replaced) = changed.replaced {
        let _ = writeln!(text, "The unconfirmed change (generation {}) was given up.", replaced.0);
    }
    if let Some(fallback) = &changed.fallback {
        let kept = changed.replaced.map_or("", |_| ", as before");
        let fallback =
            in_force(fallback.state, fallback.mode, fallback.countries, fallback.generation);
        let _ = writeln!(text, "If it is not confirmed, back to {fallback}{kept}.");
    }
    if changed.compared {
        let _ =
            writeln!(text, "Back to what was confirmed: read back from the kernel and compared.");
    }
    if let Some(found) = &changed.proof {
        proof(&mut text, found, style);
    }
    warnings(&mut text, &changed.warnings, style);
    text
}

/// What `up` says when it is ready; `client` is how its command line is reached from here.
pub(crate) fn greeting(
    status: &Status,
    client: &str,
    portal: Option<(&Ready, Option<String>)>,
    style: Style,
) -> String {
    let mut text = format!(
        "GeoFilter is {} on {}, ports {}.\n",
        style.state(status.state),
        interfaces(status),
        scope(&status.scope)
    );
    let (said, next) = match status.state {
        State::Enforcing | State::Pending | State::Paused => {
            (format!("Policy: {}.", policy(&status.policy())), "status")
        }
        State::Observing | State::Off => (
            "Nothing is dropped. To let in only your countries, type in another terminal:"
                .to_owned(),
            "allow ES PT",
        ),
    };
    let _ = writeln!(text, "{said}\n  {}", style.bold(&format!("{client} {next}")));
    if let Some((ready, tunnel)) = portal {
        let said = match &ready.first {
            Some(_) => "Or on its web page. This link, once, makes its first operator:",
            None => "Or on its web page:",
        };
        let link = ready.first.as_ref().unwrap_or(&ready.url);
        let _ = writeln!(text, "{said}\n  {}", style.bold(link));
        if let Some(fingerprint) = &ready.fingerprint {
            let _ = writeln!(
                text,
                "Browsers will warn of its own certificate. Compare its SHA-256 fingerprint:\n  {fingerprint}"
            );
        }
        if let Some(tunnel) = tunnel {
            let _ = writeln!(text, "From another computer, type there before:\n  {tunnel}");
        }
    }
    warnings(&mut text, &status.warnings, style);
    text.push_str("Ctrl-C reverts everything.\n");
    text
}

/// `why`.
pub(crate) fn why(why: &Why, style: Style) -> String {
    let mut text = String::new();
    let verdict = match (why.verdict, why.reason) {
        (Some(verdict), Some(reason)) => {
            format!("{} (reason: {})", style.verdict(verdict), words(&reason))
        }
        _ => "the policy is not known, since no agent answered or its state was lost".to_owned(),
    };
    row(&mut text, "Verdict", &verdict);
    if let (Some(protocol), Some(port)) = (why.protocol, why.port) {
        row(&mut text, "Judged for", &format!("{}/{port}", words(&protocol)));
    }
    if let Some(state) = why.state.filter(|state| *state != State::Enforcing) {
        row(&mut text, "State", &format!("{}, so the verdict is not in force", state_word(state)));
    }
    if let Some(decided_by) = &why.decided_by {
        row(&mut text, "Decided by", &render_records::decided_by(decided_by));
    }
    text += &lookup(&why.lookup, style);
    if let Some(seen) = &why.seen {
        let SourceReport { passed, dropped, first, last, .. } = seen;
        let counted = format!("{} packets passed, {} dropped", number(*passed), number(*dropped));
        row(&mut text, "Seen", &format!("{counted}, from {first} to {last}"));
    }
    if let Some(Outcomes { passed, dropped, would_drop }) = &why.of_country {
        let counted = [passed, dropped, would_drop].map(|traffic| number(traffic.packets));
        let [passed, dropped, would_drop] = counted;
        row(
            &mut text,
            "Its country",
            &format!("{passed} packets passed, {dropped} dropped, {would_drop} would have been"),
        );
    }
    text
}

/// `why` of a host name.
pub(crate) fn why_name(name: &WhyName, style: Style) -> String {
    let blocks: Vec<String> = name.addresses.iter().map(|address| why(address, style)).collect();
    let incomplete = name.incomplete.as_ref().map(|incomplete| {
        format!(
            "{} not all of {} was resolved: {incomplete}\n",
            style.yellow("Warning:"),
            name.name
        )
    });
    blocks.join("\n") + &incomplete.unwrap_or_default()
}

/// `geodb lookup`.
pub(crate) fn lookup(lookup: &Lookup, style: Style) -> String {
    let mut text = String::new();
    row(&mut text, "Address", &lookup.address.to_string());
    if let Some(inside) = lookup.judged_as {
        row(&mut text, "Judged as", &format!("{inside}, the address inside the tunnel"));
    }
    row(&mut text, "Country", &style.bold(&country(lookup.country)));
    for opinion in &lookup.sources {
        row(&mut text, "", &format!("{} says {}", opinion.source, country(opinion.country)));
    }
    row(&mut text, "Prefix", &lookup.prefix);
    if let Some(asn) = lookup.asn {
        let name = lookup.as_name.as_deref().unwrap_or_default();
        row(&mut text, "AS", format!("AS{asn} {name}").trim_end());
    }
    row(&mut text, "Hosting", yes(lookup.hosting));
    row(&mut text, "Disputed", yes(lookup.disputed));
    if lookup.reserved {
        row(&mut text, "Reserved", "yes, nobody's space");
    }
    text
}

/// One line of `log`.
pub(crate) fn entry(entry: &LogEntry, style: Style) -> String {
    let time = entry.time.parse::<jiff::Timestamp>().map_or_else(
        |_| entry.time.clone(),
        |time| time.to_zoned(jiff::tz::TimeZone::system()).strftime("%F %T%.3f").to_string(),
    );
    let verdict = match entry.enforced {
        true => style.red("drop      "),
        false => style.yellow("would drop"),
    };
    let asn = entry.asn.map(|asn| format!("AS{asn}")).unwrap_or_default();
    let what = entry.method.as_deref().or(entry.first_line.as_deref()).unwrap_or("-");
    let agent = entry.user_agent.as_deref().unwrap_or_default();
    let line = format!(
        "{} {verdict} {} {:<9} {}/{:<5} {:<39} {asn:<9} {what} {agent}",
        style.faint(&time),
        entry.country,
        words(&entry.reason),
        entry.protocol,
        entry.port,
        entry.source.to_string(),
    );
    format!("{}{}\n", line.trim_end(), stands_for(entry.packets))
}

/// What an entry of the log says of the drops that it shows alone.
pub(super) fn stands_for(packets: u32) -> String {
    match packets {
        0 | 1 => String::new(),
        many => format!(" ({} packets)", number(u64::from(many))),
    }
}

/// What is in force, in a few words.
pub(crate) fn in_force(
    state: State,
    mode: Mode,
    countries: CountrySet,
    generation: Generation,
) -> String {
    let what = match state {
        State::Off => return "off: nothing is attached".to_owned(),
        State::Enforcing => selection(mode, countries),
        State::Observing | State::Paused | State::Pending => {
            format!("{}: {}", state_word(state), selection(mode, countries))
        }
    };
    format!("{what} (generation {})", generation.0)
}

/// Who was dropped between two readings, the most first, within a line.
pub(crate) fn dropped_since(before: &Tally, now: &Tally) -> String {
    let since = |code: &CountryCode| before.by_country.get(code).map_or(0, |then| then.packets);
    let mut countries: Vec<_> = now
        .by_country
        .iter()
        .map(|(code, traffic)| (traffic.packets.saturating_sub(since(code)), *code))
        .filter(|(packets, _)| *packets > 0)
        .collect();
    countries.sort_by_key(|(packets, code)| (std::cmp::Reverse(*packets), *code));
    let top: Vec<_> = countries
        .iter()
        .take(3)
        .map(|(packets, code)| format!("{code} {}", number(*packets)))
        .collect();
    let packets = number(now.packets.saturating_sub(before.packets));
    match top.is_empty() {
        true => format!("{packets} packets dropped"),
        false => format!("{packets} packets dropped: {}", top.join(", ")),
    }
}

/// Codes, as they are typed.
pub(crate) fn codes(countries: CountrySet) -> String {
    let codes: Vec<_> = countries.iter().map(|country| country.code().to_string()).collect();
    codes.join(" ")
}

pub(super) fn row(text: &mut String, name: &str, value: &str) {
    let _ = writeln!(text, "{name:<12} {value}");
}

fn selection(mode: Mode, countries: CountrySet) -> String {
    match (mode, countries.len()) {
        (Mode::BlockSelected, 0) => "no policy".to_owned(),
        (Mode::AllowSelected, 0) => "allow nobody".to_owned(),
        (_, 1..=TOP) => format!("{} {}", word(mode), codes(countries)),
        (_, many) => {
            let first: Vec<_> =
                countries.iter().take(TOP).map(|country| country.code().to_string()).collect();
            format!("{} {} and {} more", word(mode), first.join(" "), many - TOP)
        }
    }
}

fn policy(policy: &Policy) -> String {
    let Policy { mode, countries, scope: _, hosting, unknown, disputed, time_boxes } = policy;
    if *mode == Mode::BlockSelected && countries.is_empty() {
        return "no countries chosen yet".to_owned();
    }
    let disputed = match disputed {
        Disputed::Primary => String::new(),
        other => format!(", disputed {}", words(other)),
    };
    format!(
        "{}{}; unknown {}, hosting {}{disputed}",
        selection(*mode, *countries),
        times(time_boxes),
        words(unknown),
        words(hosting)
    )
}

fn times(time_boxes: &[TimeBox]) -> String {
    let time = |it: &TimeBox| format!(", {} {}", it.country, within(it.from, it.until));
    time_boxes.iter().map(time).collect()
}

/// A stretch of time; from the beginning of the calendar is from now.
pub(crate) fn within(from: u64, until: u64) -> String {
    match from {
        0 => format!("until {}", calendar::show(until)),
        from => format!("from {} until {}", calendar::show(from), calendar::show(until)),
    }
}

pub(super) fn scope(scope: &Scope) -> String {
    let ports: Vec<_> = scope.0.iter().map(ToString::to_string).collect();
    ports.join(" ")
}

fn interfaces(status: &Status) -> String {
    if status.attachments.is_empty() {
        return format!("{} (not attached)", status.interfaces.join(" "));
    }
    let attachments = status.attachments.iter();
    let attachments: Vec<_> =
        attachments.map(|one| format!("{} ({})", one.interface, words(&one.kind))).collect();
    attachments.join(", ")
}

fn data_line(data: &Data) -> String {
    let source = data.sources.first();
    source.map_or_else(|| "none".to_owned(), |source| format!("{} {}", source.name, source.date))
}

fn tally(text: &mut String, name: &str, tally: &Tally) {
    let summary = format!("{} packets, {}", number(tally.packets), human_bytes(tally.bytes));
    row(text, name, &summary);
    let mut countries: Vec<_> = tally.by_country.iter().collect();
    countries.sort_by_key(|(code, traffic)| (std::cmp::Reverse(traffic.packets), **code));
    for (code, traffic) in countries.iter().take(TOP) {
        let _ = writeln!(text, "  {:<28} {:>12}", country(**code), number(traffic.packets));
    }
    if countries.len() > TOP {
        let _ = writeln!(text, "  and {} more", countries.len() - TOP);
    }
}

fn proof(text: &mut String, proof: &Proof, style: Style) {
    let _ = match proof.clean {
        true => writeln!(text, "{} nothing of GeoFilter remains.", style.green("Proven:")),
        false => writeln!(text, "{}", style.red("Something of GeoFilter remains:")),
    };
    for remains in &proof.remains {
        let _ = writeln!(text, "  {remains}");
    }
    let compared: Vec<_> = proof.compared.keys().map(String::as_str).collect();
    let _ = writeln!(text, "Compared with before: {}.", compared.join(", "));
    if !proof.changed_by_others.is_empty() {
        let _ = writeln!(text, "Changed meanwhile by others:");
    }
    for change in &proof.changed_by_others {
        let _ = writeln!(text, "  {change}");
    }
}

pub(super) fn warnings(text: &mut String, warnings: &[String], style: Style) {
    for warning in warnings {
        let _ = writeln!(text, "{} {warning}", style.yellow("Warning:"));
    }
}

pub(super) fn country(code: CountryCode) -> String {
    format!("{code} {}", code.id().name())
}

fn state_word(state: State) -> &'static str {
    match state {
        State::Off => "off",
        State::Observing => "observing",
        State::Enforcing => "enforcing",
        State::Paused => "paused",
        State::Pending => "pending",
    }
}

/// The word that a value of `core` is written as in JSON.
pub(crate) fn words<T: serde::Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        Ok(_) | Err(_) => String::new(),
    }
}

fn yes(yes: bool) -> &'static str {
    if yes { "yes" } else { "no" }
}

pub(super) fn share(part: u64, whole: u64) -> String {
    match whole {
        0 => "0 %".to_owned(),
        _ => format!("{:.1} %", part as f64 * 100.0 / whole as f64),
    }
}

pub(super) fn number(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn human_bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let (mut value, mut unit) = (bytes as f64, 0);
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    match unit {
        0 => format!("{bytes} B"),
        _ => format!("{value:.1} {}", UNITS[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        assert_eq!([0, 999, 1000, 1_234_567].map(number), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(
            [0, 999, 1500, 2_000_000].map(human_bytes),
            ["0 B", "999 B", "1.5 kB", "2.0 MB"]
        );
    }
}
