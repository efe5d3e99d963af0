//! Promise 5, before a change: the operator sees whom it would cut, and must accept that by name.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::{IpAddr, TcpStream, UdpSocket};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use geofilter_core::geodata::embedded;
use geofilter_lab::addresses::Addresses;
use geofilter_lab::asterisk::{Asterisk, Config};
use geofilter_lab::namespace::Namespace;
use geofilter_lab::phones::{BACKENDS, register};
use geofilter_lab::process::Agent;
use geofilter_lab::sip;
use geofilter_lab::site::{PBX_V4, SIP, Site, WAN, next};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(20);

/// Whether the PBX still answers this phone.
fn is_served(phone: &UdpSocket, extension: u32) -> bool {
    let request = sip::register(phone.local_addr().unwrap(), "UDP", extension);
    let request = request.replace("CSeq: 1", "CSeq: 2").replace("z9hG4bK", "z9hG4bKagain");
    let before = phone.read_timeout().unwrap();
    phone.set_read_timeout(Some(Duration::from_millis(700))).unwrap();
    phone.send_to(request.as_bytes(), (PBX_V4, SIP)).unwrap();
    let mut answer = [0; 2048];
    let served = phone.recv(&mut answer).is_ok_and(|length| sip::is_success(&answer[..length]));
    phone.set_read_timeout(before).unwrap();
    served
}

fn refused(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{said}");
    said
}

/// Whom it would cut: what they are, where, and from which country.
fn cut(preview: &Value) -> Vec<(String, String, String)> {
    let text = |cut: &Value, field: &str| cut[field].as_str().unwrap().to_owned();
    let cut = preview["would_cut"].as_array().unwrap().iter();
    cut.map(|cut| (text(cut, "what"), text(cut, "address"), text(cut, "country"))).collect()
}

#[test]
fn phones_in_a_country_about_to_be_blocked_are_named_and_kept_if_wanted() {
    let world = embedded::world().unwrap().world;
    let addresses = Addresses::new(&world);
    let site = Site::new().unwrap();
    let config = Config::new().endpoint("1001").endpoint("1002").endpoint("1003");
    let _asterisk = Asterisk::start(&site.host, &config).unwrap();
    let (abroad, home) = (addresses.v4("MA"), addresses.v4("ES"));
    let neighbour = addresses.several_v4("MA", 2)[1];
    let far = register(&site, abroad, 1001);
    let near = register(&site, home, 1002);
    let agent = Agent::start(&site.host, &["--backend", "tc", "--interface", WAN]).unwrap();
    agent.json(&["observe"]).unwrap();
    let expected = [("phone 1001".to_owned(), abroad.to_string(), "MA".to_owned())];
    let preview = agent.json(&["preview", "allow", "ES"]).unwrap();
    assert_eq!(cut(&preview), expected);
    assert_eq!(
        (&preview["risks"], &preview["kept"]["phones"]),
        (&json!(["lose-phones"]), &json!(1))
    );
    assert_eq!(
        agent.json(&["allow", "ES", "--dry-run"]).unwrap()["would_cut"],
        preview["would_cut"]
    );
    // The other way around, and IPv6, and nobody at all.
    assert_eq!(cut(&agent.json(&["preview", "block", "MA"]).unwrap()), expected);
    assert_eq!(cut(&agent.json(&["preview", "allow", "ES", "MA"]).unwrap()), []);
    let _v6 = register(&site, addresses.v6("MA"), 1003);
    // A PBX on a busy machine may take its time; by itself the agent asks it again after 15 s.
    let since = Instant::now();
    while cut(&agent.json(&["preview", "allow", "ES"]).unwrap()).len() < 2 {
        assert!(since.elapsed() < Duration::from_secs(8), "it asks the PBX anew");
    }

    let said = refused(&agent.ask(&["allow", "ES", "--yes"]).unwrap());
    for told in [
        "2 phones",
        "1001",
        &abroad.to_string(),
        "(MA)",
        "--accept-risk lose-phones",
        "--keep-registered",
    ] {
        assert!(said.contains(told), "{told}: {said}");
    }
    assert_eq!(agent.json(&["status"]).unwrap()["state"], "observing", "nothing was changed");
    assert_eq!(agent.json(&["exempt", "list"]).unwrap()["records"], json!([]));

    agent.json(&["allow", "ES", "--keep-registered", "1h", "--yes"]).unwrap();
    assert!(is_served(&far, 1001) && is_served(&near, 1002));
    assert!(!is_served(&site.anywhere(neighbour, 5066).unwrap(), 1001), "but nobody else there");
    let records = agent.json(&["exempt", "list"]).unwrap();
    let ends: Vec<_> =
        records["records"].as_array().unwrap().iter().map(|it| &it["remaining"]).collect();
    assert!(
        ends.len() == 2 && ends.iter().all(|left| (3500..=3600).contains(&left.as_u64().unwrap()))
    );

    agent.json(&["exempt", "remove", &abroad.to_string()]).unwrap();
    let again = agent.json(&["preview", "allow", "ES", "PT"]).unwrap();
    assert_eq!((cut(&again), &again["would_cut"][0]["already"]), (expected.to_vec(), &json!(true)));
    assert_eq!(again["risks"], json!([]), "they are cut already");
    agent.json(&["allow", "ES", "PT", "--yes"]).unwrap();
    assert!(!is_served(&far, 1001) && is_served(&near, 1002));
    agent.json(&["off"]).unwrap();
    agent.json(&["allow", "PT", "MA", "--yes", "--accept-risk", "lose-phones"]).unwrap();
    assert!(is_served(&far, 1001) && !is_served(&near, 1002));
}

#[test]
fn a_ban_is_not_lifted_by_keeping_who_is_registered() {
    let world = embedded::world().unwrap().world;
    let addresses = Addresses::new(&world);
    let site = Site::new().unwrap();
    let _asterisk = Asterisk::start(&site.host, &Config::new().endpoint("1001")).unwrap();
    let abroad = addresses.v4("MA");
    let phone = register(&site, abroad, 1001);
    let agent = Agent::start(&site.host, &["--backend", "tc", "--interface", WAN]).unwrap();
    agent.json(&["observe"]).unwrap();
    agent.json(&["ban", "add", &abroad.to_string()]).unwrap();
    let preview = agent.json(&["preview", "allow", "ES", "MA"]).unwrap();
    assert_eq!((&preview["would_cut"][0]["banned"], &preview["risks"]), (&json!(true), &json!([])));
    agent.json(&["allow", "ES", "--keep-registered", "1h", "--yes"]).unwrap();
    assert_eq!(agent.json(&["exempt", "list"]).unwrap()["records"], json!([]));
    assert!(!is_served(&phone, 1001));
}

#[test]
fn who_registers_during_a_pause_is_not_cut_unseen() {
    let world = embedded::world().unwrap().world;
    let addresses = Addresses::new(&world);
    let site = Site::new().unwrap();
    let _asterisk = Asterisk::start(&site.host, &Config::new().endpoint("1001")).unwrap();
    let agent = Agent::start(&site.host, &["--backend", "tc", "--interface", WAN]).unwrap();
    agent.json(&["allow", "ES", "--yes"]).unwrap();
    agent.json(&["pause", "--for", "10m"]).unwrap();
    let _phone = register(&site, addresses.v4("MA"), 1001);
    let preview = agent.json(&["preview", "allow", "PT"]).unwrap();
    assert_eq!(preview["risks"], json!(["lose-phones"]), "{preview}");
    refused(&agent.ask(&["allow", "PT", "--yes"]).unwrap());
}

#[test]
fn phones_are_not_forgotten_while_the_pbx_hangs() {
    let world = embedded::world().unwrap().world;
    let addresses = Addresses::new(&world);
    let site = Site::new().unwrap();
    let asterisk = Asterisk::start(&site.host, &Config::new().endpoint("1001")).unwrap();
    let abroad = addresses.v4("MA");
    let _phone = register(&site, abroad, 1001);
    let agent = Agent::start(&site.host, &["--backend", "tc", "--interface", WAN]).unwrap();
    agent.json(&["observe"]).unwrap();
    let pid = Pid::from_raw(asterisk.pid().unwrap()).unwrap();
    kill_process(pid, Signal::STOP).unwrap();
    let since = Instant::now();
    let preview = loop {
        let preview = agent.json(&["preview", "allow", "ES"]).unwrap();
        if preview["warnings"].to_string().contains("does not answer as it should") {
            break preview;
        }
        assert!(since.elapsed() < PATIENCE, "{preview}");
    };
    assert_eq!(cut(&preview).len(), 1, "{preview}");
    refused(&agent.ask(&["allow", "ES", "--yes"]).unwrap());
    let words = ["allow", "ES", "--yes", "--accept-risk", "lose-phones"];
    let changed = agent.json(&words).unwrap();
    assert!(changed["warnings"].to_string().contains("does not answer"), "{changed}");
    kill_process(pid, Signal::CONT).unwrap();
}

#[test]
fn trunks_are_kept_whatever_their_country_and_hosting_may_be_dropped_once_one_is_known() {
    let world = embedded::world().unwrap().world;
    let addresses = Addresses::new(&world);
    let site = Site::new().unwrap();
    let [udp, tcp] = addresses.several_v4("CN", 2)[..] else { panic!("few") };
    let config = Config::new()
        .trunk_qualified_every("carrier", 60, (udp, 5080).into())
        .pjsip(&format!("[bytcp]\ntype=endpoint\ncontext=trunk\naors=bytcp\n[bytcp]\ntype=aor\ncontact=sip:{tcp}:5080\\;transport=tcp\n"));
    let alone = Agent::start(&site.host, &["--backend", "tc", "--interface", WAN]).unwrap();
    let words = ["allow", "ES", "--hosting", "drop", "--yes"];
    assert!(refused(&alone.ask(&words).unwrap()).contains("no trunk is known"));
    drop(alone);
    let _asterisk = Asterisk::start(&site.host, &config).unwrap();
    let agent = Agent::start(&site.host, &["--backend", "tc", "--interface", WAN]).unwrap();
    let preview = agent.json(&["preview", "allow", "ES", "--hosting", "drop"]).unwrap();
    assert_eq!((cut(&preview), &preview["risks"]), (Vec::new(), &json!([])));
    agent.json(&words).unwrap();
    let why = |address: IpAddr| {
        let why = agent.json(&["why", &address.to_string()]).unwrap();
        (why["verdict"].clone(), why["reason"].clone())
    };
    assert_eq!(why(udp.into()), (json!("pass"), json!("peer")));
    assert_eq!(why(tcp.into()), (json!("pass"), json!("exemption")));
}

#[test]
fn what_was_seen_while_observing_is_judged() {
    let world = embedded::world().unwrap().world;
    let addresses = Addresses::new(&world);
    for backend in BACKENDS {
        let site = Site::new().unwrap();
        let pbx = site.listen(std::net::Ipv6Addr::UNSPECIFIED, SIP).unwrap();
        let mut agent =
            Agent::start(&site.host, &["--backend", backend, "--interface", WAN]).unwrap();
        let before = agent.json(&["preview", "allow", "ES"]).unwrap();
        assert!(before["warnings"].to_string().contains("nothing is attached"), "{before}");
        agent.json(&["observe"]).unwrap();
        let abroad = addresses.several_v4("CN", 3);
        let home = addresses.v4("ES");
        for source in abroad.iter().chain([&home, &home]) {
            site.send(*source, SIP, b"OPTIONS sip:x SIP/2.0\r\n\r\n").unwrap();
            next(&pbx).unwrap();
        }
        let seen = |agent: &Agent<'_>| {
            let preview = agent.json(&["preview", "allow", "ES"]).unwrap();
            (preview["addresses"].clone(), preview["packets"].clone())
        };
        let expected =
            (json!({"total": 4, "dropped": 3, "invalid": 0}), json!({"total": 5, "dropped": 3}));
        assert_eq!(seen(&agent), expected, "{backend}");
        let preview = agent.json(&["preview", "allow", "ES"]).unwrap();
        assert_eq!(preview["by_country"][0], json!({"country": "CN", "total": 3, "dropped": 3}));
        assert!(preview["selection"]["addresses"].as_u64().unwrap() > 20_000_000);
        // What the kernel remembers outlives the agent; nftables remembers nobody.
        if backend != "nft" {
            agent.kill().unwrap();
            agent.restart(None).unwrap();
            assert_eq!(seen(&agent), expected, "{backend}");
        }
        let why = agent.json(&["why", &home.to_string()]).unwrap();
        assert_eq!(
            (&why["seen"]["passed"], &why["of_country"]["passed"]["packets"]),
            (&json!(2), &json!(2))
        );
        let human = agent.ask(&["preview", "allow", "ES"]).unwrap();
        let human = String::from_utf8(human.stdout).unwrap();
        assert!(human.starts_with("3 of 4 sources seen since "), "{human}");
    }
}

/// A server that shells from elsewhere are opened at.
struct Sshd {
    process: Child,
    _folder: tempfile::TempDir,
}

impl Sshd {
    fn start(host: &Namespace) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("key");
        let made = Command::new("dropbearkey").args(["-t", "ed25519", "-f"]).arg(&key).output();
        assert!(made.expect("dropbear-bin is installed by scripts/deps").status.success());
        let mut command = Command::new("dropbear");
        command.args(["-F", "-E", "-p", "22", "-P"]).arg(folder.path().join("pid"));
        command
            .arg("-r")
            .arg(&key)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let process = host.inside(move || command.spawn()).unwrap().unwrap();
        Self { process, _folder: folder }
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_shell_that_would_be_cut_is_named() {
    let world = embedded::world().unwrap().world;
    let addresses = Addresses::new(&world);
    let site = Site::new().unwrap();
    let _sshd = Sshd::start(&site.host);
    let abroad = addresses.v4("CN");
    let since = Instant::now();
    let _session: TcpStream = loop {
        match site.connect_to(22, (abroad, 0).into(), Duration::from_secs(1)) {
            Ok(session) => break session,
            Err(error) => assert!(since.elapsed() < PATIENCE, "{error:#}"),
        }
    };
    let agent = Agent::start(&site.host, &["--backend", "tc", "--interface", WAN]).unwrap();
    // Only SIP ports are judged, unless an operator says otherwise.
    assert_eq!(cut(&agent.json(&["preview", "allow", "ES"]).unwrap()), []);
    let words = ["allow", "ES", "--scope", "udp/5060,tcp/22"];
    let preview = agent.json(&[&words[..], &["--dry-run"]].concat()).unwrap();
    assert_eq!(cut(&preview), [("ssh session".to_owned(), abroad.to_string(), "CN".to_owned())]);
    let yes = [&words[..], &["--yes"]].concat();
    let said = refused(&agent.ask(&yes).unwrap());
    assert!(said.contains("ssh session") && said.contains("--accept-risk lose-ssh"), "{said}");
    agent.json(&[&yes[..], &["--accept-risk", "lose-ssh"]].concat()).unwrap();
}
