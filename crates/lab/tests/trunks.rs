//! Promise 5 on a real PBX: an Asterisk keeps its trunks whatever country they are in, and whoever is
//! registered at it becomes no peer by being asked whether he is there.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use geofilter_core::geodata::embedded;
use geofilter_lab::addresses::Addresses;
use geofilter_lab::asterisk::{Asterisk, Config};
use geofilter_lab::process::Agent;
use geofilter_lab::sip;
use geofilter_lab::site::{PBX_V4, SIP, Site, WAN, next};
use serde_json::Value;

const BACKENDS: [&str; 4] = ["xdp", "tc", "clsact", "nft"];
/// Longer than the agent waits between two questions to the PBX.
const PATIENCE: Duration = Duration::from_secs(40);
/// Far longer than Asterisk takes to answer.
const SILENCE: Duration = Duration::from_millis(300);

fn somebody(site: &Site, address: Ipv4Addr) -> UdpSocket {
    site.anywhere(address, SIP).unwrap()
}

/// Whether the PBX answers a request from there; what it asks itself does not count.
fn is_answered(socket: &UdpSocket) -> bool {
    let request = sip::register(socket.local_addr().unwrap(), "UDP", 4711);
    socket.send_to(request.as_bytes(), (PBX_V4, SIP)).unwrap();
    socket.set_read_timeout(Some(SILENCE)).unwrap();
    let answered =
        std::iter::from_fn(|| next(socket).ok()).any(|(text, _)| text.starts_with("SIP/2.0 4"));
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    answered
}

fn peers(agent: &Agent<'_>) -> Vec<SocketAddr> {
    let list = agent.json(&["peer", "list"]).unwrap();
    let peers = list["peers"].as_array().unwrap().iter();
    peers.map(|peer| peer["peer"].as_str().unwrap().parse().unwrap()).collect()
}

fn exemptions(agent: &Agent<'_>) -> Vec<Value> {
    agent.json(&["exempt", "list"]).unwrap()["records"].as_array().unwrap().clone()
}

/// Waits until something is so.
fn comes_true(what: &str, is_so: impl Fn() -> bool) {
    let since = Instant::now();
    while !is_so() {
        assert!(since.elapsed() < PATIENCE, "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn trunks_are_let_in_by_what_the_pbx_does_and_by_what_it_is_configured_with() {
    let world = embedded::world().unwrap().world;
    let addresses = Addresses::new(&world);
    let china = addresses.several_v4("CN", 5);
    let [qualified, login, identified, sibling, stranger] = china[..] else { panic!("too few") };
    for backend in BACKENDS {
        println!("backend {backend}");
        let site = Site::new().unwrap();
        let registrar = somebody(&site, login);
        // Asterisk lets up to ten seconds go by before it logs in for the first time.
        registrar.set_read_timeout(Some(PATIENCE)).unwrap();
        let config = Config::new()
            .trunk_qualified_every("qualified", 3600, (qualified, SIP).into())
            .trunk_with_registration("login", (login, SIP).into(), "Secret-Reg-1")
            .trunk_qualified_every("incoming", 0, (sibling, SIP).into())
            .identify("incoming", &format!("{identified}/32"));
        let _pbx = Asterisk::start(&site.host, &config).unwrap();
        let words = ["--backend", backend, "--interface", WAN];
        let mut agent = Agent::start(&site.host, &words).unwrap();
        agent.json(&["allow", "ES", "--yes"]).unwrap();
        assert!(!is_answered(&somebody(&site, stranger)));
        // Its own login, which it repeats for as long as nobody answers.
        comes_true("it logs in", || next(&registrar).unwrap().0.starts_with("REGISTER "));
        assert!(is_answered(&registrar));
        // What it is configured with, before it has sent anything there since the filter came.
        comes_true("its trunks are peers", || {
            let peers = peers(&agent);
            [qualified, sibling]
                .iter()
                .all(|trunk| peers.contains(&SocketAddr::from((*trunk, SIP))))
        });
        for trunk in [qualified, sibling] {
            assert!(is_answered(&somebody(&site, trunk)), "{trunk}");
        }
        comes_true("who is identified is exempt", || !exemptions(&agent).is_empty());
        let exempt = exemptions(&agent);
        assert_eq!((exempt.len(), exempt[0]["origin"].as_str()), (1, Some("pbx")), "{exempt:?}");
        assert!(is_answered(&site.anywhere(identified, 5070).unwrap()));
        for address in [qualified, login, identified, sibling] {
            let protected = agent.ask(&["protected", &address.to_string()]).unwrap();
            assert!(protected.status.success(), "{address}");
        }
        // It stays so with the agent killed, and after it came back.
        agent.kill().unwrap();
        let all = |when: &str| {
            for trunk in [qualified, identified, sibling] {
                assert!(is_answered(&somebody(&site, trunk)), "{trunk} {when}");
            }
            assert!(is_answered(&registrar), "{login} {when}");
            assert!(!is_answered(&somebody(&site, stranger)), "{stranger} {when}");
        };
        all("without an agent");
        agent.restart(None).unwrap();
        all("after a restart");
    }
}

#[test]
fn a_thief_who_registered_is_no_peer_although_the_pbx_qualifies_him() {
    let world = embedded::world().unwrap().world;
    let addresses = Addresses::new(&world);
    let china = addresses.several_v4("CN", 2);
    let [from, contact] = china[..] else { panic!("too few") };
    let site = Site::new().unwrap();
    // It sends to where devices claim to be, once a second.
    let config = Config::new().pjsip(
        "[2001]\ntype=endpoint\ncontext=phones\ndisallow=all\nallow=ulaw\naors=2001\n\
         [2001]\ntype=aor\nmax_contacts=10\nqualify_frequency=1\n",
    );
    let pbx = Asterisk::start(&site.host, &config).unwrap();
    let agent = Agent::start(&site.host, &["--backend", "tc", "--interface", WAN]).unwrap();
    agent.json(&["observe"]).unwrap();
    // He registers with a contact elsewhere, from where nothing ever came.
    let thief = somebody(&site, from);
    let mule = somebody(&site, contact);
    let request = sip::register(thief.local_addr().unwrap(), "UDP", 2001).replace(
        &format!("Contact: <sip:2001@{from}:{SIP}>"),
        &format!("Contact: <sip:2001@{contact}:{SIP}>"),
    );
    thief.send_to(request.as_bytes(), (PBX_V4, SIP)).unwrap();
    let (answer, _) = next(&thief).unwrap();
    assert!(sip::is_success(answer.as_bytes()), "{answer} {}", pbx.log());
    comes_true("the contact is qualified", || next(&mule).unwrap().0.starts_with("OPTIONS "));
    // To the PBX he is a phone like others.
    agent.json(&["allow", "ES", "--yes", "--accept-risk", "lose-phones"]).unwrap();
    let is_peer =
        |address: Ipv4Addr| peers(&agent).iter().any(|peer| peer.ip() == IpAddr::from(address));
    assert!(!is_answered(&thief) && !is_peer(from));
    // Until the agent has heard of his contact the kernel can't know; then it is none and stays none.
    comes_true("he is no peer", || !is_peer(contact));
    comes_true("the contact is qualified again", || next(&mule).unwrap().0.starts_with("OPTIONS "));
    comes_true("and again", || next(&mule).unwrap().0.starts_with("OPTIONS "));
    assert!(!is_peer(contact) && !is_answered(&mule));
    let protected = agent.ask(&["protected", &contact.to_string()]).unwrap();
    assert!(protected.status.success(), "a registered device is never to be banned");
}
