//! Interfaces, how the programs sit there, and other firewalls.

use std::net::Ipv4Addr;

use geofilter_lab::asterisk::Asterisk;
use geofilter_lab::neighbours::{Neighbour, load_ruleset};
use geofilter_lab::process::Agent;
use geofilter_lab::site::{Site, WAN};

use crate::support::{Doctor, asterisk, enforcing};

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
