//! fail2ban.

use std::fs;
use std::path::Path;

use geofilter_lab::asterisk::Asterisk;
use geofilter_lab::fail2ban::{Fail2ban, asterisk_jail};
use geofilter_lab::site::Site;

use crate::support::{Doctor, IGNORE, asterisk, enforcing, wait_for_peers};

#[test]
fn traps_of_fail2ban() {
    let site = Site::new().unwrap();
    let host = &site.host;
    let asterisk = Asterisk::start(host, &asterisk()).unwrap();
    let (security, messages) =
        (asterisk.logs().join("security.log"), asterisk.logs().join("messages.log"));
    let old = asterisk.logs().join("messages");
    fs::write(&old, "").unwrap();
    let agent = enforcing(host, "tc");
    wait_for_peers(&agent);
    let mut fail2ban = Fail2ban::install(&asterisk_jail(&[&security], IGNORE)).unwrap();
    let doctor = Doctor::of(&agent).with(&fail2ban);
    let look = || doctor.look(host);
    fail2ban.start(host).unwrap();
    let healthy = look();
    for (files, code) in [
        (vec![old.as_path()], "fail2ban-log-unread"),
        (vec![Path::new("/no/such/log")], "fail2ban-log-unread"),
        (vec![security.as_path(), &messages], "fail2ban-counts-twice"),
    ] {
        fail2ban.configure(&asterisk_jail(&files, IGNORE)).unwrap();
        look().only_here(&healthy, &[code]);
    }
    fail2ban.configure(&asterisk_jail(&[&security], "")).unwrap();
    let bare = look();
    bare.only_here(&healthy, &["fail2ban-may-ban-friends"]);
    assert!(bare.message("fail2ban-may-ban-friends").contains("1 of the 1"), "{}", bare.0);
    fail2ban.configure(&asterisk_jail(&[&security], "ignoreip = 1.2.4.0/24")).unwrap();
    assert!(look().passed("fail2ban-may-ban-friends"));

    fail2ban.client(host, &["set", "asterisk", "banip", "192.0.2.66"]).unwrap();
    let banning = look();
    assert!(banning.passed("fail2ban-bans-friends"), "{}", banning.0);
    assert!(banning.passed("fail2ban-table-missing"), "{}", banning.0);
    host.command("nft", &["flush", "ruleset"]).unwrap();
    look().only_here(&banning, &["fail2ban-table-missing"]);
    agent.json(&["exempt", "add", "1.2.3.4"]).unwrap();
    for friend in ["1.2.3.4", "1.2.4.16"] {
        fail2ban.client(host, &["set", "asterisk", "banip", friend]).unwrap();
        let report = look();
        report.only_here(&healthy, &["fail2ban-bans-friends"]);
        assert!(report.message("fail2ban-bans-friends").contains(friend), "{}", report.0);
        fail2ban.client(host, &["set", "asterisk", "unbanip", friend]).unwrap();
    }

    fail2ban.configure("[asterisk]\nenabled = false\n").unwrap();
    look().only_here(&healthy, &["fail2ban-no-jail"]);
    fail2ban.stop();
    fail2ban.configure(&asterisk_jail(&[&security], IGNORE)).unwrap();
    look().only_here(&healthy, &["fail2ban-not-running"]);
    let without = Doctor::of(&agent).look(host);
    assert_eq!(without.why_not("fail2ban-log-unread"), "fail2ban is not installed");
}
