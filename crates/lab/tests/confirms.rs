//! Promise 5, its second half: a change that is not confirmed goes back by itself, in the kernel, whatever
//! becomes of the agent; and one that is confirmed stays.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::Write;
use std::net::UdpSocket;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use geofilter_core::geodata::embedded;
use geofilter_lab::addresses::Addresses;
use geofilter_lab::neighbours::Neighbour;
use geofilter_lab::phones::{BACKENDS, INVITE, Phones};
use geofilter_lab::plane::now;
use geofilter_lab::process::Agent;
use geofilter_lab::site::{Site, WAN};
use rustix::process::Signal;
use serde_json::{Value, json};

const SECOND: u64 = 1_000_000_000;
/// How late the policy before may be back.
const LATEST: u64 = 5_000_000;
/// nftables forgets what is on trial with the kernel's next tick or the one after, of which the slowest come a hundred a second.
const LATEST_BY_NFT: u64 = 20_000_000;

fn latest(backend: &str) -> u64 {
    if backend == "nft" { LATEST_BY_NFT } else { LATEST }
}

/// A host with an agent that is off, and somebody in China who calls.
struct Scene<'a> {
    backend: &'a str,
    phones: &'a Phones<'a>,
    agent: Agent<'a>,
    abroad: UdpSocket,
}

fn with_scene(backend: &str, test: impl FnOnce(&mut Scene<'_>)) {
    let world = embedded::world().unwrap().world;
    let addresses = Addresses::new(&world);
    let site = Site::new().unwrap();
    let phones = Phones::new(&site, &addresses);
    let agent = Agent::start(&site.host, &["--backend", backend, "--interface", WAN]).unwrap();
    let abroad = phones.somebody(addresses.v4("CN"), 0);
    test(&mut Scene { backend, phones: &phones, agent, abroad });
}

impl Scene<'_> {
    /// Whether China reaches the PBX. Spain does in any case, or this fails.
    fn reached(&self) -> bool {
        self.phones.reaches(&self.abroad, INVITE)
    }

    fn status(&self) -> Value {
        self.agent.json(&["status"]).unwrap()
    }

    /// A command that must fail; what it said.
    fn refused(&self, words: &[&str]) -> String {
        let output = self.agent.ask(words).unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{}: {words:?}: {said}", self.backend);
        said
    }

    /// The deadline that the agent has saved.
    fn saved_deadline(&self) -> u64 {
        let saved = fs::read(self.agent.state_dir().join("state.json")).unwrap();
        let saved: Value = serde_json::from_slice(&saved).unwrap();
        saved["state"]["interim"]["deadline"].as_u64().unwrap()
    }

    fn assert_enforces(&self, countries: &[&str], what: &str) {
        let status = self.status();
        let found = (&status["state"], &status["countries"], &status["remaining"]);
        let expected = (&json!("enforcing"), &json!(countries), &Value::Null);
        assert_eq!(found, expected, "{} {what}", self.backend);
        assert_eq!(self.reached(), countries.contains(&"CN"), "{} {what}", self.backend);
    }
}

fn sleep_until(boot: u64) {
    thread::sleep(Duration::from_nanos(boot.saturating_sub(now().0)));
}

/// What was in force before a change.
#[derive(Debug, Clone, Copy)]
enum Before {
    Enforcing,
    Observing,
    Off,
}

impl Before {
    fn bring_about(self, agent: &Agent<'_>) {
        match self {
            Self::Enforcing => drop(agent.json(&["allow", "ES", "--yes"]).unwrap()),
            Self::Observing => {
                agent.json(&["allow", "ES", "--yes"]).unwrap();
                agent.json(&["observe"]).unwrap();
            }
            Self::Off => drop(agent.json(&["off"]).unwrap()),
        }
    }

    /// A change that turns round whether China reaches the PBX.
    fn change(self) -> &'static [&'static str] {
        match self {
            Self::Enforcing => &["allow", "ES", "CN", "--confirm-within", "1s"],
            Self::Observing | Self::Off => &["allow", "ES", "--confirm-within", "1s"],
        }
    }

    fn state(self) -> &'static str {
        match self {
            Self::Enforcing => "enforcing",
            Self::Observing => "observing",
            Self::Off => "off",
        }
    }

    fn reached(self) -> bool {
        !matches!(self, Self::Enforcing)
    }
}

#[test]
fn with_the_agent_dead_what_was_before_is_back_within_5_ms_of_the_deadline() {
    for backend in BACKENDS {
        with_scene(backend, |scene| {
            for before in [Before::Enforcing, Before::Observing, Before::Off] {
                // Who is kept from running just then has seen nothing, and looks again.
                let (early, late) = (0..10).find_map(|_| go_back_unattended(scene, before)).expect(
                    "in ten rounds this machine never found the time for a packet close to the deadline",
                );
                println!(
                    "{backend}, {before:?}: the change last seen {} us before the deadline, what was before first seen {} us after it",
                    early / 1000,
                    late / 1000
                );
            }
        });
    }
}

/// How long before the deadline the change was seen last, and how long after it what was before was seen
/// first, if both were looked for within [`latest`].
fn go_back_unattended(scene: &mut Scene<'_>, before: Before) -> Option<(u64, u64)> {
    before.bring_about(&scene.agent);
    assert_eq!(scene.reached(), before.reached());
    let asked = now().0;
    let pending = scene.agent.json(before.change()).unwrap();
    let replied = now().0;
    if replied - asked >= SECOND {
        // The answer came after the end: there is nothing to look at.
        return None;
    }
    assert_eq!(
        (&pending["state"], &pending["fallback"]["state"]),
        (&json!("pending"), &json!(before.state()))
    );
    scene.agent.kill().unwrap();
    let deadline = scene.saved_deadline();
    assert!((asked + SECOND..=replied + SECOND).contains(&deadline));
    let latest = latest(scene.backend);
    let (mut changed_last, mut back_first) = (0, u64::MAX);
    while now().0 < deadline + 50_000_000 + latest {
        let sent = now().0;
        let is_back = scene.reached() == before.reached();
        let judged_before = now().0;
        match is_back {
            true => {
                assert!(judged_before >= deadline, "{}, {before:?}: too early", scene.backend);
                back_first = back_first.min(sent);
            }
            false => changed_last = sent,
        }
        thread::sleep(Duration::from_micros(100));
    }
    assert!(
        changed_last < deadline + latest,
        "{}, {before:?}: {} us late",
        scene.backend,
        (changed_last - deadline) / 1000
    );
    scene.agent.restart(None).unwrap();
    assert_eq!(scene.status()["state"], before.state());
    assert_eq!(scene.reached(), before.reached());
    let seen = (deadline.saturating_sub(changed_last), back_first.saturating_sub(deadline));
    (seen.0 <= latest && seen.1 <= latest).then_some(seen)
}

/// What the agent is killed in the middle of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    FirstChange,
    Change,
    SecondChange,
    Confirm,
    Revert,
    Deadline,
}

const ANNOUNCING: [&str; 3] = ["announce-start", "state.json-written", "announce-done"];
const ATTACHING: [&str; 6] = [
    "baseline.json-written",
    "attach-start",
    "attach-folder",
    "attach-loaded",
    "attach-filled",
    "attach-done",
];
const ATTACHING_NFT: [&str; 4] =
    ["baseline.json-written", "attach-start", "attach-filled", "attach-done"];
const LINKING: [&str; 2] = ["attach-linked", "attach-pinned"];
const FILTERING: [&str; 3] = ["clsact-marked", "clsact-added", "filter-marked"];
const APPLYING: [&str; 2] = ["apply-start", "apply-stored"];
const WRITING: [&str; 2] = ["nft-written", "nft-applied"];
const SETTLING: [&str; 2] = ["settle-start", "settle-done"];

impl Step {
    const ALL: [Self; 6] = [
        Self::FirstChange,
        Self::Change,
        Self::SecondChange,
        Self::Confirm,
        Self::Revert,
        Self::Deadline,
    ];

    /// The points that it passes.
    fn faults(self, backend: &str) -> Vec<&'static str> {
        let (attaching, linking, applying): (&[&str], &[&str], &[&str]) = match backend {
            "nft" => (&ATTACHING_NFT, &WRITING, &WRITING),
            "clsact" => (&ATTACHING, &FILTERING, &APPLYING),
            _ => (&ATTACHING, &LINKING, &APPLYING),
        };
        let parts: &[&[&str]] = match self {
            Self::FirstChange => &[&ANNOUNCING, attaching, linking],
            Self::Change | Self::SecondChange => &[&ANNOUNCING, applying],
            Self::Confirm => &[applying, &["state.json-written"], &SETTLING],
            Self::Revert | Self::Deadline => &[&ANNOUNCING, applying, &SETTLING],
        };
        parts.concat()
    }

    /// What is asked for, if anything is.
    fn words(self) -> Option<&'static [&'static str]> {
        match self {
            Self::FirstChange => Some(&["allow", "ES", "--confirm-within", "1s"]),
            Self::Change => Some(&["allow", "ES", "CN", "--confirm-within", "1s"]),
            Self::SecondChange => Some(&["allow", "CN", "ES", "PT", "--confirm-within", "1s"]),
            Self::Confirm => Some(&["confirm"]),
            Self::Revert => Some(&["revert"]),
            Self::Deadline => None,
        }
    }
}

#[test]
fn killed_at_every_step_it_ends_in_what_was_confirmed_xdp() {
    killed_at_every_step("xdp");
}

#[test]
fn killed_at_every_step_it_ends_in_what_was_confirmed_tc() {
    killed_at_every_step("tc");
}

#[test]
fn killed_at_every_step_it_ends_in_what_was_confirmed_clsact() {
    killed_at_every_step("clsact");
}

#[test]
fn killed_at_every_step_it_ends_in_what_was_confirmed_nft() {
    killed_at_every_step("nft");
}

fn killed_at_every_step(backend: &str) {
    with_scene(backend, |scene| {
        for step in Step::ALL {
            for fault in step.faults(backend) {
                kill_in(scene, step, fault);
            }
        }
    });
}

fn kill_in(scene: &mut Scene<'_>, step: Step, fault: &str) {
    let what = format!("{step:?}, {fault}");
    println!("{} {what}", scene.backend);
    let agent = &mut scene.agent;
    let start = if step == Step::FirstChange { &["off"][..] } else { &["allow", "ES", "--yes"] };
    agent.json(start).unwrap();
    if !matches!(step, Step::FirstChange | Step::Change) {
        agent.json(&["allow", "ES", "CN", "--confirm-within", "1s"]).unwrap();
    }
    agent.arm(fault).unwrap();
    if let Some(words) = step.words() {
        assert!(!agent.ask(words).unwrap().status.success(), "{what}: it was not killed");
    }
    agent.wait_for_the_end().unwrap();
    // No deadline is later.
    let deadline = now().0 + SECOND;
    sleep_until(deadline);
    // Its kernel had the confirmation, or not.
    let confirmed = step == Step::Confirm && !["apply-start", "nft-written"].contains(&fault);
    let unattended = scene.reached();
    assert_eq!(unattended, confirmed || step == Step::FirstChange, "{} {what}", scene.backend);
    scene.agent.arm("").unwrap();
    scene.agent.restart(None).unwrap();
    match step {
        Step::FirstChange => {
            assert_eq!(scene.status()["state"], "off", "{} {what}", scene.backend);
            assert!(scene.reached());
        }
        _ if confirmed => scene.assert_enforces(&["CN", "ES"], &what),
        _ => scene.assert_enforces(&["ES"], &what),
    }
}

#[test]
fn a_failed_change_leaves_nothing_pending() {
    for backend in BACKENDS {
        with_scene(backend, |scene| {
            scene.agent.json(&["allow", "ES", "--yes"]).unwrap();
            let change = ["allow", "ES", "CN", "--confirm-within", "1s"];
            // The disk refuses; what was read back differs.
            let in_the_way = scene.agent.state_dir().join("state.json.new");
            fs::create_dir(&in_the_way).unwrap();
            let said = scene.refused(&change);
            assert!(said.contains("nothing was changed"), "{said}");
            fs::remove_dir(&in_the_way).unwrap();
            assert_nothing_pending(scene, "disk");
            scene.agent.arm("bank-damaged").unwrap();
            let said = scene.refused(&change);
            assert!(said.contains("what was in force before still is"), "{said}");
            scene.agent.arm("").unwrap();
            assert_nothing_pending(scene, "differs");
            // And for good.
            scene.agent.kill().unwrap();
            scene.agent.restart(None).unwrap();
            assert_nothing_pending(scene, "restarted");
        });
    }
}

fn assert_nothing_pending(scene: &Scene<'_>, what: &str) {
    scene.assert_enforces(&["ES"], what);
    for words in [["confirm"], ["revert"]] {
        let said = scene.refused(&words);
        assert!(said.contains("no change is waiting"), "{what}: {said}");
    }
}

#[test]
fn a_first_change_that_fails_leaves_it_off() {
    for backend in BACKENDS {
        with_scene(backend, |scene| {
            scene.agent.arm("bank-damaged").unwrap();
            scene.refused(&["allow", "ES", "--confirm-within", "1s"]);
            scene.agent.arm("").unwrap();
            assert_eq!(scene.status()["state"], "off", "{backend}");
            assert!(scene.reached(), "{backend}");
            assert!(scene.refused(&["confirm"]).contains("no change is waiting"));
        });
    }
    with_scene("xdp", |scene| {
        Neighbour::Xdp.move_in(&scene.phones.site.host).unwrap();
        scene.refused(&["allow", "ES", "--confirm-within", "1s"]);
        assert_eq!(scene.status()["state"], "off");
        assert!(scene.refused(&["confirm"]).contains("no change is waiting"));
    });
}

#[test]
fn a_second_change_keeps_the_fallback_of_the_first_and_says_so() {
    for backend in BACKENDS {
        with_scene(backend, |scene| {
            let confirmed = scene.agent.json(&["allow", "ES", "--yes"]).unwrap();
            let first = scene.agent.json(&["allow", "PT", "--confirm-within", "1m"]).unwrap();
            let second = ["allow", "CN", "ES", "--confirm-within", "1s"];
            let said = scene.agent.ask(&second).unwrap();
            let said = String::from_utf8_lossy(&said.stdout).into_owned();
            let (first, confirmed) = (&first["generation"], &confirmed["generation"]);
            let given_up = format!("The unconfirmed change (generation {first}) was given up.");
            let back = format!("back to allow ES (generation {confirmed}), as before");
            assert!(said.contains(&given_up) && said.contains(&back), "{said}");
            assert!(scene.reached());
            scene.agent.kill().unwrap();
            sleep_until(now().0 + SECOND);
            assert!(!scene.reached(), "{backend}");
            scene.agent.restart(None).unwrap();
            scene.assert_enforces(&["ES"], "second");
        });
    }
}

#[test]
fn a_confirmation_at_or_past_the_deadline_is_refused() {
    for backend in BACKENDS {
        with_scene(backend, |scene| {
            scene.agent.json(&["allow", "ES", "--yes"]).unwrap();
            scene.agent.json(&["allow", "CN", "ES", "--confirm-within", "1s"]).unwrap();
            let deadline = scene.saved_deadline();
            // The agent has no time to notice the deadline before it is asked.
            scene.agent.signal(Signal::STOP).unwrap();
            let mut late = UnixStream::connect(scene.agent.socket()).unwrap();
            writeln!(late, "{}", json!({"command": "confirm"})).unwrap();
            sleep_until(deadline + latest(backend) - LATEST);
            assert!(!scene.reached(), "{backend}");
            scene.agent.signal(Signal::CONT).unwrap();
            let answer: Value =
                serde_json::Deserializer::from_reader(late).into_iter().next().unwrap().unwrap();
            assert_eq!(answer["error"]["kind"], "unfit", "{backend}: {answer}");
            scene.assert_enforces(&["ES"], "late");
            scene.refused(&["confirm"]);
        });
    }
}

#[test]
fn a_change_is_confirmed_over_another_connection_when_the_first_client_is_gone() {
    for backend in BACKENDS {
        with_scene(backend, |scene| {
            scene.agent.json(&["allow", "ES", "--yes"]).unwrap();
            let mut gone = UnixStream::connect(scene.agent.socket()).unwrap();
            let change = json!({"mode": "allow", "countries": ["CN", "ES"]});
            let request = json!({"command": "enforce", "change": change, "confirm_within": 60});
            writeln!(gone, "{request}").unwrap();
            drop(gone);
            let since = now().0;
            while scene.status()["state"] != "pending" {
                assert!(now().0 < since + 20 * SECOND, "{}", scene.status());
            }
            let kept = scene.agent.json(&["confirm"]).unwrap();
            assert_eq!((&kept["state"], &kept["fallback"]), (&json!("enforcing"), &Value::Null));
            scene.assert_enforces(&["CN", "ES"], "confirmed");
            scene.agent.kill().unwrap();
            scene.agent.restart(None).unwrap();
            scene.assert_enforces(&["CN", "ES"], "restarted");
        });
    }
}

#[test]
fn a_change_that_took_the_place_of_another_is_not_confirmed_in_its_name() {
    with_scene("tc", |scene| {
        scene.agent.json(&["allow", "ES", "--yes"]).unwrap();
        let first = scene.agent.json(&["allow", "PT", "--confirm-within", "1m"]).unwrap();
        let second = scene.agent.json(&["allow", "CN", "--confirm-within", "1m"]).unwrap();
        for command in ["confirm", "revert"] {
            let mut client = UnixStream::connect(scene.agent.socket()).unwrap();
            let request = json!({"command": command, "generation": first["generation"]});
            writeln!(client, "{request}").unwrap();
            let answer: Value =
                serde_json::Deserializer::from_reader(client).into_iter().next().unwrap().unwrap();
            assert_eq!(answer["error"]["kind"], "failed", "{answer}");
            assert_eq!(scene.status()["generation"], second["generation"]);
            assert_eq!(scene.status()["state"], "pending");
        }
    });
}

#[test]
fn a_revert_is_read_back_and_compared() {
    for backend in BACKENDS {
        with_scene(backend, |scene| {
            // Back to off, with the proof of it.
            scene.agent.json(&["allow", "ES", "--confirm-within", "1m"]).unwrap();
            let back = scene.agent.json(&["revert"]).unwrap();
            assert_eq!((&back["state"], &back["compared"]), (&json!("off"), &json!(true)));
            assert_eq!(back["proof"]["clean"], true, "{backend}: {back}");
            scene.agent.json(&["allow", "ES", "--yes"]).unwrap();
            scene.agent.json(&["allow", "CN", "--confirm-within", "1m"]).unwrap();
            let said = scene.agent.ask(&["revert"]).unwrap();
            let said = String::from_utf8_lossy(&said.stdout).into_owned();
            assert!(said.contains("read back from the kernel and compared"), "{said}");
            scene.assert_enforces(&["ES"], "reverted");
            // What differs is said, and ends by itself all the same.
            scene.agent.json(&["allow", "ES", "CN", "--confirm-within", "1s"]).unwrap();
            scene.agent.arm("bank-damaged").unwrap();
            let said = scene.refused(&["revert"]);
            assert!(said.contains("not what was asked for"), "{said}");
            sleep_until(now().0 + SECOND);
            assert!(!scene.reached(), "{backend}");
            scene.agent.arm("").unwrap();
        });
    }
}
