//! Who is at the page: operators with their roles and tokens, the second factor, who has to wait, and whose session was
//! ended. In a real browser.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use geofilter_lab::authenticator::Authenticator;
use geofilter_lab::browser::Browser;
use geofilter_lab::portal::{ANOTHER, HOST, Scene};
use serde_json::json;

const PASSWORD: &str = "correct horse battery";

/// The operators there are.
fn ana_sees(scene: &Scene<'_>) -> Vec<String> {
    let mut ana = scene.portal.stranger();
    ana.sign_in_as("Ana", PASSWORD).unwrap();
    let listed = ana.read("/api/v1/operators").unwrap();
    let operators = listed["operators"].as_array().unwrap().iter();
    operators.map(|it| it["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_second_factor_is_offered_at_the_start_and_asked_for_afterwards() {
    Scene::set(&[], |scene| {
        scene.agent.json(&["observe"]).unwrap();
        let mut browser = Browser::open(scene.portal.namespace()).unwrap();
        let token = scene.portal.first.clone().unwrap();
        let mut does = |deed: &str, words: &[&str]| browser.does(deed, words).unwrap();
        does("open", &[&format!("{}first#{token}", scene.portal.url)]);
        does("fill", &["Name", "Ana"]);
        does("fill", &["Password, at least 12 characters", PASSWORD]);
        does("click", &["Begin"]);
        does("click", &["Set it up"]);
        does("sees", &["Scan this with your authenticator app"]);
        let app = Authenticator::told(&browser.tells("address", &[]).unwrap()).unwrap();
        browser.shoot("second-factor").unwrap();
        let mut does = |deed: &str, words: &[&str]| browser.does(deed, words).unwrap();
        does("fill", &["The code that it shows now", "000000"]);
        does("click", &["Check the code"]);
        does("sees", &["this is not the code of this secret"]);
        does("fill", &["The code that it shows now", &app.shows(0)]);
        does("click", &["Check the code"]);
        does("sees", &["Keep these recovery codes"]);
        browser.shoot("recovery-codes").unwrap();
        let mut does = |deed: &str, words: &[&str]| browser.does(deed, words).unwrap();
        does("click", &["They are kept, go on"]);
        does("sees", &["Observing: nothing is blocked yet"]);

        // Signing in asks for it, once the password was right.
        does("go", &["Settings"]);
        does("sees", &["10 recovery codes left."]);
        does("click", &["Sign out"]);
        does("fill", &["Name", "Ana"]);
        does("fill", &["Password", PASSWORD]);
        does("click", &["Sign in"]);
        does("fill", &["Code of your authenticator app, or a recovery code", "000000"]);
        does("click", &["Sign in"]);
        does("sees", &["this code is wrong, or was used"]);
        does("fill", &["Code of your authenticator app, or a recovery code", &app.shows(1)]);
        does("click", &["Sign in"]);
        does("sees", &["Observing: nothing is blocked yet"]);
    })
    .unwrap();
}

#[test]
fn what_is_dangerous_is_done_once_the_page_has_the_password_again() {
    Scene::set(&[], |scene| {
        scene.agent.json(&["observe"]).unwrap();
        let mut browser = Browser::open(scene.portal.namespace()).unwrap();
        browser.begin(&scene.portal).unwrap();
        let mut does = |deed: &str, words: &[&str]| browser.does(deed, words).unwrap();
        does("go", &["Settings"]);
        scene.portal.age_proofs(600).unwrap();
        does("fill", &["Operator's name", "Eva"]);
        does("fill", &["A first password, at least 12 characters", ANOTHER]);
        does("click", &["Add operator"]);
        does("sees", &["This change asks for your password once more"]);
        does("click", &["Cancel"]);
        does("sees", &["give your password once more"]);
        does("click", &["Add operator"]);
        does("fill", &["Your password", "not the password"]);
        does("click", &["Go on"]);
        does("sees", &["the password is wrong"]);
        browser.shoot("password-once-more").unwrap();
        let mut does = |deed: &str, words: &[&str]| browser.does(deed, words).unwrap();
        does("fill", &["Your password", PASSWORD]);
        does("click", &["Go on"]);
        does("sees", &["Eva"]);
        assert_eq!(ana_sees(scene), ["Ana", "Eva"]);

        // A token is shown once, and revoked.
        does("fill", &["What it is for", "backups"]);
        does("click", &["Make token"]);
        does("sees", &["The token for backups is shown once"]);
        browser.shoot("operators").unwrap();
        let mut does = |deed: &str, words: &[&str]| browser.does(deed, words).unwrap();
        does("click", &["Revoke"]);
        does("loses", &["Revoke"]);

        // Eva's password is one that Ana knows: she chooses another before she sees anything.
        does("click", &["Sign out"]);
        does("fill", &["Name", "Eva"]);
        does("fill", &["Password", ANOTHER]);
        does("click", &["Sign in"]);
        does("sees", &["Somebody else gave you your password"]);
        browser.shoot("choose-a-password").unwrap();
        let mut does = |deed: &str, words: &[&str]| browser.does(deed, words).unwrap();
        does("fill", &["Password that you were given", ANOTHER]);
        does("fill", &["New password, at least 12 characters", "only Eva would say it"]);
        does("click", &["Choose, and go on"]);
        does("sees", &["Observing: nothing is blocked yet"]);
    })
    .unwrap();
}

#[test]
fn a_viewer_sees_everything_and_changes_nothing_and_an_ended_session_is_asked_who_it_is() {
    Scene::set(&[], |scene| {
        let ana = scene.portal.first_operator().unwrap();
        scene.portal.operator(&ana, "Eva", "viewer").unwrap();
        let spain = json!({ "change": { "mode": "allow", "countries": ["ES"] } });
        ana.must("PUT", &format!("{HOST}/policy"), Some(&spain)).unwrap();
        assert!(!scene.reached());
        let mut browser = Browser::open(scene.portal.namespace()).unwrap();
        let mut does = |deed: &str, words: &[&str]| browser.does(deed, words).unwrap();
        does("open", &[&scene.portal.url]);
        does("fill", &["Name", "Eva"]);
        does("fill", &["Password", ANOTHER]);
        does("click", &["Sign in"]);
        does("sees", &["Protected: only 1 country may call"]);
        for (page, heading) in [
            ("Policy", "Countries"),
            ("Live", "Drops"),
            ("Exemptions", "Exemptions"),
            ("Bans", "Bans"),
        ] {
            does("go", &[page]);
            does("sees", &[heading]);
            for change in [
                "Apply, keep within 2:00",
                "Turn off",
                "Exempt",
                "Ban",
                "Restore, keep within 2:00",
                "Remove",
                "Make link",
            ] {
                does("lacks", &[change]);
            }
        }
        does("go", &["Settings"]);
        does("lacks", &["Add operator"]);
        does("lacks", &["Make token"]);

        // Her role ends with the session, wherever she is.
        ana.must("DELETE", "/api/v1/operators/Eva", None).unwrap();
        does("sees", &["Sign in"]);
        does("fill", &["Name", "Ana Popescu"]);
        for attempt in 0..7 {
            does("fill", &["Password", &format!("not the password {attempt}")]);
            does("click", &["Sign in"]);
            does(
                "sees",
                &[if attempt < 6 {
                    "the name or the password is wrong"
                } else {
                    "before you try again"
                }],
            );
        }
        browser.shoot("locked-out").unwrap();
    })
    .unwrap();
}
