//! Notices: an admin is told of what happens when no page is open, by a process that can reach others and nothing else.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;

use geofilter_lab::portal::{Answer, Client, HOST, Scene};
use geofilter_lab::receivers::Receiver;
use serde_json::{Value, json};

const RECIPIENTS: &str = "/api/v1/recipients";

fn add(ana: &Client<'_>, name: &str, target: Value, wants: &[&str]) -> String {
    let body = json!({ "name": name, "target": target, "wants": wants });
    let added = ana.must("POST", RECIPIENTS, Some(&body)).unwrap();
    format!("{RECIPIENTS}/{}", added["id"])
}

#[test]
fn a_change_on_trial_is_told_to_a_webhook_and_by_mail() {
    Scene::set(&[], |scene| {
        let ana = scene.portal.first_operator().unwrap();
        let web = Receiver::web(scene.portal.namespace(), "204 No Content").unwrap();
        let mail = Receiver::mail(scene.portal.namespace()).unwrap();
        let hook = json!({ "kind": "webhook", "url": format!("http://{}/T/secret", web.at), "secret": "s3cret" });
        add(&ana, "chat", hook, &["change-pending", "drift"]);
        let boxes = json!({
            "kind": "mail", "server": mail.at.ip(), "port": mail.at.port(), "security": "none",
            "from": "GeoFilter <pbx@example.net>", "to": "ana@example.net, Ion <ion@example.net>",
        });
        let boxes = add(&ana, "mail", boxes, &["change-pending"]);

        // A test arrives, and is answered once it did.
        assert_eq!(ana.must("POST", &format!("{boxes}/test"), None).unwrap(), Value::Null);
        let told = mail.next().unwrap();
        assert!(told.contains("MAIL FROM:<pbx@example.net>"), "{told}");
        assert!(told.contains("RCPT TO:<ion@example.net>"), "{told}");
        assert!(told.contains(": a test\n") && told.contains("Ana Popescu wanted to see"), "{told}");

        let change = json!({ "change": { "mode": "allow", "countries": ["ES"] }, "confirm_within": 120 });
        ana.must("PUT", &format!("{HOST}/policy"), Some(&change)).unwrap();
        let told = web.next().unwrap();
        assert!(told.starts_with("POST /T/secret HTTP/1.1\r\n"), "{told}");
        assert!(told.contains("x-geofilter-signature: sha256="), "{told}");
        let (_, body) = told.split_once("\r\n\r\n").unwrap();
        let body: Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["event"], "change-pending");
        assert_eq!(body["subject"], "a change is on trial");
        assert!(body["text"].as_str().unwrap().ends_with("unless somebody keeps it: allow ES."), "{body}");
        assert!(mail.next().unwrap().contains("a change is on trial"));
        ana.must("POST", &format!("{HOST}/confirm"), Some(&json!({}))).unwrap();

        // What somebody does in the shell of the host is told as well.
        scene.agent.json(&["allow", "PT", "--yes"]).unwrap();
        let told = web.next().unwrap();
        assert!(told.contains("it was changed on the host itself") && told.contains("allow PT"), "{told}");

        // Secrets of others are not told again, neither to admins nor in the audit.
        let noted = || ana.get(RECIPIENTS).unwrap();
        let is_noted = |said: &Answer| said.body["deliveries"][0]["event"] == "drift";
        // The receiver has it before the portal has noted that.
        let said = (0..200).map(|_| noted()).find(is_noted).unwrap();
        assert_eq!(said.body["recipients"][0]["at"], format!("http://{}", web.at));
        let audit = ana.get("/api/v1/audit").unwrap().text;
        assert!(audit.contains("add recipient"));
        for text in [said.text, audit] {
            assert!(!text.contains("secret") && !text.contains("s3cret"), "{text}");
        }
    })
    .unwrap();
}

#[test]
fn what_is_not_delivered_is_said_and_what_makes_no_sense_is_refused() {
    Scene::set(&[], |scene| {
        let ana = scene.portal.first_operator().unwrap();
        let web = Receiver::web(scene.portal.namespace(), "500 Internal Server Error").unwrap();
        let hook = |url: &str| json!({ "kind": "webhook", "url": url });
        let failing = add(&ana, "failing", hook(&format!("http://{}/", web.at)), &[]);
        let closed = add(&ana, "closed", hook("http://127.0.0.1:1/"), &[]);
        let cloud = add(&ana, "cloud", hook("https://169.254.169.254/latest/meta-data"), &[]);
        for (path, why) in [(&failing, "answered 500"), (&closed, "refused"), (&cloud, "not sent to")] {
            let answer = ana.send("POST", &format!("{path}/test"), None).unwrap();
            let detail = answer.body["detail"].as_str().unwrap();
            assert!(answer.status == 502 && detail.contains(why), "{}", answer.text);
        }
        let deliveries = ana.read(RECIPIENTS).unwrap()["deliveries"].clone();
        assert!(deliveries[2]["error"].as_str().unwrap().contains("answered 500"), "{deliveries}");

        for target in [
            hook("ftp://example.net/"),
            hook("https://ana:secret@example.net/"),
            json!({ "kind": "mail", "server": "x", "port": 25, "security": "none", "from": "a", "to": "b" }),
            json!({ "kind": "pigeon" }),
        ] {
            let body = json!({ "name": "wrong", "target": target, "wants": [] });
            let answer = ana.send("POST", RECIPIENTS, Some(&body)).unwrap();
            assert_eq!(answer.status, 422, "{}", answer.text);
        }
        let twice = json!({ "name": "Closed", "target": hook("http://127.0.0.1:1/"), "wants": [] });
        assert_eq!(ana.send("POST", RECIPIENTS, Some(&twice)).unwrap().status, 422);
        ana.must("PUT", &closed, Some(&json!({ "wants": ["old-data"] }))).unwrap();
        ana.must("DELETE", &closed, None).unwrap();
        assert_eq!(ana.send("DELETE", &closed, None).unwrap().status, 404);
        assert_eq!(ana.send("POST", &format!("{closed}/test"), None).unwrap().status, 404);
    })
    .unwrap();
}

#[test]
fn the_courier_ends_with_the_portal_and_has_no_privileges() {
    Scene::set(&[], |scene| {
        let portal = scene.portal.pid();
        let children =
            || fs::read_to_string(format!("/proc/{portal}/task/{portal}/children")).unwrap();
        let courier: u32 = children().trim().parse().unwrap();
        let status = || fs::read_to_string(format!("/proc/{courier}/status")).unwrap();
        let pause = || std::thread::sleep(std::time::Duration::from_millis(10));
        let confined = || status().contains("Seccomp:\t2\n");
        assert!((0..500).inspect(|_| pause()).any(|_| confined()), "{}", status());
        let status = status();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        assert!(!field("Uid:").split(' ').any(|uid| uid == "0"), "{status}");
        assert_eq!((field("CapPrm:"), field("CapBnd:")), ("0".repeat(16), "0".repeat(16)));
        assert_eq!(field("NoNewPrivs:"), "1");
        scene.portal.end().unwrap();
        let gone = || !fs::exists(format!("/proc/{courier}")).unwrap();
        assert!((0..500).inspect(|_| pause()).any(|_| gone()));
    })
    .unwrap();
}
