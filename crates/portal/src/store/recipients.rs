use serde::Serialize;
use sqlx::FromRow;
use sqlx::types::Json;
use utoipa::ToSchema;

use super::Store;
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
            sqlx::query_as("SELECT * FROM recipient ORDER BY name").fetch_all(&self.pool).await?;
        Ok(rows.into_iter().map(Row::recipient).collect())
    }

    /// One of them.
    pub(crate) async fn recipient(&self, id: i64) -> Result<Option<Recipient>, sqlx::Error> {
        let row: Option<Row> = sqlx::query_as("SELECT * FROM recipient WHERE id = ?")
            .bind(id)
            .fetch_optional(&self.pool)
            .await?;
        Ok(row.map(Row::recipient))
    }

    /// Another one, and its number; none if the name is taken.
    pub(crate) async fn add_recipient(
        &self,
        name: &str,
        target: &Target,
        wants: &[Occasion],
    ) -> Result<Option<i64>, sqlx::Error> {
        sqlx::query_scalar(
            "INSERT INTO recipient (name, target, wants) VALUES (?, ?, ?) ON CONFLICT DO NOTHING RETURNING id",
        )
        .bind(name)
        .bind(Json(target))
        .bind(Json(wants))
        .fetch_optional(&self.pool)
        .await
    }

    /// What one of them wants to know. Says whether there is one.
    pub(crate) async fn set_wants(&self, id: i64, wants: &[Occasion]) -> Result<bool, sqlx::Error> {
        let done = sqlx::query("UPDATE recipient SET wants = ? WHERE id = ?")
            .bind(Json(wants))
            .bind(id)
            .execute(&self.pool)
            .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Tells it nothing any more. Says whether there was one.
    pub(crate) async fn remove_recipient(&self, id: i64) -> Result<bool, sqlx::Error> {
        let done =
            sqlx::query("DELETE FROM recipient WHERE id = ?").bind(id).execute(&self.pool).await?;
        Ok(done.rows_affected() > 0)
    }

    /// Writes down what came of a letter, and forgets the oldest.
    pub(crate) async fn note_delivery(
        &self,
        delivery: &Delivery<'_>,
        now: i64,
    ) -> Result<(), sqlx::Error> {
        let id: i64 = sqlx::query_scalar(
            "INSERT INTO delivery (time, recipient, event, subject, error) VALUES (?, ?, ?, ?, ?) RETURNING id",
        )
        .bind(now)
        .bind(delivery.recipient)
        .bind(Json(delivery.event))
        .bind(delivery.subject)
        .bind(delivery.error)
        .fetch_one(&self.pool)
        .await?;
        sqlx::query("DELETE FROM delivery WHERE id <= ?")
            .bind(id - KEPT)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// What was told lately, the newest first.
    pub(crate) async fn deliveries(&self) -> Result<Vec<Delivered>, sqlx::Error> {
        let rows: Vec<Kept> =
            sqlx::query_as("SELECT * FROM delivery ORDER BY id DESC").fetch_all(&self.pool).await?;
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
