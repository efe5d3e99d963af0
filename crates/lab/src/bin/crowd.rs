//! `make fleet`: ten thousand hosts at one portal on PostgreSQL, with the clients on the same processors. What each costs, how long a choice
//! takes to be in force everywhere, and whether anything that is counted is lost goes into `bench/FLEET.md`. `HOSTS` and `MINUTES` say
//! how many and for how long.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use geofilter_cluster::Cluster;
use geofilter_fleet::Mark;
use geofilter_lab::crowd::Crowd;
use geofilter_lab::process::binary;
use procfs::process::Process;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

const DATABASE: &str = "fleet";
const TOKEN: &str = "the-token-of-who-measures";
const PATIENCE: Duration = Duration::from_secs(180);
/// How often a choice is made.
const PUSHES: usize = 7;
/// How many bans are shared, one after another.
const BANS: usize = 7;
/// For how long each stage of a rollout is watched.
const WATCHED: Duration = Duration::from_secs(30);
/// How long it takes until all have said how they stand.
const REPORTED: Duration = Duration::from_secs(12);
/// How often it is looked whether all have answered.
const LOOK: Duration = Duration::from_millis(50);
/// How many days of evidence each host has, of which a report of a month is made.
const DAYS: usize = 90;
/// For how long nothing happens: each host hears twice that the portal is there.
const IDLE: Duration = Duration::from_secs(90);

fn main() -> Result<()> {
    let number = |name: &str, usual: usize| match std::env::var(name) {
        Ok(text) if !text.is_empty() => text.parse().with_context(|| format!("{name} is a number")),
        Ok(_) | Err(_) => Ok(usual),
    };
    let (hosts, minutes) = (number("HOSTS", 10_000)?, number("MINUTES", 10)?);
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    let text = Measured::of(hosts, minutes)?.text();
    print!("{text}");
    if hosts == 10_000 && minutes >= 10 {
        fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bench/FLEET.md"), &text)?;
    }
    Ok(())
}

/// A portal on a database of its own.
struct Portal {
    _folder: TempDir,
    state_dir: PathBuf,
    database: String,
    fleet: String,
    process: Child,
    url: String,
}

impl Portal {
    fn start(database: String) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("gf-fleet").tempdir()?;
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        let state_dir = folder.path().join("state");
        let fleet = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        let (process, url) = serve(&state_dir, &database, &fleet)?;
        Ok(Self { _folder: folder, state_dir, database, fleet, process, url })
    }

    fn kill(&mut self) -> Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }

    fn restart(&mut self) -> Result<()> {
        (self.process, self.url) = serve(&self.state_dir, &self.database, &self.fleet)?;
        Ok(())
    }

    fn process(&self) -> Result<Process> {
        Ok(Process::new(self.process.id().cast_signed())?)
    }

    /// What it takes of memory, in KiB.
    fn memory(&self) -> Result<u64> {
        let status = self.process()?.status()?;
        status.vmrss.context("how much memory the portal takes")
    }

    /// The most that it ever took.
    fn most_memory(&self) -> Result<u64> {
        let status = self.process()?.status()?;
        status.vmhwm.context("how much memory the portal took")
    }

    /// What it has had of a processor.
    fn cpu(&self) -> Result<Duration> {
        let stat = self.process()?.stat()?;
        let ticks = procfs::ticks_per_second();
        Ok(Duration::from_secs_f64((stat.utime + stat.stime) as f64 / ticks as f64))
    }

    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url.trim_end_matches('/')))
            .header("authorization", format!("Bearer {TOKEN}"))
            .header("content-type", "application/json")
            .body(body.map(Value::to_string).unwrap_or_default())?;
        let config = ureq::Agent::config_builder().allow_non_standard_methods(true).build();
        let answer = ureq::Agent::new_with_config(config)
            .run(request)
            .with_context(|| format!("{method} {path}"))?;
        Ok(serde_json::from_str(&answer.into_body().read_to_string()?)?)
    }

    /// Chooses for the group. Returns what it is numbered by.
    fn choose(&self, countries: &[&str]) -> Result<Mark> {
        let policy = json!({ "mode": "allow", "countries": countries });
        let told = self.ask("PUT", "/api/v1/fleet/groups/1/policy", Some(&policy))?;
        let revision = told["revision"].as_u64().context("the revision")?;
        Ok(Mark { epoch: 1, revision })
    }
}

impl Drop for Portal {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

fn serve(state_dir: &Path, database: &str, fleet: &str) -> Result<(Child, String)> {
    let log = File::options().create(true).append(true).open(state_dir.with_file_name("log"))?;
    let mut portal = Command::new(binary()?);
    portal.args(["portal", "run", "--json", "--listen", "127.0.0.1:0", "--user", "nobody"]);
    portal.args(["--agent", "/nonexistent/portal.sock", "--fleet", fleet, "--state-dir"]);
    portal.arg(state_dir).env("GEOFILTER_DATABASE", database);
    let mut portal = portal.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn()?;
    let mut line = String::new();
    let stdout = portal.stdout.take().context("its output")?;
    BufReader::new(stdout).read_line(&mut line)?;
    let ready: Value = serde_json::from_str(&line).with_context(|| {
        let said = fs::read_to_string(state_dir.with_file_name("log")).unwrap_or_default();
        format!("the portal does not serve: {said}")
    })?;
    Ok((portal, ready["url"].as_str().context("where it serves")?.to_owned()))
}

/// From the first to the last.
#[derive(Debug, Clone, Copy)]
struct Spread {
    half: Duration,
    p99: Duration,
    last: Duration,
}

impl Spread {
    fn of(mut all: Vec<Duration>) -> Result<Self> {
        all.sort_unstable();
        let at = |share: f64| all.get(((all.len() as f64 * share) as usize).min(all.len() - 1));
        let at = |share| at(share).copied().context("nobody was measured");
        Ok(Self { half: at(0.5)?, p99: at(0.99)?, last: at(1.0)? })
    }
}

struct Measured {
    hosts: usize,
    minutes: usize,
    gathered: Duration,
    greeting: Duration,
    empty: u64,
    memory: u64,
    most: u64,
    idle: f64,
    pushes: Vec<(Spread, Duration, Duration)>,
    reconnected: Duration,
    bans: Vec<(Spread, Duration)>,
    asked: (Duration, Duration),
    rollout: (Duration, Duration),
    listed: Duration,
    counted: u64,
    lost: i64,
    report: (Duration, u64),
    telemetry: f64,
    database: f64,
    after: u64,
}

impl Measured {
    fn of(hosts: usize, minutes: usize) -> Result<Self> {
        let cluster = Cluster::start()?;
        let mut portal = Portal::start(cluster.create(DATABASE)?)?;
        let sql = |text: &str| cluster.sql(DATABASE, text).map_err(anyhow::Error::from);
        let token: String =
            Sha256::digest(TOKEN).iter().map(|byte| format!("{byte:02x}")).collect();
        sql(&format!(
            "INSERT INTO operator (name, password, role, created) VALUES ('who measures', '', 'admin', 0);
             INSERT INTO token (digest, operator, name, role, made) VALUES ('\\x{token}', 1, 'measures', 'admin', 0);
             INSERT INTO host_group (tenant, name) VALUES (1, 'all');
             INSERT INTO member (id, host_group, name, enrolled, until)
             SELECT number, 1, 'pbx-' || number, 0, 0 FROM generate_series(1, {hosts}) AS number;
             ANALYZE member"
        ))?;
        let (key, certificate) =
            (sql("SELECT key FROM fleet")?, sql("SELECT certificate FROM fleet")?);
        let first = portal.choose(&["ES"])?;
        let (empty, before) = (portal.memory()?, portal.cpu()?);
        let began = Instant::now();
        let crowd = Crowd::gather(hosts, &format!("https://{}", portal.fleet), &key, &certificate)?;
        let all_have = |mark| move |crowd: &Crowd| crowd.applied(mark).len() == hosts;
        crowd.wait(PATIENCE, "all are connected", all_have(first))?;
        let gathered = began.elapsed();
        // What hosts say of it is written down in turns.
        let all_wrote = |mark: Mark| -> Result<()> {
            let count = format!("SELECT count(*) FROM member WHERE applied = {}", mark.revision);
            let began = Instant::now();
            while sql(&count)? != hosts.to_string() {
                ensure!(began.elapsed() < PATIENCE, "not all said that they have {mark}");
                std::thread::sleep(LOOK);
            }
            Ok(())
        };
        all_wrote(first)?;
        let greeting = portal.cpu()? - before;

        let before = portal.cpu()?;
        std::thread::sleep(IDLE);
        let idle = (portal.cpu()? - before).as_secs_f64() / IDLE.as_secs_f64();
        let (memory, most) = (portal.memory()?, portal.most_memory()?);

        let mut pushes = Vec::new();
        for push in 0..PUSHES {
            let before = portal.cpu()?;
            let clicked = Instant::now();
            let mark = portal.choose([&["ES", "PT"][..], &["ES"]][push % 2])?;
            crowd.wait(PATIENCE, "all have what was chosen", all_have(mark))?;
            let told = portal.cpu()? - before;
            all_wrote(mark)?;
            let applied = crowd.applied(mark);
            let spread = Spread::of(applied.iter().map(|at| at.duration_since(clicked)).collect())?;
            pushes.push((spread, told, portal.cpu()? - before));
        }

        portal.kill()?;
        crowd.wait(PATIENCE, "all have lost it", |crowd| crowd.connected() == 0)?;
        portal.restart()?;
        let began = Instant::now();
        let mark = portal.choose(&["ES", "FR"])?;
        crowd.wait(PATIENCE, "all are back", |crowd| {
            crowd.connected() == hosts && crowd.applied(mark).len() == hosts
        })?;
        let reconnected = began.elapsed();

        let mut bans = Vec::new();
        for ban in 1..=BANS {
            let target = format!("192.0.2.{ban}/32").parse()?;
            let (before, began) = (portal.cpu()?, Instant::now());
            crowd.ban(target);
            // Who made it is told too, and has it already.
            crowd.wait(PATIENCE, "all are told", |crowd| crowd.banned(target).len() == hosts)?;
            let heard = crowd.banned(target).iter().map(|at| at.duration_since(began)).collect();
            bans.push((Spread::of(heard)?, portal.cpu()? - before));
        }

        let plan = json!({ "group": 1, "settings": { "mode": "allow", "countries": ["ES"] } });
        let (before, began) = (portal.cpu()?, Instant::now());
        let asked = portal.ask("POST", "/api/v1/fleet/previews", Some(&plan))?["id"].clone();
        let path = format!("/api/v1/fleet/previews/{asked}");
        while portal.ask("GET", &path, None)?["answered"] != hosts {
            ensure!(began.elapsed() < PATIENCE, "not all said whom it would cut");
            std::thread::sleep(LOOK);
        }
        let asked = (began.elapsed(), portal.cpu()? - before);

        // Who says nothing is taken for lost, and they say something as long as they count.
        crowd.count(true);
        std::thread::sleep(REPORTED);
        let (before, began) = (portal.cpu()?, Instant::now());
        let mut plan = plan;
        plan["seconds"] = json!(WATCHED.as_secs());
        portal.ask("POST", "/api/v1/fleet/rollouts", Some(&plan))?;
        let mut listed = Duration::ZERO;
        loop {
            std::thread::sleep(Duration::from_secs(1));
            let asked = Instant::now();
            let told = portal.ask("GET", "/api/v1/fleet/rollouts", None)?;
            listed = listed.max(asked.elapsed());
            let rollout = &told["rollouts"][0];
            match rollout["stage"].as_str() {
                Some("canary" | "all") => {}
                Some("done") => break,
                _ => anyhow::bail!("the rollout was not done: {rollout}"),
            }
            ensure!(began.elapsed() < PATIENCE, "the rollout goes on for long: {rollout}");
        }
        let took_it = began.elapsed();
        let rollout = (took_it, portal.cpu()? - before);

        let before = (portal.cpu()?, of_the_database(&cluster)?);
        let began = Instant::now();
        std::thread::sleep(Duration::from_secs(60 * minutes as u64));
        let took = began.elapsed().as_secs_f64();
        let telemetry = (portal.cpu()? - before.0).as_secs_f64() / took;
        // A rollout was watched beside what is counted.
        let usual = Duration::from_secs_f64(telemetry * rollout.0.as_secs_f64());
        let rollout = (rollout.0, rollout.1.saturating_sub(usual));
        let database = (of_the_database(&cluster)? - before.1).as_secs_f64() / took;

        crowd.count(false);

        let kept =
            || -> Result<i64> { Ok(sql("SELECT count(*) FROM series WHERE step = 10")?.parse()?) };
        // What is on its way when they stop is said until it is noted.
        let began = Instant::now();
        std::thread::sleep(Duration::from_secs(1));
        let counted = crowd.count(false);
        while kept()? < i64::try_from(counted)? && began.elapsed() < Duration::from_secs(60) {
            std::thread::sleep(Duration::from_millis(200));
        }
        let lost = i64::try_from(counted)? - kept()?;
        let watched: i64 = sql("SELECT sum(watched) FROM series WHERE step = 3600")?.parse()?;
        ensure!(watched == kept()? * 10_000, "the hours are not the sum of their steps: {watched}");

        // Of a day five countries: what a host in a quiet place logs.
        sql(&format!(
            "INSERT INTO evidence (member, day, of_day)
             SELECT number, to_char(now() - make_interval(days => day), 'YYYY-MM-DD'),
                 '{{\"attempts\":{{\"BR\":40,\"CN\":310,\"FR\":12,\"NL\":95,\"US\":220}},\"probes\":31,\"logins\":44,\"watched\":86400,\"enforced\":0}}'
             FROM generate_series(1, {hosts}) AS number, generate_series(0, {DAYS} - 1) AS day"
        ))?;
        let before = portal.memory()?;
        let began = Instant::now();
        let told = portal.ask("GET", "/api/v1/fleet/report", None)?;
        ensure!(told["hosts"].as_array().is_some_and(|told| told.len() == hosts), "{told}");
        let took = began.elapsed();
        let after = portal.memory()?;
        let report = (took, after.saturating_sub(before));
        Ok(Self {
            hosts,
            minutes,
            gathered,
            greeting,
            empty,
            memory,
            most,
            idle,
            pushes,
            reconnected,
            bans,
            asked,
            rollout,
            listed,
            counted,
            lost,
            report,
            telemetry,
            database,
            after,
        })
    }

    fn text(&self) -> String {
        let Self { hosts, minutes, gathered, greeting, empty, memory, most, idle, .. } = self;
        let each = |kib: u64| (kib.saturating_sub(*empty)) as f64 / *hosts as f64;
        let micros = |cpu: Duration| cpu.as_secs_f64() * 1e6 / *hosts as f64;
        let mut sorted = self.pushes.clone();
        sorted.sort_by_key(|(spread, ..)| spread.p99);
        let half = sorted.len() / 2;
        let mut text = String::new();
        let _ = write!(
            text,
            "# {hosts} hosts at one portal\n\nBy `make fleet`: the portal on PostgreSQL, and the hosts in another process, on the same two \
             processors. The hosts speak the agent's protocol by its own code, over a TLS connection and with a certificate each; what they are told is in \
             force at once, in memory.\n\n\
             | measure | figure | must | stretch |\n|---|---|---|---|\n"
        );
        let mut row = |what: &str, figure: String, must: &str, stretch: &str| {
            let _ = writeln!(text, "| {what} | {figure} | {must} | {stretch} |");
        };
        row(
            "memory of the portal for each host",
            format!(
                "{:.1} KiB ({} MiB in all, {} MiB without hosts; {} MiB at most, while all connect at once)",
                each(*memory),
                memory / 1024,
                empty / 1024,
                most / 1024
            ),
            "25 KiB",
            "20 KiB",
        );
        let seconds = |time: Duration| format!("{:.2} s", time.as_secs_f64());
        if let (Some((median, ..)), Some((worst, ..))) = (sorted.get(half), sorted.last()) {
            row(
                "from the click to in force, p99",
                format!(
                    "{} (half after {}, the last after {}); the worst of {PUSHES}: {}",
                    seconds(median.p99),
                    seconds(median.half),
                    seconds(median.last),
                    seconds(worst.p99)
                ),
                "1.5 s",
                "0.6 s",
            );
        }
        let mut told: Vec<Duration> = self.pushes.iter().map(|(_, told, _)| *told).collect();
        let mut noted: Vec<Duration> = self.pushes.iter().map(|(.., noted)| *noted).collect();
        told.sort_unstable();
        noted.sort_unstable();
        row(
            "CPU of the portal for each host and choice",
            format!(
                "{:.0} us until all have it, {:.0} us with what each says of it, written down",
                micros(told[told.len() / 2]),
                micros(noted[noted.len() / 2])
            ),
            "40 us",
            "20 us",
        );
        row(
            "all are back after the portal was killed, none with an older choice",
            seconds(self.reconnected),
            "30 s",
            "15 s",
        );
        row(
            "CPU while nothing happens, a word every 45 s",
            format!("{:.1} % of a processor", idle * 100.0),
            "5 %",
            "2 %",
        );
        row(
            &format!("what is counted, every 10 s for {minutes} minutes"),
            format!(
                "{} steps, {} lost; the portal {:.0} %, PostgreSQL {:.0} % of a processor",
                self.counted,
                self.lost,
                self.telemetry * 100.0,
                self.database * 100.0
            ),
            "none lost",
            "",
        );
        let mut bans = self.bans.clone();
        bans.sort_by_key(|(spread, _)| spread.last);
        if let (Some((median, cpu)), Some((worst, _))) = (bans.get(bans.len() / 2), bans.last()) {
            row(
                "a ban that one host made, until the last is told",
                format!(
                    "{}, {:.0} us of CPU for each host; the worst of {BANS}: {}",
                    seconds(median.last),
                    micros(*cpu),
                    seconds(worst.last)
                ),
                "1 s",
                "",
            );
        }
        let (took, cpu) = self.asked;
        row(
            "all say whom a choice would cut",
            format!("{}, {:.0} us of CPU for each host", seconds(took), micros(cpu)),
            "",
            "",
        );
        let (took, cpu) = self.rollout;
        row(
            &format!("a rollout, watched for {} s at each stage", WATCHED.as_secs()),
            format!(
                "done after {}, {} of CPU beside what is counted; the list of rollouts takes {} at most",
                seconds(took),
                seconds(cpu),
                seconds(self.listed)
            ),
            "",
            "",
        );
        let (took, memory) = self.report;
        row(
            &format!("a report of a month over all, {DAYS} days of each kept"),
            format!("{}, {} MiB of memory more after it", seconds(took), memory / 1024),
            "",
            "",
        );
        let _ = write!(
            text,
            "\nAll connected within {} of the first, {:.2} ms of CPU for each greeting. After the last row the portal took {} MiB.\n",
            seconds(*gathered),
            greeting.as_secs_f64() * 1e3 / *hosts as f64,
            self.after / 1024
        );
        text
    }
}

/// What the processes of the database have had of a processor: the server, and those that it started and that go on.
fn of_the_database(cluster: &Cluster) -> Result<Duration> {
    let server = cluster.server()?.cast_signed();
    let stats = procfs::process::all_processes()?
        .filter_map(|process| process.ok()?.stat().ok())
        .filter(|stat| stat.pid == server || stat.ppid == server);
    let ticks = stats.map(|stat| {
        // A connection that has ended had some of it too.
        let ended = if stat.pid == server { stat.cutime + stat.cstime } else { 0 };
        stat.utime + stat.stime + ended.unsigned_abs()
    });
    let ticks: u64 = ticks.sum();
    Ok(Duration::from_secs_f64(ticks as f64 / procfs::ticks_per_second() as f64))
}
