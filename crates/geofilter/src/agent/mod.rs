//! The host's daemon. [`Engine`] owns the data plane, on a thread of its own; [`socket`] serves clients;
//! [`place`] makes sure there is only one agent; [`store`] keeps the
//! state on disk; [`baseline`] proves that nothing remains.

mod baseline;
mod clock;
mod engine;
mod log;
mod place;
mod plane;
mod report;
mod settings;
mod sip;
mod socket;
mod store;

use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use anyhow::Context;
use geofilter_core::wire::{Failure, Reply, Request};
use tokio::net::UnixListener;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use crate::cli::{self, args};
use engine::{Answer, Engine, Job};
use place::Occupied;
pub(crate) use settings::Settings;

/// `geofilter agent`: runs until told to end, and leaves the filter in force.
pub(crate) fn run(args: args::Agent) -> Result<(), Failure> {
    let ready = |settings: &Settings| {
        tracing::info!(
            socket = %settings.socket().display(),
            interfaces = settings.names().join(" "),
            "the agent is ready"
        );
    };
    let result = Settings::new(args.place, args.config.as_deref()).and_then(|settings| {
        let agent = Agent::start(settings)?;
        ready(agent.settings());
        agent.until_told().end();
        Ok(())
    });
    result.map_err(|error| cli::failed(format!("{error:#}")))
}

/// An agent that runs.
pub(crate) struct Agent {
    settings: Settings,
    runtime: Runtime,
    jobs: mpsc::Sender<Job>,
    engine: JoinHandle<()>,
    listener: UnixListener,
    signals: [Signal; 2],
    occupied: Occupied,
}

impl Agent {
    /// Occupies its place, reconciles with the kernel, and is ready for clients.
    pub(crate) fn start(settings: Settings) -> anyhow::Result<Self> {
        place::check_privileges(&settings)?;
        let (occupied, socket) = Occupied::occupy(&settings)?;
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start the runtime")?;
        let (listener, signals) = runtime.block_on(async {
            let listener = UnixListener::from_std(socket).context("cannot serve the socket")?;
            let signal = |kind| signal(kind).context("cannot listen for signals");
            let signals = [signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?];
            anyhow::Ok((listener, signals))
        })?;
        let engine = Engine::start(settings.clone())?;
        let (jobs, inbox) = mpsc::channel();
        let engine = thread::Builder::new()
            .name("engine".to_owned())
            .spawn(move || engine.run(&inbox))
            .context("cannot start a thread")?;
        Ok(Self { settings, runtime, jobs, engine, listener, signals, occupied })
    }

    /// What it was started with.
    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Asks the engine as a client would.
    pub(crate) fn ask(&self, request: Request) -> Result<Reply, Failure> {
        ask(&self.jobs, request)
    }

    /// Serves clients until SIGTERM or SIGINT.
    pub(crate) fn until_told(mut self) -> Ending {
        let [terminate, interrupt] = &mut self.signals;
        let serving = socket::serve(self.listener, self.jobs.clone());
        self.runtime.block_on(async {
            tokio::select! {
                () = serving => {}
                _ = terminate.recv() => tracing::info!("told to end by SIGTERM"),
                _ = interrupt.recv() => tracing::info!("told to end by SIGINT"),
            }
        });
        // Whoever is still connected is cut off, so that no client changes anything from here on.
        drop(self.runtime);
        Ending { jobs: self.jobs, engine: self.engine, occupied: self.occupied }
    }

    /// Serves nobody.
    pub(crate) fn at_once(self) -> Ending {
        Ending { jobs: self.jobs, engine: self.engine, occupied: self.occupied }
    }
}

/// An agent that serves clients no more.
pub(crate) struct Ending {
    jobs: mpsc::Sender<Job>,
    engine: JoinHandle<()>,
    occupied: Occupied,
}

impl Ending {
    /// Asks the engine a last time.
    pub(crate) fn ask(&self, request: Request) -> Result<Reply, Failure> {
        ask(&self.jobs, request)
    }

    /// Ends the engine and leaves the place. What the kernel holds stays in force.
    pub(crate) fn end(self) {
        drop(self.jobs);
        if self.engine.join().is_err() {
            tracing::warn!("the engine ended in a panic");
        }
        self.occupied.leave();
    }
}

fn ask(jobs: &mpsc::Sender<Job>, request: Request) -> Result<Reply, Failure> {
    let (answer, answered) = oneshot::channel();
    let ended = || cli::failed("the engine has ended".to_owned());
    jobs.send(Job { request, answer }).map_err(|_| ended())?;
    match answered.blocking_recv() {
        Ok(Answer::Reply(Reply::Error(failure))) => Err(failure),
        Ok(Answer::Reply(reply)) => Ok(reply),
        Ok(Answer::Log { .. }) | Err(_) => Err(ended()),
    }
}
