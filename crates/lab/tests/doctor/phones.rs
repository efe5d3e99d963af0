//! The PBX.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use geofilter_lab::asterisk::{Asterisk, Config};
use geofilter_lab::fail2ban::Fail2ban;
use geofilter_lab::sip;
use geofilter_lab::site::{PBX_V4, SIP, Site, next};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Doctor, IGNORE, PROVIDER, asterisk, enforcing, jail_of, wait_for_peers};

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
