//! `preview --log`, on logs recorded from a PBX that scripts attacked and used.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::support::{Place, binary, text};

pub(super) fn sample(name: &str) -> String {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../core/tests/samples/logs");
    samples.join(name).to_string_lossy().into_owned()
}

pub(super) fn preview(policy: &[&str], logs: &[&str]) -> Value {
    Place::new().json(&[&["preview"], policy, &["--log"], logs].concat())
}

/// Counted by hand: each attempt of this log went on to send credentials, so that
/// `grep -c ChallengeResponseFailed` counts them (91), and by the last field of the address
/// (`awk -F'"' '/ChallengeResponseF/ {split($18, p, "/"); print p[3]}' | sort | uniq -c`) 25 sources: 19 from
/// 95.181.172.79, 3 from each of 24 IPv6 addresses. `geofilter geodb lookup` says of each its country: Russia of
/// 95.181.172.79 and of two others (25 attempts), and hosting of four more (12 attempts).
/// `grep -c SuccessfulAuth` says 20, of which by the same means 6 from elsewhere than ES, PT, IT and FR:
/// 2 from 82.24.111.237 (NL), 2 from 91.151.18.9 (AT), 1 from 193.9.29.86 (GB), 1 from 194.31.235.141 (DE).
#[test]
fn a_preview_of_a_log_gives_the_figures_of_a_hand_count() {
    let log = sample("asterisk-mixed.log");
    let russia = preview(&["block", "RU"], &[&log]);
    assert_eq!(russia["attempts"], json!({"total": 91, "dropped": 25}));
    assert_eq!(russia["addresses"]["total"], 25);
    assert_eq!(russia["addresses"]["dropped"], 3);
    assert_eq!(russia["log"]["dropped_with_hosting"], 25 + 12);
    assert_eq!(russia["log"]["logins"], json!({"total": 20, "dropped": 0}));
    let first = json!({
        "country": "RU", "total": 3, "dropped": 3, "attempts": {"total": 25, "dropped": 25}
    });
    assert_eq!(russia["by_country"][0], first);
    let south = preview(&["allow", "ES", "PT", "IT", "FR"], &[&log]);
    assert_eq!(south["attempts"], json!({"total": 91, "dropped": 91}));
    assert_eq!(south["log"]["logins"], json!({"total": 20, "dropped": 6}));
    let cut: Vec<_> = south["would_cut"].as_array().unwrap().iter().collect();
    let cut: Vec<_> =
        cut.iter().map(|cut| (cut["address"].as_str().unwrap(), &cut["logins"])).collect();
    assert_eq!(
        cut,
        [
            ("82.24.111.237", &json!(2)),
            ("91.151.18.9", &json!(2)),
            ("193.9.29.86", &json!(1)),
            ("194.31.235.141", &json!(1)),
        ]
    );
    assert_eq!(south["would_cut"][0]["what"], "phone 1005");
}

#[test]
fn the_figures_are_told_in_a_sentence() {
    let place = Place::new();
    let said = |policy: &[&str]| {
        let output =
            place.run(&[&["preview"], policy, &["--log", &sample("asterisk-mixed.log")]].concat());
        assert_eq!(text(&output.stderr), "", "no bar without a terminal");
        text(&output.stdout)
    };
    let russia = said(&["block", "RU"]);
    let sentence = "Of 91 attempts from 25 addresses since 22 November 2026, this policy drops 27.5 % \
        (with --hosting drop 40.7 %).\n";
    assert!(russia.starts_with(sentence), "{russia}");
    assert!(russia.contains("It would have cut none of 20 successful logins.\n"), "{russia}");
    let south = said(&["allow", "ES", "PT", "IT", "FR"]);
    let cut =
        "It would also have cut 6 of 20 successful logins: 1005 from 82.24.111.237 (NL), 2 times; ";
    assert!(south.contains(cut), "{south}");
}

/// One client sent a packet of 60 kB with a NUL in it while messages were traced: what others did follows.
#[test]
fn what_a_trace_may_have_hidden_is_said() {
    let told = preview(&["block", "RU"], &[&sample("asterisk-trace.log")]);
    let lines = told["log"]["lines"].as_u64().unwrap();
    assert_eq!(told["log"]["traced"], lines - 1);
    let warnings = told["warnings"].to_string();
    let said = format!("{} lines behind it were passed over", lines - 1);
    assert!(warnings.contains(&said), "{warnings}");
}

/// The log and the messages tell of the same 26 attempts (`core`: `logs::tests`), which `a` and `b` hold in
/// halves, the older one compressed. All come from 10.99.0.2 or 2001:db8:9::2.
#[test]
fn what_several_logs_tell_of_counts_once() {
    let place = Place::new();
    let (security, messages) = (sample("asterisk-security.log"), sample("asterisk-messages.log"));
    let log = std::fs::read_to_string(&security).unwrap();
    let (older, newer) = log.split_at(log.match_indices('\n').nth(75).unwrap().0 + 1);
    let (a, b) = (place.path("security.log.1"), place.path("security.log"));
    std::fs::write(&a, older).unwrap();
    std::fs::write(&b, newer).unwrap();
    assert!(Command::new("gzip").arg(&a).status().unwrap().success());
    let a = place.path("security.log.1.gz");
    let count = |logs: &[&str]| preview(&["block", "RU"], logs)["attempts"]["total"].clone();
    for logs in [
        vec![security.as_str()],
        vec![&messages],
        vec![&messages, &security],
        vec![&security, &messages, &security],
        vec![b.to_str().unwrap(), &messages, a.to_str().unwrap()],
    ] {
        assert_eq!(count(&logs), 26, "{logs:?}");
    }
    let piped = binary()
        .args(["preview", "block", "RU", "--json", "--log", "-", &messages])
        .stdin(std::fs::File::open(&security).unwrap())
        .output()
        .unwrap();
    let piped: Value = serde_json::from_slice(&piped.stdout).unwrap();
    assert_eq!(piped["attempts"]["total"], 26);
}

/// `grep -c Found` says 94, and `grep -c ' Ban '` 2, one of them of 95.181.172.79.
#[test]
fn fail2ban_counts_lines_where_it_is_alone() {
    let alone = preview(&["block", "RU"], &[&sample("fail2ban.log")]);
    assert_eq!(alone["attempts"]["total"], 94);
    assert_eq!(alone["log"]["found"], 94);
    assert_eq!(alone["log"]["banned"], json!({"total": 2, "dropped": 1}));
    let both = preview(&["block", "RU"], &[&sample("fail2ban.log"), &sample("asterisk-short.log")]);
    assert_eq!((&both["attempts"]["total"], &both["log"]["found"]), (&json!(29), &json!(0)));
}

#[test]
fn what_can_not_be_read_is_said() {
    let place = Place::new();
    let (other, database) = (place.path("other"), place.path("fail2ban.sqlite3"));
    std::fs::write(&other, "GET / HTTP/1.1\nno log\n").unwrap();
    std::fs::write(&database, b"SQLite format 3\0......").unwrap();
    let name = |path: &PathBuf| path.to_str().unwrap().to_owned();
    let refused = |log: &str| place.refused(1, &["preview", "block", "RU", "--log", log]);
    let said = refused(&name(&other));
    assert!(said.contains("nothing in") && said.contains("Asterisk's messages"), "{said}");
    assert!(refused(&name(&database)).contains("give fail2ban's log instead"));
    assert!(refused("/nonexistent").contains("cannot read the log /nonexistent"));
    place.refused(4, &["preview", "--log", &sample("fail2ban.log")]);
    place.refused(2, &["preview", "--log", "x", "--addresses", "y"]);
    let both = preview(&["block", "RU"], &[&name(&other), &sample("asterisk-mixed.log")]);
    assert_eq!((&both["attempts"]["total"], &both["log"]["unreadable"]), (&json!(91), &json!(2)));
    assert!(both["warnings"][0].as_str().unwrap().starts_with("nothing in"));
}

/// As a full disk leaves it.
#[test]
fn a_compressed_log_that_is_cut_short_counts_as_far_as_it_goes() {
    let place = Place::new();
    let (whole, cut) = (place.path("messages.2.gz"), place.path("messages.1.gz"));
    let compressed =
        Command::new("gzip").arg("-c").arg(sample("asterisk-mixed.log")).output().unwrap().stdout;
    std::fs::write(&whole, &compressed).unwrap();
    std::fs::write(&cut, &compressed[..compressed.len() / 2]).unwrap();
    let (whole, cut) = (whole.to_str().unwrap(), cut.to_str().unwrap());
    let told = preview(&["block", "RU"], &[cut]);
    let counted = told["attempts"]["total"].as_u64().unwrap();
    assert!((1..91).contains(&counted), "{told}");
    let warning = told["warnings"][0].as_str().unwrap();
    assert!(warning.starts_with(&format!("cannot read the log {cut} to its end")), "{warning}");
    let both = preview(&["block", "RU"], &[whole, cut]);
    assert_eq!(both["log"]["lines"], 359 + told["log"]["lines"].as_u64().unwrap());
    std::fs::write(cut, &compressed[..12]).unwrap();
    let said = place.refused(1, &["preview", "block", "RU", "--log", cut]);
    assert!(said.contains("to its end") && said.contains("the 0 lines before"), "{said}");
}

/// A year of rotated logs.
#[test]
fn memory_does_not_grow_much_with_the_number_of_logs() {
    const MOST: u64 = 64 << 10;
    let place = Place::new();
    let compressed =
        Command::new("gzip").arg("-c").arg(sample("asterisk-mixed.log")).output().unwrap().stdout;
    let paths: Vec<String> = (0..400)
        .map(|number| place.path(&format!("messages.{number}.gz")).to_str().unwrap().to_owned())
        .collect();
    paths.iter().for_each(|path| std::fs::write(path, &compressed).unwrap());
    // The last one is read to its end when all are open: a pipe whose end does not come yet.
    let mut child = binary()
        .args(["preview", "block", "RU", "--json", "--log", "-"])
        .args(&paths)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let log = std::fs::read(sample("asterisk-mixed.log")).unwrap();
    for _ in 0..64 {
        pipe.write_all(&log).unwrap();
    }
    let peak = peak(child.id());
    drop(pipe);
    assert!(child.wait_with_output().unwrap().status.success());
    assert!(peak <= MOST, "{peak} KiB");
}

/// The most memory that a process took so far, in KiB.
fn peak(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("its status");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("its peak");
    peak.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// A flood of forged sources, as many as there may be, and a line that does not end.
#[test]
fn memory_does_not_grow_with_a_log() {
    const MOST: u64 = 64 << 10;
    let (said, peak) = flood(&["preview", "block", "RU", "--json", "--log", "-"]);
    assert_eq!(said["attempts"]["total"], LINES);
    assert_eq!(said["log"]["unreadable"], 1);
    assert!(peak <= MOST, "{peak} KiB");
}

const LINES: u32 = 400_000;

/// What a command says of such a log, and how much memory it took in KiB.
pub(super) fn flood(args: &[&str]) -> (Value, u64) {
    let mut child = binary()
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a started client");
    let mut log = BufWriter::new(child.stdin.take().expect("its input"));
    for line in 0..LINES {
        let (a, b) = (line.wrapping_mul(2_654_435_761), line / 2000);
        let (high, low) = (a >> 16, a & 0xffff);
        let source = if line % 4 == 0 {
            format!("IPV6/UDP/2a14:2000:{high:x}:{low:x}::1")
        } else {
            format!("IPV4/UDP/{}", std::net::Ipv4Addr::from(a))
        };
        writeln!(
            log,
            "[2026-11-22 08:{:02}:{:02}] SECURITY[1] res_security_log.c: SecurityEvent=\"InvalidAccountID\",\
             EventTV=\"x\",Severity=\"Error\",Service=\"PJSIP\",EventVersion=\"1\",AccountID=\"1\",\
             SessionID=\"{line}\",LocalAddress=\"IPV4/UDP/10.0.0.1/5060\",RemoteAddress=\"{source}/5060\"",
            b / 60, b % 60
        )
        .expect("a line");
    }
    for _ in 0..64 {
        log.write_all(&[b'x'; 1 << 20]).expect("a piece of a line");
    }
    log.flush().expect("all of it");
    let peak = peak(child.id());
    drop(log);
    let output = child.wait_with_output().expect("its end");
    (serde_json::from_slice(&output.stdout).expect("JSON"), peak)
}
