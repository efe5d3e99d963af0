//! [`Door`]: whom a socket of the agent is for, and how much of it one of them may take: [`Places`] of connections,
//! [`Rate`] of requests. [`Strangers`] are those it is not for.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use geofilter_core::wire::{Failure, FailureKind, Request};
use rustix::process::geteuid;
use tokio::net::unix::UCred;

/// Time between two words about strangers.
const QUIET: Duration = Duration::from_secs(60);

/// Whom a socket is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    /// Root, and the user that the agent runs as: everything.
    Root,
    /// The portal: what [`Request::check_for_portal`] lets it ask.
    Portal {
        /// The user it runs as.
        uid: u32,
    },
}

impl Door {
    /// How many are heard at a time.
    pub(super) fn clients(self) -> usize {
        match self {
            Self::Root => 512,
            Self::Portal { .. } => 64,
        }
    }

    /// How many of these may be of one process. Each command is a process of its own, the portal is one.
    pub(super) fn clients_of_each(self) -> usize {
        match self {
            Self::Root => 32,
            Self::Portal { .. } => self.clients(),
        }
    }

    /// How many requests wait for the engine, or their replies for whoever asked, at a time. The engine takes them by
    /// turns, so this is how many of the portal's root may have to wait for; and no more replies are in memory.
    pub(super) fn asking(self) -> usize {
        match self {
            Self::Root => 128,
            Self::Portal { .. } => 4,
        }
    }

    /// How many requests its user may make: of each one connection is all.
    pub(super) fn rate(self) -> Rate {
        match self {
            Self::Root => Rate::new(1000, 1000),
            Self::Portal { .. } => Rate::new(200, 400),
        }
    }

    /// Whether a process of this user may come in, whatever the mode of the socket.
    pub(super) fn check_peer(self, peer: Option<u32>) -> Result<(), Failure> {
        match self {
            Self::Root if peer.is_some_and(|uid| uid == 0 || uid == geteuid().as_raw()) => Ok(()),
            Self::Root => Err(Failure::new(
                FailureKind::Unreachable,
                "this socket is for root alone, whatever its mode: run this as root",
            )),
            Self::Portal { uid } if peer == Some(uid) => Ok(()),
            Self::Portal { uid } => Err(Failure::new(
                FailureKind::Invalid,
                format!("this socket is for the portal, which is user {uid}; ask at agent.sock"),
            )),
        }
    }

    pub(super) fn check(self, request: &Request) -> Result<(), Failure> {
        match self {
            Self::Root => Ok(()),
            Self::Portal { .. } => request.check_for_portal(),
        }
    }
}

/// How many connections each process has.
#[derive(Debug, Default)]
pub(super) struct Places(Mutex<BTreeMap<Option<i32>, usize>>);

/// One of them, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    of: Option<i32>,
    places: Arc<Places>,
}

impl Places {
    /// A place for this process, unless it has as many as it may.
    pub(super) fn take(self: &Arc<Self>, peer: Option<UCred>, most: usize) -> Option<Place> {
        let of = peer.and_then(|peer| peer.pid());
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.entry(of).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Place { of, places: Arc::clone(self) })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.of) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.of);
            }
        }
    }
}

/// So many a second, and so many at once after a rest.
#[derive(Debug, Clone, Copy)]
pub(in crate::agent) struct Rate {
    each: Duration,
    burst: Duration,
    /// When all that were let in so far would have been, had they come evenly.
    even: Option<Instant>,
}

impl Rate {
    pub(in crate::agent) fn new(a_second: u32, at_once: u32) -> Self {
        let each = Duration::from_secs(1) / a_second;
        Self { each, burst: each * at_once, even: None }
    }

    /// Lets one in, and says how long it has to wait until then.
    pub(in crate::agent) fn wait(&mut self, now: Instant) -> Duration {
        let even = self.even.map_or(now, |even| even.max(now)) + self.each;
        self.even = Some(even);
        even.saturating_duration_since(now).saturating_sub(self.burst)
    }
}

/// Those that a socket is not for. Of many it is said that they are many.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    said: Option<Instant>,
    more: u64,
}

impl Strangers {
    /// One came. How many did since the last word about them, if there is to be one now.
    pub(super) fn count(&mut self, now: Instant) -> Option<u64> {
        self.more += 1;
        let quiet = self.said.is_some_and(|said| now.duration_since(said) < QUIET);
        (!quiet).then(|| {
            self.said = Some(now);
            std::mem::take(&mut self.more)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_comes_in_by_its_door_and_the_portal_by_its_own() {
        let own = geteuid().as_raw();
        let nobody = if own == 65_534 { 65_533 } else { 65_534 };
        assert!(Door::Root.check_peer(Some(0)).is_ok());
        assert!(Door::Root.check_peer(Some(own)).is_ok());
        assert!(Door::Root.check_peer(Some(nobody)).is_err());
        assert!(Door::Root.check_peer(None).is_err());
        let portal = Door::Portal { uid: nobody };
        assert!(portal.check_peer(Some(nobody)).is_ok());
        assert!(portal.check_peer(Some(0)).is_err());
        assert!(portal.check_peer(None).is_err());
    }

    #[test]
    fn a_rate_lets_in_as_many_as_it_says() {
        let began = Instant::now();
        let mut rate = Rate::new(10, 5);
        let waits: Vec<_> = (0..7).map(|_| rate.wait(began).as_millis()).collect();
        assert_eq!(waits, [0, 0, 0, 0, 0, 100, 200]);
        // A rest is worth no more than what may come at once.
        let later = began + Duration::from_secs(60);
        let waits: Vec<_> = (0..6).map(|_| rate.wait(later).as_millis()).collect();
        assert_eq!(waits, [0, 0, 0, 0, 0, 100]);
    }

    #[test]
    fn a_process_gets_its_places_back() {
        let places = Arc::new(Places::default());
        let one = places.take(None, 2);
        let two = places.take(None, 2);
        assert!(one.is_some() && two.is_some() && places.take(None, 2).is_none());
        drop(one);
        assert!(places.take(None, 2).is_some());
        drop(two);
        assert!(places.0.lock().unwrap().is_empty());
    }

    #[test]
    fn strangers_are_told_of_once_a_minute() {
        let mut strangers = Strangers::default();
        let began = Instant::now();
        assert_eq!(strangers.count(began), Some(1));
        assert_eq!(strangers.count(began + QUIET / 2), None);
        assert_eq!(strangers.count(began + QUIET), Some(2));
    }
}
