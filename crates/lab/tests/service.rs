//! The agent as a service: what systemd is told of it, and a configuration that is read anew.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use geofilter_lab::board::asked;
use geofilter_lab::guarded::Guarded;
use geofilter_lab::process::Agent;
use geofilter_lab::site::{PBX_V4, SIP, Site, WAN, next};
use rustix::process::Signal;
use tempfile::TempDir;

/// Of Spain.
const MADRID: Ipv4Addr = Ipv4Addr::new(80, 58, 61, 250);
/// Of China.
const BEIJING: Ipv4Addr = Ipv4Addr::new(1, 12, 0, 1);
/// Where Prometheus asks.
const MONITORED: &str = "127.0.0.1:9734";
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

/// What is answered to a request for this path.
fn get(mut stream: impl Read + Write, path: &str) -> String {
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn metrics(agent: &Agent<'_>) -> String {
    get(UnixStream::connect(agent.runtime_dir().join("metrics.sock")).unwrap(), "/metrics")
}

/// The value of a metric with these labels.
fn metric(text: &str, name: &str) -> Option<f64> {
    let values = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    values.map(|value| value.parse().unwrap()).next()
}

#[test]
fn what_monitoring_reads_is_what_the_kernel_counted() {
    let site = Site::new().unwrap();
    let systemd = Systemd::new();
    let agent = systemd.start(&site, &format!("[metrics]\naddress = '{MONITORED}'\n"));
    agent.json(&["allow", "ES", "--yes"]).unwrap();
    agent.json(&["ban", "add", "192.0.2.7", "--for", "1h"]).unwrap();
    let pbx = site.listen(PBX_V4, SIP).unwrap();
    for _ in 0..7 {
        site.send(BEIJING, SIP, b"no").unwrap();
    }
    site.send(MADRID, SIP, b"yes").unwrap();
    assert_eq!(next(&pbx).unwrap().0, "yes");

    let text = metrics(&agent);
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
    assert!(text.contains("content-type: application/openmetrics-text; version=1.0.0"), "{text}");
    assert!(text.ends_with("# EOF\n"), "{text}");
    let state = |name: &str| metric(&text, &format!("geofilter_state{{state=\"{name}\"}}"));
    assert_eq!((state("enforcing"), state("observing")), (Some(1.0), Some(0.0)));
    let packets = |labels: &str| metric(&text, &format!("geofilter_packets_total{{{labels}}}"));
    assert_eq!(packets("verdict=\"dropped\",country=\"CN\""), Some(7.0), "{text}");
    assert_eq!(packets("verdict=\"passed\",country=\"ES\""), Some(1.0), "{text}");
    let protected = format!("geofilter_interface_protected{{interface=\"{WAN}\",backend=\"xdp\"}}");
    assert_eq!(metric(&text, &protected), Some(1.0), "{text}");
    assert_eq!(metric(&text, "geofilter_bans"), Some(1.0));
    assert_eq!(metric(&text, "geofilter_warnings"), Some(0.0));
    assert!(metric(&text, "process_resident_memory_bytes").unwrap() > 1e6);
    assert!(!text.contains(&BEIJING.to_string()), "an address: {text}");

    // At the address that the configuration names it is the same, but for what kernels say to each other meanwhile.
    let there = site.host.inside(|| TcpStream::connect(MONITORED).unwrap()).unwrap();
    let there = get(there, "/metrics");
    let lines = |text: &str| -> Vec<String> {
        let body = text.split_once("\r\n\r\n").unwrap().1;
        let changes = |line: &&str| {
            let of_kernels = ["reason=\"not-ip\"", "reason=\"out-of-scope\""];
            line.starts_with("process_") || of_kernels.iter().any(|reason| line.contains(reason))
        };
        body.lines().filter(|line| !changes(line)).map(str::to_owned).collect()
    };
    assert_eq!(lines(&there), lines(&text));
    let elsewhere = site.host.inside(|| TcpStream::connect(MONITORED).unwrap()).unwrap();
    assert!(get(elsewhere, "/").starts_with("HTTP/1.1 404"));
}

#[test]
fn every_figure_of_the_grafana_board_is_there() {
    let site = Site::new().unwrap();
    let agent = Agent::start(&site.host, &["--interface", WAN]).unwrap();
    let text = metrics(&agent);
    let asked = asked("geofilter.json").unwrap();
    assert!(asked.len() > 12, "{asked:?}");
    // Of what has no value yet there is at least the name.
    let there = |name: &str| {
        let family = name.strip_suffix("_total").unwrap_or(name);
        text.contains(&format!("# TYPE {family} "))
    };
    // Absent until the country data was updated.
    let later = "geofilter_data_update_outcome";
    let missing: Vec<&String> =
        asked.iter().filter(|name| !there(name) && *name != later).collect();
    assert!(missing.is_empty(), "{missing:?} of {text}");
}

#[test]
fn who_asks_for_metrics_holds_nobody_up() {
    let site = Site::new().unwrap();
    let systemd = Systemd::new();
    // Somebody else has the address.
    let taken = site.host.inside(|| TcpListener::bind(MONITORED).unwrap()).unwrap();
    let config = systemd.config();
    fs::write(&config, format!("[metrics]\naddress = '{MONITORED}'\n")).unwrap();
    let words = ["--interface", WAN, "--config", config.to_str().unwrap()];
    let agent = Agent::start(&site.host, &words).unwrap();
    let idle = || UnixStream::connect(agent.runtime_dir().join("metrics.sock")).unwrap();
    let idle: Vec<UnixStream> = (0..20).map(|_| idle()).collect();
    let began = Instant::now();
    agent.json(&["allow", "ES", "--yes"]).unwrap();
    assert!(began.elapsed() < Duration::from_secs(5), "a change waited for who asks for metrics");
    drop(idle);
    assert!(metrics(&agent).ends_with("# EOF\n"));
    assert!(agent.log().contains(MONITORED), "{}", agent.log());

    // Once it is free it is used.
    drop(taken);
    let connect = || site.host.inside(|| TcpStream::connect(MONITORED)).unwrap();
    let began = Instant::now();
    let there = loop {
        match connect() {
            Ok(stream) => break stream,
            Err(error) => assert!(began.elapsed() < Duration::from_secs(20), "{error}"),
        }
        thread::sleep(Duration::from_millis(50));
    };
    assert!(get(there, "/metrics").ends_with("# EOF\n"));
}
