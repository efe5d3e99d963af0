//! Portals that share a database on PostgreSQL, and what fails between them, their database and their hosts: by the real binary's agent and
//! portals, a real server and a real pooler, with real packets.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use geofilter_cluster::Cluster;
use geofilter_core::desired::State;
use geofilter_core::wire::Membership;
use geofilter_fleet::{
    Authority, Enrol, Error, Heard, HostId, LIFETIME, Mark, Refused, Report, Request, Said,
    Standing, Ticket,
};
use geofilter_lab::awaited::within;
use geofilter_lab::forwarder::Forwarder;
use geofilter_lab::namespace::Namespace;
use geofilter_lab::pooler::Pooler;
use geofilter_lab::portal::{Client, Portal, Scene};
use serde_json::{Value, json};

const FLEET: &str = "/api/v1/fleet";
/// Where hosts connect to either, and to whatever stands before them.
const A: &str = "127.0.0.1:8443";
const B: &str = "127.0.0.1:8444";
const BEFORE: &str = "127.0.0.1:8440";
const MOMENT: Duration = Duration::from_secs(15);
/// What a host's agent logs when it is connected.
const HEARD: &str = "the portal of the fleet is heard";
/// How long the database is away. It may be for much longer: by then everything that waits for it has given up once.
const AWAY: Duration = Duration::from_secs(45);

/// A host beside a portal that keeps its database on a server, an admin, the number of a group, and the URL of the database.
fn on_a_server(cluster: &Cluster, test: impl FnOnce(&mut Scene<'_>, Client<'_>, i64, &str)) {
    by_a_pooler(cluster, None, test);
}

/// The same by a pooler with so many connections.
fn by_a_pooler(
    cluster: &Cluster,
    pooled: Option<u32>,
    test: impl FnOnce(&mut Scene<'_>, Client<'_>, i64, &str),
) {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let url = cluster.create(&format!("replicas_{count}")).unwrap();
    Scene::set(&[], |scene| {
        let server = SocketAddr::from(([127, 0, 0, 1], cluster.port()));
        let _way = Forwarder::out_of(&scene.site().host, server, server).unwrap();
        let pooler = pooled.map(|size| Pooler::start(&scene.site().host, &url, size).unwrap());
        let url = pooler.as_ref().map_or(&url, |(_, url)| url);
        scene.serve_at("127.0.0.1:0", &["--fleet", A, "--database", url]).unwrap();
        let ana = scene.portal.first_operator().unwrap();
        let made = ana.must("POST", &format!("{FLEET}/groups"), Some(&json!({ "name": "Spain" })));
        let group = made.unwrap()["id"].as_i64().unwrap();
        test(scene, ana, group, url);
    })
    .unwrap();
}

/// A second portal on the same database.
fn replica<'a>(scene: &Scene<'a>, url: &str) -> Portal<'a> {
    scene.portal.beside("replica-b", &["--fleet", B, "--database", url]).unwrap()
}

/// What stands before portals.
fn before(scene: &Scene<'_>, portals: &[&str]) -> Forwarder {
    let portals: Vec<SocketAddr> = portals.iter().map(|at| at.parse().unwrap()).collect();
    Forwarder::within(&scene.site().host, BEFORE.parse().unwrap(), &portals).unwrap()
}

fn token(ana: &Client<'_>, group: i64) -> String {
    let made = ana.must("POST", &format!("{FLEET}/groups/{group}/tokens"), None).unwrap();
    made["token"].as_str().unwrap().to_owned()
}

fn enrol(scene: &Scene<'_>, ana: &Client<'_>, group: i64, at: &str) {
    let token = token(ana, group);
    let portal = format!("https://{at}");
    scene.agent.json(&["enrol", &portal, "--token", &token, "--name", "pbx-1"]).unwrap();
    says(scene, MOMENT, |it| it["connected"] == true);
}

/// Returns the mark that it has.
fn choose(ana: &Client<'_>, group: i64, countries: &[&str]) -> String {
    let policy = json!({ "mode": "allow", "countries": countries });
    let told = ana.must("PUT", &format!("{FLEET}/groups/{group}/policy"), Some(&policy)).unwrap();
    format!("1.{}", told["revision"])
}

/// What a portal knows of the host.
fn host(ana: &Client<'_>) -> Value {
    ana.read(FLEET).unwrap()["groups"][0]["hosts"][0].clone()
}

/// Waits until a portal says so of the host.
fn shows(ana: &Client<'_>, what: &str, value: &Value) {
    let is_so = || host(ana)[what] == *value;
    within(MOMENT, Instant::now(), is_so, || format!("{what} is not {value}: {}", host(ana)));
}

fn comes_to(ana: &Client<'_>, progress: &str) {
    shows(ana, "progress", &json!(progress));
}

/// Waits until the host says so of its portal. Returns how long that took.
fn says(scene: &Scene<'_>, most: Duration, is_so: impl Fn(&Value) -> bool) -> Duration {
    let began = Instant::now();
    within(most, began, || is_so(&of_fleet(scene)), || of_fleet(scene).to_string());
    began.elapsed()
}

fn of_fleet(scene: &Scene<'_>) -> Value {
    scene.agent.json(&["status"]).unwrap()["fleet"].clone()
}

/// Waits until what has this mark is in force. Returns how long that took.
fn does(scene: &Scene<'_>, mark: &str, most: Duration) -> Duration {
    says(scene, most, |it| it["applied"] == mark)
}

fn revoke(ana: &Client<'_>) {
    let id = host(ana)["id"].clone();
    ana.must("DELETE", &format!("{FLEET}/hosts/{id}"), None).unwrap();
}

/// A host's whole life with a portal, at which Ana may be at another one.
fn lives(scene: &Scene<'_>, ana: &Client<'_>, group: i64, at: &str, most: Duration) {
    enrol(scene, ana, group, at);
    comes_to(ana, "free");
    shows(ana, "connected", &json!(true));
    assert!(scene.reached(), "nobody has chosen anything");
    let took = does(scene, &choose(ana, group, &["ES"]), most);
    assert!(!scene.reached());
    comes_to(ana, "confirmed");
    let id = host(ana)["id"].clone();
    revoke(ana);
    let cut = says(scene, most, |it| it["connected"] == false);
    println!("a choice took {took:?}, revoking {cut:?}");
    says(scene, MOMENT, |it| it["trouble"].as_str().is_some_and(|why| why.contains("revoked")));
    assert!(!scene.reached(), "what was in force stays");
    assert_eq!(host(ana), Value::Null);
    enrol(scene, ana, group, at);
    comes_to(ana, "confirmed");
    assert_ne!(host(ana)["id"], id);
}

#[test]
fn a_portal_on_postgresql_does_what_one_on_a_file_does() {
    on_a_server(Cluster::shared(), |scene, ana, group, url| {
        let mut signed_in = scene.portal.stranger();
        signed_in.sign_in().unwrap();
        lives(scene, &signed_in, group, A, Duration::from_secs(1));
        // What it keeps is there when it starts again, and nothing of it in its folder.
        scene.portal.restart().unwrap();
        assert_eq!(scene.portal.first, None);
        let ana = ana.on(&scene.portal);
        says(scene, MOMENT * 2, |it| it["connected"] == true);
        comes_to(&ana, "confirmed");
        let kept = "SELECT count(*) FROM member WHERE revoked IS NULL";
        let kept = Cluster::shared().sql(url.rsplit('/').next().unwrap(), kept);
        assert_eq!(kept.unwrap(), "1");
    });
}

#[test]
fn a_host_at_one_replica_does_within_a_second_what_is_chosen_at_another() {
    on_a_server(Cluster::shared(), |scene, ana, group, url| {
        let b = replica(scene, url);
        assert_eq!(b.first, None, "there is an operator");
        // A session that was begun at one is good at the other, also to change something.
        let ana_at_b = ana.on(&b);
        let made = json!({ "name": "Zambia" });
        ana_at_b.must("POST", &format!("{FLEET}/groups"), Some(&made)).unwrap();
        assert_eq!(ana.read(FLEET).unwrap()["groups"][1]["name"], "Zambia");
        let database = url.rsplit('/').next().unwrap();
        let listen = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN %'";
        let listen = || Cluster::shared().sql(database, listen).unwrap();
        within(MOMENT, Instant::now(), || listen() == "2", || format!("{} listen", listen()));

        lives(scene, &ana, group, B, Duration::from_secs(1));
        for at in [&ana, &ana_at_b] {
            shows(at, "connected", &json!(true));
            comes_to(at, "confirmed");
        }
        for countries in [&["ES", "CN"][..], &["ES"], &["ES", "CN"], &["ES"]] {
            let took = does(scene, &choose(&ana, group, countries), Duration::from_secs(1));
            println!("a choice took {took:?}");
            assert_eq!(scene.reached(), countries.contains(&"CN"));
        }
        // One that hears no hosts takes nothing away from those that do.
        let deaf = scene.portal.beside("replica-c", &["--database", url]).unwrap();
        does(scene, &choose(&ana.on(&deaf), group, &["ES", "PT"]), Duration::from_secs(1));
        // Who goes is seen by all.
        scene.agent.kill().unwrap();
        for at in [&ana, &ana_at_b] {
            shows(at, "connected", &json!(false));
        }
    });
}

#[test]
fn what_is_announced_may_be_lost_by_a_pooler_and_hosts_hear_it_all_the_same() {
    by_a_pooler(Cluster::shared(), Some(4), |scene, ana, group, url| {
        let b = replica(scene, url);
        // No lock stays behind with a connection that the pooler keeps.
        let held = "SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = database WHERE locktype = 'advisory' AND datname = current_database()";
        let held = || Cluster::shared().sql(url.rsplit('/').next().unwrap(), held).unwrap();
        within(MOMENT, Instant::now(), || held() == "0", held);
        lives(scene, &ana, group, B, Duration::from_secs(3));
        let ana = ana.on(&b);
        revoke(&ana);
        says(scene, Duration::from_secs(3), |it| it["connected"] == false);
        enrol(scene, &ana, group, A);
        for countries in [&["ES", "CN"][..], &["ES"]].repeat(4) {
            let took = does(scene, &choose(&ana, group, countries), Duration::from_secs(3));
            println!("a choice took {took:?} by looking alone");
            assert_eq!(scene.reached(), countries.contains(&"CN"));
        }
    });
}

#[test]
fn a_replica_that_is_killed_costs_nothing_and_its_hosts_go_to_another() {
    on_a_server(Cluster::shared(), |scene, ana, group, url| {
        let b = replica(scene, url);
        let _before = before(scene, &[A, B]);
        enrol(scene, &ana, group, BEFORE);
        does(scene, &choose(&ana, group, &["ES"]), MOMENT);
        comes_to(&ana, "confirmed");
        let ana = ana.on(&b);
        shows(&ana, "connected", &json!(true));
        let generation = scene.agent.json(&["status"]).unwrap()["generation"].clone();
        let log = scene.agent.log();
        assert!(log.contains(HEARD), "{log}");
        let began = Instant::now();
        scene.portal.kill().unwrap();
        let scene = &*scene;
        let heard = || scene.agent.log().matches(HEARD).count();
        let before = log.matches(HEARD).count();
        let is_heard = || {
            assert!(!scene.reached(), "a verdict changed");
            heard() > before
        };
        within(Duration::from_secs(10), began, is_heard, || of_fleet(scene).to_string());
        println!("the other one was heard after {:?}", began.elapsed());
        assert_eq!(scene.agent.json(&["status"]).unwrap()["generation"], generation);
        comes_to(&ana, "confirmed");
        shows(&ana, "connected", &json!(true));
        does(scene, &choose(&ana, group, &["ES", "CN"]), Duration::from_secs(1));
        assert!(scene.reached());
    });
}

/// Something is refused in words, as what went wrong at the portal.
fn fails_in_words(ana: &Client<'_>) {
    let answer = ana.get(FLEET).unwrap();
    assert_eq!(answer.status, 503, "{}", answer.text);
    assert_eq!(answer.head.headers()["content-type"], "application/problem+json");
    assert!(answer.head.headers().contains_key("retry-after"));
    let said = answer.body["detail"].as_str().unwrap();
    assert!(said.contains("database"), "{said}");
}

#[test]
fn a_database_that_is_away_cuts_no_host_and_changes_no_verdict() {
    let cluster = Cluster::start().unwrap();
    on_a_server(&cluster, |scene, ana, group, _| {
        enrol(scene, &ana, group, A);
        does(scene, &choose(&ana, group, &["ES"]), MOMENT);
        comes_to(&ana, "confirmed");
        cluster.stop().unwrap();
        let began = Instant::now();
        fails_in_words(&ana);
        while began.elapsed() < AWAY {
            assert_eq!(
                of_fleet(scene)["connected"],
                true,
                "{:?}: {}",
                began.elapsed(),
                of_fleet(scene)
            );
            assert!(!scene.reached());
            thread::sleep(Duration::from_millis(500));
        }
        fails_in_words(&ana);
        cluster.resume().unwrap();
        let back = Instant::now();
        let answers = || ana.get(FLEET).unwrap().status == 200;
        within(MOMENT, back, answers, || "the portal does not answer".to_owned());
        println!("the portal answers {:?} after the database is back", back.elapsed());
        assert_eq!(of_fleet(scene)["connected"], true);
        shows(&ana, "connected", &json!(true));
        does(scene, &choose(&ana, group, &["ES", "CN"]), MOMENT);
        comes_to(&ana, "confirmed");
        assert!(scene.reached());
        does(scene, &choose(&ana, group, &["ES"]), Duration::from_secs(1));

        // Who comes while it is away is told to come again.
        cluster.stop().unwrap();
        scene.agent.kill().unwrap();
        scene.agent.restart(None).unwrap();
        says(scene, MOMENT * 2, |it| {
            it["trouble"].as_str().is_some_and(|why| why.contains("database"))
        });
        assert_eq!(of_fleet(scene)["connected"], false);
        assert!(!scene.reached());
        cluster.resume().unwrap();
        let took = says(scene, MOMENT * 2, |it| it["connected"] == true);
        println!("the host is back {took:?} after the database");
        comes_to(&ana, "confirmed");
        assert!(!scene.reached());
    });
}

#[test]
fn two_operators_who_choose_at_once_at_two_replicas_are_given_every_revision_once() {
    const ROUNDS: usize = 25;
    on_a_server(Cluster::shared(), |scene, ana, group, url| {
        let b = replica(scene, url);
        let bo = scene.portal.operator(&ana, "Bo", "admin").unwrap().on(&b);
        enrol(scene, &ana, group, A);
        let choose_often = |who: &Client<'_>, countries: [&str; 2]| -> Vec<String> {
            let each = (0..ROUNDS).map(|round| choose(who, group, &["ES", countries[round % 2]]));
            each.collect()
        };
        let [of_ana, of_bo] = thread::scope(|scope| {
            let ana = scope.spawn(|| choose_often(&ana, ["PT", "FR"]));
            let bo = scope.spawn(|| choose_often(&bo, ["CN", "BR"]));
            [ana, bo].map(|who| who.join().unwrap())
        });
        for own in [&of_ana, &of_bo] {
            assert!(own.is_sorted(), "{own:?}");
        }
        let all: BTreeSet<&String> = of_ana.iter().chain(&of_bo).collect();
        assert_eq!(all.len(), 2 * ROUNDS, "a revision was given twice");
        let last = all.last().unwrap();
        let interleave = of_ana.first() < of_bo.last() && of_bo.first() < of_ana.last();
        assert!(interleave, "they did not choose at once");
        let shown = [&ana, &bo].map(|who| {
            let group = who.read(FLEET).unwrap()["groups"][0].clone();
            (group["revision"].clone(), group["policy"].clone())
        });
        assert_eq!(shown[0], shown[1]);
        assert_eq!(format!("1.{}", shown[0].0), **last);
        does(scene, last, Duration::from_secs(3));
        assert_eq!(scene.agent.json(&["status"]).unwrap()["countries"], shown[0].1["countries"]);
        let is_of_bo = of_bo.last() == Some(last);
        assert_eq!(scene.reached(), is_of_bo && shown[0].1["countries"][0] == "CN");
        for who in [&ana, &bo] {
            comes_to(who, "confirmed");
        }
    });
}

#[test]
fn a_choice_comes_through_a_network_that_fails_and_no_verdict_changes_until_it_does() {
    on_a_server(Cluster::shared(), |scene, ana, group, _| {
        let way = before(scene, &[A]);
        enrol(scene, &ana, group, BEFORE);
        does(scene, &choose(&ana, group, &["ES"]), MOMENT);
        comes_to(&ana, "confirmed");
        // As a cable that is cut: neither side is told.
        way.hold(true);
        let mark = choose(&ana, group, &["ES", "CN"]);
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(8) {
            assert!(!scene.reached());
            assert_ne!(of_fleet(scene)["applied"], mark);
        }
        way.hold(false);
        let took = does(scene, &mark, Duration::from_secs(5));
        println!("{took:?} after the network is back");
        assert!(scene.reached());

        // A fifth of the packets is lost, and now and then a connection.
        way.lose(20);
        let made = way.made();
        for countries in [&["ES"][..], &["ES", "CN"]].repeat(4) {
            let took = does(scene, &choose(&ana, group, countries), MOMENT * 2);
            println!("{took:?} although a fifth is lost");
            assert_eq!(scene.reached(), countries.contains(&"CN"));
        }
        assert!(way.made() > made);
        way.lose(0);
        comes_to(&ana, "confirmed");
    });
}

#[test]
fn a_database_that_is_lost_without_a_word_is_found_again() {
    on_a_server(Cluster::shared(), |scene, ana, group, url| {
        let server = SocketAddr::from(([127, 0, 0, 1], Cluster::shared().port()));
        let by = SocketAddr::from(([127, 0, 0, 1], 5400));
        let way = Forwarder::out_of(&scene.site().host, by, server).unwrap();
        let b = replica(scene, &url.replace(&format!(":{}/", server.port()), ":5400/"));
        enrol(scene, &ana, group, B);
        does(scene, &choose(&ana, group, &["ES"]), MOMENT);
        // Its connections hang from here on, whatever it was about to ask; other ones would not.
        way.forget();
        let began = Instant::now();
        let mark = choose(&ana, group, &["ES", "CN"]);
        let is_done = || {
            let done = of_fleet(scene)["applied"] == mark;
            assert!(done || !scene.reached());
            done
        };
        within(MOMENT * 2, began, is_done, || of_fleet(scene).to_string());
        println!("the database was found again after {:?}", began.elapsed());
        assert!(scene.reached());
        let ana = ana.on(&b);
        let answers = || ana.get(FLEET).unwrap().status == 200;
        within(MOMENT * 2, began, answers, || "the portal does not answer".to_owned());
        does(scene, &choose(&ana, group, &["ES"]), Duration::from_secs(3));
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
    fn enrol(namespace: &'a Namespace, ana: &Client<'_>, group: i64) -> Self {
        let ticket: Ticket = token(ana, group).parse().unwrap();
        let request = Request::new().unwrap();
        let portal = format!("https://{A}");
        let (name, pem) = ("stranger".to_owned(), request.pem().to_owned());
        let asked = Enrol { secret: ticket.secret(), name, request: pem };
        let client = geofilter_fleet::Client::stranger(&portal, ticket.pin).unwrap();
        let enrolled = meanwhile(namespace, async || client.enrol(&asked).await.unwrap());
        Self { namespace, membership: request.enrolled(&portal, enrolled) }
    }

    fn client(&self) -> geofilter_fleet::Client {
        geofilter_fleet::Client::member(&self.membership).unwrap()
    }

    /// Says how it stands. Comes true once that is written down.
    fn report(&self, report: &Report) -> Result<(), Error> {
        let client = self.client();
        let said = Said { number: 7, report: report.clone(), ..Said::default() };
        meanwhile(self.namespace, async || {
            let mut stream = client.stream().await?;
            stream.say(&said).await?;
            let noted = async {
                while stream.next().await? != Heard::Noted(7) {}
                Ok(())
            };
            let silent = || Error::Ended("it was not written down".to_owned());
            tokio::time::timeout(Duration::from_secs(5), noted).await.map_err(|_| silent())?
        })
    }

    /// Whether it is let in, and listens for a moment.
    fn listens(&self) -> Result<(), Error> {
        let client = self.client();
        meanwhile(self.namespace, async || client.stream().await?.next().await).map(drop)
    }
}

/// What the portal knows of a host of this name.
fn named(ana: &Client<'_>, name: &str) -> Value {
    let fleet = ana.read(FLEET).unwrap();
    let hosts = fleet["groups"][0]["hosts"].as_array().unwrap();
    hosts.iter().find(|host| host["name"] == name).unwrap().clone()
}

#[test]
fn a_host_that_lies_is_believed_of_nobody_else_and_keeps_nobody_waiting() {
    on_a_server(Cluster::shared(), |scene, ana, group, _| {
        enrol(scene, &ana, group, A);
        let stranger = Stranger::enrol(scene.portal.namespace(), &ana, group);
        let mark = choose(&ana, group, &["ES"]);
        does(scene, &mark, MOMENT);
        let is = |name: &str, what: &str, value: &Value| {
            let is_so = || named(&ana, name)[what] == *value;
            within(MOMENT, Instant::now(), is_so, || format!("{what}: {}", named(&ana, name)));
        };
        is("pbx-1", "progress", &json!("confirmed"));
        let revision = mark.rsplit('.').next().unwrap().parse().unwrap();
        let mark = Mark { epoch: 1, revision };
        let state = State::Enforcing;
        let standing = |policy: &str| Standing {
            state,
            policy: policy.to_owned(),
            confirmed: true,
            dropped: u64::MAX,
            passed: u64::MAX,
        };
        let lie = Report {
            version: "0.1.0".to_owned(),
            received: Some(mark),
            applied: Some(mark),
            refused: None,
            standing: Some(standing(&"0".repeat(64))),
            time: i64::MAX,
            instead: None,
            served: None,
            world: None,
        };
        stranger.report(&lie).unwrap();
        is("stranger", "progress", &json!("drifted"));
        // What it was never asked.
        let far = Some(Mark { epoch: u64::MAX, revision: u64::MAX });
        stranger.report(&Report { received: far, applied: far, ..lie.clone() }).unwrap();
        is("stranger", "progress", &json!("desired"));
        // What no agent says: the others are written down all the same, and of it no more than an agent says.
        let odd = "\u{0}\u{7}\u{202e}";
        let why = format!("{odd}{}", "x".repeat(40_000));
        let refused = Some(Refused { mark, why, risks: Vec::new() });
        let odd = Report { version: odd.repeat(1000), refused, ..lie.clone() };
        stranger.report(&odd).unwrap();
        is("stranger", "progress", &json!("refused"));
        let known = named(&ana, "stranger");
        assert!(known["version"].as_str().unwrap().len() <= 128, "{known}");
        assert!(known["refused"].as_str().unwrap().len() <= 4096, "{known}");
        let reported = named(&ana, "pbx-1")["reported"].clone();
        let again = || named(&ana, "pbx-1")["reported"] != reported;
        within(MOMENT, Instant::now(), again, || "others wait".to_owned());
        is("pbx-1", "progress", &json!("confirmed"));
        let large = Report { version: "x".repeat(100_000), ..lie };
        let came = stranger.report(&large);
        assert!(matches!(came, Err(Error::Ended(_))), "{came:?}");

        // Nor does who listens and reads nothing.
        thread::scope(|scope| {
            let (tell, listens) = channel();
            let (end, ends) = channel::<()>();
            let client = stranger.client();
            scope.spawn(move || {
                meanwhile(stranger.namespace, async move || {
                    let stream = client.stream().await.unwrap();
                    tell.send(()).unwrap();
                    // Nobody reads what comes meanwhile.
                    let _ = ends.recv();
                    drop(stream);
                });
            });
            listens.recv().unwrap();
            is("stranger", "connected", &json!(true));
            let mut last = String::new();
            for countries in [&["ES"][..], &["ES", "CN"]].repeat(20) {
                last = choose(&ana, group, countries);
            }
            let took = does(scene, &last, Duration::from_secs(5));
            println!("the last of forty choices took {took:?}");
            assert!(scene.reached());
            drop(end);
        });
    });
}

#[test]
fn a_certificate_that_has_ended_or_is_of_somebody_else_is_not_let_in() {
    on_a_server(Cluster::shared(), |scene, ana, group, url| {
        let mut host = Stranger::enrol(scene.portal.namespace(), &ana, group);
        let database = url.rsplit('/').next().unwrap();
        let kept = "SELECT key || '~' || certificate FROM fleet";
        let kept = Cluster::shared().sql(database, kept).unwrap();
        let (key, certificate) = kept.split_once('~').unwrap();
        let authority = Authority::read(key, certificate).unwrap();
        let now = SystemTime::now();
        let other = Authority::new(now).unwrap();
        let minute = Duration::from_secs(60);
        // The authority's own are let in up to their end, which is a minute ahead or past.
        let cases = [
            (&authority, now, true),
            (&authority, now - LIFETIME + minute, true),
            (&authority, now - LIFETIME - minute, false),
            (&other, now, false),
        ];
        for (authority, at, is_good) in cases {
            let request = Request::new().unwrap();
            let id = host.membership.host;
            let issued = authority.vouch(request.pem(), HostId(id), at).unwrap();
            let renewed =
                geofilter_fleet::Renewed { certificate: issued.certificate, until: issued.until };
            host.membership = request.renewed(&host.membership, renewed);
            match host.listens() {
                Ok(_) => assert!(is_good),
                // It never comes to a request that could be refused.
                Err(Error::Unreached { .. } | Error::Stranger { .. } | Error::Ended(_)) => {
                    assert!(!is_good);
                }
                Err(error) => panic!("{error}"),
            }
        }
        // Nor does a host believe a portal of another authority.
        let believes = Membership { authority: other.certificate().to_owned(), ..host.membership };
        let host = Stranger { membership: believes, ..host };
        assert!(matches!(host.listens(), Err(Error::Stranger { .. })));
    });
}
