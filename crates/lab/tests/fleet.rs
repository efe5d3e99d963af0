//! A fleet: hosts that one portal enrols and tells what to do, by the real binary's agent, portal and command line, with real
//! packets.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use geofilter_core::geodata::embedded;
use geofilter_core::wire::Membership;
use geofilter_fleet::{Authority, HostId, LIFETIME, Mark, Renewed, Request};
use geofilter_lab::addresses::Addresses;
use geofilter_lab::awaited::within;
use geofilter_lab::board::asked;
use geofilter_lab::browser::Browser;
use geofilter_lab::crowd::Crowd;
use geofilter_lab::phones::Phones;
use geofilter_lab::portal::{Client, Portal, Scene};
use geofilter_lab::process::Agent;
use geofilter_lab::proxy::Proxy;
use geofilter_lab::site::{Site, WAN};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

const FLEET: &str = "/api/v1/fleet";
const AT: &str = "127.0.0.1:8443";
const PORTAL: &str = "https://127.0.0.1:8443";
const MOMENT: Duration = Duration::from_secs(15);
const DAY: Duration = Duration::from_secs(86_400);
/// The hosts of a crowd, and how often its portal is killed at most.
const HOSTS: usize = 400;
const TRIES: usize = 4;
/// Where an agent keeps what makes its host one of a portal.
const MEMBERSHIP: &str = "fleet/membership.json";

/// A host beside a portal that hears hosts, an admin, and the number of a group.
fn fleet(test: impl FnOnce(&mut Scene<'_>, Client<'_>, i64)) {
    Scene::set(&[], |scene| {
        let first = scene.portal.first_operator().unwrap();
        scene.serve_at("127.0.0.1:0", &["--fleet", AT]).unwrap();
        let ana = first.on(&scene.portal);
        let made = ana.must("POST", &format!("{FLEET}/groups"), Some(&json!({ "name": "Spain" })));
        let group = made.unwrap()["id"].as_i64().unwrap();
        test(scene, ana, group);
    })
    .unwrap();
}

fn token(ana: &Client<'_>, group: i64) -> String {
    let made = ana.must("POST", &format!("{FLEET}/groups/{group}/tokens"), None).unwrap();
    let token = made["token"].as_str().unwrap().to_owned();
    assert_eq!(made["command"], format!("geofilter enrol {PORTAL} --token {token}"));
    token
}

/// What enrolling came to: nothing, or what was said.
fn enrol(scene: &Scene<'_>, portal: &str, token: &str) -> Result<(), String> {
    let said = scene.agent.ask(&["enrol", portal, "--token", token, "--name", "pbx-1"]).unwrap();
    match said.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&said.stderr).into_owned()),
    }
}

fn choose(ana: &Client<'_>, group: i64, policy: &Value) -> Value {
    ana.must("PUT", &format!("{FLEET}/groups/{group}/policy"), Some(policy)).unwrap()
}

fn allow(countries: &[&str]) -> Value {
    json!({ "mode": "allow", "countries": countries })
}

/// What the portal knows of the only host.
fn host(ana: &Client<'_>) -> Value {
    ana.read(FLEET).unwrap()["groups"][0]["hosts"][0].clone()
}

/// Waits until the portal says so of the only host.
fn comes_to(ana: &Client<'_>, progress: &str) -> Value {
    let is_so = || host(ana)["progress"] == progress;
    within(MOMENT, Instant::now(), is_so, || format!("not {progress}: {}", host(ana)));
    host(ana)
}

/// Waits until the host says so of its portal.
fn says(scene: &Scene<'_>, is_so: impl Fn(&Value) -> bool) {
    let said = || of_fleet(scene);
    within(MOMENT * 3, Instant::now(), || is_so(&said()), || said().to_string());
}

fn is_old(why: &Value) -> bool {
    why["refused"].as_str().is_some_and(|why| why.contains("older"))
}

fn of_fleet(scene: &Scene<'_>) -> Value {
    scene.agent.json(&["status"]).unwrap()["fleet"].clone()
}

#[test]
fn a_host_does_what_its_group_is_told_within_a_moment_and_says_what_its_kernel_holds() {
    fleet(|scene, ana, group| {
        enrol(scene, PORTAL, &token(&ana, group)).unwrap();
        assert_eq!(comes_to(&ana, "free")["name"], "pbx-1");
        says(scene, |it| it["connected"] == true);
        assert!(scene.reached(), "nobody has chosen anything");

        let began = Instant::now();
        let told = choose(&ana, group, &allow(&["ES"]));
        says(scene, |it| it["applied"] == format!("1.{}", told["revision"]));
        assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
        assert!(!scene.reached());
        assert_eq!(comes_to(&ana, "confirmed")["state"], "enforcing");

        // Somebody else's hand is seen, and the next choice is the portal's again.
        scene.agent.json(&["allow", "ES", "CN", "--yes"]).unwrap();
        assert!(scene.reached());
        comes_to(&ana, "drifted");
        let told = choose(&ana, group, &allow(&["ES", "PT"]));
        comes_to(&ana, "confirmed");
        assert!(!scene.reached());
        let mark = format!("1.{}", told["revision"]);
        // What observes, or is off, does not do it, whatever it believes.
        for command in ["observe", "off"] {
            scene.agent.json(&[command]).unwrap();
            comes_to(&ana, "drifted");
        }
        scene.agent.json(&["allow", "ES", "PT", "--yes"]).unwrap();
        comes_to(&ana, "confirmed");

        // A restart is no reason to ask anything of it anew; what speaks to the portal ends with the agent.
        scene.agent.kill().unwrap();
        within(
            MOMENT,
            Instant::now(),
            || host(&ana)["connected"] == false,
            || host(&ana).to_string(),
        );
        scene.agent.restart(None).unwrap();
        says(scene, |it| it["connected"] == true);
        assert_eq!(of_fleet(scene)["applied"], mark);
        let generation = scene.agent.json(&["status"]).unwrap()["generation"].clone();
        comes_to(&ana, "confirmed");
        assert_eq!(scene.agent.json(&["status"]).unwrap()["generation"], generation);

        let told = scene.agent.ask(&["status"]).unwrap();
        let told = String::from_utf8_lossy(&told.stdout).into_owned();
        let said = format!("of {PORTAL}, connected; revision {mark} was put in force\n");
        assert!(told.contains(&said), "{told}");

        scene.agent.json(&["leave"]).unwrap();
        assert_eq!(of_fleet(scene), Value::Null);
        assert!(!scene.reached(), "what was in force still is");
        // The portal hears of it, and whoever enrols once more is there once.
        let hosts = || ana.read(FLEET).unwrap()["groups"][0]["hosts"].clone();
        let is_gone = || hosts() == json!([]);
        within(MOMENT, Instant::now(), is_gone, || hosts().to_string());
        let audit = ana.read("/api/v1/audit").unwrap()["entries"][0].clone();
        assert_eq!(
            (&audit["action"], &audit["before"]["name"]),
            (&json!("host left"), &json!("pbx-1"))
        );
        for _ in 0..2 {
            enrol(scene, PORTAL, &token(&ana, group)).unwrap();
            says(scene, |it| it["connected"] == true);
        }
        let is_one = || hosts().as_array().unwrap().len() == 1;
        within(MOMENT, Instant::now(), is_one, || hosts().to_string());
        scene.agent.json(&["leave"]).unwrap();
        choose(&ana, group, &allow(&["CN"]));
        assert!(!scene.reached());
        assert_eq!(scene.agent.ask(&["leave"]).unwrap().status.code(), Some(1));
    });
}

#[test]
fn a_token_is_good_once_for_a_quarter_of_an_hour_and_for_the_portal_that_gave_it() {
    fleet(|scene, ana, group| {
        let mine = token(&ana, group);
        // The last part is whom to trust: another one is not believed, and the token is not used up by it.
        let (secret, pin) = mine.rsplit_once('.').unwrap();
        let swapped: String = pin.chars().rev().collect();
        let other = format!("{secret}.{}A", &swapped[..swapped.len() - 1]);
        let refused = enrol(scene, PORTAL, &other).unwrap_err();
        assert!(
            refused.contains("not the portal that was meant") || refused.contains("no token"),
            "{refused}"
        );
        assert!(enrol(scene, "http://127.0.0.1:8443", &mine).unwrap_err().contains("https://"));
        assert!(enrol(scene, "https://127.0.0.1:1", &mine).unwrap_err().contains("cannot reach"));
        assert!(enrol(scene, PORTAL, "nonsense").unwrap_err().contains("no token"));
        assert_eq!(of_fleet(scene), Value::Null);

        enrol(scene, PORTAL, &mine).unwrap();
        assert!(enrol(scene, PORTAL, &mine).unwrap_err().contains("was used"));
        let late = token(&ana, group);
        let quarter = [15 * 60 * 1000];
        scene
            .portal
            .database()
            .unwrap()
            .execute("UPDATE ticket SET expires = expires - ?", quarter)
            .unwrap();
        assert!(enrol(scene, PORTAL, &late).unwrap_err().contains("has ended"));

        // The database has none of it, and the audit neither.
        let secret = secret.rsplit_once('.').unwrap().1;
        for file in fs::read_dir(scene.portal.state_dir()).unwrap() {
            let file = file.unwrap().path();
            // What world data is made in is a folder.
            if file.is_dir() {
                continue;
            }
            let kept = fs::read(file).unwrap();
            assert!(!kept.windows(secret.len()).any(|part| part == secret.as_bytes()));
        }
    });
}

#[test]
fn a_host_that_is_revoked_is_cut_off_within_a_second_goes_on_and_can_be_enrolled_again() {
    fleet(|scene, ana, group| {
        enrol(scene, PORTAL, &token(&ana, group)).unwrap();
        choose(&ana, group, &allow(&["ES"]));
        let id = comes_to(&ana, "confirmed")["id"].clone();
        let began = Instant::now();
        ana.must("DELETE", &format!("{FLEET}/hosts/{id}"), None).unwrap();
        says(scene, |it| it["connected"] == false);
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
        says(scene, |it| it["trouble"].as_str().is_some_and(|why| why.contains("revoked")));
        choose(&ana, group, &allow(&["CN"]));
        assert_eq!(host(&ana), Value::Null);
        assert!(!scene.reached());

        enrol(scene, PORTAL, &token(&ana, group)).unwrap();
        comes_to(&ana, "confirmed");
        assert_ne!(host(&ana)["id"], id);
    });
}

#[test]
fn a_portal_that_is_killed_costs_nothing_and_one_from_an_old_backup_changes_nothing() {
    fleet(|scene, ana, group| {
        enrol(scene, PORTAL, &token(&ana, group)).unwrap();
        choose(&ana, group, &allow(&["ES"]));
        comes_to(&ana, "confirmed");
        scene.portal.end().unwrap();
        // With what is in its log.
        let names = ["portal.db", "portal.db-wal", "portal.db-shm"]
            .map(|name| scene.portal.state_dir().join(name));
        let old = names.each_ref().map(|name| fs::read(name).ok());
        scene.portal.restart().unwrap();
        let ana = ana.on(&scene.portal);
        says(scene, |it| it["connected"] == true);
        choose(&ana, group, &allow(&["ES", "PT"]));
        comes_to(&ana, "confirmed");

        kill_process(Pid::from_raw(scene.portal.pid().cast_signed()).unwrap(), Signal::KILL)
            .unwrap();
        says(scene, |it| it["connected"] == false);
        let generation = scene.agent.json(&["status"]).unwrap()["generation"].clone();
        assert!(!scene.reached());
        // Nobody is there to end well.
        let _ = scene.portal.end();
        for (name, old) in names.iter().zip(old) {
            match old {
                Some(old) => fs::write(name, old).unwrap(),
                None => drop(fs::remove_file(name)),
            }
        }
        scene.portal.restart_after_a_kill().unwrap();
        let ana = ana.on(&scene.portal);
        says(scene, is_old);
        let status = scene.agent.json(&["status"]).unwrap();
        assert_eq!(status["countries"], json!(["ES", "PT"]));
        assert_eq!(status["generation"], generation);
        // The portal is told that the host has something newer.
        within(MOMENT, Instant::now(), || is_old(&host(&ana)), || host(&ana).to_string());

        // Until an administrator says that it counts.
        let mut browser = Browser::open(scene.portal.namespace()).unwrap();
        browser.enter(&scene.portal, &ana).unwrap();
        browser.does("go", &["Hosts"]).unwrap();
        browser.does("sees", &["This portal was taken back to an old state"]).unwrap();
        browser.does("click", &["Have them do what is chosen here"]).unwrap();
        comes_to(&ana, "confirmed");
        let status = scene.agent.json(&["status"]).unwrap();
        assert_eq!(status["countries"], json!(["ES"]));
        assert_eq!(status["fleet"]["refused"], Value::Null);
    });
}

#[test]
fn a_portal_that_is_killed_while_it_tells_many_tells_all_of_them_when_it_is_back() {
    fleet(|scene, ana, group| {
        let database = scene.portal.database().unwrap();
        let new = "INSERT INTO member (id, host_group, name, enrolled, until) VALUES (?1, ?2, 'pbx-' || ?1, 0, 0)";
        for id in 1..=HOSTS {
            database.execute(new, (i64::try_from(id).unwrap(), group)).unwrap();
        }
        let (key, certificate) = authority(scene);
        let gather = || Crowd::gather(HOSTS, PORTAL, &key, &certificate);
        let crowd = scene.portal.namespace().inside(gather).unwrap().unwrap();
        // On a busy machine it may have told all of them before it dies.
        let told = (0..TRIES).map(|_| killed_while_it_tells(scene, &ana, group, &crowd));
        let told: Vec<usize> = told.take_while(|told| *told == HOSTS).collect();
        assert!(told.len() < TRIES, "it was never killed in the middle");
        assert_eq!(crowd.taken_back(), 0);
    });
}

/// Kills the portal as soon as the first host of a crowd is told something else, and starts it again until all are told. How many were
/// told before.
fn killed_while_it_tells(
    scene: &mut Scene<'_>,
    ana: &Client<'_>,
    group: i64,
    crowd: &Crowd,
) -> usize {
    let ana = ana.on(&scene.portal);
    let choose = |countries: &[&str]| {
        let path = format!("{FLEET}/groups/{group}/policy");
        let told = ana.must("PUT", &path, Some(&allow(countries)))?;
        anyhow::Ok(Mark { epoch: 1, revision: told["revision"].as_u64().unwrap() })
    };
    let first = choose(&["ES"]).unwrap();
    let all = |crowd: &Crowd| crowd.applied(first).len() == HOSTS;
    crowd.wait(MOMENT * 2, "all have it", all).unwrap();
    let portal = Pid::from_raw(scene.portal.pid().cast_signed()).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            let began = Instant::now();
            while crowd.newer_than(first) == 0 && began.elapsed() < MOMENT {
                thread::yield_now();
            }
            kill_process(portal, Signal::KILL).unwrap();
        });
        // Whether it still answers is its affair.
        let _ = choose(&["ES", "PT"]);
    });
    crowd.wait(MOMENT, "all have lost it", |crowd| crowd.connected() == 0).unwrap();
    let told = crowd.newer_than(first);
    assert!(told > 0);
    assert_eq!(crowd.applied(first).len(), HOSTS - told, "the others do what they did");
    // Nobody is there to end well.
    let _ = scene.portal.end();
    scene.portal.restart_after_a_kill().unwrap();
    let all = |crowd: &Crowd| crowd.newer_than(first) == HOSTS;
    crowd.wait(MOMENT * 2, "all are told", all).unwrap();
    told
}

#[test]
fn what_a_host_finds_dangerous_is_not_done_and_said_until_it_is_accepted() {
    fleet(|scene, ana, group| {
        enrol(scene, PORTAL, &token(&ana, group)).unwrap();
        choose(&ana, group, &allow(&["ES"]));
        comes_to(&ana, "confirmed");
        // No trunk is known there.
        let hosting = json!({ "mode": "allow", "countries": ["ES", "CN"], "hosting": "drop" });
        choose(&ana, group, &hosting);
        let refused = comes_to(&ana, "refused");
        assert_eq!(refused["risks"], json!(["lose-trunk"]));
        assert!(!scene.reached(), "what was in force before still is");
        let mut accepted = hosting;
        accepted["accept"] = json!(["lose-trunk"]);
        choose(&ana, group, &accepted);
        comes_to(&ana, "confirmed");
        assert!(scene.reached());

        let everyone =
            ana.send("PUT", &format!("{FLEET}/groups/{group}/policy"), Some(&allow(&[]))).unwrap();
        assert_eq!(everyone.body["risks"], json!(["cut-everyone"]));
        let missing =
            ana.send("PUT", &format!("{FLEET}/groups/99/policy"), Some(&allow(&["ES"]))).unwrap();
        assert_eq!(missing.status, 404);
    });
}

#[test]
fn groups_are_made_hosts_invited_told_and_revoked_on_the_page() {
    fleet(|scene, ana, group| {
        scene.agent.json(&["allow", "ES", "--yes"]).unwrap();
        enrol(scene, PORTAL, &token(&ana, group)).unwrap();
        let mut browser = Browser::open(scene.portal.namespace()).unwrap();
        browser.enter(&scene.portal, &ana).unwrap();
        let mut does = |deed: &str, words: &[&str]| browser.does(deed, words).unwrap();
        does("go", &["Hosts"]);
        does("sees", &["Nothing is chosen for its hosts yet."]);
        does("fill", &["Name of a new group", "Portugal"]);
        does("click", &["Make group"]);
        does("sees", &["Portugal"]);
        // Of the groups the first by name is Portugal's, and hosts are of the other.
        ana.must("PUT", &format!("{FLEET}/groups/{group}/policy"), Some(&allow(&["ES", "CN"])))
            .unwrap();
        does("sees", &["Only CN ES may call."]);
        does("sees", &["in force"]);
        does("sees", &["connected"]);
        browser.shoot("fleet").unwrap();
        let mut does = |deed: &str, words: &[&str]| browser.does(deed, words).unwrap();
        does("click", &["Add a host to Spain"]);
        does("sees", &["geofilter enrol https://127.0.0.1:8443 --token gf1."]);
        does("wear", &["dark", "360"]);
        browser.shoot("fleet-narrow").unwrap();
        let mut does = |deed: &str, words: &[&str]| browser.does(deed, words).unwrap();
        does("unfold", &["More"]);
        does("click", &["Revoke pbx-1"]);
        says(scene, |it| it["connected"] == false);
    });
}

#[test]
fn what_a_host_counts_its_portal_shows_and_monitoring_counts_hosts() {
    fleet(|scene, ana, group| {
        enrol(scene, PORTAL, &token(&ana, group)).unwrap();
        choose(&ana, group, &allow(&["ES"]));
        comes_to(&ana, "confirmed");
        assert!(!scene.reached());
        let path = |id: i64| format!("{FLEET}/hosts/{id}/series?by=country");
        let own = path(host(&ana)["id"].as_i64().unwrap());
        let dropped = || {
            let series = ana.read(&own).unwrap();
            let china = series["parts"].as_array().unwrap().iter().find(|part| part["key"] == "CN");
            let steps = china.map(|china| china["packets"]["dropped"].as_array().unwrap().clone());
            steps.unwrap_or_default().iter().filter_map(Value::as_u64).sum::<u64>()
        };
        let series = || ana.read(&own).unwrap().to_string();
        within(Duration::from_secs(40), Instant::now(), || dropped() > 0, series);
        assert_eq!(ana.get(&path(1)).unwrap().status, 404);

        let told = ana.get(&format!("{FLEET}/metrics")).unwrap().text;
        let line = "geofilter_fleet_hosts{group=\"Spain\",progress=\"confirmed\"} 1\n";
        assert!(told.contains(line) && told.ends_with("# EOF\n"), "{told}");
        for name in asked("geofilter-fleet.json").unwrap() {
            assert!(told.contains(&format!("# TYPE {name} ")), "{name}: {told}");
        }

        assert_eq!(host(&ana)["clock"], Value::Null);
        scene.agent.kill().unwrap();
        scene.agent.restart(Some("wall-clock-ahead=7200")).unwrap();
        let is_seen =
            || host(&ana)["clock"].as_i64().is_some_and(|ahead| (7_190..7_210).contains(&ahead));
        within(MOMENT, Instant::now(), is_seen, || host(&ana).to_string());
        comes_to(&ana, "confirmed");
    });
}

#[test]
fn a_host_that_reaches_others_by_a_proxy_alone_enrols_and_does_what_it_is_told() {
    const FAR: &str = "198.51.100.20:8443";
    const PROXY: &str = "203.0.113.1:8888";
    let world = embedded::world().unwrap().world;
    let addresses = Addresses::new(&world);
    let site = Site::new().unwrap();
    let phones = Phones::new(&site, &addresses);
    let portal = Portal::lead(&site.internet, FAR.parse().unwrap(), None).unwrap();
    let ana = portal.first_operator().unwrap();
    let made = ana.must("POST", &format!("{FLEET}/groups"), Some(&json!({ "name": "Spain" })));
    let group = made.unwrap()["id"].as_i64().unwrap();
    let far: SocketAddr = FAR.parse().unwrap();
    site.host.ip(&format!("route add unreachable {}/32", far.ip())).unwrap();

    let mut agent = Agent::start(&site.host, &["--interface", WAN]).unwrap();
    let path = format!("{FLEET}/groups/{group}/tokens");
    let token = ana.must("POST", &path, None).unwrap()["token"].as_str().unwrap().to_owned();
    let at = format!("https://{FAR}");
    let words = ["enrol", &at, "--token", &token, "--name", "pbx-1"];
    let refused = agent.json(&words).unwrap_err().to_string();
    assert!(refused.contains("cannot reach the portal"), "{refused}");

    let proxy = Proxy::start(&site.internet, PROXY.parse().unwrap(), far.port()).unwrap();
    agent.with_environment("HTTPS_PROXY", &format!("http://{PROXY}"));
    agent.kill().unwrap();
    agent.restart(None).unwrap();
    agent.json(&words).unwrap();
    let asked = proxy.requests().len();
    choose(&ana, group, &allow(&["ES"]));
    comes_to(&ana, "confirmed");
    assert!(!phones.lets_in(addresses.v4("CN")));
    assert!(phones.lets_in(addresses.v4("ES")));
    // It sees where hosts go, and nothing else.
    let requests = proxy.requests();
    assert!(asked > 0 && requests.len() > asked, "{requests:?}");
    let connect = format!("CONNECT {FAR} HTTP/1.1");
    assert!(requests.iter().all(|request| *request == connect), "{requests:?}");

    drop(proxy);
    let trouble = || agent.json(&["status"]).unwrap()["fleet"]["trouble"].to_string();
    let is_said = || trouble().contains(&format!("by the proxy {PROXY}"));
    within(MOMENT, Instant::now(), is_said, trouble);
    assert!(!phones.lets_in(addresses.v4("CN")));
    let _proxy = Proxy::start(&site.internet, PROXY.parse().unwrap(), far.port()).unwrap();
    choose(&ana, group, &allow(&["ES", "CN"]));
    let is_told = || agent.json(&["status"]).unwrap()["countries"] == json!(["CN", "ES"]);
    within(MOMENT * 2, Instant::now(), is_told, trouble);
    assert!(phones.lets_in(addresses.v4("CN")));
}

/// What makes the host one of its portal, as its agent keeps it.
fn membership(scene: &Scene<'_>) -> Membership {
    let kept = fs::read(scene.agent.state_dir().join(MEMBERSHIP)).unwrap();
    let kept: Value = serde_json::from_slice(&kept).unwrap();
    serde_json::from_value(kept["membership"].clone()).unwrap()
}

/// The key and the certificate of the portal's authority.
fn authority(scene: &Scene<'_>) -> (String, String) {
    let database = scene.portal.database().unwrap();
    let both = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
    database.query_row("SELECT key, certificate FROM fleet", [], both).unwrap()
}

/// Starts the agent anew with a certificate that the portal's authority gave at this time. Returns it.
fn restart_with_one_of(scene: &mut Scene<'_>, time: SystemTime) -> Membership {
    scene.agent.kill().unwrap();
    let (key, certificate) = authority(scene);
    let authority = Authority::read(&key, &certificate).unwrap();
    let (before, request) = (membership(scene), Request::new().unwrap());
    let issued = authority.vouch(request.pem(), HostId(before.host), time).unwrap();
    let renewed = Renewed { certificate: issued.certificate, until: issued.until };
    let membership = request.renewed(&before, renewed);
    let kept = json!({ "schema": 1, "membership": membership });
    fs::write(scene.agent.state_dir().join(MEMBERSHIP), kept.to_string()).unwrap();
    scene.agent.restart(None).unwrap();
    membership
}

/// Seconds for which a certificate is good from now on.
fn left(membership: &Membership) -> Duration {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    Duration::from_secs(membership.until.try_into().unwrap()).saturating_sub(now)
}

#[test]
fn a_certificate_with_few_days_left_is_renewed_and_one_that_has_ended_is_told_of() {
    fleet(|scene, ana, group| {
        enrol(scene, PORTAL, &token(&ana, group)).unwrap();
        choose(&ana, group, &allow(&["ES"]));
        let id = comes_to(&ana, "confirmed")["id"].clone();
        let now = SystemTime::now();

        // One with more than ten days left is good enough.
        let good = restart_with_one_of(scene, now - (LIFETIME - 11 * DAY));
        says(scene, |it| it["connected"] == true);
        comes_to(&ana, "confirmed");
        assert_eq!(membership(scene), good);
        let old = restart_with_one_of(scene, now - (LIFETIME - 9 * DAY));
        let is_renewed = || membership(scene).certificate != old.certificate;
        within(MOMENT, Instant::now(), is_renewed, || of_fleet(scene).to_string());
        let new = membership(scene);
        assert!((29 * DAY..=LIFETIME).contains(&left(&new)), "{:?}", left(&new));
        assert_ne!(new.key, old.key);
        says(scene, |it| it["connected"] == true);
        scene.agent.kill().unwrap();
        scene.agent.restart(None).unwrap();
        says(scene, |it| it["connected"] == true);
        comes_to(&ana, "confirmed");
        assert_eq!((membership(scene), &host(&ana)["id"]), (new, &id));

        // Nobody was there to renew it: the host says what to do, and does what it did.
        restart_with_one_of(scene, now - LIFETIME - DAY);
        says(scene, |it| it["trouble"].as_str().is_some_and(|why| why.contains("enrol")));
        let told = scene.agent.ask(&["status"]).unwrap();
        let told = String::from_utf8_lossy(&told.stdout).into_owned();
        assert!(told.contains("certificate has ended"), "{told}");
        assert!(told.contains("geofilter enrol"), "{told}");
        assert!(!scene.reached());
        enrol(scene, PORTAL, &token(&ana, group)).unwrap();
        says(scene, |it| it["connected"] == true);
        assert!(!scene.reached());
    });
}
