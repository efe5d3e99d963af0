//! Which crate may use which: `core` uses none of ours, nothing but the binary joins the root edge and
//! the rest, nobody uses the lab or the targets of hostile input, and what compiles BPF programs serves build scripts.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// Every crate, with the crates of ours that it may use, in its tests too.
const ALLOWED: [(&str, &[&str]); 11] = [
    ("bpf-compile", &[]),
    ("geofilter-cluster", &[]),
    ("geofilter-core", &[]),
    ("geofilter-dataplane", &["bpf-compile", "geofilter-core"]),
    ("geofilter-fleet", &["geofilter-core"]),
    (
        "geofilter-portal",
        &["geofilter-cluster", "geofilter-core", "geofilter-fleet", "geofilter-reach"],
    ),
    ("geofilter-reach", &[]),
    ("geofilter-update", &["geofilter-core", "geofilter-reach"]),
    (
        "geofilter",
        &[
            "geofilter-core",
            "geofilter-dataplane",
            "geofilter-fleet",
            "geofilter-portal",
            "geofilter-reach",
            "geofilter-update",
        ],
    ),
    (
        "geofilter-hostile",
        &[
            "geofilter",
            "geofilter-core",
            "geofilter-dataplane",
            "geofilter-fleet",
            "geofilter-portal",
            "geofilter-update",
        ],
    ),
    (
        "geofilter-lab",
        &[
            "bpf-compile",
            "geofilter-cluster",
            "geofilter-core",
            "geofilter-dataplane",
            "geofilter-fleet",
        ],
    ),
];

/// Crates that speak to a network, a disk or a clock, which `core` must not.
const IMPURE: [&str; 7] = ["aya", "libc", "rusqlite", "rustix", "tokio", "jiff", "tracing"];

/// Every crate of the workspace, with everything it depends on directly.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--locked", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let name = |value: &Value| value["name"].as_str().unwrap().to_owned();
    let packages = metadata["packages"].as_array().unwrap().iter();
    packages
        .map(|package| {
            let dependencies = package["dependencies"].as_array().unwrap();
            (name(package), dependencies.iter().map(name).collect())
        })
        .collect()
}

#[test]
fn crates_use_only_those_they_may() {
    let dependencies = dependencies();
    let ours: BTreeSet<_> = dependencies.keys().cloned().collect();
    assert!(ours.contains("geofilter") && ours.contains("geofilter-core"), "{ours:?}");
    for (name, used) in &dependencies {
        let allowed = ALLOWED.iter().find(|(allowed, _)| allowed == name);
        let (_, allowed) = allowed.unwrap_or_else(|| panic!("{name} is not in ALLOWED: add it"));
        for used in used.intersection(&ours) {
            assert!(allowed.contains(&used.as_str()), "{name} must not use {used}");
        }
    }
}

#[test]
fn core_is_pure() {
    let core = &dependencies()["geofilter-core"];
    let impure: Vec<_> = IMPURE.iter().filter(|name| core.contains(**name)).collect();
    assert!(impure.is_empty(), "core must not use {impure:?}");
}
