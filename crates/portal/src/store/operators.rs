use serde::{Deserialize, Serialize};
use sqlx::FromRow;
use utoipa::ToSchema;

use super::Store;

/// What an operator may do; each may do what those before it may.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema, sqlx::Type,
)]
#[serde(rename_all = "lowercase")]
#[sqlx(rename_all = "lowercase")]
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
}

impl Store {
    /// Whether there is anybody.
    pub(crate) async fn has_operators(&self) -> Result<bool, sqlx::Error> {
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM operator)").fetch_one(&self.pool).await
    }

    /// The one of this name, in any case.
    pub(crate) async fn operator(&self, name: &str) -> Result<Option<Operator>, sqlx::Error> {
        sqlx::query_as("SELECT id, name, password, role FROM operator WHERE name = ?")
            .bind(name)
            .fetch_optional(&self.pool)
            .await
    }

    /// The first operator, an admin; none if there is somebody already.
    pub(crate) async fn add_first_operator(
        &self,
        name: &str,
        password: &str,
        now: i64,
    ) -> Result<Option<Operator>, sqlx::Error> {
        sqlx::query_as(
            "INSERT INTO operator (name, password, role, created)
             SELECT ?, ?, 'admin', ? WHERE NOT EXISTS (SELECT 1 FROM operator)
             RETURNING id, name, password, role",
        )
        .bind(name)
        .bind(password)
        .bind(now)
        .fetch_optional(&self.pool)
        .await
    }
}
