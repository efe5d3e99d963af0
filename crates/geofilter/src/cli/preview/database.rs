//! [`read`]: the database of fail2ban, as events. It is opened for reading only, and read within one short
//! transaction: a fail2ban that runs waits for it as for itself, and nothing is written, not even a journal.
//! Whoever may write to the file is not trusted: only real tables are read, of bounded rows and texts.

use std::collections::VecDeque;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use geofilter_core::logs::kept::{Kept, is_of_phones};
use geofilter_core::logs::{Calendar, Event, Lines};
use rusqlite::limits::Limit;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension};

/// How a database begins.
pub(super) const START: &[u8] = b"SQLite format 3\0";
/// How many bans and events are read, the latest first.
const MOST_BANS: usize = 50_000;
const MOST_EVENTS: usize = 250_000;
/// A row that holds more is read without it.
const LONGEST: i64 = 256 << 10;
/// No text or row may be longer at all.
const LONGEST_ROW: i32 = 16 << 20;
const PATIENCE: Duration = Duration::from_secs(3);

/// Why a database could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error("it is a database, but not fail2ban's: {0}; name fail2ban's, or a log")]
    Foreign(&'static str),
    #[error("this database is damaged ({0}); give fail2ban's log instead")]
    Damaged(#[source] rusqlite::Error),
    #[error("this database is busy: fail2ban writes to it; try again")]
    Busy(#[source] rusqlite::Error),
    #[error("this database can't be read ({0}); run this as root, or give fail2ban's log instead")]
    Other(#[source] rusqlite::Error),
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::TooBig) => {
                Self::Damaged(error)
            }
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy(error),
            Some(_) | None => Self::Other(error),
        }
    }
}

/// What a database tells.
pub(super) struct Told {
    /// In the order of their time.
    pub(super) events: VecDeque<Event>,
    /// The bans of phone systems, and those of them that were read.
    pub(super) lines: Lines,
    /// There were more bans than are read.
    pub(super) more: bool,
}

/// Reads the bans of the jails that guard a phone system.
pub(super) fn read(path: &Path, calendar: Calendar) -> Result<Told, Trouble> {
    let mut database = open(path)?;
    let database = database.transaction()?;
    let bips = tables(&database)?;
    let (rows, mut more) = rows(&database, bips)?;
    let mut told = Told { events: VecDeque::new(), lines: Lines::default(), more: false };
    let mut of_bans = database.prepare(&row_of("bans"))?;
    let mut of_bips = if bips { Some(database.prepare(&row_of("bips"))?) } else { None };
    for (current, row) in rows {
        if told.events.len() >= MOST_EVENTS {
            more = true;
            break;
        }
        let ban = match (current, &mut of_bips) {
            (true, Some(of_bips)) => of_bips.query_row([row], Row::read).optional()?,
            (_, _) => of_bans.query_row([row], Row::read).optional()?,
        };
        let kept = ban.as_ref().and_then(|Row { jail, ip, time, data }| {
            Kept { jail, ip, time: *time, data }.read(calendar, |it| told.events.push_back(it))
        });
        told.lines.add(&kept.unwrap_or(Lines { total: 1, ..Lines::default() }));
    }
    told.more = more;
    told.events.make_contiguous().sort_by_key(|event| event.time);
    Ok(told)
}

fn open(path: &Path) -> Result<Connection, Trouble> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let database = Connection::open_with_flags(uri(path), flags)?;
    database.busy_timeout(PATIENCE)?;
    database.set_limit(Limit::SQLITE_LIMIT_LENGTH, LONGEST_ROW)?;
    database.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
    database.execute_batch(
        "PRAGMA trusted_schema = OFF; PRAGMA query_only = ON; PRAGMA temp_store = MEMORY;",
    )?;
    Ok(database)
}

/// The path, in which nothing is a word to SQLite.
fn uri(path: &Path) -> String {
    let mut uri = "file:".to_owned();
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => {
                uri.push(char::from(*byte));
            }
            _ => uri.push_str(&format!("%{byte:02x}")),
        }
    }
    uri + "?mode=ro"
}

/// Whether it has the bans in force as well; they came with fail2ban 0.11.
fn tables(database: &Connection) -> Result<bool, Trouble> {
    let mut tables = database.prepare(
        "SELECT sql FROM sqlite_master WHERE type = 'table' AND name = ?1 AND sql LIKE 'CREATE TABLE%'",
    )?;
    let mut is_there = |name: &str| tables.exists([name]);
    match is_there("bans")? {
        true => Ok(is_there("bips")?),
        false => Err(Trouble::Foreign("it has no table `bans`")),
    }
}

/// The bans of phone systems, the latest first, each with whether it is of `bips`; and whether there are more.
/// What is in force is in `bans` as well, until that is purged after a day.
fn rows(database: &Connection, bips: bool) -> Result<(Vec<(bool, i64)>, bool), Trouble> {
    // A join: for that SQLite makes an index where the table lost its own.
    let now = "UNION ALL SELECT 1, now.rowid, now.timeofban, now.jail FROM bips AS now LEFT JOIN bans \
        ON bans.jail = now.jail AND bans.ip = now.ip AND bans.timeofban = now.timeofban WHERE bans.rowid IS NULL";
    let all = format!(
        "SELECT 0, rowid, timeofban, jail FROM bans {} ORDER BY 3 DESC",
        if bips { now } else { "" }
    );
    let columns = |error| match error {
        rusqlite::Error::SqlInputError { .. } => {
            Trouble::Foreign("its table `bans` has other columns")
        }
        other => other.into(),
    };
    let mut all = database.prepare(&all).map_err(columns)?;
    let mut all = all.query([])?;
    let mut rows = Vec::new();
    while let Some(row) = all.next()? {
        let jail = text(row, 3)?;
        if !is_of_phones(&jail) {
            continue;
        }
        if rows.len() == MOST_BANS {
            return Ok((rows, true));
        }
        rows.push((row.get::<_, i64>(0)? == 1, row.get(1)?));
    }
    Ok((rows, false))
}

fn row_of(table: &str) -> String {
    format!(
        "SELECT jail, ip, timeofban, CASE WHEN length(data) <= {LONGEST} THEN data END FROM {table} WHERE rowid = ?1"
    )
}

struct Row {
    jail: String,
    ip: String,
    time: i64,
    data: Vec<u8>,
}

impl Row {
    fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            jail: text(row, 0)?,
            ip: text(row, 1)?,
            time: row.get_ref(2)?.as_i64().unwrap_or_default(),
            data: bytes(row, 3)?,
        })
    }
}

/// A column, whatever its type.
fn bytes(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Vec<u8>> {
    Ok(row.get_ref(column)?.as_bytes_or_null().ok().flatten().unwrap_or_default().to_vec())
}

fn text(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<String> {
    Ok(String::from_utf8_lossy(&bytes(row, column)?).into_owned())
}
