use geofilter_fleet::Said;

use super::*;
use crate::store::tests::{both, member};

/// A time at which an hour begins.
const NOW: i64 = 1_795_399_200_000;
const SECOND: i64 = 1_000;

fn made(target: &str, lasts: i64, proven: bool) -> MadeBan {
    let until = seconds(NOW + lasts);
    MadeBan { target: target.parse().unwrap(), until, proven, why: "asterisk".to_owned() }
}

fn said(host: HostId, bans: OfBans) -> Statement {
    Statement::of(host, Said { bans, ..Said::default() }, NOW)
}

async fn make(store: &Store, host: HostId, made: MadeBan, now: i64) -> bool {
    let bans = OfBans { made: vec![made], protects: None };
    store.note_bans(&[said(host, bans)], now).await.unwrap()
}

async fn protect(store: &Store, host: HostId, prefixes: &[&str], now: i64) -> bool {
    let prefixes = prefixes.iter().map(|prefix| prefix.parse().unwrap());
    let bans = OfBans { made: Vec::new(), protects: Some(Protected::of(prefixes)) };
    store.note_bans(&[said(host, bans)], now).await.unwrap()
}

async fn targets(store: &Store, now: i64) -> Vec<String> {
    let mut targets: Vec<_> =
        store.shared_bans(now).await.unwrap().into_iter().map(|ban| ban.target).collect();
    targets.sort();
    targets
}

async fn hosts(store: &Store) -> [HostId; 4] {
    let mut hosts = [HostId(0); 4];
    for (at, host) in hosts.iter_mut().enumerate() {
        *host = member(store, &format!("pbx-{at}")).await;
    }
    hosts
}

const ONE: &str = "198.51.100.7/32";
const OTHER: &str = "2a00:1:2:3::/64";

#[tokio::test]
async fn a_proven_ban_is_shared_at_once_for_as_long_as_it_lasts_and_a_day_at_most() {
    for store in both().await {
        let [a, b, ..] = hosts(&store).await;
        assert!(make(&store, a, made(ONE, 600 * SECOND, true), NOW).await);
        assert!(make(&store, b, made(OTHER, 90 * DAY, true), NOW).await);
        let shared = store.shared_bans(NOW).await.unwrap();
        let until = |target: &str| shared.iter().find(|ban| ban.target == target).unwrap().until;
        assert_eq!((until(ONE), until(OTHER)), (NOW + 600 * SECOND, NOW + DAY));
        assert_eq!((&*shared[0].name, shared[0].hosts, shared[0].proven), ("pbx-0", 1, true));
        // Nothing new is nothing to tell; what lasts longer is.
        assert!(!make(&store, b, made(ONE, 600 * SECOND, true), NOW).await);
        assert!(make(&store, b, made(ONE, 900 * SECOND, true), NOW).await);
        assert_eq!(store.shared_bans(NOW).await.unwrap()[0].hosts, 2);
        assert_eq!(targets(&store, NOW + 899 * SECOND).await.len(), 2);
        assert_eq!(targets(&store, NOW + 900 * SECOND).await, [OTHER]);
        assert_eq!(targets(&store, NOW + DAY).await, [""; 0]);
        assert!(!make(&store, a, made(ONE, 600 * SECOND, true), NOW + DAY).await, "it has ended");
    }
}

#[tokio::test]
async fn what_could_be_forged_counts_until_enough_hosts_made_it_within_an_hour() {
    for store in both().await {
        let [a, b, c, d] = hosts(&store).await;
        let spoofable = || made(ONE, 2 * HOUR, false);
        for host in [a, a, b, a] {
            assert!(!make(&store, host, spoofable(), NOW).await);
        }
        assert_eq!(store.counting(NOW).await.unwrap(), 1);
        // An hour later the first two do not count any more.
        assert!(!make(&store, c, spoofable(), NOW + HOUR).await);
        assert!(!make(&store, d, spoofable(), NOW + HOUR).await);
        assert!(make(&store, a, spoofable(), NOW + HOUR).await);
        let shared = store.shared_bans(NOW + HOUR).await.unwrap();
        assert_eq!((shared[0].hosts, shared[0].proven), (3, false));
        assert_eq!(shared[0].until, NOW + 2 * HOUR, "an hour and no more");
        assert_eq!(store.counting(NOW + HOUR).await.unwrap(), 0);
        // Proven, it is shared for longer.
        assert!(make(&store, b, made(ONE, DAY, true), NOW + HOUR).await);
        let shared = store.shared_bans(NOW + HOUR).await.unwrap();
        assert_eq!((shared[0].until, shared[0].proven), (NOW + DAY, true));
    }
}

#[tokio::test]
async fn whom_one_host_protects_is_banned_for_none_and_what_is_shared_is_withdrawn() {
    for store in both().await {
        let [a, b, c, _] = hosts(&store).await;
        assert!(!protect(&store, b, &["198.51.100.0/24", "2a00:1:2:3::9/128"], NOW).await);
        assert!(!make(&store, a, made(ONE, HOUR, true), NOW).await);
        assert!(!make(&store, a, made(OTHER, HOUR, true), NOW).await);
        assert_eq!(store.kept_back(NOW).await.unwrap().protected, 2);
        // Only the newest list of a host counts.
        assert!(!protect(&store, b, &["192.0.2.0/24"], NOW).await);
        assert!(make(&store, a, made(ONE, HOUR, true), NOW).await);
        assert!(make(&store, a, made(OTHER, HOUR, true), NOW).await);
        let number = store.sharing().await.unwrap().unwrap().bans;
        assert!(protect(&store, c, &["198.51.0.0/16"], NOW).await);
        assert_eq!(targets(&store, NOW).await, [OTHER]);
        let changed = store.shared_since(number).await.unwrap();
        assert_eq!((changed.len(), &*changed[0].target, changed[0].withdrawn), (1, ONE, true));
        // The same list said again is nothing new.
        assert!(!protect(&store, c, &["198.51.0.0/16"], NOW).await);
        // What no host may keep from all keeps nothing.
        let world = ["0.0.0.0/0", "::/0", "128.0.0.0/1", "2000::/3"];
        assert!(!protect(&store, c, &world, NOW).await);
        assert_eq!(store.unprotected().await.unwrap(), 4);
        assert!(make(&store, b, made(ONE, HOUR, true), NOW).await);
        assert_eq!(targets(&store, NOW).await.len(), 2);
    }
}

#[tokio::test]
async fn a_host_that_floods_has_its_budget_and_takes_nothing_of_another() {
    for store in both().await {
        let [a, b, c, _] = hosts(&store).await;
        let flood = |from: usize, many: usize| {
            let target = |at: usize| format!("198.51.{}.{}/32", 100 + at / 200, at % 200);
            let made = (from..from + many).map(|at| made(&target(at), HOUR, true)).collect();
            OfBans { made, protects: None }
        };
        for from in (0..2_000).step_by(32) {
            store.note_bans(&[said(a, flood(from, 32))], NOW).await.unwrap();
        }
        assert_eq!(targets(&store, NOW).await.len(), 60);
        assert_eq!(store.kept_back(NOW).await.unwrap().excess, 63 * 32 - 60);
        // One ban for longer and longer is no way around it.
        for longer in 1..200 {
            make(&store, b, made(OTHER, HOUR + longer * SECOND, true), NOW).await;
        }
        assert!(targets(&store, NOW).await.contains(&OTHER.to_owned()));
        assert_eq!(store.kept_back(NOW).await.unwrap().excess, 63 * 32 - 60 + 139);
        assert!(make(&store, c, made("192.0.2.1/32", HOUR, true), NOW).await);
        // In the next hour it may again.
        assert!(make(&store, a, made("192.0.2.2/32", 2 * HOUR, true), NOW + HOUR).await);
        assert_eq!(store.kept_back(NOW + DAY + HOUR).await.unwrap(), KeptBack::default());
    }
}

#[tokio::test]
async fn of_one_host_and_of_all_no_more_are_shared_than_fit() {
    for store in both().await {
        let [a, b, ..] = hosts(&store).await;
        let fill = async |host: HostId, from: i64, many: i64| {
            for at in from..from + many {
                let target = format!("203.{}.{}.{}/32", at / 65536, at / 256 % 256, at % 256);
                run!(
                    store,
                    sqlx::query(
                        "INSERT INTO shared_ban (target, since, until, proven, hosts, host, why, changed)
                         VALUES ($1, $2, $3, TRUE, 1, $4, '', 0)"
                    )
                    .bind(&target)
                    .bind(NOW)
                    .bind(NOW + DAY)
                    .bind(host.0)
                )
                .unwrap();
            }
        };
        fill(a, 0, 512).await;
        assert!(!make(&store, a, made(ONE, HOUR, true), NOW).await);
        assert_eq!(store.kept_back(NOW).await.unwrap().excess, 1);
        assert!(make(&store, b, made(ONE, HOUR, true), NOW).await);
        fill(a, 512, 4096 - 512 - 1).await;
        assert!(!make(&store, b, made(OTHER, HOUR, true), NOW).await);
        assert_eq!(store.kept_back(NOW).await.unwrap().unfit, 1);
        // What is shared may last longer all the same.
        assert!(make(&store, b, made(ONE, 2 * HOUR, true), NOW).await);
    }
}

#[tokio::test]
async fn hosts_of_one_organisation_leave_room_for_those_of_others() {
    for store in both().await {
        let [a, b, c, _] = hosts(&store).await;
        let other = store.add_tenant("Customer").await.unwrap().unwrap();
        let group = store.add_group(other, "Theirs").await.unwrap().unwrap();
        let shared = async |many: i64| {
            let query = "INSERT INTO ban_budget (host, hour, shared) VALUES ($1, $2, $3)
                         ON CONFLICT (host, hour) DO UPDATE SET shared = excluded.shared";
            for of in [b, c] {
                run!(store, sqlx::query(query).bind(of.0).bind(NOW / HOUR).bind(many / 2)).unwrap();
            }
        };
        // As long as there is no other one all is theirs.
        shared(1_024).await;
        assert!(make(&store, a, made(ONE, HOUR, true), NOW).await);
        assert!(store.move_host(1, a, group, 1).await.unwrap());
        assert!(make(&store, a, made(ONE, 2 * HOUR, true), NOW).await, "it is another's by now");
        let [d, ..] = hosts(&store).await;
        assert!(!make(&store, d, made(OTHER, HOUR, true), NOW).await);
        assert_eq!(store.kept_back(NOW).await.unwrap().excess, 1);
        shared(1_022).await;
        // Those that are decided together count too.
        let bans = || {
            let made = ["192.0.2.1/32", "192.0.2.2/32", "192.0.2.3/32"];
            let made = made.map(|target| self::made(target, HOUR, true)).to_vec();
            OfBans { made, protects: None }
        };
        assert!(store.note_bans(&[said(d, bans())], NOW).await.unwrap());
        assert_eq!(targets(&store, NOW).await, ["192.0.2.1/32", "192.0.2.2/32", ONE]);
        assert!(make(&store, a, made(OTHER, HOUR, true), NOW).await, "the other one has room");
    }
}

#[tokio::test]
async fn however_many_organisations_there_are_there_is_room_for_another() {
    for store in both().await {
        let [a, b, c, _] = hosts(&store).await;
        for of in [b, c] {
            let tenant = store.add_tenant(&format!("Of {of}")).await.unwrap().unwrap();
            let group = store.add_group(tenant, "Theirs").await.unwrap().unwrap();
            assert!(store.move_host(1, of, group, 1).await.unwrap());
        }
        let full = "WITH RECURSIVE place (number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM place WHERE number < $2)
                    INSERT INTO shared_ban (target, since, until, proven, hosts, host, why, changed)
                    SELECT '198.18.' || $1 || '.' || number, 0, $3, TRUE, 1, $1, '', 1 FROM place";
        // Two have a third each, and leave one.
        for (of, many) in [(a, 1_366), (b, 1_365)] {
            run!(store, sqlx::query(full).bind(of.0).bind(many).bind(NOW + DAY)).unwrap();
        }
        for (of, has_room) in [(a, false), (b, false), (c, true)] {
            let proven = made(&format!("192.0.2.{}/32", of.0 % 200), HOUR, true);
            assert_eq!(make(&store, of, proven, NOW).await, has_room);
        }
    }
}

#[tokio::test]
async fn what_an_operator_withdraws_or_a_revoked_host_said_is_shared_no_more() {
    for store in both().await {
        let [a, b, c, _] = hosts(&store).await;
        assert!(!store.withdraw(ONE.parse().unwrap(), NOW).await.unwrap());
        make(&store, a, made(ONE, DAY, true), NOW).await;
        make(&store, b, made(OTHER, DAY, true), NOW).await;
        assert!(store.withdraw(ONE.parse().unwrap(), NOW).await.unwrap());
        assert!(!make(&store, c, made(ONE, DAY, true), NOW + HOUR).await);
        assert_eq!(targets(&store, NOW + HOUR).await, [OTHER]);
        let later = NOW + DAY;
        assert!(make(&store, c, made(ONE, DAY + HOUR, true), later).await, "a day is over");

        let number = store.sharing().await.unwrap().unwrap().bans;
        protect(&store, c, &["192.0.2.0/24"], NOW).await;
        store.revoke(c, later).await.unwrap();
        assert_eq!(targets(&store, later).await, [""; 0]);
        assert!(store.shared_since(number).await.unwrap()[0].withdrawn);
        assert!(!make(&store, c, made(ONE, 2 * DAY, true), later).await, "it is nobody");
        assert!(make(&store, a, made("192.0.2.1/32", 2 * DAY, true), later).await);
        // Who has one last longer takes it from nobody, nor away when he goes.
        let same = "192.0.2.9/32";
        assert!(make(&store, a, made(same, 2 * DAY, true), later).await);
        let evil = member(&store, "evil").await;
        assert!(make(&store, evil, made(same, 2 * DAY + HOUR, true), later + HOUR / 2).await);
        let shared = store.shared_bans(later).await.unwrap();
        assert_eq!(shared.iter().find(|ban| ban.target == same).unwrap().name, "pbx-0");
        store.revoke(evil, later).await.unwrap();
        assert!(targets(&store, later).await.contains(&same.to_owned()));
        // While nothing is shared, nothing new is.
        store.share_bans(false).await.unwrap();
        assert!(!make(&store, a, made(OTHER, 2 * DAY, true), later).await);
        store.share_bans(true).await.unwrap();
        assert!(make(&store, a, made(OTHER, 2 * DAY, true), later).await);
    }
}

#[tokio::test]
async fn portals_that_decide_at_once_give_every_change_a_number_of_its_own() {
    for store in both().await {
        let hosts = hosts(&store).await;
        let before = store.sharing().await.unwrap().unwrap().bans;
        let make = async |at: usize| {
            let target = format!("198.51.100.{at}/32");
            make(&store, hosts[at % 4], made(&target, HOUR, true), NOW).await
        };
        let (a, b, c, d) = tokio::join!(make(0), make(1), make(2), make(3));
        assert!(a && b && c && d);
        assert_eq!(store.sharing().await.unwrap().unwrap().bans, before + 4);
        let all = store.shared_since(before).await.unwrap();
        assert_eq!(all.len(), 4);
    }
}
