use sqlx::FromRow;

use super::Store;
use super::database::{on, run};

/// Milliseconds for which a link that is over is still listed.
const LISTED: i64 = 30 * 86_400_000;

/// A link by which somebody abroad has an address of theirs exempted.
#[derive(Debug, Clone, FromRow)]
pub(crate) struct Traveller {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) operator: String,
    pub(crate) seconds: i64,
    expires: i64,
    pub(crate) opened: Option<i64>,
    pub(crate) target: Option<String>,
}

impl Traveller {
    /// Until when it lets in, or may be opened first.
    pub(crate) fn ends(&self) -> i64 {
        self.opened.map_or(self.expires, |opened| opened + self.seconds * 1000)
    }
}

/// What a link grants.
#[derive(Debug)]
pub(crate) struct Grant<'a> {
    pub(crate) name: &'a str,
    pub(crate) host: &'a str,
    pub(crate) operator: &'a str,
    pub(crate) seconds: i64,
    pub(crate) expires: i64,
}

impl Store {
    /// Another link, of which only the digest is kept; those that have been over for long are forgotten.
    pub(crate) async fn add_traveller(
        &self,
        digest: &[u8; 32],
        grant: &Grant<'_>,
        now: i64,
    ) -> Result<Traveller, sqlx::Error> {
        run!(
            self,
            sqlx::query(
                "DELETE FROM traveller WHERE coalesce(opened + seconds * 1000, expires) < $1"
            )
            .bind(now - LISTED)
        )?;
        on!(self, |db| {
            sqlx::query_as(
            "INSERT INTO traveller (digest, name, host, operator, seconds, expires) VALUES ($1, $2, $3, $4, $5, $6) RETURNING *",
        )
        .bind(digest.as_slice())
        .bind(grant.name)
        .bind(grant.host)
        .bind(grant.operator)
        .bind(grant.seconds)
        .bind(grant.expires).fetch_one(db)
        })
    }

    /// Those of a host, the newest first.
    pub(crate) async fn travellers(&self, host: &str) -> Result<Vec<Traveller>, sqlx::Error> {
        on!(self, |db| sqlx::query_as("SELECT * FROM traveller WHERE host = $1 ORDER BY id DESC")
            .bind(host)
            .fetch_all(db))
    }

    /// The one of a host whose link has this digest, if it is not over.
    pub(crate) async fn traveller(
        &self,
        host: &str,
        digest: &[u8; 32],
        now: i64,
    ) -> Result<Option<Traveller>, sqlx::Error> {
        let found: Option<Traveller> = on!(self, |db| sqlx::query_as(
            "SELECT * FROM traveller WHERE host = $1 AND digest = $2"
        )
        .bind(host)
        .bind(digest.as_slice())
        .fetch_optional(db))?;
        Ok(found.filter(|traveller| now < traveller.ends()))
    }

    /// It was opened, and this is exempt by it from now on.
    pub(crate) async fn let_in(&self, id: i64, target: &str, now: i64) -> Result<(), sqlx::Error> {
        run!(
            self,
            sqlx::query(
                "UPDATE traveller SET opened = coalesce(opened, $1), target = $2 WHERE id = $3"
            )
            .bind(now)
            .bind(target)
            .bind(id)
        )
        .map(drop)
    }

    /// A link of a host is void from now on. Returns it, if there was one.
    pub(crate) async fn remove_traveller(
        &self,
        host: &str,
        id: i64,
    ) -> Result<Option<Traveller>, sqlx::Error> {
        on!(self, |db| sqlx::query_as(
            "DELETE FROM traveller WHERE host = $1 AND id = $2 RETURNING *"
        )
        .bind(host)
        .bind(id)
        .fetch_optional(db))
    }
}
