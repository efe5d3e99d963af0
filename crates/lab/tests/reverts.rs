//! Promise 4: turning it off leaves the machine as it was, also after `kill -9` at any step, beside
//! whatever others have set up.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use geofilter_dataplane::baseline::{Baseline, Traces};
use geofilter_lab::namespace::Namespace;
use geofilter_lab::neighbours::{Neighbour, load_ruleset, snapshot};
use geofilter_lab::process::Agent;
use geofilter_lab::site::{Site, WAN};
use serde_json::Value;

const BACKENDS: [&str; 3] = ["xdp", "tc", "clsact"];

/// Every point at which the data plane can be killed.
const FAULTS: [&str; 16] = [
    "attach-start",
    "attach-folder",
    "attach-loaded",
    "attach-filled",
    "attach-linked",
    "attach-pinned",
    "attach-done",
    "apply-start",
    "apply-stored",
    "swap-filled",
    "swap-switched",
    "swap-passed",
    "detach-start",
    "detach-passing",
    "detach-released",
    "detach-unpinned",
];

/// And those of a filter on a clsact qdisc, in place of linking and pinning.
const CLSACT_FAULTS: [&str; 3] = ["clsact-marked", "clsact-added", "filter-marked"];

/// The machine twice: as the usual tools print it, and as the product captures it.
struct Machine {
    tools: String,
    baseline: Baseline,
}

impl Machine {
    fn capture(host: &Namespace) -> Self {
        let baseline = host.inside(Baseline::capture).unwrap().unwrap();
        Self { tools: snapshot(host).unwrap(), baseline }
    }

    fn assert_equals(&self, host: &Namespace, agent: &Agent<'_>) {
        let now = Self::capture(host);
        let nobody = Traces { paths: Vec::new(), interfaces: Vec::new(), table: String::new() };
        let missing = |from: &str, other: &str| -> Vec<String> {
            let lines: Vec<&str> = other.lines().collect();
            from.lines().filter(|line| !lines.contains(line)).map(str::to_owned).collect()
        };
        let (gone, new) = (missing(&self.tools, &now.tools), missing(&now.tools, &self.tools));
        assert!(gone.is_empty() && new.is_empty(), "gone: {gone:#?}, new: {new:#?}");
        let proof = self.baseline.compare(&now.baseline, &nobody);
        // What others mount on this machine, and pin there, comes and goes.
        let ours = |area: &str| !["mounts", "pinned BPF objects"].contains(&area);
        assert!(!proof.theirs.iter().any(|it| ours(&it.area)), "{:?}", proof.theirs);
        let pins = std::fs::exists(agent.runtime_dir().join("bpf")).unwrap();
        assert!(!pins, "the pins are still there");
    }
}

fn off(agent: &Agent<'_>) -> Value {
    let proof = agent.json(&["off"]).unwrap()["proof"].clone();
    assert_eq!(proof["clean"], true, "{proof}");
    proof
}

#[test]
fn off_leaves_the_machine_as_it_was_beside_any_neighbour() {
    for backend in ["auto", "xdp", "tc", "clsact", "nft"] {
        for neighbour in Neighbour::ALL {
            if (backend, neighbour) == ("xdp", Neighbour::Xdp) {
                continue; // Refused: see `an_interface_that_another_program_holds_is_named`.
            }
            let site = Site::new().unwrap();
            neighbour.move_in(&site.host).unwrap();
            let before = Machine::capture(&site.host);
            let words = ["--backend", backend, "--interface", WAN];
            let agent = Agent::start(&site.host, &words).unwrap();
            agent.json(&["allow", "ES", "--yes"]).unwrap();
            agent.json(&["observe"]).unwrap();
            let proof = off(&agent);
            assert!(proof["compared"].as_object().unwrap().len() >= 7);
            before.assert_equals(&site.host, &agent);
            // And again, on the same machine by the same agent.
            agent.json(&["block", "CN", "--yes"]).unwrap();
            off(&agent);
            before.assert_equals(&site.host, &agent);
        }
    }
}

#[test]
fn killed_at_any_step_it_can_be_taken_up_and_turned_off() {
    for backend in BACKENDS {
        let of_clsact = CLSACT_FAULTS.iter().filter(|_| backend == "clsact");
        for fault in FAULTS.iter().chain(of_clsact).copied() {
            if backend == "clsact" && fault == "attach-linked" {
                continue; // There is no link.
            }
            let site = Site::new().unwrap();
            Neighbour::Firewall.move_in(&site.host).unwrap();
            Neighbour::Fail2ban.move_in(&site.host).unwrap();
            // With a clsact of others none of ours is added.
            if backend != "clsact" {
                Neighbour::Clsact.move_in(&site.host).unwrap();
            }
            let before = Machine::capture(&site.host);
            let words = ["--backend", backend, "--interface", WAN];
            let mut agent = Agent::prepare(&site.host, &words).unwrap();
            drive_into(&mut agent, fault);
            agent.kill().unwrap();
            agent.restart(None).unwrap();
            let status = agent.json(&["status"]).unwrap();
            match fault {
                // The first change did not finish, or `off` had begun to: off or the whole policy.
                _ if !fault.starts_with("apply") && !fault.starts_with("swap") => {
                    assert!(["off", "enforcing"].contains(&status["state"].as_str().unwrap()));
                }
                _ => {
                    assert_eq!(status["state"], "enforcing", "{backend} {fault}");
                    let countries = &status["countries"];
                    assert!(countries[0] == "ES" || countries[0] == "PT");
                    assert_eq!(countries.as_array().unwrap().len(), 1);
                }
            }
            off(&agent);
            before.assert_equals(&site.host, &agent);
        }
    }
}

/// Goes through the life of a filter until the fault point kills the agent.
fn drive_into(agent: &mut Agent<'_>, fault: &str) {
    if fault.starts_with("swap") {
        // A restart swaps the table of the agent before.
        agent.restart(None).unwrap();
        agent.json(&["allow", "ES", "--yes"]).unwrap();
        agent.kill().unwrap();
    }
    agent.restart(Some(fault)).unwrap();
    for words in [&["allow", "ES", "--yes"][..], &["allow", "PT", "--yes"], &["off"]] {
        if agent.ended().unwrap() {
            return;
        }
        if !agent.ask(words).unwrap().status.success() {
            return agent.wait_for_the_end().unwrap();
        }
    }
    panic!("nothing passes the fault point {fault}");
}

/// What `tc filter show` says of the filters of others: ours has a priority of its own.
fn without_ours(filters: &str) -> String {
    let priority = |line: &str| {
        line.split_whitespace().skip_while(|word| *word != "pref").nth(1).map(str::to_owned)
    };
    let ours = filters.lines().find(|line| line.contains("gf_track")).and_then(priority);
    let theirs = filters.lines().filter(|line| ours.is_none() || priority(line) != ours);
    theirs.map(|line| format!("{line}\n")).collect()
}

#[test]
fn what_others_change_meanwhile_is_listed_as_theirs() {
    for backend in BACKENDS {
        let site = Site::new().unwrap();
        Neighbour::Firewall.move_in(&site.host).unwrap();
        let words = ["--backend", backend, "--interface", WAN];
        let agent = Agent::start(&site.host, &words).unwrap();
        agent.json(&["allow", "ES", "--yes"]).unwrap();
        load_ruleset(&site.host, "table inet newcomer { }\ndelete table inet filter").unwrap();
        if backend == "clsact" {
            // Others make use of the qdisc that we added: it must stay, as theirs.
            Neighbour::filter_on_clsact(&site.host, 5).unwrap();
        } else {
            Neighbour::Clsact.move_in(&site.host).unwrap();
        }
        let filters =
            || site.host.command("tc", &["filter", "show", "dev", WAN, "egress"]).unwrap();
        let theirs_before = without_ours(&filters());
        let meanwhile = site.host.command("nft", &["list", "ruleset"]).unwrap();
        let proof = off(&agent);
        let theirs = proof["changed_by_others"].to_string();
        assert_eq!(filters(), theirs_before);
        assert!(theirs.contains("newcomer") && theirs.contains("clsact"), "{theirs}");
        assert!(theirs.contains("filter"), "{theirs}");
        assert_eq!(site.host.command("nft", &["list", "ruleset"]).unwrap(), meanwhile);
    }
}

#[test]
fn an_interface_that_another_program_holds_is_named() {
    let site = Site::new().unwrap();
    Neighbour::Xdp.move_in(&site.host).unwrap();
    let before = Machine::capture(&site.host);
    let agent = Agent::start(&site.host, &["--backend", "xdp", "--interface", WAN]).unwrap();
    let refused = agent.ask(&["allow", "ES", "--yes"]).unwrap();
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("XDP program with id") && said.contains("--backend tc"), "{said}");
    before.assert_equals(&site.host, &agent);
}
