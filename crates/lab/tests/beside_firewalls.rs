//! Promise 4 and the order of things: ufw and firewalld come, reload and go, and do what they do with whatever the filter
//! lets in.

use geofilter_lab::firewalls::{Firewalld, Ufw};
use geofilter_lab::guarded::{Guarded, KINDS, agent_of};
use geofilter_lab::site::Site;

#[test]
fn ufw_is_enabled_reloaded_and_disabled_beside_the_filter() {
    for backend in KINDS {
        let site = Site::new().unwrap();
        let ufw = Ufw::install(&site.host).unwrap();
        let agent = agent_of(&site, backend);
        let guarded = Guarded::new(&site, &agent);
        assert!(guarded.serves());
        // Who is served depends on it alone, who is kept out on the filter alone.
        for (words, serves) in [
            ("--force enable", false),
            ("allow 5060/udp", true),
            ("reload", true),
            ("disable", true),
        ] {
            ufw.run(words).unwrap();
            guarded.keeps_out();
            assert_eq!(guarded.serves(), serves, "{backend}: after ufw {words}");
        }
        ufw.run("--force enable").unwrap();
        guarded.off();
        assert!(ufw.run("status").unwrap().contains("5060/udp"));
    }
}

#[test]
fn firewalld_is_started_reloaded_and_stopped_beside_the_filter() {
    for backend in KINDS {
        let site = Site::new().unwrap();
        let mut firewalld = Firewalld::install(&site.host).unwrap();
        let agent = agent_of(&site, backend);
        let guarded = Guarded::new(&site, &agent);
        assert!(guarded.serves());
        firewalld.start().unwrap();
        guarded.keeps_out();
        assert!(!guarded.serves(), "{backend}: nobody has opened the port");
        for (words, serves) in [
            ("--permanent --add-port=5060/udp", false),
            ("--reload", true),
            ("--complete-reload", true),
        ] {
            firewalld.command(words).unwrap();
            guarded.keeps_out();
            assert_eq!(guarded.serves(), serves, "{backend}: after firewall-cmd {words}");
        }
        firewalld.stop();
        guarded.keeps_out();
        assert!(guarded.serves());
        firewalld.start().unwrap();
        guarded.off();
        assert!(firewalld.command("--list-ports").unwrap().contains("5060/udp"));
    }
}
