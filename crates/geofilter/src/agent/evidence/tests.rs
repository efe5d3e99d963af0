use std::fs::{self, OpenOptions};
use std::io::Write as _;

use geofilter_core::geodata::embedded;
use tempfile::TempDir;

use super::*;

/// A log that is followed by one agent after the other.
struct Site {
    dir: TempDir,
    world: Arc<World>,
}

impl Site {
    fn new() -> Self {
        let world = Arc::new(embedded::world().unwrap().world);
        Self { dir: tempfile::tempdir().unwrap(), world }
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("security.log")
    }

    fn write(&self, text: &str) {
        let log = OpenOptions::new().append(true).create(true).open(self.log());
        log.unwrap().write_all(text.as_bytes()).unwrap();
    }

    /// An agent that reads the log, and waits for what is done meanwhile before it reads on and ends.
    fn agent(&self, meanwhile: impl FnOnce()) {
        let watch = Watch::begin(Some(self.dir.path()), Arc::clone(&self.world));
        watch.follow([self.log()].into());
        while watch.shared.told().logs.is_empty() {
            thread::yield_now();
        }
        meanwhile();
        watch.follow([self.log()].into());
    }

    fn attempts(&self) -> u64 {
        let watch = Watch::begin(Some(self.dir.path()), Arc::clone(&self.world));
        let report = watch.report(calendar(SystemTime::now()).now);
        report.days.iter().map(|day| day.of_day.attempted()).sum()
    }
}

/// A refused request, at this minute of yesterday.
fn attempt(minute: u32, source: &str) -> String {
    let Stamp(now) = calendar(SystemTime::now()).now;
    let (year, month, day) = Stamp(now - 86_400_000).date();
    format!(
        "[{year:04}-{month:02}-{day:02} 12:{minute:02}:00.000] SECURITY[1] res_security_log.c: \
         SecurityEvent=\"InvalidAccountID\",EventTV=\"x\",Severity=\"Error\",Service=\"PJSIP\",\
         EventVersion=\"1\",AccountID=\"1\",SessionID=\"s\",LocalAddress=\"IPV4/UDP/10.9.0.1/5060\",\
         RemoteAddress=\"IPV4/UDP/{source}/6000\"\n"
    )
}

#[test]
fn every_attempt_counts_once_whoever_reads_the_log() {
    let site = Site::new();
    site.write(&attempt(0, "1.0.1.7"));
    site.agent(|| site.write(&attempt(10, "1.0.1.7")));
    assert_eq!(site.attempts(), 2);
    // Nobody is there, then another one.
    site.write(&attempt(20, "1.0.1.7"));
    site.agent(|| {});
    site.agent(|| {});
    assert_eq!(site.attempts(), 3);
    let text = fs::read_to_string(site.dir.path().join(FILE)).unwrap();
    assert!(text.contains("\"CN\":3"), "{text}");
}

#[test]
fn half_a_line_waits_for_its_end() {
    let site = Site::new();
    let line = attempt(0, "1.0.1.7");
    let (start, end) = line.split_at(100);
    site.write(start);
    site.agent(|| {});
    assert_eq!(site.attempts(), 0);
    site.agent(|| site.write(end));
    assert_eq!(site.attempts(), 1);
}

#[test]
fn a_log_that_is_rotated_is_read_to_its_end_and_then_the_new_one() {
    let site = Site::new();
    site.write(&attempt(0, "1.0.1.7"));
    site.agent(|| {
        let watched = site.log();
        site.write(&attempt(10, "1.0.1.7"));
        fs::rename(&watched, watched.with_extension("1")).unwrap();
        site.write(&attempt(20, "1.0.1.7"));
    });
    assert_eq!(site.attempts(), 3);
    // The other way to rotate: it is emptied.
    site.write(&attempt(30, "1.0.1.7"));
    site.agent(|| {});
    site.agent(|| {
        fs::write(site.log(), "").unwrap();
        site.write(&attempt(40, "1.0.1.7"));
    });
    assert_eq!(site.attempts(), 3 + 2);
}

#[test]
fn a_log_that_was_emptied_and_has_grown_as_long_again_is_read_from_its_beginning() {
    let other = |minutes: std::ops::Range<u32>| -> String {
        minutes.map(|minute| attempt(minute, "1.0.1.7")).collect()
    };
    let site = Site::new();
    site.write(&other(0..10));
    site.agent(|| {});
    // While no agent was there, and while one looked.
    fs::write(site.log(), other(20..30)).unwrap();
    site.agent(|| {});
    assert_eq!(site.attempts(), 20);
    site.agent(|| fs::write(site.log(), other(40..50) + &other(55..56)).unwrap());
    assert_eq!(site.attempts(), 31);
}

#[test]
fn a_log_that_the_pbx_writes_no_more_is_let_go_once_it_is_gone() {
    let site = Site::new();
    let old = site.dir.path().join("old.log");
    fs::write(&old, attempt(0, "1.0.1.7")).unwrap();
    site.write(&attempt(1, "1.0.1.7"));
    let watch = Watch::begin(Some(site.dir.path()), Arc::clone(&site.world));
    let until = |done: fn(&Told) -> bool| {
        let began = Instant::now();
        while !done(&watch.shared.told()) {
            assert!(began.elapsed() < Duration::from_secs(20), "{:?}", watch.shared.told());
            thread::yield_now();
        }
    };
    watch.follow([site.log(), old.clone()].into());
    until(|told| told.logs.len() == 2);
    fs::remove_file(&old).unwrap();
    watch.follow([site.log(), old.clone()].into());
    until(|told| told.trouble.len() == 1);
    watch.follow([site.log()].into());
    until(|told| told.logs.len() == 1 && told.trouble.is_empty());
    let today = |told: &Told| told.evidence.days().next_back().map_or(0, |(_, day)| day.watched);
    let before = today(&watch.shared.told());
    // It looks again by itself.
    let began = Instant::now();
    while today(&watch.shared.told()) == before {
        assert!(began.elapsed() < Duration::from_secs(20), "the others count as followed");
        thread::yield_now();
    }
}

#[test]
fn what_a_newer_version_saved_is_left_as_it_is() {
    let site = Site::new();
    let newer = r#"{"schema":2,"evidence":{},"logs":{}}"#;
    fs::write(site.dir.path().join(FILE), newer).unwrap();
    site.write(&attempt(0, "1.0.1.7"));
    site.agent(|| {});
    assert_eq!(fs::read_to_string(site.dir.path().join(FILE)).unwrap(), newer);
    let watch = Watch::begin(Some(site.dir.path()), Arc::clone(&site.world));
    let report = watch.report(calendar(SystemTime::now()).now);
    assert!(report.warnings[0].contains("schema 2"), "{report:?}");
}

#[test]
fn what_a_client_wrote_into_a_long_line_is_not_taken_for_a_line() {
    const LONG: usize = 33 << 20;
    let line = format!("{}{}{}", "x".repeat(LONG), attempt(0, "1.0.1.7"), attempt(10, "1.0.1.8"));
    // It is met for the first time in the middle of that line.
    let site = Site::new();
    site.write(&line);
    site.agent(|| {});
    assert_eq!(site.attempts(), 1);
    // It is read through that line.
    let site = Site::new();
    site.write(&attempt(20, "1.0.1.9"));
    site.agent(|| site.write(&line));
    assert_eq!(site.attempts(), 2);
}

#[test]
fn what_can_not_be_read_is_said_and_what_was_saved_is_kept() {
    let site = Site::new();
    fs::write(site.dir.path().join(FILE), "no JSON").unwrap();
    fs::create_dir(site.log()).unwrap();
    let watch = Watch::begin(Some(site.dir.path()), Arc::clone(&site.world));
    watch.follow([site.log()].into());
    let began = Instant::now();
    while watch.shared.told().trouble.is_empty() {
        assert!(began.elapsed() < Duration::from_secs(10));
        thread::yield_now();
    }
    let report = watch.report(calendar(SystemTime::now()).now);
    assert!(report.warnings[0].contains("no regular file"), "{report:?}");
    assert!(report.warnings[1].contains("counted anew"), "{report:?}");
    assert_eq!(report.days, []);
    let aside = site.dir.path().join(format!("{FILE}.corrupt-1"));
    assert_eq!(fs::read_to_string(aside).unwrap(), "no JSON");
}

#[test]
fn an_agent_on_trial_leaves_nothing() {
    let site = Site::new();
    site.write(&attempt(0, "1.0.1.7"));
    let watch = Watch::begin(None, Arc::clone(&site.world));
    watch.follow([site.log()].into());
    drop(watch);
    assert!(!site.dir.path().join(FILE).exists());
}
