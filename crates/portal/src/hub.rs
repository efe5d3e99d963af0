//! [`Hub`]: what is live at a host, told to every page that watches: one status a second and one log are asked of its agent,
//! however many watch, and none while nobody does.

use std::sync::Arc;
use std::time::Duration;

use geofilter_core::wire::{Reply, Request};
use serde::Serialize;
use serde_json::json;
use tokio::sync::{Notify, broadcast};
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::agent::Agent;
use crate::clock;

/// Time between two looks at the status.
const EVERY: Duration = Duration::from_secs(1);
/// What a page may be behind before it misses some.
const BEHIND: usize = 1024;

/// Something that happened, as it is told; written once for all who watch.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) name: &'static str,
    /// JSON.
    pub(crate) data: Arc<str>,
}

impl Event {
    fn new(name: &'static str, data: &impl Serialize) -> Self {
        // What the agent said was JSON before.
        Self { name, data: serde_json::to_string(data).unwrap_or_default().into() }
    }

    /// Drops that could not be told.
    pub(crate) fn skipped(entries: u64) -> Self {
        Self::new("skipped", &json!({ "entries": entries }))
    }
}

/// The live side of one host.
pub(crate) struct Hub {
    agent: Agent,
    events: broadcast::Sender<Event>,
    watched: Arc<Notify>,
}

impl Hub {
    /// Of the host with this agent.
    pub(crate) fn of(agent: Agent) -> Self {
        let (events, _) = broadcast::channel(BEHIND);
        let watched = Arc::new(Notify::new());
        tokio::spawn(tell(agent.clone(), events.clone(), Arc::clone(&watched)));
        Self { agent, events, watched }
    }

    /// Its agent.
    pub(crate) fn agent(&self) -> &Agent {
        &self.agent
    }

    /// What happens from now on.
    pub(crate) fn watch(&self) -> broadcast::Receiver<Event> {
        let receiver = self.events.subscribe();
        self.watched.notify_one();
        receiver
    }
}

async fn tell(agent: Agent, events: broadcast::Sender<Event>, watched: Arc<Notify>) {
    loop {
        watched.notified().await;
        tokio::select! {
            () = statuses(&agent, &events) => {}
            () = drops(&agent, &events) => {}
        }
    }
}

/// Ends when nobody watches.
async fn statuses(agent: &Agent, events: &broadcast::Sender<Event>) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let event = match agent.ask(&Request::Status).await {
            Ok(Reply::Status(status)) => Event::new("status", &status),
            Ok(_) => continue,
            Err(failure) => Event::new("away", &json!({ "detail": failure.message })),
        };
        if events.send(event).is_err() {
            return;
        }
    }
}

/// Never ends: an agent that went away comes back.
async fn drops(agent: &Agent, events: &broadcast::Sender<Event>) {
    let log = Request::Log { follow: true, country: None, reason: None };
    loop {
        let began = clock::now();
        if let Ok(mut replies) = agent.replies(&log).await {
            while let Ok(Some(reply)) = replies.next().await {
                // Whether anybody watches is for `statuses` to see.
                let _ = match reply {
                    // It begins with those that there were; pages ask for them on their own.
                    Reply::Entry(entry) if clock::read(&entry.time) < Some(began) => continue,
                    Reply::Entry(entry) => events.send(Event::new("drop", &entry)),
                    Reply::Skipped(entries) => events.send(Event::skipped(entries)),
                    _ => continue,
                };
            }
        }
        sleep(EVERY).await;
    }
}
