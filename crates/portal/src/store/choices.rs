//! What operators choose and don't apply yet: one draft for each host, and profiles, which have names.

use geofilter_core::country::CountrySet;
use geofilter_core::policy::{Disputed, Mode, Verdict};
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, types::Json};
use utoipa::ToSchema;

use super::Store;
use super::database::{on, run};

/// Whom to let in or keep out. What is not said stays as it is at the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PolicyChoice)]
pub(crate) struct Choice {
    /// Allow or block.
    pub(crate) mode: Mode,
    /// The countries.
    pub(crate) countries: CountrySet,
    /// Hosting networks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) hosting: Option<Verdict>,
    /// Unknown space.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) unknown: Option<Verdict>,
    /// Disputed space.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) disputed: Option<Disputed>,
}

/// What somebody is choosing for a host.
#[derive(Debug, Clone, FromRow)]
pub(crate) struct Draft {
    pub(crate) operator: String,
    pub(crate) time: i64,
    pub(crate) choice: Json<Choice>,
}

/// A choice that has a name.
#[derive(Debug, Clone, FromRow)]
pub(crate) struct Profile {
    pub(crate) id: i64,
    /// The organisation whose it is; everybody's if none.
    pub(crate) tenant: Option<i64>,
    pub(crate) name: String,
    pub(crate) operator: String,
    pub(crate) time: i64,
    pub(crate) choice: Json<Choice>,
}

impl Store {
    /// The draft of a host, if there is one.
    pub(crate) async fn draft(&self, host: &str) -> Result<Option<Draft>, sqlx::Error> {
        on!(self, |db| sqlx::query_as("SELECT operator, time, choice FROM draft WHERE host = $1")
            .bind(host)
            .fetch_optional(db))
    }

    /// Makes this the draft of a host.
    pub(crate) async fn set_draft(&self, host: &str, draft: &Draft) -> Result<(), sqlx::Error> {
        run!(self, sqlx::query(
            "INSERT INTO draft (host, operator, time, choice) VALUES ($1, $2, $3, $4)
             ON CONFLICT (host) DO UPDATE SET operator = excluded.operator, time = excluded.time, choice = excluded.choice",
        )
        .bind(host)
        .bind(&draft.operator)
        .bind(draft.time)
        .bind(&draft.choice))
        .map(drop)
    }

    /// The host has no draft any more.
    pub(crate) async fn remove_draft(&self, host: &str) -> Result<(), sqlx::Error> {
        run!(self, sqlx::query("DELETE FROM draft WHERE host = $1").bind(host)).map(drop)
    }

    /// The profiles that are everybody's, and those of an organisation, by name.
    pub(crate) async fn profiles(&self, tenant: Option<i64>) -> Result<Vec<Profile>, sqlx::Error> {
        on!(self, |db| sqlx::query_as(
            "SELECT * FROM profile
             WHERE tenant IS NULL OR tenant = $1 ORDER BY name, id"
        )
        .bind(tenant)
        .fetch_all(db))
    }

    /// One of them.
    pub(crate) async fn profile(&self, id: i64) -> Result<Option<Profile>, sqlx::Error> {
        on!(self, |db| sqlx::query_as("SELECT * FROM profile WHERE id = $1")
            .bind(id)
            .fetch_optional(db))
    }

    /// Another profile of an organisation, or of everybody; none if the name is taken there, or there are so many already.
    pub(crate) async fn add_profile(
        &self,
        tenant: Option<i64>,
        name: &str,
        draft: &Draft,
        most: i64,
    ) -> Result<Option<Profile>, sqlx::Error> {
        on!(self, |db| sqlx::query_as(
            "INSERT INTO profile (tenant, name, operator, time, choice)
             SELECT CAST($6 AS BIGINT), $1, $2, $3, $4
             WHERE (SELECT COUNT(*) FROM profile WHERE tenant IS NOT DISTINCT FROM $6) < $5
             ON CONFLICT DO NOTHING RETURNING *",
        )
        .bind(name)
        .bind(&draft.operator)
        .bind(draft.time)
        .bind(&draft.choice)
        .bind(most)
        .bind(tenant)
        .fetch_optional(db))
    }

    /// Gives a profile another name and choice, unless the name is another's. Says whether it did.
    pub(crate) async fn set_profile(
        &self,
        id: i64,
        name: &str,
        draft: &Draft,
    ) -> Result<bool, sqlx::Error> {
        let done =
            run!(self, sqlx::query(
            "UPDATE profile SET name = $1, operator = $2, time = $3, choice = $4 WHERE id = $5",
        )
        .bind(name)
        .bind(&draft.operator)
        .bind(draft.time)
        .bind(&draft.choice)
        .bind(id));
        match done {
            Ok(done) => Ok(done > 0),
            // The name is another's.
            Err(sqlx::Error::Database(error)) if error.is_unique_violation() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes a profile. Says whether there was one.
    pub(crate) async fn remove_profile(&self, id: i64) -> Result<bool, sqlx::Error> {
        let done = run!(self, sqlx::query("DELETE FROM profile WHERE id = $1").bind(id))?;
        Ok(done > 0)
    }
}
