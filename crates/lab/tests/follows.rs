//! What happens to a protected host while it is protected: other backends, other interfaces under the
//! same name, addresses that come later. The filter follows, and is never away meanwhile.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use geofilter_core::geodata::embedded;
use geofilter_core::world::World;
use geofilter_dataplane::kernel;
use geofilter_lab::addresses::Addresses;
use geofilter_lab::awaited::within;
use geofilter_lab::neighbours::Neighbour;
use geofilter_lab::process::Agent;
use geofilter_lab::site::{PBX_V4, SIP, Site, WAN, next};

fn world() -> World {
    embedded::world().unwrap().world
}

/// Whether a datagram from this address reaches the PBX; one that surely does comes behind it.
fn passes(
    site: &Site,
    pbx: &UdpSocket,
    source: impl Into<IpAddr>,
    surely: impl Into<IpAddr>,
) -> bool {
    site.send(source, SIP, b"probe").unwrap();
    site.send(surely, SIP, b"marker").unwrap();
    let arrived = next(pbx).unwrap().0;
    if arrived == "probe" {
        assert_eq!(next(pbx).unwrap().0, "marker");
    }
    arrived == "probe"
}

/// Waits until something is so.
fn within_five_seconds(what: &str, is_so: impl Fn() -> bool) {
    within(Duration::from_secs(5), Instant::now(), is_so, || what.to_owned());
}

#[test]
fn a_backend_that_is_refused_leaves_the_one_before_in_force() {
    let world = world();
    let addresses = Addresses::new(&world);
    let site = Site::new().unwrap();
    let pbx = site.listen(Ipv4Addr::UNSPECIFIED, SIP).unwrap();
    let mut agent = Agent::start(&site.host, &["--backend", "tc", "--interface", WAN]).unwrap();
    agent.json(&["allow", "ES", "--yes"]).unwrap();
    agent.kill().unwrap();
    for (namespace, interface) in [(&site.host, WAN), (&site.internet, "net0")] {
        namespace.ip(&format!("link set {interface} mtu 9000")).unwrap();
    }
    let other = agent.with_words(&["--backend", "xdp", "--interface", WAN]);
    assert!(other.restart(None).is_err());
    assert!(!passes(&site, &pbx, addresses.v4("CN"), addresses.v4("ES")));
    agent.with_words(&["--backend", "tc", "--interface", WAN]).restart(None).unwrap();
    assert_eq!(agent.json(&["status"]).unwrap()["state"], "enforcing");
}

#[test]
fn changing_the_backend_opens_nothing() {
    let world = world();
    let addresses = Addresses::new(&world);
    let site = Site::new().unwrap();
    let mut agent = Agent::start(&site.host, &["--backend", "tc", "--interface", WAN]).unwrap();
    agent.json(&["allow", "ES", "--yes"]).unwrap();
    let pbx = site.listen(PBX_V4, SIP).unwrap();
    let abroad = site.anywhere(addresses.v4("CN"), 0).unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                abroad.send_to(b"abroad", (PBX_V4, SIP)).unwrap();
            }
        });
        for backend in ["xdp", "tc", "clsact", "xdp", "clsact", "tc"] {
            agent.kill().unwrap();
            let words = ["--backend", backend, "--interface", WAN];
            agent.with_words(&words).restart(None).unwrap();
            let attachments = agent.json(&["status"]).unwrap()["attachments"].clone();
            let kind = if backend == "xdp" { "xdp-native" } else { "tc" };
            assert_eq!(attachments.as_array().unwrap().len(), 1, "{attachments}");
            assert_eq!(attachments[0]["kind"], kind);
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    site.send(addresses.v4("ES"), SIP, b"marker").unwrap();
    assert_eq!(next(&pbx).unwrap().0, "marker");
}

#[test]
fn an_interface_under_the_name_of_another_is_protected_itself() {
    let world = world();
    let addresses = Addresses::new(&world);
    for backend in ["xdp", "tc", "clsact"] {
        let site = Site::new().unwrap();
        let pbx = site.listen(Ipv4Addr::UNSPECIFIED, SIP).unwrap();
        let words = ["--backend", backend, "--interface", WAN];
        let mut agent = Agent::start(&site.host, &words).unwrap();
        agent.json(&["allow", "ES", "--yes"]).unwrap();
        agent.kill().unwrap();
        site.host.ip(&format!("link set {WAN} down")).unwrap();
        site.host.ip(&format!("link set {WAN} name old0")).unwrap();
        site.internet.ip("link set net0 name net1").unwrap();
        site.wire().unwrap();
        agent.restart(None).unwrap();
        assert!(!passes(&site, &pbx, addresses.v4("CN"), addresses.v4("ES")), "{backend}");
        let links = site.host.ip("link show dev old0").unwrap();
        assert!(!links.contains("xdp"), "{links}");
    }
}

/// What is pinned, by name.
fn pins(agent: &Agent<'_>) -> BTreeSet<String> {
    let folder = kernel::paths(&agent.runtime_dir()).swap_remove(0);
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn interfaces_that_came_and_went_leave_nothing_behind() {
    for backend in ["xdp", "tc", "clsact"] {
        let site = Site::new().unwrap();
        let words = ["--backend", backend, "--interface", WAN];
        let mut agent = Agent::start(&site.host, &words).unwrap();
        agent.json(&["allow", "ES", "--yes"]).unwrap();
        let before = pins(&agent);
        for dies in [false, true] {
            for _ in 0..3 {
                site.host.ip("link add come0 type veth peer name come1").unwrap();
                within_five_seconds("they are tracked", || pins(&agent).len() >= before.len() + 2);
                if dies {
                    agent.kill().unwrap();
                }
                site.host.ip("link del come0").unwrap();
                if dies {
                    agent.restart(None).unwrap();
                }
                within_five_seconds("what held them is gone", || pins(&agent) == before);
            }
        }
    }
}

#[test]
fn an_interface_that_went_away_is_protected_again_when_it_is_back() {
    let world = world();
    let addresses = Addresses::new(&world);
    for backend in ["xdp", "tc", "clsact"] {
        let site = Site::new().unwrap();
        let pbx = site.listen(Ipv4Addr::UNSPECIFIED, SIP).unwrap();
        let words = ["--backend", backend, "--interface", WAN];
        let agent = Agent::start(&site.host, &words).unwrap();
        agent.json(&["allow", "ES", "--yes"]).unwrap();
        site.host.ip(&format!("link del {WAN}")).unwrap();
        let attachments = agent.json(&["status"]).unwrap()["attachments"].clone();
        assert_eq!(attachments, serde_json::json!([]), "nothing is claimed that is not so");
        site.wire().unwrap();
        within_five_seconds("the interface is protected again", || {
            !passes(&site, &pbx, addresses.v4("CN"), addresses.v4("ES"))
        });
    }
}

#[test]
fn an_agent_that_is_there_before_its_interface_attaches_when_it_comes() {
    let world = world();
    let addresses = Addresses::new(&world);
    for words in [&["--backend", "tc", "--interface", WAN][..], &["--backend", "tc"], &[]] {
        let site = Site::new().unwrap();
        let pbx = site.listen(Ipv4Addr::UNSPECIFIED, SIP).unwrap();
        let mut agent = Agent::start(&site.host, words).unwrap();
        agent.json(&["allow", "ES", "--yes"]).unwrap();
        agent.kill().unwrap();
        site.host.ip(&format!("link del {WAN}")).unwrap();
        agent.restart(None).unwrap();
        let status = agent.json(&["status"]).unwrap();
        assert_eq!(status["attachments"], serde_json::json!([]), "{words:?}");
        assert!(status["warnings"].to_string().contains(WAN), "it is said: {status}");
        site.wire().unwrap();
        within_five_seconds("the interface is protected", || {
            !passes(&site, &pbx, addresses.v4("CN"), addresses.v4("ES"))
        });
    }
}

#[test]
fn what_has_a_default_route_takes_the_place_of_an_interface_that_is_not_there_any_more() {
    let site = Site::new().unwrap();
    let mut agent = Agent::start(&site.host, &["--backend", "tc"]).unwrap();
    agent.json(&["allow", "ES", "--yes"]).unwrap();
    agent.kill().unwrap();
    site.host.ip(&format!("link del {WAN}")).unwrap();
    agent.restart(None).unwrap();
    site.host.ip("link add new0 type veth peer name new1").unwrap();
    site.host.ip("link set new1 up").unwrap();
    site.host.ip("link set new0 up").unwrap();
    site.host.ip("addr add 203.0.113.10/24 dev new0").unwrap();
    site.host.ip("route add default via 203.0.113.1 dev new0").unwrap();
    within_five_seconds("it is protected", || {
        agent.json(&["status"]).unwrap()["attachments"][0]["interface"] == "new0"
    });
}

#[test]
fn a_private_address_that_comes_later_lets_its_network_in() {
    let world = world();
    let addresses = Addresses::new(&world);
    for backend in ["xdp", "tc"] {
        let site = Site::new().unwrap();
        let pbx = site.listen(Ipv4Addr::UNSPECIFIED, SIP).unwrap();
        let words = ["--backend", backend, "--interface", WAN];
        let agent = Agent::start(&site.host, &words).unwrap();
        agent.json(&["allow", "ES", "--yes"]).unwrap();
        let phone = Ipv4Addr::new(10, 9, 0, 5);
        assert!(
            !passes(&site, &pbx, phone, addresses.v4("ES")),
            "a forged source on a public interface"
        );
        site.host.ip(&format!("addr add 10.9.0.1/24 dev {WAN}")).unwrap();
        within_five_seconds("the phone is let in", || {
            passes(&site, &pbx, phone, addresses.v4("ES"))
        });
        site.host.ip(&format!("addr del 10.9.0.1/24 dev {WAN}")).unwrap();
        within_five_seconds("it is kept out", || !passes(&site, &pbx, phone, addresses.v4("ES")));
    }
}

#[test]
fn what_is_local_on_a_bridge_is_local_on_its_ports() {
    let world = world();
    let addresses = Addresses::new(&world);
    let site = Site::new().unwrap();
    let pbx = site.listen(Ipv4Addr::UNSPECIFIED, SIP).unwrap();
    site.host.ip(&format!("addr del {PBX_V4}/24 dev {WAN}")).unwrap();
    site.host.ip("link add br0 type bridge").unwrap();
    site.host.ip(&format!("link set {WAN} master br0")).unwrap();
    site.host.ip("link set br0 up").unwrap();
    site.host.ip(&format!("addr add {PBX_V4}/24 dev br0")).unwrap();
    site.host.ip("addr add 10.9.0.1/24 dev br0").unwrap();
    let agent = Agent::start(&site.host, &["--backend", "tc", "--interface", WAN]).unwrap();
    agent.json(&["allow", "ES", "--yes"]).unwrap();
    assert!(passes(&site, &pbx, Ipv4Addr::new(10, 9, 0, 5), addresses.v4("ES")));
    assert!(!passes(&site, &pbx, addresses.v4("CN"), addresses.v4("ES")));
}

#[test]
fn packets_without_an_ethernet_header_are_not_left_to_xdp() {
    let site = Site::new().unwrap();
    site.host.ip("tuntap add dev tun9 mode tun").unwrap();
    let words = ["--backend", "xdp-generic", "--interface", "tun9"];
    let agent = Agent::start(&site.host, &words).unwrap();
    let refused = agent.ask(&["allow", "ES", "--yes"]).unwrap();
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("tun9") && said.contains("--backend tc"), "{said}");
}

#[test]
fn filters_before_ours_are_warned_of() {
    let site = Site::new().unwrap();
    site.host.command("tc", &["qdisc", "add", "dev", WAN, "clsact"]).unwrap();
    let words = ["--backend", "clsact", "--interface", WAN];
    let agent = Agent::start(&site.host, &words).unwrap();
    agent.json(&["allow", "ES", "--yes"]).unwrap();
    assert_eq!(agent.json(&["status"]).unwrap()["warnings"], serde_json::json!([]));
    agent.json(&["off"]).unwrap();
    Neighbour::filter_on_clsact(&site.host, 1).unwrap();
    agent.json(&["allow", "ES", "--yes"]).unwrap();
    let warnings = agent.json(&["status"]).unwrap()["warnings"].to_string();
    assert!(warnings.contains("filters of others come before ours"), "{warnings}");
}
