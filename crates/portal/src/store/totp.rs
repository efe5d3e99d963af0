use sqlx::FromRow;

use super::Store;
use super::database::{on, run};
use super::sessions::end_sessions;

/// An operator's second factor.
#[derive(Clone, FromRow)]
pub(crate) struct Factor {
    pub(crate) operator: i64,
    pub(crate) secret: Vec<u8>,
    /// Since when codes are asked for; not yet without.
    pub(crate) since: Option<i64>,
}

impl Store {
    /// The one of an operator, asked for or not yet.
    pub(crate) async fn factor(&self, operator: i64) -> Result<Option<Factor>, sqlx::Error> {
        on!(self, |db| sqlx::query_as("SELECT * FROM totp WHERE operator = $1")
            .bind(operator)
            .fetch_optional(db))
    }

    /// A secret that is not asked for yet, in the place of an earlier one that never was. Says whether it was kept: not in the place of
    /// one that is.
    pub(crate) async fn offer_factor(
        &self,
        operator: i64,
        secret: &[u8],
    ) -> Result<bool, sqlx::Error> {
        let done = run!(self, sqlx::query(
            "INSERT INTO totp (operator, secret) VALUES ($1, $2)
             ON CONFLICT (operator) DO UPDATE SET secret = excluded.secret, step = 0 WHERE totp.since IS NULL",
        )
        .bind(operator)
        .bind(secret))?;
        Ok(done > 0)
    }

    /// Takes the code of this step, if none as late was taken before. Says whether it did.
    pub(crate) async fn take_step(&self, factor: &Factor, step: i64) -> Result<bool, sqlx::Error> {
        let done = run!(
            self,
            sqlx::query(
                "UPDATE totp SET step = $1 WHERE operator = $2 AND secret = $3 AND step < $1",
            )
            .bind(step)
            .bind(factor.operator)
            .bind(&factor.secret)
        )?;
        Ok(done > 0)
    }

    /// Takes a recovery code by its digest. Says whether there was one.
    pub(crate) async fn take_recovery_code(
        &self,
        operator: i64,
        digest: &[u8; 32],
    ) -> Result<bool, sqlx::Error> {
        let done = run!(
            self,
            sqlx::query("DELETE FROM recovery_code WHERE operator = $1 AND digest = $2")
                .bind(operator)
                .bind(digest.as_slice())
        )?;
        Ok(done > 0)
    }

    /// Asks for codes from now on, if that is not so yet, with these recovery codes in the place of any others; all sessions but
    /// this one end if they began without.
    pub(crate) async fn ask_for_codes(
        &self,
        factor: &Factor,
        recovery: &[[u8; 32]],
        session: i64,
        now: i64,
    ) -> Result<(), sqlx::Error> {
        let operator = factor.operator;
        let mut all = self.begin().await?;
        // Not for a secret that was replaced meanwhile.
        let begins =
            run!(all, sqlx::query(
            "UPDATE totp SET since = coalesce(since, $1) WHERE operator = $2 AND secret = $3",
        )
        .bind(now)
        .bind(operator)
        .bind(&factor.secret))?;
        if begins == 0 {
            return Err(sqlx::Error::RowNotFound);
        }
        if factor.since.is_none() {
            end_sessions(&mut all, operator, Some(session)).await?;
        }
        run!(all, sqlx::query("DELETE FROM recovery_code WHERE operator = $1").bind(operator))?;
        for digest in recovery {
            run!(
                all,
                sqlx::query("INSERT INTO recovery_code (operator, digest) VALUES ($1, $2)")
                    .bind(operator)
                    .bind(digest.as_slice())
            )?;
        }
        all.commit().await
    }

    /// How many recovery codes an operator has left.
    pub(crate) async fn recovery_codes(&self, operator: i64) -> Result<u32, sqlx::Error> {
        let count: i64 = on!(self, |db| sqlx::query_scalar(
            "SELECT count(*) FROM recovery_code WHERE operator = $1",
        )
        .bind(operator)
        .fetch_one(db))?;
        Ok(u32::try_from(count).unwrap_or(u32::MAX))
    }

    /// Asks an operator for codes no longer, whose sessions end but for this one. Says whether it was asked.
    pub(crate) async fn remove_factor(
        &self,
        operator: i64,
        session: Option<i64>,
    ) -> Result<bool, sqlx::Error> {
        let mut both = self.begin().await?;
        let done = run!(both, sqlx::query("DELETE FROM totp WHERE operator = $1").bind(operator))?;
        end_sessions(&mut both, operator, session).await?;
        both.commit().await?;
        Ok(done > 0)
    }
}
