//! Who somebody is: the second factor, and the proof that what is dangerous asks for.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Command;

use geofilter_lab::authenticator::Authenticator;
use geofilter_lab::portal::{ANOTHER, Answer, Client, GIVEN, HOST, Portal, Scene};
use geofilter_lab::process::binary;
use geofilter_lab::site::PBX_V4;
use serde_json::{Value, json};

const PASSWORD: &str = "correct horse battery";
const TOTP: &str = "/api/v1/session/totp";

fn asks(client: &Client<'_>, method: &str, path: &str, body: Value) -> Answer {
    client.send(method, path, Some(&body)).unwrap()
}

fn refusal(answer: &Answer) -> (u16, &str) {
    (answer.status, answer.body["type"].as_str().unwrap_or_default())
}

const ASKED: (u16, &str) = (401, "urn:geofilter:code");
const PROVE: (u16, &str) = (403, "urn:geofilter:prove");

/// Has the operator asked for codes from now on. Returns the app and the recovery codes.
fn enrol(ana: &mut Client<'_>) -> (Authenticator, Vec<String>) {
    let offered = ana.must("POST", TOTP, None).unwrap();
    let app = Authenticator::told(offered["secret"].as_str().unwrap()).unwrap();
    let begun = asks(ana, "PUT", TOTP, json!({ "code": app.shows(0) }));
    assert_eq!(begun.status, 200, "{}", begun.text);
    let former = ana.clone();
    assert!(ana.keep(&begun).unwrap());
    assert_eq!(former.get("/api/v1/session").unwrap().status, 401, "the cookie is another one");
    let codes = begun.body["codes"].as_array().unwrap().iter();
    (app, codes.map(|code| code.as_str().unwrap().to_owned()).collect())
}

fn sign_in(portal: &Portal<'_>, code: Option<&str>) -> Answer {
    let body = json!({ "name": "ana popescu", "password": PASSWORD, "code": code });
    asks(&portal.stranger(), "POST", "/api/v1/session", body)
}

#[test]
fn a_second_factor_is_asked_for_and_each_code_is_taken_once() {
    Scene::set(&[], |scene| {
        let mut ana = scene.portal.first_operator().unwrap();
        let mut phone = scene.portal.stranger();
        phone.sign_in().unwrap();

        // A secret is not asked for before the device has shown that it has it.
        let first = ana.must("POST", TOTP, None).unwrap();
        assert!(first["uri"].as_str().unwrap().starts_with("otpauth://totp/GeoFilter:Ana"));
        assert!(first["qr"].as_str().unwrap().contains("<svg"));
        let wrong = asks(&ana, "PUT", TOTP, json!({ "code": "12345" }));
        assert_eq!(wrong.status, 422, "{}", wrong.text);
        assert_eq!(sign_in(&scene.portal, None).status, 201);
        let (app, codes) = enrol(&mut ana);
        assert_eq!(phone.get("/api/v1/session").unwrap().status, 401, "it began without a code");
        let session = ana.read("/api/v1/session").unwrap();
        assert_eq!((&session["totp"], &session["recovery_codes"]), (&json!(true), &json!(10)));
        assert_eq!(ana.send("POST", TOTP, None).unwrap().status, 409, "there is one");

        // The password alone is not enough, and a code is enough once.
        assert_eq!(refusal(&sign_in(&scene.portal, None)), ASKED);
        assert_eq!(
            refusal(&sign_in(&scene.portal, Some(&app.shows(0)))),
            ASKED,
            "it began with it"
        );
        let next = app.shows(1);
        assert_eq!(sign_in(&scene.portal, Some(&next)).status, 201);
        assert_eq!(refusal(&sign_in(&scene.portal, Some(&next))), ASKED);
        let recovery = codes[0].to_uppercase().replace('-', " ");
        assert_eq!(sign_in(&scene.portal, Some(&recovery)).status, 201);
        assert_eq!(refusal(&sign_in(&scene.portal, Some(&codes[0]))), ASKED);
        assert_eq!(ana.read("/api/v1/session").unwrap()["recovery_codes"], 9);
        let others = ana.must("POST", "/api/v1/session/recovery-codes", None).unwrap();
        assert_eq!(refusal(&sign_in(&scene.portal, Some(&codes[1]))), ASKED, "it was replaced");
        let other = others["codes"][0].as_str().unwrap();
        assert_eq!(sign_in(&scene.portal, Some(other)).status, 201);

        // It is nowhere in what the portal keeps but where it must be, and recovery codes are not at all.
        let kept = std::fs::read(scene.portal.state_dir().join("portal.db")).unwrap();
        let wal = std::fs::read(scene.portal.state_dir().join("portal.db-wal")).unwrap_or_default();
        let kept = [kept, wal].concat();
        let plain = other.replace('-', "");
        assert!(!kept.windows(plain.len()).any(|it| it == plain.as_bytes()));

        let ended = ana.send("DELETE", TOTP, None).unwrap();
        assert_eq!(ended.status, 204, "{}", ended.text);
        assert!(ana.keep(&ended).unwrap());
        assert_eq!(sign_in(&scene.portal, None).status, 201);
        let audit = ana.read("/api/v1/audit").unwrap().to_string();
        for deed in ["begin second factor", "new recovery codes", "end second factor"] {
            assert!(audit.contains(deed), "{deed}");
        }
    })
    .unwrap();
}

#[test]
fn wrong_codes_cost_time_wherever_they_come_from() {
    Scene::set(&[], |scene| {
        scene.serve_at(&format!("{PBX_V4}:0"), &[]).unwrap();
        let mut ana = scene.portal.first_operator().unwrap();
        let (_, codes) = enrol(&mut ana);
        let wrong = |client: &Client<'_>| {
            let body = json!({ "name": "Ana Popescu", "password": PASSWORD, "code": "no code" });
            asks(client, "POST", "/api/v1/session", body)
        };
        for _ in 0..6 {
            assert_eq!(refusal(&wrong(&scene.portal.stranger())), ASKED);
        }
        let elsewhere = scene.abroad([1, 2, 3, 4].into()).unwrap();
        let locked = (429, "urn:geofilter:locked");
        assert_eq!(refusal(&wrong(&elsewhere)), locked);
        assert_eq!(refusal(&sign_in(&scene.portal, Some(&codes[0]))), locked, "the right one too");
        assert_eq!(ana.get("/api/v1/session").unwrap().status, 200, "who is in stays in");
    })
    .unwrap();
}

#[test]
fn what_is_dangerous_asks_for_a_proof_that_is_not_long_ago() {
    Scene::set(&[], |scene| {
        let mut ana = scene.portal.first_operator().unwrap();
        scene.portal.operator(&ana, "Ion", "operator").unwrap();
        let webhook = json!({ "webhook": { "url": "https://192.0.2.1/", "secret": null } });
        let spain = json!({ "mode": "allow", "countries": ["ES"] });
        let accepting = json!({ "mode": "block", "countries": ["CN"], "accept": ["lose-trunk"] });
        let policy = format!("{HOST}/policy");
        ana.must("PUT", &policy, Some(&json!({ "change": spain }))).unwrap();
        scene.portal.age_proofs(301).unwrap();

        let before = ana.read("/api/v1/audit").unwrap();
        for (method, path, body) in [
            ("POST", "/api/v1/operators", json!({ "name": "Eva", "password": ANOTHER, "role": "admin" })),
            ("PUT", "/api/v1/operators/Ion", json!({ "role": "admin" })),
            ("DELETE", "/api/v1/operators/Ion", Value::Null),
            ("DELETE", "/api/v1/operators/Ion/totp", Value::Null),
            ("POST", "/api/v1/tokens", json!({ "name": "mine", "role": "admin" })),
            ("DELETE", "/api/v1/tokens/1", Value::Null),
            ("POST", "/api/v1/recipients", json!({ "name": "me", "target": webhook, "wants": [] })),
            ("PUT", "/api/v1/recipients/1", json!({ "wants": [] })),
            ("DELETE", "/api/v1/recipients/1", Value::Null),
            ("POST", TOTP, Value::Null),
            ("PUT", TOTP, json!({ "code": "123456" })),
            ("DELETE", TOTP, Value::Null),
            ("POST", "/api/v1/session/recovery-codes", Value::Null),
            ("PUT", &policy, json!({ "change": accepting })),
            (
                "POST",
                &format!("{HOST}/history/1/restore"),
                json!({ "accept": ["lose-phones"] }),
            ),
        ] {
            let refused = asks(&ana, method, path, body);
            assert_eq!(refusal(&refused), PROVE, "{method} {path}: {}", refused.text);
        }
        assert_eq!(ana.read("/api/v1/audit").unwrap(), before, "nothing was done");

        // What makes a host safe, or turns the filter off, never waits for a password.
        ana.must("PUT", &policy, Some(&json!({ "change": { "mode": "allow", "countries": ["PT"] }, "confirm_within": 60 })))
            .unwrap();
        ana.must("POST", &format!("{HOST}/revert"), Some(&json!({}))).unwrap();
        ana.must("POST", &format!("{HOST}/off"), Some(&json!({}))).unwrap();

        let proof = |password: &str| {
            asks(&ana, "POST", "/api/v1/session/proof", json!({ "password": password }))
        };
        assert_eq!(refusal(&proof("not the password")), (403, "urn:geofilter:forbidden"));
        let proved = proof(PASSWORD);
        assert_eq!(proved.status, 204, "{}", proved.text);
        let former = ana.clone();
        assert!(ana.keep(&proved).unwrap());
        assert_eq!(former.get("/api/v1/session").unwrap().status, 401, "the cookie is another one");
        ana.must("DELETE", "/api/v1/operators/Ion", None).unwrap();
        ana.must("PUT", &policy, Some(&json!({ "change": accepting }))).unwrap();

        // A clock that was set back makes no old proof a new one.
        scene.portal.age_proofs(-3_600).unwrap();
        assert_eq!(refusal(&ana.send("POST", TOTP, None).unwrap()), PROVE);
    })
    .unwrap();
}

#[test]
fn an_admin_takes_off_what_a_colleague_has_lost() {
    Scene::set(&[], |scene| {
        let mut ana = scene.portal.first_operator().unwrap();
        let eva = scene.portal.operator(&ana, "Eva", "admin").unwrap();
        let (app, _) = enrol(&mut ana);
        let listed = eva.read("/api/v1/operators").unwrap();
        assert_eq!(listed["operators"][0]["totp"], true, "{listed}");

        // A proof asks for the code as well.
        let proof = |code: Option<String>| {
            let body = json!({ "password": PASSWORD, "code": code });
            asks(&ana, "POST", "/api/v1/session/proof", body)
        };
        assert_eq!(refusal(&proof(None)), ASKED);
        assert_eq!(proof(Some(app.shows(1))).status, 204);

        eva.must("DELETE", "/api/v1/operators/Ana%20Popescu/totp", None).unwrap();
        assert_eq!(sign_in(&scene.portal, None).status, 201);
        let again = eva.send("DELETE", "/api/v1/operators/Ana%20Popescu/totp", None).unwrap();
        assert_eq!(again.status, 409, "{}", again.text);
    })
    .unwrap();
}

#[test]
fn who_has_lost_everything_is_let_in_from_the_host() {
    Scene::set(&[], |scene| {
        let mut ana = scene.portal.first_operator().unwrap();
        enrol(&mut ana);
        let reset = |name: &str| {
            let mut command = Command::new(binary().unwrap());
            command.args(["portal", "reset", name, "--json", "--state-dir"]);
            command.arg(scene.portal.state_dir()).output().unwrap()
        };
        let nobody = reset("nobody");
        assert_eq!(nobody.status.code(), Some(1));
        let said = String::from_utf8_lossy(&nobody.stderr);
        assert!(
            said.contains("there is no operator nobody") && said.contains("Ana Popescu"),
            "{said}"
        );
        assert_eq!(ana.get("/api/v1/session").unwrap().status, 200);

        let done = reset("ana popescu");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        let said: Value = serde_json::from_slice(&done.stdout).unwrap();
        assert_eq!(ana.get("/api/v1/session").unwrap().status, 401, "her sessions have ended");
        assert_eq!(sign_in(&scene.portal, None).status, 401, "the old password is none");
        let mut again = scene.portal.stranger();
        let given = said["password"].as_str().unwrap();
        again.sign_in_as("Ana Popescu", given).unwrap();
        let refused = again.get("/api/v1/audit").unwrap();
        assert_eq!(refusal(&refused), (403, "urn:geofilter:password"), "{}", refused.text);
        again.choose_password(given, PASSWORD).unwrap();
        let audit = again.read("/api/v1/audit").unwrap();
        let noted = audit["entries"].as_array().unwrap().iter();
        let mut noted = noted.filter(|entry| entry["action"] == "reset operator");
        assert_eq!(noted.next().unwrap()["operator"], "(an administrator of this host)");

        // What it wrote is the portal's, which is there after a restart.
        scene.portal.restart().unwrap();
        again = again.on(&scene.portal);
        assert_eq!(again.read("/api/v1/session").unwrap()["operator"], "Ana Popescu");
    })
    .unwrap();
}

#[test]
fn a_password_that_somebody_else_gave_is_changed_before_anything_else_is_done() {
    Scene::set(&[], |scene| {
        let ana = scene.portal.first_operator().unwrap();
        for name in ["Eva", "Ion"] {
            let body = json!({ "name": name, "password": GIVEN, "role": "admin" });
            ana.must("POST", "/api/v1/operators", Some(&body)).unwrap();
        }
        let mut eva = scene.portal.stranger();
        eva.sign_in_as("Eva", GIVEN).unwrap();
        assert_eq!(eva.read("/api/v1/session").unwrap()["choose_password"], true);
        const CHOOSE: (u16, &str) = (403, "urn:geofilter:password");
        for path in [&format!("{HOST}/status"), &format!("{HOST}/events"), "/api/v1/operators"] {
            assert_eq!(refusal(&eva.get(path).unwrap()), CHOOSE, "{path}");
        }
        for (method, path) in [
            ("POST", &*format!("{HOST}/observe")),
            ("POST", TOTP),
            ("POST", "/api/v1/tokens"),
            ("DELETE", "/api/v1/operators/Ana%20Popescu"),
        ] {
            let refused = eva.send(method, path, None).unwrap();
            assert_eq!(refusal(&refused), CHOOSE, "{method} {path}: {}", refused.text);
        }

        // The same one again is no choice, and one that is guessed first neither.
        let change = |new: &str| {
            let body = json!({ "old": GIVEN, "new": new });
            asks(&eva, "PUT", "/api/v1/session/password", body)
        };
        assert_eq!(change(GIVEN).status, 422);
        assert_eq!(change("password1234").status, 422);
        scene.portal.age_proofs(600).unwrap();
        assert_eq!(refusal(&change(ANOTHER)), PROVE);
        let proof = json!({ "password": GIVEN });
        let proved = asks(&eva, "POST", "/api/v1/session/proof", proof);
        assert!(eva.keep(&proved).unwrap(), "{}", proved.text);
        eva.choose_password(GIVEN, ANOTHER).unwrap();
        eva.read("/api/v1/operators").unwrap();
        assert_eq!(eva.read("/api/v1/session").unwrap()["choose_password"], false);

        // Whoever waits for a week has nothing any more.
        let week = [7 * 86_400_000 + 1_i64];
        let database = scene.portal.database().unwrap();
        database.execute("UPDATE operator SET given = given - ?", week).unwrap();
        let late = scene.portal.stranger().sign_in_as("Ion", GIVEN).unwrap_err().to_string();
        assert!(late.starts_with("401") && late.contains("portal reset"), "{late}");
        eva.sign_in_as("Eva", ANOTHER).unwrap();
    })
    .unwrap();
}

#[test]
fn a_session_ends_by_itself_and_by_an_admin_and_a_page_that_nobody_is_at_keeps_none() {
    Scene::set(&[], |scene| {
        let ana = scene.portal.first_operator().unwrap();
        let database = scene.portal.database().unwrap();
        let used = || -> i64 {
            database.query_row("SELECT max(used) FROM session", [], |row| row.get(0)).unwrap()
        };
        let ago = |hours: i64, what: &str| {
            let all = format!("UPDATE session SET {what} = {what} - ?");
            database.execute(&all, [hours * 3_600_000]).unwrap();
        };
        ago(1, "used");
        let before = used();
        let unattended = [("x-geofilter-unattended", "1")];
        let asked = ana.send_with("GET", "/api/v1/session", None, &unattended).unwrap();
        assert_eq!((asked.status, used()), (200, before));
        assert_eq!(ana.get("/api/v1/session").unwrap().status, 200);
        assert!(used() > before);
        ago(8, "used");
        assert_eq!(ana.get("/api/v1/session").unwrap().status, 401, "eight hours without use");

        let mut ana = scene.portal.stranger();
        ana.sign_in().unwrap();
        ago(24 * 7, "began");
        assert_eq!(ana.get("/api/v1/session").unwrap().status, 401, "seven days in any case");

        ana.sign_in().unwrap();
        let eva = scene.portal.operator(&ana, "Eva", "viewer").unwrap();
        ana.must("DELETE", "/api/v1/operators/Eva/sessions", None).unwrap();
        assert_eq!(eva.get("/api/v1/session").unwrap().status, 401);
    })
    .unwrap();
}

#[test]
fn a_cookie_is_for_this_origin_alone_and_no_answer_is_kept() {
    Scene::set(&[], |scene| {
        let ana = scene.portal.first_operator().unwrap();
        let signed_in = sign_in(&scene.portal, None);
        let head = |answer: &Answer, name: &str| {
            let value = answer.head.headers().get(name).unwrap();
            value.to_str().unwrap().to_owned()
        };
        let cookie = head(&signed_in, "set-cookie");
        assert!(cookie.starts_with("__Host-geofilter="), "{cookie}");
        for attribute in ["; Path=/", "; Secure", "; HttpOnly", "; SameSite=Strict"] {
            assert!(cookie.contains(attribute), "{cookie}");
        }
        assert!(!cookie.contains("Domain"), "{cookie}");
        let refused = scene.portal.stranger().get("/api/v1/session").unwrap();
        let missing = ana.get("/api/v1/nothing").unwrap();
        let page = ana.get("/").unwrap();
        for answer in [&signed_in, &refused, &missing, &page] {
            assert_eq!(head(answer, "x-content-type-options"), "nosniff");
            assert!(head(answer, "content-security-policy").contains("default-src 'none'"));
        }
        for answer in [&signed_in, &refused, &missing] {
            assert_eq!(head(answer, "cache-control"), "no-store");
        }

        // Neither another page nor a form signs anybody in, or opens a link.
        let stranger = scene.portal.stranger();
        for path in ["/api/v1/session", "/api/v1/session/first", "/api/v1/travel"] {
            let body = json!({ "name": "Ana Popescu", "password": PASSWORD, "token": "x" });
            let other = [("sec-fetch-site", "cross-site")];
            let asked = stranger.send_with("POST", path, Some(&body), &other).unwrap();
            assert_eq!(asked.status, 403, "{path}");
            let form = [("content-type", "text/plain")];
            let asked = stranger.send_with("POST", path, Some(&body), &form).unwrap();
            assert!([400, 415].contains(&asked.status), "{path}: {}", asked.status);
        }

        // Another's session is none of hers, and the database is its user's alone.
        let eva = scene.portal.operator(&ana, "Eva", "admin").unwrap();
        let hers = eva.read("/api/v1/sessions").unwrap()["sessions"][0]["id"].clone();
        let ended = ana.send("DELETE", &format!("/api/v1/sessions/{hers}"), None).unwrap();
        assert_eq!(ended.status, 404);
        let mode = std::fs::metadata(scene.portal.state_dir().join("portal.db")).unwrap();
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode.permissions()) & 0o077, 0);

        // What was written down stays, whoever writes into the database.
        let database = scene.portal.database().unwrap();
        for change in ["DELETE FROM audit", "UPDATE audit SET operator = 'nobody'"] {
            let refused = database.execute(change, []).unwrap_err().to_string();
            assert!(refused.contains("the audit is not"), "{refused}");
        }
    })
    .unwrap();
}

#[test]
fn a_recovery_code_that_many_show_at_once_lets_in_one() {
    Scene::set(&[], |scene| {
        let mut ana = scene.portal.first_operator().unwrap();
        let (_, codes) = enrol(&mut ana);
        let portal = &scene.portal;
        let signed_in = std::thread::scope(|scope| {
            let all = [(); 5].map(|()| scope.spawn(|| sign_in(portal, Some(&codes[0])).status));
            all.into_iter().map(|one| one.join().unwrap()).collect::<Vec<_>>()
        });
        assert_eq!(signed_in.iter().filter(|status| **status == 201).count(), 1, "{signed_in:?}");
    })
    .unwrap();
}
