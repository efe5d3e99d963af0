use geofilter_core::fail2ban::SHORT;
use geofilter_core::wire::{Records, Request};

use super::*;
use crate::agent::engine::Answer;
use crate::agent::service::Pulse;
use crate::agent::{Settings, clock, names};

const DAY: u64 = 86_400;
const PEER: &str = "203.0.113.9:5080";

fn engine(dir: &std::path::Path) -> Engine {
    let mut engine =
        Engine::start(Settings::in_memory(dir), names::link().0, Pulse::new()).unwrap();
    let enforce = r#"{"command":"enforce","change":{"mode":"allow","countries":["ES"]}}"#;
    let Answer::Reply(Reply::Changed(_)) = engine.answer(serde_json::from_str(enforce).unwrap())
    else {
        panic!("not enforced")
    };
    let until = geofilter_core::desired::BootTime(clock::boot().0 + 7_200_000_000_000);
    engine.backend.set_peer(PEER.parse().unwrap(), until).unwrap();
    engine.backend.set_peer("[2001:db8:0:5::9]:5060".parse().unwrap(), until).unwrap();
    engine
}

fn ask(engine: &mut Engine, ask: Ask) -> Result<Noted, Failure> {
    match engine.answer(Request::Fail2ban { ask }) {
        Answer::Reply(Reply::Noted(noted)) => Ok(noted),
        Answer::Reply(Reply::Error(failure)) => Err(failure),
        other => panic!("{other:?}"),
    }
}

/// A ban that begins now.
fn ban(address: &str, jail: &str, lasts: u64, proven: bool) -> Ask {
    let until = Some(ledger::unix_now().plus(lasts));
    let jail = jail.parse().unwrap();
    Ask::Ban { address: address.parse().unwrap(), jail, began: None, until, proven }
}

fn unban(address: &str, lasts: u64) -> Ask {
    let until = Some(ledger::unix_now().plus(lasts));
    Ask::Unban { address: address.parse().unwrap(), until }
}

/// The bans with the seconds they have left.
fn bans(engine: &Engine) -> Vec<(String, u64)> {
    let Ok(Reply::Records(Records { records, .. })) = engine.list(Kind::Ban, &[]) else {
        panic!("no list")
    };
    records.into_iter().map(|record| (record.target, record.remaining.unwrap())).collect()
}

fn holds(engine: &Engine, target: &str, seconds: u64) -> bool {
    let bans = bans(engine);
    let near = |left: u64| (seconds.saturating_sub(5)..=seconds).contains(&left);
    bans.iter().any(|(banned, left)| banned == target && near(*left))
}

#[test]
fn a_proven_ban_lasts_as_long_as_it_was_asked_for_and_a_spoofable_one_is_short() {
    let dir = tempfile::tempdir().unwrap();
    let mut engine = engine(dir.path());
    let noted = ask(&mut engine, ban("198.51.100.1", "asterisk", DAY, true)).unwrap();
    assert_eq!(noted.warnings, Vec::<String>::new());
    assert!(holds(&engine, "198.51.100.1", DAY));
    let noted = ask(&mut engine, ban("198.51.100.2", "asterisk", DAY, false)).unwrap();
    assert!(noted.warnings[0].contains("600 seconds only"), "{noted:?}");
    assert!(holds(&engine, "198.51.100.2", SHORT));
    ask(&mut engine, ban("198.51.100.3", "asterisk", 60, false)).unwrap();
    assert!(holds(&engine, "198.51.100.3", 60));
    // fail2ban was restarted: it does not begin anew.
    let now = ledger::unix_now();
    let restored = |ago: u64| Ask::Ban {
        address: "198.51.101.4".parse().unwrap(),
        jail: "asterisk".parse().unwrap(),
        began: Some(UnixTime(now.0 - ago)),
        until: Some(now.plus(DAY)),
        proven: false,
    };
    let noted = ask(&mut engine, restored(SHORT + 1)).unwrap();
    assert!(noted.added.is_empty(), "{noted:?}");
    ask(&mut engine, restored(SHORT - 100)).unwrap();
    assert!(holds(&engine, "198.51.101.4", 100));
}

#[test]
fn whoever_is_protected_is_not_banned_nor_is_the_network_around_him() {
    let dir = tempfile::tempdir().unwrap();
    let mut engine = engine(dir.path());
    for proven in [true, false] {
        for address in ["203.0.113.9", "::ffff:203.0.113.9", "10.0.0.1", "2001:db8:0:5::9"] {
            let noted = ask(&mut engine, ban(address, "asterisk", DAY, proven)).unwrap();
            assert!(noted.added.is_empty(), "{address}: {noted:?}");
            assert!(noted.warnings[0].contains("is not banned"), "{noted:?}");
        }
    }
    assert_eq!(bans(&engine), []);
    ask(&mut engine, ban("2001:db8:0:5::8", "asterisk", DAY, true)).unwrap();
    ask(&mut engine, ban("2001:db8:0:6::8", "asterisk", DAY, true)).unwrap();
    assert!(holds(&engine, "2001:db8:0:5::8/128", DAY), "{:?}", bans(&engine));
    assert!(holds(&engine, "2001:db8:0:6::/64", DAY));
    for address in ["2001:db8:0:5::8", "2001:db8:0:6::8"] {
        ask(&mut engine, unban(address, DAY)).unwrap();
    }
    assert_eq!(bans(&engine), []);
}

#[test]
fn of_several_bans_the_longest_counts_and_nothing_else_ends_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut engine = engine(dir.path());
    ask(&mut engine, ban("198.51.100.1", "recidive", 7 * DAY, true)).unwrap();
    ask(&mut engine, ban("198.51.100.1", "asterisk", DAY, true)).unwrap();
    assert!(holds(&engine, "198.51.100.1", 7 * DAY));
    let noted = ask(&mut engine, unban("198.51.100.1", DAY)).unwrap();
    assert!(noted.warnings[0].contains("stays banned"), "{noted:?}");
    assert!(holds(&engine, "198.51.100.1", 7 * DAY));
    // Nor does one that could be forged cut short one that is proven.
    ask(&mut engine, ban("198.51.100.2", "asterisk", DAY, true)).unwrap();
    let noted = ask(&mut engine, ban("198.51.100.2", "recidive", 7 * DAY, false)).unwrap();
    assert!(noted.warnings[0].contains("banned already"), "{noted:?}");
    assert!(holds(&engine, "198.51.100.2", DAY), "{:?}", bans(&engine));
    ask(&mut engine, unban("198.51.100.2", 7 * DAY)).unwrap();
    // Nor does it touch what a person banned.
    let target = ["198.51.100.1".to_owned()];
    engine.add(Kind::Ban, &target, Some(60), String::new(), Origin::Operator).unwrap();
    ask(&mut engine, unban("198.51.100.1", 7 * DAY)).unwrap();
    assert!(holds(&engine, "198.51.100.1", 60));
    assert_eq!(bans(&engine).len(), 1);
}

#[test]
fn a_jail_learns_that_a_ban_ended_early_and_bans_anew() {
    let dir = tempfile::tempdir().unwrap();
    let mut engine = engine(dir.path());
    let check = |jail: &str| Ask::Check { jail: jail.parse().unwrap() };
    let repair = |jail: &str| Ask::Repair { jail: jail.parse().unwrap() };
    // The budget of a network is spent, and the last of these bans never made.
    for host in 1..=5 {
        let address = format!("198.51.100.{host}");
        ask(&mut engine, ban(&address, "asterisk", DAY, false)).unwrap();
    }
    assert_eq!(bans(&engine).len(), 4);
    assert!(ask(&mut engine, check("other")).is_ok());
    let failure = ask(&mut engine, check("asterisk")).unwrap_err();
    assert!(failure.message.contains("ended early"), "{failure:?}");
    ask(&mut engine, repair("other")).unwrap();
    assert!(ask(&mut engine, check("asterisk")).is_err());
    ask(&mut engine, repair("asterisk")).unwrap();
    assert!(ask(&mut engine, check("asterisk")).is_ok());
    // The others end before the jail knows.
    for early in engine.bans.early.values_mut() {
        early.ends = UnixTime(ledger::unix_now().0 - 1);
    }
    assert!(ask(&mut engine, check("asterisk")).is_err());
    for host in 1..=4 {
        ask(&mut engine, unban(&format!("198.51.100.{host}"), DAY)).unwrap();
    }
    assert!(ask(&mut engine, check("asterisk")).is_ok());
}
