//! Promise 10: the agent may die at any time; the filter stays, and the next agent takes it over without
//! a gap.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use geofilter_core::geodata::embedded;
use geofilter_lab::addresses::Addresses;
use geofilter_lab::process::Agent;
use geofilter_lab::site::{PBX_V4, SIP, Site, WAN, next};
use geofilter_lab::vandals::of_another_layout;

const BACKENDS: [&str; 4] = ["xdp", "tc", "clsact", "nft"];

/// Sends from an allowed and a blocked address in turn, every 200 µs, while `change` runs. Returns how
/// many were sent from each, and asserts that all of the first arrived and none of the others.
fn under_traffic(site: &Site, allowed: IpAddr, blocked: IpAddr, change: impl FnOnce()) -> u64 {
    let pbx = site.listen(Ipv6Addr::UNSPECIFIED, SIP).unwrap();
    rustix::net::sockopt::set_socket_recv_buffer_size(&pbx, 4 << 20).unwrap();
    let senders = [allowed, blocked].map(|source| site.anywhere(source, 0).unwrap());
    let stop = AtomicBool::new(false);
    let sent = AtomicU64::new(0);
    let received = thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                for sender in &senders {
                    sender.send_to(b"OPTIONS", (PBX_V4, SIP)).unwrap();
                }
                sent.fetch_add(1, Ordering::Relaxed);
                thread::sleep(Duration::from_micros(200));
            }
            senders[0].send_to(b"end", (PBX_V4, SIP)).unwrap();
        });
        let receiver = scope.spawn(|| {
            for received in 0.. {
                let (payload, from) = next(&pbx).unwrap();
                assert_eq!(from.ip().to_canonical(), allowed, "after {received} packets");
                if payload == "end" {
                    return received;
                }
            }
            unreachable!("the range has no end")
        });
        change();
        stop.store(true, Ordering::Relaxed);
        receiver.join().unwrap()
    });
    assert_eq!(received, sent.load(Ordering::Relaxed));
    received
}

/// Does something with a host that lets in the first of two addresses and not the other, by each backend.
fn with_agents(test: impl Fn(&str, &Site, &mut Agent<'_>, Ipv4Addr, Ipv4Addr)) {
    let world = embedded::world().unwrap().world;
    let addresses = Addresses::new(&world);
    for backend in BACKENDS {
        let site = Site::new().unwrap();
        let words = ["--backend", backend, "--interface", WAN];
        let mut agent = Agent::start(&site.host, &words).unwrap();
        agent.json(&["allow", "ES", "--yes"]).unwrap();
        test(backend, &site, &mut agent, addresses.v4("ES"), addresses.v4("CN"));
    }
}

#[test]
fn killed_and_restarted_under_traffic_without_a_gap() {
    with_agents(|backend, site, agent, home, abroad| {
        let before = agent.json(&["status"]).unwrap();
        let packets = under_traffic(site, home.into(), abroad.into(), || {
            for _ in 0..5 {
                agent.kill().unwrap();
                thread::sleep(Duration::from_millis(50));
                agent.restart(None).unwrap();
            }
        });
        assert!(packets > 100, "{packets}");
        let after = agent.json(&["status"]).unwrap();
        for kept in ["state", "mode", "countries", "generation", "attachments"] {
            assert_eq!(before[kept], after[kept], "{backend}: {kept}");
        }
        // The counters are the kernel's: they go on too.
        assert!(after["dropped"]["packets"].as_u64().unwrap() >= packets);
    });
}

#[test]
fn an_agent_of_another_layout_takes_over_under_traffic_without_a_gap() {
    with_agents(|backend, site, agent, home, abroad| {
        if backend == "nft" {
            return; // It has no maps.
        }
        let before = agent.json(&["status"]).unwrap();
        under_traffic(site, home.into(), abroad.into(), || {
            agent.kill().unwrap();
            of_another_layout(agent);
            // One that dies while it makes its own leaves what judges as it is, and the next one begins anew.
            for fault in ["attach-folder", "attach-loaded", "attach-filled", "attach-done"] {
                agent.restart(Some(fault)).unwrap();
            }
            agent.restart(None).unwrap();
        });
        assert!(agent.log().contains("another version's"), "{}", agent.log());
        let after = agent.json(&["status"]).unwrap();
        for kept in ["state", "mode", "countries", "attachments"] {
            assert_eq!(before[kept], after[kept], "{backend}: {kept}");
        }
        agent.json(&["allow", "PT", "--yes"]).unwrap();
        assert_eq!(agent.json(&["off"]).unwrap()["proof"]["clean"], true, "{backend}");
    });
}

#[test]
fn changes_under_traffic_harm_no_allowed_packet() {
    with_agents(|_, site, agent, home, abroad| {
        under_traffic(site, home.into(), abroad.into(), || {
            for country in ["PT", "FR", "DE", "IT", "GB", "NL", "BE", "CH", "AT", "SE"] {
                agent
                    .json(&["allow", "ES", country, "--yes", "--accept-risk", "slow-nft"])
                    .unwrap();
            }
            agent.json(&["block", "CN", "--yes"]).unwrap();
        });
    });
}

#[test]
fn a_pause_ends_by_itself_with_the_agent_dead() {
    with_agents(|backend, site, agent, home, abroad| {
        let pbx = site.listen(PBX_V4, SIP).unwrap();
        let began = Instant::now();
        agent.json(&["pause", "--for", "2s"]).unwrap();
        let paused = Instant::now();
        agent.kill().unwrap();
        site.send(abroad, SIP, b"during the pause").unwrap();
        assert_eq!(next(&pbx).unwrap().0, "during the pause");
        let (home, abroad) = (site.anywhere(home, 0).unwrap(), site.anywhere(abroad, 0).unwrap());
        let mut last_passed = Duration::ZERO;
        let mut first_dropped = None;
        while began.elapsed() < Duration::from_millis(2_500) {
            let before = began.elapsed();
            abroad.send_to(b"abroad", (PBX_V4, SIP)).unwrap();
            home.send_to(b"home", (PBX_V4, SIP)).unwrap();
            if next(&pbx).unwrap().0 == "abroad" {
                last_passed = before;
                assert_eq!(next(&pbx).unwrap().0, "home");
            } else {
                first_dropped.get_or_insert(began.elapsed());
            }
            thread::sleep(Duration::from_millis(1));
        }
        // The deadline lies 2 s after some moment between asking and having the answer: what was sent
        // after the latest possible one can't pass, and what was dropped came after the earliest.
        let pause = Duration::from_secs(2);
        assert!(last_passed < pause + (paused - began), "{backend}: {last_passed:?}");
        assert!(first_dropped.unwrap() >= pause, "{backend}: {first_dropped:?}");
        agent.restart(None).unwrap();
        assert_eq!(agent.json(&["status"]).unwrap()["state"], "enforcing");
    });
}

#[test]
fn a_country_is_let_in_until_its_time_is_over_with_the_agent_dead() {
    with_agents(|backend, site, agent, home, abroad| {
        let end = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 2;
        let date = site.host.command("date", &["-u", "-d", &format!("@{end}"), "+%FT%TZ"]).unwrap();
        agent.json(&["allow", "CN", "--until", date.trim(), "--yes"]).unwrap();
        assert_eq!(agent.json(&["status"]).unwrap()["time_boxes"][0]["until"], end);
        agent.kill().unwrap();
        let pbx = site.listen(PBX_V4, SIP).unwrap();
        let (home, abroad) = (site.anywhere(home, 0).unwrap(), site.anywhere(abroad, 0).unwrap());
        let end = UNIX_EPOCH + Duration::from_secs(end);
        let (mut passed, mut dropped) = (0, 0);
        while dropped < 100 {
            let sent = SystemTime::now();
            abroad.send_to(b"abroad", (PBX_V4, SIP)).unwrap();
            home.send_to(b"home", (PBX_V4, SIP)).unwrap();
            if next(&pbx).unwrap().0 == "abroad" {
                // The calendar may have been set by a few milliseconds meanwhile.
                assert!(sent < end + Duration::from_millis(50), "{backend}");
                assert_eq!(next(&pbx).unwrap().0, "home");
                passed += 1;
            } else {
                assert!(SystemTime::now() + Duration::from_millis(50) >= end, "{backend}");
                dropped += 1;
            }
        }
        assert!(passed > 100, "{backend}: {passed}");
    });
}
