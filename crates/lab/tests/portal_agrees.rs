//! Whatever is done in whatever order, at the portal or in the shell of the host: portal, agent and kernel are of one mind.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use geofilter_lab::portal::{Client, HOST, Scene};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

/// Sequences, and the deeds of each at most.
const SEQUENCES: u32 = 12;
const LONGEST: usize = 12;

/// What somebody does.
#[derive(Debug, Clone)]
enum Deed {
    Enforce { allow: bool, china: bool, within: Option<u64> },
    InShell { china: bool },
    Simple(&'static str),
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let enforce = (any::<bool>(), any::<bool>(), prop::option::of(Just(120)))
        .prop_map(|(allow, china, within)| Deed::Enforce { allow, china, within });
    let simple = prop::sample::select(vec![
        "observe", "pause", "resume", "confirm", "revert", "off", "confirm", "revert",
    ]);
    let deed = prop_oneof![
        4 => enforce,
        1 => any::<bool>().prop_map(|china| Deed::InShell { china }),
        5 => simple.prop_map(Deed::Simple),
    ];
    prop::collection::vec(deed, 1..LONGEST)
}

#[test]
fn portal_agent_and_kernel_are_of_one_mind_after_any_sequence_of_deeds() {
    let mut runner = TestRunner::new(Config {
        cases: SEQUENCES,
        failure_persistence: None,
        max_shrink_iters: 8,
        ..Config::default()
    });
    let run = runner.run(&deeds(), |deeds| {
        Scene::set(&[], |scene| {
            let ana = scene.portal.first_operator().unwrap();
            for deed in &deeds {
                act(scene, &ana, deed);
                agree(scene, &ana, deed);
            }
        })
        .unwrap();
        Ok(())
    });
    run.unwrap();
}

fn act(scene: &Scene<'_>, ana: &Client<'_>, deed: &Deed) {
    let (method, path, body) = match deed {
        Deed::InShell { china } => {
            let countries: &[&str] = if *china { &["ES", "CN"] } else { &["ES"] };
            scene.agent.json(&[&["allow"], countries, &["--yes"]].concat()).unwrap();
            return;
        }
        Deed::Enforce { allow, china, within } => {
            // Spain is let in by all of them.
            let (mode, countries) = match (allow, china) {
                (true, true) => ("allow", json!(["ES", "CN"])),
                (true, false) => ("allow", json!(["ES"])),
                (false, true) => ("block", json!(["RU"])),
                (false, false) => ("block", json!(["RU", "CN"])),
            };
            let change = json!({ "mode": mode, "countries": countries });
            ("PUT", "policy", json!({ "change": change, "confirm_within": within }))
        }
        Deed::Simple("pause") => ("POST", "pause", json!({ "seconds": 600 })),
        Deed::Simple(what) => ("POST", *what, json!({})),
    };
    let answer = ana.send(method, &format!("{HOST}/{path}"), Some(&body)).unwrap();
    assert!(matches!(answer.status, 200 | 409 | 422), "{deed:?}: {}", answer.text);
}

fn agree(scene: &Scene<'_>, ana: &Client<'_>, deed: &Deed) {
    let told = ana.read(&format!("{HOST}/status")).unwrap();
    let agent = scene.agent.json(&["status"]).unwrap();
    let mind = |of: &Value| {
        ["state", "mode", "countries", "generation", "unknown", "hosting", "disputed"]
            .map(|field| of[field].clone())
    };
    assert_eq!(mind(&told), mind(&agent), "{deed:?}");
    let drops = matches!(told["state"].as_str().unwrap(), "enforcing" | "pending");
    let chosen = told["countries"].as_array().unwrap().contains(&json!("CN"));
    let passes = !drops || chosen == (told["mode"] == "allow");
    assert_eq!(scene.reached(), passes, "{deed:?}: {told}");
}
