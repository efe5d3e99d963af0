use sqlx::FromRow;

use super::database::{Writing, on, run};
use super::{Operator, Role, Store};

/// Milliseconds after which a session that nobody used has ended.
const IDLE: i64 = 8 * 3_600_000;
/// Milliseconds after which it has ended whoever uses it.
pub(crate) const LONGEST: i64 = 7 * 86_400_000;
/// Milliseconds between two notes that it was used.
const NOTED: i64 = 60_000;

/// A session that goes on.
#[derive(Debug, Clone, FromRow)]
pub(crate) struct Begun {
    pub(crate) id: i64,
    pub(crate) operator: i64,
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) csrf: String,
    pub(crate) source: String,
    pub(crate) began: i64,
    pub(crate) used: i64,
    /// When a password was shown last, and a code where one is asked for.
    pub(crate) proved: i64,
    /// Whether somebody else gave the operator's password.
    pub(crate) given: bool,
    /// The organisation whose operator it is; the whole portal's if none.
    pub(crate) tenant: Option<i64>,
}

impl Begun {
    /// When it ends unless it is used.
    pub(crate) fn ends(&self) -> i64 {
        (self.used + IDLE).min(self.began + LONGEST)
    }
}

impl Store {
    /// Begins one, and forgets those that have ended.
    pub(crate) async fn begin_session(
        &self,
        digest: &[u8; 32],
        operator: &Operator,
        csrf: &str,
        source: &str,
        now: i64,
    ) -> Result<Begun, sqlx::Error> {
        run!(
            self,
            sqlx::query("DELETE FROM session WHERE used < $1 OR began < $2")
                .bind(now - IDLE)
                .bind(now - LONGEST)
        )?;
        let id = on!(self, |db| sqlx::query_scalar(
            "INSERT INTO session (digest, operator, csrf, source, began, used, proved)
             VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING id",
        )
        .bind(digest.as_slice())
        .bind(operator.id)
        .bind(csrf)
        .bind(source)
        .bind(now)
        .bind(now)
        .bind(now)
        .fetch_one(db))?;
        Ok(Begun {
            id,
            operator: operator.id,
            name: operator.name.clone(),
            role: operator.role,
            csrf: csrf.to_owned(),
            source: source.to_owned(),
            began: now,
            used: now,
            proved: now,
            given: operator.given.is_some(),
            tenant: operator.tenant,
        })
    }

    /// Gives one another token, and notes when its operator proved who it is.
    pub(crate) async fn renew_session(
        &self,
        session: i64,
        digest: &[u8; 32],
        proved: i64,
    ) -> Result<(), sqlx::Error> {
        run!(
            self,
            sqlx::query("UPDATE session SET digest = $1, proved = $2 WHERE id = $3")
                .bind(digest.as_slice())
                .bind(proved)
                .bind(session)
        )
        .map(drop)
    }

    /// The one whose token has this digest, if it has not ended; it may count as used now.
    pub(crate) async fn session(
        &self,
        digest: &[u8; 32],
        used: bool,
        now: i64,
    ) -> Result<Option<Begun>, sqlx::Error> {
        let found: Option<Begun> =
            on!(self, |db| sqlx::query_as("SELECT * FROM begun WHERE digest = $1")
                .bind(digest.as_slice())
                .fetch_optional(db))?;
        let Some(session) = found.filter(|session| now < session.ends()) else { return Ok(None) };
        if used && now - session.used > NOTED {
            let noted = run!(
                self,
                sqlx::query("UPDATE session SET used = $1 WHERE digest = $2")
                    .bind(now)
                    .bind(digest.as_slice())
            );
            // On a disk without room one can still look.
            if let Err(error) = noted {
                tracing::warn!(%error, "it could not be noted that a session is used");
            }
        }
        Ok(Some(session))
    }

    /// Whether one goes on. It does not count as used.
    pub(crate) async fn goes_on(&self, id: i64, now: i64) -> Result<bool, sqlx::Error> {
        let found: Option<Begun> =
            on!(self, |db| sqlx::query_as("SELECT * FROM begun WHERE id = $1")
                .bind(id)
                .fetch_optional(db))?;
        Ok(found.is_some_and(|session| now < session.ends()))
    }

    /// Those of an operator that go on, the one that was used last first.
    pub(crate) async fn sessions(
        &self,
        operator: i64,
        now: i64,
    ) -> Result<Vec<Begun>, sqlx::Error> {
        let mut found: Vec<Begun> = on!(self, |db| sqlx::query_as(
            "SELECT * FROM begun WHERE operator = $1 ORDER BY used DESC"
        )
        .bind(operator)
        .fetch_all(db))?;
        found.retain(|session| now < session.ends());
        Ok(found)
    }

    /// Ends all of an operator's.
    pub(crate) async fn end_sessions(&self, operator: i64) -> Result<(), sqlx::Error> {
        let mut all = self.begin().await?;
        end_sessions(&mut all, operator, None).await?;
        all.commit().await
    }

    /// Ends the one whose token has this digest, if there is one.
    pub(crate) async fn end_session_of(&self, digest: &[u8; 32]) -> Result<(), sqlx::Error> {
        run!(self, sqlx::query("DELETE FROM session WHERE digest = $1").bind(digest.as_slice()))
            .map(drop)
    }

    /// Ends one of an operator's. Says whether there was one.
    pub(crate) async fn end_session(&self, operator: i64, id: i64) -> Result<bool, sqlx::Error> {
        let done = run!(
            self,
            sqlx::query("DELETE FROM session WHERE operator = $1 AND id = $2")
                .bind(operator)
                .bind(id)
        )?;
        Ok(done > 0)
    }
}

/// Ends all of an operator's but this one, or all.
pub(super) async fn end_sessions(
    all: &mut Writing,
    operator: i64,
    but: Option<i64>,
) -> Result<(), sqlx::Error> {
    run!(
        all,
        sqlx::query("DELETE FROM session WHERE operator = $1 AND id IS DISTINCT FROM $2")
            .bind(operator)
            .bind(but)
    )
    .map(drop)
}
