//! Promise 10: what others take away of the filter is put back within a second by the agent, and said; with the agent dead
//! the next one puts it back.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::time::{Duration, Instant};

use geofilter_core::geodata::embedded;
use geofilter_lab::addresses::Addresses;
use geofilter_lab::awaited::within;
use geofilter_lab::phones::{INVITE, Phones, REGISTER};
use geofilter_lab::process::Agent;
use geofilter_lab::site::{SIP, Site, WAN};
use geofilter_lab::vandals::{Bpffs, Deed, empty_the_kernel, of_another_layout, pinned};
use serde_json::{Value, json};

const SECOND: Duration = Duration::from_secs(1);
/// What is taken away here is of BPF; for nftables see nft.rs and devices.rs.
const BACKENDS: [&str; 3] = ["xdp", "tc", "clsact"];

/// A host that lets in Spain alone, and somebody in China.
struct Scene<'a> {
    backend: &'a str,
    site: &'a Site,
    phones: &'a Phones<'a>,
    agent: Agent<'a>,
    china: std::net::Ipv4Addr,
}

fn with_scenes(backends: &[&str], test: impl Fn(&mut Scene<'_>)) {
    let world = embedded::world().unwrap().world;
    let addresses = Addresses::new(&world);
    for backend in backends {
        println!("backend {backend}");
        let site = Site::new().unwrap();
        let phones = Phones::new(&site, &addresses);
        let words = ["--backend", backend, "--interface", WAN];
        let mut agent = Agent::prepare(&site.host, &words).unwrap();
        let _bpffs = Bpffs::of(&agent);
        agent.restart(None).unwrap();
        agent.json(&["allow", "ES", "--yes"]).unwrap();
        let china = addresses.v4("CN");
        test(&mut Scene { backend, site: &site, phones: &phones, agent, china });
    }
}

impl Scene<'_> {
    /// Whether China reaches the PBX. Spain does in any case, or this fails.
    fn is_open(&self) -> bool {
        self.phones.lets_in(self.china)
    }

    fn status(&self) -> Value {
        self.agent.json(&["status"]).unwrap()
    }

    /// Nobody gets in from so long after this moment on.
    fn closes_within_a_second_of(&self, since: Instant) {
        let (mut last, mut dropped) = (None, 0);
        while dropped < 100 {
            let sent = since.elapsed();
            assert!(sent < 5 * SECOND, "{}: it stays open", self.backend);
            match self.is_open() {
                true => (last, dropped) = (Some(sent), 0),
                false => dropped += 1,
            }
        }
        println!("{}: somebody got in last after {last:?}", self.backend);
        assert!(last.is_none_or(|last| last < SECOND), "{}: {last:?}", self.backend);
    }

    /// It is so by then, or this fails.
    fn within_a_second_of(&self, since: Instant, what: &str, is_so: impl Fn() -> bool) {
        within(SECOND, since, is_so, || format!("{}: {what}: {}", self.backend, self.agent.log()));
    }

    /// `status` and the log say what happened.
    fn says(&self, what: &str) {
        let since = Instant::now();
        self.within_a_second_of(since, what, || {
            self.status()["warnings"].to_string().contains(what)
        });
        let warnings = self.status()["warnings"].to_string();
        assert!(warnings.contains("look for who does that"), "{warnings}");
        assert!(self.agent.log().contains(what), "{}", self.agent.log());
    }

    /// A change is in force, whatever is left over of before, and nothing remains of it all.
    fn serves_and_leaves_nothing(&self) {
        self.agent.json(&["allow", "ES", "CN", "--yes"]).unwrap();
        assert!(self.is_open(), "{}: something judges by an old policy", self.backend);
        self.agent.json(&["allow", "ES", "--yes"]).unwrap();
        assert!(!self.is_open());
        let proof = self.agent.json(&["off"]).unwrap()["proof"].clone();
        assert_eq!(proof["clean"], true, "{}: {proof}", self.backend);
        assert!(self.is_open());
        self.agent.json(&["allow", "ES", "--yes"]).unwrap();
    }
}

#[test]
fn what_others_take_away_is_back_within_a_second_and_said() {
    with_scenes(&BACKENDS, |scene| {
        for deed in Deed::of(scene.backend) {
            println!("{deed:?}");
            let before = pinned(&scene.agent);
            let since = Instant::now();
            deed.commit(scene.site, &scene.agent);
            if deed.spares(scene.backend)[0] {
                assert!((0..100).all(|_| !scene.is_open()), "{deed:?}");
            }
            scene.closes_within_a_second_of(since);
            scene.within_a_second_of(since, "it is pinned", || pinned(&scene.agent) == before);
            scene.says(match deed {
                Deed::Detach | Deed::DeleteQdisc | Deed::DeleteFilters => "was taken off wan0",
                Deed::RemoveLinks | Deed::RemoveMaps | Deed::RemoveFolder | Deed::Unmount => {
                    "was pinned again"
                }
            });
            // It needs the agent no more than before.
            scene.agent.kill().unwrap();
            assert!(!scene.is_open(), "{} {deed:?}", scene.backend);
            scene.agent.restart(None).unwrap();
            assert!(!scene.is_open());
            assert_eq!(scene.status()["warnings"], json!([]));
        }
        scene.serves_and_leaves_nothing();
    });
}

#[test]
fn what_is_taken_away_while_no_agent_runs_is_put_back_by_the_next_one() {
    with_scenes(&BACKENDS, |scene| {
        for deed in Deed::of(scene.backend) {
            println!("{deed:?}");
            scene.agent.kill().unwrap();
            deed.commit(scene.site, &scene.agent);
            match deed.spares(scene.backend)[1] {
                true => assert!((0..100).all(|_| !scene.is_open()), "{deed:?}"),
                // The kernel lets go of a link a moment after its last pin.
                false => scene.within_a_second_of(Instant::now(), "it is open", || scene.is_open()),
            }
            scene.agent.restart(None).unwrap();
            assert!(!scene.is_open(), "{} {deed:?}", scene.backend);
            assert_eq!(scene.status()["state"], "enforcing");
        }
        scene.serves_and_leaves_nothing();
    });
}

#[test]
fn a_trunk_outlives_an_upgrade_that_changes_the_layout() {
    with_scenes(&BACKENDS, |scene| {
        let trunk = scene.phones.somebody(scene.china, SIP);
        let passes = || scene.phones.reaches(&trunk, INVITE);
        assert!(!passes());
        scene.phones.pbx_sends(&trunk, REGISTER);
        assert!(passes());
        scene.agent.kill().unwrap();
        of_another_layout(&scene.agent);
        // Whoever's tracker is in place learns meanwhile.
        let mut others = Vec::new();
        for (fault, port) in ["attach-folder", "attach-loaded", "attach-filled", "attach-done"]
            .into_iter()
            .zip(SIP + 1..)
        {
            scene.agent.restart(Some(fault)).unwrap();
            assert!(passes(), "{} {fault}", scene.backend);
            let other = scene.phones.somebody(scene.china, port);
            scene.phones.pbx_sends(&other, REGISTER);
            others.push(other);
        }
        scene.agent.restart(None).unwrap();
        assert!(passes(), "{}", scene.backend);
        for other in others {
            assert!(scene.phones.reaches(&other, INVITE), "{} {other:?}", scene.backend);
        }
        assert!(!scene.is_open());
        assert_eq!(scene.status()["warnings"], json!([]));
        scene.serves_and_leaves_nothing();
    });
}

#[test]
fn killed_while_it_puts_something_back_the_next_one_does() {
    with_scenes(&BACKENDS, |scene| {
        let faults: &[(Deed, &str)] = match scene.backend {
            "clsact" => &[
                (Deed::DeleteQdisc, "clsact-marked"),
                (Deed::DeleteQdisc, "clsact-added"),
                (Deed::DeleteFilters, "filter-marked"),
                (Deed::RemoveFolder, "links-pinned-again"),
            ],
            _ => &[
                (Deed::Detach, "attach-linked"),
                (Deed::Detach, "attach-pinned"),
                (Deed::RemoveFolder, "links-pinned-again"),
            ],
        };
        for (deed, fault) in faults {
            println!("{deed:?} {fault}");
            scene.agent.arm(fault).unwrap();
            deed.commit(scene.site, &scene.agent);
            scene.agent.wait_for_the_end().unwrap();
            scene.agent.arm("").unwrap();
            scene.agent.restart(None).unwrap();
            assert!(!scene.is_open(), "{} {deed:?}", scene.backend);
            scene.agent.kill().unwrap();
            assert!(!scene.is_open(), "{} {deed:?}", scene.backend);
            scene.agent.restart(None).unwrap();
        }
        scene.serves_and_leaves_nothing();
    });
}

#[test]
fn an_interface_that_is_made_again_is_protected_within_a_second_or_by_the_next_agent() {
    with_scenes(&BACKENDS, |scene| {
        let (site, backend) = (scene.site, scene.backend);
        site.host.ip(&format!("link del {WAN}")).unwrap();
        let status = scene.status();
        assert_eq!(status["attachments"], json!([]));
        assert!(status["warnings"].to_string().contains(WAN), "{status}");
        let since = Instant::now();
        site.wire().unwrap();
        scene.closes_within_a_second_of(since);
        assert_eq!(scene.status()["attachments"][0]["interface"], WAN);
        assert!(scene.agent.log().contains("attached to an interface that came"));
        scene.agent.kill().unwrap();
        site.host.ip(&format!("link del {WAN}")).unwrap();
        site.wire().unwrap();
        assert!(scene.is_open(), "{backend}: nobody is there to attach to it");
        scene.agent.restart(None).unwrap();
        assert!(!scene.is_open(), "{backend}");
        scene.serves_and_leaves_nothing();
    });
}

#[test]
fn a_state_folder_that_is_removed_is_written_again_within_a_second() {
    with_scenes(&["tc"], |scene| {
        let dir = scene.agent.state_dir();
        scene.agent.json(&["exempt", "add", "192.0.2.0/24", "--note", "kept"]).unwrap();
        let exempt = scene.agent.json(&["exempt", "list"]).unwrap();
        let files = ["state.json", "confirmed.json", "interfaces.json", "overrides.jsonl"];
        let are_there = || files.iter().all(|file| dir.join(file).exists());
        assert!(are_there());
        let since = Instant::now();
        fs::remove_dir_all(&dir).unwrap();
        scene.within_a_second_of(since, "the files are back", are_there);
        scene.says("could not be found in");
        scene.agent.json(&["exempt", "add", "198.51.100.0/24"]).unwrap();
        scene.agent.json(&["exempt", "remove", "198.51.100.0/24"]).unwrap();
        // What was before the filter can't be known any more: nothing else is claimed.
        scene.agent.kill().unwrap();
        scene.agent.restart(None).unwrap();
        let off = scene.agent.json(&["off"]).unwrap();
        assert_eq!(off["proof"], Value::Null);
        assert!(off["warnings"].to_string().contains("could not be proven"), "{off}");
        scene.agent.json(&["allow", "ES", "--yes"]).unwrap();
        // The next boot finds what was written again.
        scene.agent.kill().unwrap();
        empty_the_kernel(scene.site, &scene.agent);
        scene.agent.restart(None).unwrap();
        assert!(!scene.is_open());
        assert_eq!(scene.agent.json(&["exempt", "list"]).unwrap(), exempt);
    });
}

#[test]
fn sockets_that_are_removed_are_there_again_within_a_second() {
    with_scenes(&["tc"], |scene| {
        let is_asked = || scene.agent.ask(&["status"]).unwrap().status.success();
        for _ in 0..3 {
            let since = Instant::now();
            for file in ["agent.sock", "agent.lock"] {
                fs::remove_file(scene.agent.runtime_dir().join(file)).unwrap();
            }
            assert!(!scene.is_open());
            scene.within_a_second_of(since, "it can be asked", is_asked);
        }
        scene.says("what the agent listens on was removed");
        // Nobody else can take its place.
        let mut other = std::process::Command::new(geofilter_lab::process::binary().unwrap());
        let dirs = [scene.agent.state_dir(), scene.agent.runtime_dir()];
        other.args(["agent", "--interface", "lo", "--state-dir"]).arg(&dirs[0]);
        other.arg("--runtime-dir").arg(&dirs[1]);
        let said = String::from_utf8(other.output().unwrap().stderr).unwrap();
        assert!(said.contains("another agent"), "{said}");
        scene.serves_and_leaves_nothing();
    });
}
