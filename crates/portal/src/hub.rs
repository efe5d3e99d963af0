//! [`Hub`]: what is live at a host, told to every page that watches: one status a second and one log are asked of its agent,
//! however many watch. While nobody does, the status is asked for every ten seconds, for whoever keeps or minds it ([`Look`]).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use geofilter_core::wire::{Failure, Reply, Request, Status};
use serde::Serialize;
use serde_json::json;
use tokio::sync::{Notify, broadcast};
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::agent::{Agent, Replies};
use crate::clock;

/// Time between two looks at the status while a page watches.
const EVERY: Duration = Duration::from_secs(1);
/// So many of these pass between two looks while none does.
const UNWATCHED: u32 = 10;
/// Looks that whoever takes them may be behind.
const LOOKS: usize = 32;
/// What a page may be behind before it misses some.
const BEHIND: usize = 1024;
/// Drops that are told in each [`WINDOW`], more than anybody reads: no flood is repeated to each page.
const TOLD: u32 = 5;
const WINDOW: Duration = Duration::from_millis(100);

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

/// What was seen of the host at one time.
#[derive(Debug, Clone)]
pub(crate) struct Look {
    /// Milliseconds since 1970.
    pub(crate) time: i64,
    /// Its state, or why its agent does not say.
    pub(crate) status: Result<Arc<Status>, Arc<Failure>>,
}

/// How many drops may be told now, as time goes on.
#[derive(Debug, Clone, Copy)]
struct Budget {
    since: Instant,
    told: u32,
}

impl Budget {
    /// Takes one of those that may be told. Says whether there was one.
    fn take(&mut self, now: Instant) -> bool {
        if now.duration_since(self.since) >= WINDOW {
            *self = Self { since: now, told: 0 };
        }
        self.told += 1;
        self.told <= TOLD
    }
}

/// The live side of one host.
pub(crate) struct Hub {
    agent: Agent,
    events: broadcast::Sender<Event>,
    looks: broadcast::Sender<Look>,
    watched: Arc<Notify>,
}

impl Hub {
    /// Of the host with this agent.
    pub(crate) fn of(agent: Agent) -> Self {
        let (events, _) = broadcast::channel(BEHIND);
        let (looks, _) = broadcast::channel(LOOKS);
        let watched = Arc::new(Notify::new());
        let skipped = Arc::new(AtomicU64::new(0));
        tokio::spawn(look(agent.clone(), events.clone(), looks.clone(), Arc::clone(&skipped)));
        tokio::spawn(follow(agent.clone(), events.clone(), Arc::clone(&watched), skipped));
        Self { agent, events, looks, watched }
    }

    /// Its agent.
    pub(crate) fn agent(&self) -> &Agent {
        &self.agent
    }

    /// What happens from now on, for a page.
    pub(crate) fn watch(&self) -> broadcast::Receiver<Event> {
        let receiver = self.events.subscribe();
        self.watched.notify_waiters();
        receiver
    }

    /// How the host is from now on, every ten seconds or more often.
    pub(crate) fn looks(&self) -> broadcast::Receiver<Look> {
        self.looks.subscribe()
    }
}

/// Looks at the status, for pages and for whoever takes looks. Whether there is anybody is theirs to know.
async fn look(
    agent: Agent,
    events: broadcast::Sender<Event>,
    looks: broadcast::Sender<Look>,
    skipped: Arc<AtomicU64>,
) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut waited = UNWATCHED;
    loop {
        ticks.tick().await;
        // Drops that were not told since the last look.
        let skipped = skipped.swap(0, Ordering::Relaxed);
        if skipped > 0 {
            let _ = events.send(Event::skipped(skipped));
        }
        waited += 1;
        if waited < UNWATCHED && events.receiver_count() == 0 {
            continue;
        }
        waited = 0;
        // Whatever it is, it is not older than that.
        let time = clock::now();
        let status = match agent.ask(&Request::Status).await {
            Ok(Reply::Status(status)) => {
                let _ = events.send(Event::new("status", &status));
                Ok(Arc::from(status))
            }
            Ok(_) => continue,
            Err(failure) => {
                let _ = events.send(Event::new("away", &json!({ "detail": failure.message })));
                Err(Arc::new(failure))
            }
        };
        let _ = looks.send(Look { time, status });
    }
}

/// Follows the log while a page watches. An agent that went away comes back.
async fn follow(
    agent: Agent,
    events: broadcast::Sender<Event>,
    watched: Arc<Notify>,
    skipped: Arc<AtomicU64>,
) {
    let mut budget = Budget { since: Instant::now(), told: 0 };
    let log = Request::Log { follow: true, country: None, reason: None };
    loop {
        let somebody = watched.notified();
        if events.receiver_count() == 0 {
            somebody.await;
        }
        let began = clock::now();
        if let Ok(mut replies) = agent.replies(&log).await {
            while let Some(reply) = next(&mut replies, &events).await {
                let event = match reply {
                    // It begins with those that there were; pages ask for them on their own.
                    Reply::Entry(entry) if clock::read(&entry.time) < Some(began) => continue,
                    Reply::Entry(_) if !budget.take(Instant::now()) => {
                        skipped.fetch_add(1, Ordering::Relaxed);
                        continue;
                    }
                    Reply::Entry(entry) => Event::new("drop", &entry),
                    Reply::Skipped(entries) => Event::skipped(entries),
                    _ => continue,
                };
                let _ = events.send(event);
            }
        }
        sleep(EVERY).await;
    }
}

/// None once the agent has no more, or nobody watches.
async fn next(replies: &mut Replies, events: &broadcast::Sender<Event>) -> Option<Reply> {
    let unwatched = async {
        while events.receiver_count() > 0 {
            sleep(EVERY).await;
        }
    };
    tokio::select! {
        reply = replies.next() => reply.ok().flatten(),
        () = unwatched => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_flood_some_drops_are_told() {
        let since = Instant::now();
        let mut budget = Budget { since, told: 0 };
        let told = (0..1000).filter(|number| budget.take(since + Duration::from_millis(*number)));
        assert_eq!(told.count(), 10 * TOLD as usize);
    }
}
