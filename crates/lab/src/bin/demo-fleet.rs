//! The demonstration of a fleet: fifty PBX hosts and the portal that leads them, between network namespaces of its own. Every figure
//! it prints was measured in this run. It takes everything down, also when interrupted.

use std::cell::Cell;
use std::net::UdpSocket;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use std::{fs, thread};

use anyhow::{Result, ensure};
use geofilter_core::geodata::embedded;
use geofilter_lab::addresses::Addresses;
use geofilter_lab::fleet::{Fleet, Host, crew};
use geofilter_lab::interrupt::Interrupt;
use geofilter_lab::leader::{Leader, Seen};
use geofilter_lab::namespace::{Namespace, ensure_gone, processes_in};
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
    let began = Instant::now();
    let (style, last) = (Style::choose(), Cell::new(began));
    let demo = Demo { interrupt: interrupt.clone(), style, began, last };
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
    /// When the last thing was done.
    last: Cell<Instant>,
}

/// Who calls.
struct Phones {
    china: UdpSocket,
    spain: UdpSocket,
}

/// What there was, and must be gone afterwards.
struct Used {
    namespaces: Vec<String>,
    inodes: Vec<u64>,
    folders: Vec<PathBuf>,
}

impl Demo {
    /// Shows all of it, and takes it down. Returns how long it took from the choice to the last host.
    fn show(&self) -> Result<Duration> {
        let title = format!(
            "GeoFilter on {HOSTS} PBX hosts, in network namespaces of their own, and the portal that leads them"
        );
        println!("{}", self.style.bold(&title));
        let sites = Sites::new()?;
        let hosts = self.attach(&sites)?;
        let all = hosts.iter().map(|host| &host.namespace).chain([&sites.internet]);
        let namespaces: Vec<_> = all.clone().map(|it| it.name().to_owned()).collect();
        let inodes = all.map(Namespace::inode).collect::<Result<_>>()?;
        let (took, folders) = self.lead(&sites, &hosts)?;
        drop((hosts, sites));
        Used { namespaces, inodes, folders }.ensure_gone()?;
        println!(
            "The namespaces, the portal and its database are gone too. {:.0} s in all.\n",
            self.began.elapsed().as_secs_f64()
        );
        Ok(took)
    }

    fn attach(&self, sites: &Sites) -> Result<Vec<Attached>> {
        let numbers: Vec<u8> = (0..HOSTS).collect();
        let interrupt = &self.interrupt;
        let attached = crew(&numbers, |number| {
            interrupt.go_on()?;
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
        let (took, marks) = self.choose(&leader, &groups)?;
        self.expect(&fleet, &phones, 0)?;
        self.lose(&mut leader, &fleet, &phones, &marks)?;

        self.title("Leave, and off: every machine is as it was");
        fleet.revert()?;
        self.say("hosts are off: links, addresses, TC filters and nftables are those of before");
        self.expect(&fleet, &phones, usize::from(HOSTS))?;
        Ok((took, folders))
    }

    /// Has each host observe, and makes it one of a group.
    fn enrol(&self, leader: &Leader<'_>, fleet: &Fleet<'_>) -> Result<Vec<i64>> {
        let by = fleet.observe()?;
        self.say(&format!("hosts observe, by {by}: everything passes and is counted"));
        let groups = GROUPS.iter().map(|name| leader.make_group(name));
        let groups = groups.collect::<Result<Vec<_>>>()?;
        fleet.each(|host| leader.enrol(host, groups[group_of(host)]))?;
        fleet.come_to(|it| it["connected"] == true)?;
        self.wait(leader, |seen| seen.is_connected && seen.progress == "free", |_| {})?;
        self.say(&format!("hosts are enrolled, in the groups {}", GROUPS.join(" and ")));
        let each = fleet.memory()? / u64::from(HOSTS) / 1_000_000;
        Self::add(&self.style.faint(&format!(
            "An agent, with the process that speaks to the portal, takes {each} MB of memory"
        )));
        Ok(groups)
    }

    /// Chooses for each group. Returns how long it took until the portal heard of the last host that its kernel does it, and what
    /// each group was asked then.
    fn choose(&self, leader: &Leader<'_>, groups: &[i64]) -> Result<(Duration, Vec<String>)> {
        self.title("One choice: only Spain may call");
        let policy = json!({ "mode": "allow", "countries": ["ES"] });
        let clicked = Instant::now();
        let told = groups.iter().map(|group| leader.choose(*group, &policy));
        let marks = told.map(|revision| Ok(format!("1.{}", revision?))).collect::<Result<_>>()?;
        let mut before = 0;
        let tell = |done| {
            if done > before {
                before = done;
                let took = clicked.elapsed().as_secs_f64();
                println!("{took:>7.1} s  {done} of {HOSTS} kernels do it");
            }
        };
        self.wait(leader, |seen| seen.progress == "confirmed", tell)?;
        Ok((clicked.elapsed(), marks))
    }

    /// Kills the portal and starts it again: no host may change by that.
    fn lose(
        &self,
        leader: &mut Leader<'_>,
        fleet: &Fleet<'_>,
        phones: &Phones,
        marks: &[String],
    ) -> Result<()> {
        let before = self.standing(fleet)?;
        self.title("The portal is killed");
        leader.kill()?;
        fleet.come_to(|it| it["connected"] == false)?;
        self.say("hosts know that it is gone");
        self.compare(fleet, &before)?;
        self.expect(fleet, phones, 0)?;

        self.title("It is back, on the same database");
        leader.restart()?;
        fleet.come_to(|it| it["connected"] == true)?;
        self.wait(leader, |seen| seen.is_connected && seen.progress == "confirmed", |_| {})?;
        fleet.each(|host| {
            let (said, mark) = (host.membership()?, &marks[group_of(host)]);
            let is_newest = said["applied"] == **mark && said["received"] == **mark;
            ensure!(is_newest && said["refused"].is_null(), "it is not at {mark}: {said}");
            Ok(())
        })?;
        self.say("hosts are connected again, none on an older revision");
        self.compare(fleet, &before)?;
        self.expect(fleet, phones, 0)
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
        let shown =
            format!("A call from China reaches {reached} of {HOSTS} PBXs, one from Spain all");
        let shown = if reached > 0 { self.style.red(&shown) } else { self.style.green(&shown) };
        Self::add(&shown);
        ensure!(reached == wanted, "China reaches {reached} hosts, not {wanted}");
        Ok(())
    }

    /// Says what was done, and how long it took.
    fn say(&self, text: &str) {
        let took = self.last.replace(Instant::now()).elapsed();
        println!("{:>7.1} s  {HOSTS} {text}", took.as_secs_f64());
    }

    /// Says something of it besides.
    fn add(text: &str) {
        println!("{:11}{text}", "");
    }

    fn title(&self, text: &str) {
        self.last.set(Instant::now());
        println!("\n{}", self.style.bold(text));
    }
}

/// The first half of the hosts is in one group, the other one in the other.
fn group_of(host: &Host<'_>) -> usize {
    host.number * GROUPS.len() / usize::from(HOSTS)
}

impl Used {
    fn ensure_gone(&self) -> Result<()> {
        ensure_gone(&self.namespaces)?;
        let mounts = fs::read_to_string("/proc/self/mounts")?;
        for folder in &self.folders {
            let is_mounted = mounts.contains(&*folder.to_string_lossy());
            ensure!(!folder.exists() && !is_mounted, "{} is still there", folder.display());
        }
        // What an agent had started hears of its end.
        let since = Instant::now();
        loop {
            let left = processes_in(&self.inodes)?;
            if left.is_empty() {
                return Ok(());
            }
            ensure!(since.elapsed() < PATIENCE, "still running: {}", left.join(" "));
            thread::sleep(LOOK);
        }
    }
}
