//! Promises 1 and 5: with the PBX in a container, behind Docker's bridge and rules, the filter on the host's interface
//! drops before them, and the trunks of that PBX pass.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use geofilter_core::geodata::embedded;
use geofilter_lab::addresses::Addresses;
use geofilter_lab::container::{CONTAINER, Container};
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
        let reaches = |from: &std::net::UdpSocket| {
            from.send_to(INVITE.as_bytes(), (PBX_V4, SIP)).unwrap();
            next(&pbx).is_ok_and(|(payload, source)| {
                assert_eq!((payload.as_str(), source), (INVITE, from.local_addr().unwrap()));
                true
            })
        };
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
        let forged: Ipv4Addr = CONTAINER;
        assert!(!known.contains(&forged.into()));
    }
}
