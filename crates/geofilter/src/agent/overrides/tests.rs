//! Peers, which only a kernel learns, with a data plane that was told of one.

use geofilter_core::policy::Verdict;
use geofilter_core::wire::{DecidedBy, Request, Status, Why};

use super::*;
use crate::agent::engine::Answer;
use crate::agent::service::Pulse;
use crate::agent::{Settings, names};

const PEER: &str = "203.0.113.9:5080";

fn engine(dir: &std::path::Path) -> Engine {
    let mut engine =
        Engine::start(Settings::in_memory(dir), names::link().0, Pulse::new()).unwrap();
    ask(&mut engine, &enforce());
    let until = geofilter_core::desired::BootTime(clock::boot().0 + 7_200_000_000_000);
    engine.backend.set_peer(PEER.parse().unwrap(), until).unwrap();
    let ended = "203.0.113.10:5060".parse().unwrap();
    engine.backend.set_peer(ended, geofilter_core::desired::BootTime(1)).unwrap();
    engine
}

fn enforce() -> Request {
    serde_json::from_str(r#"{"command":"enforce","change":{"mode":"allow","countries":["ES"]}}"#)
        .unwrap()
}

fn ask(engine: &mut Engine, request: &Request) -> Reply {
    match engine.answer(request.clone()) {
        Answer::Reply(Reply::Error(failure)) => panic!("{failure:?}"),
        Answer::Reply(reply) => reply,
        Answer::Log { .. } => panic!("a log"),
    }
}

fn why(engine: &mut Engine) -> Why {
    let address = "203.0.113.9".parse().unwrap();
    match ask(engine, &Request::Why { address, port: None, protocol: None }) {
        Reply::Why(why) => *why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_peer_is_listed_protected_and_named_until_it_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let mut engine = engine(dir.path());
    let Reply::Peers(peers) = ask(&mut engine, &Request::Peers) else { panic!("no peers") };
    assert_eq!(peers.peers.len(), 1, "one has ended");
    assert_eq!(peers.peers[0].peer, PEER.parse().unwrap());
    assert!(peers.peers[0].remaining.is_some_and(|left| (7_100..=7_200).contains(&left)));
    let Reply::Status(status) = ask(&mut engine, &Request::Status) else { panic!("no status") };
    let Status { counts, .. } = *status;
    assert_eq!(counts.peers, 1);
    let found = why(&mut engine);
    assert_eq!((found.verdict, found.reason), (Some(Verdict::Pass), Some(Reason::Peer)));
    assert!(
        matches!(found.decided_by, Some(DecidedBy::Peer(peer)) if peer.peer == PEER.parse().unwrap())
    );
    let protected = Request::Protected { address: "203.0.113.9".parse().unwrap() };
    let Reply::Protected(answer) = ask(&mut engine, &protected) else { panic!("no answer") };
    assert_eq!((answer.protected, answer.because[0].reason), (true, Reason::Peer));
    let removal = Request::RemovePeer { peer: PEER.parse().unwrap() };
    assert!(matches!(ask(&mut engine, &removal), Reply::Noted(noted) if noted.removed == [PEER]));
    assert_eq!(why(&mut engine).reason, Some(Reason::Unknown));
    let Reply::Protected(answer) = ask(&mut engine, &protected) else { panic!("no answer") };
    assert!(!answer.protected);
}

#[test]
fn a_ban_of_a_peer_is_taken_and_said_to_be_in_vain() {
    let dir = tempfile::tempdir().unwrap();
    let mut engine = engine(dir.path());
    let ban = |target: &str, origin| Request::Add {
        kind: Kind::Ban,
        targets: vec![target.to_owned()],
        seconds: None,
        note: String::new(),
        origin,
    };
    let mut warnings = |target, origin| match ask(&mut engine, &ban(target, origin)) {
        Reply::Noted(noted) => noted.warnings,
        other => panic!("{other:?}"),
    };
    for target in ["203.0.113.9", "203.0.113.0/24"] {
        let said = warnings(target, Origin::Operator);
        assert!(said.len() == 1 && said[0].contains(PEER), "{said:?}");
    }
    assert!(warnings("203.0.113.10", Origin::Operator).is_empty());
    assert_eq!(why(&mut engine).reason, Some(Reason::Peer));
}
