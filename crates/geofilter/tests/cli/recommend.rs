//! `recommend --log`, on the logs that `preview --log` is tried on.

use serde_json::{Value, json};

use super::logs::{flood, sample};
use super::support::{Place, text};

fn recommend(logs: &[&str]) -> Value {
    Place::new().json(&[&["recommend", "--log"], logs].concat())
}

/// Counted by hand: `grep SuccessfulAuth`, by account and address with `sort | uniq -c`, and the country of each
/// address by `geofilter geodb lookup`, says 4 logins from Spain (1001, 1011), 4 from Portugal (1002, 1012), 3 from
/// France (1003, 1013), 3 from Italy (1006, 1016), 2 from each of the Netherlands and Austria, 1 from each of
/// Germany and Britain. None is of a hosting network. None of the 91 attempts (see `logs`) is from the first four.
#[test]
fn a_recommendation_rests_on_the_figures_of_a_hand_count() {
    let told = recommend(&[&sample("asterisk-mixed.log")]);
    assert_eq!(told["schema"], 1);
    assert_eq!(told["proposal"]["action"], "allow");
    assert_eq!(told["proposal"]["countries"], json!(["ES", "FR", "IT", "PT"]));
    assert_eq!(told["attempts"], json!({"total": 91, "dropped": 91}));
    assert_eq!(told["logins"], json!({"total": 20, "dropped": 6}));
    let of = |country: &str| {
        let rows = told["countries"].as_array().unwrap();
        let row = rows.iter().find(|row| row["country"] == country).unwrap();
        let number = |name: &str| row[name].as_u64().unwrap();
        (
            row["role"].as_str().unwrap().to_owned(),
            number("logins"),
            number("accounts"),
            number("attempts"),
        )
    };
    assert_eq!(of("ES"), ("home".to_owned(), 4, 2, 0));
    assert_eq!(of("FR"), ("home".to_owned(), 3, 2, 0));
    assert_eq!(of("NL"), ("undecided".to_owned(), 2, 1, 3));
    assert_eq!(of("RU"), ("attacking".to_owned(), 0, 0, 25));
    let undecided = told["undecided"].as_array().unwrap();
    let undecided: Vec<_> = undecided.iter().map(|it| it["country"].as_str().unwrap()).collect();
    assert_eq!(undecided, ["AT", "NL", "DE", "GB"]);
    let commands = ["geofilter allow ES FR IT PT --confirm-within 10m", "geofilter confirm"];
    assert_eq!(told["commands"], json!(commands));
    assert_eq!(told["since"], "2026-11-22T08:50:44.04Z");
}

#[test]
fn the_words_end_with_what_to_run() {
    let output = Place::new().run(&["recommend", "--log", &sample("asterisk-mixed.log")]);
    let said = text(&output.stdout);
    assert!(output.status.success() && output.stderr.is_empty(), "{}", text(&output.stderr));
    // A country that somebody visits is proposed for two weeks from now on.
    let until = said.split("--until ").nth(1).unwrap().split(' ').next().unwrap();
    insta::assert_snapshot!(said.replace(until, "IN-2-WEEKS"));
    // What it says is what `preview` says of the same policy.
    let previewed =
        super::logs::preview(&["allow", "ES", "FR", "IT", "PT"], &[&sample("asterisk-mixed.log")]);
    assert_eq!(previewed["attempts"], json!({"total": 91, "dropped": 91}));
    assert_eq!(previewed["log"]["logins"], json!({"total": 20, "dropped": 6}));
}

#[test]
fn without_logins_it_observes_first() {
    let told = recommend(&[&sample("asterisk-short.log")]);
    assert_eq!(told["proposal"]["action"], "observe");
    assert_eq!(told["commands"], json!(["geofilter observe"]));
    assert_eq!(told["proposal"]["countries"], json!(["RU", "UA"]));
    assert_eq!(told["attempts"], json!({"total": 29, "dropped": 29}));
    let local = recommend(&[&sample("asterisk-security.log")]);
    assert_eq!(local["seen"]["local_logins"], 2);
    assert!(local["proposal"]["why"].as_str().unwrap().contains("local addresses"));
    let place = Place::new();
    let said = place.refused(1, &["recommend", "--log", "/nonexistent"]);
    assert!(said.contains("cannot read the log /nonexistent"), "{said}");
    place.refused(2, &["recommend", "--log", "x", "--config", "y"]);
}

#[test]
fn memory_does_not_grow_with_a_log() {
    let (told, peak) = flood(&["recommend", "--json", "--log", "-"]);
    assert!(told["attempts"]["total"].as_u64().unwrap() > 300_000, "{}", told["attempts"]);
    assert!(peak <= 64 << 10, "{peak} KiB");
}
