//! Promise 6: a real fail2ban hands its bans to the kernel, where they end to the second and outlive both; and no
//! forged packet makes it, or GeoFilter, ban a trunk.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use geofilter_core::geodata::embedded;
use geofilter_core::world::World;
use geofilter_lab::addresses::Addresses;
use geofilter_lab::asterisk::{Asterisk, Config};
use geofilter_lab::botnet::{Botnet, Carrier, EXTENSIONS, Pace};
use geofilter_lab::fail2ban::{Fail2ban, asterisk_jail};
use geofilter_lab::phones::Phones;
use geofilter_lab::process::Agent;
use geofilter_lab::sip;
use geofilter_lab::site::{PBX_V4, SIP, Site, WAN, next};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(60);
const MOMENT: Duration = Duration::from_millis(50);
/// Milliseconds: the agent tells times in whole seconds.
const SECOND: u64 = 1_000;

/// The jail with GeoFilter's action alone.
fn jail(log: &Path, more: &str) -> String {
    asterisk_jail(&[log], &format!("action = geofilter\n{more}"))
}

fn world() -> World {
    embedded::world().unwrap().world
}

fn agent<'a>(site: &'a Site, backend: &str) -> Agent<'a> {
    let agent = Agent::start(&site.host, &["--backend", backend, "--interface", WAN]).unwrap();
    agent.json(&["allow", "ES", "--yes"]).unwrap();
    agent
}

/// fail2ban's bans with when they end.
fn bans(agent: &Agent<'_>) -> BTreeMap<String, String> {
    let list = agent.json(&["ban", "list"]).unwrap();
    let records = list["records"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let of_fail2ban = records.filter(|record| record["origin"] == "fail2ban");
    of_fail2ban.map(|record| (text(&record["target"]), text(&record["until"]))).collect()
}

/// Seconds that a ban has left.
fn remaining(agent: &Agent<'_>, target: &str) -> Option<u64> {
    let list = agent.json(&["ban", "list", target]).unwrap();
    list["records"][0]["remaining"].as_u64()
}

fn comes_true(what: &str, mut is_so: impl FnMut() -> bool) {
    let since = Instant::now();
    while !is_so() {
        assert!(since.elapsed() < PATIENCE, "{what}");
        thread::sleep(MOMENT);
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

#[test]
fn a_ban_is_in_the_kernel_at_once_and_ends_to_the_second_with_nobody_alive() {
    const LASTS: u64 = 8;
    let world = world();
    let addresses = Addresses::new(&world);
    let spain = addresses.several_v4("ES", 4);
    let [_home, guesser, freed, other] = spain[..] else { panic!("too few") };
    let v6 = addresses.v6("ES");
    for backend in ["xdp", "tc", "nft"] {
        let site = Site::new().unwrap();
        let phones = Phones::new(&site, &addresses);
        let mut agent = agent(&site, backend);
        let log = agent.state_dir().join("messages.log");
        std::fs::write(&log, "").unwrap();
        let mut fail2ban = Fail2ban::install(&jail(&log, &format!("bantime = {LASTS}"))).unwrap();
        fail2ban.with_geofilter(&agent).unwrap();
        fail2ban.start(&site.host).unwrap();
        let client = |words: &[&str]| {
            let words = [&["set", "asterisk"], words].concat();
            fail2ban.client(&site.host, &words).unwrap();
        };
        for address in [guesser, freed, other] {
            assert!(phones.lets_in(address));
        }
        client(&["banip", &freed.to_string()]);
        comes_true("he is banned", || !phones.lets_in(freed));
        client(&["unbanip", &freed.to_string()]);
        comes_true("he is free", || phones.lets_in(freed));
        let began = now();
        client(&["banip", &guesser.to_string(), &v6.to_string()]);
        comes_true("both are banned", || !phones.lets_in(guesser) && !phones.lets_in(v6));
        assert!(phones.lets_in(other));
        // Whoever is in the same /64 is banned with him.
        assert_eq!(bans(&agent).len(), 2);
        // Neither of them is there to end it.
        agent.kill().unwrap();
        fail2ban.kill().unwrap();
        while now() < began + (LASTS - 1) * SECOND {
            assert!(!phones.lets_in(guesser), "{backend}: too early");
            thread::sleep(MOMENT);
        }
        // fail2ban takes up to two seconds to see what it is asked.
        let end = began + (LASTS + 3) * SECOND;
        comes_true("it ends", || phones.lets_in(guesser) && phones.lets_in(v6));
        assert!(now() < end, "{backend}: too late");
        agent.restart(None).unwrap();
    }
}

#[test]
fn bans_survive_either_being_restarted_and_a_flushed_ruleset() {
    let world = world();
    let addresses = Addresses::new(&world);
    let spain = addresses.several_v4("ES", 4);
    let [_home, guesser, phone, late] = spain[..] else { panic!("too few") };
    let site = Site::new().unwrap();
    let phones = Phones::new(&site, &addresses);
    let mut agent = agent(&site, "xdp");
    let log = agent.state_dir().join("messages.log");
    std::fs::write(&log, "").unwrap();
    let mut fail2ban = Fail2ban::install(&jail(&log, "bantime = 500")).unwrap();
    fail2ban.with_geofilter(&agent).unwrap();
    fail2ban.start(&site.host).unwrap();
    fail2ban.client(&site.host, &["set", "asterisk", "banip", &guesser.to_string()]).unwrap();
    comes_true("he is banned", || !phones.lets_in(guesser));
    let first = bans(&agent);
    agent.kill().unwrap();
    assert!(!phones.lets_in(guesser));
    // It waits for an agent that is being restarted.
    thread::scope(|scope| {
        let words = ["set", "asterisk", "banip", &late.to_string()].map(str::to_owned);
        let (fail2ban, site) = (&fail2ban, &site);
        scope.spawn(move || fail2ban.client(&site.host, &words.each_ref().map(String::as_str)));
        comes_true("it has told its action", || fail2ban.log().contains(&format!("Ban {late}")));
        agent.restart(None).unwrap();
    });
    comes_true("he is banned too", || !phones.lets_in(late));
    fail2ban.client(&site.host, &["set", "asterisk", "unbanip", &late.to_string()]).unwrap();
    comes_true("and free", || phones.lets_in(late));
    site.host.command("nft", &["flush", "ruleset"]).unwrap();
    assert!(!phones.lets_in(guesser) && phones.lets_in(phone));
    assert_eq!(bans(&agent), first);
    fail2ban.stop();
    comes_true("its end ends its bans", || phones.lets_in(guesser));
    fail2ban.start(&site.host).unwrap();
    comes_true("it restores them", || !phones.lets_in(guesser));
    assert_eq!(bans(&agent), first, "with the end they had");
    // Twice is once.
    fail2ban.client(&site.host, &["reload", "--restart", "asterisk"]).unwrap();
    comes_true("it restores them", || bans(&agent) == first);
    // A crash ends nothing.
    fail2ban.kill().unwrap();
    assert_eq!(bans(&agent), first);
}

/// Bots of Spain, at an Asterisk whose log of security events the jail reads.
fn attacked(carrier: Carrier, each: usize, lasts: u64) -> (Vec<IpAddr>, BTreeMap<String, u64>) {
    let world = world();
    let addresses = Addresses::new(&world);
    let site = Site::new().unwrap();
    let extensions = EXTENSIONS.take(4);
    let config = Config::new().logger("security.log => security\n");
    let config = extensions.fold(config, |config, extension| {
        config.endpoint_with_password(&extension.to_string(), "correct horse battery staple")
    });
    let asterisk = Asterisk::start(&site.host, &config).unwrap();
    let agent = agent(&site, "xdp");
    let log = asterisk.logs().join("security.log");
    let mut fail2ban = Fail2ban::install(&jail(&log, &format!("bantime = {lasts}"))).unwrap();
    fail2ban.with_geofilter(&agent).unwrap();
    fail2ban.start(&site.host).unwrap();
    let mut botnet = Botnet::new(&site, &addresses, carrier, &["ES"], each).unwrap();
    botnet.attack(Pace { guesses: 12, every: Duration::from_millis(250) }).unwrap();
    let bots = botnet.addresses(|_| true);
    comes_true("fail2ban has banned them", || {
        let banned = fail2ban.client(&site.host, &["get", "asterisk", "banip"]).unwrap();
        banned.split_whitespace().count() == bots.len()
    });
    // It says so before its action has run.
    let mut bans = BTreeMap::new();
    comes_true("its action has run", || {
        let log = fail2ban.log();
        assert!(!log.contains("Failed to execute ban"), "{log}");
        let left = |bot: &IpAddr| Some((bot.to_string(), remaining(&agent, &bot.to_string())?));
        bans = bots.iter().filter_map(left).collect();
        bans.len() == bots.len()
    });
    (bots, bans)
}

#[test]
fn whoever_guesses_over_tcp_is_banned_for_as_long_as_fail2ban_says() {
    let (bots, bans) = attacked(Carrier::Tcp, 3, 86_400);
    for bot in bots {
        let left = bans[&bot.to_string()];
        assert!((86_300..=86_400).contains(&left), "{bot}: {left}");
    }
}

#[test]
fn whoever_seems_to_guess_over_udp_is_banned_for_ten_minutes_at_most() {
    let (bots, bans) = attacked(Carrier::Udp, 3, 86_400);
    for bot in bots {
        let left = bans[&bot.to_string()];
        assert!((500..=600).contains(&left), "{bot}: {left}");
    }
}

#[test]
fn whoever_goes_on_after_a_short_ban_is_banned_again() {
    let world = world();
    let addresses = Addresses::new(&world);
    let spain = addresses.several_v4("ES", 6);
    let site = Site::new().unwrap();
    let config = Config::new().logger("messages.log => notice,warning\n");
    let asterisk = Asterisk::start(&site.host, &config).unwrap();
    let agent = agent(&site, "xdp");
    let log = asterisk.logs().join("messages.log");
    let mut fail2ban = Fail2ban::install(&jail(&log, "bantime = 86400\nmaxretry = 3")).unwrap();
    fail2ban.with_geofilter(&agent).unwrap();
    fail2ban.start(&site.host).unwrap();
    // No more than four of a network are banned in a minute, so the fifth is not, and fail2ban believes he is.
    let [a, b, c, _] = spain[1].octets();
    let neighbours: Vec<_> = (1..=5)
        .map(|host| site.anywhere(Ipv4Addr::new(a, b, c, 100 + host), SIP).unwrap())
        .collect();
    neighbours[..4].iter().for_each(|neighbour| forge(neighbour, 10));
    comes_true("four are banned", || bans(&agent).len() == 4);
    forge(&neighbours[4], 10);
    let last = neighbours[4].local_addr().unwrap().ip();
    comes_true("fail2ban has told its action", || fail2ban.log().contains(&format!("Ban {last}")));
    let began = Instant::now();
    while !bans(&agent).contains_key(&last.to_string()) {
        assert!(began.elapsed() < 2 * PATIENCE, "{}", fail2ban.log());
        forge(&neighbours[4], 10);
        thread::sleep(Duration::from_secs(1));
    }
    assert!(fail2ban.log().contains(&format!("Reban {last}")), "{}", fail2ban.log());
}

/// Sends packets in a trunk's name, as anybody can.
fn forge(forger: &UdpSocket, packets: u32) {
    const AT_A_TIME: u32 = 20;
    let source = forger.local_addr().unwrap();
    for extension in 0..packets {
        let request = sip::register(source, "UDP", 100_000 + extension);
        forger.send_to(request.as_bytes(), (PBX_V4, SIP)).unwrap();
        if extension % AT_A_TIME == 0 {
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// What came of packets forged in the name of a trunk.
#[derive(Debug, PartialEq, Eq)]
struct Forged {
    /// fail2ban told its action to ban the trunk.
    told: bool,
    /// GeoFilter bans it.
    banned: bool,
    /// It is served.
    served: bool,
}

fn forged(packets: u32, action: &str, with_drop_in: bool) -> Forged {
    let world = world();
    let addresses = Addresses::new(&world);
    let trunk: Ipv4Addr = addresses.v4("CN");
    let site = Site::new().unwrap();
    let provider = site.anywhere(trunk, SIP).unwrap();
    let at = SocketAddr::from((trunk, SIP));
    let config = Config::new().logger("messages.log => notice,warning\n");
    let asterisk =
        Asterisk::start(&site.host, &config.trunk_qualified_every("provider", 3600, at)).unwrap();
    let agent = agent(&site, "xdp");
    let log = asterisk.logs().join("messages.log");
    let mut fail2ban =
        Fail2ban::install(&asterisk_jail(&[&log], &format!("action = {action}\n"))).unwrap();
    fail2ban.with_geofilter(&agent).unwrap();
    if !with_drop_in {
        fail2ban.without_drop_in().unwrap();
    }
    fail2ban.start(&site.host).unwrap();
    comes_true("the trunk is known", || {
        agent.ask(&["protected", &trunk.to_string()]).unwrap().status.success()
    });
    forge(&provider, packets);
    // All of it was read, as what a marker leaves shows.
    let marker = site.anywhere(addresses.v4("ES"), SIP).unwrap();
    forge(&marker, 20);
    let marked = marker.local_addr().unwrap().ip().to_string();
    comes_true("the marker is banned", || fail2ban.log().contains(&format!("Ban {marked}")));
    let told = fail2ban.log().contains(&format!("Ban {trunk}"));
    let banned = bans(&agent).contains_key(&trunk.to_string());
    while provider.set_read_timeout(Some(MOMENT)).is_ok() && next(&provider).is_ok() {}
    forge(&provider, 1);
    provider.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let served = next(&provider).is_ok_and(|(text, _)| text.starts_with("SIP/2.0 4"));
    Forged { told, banned, served }
}

#[test]
fn ten_thousand_forged_packets_ban_no_trunk_neither_by_the_stock_action_nor_by_ours() {
    let stock = "nftables-multiport[port=\"5060,5061\", protocol=\"udp,tcp\"]";
    let unharmed = Forged { told: false, banned: false, served: true };
    assert_eq!(forged(10_000, stock, true), unharmed);
    assert_eq!(forged(10_000, "geofilter", true), unharmed);
}

#[test]
fn without_the_drop_in_the_stock_action_cuts_the_trunk_and_ours_does_not() {
    let stock = "nftables-multiport[port=\"5060,5061\", protocol=\"udp,tcp\"]";
    let cut = Forged { told: true, banned: false, served: false };
    assert_eq!(forged(40, stock, false), cut);
    assert_eq!(forged(40, "geofilter", false), Forged { served: true, ..cut });
}
