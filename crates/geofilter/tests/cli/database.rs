//! The database of fail2ban as a log. Its tables are those of fail2ban 1.0 and 1.1; what it kept are the lines of
//! `asterisk-short.log` that the stock filter matches.

use std::path::Path;

use rusqlite::{Connection, params};
use serde_json::{Value, json};

use super::logs::{preview, sample};
use super::support::Place;

const SCHEMA: &str = "
    CREATE TABLE fail2banDb(version INTEGER);
    CREATE TABLE jails(name TEXT NOT NULL UNIQUE, enabled INTEGER NOT NULL DEFAULT 1);
    CREATE TABLE bans(jail TEXT NOT NULL, ip TEXT, timeofban INTEGER NOT NULL, bantime INTEGER NOT NULL,
        bancount INTEGER NOT NULL default 1, data JSON, FOREIGN KEY(jail) REFERENCES jails(name));
    CREATE INDEX bans_jail_ip ON bans(jail, ip);
    CREATE TABLE bips(ip TEXT NOT NULL, jail TEXT NOT NULL, timeofban INTEGER NOT NULL, bantime INTEGER NOT NULL,
        bancount INTEGER NOT NULL default 1, data JSON, PRIMARY KEY(ip, jail),
        FOREIGN KEY(jail) REFERENCES jails(name));
    INSERT INTO jails VALUES ('asterisk', 1), ('sshd', 1);";
/// 2026-11-22 09:04:26, a second after the lines begin.
const TIME: i64 = 1_795_338_266;

/// The lines of a source that the stock filter matches, in the two forms in which they are kept.
fn kept(source: &str) -> Vec<Value> {
    let log = std::fs::read_to_string(sample("asterisk-short.log")).expect("the sample");
    let matches = |line: &&str| {
        let security =
            line.contains("\"InvalidAccountID\"") || line.contains("\"ChallengeResponseFailed\"");
        (security || line.contains("failed for")) && line.contains(source)
    };
    let lines = log.lines().filter(matches).enumerate();
    let kept = lines.map(|(number, line)| match number % 2 {
        0 => json!(["[", &line[1..24], &line[24..]]),
        _ => json!(line),
    });
    kept.collect()
}

fn sources() -> Vec<String> {
    let log = std::fs::read_to_string(sample("fail2ban.log")).expect("the sample");
    let bans = log.lines().filter(|line| line.contains("] Ban "));
    bans.map(|line| line.rsplit(' ').next().expect("an address").to_owned()).collect()
}

fn database(path: &Path) -> Connection {
    let database = Connection::open(path).expect("a database");
    database.execute_batch(SCHEMA).expect("its tables");
    database
}

fn ban(database: &Connection, table: &str, jail: &str, ip: &str, data: &str) {
    let sql = format!(
        "INSERT INTO {table} (jail, ip, timeofban, bantime, data) VALUES (?1, ?2, ?3, 600, ?4)"
    );
    // fail2ban writes it as bytes.
    database.execute(&sql, params![jail, ip, TIME, data.as_bytes()]).expect("a row");
}

/// `grep -c ChallengeResponseFailed asterisk-short.log` says 29 attempts, 15 of them from Russia, and the log of
/// fail2ban two bans.
#[test]
fn what_fail2ban_kept_counts_once_beside_the_logs() {
    let place = Place::new();
    let path = place.path("fail2ban.sqlite3");
    let full = database(&path);
    let sources = sources();
    assert_eq!(sources.len(), 2);
    for (number, source) in sources.iter().enumerate() {
        let data = json!({"matches": kept(source), "failures": 10}).to_string();
        // What is in force is in both tables, until it is purged from the first.
        if number == 0 {
            ban(&full, "bans", "asterisk", source, &data);
        }
        ban(&full, "bips", "asterisk", source, &data);
    }
    ban(&full, "bans", "sshd", "192.0.2.99", "{\"failures\": 50}");
    let name = path.to_str().unwrap();
    let (log, fail2ban) = (sample("asterisk-short.log"), sample("fail2ban.log"));
    for logs in [vec![name], vec![name, &log], vec![&fail2ban, name], vec![&log, &fail2ban, name]] {
        let told = preview(&["block", "RU"], &logs);
        assert_eq!(told["attempts"], json!({"total": 29, "dropped": 15}), "{logs:?}");
        assert_eq!(told["log"]["banned"], json!({"total": 2, "dropped": 1}), "{logs:?}");
        assert_eq!(told["log"]["found"], 0, "{logs:?}");
    }
    let told = preview(&["block", "RU"], &[name]);
    assert_eq!((&told["log"]["lines"], &told["log"]["unreadable"]), (&json!(2), &json!(0)));
    let recommended = place.json(&["recommend", "--log", name]);
    assert_eq!(recommended["attempts"]["total"], 29);
    assert_eq!(recommended["proposal"]["action"], "observe");
}

/// With `dbmaxmatches = 0` it keeps no lines, only how many there were.
#[test]
fn failures_count_where_no_line_is_kept() {
    let place = Place::new();
    let path = place.path("fail2ban.sqlite3");
    let bare = database(&path);
    for source in sources() {
        ban(&bare, "bans", "asterisk", &source, "{\"matches\": [], \"failures\": 10}");
    }
    let name = path.to_str().unwrap();
    let told = preview(&["block", "RU"], &[name]);
    assert_eq!(told["attempts"], json!({"total": 20, "dropped": 10}));
    assert_eq!(told["log"]["found"], 20);
    // `grep -c Found` says 94; the database's are some of these.
    assert_eq!(preview(&["block", "RU"], &[name, &sample("fail2ban.log")])["log"]["found"], 94);
}

#[test]
fn it_is_read_beside_a_fail2ban_that_writes() {
    let place = Place::new();
    let path = place.path("fail2ban.sqlite3");
    let mut writer = database(&path);
    let name = path.to_str().unwrap();
    let attempts = || preview(&["block", "RU"], &[name])["attempts"]["total"].clone();
    ban(&writer, "bans", "asterisk", "192.0.2.1", "{\"failures\": 7}");
    let before = std::fs::metadata(&path).unwrap().modified().unwrap();
    // It has begun to write, and has not said that this is all.
    let transaction = writer.transaction().unwrap();
    ban(&transaction, "bans", "asterisk", "192.0.2.2", "{\"failures\": 7}");
    assert_eq!(attempts(), 7);
    transaction.commit().unwrap();
    assert_eq!(attempts(), 14);
    // While it may not be read it is waited for, and then said to be busy.
    writer.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let said = place.refused(1, &["preview", "block", "RU", "--log", name]);
    assert!(said.contains("busy"), "{said}");
    writer.execute_batch("ROLLBACK; PRAGMA journal_mode = WAL").unwrap();
    ban(&writer, "bans", "asterisk", "192.0.2.3", "{\"failures\": 7}");
    assert_eq!(attempts(), 21);
    drop(writer);
    assert!(std::fs::metadata(&path).unwrap().modified().unwrap() >= before);
    let left = std::fs::read_dir(path.parent().unwrap()).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["fail2ban.sqlite3"], "nothing is left behind");
}

#[test]
fn a_foreign_or_damaged_database_is_said_to_be_one() {
    let place = Place::new();
    let path = |name: &str| place.path(name);
    let refused = |path: &Path| {
        place.refused(1, &["preview", "block", "RU", "--log", path.to_str().unwrap()])
    };
    let foreign = path("places.sqlite");
    Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE history(url)").unwrap();
    assert!(refused(&foreign).contains("not fail2ban's: it has no table `bans`"));
    let columns = path("columns.sqlite");
    Connection::open(&columns).unwrap().execute_batch("CREATE TABLE bans(who)").unwrap();
    assert!(refused(&columns).contains("other columns"));
    // A view that never ends is not asked.
    let view = path("view.sqlite");
    let endless = "CREATE VIEW bans(jail, ip, timeofban, data) AS WITH RECURSIVE n(i) AS \
        (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT 'asterisk', i, i, NULL FROM n";
    Connection::open(&view).unwrap().execute_batch(endless).unwrap();
    assert!(refused(&view).contains("no table `bans`"));
    let damaged = path("damaged.sqlite");
    let whole = database(&damaged);
    for host in 0..500 {
        ban(&whole, "bans", "asterisk", &format!("192.0.2.{}", host % 250), &"x".repeat(500));
    }
    drop(whole);
    let bytes = std::fs::read(&damaged).unwrap();
    let mut broken = bytes.clone();
    broken[4096..].fill(0x5a);
    std::fs::write(&damaged, &broken).unwrap();
    assert!(refused(&damaged).contains("damaged"));
    std::fs::write(&damaged, &bytes[..20_000]).unwrap();
    assert!(refused(&damaged).contains("damaged"));
}

#[test]
fn what_a_hostile_row_holds_is_bounded() {
    let place = Place::new();
    let path = place.path("a ?mode=rwc&b#c%41.sqlite3");
    let hostile = database(&path);
    let huge = format!("{{\"failures\": 5, \"matches\": [\"{}\"]}}", "x".repeat(1 << 20));
    ban(&hostile, "bans", "asterisk", "192.0.2.1", &huge);
    ban(&hostile, "bans", "asterisk", "192.0.2.2", &format!("{{\"failures\": {}}}", u64::MAX));
    ban(&hostile, "bans", "asterisk", "nobody", "{}");
    hostile
        .execute_batch("PRAGMA foreign_keys = OFF; INSERT INTO bans VALUES (x'ff', 7, 'soon', 1, 1, 3.5), ('asterisk', NULL, 1, 1, 1, NULL)")
        .unwrap();
    let told = preview(&["block", "RU"], &[path.to_str().unwrap()]);
    assert_eq!(told["attempts"]["total"], 1000, "the first is read without what it holds");
    assert_eq!(told["log"]["banned"]["total"], 2);
    assert_eq!((&told["log"]["lines"], &told["log"]["unreadable"]), (&json!(4), &json!(2)));
}
