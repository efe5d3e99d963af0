//! Promise 10: a disk that is full, or can't be written, and files that can't be read cost no policy, and are said.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use geofilter_core::geodata::embedded;
use geofilter_lab::addresses::Addresses;
use geofilter_lab::awaited::within;
use geofilter_lab::disk::SmallDisk;
use geofilter_lab::phones::Phones;
use geofilter_lab::process::Agent;
use geofilter_lab::site::{Site, WAN};
use geofilter_lab::vandals::{Bpffs, empty_the_kernel};
use serde_json::{Value, json};

/// A host that lets in Spain alone.
struct Scene<'a> {
    site: &'a Site,
    phones: &'a Phones<'a>,
    addresses: &'a Addresses<'a>,
    agent: Agent<'a>,
}

/// With the state on this disk, if there is one.
fn with_scene(backend: &str, disk: Option<&SmallDisk>, test: impl FnOnce(&mut Scene<'_>)) {
    let world = embedded::world().unwrap().world;
    let addresses = Addresses::new(&world);
    let site = Site::new().unwrap();
    let phones = Phones::new(&site, &addresses);
    let words = ["--backend", backend, "--interface", WAN];
    let mut agent = Agent::prepare(&site.host, &words).unwrap();
    let _bpffs = Bpffs::of(&agent);
    disk.into_iter().for_each(|disk| symlink(disk.path(), agent.state_dir()).unwrap());
    agent.restart(None).unwrap();
    agent.json(&["allow", "ES", "--yes"]).unwrap();
    test(&mut Scene { site: &site, phones: &phones, addresses: &addresses, agent });
}

impl Scene<'_> {
    /// Who is let in, of these countries.
    fn lets_in(&self, country: &str) -> bool {
        self.phones.lets_in(self.addresses.v4(country))
    }

    fn status(&self) -> Value {
        self.agent.json(&["status"]).unwrap()
    }

    fn warns(&self) -> String {
        self.status()["warnings"].to_string()
    }

    /// A command that must fail; what it said.
    fn refused(&self, words: &[&str]) -> String {
        let output = self.agent.ask(words).unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{words:?}: {said}");
        assert!(!self.lets_in("CN") && !self.lets_in("FR"), "{words:?}");
        said
    }

    /// A second is what the agent takes to try again, and a half to do it.
    fn soon(&self, what: &str, is_so: impl Fn() -> bool) {
        within(Duration::from_millis(1_500), Instant::now(), is_so, || {
            format!("{what}: {} {}", self.warns(), self.agent.log())
        });
    }

    fn restart(&mut self) {
        self.agent.kill().unwrap();
        self.agent.restart(None).unwrap();
    }

    fn reboot(&mut self) {
        self.agent.kill().unwrap();
        empty_the_kernel(self.site, &self.agent);
        self.agent.restart(None).unwrap();
    }
}

#[test]
fn on_a_full_disk_what_is_in_force_stays_what_can_not_be_saved_is_said_and_it_heals() {
    let disk = SmallDisk::new(256).unwrap();
    with_scene("xdp", Some(&disk), |scene| {
        scene.agent.json(&["allow", "ES", "PT", "--confirm-within", "1m"]).unwrap();
        disk.fill().unwrap();
        // What was tried already is kept, in force, and on disk once there is room.
        let kept = scene.agent.json(&["confirm"]).unwrap();
        assert!(kept["warnings"].to_string().contains("could not be saved"), "{kept}");
        assert!(scene.lets_in("PT") && !scene.lets_in("CN"));
        assert!(scene.warns().contains("could not be saved yet"), "{}", scene.warns());
        // What is new is refused.
        let said = scene.refused(&["allow", "ES", "FR", "--yes"]);
        assert!(said.contains("nothing was changed") && said.contains("No space left"), "{said}");
        for words in [["exempt", "add"], ["ban", "add"]] {
            let said = scene.refused(&[words[0], words[1], "192.0.2.1"]);
            assert!(said.contains("make room and try again"), "{said}");
            let listed = scene.agent.json(&[words[0], "list"]).unwrap();
            assert_eq!(listed["records"], json!([]));
        }
        disk.make_room().unwrap();
        scene.soon("it is saved", || scene.status()["warnings"] == json!([]));
        scene.agent.json(&["ban", "add", &scene.addresses.v4("PT").to_string()]).unwrap();
        assert!(!scene.lets_in("PT"));
        scene.reboot();
        assert_eq!(scene.status()["countries"], json!(["ES", "PT"]));
        assert!(!scene.lets_in("PT") && !scene.lets_in("CN"));
    });
}

#[test]
fn an_agent_starts_on_a_full_disk_and_writes_what_is_missing_once_there_is_room() {
    let disk = SmallDisk::new(256).unwrap();
    with_scene("tc", Some(&disk), |scene| {
        disk.fill().unwrap();
        scene.restart();
        assert!(!scene.lets_in("CN"));
        // At a boot the machine is another one, which is to be written down before the filter.
        scene.agent.kill().unwrap();
        empty_the_kernel(scene.site, &scene.agent);
        for file in ["baseline.json", "interfaces.json"] {
            fs::remove_file(disk.path().join(file)).unwrap();
        }
        disk.fill().unwrap();
        scene.agent.restart(None).unwrap();
        assert!(!scene.lets_in("CN"));
        scene.soon("it is said", || scene.warns().contains("what the next start needs"));
        assert!(scene.warns().contains("make room"), "{}", scene.warns());
        disk.make_room().unwrap();
        scene.soon("it is written", || scene.status()["warnings"] == json!([]));
        let proof = scene.agent.json(&["off"]).unwrap()["proof"].clone();
        assert_eq!(proof["clean"], true, "{proof}");
    });
}

#[test]
fn on_a_disk_that_can_not_be_written_the_filter_is_in_force_also_after_a_boot() {
    let disk = SmallDisk::new(1024).unwrap();
    with_scene("xdp", Some(&disk), |scene| {
        disk.close().unwrap();
        let said = scene.refused(&["allow", "ES", "FR", "--yes"]);
        assert!(said.contains("nothing was changed") && said.contains("Read-only"), "{said}");
        disk.open().unwrap();
        // Now with something to read, and a file that makes no sense and can't be moved.
        scene.agent.json(&["exempt", "add", &scene.addresses.v4("PT").to_string()]).unwrap();
        scene.agent.kill().unwrap();
        fs::write(disk.path().join("state.json"), "{").unwrap();
        disk.close().unwrap();
        for boots in [false, true] {
            match boots {
                true => scene.reboot(),
                false => scene.restart(),
            }
            assert!(scene.lets_in("PT") && !scene.lets_in("CN"), "{}", scene.warns());
            assert!(scene.warns().contains("was corrupt"), "{}", scene.warns());
            let said = scene.refused(&["exempt", "add", "192.0.2.1"]);
            assert!(said.contains("Read-only"), "{said}");
        }
        // It is only tried again, and found to be better.
        disk.open().unwrap();
        scene.agent.json(&["exempt", "add", &scene.addresses.v4("FR").to_string()]).unwrap();
        assert!(scene.lets_in("FR"));
        scene.agent.json(&["allow", "ES", "IT", "--yes"]).unwrap();
        scene.reboot();
        assert_eq!(scene.status()["warnings"], json!([]));
        assert!(scene.lets_in("IT") && scene.lets_in("PT") && !scene.lets_in("CN"));
    });
}

/// What can become of a file.
#[derive(Debug, Clone, Copy)]
enum Damage {
    Empty,
    Half,
    Garbage,
}

impl Damage {
    const ALL: &[Self] = &[Self::Empty, Self::Half, Self::Garbage];

    fn to(self, good: Option<&Vec<u8>>) -> Vec<u8> {
        match (self, good) {
            (Self::Empty, _) => Vec::new(),
            (Self::Half, Some(good)) => good[..good.len() / 2].to_vec(),
            (Self::Half, None) => b"{\"schema\":1,".to_vec(),
            (Self::Garbage, _) => b"\xff\x00garbage\n\xfe".to_vec(),
        }
    }
}

/// What the next start reads. Of a journal that is cut off the last line counts as never written.
const FILES: [(&str, &[Damage]); 8] = [
    ("state.json", Damage::ALL),
    ("confirmed.json", &[Damage::Half]),
    ("overrides.jsonl", &[Damage::Empty, Damage::Garbage]),
    ("interfaces.json", &[Damage::Empty]),
    ("baseline.json", &[Damage::Garbage]),
    ("evidence.json", &[Damage::Half]),
    ("geodata/current", Damage::ALL),
    ("geodata/notes.json", &[Damage::Empty]),
];

#[test]
fn a_file_that_can_not_be_read_is_said_and_what_is_in_force_stays() {
    with_scene("tc", None, |scene| {
        let dir = scene.agent.state_dir();
        scene.agent.json(&["exempt", "add", &scene.addresses.v4("PT").to_string()]).unwrap();
        fs::create_dir_all(dir.join("geodata")).unwrap();
        for (file, damages) in FILES {
            let path = dir.join(file);
            let good = fs::read(&path).ok();
            for damage in damages {
                scene.agent.kill().unwrap();
                fs::write(&path, damage.to(good.as_ref())).unwrap();
                let known = scene.agent.log().len();
                scene.agent.restart(None).unwrap();
                assert!(!scene.lets_in("CN"), "{file} {damage:?}");
                // What the exemptions were is lost with their file, where it says nothing.
                assert!(scene.lets_in("PT") || file == "overrides.jsonl", "{file} {damage:?}");
                let said = scene.warns() + &scene.agent.log()[known..];
                // The copy is read only where the state can't be.
                assert!(said.contains(file) || file == "confirmed.json", "{file}: {said}");
                scene.agent.kill().unwrap();
                match &good {
                    Some(good) => fs::write(&path, good).unwrap(),
                    None => drop(fs::remove_file(&path)),
                }
            }
        }
        scene.agent.restart(None).unwrap();
        assert_eq!(scene.status()["warnings"], json!([]));
    });
}

#[test]
fn after_a_boot_with_a_state_that_can_not_be_read_its_copy_is_in_force_or_it_is_said_that_nothing_is()
 {
    for backend in ["xdp", "clsact"] {
        with_scene(backend, None, |scene| {
            let dir = scene.agent.state_dir();
            let damage = |files: &[&str]| {
                files.iter().for_each(|file| fs::write(dir.join(file), "{").unwrap());
            };
            scene.agent.kill().unwrap();
            damage(&["state.json"]);
            scene.reboot();
            assert_eq!(scene.status()["state"], "enforcing");
            assert!(!scene.lets_in("CN") && scene.lets_in("ES"));
            assert!(scene.warns().contains("read from its copy"), "{}", scene.warns());
            // So is it after the next one.
            scene.soon("it is written again", || dir.join("state.json").exists());
            scene.reboot();
            assert!(!scene.lets_in("CN") && scene.lets_in("ES"));
            // While the kernel holds a policy that neither tells of, that stays.
            scene.agent.kill().unwrap();
            damage(&["state.json", "confirmed.json"]);
            scene.agent.restart(None).unwrap();
            assert!(!scene.lets_in("CN"));
            assert!(scene.warns().contains("what the kernel held was left in force"));
            // And without that everything passes.
            damage(&["state.json", "confirmed.json"]);
            scene.reboot();
            assert_eq!(scene.status()["state"], "off");
            assert!(scene.lets_in("CN"));
            assert!(scene.warns().contains("everything passes until you choose"));
            scene.agent.json(&["allow", "ES", "--yes"]).unwrap();
            assert!(!scene.lets_in("CN"));
        });
    }
}

#[test]
fn an_older_copy_takes_no_place_of_what_the_kernel_holds() {
    with_scene("xdp", None, |scene| {
        let dir = scene.agent.state_dir();
        let older = fs::read(dir.join("confirmed.json")).unwrap();
        scene.agent.json(&["allow", "ES", "PT", "--yes"]).unwrap();
        scene.agent.kill().unwrap();
        fs::write(dir.join("confirmed.json"), older).unwrap();
        fs::write(dir.join("state.json"), "{").unwrap();
        scene.agent.restart(None).unwrap();
        assert!(scene.lets_in("PT") && !scene.lets_in("CN"));
        assert!(scene.warns().contains("what the kernel held was left in force"));
    });
}
