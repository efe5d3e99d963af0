use serde::Serialize;
use sqlx::FromRow;
use utoipa::ToSchema;

use super::Store;
use super::database::{Writing, on, run};
use crate::clock;

/// What somebody did.
#[derive(Debug, Clone)]
pub(crate) struct Deed<'a> {
    pub(crate) operator: &'a str,
    pub(crate) source: &'a str,
    pub(crate) host: Option<&'a str>,
    pub(crate) action: &'a str,
    pub(crate) before: Option<serde_json::Value>,
    pub(crate) after: Option<serde_json::Value>,
}

/// A line of the audit.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Entry {
    /// Its number; later ones are larger.
    pub(crate) id: i64,
    /// When, in RFC 3339.
    pub(crate) time: String,
    /// Who.
    pub(crate) operator: String,
    /// From which address.
    pub(crate) source: String,
    /// To which host.
    pub(crate) host: Option<String>,
    /// What.
    pub(crate) action: String,
    /// What there was before.
    #[schema(value_type = Option<Object>)]
    pub(crate) before: Option<serde_json::Value>,
    /// What there was afterwards.
    #[schema(value_type = Option<Object>)]
    pub(crate) after: Option<serde_json::Value>,
}

#[derive(FromRow)]
struct Row {
    id: i64,
    time: i64,
    operator: String,
    source: String,
    host: Option<String>,
    action: String,
    before: Option<String>,
    after: Option<String>,
}

impl Store {
    /// Writes it down. It is never changed afterwards.
    pub(crate) async fn write_down(&self, deed: &Deed<'_>, now: i64) -> Result<(), sqlx::Error> {
        let mut all = self.begin().await?;
        write_down(&mut all, deed, now).await?;
        all.commit().await
    }

    /// So many of the lines before this one, the newest first.
    pub(crate) async fn audit(&self, before: i64, limit: u32) -> Result<Vec<Entry>, sqlx::Error> {
        let rows: Vec<Row> = on!(self, |db| sqlx::query_as(
            "SELECT id, time, operator, source, host, action, before, after FROM audit
             WHERE id < $1 ORDER BY id DESC LIMIT $2",
        )
        .bind(before)
        .bind(i64::from(limit))
        .fetch_all(db))?;
        Ok(rows.into_iter().map(Row::entry).collect())
    }
}

/// Writes it down with what else is done, or not at all.
pub(super) async fn write_down(
    all: &mut Writing,
    deed: &Deed<'_>,
    now: i64,
) -> Result<(), sqlx::Error> {
    let text = |value: &Option<serde_json::Value>| value.as_ref().map(ToString::to_string);
    run!(all, sqlx::query(
        "INSERT INTO audit (time, operator, source, host, action, before, after) VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(now)
    .bind(deed.operator)
    .bind(deed.source)
    .bind(deed.host)
    .bind(deed.action)
    .bind(text(&deed.before))
    .bind(text(&deed.after)))
    .map(drop)
}

impl Row {
    fn entry(self) -> Entry {
        let value = |text: Option<String>| text.and_then(|text| serde_json::from_str(&text).ok());
        Entry {
            id: self.id,
            time: clock::written(self.time),
            operator: self.operator,
            source: self.source,
            host: self.host,
            action: self.action,
            before: value(self.before),
            after: value(self.after),
        }
    }
}
