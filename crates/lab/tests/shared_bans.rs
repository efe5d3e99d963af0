//! Bans that the hosts of a fleet share: by the real binary's agents and portals, in network namespaces on one bridge, with real packets.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use geofilter_cluster::Cluster;
use geofilter_core::geodata::embedded;
use geofilter_core::wire::Membership;
use geofilter_core::world::World;
use geofilter_fleet::bans::{MadeBan, OfBans, Protected};
use geofilter_fleet::{Enrol, Error, Heard, Report, Request, Said, Ticket};
use geofilter_lab::addresses::Addresses;
use geofilter_lab::awaited::within;
use geofilter_lab::browser::Browser;
use geofilter_lab::namespace::Namespace;
use geofilter_lab::phones::{INVITE, REGISTER};
use geofilter_lab::portal::{Client, Portal};
use geofilter_lab::process::Agent;
use geofilter_lab::site::{SIP, WAN, next};
use geofilter_lab::sites::{Attached, GATEWAY, Sites};
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::NamedTempFile;

const FLEET: &str = "/api/v1/fleet";
const BANS: &str = "/api/v1/fleet/bans";
const PORT: u16 = 8443;
/// By when other hosts drop whom one of them proved.
const AT_ONCE: Duration = Duration::from_secs(1);
const MOMENT: Duration = Duration::from_secs(15);
/// By then whatever was to come would have.
const WHILE: Duration = Duration::from_secs(2);

/// A host that lets in Spain alone, and its PBX.
struct Host<'a> {
    name: String,
    agent: Agent<'a>,
    pbx: UdpSocket,
    address: Ipv4Addr,
    config: NamedTempFile,
}

/// Hosts of a portal, and who calls them.
struct Scene<'a> {
    sites: &'a Sites,
    portal: Portal<'a>,
    ana: Client<'a>,
    group: i64,
    hosts: Vec<Host<'a>>,
    home: UdpSocket,
    /// Spaniards who may call, until somebody bans them.
    callers: Vec<Ipv4Addr>,
}

fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| embedded::world().unwrap().world)
}

/// So many hosts of one portal.
fn fleet(hosts: u8, test: impl FnOnce(&mut Scene<'_>)) {
    on(hosts, |sites| Portal::lead(&sites.internet, at(PORT), None).unwrap(), test);
}

fn at(port: u16) -> SocketAddr {
    SocketAddr::from((GATEWAY, port))
}

/// The same with a portal of the test's own.
fn on(
    hosts: u8,
    portal: impl for<'a> FnOnce(&'a Sites) -> Portal<'a>,
    test: impl FnOnce(&mut Scene<'_>),
) {
    let addresses = Addresses::new(world());
    let mut callers = addresses.several_v4("ES", 200);
    let sites = Sites::new().unwrap();
    let attached: Vec<_> = (0..hosts).map(|number| sites.attach(number).unwrap()).collect();
    let portal = portal(&sites);
    let ana = portal.first_operator().unwrap();
    let made = ana.must("POST", &format!("{FLEET}/groups"), Some(&json!({ "name": "Spain" })));
    let group = made.unwrap()["id"].as_i64().unwrap();
    let home = sites.phone(callers.remove(0)).unwrap();
    let hosts = attached.iter().enumerate().map(|(number, site)| Host::start(number, site));
    let hosts = hosts.collect();
    let mut scene = Scene { sites: &sites, portal, ana, group, hosts, home, callers };
    for host in &scene.hosts {
        scene.enrol(host, PORT);
    }
    test(&mut scene);
}

impl<'a> Host<'a> {
    fn start(number: usize, site: &'a Attached) -> Self {
        let Attached { namespace, address } = site;
        let pbx = namespace.inside(|| UdpSocket::bind((*address, SIP))).unwrap().unwrap();
        pbx.set_read_timeout(Some(MOMENT)).unwrap();
        let config = NamedTempFile::new().unwrap();
        let path = config.path().to_string_lossy().into_owned();
        let agent = Agent::start(namespace, &["--interface", WAN, "--config", &path]).unwrap();
        agent.json(&["allow", "ES", "--yes"]).unwrap();
        Self { name: format!("pbx-{number}"), agent, pbx, address: *address, config }
    }

    /// fail2ban bans somebody there for so long, by lines that prove who it was, or do not.
    fn bans(&self, who: Ipv4Addr, lasts: u64, proven: bool) {
        let lines = match proven {
            true => format!(
                "[2026-11-22 08:48:18.905] SECURITY[32163] res_security_log.c: \
                 SecurityEvent=\"ChallengeResponseFailed\",EventTV=\"2026-11-22T08:48:18.905+0000\",\
                 Severity=\"Error\",Service=\"PJSIP\",EventVersion=\"1\",AccountID=\"1001\",\
                 SessionID=\"s\",LocalAddress=\"IPV4/TCP/10.9.0.1/5060\",\
                 RemoteAddress=\"IPV4/TCP/{who}/6000\",Challenge=\"1\"\n"
            ),
            false => String::new(),
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().to_string();
        let (who, lasts) = (who.to_string(), lasts.to_string());
        let words = ["fail2ban", "ban", &who, "--time", &now, "--bantime", &lasts];
        let words = [&words[..], &["--jail", "asterisk"]].concat();
        let said = self.agent.ask_with(&words, &lines).unwrap();
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        assert!(!said.contains("is not banned"), "{said}");
    }

    /// What the host has of a ban by the fleet.
    fn shared(&self, who: Ipv4Addr) -> Option<Value> {
        let listed = self.agent.json(&["ban", "list", &who.to_string()]).unwrap();
        let records = listed["records"].as_array().unwrap();
        records.iter().find(|record| record["origin"] == "fleet").cloned()
    }

    /// How many bans of the fleet it has.
    fn count(&self) -> usize {
        let listed = self.agent.json(&["ban", "list"]).unwrap();
        let records = listed["records"].as_array().unwrap();
        records.iter().filter(|record| record["origin"] == "fleet").count()
    }

    fn connected(&self) -> bool {
        self.agent.json(&["status"]).unwrap()["fleet"]["connected"] == true
    }

    fn comes_to_be_connected(&self) {
        within(MOMENT * 2, Instant::now(), || self.connected(), || self.agent.log());
    }
}

impl Scene<'_> {
    fn token(&self) -> String {
        let path = format!("{FLEET}/groups/{}/tokens", self.group);
        self.ana.must("POST", &path, None).unwrap()["token"].as_str().unwrap().to_owned()
    }

    fn enrol(&self, host: &Host<'_>, port: u16) {
        let (portal, token) = (format!("https://{}", at(port)), self.token());
        host.agent.json(&["enrol", &portal, "--token", &token, "--name", &host.name]).unwrap();
        host.comes_to_be_connected();
    }

    /// Whether a call from there reaches a host's PBX. One from home does in any case.
    fn lets_in(&self, host: usize, who: Ipv4Addr) -> bool {
        let Host { pbx, address, .. } = &self.hosts[host];
        let phone = self.sites.internet.inside(|| UdpSocket::bind((who, 0))).unwrap().unwrap();
        phone.send_to(INVITE.as_bytes(), (*address, SIP)).unwrap();
        self.home.send_to(b"marker", (*address, SIP)).unwrap();
        let (first, from) = next(pbx).unwrap();
        if first == "marker" {
            return false;
        }
        assert_eq!((first.as_str(), from.ip().to_canonical()), (INVITE, who.into()));
        assert_eq!(next(pbx).unwrap().0, "marker");
        true
    }

    /// Waits until these hosts drop somebody, or none of them does.
    fn comes_to(&self, hosts: &[usize], who: Ipv4Addr, lets_in: bool, most: Duration) -> Duration {
        self.comes_to_since(Instant::now(), hosts, who, lets_in, most)
    }

    /// The same since a moment ago. Returns how long it took.
    fn comes_to_since(
        &self,
        began: Instant,
        hosts: &[usize],
        who: Ipv4Addr,
        lets_in: bool,
        most: Duration,
    ) -> Duration {
        for host in hosts {
            let is_so = || self.lets_in(*host, who) == lets_in;
            let not = || {
                let Host { agent, .. } = &self.hosts[*host];
                format!("host {host}, {who}: {} {}", self.shared_bans(), agent.log())
            };
            within(most, began, is_so, not);
        }
        began.elapsed()
    }

    /// For as long as anything might come, nothing changes for somebody.
    fn stays(&self, hosts: &[usize], who: Ipv4Addr, lets_in: bool) {
        let began = Instant::now();
        while began.elapsed() < WHILE {
            for host in hosts {
                assert_eq!(self.lets_in(*host, who), lets_in, "host {host}, {who}");
            }
        }
    }

    fn shared_bans(&self) -> Value {
        self.ana.read(BANS).unwrap()
    }

    /// Waits until the portal says so of the bans that are shared.
    fn says(&self, is_so: impl Fn(&Value) -> bool) {
        let said = || self.shared_bans();
        within(MOMENT, Instant::now(), || is_so(&said()), || said().to_string());
    }
}

#[test]
fn a_proven_ban_is_dropped_by_all_within_a_second_and_a_spoofable_one_once_three_hosts_made_it() {
    fleet(4, |scene| {
        let [proven, spoofable, by_hand, for_ever] = scene.callers[..4] else { panic!() };
        for who in [proven, spoofable, by_hand, for_ever] {
            scene.comes_to(&[0, 1, 2, 3], who, true, AT_ONCE);
        }
        let began = Instant::now();
        scene.hosts[0].bans(proven, 600, true);
        let took = scene.comes_to_since(began, &[0, 1, 2, 3], proven, false, AT_ONCE);
        println!("three hosts dropped whom one proved {took:?} after it was asked to");

        // Where it comes from and when it ends.
        let record = scene.hosts[1].shared(proven).unwrap();
        assert_eq!(record["note"], "proven on a host: jail asterisk");
        assert!((580..=600).contains(&record["remaining"].as_u64().unwrap()), "{record}");
        let why = scene.hosts[1].agent.json(&["why", &proven.to_string()]).unwrap();
        assert_eq!(why["reason"], "ban");
        assert!(why.to_string().contains("proven on a host"), "{why}");
        let list = scene.hosts[1].agent.ask(&["ban", "list"]).unwrap();
        let list = String::from_utf8_lossy(&list.stdout).into_owned();
        assert!(list.contains("fleet") && list.contains(&proven.to_string()), "{list}");
        let shared = scene.shared_bans()["bans"][0].clone();
        assert_eq!(shared["address"], proven.to_string());
        assert_eq!((&shared["host"], &shared["proven"]), (&json!("pbx-0"), &json!(true)));

        // What could be forged counts, twice of one host once.
        scene.hosts[0].bans(spoofable, 300, false);
        scene.hosts[0].bans(spoofable, 400, false);
        scene.hosts[1].bans(spoofable, 300, false);
        scene.says(|it| it["counting"] == 1);
        scene.stays(&[2, 3], spoofable, true);
        let began = Instant::now();
        scene.hosts[2].bans(spoofable, 300, false);
        let took = scene.comes_to_since(began, &[3], spoofable, false, AT_ONCE);
        println!("the fourth host dropped whom three banned {took:?} after the third was asked to");
        let record = scene.hosts[3].shared(spoofable).unwrap();
        assert_eq!(record["note"], "made by 3 hosts: jail asterisk");

        // An administrator's, if it ends.
        let agent = &scene.hosts[3].agent;
        agent.json(&["ban", "add", &for_ever.to_string()]).unwrap();
        let began = Instant::now();
        agent.json(&["ban", "add", &by_hand.to_string(), "--for", "1h"]).unwrap();
        scene.comes_to_since(began, &[0, 1, 2], by_hand, false, AT_ONCE);
        scene.stays(&[0, 1, 2], for_ever, true);

        // Nobody says again what he was told.
        let shared = scene.shared_bans();
        let hosts = shared["bans"].as_array().unwrap().iter().map(|ban| &ban["hosts"]);
        assert_eq!(hosts.collect::<Vec<_>>(), [1, 3, 1], "{shared}");
    });
}

#[test]
fn whom_one_host_serves_no_host_bans_and_who_is_served_from_now_on_is_free_everywhere() {
    fleet(3, |scene| {
        let [exempt, peer, later, in_wide, other] = scene.callers[..5] else { panic!() };
        let words = |who: Ipv4Addr| who.to_string();
        scene.hosts[1].agent.json(&["exempt", "add", &words(exempt)]).unwrap();
        // Its PBX logs in there.
        let trunk = scene.sites.phone(peer).unwrap();
        scene.hosts[2].pbx.send_to(REGISTER.as_bytes(), (peer, SIP)).unwrap();
        assert_eq!(next(&trunk).unwrap().0, REGISTER);
        drop(trunk);
        let peers = || scene.hosts[2].agent.json(&["peer", "list"]).unwrap().to_string();
        assert!(peers().contains(&peer.to_string()), "{}", peers());
        // An exemption wider than one host can keep from all keeps it from that host.
        let wide = format!("{}/8", Ipv4Addr::from(in_wide.to_bits() & 0xff00_0000));
        scene.hosts[1].agent.json(&["exempt", "add", &wide]).unwrap();
        scene.hosts[2].agent.json(&["exempt", "add", "11.0.0.0/8"]).unwrap();
        // Of what is narrow enough the portal knows by then too.
        scene.says(|it| it["unprotected"] == 2);
        scene.hosts[0].bans(exempt, 600, true);
        scene.hosts[0].bans(peer, 600, true);
        scene.says(|it| it["kept_back"]["by_protection"] == 2);
        scene.hosts[0].bans(in_wide, 600, true);
        scene.comes_to(&[2], in_wide, false, AT_ONCE);
        assert_eq!(scene.hosts[1].shared(in_wide), None);
        scene.stays(&[1, 2], exempt, true);
        assert!(scene.lets_in(1, peer) && scene.lets_in(1, in_wide));
        scene.hosts[1].agent.json(&["exempt", "remove", &wide]).unwrap();

        // From now on one of them serves him.
        scene.hosts[0].bans(later, 600, true);
        scene.hosts[0].bans(other, 600, true);
        scene.comes_to(&[1, 2], later, false, AT_ONCE);
        let began = Instant::now();
        scene.hosts[1].agent.json(&["exempt", "add", &words(later)]).unwrap();
        let took = scene.comes_to_since(began, &[1, 2], later, true, WHILE);
        println!("whom one host serves from now on was free at another {took:?} later");
        assert!(!scene.lets_in(2, other), "and nobody else is");
        assert!(!scene.lets_in(0, later), "what a host banned itself is its own");
    });
}

#[test]
fn a_shared_ban_outlives_agent_and_portal_ends_by_itself_and_goes_when_somebody_says_so() {
    fleet(3, |scene| {
        let [short, removed, withdrawn, left] = scene.callers[..4] else { panic!() };
        for who in [removed, withdrawn, left] {
            scene.hosts[0].bans(who, 600, true);
            scene.comes_to(&[1, 2], who, false, AT_ONCE);
        }
        // Whom an administrator sets free on his host is free there, and stays so.
        let words = ["ban", "remove", &removed.to_string()];
        scene.hosts[1].agent.json(&words).unwrap();
        assert!(scene.lets_in(1, removed) && !scene.lets_in(2, removed));
        scene.hosts[1].agent.kill().unwrap();
        assert!(!scene.lets_in(1, left), "the kernel has it");
        scene.hosts[1].agent.restart(None).unwrap();
        scene.hosts[1].comes_to_be_connected();
        scene.stays(&[1], removed, true);
        assert!(!scene.lets_in(1, left));

        // Whom an operator sets free is free everywhere but where he was banned, and is not shared again.
        let path = format!("{BANS}/{withdrawn}");
        let began = Instant::now();
        scene.ana.must("DELETE", &path, None).unwrap();
        scene.comes_to_since(began, &[1, 2], withdrawn, true, AT_ONCE);
        assert!(!scene.lets_in(0, withdrawn));
        assert_eq!(scene.ana.send("DELETE", &path, None).unwrap().status, 404);
        scene.hosts[2].bans(withdrawn, 600, true);
        scene.says(|it| it["kept_back"]["by_protection"] == 1);
        assert!(scene.lets_in(1, withdrawn));
        let audit = scene.ana.read("/api/v1/audit").unwrap().to_string();
        assert!(
            audit.contains("withdraw ban") && audit.contains(&withdrawn.to_string()),
            "{audit}"
        );

        // Who wants no part has none, and has it again.
        fs::write(scene.hosts[1].config.path(), "[fleet]\nshared-bans = false\n").unwrap();
        scene.hosts[1].agent.signal(Signal::HUP).unwrap();
        scene.comes_to(&[1], left, true, MOMENT);
        assert!(!scene.lets_in(2, left));
        fs::write(scene.hosts[1].config.path(), "").unwrap();
        scene.hosts[1].agent.signal(Signal::HUP).unwrap();
        scene.comes_to(&[1], left, false, MOMENT);
        // The same for all.
        let share = |sharing: bool| {
            let wish = json!({ "sharing": sharing });
            scene.ana.must("PUT", BANS, Some(&wish)).unwrap();
        };
        share(false);
        scene.comes_to(&[1, 2], left, true, AT_ONCE);
        share(true);
        scene.comes_to(&[1, 2], left, false, AT_ONCE);

        // Without portal and agent it ends when it was to.
        let began = Instant::now();
        scene.hosts[0].bans(short, 8, true);
        scene.comes_to_since(began, &[1, 2], short, false, AT_ONCE);
        scene.portal.kill().unwrap();
        scene.hosts[1].agent.kill().unwrap();
        while began.elapsed() < Duration::from_secs(6) {
            assert!(!scene.lets_in(1, short) && !scene.lets_in(2, short));
        }
        scene.comes_to_since(began, &[1, 2], short, true, Duration::from_secs(10));
        scene.hosts[1].agent.restart(None).unwrap();
        assert!(!scene.lets_in(1, left), "the others stay");

        scene.hosts[2].agent.json(&["leave"]).unwrap();
        assert!(scene.lets_in(2, left));
        assert_eq!(scene.hosts[2].count(), 0);
    });
}

/// A host of a test's own, which has a certificate and no agent.
struct Stranger<'a> {
    namespace: &'a Namespace,
    membership: Membership,
}

/// Does something in a namespace.
fn meanwhile<T: Send>(namespace: &Namespace, work: impl AsyncFnOnce() -> T + Send) -> T {
    let work = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(work())
    };
    namespace.inside(work).unwrap()
}

impl<'a> Stranger<'a> {
    fn enrol(namespace: &'a Namespace, token: &str) -> Self {
        let ticket: Ticket = token.parse().unwrap();
        let request = Request::new().unwrap();
        let portal = format!("https://{}", at(PORT));
        let (name, pem) = ("stranger".to_owned(), request.pem().to_owned());
        let asked = Enrol { secret: ticket.secret(), name, request: pem };
        let client = geofilter_fleet::Client::stranger(&portal, ticket.pin).unwrap();
        let enrolled = meanwhile(namespace, async || client.enrol(&asked).await.unwrap());
        Self { namespace, membership: request.enrolled(&portal, enrolled) }
    }

    /// Says these, one after the other. Comes true once all are written down.
    fn say(&self, all: Vec<OfBans>) -> Result<(), Error> {
        let client = geofilter_fleet::Client::member(&self.membership).unwrap();
        meanwhile(self.namespace, async || {
            let mut stream = client.stream().await?;
            for (number, bans) in (1..).zip(all) {
                let said = Said { number, report: Report::default(), bans, ..Said::default() };
                stream.say(&said).await?;
                while stream.next().await? != Heard::Noted(number) {}
            }
            Ok(())
        })
    }
}

#[test]
fn a_host_that_floods_or_lies_has_its_budget_and_takes_nothing_of_the_others() {
    fleet(3, |scene| {
        let [proven, protected, again, ..] = scene.callers[..] else { panic!() };
        let flood: Vec<String> = scene.callers[100..].iter().map(Ipv4Addr::to_string).collect();
        let mut words = vec!["ban", "add"];
        words.extend(flood.iter().map(String::as_str));
        words.extend(["--for", "1h"]);
        scene.hosts[0].agent.json(&words).unwrap();
        let over = flood.len() as u64 - 60;
        scene.says(|it| it["kept_back"]["by_host_budget"] == over);
        assert_eq!(scene.shared_bans()["bans"].as_array().unwrap().len(), 60);
        within(MOMENT, Instant::now(), || scene.hosts[1].count() == 60, || "not 60".to_owned());
        let began = Instant::now();
        scene.hosts[1].bans(proven, 600, true);
        scene.comes_to_since(began, &[0, 2], proven, false, AT_ONCE);

        // It protects the world, and bans it.
        let stranger = Stranger::enrol(&scene.sites.internet, &scene.token());
        let world = ["0.0.0.0/0", "::/0", "0.0.0.0/1", "128.0.0.0/1", "10.0.0.0/8"];
        let protects = world.map(|prefix| prefix.parse().unwrap()).to_vec();
        let protects = Some(Protected { prefixes: protects, left_out: usize::MAX });
        let ban = |target: &str| MadeBan {
            target: target.parse().unwrap(),
            until: u64::MAX,
            proven: true,
            why: "\u{0}\u{7}\u{202e}".repeat(2),
        };
        let made = world.iter().chain(&["127.0.0.1/32", "2000::/3"]).map(|it| ban(it)).collect();
        let lies = OfBans { made, protects };
        let many = |from: u8| {
            let target = |last: u8| ban(&format!("198.51.{from}.{last}/32"));
            OfBans { made: (0..=255).map(target).collect(), protects: None }
        };
        let all = std::iter::once(lies).chain((0..30).map(many)).collect();
        stranger.say(all).unwrap();
        let shared = scene.shared_bans();
        let of_stranger = |ban: &&Value| ban["host"] == "stranger";
        let bans = shared["bans"].as_array().unwrap();
        assert_eq!(bans.iter().filter(of_stranger).count(), 60, "{shared}");
        let longest = "9999";
        assert!(bans.iter().all(|ban| !ban["until"].as_str().unwrap().starts_with(longest)));
        let has_all = || scene.hosts[2].count() == 60 + 1 + 60;
        within(AT_ONCE, Instant::now(), has_all, || scene.hosts[2].count().to_string());
        // Nobody else is kept from anything by it.
        let began = Instant::now();
        scene.hosts[1].bans(again, 600, true);
        scene.comes_to_since(began, &[0, 2], again, false, AT_ONCE);
        // What it says is believed of whom a host may protect, and no more once it is revoked.
        let prefixes = vec![format!("{protected}/32").parse().unwrap()];
        let protects = Some(Protected { prefixes, left_out: 0 });
        stranger.say(vec![OfBans { made: Vec::new(), protects }]).unwrap();
        scene.hosts[1].bans(protected, 600, true);
        scene.says(|it| it["kept_back"]["by_protection"] == 1);
        let id = stranger.membership.host;
        scene.ana.must("DELETE", &format!("{FLEET}/hosts/{id}"), None).unwrap();
        within(
            AT_ONCE,
            Instant::now(),
            || scene.hosts[2].count() == 62,
            || format!("{}: {}", scene.hosts[2].count(), scene.shared_bans()),
        );
        scene.hosts[1].bans(protected, 700, true);
        scene.comes_to(&[0, 2], protected, false, AT_ONCE);
    });
}

#[test]
fn hosts_at_another_replica_drop_whom_one_proved_within_a_second() {
    let cluster = OnceLock::new();
    let url = OnceLock::new();
    let lead = higher(|sites| {
        let begun = sites.internet.inside(|| {
            let begun = Cluster::start().unwrap();
            let made = begun.create("bans").unwrap();
            (begun, made)
        });
        let (begun, made) = begun.unwrap();
        drop(cluster.set(begun));
        Portal::lead(&sites.internet, at(PORT), Some(url.get_or_init(|| made))).unwrap()
    });
    on(2, lead, |scene| {
        let other = Portal::lead(&scene.sites.internet, at(PORT + 1), url.get().map(|it| &**it));
        let other = other.unwrap();
        scene.hosts[1].agent.json(&["leave"]).unwrap();
        scene.enrol(&scene.hosts[1], PORT + 1);
        for who in &scene.callers[..8] {
            let began = Instant::now();
            scene.hosts[0].bans(*who, 600, true);
            let took = scene.comes_to_since(began, &[1], *who, false, AT_ONCE);
            println!("the host of another replica dropped it after {took:?}");
        }
        let at_other = scene.ana.on(&other);
        assert_eq!(at_other.read(BANS).unwrap(), scene.shared_bans());
        let path = format!("{BANS}/{}", scene.callers[0]);
        at_other.must("DELETE", &path, None).unwrap();
        scene.comes_to(&[1], scene.callers[0], true, AT_ONCE);
        assert_eq!(scene.hosts[1].count(), 7);
        // Whoever has heard nothing yet is told all of it.
        scene.hosts[1].agent.kill().unwrap();
        scene.hosts[1].agent.restart(None).unwrap();
        scene.hosts[1].comes_to_be_connected();
        scene.comes_to(&[1], scene.callers[0], true, AT_ONCE);
        assert_eq!(scene.hosts[1].count(), 7);
    });
}

/// A closure, whichever sites it is for.
fn higher<F: for<'a> FnOnce(&'a Sites) -> Portal<'a>>(lead: F) -> F {
    lead
}

#[test]
fn what_is_shared_is_seen_withdrawn_and_ended_on_the_page() {
    fleet(2, |scene| {
        let who = scene.callers[0];
        scene.hosts[0].bans(who, 600, true);
        scene.comes_to(&[1], who, false, AT_ONCE);
        let mut browser = Browser::open(scene.portal.namespace()).unwrap();
        browser.enter(&scene.portal, &scene.ana).unwrap();
        let mut does = |deed: &str, words: &[&str]| browser.does(deed, words).unwrap();
        does("go", &["Bans"]);
        does("sees", &["Bans of the fleet"]);
        does("sees", &[&who.to_string()]);
        does("sees", &["proven on pbx-0"]);
        browser.shoot("shared-bans").unwrap();
        let mut does = |deed: &str, words: &[&str]| browser.does(deed, words).unwrap();
        does("wear", &["dark", "360"]);
        browser.shoot("shared-bans-narrow").unwrap();
        let mut does = |deed: &str, words: &[&str]| browser.does(deed, words).unwrap();
        does("click", &[&format!("Withdraw {who}")]);
        scene.comes_to(&[1], who, true, MOMENT);
        let does_not = "Share none";
        browser.does("click", &[does_not]).unwrap();
        scene.says(|it| it["sharing"] == false);
        browser.does("sees", &["Hosts share no bans."]).unwrap();
    });
}
