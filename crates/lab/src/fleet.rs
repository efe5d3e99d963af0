//! [`Fleet`]: hosts that run the real binary's agent each, and what reaches their PBXs. [`crew`] does something at many of them at a time.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::interrupt::Interrupt;
use crate::namespace::Namespace;
use crate::neighbours::snapshot;
use crate::phones::INVITE;
use crate::process::Agent;
use crate::site::{SIP, WAN};
use crate::sites::Attached;

/// How long what was sent may be on its way.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a host may take to come to something.
const MOMENT: Duration = Duration::from_secs(60);
/// How often it is looked at meanwhile.
const LOOK: Duration = Duration::from_millis(50);
/// Hosts that something is done at at a time.
const CREW: usize = 8;

/// What `status` says of a host that is the same for as long as nobody changes anything there.
const STANDING: [&str; 12] = [
    "state",
    "mode",
    "countries",
    "unknown",
    "hosting",
    "disputed",
    "scope",
    "time_boxes",
    "generation",
    "backend",
    "attachments",
    "data",
];

/// A host.
#[derive(Debug)]
pub struct Host<'a> {
    /// Which of them it is, from 0.
    pub number: usize,
    /// What it is called.
    pub name: String,
    /// Its agent.
    pub agent: Agent<'a>,
    namespace: &'a Namespace,
    address: Ipv4Addr,
    pbx: UdpSocket,
    /// The machine before the agent came.
    before: String,
}

/// The hosts. They are turned off when this is dropped.
#[derive(Debug)]
pub struct Fleet<'a> {
    hosts: Vec<Host<'a>>,
    interrupt: Interrupt,
}

impl<'a> Host<'a> {
    /// Has a PBX listen there, and an agent that is off.
    fn start(number: usize, site: &'a Attached) -> Result<Self> {
        let name = format!("pbx-{:02}", number + 1);
        let Attached { namespace, address } = site;
        let pbx = namespace.inside(|| UdpSocket::bind((*address, SIP)))?.context("be a PBX")?;
        pbx.set_read_timeout(Some(PATIENCE))?;
        let before = snapshot(namespace)?;
        let mut agent = Agent::prepare(namespace, &["--interface", WAN])?;
        agent.set_apart().restart(None)?;
        Ok(Self { number, name, agent, namespace, address: *address, pbx, before })
    }

    /// Does something there, which is told its address.
    ///
    /// # Errors
    /// If its namespace is gone.
    pub fn inside<R: Send>(&self, act: impl FnOnce(Ipv4Addr) -> R + Send) -> Result<R> {
        self.namespace.inside(|| act(self.address))
    }

    /// What it says of itself.
    ///
    /// # Errors
    /// If it does not.
    pub fn status(&self) -> Result<Value> {
        self.agent.json(&["status"])
    }

    /// What it does: the part of that which does not count packets.
    ///
    /// # Errors
    /// If it does not say.
    pub fn standing(&self) -> Result<Value> {
        let status = self.status()?;
        Ok(STANDING.iter().map(|&part| (part.to_owned(), status[part].clone())).collect())
    }

    /// How it stands with its portal.
    ///
    /// # Errors
    /// If it does not say.
    pub fn membership(&self) -> Result<Value> {
        Ok(self.status()?["fleet"].clone())
    }

    /// Waits until that is so of how it stands with its portal.
    fn comes_to(&self, interrupt: &Interrupt, is_so: impl Fn(&Value) -> bool) -> Result<()> {
        let since = Instant::now();
        loop {
            let said = self.membership()?;
            if is_so(&said) {
                return Ok(());
            }
            ensure!(since.elapsed() < MOMENT, "it stays so with its portal: {said}");
            interrupt.go_on()?;
            thread::sleep(LOOK);
        }
    }

    /// Leaves its portal and turns it off. The machine must be as it was.
    fn revert(&self) -> Result<()> {
        self.agent.json(&["leave"])?;
        let proof = self.agent.json(&["off"])?["proof"].clone();
        ensure!(proof["clean"] == true, "`off` left something: {proof}");
        let now = snapshot(self.namespace)?;
        let is_in = |text: &str, line: &str| text.lines().any(|other| other == line);
        let gone = self.before.lines().find(|line| !is_in(&now, line));
        let new = now.lines().find(|line| !is_in(&self.before, line));
        ensure!(now == self.before, "the machine is not as it was: gone {gone:?}, new {new:?}");
        let pins = self.agent.runtime_dir().join("bpf");
        ensure!(!pins.exists(), "{} is still there", pins.display());
        Ok(())
    }

    /// Which of two it was reached from, when both sent something.
    fn reached_from(&self, stranger: &UdpSocket, friend: &UdpSocket) -> Result<bool> {
        let (stranger, friend) = (stranger.local_addr()?, friend.local_addr()?);
        let (mut reached, mut packet) = (false, [0; 2048]);
        loop {
            let (_, from) = self.pbx.recv_from(&mut packet).context("Spain did not reach it")?;
            match from {
                from if from == friend => break,
                from if from == stranger => reached = true,
                from => bail!("a packet came from {from}"),
            }
        }
        // What was overtaken.
        self.pbx.set_nonblocking(true)?;
        while let Ok((_, from)) = self.pbx.recv_from(&mut packet) {
            reached |= from == stranger;
        }
        self.pbx.set_nonblocking(false)?;
        Ok(reached)
    }
}

impl<'a> Fleet<'a> {
    /// Starts an agent at each of these.
    ///
    /// # Errors
    /// If one does not start.
    pub fn start(sites: &'a [Attached], interrupt: &Interrupt) -> Result<Self> {
        let named: Vec<_> = sites.iter().enumerate().collect();
        let started = crew(&named, |(number, site)| {
            interrupt.go_on()?;
            Host::start(*number, site)
        });
        let mut fleet = Self { hosts: Vec::new(), interrupt: interrupt.clone() };
        let mut failed = None;
        for host in started {
            match host {
                Ok(host) => fleet.hosts.push(host),
                Err(error) => failed = Some(error),
            }
        }
        // Those that did are turned off.
        failed.map_or(Ok(fleet), Err)
    }

    /// Them.
    pub fn hosts(&self) -> &[Host<'a>] {
        &self.hosts
    }

    /// Does something at each.
    ///
    /// # Errors
    /// If it fails at one, which is named.
    pub fn each<R: Send>(&self, work: impl Fn(&Host<'a>) -> Result<R> + Sync) -> Result<Vec<R>> {
        let done = crew(&self.hosts, |host| {
            self.interrupt.go_on()?;
            work(host).with_context(|| host.name.clone())
        });
        done.into_iter().collect()
    }

    /// Waits until that is so of how each stands with its portal.
    ///
    /// # Errors
    /// If one does not come to it in time.
    pub fn come_to(&self, is_so: impl Fn(&Value) -> bool + Sync) -> Result<()> {
        self.each(|host| host.comes_to(&self.interrupt, &is_so)).map(drop)
    }

    /// How many PBXs a call from there reaches. One of a friend must reach all.
    ///
    /// # Errors
    /// If it does not.
    pub fn reached_from(&self, stranger: &UdpSocket, friend: &UdpSocket) -> Result<usize> {
        for phone in [stranger, friend] {
            for host in &self.hosts {
                let to = SocketAddr::from((host.address, SIP));
                phone.send_to(INVITE.as_bytes(), to).with_context(|| host.name.clone())?;
            }
        }
        let reached = self
            .hosts
            .iter()
            .map(|host| host.reached_from(stranger, friend).with_context(|| host.name.clone()));
        Ok(reached.collect::<Result<Vec<_>>>()?.into_iter().filter(|reached| *reached).count())
    }

    /// Has each observe, as a host does that was just set up. Returns what by.
    ///
    /// # Errors
    /// If one does not.
    pub fn observe(&self) -> Result<String> {
        let mut backends = self.each(|host| {
            host.agent.json(&["observe"])?;
            let status = host.status()?;
            ensure!(status["state"] == "observing", "it does not observe: {status}");
            Ok(status["backend"].as_str().context("no backend")?.to_owned())
        })?;
        backends.sort();
        backends.dedup();
        Ok(backends.join(" and "))
    }

    /// Has each leave its portal, and turns it off. Every machine must be as it was.
    ///
    /// # Errors
    /// If one is not.
    pub fn revert(&self) -> Result<()> {
        self.each(Host::revert).map(drop)
    }

    /// What its agents take of memory, in bytes, of which each counts what it shares in part; with the processes that speak to the portal.
    ///
    /// # Errors
    /// If the kernel does not say.
    pub fn memory(&self) -> Result<u64> {
        let agent = |host: &Host<'_>| -> Result<u64> {
            let agent = host.agent.pid().context("no agent runs")?.as_raw_nonzero().get();
            let children = host.agent.children()?;
            let all = children.into_iter().chain([agent.cast_unsigned()]);
            Ok(all.filter_map(|process| resident(process).ok()).sum())
        };
        self.hosts.iter().map(agent).sum()
    }
}

impl Drop for Fleet<'_> {
    fn drop(&mut self) {
        let hosts: Vec<_> = self.hosts.drain(..).map(|host| Mutex::new(Some(host))).collect();
        crew(&hosts, |host| drop(host.lock().unwrap_or_else(PoisonError::into_inner).take()));
    }
}

/// Does something with each of these, some at a time.
///
/// # Panics
/// If that does.
pub fn crew<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let go = || {
        let mut done = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(at) else { return done };
            done.push((at, work(item)));
        }
    };
    let mut done = thread::scope(|scope| {
        let members: Vec<_> = (0..CREW).map(|_| scope.spawn(go)).collect();
        let mut done = Vec::new();
        for member in members {
            match member.join() {
                Ok(its) => done.extend(its),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        done
    });
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}

/// The proportional part of what a process has in memory, in bytes.
fn resident(process: u32) -> io::Result<u64> {
    let rollup = fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    Ok(kibibytes.unwrap_or(0) * 1024)
}
