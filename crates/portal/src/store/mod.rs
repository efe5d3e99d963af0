//! [`Store`]: what the portal keeps, in one [`database`]: [`operators`], their second factors ([`totp`]) and [`sessions`], the [`audit`] of
//! what they changed, the [`choices`] they did not apply yet or gave a name, the [`recipients`] of notices, and the links of [`travellers`]; of each
//! host the [`history`] of its policies and the [`series`] of what was counted; the hosts of a [`fleet`], the [`bans`] that they share, and the [`world`] data that they pull. The filter's own state is the agent's, and never here.

mod audit;
mod bans;
mod choices;
mod database;
mod evidence;
mod fleet;
mod history;
mod operators;
mod parts;
mod policies;
mod recipients;
mod rollouts;
mod series;
mod sessions;
mod tokens;
mod totp;
mod travellers;
mod world;

#[cfg(test)]
pub(crate) mod tests;

use std::path::Path;
use std::sync::Arc;

use sqlx::{Either, PgPool, SqlitePool};

use crate::error::Error;
use database::{Database, Writing, run};

pub(crate) use audit::{Deed, Entry};

pub(crate) use bans::{ENOUGH, KeptBack, MOST_OF_A_HOST, Shared, Sharing};

pub(crate) use choices::{Choice, Draft, Profile};

pub(crate) use database::{News, is_away};

pub use database::Server;

pub(crate) use evidence::HostDay;

pub(crate) use fleet::{Admitted, KeptAuthority, Known, Member};

pub(crate) use history::{Ending, Past};

pub(crate) use operators::{Operator, Role};

pub(crate) use policies::{Editing, Group, Standing, Target, Tenant, Wanted};

pub(crate) use recipients::{Delivered, Delivery, Recipient};

pub(crate) use rollouts::{
    Answered, NewRollout, Outstanding, Progress, RolledOut, Rollout, Stage, Standout, Watched,
};

pub(crate) use sessions::{Begun, LONGEST};

pub(crate) use tokens::{ApiToken, NewToken};

pub(crate) use totp::Factor;

pub(crate) use travellers::{Grant, Traveller};

pub(crate) use world::{Attempt, KeptWorld, NewWorld, Place, Worlds};

/// What the portal keeps, brought up to this version.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    database: Database,
    /// Where that is.
    at: Arc<str>,
}

impl Store {
    /// Opens the one in this folder, or makes it; or what this server keeps.
    ///
    /// # Errors
    /// If it can't be read or written, or a later version made it.
    pub(crate) async fn open(dir: &Path, server: Option<&Server>) -> Result<Self, Error> {
        let file = dir.join("portal.db");
        let at = server.map_or_else(|| file.display().to_string(), Server::to_string);
        let database = match server {
            None => Database::file(&file).await,
            Some(server) => Database::server(server).await,
        };
        let database = database.map_err(|source| Error::Database { at: at.clone(), source })?;
        Ok(Self { database, at: at.into() })
    }

    /// Where it is, for whoever looks after it.
    pub(crate) fn at(&self) -> &str {
        &self.at
    }

    /// Makes it as good as new, for [`parsers`](crate::parsers). The audit can't be shortened.
    pub(crate) async fn forget_all_but_the_audit(&self) -> Result<(), sqlx::Error> {
        let tables = "session token series history draft profile recipient delivery traveller recovery_code totp operator ticket rollout made_ban shared_ban unshared protected protection ban_budget member host_group portal fleet tenant world_data world";
        let mut all = self.begin().await?;
        for table in tables.split(' ') {
            run!(all, sqlx::query(sqlx::AssertSqlSafe(format!("DELETE FROM {table}"))))?;
        }
        run!(all, sqlx::query("INSERT INTO tenant (id, name) VALUES (1, 'Organisation')"))?;
        all.commit().await
    }

    fn db(&self) -> Either<&SqlitePool, &PgPool> {
        self.database.db()
    }

    /// What other portals announce from now on.
    pub(crate) async fn news(&self) -> Result<News, sqlx::Error> {
        self.database.news().await
    }

    async fn begin(&self) -> Result<Writing, sqlx::Error> {
        self.database.begin().await
    }

    async fn begin_alone(&self, name: &str) -> Result<Writing, sqlx::Error> {
        self.database.begin_alone(name).await
    }
}
