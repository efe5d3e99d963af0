//! Promises 1 and 5: with the PBX in a container, behind Docker's bridge and rules, the filter on the host's interface
//! drops before them, and the trunks of that PBX pass.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use geofilter_core::geodata::embedded;
use geofilter_lab::addresses::Addresses;
use geofilter_lab::container::Container;
use geofilter_lab::guarded::{Guarded, agent_of};
use geofilter_lab::phones::{BACKENDS, INVITE, REGISTER};
use geofilter_lab::process::Agent;
use geofilter_lab::site::{PBX_V4, SIP, Site, next};

const OPTIONS: &str = "OPTIONS sip:trunk.example SIP/2.0\r\n\r\n";
/// By then what passes has arrived.
const ARRIVES: Duration = Duration::from_millis(300);

/// How many connections Docker's rule has translated.
fn translated(site: &Site) -> u64 {
    let listed = site.host.command("iptables-nft", &["-t", "nat", "-nvxL", "DOCKER"]).unwrap();
    let rule = listed.lines().find(|line| line.contains(" DNAT ")).unwrap();
    rule.split_whitespace().next().unwrap().parse().unwrap()
}

fn peers(agent: &Agent<'_>) -> Vec<SocketAddr> {
    let list = agent.json(&["peer", "list"]).unwrap();
    let peers = list["peers"].as_array().unwrap().iter();
    peers.map(|peer| peer["peer"].as_str().unwrap().parse().unwrap()).collect()
}

/// Whether a call from there reaches the PBX, with the address it was sent from.
fn reaches(from: &UdpSocket, pbx: &UdpSocket) -> bool {
    from.send_to(INVITE.as_bytes(), (PBX_V4, SIP)).unwrap();
    next(pbx).is_ok_and(|(payload, source)| {
        // Its port is another one where the PBX talks to it already from a port of the host's.
        assert_eq!((payload.as_str(), source.ip()), (INVITE, from.local_addr().unwrap().ip()));
        true
    })
}

#[test]
fn a_pbx_in_a_container_is_guarded_before_its_packets_are_translated() {
    for backend in BACKENDS {
        let site = Site::new().unwrap();
        let container = Container::run(&site).unwrap();
        let pbx = container.pbx().unwrap();
        let agent = agent_of(&site, backend);
        let guarded = Guarded::with_pbx(&site, &agent, pbx).v4_alone();
        guarded.keeps_out();
        assert_eq!(translated(&site), 0);
        assert!(guarded.serves());
        assert_eq!(translated(&site), 1);
        guarded.off();
    }
}

#[test]
fn a_trunk_that_a_pbx_in_a_container_contacted_first_passes() {
    let world = embedded::world().unwrap().world;
    let addresses = Addresses::new(&world);
    for backend in BACKENDS {
        let site = Site::new().unwrap();
        let container = Container::run(&site).unwrap();
        let pbx = container.pbx().unwrap();
        pbx.set_read_timeout(Some(ARRIVES)).unwrap();
        let agent = agent_of(&site, backend);
        agent.json(&["allow", "ES", "--yes"]).unwrap();
        let [one, other] = addresses.several_v4("CN", 2)[..] else { panic!("too few") };
        let reaches = |from: &UdpSocket| reaches(from, &pbx);
        for (address, request) in [(one, REGISTER), (other, OPTIONS)] {
            let trunk = site.anywhere(address, SIP).unwrap();
            assert!(!reaches(&trunk));
            pbx.send_to(request.as_bytes(), (address, SIP)).unwrap();
            // Masqueraded, from the port it has.
            assert_eq!(
                next(&trunk).unwrap(),
                (request.to_owned(), SocketAddr::from((PBX_V4, SIP)))
            );
            assert!(reaches(&trunk), "{backend}: {request}");
            assert!(!reaches(&site.anywhere(address, 5070).unwrap()));
        }
        // Calls that are let in, as they leave towards the container, make nobody a peer.
        let phone = site.anywhere(addresses.v4("ES"), SIP).unwrap();
        assert!(reaches(&phone));
        let mut known: Vec<IpAddr> = peers(&agent).iter().map(SocketAddr::ip).collect();
        known.sort();
        let mut expected: Vec<IpAddr> = vec![one.into(), other.into()];
        expected.sort();
        assert_eq!(known, expected);
    }
}

#[test]
fn a_trunk_that_sees_another_port_of_the_container_needs_an_exemption() {
    let world = embedded::world().unwrap().world;
    let address = Addresses::new(&world).v4("CN");
    // nftables learns before the port is translated, and lets such a trunk in.
    for backend in BACKENDS.into_iter().filter(|backend| *backend != "nft") {
        let site = Site::new().unwrap();
        let container = Container::run(&site).unwrap();
        let other_ports = "-w -t nat -I POSTROUTING -s 172.17.0.0/16 ! -o docker0 -p udp \
                           -j MASQUERADE --to-ports 40000-40010";
        let words: Vec<&str> = other_ports.split_whitespace().collect();
        site.host.command("iptables-nft", &words).unwrap();
        let pbx = container.pbx().unwrap();
        pbx.set_read_timeout(Some(ARRIVES)).unwrap();
        let agent = agent_of(&site, backend);
        agent.json(&["allow", "ES", "--yes"]).unwrap();
        let trunk = site.anywhere(address, SIP).unwrap();
        pbx.send_to(REGISTER.as_bytes(), (address, SIP)).unwrap();
        let (_, seen) = next(&trunk).unwrap();
        assert!((40_000..=40_010).contains(&seen.port()));
        // Its answer finds back, since that port is not protected; its calls do not come from a peer.
        trunk.send_to(b"SIP/2.0 200 OK\r\n\r\n", seen).unwrap();
        assert!(next(&pbx).unwrap().0.starts_with("SIP/2.0 200 "));
        assert!(!reaches(&trunk, &pbx), "{backend}");
        assert_eq!(peers(&agent), []);
        agent.json(&["exempt", "add", &address.to_string()]).unwrap();
        assert!(reaches(&trunk, &pbx), "{backend}");
    }
}
