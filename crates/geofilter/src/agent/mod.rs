//! The host's daemon. [`Engine`] owns the data plane, on a thread of its own; [`socket`] serves clients, by a [`door`] of root's or of the portal's;
//! [`place`] makes sure there is only one agent; [`store`] keeps the state on disk, and [`unsaved`] what
//! could not be kept there; [`ledger`] is the exemptions and bans, [`fail2ban`] takes those of fail2ban, and [`names`]
//! follows those that are host names; [`scope`] finds the ports to protect, and [`pbx`] hears whom never to cut; [`sources`] is who sends
//! packets, [`evidence`] what the logs of the PBX tell of attempts, [`preview`] whom a policy would cut, [`change`] refuses to; [`geodata`] keeps the world data current, and [`fleet`] does what the portal of a fleet asks, each by a [`child`] without privileges; [`metrics`] is what monitoring reads; [`protected`] remembers the interfaces for the next boot; [`baseline`] proves that nothing remains;
//! [`upkeep`] puts back what others take away.

mod baseline;
mod change;
pub(crate) mod child;
pub(crate) mod clock;
mod door;
mod engine;
mod evidence;
mod fail2ban;
mod fleet;
mod geodata;
mod journal;
mod ledger;
mod log;
mod memory;
mod metrics;
mod names;
mod overrides;
mod pbx;
mod place;
mod plane;
mod preview;
mod protected;
mod records;
mod report;
mod resolver;
mod scope;
mod service;
mod settings;
mod sip;
mod socket;
mod sources;
mod store;
mod unsaved;
mod upkeep;

use std::convert::Infallible;
use std::io;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::Context;
use geofilter_core::book::{self, HostName};
use geofilter_core::wire::{Failure, Reply, Request};
use tokio::net::UnixListener;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use crate::cli::{self, args};
pub(crate) use clock::wall;
use engine::{Answer, Engine, Job};
pub(crate) use geodata::{Wishes, work as work_on_geodata};
pub(crate) use journal::Journal;
pub(crate) use memory::give_back_what_is_large;
use metrics::Listener;
use names::Follower;
pub(crate) use place::take_dir;
use place::{Listeners, Occupied, Serves};
use sd_notify::NotifyState;
use service::Pulse;
pub(crate) use settings::{
    Settings, check, check_text, folders, geodata as geodata_wishes, manager,
};
pub(crate) use sip::{Sip, read as read_sip};
pub(crate) use store::{parse as parse_state, renumber};
use upkeep::Trouble;

/// How often the sockets are looked at.
const RENEWAL: Duration = Duration::from_millis(500);

/// Asks the host's name servers for a name.
///
/// # Errors
/// If that can't be tried.
pub(crate) fn resolve(name: &HostName) -> anyhow::Result<book::Answer> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(resolver::ask(name, &[])))
}

/// `geofilter agent`: runs until told to end, and leaves the filter in force.
pub(crate) fn run(args: args::Agent) -> Result<(), Failure> {
    let ready = |settings: &Settings| {
        tracing::info!(
            socket = %settings.socket().display(),
            interfaces = settings.all_names().join(" "),
            "the agent is ready"
        );
    };
    let read = args.clone();
    let result = Settings::new(args.place, args.config.as_deref()).and_then(|settings| {
        let agent = Agent { read: Some(read), ..Agent::start(settings)? };
        ready(agent.settings());
        agent.until_told(Hangup::Reloads).end()
    });
    result.map_err(|error| cli::failed(format!("{error:#}")))
}

/// What a terminal that closes means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hangup {
    /// The configuration is read anew.
    Reloads,
    /// The agent ends.
    Ends,
}

/// An agent that runs.
pub(crate) struct Agent {
    settings: Settings,
    /// What it was told when it was started, to be read anew.
    read: Option<args::Agent>,
    runtime: Runtime,
    jobs: mpsc::Sender<Job>,
    engine: JoinHandle<()>,
    /// Closed when the engine ends, however it does.
    alive: oneshot::Receiver<()>,
    sockets: Vec<(Serves, UnixListener)>,
    signals: Signals,
    follower: Follower,
    pulse: Pulse,
    occupied: Occupied,
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
    hangup: Signal,
}

impl Signals {
    fn listen() -> anyhow::Result<Self> {
        let signal = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// The signal that tells the agent to end.
    async fn told(&mut self, hangup: Hangup, reload: impl Fn()) -> &'static str {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return "SIGTERM",
                _ = self.interrupt.recv() => return "SIGINT",
                _ = self.quit.recv() => return "SIGQUIT",
                _ = self.hangup.recv() => match hangup {
                    Hangup::Ends => return "SIGHUP",
                    Hangup::Reloads => reload(),
                },
            }
        }
    }
}

impl Agent {
    /// Occupies its place, reconciles with the kernel, and is ready for clients.
    pub(crate) fn start(settings: Settings) -> anyhow::Result<Self> {
        memory::give_back_what_is_large();
        let (settings, occupied, listeners) = Occupied::occupy(settings)?;
        let with = settings.clone();
        let (asker, follower) = names::link();
        let pulse = Pulse::new();
        let beating = pulse.clone();
        Self::serve(settings, occupied, listeners, follower, pulse, move || {
            let engine = Engine::start(with, asker, beating)?;
            Ok(move |inbox: &mpsc::Receiver<Job>| engine.run(inbox))
        })
    }

    /// Starts the engine last, so that nothing is attached by an agent that can't serve.
    fn serve<Run: FnOnce(&mpsc::Receiver<Job>)>(
        settings: Settings,
        occupied: Occupied,
        listeners: Listeners,
        follower: Follower,
        pulse: Pulse,
        start: impl FnOnce() -> anyhow::Result<Run> + Send + 'static,
    ) -> anyhow::Result<Self> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start the runtime")?;
        let (sockets, signals) = runtime.block_on(async {
            let served = |(serves, listener)| Ok((serves, UnixListener::from_std(listener)?));
            let sockets: io::Result<_> = listeners.into_iter().map(served).collect();
            anyhow::Ok((sockets.context("cannot serve the sockets")?, Signals::listen()?))
        })?;
        let (jobs, inbox) = mpsc::channel();
        let (started, begun) = mpsc::channel();
        let (lives, alive) = oneshot::channel();
        let work = move || {
            let _lives: oneshot::Sender<()> = lives;
            match start() {
                Ok(run) => {
                    // It fails when nobody waits for it, and then nobody asks either.
                    let _ = started.send(Ok(()));
                    run(&inbox);
                }
                Err(error) => drop(started.send(Err(error))),
            }
        };
        let engine = thread::Builder::new()
            .name("engine".to_owned())
            .spawn(work)
            .context("cannot start a thread")?;
        begun.recv().context("the engine ended in a panic")??;
        let read = None;
        Ok(Self {
            settings,
            read,
            runtime,
            jobs,
            engine,
            alive,
            sockets,
            signals,
            follower,
            pulse,
            occupied,
        })
    }

    /// What it was started with.
    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Asks the engine as a client would.
    pub(crate) fn ask(&self, request: Request) -> Result<Reply, Failure> {
        ask(&self.jobs, request)
    }

    /// Serves clients until a signal tells it to end, or the engine ends by itself.
    pub(crate) fn until_told(mut self, hangup: Hangup) -> Ending {
        let following = self.follower.run(self.settings.nameservers.clone());
        let reload = || reload(&self.settings, self.read.as_ref(), &self.jobs);
        service::tell(&[NotifyState::Ready]);
        self.runtime.block_on(async {
            tokio::spawn(following);
            tokio::spawn(service::watch(self.pulse));
            let mut serving = Serving { jobs: self.jobs.clone(), tasks: Vec::new() };
            for (serves, listener) in self.sockets {
                serving.serve(serves, listener);
            }
            if let Some(address) = self.settings.metrics {
                tokio::spawn(metrics::serve_at(address, self.jobs.clone()));
            }
            tokio::select! {
                signal = self.signals.told(hangup, reload) => tracing::info!("told to end by {signal}"),
                _ = &mut self.alive => {}
                never = serving.look_after(&mut self.occupied) => match never {},
            }
        });
        service::tell(&[NotifyState::Stopping]);
        // Whoever is still connected is cut off, so that no client changes anything from here on.
        drop(self.runtime);
        Ending {
            settings: self.settings,
            jobs: self.jobs,
            engine: self.engine,
            occupied: self.occupied,
        }
    }

    /// Serves nobody.
    pub(crate) fn at_once(self) -> Ending {
        Ending {
            settings: self.settings,
            jobs: self.jobs,
            engine: self.engine,
            occupied: self.occupied,
        }
    }
}

/// The sockets that are served.
struct Serving {
    jobs: mpsc::Sender<Job>,
    tasks: Vec<(Serves, tokio::task::JoinHandle<()>)>,
}

impl Serving {
    /// Serves at a socket, and no more at the one that was there before.
    fn serve(&mut self, serves: Serves, listener: UnixListener) {
        for (_, task) in self.tasks.extract_if(.., |(of, _)| *of == serves) {
            task.abort();
        }
        let jobs = self.jobs.clone();
        let task = match serves {
            Serves::Clients(door) => tokio::spawn(socket::serve(door, listener, jobs)),
            Serves::Metrics => tokio::spawn(metrics::serve(Listener::Unix(listener), jobs)),
        };
        self.tasks.push((serves, task));
    }

    /// Listens again where somebody has removed a socket, for as long as it is polled.
    async fn look_after(&mut self, occupied: &mut Occupied) -> Infallible {
        let mut trouble = Trouble::default();
        loop {
            tokio::time::sleep(RENEWAL).await;
            let renewed = self.renew(occupied);
            trouble.take(renewed.map_err(|error| {
                format!("nobody can ask this agent: what it listens on was removed: {error:#}")
            }));
        }
    }

    fn renew(&mut self, occupied: &mut Occupied) -> anyhow::Result<()> {
        let renewed = occupied.renew()?;
        if renewed.is_empty() {
            return Ok(());
        }
        for (serves, listener) in renewed {
            self.serve(serves, UnixListener::from_std(listener)?);
        }
        let mended =
            "what the agent listens on was removed from its runtime folder, and was made again";
        // The engine may just end.
        let _ = self.jobs.send(Job::Mended(mended.to_owned()));
        Ok(())
    }
}

/// Reads the configuration anew. What makes no sense changes nothing; what needs a restart is said to.
fn reload(now: &Settings, read: Option<&args::Agent>, jobs: &mpsc::Sender<Job>) {
    let Some(args::Agent { config, place }) = read.cloned() else { return };
    if let Ok(time) = NotifyState::monotonic_usec_now() {
        service::tell(&[NotifyState::Reloading, time]);
    }
    match Settings::new(place, config.as_deref()) {
        Ok(new) => {
            let fixed = now.fixed_beside(&new);
            if !fixed.is_empty() {
                tracing::warn!(
                    needs = fixed.join(", "),
                    "what was changed of these holds after a restart of the agent"
                );
            }
            // The engine may just end.
            let _ = jobs.send(Job::Reload(Box::new(new)));
        }
        Err(error) => tracing::error!(
            "the configuration was not read anew, and what was in force is: {error:#}"
        ),
    }
    service::tell(&[NotifyState::Ready]);
}

/// An agent that serves clients no more.
pub(crate) struct Ending {
    settings: Settings,
    jobs: mpsc::Sender<Job>,
    engine: JoinHandle<()>,
    occupied: Occupied,
}

impl Ending {
    /// Ends the engine and leaves the place. What the kernel holds stays in force.
    ///
    /// # Errors
    /// If the engine had ended before it was told to.
    pub(crate) fn end(self) -> anyhow::Result<()> {
        drop(self.jobs);
        let ended = self.engine.join();
        drop(self.occupied);
        ended.map_err(|_| {
            anyhow::anyhow!(
                "the engine ended in a panic; what the kernel holds stays in force: start the agent again"
            )
        })
    }

    /// Detaches everything and leaves the place, even if the engine is no more.
    pub(crate) fn revert(self) -> Result<Reply, Failure> {
        let reverted = ask(&self.jobs, Request::Off);
        drop(self.jobs);
        let reverted = match self.engine.join() {
            Ok(()) => reverted,
            Err(_) => Engine::start(self.settings, names::link().0, Pulse::new())
                .map_err(|error| cli::failed(format!("{error:#}")))
                .and_then(|mut engine| reply(engine.answer(Request::Off))),
        };
        drop(self.occupied);
        reverted
    }
}

fn ask(jobs: &mpsc::Sender<Job>, request: Request) -> Result<Reply, Failure> {
    let (answer, answered) = oneshot::channel();
    jobs.send(Job::Answer { request, answer }).map_err(|_| ended())?;
    reply(answered.blocking_recv().map_err(|_| ended())?)
}

/// The one answer to whatever has one.
fn reply(answer: Answer) -> Result<Reply, Failure> {
    match answer {
        Answer::Reply(Reply::Error(failure)) => Err(failure),
        Answer::Reply(reply) => Ok(reply),
        Answer::Log { .. } => Err(cli::confused()),
    }
}

fn ended() -> Failure {
    cli::failed("the engine has ended".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An agent whose engine panics when it is asked for the first time.
    fn doomed(dir: &std::path::Path) -> Agent {
        let settings = Settings {
            state_dir: dir.join("state"),
            runtime_dir: dir.join("run"),
            ..Settings::in_memory(dir)
        };
        let (settings, occupied, listeners) = Occupied::occupy(settings).unwrap();
        let start = || {
            Ok(|inbox: &mpsc::Receiver<Job>| {
                if inbox.recv().is_ok() {
                    panic!("this panic is part of the test");
                }
            })
        };
        Agent::serve(settings, occupied, listeners, names::link().1, Pulse::new(), start).unwrap()
    }

    #[test]
    fn an_agent_whose_engine_has_ended_ends_and_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let agent = doomed(dir.path());
        assert!(agent.ask(Request::Status).is_err());
        let error = agent.until_told(Hangup::Reloads).end().unwrap_err();
        assert!(error.to_string().contains("panic"), "{error}");
        assert!(!dir.path().join("run").exists());
    }

    #[test]
    fn what_is_to_be_reverted_is_reverted_without_the_engine() {
        let dir = tempfile::tempdir().unwrap();
        let agent = doomed(dir.path());
        assert!(agent.ask(Request::Status).is_err());
        let reverted = agent.until_told(Hangup::Ends).revert();
        assert!(matches!(reverted, Ok(Reply::Changed(_))), "{reverted:?}");
    }
}
