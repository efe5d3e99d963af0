//! What the logs of the fleet's hosts told of attempts, day by day.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use geofilter_core::evidence::OfDay;
use geofilter_fleet::HostId;
use sqlx::FromRow;
use sqlx::types::Json;

use super::Store;
use super::database::{Writing, on};

/// A day of a host.
#[derive(Debug, Clone, FromRow)]
pub(crate) struct HostDay {
    pub(crate) member: i64,
    pub(crate) day: String,
    pub(crate) of_day: Json<OfDay>,
}

impl Store {
    /// The days of some of an organisation's hosts, or of everybody's, up to this one, in their order: of those whose numbers are from one to
    /// another.
    pub(crate) async fn evidence_until(
        &self,
        tenant: Option<i64>,
        of: RangeInclusive<i64>,
        day: &str,
    ) -> Result<Vec<HostDay>, sqlx::Error> {
        on!(self, |db| {
            sqlx::query_as(
                "SELECT evidence.member, day, of_day
             FROM evidence JOIN member ON member.id = evidence.member
                 JOIN host_group ON host_group.id = member.host_group
             WHERE tenant = coalesce($1, tenant) AND revoked IS NULL AND day <= $2
                 AND evidence.member >= $3 AND evidence.member <= $4
             ORDER BY day, evidence.member",
            )
            .bind(tenant)
            .bind(day)
            .bind(of.start())
            .bind(of.end())
            .fetch_all(db)
        })
    }
}

/// What hosts say of days, which is all that is known of each. Of those who say something what is before the oldest day goes.
pub(super) async fn note_days(
    all: &mut Writing,
    days: &BTreeMap<(HostId, &str), &OfDay>,
    oldest: &str,
) -> Result<(), sqlx::Error> {
    if days.is_empty() {
        return Ok(());
    }
    // One that was never enrolled has none.
    match all {
        Writing::Sqlite(all) => {
            for ((host, day), of_day) in days {
                let query = sqlx::query("DELETE FROM evidence WHERE member = $1 AND day < $2");
                query.bind(host.0).bind(oldest).execute(&mut **all).await?;
                let query = sqlx::query(
                    "INSERT INTO evidence (member, day, of_day) SELECT id, $2, $3 FROM member WHERE id = $1
                     ON CONFLICT (member, day) DO UPDATE SET of_day = excluded.of_day",
                );
                query.bind(host.0).bind(day).bind(Json(of_day)).execute(&mut **all).await?;
            }
        }
        Writing::Postgres(all) => {
            let hosts: Vec<i64> = days.keys().map(|(host, _)| host.0).collect();
            let query = sqlx::query("DELETE FROM evidence WHERE member = ANY($1) AND day < $2");
            query.bind(&hosts).bind(oldest).execute(&mut **all).await?;
            let names: Vec<&str> = days.keys().map(|(_, day)| *day).collect();
            let known: Vec<_> = days.values().map(Json).collect();
            sqlx::query(
                "INSERT INTO evidence (member, day, of_day)
                 SELECT id, day, of_day FROM unnest($1::bigint[], $2::text[], $3::jsonb[]) AS said (host, day, of_day)
                     JOIN member ON id = host
                 ON CONFLICT (member, day) DO UPDATE SET of_day = excluded.of_day",
            )
            .bind(hosts)
            .bind(names)
            .bind(known)
            .execute(&mut **all)
            .await?;
        }
    }
    Ok(())
}
