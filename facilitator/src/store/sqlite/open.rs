//! The file: opening it, and bringing its schema up to date.

use std::{
    path::{Path, PathBuf},
    sync::LazyLock,
    time::Duration,
};

use sqlx::{
    ConnectOptions as _, Connection as _, SqliteConnection,
    migrate::{MigrateError, Migrator},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};

use super::{file, lock::FileLock, readers::SqliteReaders};
use crate::store::{
    Size,
    schema::{self, Inspection, Migrations, SchemaError},
};

/// Wait for a lock of SQLite. Only tools beside the service, such as a backup
/// or an operator's command, hold one, and only for moments.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Prepared statements that the writer keeps: those of small groups, which come
/// again and again.
const STATEMENTS_MAX: usize = 128;

/// Pages that the writer keeps in memory, as SQLite spells it: minus KiB. Each
/// settlement changes pages all over the indexes by identity, payer and hash.
const CACHE_KIB: &str = "-16384";

/// Pages of 4 KiB in the log before it is moved into the file. A page that
/// changed many times meanwhile is moved once.
const LOG_PAGES: &str = "4000";

/// Every version of the schema; a test compares it with the folder.
pub(in crate::store) static MIGRATOR: LazyLock<Migrator> = LazyLock::new(|| {
    schema::migrator([
        (1, "settlements", include_str!("../../../../migrations/sqlite/0001_settlements.sql")),
        (2, "leases", include_str!("../../../../migrations/sqlite/0002_leases.sql")),
        (3, "handed_over", include_str!("../../../../migrations/sqlite/0003_handed_over.sql")),
        (4, "under_way", include_str!("../../../../migrations/sqlite/0004_under_way.sql")),
        (5, "block_timestamp", include_str!("../../../../migrations/sqlite/0005_block_timestamp.sql")),
        (6, "left_open", include_str!("../../../../migrations/sqlite/0006_left_open.sql")),
    ])
});

/// The reason why a database cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process owns it.
    #[error(
        "{holder} holds {}: this database is in use, and two processes on one database would send two \
         transactions with one nonce. Stop the other process, or give this one its own `store.url`",
        .lock.display()
    )]
    Locked {
        /// The lock file.
        lock: PathBuf,
        /// The other process, as far as it left its id.
        holder: String,
    },
    /// The database or its lock cannot be made.
    #[error(
        "cannot open {}: {source}. Its directory must exist and be writable for this user; correct `store.url` or \
         the directory's mode",
        .path.display()
    )]
    File {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// There is no database to read.
    #[error("{} does not exist: nothing was ever stored there. Correct `store.url`, or start the service once", .0.display())]
    Missing(PathBuf),
    /// The schema is not this program's.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// A migration failed.
    #[error(
        "the schema cannot be brought up to date: {0}. Nothing was changed; keep a copy of the file and report this"
    )]
    Migrate(#[source] MigrateError),
    /// The database failed.
    #[error("the database cannot be opened: {0}. Check that `store.url` names a SQLite file that this user can write")]
    Database(#[from] sqlx::Error),
}

/// Looks at a database without changing it. Called by the doctor.
pub async fn inspect(path: &Path) -> Result<Inspection, OpenError> {
    let Ok(path) = file::resolve(path) else {
        return Ok(Inspection { version: None, needed: schema::newest(&MIGRATOR), holder: None });
    };
    let (version, holder) = (version(&path).await?, FileLock::holder(&path));
    Ok(Inspection { version, needed: schema::newest(&MIGRATOR), holder })
}

/// Brings a database up to date, and says from which version to which.
/// Called by `facilitator migrate`.
pub async fn migrate_file(path: &Path) -> Result<(i64, i64), OpenError> {
    let path = resolve(path)?;
    let _lock = FileLock::take(&path)?;
    let before = version(&path).await?.unwrap_or(0);
    create(&path)?;
    let mut connection = connect(&writing(&path)).await?;
    migrate(&mut connection, Migrations::Apply).await?;
    connection.close().await?;
    Ok((before, schema::newest(&MIGRATOR)))
}

/// The file that a path leads to; see [`file::resolve`].
pub(super) fn resolve(path: &Path) -> Result<PathBuf, OpenError> {
    file::resolve(path).map_err(|source| OpenError::File { path: path.to_owned(), source })
}

/// Makes an empty database for this user alone, if there is none. SQLite gives
/// the files beside it the same mode.
pub(super) fn create(path: &Path) -> Result<(), OpenError> {
    let made = file::open_private(path).map_err(|source| OpenError::File { path: path.to_owned(), source });
    made.map(drop)
}

pub(super) fn writing(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        // NORMAL may lose the last commits with the power, and with them the
        // only copy of bytes that were sent.
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY_TIMEOUT)
        .pragma("cache_size", CACHE_KIB)
        .pragma("wal_autocheckpoint", LOG_PAGES)
        .statement_cache_capacity(STATEMENTS_MAX)
        .thread_name(|_| "store-writer".to_owned())
        .disable_statement_logging()
}

fn reading(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(BUSY_TIMEOUT)
        // Not `read_only`: a reader of a WAL that nobody has open must be able
        // to make the file's index.
        .pragma("query_only", "ON")
        .thread_name(|id| format!("store-reader-{id}"))
        .disable_statement_logging()
}

pub(super) async fn connect(options: &SqliteConnectOptions) -> Result<SqliteConnection, sqlx::Error> {
    SqliteConnection::connect_with(options).await
}

pub(super) fn readers(path: &Path, connections: u32) -> SqliteReaders {
    SqliteReaders::new(reading(path), connections, BUSY_TIMEOUT)
}

pub(super) async fn migrate(connection: &mut SqliteConnection, migrations: Migrations) -> Result<(), OpenError> {
    let found = version_in(connection).await?;
    schema::not_newer(found, &MIGRATOR)?;
    match migrations {
        Migrations::Require => Ok(schema::current(found, &MIGRATOR)?),
        Migrations::Apply => MIGRATOR.run_direct(None, connection, false).await.map_err(OpenError::Migrate),
    }
}

pub(super) async fn must_be_current(path: &Path) -> Result<(), OpenError> {
    let found = version(path).await?.ok_or_else(|| OpenError::Missing(path.to_owned()))?;
    Ok(schema::current(found, &MIGRATOR)?)
}

/// Returns the bytes that the file and its log take; none where they are not there.
pub(super) fn size(path: &Path) -> Size {
    let mut log = path.to_owned().into_os_string();
    log.push("-wal");
    let bytes = |path: &Path| std::fs::metadata(path).map_or(0, |file| file.len());
    Size { bytes: bytes(path), log_bytes: Some(bytes(Path::new(&log))) }
}

async fn version(path: &Path) -> Result<Option<i64>, OpenError> {
    if !path.exists() {
        return Ok(None);
    }
    let mut connection = connect(&reading(path)).await?;
    let version = version_in(&mut connection).await?;
    connection.close().await?;
    Ok(Some(version))
}

async fn version_in(connection: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    let table = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = '_sqlx_migrations'";
    let tables: i64 = sqlx::query_scalar(table).fetch_one(&mut *connection).await?;
    if tables == 0 {
        return Ok(0);
    }
    let version = "SELECT coalesce(max(version), 0) FROM _sqlx_migrations WHERE success";
    sqlx::query_scalar(version).fetch_one(connection).await
}
