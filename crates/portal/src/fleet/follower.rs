//! [`Follower`]: tells the hosts that listen to this portal what they are to do, whichever of the portals that share the database was asked.

use std::sync::Arc;
use std::time::Duration;

use geofilter_fleet::Heard;
use tokio::sync::Mutex;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::{Bans, Connected, World};
use crate::clock;
use crate::store::{News, Store};

/// How often it looks by itself: a pooler may keep from it what the database announces.
const EVERY: Duration = Duration::from_millis(500);

/// How long it waits for the database at a time.
const PATIENCE: Duration = Duration::from_secs(5);

/// See the module.
pub(crate) struct Follower {
    store: Store,
    connected: Arc<Connected>,
    bans: Arc<Bans>,
    /// What they pull, if that is anything.
    world: Option<Arc<World>>,
    /// What was told last.
    told: Mutex<Last>,
}

/// The last change, and the last question, once it is known which was asked before this portal came.
#[derive(Debug)]
struct Last {
    changed: i64,
    asked: Option<i64>,
}

impl Follower {
    pub(crate) fn new(store: Store, connected: Arc<Connected>, world: Option<Arc<World>>) -> Self {
        // None has a number below 0: hosts are told something first.
        let told = Mutex::new(Last { changed: -1, asked: None });
        Self { store, connected, bans: Arc::default(), world, told }
    }

    /// What they are told of bans.
    pub(crate) fn bans(&self) -> &Arc<Bans> {
        &self.bans
    }

    /// Whom it tells.
    pub(crate) fn connected(&self) -> &Arc<Connected> {
        &self.connected
    }

    /// Tells what has changed since the last time.
    ///
    /// # Errors
    /// If the database can't be read. It is told the next time.
    pub(crate) async fn catch_up(&self) -> Result<(), sqlx::Error> {
        // A connection may be dead and not say so.
        timeout(PATIENCE, self.look()).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
    }

    async fn look(&self) -> Result<(), sqlx::Error> {
        let mut told = self.told.lock().await;
        if let Some(lines) = self.bans.catch_up(&self.store).await? {
            self.connected.tell_of_bans(lines);
        }
        let changed = self.store.changed().await?.filter(|changed| *changed != told.changed);
        let Some(changed) = changed else { return Ok(()) };
        // Of a database that was taken back every revocation is new.
        let since = if changed < told.changed { 0 } else { told.changed };
        for host in self.store.cut_since(since).await? {
            self.connected.cut(host);
        }
        let (groups, alone) = self.store.all_wanted().await?;
        self.connected.tell_all(&groups, &alone);
        match told.asked {
            None => told.asked = Some(self.store.last_asked().await?),
            Some(last) => {
                for asked in self.store.asked_since(last, clock::now()).await? {
                    self.connected.ask(asked.id, &self.store.asked_of(&asked).await?);
                    told.asked = Some(asked.id);
                }
            }
        }
        let of_world = match &self.world {
            Some(world) => world.line().await?,
            None => Heard::World(None).line().into(),
        };
        self.connected.tell_of_world(of_world);
        told.changed = changed;
        Ok(())
    }

    /// Tells whatever changes, for as long as it is polled.
    pub(crate) async fn follow(self: Arc<Self>) {
        let mut turn = interval(EVERY);
        turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut news, mut fails) = (None, false);
        loop {
            if news.is_none() {
                news = self.store.news().await.ok();
            }
            tokio::select! {
                _ = turn.tick() => {}
                heard = hear(&mut news) => if heard.is_err() {
                    news = None;
                    continue;
                },
            }
            match self.catch_up().await {
                Ok(()) => fails = false,
                Err(error) if !fails => {
                    tracing::warn!(%error, "the database can't be read: hosts go on with what they do, and are told of changes as soon as it can");
                    fails = true;
                }
                Err(_) => {}
            }
        }
    }
}

/// Comes true when there is something new, or nothing can be heard any more.
async fn hear(news: &mut Option<News>) -> Result<(), sqlx::Error> {
    match news {
        Some(news) => news.next().await,
        None => std::future::pending().await,
    }
}
