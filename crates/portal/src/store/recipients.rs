use serde::Serialize;
use sqlx::FromRow;
use sqlx::types::Json;
use utoipa::ToSchema;

use super::Store;
use super::database::{on, run};
use crate::clock;
use crate::courier::Target;
use crate::notices::Occasion;

/// Deliveries that are kept.
const KEPT: i64 = 200;

/// Whom to tell of what.
#[derive(Debug, Clone)]
pub(crate) struct Recipient {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) target: Target,
    pub(crate) wants: Vec<Occasion>,
}

/// What came of telling somebody of something.
#[derive(Debug)]
pub(crate) struct Delivery<'a> {
    pub(crate) recipient: &'a str,
    pub(crate) event: Occasion,
    pub(crate) subject: &'a str,
    pub(crate) error: Option<&'a str>,
}

/// The same, as it is kept.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Delivered {
    /// When, in RFC 3339.
    time: String,
    /// The recipient's name.
    recipient: String,
    /// What it was about.
    event: Occasion,
    /// In a few words.
    subject: String,
    /// Why it was not delivered, if it was not.
    error: Option<String>,
}

#[derive(FromRow)]
struct Row {
    id: i64,
    name: String,
    target: Json<Target>,
    wants: Json<Vec<Occasion>>,
}

#[derive(FromRow)]
struct Kept {
    time: i64,
    recipient: String,
    event: Json<Occasion>,
    subject: String,
    error: Option<String>,
}

impl Store {
    /// All of them, by name.
    pub(crate) async fn recipients(&self) -> Result<Vec<Recipient>, sqlx::Error> {
        let rows: Vec<Row> =
            on!(self, |db| sqlx::query_as("SELECT * FROM recipient ORDER BY name").fetch_all(db))?;
        Ok(rows.into_iter().map(Row::recipient).collect())
    }

    /// One of them.
    pub(crate) async fn recipient(&self, id: i64) -> Result<Option<Recipient>, sqlx::Error> {
        let row: Option<Row> =
            on!(self, |db| sqlx::query_as("SELECT * FROM recipient WHERE id = $1")
                .bind(id)
                .fetch_optional(db))?;
        Ok(row.map(Row::recipient))
    }

    /// Another one, and its number; none if the name is taken.
    pub(crate) async fn add_recipient(
        &self,
        name: &str,
        target: &Target,
        wants: &[Occasion],
    ) -> Result<Option<i64>, sqlx::Error> {
        on!(self, |db| {
            sqlx::query_scalar(
            "INSERT INTO recipient (name, target, wants) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING RETURNING id",
        )
        .bind(name)
        .bind(Json(target))
        .bind(Json(wants)).fetch_optional(db)
        })
    }

    /// What one of them wants to know. Says whether there is one.
    pub(crate) async fn set_wants(&self, id: i64, wants: &[Occasion]) -> Result<bool, sqlx::Error> {
        let done = run!(
            self,
            sqlx::query("UPDATE recipient SET wants = $1 WHERE id = $2").bind(Json(wants)).bind(id)
        )?;
        Ok(done > 0)
    }

    /// Tells it nothing any more. Says whether there was one.
    pub(crate) async fn remove_recipient(&self, id: i64) -> Result<bool, sqlx::Error> {
        let done = run!(self, sqlx::query("DELETE FROM recipient WHERE id = $1").bind(id))?;
        Ok(done > 0)
    }

    /// Writes down what came of a letter, and forgets the oldest.
    pub(crate) async fn note_delivery(
        &self,
        delivery: &Delivery<'_>,
        now: i64,
    ) -> Result<(), sqlx::Error> {
        let id: i64 = on!(self, |db| {
            sqlx::query_scalar(
            "INSERT INTO delivery (time, recipient, event, subject, error) VALUES ($1, $2, $3, $4, $5) RETURNING id",
        )
        .bind(now)
        .bind(delivery.recipient)
        .bind(Json(delivery.event))
        .bind(delivery.subject)
        .bind(delivery.error).fetch_one(db)
        })?;
        run!(self, sqlx::query("DELETE FROM delivery WHERE id <= $1").bind(id - KEPT))?;
        Ok(())
    }

    /// What was told lately, the newest first.
    pub(crate) async fn deliveries(&self) -> Result<Vec<Delivered>, sqlx::Error> {
        let rows: Vec<Kept> =
            on!(self, |db| sqlx::query_as("SELECT * FROM delivery ORDER BY id DESC")
                .fetch_all(db))?;
        let delivered = rows.into_iter().map(|kept| Delivered {
            time: clock::written(kept.time),
            recipient: kept.recipient,
            event: kept.event.0,
            subject: kept.subject,
            error: kept.error,
        });
        Ok(delivered.collect())
    }
}

impl Row {
    fn recipient(self) -> Recipient {
        let Self { id, name, target: Json(target), wants: Json(wants) } = self;
        Recipient { id, name, target, wants }
    }
}
