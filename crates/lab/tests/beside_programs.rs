//! Promise 10: other BPF programs on the interface, whichever comes first, work beside the filter, and whoever can't is
//! refused by the kernel and leaves it in force.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use geofilter_core::geodata::embedded;
use geofilter_lab::addresses::Addresses;
use geofilter_lab::guarded::{Guarded, agent_of};
use geofilter_lab::namespace::Namespace;
use geofilter_lab::neighbours::{Neighbour, Others, compile, load};
use geofilter_lab::site::{PBX_V4, Site, WAN, next};

/// What the others' program drops: datagrams to this port.
const THEIR_PORT: u16 = 7_777;

fn attach(host: &Namespace, how: &str) -> anyhow::Result<()> {
    let (_folder, object) = compile(&Others::Dropping(THEIR_PORT))?;
    load(host, "ip", &format!("{how} obj {object} sec xdp"))
}

/// Whether the others' program drops what it is there for; what goes to another port arrives.
fn theirs_works(site: &Site, sockets: &[UdpSocket; 2]) -> bool {
    let world = embedded::world().unwrap().world;
    let home = Addresses::new(&world).v4("ES");
    for port in [THEIR_PORT, THEIR_PORT + 1] {
        site.send(home, port, b"probe").unwrap();
    }
    assert_eq!(next(&sockets[1]).unwrap().0, "probe");
    sockets[0].set_nonblocking(true).unwrap();
    sockets[0].recv(&mut [0; 8]).is_err()
}

fn sockets(site: &Site) -> [UdpSocket; 2] {
    [THEIR_PORT, THEIR_PORT + 1].map(|port| site.listen(PBX_V4, port).unwrap())
}

fn programs(site: &Site) -> String {
    site.host.ip(&format!("-d link show dev {WAN}")).unwrap()
}

#[test]
fn beside_another_xdp_program_the_filter_takes_tc_and_both_work() {
    let site = Site::new().unwrap();
    let sockets = sockets(&site);
    attach(&site.host, &format!("link set dev {WAN} xdp")).unwrap();
    let agent = agent_of(&site, "auto");
    let guarded = Guarded::new(&site, &agent);
    let attached = agent.json(&["status"]).unwrap()["attachments"].clone();
    assert_eq!(attached[0]["kind"], "tc");
    assert!(theirs_works(&site, &sockets));
    guarded.keeps_out();
    assert!(guarded.serves());
    // It is put in the place of itself, taken away, and comes again: the filter is not concerned.
    attach(&site.host, &format!("-force link set dev {WAN} xdp")).unwrap();
    guarded.keeps_out();
    site.host.ip(&format!("link set dev {WAN} xdp off")).unwrap();
    guarded.keeps_out();
    assert!(!theirs_works(&site, &sockets));
    attach(&site.host, &format!("link set dev {WAN} xdp")).unwrap();
    guarded.keeps_out();
    guarded.off();
    assert!(theirs_works(&site, &sockets));
}

#[test]
fn an_xdp_program_that_comes_after_the_filter_is_refused_by_the_kernel_until_it_is_off() {
    let site = Site::new().unwrap();
    let sockets = sockets(&site);
    let agent = agent_of(&site, "xdp");
    let guarded = Guarded::new(&site, &agent);
    let before = programs(&site);
    for how in
        ["link set dev wan0 xdp", "-force link set dev wan0 xdp", "link set dev wan0 xdpgeneric"]
    {
        let refused = attach(&site.host, how).unwrap_err().to_string();
        println!("{how}: {refused}");
        guarded.keeps_out();
        assert!(guarded.serves());
    }
    for how in ["link set dev wan0 xdp off", "link set dev wan0 xdpgeneric off"] {
        // The kernel takes a program away from nobody who holds it by a link.
        let _ = site.host.ip(how);
        guarded.keeps_out();
    }
    assert_eq!(programs(&site), before);
    guarded.off();
    attach(&site.host, &format!("link set dev {WAN} xdp")).unwrap();
    assert!(theirs_works(&site, &sockets));
}

#[test]
fn tc_programs_of_others_come_and_go_beside_the_filter() {
    for backend in ["xdp", "tc"] {
        let site = Site::new().unwrap();
        let agent = agent_of(&site, backend);
        let guarded = Guarded::new(&site, &agent);
        Neighbour::Clsact.move_in(&site.host).unwrap();
        guarded.keeps_out();
        assert!(guarded.serves());
        site.host.command("tc", &["qdisc", "del", "dev", WAN, "clsact"]).unwrap();
        guarded.keeps_out();
        assert!(guarded.serves());
        guarded.off();
    }
}

#[test]
fn a_clsact_qdisc_that_others_take_away_is_put_back() {
    let site = Site::new().unwrap();
    let agent = agent_of(&site, "clsact");
    let guarded = Guarded::new(&site, &agent);
    let filters = || site.host.command("tc", &["filter", "show", "dev", WAN, "ingress"]).unwrap();
    guarded.keeps_out();
    site.host.command("tc", &["qdisc", "del", "dev", WAN, "clsact"]).unwrap();
    let since = Instant::now();
    while !filters().contains("gf_tc") {
        assert!(since.elapsed() < Duration::from_secs(5), "the filter stays away");
    }
    guarded.is_warned_of("was taken off wan0");
    guarded.keeps_out();
    assert!(guarded.serves());
    guarded.off();
    assert!(!site.host.command("tc", &["qdisc", "show", "dev", WAN]).unwrap().contains("clsact"));
}
