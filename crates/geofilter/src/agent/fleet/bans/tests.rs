use std::path::Path;

use geofilter_core::wire::{Membership, Reply, Request};

use super::*;
use crate::agent::engine::Answer;
use crate::agent::service::Pulse;
use crate::agent::{Settings, names};

const HOUR: u64 = 3_600;
const ONE: &str = "198.51.100.7/32";
const OTHER: &str = "2a00:1:2:3::/64";

/// The agent of a host that is one of a portal, and speaks to it by nobody.
fn engine(dir: &Path) -> Engine {
    let mut engine =
        Engine::start(Settings::in_memory(dir), names::link().0, Pulse::new()).unwrap();
    let enforce = r#"{"command":"enforce","change":{"mode":"allow","countries":["ES"]}}"#;
    ask(&mut engine, serde_json::from_str(enforce).unwrap());
    let text = String::new;
    engine.fleet.membership = Some(Membership {
        portal: "https://portal.example.net".to_owned(),
        host: 7,
        authority: text(),
        certificate: text(),
        key: text(),
        until: 0,
    });
    engine.fleet.bans = Sharing::open(&engine.fleet.dir, &mut Vec::new());
    engine
}

fn ask(engine: &mut Engine, request: Request) {
    match engine.answer(request) {
        Answer::Reply(Reply::Error(failure)) => panic!("{failure:?}"),
        Answer::Reply(_) => {}
        other @ Answer::Log { .. } => panic!("{other:?}"),
    }
}

fn add(engine: &mut Engine, kind: Kind, target: &str, seconds: Option<u64>) {
    let (targets, note) = (vec![target.to_owned()], String::new());
    ask(engine, Request::Add { kind, targets, seconds, note, origin: Origin::Operator });
}

fn remove(engine: &mut Engine, kind: Kind, target: &str) {
    ask(engine, Request::Remove { kind, targets: vec![target.to_owned()], origin: None });
}

fn ban(target: &str, lasts: u64) -> SharedBan {
    let until = ledger::unix_now().plus(lasts).0;
    let target = target.parse().unwrap();
    SharedBan { target, until, proven: true, hosts: 1, why: "jail asterisk".to_owned() }
}

fn change(put: &[SharedBan]) -> SharedBans {
    SharedBans { part: Part::Change, put: put.to_vec(), withdrawn: Vec::new() }
}

fn all(put: &[SharedBan]) -> SharedBans {
    SharedBans { part: Part::Whole, ..change(put) }
}

/// The fleet's bans that are here.
fn here(engine: &Engine) -> Vec<String> {
    shared(&engine.ledger.book).filter_map(|target| Some(target.prefix()?.to_string())).collect()
}

const NONE: [&str; 0] = [];

#[test]
fn what_is_shared_is_had_until_it_ends_is_withdrawn_or_is_not_there_any_more() {
    let dir = tempfile::tempdir().unwrap();
    let mut engine = engine(dir.path());
    engine.take_bans(change(&[ban(ONE, HOUR), ban(OTHER, HOUR)]));
    assert_eq!(here(&engine), [ONE, OTHER]);
    let record = engine.ledger.book.records(Kind::Ban).next().unwrap();
    assert_eq!(record.note.as_str(), "proven on a host: jail asterisk");
    // Nothing of it is said again: it is others'.
    assert!(engine.fleet.bans.kept.made.is_empty());
    let withdrawn = vec![ONE.parse().unwrap()];
    engine.take_bans(SharedBans { part: Part::Change, put: Vec::new(), withdrawn });
    assert_eq!(here(&engine), [OTHER]);
    engine.take_bans(all(&[ban(ONE, HOUR)]));
    assert_eq!(here(&engine), [ONE]);
    // In several lines: what came before the last one counts.
    let part = |part, put: &[SharedBan]| SharedBans { part, ..change(put) };
    engine.take_bans(part(Part::First, &[ban(ONE, HOUR)]));
    engine.take_bans(part(Part::Next, &[ban(OTHER, HOUR)]));
    engine.take_bans(part(Part::Last, &[ban("192.0.2.1/32", HOUR)]));
    assert_eq!(here(&engine).len(), 3);
    engine.take_bans(part(Part::Last, &[]));
    assert_eq!(here(&engine).len(), 3, "its beginning was not heard");
    // Another start of the agent has them.
    drop(engine);
    let mut engine = self::engine(dir.path());
    assert_eq!(here(&engine).len(), 3);
    engine.leave_fleet().unwrap();
    assert_eq!(here(&engine), NONE);
}

#[test]
fn a_portal_can_have_nobody_banned_who_is_protected_nor_for_long_nor_widely() {
    let dir = tempfile::tempdir().unwrap();
    let mut engine = engine(dir.path());
    let until = geofilter_core::desired::BootTime(u64::MAX / 2);
    engine.backend.set_peer("192.0.2.9:5060".parse().unwrap(), until).unwrap();
    engine.backend.set_peer("[2a00:1:2:3::9]:5060".parse().unwrap(), until).unwrap();
    add(&mut engine, Kind::Exemption, "198.51.0.0/16", None);
    let wide = ["0.0.0.0/0", "64.0.0.0/8", "2a00::/16", "10.0.0.1/32", "127.0.0.1/32"];
    let protected = [ONE, OTHER, "192.0.2.9/32"];
    let lies: Vec<_> = wide.iter().chain(&protected).map(|it| ban(it, HOUR)).collect();
    engine.take_bans(all(&lies));
    assert_eq!(here(&engine), NONE);
    engine.take_bans(all(&[ban("192.0.2.1/32", u64::MAX / 2)]));
    let until = engine.ledger.book.records(Kind::Ban).next().unwrap().until.unwrap();
    assert!(until <= ledger::unix_now().plus(LONGEST_PROVEN));
    // Who is protected from now on is free at once, whether the portal is heard or not.
    add(&mut engine, Kind::Exemption, "192.0.2.0/24", None);
    engine.look_whom_it_protects();
    assert_eq!(here(&engine), NONE);
}

#[test]
fn whom_somebody_here_set_free_is_not_banned_again_until_that_was_to_end() {
    let dir = tempfile::tempdir().unwrap();
    let mut engine = engine(dir.path());
    engine.take_bans(all(&[ban(ONE, HOUR), ban(OTHER, HOUR)]));
    remove(&mut engine, Kind::Ban, "198.51.100.7");
    assert_eq!(here(&engine), [OTHER]);
    engine.take_bans(all(&[ban(ONE, HOUR), ban(OTHER, HOUR)]));
    engine.take_bans(change(&[ban(ONE, HOUR)]));
    assert_eq!(here(&engine), [OTHER]);
    drop(engine);
    let mut engine = self::engine(dir.path());
    engine.take_bans(all(&[ban(ONE, HOUR), ban(OTHER, HOUR)]));
    assert_eq!(here(&engine), [OTHER]);
    let declined = &mut engine.fleet.bans.kept.declined;
    declined.values_mut().for_each(|until| *until = ledger::unix_now());
    engine.take_bans(change(&[ban(ONE, HOUR)]));
    assert_eq!(here(&engine), [ONE, OTHER]);
}

#[test]
fn what_was_made_here_is_said_until_it_is_written_down_also_by_the_next_agent() {
    let dir = tempfile::tempdir().unwrap();
    let mut engine = engine(dir.path());
    for (target, seconds) in
        [("198.51.100.7", Some(HOUR)), ("192.0.2.0/24", Some(HOUR)), ("192.0.2.9", None)]
    {
        add(&mut engine, Kind::Ban, target, seconds);
    }
    // Of these one is of a single source, and ends.
    engine.look_whom_it_protects();
    let next = engine.fleet.bans.next();
    assert_eq!(next.made.len(), 1);
    assert_eq!((next.made[0].target.to_string().as_str(), next.made[0].proven), (ONE, true));
    let said = engine.fleet.bans.say(next);
    assert!(engine.fleet.bans.next().is_empty(), "it is on its way");
    assert!(!engine.fleet.bans.noted(said.number + 1));
    // Nobody wrote it down: the next agent, and the next connection, say it again.
    drop(engine);
    let mut engine = self::engine(dir.path());
    engine.look_whom_it_protects();
    let next = engine.fleet.bans.next();
    assert_eq!(next.made, said.bans.made);
    let said = engine.fleet.bans.say(next);
    engine.fleet.bans.begin();
    let next = engine.fleet.bans.next();
    assert_eq!(next, said.bans);
    let said = engine.fleet.bans.say(next);
    assert!(engine.fleet.bans.noted(said.number));
    assert!(engine.fleet.bans.next().is_empty());
    // As many wait as there is room for.
    for at in 0..300 {
        add(&mut engine, Kind::Ban, &format!("198.51.{}.{}", 101 + at / 200, at % 200), Some(60));
    }
    assert_eq!(engine.fleet.bans.kept.made.len(), UNSAID);
    assert_eq!(engine.fleet.bans.next().made.len(), MADE);
}

#[test]
fn whom_it_protects_is_said_when_there_are_more_and_later_when_there_are_fewer() {
    let dir = tempfile::tempdir().unwrap();
    let mut engine = engine(dir.path());
    let said = |engine: &mut Engine| {
        engine.look_whom_it_protects();
        let next = engine.fleet.bans.next();
        let protects = next.protects.clone();
        if !next.is_empty() {
            let said = engine.fleet.bans.say(next);
            engine.fleet.bans.noted(said.number);
        }
        protects.map(|protects| protects.prefixes.len())
    };
    assert_eq!(said(&mut engine), Some(0), "that there is nobody is said too");
    assert_eq!(said(&mut engine), None);
    add(&mut engine, Kind::Exemption, "192.0.2.0/24", None);
    add(&mut engine, Kind::Exemption, "198.51.100.7", None);
    assert_eq!(said(&mut engine), Some(2));
    // Both still are, beside what they are in and is too wide to be kept from all.
    add(&mut engine, Kind::Exemption, "192.0.0.0/8", None);
    assert_eq!(said(&mut engine), Some(2));
    remove(&mut engine, Kind::Exemption, "192.0.0.0/8");
    remove(&mut engine, Kind::Exemption, "198.51.100.7");
    assert_eq!(said(&mut engine), None);
    let told = engine.fleet.bans.told.take().unwrap();
    engine.fleet.bans.told = Some((told.0, told.1.checked_sub(PATIENCE).unwrap()));
    assert_eq!(said(&mut engine), Some(1));
}

#[test]
fn bans_of_others_push_out_none_of_its_own_and_wait_for_room() {
    let dir = tempfile::tempdir().unwrap();
    let mut engine = engine(dir.path());
    let full = MAX_ADDRESS_BANS - LEFT;
    let own = |at: usize| {
        let at = u32::try_from(at).unwrap();
        let target = Target::of_prefix(IpNet::from(std::net::IpAddr::from(
            (0x4000_0000 + at).to_be_bytes(),
        )));
        let (origin, note) = (Origin::Fail2ban, Note::default());
        let added = ledger::unix_now();
        Record { target, origin, until: Some(added.plus(HOUR)), note, added }
    };
    let put = |record| Edit::Put { kind: Kind::Ban, record };
    engine.ledger.book.replay((0..full - 1).map(own).map(put).collect());
    engine.take_bans(all(&[ban(ONE, HOUR), ban(OTHER, HOUR)]));
    assert_eq!(here(&engine), [ONE]);
    let warning = engine.fleet.warning().unwrap();
    assert!(warning.contains("1 of them"), "{warning}");
    // This host's own still have room.
    add(&mut engine, Kind::Ban, "192.0.2.1", Some(HOUR));
    engine.look_whom_it_protects();
    assert_eq!(here(&engine), [ONE]);
    let ended = own(0).target;
    let removal = engine.ledger.book.removal(Kind::Ban, &ended, None);
    engine.ledger.book.replay(removal);
    remove(&mut engine, Kind::Ban, "192.0.2.1");
    engine.look_whom_it_protects();
    assert_eq!(here(&engine), [ONE, OTHER]);
    assert_eq!(engine.fleet.warning(), None);
}

#[test]
fn a_host_that_wants_no_part_has_none_and_says_none() {
    let dir = tempfile::tempdir().unwrap();
    let mut engine = engine(dir.path());
    engine.take_bans(all(&[ban(ONE, HOUR)]));
    engine.settings.shares_bans = false;
    engine.look_whom_it_protects();
    assert_eq!(here(&engine), NONE);
    engine.take_bans(all(&[ban(ONE, HOUR)]));
    add(&mut engine, Kind::Ban, "192.0.2.1", Some(HOUR));
    assert_eq!(here(&engine), NONE);
    assert!(engine.fleet.bans.kept.made.is_empty());
    // Whom it protects the others spare all the same.
    add(&mut engine, Kind::Exemption, "192.0.2.0/24", None);
    engine.look_whom_it_protects();
    assert_eq!(engine.fleet.bans.next().protects.unwrap().prefixes.len(), 1);
}
