//! Promise 5 at a terminal: after a change somebody has a minute to say that it stays, by a key that is
//! pressed then and not before; and whatever becomes of the terminal, the kernel goes back by itself.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::net::{IpAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use geofilter_core::geodata::embedded;
use geofilter_lab::addresses::Addresses;
use geofilter_lab::phones::{INVITE, Phones};
use geofilter_lab::process::{Agent, binary};
use geofilter_lab::site::{SIP, Site, WAN};
use geofilter_lab::tmux::Terminal;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(20);
/// As long as nobody has to wait for it.
const LONG: &str = "60";

/// A host that lets in Spain, an agent on it, and somebody in China who calls.
struct Desk<'a> {
    phones: &'a Phones<'a>,
    agent: Agent<'a>,
    abroad: UdpSocket,
    /// Somewhere that is never let in.
    elsewhere: IpAddr,
    folder: TempDir,
}

fn at_a_desk(test: impl FnOnce(&mut Desk<'_>)) {
    let world = embedded::world().unwrap().world;
    let addresses = Addresses::new(&world);
    let site = Site::new().unwrap();
    let phones = Phones::new(&site, &addresses);
    let agent = Agent::start(&site.host, &["--backend", "tc", "--interface", WAN]).unwrap();
    agent.json(&["allow", "ES", "--yes"]).unwrap();
    let abroad = phones.somebody(addresses.v4("CN"), 0);
    let folder = tempfile::tempdir().unwrap();
    let elsewhere = addresses.v4("FR").into();
    test(&mut Desk { phones: &phones, agent, abroad, elsewhere, folder });
}

impl Desk<'_> {
    /// Types this change, with so many seconds to confirm it; `first` is what the shell does before.
    fn type_change(&self, change: &str, seconds: &str, first: &str) -> Terminal {
        let (at, program) = (self.folder.path().display(), binary().unwrap());
        let script = format!(
            "stty -a >{at}/before; {first} {} {change}; code=$?; stty -a >{at}/after; exit $code",
            program.display()
        );
        let socket = self.agent.socket();
        let countdown = format!("countdown={seconds}");
        let variables =
            [("GEOFILTER_SOCKET", socket.to_str().unwrap()), ("GEOFILTER_FAULT", &countdown)];
        Terminal::start(&self.phones.site.host, &script, &variables).unwrap()
    }

    /// What has the client's process number written down, and where.
    fn noting_its_number(&self) -> (String, PathBuf) {
        let id = self.folder.path().join("id");
        (format!("sh -c 'echo $$ >{0}; exec \"$@\"' client", id.display()), id)
    }

    fn reached(&self) -> bool {
        self.phones.reaches(&self.abroad, INVITE)
    }

    fn status(&self) -> Value {
        self.agent.json(&["status"]).unwrap()
    }

    /// That the command has ended so, and left the terminal as it was.
    fn assert_ends(&self, terminal: &Terminal, code: i32, said: &str) {
        assert_eq!(terminal.exit_code().unwrap(), code, "{}", terminal.screen().unwrap());
        // Lines are broken where the screen ends.
        let screen = terminal.screen().unwrap().replace('\n', " ");
        assert!(screen.contains(said), "no {said:?} in {screen}");
        let settings = |name: &str| fs::read_to_string(self.folder.path().join(name)).unwrap();
        assert_eq!(settings("before"), settings("after"));
    }

    fn assert_in_force(&self, state: &str, countries: &[&str]) {
        let status = self.status();
        assert_eq!((&status["state"], &status["countries"]), (&json!(state), &json!(countries)));
        assert_eq!(self.reached(), countries.contains(&"CN"));
    }

    fn wait_for_state(&self, state: &str) {
        let since = Instant::now();
        while self.status()["state"] != state {
            assert!(since.elapsed() < PATIENCE, "{}", self.status());
            thread::sleep(Duration::from_millis(20));
        }
    }
}

const CHANGE: &str = "allow CN ES";
const CHANGED: [&str; 2] = ["CN", "ES"];

#[test]
fn the_countdown_counts_with_live_figures_and_enter_keeps() {
    at_a_desk(|desk| {
        let terminal = desk.type_change(CHANGE, LONG, "");
        let first = terminal.wait_for("0 packets dropped").unwrap();
        assert!(first.contains("back to allow ES (generation 1)"), "{first}");
        let began = seconds_left(&first).unwrap();
        assert!((50..=60).contains(&began), "{first}");
        desk.assert_in_force("pending", &CHANGED);
        desk.phones.site.send(desk.elsewhere, SIP, INVITE.as_bytes()).unwrap();
        let later = terminal.wait_for("1 packets dropped: FR 1").unwrap();
        assert!(seconds_left(&later).unwrap() < began, "{later}");
        assert_eq!(later.matches(" s left.").count(), 1, "one line, written over: {later}");
        // What means nothing does nothing.
        terminal.press(&["x", "Up", "Tab"]).unwrap();
        desk.assert_in_force("pending", &CHANGED);
        terminal.press(&["Enter"]).unwrap();
        desk.assert_ends(&terminal, 0, "enforcing: allow CN ES");
        desk.assert_in_force("enforcing", &CHANGED);
    });
}

#[test]
fn n_and_ctrl_c_and_escape_and_ctrl_d_go_back_at_once() {
    at_a_desk(|desk| {
        for key in ["n", "C-c", "Escape", "C-d", "q"] {
            let terminal = desk.type_change(CHANGE, LONG, "");
            terminal.wait_for("s left.").unwrap();
            assert!(desk.reached());
            terminal.press(&[key]).unwrap();
            desk.assert_ends(&terminal, 1, "read back from the kernel and compared");
            assert!(terminal.screen().unwrap().contains("not kept"));
            desk.assert_in_force("enforcing", &["ES"]);
        }
    });
}

#[test]
fn without_a_key_it_goes_back_by_itself_and_says_to_what() {
    at_a_desk(|desk| {
        let terminal = desk.type_change(CHANGE, "2", "");
        terminal.wait_for("1 s left.").unwrap();
        desk.assert_ends(&terminal, 1, "not confirmed in time: back to allow ES (generation");
        desk.assert_in_force("enforcing", &["ES"]);
    });
}

#[test]
fn what_was_typed_before_keeps_nothing() {
    at_a_desk(|desk| {
        let go = desk.folder.path().join("go");
        let wait = format!("echo ready; until [ -e {} ]; do sleep 0.1; done;", go.display());
        let terminal = desk.type_change(CHANGE, LONG, &wait);
        terminal.wait_for("ready").unwrap();
        terminal.press(&["Enter", "y", "Enter", "k", " ", "typed"]).unwrap();
        terminal.wait_for("typed").unwrap();
        fs::write(go, "").unwrap();
        terminal.wait_for("packets dropped").unwrap();
        desk.assert_in_force("pending", &CHANGED);
        terminal.press(&["n"]).unwrap();
        desk.assert_ends(&terminal, 1, "not kept");
    });
}

#[test]
fn a_terminal_that_closes_leaves_it_to_the_kernel() {
    at_a_desk(|desk| {
        let (first, id) = desk.noting_its_number();
        let terminal = desk.type_change(CHANGE, "4", &first);
        terminal.wait_for("s left.").unwrap();
        let client = fs::read_to_string(id).unwrap();
        terminal.close().unwrap();
        wait_until(|| !Path::new(&format!("/proc/{}", client.trim())).exists());
        desk.assert_in_force("pending", &CHANGED);
        desk.wait_for_state("enforcing");
        desk.assert_in_force("enforcing", &["ES"]);
    });
}

#[test]
fn a_client_that_is_told_to_end_leaves_it_pending_and_the_terminal_as_it_was() {
    at_a_desk(|desk| {
        let (first, id) = desk.noting_its_number();
        let terminal = desk.type_change(CHANGE, LONG, &first);
        terminal.wait_for("s left.").unwrap();
        let client: i32 = fs::read_to_string(id).unwrap().trim().parse().unwrap();
        kill_process(Pid::from_raw(client).unwrap(), Signal::TERM).unwrap();
        desk.assert_ends(&terminal, 1, "it goes back by itself in");
        desk.assert_in_force("pending", &CHANGED);
    });
}

#[test]
fn an_agent_that_dies_meanwhile_is_said_and_the_kernel_goes_back() {
    at_a_desk(|desk| {
        let terminal = desk.type_change(CHANGE, "5", "");
        terminal.wait_for("s left.").unwrap();
        desk.agent.kill().unwrap();
        terminal.wait_for("No agent answers: the kernel goes back by itself in").unwrap();
        terminal.press(&["Enter"]).unwrap();
        desk.assert_ends(&terminal, 1, "gone back by itself to allow ES (generation 1)");
        assert!(!desk.reached());
        desk.agent.restart(None).unwrap();
        desk.assert_in_force("enforcing", &["ES"]);
    });
}

#[test]
fn what_another_client_does_with_it_meanwhile_is_said() {
    at_a_desk(|desk| {
        let others: [(&[&str], i32, &str); 3] = [
            (&["revert"], 1, "another client has ended it"),
            (&["allow", "ES", "PT", "--confirm-within", "1m"], 1, "another change in its place"),
            (&["confirm"], 0, "Another client has confirmed it"),
        ];
        for (words, code, said) in others {
            let terminal = desk.type_change(CHANGE, LONG, "");
            terminal.wait_for("packets dropped").unwrap();
            desk.agent.json(words).unwrap();
            desk.assert_ends(&terminal, code, said);
        }
    });
}

#[test]
fn yes_and_confirm_within_ask_nothing_on_a_terminal() {
    at_a_desk(|desk| {
        let within = format!("{CHANGE} --confirm-within 1m");
        let terminal = desk.type_change(&within, LONG, "");
        desk.assert_ends(&terminal, 0, "`geofilter confirm` keeps it");
        desk.assert_in_force("pending", &CHANGED);
        let terminal = desk.type_change(&format!("{CHANGE} --yes"), LONG, "");
        desk.assert_ends(&terminal, 0, "enforcing: allow CN ES");
        desk.assert_in_force("enforcing", &CHANGED);
    });
}

#[test]
fn with_json_the_document_goes_to_standard_output_and_the_questions_do_not() {
    at_a_desk(|desk| {
        let document = desk.folder.path().join("document");
        let change = format!("{CHANGE} --json >{}", document.display());
        let terminal = desk.type_change(&change, LONG, "");
        terminal.wait_for("s left.").unwrap();
        terminal.press(&["y"]).unwrap();
        desk.assert_ends(&terminal, 0, "pending");
        let document: Value = serde_json::from_slice(&fs::read(document).unwrap()).unwrap();
        assert_eq!((&document["schema"], &document["state"]), (&json!(1), &json!("enforcing")));
    });
}

/// The seconds left, as the screen has them.
fn seconds_left(screen: &str) -> Option<u64> {
    let words: Vec<&str> = screen.split_whitespace().collect();
    let at = words.windows(3).rposition(|words| words[1..] == ["s", "left."])?;
    words[at].parse().ok()
}

fn wait_until(holds: impl Fn() -> bool) {
    let since = Instant::now();
    while !holds() {
        assert!(since.elapsed() < PATIENCE);
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn top_shows_drops_as_they_come_and_leaves_the_terminal_as_it_was() {
    at_a_desk(|desk| {
        let terminal = desk.type_change("top", LONG, "");
        terminal.wait_for("allow ES (generation 1)").unwrap();
        for _ in 0..3 {
            assert!(!desk.reached());
        }
        let source = desk.abroad.local_addr().unwrap().ip().to_string();
        let screen = terminal.wait_for("INVITE").unwrap();
        assert!(screen.contains(&source), "the log names them:\n{screen}");
        terminal.wait_for("CN China").unwrap();
        let since = Instant::now();
        while terminal.screen().unwrap().matches(&source).count() < 2 {
            assert!(since.elapsed() < PATIENCE, "{}", terminal.screen().unwrap());
            thread::sleep(Duration::from_millis(50));
        }
        // An agent that dies is said to, and shown again when it is back.
        desk.agent.kill().unwrap();
        terminal.wait_for("no agent answers").unwrap();
        desk.agent.restart(None).unwrap();
        let since = Instant::now();
        while terminal.screen().unwrap().contains("no agent answers") {
            assert!(since.elapsed() < PATIENCE, "{}", terminal.screen().unwrap());
            thread::sleep(Duration::from_millis(50));
        }
        terminal.press(&["q"]).unwrap();
        desk.assert_ends(&terminal, 0, "");
        assert!(!terminal.screen().unwrap().contains("GeoFilter"), "the screen is as it was");
        desk.assert_in_force("enforcing", &["ES"]);
    });
}

#[test]
fn a_job_in_the_background_is_told_that_nobody_can_be_asked() {
    at_a_desk(|desk| {
        let (geofilter, socket) = (binary().unwrap(), desk.agent.socket());
        let (geofilter, socket) = (geofilter.display(), socket.display());
        let words = format!("set -m; {geofilter} allow PT --socket {socket} & wait $!");
        let terminal = Terminal::start(&desk.phones.site.host, &words, &[]).unwrap();
        terminal.wait_for("without a terminal nobody can be asked").unwrap();
        assert_eq!(terminal.exit_code().unwrap(), 2);
        desk.assert_in_force("enforcing", &["ES"]);
    });
}

#[test]
fn top_ends_with_its_terminal_and_without_a_panic() {
    at_a_desk(|desk| {
        let (geofilter, socket) = (binary().unwrap(), desk.agent.socket());
        let code = desk.agent.state_dir().with_file_name("code");
        let words = format!(
            "trap '' HUP; {} top --socket {}; echo $? >{code}.new; mv {code}.new {code}",
            geofilter.display(),
            socket.display(),
            code = code.display()
        );
        let terminal = Terminal::start(&desk.phones.site.host, &words, &[]).unwrap();
        terminal.wait_for("Drops, the latest first").unwrap();
        terminal.close().unwrap();
        wait_until(|| code.exists());
        assert_ne!(std::fs::read_to_string(code).unwrap().trim(), "101");
    });
}

#[test]
fn top_without_a_terminal_prints_json_or_says_what_else_there_is() {
    at_a_desk(|desk| {
        assert_eq!(desk.agent.ask(&["top"]).unwrap().status.code(), Some(2));
        assert!(!desk.reached());
        let top = desk.agent.json(&["top"]).unwrap();
        assert_eq!((&top["schema"], &top["state"]), (&json!(1), &json!("enforcing")));
        assert_eq!(top["countries"][0]["country"], "CN");
        let source = desk.abroad.local_addr().unwrap().ip().to_string();
        let sources = top["sources"].as_array().unwrap();
        assert!(sources.iter().any(|it| it["source"] == source && it["dropped"] == 1), "{top}");
    });
}
