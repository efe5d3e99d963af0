//! What is chosen for a fleet step by step: asked of hosts, tried by one, then by all, and undone by itself where a host loses something. By
//! the real binary's agents and portals, on PostgreSQL, with kernels and packets of their own, and a real Asterisk.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use geofilter_core::geodata::embedded;
use geofilter_lab::addresses::Addresses;
use geofilter_lab::asterisk::{Asterisk, Config};
use geofilter_lab::awaited::within;
use geofilter_lab::fleet::Fleet;
use geofilter_lab::forwarder::Forwarder;
use geofilter_lab::interrupt::Interrupt;
use geofilter_lab::leader::{BESIDE, Leader, PORT};
use geofilter_lab::process::Agent;
use geofilter_lab::sip;
use geofilter_lab::site::{SIP, WAN};
use geofilter_lab::sites::{Attached, GATEWAY, Sites};
use rustix::net::{self, AddressFamily, SocketType};
use serde_json::{Value, json};

const HOSTS: u8 = 3;
/// Seconds for which a stage is watched, and a host goes back by itself after that and a minute.
const HOLD: u64 = 5;
const MOMENT: Duration = Duration::from_secs(20);
/// How long a portal waits after its start before it takes a host for lost that is not there.
const SETTLED: Duration = Duration::from_secs(75);
/// Milliseconds for which no host may be silent.
const SILENT: u64 = 30_000;
/// Notes each stage to which a rollout is brought, also when it is there.
const NOTE_STEPS: &str = "CREATE TABLE stepped (stage text);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN INSERT INTO stepped VALUES (NEW.stage); RETURN NEW; END';
CREATE TRIGGER note AFTER UPDATE OF stage ON rollout FOR EACH ROW EXECUTE FUNCTION note()";

/// Three hosts of a group that let in Spain.
struct Scene<'a> {
    sites: &'a Sites,
    leader: Leader<'a>,
    fleet: Fleet<'a>,
    group: i64,
    china: UdpSocket,
    spain: UdpSocket,
}

fn scene(test: impl FnOnce(&mut Scene<'_>)) {
    let sites = Sites::new().unwrap();
    let hosts: Vec<Attached> = (0..HOSTS).map(|number| sites.attach(number).unwrap()).collect();
    let world = embedded::world().unwrap().world;
    let addresses = Addresses::new(&world);
    let phone = |country| sites.phone(addresses.v4(country)).unwrap();
    let (china, spain) = (phone("CN"), phone("ES"));
    let leader = Leader::start(&sites.internet, GATEWAY).unwrap();
    let fleet = Fleet::start(&hosts, &Interrupt::listen().unwrap()).unwrap();
    let group = leader.make_group("Branches").unwrap();
    fleet.each(|host| leader.enrol(host, group)).unwrap();
    fleet.come_to(|fleet| fleet["connected"] == true).unwrap();
    let all = || leader.sees().unwrap().iter().all(|host| host.is_connected);
    within(MOMENT, Instant::now(), all, || format!("{:?}", leader.sees()));
    let told = leader.choose(group, &allow(&["ES", "CN"])).unwrap();
    fleet.come_to(|fleet| fleet["applied"] == format!("1.{told}")).unwrap();
    let mut scene = Scene { sites: &sites, leader, fleet, group, china, spain };
    assert_eq!(scene.reached(), usize::from(HOSTS));
    test(&mut scene);
}

fn allow(countries: &[&str]) -> Value {
    json!({ "mode": "allow", "countries": countries })
}

impl Scene<'_> {
    /// How many hosts a call from China reaches; those from Spain reach all.
    fn reached(&self) -> usize {
        self.fleet.reached_from(&self.china, &self.spain).unwrap()
    }

    fn begin(&self) -> i64 {
        self.begin_at(&[])
    }

    /// The same where the hosts of these numbers try it.
    fn begin_at(&self, canaries: &[i64]) -> i64 {
        let settings = allow(&["ES"]);
        let wanted = json!({ "group": self.group, "settings": settings, "seconds": HOLD, "canaries": canaries });
        self.leader.ask("POST", "/rollouts", Some(&wanted)).unwrap()["id"].as_i64().unwrap()
    }

    fn steer(&self, id: i64, steer: &str) {
        let path = format!("/rollouts/{id}");
        self.leader.ask("POST", &path, Some(&json!({ "steer": steer }))).unwrap();
    }

    /// The rollout that began last.
    fn last(&self) -> Value {
        self.leader.ask("GET", "/rollouts", None).unwrap()["rollouts"][0].clone()
    }

    fn comes_to(&self, stage: &str, most: Duration) {
        let is_so = || self.last()["stage"] == stage;
        within(most, Instant::now(), is_so, || format!("not {stage}: {}", self.last()));
    }

    /// Waits until a call from China reaches so many hosts.
    fn reaches(&self, hosts: usize) {
        let is_so = || self.reached() == hosts;
        within(MOMENT, Instant::now(), is_so, || self.last().to_string());
    }

    /// Waits until the rollout is at a stage. No host goes back meanwhile.
    fn goes_on_to(&self, stage: &str) {
        let mut least = self.reached();
        let is_so = || {
            let reached = self.reached();
            assert!(reached <= least, "a host went back: {}", self.last());
            least = reached;
            self.last()["stage"] == stage
        };
        within(SETTLED, Instant::now(), is_so, || format!("not {stage}: {}", self.last()));
    }

    /// The portal is killed at this stage and serves again. By its clock it was away for longer than a host may be silent.
    fn loses_its_portal(&mut self, stage: &str) {
        let reached = self.reached();
        self.leader.kill().unwrap();
        assert_eq!(self.leader.sql("SELECT stage FROM rollout").unwrap(), stage);
        self.fleet.come_to(|fleet| fleet["connected"] == false).unwrap();
        assert!(self.reached() <= reached, "a host went back");
        let away = format!(
            "UPDATE rollout SET since = since - {SILENT}; UPDATE member SET reported = reported - {SILENT}"
        );
        self.leader.sql(&away).unwrap();
        self.leader.restart().unwrap();
    }

    /// Waits until so many hosts listen to each portal that any listens to, the fewest first.
    fn listen(&self, portals: &[u8]) {
        let wanted = portals.iter().map(u8::to_string).collect::<Vec<_>>().join("\n");
        let query = "SELECT count(*) AS hosts FROM member WHERE revoked IS NULL AND portal IS NOT NULL GROUP BY portal ORDER BY hosts";
        let listen = || self.leader.sql(query).unwrap();
        within(MOMENT, Instant::now(), || listen() == wanted, listen);
    }

    /// Waits until the last rollout is what is chosen, everywhere and for good.
    fn stays(&self) {
        let stays = || self.states().iter().all(|state| state == "enforcing");
        within(MOMENT, Instant::now(), stays, || format!("{:?}", self.states()));
        assert_eq!(self.reached(), 0);
        let sees = || self.leader.sees().unwrap();
        let confirmed = || sees().iter().all(|host| host.progress == "confirmed");
        within(MOMENT, Instant::now(), confirmed, || format!("{:?}", sees()));
    }

    /// The state of each host, and whether that ends by itself.
    fn states(&self) -> Vec<Value> {
        self.fleet.each(|host| Ok(host.status()?["state"].clone())).unwrap()
    }

    /// The number of the host in the scene that tries it.
    fn canary(&self) -> u8 {
        let name = self.last()["canaries"][0].as_str().unwrap().to_owned();
        let host = self.fleet.hosts().iter().find(|host| host.name == name).unwrap();
        u8::try_from(host.number).unwrap()
    }
}

#[test]
fn a_rollout_is_tried_by_one_host_then_done_by_all_and_stays() {
    scene(|scene| {
        scene.begin();
        assert_eq!((&scene.last()["hosts"], &scene.last()["stage"]), (&json!(3), &json!("canary")));
        scene.reaches(2);
        // What is tried ends by itself, unless it is told that it stays.
        assert_eq!(scene.states()[usize::from(scene.canary())], "pending");
        let refused = scene.leader.choose(scene.group, &allow(&["PT"])).unwrap_err();
        assert!(format!("{refused:#}").contains("rollout"), "{refused:#}");
        scene.comes_to("all", MOMENT);
        scene.reaches(0);
        assert_eq!(scene.states(), ["pending", "pending", "pending"]);
        scene.comes_to("done", MOMENT);
        scene.stays();
    });
}

#[test]
fn a_rollout_that_is_paused_stays_where_it_is_and_one_that_is_aborted_goes_back() {
    scene(|scene| {
        let id = scene.begin();
        scene.reaches(2);
        scene.steer(id, "pause");
        // What it tries stays for as long as it is paused, and still not for good.
        let canary = &scene.fleet.hosts()[usize::from(scene.canary())];
        let remaining = || canary.status().unwrap()["remaining"].as_u64();
        let stays = || remaining().is_some_and(|seconds| seconds > 3_600);
        within(MOMENT, Instant::now(), stays, || canary.status().unwrap().to_string());
        let paused = Instant::now();
        let went_on = || scene.last()["stage"] != "canary";
        while paused.elapsed() < Duration::from_secs(2 * HOLD) {
            assert!(!went_on(), "{}", scene.last());
        }
        assert_eq!(scene.reached(), 2);
        scene.steer(id, "resume");
        scene.comes_to("all", MOMENT);
        scene.reaches(0);
        scene.steer(id, "abort");
        scene.reaches(3);
        assert_eq!(scene.last()["stage"], "aborted");
        assert!(
            scene
                .leader
                .ask("POST", &format!("/rollouts/{id}"), Some(&json!({ "steer": "pause" })))
                .is_err()
        );
        // What was before is chosen again, and can be changed.
        scene.leader.choose(scene.group, &allow(&["ES"])).unwrap();
        scene.reaches(0);
    });
}

#[test]
fn where_nothing_was_chosen_before_a_host_goes_back_to_what_it_did() {
    scene(|scene| {
        let new = scene.leader.make_group("New").unwrap();
        let fleet = scene.leader.ask("GET", "", None).unwrap();
        let groups = fleet["groups"].as_array().unwrap();
        let hosts = groups.iter().flat_map(|group| group["hosts"].as_array().unwrap());
        let id = hosts.map(|host| host["id"].clone()).next().unwrap();
        let place = json!({ "group": new });
        scene.leader.ask("PUT", &format!("/hosts/{id}/group"), Some(&place)).unwrap();
        let wanted = json!({ "group": new, "settings": allow(&["ES"]), "seconds": 3600 });
        let rollout = scene.leader.ask("POST", "/rollouts", Some(&wanted)).unwrap()["id"].clone();
        scene.reaches(2);
        scene.steer(rollout.as_i64().unwrap(), "abort");
        scene.reaches(3);
        assert_eq!(scene.states(), ["enforcing"; 3]);
        // Where no policy comes of it there is nothing to try.
        let wanted = json!({ "group": new, "settings": { "hosting": "drop" } });
        assert!(scene.leader.ask("POST", "/rollouts", Some(&wanted)).is_err());
    });
}

#[test]
fn a_host_that_changes_its_mind_or_is_cut_off_halts_a_rollout_and_goes_back_by_itself() {
    scene(|scene| {
        // Somebody switches the filter off where it is tried.
        scene.begin();
        scene.reaches(2);
        let canary = scene.canary();
        let host = &scene.fleet.hosts()[usize::from(canary)];
        host.agent.json(&["observe"]).unwrap();
        scene.comes_to("halted", MOMENT);
        let why = scene.last()["why"].as_str().unwrap().to_owned();
        assert!(why.contains(&host.name) && why.contains("switched off"), "{why}");
        scene.reaches(3);

        // The host is cut off: its kernel goes back although nobody reaches it, and the others are never told.
        scene.begin();
        scene.reaches(2);
        assert_eq!(scene.canary(), canary);
        scene.sites.wire(canary, false).unwrap();
        scene.comes_to("halted", SETTLED);
        let why = scene.last()["why"].as_str().unwrap().to_owned();
        assert!(why.contains("nothing is heard"), "{why}");
        let pending = host.status().unwrap();
        assert_eq!(pending["state"], "pending", "it has not heard of it: {pending}");
        let is_back = || host.status().unwrap()["countries"] == json!(["CN", "ES"]);
        within(SETTLED, Instant::now(), is_back, || host.status().unwrap().to_string());
        scene.sites.wire(canary, true).unwrap();
        scene.fleet.come_to(|fleet| fleet["connected"] == true).unwrap();
        scene.reaches(3);
    });
}

#[test]
fn a_portal_that_is_killed_in_the_middle_brings_a_rollout_on_when_it_is_back() {
    scene(|scene| {
        scene.begin();
        scene.reaches(2);
        scene.loses_its_portal("canary");
        scene.goes_on_to("all");
        scene.loses_its_portal("all");
        scene.goes_on_to("done");
        scene.stays();
    });
}

#[test]
fn of_two_portals_one_is_killed_in_the_middle_and_the_other_brings_a_rollout_on() {
    scene(|scene| {
        let other = scene.leader.beside().unwrap();
        let portals = [PORT, BESIDE].map(|port| SocketAddr::from((GATEWAY, port)));
        let [first, second] = portals;
        // What stands before them sends two hosts to the first for as long as that is there, and one to the other.
        let ways = [(8440, [first, second]), (8441, [second, first])];
        let before = ways.map(|(port, to)| {
            Forwarder::within(&scene.sites.internet, (GATEWAY, port).into(), &to).unwrap()
        });
        let at = |number: usize| ways[usize::from(number == 2)].0;
        scene
            .fleet
            .each(|host| {
                scene.leader.enrol_at(at(host.number), &host.agent, &host.name, scene.group)
            })
            .unwrap();
        scene.listen(&[1, 2]);
        scene.fleet.come_to(|fleet| fleet["applied"].is_string()).unwrap();
        assert_eq!(scene.reached(), 3);
        scene.leader.sql(NOTE_STEPS).unwrap();

        let canary = scene.fleet.hosts()[0].membership().unwrap()["host"].as_i64().unwrap();
        scene.begin_at(&[canary]);
        scene.reaches(2);
        scene.goes_on_to("all");
        scene.leader.kill_for(other).unwrap();
        scene.goes_on_to("done");
        scene.stays();
        scene.listen(&[3]);
        assert_eq!(scene.leader.sql("SELECT * FROM stepped").unwrap(), "all\ndone");
        drop(before);
    });
}

/// The extension of the first phone.
const FIRST: u32 = 1001;
/// Seconds for which phones register, and the PBX at its trunk.
const EXPIRES: u32 = 10;
/// Seconds for which their rollout is watched: longer than it takes to miss them.
const PATIENT: u64 = 60;

/// A PBX where so many phones register for a moment, and that registers at a trunk.
fn pbx(phones: u32, trunk: SocketAddr) -> Config {
    let config = Config::new()
        .pjsip("[global]\ntype=global\ncontact_expiration_check_interval=1\n")
        .trunk_with_registration("trunk", trunk, "Secret-Reg-1");
    (FIRST..FIRST + phones).fold(config, |config, name| {
        config.pjsip(&format!(
            "[{name}]\ntype=endpoint\ncontext=phones\ndisallow=all\nallow=ulaw\naors={name}\n\
             [{name}]\ntype=aor\nmax_contacts=10\nminimum_expiration=5\n"
        ))
    })
}

/// While something is done phones register at a PBX again and again, and it at a trunk.
fn registering<T>(
    phones: &[UdpSocket],
    pbx: SocketAddr,
    trunk: &UdpSocket,
    work: impl FnOnce() -> T,
) -> T {
    const EVERY: Duration = Duration::from_millis(500);
    trunk.set_nonblocking(true).unwrap();
    let accept = || {
        let mut packet = [0; 2048];
        while let Ok((length, from)) = trunk.recv_from(&mut packet) {
            let request = String::from_utf8_lossy(&packet[..length]);
            trunk.send_to(sip::accept(&request, EXPIRES).as_bytes(), from).unwrap();
        }
    };
    thread::scope(|scope| {
        let (end, ends) = channel::<()>();
        scope.spawn(move || {
            let mut number = 1;
            // Whoever holds the other end says nothing: that it is gone ends this.
            while ends.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                for (extension, phone) in (FIRST..).zip(phones) {
                    let from = phone.local_addr().unwrap();
                    let request = sip::refresh(from, extension, number, EXPIRES);
                    phone.send_to(request.as_bytes(), pbx).unwrap();
                }
                number += 1;
                accept();
            }
        });
        let done = work();
        drop(end);
        done
    })
}

#[test]
fn phones_that_are_lost_halt_a_rollout_and_register_again() {
    let sites = Sites::new().unwrap();
    let host = sites.attach(0).unwrap();
    let world = embedded::world().unwrap().world;
    let addresses = Addresses::new(&world);
    let [trunk, abroad @ ..] = &addresses.several_v4("CN", 4)[..] else { panic!("too few") };
    let trunk = sites.phone(*trunk).unwrap();
    let phones = abroad.iter().copied().chain([addresses.v4("ES")]);
    let phones: Vec<UdpSocket> = phones.map(|at| sites.phone(at).unwrap()).collect();
    let config = pbx(4, trunk.local_addr().unwrap());
    let asterisk = Asterisk::start(&host.namespace, &config).unwrap();
    registering(&phones, (host.address, SIP).into(), &trunk, || {
        let says = |what: &str| asterisk.cli(&format!("pjsip show {what}")).unwrap();
        let registered = || says("contacts").matches("/sip:100").count();
        let is_known = || registered() == 4 && says("registrations").contains(" Registered ");
        within(MOMENT, Instant::now(), is_known, || says("registrations"));

        let leader = Leader::start(&sites.internet, GATEWAY).unwrap();
        let agent = Agent::start(&host.namespace, &["--interface", WAN]).unwrap();
        let group = leader.make_group("Branches").unwrap();
        leader.enrol_at(PORT, &agent, "pbx-01", group).unwrap();
        leader.choose(group, &allow(&["ES", "CN"])).unwrap();
        let served = || {
            let fleet = leader.ask("GET", "", None).unwrap();
            let host = &fleet["groups"][0]["hosts"][0];
            let of = |what: &str| host["served"][what].as_u64();
            let is_there = host["connected"] == true && host["progress"] == "confirmed";
            is_there.then(|| (of("phones"), of("registrations")))
        };
        let is_served = || served() == Some((Some(4), Some(1)));
        within(MOMENT, Instant::now(), is_served, || format!("{:?}", served()));

        let last = || leader.ask("GET", "/rollouts", None).unwrap()["rollouts"][0].clone();
        let halted = |settings: &Value, why: &str| {
            let wanted = json!({ "group": group, "settings": settings, "seconds": PATIENT });
            leader.ask("POST", "/rollouts", Some(&wanted)).unwrap();
            let is_halted = || last()["stage"] == "halted";
            within(SETTLED, Instant::now(), is_halted, || last().to_string());
            let said = last()["why"].as_str().unwrap().to_owned();
            assert!(said.contains(why), "{said}");
        };
        halted(&allow(&["ES"]), "it refuses it");
        // That it would cut phones is accepted, and it does.
        let mut accepted = allow(&["ES"]);
        accepted["accept"] = json!(["lose-phones"]);
        halted(&accepted, "of its 4 registered phones");

        let is_back = || registered() == 4;
        within(MOMENT, Instant::now(), is_back, || says("contacts"));
        assert_eq!(agent.json(&["status"]).unwrap()["countries"], json!(["CN", "ES"]));
        assert!(says("registrations").contains(" Registered "), "{}", says("registrations"));
    });
}

#[test]
fn hosts_say_whom_it_would_cut_before_they_are_told() {
    scene(|scene| {
        // Somebody in China talks to one PBX by TCP.
        let attached = &scene.fleet.hosts()[1];
        let talk = attached.inside(|at| TcpListener::bind((at, 5060))).unwrap().unwrap();
        let at = talk.local_addr().unwrap();
        let china = scene.china.local_addr().unwrap().ip();
        let call = scene.sites.internet.inside(|| call(china, at)).unwrap().unwrap();
        let (_heard, _) = talk.accept().unwrap();

        let wanted = json!({ "group": scene.group, "settings": allow(&["ES"]) });
        let id = scene.leader.ask("POST", "/previews", Some(&wanted)).unwrap()["id"].clone();
        let said = || scene.leader.ask("GET", &format!("/previews/{id}"), None).unwrap();
        let is_said = || said()["answered"] == 3;
        within(MOMENT, Instant::now(), is_said, || said().to_string());
        let said = said();
        assert_eq!(said["asked"], 3);
        let loses = said["hosts"].as_array().unwrap();
        assert_eq!(loses.len(), 1, "{said}");
        assert_eq!(loses[0]["name"], attached.name);
        assert_eq!(loses[0]["would_cut"][0]["address"], china.to_string());
        assert_eq!(loses[0]["would_cut"][0]["country"], "CN");
        assert_eq!(scene.reached(), 3, "nothing was done");
        drop(call);
    });
}

/// A connection from this address.
fn call(source: IpAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
    net::bind(&socket, &SocketAddr::new(source, 0))?;
    net::connect(&socket, &to)?;
    Ok(socket.into())
}
