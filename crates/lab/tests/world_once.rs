//! World data of a fleet: a portal fetches it once, judges it and serves it; real agents pull it, judge it by whom it would cut on their own host,
//! and put it into their kernels, which real packets see.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::{self, Permissions};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use flate2::Compression;
use geofilter_cluster::Cluster;
use geofilter_core::geodata::{AsNumber, embedded};
use geofilter_lab::addresses::Addresses;
use geofilter_lab::asterisk::{Asterisk, Config};
use geofilter_lab::awaited::within;
use geofilter_lab::board::asked;
use geofilter_lab::browser::Browser;
use geofilter_lab::disk::SmallDisk;
use geofilter_lab::fileserver::{FileServer, Manner};
use geofilter_lab::forwarder::Forwarder;
use geofilter_lab::images::{dbip, packed};
use geofilter_lab::phones::INVITE;
use geofilter_lab::portal::{Client, Portal};
use geofilter_lab::process::Agent;
use geofilter_lab::sip;
use geofilter_lab::site::{SIP, WAN};
use geofilter_lab::sites::{Attached, GATEWAY, Sites};
use serde_json::{Value, json};
use tempfile::TempDir;

const FLEET: &str = "/api/v1/fleet";
const WORLD: &str = "/api/v1/fleet/world";
const PORT: u16 = 8443;
/// Of Spain in the data that comes with the program, and moved by what is fetched.
const MADRID: Ipv4Addr = Ipv4Addr::new(80, 58, 61, 250);
const PATH: &str = "/dbip.csv.gz";
const MOVED: &str = "80.58.61.0,80.58.61.255,CN\n";
const MOVED_AGAIN: &str = "80.58.61.0,80.58.61.255,FR\n";
/// To make images takes a debug build a while, on a machine that does something else besides.
const MOMENT: Duration = Duration::from_secs(90);

static DBIP: LazyLock<Vec<u8>> = LazyLock::new(|| dbip().unwrap());

/// The file of the source that the embedded data was made of, with further lines.
fn edition(further: &str) -> Vec<u8> {
    packed(&[&DBIP, further.as_bytes()].concat(), Compression::fast()).unwrap()
}

/// As a published file really had it: the addresses of Amazon were British.
fn british() -> String {
    let systems = embedded::asns().unwrap();
    let amazon = [14618, 16509].map(|number| AsNumber::new(number).unwrap());
    let ranges = amazon.into_iter().flat_map(|number| systems.ranges_v4(number));
    let line =
        |first: u32, last: u32| format!("{},{},GB\n", Ipv4Addr::from(first), Ipv4Addr::from(last));
    ranges.map(|range| line(range.first, range.last)).collect()
}

/// A file that anybody may read.
fn file(text: &str) -> (TempDir, String) {
    let anybody = Permissions::from_mode(0o755);
    let folder = tempfile::Builder::new().permissions(anybody).tempdir().unwrap();
    let file = folder.path().join("geofilter.toml");
    fs::write(&file, text).unwrap();
    let name = file.to_str().unwrap().to_owned();
    (folder, name)
}

/// What says that world data comes from this server, and how often without being asked for.
fn from(server: &FileServer, hours: u32, further: &str) -> String {
    format!(
        "[geodata]\nevery-hours = {hours}\nsecond = 'kept'\nsystems = 'kept'\n{further}\
         patience = {{ silence = 2, attempt = 60, pause = 0 }}\n\
         [geodata.mirrors]\ndbip-lite = ['{}']\n",
        server.url(PATH)
    )
}

/// A portal on the internet, with a server that it fetches from, and an admin of a group.
struct Scene<'a> {
    sites: &'a Sites,
    server: FileServer,
    portal: Portal<'a>,
    ana: Client<'a>,
    group: i64,
    _config: TempDir,
}

impl Scene<'_> {
    /// Hosts pull at once; `words` say where the portal keeps its database, if not in a file.
    fn set(words: &[&str], test: impl FnOnce(&mut Scene<'_>)) {
        Self::set_on(None, words, test);
    }

    /// The same on this disk.
    fn set_on(disk: Option<&SmallDisk>, words: &[&str], test: impl FnOnce(&mut Scene<'_>)) {
        let sites = Sites::new().unwrap();
        sites.internet.ip("link set lo up").unwrap();
        let server = FileServer::start(&sites.internet).unwrap();
        let (_config, config) = file(&from(&server, 0, ""));
        let words = [&["--config", &*config, "--world-spread", "0"], words].concat();
        let at = (GATEWAY, PORT).into();
        let portal = match disk {
            Some(disk) => Portal::lead_in(&sites.internet, at, disk.path(), &words),
            None => Portal::lead_with(&sites.internet, at, &words),
        };
        let portal = portal.unwrap();
        let ana = portal.first_operator().unwrap();
        let made = ana.must("POST", &format!("{FLEET}/groups"), Some(&json!({ "name": "Spain" })));
        let group = made.unwrap()["id"].as_i64().unwrap();
        test(&mut Scene { sites: &sites, server, portal, ana, group, _config });
    }

    fn world(&self) -> Value {
        self.ana.read(WORLD).unwrap()
    }

    /// Has the portal ask the source, and waits for what comes of it.
    fn update(&self) -> Value {
        self.ana.must("POST", &format!("{WORLD}/update"), None).unwrap();
        within(
            MOMENT,
            Instant::now(),
            || self.world()["running"] == false,
            || self.world().to_string(),
        );
        self.world()["last"].clone()
    }

    fn deed(&self, deed: &str) {
        self.ana.must("POST", &format!("{WORLD}/{deed}"), None).unwrap();
    }

    /// What the portal knows of a host.
    fn host(&self, name: &str) -> Value {
        let fleet = self.ana.read(FLEET).unwrap();
        let hosts = fleet["groups"][0]["hosts"].as_array().unwrap();
        hosts.iter().find(|host| host["name"] == name).cloned().unwrap_or_default()
    }

    /// Waits until the portal says so of the world data of a host.
    fn comes_to(&self, host: &Host<'_>, progress: &str) -> Value {
        let said = || self.host(&host.name)["world"].clone();
        within(
            MOMENT,
            Instant::now(),
            || said()["progress"] == progress,
            || format!("{} is not {progress}: {}\n{}", host.name, said(), host.status()),
        );
        said()
    }
}

/// A host with a source of its own, which lets in Spain alone.
struct Host<'a> {
    name: String,
    agent: Agent<'a>,
    address: Ipv4Addr,
    pbx: Option<UdpSocket>,
    server: FileServer,
    config: (TempDir, String),
}

impl<'a> Host<'a> {
    /// One that uses its portal's data, with these further lines of its configuration.
    fn new(at: &'a Attached, name: &str, further: &str) -> Self {
        at.namespace.ip("link set lo up").unwrap();
        let server = FileServer::start(&at.namespace).unwrap();
        server.put(PATH, edition(MOVED_AGAIN));
        let config = file(&from(&server, 24, further));
        let words = ["--interface", WAN, "--config", &config.1];
        let agent = Agent::start(&at.namespace, &words).unwrap();
        agent.json(&["allow", "ES", "--yes"]).unwrap();
        let name = name.to_owned();
        Self { name, agent, address: at.address, pbx: None, server, config }
    }

    /// The same with a PBX.
    fn with_pbx(at: &'a Attached, name: &str) -> Self {
        let mut host = Self::new(at, name, "portal = true\n");
        let pbx = at.namespace.inside(|| UdpSocket::bind((at.address, SIP))).unwrap().unwrap();
        pbx.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        host.pbx = Some(pbx);
        host
    }

    fn enrol(&self, scene: &Scene<'_>) {
        let tokens = format!("{FLEET}/groups/{}/tokens", scene.group);
        let token = scene.ana.must("POST", &tokens, None).unwrap()["token"].clone();
        let portal = format!("https://{GATEWAY}:{PORT}");
        let words = ["enrol", &portal, "--token", token.as_str().unwrap(), "--name", &self.name];
        self.agent.json(&words).unwrap();
    }

    fn status(&self) -> Value {
        self.agent.json(&["geodb", "status"]).unwrap()
    }

    fn says(&self, progress: &str) {
        let said = || self.status()["portal"].clone();
        within(
            MOMENT,
            Instant::now(),
            || said()["progress"] == progress,
            || format!("it is not {progress}: {}", self.status()),
        );
    }

    fn country(&self) -> String {
        let found = self.agent.json(&["geodb", "lookup", &MADRID.to_string()]).unwrap();
        found["country"].as_str().unwrap().to_owned()
    }

    /// Whether a call from Madrid reaches its PBX, by one from elsewhere in Spain that does in any case.
    fn lets_madrid_in(&self, phones: &[UdpSocket; 2]) -> bool {
        let [madrid, spain] = phones;
        for phone in [madrid, spain] {
            phone.send_to(INVITE.as_bytes(), (self.address, SIP)).unwrap();
        }
        let (pbx, mut packet) = (self.pbx.as_ref().unwrap(), [0; 2048]);
        let mut from = || pbx.recv_from(&mut packet).unwrap().1.ip();
        let first = from();
        let spain = spain.local_addr().unwrap().ip();
        match first == spain {
            true => false,
            false => {
                assert_eq!((first, from()), (MADRID.into(), spain));
                true
            }
        }
    }
}

/// Somebody in Madrid, and somebody elsewhere in Spain.
fn phones(sites: &Sites) -> [UdpSocket; 2] {
    let world = embedded::world().unwrap().world;
    let spain = Addresses::new(&world).v4("ES");
    [MADRID, spain].map(|address| sites.phone(address).unwrap())
}

#[test]
fn one_fetch_serves_all_hosts_and_the_next_host_and_what_was_before_again() {
    Scene::set(&[], |scene| {
        let phones = phones(scene.sites);
        let sites = [0, 1].map(|number| scene.sites.attach(number).unwrap());
        let hosts = [0, 1].map(|it| Host::with_pbx(&sites[it], &format!("pbx-{it}")));
        hosts.iter().for_each(|host| host.enrol(scene));
        for host in &hosts {
            scene.comes_to(host, "own");
            assert!(host.lets_madrid_in(&phones));
            assert_eq!(host.status()["portal"], Value::Null, "it serves none yet");
        }

        scene.server.put(PATH, edition(MOVED));
        assert_eq!(scene.update()["outcome"], "used");
        let digest = scene.world()["current"]["digest"].clone();
        for host in &hosts {
            let date = scene.comes_to(host, "current")["date"].clone();
            assert_eq!(date, scene.world()["current"]["data"]["sources"][0]["date"]);
            assert_eq!(host.country(), "CN");
            assert!(!host.lets_madrid_in(&phones));
            let status = host.status();
            assert_eq!(status["portal"]["digest"], digest);
            assert_eq!(
                (&status["portal"]["progress"], &status["next"]),
                (&json!("in-use"), &Value::Null)
            );
            assert!(host.server.asked().is_empty(), "{:?}", host.server.asked());
        }
        assert_eq!(scene.server.asked().len(), 1, "{:?}", scene.server.asked());
        let told = scene.ana.get(&format!("{FLEET}/metrics")).unwrap().text;
        assert!(told.contains("geofilter_fleet_world_data_older{group=\"Spain\"} 0\n"), "{told}");
        for name in asked("geofilter-fleet.json").unwrap() {
            assert!(told.contains(&format!("# TYPE {name} ")), "{name}: {told}");
        }

        // What has not changed is not made again; and who comes later is served the same.
        assert_eq!(scene.update()["outcome"], "same");
        assert!(scene.server.asked()[1].contains("if-none-match"), "{:?}", scene.server.asked());
        let late = scene.sites.attach(2).unwrap();
        let late = Host::with_pbx(&late, "pbx-2");
        late.enrol(scene);
        scene.comes_to(&late, "current");
        assert!(!late.lets_madrid_in(&phones));
        assert_eq!(scene.server.asked().len(), 2);

        // A second edition, and back: what was taken back is not served again by itself.
        scene.server.put(PATH, edition(MOVED_AGAIN));
        assert_eq!(scene.update()["outcome"], "used");
        let newest = scene.world()["current"]["digest"].clone();
        within(MOMENT, Instant::now(), || late.country() == "FR", || late.status().to_string());
        scene.deed("rollback");
        for host in hosts.iter().chain([&late]) {
            within(MOMENT, Instant::now(), || host.country() == "CN", || host.status().to_string());
            scene.comes_to(host, "current");
        }
        assert_eq!(scene.world()["previous"]["digest"], newest);
        assert_eq!(scene.update()["outcome"], "same");
        assert_eq!(scene.world()["current"]["digest"], digest);

        // What a host's administrator takes back there stays so there.
        assert_eq!(late.agent.ask(&["geodb", "rollback"]).unwrap().status.code(), Some(0));
        assert_eq!(late.country(), "FR");
        late.says("passed-over");
        scene.comes_to(&late, "older");
        late.agent.json(&["geodb", "update"]).unwrap();
        assert_eq!(late.country(), "CN");
        scene.comes_to(&late, "current");
    });
}

#[test]
fn without_its_portal_a_host_keeps_what_it_has_and_once_it_left_asks_its_own_source() {
    Scene::set(&[], |scene| {
        let phones = phones(scene.sites);
        let site = scene.sites.attach(0).unwrap();
        let mut host = Host::with_pbx(&site, "pbx-0");
        host.enrol(scene);
        scene.server.put(PATH, edition(MOVED));
        assert_eq!(scene.update()["outcome"], "used");
        scene.comes_to(&host, "current");

        // Killed while it fetches: what is served is served again once it is back.
        scene.server.behave(Manner::Silent);
        scene.deed("update");
        within(MOMENT, Instant::now(), || !scene.server.asked().is_empty(), || "asked".to_owned());
        scene.portal.kill().unwrap();
        let gone = || host.agent.json(&["status"]).unwrap()["fleet"]["connected"] == false;
        within(MOMENT, Instant::now(), gone, || host.status().to_string());
        assert!(!host.lets_madrid_in(&phones));
        assert_eq!(host.status()["next"], Value::Null);
        let refused = host.agent.ask(&["geodb", "update"]).unwrap();
        let refused = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(refused.contains("not heard now"), "{refused}");
        host.agent.kill().unwrap();
        host.agent.restart(None).unwrap();
        assert!(!host.lets_madrid_in(&phones), "also after a restart");
        host.says("in-use");
        assert!(host.server.asked().is_empty(), "{:?}", host.server.asked());

        let digest = host.status()["portal"]["digest"].clone();
        scene.portal.restart_after_a_kill().unwrap();
        scene.ana = scene.ana.on(&scene.portal);
        assert_eq!(scene.world()["current"]["digest"], digest);
        scene.comes_to(&host, "current");

        host.agent.json(&["leave"]).unwrap();
        assert_eq!(host.country(), "CN", "what was in use still is");
        let status = || host.status();
        let is_its_own = || status()["portal"] == Value::Null && status()["next"].is_string();
        within(MOMENT, Instant::now(), is_its_own, || status().to_string());
        host.agent.json(&["geodb", "update"]).unwrap();
        assert_eq!((host.country().as_str(), host.server.asked().len()), ("FR", 1));
    });
}

#[test]
fn a_jump_is_served_to_nobody_until_an_admin_approves_it() {
    Scene::set(&[], |scene| {
        let site = scene.sites.attach(0).unwrap();
        let host = Host::new(&site, "pbx-0", "portal = true\n");
        host.enrol(scene);
        scene.server.put(PATH, edition(&(british() + MOVED)));
        let held = scene.update();
        assert_eq!(held["outcome"], "held");
        assert!(held["why"].as_str().unwrap().contains("United Kingdom"), "{held}");
        assert_eq!(scene.update()["outcome"], "held", "it still is");
        let world = scene.world();
        assert_eq!(world["current"], Value::Null);
        assert!(
            world["held"]["reasons"][0].as_str().unwrap().contains("another country"),
            "{world}"
        );
        scene.comes_to(&host, "own");
        assert_eq!((host.country().as_str(), host.status()["portal"].clone()), ("ES", Value::Null));

        let bob = scene.portal.operator(&scene.ana, "Bob", "operator").unwrap();
        assert_eq!(bob.send("POST", &format!("{WORLD}/approve"), None).unwrap().status, 403);
        let mut browser = Browser::open(scene.portal.namespace()).unwrap();
        browser.enter(&scene.portal, &scene.ana).unwrap();
        browser.does("go", &["Hosts"]).unwrap();
        browser.does("sees", &["is not served before an admin approves it"]).unwrap();
        browser.does("click", &["Serve it"]).unwrap();
        // Nobody is asked a second time on every host.
        scene.comes_to(&host, "current");
        assert_eq!(host.country(), "CN");
        browser.does("sees", &["that of the portal"]).unwrap();
        browser.shoot("fleet-world").unwrap();
        assert_eq!(scene.world()["held"], Value::Null);
        let again = scene.ana.send("POST", &format!("{WORLD}/approve"), None).unwrap();
        assert_eq!(again.status, 409);
        let audit = scene.ana.read("/api/v1/audit").unwrap().to_string();
        assert!(audit.contains("approve world data of the fleet"), "{audit}");
    });
}

#[test]
fn a_host_whose_phone_or_canary_would_be_cut_holds_it_and_says_so_and_one_with_sources_keeps_to_them()
 {
    Scene::set(&[], |scene| {
        let sites = [0, 1, 2].map(|number| scene.sites.attach(number).unwrap());
        let _asterisk =
            Asterisk::start(&sites[0].namespace, &Config::new().endpoint("1001")).unwrap();
        let with_phone = Host::new(&sites[0], "phone", "portal = true\n");
        let with_canary =
            Host::new(&sites[1], "canary", &format!("portal = true\ncanaries = ['{MADRID}']\n"));
        let of_its_own = Host::new(&sites[2], "own", "");
        let phone = scene.sites.phone(MADRID).unwrap();
        let register = sip::register(phone.local_addr().unwrap(), "UDP", 1001);
        phone.send_to(register.as_bytes(), (with_phone.address, SIP)).unwrap();
        let knows = || with_phone.agent.json(&["status"]).unwrap()["pbx"]["devices"] == 1;
        within(MOMENT, Instant::now(), knows, || with_phone.agent.log());
        let hosts = [&with_phone, &with_canary, &of_its_own];
        hosts.iter().for_each(|host| host.enrol(scene));
        scene.server.put(PATH, edition(MOVED));
        assert_eq!(scene.update()["outcome"], "used");
        for (host, whose) in [(&with_phone, "1001"), (&with_canary, "canary")] {
            let said = scene.comes_to(host, "held");
            assert!(said["why"].as_str().unwrap().contains(whose), "{said}");
            assert_eq!(host.country(), "ES");
            host.says("held");
            let reasons = host.status()["held"]["reasons"].to_string();
            assert!(reasons.contains(&MADRID.to_string()), "{reasons}");
        }
        let told = || scene.ana.get(&format!("{FLEET}/metrics")).unwrap().text;
        assert!(
            told().contains("geofilter_fleet_world_data_older{group=\"Spain\"} 2\n"),
            "{}",
            told()
        );
        // It is approved there, and stays so.
        with_canary.agent.json(&["geodb", "approve"]).unwrap();
        scene.comes_to(&with_canary, "current");
        assert_eq!(with_canary.country(), "CN");

        // Corrections are each host's own, whoever fetched what they correct.
        let corrections = with_canary.config.0.path().join("corrections.csv");
        fs::write(&corrections, "prefix,country\n80.58.61.0/24,PT\n").unwrap();
        let further = format!("portal = true\ncorrections = '{}'\n", corrections.to_str().unwrap());
        fs::write(&with_canary.config.1, from(&with_canary.server, 24, &further)).unwrap();
        with_canary.agent.signal(rustix::process::Signal::HUP).unwrap();
        within(
            MOMENT,
            Instant::now(),
            || with_canary.country() == "PT",
            || with_canary.agent.log(),
        );
        scene.comes_to(&with_canary, "current");

        scene.comes_to(&of_its_own, "own");
        assert_eq!(
            (of_its_own.country().as_str(), of_its_own.status()["portal"].clone()),
            ("ES", Value::Null)
        );
        assert!(of_its_own.status()["next"].is_string());
        of_its_own.agent.json(&["geodb", "update"]).unwrap();
        assert_eq!((of_its_own.country().as_str(), of_its_own.server.asked().len()), ("FR", 1));
    });
}

#[test]
fn what_is_not_what_the_portal_said_is_refused_and_what_is_in_use_stays() {
    Scene::set(&[], |scene| {
        scene.server.put(PATH, edition(MOVED));
        assert_eq!(scene.update()["outcome"], "used");
        let database = scene.portal.database().unwrap();
        let whole: Vec<u8> =
            database.query_row("SELECT content FROM world_data", [], |row| row.get(0)).unwrap();
        let lie = |content: &[u8]| {
            database.execute("UPDATE world_data SET content = ?", [content]).unwrap();
        };
        // One that another portal made, whole in itself: nothing but its digest says that it is another.
        let other = geofilter_core::geodata::bundle::pack(embedded::WORLD, embedded::ASNS).unwrap();
        lie(&other);
        let site = scene.sites.attach(0).unwrap();
        let host = Host::with_pbx(&site, "pbx-0");
        host.enrol(scene);
        let said = || scene.host("pbx-0")["world"].clone();
        let is_refused =
            || said()["why"].as_str().is_some_and(|why| why.contains("not what it said"));
        within(MOMENT, Instant::now(), is_refused, || said().to_string());
        assert_eq!((host.country().as_str(), &said()["progress"]), ("ES", &json!("older")));
        assert_eq!(host.status()["last"]["outcome"], "failed");
        assert!(host.lets_madrid_in(&phones(scene.sites)));

        lie(&whole);
        scene.portal.restart().unwrap();
        scene.ana = scene.ana.on(&scene.portal);
        let connected = || host.agent.json(&["status"]).unwrap()["fleet"]["connected"] == true;
        within(MOMENT, Instant::now(), connected, || host.agent.log());
        host.agent.json(&["geodb", "update"]).unwrap();
        assert_eq!(host.country(), "CN");
        scene.comes_to(&host, "current");
    });
}

#[test]
fn of_two_portals_on_postgresql_one_fetches_and_both_serve() {
    let cluster = Cluster::shared();
    let url = cluster.create("world_once").unwrap();
    let sites = Sites::new().unwrap();
    sites.internet.ip("link set lo up").unwrap();
    let at = SocketAddr::from(([127, 0, 0, 1], cluster.port()));
    let _way = Forwarder::out_of(&sites.internet, at, at).unwrap();
    let server = FileServer::start(&sites.internet).unwrap();
    let (_config, config) = file(&from(&server, 0, ""));
    let words = ["--config", &config, "--world-spread", "0", "--database", &url];
    let lead = |port: u16| Portal::lead_with(&sites.internet, (GATEWAY, port).into(), &words);
    let a = lead(PORT + 1).unwrap();
    let ana = a.first_operator().unwrap();
    let made = ana.must("POST", &format!("{FLEET}/groups"), Some(&json!({ "name": "Spain" })));
    let group = made.unwrap()["id"].as_i64().unwrap();
    let b = lead(PORT).unwrap();
    let at_b = ana.on(&b);

    // While one asks the source the other does not.
    server.behave(Manner::Silent);
    ana.must("POST", &format!("{WORLD}/update"), None).unwrap();
    within(MOMENT, Instant::now(), || !server.asked().is_empty(), || "asked".to_owned());
    let refused = at_b.send("POST", &format!("{WORLD}/update"), None).unwrap();
    assert_eq!((refused.status, at_b.read(WORLD).unwrap()["running"].clone()), (409, json!(true)));
    let ends = || at_b.read(WORLD).unwrap()["running"] == false;
    within(MOMENT, Instant::now(), ends, || at_b.read(WORLD).unwrap().to_string());
    assert_eq!(at_b.read(WORLD).unwrap()["last"]["outcome"], "failed");

    server.put(PATH, edition(MOVED));
    server.behave(Manner::Well);
    let scene = &mut Scene { sites: &sites, server, portal: a, ana, group, _config };
    assert_eq!(scene.update()["outcome"], "used");
    // The host is enrolled by one and connects to the other, which never fetched anything.
    let site = sites.attach(0).unwrap();
    let host = Host::with_pbx(&site, "pbx-0");
    host.enrol(scene);
    scene.comes_to(&host, "current");
    assert_eq!(host.country(), "CN");
    assert!(!host.lets_madrid_in(&phones(&sites)));
    assert_eq!(scene.server.asked().len(), 1, "{:?}", scene.server.asked());

    // What the other one makes of the same source is the same to the byte, and nothing new.
    scene.ana = scene.ana.on(&b);
    let digest = scene.world()["current"]["digest"].clone();
    assert_eq!(scene.update()["outcome"], "same");
    assert_eq!(scene.server.asked().len(), 2);
    assert_eq!(scene.world()["current"]["digest"], digest);
    assert_eq!(scene.world()["previous"], Value::Null);
}

#[test]
fn a_disk_that_is_full_costs_nothing_of_what_is_served() {
    let disk = SmallDisk::new(64 << 10).unwrap();
    Scene::set_on(Some(&disk), &[], |scene| {
        scene.server.put(PATH, edition(MOVED));
        assert_eq!(scene.update()["outcome"], "used");
        let digest = scene.world()["current"]["digest"].clone();
        scene.server.put(PATH, edition(MOVED_AGAIN));
        scene.server.behave(Manner::Silent);
        scene.deed("update");
        within(MOMENT, Instant::now(), || !scene.server.asked().is_empty(), || "asked".to_owned());
        disk.fill().unwrap();
        scene.server.behave(Manner::Well);
        // What came of it may not be written down, and then nobody says any more that it goes on.
        let ends = || scene.world()["running"] == false;
        within(MOMENT, Instant::now(), ends, || scene.world().to_string());
        assert_eq!(scene.world()["current"]["digest"], digest);
        disk.make_room().unwrap();
        let site = scene.sites.attach(0).unwrap();
        let host = Host::new(&site, "pbx-0", "portal = true\n");
        host.enrol(scene);
        scene.comes_to(&host, "current");
        assert_eq!(host.country(), "CN");
        assert_eq!(scene.update()["outcome"], "used");
        within(MOMENT, Instant::now(), || host.country() == "FR", || host.status().to_string());
    });
}
