//! [`Doctor`]: how `doctor` is run on a host, and [`Report`], what it says.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use geofilter_lab::asterisk::{Asterisk, Config};
use geofilter_lab::fail2ban::{Fail2ban, asterisk_jail};
use geofilter_lab::namespace::Namespace;
use geofilter_lab::process::{Agent, binary};
use geofilter_lab::sip;
use geofilter_lab::site::{PBX_V4, SIP, Site, WAN, next};
use serde_json::Value;
use tempfile::TempDir;

/// What no host here can be without: the clock and the data are as they are, and the PBXs of other tests
/// are seen from everywhere.
pub(crate) const GIVEN: [&str; 5] = [
    "clock-not-synchronised",
    "world-data-old",
    "fail2ban-blind-to-floods",
    "container",
    "host-not-seen",
];
/// A provider in China and a phone there, which `allow ES` drops.
pub(crate) const PROVIDER: Ipv4Addr = Ipv4Addr::new(1, 2, 4, 16);
pub(crate) const PHONE: Ipv4Addr = Ipv4Addr::new(1, 2, 8, 77);

/// How `doctor` is run.
pub(crate) struct Doctor {
    pub(crate) folder: TempDir,
    /// What is mounted before, in shell.
    mounts: String,
    /// Folders with programs, before those of the host.
    programs: Vec<PathBuf>,
    /// What runs it with less than root's rights.
    less: Vec<&'static str>,
    config: String,
}

impl Doctor {
    /// For a host without an agent.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dirs = ["state", "run"].map(|name| folder.path().join(name));
        let config =
            format!("state-dir = '{}'\nruntime-dir = '{}'\n", dirs[0].display(), dirs[1].display());
        // Most machines have one, which the agent uses.
        let mounts =
            "[ \"$(stat -f -c %T /sys/fs/bpf)\" = bpf_fs ] || mount -t bpf bpf /sys/fs/bpf\n"
                .to_owned();
        Self { folder, mounts, programs: Vec::new(), less: Vec::new(), config }
    }

    pub(crate) fn of(agent: &Agent<'_>) -> Self {
        let dirs = [agent.state_dir(), agent.runtime_dir()];
        let config =
            format!("state-dir = '{}'\nruntime-dir = '{}'\n", dirs[0].display(), dirs[1].display());
        Self { config, ..Self::new() }
    }

    pub(crate) fn with(mut self, fail2ban: &Fail2ban) -> Self {
        self.programs.push(fail2ban.programs());
        self
    }

    pub(crate) fn mount(mut self, lines: &str) -> Self {
        self.mounts.push_str(lines);
        self.mounts.push('\n');
        self
    }

    /// Puts a text in the place of a file, if there is one.
    pub(crate) fn file(self, path: &str, text: &str) -> Self {
        let name = self.folder.path().join(path.replace('/', "_"));
        fs::write(&name, text).unwrap();
        self.mount(&format!("mount --bind {} {path}", name.display()))
    }

    pub(crate) fn less(mut self, words: &[&'static str]) -> Self {
        self.less = words.to_vec();
        self
    }

    pub(crate) fn configured(mut self, lines: &str) -> Self {
        self.config.push_str(lines);
        self
    }

    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let config = self.folder.path().join("config.toml");
        fs::write(&config, &self.config).unwrap();
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-ec"]);
        command.arg(format!("{}exec \"$@\"", self.mounts)).arg("sh").args(&self.less);
        command.arg(binary().unwrap()).arg("doctor").args(words).arg("--config").arg(config);
        let path = std::env::var_os("PATH").unwrap();
        let folders = self.programs.iter().cloned().chain(std::env::split_paths(&path));
        command.env("PATH", std::env::join_paths(folders).unwrap()).stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, host: &Namespace, words: &[&str]) -> Output {
        let mut command = self.command(words);
        host.inside(move || command.output()).unwrap().unwrap()
    }

    /// A PBX of another test that is just ending shows nothing of itself, not even its namespace, and would
    /// be taken for one of this host: then another look is taken.
    pub(crate) fn look(&self, host: &Namespace) -> Report {
        let since = Instant::now();
        loop {
            let report = report(&self.run(host, &["--json"]));
            let ghost = report.0.to_string().contains("is hidden from you");
            if !ghost || since.elapsed() > Duration::from_secs(20) {
                return report;
            }
        }
    }
}

/// What it said.
pub(crate) struct Report(pub(crate) Value);

pub(crate) fn report(output: &Output) -> Report {
    let said = String::from_utf8_lossy(&output.stderr);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{said}"));
    let problem =
        report["findings"].as_array().unwrap().iter().any(|it| it["severity"] == "problem");
    assert_eq!(output.status.code(), Some(i32::from(problem)), "{report}");
    Report(report)
}

impl Report {
    pub(crate) fn found(&self) -> Vec<&str> {
        let findings = self.0["findings"].as_array().unwrap().iter();
        findings.map(|it| it["code"].as_str().unwrap()).filter(|it| !GIVEN.contains(it)).collect()
    }

    /// All that was found under a code.
    pub(crate) fn message(&self, code: &str) -> String {
        let findings = self.0["findings"].as_array().unwrap().iter();
        let messages = findings.filter(|it| it["code"] == code).map(|it| it["message"].to_string());
        let messages = messages.collect::<Vec<_>>().join("\n");
        assert!(!messages.is_empty(), "no {code} in {}", self.0);
        messages
    }

    pub(crate) fn passed(&self, code: &str) -> bool {
        self.0["passed"].as_array().unwrap().iter().any(|it| it == code)
    }

    pub(crate) fn why_not(&self, code: &str) -> &str {
        let mut reasons = self.0["not_checked"].as_array().unwrap().iter();
        let reason = reasons.find(|it| it["code"] == code);
        reason.unwrap_or_else(|| panic!("{code} was checked: {}", self.0))["why"].as_str().unwrap()
    }

    /// These were found, and are not a word of the other report.
    pub(crate) fn only_here(&self, healthy: &Self, codes: &[&str]) {
        for code in codes {
            self.message(code);
            assert!(healthy.passed(code), "{code} did not pass: {}", healthy.0);
        }
    }
}

/// An Asterisk as it should be.
pub(crate) fn asterisk() -> Config {
    Config::new()
        .without("chan_iax2")
        .logger("messages.log => notice,warning,error\nsecurity.log => security\n")
        .endpoint("1001")
        .trunk_qualified_every("carrier", 0, SocketAddr::from((PROVIDER, 5080)))
}

pub(crate) fn enforcing<'a>(host: &'a Namespace, backend: &str) -> Agent<'a> {
    let agent = Agent::start(host, &["--backend", backend, "--interface", WAN]).unwrap();
    agent.json(&["allow", "ES", "--yes", "--accept-risk", "lose-trunk"]).unwrap();
    agent
}

pub(crate) const IGNORE: &str = "ignorecommand = geofilter protected <ip> --quiet";

pub(crate) fn jail_of(asterisk: &Asterisk, more: &str) -> String {
    asterisk_jail(&[&asterisk.logs().join("security.log")], more)
}

/// A device registers, and goes on listening.
pub(crate) fn register(site: &Site) -> UdpSocket {
    let phone = site.anywhere(PHONE, 5066).unwrap();
    let request = sip::register(phone.local_addr().unwrap(), "UDP", 1001);
    phone.send_to(request.as_bytes(), (PBX_V4, SIP)).unwrap();
    assert!(sip::is_success(next(&phone).unwrap().0.as_bytes()));
    phone
}

/// Waits until the agent has taken from the PBX what it is configured with.
pub(crate) fn wait_for_peers(agent: &Agent<'_>) {
    let since = Instant::now();
    while agent.json(&["peer", "list"]).unwrap()["peers"].as_array().unwrap().is_empty() {
        assert!(since.elapsed() < Duration::from_secs(30), "{}", agent.log());
        std::thread::sleep(Duration::from_millis(50));
    }
}
