//! [`Database`]: one SQLite file in the portal's folder, or a PostgreSQL server that several portals share. A query is written once, in the SQL
//! that both speak, and runs on whichever it is by [`run!`] and [`on!`].

use std::fmt::{self, Debug, Display, Formatter};
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use super::parts::Known;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{
    Connection, Either, PgConnection, PgPool, Postgres, Sqlite, SqliteConnection, SqlitePool,
    Transaction,
};

/// Connections that read; SQLite has one that writes.
const READING: u32 = 4;
const BUSY: Duration = Duration::from_secs(5);
/// How an SQLite transaction begins that may write: no other one does meanwhile.
const WRITE: &str = "BEGIN IMMEDIATE";
/// Connections to a server, and how long one is waited for.
const CONNECTIONS: u32 = 8;
const PATIENCE: Duration = Duration::from_secs(10);

/// How often it is asked whether there is a pooler, which may give the same connection again by chance.
const TRIES: u32 = 5;

/// By what portals announce that hosts are to do something else.
pub(super) const CHANNEL: &str = "geofilter";

/// Runs a query that changes something. Returns how many rows.
macro_rules! run {
    ($of:expr, $query:expr) => {
        match $of.db() {
            sqlx::Either::Left(db) => $query.execute(db).await.map(|done| done.rows_affected()),
            sqlx::Either::Right(db) => $query.execute(db).await.map(|done| done.rows_affected()),
        }
    };
}

/// Runs a query that is fetched from `$db`.
macro_rules! on {
    ($of:expr, |$db:ident| $query:expr) => {
        match $of.db() {
            sqlx::Either::Left($db) => $query.await,
            sqlx::Either::Right($db) => $query.await,
        }
    };
}

pub(super) use {on, run};

/// A PostgreSQL server, and which of its databases.
#[derive(Clone)]
pub struct Server {
    options: PgConnectOptions,
    /// What of its certificate is read from.
    files: Vec<String>,
}

impl FromStr for Server {
    type Err = String;

    fn from_str(url: &str) -> Result<Self, String> {
        if !["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
            return Err(
                "it is a PostgreSQL server, as in postgres://geofilter@db.example.net/geofilter"
                    .to_owned(),
            );
        }
        let options: PgConnectOptions =
            url.parse().map_err(|error: sqlx::Error| error.to_string())?;
        let named = url.split_once('?').map_or("", |(_, named)| named).split('&');
        let files = named.filter_map(|named| {
            let (name, file) = named.split_once('=')?;
            ["sslrootcert", "sslcert", "sslkey"].contains(&name).then(|| file.to_owned())
        });
        let files = files.collect();
        // Nothing is kept with a fraction, and a pooler refuses to be asked for more digits of it.
        let options = options.application_name("geofilter portal").extra_float_digits(None);
        Ok(Self { options, files })
    }
}

/// Without the password.
impl Display for Server {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let at = self
            .options
            .get_socket()
            .map_or(self.options.get_host().into(), |socket| socket.to_string_lossy());
        write!(
            f,
            "{at}:{}/{}",
            self.options.get_port(),
            self.options.get_database().unwrap_or_default()
        )
    }
}

impl Debug for Server {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Display::fmt(self, f)
    }
}

impl Server {
    /// Its port.
    pub(crate) fn port(&self) -> u16 {
        self.options.get_port()
    }

    /// The files that connecting to it takes.
    pub(crate) fn files(&self) -> &[String] {
        &self.files
    }
}

/// See the module.
#[derive(Debug, Clone)]
pub(super) enum Database {
    Sqlite(SqlitePool),
    Postgres(PgPool, Known),
}

impl Database {
    /// This file, made if there is none, and brought up to this version.
    pub(super) async fn file(file: &Path) -> Result<Self, sqlx::Error> {
        let options = SqliteConnectOptions::new()
            .filename(file)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY)
            // The portal may write nowhere but in its own folder.
            .pragma("temp_store", "MEMORY")
            .foreign_keys(true);
        // One whose transaction failed on a full disk, and was undone by SQLite itself, is of no more use.
        let pool = SqlitePoolOptions::new()
            .max_connections(READING)
            .after_release(|connection, _| Box::pin(async { Ok(!connection.is_in_transaction()) }));
        let pool = pool.connect_with(options).await?;
        sqlx::migrate!("migrations/sqlite").run(&pool).await?;
        Ok(Self::Sqlite(pool))
    }

    /// What this server keeps for portals, brought up to this version.
    pub(super) async fn server(server: &Server) -> Result<Self, sqlx::Error> {
        let pool = PgPoolOptions::new().max_connections(CONNECTIONS).acquire_timeout(PATIENCE);
        let pool = pool.connect_with(server.options.clone()).await?;
        // Portals that start together wait for each other. A lock of more than a transaction would stay behind in a pooler.
        let mut upgrade = sqlx::migrate!("migrations/postgres");
        upgrade.set_locking(false);
        let mut all = pool.begin().await?;
        lock(&mut all, "upgrade").await?;
        upgrade.run(&mut *all).await?;
        all.commit().await?;
        Ok(Self::Postgres(pool, Known::default()))
    }

    /// What a query runs on.
    pub(super) fn db(&self) -> Either<&SqlitePool, &PgPool> {
        match self {
            Self::Sqlite(pool) => Either::Left(pool),
            Self::Postgres(pool, _) => Either::Right(pool),
        }
    }

    /// What is announced from now on.
    pub(super) async fn news(&self) -> Result<News, sqlx::Error> {
        let Self::Postgres(pool, _) = self else { return Ok(News::Never) };
        // What is announced would come to whoever has that connection by then, amid an answer.
        if is_pooled(pool).await? {
            tracing::info!(
                "there is a pooler before the database: this portal looks by itself what others change"
            );
            return Ok(News::Never);
        }
        let mut listener = PgListener::connect_with(pool).await?;
        // Who was cut off asks again what is in between.
        listener.eager_reconnect(false);
        listener.listen(CHANNEL).await?;
        Ok(News::Server(Box::new(listener)))
    }

    /// Several queries that hold together.
    pub(super) async fn begin(&self) -> Result<Writing, sqlx::Error> {
        Ok(match self {
            Self::Sqlite(pool) => Writing::Sqlite(pool.begin_with(WRITE).await?),
            Self::Postgres(pool, _) => Writing::Postgres(pool.begin().await?),
        })
    }

    /// The same, that begin once no others of that name go on: they read what they then write.
    pub(super) async fn begin_alone(&self, name: &str) -> Result<Writing, sqlx::Error> {
        let mut all = self.begin().await?;
        if let Writing::Postgres(all) = &mut all {
            lock(all, name).await?;
        }
        Ok(all)
    }
}

/// Waits until no other transaction has this lock, and has it to its end.
async fn lock(all: &mut PgConnection, name: &str) -> Result<(), sqlx::Error> {
    let query = sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))").bind(name);
    query.execute(all).await.map(drop)
}

/// Whether another transaction has the connection of this one before it or after it, as a pooler gives them.
async fn is_pooled(pool: &PgPool) -> Result<bool, sqlx::Error> {
    let mut one = pool.acquire().await?;
    for _ in 0..TRIES {
        let before = backend(&mut one).await?;
        let mut other = pool.begin().await?;
        // With one connection in all nothing else could be asked now.
        let is_shared = backend(&mut other).await? == before || backend(&mut one).await? != before;
        other.rollback().await?;
        if is_shared {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn backend(connection: &mut PgConnection) -> Result<i32, sqlx::Error> {
    sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(connection).await
}

/// What a server says that ends, has ended or only begins.
const AWAY: &str = "57P";

/// Whether the database does not answer, which passes by itself, rather than that it answers with a failure.
pub(crate) fn is_away(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut => true,
        sqlx::Error::Database(error) => error.code().is_some_and(|code| code.starts_with(AWAY)),
        _ => false,
    }
}

/// What other portals announce, if the server tells it.
pub(crate) enum News {
    /// Nobody else writes to a file, and by a pooler nothing comes.
    Never,
    Server(Box<PgListener>),
}

impl News {
    /// Comes true when there is something new.
    pub(crate) async fn next(&mut self) -> Result<(), sqlx::Error> {
        match self {
            Self::Never => std::future::pending().await,
            Self::Server(listener) => match listener.try_recv().await? {
                Some(_) => Ok(()),
                None => Err(sqlx::Error::PoolClosed),
            },
        }
    }
}

/// Queries that hold together: all are undone unless they are [committed](Self::commit).
pub(super) enum Writing {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>),
}

impl Writing {
    /// What a query runs on.
    pub(super) fn db(&mut self) -> Either<&mut SqliteConnection, &mut PgConnection> {
        match self {
            Self::Sqlite(all) => Either::Left(&mut **all),
            Self::Postgres(all) => Either::Right(&mut **all),
        }
    }

    /// Keeps what they did.
    pub(super) async fn commit(self) -> Result<(), sqlx::Error> {
        match self {
            Self::Sqlite(all) => all.commit().await,
            Self::Postgres(all) => all.commit().await,
        }
    }
}
