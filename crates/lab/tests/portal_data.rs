//! What the portal remembers of a host: what was counted, which policies were in force, and what operators chose; asked as a
//! program does, and looked at in a real browser.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use geofilter_lab::browser::Browser;
use geofilter_lab::disk::SmallDisk;
use geofilter_lab::images::{data_folder, read};
use geofilter_lab::portal::{Client, HOST, Portal, Scene};
use serde_json::{Value, json};

/// A step of ten seconds, and the look after it.
const PATIENCE: Duration = Duration::from_secs(40);

fn with_scene(test: impl FnOnce(&mut Scene<'_>)) {
    Scene::set(&["--backend", "xdp"], test).unwrap();
}

fn enforce(client: &Client<'_>, countries: &[&str], confirm_within: Option<u64>) -> Value {
    let change = json!({ "mode": "allow", "countries": countries });
    let body = json!({ "change": change, "confirm_within": confirm_within });
    client.must("PUT", &format!("{HOST}/policy"), Some(&body)).unwrap()
}

/// Asks until the answer is as wanted.
fn until(client: &Client<'_>, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let since = Instant::now();
    loop {
        let answer = client.read(path).unwrap();
        if wanted(&answer) {
            return answer;
        }
        assert!(since.elapsed() < PATIENCE, "{path}: {answer}");
        thread::sleep(Duration::from_millis(200));
    }
}

fn sum(line: &Value) -> u64 {
    line.as_array().unwrap().iter().filter_map(Value::as_u64).sum()
}

fn looked(line: &Value) -> usize {
    line.as_array().unwrap().iter().filter(|count| !count.is_null()).count()
}

#[test]
fn what_was_dropped_is_told_step_by_step_and_a_gap_is_no_zero() {
    with_scene(|scene| {
        let ana = scene.portal.first_operator().unwrap();
        enforce(&ana, &["ES"], None);
        for _ in 0..5 {
            assert!(!scene.reached());
        }
        let series = format!("{HOST}/series?by=country");
        let told = until(&ana, &series, |told| sum(&told["total"]["dropped"]) >= 5);
        assert_eq!((sum(&told["total"]["dropped"]), &told["step"]), (5, &json!(10)));
        let china = told["parts"].as_array().unwrap().iter().find(|part| part["key"] == "CN");
        assert_eq!(sum(&china.unwrap()["packets"]["dropped"]), 5);
        let spain = told["parts"].as_array().unwrap().iter().find(|part| part["key"] == "ES");
        assert!(sum(&spain.unwrap()["packets"]["passed"]) >= 5);
        // Nobody looked before the portal began.
        assert_eq!(told["total"]["dropped"][0], Value::Null);
        let steps = looked(&told["watched"]);
        assert!((1..6).contains(&steps), "{told}");
        let by_reason = ana.read(&format!("{HOST}/series?by=reason&step=60")).unwrap();
        let dropped = by_reason["parts"].as_array().unwrap().iter();
        let dropped: Vec<_> = dropped
            .filter(|part| sum(&part["packets"]["dropped"]) > 0)
            .map(|part| part["key"].as_str().unwrap())
            .collect();
        assert_eq!(dropped, ["country"]);

        // Counters that begin anew make no negative step, and the time without a filter no zero.
        ana.must("POST", &format!("{HOST}/off"), None).unwrap();
        enforce(&ana, &["ES"], None);
        assert!(!scene.reached());
        until(&ana, &series, |told| sum(&told["total"]["dropped"]) >= 6);
        scene.portal.restart().unwrap();
        let again = ana.read(&series).unwrap();
        assert_eq!(sum(&again["total"]["dropped"]), 6, "it is kept");
        for wrong in ["step=7", "from=yesterday", "step=10&from=2020-01-01T00:00:00Z", "by=asn"] {
            let answer = ana.get(&format!("{HOST}/series?{wrong}")).unwrap();
            assert_eq!(answer.status, 422, "{wrong}: {}", answer.text);
        }
    });
}

#[test]
fn each_policy_is_in_the_history_whoever_chose_it_and_can_be_restored() {
    with_scene(|scene| {
        let ana = scene.portal.first_operator().unwrap();
        let history = format!("{HOST}/history");
        let policies = |of: &Value| of["policies"].as_array().unwrap().clone();
        enforce(&ana, &["ES"], None);
        enforce(&ana, &["ES", "PT"], Some(120));
        ana.must("POST", &format!("{HOST}/revert"), Some(&json!({}))).unwrap();
        // On the host itself: it is seen at the next look.
        scene
            .agent
            .json(&["allow", "FR", "--hosting", "drop", "--yes", "--accept-risk", "lose-trunk"])
            .unwrap();
        let told = until(&ana, &history, |told| policies(told).len() == 3);
        let [france, trial, spain] = &policies(&told)[..] else { panic!("{told}") };
        assert_eq!(
            (&spain["operator"], &spain["ending"]),
            (&json!("Ana Popescu"), &json!("replaced"))
        );
        assert_eq!((&trial["ending"], &trial["kept"]), (&json!("went-back"), &Value::Null));
        assert_eq!((&trial["added"], &trial["removed"]), (&json!(["PT"]), &json!([])));
        assert_eq!((&france["operator"], &france["ending"]), (&Value::Null, &Value::Null));
        assert_eq!((&france["added"], &france["removed"]), (&json!(["FR"]), &json!(["ES"])));
        let setting = json!({ "name": "hosting", "before": "pass", "after": "drop" });
        assert_eq!(france["settings"], json!([setting]));

        // Spain once more, on trial, and kept.
        assert!(
            !scene.agent.json(&["status"]).unwrap()["countries"]
                .as_array()
                .unwrap()
                .contains(&json!("ES"))
        );
        let restore = format!("{history}/{}/restore", spain["id"]);
        let changed = ana.must("POST", &restore, Some(&json!({ "confirm_within": 120 }))).unwrap();
        assert_eq!((&changed["state"], &changed["countries"]), (&json!("pending"), &json!(["ES"])));
        ana.must("POST", &format!("{HOST}/confirm"), Some(&json!({}))).unwrap();
        assert!(!scene.reached());
        ana.must("POST", &format!("{HOST}/off"), None).unwrap();
        let told = ana.read(&history).unwrap();
        let last = &told["policies"][0];
        assert_eq!((&last["ending"], &last["operator"]), (&json!("off"), &json!("Ana Popescu")));
        assert!(last["kept"].is_string() && last["policy"]["hosting"] == "pass", "{last}");
        assert_eq!(told["policies"][1]["ending"], "replaced");
        let older = ana.read(&format!("{history}?before={}&limit=1", last["id"])).unwrap();
        assert_eq!(older["policies"][0]["id"], told["policies"][1]["id"]);
        let missing =
            ana.send("POST", &format!("{history}/999/restore"), Some(&json!({}))).unwrap();
        assert_eq!(missing.status, 404, "{}", missing.text);
    });
}

#[test]
fn a_choice_is_kept_as_a_draft_and_under_a_name_and_goes_to_another_portal_as_a_file() {
    with_scene(|scene| {
        let ana = scene.portal.first_operator().unwrap();
        ana.must("POST", &format!("{HOST}/observe"), None).unwrap();
        let (draft, profiles) = (format!("{HOST}/draft"), "/api/v1/profiles");
        let iberia = json!({ "mode": "allow", "countries": ["ES", "PT"], "hosting": "drop" });
        assert_eq!(ana.read(&draft).unwrap()["draft"], Value::Null);
        ana.must("PUT", &draft, Some(&iberia)).unwrap();
        scene.portal.restart().unwrap();
        let kept = ana.read(&draft).unwrap()["draft"].clone();
        assert_eq!((&kept["choice"], &kept["operator"]), (&iberia, &json!("Ana Popescu")));
        assert!(scene.reached(), "nothing is applied");

        // Under a name.
        let named = |name: &str| json!({ "name": name, "choice": iberia });
        let made = ana.must("POST", profiles, Some(&named("Iberia"))).unwrap();
        let taken = ana.send("POST", profiles, Some(&named("iberia"))).unwrap();
        assert_eq!(taken.status, 422, "{}", taken.text);
        let other = ana.must("POST", profiles, Some(&named("Other"))).unwrap();
        let path = |profile: &Value| format!("{profiles}/{}", profile["id"]);
        assert_eq!(ana.send("PUT", &path(&other), Some(&named("IBERIA"))).unwrap().status, 422);
        ana.must("PUT", &path(&other), Some(&named("Summer"))).unwrap();
        let names = |client: &Client<'_>| {
            let profiles = client.read(profiles).unwrap()["profiles"].clone();
            let name = |profile: &Value| profile["name"].as_str().unwrap().to_owned();
            profiles.as_array().unwrap().iter().map(name).collect::<Vec<_>>()
        };
        assert_eq!(names(&ana), ["Iberia", "Summer"]);
        let audit = ana.read("/api/v1/audit").unwrap();
        assert_eq!(audit["entries"][0]["action"], "set profile");

        // As a file, and back. What is applied is no draft any more.
        enforce(&ana, &["ES"], None);
        assert_eq!(ana.read(&draft).unwrap()["draft"], Value::Null);
        let file = ana.read(&format!("{HOST}/export")).unwrap();
        assert_eq!((&file["schema"], &file["policy"]["countries"]), (&json!(1), &json!(["ES"])));
        ana.must("DELETE", &path(&made), None).unwrap();
        enforce(&ana, &["FR"], None);
        let import = format!("{HOST}/import");
        let took = ana.must("POST", &import, Some(&file)).unwrap();
        let wanted = json!({ "draft": true, "added": ["Iberia"], "replaced": ["Summer"] });
        assert_eq!(took, wanted);
        assert_eq!(ana.read(&draft).unwrap()["draft"]["choice"]["countries"], json!(["ES"]));
        assert_eq!(ana.read(&format!("{HOST}/status")).unwrap()["countries"], json!(["FR"]));
        for (name, value) in [("schema", json!(2)), ("more", json!(1)), ("policy", json!({}))] {
            let mut wrong = file.clone();
            wrong[name] = value;
            let answer = ana.send("POST", &import, Some(&wrong)).unwrap();
            assert_eq!(answer.status, 422, "{name}: {}", answer.text);
        }
        ana.must("DELETE", &draft, None).unwrap();
        assert_eq!(ana.read(&draft).unwrap()["draft"], Value::Null);
    });
}

#[test]
fn without_room_on_the_disk_what_can_be_done_is_done_and_the_rest_said() {
    with_scene(|scene| {
        let disk = SmallDisk::new(3_000).unwrap();
        let namespace = scene.portal.namespace();
        let folder = disk.path().join("portal");
        let portal = Portal::start_in(namespace, &scene.agent, &folder).unwrap();
        let ana = portal.first_operator().unwrap();
        ana.must("POST", &format!("{HOST}/observe"), None).unwrap();
        let series = format!("{HOST}/series");
        until(&ana, &series, |told| looked(&told["watched"]) > 0);
        disk.fill().unwrap();
        let draft = format!("{HOST}/draft");
        let choice = json!({ "mode": "allow", "countries": ["ES"] });
        let refused = ana.send("PUT", &draft, Some(&choice)).unwrap();
        assert_eq!(refused.status, 507, "{}", refused.text);
        assert!(refused.body["detail"].as_str().unwrap().contains("make room"), "{}", refused.text);

        // Reading and the filter go on.
        let changed = enforce(&ana, &["ES"], None);
        assert_eq!(changed["state"], "enforcing");
        assert!(!changed["warnings"].as_array().unwrap().is_empty(), "{changed}");
        assert!(!scene.reached());
        thread::sleep(Duration::from_secs(11));
        let before = ana.read(&series).unwrap();

        disk.make_room().unwrap();
        ana.must("PUT", &draft, Some(&choice)).unwrap();
        let steps = looked(&before["watched"]);
        until(&ana, &series, |told| looked(&told["watched"]) > steps);
        until(&ana, &format!("{HOST}/history"), |told| {
            told["policies"][0]["policy"]["countries"] == json!(["ES"])
        });
    });
}

#[test]
fn the_page_draws_what_was_counted_and_keeps_what_was_chosen() {
    Scene::set(&[], go).unwrap();
}

fn go(scene: &mut Scene<'_>) {
    scene.agent.json(&["observe"]).unwrap();
    let mut browser = Browser::open(scene.portal.namespace()).unwrap();
    browser.begin(&scene.portal).unwrap();
    let mut does = |deed: &str, words: &[&str]| browser.does(deed, words).unwrap();

    // What is chosen survives the page, and has a name.
    does("fill", &["Search a country", "spain"]);
    does("tick", &["Spain"]);
    does("sees", &["1 chosen"]);
    does("sees", &["This choice is kept here until it is applied"]);
    does("unfold", &["Profiles"]);
    does("fill", &["Name of the profile", "Home"]);
    does("click", &["Save this choice as a profile"]);
    does("sees", &["Only 1 country let in"]);
    does("reload", &[]);
    does("sees", &["This choice is not in force"]);
    does("sees", &["1 chosen"]);
    does("click", &["Choose none"]);
    does("sees", &["0 chosen"]);
    does("unfold", &["Profiles"]);
    does("click", &["Home"]);
    does("sees", &["1 chosen"]);
    browser.shoot("profiles").unwrap();
    assert!(scene.reached(), "nothing is applied");
    let mut does = |deed: &str, words: &[&str]| browser.does(deed, words).unwrap();
    does("click", &["Apply, keep within 2:00"]);
    does("click", &["Keep"]);
    does("sees", &["Protected: only 1 country may call"]);
    assert!(!scene.reached());

    // A file, which fills the choice and applies nothing.
    let file = json!({ "schema": 1, "policy": { "mode": "allow", "countries": ["FR", "DE"] }, "profiles": [] });
    let path = tempfile::NamedTempFile::new().unwrap();
    fs::write(path.path(), file.to_string()).unwrap();
    does("upload", &["Import a file", path.path().to_str().unwrap()]);
    does("sees", &["The policy of the file is the choice on this page now"]);
    does("sees", &["2 chosen"]);
    does("sees", &["Protected: only 1 country may call"]);
    does("click", &["Back to what is in force"]);
    does("sees", &["This is what is in force"]);

    // Drawn.
    does("go", &["Live"]);
    does("sees", &["Over time"]);
    does("drawn", &[]);
    does("sees", &["of the policy"]);
    does("unfold", &["The same as a table"]);
    does("sees", &["packets in 10 sec"]);
    browser.shoot("over-time").unwrap();
    let mut does = |deed: &str, words: &[&str]| browser.does(deed, words).unwrap();
    does("click", &["7 days"]);
    does("sees", &["packets in 10 min"]);
    does("click", &["2 years"]);
    does("sees", &["packets in 1 day"]);

    // Another policy on the host itself, and back to the former one.
    scene.agent.json(&["allow", "ES", "CN", "--yes"]).unwrap();
    assert!(scene.reached());
    does("sees", &["Protected: only 2 countries may call"]);
    does("go", &["Policy"]);
    does("go", &["History"]);
    does("sees", &["somebody on the host itself"]);
    browser.shoot("history").unwrap();
    let mut does = |deed: &str, words: &[&str]| browser.does(deed, words).unwrap();
    does("click", &["Restore, keep within 2:00"]);
    does("sees", &["On trial for another"]);
    assert!(!scene.reached());
    does("click", &["Keep"]);
    does("sees", &["Protected: only 1 country may call"]);
}

#[test]
fn the_country_data_is_seen_and_looked_after_on_the_page() {
    with_scene(|scene| {
        let ana = scene.portal.first_operator().unwrap();
        let eva = scene.portal.operator(&ana, "Eva", "viewer").unwrap();
        let path = format!("{HOST}/geodata");
        let state = eva.read(&path).unwrap();
        assert_eq!((&state["embedded"], &state["previous"]), (&json!(true), &Value::Null));
        assert!(state["sources"][0]["credit"].as_str().unwrap().contains("DB-IP"), "{state}");
        for deed in ["update", "approve", "rollback"] {
            let asked = |client: &Client<'_>| {
                client.send("POST", &format!("{path}/{deed}"), None).unwrap().status
            };
            assert_eq!(asked(&eva), 403, "{deed}");
            if deed != "update" {
                assert_eq!(asked(&ana), 409, "there is nothing for {deed}");
            }
        }

        // Root imports files, and an operator takes that back.
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("mine.csv");
        let family = |family: &str| {
            read(&data_folder(), &format!("dbip-country-lite-2026-10-{family}.csv.zst")).unwrap()
        };
        fs::write(&file, [family("v4"), family("v6")].concat()).unwrap();
        scene.agent.json(&["geodb", "import", file.to_str().unwrap()]).unwrap();
        let mut browser = Browser::open(scene.portal.namespace()).unwrap();
        browser.enter(&scene.portal, &ana).unwrap();
        let mut does = |deed: &str, words: &[&str]| browser.does(deed, words).unwrap();
        does("go", &["Settings"]);
        does("sees", &["mine.csv"]);
        browser.shoot("country-data").unwrap();
        let mut does = |deed: &str, words: &[&str]| browser.does(deed, words).unwrap();
        does("click", &["Use the data from before"]);
        does("loses", &["mine.csv"]);
        does("sees", &["IP Geolocation by DB-IP"]);
        assert_eq!(ana.read(&path).unwrap()["sources"], state["sources"]);
        let audit = ana.read("/api/v1/audit").unwrap().to_string();
        assert!(audit.contains("roll back world data"), "{audit}");
    });
}
