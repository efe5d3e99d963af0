//! [`run`]: what a machine does once its kernel is up: each data plane in turn, by the real binary's own commands, with packets on
//! a wire between two network namespaces. It is the first process there, and ends the machine.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::symlink;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fs, thread};

use anyhow::{Context, Result, bail, ensure};
use geofilter_core::clock::Clock;
use geofilter_core::country::{CountrySet, select};
use geofilter_core::decide::{Overrides, decide_source, is_global};
use geofilter_core::desired::{Action, AttachmentKind, Bank, Desired, Generation};
use geofilter_core::geodata::embedded;
use geofilter_core::overrides::Table;
use geofilter_core::policy::{Disputed, Mode, Policy, Verdict};
use geofilter_core::world::World;
use geofilter_dataplane::kernel::Kernel;
use geofilter_dataplane::{Backend, Preference, features};
use rustix::mount::{MountFlags, mount};
use rustix::process::Signal;
use rustix::system::{RebootCommand, reboot, uname};

use crate::addresses::Addresses;
use crate::gun::frame;
use crate::kernels::devices::INTERFACES;
use crate::kernels::report::{BACKENDS, DEVICES, END, MACHINE, Missing, Step};
use crate::namespace::succeed;
use crate::neighbours::snapshot;
use crate::process::Agent;
use crate::site::{PBX_V4, SIP, Site, WAN, next};
use crate::verdicts::Verdicts;

/// Every so many borders of the world one address is asked about.
const EVERY: usize = 199;
/// A change is on trial for so long, and for so many times as long as one took just before: a machine that is emulated, on a computer
/// with much else to do, takes long for one. By when after that it has to be gone.
const TRIAL: Duration = Duration::from_secs(3);
const TIMES: u32 = 3;
const GONE: Duration = Duration::from_secs(4);
/// By then a datagram that passes has arrived.
const ARRIVES: Duration = Duration::from_millis(500);
/// An interface whose packets have no Ethernet header.
const TUNNEL: &str = "tun0";

/// Goes through everything, says how each step went, and ends the machine.
pub fn run() {
    let outcome = prepare().and_then(|()| everything());
    if let Err(error) = outcome {
        say(MACHINE, "failed", Err(error), Duration::ZERO);
    }
    say(MACHINE, END, Ok(String::new()), Duration::ZERO);
    // With what was said still on its way the console would lose it.
    thread::sleep(Duration::from_millis(100));
    if let Err(error) = reboot(RebootCommand::Restart) {
        eprintln!("cannot end the machine: {error}");
    }
}

/// Mounts what every Linux has.
fn prepare() -> Result<()> {
    for (kind, place) in [
        ("proc", "/proc"),
        ("sysfs", "/sys"),
        ("devtmpfs", "/dev"),
        ("devpts", "/dev/pts"),
        ("tmpfs", "/run"),
        ("cgroup2", "/sys/fs/cgroup"),
        ("bpf", "/sys/fs/bpf"),
        ("securityfs", "/sys/kernel/security"),
    ] {
        fs::create_dir_all(place)?;
        let mounted = mount(kind, place, kind, MountFlags::empty(), None);
        mounted.with_context(|| format!("mount {place}"))?;
    }
    // What udev would do.
    symlink("/proc/self/fd", "/dev/fd")?;
    symlink("/proc/self/fd/0", "/dev/stdin")?;
    succeed(Command::new("modprobe").arg("tun"))?;
    succeed(Command::new("ip").args(["link", "set", "lo", "up"])).map(drop)
}

fn everything() -> Result<()> {
    let release = uname().release().to_string_lossy().into_owned();
    say(MACHINE, "release", Ok(release), Duration::ZERO);
    let version = |program: &str, word: &str| -> Result<String> {
        let output = succeed(Command::new(program).arg(word))?;
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        Ok(said.lines().next().unwrap_or_default().trim().to_owned())
    };
    say(MACHINE, "nft", version("nft", "--version"), Duration::ZERO);
    let lacking = features::lacking().context("probe the kernel").map(|lacking| lacking.join(", "));
    say(MACHINE, "probe", lacking.and_then(none), Duration::ZERO);
    let world = embedded::world()?.world;
    for backend in BACKENDS {
        Trial { backend, world: &world }.run();
    }
    for interface in INTERFACES {
        step(DEVICES, interface.name, || interface.check(&world));
    }
    say(MACHINE, "missing", missing(), Duration::ZERO);
    Ok(())
}

/// Whether something succeeded, which is said.
fn step(backend: &str, name: &str, work: impl FnOnce() -> Result<String>) -> bool {
    let began = Instant::now();
    let outcome = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().cloned();
        let said = said.or_else(|| panic.downcast_ref::<&str>().map(|it| (*it).to_owned()));
        bail!("{}", said.unwrap_or_default())
    });
    let passed = outcome.is_ok();
    say(backend, name, outcome, began.elapsed());
    passed
}

fn none(lacking: String) -> Result<String> {
    ensure!(lacking.is_empty(), "the kernel lacks {lacking}");
    Ok(lacking)
}

/// What this kernel lacks, by what the agent did about it where that can be seen.
fn missing() -> Result<String> {
    let site = Site::new()?;
    let agent = Agent::start(&site.host, &["--backend", "tc", "--interface", WAN])?;
    agent.json(&["allow", "ES", "--yes"])?;
    let pid = agent.pid().context("no agent runs")?.as_raw_nonzero();
    let limits = fs::read_to_string(format!("/proc/{pid}/limits"))?;
    let raised = |line: &str| line.starts_with("Max locked memory") && line.contains("unlimited");
    let modules = fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_default();
    let lacks = |missing: &Missing| -> Result<bool> {
        Ok(match missing {
            Missing::Tcx => has_clsact(&site)?,
            Missing::Memory => limits.lines().any(raised),
            Missing::Landlock => !modules.contains("landlock"),
        })
    };
    let mut words = Vec::new();
    for missing in Missing::ALL {
        if lacks(&missing)? {
            words.push(missing.word());
        }
    }
    Ok(words.join(" "))
}

/// Whether the interface has the qdisc that stands in for links.
fn has_clsact(site: &Site) -> Result<bool> {
    Ok(site.host.command("tc", &["qdisc", "show", "dev", WAN])?.contains("clsact"))
}

/// One data plane.
struct Trial<'a> {
    backend: &'static str,
    world: &'a World,
}

impl Trial<'_> {
    /// Goes on as long as steps succeed: what comes after a failure would tell of that alone.
    fn run(&self) {
        let mut host = None;
        let laid_out = self.step("site", || {
            let site = Site::new()?;
            let before = snapshot(&site.host)?;
            host = Some((site, before));
            Ok(String::new())
        });
        let Some((site, before)) = host.filter(|_| laid_out) else { return };
        let mut agent = None;
        let words = ["--backend", self.backend, "--interface", WAN];
        let started = self.step("load", || {
            let started = Agent::start(&site.host, &words)?;
            self.load(&site, agent.insert(started))
        });
        let Some(mut agent) = agent.filter(|_| started) else { return };
        let _ = self.step("attach", || self.attach(&site, &agent))
            && self.step("oracle", || self.oracle(&site, &agent))
            && self.step("dead-man", || self.dead_man(&site, &mut agent))
            && self.step("off", || self.off(&site, &mut agent, &before));
    }

    fn step(&self, name: &str, work: impl FnOnce() -> Result<String>) -> bool {
        step(self.backend, name, work)
    }

    /// The kernel takes what this data plane puts into it.
    fn load(&self, site: &Site, agent: &Agent<'_>) -> Result<String> {
        match self.backend {
            "xdp" => self.load_and_judge(site),
            "tc" => self.load_without_ethernet(site),
            _ => agent.json(&["allow", "ES", "--yes"]).map(|_| String::new()),
        }
    }

    /// All programs for frames, attached nowhere: the kernel runs one of each kind in its place.
    fn load_and_judge(&self, site: &Site) -> Result<String> {
        let folder = tempfile::Builder::new().prefix("gf").tempdir()?;
        let policy = Policy::new(Mode::AllowSelected, select(["ES"])?);
        let action = Action::Enforce;
        let bank = Bank { generation: Generation(1), action, policy: Arc::new(policy) };
        let desired = Desired { active: bank, fallback: None };
        let nothing = Table::compile(&Overrides::default())?;
        let addresses = Addresses::new(self.world);
        let frames = ["ES", "CN"].map(|country| frame(addresses.v4(country).into()));
        let verdicts = site.host.inside(|| -> Result<_, geofilter_dataplane::Error> {
            let folder = folder.path().to_owned();
            let mut kernel = Kernel::new(Vec::new(), Preference::Auto, folder);
            kernel.load(self.world, &nothing, &desired, Clock::default())?;
            let judge = kernel.judge()?;
            let mut verdicts = Vec::new();
            for kind in [AttachmentKind::XdpNative, AttachmentKind::Tc] {
                for frame in &frames {
                    verdicts.push(judge.run(kind, frame, 1)?);
                }
            }
            // It holds the programs.
            drop(judge);
            kernel.detach()?;
            Ok(verdicts)
        })??;
        let expected = [Verdict::Pass, Verdict::Drop, Verdict::Pass, Verdict::Drop];
        ensure!(verdicts == expected, "they judge {verdicts:?}");
        Ok(String::new())
    }

    /// Also what judges and tracks packets without Ethernet headers.
    fn load_without_ethernet(&self, site: &Site) -> Result<String> {
        site.host.ip(&format!("tuntap add dev {TUNNEL} mode tun"))?;
        site.host.ip(&format!("link set {TUNNEL} up"))?;
        site.host.ip(&format!("address add 198.18.0.1/30 dev {TUNNEL}"))?;
        let agent = Agent::start(&site.host, &["--backend", "tc", "--interface", TUNNEL])?;
        agent.json(&["allow", "ES", "--yes"])?;
        let kind = attachment(&agent)?;
        ensure!(kind == "tc", "on {TUNNEL}: {kind}");
        turn_off(&agent)?;
        drop(agent);
        site.host.ip(&format!("link del {TUNNEL}"))?;
        Ok("with and without Ethernet headers".to_owned())
    }

    /// The program sits where it was asked to, and learns whom the PBX asks.
    fn attach(&self, site: &Site, agent: &Agent<'_>) -> Result<String> {
        agent.json(&["allow", "ES", "PT", "--yes"])?;
        let kind = attachment(agent)?;
        let expected = match self.backend {
            "xdp" => "xdp-native",
            other => other,
        };
        ensure!(kind == expected, "attached as {kind}");
        let warnings = agent.json(&["status"])?["warnings"].clone();
        ensure!(warnings.as_array().is_some_and(Vec::is_empty), "warnings: {warnings}");
        let abroad = Addresses::new(self.world).v4("CN");
        let pbx = site.listen(PBX_V4, SIP)?;
        let trunk = site.anywhere(abroad, SIP)?;
        pbx.set_read_timeout(Some(ARRIVES))?;
        let arrives = || -> Result<bool> {
            trunk.send_to(b"OPTIONS sip:pbx.example SIP/2.0\r\n\r\n", (PBX_V4, SIP))?;
            Ok(next(&pbx).is_ok())
        };
        ensure!(!arrives()?, "a blocked source is let in");
        pbx.send_to(b"REGISTER sip:trunk.example SIP/2.0\r\n\r\n", (abroad, SIP))?;
        next(&trunk)?;
        ensure!(arrives()?, "a trunk that the PBX registers at is kept out");
        if self.backend == "nft" {
            return Ok("nftables".to_owned());
        }
        let by_tc = if has_clsact(site)? { "clsact" } else { "TCX" };
        Ok(match self.backend {
            "xdp" => format!("native, the tracker by {by_tc}"),
            _ => by_tc.to_owned(),
        })
    }

    /// Each address fares as the decision says, and each that is dropped is counted.
    fn oracle(&self, site: &Site, agent: &Agent<'_>) -> Result<String> {
        let mut asked = 0;
        for (words, policy) in policies()? {
            let before = dropped(agent)?;
            agent.json(&words)?;
            let passes = |source: &IpAddr| {
                decide_source(*source, &policy, self.world).verdict == Verdict::Pass
            };
            let mut wrong = 0;
            for sources in probes(self.world) {
                let expected: HashSet<IpAddr> = sources.iter().copied().filter(passes).collect();
                let witness = expected.iter().next().context("nobody is let in")?;
                let passing = Verdicts::new(site, *witness)?.passing(&sources)?;
                let differ: Vec<_> = passing.symmetric_difference(&expected).collect();
                ensure!(differ.is_empty(), "under {words:?} other verdicts for {differ:?}");
                ensure!(expected.len() > 10, "under {words:?} only {} pass", expected.len());
                wrong += sources.len() - expected.len();
                asked += sources.len();
            }
            let counted = dropped(agent)? - before;
            ensure!(counted == wrong as u64, "{counted} of {wrong} drops are counted");
        }
        Ok(asked.to_string())
    }

    /// A change on trial ends by itself with the agent dead.
    fn dead_man(&self, site: &Site, agent: &mut Agent<'_>) -> Result<String> {
        let addresses = Addresses::new(self.world);
        let (home, trial) = (addresses.v4("ES"), addresses.v4("PT"));
        let pbx = site.listen(PBX_V4, SIP)?;
        pbx.set_read_timeout(Some(ARRIVES))?;
        let arrives = |source: Ipv4Addr| -> Result<bool> {
            site.send(source, SIP, b"OPTIONS sip:pbx.example SIP/2.0\r\n\r\n")?;
            // Who was late before does not count.
            loop {
                match next(&pbx) {
                    Ok((_, from)) if from.ip() == IpAddr::V4(source) => return Ok(true),
                    Ok(_) => {}
                    Err(_) => return Ok(false),
                }
            }
        };
        let began = Instant::now();
        agent.json(&["allow", "ES", "--yes"])?;
        let seconds = (TRIAL + TIMES * began.elapsed()).as_secs();
        ensure!(arrives(home)? && !arrives(trial)?, "the policy before is not in force");
        let (within, lasts) = (format!("{seconds}s"), Duration::from_secs(seconds));
        let asked = Instant::now();
        agent.json(&["allow", "ES", "PT", "--confirm-within", &within])?;
        let armed = Instant::now();
        agent.signal(Signal::KILL)?;
        agent.kill()?;
        ensure!(arrives(trial)?, "the change on trial is not in force");
        while arrives(trial)? {
            ensure!(armed.elapsed() < lasts + GONE, "the change is in force beyond its deadline");
        }
        let early = asked.elapsed() < lasts - Duration::from_millis(50);
        ensure!(!early, "the change went back before its deadline");
        ensure!(arrives(home)?, "who was let in before is kept out");
        Ok(String::new())
    }

    /// Nothing of it remains, and everything passes.
    fn off(&self, site: &Site, agent: &mut Agent<'_>, before: &str) -> Result<String> {
        agent.restart(None)?;
        let status = agent.json(&["status"])?;
        ensure!(status["countries"] == serde_json::json!(["ES"]), "{}", status["countries"]);
        turn_off(agent)?;
        let after = snapshot(&site.host)?;
        let lines = |of: &str, other: &str| -> Vec<String> {
            of.lines().filter(|line| !other.contains(line)).map(str::to_owned).collect()
        };
        let (gone, new) = (lines(before, &after), lines(&after, before));
        ensure!(gone.is_empty() && new.is_empty(), "gone: {gone:?}, new: {new:?}");
        ensure!(!agent.runtime_dir().join("bpf").exists(), "pins are left");
        let pbx = site.listen(PBX_V4, SIP)?;
        pbx.set_read_timeout(Some(ARRIVES))?;
        site.send(Addresses::new(self.world).v4("CN"), SIP, b"OPTIONS")?;
        next(&pbx).context("something still drops")?;
        Ok(String::new())
    }
}

fn attachment(agent: &Agent<'_>) -> Result<String> {
    let status = agent.json(&["status"])?;
    let kind = status["attachments"][0]["kind"].as_str().context("nothing is attached")?;
    Ok(kind.to_owned())
}

fn turn_off(agent: &Agent<'_>) -> Result<()> {
    let proof = agent.json(&["off"])?["proof"].clone();
    ensure!(proof["clean"] == true, "{proof}");
    let theirs = &proof["changed_by_others"];
    ensure!(
        theirs.as_array().is_some_and(Vec::is_empty),
        "others are said to have changed {theirs}"
    );
    Ok(())
}

fn dropped(agent: &Agent<'_>) -> Result<u64> {
    agent.json(&["status"])?["dropped"]["packets"].as_u64().context("the drops are counted")
}

/// The commands, and the policies that they mean.
fn policies() -> Result<[(Vec<&'static str>, Policy); 2]> {
    let of = |codes: &[&str]| -> Result<CountrySet> { Ok(select(codes.iter().copied())?) };
    let countries = of(&["ES", "PT"])?;
    let allow = Policy {
        hosting: Verdict::Drop,
        disputed: Disputed::Strict,
        ..Policy::new(Mode::AllowSelected, countries)
    };
    let block =
        Policy { disputed: Disputed::Lenient, ..Policy::new(Mode::BlockSelected, countries) };
    // The sets of nftables are no larger for the one than for the other.
    let commands = [
        "allow ES PT --hosting drop --disputed strict --accept-risk lose-trunk --yes",
        "block ES PT --disputed lenient --yes",
    ];
    let [first, second] = commands.map(|words| words.split(' ').collect());
    Ok([(first, allow), (second, block)])
}

/// Addresses at borders of the world, of each family, and some of them as tunnels carry them.
fn probes(world: &World) -> [Vec<IpAddr>; 2] {
    let v4 = world.v4().iter().step_by(EVERY).map(|(start, _)| Ipv4Addr::from(start));
    // Nobody sends from nowhere.
    let v4 = v4.filter(|address| is_global((*address).into()) && !address.is_unspecified());
    let v4: Vec<Ipv4Addr> = v4.collect();
    let v6 = world.v6().iter().step_by(EVERY).map(|(start, _)| Ipv6Addr::from(start));
    let v6 = v6.filter(|address| is_global((*address).into()) && !address.is_unspecified());
    let inside = v4.iter().step_by(20).map(|address| u128::from(u32::from(*address)));
    let tunnels = inside.flat_map(|v4| [0x2002 << 112 | v4 << 80 | 1, 0x64_ff9b << 96 | v4]);
    let v6 = v6.chain(tunnels.map(Ipv6Addr::from)).map(IpAddr::V6).collect();
    [v4.into_iter().map(IpAddr::V4).collect(), v6]
}

fn say(backend: &str, step: &str, outcome: Result<String>, took: Duration) {
    let passed = outcome.is_ok();
    let said = outcome.unwrap_or_else(|error| format!("{error:#}"));
    let step = Step {
        backend: backend.to_owned(),
        step: step.to_owned(),
        passed,
        said,
        seconds: took.as_secs_f64(),
    };
    println!("{}", step.line());
}
