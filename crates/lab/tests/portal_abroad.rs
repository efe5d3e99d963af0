//! The portal where others than its host reach it: by TLS, by its own names, and by a traveller's link.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::process::Command;

use geofilter_core::geodata::embedded;
use geofilter_lab::addresses::Addresses;
use geofilter_lab::portal::{Client, HOST, Scene};
use geofilter_lab::site::PBX_V4;
use serde_json::json;

fn travels(client: &Client<'_>, token: &str) -> (u16, String) {
    let answer = client.send("POST", "/api/v1/travel", Some(&json!({ "token": token }))).unwrap();
    (answer.status, answer.text)
}

#[test]
fn a_travellers_link_lets_in_the_phone_that_opens_it_and_nothing_else() {
    let world = embedded::world().unwrap().world;
    let addresses = Addresses::new(&world);
    let hotel = addresses.v4("CN");
    let (airport, stranger) = (addresses.v4("IN"), addresses.v4("RU"));
    Scene::set(&[], |scene| {
        scene.serve_at("203.0.113.10:0", &[]).unwrap();
        assert!(scene.portal.url.starts_with("https://203.0.113.10:"), "{}", scene.portal.url);
        let ana = scene.portal.first_operator().unwrap();
        let change = json!({ "change": { "mode": "allow", "countries": ["ES"] } });
        ana.must("PUT", &format!("{HOST}/policy"), Some(&change)).unwrap();
        assert!(!scene.lets_in(hotel));

        let travellers = format!("{HOST}/travellers");
        let link = json!({ "name": "Ion in Shanghai", "hours": 8 });
        let made = ana.must("POST", &travellers, Some(&link)).unwrap();
        let token = made["token"].as_str().unwrap();
        let phone = scene.abroad(hotel).unwrap();
        assert_eq!(travels(&phone, &"0".repeat(64)).0, 404);
        assert!(!scene.lets_in(hotel));
        let (status, said) = travels(&phone, token);
        assert!(status == 200 && said.contains(&format!("\"target\":\"{hotel}\"")), "{said}");
        assert!(scene.lets_in(hotel) && !scene.lets_in(stranger));
        assert_eq!(phone.get(&format!("{HOST}/status")).unwrap().status, 401, "nothing else");
        let exempt = ana.read(&format!("{HOST}/exemptions")).unwrap()["records"][0].clone();
        assert!(exempt["remaining"].as_u64().unwrap() <= 8 * 3_600, "{exempt}");

        // From the next network that one is let in, and the first no longer.
        let phone = scene.abroad(airport).unwrap();
        assert_eq!(travels(&phone, token).0, 200);
        assert!(scene.lets_in(airport) && !scene.lets_in(hotel));
        let listed = ana.read(&travellers).unwrap()["travellers"][0].clone();
        assert_eq!(listed["target"], airport.to_string());
        assert!(!listed.to_string().contains(token));

        // An exemption of an operator's is not cut short by it.
        let office = json!({ "targets": [stranger], "note": "office" });
        ana.must("POST", &format!("{HOST}/exemptions"), Some(&office)).unwrap();
        assert_eq!(travels(&scene.abroad(stranger).unwrap(), token).0, 200);
        assert!(!scene.lets_in(airport));
        ana.must("DELETE", &format!("{travellers}/{}", made["id"]), None).unwrap();
        assert!(scene.lets_in(stranger), "the office stays");
        assert_eq!(travels(&phone, token).0, 404, "it is void");

        // Through SSH it would be this host that is let in.
        let made = ana.must("POST", &travellers, Some(&link)).unwrap();
        scene.serve_at("127.0.0.1:0", &[]).unwrap();
        let (status, said) = travels(&scene.portal.stranger(), made["token"].as_str().unwrap());
        assert!(status == 422 && said.contains("not through SSH"), "{said}");
        let audit = ana.on(&scene.portal).read("/api/v1/audit").unwrap().to_string();
        assert!(audit.contains("open traveller's link") && audit.contains(&hotel.to_string()));
    })
    .unwrap();
}

/// A page of somebody who has a name of his mean this host would have the browser take it for the portal's.
#[test]
fn it_is_asked_for_by_an_address_or_by_a_name_of_its_own() {
    Scene::set(&[], |scene| {
        let stranger = scene.portal.stranger();
        let asked = |host: &str| {
            let headers = [("host", host)];
            stranger.send_with("GET", "/api/v1/session", None, &headers).unwrap()
        };
        for own in ["127.0.0.1", "localhost:8470", "[::1]:1", "203.0.113.10"] {
            assert_eq!(asked(own).status, 401, "{own}");
        }
        let refused = asked("evil.example");
        assert_eq!(refused.status, 403);
        assert!(refused.text.contains("--name evil.example"), "{}", refused.text);
    })
    .unwrap();
}

#[test]
fn a_certificate_that_is_given_is_shown_and_asked_for_by_its_names() {
    let folder = tempfile::tempdir().unwrap();
    let [certificate, key] = ["c.pem", "k.pem"].map(|name| folder.path().join(name));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
        .args(["-subj", "/CN=pbx.example.net", "-addext", "subjectAltName=DNS:pbx.example.net"])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .unwrap();
    assert!(made.status.success());
    fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    Scene::set(&[], |scene| {
        let [certificate, key] = [&certificate, &key].map(|path| path.to_str().unwrap());
        let tls = ["--tls-certificate", certificate, "--tls-key", key];
        scene.serve_at("0.0.0.0:0", &tls).unwrap();
        let (_, port) = scene.portal.url.trim_end_matches('/').rsplit_once(':').unwrap();
        let shown = scene.portal.namespace().command(
            "sh",
            &["-c", &format!("openssl s_client -connect {PBX_V4}:{port} -servername pbx.example.net </dev/null 2>&1")],
        );
        let shown = shown.unwrap();
        assert!(shown.contains("CN = pbx.example.net") && shown.contains("TLSv1.3"), "{shown}");
        let port: u16 = port.parse().unwrap();
        let stranger = scene.portal.stranger().at(&format!("https://{PBX_V4}:{port}/"));
        let asked = |host: &str| {
            stranger.send_with("GET", "/api/v1/session", None, &[("host", host)]).unwrap()
        };
        let own = asked("pbx.example.net");
        assert_eq!(own.status, 401);
        assert!(own.head.headers().contains_key("strict-transport-security"));
        assert_eq!(asked("other.example.net").status, 403);
    })
    .unwrap();
}
