//! Tokens: a program does what the page can, as far as its role goes, until it is revoked.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use geofilter_lab::portal::{Answer, Client, HOST, Scene};
use serde_json::{Value, json};

fn made(ana: &Client<'_>, name: &str, role: &str, days: Value) -> (String, String) {
    let body = json!({ "name": name, "role": role, "days": days });
    let made = ana.must("POST", "/api/v1/tokens", Some(&body)).unwrap();
    (made["token"].as_str().unwrap().to_owned(), format!("/api/v1/tokens/{}", made["id"]))
}

fn asks(program: &Client<'_>, token: &str, method: &str, path: &str, body: Value) -> Answer {
    let bearer = format!("Bearer {token}");
    program.send_with(method, path, Some(&body), &[("authorization", &bearer)]).unwrap()
}

#[test]
fn a_program_does_what_its_token_may_until_it_is_revoked() {
    Scene::set(&[], |scene| {
        let ana = scene.portal.first_operator().unwrap();
        let program = scene.portal.stranger();
        let (operator, path) = made(&ana, "backup script", "operator", json!(90));
        let (viewer, _) = made(&ana, "graphs", "viewer", Value::Null);
        let policy = format!("{HOST}/policy");
        let spain = json!({ "change": { "mode": "allow", "countries": ["ES"] } });

        // What changes something needs no further header, and what the role does not allow is refused.
        assert_eq!(asks(&program, &viewer, "PUT", &policy, spain.clone()).status, 403);
        assert!(scene.reached());
        assert_eq!(asks(&program, &operator, "PUT", &policy, spain.clone()).status, 200);
        assert!(!scene.reached());
        let status = format!("{HOST}/status");
        assert_eq!(asks(&program, &viewer, "GET", &status, Value::Null).body["state"], "enforcing");

        // Who may do what is not for programs, whatever their role.
        let (admin, _) = made(&ana, "admin", "admin", json!(1));
        assert_eq!(asks(&program, &admin, "GET", "/api/v1/audit", Value::Null).status, 200);
        for (method, path) in [
            ("GET", "/api/v1/tokens"),
            ("GET", "/api/v1/operators"),
            ("GET", "/api/v1/sessions"),
            ("GET", "/api/v1/session"),
            ("GET", "/api/v1/recipients"),
        ] {
            let refused = asks(&program, &admin, method, path, Value::Null);
            assert!(
                refused.status == 403 && refused.text.contains("sign in"),
                "{path}: {}",
                refused.text
            );
        }

        // It is told once, and who did what by it is written down.
        let listed = ana.get("/api/v1/tokens").unwrap();
        assert!(!listed.text.contains(&operator) && listed.text.contains("backup script"));
        let audit = ana.read("/api/v1/audit").unwrap();
        let enforced =
            audit["entries"].as_array().unwrap().iter().find(|it| it["action"] == "enforce");
        assert_eq!(enforced.unwrap()["operator"], "Ana Popescu (token backup script)");

        ana.must("DELETE", &path, None).unwrap();
        assert_eq!(asks(&program, &operator, "GET", &status, Value::Null).status, 401);
        assert_eq!(asks(&program, "nonsense", "GET", &status, Value::Null).status, 401);
    })
    .unwrap();
}

#[test]
fn a_token_has_never_more_than_its_operator_and_goes_with_whoever_made_it() {
    Scene::set(&[], |scene| {
        let ana = scene.portal.first_operator().unwrap();
        let eva = scene.portal.operator(&ana, "Eva", "admin").unwrap();
        let (token, _) = made(&eva, "hers", "operator", Value::Null);
        let program = scene.portal.stranger();
        let observe = format!("{HOST}/observe");
        let status = || asks(&program, &token, "POST", &observe, json!({})).status;
        assert_eq!(status(), 200);
        ana.must("PUT", "/api/v1/operators/Eva", Some(&json!({ "role": "viewer" }))).unwrap();
        assert_eq!(status(), 403);
        ana.must("DELETE", "/api/v1/operators/Eva", None).unwrap();
        assert_eq!(status(), 401);
        let days = |days: i64| json!({ "name": "x", "role": "viewer", "days": days });
        for wrong in [0, -1, 4_000] {
            assert_eq!(ana.send("POST", "/api/v1/tokens", Some(&days(wrong))).unwrap().status, 422);
        }
    })
    .unwrap();
}
