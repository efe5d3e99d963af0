//! `doctor` sees each trap on a host that was prepared with it, and not on the same host without it, with
//! real agents, a real Asterisk and a real fail2ban. Its support file names nobody.
//!
//! Where a trap is a file of the kernel's, another file is mounted over it, in a mount namespace that ends
//! with the program.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::{self, Permissions};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use geofilter_lab::asterisk::{Asterisk, Config};
use geofilter_lab::fail2ban::{Fail2ban, asterisk_jail};
use geofilter_lab::namespace::Namespace;
use geofilter_lab::neighbours::{Neighbour, load_ruleset};
use geofilter_lab::process::{Agent, binary};
use geofilter_lab::sip;
use geofilter_lab::site::{PBX_V4, SIP, Site, WAN, next};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// What no host here can be without: the clock and the data are as they are, and the PBXs of other tests
/// are seen from everywhere.
const GIVEN: [&str; 5] = [
    "clock-not-synchronised",
    "world-data-old",
    "fail2ban-blind-to-floods",
    "container",
    "host-not-seen",
];
/// A provider in China and a phone there, which `allow ES` drops.
const PROVIDER: Ipv4Addr = Ipv4Addr::new(1, 2, 4, 16);
const PHONE: Ipv4Addr = Ipv4Addr::new(1, 2, 8, 77);

/// How `doctor` is run.
struct Doctor {
    folder: TempDir,
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
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dirs = ["state", "run"].map(|name| folder.path().join(name));
        let config =
            format!("state-dir = '{}'\nruntime-dir = '{}'\n", dirs[0].display(), dirs[1].display());
        let mounts = "mount -t bpf bpf /sys/fs/bpf\n".to_owned();
        Self { folder, mounts, programs: Vec::new(), less: Vec::new(), config }
    }

    fn of(agent: &Agent<'_>) -> Self {
        let dirs = [agent.state_dir(), agent.runtime_dir()];
        let config =
            format!("state-dir = '{}'\nruntime-dir = '{}'\n", dirs[0].display(), dirs[1].display());
        Self { config, ..Self::new() }
    }

    fn with(mut self, fail2ban: &Fail2ban) -> Self {
        self.programs.push(fail2ban.programs());
        self
    }

    fn mount(mut self, lines: &str) -> Self {
        self.mounts.push_str(lines);
        self.mounts.push('\n');
        self
    }

    /// Puts a text in the place of a file, if there is one.
    fn file(self, path: &str, text: &str) -> Self {
        let name = self.folder.path().join(path.replace('/', "_"));
        fs::write(&name, text).unwrap();
        self.mount(&format!("mount --bind {} {path}", name.display()))
    }

    fn less(mut self, words: &[&'static str]) -> Self {
        self.less = words.to_vec();
        self
    }

    fn configured(mut self, lines: &str) -> Self {
        self.config.push_str(lines);
        self
    }

    fn command(&self, words: &[&str]) -> Command {
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

    fn run(&self, host: &Namespace, words: &[&str]) -> Output {
        let mut command = self.command(words);
        host.inside(move || command.output()).unwrap().unwrap()
    }

    /// A PBX of another test that is just ending shows nothing of itself, not even its namespace, and would
    /// be taken for one of this host: then another look is taken.
    fn look(&self, host: &Namespace) -> Report {
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
struct Report(Value);

fn report(output: &Output) -> Report {
    let said = String::from_utf8_lossy(&output.stderr);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{said}"));
    let problem =
        report["findings"].as_array().unwrap().iter().any(|it| it["severity"] == "problem");
    assert_eq!(output.status.code(), Some(i32::from(problem)), "{report}");
    Report(report)
}

impl Report {
    fn found(&self) -> Vec<&str> {
        let findings = self.0["findings"].as_array().unwrap().iter();
        findings.map(|it| it["code"].as_str().unwrap()).filter(|it| !GIVEN.contains(it)).collect()
    }

    /// All that was found under a code.
    fn message(&self, code: &str) -> String {
        let findings = self.0["findings"].as_array().unwrap().iter();
        let messages = findings.filter(|it| it["code"] == code).map(|it| it["message"].to_string());
        let messages = messages.collect::<Vec<_>>().join("\n");
        assert!(!messages.is_empty(), "no {code} in {}", self.0);
        messages
    }

    fn passed(&self, code: &str) -> bool {
        self.0["passed"].as_array().unwrap().iter().any(|it| it == code)
    }

    fn why_not(&self, code: &str) -> &str {
        let mut reasons = self.0["not_checked"].as_array().unwrap().iter();
        let reason = reasons.find(|it| it["code"] == code);
        reason.unwrap_or_else(|| panic!("{code} was checked: {}", self.0))["why"].as_str().unwrap()
    }

    /// These were found, and are not a word of the other report.
    fn only_here(&self, healthy: &Self, codes: &[&str]) {
        for code in codes {
            self.message(code);
            assert!(healthy.passed(code), "{code} did not pass: {}", healthy.0);
        }
    }
}

/// An Asterisk as it should be.
fn asterisk() -> Config {
    Config::new()
        .without("chan_iax2")
        .logger("messages.log => notice,warning,error\nsecurity.log => security\n")
        .endpoint("1001")
        .trunk_qualified_every("carrier", 0, SocketAddr::from((PROVIDER, 5080)))
}

fn enforcing<'a>(host: &'a Namespace, backend: &str) -> Agent<'a> {
    let agent = Agent::start(host, &["--backend", backend, "--interface", WAN]).unwrap();
    agent.json(&["allow", "ES", "--yes", "--accept-risk", "lose-trunk"]).unwrap();
    agent
}

const IGNORE: &str = "ignorecommand = geofilter protected <ip> --quiet";

fn jail_of(asterisk: &Asterisk, more: &str) -> String {
    asterisk_jail(&[&asterisk.logs().join("security.log")], more)
}

/// A device registers, and goes on listening.
fn register(site: &Site) -> UdpSocket {
    let phone = site.anywhere(PHONE, 5066).unwrap();
    let request = sip::register(phone.local_addr().unwrap(), "UDP", 1001);
    phone.send_to(request.as_bytes(), (PBX_V4, SIP)).unwrap();
    assert!(sip::is_success(next(&phone).unwrap().0.as_bytes()));
    phone
}

/// Waits until the agent has taken from the PBX what it is configured with.
fn wait_for_peers(agent: &Agent<'_>) {
    let since = Instant::now();
    while agent.json(&["peer", "list"]).unwrap()["peers"].as_array().unwrap().is_empty() {
        assert!(since.elapsed() < Duration::from_secs(30), "{}", agent.log());
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_healthy_host_passes() {
    let site = Site::new().unwrap();
    let asterisk = Asterisk::start(&site.host, &asterisk()).unwrap();
    let agent = enforcing(&site.host, "xdp");
    let mut fail2ban = Fail2ban::install(&jail_of(&asterisk, IGNORE)).unwrap();
    fail2ban.start(&site.host).unwrap();
    wait_for_peers(&agent);
    let doctor = Doctor::of(&agent).with(&fail2ban);
    let report = doctor.look(&site.host);
    assert_eq!(report.found(), Vec::<&str>::new(), "{}", report.0);
    assert!(report.0["passed"].as_array().unwrap().len() > 30, "{}", report.0);
    assert!(report.why_not("fail2ban-table-missing").contains("bans nobody"));
    let said = String::from_utf8(doctor.run(&site.host, &["-v"]).stdout).unwrap();
    assert!(said.contains("checks passed: ") && said.contains("Not checked: "), "{said}");
    assert!(said.contains("fail2ban-blind-to-floods") && said.contains("trunk-dropped"), "{said}");
}

#[test]
fn traps_of_the_machine() {
    const JIT: &str = "/proc/sys/net/core/bpf_jit_enable";
    const ISOLATED: &str = "/sys/devices/system/cpu/isolated";
    let look = |doctor: &Doctor| report(&doctor.command(&["--json"]).output().unwrap());
    let memory = |kilobytes: u32| {
        format!(
            "MemTotal: {kilobytes} kB\nMemFree: 1 kB\nBuffers: 1 kB\nCached: 1 kB\nSwapCached: 0 kB\nActive: 1 kB\nInactive: 1 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\nDirty: 0 kB\nWriteback: 0 kB\nMapped: 1 kB\nSlab: 1 kB\nCommitted_AS: 1 kB\nVmallocTotal: 1 kB\nVmallocUsed: 1 kB\nVmallocChunk: 0 kB\n"
        )
    };
    let systemd = "mount -t tmpfs none /run; mkdir -p /run/systemd/system";
    let unit = "mount -t tmpfs none /etc/systemd; mkdir -p /etc/systemd/system/multi-user.target.wants; touch /etc/systemd/system/multi-user.target.wants/geofilter.service";
    let healthy = Doctor::new()
        .file(JIT, "1\n")
        .file(ISOLATED, "\n")
        .file("/proc/meminfo", &memory(131_072))
        .mount(systemd)
        .mount(unit);
    let sick = Doctor::new()
        .file(JIT, "0\n")
        .file(ISOLATED, "1-3\n")
        .file("/proc/meminfo", &memory(131_071))
        .mount("umount /sys/fs/bpf")
        .mount(systemd);
    let (healthy, sick) = (look(&healthy), look(&sick));
    let codes =
        ["jit-off", "isolated-cpus", "little-memory", "bpffs-missing", "not-started-at-boot"];
    sick.only_here(&healthy, &codes);
    assert!(healthy.passed("kernel-lacks") && healthy.passed("capabilities-missing"));
    let less = Doctor::new().less(&["setpriv", "--bounding-set", "-sys_admin,-perfmon,-bpf"]);
    let less = look(&less);
    assert!(less.message("capabilities-missing").contains("CAP_BPF, CAP_PERFMON"), "{}", less.0);
    assert!(less.why_not("kernel-lacks").contains("ask as root"), "{}", less.0);
    assert!(look(&Doctor::new()).why_not("not-started-at-boot").contains("systemd"));
}

#[test]
fn traps_of_the_state_folder() {
    let host = Namespace::new("doctor").unwrap();
    let over = |options: &str| {
        let doctor = Doctor::new();
        let folder = doctor.folder.path().join("state");
        fs::create_dir(&folder).unwrap();
        let mount = format!("mount -t tmpfs -o {options} none {}", folder.display());
        doctor.mount(&mount).look(&host)
    };
    let healthy = over("size=32m");
    let (full, closed) = (over("size=64k"), over("ro"));
    full.only_here(&healthy, &["state-dir"]);
    assert!(full.message("state-dir").contains("64 kB left"));
    assert!(closed.message("state-dir").contains("read-only"));
    assert!(Doctor::new().look(&host).why_not("state-dir").contains("no state folder"));
}

#[test]
fn traps_of_the_agent() {
    let site = Site::new().unwrap();
    let mut agent = enforcing(&site.host, "tc");
    let doctor = Doctor::of(&agent);
    let look = || doctor.look(&site.host);
    let healthy = look();
    fs::create_dir(agent.state_dir().join("state.json.new")).unwrap();
    agent.json(&["observe"]).unwrap();
    look().only_here(&healthy, &["policy-unsaved", "not-enforcing"]);
    fs::remove_dir(agent.state_dir().join("state.json.new")).unwrap();
    agent.json(&["allow", "ES", "--yes"]).unwrap();
    assert!(look().passed("policy-unsaved"));
    agent.kill().unwrap();
    let dead = look();
    dead.only_here(&healthy, &["agent-unreachable"]);
    assert!(dead.message("agent-unreachable").contains("programs are on"));
    assert_eq!(dead.why_not("trunk-dropped"), "no agent answers");
    fs::remove_file(agent.state_dir().join("state.json")).unwrap();
    agent.restart(None).unwrap();
    look().only_here(&healthy, &["policy-lost"]);
    agent.json(&["off"]).unwrap();
    assert!(look().message("not-enforcing").contains("is off"));
}

#[test]
fn an_agent_that_hangs_is_a_problem_and_is_not_waited_for() {
    let host = Namespace::new("doctor").unwrap();
    let doctor = Doctor::new();
    fs::create_dir(doctor.folder.path().join("run")).unwrap();
    let healthy = doctor.look(&host);
    assert!(healthy.message("agent-unreachable").contains("nothing is filtered"));
    // It takes the question, and gives no answer.
    let _hung = UnixListener::bind(doctor.folder.path().join("run/agent.sock")).unwrap();
    let since = Instant::now();
    let report = doctor.look(&host);
    assert!(since.elapsed() < Duration::from_secs(20), "{:?}", since.elapsed());
    assert!(report.message("agent-unreachable").contains("did not answer"), "{}", report.0);
    assert_eq!(report.why_not("policy-lost"), "no agent answers");
}

#[test]
fn filters_of_others_that_come_first_are_warned_of() {
    let site = Site::new().unwrap();
    Neighbour::Clsact.move_in(&site.host).unwrap();
    let agent = Agent::prepare(&site.host, &["--backend", "clsact", "--interface", WAN]);
    let mut agent = agent.unwrap();
    Neighbour::filter_on_clsact(&site.host, 1).unwrap();
    agent.restart(None).unwrap();
    agent.json(&["allow", "ES", "--yes"]).unwrap();
    let report = Doctor::of(&agent).look(&site.host);
    assert!(report.message("agent-warning").contains("come before ours"), "{}", report.0);
    assert!(report.message("programs-of-others").contains("classifier"), "{}", report.0);
}

#[test]
fn traps_of_interfaces() {
    let site = Site::new().unwrap();
    let _asterisk = Asterisk::start(&site.host, &asterisk()).unwrap();
    let agent = enforcing(&site.host, "xdp");
    let doctor = Doctor::of(&agent);
    let look = || doctor.look(&site.host);
    let healthy = look();
    site.host.ip("link add wan1 type veth peer name wan1far").unwrap();
    site.host.ip("link set wan1 up").unwrap();
    site.host.ip("link set wan1far up").unwrap();
    assert_eq!(look().found(), healthy.found(), "nobody can call there");
    site.host.ip("addr add 198.51.100.9/24 dev wan1").unwrap();
    look().only_here(&healthy, &["interface-unprotected"]);
    site.host.ip("route add default via 198.51.100.1 dev wan1 metric 1000").unwrap();
    assert!(look().message("interface-unprotected").contains("default route"));
    site.host.ip("addr add 2001:db8:77::1/64 dev wan1 nodad").unwrap();
    look().only_here(&healthy, &["ipv6-unprotected"]);
}

#[test]
fn traps_of_attachments() {
    let site = Site::new().unwrap();
    let native = enforcing(&site.host, "xdp");
    let healthy = Doctor::of(&native).look(&site.host);
    drop(native);
    let generic = enforcing(&site.host, "xdp-generic");
    let codes = ["generic-xdp", "vlan-tags-hidden"];
    Doctor::of(&generic).look(&site.host).only_here(&healthy, &codes);
    drop(generic);
    site.host.ip(&format!("link set {WAN} mtu 9000")).unwrap();
    Neighbour::Clsact.move_in(&site.host).unwrap();
    let by_tc = enforcing(&site.host, "tc");
    let report = Doctor::of(&by_tc).look(&site.host);
    report.only_here(&healthy, &["not-native-xdp", "programs-of-others"]);
    assert!(report.message("not-native-xdp").contains("MTU of 9000"), "{}", report.0);
}

#[test]
fn traps_of_other_firewalls() {
    let site = Site::new().unwrap();
    let set = |elements: u32| {
        let addresses: Vec<String> =
            (0..elements).map(|it| Ipv4Addr::from(it * 2 + 1).to_string()).collect();
        format!(
            "table inet theirs {{ set many {{ type ipv4_addr; elements = {{ {} }}; }}; }}",
            addresses.join(", ")
        )
    };
    load_ruleset(&site.host, &set(9_999)).unwrap();
    let healthy = Doctor::new().look(&site.host);
    site.host.command("nft", &["flush", "ruleset"]).unwrap();
    load_ruleset(&site.host, &set(10_000)).unwrap();
    load_ruleset(&site.host, "table inet firewalld { chain x { }; }").unwrap();
    load_ruleset(
        &site.host,
        "table ip nat { chain pre { type nat hook prerouting priority dstnat; udp dport 5060 dnat to 10.0.0.5; }; chain DOCKER { }; }",
    )
    .unwrap();
    let report = Doctor::new().look(&site.host);
    report.only_here(&healthy, &["large-nft-sets", "other-firewall", "forwarded"]);
    assert!(report.message("large-nft-sets").contains("10000 elements"), "{}", report.0);
    assert!(
        report.0.to_string().contains("firewalld filters")
            && report.0.to_string().contains("Docker filters")
    );
}

#[test]
fn traps_of_the_pbx() {
    let site = Site::new().unwrap();
    let healthy_pbx = Asterisk::start(&site.host, &asterisk()).unwrap();
    let agent = enforcing(&site.host, "xdp");
    wait_for_peers(&agent);
    let doctor = Doctor::of(&agent);
    let look = || doctor.look(&site.host);
    let healthy = look();
    drop(healthy_pbx);
    let sick = Config::new()
        .endpoint("1001")
        .logger("messages.log => notice,warning,error\n")
        .trunk_qualified_every("carrier", 0, SocketAddr::from((PROVIDER, 5080)))
        .identify("carrier", "0.0.0.0/0");
    let asterisk = Asterisk::start(&site.host, &sick).unwrap();
    agent.json(&["allow", "ES", "--scope", "udp/5070", "--yes"]).unwrap();
    let codes = ["iax2-open", "identify-too-wide", "ports-unprotected", "asterisk-no-security-log"];
    look().only_here(&healthy, &codes);
    let elsewhere = Doctor::new().look(&site.internet);
    assert!(elsewhere.message("container").contains("network namespace"), "{}", elsewhere.0);
    kill_process(Pid::from_raw(asterisk.pid().unwrap()).unwrap(), Signal::STOP).unwrap();
    let since = Instant::now();
    let hung = look();
    assert!(since.elapsed() < Duration::from_secs(20), "{:?}", since.elapsed());
    assert!(hung.message("host-not-seen").contains("did not answer in time"), "{}", hung.0);
    assert!(hung.why_not("asterisk-no-security-log").contains("could not be asked"));
}

#[test]
fn all_sip_from_one_private_address_is_a_problem() {
    let site = Site::new().unwrap();
    let _asterisk = Asterisk::start(&site.host, &asterisk().endpoint("1002")).unwrap();
    let doctor = Doctor::new();
    let healthy = doctor.look(&site.host);
    for (extension, port) in [(1001, 5066), (1002, 5067)] {
        let phone = site.anywhere(Ipv4Addr::new(10, 9, 0, 5), port).unwrap();
        let request = sip::register(phone.local_addr().unwrap(), "UDP", extension);
        phone.send_to(request.as_bytes(), (PBX_V4, SIP)).unwrap();
        assert!(sip::is_success(next(&phone).unwrap().0.as_bytes()));
    }
    doctor.look(&site.host).only_here(&healthy, &["one-private-source"]);
}

#[test]
fn a_trunk_that_only_the_manager_tells_of_is_dropped() {
    let site = Site::new().unwrap();
    let config = asterisk().manager("gf", "Secret-Ami-3");
    let asterisk = Asterisk::start(&site.host, &config).unwrap();
    // The agent has no login, and the console is somebody else's by now.
    fs::remove_file(asterisk.control()).unwrap();
    let agent = enforcing(&site.host, "xdp");
    let doctor = Doctor::of(&agent);
    let secret = doctor.folder.path().join("secret");
    fs::write(&secret, "Secret-Ami-3").unwrap();
    let login = format!("[asterisk]\nami-user = 'gf'\nami-secret-file = '{}'\n", secret.display());
    let doctor = doctor.configured(&login);
    let report = doctor.look(&site.host);
    assert!(report.message("trunk-dropped").contains("carrier at 1.2.4.16 (CN)"), "{}", report.0);
    agent.json(&["exempt", "add", "1.2.4.16"]).unwrap();
    assert!(doctor.look(&site.host).passed("trunk-dropped"));
    agent.json(&["off"]).unwrap();
    assert!(doctor.look(&site.host).why_not("trunk-dropped").contains("is off"));
}

#[test]
fn traps_of_fail2ban() {
    let site = Site::new().unwrap();
    let host = &site.host;
    let asterisk = Asterisk::start(host, &asterisk()).unwrap();
    let (security, messages) =
        (asterisk.logs().join("security.log"), asterisk.logs().join("messages.log"));
    let old = asterisk.logs().join("messages");
    fs::write(&old, "").unwrap();
    let agent = enforcing(host, "tc");
    wait_for_peers(&agent);
    let mut fail2ban = Fail2ban::install(&asterisk_jail(&[&security], IGNORE)).unwrap();
    let doctor = Doctor::of(&agent).with(&fail2ban);
    let look = || doctor.look(host);
    fail2ban.start(host).unwrap();
    let healthy = look();
    for (files, code) in [
        (vec![old.as_path()], "fail2ban-log-unread"),
        (vec![Path::new("/no/such/log")], "fail2ban-log-unread"),
        (vec![security.as_path(), &messages], "fail2ban-counts-twice"),
    ] {
        fail2ban.configure(&asterisk_jail(&files, IGNORE)).unwrap();
        look().only_here(&healthy, &[code]);
    }
    fail2ban.configure(&asterisk_jail(&[&security], "")).unwrap();
    let bare = look();
    bare.only_here(&healthy, &["fail2ban-may-ban-friends"]);
    assert!(bare.message("fail2ban-may-ban-friends").contains("1 of the 1"), "{}", bare.0);
    fail2ban.configure(&asterisk_jail(&[&security], "ignoreip = 1.2.4.0/24")).unwrap();
    assert!(look().passed("fail2ban-may-ban-friends"));

    fail2ban.client(host, &["set", "asterisk", "banip", "192.0.2.66"]).unwrap();
    let banning = look();
    assert!(banning.passed("fail2ban-bans-friends"), "{}", banning.0);
    assert!(banning.passed("fail2ban-table-missing"), "{}", banning.0);
    host.command("nft", &["flush", "ruleset"]).unwrap();
    look().only_here(&banning, &["fail2ban-table-missing"]);
    agent.json(&["exempt", "add", "1.2.3.4"]).unwrap();
    for friend in ["1.2.3.4", "1.2.4.16"] {
        fail2ban.client(host, &["set", "asterisk", "banip", friend]).unwrap();
        let report = look();
        report.only_here(&healthy, &["fail2ban-bans-friends"]);
        assert!(report.message("fail2ban-bans-friends").contains(friend), "{}", report.0);
        fail2ban.client(host, &["set", "asterisk", "unbanip", friend]).unwrap();
    }

    fail2ban.configure("[asterisk]\nenabled = false\n").unwrap();
    look().only_here(&healthy, &["fail2ban-no-jail"]);
    fail2ban.stop();
    fail2ban.configure(&asterisk_jail(&[&security], IGNORE)).unwrap();
    look().only_here(&healthy, &["fail2ban-not-running"]);
    let without = Doctor::of(&agent).look(host);
    assert_eq!(without.why_not("fail2ban-log-unread"), "fail2ban is not installed");
}

#[test]
fn without_root_it_says_what_it_could_not_see() {
    let site = Site::new().unwrap();
    let agent = enforcing(&site.host, "tc");
    let doctor = Doctor::of(&agent);
    let place = tempfile::tempdir().unwrap();
    fs::set_permissions(place.path(), Permissions::from_mode(0o755)).unwrap();
    let program = place.path().join("geofilter");
    fs::copy(binary().unwrap(), &program).unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(program);
    command.args(["doctor", "--json", "--socket"]).arg(agent.runtime_dir().join("agent.sock"));
    let output = site.host.inside(move || command.output()).unwrap().unwrap();
    let report = report(&output);
    for code in ["agent-unreachable", "ports-unprotected", "large-nft-sets", "kernel-lacks"] {
        assert!(report.why_not(code).contains("root"), "{code}: {}", report.0);
    }
    assert!(doctor.look(&site.host).passed("agent-unreachable"));
}

#[test]
fn the_support_file_names_nobody() {
    let site = Site::new().unwrap();
    let host = &site.host;
    let config = asterisk()
        .manager("gf", "Secret-Ami-3")
        .endpoint_with_password("4711", "Secret-Phone-2")
        .trunk_with_registration("upstream", SocketAddr::from((PROVIDER, 5090)), "Secret-Reg-1")
        .identify("carrier", "1.2.9.0/28");
    let asterisk = Asterisk::start(host, &config).unwrap();
    let agent = enforcing(host, "tc");
    wait_for_peers(&agent);
    agent.json(&["exempt", "add", "1.2.3.4", "--note", "Office of Smith"]).unwrap();
    agent.json(&["exempt", "add", "trunk.customer.example"]).unwrap();
    agent.json(&["ban", "add", "5.6.7.0/24", "--note", "Mallory"]).unwrap();
    agent.json(&["observe"]).unwrap();
    let _phone = register(&site);
    let mut fail2ban = Fail2ban::install(&jail_of(&asterisk, "")).unwrap();
    fail2ban.start(host).unwrap();
    for friend in ["1.2.3.4", "1.2.4.16", "1.2.8.77"] {
        fail2ban.client(host, &["set", "asterisk", "banip", friend]).unwrap();
    }
    let doctor = Doctor::of(&agent).with(&fail2ban);
    let said = String::from_utf8(doctor.run(host, &["--json"]).stdout).unwrap();
    assert!(said.contains("1.2.8.77"), "what is to be taken out is there: {said}");

    let file = doctor.folder.path().join("support.json");
    let path = file.to_str().unwrap();
    let output = doctor.run(host, &["--bundle", path]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let bundle = fs::read_to_string(&file).unwrap();
    for hidden in [
        "1.2.3.4",
        "1.2.4.16",
        "1.2.8.",
        "1.2.9.0",
        "5.6.7.0",
        "203.0.113.10",
        "2001:db8",
        "192.0.2.",
        "1001",
        "4711",
        "carrier",
        "upstream",
        "customer",
        "Smith",
        "Mallory",
        "Secret",
    ] {
        assert!(!bundle.to_lowercase().contains(&hidden.to_lowercase()), "{hidden} in {bundle}");
    }
    let parsed: Value = serde_json::from_str(&bundle).unwrap();
    assert_eq!((&parsed["schema"], &parsed["status"]["state"]), (&1.into(), &"observing".into()));
    assert_eq!(parsed["overrides"]["exempt prefix"], 2, "one of the identify's: {bundle}");
    assert_eq!(parsed["overrides"]["exempt name"], 1);
    assert_eq!(parsed["overrides"]["banned prefix"], 1);
    assert_eq!(parsed["interfaces"][1]["name"], WAN, "{bundle}");
    assert!(bundle.contains("(CN)"), "relations stay readable: {bundle}");
    let again = doctor.run(host, &["--bundle", path]);
    assert_eq!(again.status.code(), Some(1), "a file that is there is kept");
    assert_eq!(fs::read_to_string(&file).unwrap(), bundle);
    let shown = doctor.run(host, &["--bundle", "-"]);
    assert!(serde_json::from_slice::<Value>(&shown.stdout).is_ok());
}
