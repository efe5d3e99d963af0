//! Promise 10: a wall clock that is set, forth or back, ends what ends by the calendar when that is, and nothing else. The
//! clock of this machine stays as it is: the agent is told that its own differs.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use geofilter_lab::addresses::Addresses;
use geofilter_lab::awaited::within;
use geofilter_lab::phones::{Phones, with_agents_by};
use geofilter_lab::process::Agent;
use serde_json::json;

const HOUR: u64 = 3600;

/// A second is how often the agent looks at its clock, and a half what it takes to follow.
fn soon(agent: &Agent<'_>, what: &str, is_so: impl Fn() -> bool) {
    within(Duration::from_millis(1_500), Instant::now(), is_so, || {
        format!("{what}: {}", agent.log())
    });
}

/// How it is attached makes no difference to the clocks of an agent.
fn with_agent(test: impl Fn(&Phones<'_>, &mut Agent<'_>, &Addresses<'_>)) {
    with_agents_by(&["xdp"], test);
}

fn set(agent: &Agent<'_>, clock: &str, hours: u64) {
    agent.arm(&format!("wall-clock-{clock}={}", hours * HOUR)).unwrap();
}

#[test]
fn what_ends_by_the_calendar_follows_a_clock_that_is_set_within_a_second() {
    with_agent(|phones, agent, addresses| {
        let [home, banned] = addresses.several_v4("ES", 2)[..] else { panic!("too few") };
        let (guest, china) = (addresses.v4("BR"), addresses.v4("CN"));
        let until = agent.json(&["ban", "add", &banned.to_string(), "--for", "2h"]).unwrap();
        assert_eq!(until["added"].as_array().unwrap().len(), 1);
        agent.json(&["exempt", "add", &guest.to_string(), "--for", "2h"]).unwrap();
        let end = std::time::SystemTime::now() + Duration::from_secs(2 * HOUR);
        let end = end.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let end = phones.site.host.command("date", &["-u", "-d", &format!("@{end}"), "+%FT%TZ"]);
        agent.json(&["allow", "CN", "--until", end.unwrap().trim(), "--yes"]).unwrap();
        let ends = || {
            let of = |kind| agent.json(&[kind, "list"]).unwrap()["records"][0]["until"].clone();
            [of("ban"), of("exempt")]
        };
        let before = ends();
        let are_in = |who: [std::net::Ipv4Addr; 3]| who.map(|it| phones.lets_in(it));
        let holds = [false, true, true];
        assert_eq!(are_in([banned, guest, china]), holds);
        // A little, forth and back, changes nothing but when that is.
        for clock in ["ahead", "behind"] {
            let followed = || agent.log().matches("the wall clock was set").count();
            let earlier = followed();
            set(agent, clock, 1);
            soon(agent, "the clock is followed", || followed() > earlier);
            assert_eq!(are_in([banned, guest, china]), holds);
            assert_eq!(ends(), before, "an end is a time of the calendar");
        }
        // With the clock beyond them all have ended.
        set(agent, "ahead", 3);
        soon(agent, "they have ended", || are_in([banned, guest, china]) == [true, false, false]);
        // Bans and exemptions that have ended are gone; the policy's times hold again with the clock.
        agent.arm("").unwrap();
        soon(agent, "the country is in time again", || phones.lets_in(china));
        assert_eq!(are_in([banned, guest, home]), [true, false, true]);
        assert_eq!(agent.json(&["status"]).unwrap()["warnings"], json!([]));
    });
}

#[test]
fn a_change_on_trial_and_a_pause_end_when_they_were_to_whatever_the_clock_says() {
    with_agent(|phones, agent, addresses| {
        let china = addresses.v4("CN");
        let changes: [&[&str]; 2] =
            [&["allow", "ES", "CN", "--confirm-within", "2s"], &["pause", "--for", "2s"]];
        for (change, clock) in changes.into_iter().zip(["ahead", "behind"]) {
            let asked = Instant::now();
            agent.json(change).unwrap();
            let replied = Instant::now();
            set(agent, clock, 24);
            let ended = loop {
                if !phones.lets_in(china) {
                    break Instant::now();
                }
                assert!(replied.elapsed() < Duration::from_secs(3), "it goes on");
            };
            let (least, most) = (ended - asked, ended - replied);
            assert!(least >= Duration::from_secs(2), "{change:?} {clock}: {least:?}");
            assert!(most < Duration::from_millis(2_100), "{change:?} {clock}: {most:?}");
            soon(agent, "it is settled", || {
                agent.json(&["status"]).unwrap()["state"] == "enforcing"
            });
            agent.arm("").unwrap();
        }
    });
}

#[test]
fn an_agent_that_starts_with_a_wrong_clock_puts_it_right_with_the_clock() {
    with_agent(|phones, agent, addresses| {
        let guest = addresses.v4("BR");
        agent.json(&["exempt", "add", &guest.to_string(), "--for", "2h"]).unwrap();
        for (clock, is_in) in [("behind", true), ("ahead", false)] {
            agent.kill().unwrap();
            set(agent, clock, 100_000);
            agent.restart(None).unwrap();
            assert_eq!(phones.lets_in(guest), is_in, "{clock}");
            assert!(!phones.lets_in(addresses.v4("CN")));
        }
        // It forgot nothing that a right clock knows to hold.
        agent.kill().unwrap();
        agent.arm("").unwrap();
        agent.restart(None).unwrap();
        assert!(phones.lets_in(guest));
    });
}
