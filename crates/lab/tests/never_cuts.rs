//! Promise 5: whoever the PBX itself contacted first always passes, and nobody gets there by being answered.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use geofilter_core::country::{CountrySet, select};
use geofilter_core::geodata::embedded;
use geofilter_core::overrides::AddressKey;
use geofilter_core::tracker::MAX_PEERS;
use geofilter_core::world::World;
use geofilter_dataplane::{Backend, Preference};
use geofilter_lab::addresses::Addresses;
use geofilter_lab::phones::{CHALLENGE, INVITE, Phones, REGISTER, with_agents};
use geofilter_lab::plane::{Plane, now};
use geofilter_lab::site::{SIP, Site};

const PREFERENCES: [Preference; 2] = [Preference::Xdp, Preference::Tc];
const SECOND: u64 = 1_000_000_000;

const OPTIONS: &str = "OPTIONS sip:trunk.example SIP/2.0\r\n\r\n";

fn spain() -> CountrySet {
    select(["ES"]).unwrap()
}

/// With a data plane that observes, once for each kind.
fn with_planes(test: impl Fn(&Phones<'_>, &mut Plane<'_>, &Addresses<'_>)) {
    let world: World = embedded::world().unwrap().world;
    let addresses = Addresses::new(&world);
    for preference in PREFERENCES {
        println!("{preference:?}");
        let site = Site::new().unwrap();
        let phones = Phones::new(&site, &addresses);
        let mut plane = Plane::observe(&site.host, preference, &world, spain()).unwrap();
        test(&phones, &mut plane, &addresses);
    }
}

#[test]
fn a_trunk_in_a_blocked_country_is_let_in_once_the_pbx_registers_there() {
    with_agents(|phones, _, addresses| {
        for address in [IpAddr::from(addresses.v4("CN")), addresses.v6("CN").into()] {
            let trunk = phones.somebody(address, SIP);
            assert!(!phones.reaches(&trunk, INVITE));
            phones.pbx_sends(&trunk, REGISTER);
            assert!(phones.reaches(&trunk, "SIP/2.0 200 OK\r\n\r\n"));
            assert!(phones.reaches(&trunk, INVITE));
            // Only from where it was contacted: another port could be anybody behind the same address.
            assert!(!phones.reaches(&phones.somebody(address, 5070), INVITE));
            // And only by the protocol that it was contacted by.
            let patience = Duration::from_millis(300);
            assert!(phones.site.connect_from(SocketAddr::new(address, SIP), patience).is_err());
        }
        assert!(!phones.reaches(&phones.somebody(addresses.v4("RU"), SIP), INVITE));
    });
}

#[test]
fn a_trunk_that_is_only_qualified_is_reached_at_any_time_of_a_day() {
    const STEP: u64 = 15;
    with_planes(|phones, plane, addresses| {
        plane.enforce().unwrap();
        let trunk = phones.somebody(addresses.v4("CN"), SIP);
        assert!(!phones.reaches(&trunk, INVITE));
        for step in 0..24 * 3600 / STEP {
            if (step * STEP).is_multiple_of(60) {
                phones.pbx_sends(&trunk, OPTIONS);
            }
            assert!(phones.reaches(&trunk, INVITE), "after {} s", step * STEP);
            plane.age_peers(STEP * SECOND).unwrap();
        }
        // The PBX stops asking: two hours later the trunk is a stranger again.
        plane.age_peers(2 * 3600 * SECOND - 120 * SECOND).unwrap();
        assert!(phones.reaches(&trunk, INVITE));
        plane.age_peers(120 * SECOND).unwrap();
        assert!(!phones.reaches(&trunk, INVITE));
        // It never came first, so the next request brings it back.
        phones.pbx_sends(&trunk, OPTIONS);
        assert!(phones.reaches(&trunk, INVITE));
    });
}

/// Everything a PBX sends to somebody who was answered, without asking anything of him.
const ANSWERS: [&str; 7] = [
    CHALLENGE,
    "SIP/2.0 100 Trying\r\nVia: SIP/2.0/UDP 192.0.2.1\r\n\r\n",
    "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.1\r\n\r\n",
    "\r\n\r\n",
    "\0\u{1}\0\u{8}!\u{12}$Btransaction-1",
    "ACK sip:attacker@192.0.2.1 SIP/2.0\r\n\r\n",
    "BYE sip:attacker@192.0.2.1 SIP/2.0\r\n\r\n",
];

#[test]
fn being_answered_before_or_after_activation_earns_nothing() {
    let world: World = embedded::world().unwrap().world;
    let addresses = Addresses::new(&world);
    for preference in PREFERENCES {
        let site = Site::new().unwrap();
        let phones = Phones::new(&site, &addresses);
        for address in [IpAddr::from(addresses.v4("CN")), addresses.v6("CN").into()] {
            let attacker = phones.somebody(address, SIP);
            assert!(phones.reaches(&attacker, "REGISTER sip:pbx.example SIP/2.0\r\n\r\n"));
            phones.pbx_sends(&attacker, CHALLENGE);
            let mut plane = Plane::observe(&site.host, preference, &world, spain()).unwrap();
            plane.enforce().unwrap();
            for answer in ANSWERS {
                // Three times: unanswered responses are sent again.
                for _ in 0..3 {
                    phones.pbx_sends(&attacker, answer);
                    assert!(!phones.reaches(&attacker, INVITE), "after {answer:?}");
                }
            }
            assert_eq!(plane.peers().unwrap(), []);
        }
    }
}

#[test]
fn whoever_came_first_is_no_peer_when_the_pbx_qualifies_him() {
    with_planes(|phones, plane, addresses| {
        let register = "REGISTER sip:pbx.example SIP/2.0\r\n\r\n";
        // One registers while the policy only observes, one comes from an allowed country before he moves.
        let thieves: [IpAddr; 2] = [addresses.v4("CN").into(), addresses.v6("RU").into()];
        for address in thieves {
            let thief = phones.somebody(address, 5062);
            assert!(phones.reaches(&thief, register));
            phones.pbx_sends(&thief, "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.1\r\n\r\n");
        }
        // One registered yesterday, when nothing was attached: only the PBX knows of him.
        let yesterday = phones.somebody(addresses.several_v4("CN", 2)[1], SIP);
        let contact = AddressKey::of(yesterday.local_addr().unwrap().ip());
        plane.with(|kernel| kernel.set_contacts(&[contact].into_iter().collect())).unwrap();
        plane.enforce().unwrap();
        for address in thieves {
            // Also from a contact with another port than he came from.
            for port in [5062, 5080] {
                let thief = phones.somebody(address, port);
                phones.pbx_sends(&thief, OPTIONS);
                assert!(!phones.reaches(&thief, INVITE), "{address} {port}");
            }
        }
        phones.pbx_sends(&yesterday, OPTIONS);
        assert!(!phones.reaches(&yesterday, INVITE));
        assert_eq!(plane.peers().unwrap(), []);
        // The PBX's own login counts all the same.
        phones.pbx_sends(&yesterday, REGISTER);
        assert!(phones.reaches(&yesterday, INVITE));
    });
}

#[test]
fn who_is_let_in_while_paused_came_first_too() {
    with_agents(|phones, agent, addresses| {
        agent.json(&["pause", "--for", "1m"]).unwrap();
        let thief = phones.somebody(addresses.v4("CN"), SIP);
        assert!(phones.reaches(&thief, INVITE));
        agent.json(&["resume"]).unwrap();
        phones.pbx_sends(&thief, OPTIONS);
        assert!(!phones.reaches(&thief, INVITE));
    });
}

#[test]
fn packets_forged_in_the_trunks_name_while_observing_cut_no_trunk() {
    with_planes(|phones, plane, addresses| {
        let [early, late, seeded] = addresses.several_v4("CN", 3)[..] else { panic!("too few") };
        let trunk = phones.somebody(early, SIP);
        phones.pbx_sends(&trunk, OPTIONS);
        for address in [early, late, seeded] {
            // Whoever forges them gets no answer, so it does not matter who reads them.
            let forger = phones.somebody(address, 40_000);
            assert!(phones.reaches(&forger, "INVITE sip:forged@pbx SIP/2.0\r\n\r\n"));
        }
        let known = phones.somebody(seeded, SIP).local_addr().unwrap();
        let until = geofilter_core::desired::BootTime(geofilter_lab::plane::now().0 + 60 * SECOND);
        plane.with(|kernel| kernel.set_peer(known, until)).unwrap();
        plane.enforce().unwrap();
        // It was a peer before: the request keeps it one.
        assert!(phones.reaches(&trunk, INVITE));
        phones.pbx_sends(&trunk, OPTIONS);
        assert!(phones.reaches(&trunk, INVITE));
        // The login makes a peer whoever came first.
        let trunk = phones.somebody(late, SIP);
        phones.pbx_sends(&trunk, OPTIONS);
        assert!(!phones.reaches(&trunk, INVITE));
        phones.pbx_sends(&trunk, REGISTER);
        assert!(phones.reaches(&trunk, INVITE));
        // What the PBX's configuration says makes one too, and its requests keep it.
        let trunk = phones.somebody(seeded, SIP);
        assert!(phones.reaches(&trunk, INVITE));
        phones.pbx_sends(&trunk, OPTIONS);
        plane.age_peers(60 * SECOND).unwrap();
        assert!(phones.reaches(&trunk, INVITE));
    });
}

#[test]
fn peers_that_have_ended_make_room_and_a_full_table_is_told_of() {
    let world: World = embedded::world().unwrap().world;
    let addresses = Addresses::new(&world);
    let site = Site::new().unwrap();
    let phones = Phones::new(&site, &addresses);
    let trunk = phones.somebody(addresses.v4("CN"), SIP);
    for ended in [false, true] {
        let mut plane = Plane::observe(&site.host, Preference::Tc, &world, spain()).unwrap();
        plane.enforce().unwrap();
        let until = if ended { 1 } else { u64::MAX - 1 };
        let fill = |kernel: &mut geofilter_dataplane::kernel::Kernel| {
            for port in 0..MAX_PEERS as u16 {
                let peer = SocketAddr::from(([198, 51, 100, 1], port));
                kernel.set_peer(peer, geofilter_core::desired::BootTime(until))?;
            }
            kernel.drain_events(now(), &mut drop)
        };
        plane.with(fill).unwrap();
        phones.pbx_sends(&trunk, REGISTER);
        assert_eq!(phones.reaches(&trunk, INVITE), ended);
        let warnings = plane.with(Backend::observe).unwrap().unwrap().warnings;
        assert_eq!(warnings.concat().contains("1 requests of the PBX made no peer"), !ended);
    }
}

#[test]
fn a_request_that_leaves_by_another_uplink_makes_a_peer() {
    with_agents(|phones, _, addresses| {
        let site = phones.site;
        let trunk = phones.somebody(addresses.v4("CN"), SIP);
        let address = trunk.local_addr().unwrap().ip();
        // It appears while the agent runs, and leads to the trunk alone; answers come back by the first.
        site.host
            .ip(&format!("link add wan1 type veth peer name net1 netns {}", site.internet.name()))
            .unwrap();
        site.host.ip("addr add 198.51.100.2/30 dev wan1").unwrap();
        site.host.ip("link set wan1 up").unwrap();
        site.internet.ip("addr add 198.51.100.1/30 dev net1").unwrap();
        site.internet.ip("link set net1 up").unwrap();
        site.internet.ip("route add 198.51.100.2/32 dev net1 table local").unwrap();
        site.host.ip(&format!("route add {address}/32 via 198.51.100.1 dev wan1")).unwrap();
        assert!(!phones.reaches(&trunk, INVITE));
        let since = Instant::now();
        loop {
            // Adding a clsact qdisc, on kernels before 6.6, can cost a packet that leaves just then.
            phones.pbx_tells(trunk.local_addr().unwrap(), REGISTER);
            if phones.reaches(&trunk, INVITE) {
                return;
            }
            assert!(since.elapsed() < Duration::from_secs(5), "wan1 is not tracked");
        }
    });
}

#[test]
fn peers_outlive_changes_restarts_and_a_killed_agent() {
    with_agents(|phones, agent, addresses| {
        let trunk = phones.somebody(addresses.v4("CN"), SIP);
        phones.pbx_sends(&trunk, REGISTER);
        let reaches = || assert!(phones.reaches(&trunk, INVITE));
        reaches();
        for change in [&["allow", "ES", "PT"][..], &["block", "CN"], &["allow", "ES"]] {
            agent.json(&[change, &["--yes"]].concat()).unwrap();
            reaches();
        }
        agent.kill().unwrap();
        reaches();
        // The tracker needs no agent either.
        let second = phones.somebody(addresses.v6("CN"), SIP);
        assert!(!phones.reaches(&second, INVITE));
        phones.pbx_sends(&second, REGISTER);
        assert!(phones.reaches(&second, INVITE));
        for _ in 0..2 {
            agent.restart(None).unwrap();
            reaches();
            assert!(phones.reaches(&second, INVITE));
            agent.kill().unwrap();
        }
        agent.restart(None).unwrap();
        agent.json(&["off"]).unwrap();
        agent.json(&["allow", "ES", "--yes"]).unwrap();
        assert!(!phones.reaches(&trunk, INVITE), "off restores the machine: peers go too");
    });
}
