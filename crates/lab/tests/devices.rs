//! Every kind of interface is protected, by a data plane that it can take: which one says each test.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use geofilter_core::geodata::embedded;
use geofilter_lab::addresses::Addresses;
use geofilter_lab::awaited::within;
use geofilter_lab::devices::Device;
use geofilter_lab::process::Agent;
use geofilter_lab::site::{PBX_V4, SIP, Site, WAN, next};
use serde_json::json;

const FIVE_SECONDS: Duration = Duration::from_secs(5);

/// Asks for each backend, and holds which one takes it.
fn is_protected(device: Device, takes: &[(&str, &str)]) {
    let world = embedded::world().unwrap().world;
    let addresses = Addresses::new(&world);
    for (asked, taken) in takes {
        let (kind, _) = device.filters(asked, &addresses).unwrap();
        println!("{device:?}: {asked} is {kind}");
        assert_eq!(kind, *taken, "{device:?}");
    }
}

#[test]
fn a_tunnel_is_protected() {
    is_protected(Device::Tun, &[("auto", "tc"), ("clsact", "tc"), ("nft", "nft")]);
}

#[test]
fn a_bridge_is_protected() {
    is_protected(Device::Bridge, &[("auto", "tc"), ("clsact", "tc"), ("nft", "nft")]);
}

#[test]
fn a_macvlan_is_protected() {
    is_protected(Device::Macvlan, &[("auto", "tc"), ("clsact", "tc"), ("nft", "nft")]);
}

#[test]
fn by_nftables_one_that_vanishes_and_returns_is_protected_from_its_first_packet() {
    let world = embedded::world().unwrap().world;
    let addresses = Addresses::new(&world);
    let site = Site::new().unwrap();
    let mut agent = Agent::start(&site.host, &["--backend", "nft"]).unwrap();
    agent.json(&["allow", "ES", "--yes"]).unwrap();
    for alive in [true, false] {
        site.host.ip(&format!("link del {WAN}")).unwrap();
        if alive {
            let status = || agent.json(&["status"]).unwrap();
            let is_said = || status()["warnings"].to_string().contains("until it is there: wan0\"");
            within(FIVE_SECONDS, Instant::now(), is_said, || status().to_string());
            assert_eq!(status()["attachments"], json!([]));
        } else {
            agent.kill().unwrap();
        }
        site.wire().unwrap();
        let pbx = site.listen(PBX_V4, SIP).unwrap();
        site.send(addresses.v4("CN"), SIP, b"OPTIONS").unwrap();
        site.send(addresses.v4("ES"), SIP, b"OPTIONS").unwrap();
        assert_eq!(next(&pbx).unwrap().1.ip(), addresses.v4("ES"), "{alive}");
    }
    agent.restart(None).unwrap();
    // What gets a default route later is protected as well.
    site.host.ip("link add new0 type veth peer name new1").unwrap();
    site.host.ip("link set new0 up").unwrap();
    site.host.ip("addr add 198.51.100.10/24 dev new0").unwrap();
    site.host.ip("route add default via 198.51.100.1 dev new0 metric 9").unwrap();
    let attachments = || agent.json(&["status"]).unwrap()["attachments"].to_string();
    let are_taken = || attachments().contains(WAN) && attachments().contains("new0");
    within(FIVE_SECONDS, Instant::now(), are_taken, attachments);
    assert_eq!(agent.json(&["off"]).unwrap()["proof"]["clean"], true);
}

#[test]
#[ignore = "needs 8021q, which not every kernel has: `make kernels` runs it"]
fn a_vlan_is_protected_with_its_tags_apart_and_in_the_frame() {
    for offload in [true, false] {
        is_protected(Device::Vlan { offload }, &[("auto", "tc"), ("clsact", "tc"), ("nft", "nft")]);
    }
}

#[test]
#[ignore = "needs 8021q, which not every kernel has: `make kernels` runs it"]
fn what_comes_in_by_a_vlan_is_judged_once_on_the_card_below() {
    let world = embedded::world().unwrap().world;
    let addresses = Addresses::new(&world);
    for (asked, taken) in [("xdp", "xdp-native"), ("tc", "tc"), ("clsact", "tc")] {
        for offload in [true, false] {
            let vlan = Device::Vlan { offload };
            let (kind, status) = vlan.filters_below(asked, &addresses).unwrap();
            assert_eq!(kind, taken, "{vlan:?}");
            assert_eq!(status["dropped"]["by_country"]["CN"]["packets"], 2, "{vlan:?} by {asked}");
        }
    }
}

#[test]
#[ignore = "needs ppp, which not every kernel has: `make kernels` runs it"]
fn a_dialled_line_is_protected() {
    is_protected(Device::Ppp, &[("auto", "tc"), ("clsact", "tc"), ("nft", "nft")]);
}
