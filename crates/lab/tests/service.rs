//! The agent as a service: what systemd is told of it, and a configuration that is read anew.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::Duration;

use geofilter_lab::guarded::Guarded;
use geofilter_lab::process::Agent;
use geofilter_lab::site::{Site, WAN};
use rustix::process::Signal;
use tempfile::TempDir;

/// Of Spain.
const MADRID: Ipv4Addr = Ipv4Addr::new(80, 58, 61, 250);
/// By then systemd has been told.
const TOLD: Duration = Duration::from_secs(10);

/// systemd's end of what it is told.
struct Systemd {
    folder: TempDir,
    socket: UnixDatagram,
}

impl Systemd {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(TOLD)).unwrap();
        Self { folder, socket }
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("geofilter.toml")
    }

    /// Starts an agent with this configuration, as systemd does with a watchdog of 0.6 s.
    fn start<'a>(&self, site: &'a Site, config: &str) -> Agent<'a> {
        fs::write(self.config(), config).unwrap();
        let config = self.config();
        let words = ["--interface", WAN, "--config", config.to_str().unwrap()];
        let mut agent = Agent::prepare(&site.host, &words).unwrap();
        agent
            .with_environment("NOTIFY_SOCKET", self.folder.path().join("notify").to_str().unwrap());
        agent.with_environment("WATCHDOG_USEC", "600000");
        agent.restart(None).unwrap();
        agent
    }

    /// Waits until it is told this, and returns all of what was told with it.
    fn hears(&self, wanted: &str) -> String {
        let mut text = [0; 4096];
        loop {
            let length = self.socket.recv(&mut text).unwrap();
            let text = std::str::from_utf8(&text[..length]).unwrap();
            if text.lines().any(|line| line == wanted) {
                return text.to_owned();
            }
        }
    }
}

#[test]
fn systemd_is_told_that_the_agent_is_ready_works_and_ends() {
    let site = Site::new().unwrap();
    let systemd = Systemd::new();
    let mut agent = systemd.start(&site, "schema = 1\n");
    systemd.hears("READY=1");
    for _ in 0..5 {
        systemd.hears("WATCHDOG=1");
    }
    agent.signal(Signal::TERM).unwrap();
    systemd.hears("STOPPING=1");
    agent.wait_for_the_end().unwrap();
}

#[test]
fn a_configuration_is_read_anew_or_what_was_in_force_stays() {
    let site = Site::new().unwrap();
    let systemd = Systemd::new();
    let corrections = systemd.folder.path().join("corrections.csv");
    fs::write(&corrections, "80.58.61.0/24,CN\n").unwrap();
    let agent = systemd.start(&site, "");
    systemd.hears("READY=1");
    let guarded = Guarded::new(&site, &agent);
    assert!(guarded.arrives(MADRID.into()));
    let reload = |config: &str| {
        fs::write(systemd.config(), config).unwrap();
        agent.signal(Signal::HUP).unwrap();
        assert!(systemd.hears("RELOADING=1").contains("MONOTONIC_USEC="));
        systemd.hears("READY=1");
    };
    let corrected = format!("[geodata]\ncorrections = '{}'\n", corrections.display());
    reload(&corrected);
    // It is asked in turn, after the reload.
    agent.json(&["status"]).unwrap();
    assert!(!guarded.arrives(MADRID.into()));

    // What makes no sense changes nothing, and is said.
    reload("[geodata]\ncorections = 'x'\n");
    assert!(agent.log().contains("corections"), "{}", agent.log());
    reload("schema = 2\nmore = true\n");
    assert!(agent.log().contains("schema 2"), "{}", agent.log());
    agent.json(&["status"]).unwrap();
    assert!(!guarded.arrives(MADRID.into()));
    reload("backend = 'tc'\n");
    agent.json(&["status"]).unwrap();
    assert!(agent.log().contains("backend"), "it holds after a restart: {}", agent.log());
    assert!(guarded.arrives(MADRID.into()), "nothing is corrected any more");
}

#[test]
fn a_configuration_is_checked_before_it_is_used() {
    let site = Site::new().unwrap();
    let systemd = Systemd::new();
    let agent = Agent::prepare(&site.host, &[]).unwrap();
    let check = |config: &str| {
        fs::write(systemd.config(), config).unwrap();
        let output = agent.ask(&["check", "--config", systemd.config().to_str().unwrap()]).unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    };
    let good = format!("schema = 1\ninterfaces = ['{WAN}']\n");
    assert_eq!(check(&good).0, 0, "{}", check(&good).1);
    // All that is wrong is said at once.
    let (code, said) = check(
        "interfaces = ['eth9']\n[portal]\nuser = 'nobody-there'\n[asterisk]\nami-user = 'a'\nami-secret-file = '/nowhere'\n\
         [geodata]\nprimary = 'maxmind'\ncorrections = '/nowhere'\n",
    );
    assert_eq!(code, 1);
    for wrong in ["eth9", "nobody-there", "ami-secret-file", "licence-key-file", "corrections"] {
        assert!(said.contains(wrong), "{wrong}: {said}");
    }
    for (config, wrong) in
        [("intefaces = []", "intefaces"), ("schema = 9", "schema 9"), ("= 1", "cannot use")]
    {
        let (code, said) = check(config);
        assert_eq!(code, 1, "{config}");
        assert!(said.contains(wrong), "{config}: {said}");
    }
}
