//! With GeoFilter before it, a real PBX answers and logs no guess from a blocked country, over UDP, IPv6 and TCP; a
//! trunk in a blocked country is served, and fail2ban, beside it, goes on to ban who guesses from an allowed one. The whole table is `make lab`.

use std::time::Duration;

use geofilter_core::geodata::embedded;
use geofilter_lab::botnet::{Carrier, Pace};
use geofilter_lab::siege::{Defence, Siege, Target};

const BOTS: usize = 4;
/// More lines than fail2ban's stock jail lets pass, however many a guess leaves.
const PACE: Pace = Pace { guesses: 12, every: Duration::from_millis(300) };

fn siege(carrier: Carrier) -> Siege {
    Siege { target: Target::Asterisk, carrier, pace: PACE, each: BOTS }
}

#[test]
fn without_a_filter_every_guess_is_answered_and_logged() {
    let world = embedded::world().unwrap().world;
    for carrier in [Carrier::Udp, Carrier::Udp6, Carrier::Tcp] {
        let outcome = siege(carrier).lay(&world, Defence::Nothing).unwrap();
        for share in [outcome.blocked, outcome.allowed] {
            assert_eq!(share.tally.answered, share.tally.guesses, "{carrier:?}");
            assert_eq!(share.logged, share.tally.guesses as u64, "{carrier:?}: {share:?}");
        }
    }
}

#[test]
fn blocked_countries_leave_nothing_and_fail2ban_bans_the_others() {
    let world = embedded::world().unwrap().world;
    for (carrier, backend) in [(Carrier::Udp, "xdp"), (Carrier::Udp6, "tc"), (Carrier::Tcp, "xdp")]
    {
        let outcome = siege(carrier).lay(&world, Defence::GeoFilter(backend)).unwrap();
        let blocked = outcome.blocked;
        assert!(blocked.tally.guesses > 0);
        assert_eq!(
            (blocked.tally.answered, blocked.logged, blocked.banned),
            (0, 0, 0),
            "{carrier:?}"
        );
        let allowed = outcome.allowed;
        assert!(allowed.tally.answered > 0, "{carrier:?}: {allowed:?}");
        assert_eq!(allowed.banned, BOTS, "{carrier:?}: {allowed:?}");
        let trunk = outcome.trunk;
        assert!(trunk.of > 10 && trunk.answered == trunk.of, "{carrier:?}: {trunk:?}");
    }
}

#[test]
fn a_real_kamailio_logs_nothing_from_blocked_countries_either() {
    let world = embedded::world().unwrap().world;
    let siege = Siege { target: Target::Kamailio, ..siege(Carrier::Udp) };
    let without = siege.lay(&world, Defence::Nothing).unwrap();
    for share in [without.blocked, without.allowed] {
        assert_eq!(share.tally.answered, share.tally.guesses);
        assert_eq!(share.logged, share.tally.guesses as u64, "{share:?}");
    }
    for backend in ["xdp", "tc"] {
        let outcome = siege.lay(&world, Defence::GeoFilter(backend)).unwrap();
        let blocked = outcome.blocked;
        assert_eq!((blocked.tally.answered, blocked.logged), (0, 0), "{backend}");
        assert_eq!(outcome.allowed.logged, outcome.allowed.tally.guesses as u64, "{backend}");
        let trunk = outcome.trunk;
        assert!(trunk.of > 10 && trunk.answered == trunk.of, "{backend}: {trunk:?}");
    }
}
