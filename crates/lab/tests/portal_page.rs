//! The way a person goes: from the one-time link to a policy that is kept, and out again, in a real browser, with the
//! kernel looked at meanwhile.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use geofilter_lab::browser::Browser;
use geofilter_lab::portal::Scene;

#[test]
fn from_the_link_to_a_policy_that_is_kept_and_out_again() {
    Scene::set(&[], go).unwrap();
}

fn go(scene: &mut Scene<'_>) {
    scene.agent.json(&["observe"]).unwrap();
    let mut browser = Browser::open(scene.portal.namespace()).unwrap();
    browser.begin(&scene.portal).unwrap();
    let mut does = |deed: &str, words: &[&str]| browser.does(deed, words).unwrap();
    assert!(scene.reached());

    // Chosen, and looked at first.
    does("fill", &["Search a country", "spain"]);
    does("tick", &["Spain"]);
    does("sees", &["What this would do"]);
    does("sees", &["no PBX was found on this host"]);
    assert!(scene.reached(), "looking at it changes nothing");
    does("click", &["Apply, keep within 2:00"]);
    does("sees", &["On trial for another"]);
    assert!(!scene.reached());
    does("click", &["Go back"]);
    does("sees", &["Observing: nothing is blocked yet"]);
    assert!(scene.reached());

    // Chosen by region and on the map, applied again, and kept.
    does("unfold", &["Regions"]);
    does("click", &["eu"]);
    does("sees", &["27 chosen"]);
    does("click", &["eu"]);
    does("sees", &["0 chosen"]);
    does("point", &["PL"]);
    does("sees", &["1 chosen"]);
    does("point", &["PL"]);
    does("sees", &["0 chosen"]);
    does("fill", &["Search a country", "spain"]);
    does("tick", &["Spain"]);
    does("click", &["Apply, keep within 2:00"]);
    does("click", &["Keep"]);
    does("sees", &["Protected: only 1 country may call"]);
    assert!(!scene.reached());
    browser.shoot("policy").unwrap();

    // Somebody is let in from the log.
    let mut does = |deed: &str, words: &[&str]| browser.does(deed, words).unwrap();
    does("go", &["Live"]);
    does("sees", &["country not chosen"]);
    does("click", &["Why, and what to do"]);
    does("sees", &["It is dropped: country not chosen"]);
    does("sees", &["Let in all of China, keep within 2:00"]);
    does("click", &["for an hour"]);
    does("sees", &["is let in for an hour"]);
    assert!(scene.reached());
    browser.shoot("live").unwrap();
    for page in ["Exemptions", "Bans", "Evidence", "Settings"] {
        browser.does("go", &[page]).unwrap();
        browser.shoot(&page.to_lowercase()).unwrap();
    }

    // The portal starts anew under the open page, and it goes on.
    scene.portal.restart().unwrap();
    let mut does = |deed: &str, words: &[&str]| browser.does(deed, words).unwrap();
    does("go", &["Policy"]);
    does("reload", &[]);
    does("sees", &["Protected: only 1 country may call"]);
    does("click", &["Turn off"]);
    does("click", &["Yes, turn off"]);
    does("sees", &["Nothing of GeoFilter remains."]);
    assert!(scene.reached());
    browser.shoot("off").unwrap();

    // In Romanian.
    let mut does = |deed: &str, words: &[&str]| browser.does(deed, words).unwrap();
    does("go", &["Settings"]);
    does("choose", &["Language", "ro"]);
    does("sees", &["Oprit: nu se filtrează nimic"]);
    does("go", &["Politică"]);
    browser.shoot("romanian").unwrap();
    drop(browser);
    assert_eq!(scene.agent.json(&["status"]).unwrap()["state"], "off");
}
