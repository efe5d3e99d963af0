//! The Debian package in a Debian that systemd has booted: installed, rebooted, upgraded, removed and purged, each compared
//! with the state before.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use geofilter_lab::booted::{Booted, HOST_INTERFACE, named_binary, package};
use geofilter_lab::pbx::within_patience;
use geofilter_lab::site::{PBX_V4, SIP, next};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Of Spain.
const MADRID: Ipv4Addr = Ipv4Addr::new(80, 58, 61, 250);
/// Of China.
const BEIJING: Ipv4Addr = Ipv4Addr::new(1, 12, 0, 1);

/// So long a start may take, in microseconds, on a machine that has much else to do.
const START: u64 = 2_000_000;

/// So much later the network may be there because of the agent, in the middle of some boots. A binary for tests is not
/// optimised.
fn most_delay() -> i64 {
    if named_binary().is_some() || !cfg!(debug_assertions) { 200_000 } else { 2_000_000 }
}
/// How often that is measured.
const BOOTS: usize = 7;

/// One container at a time: they would share a control group.
static TURN: Mutex<()> = Mutex::new(());

/// A Debian, and packages to install in it.
struct Machine {
    debian: Booted,
    packages: TempDir,
    _turn: MutexGuard<'static, ()>,
}

impl Machine {
    fn new() -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let debian = Booted::new().unwrap();
        Self { debian, packages: tempfile::tempdir().unwrap(), _turn: turn }
    }

    /// Makes a package of this version, and puts it there.
    fn bring(&self, version: &str) -> String {
        let made = package(version, self.packages.path()).unwrap();
        let there = format!("/root/{version}.deb");
        self.debian.copy(&made, &there).unwrap();
        there
    }

    fn run(&self, words: &str) -> String {
        self.debian.run(&words.split(' ').collect::<Vec<_>>()).unwrap()
    }

    fn json(&self, words: &str) -> Value {
        serde_json::from_str(&self.run(&format!("geofilter {words} --json"))).unwrap()
    }

    /// Whether a datagram from this address reaches the PBX; one that surely does comes behind it.
    fn passes(&self, pbx: &UdpSocket, source: Ipv4Addr) -> bool {
        self.debian.site.send(source, SIP, b"probe").unwrap();
        self.debian.site.send(MADRID, SIP, b"marker").unwrap();
        let arrived = next(pbx).unwrap().0;
        if arrived == "probe" {
            assert_eq!(next(pbx).unwrap().0, "marker");
        }
        arrived == "probe"
    }

    fn pbx(&self) -> UdpSocket {
        self.debian.site.listen(PBX_V4, SIP).unwrap()
    }

    /// How much later the network is there with the agent than without it, in microseconds: the median of some boots each.
    fn delay(&mut self) -> i64 {
        let mut delays: Vec<i64> = (0..BOOTS)
            .map(|_| {
                let [without, with] = ["disable", "enable"].map(|how| {
                    self.run(&format!("systemctl --quiet {how} geofilter"));
                    self.debian.reboot().unwrap();
                    if how == "enable" {
                        self.started_at_once();
                    }
                    let online = self.debian.active_since("network-online.target").unwrap();
                    let booting = self.debian.booting_since().unwrap();
                    (online.unwrap() - booting) as i64
                });
                println!(
                    "the network after {} ms without the agent, {} ms with it",
                    without / 1000,
                    with / 1000
                );
                with - without
            })
            .collect();
        delays.sort_unstable();
        delays[BOOTS / 2]
    }

    /// The agent runs, and did not have to be started twice: the network would have been there before it.
    fn started_at_once(&self) {
        let shown = self.run("systemctl show --property=ActiveState,NRestarts geofilter");
        let journal = || self.run("journalctl --boot --no-pager --unit geofilter");
        assert!(shown.contains("=active") && shown.contains("NRestarts=0"), "{shown}{}", journal());
    }

    /// What a package may leave behind, area by area.
    fn state(&self) -> BTreeMap<&'static str, BTreeSet<String>> {
        // What dpkg, the journal and systemd itself write down is no remains; the packages lie in /root.
        let files = "find / -xdev \\( -path /root -o -path /tmp -o -path /var/tmp -o -path /run -o -path /var/log \
             -o -path /var/lib/dpkg -o -path /var/lib/systemd -o -path /var/cache \\) -prune -o \
             ! -name '*-' -printf '%y %m %u %p %l\\n'";
        let areas = [
            ("nftables", "nft list ruleset"),
            ("links", "ip -d -o link | sed 's/ mode .*//; s/@if[0-9]*//'"),
            ("qdiscs", "tc qdisc show; tc filter show dev host0 ingress"),
            ("bpffs", "find /sys/fs/bpf -mindepth 1"),
            ("mounts", "cut -d ' ' -f 5,9- /proc/self/mountinfo"),
            ("users", "cat /etc/passwd /etc/group"),
            ("units", "systemctl list-unit-files --no-legend 'geofilter*' || true"),
            ("processes", "readlink /proc/[0-9]*/exe | grep geofilter || true"),
            ("remembered", "find /var/lib/systemd -name '*geofilter*'"),
            ("run", "find /run -name '*geofilter*'"),
            (
                "settings",
                "grep -r . /proc/sys/net/core /proc/sys/net/ipv4/conf /proc/sys/kernel/*bpf* 2>/dev/null || true",
            ),
            ("files", files),
        ];
        let lines = |line| self.debian.shell(line).unwrap().lines().map(str::to_owned).collect();
        areas.into_iter().map(|(area, line)| (area, lines(line))).collect()
    }
}

/// What differs, with its area.
fn differences(
    before: &BTreeMap<&'static str, BTreeSet<String>>,
    after: &BTreeMap<&'static str, BTreeSet<String>>,
) -> Vec<String> {
    let of = |(area, lines): (&&'static str, &BTreeSet<String>)| {
        let gone = lines.difference(&after[area]).map(|line| format!("{area}: -{line}"));
        let new = after[area].difference(lines).map(|line| format!("{area}: +{line}"));
        gone.chain(new).collect::<Vec<_>>()
    };
    before.iter().flat_map(of).collect()
}

#[test]
fn a_package_is_installed_rebooted_upgraded_removed_and_purged() {
    let mut machine = Machine::new();
    let (first, second) = (machine.bring("0.1.0~lab1"), machine.bring("0.1.0~lab2"));
    let before = machine.state();

    // It observes, and no more.
    machine.run(&format!("dpkg -i {first}"));
    assert_eq!(machine.run("systemctl is-active geofilter").trim(), "active");
    assert_eq!(machine.run("systemctl is-enabled geofilter").trim(), "enabled");
    let status = machine.json("status");
    assert_eq!(status["state"], "observing", "{status}");
    assert_eq!(status["attachments"][0]["interface"], HOST_INTERFACE);
    assert!(machine.passes(&machine.pbx(), BEIJING));
    assert_eq!(
        machine.run("geofilter check"),
        machine.run("geofilter check --config /etc/geofilter/geofilter.toml")
    );
    assert_eq!(
        machine.run("systemd-analyze verify --man=no geofilter.service geofilter-portal.service"),
        ""
    );
    machine.run("systemctl reload geofilter");
    // What it logs has its values as fields, and monitoring finds it.
    let said = machine.run("journalctl -u geofilter -o json");
    assert!(said.contains(&format!("\"GEOFILTER_INTERFACES\":\"{HOST_INTERFACE}\"")), "{said}");
    assert_eq!(machine.run("stat -c %a:%U /run/geofilter/metrics.sock"), "600:root\n");
    // The portal reaches it, once it is wanted.
    machine.run("systemctl start geofilter-portal");
    let portal =
        "systemctl is-active geofilter-portal && journalctl -u geofilter-portal --no-pager";
    assert!(machine.debian.shell(portal).unwrap().starts_with("active"));

    machine.run("geofilter allow ES --yes");
    assert!(!machine.passes(&machine.pbx(), BEIJING));

    // After a reboot it is in force before there is a network.
    machine.debian.reboot().unwrap();
    let status = machine.json("status");
    assert_eq!((&status["state"], &status["countries"]), (&json!("enforcing"), &json!(["ES"])));
    assert_eq!(status["attachments"][0]["interface"], HOST_INTERFACE);
    assert!(!machine.passes(&machine.pbx(), BEIJING));
    let active = |unit| machine.debian.active_since(unit).unwrap().unwrap();
    let ready = active("geofilter.service");
    let began = machine.debian.starting_since("geofilter.service").unwrap().unwrap();
    assert!(ready <= active("network-online.target"), "the network was there first");
    assert!(ready <= active("systemd-networkd.service"), "and nothing had set it up");
    // Nothing waits for anything of it but that it is ready.
    assert!(ready - began < START, "the network waited {} us", ready - began);
    println!(
        "in force {} ms after the agent was started, {} ms before network-online.target: {}",
        (ready - began) / 1000,
        (active("network-online.target") - ready) / 1000,
        machine.run("systemd-analyze").lines().next().unwrap()
    );

    let exposure = machine.run("systemd-analyze security geofilter --no-pager");
    println!("{}", exposure.lines().last().unwrap());
    let delay = machine.delay();
    println!("a boot takes {} ms longer", delay / 1000);
    assert!(delay < most_delay(), "{delay} us");
    let status = machine.json("status");

    // An upgrade lets nothing through, and loses nothing.
    let pins = || machine.debian.shell("ls -i /sys/fs/bpf/geofilter | grep link_").unwrap();
    let (held, agent) = (pins(), machine.run("systemctl show --value -p MainPID geofilter"));
    let pbx = machine.pbx();
    pbx.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let done = AtomicBool::new(false);
    let (sent, (arrived, foreign)) = thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let site = &machine.debian.site;
            let (abroad, home) =
                (site.anywhere(BEIJING, 0).unwrap(), site.anywhere(MADRID, 0).unwrap());
            let mut sent = 0;
            while !done.load(Ordering::Relaxed) {
                for _ in 0..20 {
                    abroad.send_to(b"abroad", (PBX_V4, SIP)).unwrap();
                }
                home.send_to(b"home", (PBX_V4, SIP)).unwrap();
                sent += 1;
                thread::sleep(Duration::from_millis(1));
            }
            sent
        });
        let receiver = scope.spawn(|| {
            let (mut home, mut foreign) = (0, 0);
            while let Ok((text, _)) = next(&pbx) {
                if text == "home" { home += 1 } else { foreign += 1 }
            }
            (home, foreign)
        });
        machine.run(&format!("dpkg -i {second}"));
        done.store(true, Ordering::Relaxed);
        (sender.join().unwrap(), receiver.join().unwrap())
    });
    println!("{sent} packets of the country that is let in, and {} of the other", sent * 20);
    assert!(sent > 100);
    assert_eq!((arrived, foreign), (sent, 0));
    assert_eq!(machine.run("dpkg-query -W -f ${Version} geofilter"), "0.1.0~lab2");
    assert_ne!(machine.run("systemctl show --value -p MainPID geofilter"), agent);
    assert_eq!(pins(), held, "the same links");
    let upgraded = machine.json("status");
    for same in ["state", "mode", "countries", "generation", "attachments"] {
        assert_eq!(upgraded[same], status[same], "{same}");
    }

    // Removed, it has taken everything out of the kernel; what was chosen is kept until it is purged.
    let said = machine.run("dpkg --remove geofilter");
    assert!(said.contains("nothing"), "{said}");
    assert!(machine.passes(&pbx, BEIJING));
    let kept = differences(&before, &machine.state());
    let expected = |line: &String| {
        [
            "/etc/geofilter",
            "/var/lib/geofilter",
            "geofilter-portal:",
            "/etc/systemd/system",
            "deb-systemd-helper",
        ]
        .iter()
        .any(|part| line.contains(part))
            || line.starts_with("units: +geofilter") && line.contains("masked")
    };
    let unexpected: Vec<&String> = kept.iter().filter(|line| !expected(line)).collect();
    assert!(unexpected.is_empty(), "{unexpected:#?}");

    // Installed again it observes as before, and is purged from there.
    machine.run(&format!("dpkg -i {second}"));
    let again = machine.json("status");
    assert_eq!(again["state"], "observing", "{again}");
    machine.run("dpkg --purge geofilter");
    assert_eq!(differences(&before, &machine.state()), Vec::<String>::new());
}

#[test]
fn installed_where_nothing_has_a_default_route_it_observes_once_there_is_one() {
    let machine = Machine::new();
    let package = machine.bring("0.1.0~lab1");
    machine.run("ip route del default");
    // Installing it does not fail.
    let said = machine.debian.shell(&format!("dpkg -i {package} 2>&1")).unwrap();
    assert!(said.contains("does not observe yet"), "{said}");
    let why = machine.run("journalctl -u geofilter --no-pager");
    assert!(why.contains("no interface has a default route"), "{why}");
    machine.run("ip route add default via 203.0.113.1");
    within_patience(|| machine.debian.shell("geofilter observe")).unwrap();
    let status = machine.json("status");
    assert_eq!(status["state"], "observing", "{status}");
    assert_eq!(status["attachments"][0]["interface"], HOST_INTERFACE);
}

#[test]
fn the_units_are_sound_and_expose_little() {
    let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/systemd");
    for unit in ["geofilter.service", "geofilter-portal.service"] {
        let mut command = Command::new("systemd-analyze");
        command.args(["security", "--no-pager", "--offline=true", "--threshold=25"]);
        let output = command.arg(units.join(unit)).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{said}");
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}
