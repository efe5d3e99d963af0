//! World data that hosts of the fleet pull: what is served, what was before, what waits for an approval, and which portal fetches.

use geofilter_core::wire::{Data, UpdateOutcome};
use serde::{Deserialize, Serialize};
use sqlx::FromRow;
use sqlx::types::Json;

use super::Store;
use super::database::{Writing, on, run};
use super::fleet::announce;

/// No two transactions by this name go on at a time.
const ALONE: &str = "world";
/// Milliseconds for which a portal that fetches need not say again that it does.
const LEASE: i64 = 60_000;

/// What becomes of world data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// It is served.
    Current,
    /// It waits for an approval.
    Held,
}

/// World data that was made.
#[derive(Debug)]
pub(crate) struct NewWorld {
    pub(crate) digest: String,
    pub(crate) content: Vec<u8>,
    pub(crate) about: Data,
    /// Why it is held, if it is.
    pub(crate) reasons: Vec<String>,
}

/// World data that is kept, without its bytes.
#[derive(Debug, Clone, FromRow)]
pub(crate) struct KeptWorld {
    pub(crate) digest: String,
    pub(crate) about: Json<Data>,
    pub(crate) made: i64,
    pub(crate) reasons: Json<Vec<String>>,
    place: String,
}

/// What came of asking the sources.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Attempt {
    pub(crate) outcome: UpdateOutcome,
    pub(crate) why: Option<String>,
}

/// All that is known of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Worlds {
    pub(crate) current: Option<KeptWorld>,
    pub(crate) previous: Option<KeptWorld>,
    pub(crate) held: Option<KeptWorld>,
    pub(crate) taken_back: Option<String>,
    /// When sources were asked last, and what came of it.
    pub(crate) last: Option<(i64, Attempt)>,
    /// Whether a portal asks them now.
    pub(crate) is_fetched: bool,
}

#[derive(FromRow)]
struct State {
    taken_back: Option<String>,
    asked: Option<i64>,
    attempt: Option<Json<Attempt>>,
    lease: i64,
}

impl Store {
    /// How it stands at this time.
    pub(crate) async fn worlds(&self, now: i64) -> Result<Worlds, sqlx::Error> {
        let kept: Vec<KeptWorld> = on!(self, |db| sqlx::query_as(
            "SELECT digest, about, made, reasons, place FROM world_data"
        )
        .fetch_all(db))?;
        let state: Option<State> =
            on!(self, |db| sqlx::query_as("SELECT taken_back, asked, attempt, lease FROM world")
                .fetch_optional(db))?;
        let at = |place: &str| kept.iter().find(|kept| kept.place == place).cloned();
        let mut worlds = Worlds {
            current: at("current"),
            previous: at("previous"),
            held: at("held"),
            ..Worlds::default()
        };
        if let Some(State { taken_back, asked, attempt, lease }) = state {
            worlds.taken_back = taken_back;
            worlds.last = asked.zip(attempt.map(|attempt| attempt.0));
            worlds.is_fetched = lease > now;
        }
        Ok(worlds)
    }

    /// SHA-256 of what is served.
    pub(crate) async fn world_digest(&self) -> Result<Option<String>, sqlx::Error> {
        on!(self, |db| sqlx::query_scalar("SELECT digest FROM world_data WHERE place = 'current'")
            .fetch_optional(db))
    }

    /// What is served, if it is this.
    pub(crate) async fn world_content(&self, digest: &str) -> Result<Option<Vec<u8>>, sqlx::Error> {
        on!(self, |db| sqlx::query_scalar(
            "SELECT content FROM world_data WHERE place = 'current' AND digest = $1"
        )
        .bind(digest)
        .fetch_optional(db))
    }

    /// A portal asks the sources from now on, unless another one does.
    pub(crate) async fn begin_fetch(&self, portal: i64, now: i64) -> Result<bool, sqlx::Error> {
        run!(self, sqlx::query("INSERT INTO world (one) VALUES (1) ON CONFLICT DO NOTHING"))?;
        let taken = run!(
            self,
            sqlx::query("UPDATE world SET portal = $1, lease = $2 WHERE lease <= $3")
                .bind(portal)
                .bind(now + LEASE)
                .bind(now)
        )?;
        Ok(taken > 0)
    }

    /// It still does.
    pub(crate) async fn go_on_fetching(&self, portal: i64, now: i64) -> Result<(), sqlx::Error> {
        run!(
            self,
            sqlx::query("UPDATE world SET lease = $1 WHERE portal = $2")
                .bind(now + LEASE)
                .bind(portal)
        )
        .map(drop)
    }

    /// It is done with that.
    pub(crate) async fn end_fetch(
        &self,
        portal: i64,
        attempt: &Attempt,
        now: i64,
    ) -> Result<(), sqlx::Error> {
        run!(
            self,
            sqlx::query(
                "UPDATE world SET asked = $1, attempt = $2, portal = NULL, lease = 0 WHERE portal = $3"
            )
            .bind(now)
            .bind(Json(attempt))
            .bind(portal)
        )
        .map(drop)
    }

    /// Serves what was made, or has it wait, unless something else is served by now than what it was compared with.
    pub(crate) async fn keep_world(
        &self,
        new: &NewWorld,
        place: Place,
        compared: Option<&str>,
        now: i64,
    ) -> Result<bool, sqlx::Error> {
        let mut all = self.begin_alone(ALONE).await?;
        if digest_at(&mut all, "current").await?.as_deref() != compared {
            return Ok(false);
        }
        // What waits is older than what comes now.
        run!(all, sqlx::query("DELETE FROM world_data WHERE place = 'held'"))?;
        let previous = digest_at(&mut all, "previous").await?;
        if place == Place::Held && previous.as_deref() == Some(&*new.digest) {
            // It is there, for whoever takes it back.
            announce(&mut all).await?;
            all.commit().await?;
            return Ok(true);
        }
        run!(all, sqlx::query("DELETE FROM world_data WHERE digest = $1").bind(&new.digest))?;
        let place = match place {
            Place::Held => "held",
            Place::Current => {
                succeed(&mut all).await?;
                "current"
            }
        };
        run!(
            all,
            sqlx::query(
                "INSERT INTO world_data (digest, content, about, made, place, reasons) VALUES ($1, $2, $3, $4, $5, $6)"
            )
            .bind(&new.digest)
            .bind(&new.content)
            .bind(Json(&new.about))
            .bind(now)
            .bind(place)
            .bind(Json(&new.reasons))
        )?;
        announce(&mut all).await?;
        all.commit().await?;
        Ok(true)
    }

    /// Serves what waits, if it is this.
    pub(crate) async fn approve_world(&self, digest: &str) -> Result<bool, sqlx::Error> {
        let mut all = self.begin_alone(ALONE).await?;
        if digest_at(&mut all, "held").await?.as_deref() != Some(digest) {
            return Ok(false);
        }
        succeed(&mut all).await?;
        rename(&mut all, "held", "current").await?;
        announce(&mut all).await?;
        all.commit().await?;
        Ok(true)
    }

    /// Serves what was served before, and is what is meant by that again. Returns its digest; none if there was nothing before.
    pub(crate) async fn roll_back_world(&self) -> Result<Option<String>, sqlx::Error> {
        let mut all = self.begin_alone(ALONE).await?;
        let Some(previous) = digest_at(&mut all, "previous").await? else { return Ok(None) };
        let left = digest_at(&mut all, "current").await?;
        for (from, to) in [("current", "leaving"), ("previous", "current"), ("leaving", "previous")]
        {
            rename(&mut all, from, to).await?;
        }
        run!(all, sqlx::query("INSERT INTO world (one) VALUES (1) ON CONFLICT DO NOTHING"))?;
        run!(all, sqlx::query("UPDATE world SET taken_back = $1").bind(left))?;
        announce(&mut all).await?;
        all.commit().await?;
        Ok(Some(previous))
    }
}

async fn digest_at(all: &mut Writing, place: &str) -> Result<Option<String>, sqlx::Error> {
    on!(all, |db| sqlx::query_scalar("SELECT digest FROM world_data WHERE place = $1")
        .bind(place)
        .fetch_optional(db))
}

/// What is served is what was before, and there is room for what follows it.
async fn succeed(all: &mut Writing) -> Result<(), sqlx::Error> {
    run!(all, sqlx::query("DELETE FROM world_data WHERE place = 'previous'"))?;
    run!(all, sqlx::query("UPDATE world SET taken_back = NULL"))?;
    rename(all, "current", "previous").await
}

async fn rename(all: &mut Writing, from: &str, to: &str) -> Result<(), sqlx::Error> {
    run!(all, sqlx::query("UPDATE world_data SET place = $1 WHERE place = $2").bind(to).bind(from))
        .map(drop)
}
