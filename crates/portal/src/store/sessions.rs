use sqlx::FromRow;

use super::{Operator, Role, Store};

/// Milliseconds after which a session that nobody used has ended.
pub(crate) const IDLE: i64 = 8 * 3_600_000;
/// Milliseconds after which it has ended whoever uses it.
const LONGEST: i64 = 7 * 86_400_000;
/// Milliseconds between two notes that it was used.
const NOTED: i64 = 60_000;

/// A session that goes on.
#[derive(Debug, Clone, FromRow)]
pub(crate) struct Begun {
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) csrf: String,
    pub(crate) began: i64,
    pub(crate) used: i64,
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
    ) -> Result<(), sqlx::Error> {
        sqlx::query("DELETE FROM session WHERE used < ? OR began < ?")
            .bind(now - IDLE)
            .bind(now - LONGEST)
            .execute(&self.pool)
            .await?;
        sqlx::query(
            "INSERT INTO session (digest, operator, csrf, source, began, used) VALUES (?, ?, ?, ?, ?, ?)",
        )
        .bind(digest.as_slice())
        .bind(operator.id)
        .bind(csrf)
        .bind(source)
        .bind(now)
        .bind(now)
        .execute(&self.pool)
        .await
        .map(drop)
    }

    /// The one whose token has this digest, if it has not ended; it counts as used now.
    pub(crate) async fn session(
        &self,
        digest: &[u8; 32],
        now: i64,
    ) -> Result<Option<Begun>, sqlx::Error> {
        let found: Option<Begun> = sqlx::query_as(
            "SELECT operator.name, operator.role, session.csrf, session.began, session.used
             FROM session JOIN operator ON operator.id = session.operator WHERE session.digest = ?",
        )
        .bind(digest.as_slice())
        .fetch_optional(&self.pool)
        .await?;
        let Some(session) = found.filter(|session| now < session.ends()) else { return Ok(None) };
        if now - session.used > NOTED {
            sqlx::query("UPDATE session SET used = ? WHERE digest = ?")
                .bind(now)
                .bind(digest.as_slice())
                .execute(&self.pool)
                .await?;
        }
        Ok(Some(session))
    }

    /// Ends one.
    pub(crate) async fn end_session(&self, digest: &[u8; 32]) -> Result<(), sqlx::Error> {
        sqlx::query("DELETE FROM session WHERE digest = ?")
            .bind(digest.as_slice())
            .execute(&self.pool)
            .await
            .map(drop)
    }
}
