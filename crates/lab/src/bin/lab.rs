//! `make lab`: what botnets and floods get done at a real Asterisk, with a real fail2ban, with GeoFilter or another
//! country filter beside that, and with neither; and what changes of the filter cost calls. Every figure was
//! measured; the tables go into `bench/LAB.md` too.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};
use std::{env, fs};

use anyhow::{Result, ensure};
use geofilter_core::geodata::embedded;
use geofilter_core::world::World;
use geofilter_lab::botnet::{Carrier, Pace};
use geofilter_lab::changes::during_calls;
use geofilter_lab::flood::Aim;
use geofilter_lab::intruders::{hosting, open_flow};
use geofilter_lab::load::{self, Load};
use geofilter_lab::siege::{ALLOWED, BOTS, Defence, Outcome, Share, Siege, Target};
use geofilter_lab::trunk::TRUNK;

const SLOW: Pace = Pace { guesses: 4, every: Duration::from_millis(1_500) };
/// Long enough for fail2ban's bans to bite before it is over.
const FAST: Pace = Pace { guesses: 60, every: Duration::from_millis(200) };

const SIEGES: [(&str, Siege); 6] = [
    ("slow", Siege { target: Target::Asterisk, carrier: Carrier::Udp, pace: SLOW, each: 40 }),
    ("fast", Siege { target: Target::Asterisk, carrier: Carrier::Udp, pace: FAST, each: 40 }),
    (
        "fast, IPv6",
        Siege { target: Target::Asterisk, carrier: Carrier::Udp6, pace: FAST, each: 40 },
    ),
    // Who is blocked tries to connect, and five at a time wait for it.
    ("slow, TCP", Siege { target: Target::Asterisk, carrier: Carrier::Tcp, pace: SLOW, each: 5 }),
    (
        "slow, Kamailio",
        Siege { target: Target::Kamailio, carrier: Carrier::Udp, pace: SLOW, each: 40 },
    ),
    (
        "fast, Kamailio",
        Siege { target: Target::Kamailio, carrier: Carrier::Udp, pace: FAST, each: 40 },
    ),
];
/// Runs with fail2ban alone.
const RUNS: usize = 3;

const GEOFILTER: [Defence; 2] = [Defence::GeoFilter("xdp"), Defence::GeoFilter("tc")];

/// Calls at a time.
const CALLS: usize = 40;
const LONG: Duration = Duration::from_secs(2);
/// A round, alone or flooded.
const ROUND: Duration = Duration::from_secs(6);
/// How often both, by turns, before what holds the flood off; a PBX that it reaches is not the same afterwards.
const ROUNDS: usize = 8;
const FLOODS: [(&str, Aim, Option<u32>, &[Defence]); 3] = [
    ("20,000/s", Aim::Pbx, Some(20_000), &Defence::ALL),
    ("as fast as it goes", Aim::Pbx, None, &Defence::ALL),
    ("as fast as it goes, for another machine", Aim::Nobody, None, &[Defence::Fail2ban]),
];

/// The parts of the table, by the words that name them.
const PARTS: [(&str, Part); 4] =
    [("floods", floods), ("changes", changes), ("intruders", intruders), ("botnets", botnets)];
type Part = fn(&World) -> Result<String>;
/// Stands before each part in the file.
const MARK: &str = "<!-- part -->\n";

/// Without a word all parts are measured, with some only these, and the others stay as they are.
fn main() -> Result<()> {
    let began = Instant::now();
    let asked: Vec<String> = env::args().skip(1).collect();
    let known = |word: &String| PARTS.iter().any(|(name, _)| name == word);
    ensure!(asked.iter().all(known), "the parts are floods, changes, intruders and botnets");
    let world = embedded::world()?.world;
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bench/LAB.md");
    let before = fs::read_to_string(&file).unwrap_or_default();
    let mut told: Vec<String> = before.split(MARK).skip(1).map(str::to_owned).collect();
    told.resize(PARTS.len(), String::new());
    for (at, (name, part)) in PARTS.into_iter().enumerate() {
        if !asked.is_empty() && !asked.iter().any(|word| word == name) {
            continue;
        }
        // A part that fails leaves the others to be told.
        told[at] =
            part(&world).unwrap_or_else(|error| format!("\n**This part failed: {error:#}**\n"));
        let text = told.iter().fold(head(), |text, part| text + MARK + part);
        fs::write(&file, text)?;
    }
    println!("{}", fs::read_to_string(&file)?);
    eprintln!("{} s", began.elapsed().as_secs());
    Ok(())
}

fn head() -> String {
    format!(
        "# Attacks on a real PBX\n\nWritten by `make lab`, or a part of it anew by `make lab PART=floods`; every figure was measured. Asterisk 22 in a network \
         namespace, fail2ban with its stock jail, attackers at real addresses of {} countries ({}). Where there is a \
         country filter it lets in {}. What must be so is said before each table, and *no* in it where it is not.\n",
        BOTS.len(),
        BOTS.join(" "),
        ALLOWED.join(" and "),
    )
}

/// Tells how it goes on, and how long it took.
fn note(row: &str, since: Instant) {
    eprintln!("{row} ({:.1} s)", since.elapsed().as_secs_f64());
}

fn met(met: bool) -> &'static str {
    if met { "yes" } else { "**no**" }
}

fn botnets(world: &World) -> Result<String> {
    let mut text = String::from(
        "\n## Botnets\n\nEach bot asks for an extension, is challenged, and answers with a wrong password: a guess. \
         *Answered*: the PBX said that the password is wrong. *Logged*: attempts that the PBX's log tells of, however many \
         lines each left. A phone was served before and after each attack. Must, with GeoFilter: from blocked countries \
         none answered and none logged; from the allowed one as many logged as in three runs with fail2ban alone, or fewer (at Kamailio, for which it has no jail: as without a filter); a \
         trunk in a blocked country served ten times a second throughout.\n\n",
    );
    for (name, siege) in SIEGES {
        let _ = writeln!(
            text,
            "{name}: {} bots in each country, {} guesses each, one every {} ms.  ",
            siege.each,
            siege.pace.guesses,
            siege.pace.every.as_millis()
        );
    }
    text.push_str(
        "\n| botnet | against | blocked countries: guesses | answered | logged | banned | allowed: guesses | answered \
         | logged | banned | trunk served | met |\n|---|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for (name, siege) in SIEGES {
        let mut spread = Vec::new();
        let is_there =
            |defence: &Defence| siege.target == Target::Asterisk || *defence != Defence::Fail2ban;
        for defence in Defence::ALL.into_iter().filter(is_there) {
            let runs = if defence == Defence::Fail2ban { RUNS } else { 1 };
            for _ in 0..runs {
                let since = Instant::now();
                let outcome = siege.lay(world, defence)?;
                // fail2ban has no jail for Kamailio: as many as there are without a filter.
                let base = match siege.target {
                    Target::Asterisk => Defence::Fail2ban,
                    Target::Kamailio => Defence::Nothing,
                };
                if defence == base {
                    spread.push(outcome.allowed.logged);
                }
                let against = siege.target.name_of(defence);
                let row = botnet_row(name, &against, defence, &outcome, &spread);
                note(&row, since);
                text.push_str(&row);
                text.push('\n');
            }
        }
    }
    Ok(text)
}

fn botnet_row(
    name: &str,
    against: &str,
    defence: Defence,
    outcome: &Outcome,
    spread: &[u64],
) -> String {
    let share = |share: &Share| {
        let Share { tally, logged, banned } = share;
        format!("{} | {} | {logged} | {banned}", tally.guesses, tally.answered)
    };
    let (low, high) = (spread.iter().min(), spread.iter().max());
    let verdict = match (defence, low, high) {
        (Defence::GeoFilter(_), Some(low), Some(high)) => {
            let Share { tally, logged, .. } = outcome.blocked;
            // fail2ban is quicker with the allowed ones when it has no others to read of.
            let within = match outcome.allowed.logged {
                logged if logged < *low => "fewer",
                logged => met(logged <= *high),
            };
            format!(
                "blocked {}; allowed {} ({low} to {high}); trunk {}",
                met(tally.answered == 0 && logged == 0),
                within,
                met(outcome.trunk.answered == outcome.trunk.of)
            )
        }
        _ => String::new(),
    };
    format!(
        "| {name} | {against} | {} | {} | {} of {} | {verdict} |",
        share(&outcome.blocked),
        share(&outcome.allowed),
        outcome.trunk.answered,
        outcome.trunk.of
    )
}

fn floods(world: &World) -> Result<String> {
    let mut text = format!(
        "\n## Floods during calls\n\n{CALLS} calls at a time, {} s each, one after the other, from {}: PCMU at 50 packets a \
         second, which the PBX plays back. The callers identify themselves by name and need no password. A call failed \
         if it was not set up in 6 s, was cut, or could not be hung up. The flood: REGISTER and INVITE without credentials \
         from addresses of all blocked countries of the list, sent by one processor, which also does what the receiving \
         kernel does for each frame; the PBX and its callers have another, and each has a queue of its own on the wire, as network \
         cards have. So what it costs to send a flood, which is not the filter's, costs no call anything. The frames of the last row are for \
         another machine, and the PBX's kernel leaves them alone. Rounds of {} s with the calls alone and with the flood, \
         by turns, at the same Asterisk: {ROUNDS} of both, one where the flood reaches the PBX; lost packets in the \
         first are the callers' own. A trunk in {TRUNK} asks ten times a second. Must, with GeoFilter: 0 failed, \
         set-up p99 and Asterisk's CPU at most 1.3 times those without the flood, the trunk served.\n\n\
         | flood | against | requests/s | calls | failed | set-up p50 / p99 ms: alone | flooded | p99 | sent again: callers / PBX | RTP sent alone, lost \
         | flooded: RTP sent | lost | Asterisk CPU: alone | flooded | times | trunk served | met |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n",
        LONG.as_secs(),
        ALLOWED[0],
        ROUND.as_secs(),
    );
    for (name, aim, a_second, defences) in FLOODS {
        for &defence in defences {
            let since = Instant::now();
            let reached = matches!(defence, Defence::Nothing | Defence::Fail2ban);
            let rounds = if reached && aim == Aim::Pbx { 1 } else { ROUNDS };
            let load = Load { calls: CALLS, time: ROUND, rounds, aim, a_second };
            let row = match load.measure(world, defence) {
                Ok(outcome) => flood_row(name, defence, &outcome),
                Err(error) => format!("| {name} | {} | failed: {error:#} |", defence.name()),
            };
            note(&row, since);
            text.push_str(&row);
            text.push('\n');
        }
    }
    Ok(text)
}

fn flood_row(name: &str, defence: Defence, outcome: &load::Outcome) -> String {
    let load::Outcome { alone, flooded, a_second, trunk } = outcome;
    let times = |share: &load::Share| {
        let of = |part: f64| share.report.set_up_within(part).as_secs_f64() * 1e3;
        match share.report.set_up.is_empty() {
            true => "none".to_owned(),
            false => format!("{:.1} / {:.1}", of(0.5), of(0.99)),
        }
    };
    let heard = &flooded.report.heard;
    let verdict = match defence {
        Defence::GeoFilter(_) => format!(
            "failed {}; p99 {}; CPU {}; trunk {}",
            met(flooded.report.failed == 0),
            met(outcome.set_up() <= 1.3),
            met(outcome.cpu() <= 1.3),
            met(trunk.of == trunk.answered)
        ),
        _ => String::new(),
    };
    let set_up = match flooded.report.set_up.is_empty() {
        true => String::new(),
        false => format!("{:.2}x", outcome.set_up()),
    };
    format!(
        "| {name} | {} | {a_second:.0} | {} | {} | {} | {} | {set_up} | {} / {} | {}, {} | {} | {} ({:.2} %) | {:.1} % | {:.1} % | {:.2}x | {} of {} \
         | {verdict} |",
        defence.name(),
        flooded.report.calls,
        flooded.report.failed,
        times(alone),
        times(flooded),
        flooded.report.sent_again.0,
        flooded.report.sent_again.1,
        alone.report.heard.sent,
        alone.report.heard.sent - alone.report.heard.received,
        heard.sent,
        heard.lost(),
        heard.loss() * 100.0,
        alone.cpu() * 100.0,
        flooded.cpu() * 100.0,
        outcome.cpu(),
        trunk.answered,
        trunk.of,
    )
}

fn changes(world: &World) -> Result<String> {
    let mut text = format!(
        "\n## Changes during {CALLS} calls\n\nThe same calls, before, during and after each change, once with the scope that \
         the agent finds, and once with the ports of the sound in it. The table swap is that of the data plane alone. \
         Must: 0 RTP packets lost, 0 SIP messages sent again, 0 calls failed.\n\n\
         | scope | change | calls | failed | SIP sent again | RTP sent | lost | met |\n\
         |---|---|---|---|---|---|---|---|\n"
    );
    let wide = "udp/5060,tcp/5060,udp/10000-10100";
    for (name, scope) in [("found", None), (wide, Some(wide))] {
        for change in during_calls(world, CALLS, LONG, scope)? {
            let report = &change.report;
            let (failed, again, lost) = report.harm();
            let row = format!(
                "| {name} | {} | {} | {failed} | {again} | {} | {lost} | {} |",
                change.name,
                report.calls,
                report.heard.sent,
                met(report.harm() == (0, 0, 0))
            );
            eprintln!("{row}");
            text.push_str(&row);
            text.push('\n');
        }
    }
    Ok(text)
}

fn intruders(world: &World) -> Result<String> {
    let mut text = String::from(
        "\n## Flows that were open before\n\nAn attacker in CN is answered over UDP from a fixed port and over a TCP \
         connection, with connection tracking on; then the defence comes, and it goes on over both. Must: 0 answers.\n\n\
         | against | answered before | afterwards | met |\n|---|---|---|---|\n",
    );
    for defence in [GEOFILTER[0], GEOFILTER[1], Defence::NftSet] {
        let [before, after] = open_flow(world, defence)?;
        let _ = writeln!(
            text,
            "| {} | {} of {} | {} of {} | {} |",
            defence.name(),
            before.answered,
            before.of,
            after.answered,
            after.of,
            met(after.answered == 0)
        );
    }
    let _ = write!(
        text,
        "\n## Hosting networks of an allowed country\n\n`--hosting drop`, {} let in. Must: no bot in a hosting network \
         answered, no phone in another network cut.\n\n| against | bots answered | phones answered | met |\n|---|---|---|---|\n",
        ALLOWED[0]
    );
    for backend in ["xdp", "tc"] {
        let [bots, phones] = hosting(world, backend, 40)?;
        let _ = writeln!(
            text,
            "| GeoFilter ({}) | {} of {} | {} of {} | {} |",
            backend.to_uppercase(),
            bots.answered,
            bots.of,
            phones.answered,
            phones.of,
            met(bots.answered == 0 && phones.answered == phones.of)
        );
    }
    Ok(text)
}
