//! What is on a host is found: a real Asterisk and a real Kamailio with their trunks and devices, what else
//! filters there, and what makes a country filter useless. Nothing hangs, and no secret is shown.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs::Permissions;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use geofilter_core::geodata::embedded;
use geofilter_lab::addresses::Addresses;
use geofilter_lab::asterisk::{Asterisk, Config};
use geofilter_lab::kamailio::Kamailio;
use geofilter_lab::namespace::Namespace;
use geofilter_lab::neighbours::{Neighbour, load_ruleset};
use geofilter_lab::phones::register;
use geofilter_lab::process::{Agent, binary};
use geofilter_lab::sip;
use geofilter_lab::site::{PBX_V4, SIP, Site, WAN, next};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

const PHONE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 77);
const SECRETS: [&str; 4] = ["Secret-Reg-1", "Secret-Phone-2", "Secret-Ami-3", "Secret-Header-4"];

fn run(host: &Namespace, words: &[&str]) -> Output {
    let mut command = Command::new(binary().unwrap());
    command.arg("detect").args(words).stdin(Stdio::null());
    host.inside(move || command.output()).unwrap().unwrap()
}

fn detect(host: &Namespace, words: &[&str]) -> Value {
    let output = run(host, &[words, &["--json"]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The PBX of this namespace; those of other tests run in theirs.
fn here(found: &Value) -> &Value {
    found["pbx"].as_array().unwrap().iter().find(|pbx| pbx["container"] == false).unwrap()
}

fn codes(found: &Value) -> Vec<&str> {
    let warnings = found["warnings"].as_array().unwrap().iter();
    warnings
        .map(|warning| warning["code"].as_str().unwrap())
        .filter(|it| *it != "container")
        .collect()
}

fn trunks<'a>(pbx: &'a Value, how: &str) -> Vec<&'a Value> {
    pbx["trunks"].as_array().unwrap().iter().filter(|trunk| trunk["how"] == how).collect()
}

/// The path of a configuration with a login to Asterisk's manager.
fn login(folder: &Path, user: &str, secret: &str) -> String {
    let (config, file) = (folder.join("config"), folder.join("secret"));
    std::fs::write(&file, secret).unwrap();
    let text = format!("[asterisk]\nami-user = '{user}'\nami-secret-file = '{}'\n", file.display());
    std::fs::write(&config, text).unwrap();
    config.to_str().unwrap().to_owned()
}

fn pid_of(asterisk: &Asterisk) -> Pid {
    Pid::from_raw(asterisk.pid().unwrap()).unwrap()
}

fn provider(last: u8) -> SocketAddr {
    SocketAddr::from(([198, 51, 100, last], 5080))
}

/// An Asterisk with everything that there is to find.
fn everything() -> Config {
    Config::new()
        .transport("moved", "udp", "0.0.0.0:5080")
        .transport("inside", "tcp", "127.0.0.1:5070")
        .transport("ws", "ws", "0.0.0.0")
        .websocket(SocketAddr::from(([0, 0, 0, 0], 8088)))
        .manager("gf", SECRETS[2])
        .endpoint("1001")
        .endpoint("1003")
        .endpoint_with_password("1002", SECRETS[1])
        .trunk_with_registration("upstream", provider(1), SECRETS[0])
        .trunk_qualified_every("carrier", 60, provider(2))
        .identify("carrier", "198.51.100.0/28")
        .pjsip(&format!("match_header=X-Token: {}\n", SECRETS[3]))
}

#[test]
fn a_real_asterisk_is_found_with_its_ports_trunks_and_devices() {
    let site = Site::new().unwrap();
    let asterisk = Asterisk::start(&site.host, &everything()).unwrap();
    let world = embedded::world().unwrap().world;
    let addresses = Addresses::new(&world);
    let (v4, v6) = (addresses.v4("ES"), addresses.v6("PT"));
    let _phones = [register(&site, v4, 1001), register(&site, v6, 1003)];
    let folder = tempfile::tempdir().unwrap();
    let config = login(folder.path(), "gf", SECRETS[2]);
    let by_manager = ["--config", &config];

    let (first, second) = (detect(&site.host, &[]), detect(&site.host, &by_manager));
    assert_eq!(here(&first), here(&second), "the manager tells the same as the command line");
    let pbx = here(&first);
    assert_eq!(first["schema"], 1);
    assert_eq!(pbx["kind"], "asterisk");
    let version = pbx["version"].as_str().unwrap();
    assert!(asterisk.cli("core show version").unwrap().contains(version), "{version}");
    assert_eq!(
        first["scope"],
        json!(["udp/5060", "udp/5080", "tcp/5060", "tcp/8088"]),
        "no manager, no voice, nothing on loopback"
    );
    assert_eq!(pbx["rtp"], json!([10_000, 10_100]));
    assert_eq!(codes(&first), Vec::<&str>::new());

    let registration = json!({"name": "upstream", "how": "registration", "addresses": ["198.51.100.1:5080"], "registered": false});
    assert_eq!(trunks(pbx, "registration"), [&registration]);
    let contact =
        json!({"name": "carrier", "how": "static-contact", "addresses": ["198.51.100.2:5080"]});
    assert_eq!(trunks(pbx, "static-contact"), [&contact], "and no device among them");
    let identify = json!({"name": "carrier", "how": "identify", "prefixes": ["198.51.100.0/28"]});
    assert_eq!(trunks(pbx, "identify"), [&identify]);
    let devices = pbx["devices"].as_array().unwrap().iter();
    let devices: BTreeSet<_> =
        devices.map(|it| it["address"].as_str().unwrap().to_owned()).collect();
    assert_eq!(devices, BTreeSet::from([format!("{v4}:5066"), format!("[{v6}]:5066")]));

    for words in [&["-vv"][..], &["--json"], &[by_manager[0], by_manager[1], "-vv"], &by_manager] {
        let output = run(&site.host, words);
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(said.contains("198.51.100.2:5080"), "{said}");
        for secret in SECRETS {
            assert!(!said.contains(secret), "{words:?}: {said}");
        }
    }
}

#[test]
fn a_wrong_login_is_said_and_the_command_line_is_asked() {
    let site = Site::new().unwrap();
    let _asterisk = Asterisk::start(&site.host, &everything()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let found = detect(&site.host, &["--config", &login(folder.path(), "gf", "wrong")]);
    assert!(found["notes"].to_string().contains("refused the login"), "{found}");
    assert_eq!(trunks(here(&found), "registration").len(), 1);
}

#[test]
fn without_root_it_says_what_it_can_not_see_and_the_manager_still_tells() {
    let site = Site::new().unwrap();
    let reporter = format!(
        "[reporter]\nsecret={}\nread=system,reporting\nwrite=system,reporting\n",
        SECRETS[2]
    );
    let _asterisk = Asterisk::start(&site.host, &everything().manager_conf(&reporter)).unwrap();
    let _phone = register(&site, PHONE, 1001);
    let folder =
        tempfile::Builder::new().permissions(Permissions::from_mode(0o755)).tempdir().unwrap();
    let program = folder.path().join("geofilter");
    std::fs::copy(binary().unwrap(), &program).unwrap();
    let config = login(folder.path(), "reporter", SECRETS[2]);
    let run = |words: &[&str]| {
        let mut command = Command::new(&program);
        command.args(["detect", "--json"]).args(words).stdin(Stdio::null()).uid(65_534).gid(65_534);
        let output = site.host.inside(move || command.output()).unwrap().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let found = run(&[]);
    assert!(found["notes"].to_string().contains("ask as root"), "{found}");
    let found = run(&["--config", &config]);
    // Without root no namespace can be told from another, so those of other tests are among them.
    let told = found["pbx"].to_string();
    for place in ["198.51.100.1:5080", "198.51.100.2:5080", &format!("{PHONE}:5066")] {
        assert!(told.contains(place), "{place} in {told}");
    }
    assert!(!found.to_string().contains("Secret-"), "{found}");
}

#[test]
fn a_control_socket_that_is_somebody_elses_by_now_is_not_asked() {
    let site = Site::new().unwrap();
    let asterisk = Asterisk::start(&site.host, &Config::new()).unwrap();
    std::fs::remove_file(asterisk.control()).unwrap();
    let _other = UnixListener::bind(asterisk.control()).unwrap();
    let found = detect(&site.host, &[]);
    assert!(found["notes"].to_string().contains("belongs to another process"), "{found}");
    assert_eq!(here(&found)["version"], Value::Null);
}

#[test]
fn an_asterisk_that_hangs_does_not_hang_us() {
    let site = Site::new().unwrap();
    let asterisk = Asterisk::start(&site.host, &Config::new()).unwrap();
    kill_process(pid_of(&asterisk), Signal::STOP).unwrap();
    let since = Instant::now();
    let found = detect(&site.host, &[]);
    assert!(since.elapsed() < Duration::from_secs(10), "{:?}", since.elapsed());
    assert!(found["notes"].to_string().contains("did not answer in time"), "{found}");
    assert_eq!(here(&found)["transports"], Value::Null);
    assert_eq!(found["scope"], json!(["udp/5060", "tcp/5060"]), "by its ports");
}

#[test]
fn all_sip_from_one_private_address_is_said_loudly() {
    let site = Site::new().unwrap();
    let config = Config::new().endpoint("1001").endpoint("1002");
    let _asterisk = Asterisk::start(&site.host, &config).unwrap();
    let border = Ipv4Addr::new(10, 9, 0, 5);
    let phone = register(&site, border, 1001);
    assert_eq!(codes(&detect(&site.host, &[])), Vec::<&str>::new(), "one is no proof");
    drop(phone);
    let phone = register(&site, border, 1002);
    let found = detect(&site.host, &[]);
    assert_eq!(codes(&found), ["one-private-source"], "{found}");
    let said = String::from_utf8(run(&site.host, &[]).stdout).unwrap();
    assert!(
        said.starts_with("WARNING: all SIP arrives from the one private address 10.9.0.5"),
        "{said}"
    );
    drop(phone);
    let world = embedded::world().unwrap().world;
    let _phone = register(&site, Addresses::new(&world).v4("ES"), 1002);
    assert_eq!(codes(&detect(&site.host, &[])), Vec::<&str>::new());
}

#[test]
fn attempts_from_one_private_address_say_the_same_as_devices() {
    let site = Site::new().unwrap();
    let asterisk = Asterisk::start(&site.host, &Config::new()).unwrap();
    let guesser = site.anywhere(Ipv4Addr::new(10, 9, 0, 5), 5066).unwrap();
    for extension in 9000..9006 {
        let guess = sip::register(guesser.local_addr().unwrap(), "UDP", extension);
        guesser.send_to(guess.as_bytes(), (PBX_V4, SIP)).unwrap();
        assert!(sip::is_challenge(next(&guesser).unwrap().0.as_bytes()));
    }
    let since = Instant::now();
    while codes(&detect(&site.host, &[])) != ["one-private-source"] {
        assert!(since.elapsed() < Duration::from_secs(5), "{}", asterisk.log());
    }
}

#[test]
fn a_real_kamailio_is_found_with_its_ports_trunks_and_devices() {
    let site = Site::new().unwrap();
    let _kamailio = Kamailio::start(&site.host, &["sip:198.51.100.3:5082"]).unwrap();
    let world = embedded::world().unwrap().world;
    let spain = Addresses::new(&world).v4("ES");
    let _phone = register(&site, spain, 1001);
    let found = detect(&site.host, &[]);
    let pbx = here(&found);
    assert_eq!(pbx["kind"], "kamailio");
    assert!(pbx["version"].as_str().unwrap().starts_with("5."), "{pbx}");
    assert_eq!(found["scope"], json!(["udp/5060", "tcp/5070"]), "nothing on loopback");
    assert_eq!(trunks(pbx, "static-contact")[0]["addresses"], json!(["198.51.100.3:5082"]));
    assert_eq!(pbx["devices"][0]["endpoint"], "1001");
    assert_eq!(pbx["devices"][0]["address"], format!("{spain}:5066"));
}

#[test]
fn a_pbx_in_another_network_namespace_is_named_as_such() {
    let site = Site::new().unwrap();
    let _asterisk = Asterisk::start(&site.host, &Config::new().endpoint("1001")).unwrap();
    let found = detect(&site.internet, &[]);
    let pbxs = found["pbx"].as_array().unwrap();
    assert!(pbxs.iter().all(|pbx| pbx["container"] == true), "{found}");
    assert!(pbxs.iter().any(|pbx| pbx["kind"] == "asterisk"), "{found}");
    assert!(found["warnings"].to_string().contains("network namespace of its own"), "{found}");
    assert_eq!(found["scope"], Value::Null, "its ports are not those of this host");
}

#[test]
fn what_else_filters_on_a_host_is_found_and_what_is_ours_is_not() {
    let site = Site::new().unwrap();
    Neighbour::ALL.iter().try_for_each(|neighbour| neighbour.move_in(&site.host)).unwrap();
    load_ruleset(
        &site.host,
        "table ip nat { chain pre { type nat hook prerouting priority dstnat; udp dport 5060 dnat to 10.0.0.5; }; }",
    )
    .unwrap();
    let agent = Agent::start(&site.host, &["--backend", "tc", "--interface", WAN]).unwrap();
    agent.json(&["allow", "ES", "--yes"]).unwrap();
    let found = detect(&site.host, &[]);
    let around = &found["surroundings"];
    let owners: Vec<_> =
        around["firewalls"].as_array().unwrap().iter().map(|it| &it["owner"]).collect();
    assert!(owners.contains(&&json!("fail2ban")), "{around}");
    let programs: Vec<_> = around["programs"].as_array().unwrap().iter().collect();
    for (hook, name) in [
        ("xdp", "others_xdp"),
        ("tc ingress", "x.o:[classifier]"),
        ("tc egress", "x.o:[classifier]"),
    ] {
        let program = json!({"interface": WAN, "hook": hook, "name": name});
        assert!(programs.contains(&&program), "{program} in {around}");
    }
    assert!(!around["programs"].to_string().contains("gf_"), "{around}");
    assert_eq!(codes(&found), ["forwarded"]);
}

#[test]
fn a_new_agent_protects_the_ports_that_the_pbx_has() {
    let world = embedded::world().unwrap().world;
    let addresses = Addresses::new(&world);
    let site = Site::new().unwrap();
    let config = Config::default().transport("moved", "udp", "0.0.0.0:5080").endpoint("1001");
    let asterisk = Asterisk::start(&site.host, &config).unwrap();
    let words = ["--backend", "tc", "--interface", WAN];
    let mut agent = Agent::start(&site.host, &words).unwrap();
    let scope = |agent: &Agent<'_>| agent.json(&["status"]).unwrap()["scope"].clone();
    assert_eq!(scope(&agent), json!(["udp/5080"]));
    agent.json(&["allow", "ES", "--yes"]).unwrap();
    assert_eq!(scope(&agent), json!(["udp/5080"]));
    let answered = |source: Ipv4Addr| {
        let phone = site.anywhere(source, 5066).unwrap();
        phone.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        let request = sip::register(phone.local_addr().unwrap(), "UDP", 1001);
        phone.send_to(request.as_bytes(), (PBX_V4, 5080)).unwrap();
        next(&phone).is_ok()
    };
    assert!(answered(addresses.v4("ES")));
    assert!(!answered(addresses.v4("CN")));
    agent.json(&["allow", "ES", "--scope", "udp/5070", "--yes"]).unwrap();
    agent.kill().unwrap();
    kill_process(pid_of(&asterisk), Signal::STOP).unwrap();
    let since = Instant::now();
    agent.restart(None).unwrap();
    assert_eq!(scope(&agent), json!(["udp/5070"]), "what was saved stays");
    assert!(since.elapsed() < Duration::from_secs(3), "and is not held up by a PBX that hangs");
}

#[test]
fn a_pbx_that_starts_after_the_agent_is_found_when_a_policy_is_chosen() {
    let site = Site::new().unwrap();
    let agent = Agent::start(&site.host, &["--backend", "tc", "--interface", WAN]).unwrap();
    let scope = || agent.json(&["status"]).unwrap()["scope"].clone();
    assert!(scope().to_string().contains("udp/5060-5061"), "the usual ports");
    let config = Config::default().transport("moved", "udp", "0.0.0.0:5080");
    let _asterisk = Asterisk::start(&site.host, &config).unwrap();
    agent.json(&["allow", "ES", "--yes"]).unwrap();
    assert_eq!(scope(), json!(["udp/5080"]));
}
