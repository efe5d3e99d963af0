//! Promise 6, for CrowdSec: its firewall bouncer and the filter stand beside each other, and neither minds what becomes
//! of the other.

use std::net::IpAddr;

use geofilter_core::geodata::embedded;
use geofilter_lab::addresses::Addresses;
use geofilter_lab::crowdsec::CrowdSec;
use geofilter_lab::guarded::{Guarded, KINDS, agent_of};
use geofilter_lab::site::Site;

#[test]
fn crowdsec_and_the_filter_leave_each_other_alone() {
    let world = embedded::world().unwrap().world;
    let addresses = Addresses::new(&world);
    let [_, one_v4] = addresses.several_v4("ES", 2)[..] else { panic!("too few") };
    let [_, one_v6] = addresses.several_v6("ES", 2)[..] else { panic!("too few") };
    let bad: [IpAddr; 2] = [one_v4.into(), one_v6.into()];
    for backend in KINDS {
        let site = Site::new().unwrap();
        let mut crowdsec = CrowdSec::start(&site.host).unwrap();
        let mut agent = agent_of(&site, backend);
        {
            let guarded = Guarded::new(&site, &agent);
            for address in bad {
                assert!(guarded.arrives(address));
                crowdsec.ban(address).unwrap();
                assert!(!guarded.arrives(address), "{backend}: {address}");
            }
            guarded.keeps_out();
            assert!(guarded.serves());
            // A flush takes CrowdSec's tables along until its bouncer starts again, and not the filter.
            site.host.command("nft", &["flush", "ruleset"]).unwrap();
            guarded.keeps_out();
            assert!(guarded.arrives(bad[0]));
            crowdsec.restart_bouncer().unwrap();
            guarded.keeps_out();
            assert!(guarded.serves());
        }
        // A restart of the filter leaves CrowdSec's bans.
        agent.kill().unwrap();
        agent.restart(None).unwrap();
        let guarded = Guarded::new(&site, &agent);
        for address in bad {
            crowdsec.is_banned_soon(address).unwrap();
            assert!(!guarded.arrives(address), "{backend}: {address}");
        }
        guarded.keeps_out();
        guarded.off();
        assert!(!guarded.arrives(bad[0]));
    }
}
