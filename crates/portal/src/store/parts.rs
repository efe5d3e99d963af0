//! On a server, the steps of one length are kept in parts of a span of time each. A part is made before its first step comes, and the
//! oldest goes as a whole, which costs the same however much is in it.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use sqlx::AssertSqlSafe;

use super::Store;
use super::database::{Database, Writing};

/// Steps of one length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Parts {
    /// How long a step is, in seconds.
    pub(super) step: i64,
    /// How long a part is, in seconds.
    pub(super) span: i64,
    /// How many there are at most.
    pub(super) most: usize,
}

/// Those that are known to be there, by the length of their steps and their number.
pub(super) type Known = Arc<Mutex<HashSet<(i64, i64)>>>;

impl Parts {
    /// The number of the part that this time is in, in milliseconds since 1970.
    fn at(self, time: i64) -> i64 {
        time.div_euclid(self.span * 1000)
    }

    fn table(self) -> String {
        format!("series_{}", self.step)
    }
}

impl Store {
    /// Whether there is a part for a step that begins then. A file has no parts.
    pub(super) fn has_room(&self, parts: Parts, time: i64) -> bool {
        match &self.database {
            Database::Sqlite(_) => true,
            Database::Postgres(_, known) => lock(known).contains(&(parts.step, parts.at(time))),
        }
    }

    /// Makes a part for a step that begins then, unless it is older than all that is kept; the oldest goes if there are too many.
    pub(super) async fn make_room(&self, parts: Parts, time: i64) -> Result<(), sqlx::Error> {
        if self.has_room(parts, time) {
            return Ok(());
        }
        let mut all = self.begin_alone("parts").await?;
        let (Database::Postgres(_, known), Writing::Postgres(one)) = (&self.database, &mut all)
        else {
            return Ok(());
        };
        let number = parts.at(time);
        let tables: Vec<String> = sqlx::query_scalar(
            "SELECT relname::text FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
             WHERE inhparent = $1::text::regclass",
        )
        .bind(parts.table())
        .fetch_all(&mut **one)
        .await?;
        let number_of = |table: &String| table.rsplit('_').next()?.parse::<i64>().ok();
        let mut numbers: Vec<i64> = tables.iter().filter_map(number_of).collect();
        if !numbers.contains(&number) {
            numbers.push(number);
            numbers.sort_unstable_by(|one, other| other.cmp(one));
            if numbers.iter().skip(parts.most).any(|old| *old == number) {
                return Ok(());
            }
            let (table, span) = (parts.table(), parts.span * 1000);
            let (from, to) = (number * span, (number + 1) * span);
            let make = format!(
                "CREATE TABLE {table}_{number} PARTITION OF {table} FOR VALUES FROM ({from}) TO ({to})"
            );
            sqlx::query(AssertSqlSafe(make)).execute(&mut **one).await?;
            for old in numbers.iter().skip(parts.most) {
                let drop = format!("DROP TABLE {table}_{old}");
                sqlx::query(AssertSqlSafe(drop)).execute(&mut **one).await?;
            }
        }
        all.commit().await?;
        numbers.truncate(parts.most);
        let mut known = lock(known);
        known.retain(|(step, _)| *step != parts.step);
        known.extend(numbers.into_iter().map(|number| (parts.step, number)));
        Ok(())
    }

    /// Another portal may have dropped some.
    pub(super) fn forget_parts(&self) {
        if let Database::Postgres(_, known) = &self.database {
            lock(known).clear();
        }
    }
}

fn lock(known: &Known) -> std::sync::MutexGuard<'_, HashSet<(i64, i64)>> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}
