//! The portal of a fleet. Hosts connect to a listener of its own ([`listener`]), where each is known by its certificate; [`connected`] are
//! those that hear what they are to do, in a [`conversation`], and [`authority`] is who vouches for them. [`bans`] are what they share. They pull the fleet's [`world`] data.

mod bans;
mod conductor;
mod connected;
mod conversation;
mod follower;
mod listener;
mod settings;
mod world;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use geofilter_fleet::{Authority, HostId, TICKET_LIFETIME, Ticket};

use crate::clock;
use crate::memory;
use crate::store::{KeptAuthority, Store};

pub(crate) use bans::Bans;
pub(crate) use conductor::conduct;
pub(crate) use connected::{Connected, Statement, Statements};
pub(crate) use follower::Follower;
pub(crate) use listener::{Listener, address};
pub(crate) use settings::{Chosen, Level, Settings, Sources, Unfit};
pub use world::{Ask, BASE, FOLDER, Fetched, Keeping, MADE};
pub(crate) use world::{Fetcher, World};

/// Hosts that come or go in one wave, after which there is memory to give back.
const MANY: usize = 256;
/// How often who listens is written down.
const NOTED: Duration = Duration::from_secs(1);
/// For how long what hosts say is gathered, to be written down together.
const GATHERING: Duration = Duration::from_millis(250);
/// Milliseconds after which a portal says again that it is there, and after which one that did not is gone.
const SEEN: i64 = 5_000;
const GONE: i64 = 15_000;

/// Why a portal can't be that of a fleet.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its database can't be used.
    #[error("cannot use the portal's database: {0}")]
    Database(#[from] sqlx::Error),
    /// It can't vouch for hosts.
    #[error("cannot vouch for hosts: {0}")]
    Authority(#[from] rcgen::Error),
    /// It can't show them who it is.
    #[error("cannot use the authority's certificate: {0}")]
    Tls(#[from] rustls::Error),
    /// There is no secret without random bits.
    #[error("the kernel gave no random bits: {0}")]
    Random(#[from] getrandom::Error),
}

/// Who vouches for the hosts of this portal, made when there is nobody yet.
pub(crate) async fn authority(store: &Store) -> Result<Authority, Error> {
    if let Some(kept) = store.authority().await? {
        return Ok(read(&kept)?);
    }
    let new = Authority::new(SystemTime::now())?;
    let new = KeptAuthority { key: new.key(), certificate: new.certificate().to_owned() };
    store.set_authority(&new).await?;
    // Another replica may have been first.
    let kept = store.authority().await?;
    Ok(read(&kept.unwrap_or(new))?)
}

fn read(kept: &KeptAuthority) -> Result<Authority, rcgen::Error> {
    Authority::read(&kept.key, &kept.certificate)
}

/// A ticket for a host of this group.
pub(crate) async fn ticket(store: &Store, group: i64) -> Result<Ticket, Error> {
    let ticket = Ticket::new(authority(store).await?.pin())?;
    let expires = clock::now() + i64::try_from(TICKET_LIFETIME.as_millis()).unwrap_or(i64::MAX);
    store.add_ticket(&Ticket::digest(&ticket.secret()), group, expires).await?;
    Ok(ticket)
}

/// Whether a portal is there: it was seen after this.
pub(crate) fn seen_since() -> i64 {
    clock::now() - GONE
}

/// Writes down who listens, and that this portal is there, for as long as it is polled.
pub(crate) async fn attend(store: Store, portal: i64, connected: Arc<Connected>) {
    let mut turn = tokio::time::interval(NOTED);
    turn.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut seen, mut wave, mut fails) = (0, 0, false);
    loop {
        turn.tick().await;
        let (presence, now) = (connected.take_presence(), clock::now());
        wave += presence.len();
        if presence.is_empty() && wave >= MANY {
            wave = 0;
            // It takes a while, and whoever connects meanwhile should not wait for it.
            let _ = tokio::task::spawn_blocking(memory::give_back).await;
        }
        if presence.is_empty() && now - seen < SEEN {
            continue;
        }
        match store.note_presence(portal, &presence, now).await {
            Ok(()) => (seen, fails) = (now, false),
            Err(error) => {
                if !std::mem::replace(&mut fails, true) {
                    tracing::warn!(%error, "which hosts listen can't be written down: it is as soon as the database can be used");
                }
                connected.give_back(presence);
            }
        }
    }
}

/// Writes down what hosts say, for as long as it is polled. What comes while something is written waits for the next turn.
pub(crate) async fn note(store: Store, statements: Arc<Statements>, follower: Arc<Follower>) {
    let mut fails = false;
    loop {
        let taken = statements.take().await;
        let noted = note_all(&store, &taken, &follower).await;
        match &noted {
            Ok(()) => fails = false,
            Err(error) if !std::mem::replace(&mut fails, true) => {
                tracing::warn!(%error, "what hosts say can't be written down: they say it again until the database can be used");
            }
            Err(_) => {}
        }
        for statement in taken {
            statement.answer(noted.is_ok());
        }
        tokio::time::sleep(GATHERING).await;
    }
}

/// Bans come first: other hosts wait for them.
async fn note_all(
    store: &Store,
    statements: &[Statement],
    follower: &Follower,
) -> Result<(), sqlx::Error> {
    let now = clock::now();
    if store.note_bans(statements, now).await?
        // What a server announces comes a moment later; by a pooler, and of a file, nothing does.
        && let Err(error) = follower.catch_up().await
    {
        tracing::debug!(%error, "hosts are told of bans later");
    }
    store.note_statements(statements, now).await
}
