use sqlx::FromRow;

use super::database::{on, run};
use super::{Role, Store};

/// Milliseconds between two notes that one was used.
const NOTED: i64 = 60_000;

/// What a program shows instead of a session.
#[derive(Debug, Clone, FromRow)]
pub(crate) struct ApiToken {
    pub(crate) id: i64,
    pub(crate) name: String,
    /// Whose it is.
    pub(crate) operator: String,
    /// What it was given.
    role: Role,
    /// What its operator may do.
    most: Role,
    pub(crate) made: i64,
    pub(crate) expires: Option<i64>,
    pub(crate) used: Option<i64>,
    /// As its operator's.
    pub(crate) tenant: Option<i64>,
}

impl ApiToken {
    /// What it may do: never more than its operator may.
    pub(crate) fn role(&self) -> Role {
        self.role.min(self.most)
    }

    fn goes_on(&self, now: i64) -> bool {
        self.expires.is_none_or(|expires| now < expires)
    }
}

/// One that is to be made.
#[derive(Debug)]
pub(crate) struct NewToken<'a> {
    pub(crate) digest: &'a [u8; 32],
    pub(crate) operator: i64,
    pub(crate) name: &'a str,
    pub(crate) role: Role,
    pub(crate) expires: Option<i64>,
}

impl Store {
    /// Another one, and its number.
    pub(crate) async fn add_token(
        &self,
        token: &NewToken<'_>,
        now: i64,
    ) -> Result<i64, sqlx::Error> {
        on!(self, |db| {
            sqlx::query_scalar(
            "INSERT INTO token (digest, operator, name, role, made, expires) VALUES ($1, $2, $3, $4, $5, $6) RETURNING id",
        )
        .bind(token.digest.as_slice())
        .bind(token.operator)
        .bind(token.name)
        .bind(token.role)
        .bind(now)
        .bind(token.expires).fetch_one(db)
        })
    }

    /// All of them, by name.
    pub(crate) async fn tokens(&self) -> Result<Vec<ApiToken>, sqlx::Error> {
        on!(self, |db| sqlx::query_as("SELECT * FROM shown ORDER BY name, id").fetch_all(db))
    }

    /// The one with this digest, if it goes on; it counts as used now.
    pub(crate) async fn token(
        &self,
        digest: &[u8; 32],
        now: i64,
    ) -> Result<Option<ApiToken>, sqlx::Error> {
        let found: Option<ApiToken> =
            on!(self, |db| sqlx::query_as("SELECT * FROM shown WHERE digest = $1")
                .bind(digest.as_slice())
                .fetch_optional(db))?;
        let Some(token) = found.filter(|token| token.goes_on(now)) else { return Ok(None) };
        if token.used.is_none_or(|used| now - used > NOTED) {
            run!(
                self,
                sqlx::query("UPDATE token SET used = $1 WHERE id = $2").bind(now).bind(token.id)
            )?;
        }
        Ok(Some(token))
    }

    /// Whether one goes on. It does not count as used.
    pub(crate) async fn token_goes_on(&self, id: i64, now: i64) -> Result<bool, sqlx::Error> {
        let found: Option<ApiToken> =
            on!(self, |db| sqlx::query_as("SELECT * FROM shown WHERE id = $1")
                .bind(id)
                .fetch_optional(db))?;
        Ok(found.is_some_and(|token| token.goes_on(now)))
    }

    /// It is good for nothing any more. Returns its name, if there was one.
    pub(crate) async fn remove_token(&self, id: i64) -> Result<Option<String>, sqlx::Error> {
        on!(self, |db| sqlx::query_scalar("DELETE FROM token WHERE id = $1 RETURNING name")
            .bind(id)
            .fetch_optional(db))
    }
}
