//! [`Store`]: what the portal keeps, in one SQLite database: [`operators`], their second factors ([`totp`]) and [`sessions`], the [`audit`] of
//! what they changed, the [`choices`] they did not apply yet or gave a name, the [`recipients`] of notices, and the links of [`travellers`]; of each
//! host the [`history`] of its policies and the [`series`] of what was counted; the hosts of a [`fleet`]. The filter's own state is the agent's, and never here.

mod audit;
mod choices;
mod fleet;
mod history;
mod operators;
mod recipients;
mod series;
mod sessions;
mod tokens;
mod totp;
mod travellers;

use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection, SqlitePool};

pub(crate) use audit::{Deed, Entry};

pub(crate) use choices::{Choice, Draft, Profile};

pub(crate) use fleet::{KeptAuthority, Wanted};

pub(crate) use history::{Ending, Past};

pub(crate) use operators::{Operator, Role};

pub(crate) use recipients::{Delivered, Delivery, Recipient};

pub(crate) use sessions::{Begun, LONGEST};

pub(crate) use tokens::{ApiToken, NewToken};

pub(crate) use totp::Factor;

pub(crate) use travellers::{Grant, Traveller};

/// Connections that read; SQLite has one that writes.
const CONNECTIONS: u32 = 4;
const BUSY: Duration = Duration::from_secs(5);
/// How a transaction begins that reads what it then writes: no other one may write between.
const WRITE: &str = "BEGIN IMMEDIATE";

/// The database, brought up to this version.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    pool: SqlitePool,
}

impl Store {
    /// Opens the one in this folder, or makes it.
    ///
    /// # Errors
    /// If it can't be read or written, or a later version made it.
    pub(crate) async fn open(dir: &Path) -> Result<Self, sqlx::Error> {
        let options = SqliteConnectOptions::new()
            .filename(dir.join("portal.db"))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY)
            // The portal may write nowhere but in its own folder.
            .pragma("temp_store", "MEMORY")
            .foreign_keys(true);
        // One whose transaction failed on a full disk, and was undone by SQLite itself, is of no more use.
        let pool = SqlitePoolOptions::new()
            .max_connections(CONNECTIONS)
            .after_release(|connection, _| Box::pin(async { Ok(!connection.is_in_transaction()) }));
        let pool = pool.connect_with(options).await?;
        sqlx::migrate!().run(&pool).await?;
        Ok(Self { pool })
    }

    /// Makes it as good as new, for [`parsers`](crate::parsers). The audit can't be shortened.
    pub(crate) async fn forget_all_but_the_audit(&self) -> Result<(), sqlx::Error> {
        let tables = "operator session token series history draft profile recipient delivery traveller totp recovery_code ticket member host_group fleet";
        let mut all = self.pool.begin().await?;
        for table in tables.split(' ') {
            sqlx::query(sqlx::AssertSqlSafe(format!("DELETE FROM {table}")))
                .execute(&mut *all)
                .await?;
        }
        all.commit().await
    }
}
