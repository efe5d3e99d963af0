use serde::{Deserialize, Serialize};
use sqlx::FromRow;
use utoipa::ToSchema;

use super::Store;
use super::database::{on, run};
use super::sessions::end_sessions;

/// Who reads who there is before changing that does so alone.
const OPERATORS: &str = "operators";

/// What an operator may do; each may do what those before it may.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema, sqlx::Type,
)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub(crate) enum Role {
    /// Sees everything but operators and the audit.
    Viewer,
    /// Changes what hosts do.
    Operator,
    /// Says who may do what.
    Admin,
}

/// Somebody who may work here.
#[derive(Debug, Clone, FromRow)]
pub(crate) struct Operator {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) password: String,
    pub(crate) role: Role,
    /// When somebody else gave the password.
    pub(crate) given: Option<i64>,
    /// The organisation whose operator this is; the whole portal's if none.
    pub(crate) tenant: Option<i64>,
}

/// An operator among others.
#[derive(Debug, FromRow)]
pub(crate) struct Listed {
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) created: i64,
    /// Whether codes are asked for.
    pub(crate) totp: bool,
    /// The name of the organisation whose operator this is.
    pub(crate) tenant: Option<String>,
}

impl Store {
    /// Whether there is anybody.
    pub(crate) async fn has_operators(&self) -> Result<bool, sqlx::Error> {
        on!(self, |db| sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM operator)").fetch_one(db))
    }

    /// The one of this name, in any case.
    pub(crate) async fn operator(&self, name: &str) -> Result<Option<Operator>, sqlx::Error> {
        on!(self, |db| sqlx::query_as("SELECT * FROM operator WHERE name = $1")
            .bind(name)
            .fetch_optional(db))
    }

    /// All of them, by name.
    pub(crate) async fn operators(&self) -> Result<Vec<Listed>, sqlx::Error> {
        on!(self, |db| sqlx::query_as(
            "SELECT operator.name, role, created, since IS NOT NULL AS totp, tenant.name AS tenant
             FROM operator LEFT JOIN totp ON totp.operator = operator.id
                 LEFT JOIN tenant ON tenant.id = operator.tenant ORDER BY operator.name",
        )
        .fetch_all(db))
    }

    /// Another operator, of an organisation or of the whole portal, whose password somebody else chose; none if the name is taken.
    pub(crate) async fn add_operator(
        &self,
        name: &str,
        password: &str,
        role: Role,
        tenant: Option<i64>,
        now: i64,
    ) -> Result<Option<Operator>, sqlx::Error> {
        on!(self, |db| {
            sqlx::query_as(
            "INSERT INTO operator (name, password, role, created, given, tenant) VALUES ($1, $2, $3, $4, $4, $5)
             ON CONFLICT DO NOTHING RETURNING *",
        )
        .bind(name)
        .bind(password)
        .bind(role)
        .bind(now)
        .bind(tenant).fetch_optional(db)
        })
    }

    /// Gives an operator another role, unless that is the last admin. Says whether it did.
    pub(crate) async fn set_role(
        &self,
        operator: &Operator,
        role: Role,
    ) -> Result<bool, sqlx::Error> {
        let mut all = self.begin_alone(OPERATORS).await?;
        let done = run!(all, sqlx::query(
            "UPDATE operator SET role = $1 WHERE id = $2
             AND ($1 = 'admin' OR EXISTS (SELECT 1 FROM operator WHERE role = 'admin' AND id <> $2))",
        )
        .bind(role)
        .bind(operator.id))?;
        all.commit().await?;
        Ok(done > 0)
    }

    /// Removes an operator with the sessions, unless that is the last admin. Says whether it did.
    pub(crate) async fn remove_operator(&self, operator: &Operator) -> Result<bool, sqlx::Error> {
        let mut all = self.begin_alone(OPERATORS).await?;
        let done = run!(
            all,
            sqlx::query(
                "DELETE FROM operator WHERE id = $1
             AND EXISTS (SELECT 1 FROM operator WHERE role = 'admin' AND id <> $1)",
            )
            .bind(operator.id)
        )?;
        all.commit().await?;
        Ok(done > 0)
    }

    /// Takes the password that an operator chose, and ends all sessions but this one.
    pub(crate) async fn change_password(
        &self,
        operator: i64,
        password: &str,
        session: i64,
    ) -> Result<(), sqlx::Error> {
        self.set_password(operator, password, None, Some(session)).await
    }

    /// Gives an operator a password that somebody else knows too, and ends all sessions.
    pub(crate) async fn give_password(
        &self,
        operator: i64,
        password: &str,
        now: i64,
    ) -> Result<(), sqlx::Error> {
        self.set_password(operator, password, Some(now), None).await
    }

    async fn set_password(
        &self,
        operator: i64,
        password: &str,
        given: Option<i64>,
        but: Option<i64>,
    ) -> Result<(), sqlx::Error> {
        let mut both = self.begin().await?;
        run!(
            both,
            sqlx::query("UPDATE operator SET password = $1, given = $2 WHERE id = $3")
                .bind(password)
                .bind(given)
                .bind(operator)
        )?;
        end_sessions(&mut both, operator, but).await?;
        both.commit().await
    }

    /// The first operator, an admin; none if there is somebody already.
    pub(crate) async fn add_first_operator(
        &self,
        name: &str,
        password: &str,
        now: i64,
    ) -> Result<Option<Operator>, sqlx::Error> {
        let mut all = self.begin_alone(OPERATORS).await?;
        let first = on!(all, |db| sqlx::query_as(
            "INSERT INTO operator (name, password, role, created)
             SELECT $1, $2, 'admin', $3 WHERE NOT EXISTS (SELECT 1 FROM operator)
             RETURNING *",
        )
        .bind(name)
        .bind(password)
        .bind(now)
        .fetch_optional(db))?;
        all.commit().await?;
        Ok(first)
    }
}
