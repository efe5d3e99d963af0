//! The demonstration of a fleet: fifty PBX hosts and the portal that leads them, between network namespaces of its own. Every figure
//! it prints was measured in this run. It takes everything down, also when interrupted.

use std::net::UdpSocket;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use std::{fs, thread};

use anyhow::{Result, ensure};
use geofilter_core::geodata::embedded;
use geofilter_lab::addresses::Addresses;
use geofilter_lab::fleet::{Fleet, crew};
use geofilter_lab::interrupt::Interrupt;
use geofilter_lab::leader::{Leader, Seen};
use geofilter_lab::namespace::ensure_gone;
use geofilter_lab::sites::{Attached, GATEWAY, Sites};
use geofilter_lab::style::Style;
use serde_json::{Value, json};

const HOSTS: u8 = 50;
const GROUPS: [&str; 2] = ["Branches", "Call centres"];
/// How long all hosts together may take to come to something.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often the portal is asked meanwhile.
const LOOK: Duration = Duration::from_millis(20);

fn main() -> ExitCode {
    let interrupt = match Interrupt::listen() {
        Ok(interrupt) => interrupt,
        Err(error) => {
            eprintln!("demo-fleet: cannot listen for signals: {error}");
            return ExitCode::FAILURE;
        }
    };
    let demo = Demo { interrupt: interrupt.clone(), style: Style::choose(), began: Instant::now() };
    match (demo.show(), interrupt.came()) {
        (Ok(took), _) => {
            println!(
                "{HOSTS} hosts, one choice: applied everywhere in {:.1} s, unchanged while the portal was gone, and every host is as it was.",
                took.as_secs_f64()
            );
            ExitCode::SUCCESS
        }
        (Err(_), true) => {
            println!("\nInterrupted: everything was taken down.");
            ExitCode::from(130)
        }
        (Err(error), false) => {
            eprintln!("demo-fleet: {error:#}");
            ExitCode::FAILURE
        }
    }
}

struct Demo {
    interrupt: Interrupt,
    style: Style,
    began: Instant,
}

/// Who calls.
struct Phones {
    china: UdpSocket,
    spain: UdpSocket,
}

/// What there was, and must be gone afterwards.
struct Used {
    namespaces: Vec<String>,
    folders: Vec<PathBuf>,
}

impl Demo {
    /// Shows all of it, and takes it down. Returns how long it took from the choice to the last host.
    fn show(&self) -> Result<Duration> {
        println!(
            "{}",
            self.style.bold(&format!(
                "GeoFilter on {HOSTS} PBX hosts in network namespaces of their own, and the portal that leads them"
            ))
        );
        let sites = Sites::new()?;
        let hosts = self.attach(&sites)?;
        let mut namespaces: Vec<_> =
            hosts.iter().map(|host| host.namespace.name().to_owned()).collect();
        namespaces.push(sites.internet.name().to_owned());
        let (took, folders) = self.lead(&sites, &hosts)?;
        drop((hosts, sites));
        Used { namespaces, folders }.ensure_gone()?;
        println!(
            "The namespaces, the portal and its database are gone too. {:.0} s.\n",
            self.began.elapsed().as_secs_f64()
        );
        Ok(took)
    }

    fn attach(&self, sites: &Sites) -> Result<Vec<Attached>> {
        let numbers: Vec<u8> = (0..HOSTS).collect();
        let attached = crew(&numbers, |number| {
            self.interrupt.go_on()?;
            sites.attach(*number)
        });
        attached.into_iter().collect()
    }

    fn lead(&self, sites: &Sites, hosts: &[Attached]) -> Result<(Duration, Vec<PathBuf>)> {
        let world = embedded::world()?.world;
        let addresses = Addresses::new(&world);
        let phones = Phones {
            china: sites.phone(addresses.v4("CN"))?,
            spain: sites.phone(addresses.v4("ES"))?,
        };
        let mut leader = Leader::start(&sites.internet, GATEWAY)?;
        let fleet = Fleet::start(hosts, &self.interrupt)?;
        let folders = fleet.hosts().iter().map(|host| host.agent.runtime_dir()).collect();
        self.say("agents run, and the portal on a PostgreSQL server of its own");

        let groups = self.enrol(&leader, &fleet)?;
        self.expect(&fleet, &phones, usize::from(HOSTS))?;

        self.title("One choice: only Spain may call");
        let (took, marks) = self.choose(&leader, &groups)?;
        self.expect(&fleet, &phones, 0)?;

        self.title("The portal is killed");
        let before = self.standing(&fleet)?;
        leader.kill()?;
        fleet.come_to(|it| it["connected"] == false)?;
        self.say("hosts know that it is gone");
        self.compare(&fleet, &before)?;
        self.expect(&fleet, &phones, 0)?;

        self.title("It is back, on the same database");
        leader.restart()?;
        fleet.come_to(|it| it["connected"] == true)?;
        self.wait(&leader, |seen| seen.is_connected && seen.progress == "confirmed", |_| {})?;
        let older = fleet.each(|host| Ok(is_older(&host.membership()?, &marks)))?;
        ensure!(!older.contains(&true), "a host is on an older revision");
        self.say("hosts are connected again, none on an older revision");
        self.compare(&fleet, &before)?;
        self.expect(&fleet, &phones, 0)?;

        self.title("Leave, and off: every machine is as it was");
        fleet.revert()?;
        self.say("hosts have left and are off: links, addresses, TC filters and nftables are those of before");
        self.expect(&fleet, &phones, usize::from(HOSTS))?;
        Ok((took, folders))
    }

    /// Makes each host one of a group.
    fn enrol(&self, leader: &Leader<'_>, fleet: &Fleet<'_>) -> Result<[i64; 2]> {
        let groups = [leader.make_group(GROUPS[0])?, leader.make_group(GROUPS[1])?];
        let half = fleet.hosts().len() / 2;
        let first: Vec<_> = fleet.hosts()[..half].iter().map(|host| &host.name).collect();
        fleet.each(|host| leader.enrol(host, groups[usize::from(!first.contains(&&host.name))]))?;
        fleet.come_to(|it| it["connected"] == true)?;
        self.wait(leader, |seen| seen.is_connected && seen.progress == "free", |_| {})?;
        self.say(&format!("hosts are enrolled, in the groups {}", GROUPS.join(" and ")));
        let each = fleet.memory()? / u64::from(HOSTS) / 1_000_000;
        println!(
            "{}",
            self.style.faint(&format!(
                "{:>9} agent and its link to the portal: {each} MB of memory a host",
                ""
            ))
        );
        Ok(groups)
    }

    /// Chooses for each group. Returns how long it took until the portal heard of the last host that its kernel does it, and the
    /// revisions that it is.
    fn choose(&self, leader: &Leader<'_>, groups: &[i64]) -> Result<(Duration, Vec<String>)> {
        let clicked = Instant::now();
        let mut marks = Vec::new();
        for group in groups {
            let revision =
                leader.choose(*group, &json!({ "mode": "allow", "countries": ["ES"] }))?;
            marks.push(format!("1.{revision}"));
        }
        let mut before = 0;
        self.wait(
            leader,
            |seen| seen.progress == "confirmed",
            |done| {
                if done > before {
                    before = done;
                    println!(
                        "{:>7.1} s {done} of {HOSTS} kernels do it",
                        clicked.elapsed().as_secs_f64()
                    );
                }
            },
        )?;
        Ok((clicked.elapsed(), marks))
    }

    /// Waits until that is so of every host, as the portal sees it.
    fn wait(
        &self,
        leader: &Leader<'_>,
        is_so: impl Fn(&Seen) -> bool,
        mut told: impl FnMut(usize),
    ) -> Result<()> {
        let since = Instant::now();
        loop {
            let all = leader.sees()?;
            let done = all.iter().filter(|seen| is_so(seen)).count();
            told(done);
            if done == usize::from(HOSTS) {
                return Ok(());
            }
            let other = all.iter().find(|seen| !is_so(seen));
            ensure!(
                since.elapsed() < PATIENCE,
                "{done} of {HOSTS} hosts; one of the others: {other:?}"
            );
            self.interrupt.go_on()?;
            thread::sleep(LOOK);
        }
    }

    fn standing(&self, fleet: &Fleet<'_>) -> Result<Vec<Value>> {
        fleet.each(|host| host.standing())
    }

    /// Every host must do what it did.
    fn compare(&self, fleet: &Fleet<'_>, before: &[Value]) -> Result<()> {
        let now = self.standing(fleet)?;
        for ((host, before), now) in fleet.hosts().iter().zip(before).zip(&now) {
            ensure!(before == now, "{} was {before} and is {now}", host.name);
        }
        self.say("hosts do what they did: policy, generation, programs and data are the same");
        Ok(())
    }

    /// Calls every host from China and from Spain. Spain must reach all, and China so many.
    fn expect(&self, fleet: &Fleet<'_>, phones: &Phones, wanted: usize) -> Result<()> {
        self.interrupt.go_on()?;
        let reached = fleet.reached_from(&phones.china, &phones.spain)?;
        let shown = format!("{:>9} China reaches {reached} of {HOSTS} PBXs, Spain all", "");
        let shown = if reached > 0 { self.style.red(&shown) } else { self.style.green(&shown) };
        println!("{shown}");
        ensure!(reached == wanted, "China reaches {reached} hosts, not {wanted}");
        Ok(())
    }

    fn say(&self, text: &str) {
        println!("{:>7.1} s {HOSTS} {text}", self.began.elapsed().as_secs_f64());
    }

    fn title(&self, text: &str) {
        println!("\n{}", self.style.bold(text));
    }
}

/// Whether what a host did last is none of these.
fn is_older(membership: &Value, marks: &[String]) -> bool {
    let applied = membership["applied"].as_str();
    membership["refused"] != Value::Null || !marks.iter().any(|mark| Some(mark.as_str()) == applied)
}

impl Used {
    fn ensure_gone(&self) -> Result<()> {
        ensure_gone(&self.namespaces)?;
        let mounts = fs::read_to_string("/proc/self/mounts")?;
        for folder in &self.folders {
            let is_mounted = mounts.contains(&*folder.to_string_lossy());
            ensure!(!folder.exists() && !is_mounted, "{} is still there", folder.display());
        }
        Ok(())
    }
}
