//! `make lab`: what a botnet gets done at a real Asterisk, with a real fail2ban, with GeoFilter or another country
//! filter beside that, and with neither. Every figure was measured in this run; the table goes into
//! `bench/LAB.md` too.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use geofilter_core::geodata::embedded;
use geofilter_lab::botnet::{Carrier, Pace};
use geofilter_lab::siege::{ALLOWED, BOTS, Defence, Outcome, Share, Siege};

const SLOW: Pace = Pace { guesses: 4, every: Duration::from_millis(1_500) };
const FAST: Pace = Pace { guesses: 20, every: Duration::from_millis(200) };

const SIEGES: [(&str, Siege); 4] = [
    ("slow", Siege { carrier: Carrier::Udp, pace: SLOW, each: 40 }),
    ("fast", Siege { carrier: Carrier::Udp, pace: FAST, each: 40 }),
    ("fast, IPv6", Siege { carrier: Carrier::Udp6, pace: FAST, each: 40 }),
    ("slow, TCP", Siege { carrier: Carrier::Tcp, pace: SLOW, each: 40 }),
];

fn main() -> Result<()> {
    let world = embedded::world()?.world;
    let mut rows = String::new();
    for (name, siege) in SIEGES {
        for defence in Defence::ALL {
            eprintln!("{name}: {}", defence.name());
            let row = row(name, defence, &siege.lay(&world, defence)?);
            eprintln!("{row}");
            rows.push_str(&row);
            rows.push('\n');
        }
    }
    let text = format!("{}{rows}", head());
    fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bench/LAB.md"), &text)?;
    println!("{text}");
    Ok(())
}

fn head() -> String {
    let mut text = String::from("# A botnet at a real PBX\n\n");
    let _ = writeln!(
        text,
        "Written by `make lab`. Asterisk 22 in a network namespace, fail2ban with its stock jail, and bots at real \
         addresses of {} countries ({}), 40 in each. Each bot asks for an extension, is challenged, and answers with a wrong \
         password: a guess. Where there is a country filter it lets in {}. *Answered*: the PBX said that the password is \
         wrong. *Logged*: attempts that the PBX's log tells of, however many lines each left. A phone in {} was served before and after each attack.\n",
        BOTS.len(),
        BOTS.join(" "),
        ALLOWED.join(" and "),
        ALLOWED[0],
    );
    text.push_str(
        "| botnet | against | blocked countries: guesses | answered | logged | banned | allowed: guesses | answered \
         | logged | banned |\n|---|---|---|---|---|---|---|---|---|---|\n",
    );
    text
}

fn row(name: &str, defence: Defence, outcome: &Outcome) -> String {
    let share = |share: &Share| {
        let Share { tally, logged, banned } = share;
        format!("{} | {} | {logged} | {banned}", tally.guesses, tally.answered)
    };
    format!(
        "| {name} | {} | {} | {} |",
        defence.name(),
        share(&outcome.blocked),
        share(&outcome.allowed)
    )
}
