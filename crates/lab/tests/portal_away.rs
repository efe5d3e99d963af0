//! The page where nobody looks at it: how soon the kernel does what is clicked, a traveller's phone, and who is told.

use std::time::{Duration, UNIX_EPOCH};

use geofilter_core::geodata::embedded;
use geofilter_lab::addresses::Addresses;
use geofilter_lab::browser::Browser;
use geofilter_lab::portal::{HOST, Scene};
use geofilter_lab::receivers::Receiver;
use serde_json::json;

/// What is promised is a tenth of a second; a machine that does much else is given more, and the time is printed.
const SOON: Duration = Duration::from_secs(1);

#[test]
fn what_is_applied_on_the_page_is_dropped_soon_after_the_click() {
    Scene::set(&[], |scene| {
        scene.agent.json(&["observe"]).unwrap();
        let mut browser = Browser::open(scene.portal.namespace()).unwrap();
        browser.begin(&scene.portal).unwrap();
        browser.does("fill", &["Search a country", "spain"]).unwrap();
        browser.does("tick", &["Spain"]).unwrap();
        browser.does("sees", &["no PBX was found on this host"]).unwrap();
        let (clicked, last) = scene
            .last_from_china(|| {
                let clicked = browser.tells("press", &["Apply, keep within 2:00"])?;
                browser.does("sees", &["On trial for another"])?;
                Ok(clicked)
            })
            .unwrap();
        let clicked = UNIX_EPOCH + Duration::from_millis(clicked.parse().unwrap());
        let took = last.duration_since(clicked).unwrap_or_default();
        println!("from the click to the last packet that passed: {} ms", took.as_millis());
        assert!(took < SOON, "{took:?}");
        assert!(!scene.reached());
    })
    .unwrap();
}

#[test]
fn a_traveller_opens_the_link_on_the_phone() {
    let world = embedded::world().unwrap().world;
    let hotel = Addresses::new(&world).v4("CN");
    Scene::set(&[], |scene| {
        scene.agent.json(&["allow", "ES", "--yes"]).unwrap();
        scene.serve_at("203.0.113.10:0", &[]).unwrap();
        let ana = scene.portal.first_operator().unwrap();
        let link = json!({ "name": "Ion in Shanghai", "hours": 8 });
        let made = ana.must("POST", &format!("{HOST}/travellers"), Some(&link)).unwrap();
        // The way of the phone is that of its browser.
        drop(scene.abroad(hotel).unwrap());
        assert!(!scene.lets_in(hotel));
        let mut phone = Browser::open(&scene.site().internet).unwrap();
        let link = format!("{}travel#{}", scene.portal.url, made["token"].as_str().unwrap());
        phone.does("open", &[&link]).unwrap();
        phone.shoot("travel").unwrap();
        phone.does("wear", &["light", "360"]).unwrap();
        phone.does("click", &["Let this phone in"]).unwrap();
        phone.does("sees", &[&format!("{hotel} is let in until")]).unwrap();
        assert!(scene.lets_in(hotel));
        phone.does("open", &[&scene.portal.url]).unwrap();
        phone.does("sees", &["Sign in"]).unwrap();
    })
    .unwrap();
}

#[test]
fn links_are_made_and_who_is_told_is_chosen_on_the_page() {
    Scene::set(&[], |scene| {
        scene.agent.json(&["observe"]).unwrap();
        let web = Receiver::web(scene.portal.namespace(), "200 OK").unwrap();
        let mut browser = Browser::open(scene.portal.namespace()).unwrap();
        browser.begin(&scene.portal).unwrap();
        let mut does = |deed: &str, words: &[&str]| browser.does(deed, words).unwrap();
        does("go", &["Exemptions"]);
        does("fill", &["Whose phone", "Ion"]);
        does("click", &["Make a link"]);
        does("sees", &["This link for Ion is shown once."]);
        does("sees", &["not opened yet"]);
        browser.shoot("travellers").unwrap();
        let mut does = |deed: &str, words: &[&str]| browser.does(deed, words).unwrap();
        does("go", &["Settings"]);
        does("fill", &["What to call it", "chat"]);
        does("fill", &["Address", &format!("http://{}/T/secret", web.at)]);
        does("click", &["Add"]);
        does("sees", &["the host was changed by somebody else"]);
        does("click", &["Test"]);
        does("sees", &["It was taken: see whether it arrived."]);
        assert!(web.next().unwrap().contains("Ana wanted to see whether this arrives."));
        does("sees", &["delivered"]);
        browser.shoot("notices").unwrap();
        // On a phone what has no place of its own is behind a button.
        let mut does = |deed: &str, words: &[&str]| browser.does(deed, words).unwrap();
        does("wear", &["light", "360"]);
        does("click", &["More"]);
        does("go", &["Evidence"]);
        does("sees", &["Attempts to get in that the PBX itself logged."]);
    })
    .unwrap();
}
