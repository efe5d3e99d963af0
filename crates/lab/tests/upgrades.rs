//! Promise 10: an upgrade from another build, and back, during calls and an attack. `make upgrade` builds both.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

use geofilter_lab::ordeal::{costs_nothing, dropped};
use geofilter_lab::process::{Agent, binary};
use rustix::process::Signal;

/// The build before.
fn previous() -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/previous/geofilter");
    assert!(path.is_file(), "there is no {}: run `make upgrade`", path.display());
    path
}

/// What a package does: the new program is in its place, and the service is restarted. How many drops are not counted any more:
/// one that lays the tables out in another way begins at zero.
fn put(agent: &mut Agent<'_>, program: &Path) -> u64 {
    let before = dropped(agent);
    agent.signal(Signal::TERM).unwrap();
    agent.wait_for_the_end().unwrap();
    agent.with_program(program).restart(None).unwrap();
    if dropped(agent) < before { before } else { 0 }
}

#[test]
fn to_this_build_and_back_nobody_gets_in_and_no_call_loses_a_packet() {
    let (previous, new) = (previous(), binary().unwrap());
    for backend in ["xdp", "tc", "clsact"] {
        costs_nothing(
            backend,
            |agent| agent.with_program(&previous).restart(None).unwrap(),
            |agent| {
                let before = agent.json(&["status"]).unwrap();
                let mut counted = 0;
                for program in [&new, &previous, &new] {
                    counted += put(agent, program);
                    let after = agent.json(&["status"]).unwrap();
                    for kept in ["state", "mode", "countries", "attachments"] {
                        assert_eq!(before[kept], after[kept], "{backend}: {kept}");
                    }
                }
                counted
            },
        );
    }
}
