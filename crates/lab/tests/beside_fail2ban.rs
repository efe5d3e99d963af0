//! Promise 6: fail2ban's own bans work, and are as fast as without GeoFilter, beside it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use geofilter_lab::fail2ban::Fail2ban;
use geofilter_lab::guarded::agent_of;
use geofilter_lab::namespace::Namespace;
use geofilter_lab::site::Site;

/// Rounds of bans; in each every host has its turn.
const ROUNDS: u32 = 11;
/// Bans in one call of the client, so that its own start weighs little.
const BANS: u32 = 5;
const SLOWER: f64 = 1.2;

/// Whether the sets of the jail's two actions have the addresses.
fn are_in_the_sets(host: &Namespace, addresses: &[IpAddr]) -> bool {
    ["udp", "tcp"].iter().all(|protocol| {
        let set = format!("addr-set-asterisk-{protocol}");
        let listed = host.command("nft", &["list", "set", "inet", "f2b-table", &set]).unwrap();
        addresses.iter().all(|address| listed.contains(&address.to_string()))
    })
}

#[test]
fn bans_of_fail2ban_are_as_fast_as_on_an_empty_host() {
    let sites = [(); 3].map(|()| Site::new().unwrap());
    let [_, xdp, tc] = &sites;
    let agents = [agent_of(xdp, "xdp"), agent_of(tc, "tc")];
    let fail2bans = sites.each_ref().map(|site| Fail2ban::idle(&site.host).unwrap());
    for agent in &agents {
        agent.json(&["allow", "ES", "--yes"]).unwrap();
    }
    let mut times = [const { Vec::new() }; 3];
    for round in 0..=ROUNDS {
        // Whoever comes first in a round is another one each time.
        for turn in 0..3 {
            let at = (round as usize + turn) % 3;
            let (host, fail2ban) = (&sites[at].host, &fail2bans[at]);
            let address = |number| Ipv4Addr::from_bits(0x5301_0000 + round * BANS + number).into();
            let addresses: Vec<IpAddr> = (0..BANS).map(address).collect();
            let began = Instant::now();
            fail2ban.ban(host, "asterisk", &addresses).unwrap();
            let took = began.elapsed();
            assert!(are_in_the_sets(host, &addresses));
            // The first one makes the table.
            if round > 0 {
                times[at].push(took);
            }
        }
    }
    let [empty, xdp, tc] = times.map(|mut times| {
        times.sort();
        (times[times.len() / 2], times[0])
    });
    println!("median and best: empty host {empty:?}, XDP {xdp:?}, TC {tc:?}");
    for (name, host) in [("XDP", xdp), ("TC", tc)] {
        let ratio = |one: Duration, other: Duration| one.as_secs_f64() / other.as_secs_f64();
        let (median, best) = (ratio(host.0, empty.0), ratio(host.1, empty.1));
        let said = format!("{name}: {median:.2} times by medians, {best:.2} by the best");
        println!("{said}");
        // What else runs on the machine makes one or the other longer; what makes bans slow, both.
        assert!(median.min(best) <= SLOWER, "{said}");
    }
}
