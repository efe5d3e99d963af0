//! The portal, as a browser asks it: who may, what the kernel does then, and what is told of it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use geofilter_lab::portal::{ANOTHER, Client, HOST, Scene};
use serde_json::{Value, json};

fn with_scene(test: impl FnOnce(&mut Scene<'_>)) {
    Scene::set(&["--backend", "xdp"], test).unwrap();
}

fn spain() -> Value {
    json!({ "mode": "allow", "countries": ["ES"] })
}

fn enforce(client: &Client<'_>, confirm_within: Option<u64>) -> Value {
    let body = json!({ "change": spain(), "confirm_within": confirm_within });
    client.must("PUT", &format!("{HOST}/policy"), Some(&body)).unwrap()
}

#[test]
fn the_one_time_link_makes_one_operator_who_signs_in_afterwards() {
    with_scene(|scene| {
        let stranger = scene.portal.stranger();
        let refused = stranger.get("/api/v1/session").unwrap();
        assert_eq!((refused.status, &refused.body["first"]), (401, &json!(true)));
        let first = |token: &str, password: &str| {
            let body = json!({ "token": token, "name": "Mallory", "password": password });
            stranger.send("POST", "/api/v1/session/first", Some(&body)).unwrap().status
        };
        let token = scene.portal.first.clone().unwrap();
        assert_eq!(first(&"0".repeat(64), "correct horse battery"), 401);
        assert_eq!(first(&token, "too short"), 422);
        let ana = scene.portal.first_operator().unwrap();
        assert_eq!(ana.read("/api/v1/session").unwrap()["role"], "admin");
        assert_eq!(first(&token, "correct horse battery"), 401, "it is used up");

        // What the browser keeps of it, no script and no other page gets.
        let mut again = scene.portal.stranger();
        again.sign_in().unwrap();
        let cookie = again.cookie.clone().unwrap();
        assert!(cookie.starts_with("__Host-geofilter=") && ana.cookie.as_ref() != Some(&cookie));
        // Who signs in anew has the former session no longer.
        let former = again.clone();
        again.sign_in().unwrap();
        assert_eq!(former.get("/api/v1/session").unwrap().status, 401);
        assert_eq!(again.must("DELETE", "/api/v1/session", None).unwrap(), Value::Null);
        assert_eq!(again.get("/api/v1/session").unwrap().status, 401);
        let last = ana.read("/api/v1/audit").unwrap()["entries"][0].clone();
        assert_eq!(
            (&last["action"], &last["operator"]),
            (&json!("sign out"), &json!("Ana Popescu"))
        );
        assert_eq!(ana.get("/api/v1/session").unwrap().status, 200, "the other goes on");

        // A restart keeps operators and sessions, and prints no link.
        scene.portal.restart().unwrap();
        assert_eq!(scene.portal.first, None);
        assert_eq!(ana.get("/api/v1/session").unwrap().status, 200);
    });
}

#[test]
fn what_is_selected_on_the_page_is_what_the_kernel_drops() {
    with_scene(|scene| {
        let ana = scene.portal.first_operator().unwrap();
        ana.must("POST", &format!("{HOST}/observe"), None).unwrap();
        assert!(scene.reached());
        let preview =
            ana.must("POST", &format!("{HOST}/preview"), Some(&json!({ "change": spain() })));
        let preview = preview.unwrap();
        let china = |of: &Value| of["country"] == "CN" && of["dropped"] == 1;
        assert!(preview["by_country"].as_array().unwrap().iter().any(china), "{preview}");
        assert!(scene.reached(), "a preview changes nothing");

        let changed = enforce(&ana, Some(120));
        assert_eq!(changed["state"], "pending");
        assert!(!scene.reached());
        let kept = ana.must("POST", &format!("{HOST}/confirm"), Some(&json!({}))).unwrap();
        assert_eq!(kept["state"], "enforcing");
        let seen = ana.read(&format!("{HOST}/sources?limit=0")).unwrap();
        assert_eq!(seen["sources"], json!([]));
        let countries = seen["countries"].as_array().unwrap();
        let known: u64 = countries.iter().map(|one| one["sources"].as_u64().unwrap()).sum();
        assert_eq!(seen["known"], known);
        let country = countries.iter().find(|one| one["country"] == "CN").unwrap();
        assert!(country["passed"].as_u64() >= Some(2) && country["dropped"].as_u64() >= Some(1));
        let sources = ana.read(&format!("{HOST}/sources")).unwrap()["sources"].clone();
        let of_china = |one: &&Value| one["country"] == "CN";
        let sources: Vec<_> = sources.as_array().unwrap().iter().filter(of_china).collect();
        assert_eq!(sources.len() as u64, country["sources"].as_u64().unwrap());
        let source = sources[0];
        let path = format!("{HOST}/why?address={}", source["source"].as_str().unwrap());
        assert_eq!(source["asn"], ana.read(&path).unwrap()["asn"], "{source}");
        let status = ana.read(&format!("{HOST}/status")).unwrap();
        assert!(status["dropped"]["by_country"]["CN"]["packets"].as_u64().unwrap() > 0, "{status}");
        assert_eq!(status, scene.agent.json(&["status"]).map(without_schema).unwrap());

        // From the log: why, and let in for an hour.
        // The agent takes drops from the kernel now and then.
        let first =
            || ana.read(&format!("{HOST}/log?country=CN")).unwrap()["entries"].get(0).cloned();
        let entry = std::iter::repeat_with(first).take(2_000).flatten().next().unwrap();
        let source = entry["source"].as_str().unwrap();
        let why = ana.read(&format!("{HOST}/why?address={source}")).unwrap();
        assert_eq!((&why["verdict"], &why["country"]), (&json!("drop"), &json!("CN")));
        let exempt = json!({ "targets": [source], "seconds": 3600, "note": "asked for" });
        ana.must("POST", &format!("{HOST}/exemptions"), Some(&exempt)).unwrap();
        assert!(scene.reached());
        ana.must("DELETE", &format!("{HOST}/exemptions?target={source}"), None).unwrap();
        assert!(!scene.reached());

        let off = ana.must("POST", &format!("{HOST}/off"), None).unwrap();
        assert_eq!((&off["state"], &off["proof"]["clean"]), (&json!("off"), &json!(true)));
        assert!(scene.reached());
        let audit = ana.read("/api/v1/audit").unwrap();
        let actions: Vec<_> = audit["entries"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| entry["action"].as_str().unwrap())
            .collect();
        let done =
            ["off", "end exemption", "exempt", "confirm", "enforce", "observe", "first operator"];
        assert_eq!(actions, done);
        assert_eq!(audit["entries"][4]["operator"], "Ana Popescu");
        assert_eq!(audit["entries"][4]["before"]["state"], "observing");
    });
}

fn without_schema(mut document: Value) -> Value {
    document.as_object_mut().unwrap().remove("schema");
    document
}

#[test]
fn a_change_that_nobody_keeps_goes_back_and_pages_are_told() {
    with_scene(|scene| {
        let ana = scene.portal.first_operator().unwrap();
        ana.must("POST", &format!("{HOST}/observe"), None).unwrap();
        let mut events = ana.events(&format!("{HOST}/events")).unwrap();
        assert_eq!(events.next("status").unwrap()["state"], "observing");
        enforce(&ana, Some(2));
        assert!(!scene.reached());
        assert_eq!(events.next("drop").unwrap()["country"], "CN");
        let mut states = std::iter::repeat_with(|| events.next("status").unwrap());
        let pending = states.find(|status| status["state"] == "pending").unwrap();
        assert!(pending["remaining"].as_u64().unwrap() <= 2);
        states.find(|status| status["state"] == "observing").unwrap();
        assert!(scene.reached());
    });
}

#[test]
fn a_danger_is_named_and_has_to_be_accepted() {
    with_scene(|scene| {
        let ana = scene.portal.first_operator().unwrap();
        let change = json!({ "mode": "allow", "countries": [] });
        let put = |accept: Value| {
            let mut change = change.clone();
            change["accept"] = accept;
            ana.send("PUT", &format!("{HOST}/policy"), Some(&json!({ "change": change }))).unwrap()
        };
        let refused = put(json!([]));
        assert_eq!((refused.status, &refused.body["type"]), (409, &json!("urn:geofilter:risky")));
        assert_eq!(refused.body["risks"], json!(["cut-everyone"]));
        assert_eq!(put(json!(["cut-everyone"])).status, 200);
    });
}

#[test]
fn nothing_is_changed_by_another_page_or_without_a_session() {
    with_scene(|scene| {
        let ana = scene.portal.first_operator().unwrap();
        let stranger = scene.portal.stranger();
        let described = stranger.read("/api/docs/openapi.json").unwrap();
        for (path, operations) in described["paths"].as_object().unwrap() {
            let path =
                path.replace("{host}", "local").replace("{name}", "Ana").replace("{id}", "1");
            for method in operations.as_object().unwrap().keys().map(|name| name.to_uppercase()) {
                // Signing in needs no session, nor does a traveller's link.
                let open = path.starts_with("/api/v1/session") || path == "/api/v1/travel";
                if method == "POST" && open {
                    continue;
                }
                let status = stranger.send(&method, &path, None).unwrap().status;
                assert_eq!(status, 401, "{method} {path} without a session");
                if method != "GET" {
                    let forged = ana.repeating(None);
                    assert_eq!(forged.send(&method, &path, None).unwrap().status, 403, "{path}");
                    let wrong = ana.repeating(Some(&"0".repeat(64)));
                    assert_eq!(wrong.send(&method, &path, None).unwrap().status, 403, "{path}");
                    let elsewhere = [("sec-fetch-site", "cross-site")];
                    let status = ana.send_with(&method, &path, None, &elsewhere).unwrap().status;
                    assert_eq!(status, 403, "{method} {path} from elsewhere");
                }
            }
        }
        assert_eq!(scene.agent.json(&["status"]).unwrap()["state"], "off");
    });
}

#[test]
fn each_role_may_do_what_it_may_and_an_admin_says_who_has_which() {
    with_scene(|scene| {
        let ana = scene.portal.first_operator().unwrap();
        let path = "/api/v1/operators";
        let [ion, eva] = [("Ion", "viewer"), ("Eva", "operator")].map(|(name, role)| {
            let client = scene.portal.operator(&ana, name, role).unwrap();
            let again = json!({ "name": name, "password": ANOTHER, "role": role });
            assert_eq!(ana.send("POST", path, Some(&again)).unwrap().status, 422, "{name}");
            client
        });
        let observe = format!("{HOST}/observe");
        let status = |client: &Client<'_>, method: &str, path: &str| {
            client.send(method, path, None).unwrap().status
        };
        assert_eq!(status(&ion, "GET", &format!("{HOST}/status")), 200);
        assert_eq!(status(&ion, "POST", &observe), 403);
        assert_eq!(status(&eva, "POST", &observe), 200);
        for client in [&ion, &eva] {
            assert_eq!(status(client, "GET", "/api/v1/audit"), 403);
            assert_eq!(status(client, "GET", path), 403);
        }

        // Ion becomes an operator at once, and Eva is shown out.
        ana.must("PUT", "/api/v1/operators/Ion", Some(&json!({ "role": "operator" }))).unwrap();
        assert_eq!(status(&ion, "POST", &observe), 200);
        ana.must("DELETE", "/api/v1/operators/eva", None).unwrap();
        assert_eq!(status(&eva, "GET", "/api/v1/session"), 401);
        let last = ana.send("DELETE", "/api/v1/operators/Ana%20Popescu", None).unwrap();
        assert_eq!(last.status, 422, "the last admin stays: {}", last.text);
        let last = json!({ "role": "viewer" });
        let last = ana.send("PUT", "/api/v1/operators/Ana%20Popescu", Some(&last)).unwrap();
        assert_eq!(last.status, 422, "{}", last.text);
    });
}

#[test]
fn a_session_is_ended_from_another_one_and_a_new_password_ends_the_others() {
    with_scene(|scene| {
        let mut ana = scene.portal.first_operator().unwrap();
        let mut phone = scene.portal.stranger();
        phone.sign_in().unwrap();
        let mut seen = phone.events(&format!("{HOST}/events")).unwrap();
        seen.next("status").unwrap();
        let sessions = ana.read("/api/v1/sessions").unwrap();
        let sessions = sessions["sessions"].as_array().unwrap();
        assert_eq!(sessions.len(), 2);
        let other = sessions.iter().find(|session| session["this"] == false).unwrap();
        ana.must("DELETE", &format!("/api/v1/sessions/{}", other["id"]), None).unwrap();
        assert_eq!(phone.get("/api/v1/session").unwrap().status, 401);
        assert_eq!(ana.get("/api/v1/session").unwrap().status, 200);
        let more = (0..10).take_while(|_| seen.next("status").is_ok()).count();
        assert!(more < 5, "what is live is told to nobody without a session");

        phone.sign_in().unwrap();
        let change = |old: &str| {
            let body = json!({ "old": old, "new": "another long password" });
            ana.send("PUT", "/api/v1/session/password", Some(&body)).unwrap()
        };
        assert_eq!(change("not the old one").status, 403);
        let changed = change("correct horse battery");
        assert_eq!(changed.status, 204);
        assert_eq!(
            ana.get("/api/v1/session").unwrap().status,
            401,
            "its cookie is another one now"
        );
        assert!(ana.keep(&changed).unwrap());
        assert_eq!(phone.get("/api/v1/session").unwrap().status, 401);
        assert_eq!(ana.get("/api/v1/session").unwrap().status, 200);
        assert!(scene.portal.stranger().sign_in().is_err(), "the old password is no more");
        let mut again = scene.portal.stranger();
        again.sign_in_as("Ana Popescu", "another long password").unwrap();
    });
}

#[test]
fn wrong_passwords_cost_time_and_tell_nothing() {
    with_scene(|scene| {
        drop(scene.portal.first_operator().unwrap());
        let stranger = scene.portal.stranger();
        let sign_in = |name: &str| {
            let body = json!({ "name": name, "password": "wrong horse battery" });
            let began = Instant::now();
            let answer = stranger.send("POST", "/api/v1/session", Some(&body)).unwrap();
            (answer, began.elapsed())
        };
        let (nobody, _) = sign_in("nobody at all");
        for _ in 0..6 {
            let (answer, took) = sign_in("ana popescu");
            assert_eq!((answer.status, &answer.body), (401, &nobody.body));
            assert!(took > Duration::from_millis(5), "a password is hashed");
        }
        let (locked, _) = sign_in("Ana Popescu");
        assert_eq!((locked.status, &locked.body["type"]), (429, &json!("urn:geofilter:locked")));
        assert!(locked.head.headers().contains_key("retry-after"));
        assert!(scene.portal.stranger().sign_in().is_err(), "the right one waits as well");
    });
}

#[test]
fn an_agent_that_is_away_is_said_to_be_and_comes_back() {
    with_scene(|scene| {
        let ana = scene.portal.first_operator().unwrap();
        enforce(&ana, None);
        let mut events = ana.events(&format!("{HOST}/events")).unwrap();
        events.next("status").unwrap();
        scene.agent.kill().unwrap();
        assert!(
            events.next("away").unwrap()["detail"].as_str().unwrap().contains("stays in force")
        );
        let refused = ana.get(&format!("{HOST}/status")).unwrap();
        assert_eq!(
            (refused.status, &refused.body["type"]),
            (503, &json!("urn:geofilter:unreachable"))
        );
        assert_eq!(ana.read("/api/v1/hosts").unwrap()["hosts"][0]["reachable"], false);
        assert!(!scene.reached(), "the kernel still filters");
        scene.agent.restart(None).unwrap();
        assert_eq!(events.next("status").unwrap()["state"], "enforcing");
    });
}

#[test]
fn what_makes_no_sense_is_refused_and_said() {
    with_scene(|scene| {
        let ana = scene.portal.first_operator().unwrap();
        let policy = format!("{HOST}/policy");
        for (method, path, body, status) in [
            (
                "PUT",
                policy.as_str(),
                json!({ "change": { "mode": "allow", "countries": ["QQ"] } }),
                422,
            ),
            ("PUT", &policy, json!({ "change": { "mode": "deny", "countries": ["ES"] } }), 422),
            ("PUT", &policy, json!({ "change": spain(), "more": 1 }), 422),
            ("PUT", &policy, json!("x".repeat(300_000)), 413),
            ("PUT", "/api/v1/hosts/elsewhere/policy", json!({ "change": spain() }), 404),
            ("GET", "/api/v1/hosts/local/why?address=here", Value::Null, 422),
            ("GET", "/api/v1/nothing", Value::Null, 404),
            ("PATCH", &policy, Value::Null, 405),
            ("POST", "/api/v1/hosts/local/exemptions", json!({ "targets": ["no address"] }), 422),
            ("POST", "/api/v1/hosts/local/confirm", json!({}), 409),
            ("POST", "/api/v1/hosts/local/history/x/restore", json!({}), 404),
        ] {
            let body = (body != Value::Null).then_some(&body);
            let answer = ana.send(method, path, body).unwrap();
            assert_eq!(answer.status, status, "{method} {path}: {}", answer.text);
            let kind = answer.head.headers()["content-type"].to_str().unwrap();
            assert_eq!(kind, "application/problem+json", "{method} {path}: {}", answer.text);
            assert!(!answer.body["detail"].as_str().unwrap().is_empty());
        }
    });
}

#[test]
fn the_page_may_run_nothing_but_itself() {
    with_scene(|scene| {
        let answer = scene.portal.stranger().get("/").unwrap();
        let header = |name: &str| answer.head.headers()[name].to_str().unwrap().to_owned();
        let policy = header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert_eq!(header("referrer-policy"), "no-referrer");
        // It is built into the program.
        let root = "<div id=\"root\">";
        assert!(answer.status == 200 && answer.text.contains(root), "{answer:?}");
    });
}
