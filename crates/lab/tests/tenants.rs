//! Organisations of a fleet, with groups, hosts and operators of their own: what is chosen where, and who may choose and see what. By the
//! real binary's agent and portal, with real packets.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use geofilter_lab::awaited::within;
use geofilter_lab::browser::Browser;
use geofilter_lab::portal::{Client, Scene};
use serde_json::{Value, json};

const FLEET: &str = "/api/v1/fleet";
const AT: &str = "127.0.0.1:8443";
const PORTAL: &str = "https://127.0.0.1:8443";
const MOMENT: Duration = Duration::from_secs(15);
/// What the API is, as it says of itself.
const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../openapi/geofilter-v1.json");

/// Two customers, of which the first has a host, and an admin of the whole portal.
struct Customers<'a> {
    ana: Client<'a>,
    ids: [i64; 2],
    groups: [i64; 2],
    host: i64,
}

fn customers(test: impl FnOnce(&mut Scene<'_>, Customers<'_>)) {
    Scene::set(&[], |scene| {
        let first = scene.portal.first_operator().unwrap();
        scene.serve_at("127.0.0.1:0", &["--fleet", AT]).unwrap();
        let ana = first.on(&scene.portal);
        let ids = ["North", "South"].map(|name| made(&ana, "tenants", &json!({ "name": name })));
        let group = |tenant| made(&ana, "groups", &json!({ "name": "Offices", "tenant": tenant }));
        let groups = ids.map(group);
        let path = format!("{FLEET}/groups/{}/tokens", groups[0]);
        let token = ana.must("POST", &path, None).unwrap()["token"].clone();
        let words = ["enrol", PORTAL, "--token", token.as_str().unwrap(), "--name", "pbx-1"];
        scene.agent.json(&words).unwrap();
        let connected = || host(&ana)["connected"] == true;
        within(MOMENT, Instant::now(), connected, || host(&ana).to_string());
        let host = host(&ana)["id"].as_i64().unwrap();
        test(scene, Customers { ana, ids, groups, host });
    })
    .unwrap();
}

fn made(ana: &Client<'_>, what: &str, body: &Value) -> i64 {
    let made = ana.must("POST", &format!("{FLEET}/{what}"), Some(body)).unwrap();
    made["id"].as_i64().unwrap()
}

fn allow(countries: &[&str]) -> Value {
    json!({ "mode": "allow", "countries": countries })
}

fn choose(by: &Client<'_>, of: &str, id: i64, settings: &Value) {
    by.must("PUT", &format!("{FLEET}/{of}/{id}/policy"), Some(settings)).unwrap();
}

/// The group that has the host.
fn group(by: &Client<'_>) -> Value {
    let fleet = by.read(FLEET).unwrap();
    let groups = fleet["groups"].as_array().unwrap();
    let with = |group: &&Value| !group["hosts"].as_array().unwrap().is_empty();
    groups.iter().find(with).unwrap().clone()
}

fn host(by: &Client<'_>) -> Value {
    group(by)["hosts"][0].clone()
}

fn comes_to(by: &Client<'_>, progress: &str) -> Value {
    let is_so = || host(by)["progress"] == progress;
    within(MOMENT, Instant::now(), is_so, || format!("not {progress}: {}", host(by)));
    host(by)
}

/// Waits until the host does this.
fn does(scene: &Scene<'_>, by: &Client<'_>, countries: &[&str], hosting: &str) {
    let status = || scene.agent.json(&["status"]).unwrap();
    let is_so = || {
        let status = status();
        status["countries"] == json!(countries) && status["hosting"] == hosting
    };
    within(MOMENT, Instant::now(), is_so, || status().to_string());
    comes_to(by, "confirmed");
}

#[test]
fn settings_come_from_the_organisation_the_group_or_the_host_and_say_from_where() {
    customers(|scene, Customers { ana, ids, groups, host: id }| {
        let accept = json!(["lose-trunk"]);
        let whole =
            json!({ "mode": "allow", "countries": ["ES"], "hosting": "drop", "accept": accept });
        choose(&ana, "tenants", ids[0], &whole);
        does(scene, &ana, &["ES"], "drop");
        assert!(!scene.reached());
        let from = json!({ "countries": "tenant", "hosting": "tenant", "unknown": null, "disputed": null });
        assert_eq!(group(&ana)["from"], from);
        choose(&ana, "groups", groups[0], &allow(&["CN", "ES"]));
        does(scene, &ana, &["CN", "ES"], "drop");
        assert_eq!(group(&ana)["from"]["countries"], "group");
        assert_eq!(group(&ana)["from"]["hosting"], "tenant");
        choose(&ana, "hosts", id, &json!({ "hosting": "pass" }));
        does(scene, &ana, &["CN", "ES"], "pass");
        let alone = host(&ana)["alone"].clone();
        assert_eq!(
            (&alone["from"]["hosting"], &alone["from"]["countries"]),
            (&json!("host"), &json!("group"))
        );
        assert!(scene.reached());

        // What is not said any more is as above.
        choose(&ana, "groups", groups[0], &json!({}));
        does(scene, &ana, &["ES"], "pass");
        choose(&ana, "hosts", id, &json!({}));
        does(scene, &ana, &["ES"], "drop");
        assert_eq!(host(&ana)["alone"], Value::Null);
        let other = made(&ana, "groups", &json!({ "name": "Shops", "tenant": ids[0] }));
        choose(&ana, "groups", other, &allow(&["FR"]));
        let move_to = |group| {
            let path = format!("{FLEET}/hosts/{id}/group");
            ana.send("PUT", &path, Some(&json!({ "group": group }))).unwrap().status
        };
        assert_eq!(move_to(groups[1]), 409, "that is another organisation's");
        assert_eq!(move_to(other), 204);
        does(scene, &ana, &["FR"], "drop");
        choose(&ana, "groups", other, &allow(&["IT"]));
        does(scene, &ana, &["IT"], "drop");

        let half = ana.send(
            "PUT",
            &format!("{FLEET}/groups/{other}/policy"),
            Some(&json!({ "mode": "allow" })),
        );
        assert_eq!(half.unwrap().status, 422);
    });
}

#[test]
fn what_somebody_changed_at_a_host_is_kept_or_overwritten_in_one_step() {
    customers(|scene, Customers { ana, groups, host: id, .. }| {
        choose(&ana, "groups", groups[0], &allow(&["ES"]));
        does(scene, &ana, &["ES"], "pass");
        let settle = |drift: &str| {
            let path = format!("{FLEET}/hosts/{id}/drift");
            ana.send("POST", &path, Some(&json!({ "drift": drift }))).unwrap().status
        };
        assert_eq!(settle("accept"), 409, "nobody changed anything");

        scene.agent.json(&["allow", "ES", "CN", "--yes"]).unwrap();
        let drifted = comes_to(&ana, "drifted");
        assert_eq!(drifted["instead"]["countries"], json!(["CN", "ES"]), "{drifted}");
        assert_eq!(settle("overwrite"), 204);
        does(scene, &ana, &["ES"], "pass");
        assert!(!scene.reached());

        scene.agent.json(&["allow", "ES", "CN", "--yes"]).unwrap();
        comes_to(&ana, "drifted");
        assert_eq!(settle("accept"), 204);
        does(scene, &ana, &["CN", "ES"], "pass");
        assert_eq!(host(&ana)["alone"]["from"]["countries"], "host");
        choose(&ana, "groups", groups[0], &allow(&["PT"]));
        does(scene, &ana, &["CN", "ES"], "pass");

        // What is off says of no policy of its own, and can be overwritten all the same.
        scene.agent.json(&["observe"]).unwrap();
        assert_eq!(comes_to(&ana, "drifted")["instead"], Value::Null);
        assert_eq!(settle("accept"), 409);
        assert_eq!(settle("overwrite"), 204);
        does(scene, &ana, &["CN", "ES"], "pass");
    });
}

#[test]
fn the_limits_of_an_organisation_hold_at_its_hosts_and_for_its_profiles() {
    customers(|scene, Customers { ana, ids, groups, .. }| {
        let exempt = |target: &str| {
            let said = scene.agent.ask(&["exempt", "add", target]).unwrap();
            match said.status.success() {
                true => Ok(()),
                false => Err(String::from_utf8_lossy(&said.stderr).into_owned()),
            }
        };
        exempt("198.51.0.0/16").unwrap();
        let set = |limits: Value| {
            let body = json!({ "name": "North", "editing": "tenant", "limits": limits });
            ana.send("PUT", &format!("{FLEET}/tenants/{}", ids[0]), Some(&body)).unwrap().status
        };
        assert_eq!(set(json!({ "smallest_v4": 33 })), 422);
        let tokens = format!("{FLEET}/groups/{}/tokens", groups[0]);
        let token = ana.must("POST", &tokens, None).unwrap()["token"].clone();
        let limits = json!({ "exemptions": 2, "smallest_v4": 24, "smallest_v6": 48, "profiles": 1, "hosts": 1 });
        assert_eq!(set(limits), 204);
        assert_eq!(ana.send("POST", &tokens, None).unwrap().status, 409);
        let late = scene.agent.ask(&["enrol", PORTAL, "--token", token.as_str().unwrap()]).unwrap();
        let why = String::from_utf8_lossy(&late.stderr);
        assert!(why.contains("as many hosts as it may"), "{why}");
        let is_told = || match exempt("203.0.0.0/16") {
            Ok(()) => scene.agent.json(&["exempt", "remove", "203.0.0.0/16"]).is_err(),
            Err(_) => true,
        };
        within(MOMENT, Instant::now(), is_told, || "no limit".to_owned());
        let why = exempt("203.0.0.0/16").unwrap_err();
        assert!(why.contains("/24"), "{why}");
        exempt("198.51.0.0/16").unwrap();
        exempt("203.0.113.0/24").unwrap();
        let why = exempt("192.0.2.7").unwrap_err();
        assert!(why.contains("2 exemptions"), "{why}");
        // They hold without the portal, through a restart, until the host leaves it.
        scene.portal.kill().unwrap();
        scene.agent.kill().unwrap();
        scene.agent.restart(None).unwrap();
        assert!(scene.agent.ask(&["exempt", "add", "192.0.2.7"]).unwrap().status.code() == Some(1));
        scene.agent.json(&["leave"]).unwrap();
        scene.agent.json(&["exempt", "add", "192.0.2.7", "203.0.0.0/16"]).unwrap();
    });
}

#[test]
fn an_operator_of_an_organisation_sees_and_changes_nothing_of_anybody_else() {
    customers(|scene, Customers { ana, ids, groups, host: id }| {
        choose(&ana, "groups", groups[0], &allow(&["ES"]));
        does(scene, &ana, &["ES"], "pass");
        let north = scene.portal.operator_of(&ana, "nora", "operator", Some(ids[0])).unwrap();
        let south = scene.portal.operator_of(&ana, "sam", "operator", Some(ids[1])).unwrap();
        let admin = json!({ "name": "eve", "password": "a password of eve", "role": "admin", "tenant": ids[0] });
        assert_eq!(ana.send("POST", "/api/v1/operators", Some(&admin)).unwrap().status, 422);
        let role = json!({ "role": "admin" });
        assert_eq!(ana.send("PUT", "/api/v1/operators/nora", Some(&role)).unwrap().status, 422);

        let seen = |by: &Client<'_>| {
            let fleet = by.read(FLEET).unwrap();
            let names = |what: &str| {
                let all = fleet[what].as_array().unwrap().iter();
                all.map(|it| it["id"].as_i64().unwrap()).collect::<Vec<_>>()
            };
            (names("tenants"), names("groups"))
        };
        assert_eq!(seen(&north), (vec![ids[0]], vec![groups[0]]));
        assert_eq!(seen(&south), (vec![ids[1]], vec![groups[1]]));
        assert_eq!(north.read("/api/v1/session").unwrap()["tenant"], "North");

        // Rollouts, previews and profiles of one are nothing to the other.
        let asked = json!({ "group": groups[0], "settings": allow(&["PT"]) });
        let preview =
            north.must("POST", &format!("{FLEET}/previews"), Some(&asked)).unwrap()["id"].clone();
        assert_eq!(north.get(&format!("{FLEET}/previews/{preview}")).unwrap().status, 200);
        let rolled = json!({ "group": groups[0], "settings": allow(&["PT"]), "seconds": 3600 });
        let rollout =
            north.must("POST", &format!("{FLEET}/rollouts"), Some(&rolled)).unwrap()["id"].clone();
        let named = json!({ "name": "Mine", "choice": allow(&["ES"]) });
        let profile = north.must("POST", "/api/v1/profiles", Some(&named)).unwrap()["id"].clone();
        let shared = ana.must("POST", "/api/v1/profiles", Some(&named)).unwrap()["id"].clone();
        assert_eq!(south.read(&format!("{FLEET}/rollouts")).unwrap()["rollouts"], json!([]));
        let profiles = |by: &Client<'_>| {
            by.read("/api/v1/profiles").unwrap()["profiles"].as_array().unwrap().len()
        };
        assert_eq!((profiles(&north), profiles(&south), profiles(&ana)), (2, 1, 1));

        // Whatever of the first the operator of the second asks for by its number is not there.
        let [tenant, group] = [ids[0], groups[0]];
        let settings = allow(&["CN"]);
        let planned = |of: Value| json!({ "group": of, "settings": settings });
        let of_tenant = json!({ "tenant": tenant, "settings": settings });
        let tries = [
            ("PUT", format!("tenants/{tenant}/policy"), settings.clone()),
            ("POST", "groups".to_owned(), json!({ "name": "Mine", "tenant": tenant })),
            ("DELETE", format!("groups/{group}"), Value::Null),
            ("PUT", format!("groups/{group}/policy"), settings.clone()),
            ("POST", format!("groups/{group}/tokens"), Value::Null),
            ("PUT", format!("hosts/{id}/policy"), settings.clone()),
            ("PUT", format!("hosts/{id}/group"), json!({ "group": groups[1] })),
            ("POST", format!("hosts/{id}/drift"), json!({ "drift": "overwrite" })),
            ("DELETE", format!("hosts/{id}"), Value::Null),
            ("GET", format!("hosts/{id}/series"), Value::Null),
            ("POST", "previews".to_owned(), planned(json!(group))),
            ("POST", "previews".to_owned(), of_tenant.clone()),
            ("GET", format!("previews/{preview}"), Value::Null),
            ("POST", "rollouts".to_owned(), planned(json!(group))),
            ("POST", "rollouts".to_owned(), of_tenant),
            ("POST", format!("rollouts/{rollout}"), json!({ "steer": "abort" })),
        ];
        for (method, path, body) in &tries {
            let body = (!body.is_null()).then_some(body);
            let answer = south.send(method, &format!("{FLEET}/{path}"), body).unwrap();
            assert_eq!(answer.status, 404, "{method} {path}: {}", answer.text);
        }
        for profile in [&profile, &shared] {
            let path = format!("/api/v1/profiles/{profile}");
            assert_eq!(south.send("PUT", &path, Some(&named)).unwrap().status, 404);
            assert_eq!(south.send("DELETE", &path, None).unwrap().status, 404);
        }
        let told = [group_of(&south, groups[1]), group_of(&ana, group)];
        assert_eq!(
            (&told[0]["hosts"], &told[1]["policy"]["countries"]),
            (&json!([]), &json!(["ES"]))
        );

        // Of all else there is nothing is theirs, whatever the API comes to have.
        let theirs: BTreeSet<&str> = [
            "/api/v1/countries",
            "/api/v1/fleet",
            "/api/v1/fleet/groups",
            "/api/v1/fleet/groups/{id}",
            "/api/v1/fleet/groups/{id}/policy",
            "/api/v1/fleet/groups/{id}/tokens",
            "/api/v1/fleet/hosts/{id}",
            "/api/v1/fleet/hosts/{id}/drift",
            "/api/v1/fleet/hosts/{id}/group",
            "/api/v1/fleet/hosts/{id}/policy",
            "/api/v1/fleet/hosts/{id}/series",
            "/api/v1/fleet/previews",
            "/api/v1/fleet/previews/{id}",
            "/api/v1/fleet/report",
            "/api/v1/fleet/rollouts",
            "/api/v1/fleet/rollouts/{id}",
            "/api/v1/fleet/tenants/{id}/policy",
            "/api/v1/profiles",
            "/api/v1/profiles/{id}",
            "/api/v1/travel",
        ]
        .into();
        let of_session = |path: &str| path.starts_with("/api/v1/session");
        let document: Value = serde_json::from_slice(&fs::read(DOCUMENT).unwrap()).unwrap();
        let mut refused = 0;
        for (path, methods) in document["paths"].as_object().unwrap() {
            for method in methods.as_object().unwrap().keys() {
                if theirs.contains(path.as_str()) || of_session(path) {
                    continue;
                }
                let path = path.replace("{host}", "local").replace("{id}", "1");
                let path = path.replace("{name}", "ana").replace("{target}", "192.0.2.7");
                let body = matches!(&**method, "post" | "put").then(|| json!({}));
                let answer = north.send(&method.to_uppercase(), &path, body.as_ref()).unwrap();
                assert_eq!(answer.status, 403, "{method} {path}: {}", answer.text);
                refused += 1;
            }
        }
        assert!(refused > 40, "{refused}");

        // Where the portal chooses, they only see.
        north
            .must(
                "POST",
                &format!("{FLEET}/rollouts/{rollout}"),
                Some(&json!({ "steer": "abort" })),
            )
            .unwrap();
        let body = json!({ "name": "North", "editing": "portal" });
        ana.must("PUT", &format!("{FLEET}/tenants/{tenant}"), Some(&body)).unwrap();
        let path = format!("{FLEET}/groups/{group}/policy");
        assert_eq!(north.send("PUT", &path, Some(&allow(&["CN"]))).unwrap().status, 403);
        assert_eq!(seen(&north).1, [group]);
        let viewer = scene.portal.operator_of(&ana, "vic", "viewer", Some(ids[1])).unwrap();
        let path = format!("{FLEET}/groups/{}/policy", groups[1]);
        assert_eq!(viewer.send("PUT", &path, Some(&allow(&["CN"]))).unwrap().status, 403);
        south.must("PUT", &path, Some(&allow(&["CN"]))).unwrap();
        assert!(!scene.reached());
    });
}

fn group_of(by: &Client<'_>, id: i64) -> Value {
    let fleet = by.read(FLEET).unwrap();
    let groups = fleet["groups"].as_array().unwrap();
    groups.iter().find(|group| group["id"] == id).unwrap().clone()
}

#[test]
fn an_operator_of_an_organisation_leads_its_hosts_on_the_page_and_finds_nothing_else() {
    customers(|scene, Customers { ana, ids, .. }| {
        let north = scene.portal.operator_of(&ana, "nora", "operator", Some(ids[0])).unwrap();
        let mut browser = Browser::open(scene.portal.namespace()).unwrap();
        browser.enter(&scene.portal, &north).unwrap();
        let mut does = |deed: &str, words: &[&str]| browser.does(deed, words).unwrap();
        does("sees", &["Offices"]);
        does("sees", &["pbx-1"]);
        does("misses", &["Exemptions"]);
        browser.shoot("tenant").unwrap();
        let mut does = |deed: &str, words: &[&str]| browser.does(deed, words).unwrap();
        does("choose", &["Hosts of Offices do", "countries chosen here…"]);
        does("tick", &["Spain"]);
        does("click", &["Tell them"]);
        does("sees", &["Only ES may call."]);
        does("sees", &["in force"]);
        assert!(!scene.reached());
        scene.agent.json(&["allow", "ES", "CN", "--yes"]).unwrap();
        does("sees", &["There it is: Only CN ES may call."]);
        browser.shoot("tenant-drift").unwrap();
        let mut does = |deed: &str, words: &[&str]| browser.does(deed, words).unwrap();
        does("click", &["Overwrite what was changed at pbx-1"]);
        within(MOMENT, Instant::now(), || !scene.reached(), || "it was not overwritten".to_owned());
    });
}
