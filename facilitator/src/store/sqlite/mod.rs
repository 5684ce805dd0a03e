//! The store in one SQLite file.
//!
//! One process owns the file: a second one would give out the same nonces. The
//! writer's commits are on the disk when they are answered (`synchronous=FULL`),
//! and readers are never blocked by it (WAL).
//!
//! | module | what it holds |
//! |---|---|
//! | [`open`] | the file and its schema version |
//! | `file`, `lock` | its path and mode, and its one owner |
//! | `readers` | the connections that read it |

mod file;
mod lock;
pub mod open;
pub(super) mod readers;
#[cfg(test)]
mod tests;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use sqlx::sqlite::SqliteConnectOptions;

use self::{lock::FileLock, open::OpenError};
use super::{
    Size, StoreError,
    schema::Migrations,
    sql::{
        LIST_READERS, READERS, Readers, SqlStore,
        database::{Connection, Connector, Pool},
    },
};

/// The way to connections that write to a file.
struct WritingConnector {
    path: PathBuf,
    options: SqliteConnectOptions,
    /// Held by the owner, for as long as it may write.
    _lock: Option<FileLock>,
}

#[async_trait]
impl Connector for WritingConnector {
    async fn connect(&self) -> Result<Connection, StoreError> {
        Ok(Connection::Sqlite(open::connect(&self.options).await?))
    }

    async fn size(&self, _pool: &Pool) -> Result<Size, StoreError> {
        Ok(open::size(&self.path))
    }
}

impl WritingConnector {
    fn to(path: PathBuf, lock: Option<FileLock>) -> Arc<Self> {
        Arc::new(Self { options: open::writing(&path), path, _lock: lock })
    }
}

/// Opens the file for this process alone, and makes it if it is not there.
///
/// # Errors
/// Another process owns it, its schema is not this program's, or it
/// cannot be made or read.
pub(super) async fn own(path: &Path, migrations: Migrations) -> Result<SqlStore, OpenError> {
    let path = open::resolve(path)?;
    let lock = FileLock::take(&path)?;
    open::create(&path)?;
    let mut connection = open::connect(&open::writing(&path)).await?;
    open::migrate(&mut connection, migrations).await?;
    let readers = readers(&path);
    Ok(SqlStore::owning(readers, WritingConnector::to(path, Some(lock)), Connection::Sqlite(connection)))
}

/// Opens the file beside the process that owns it, to look things up.
///
/// # Errors
/// There is no such file, or its schema is not this program's.
pub(super) async fn read(path: &Path) -> Result<SqlStore, OpenError> {
    let path = open::resolve(path)?;
    open::must_be_current(&path).await?;
    Ok(SqlStore::reading(readers(&path)))
}

/// The same for an operator's command, whose transactions wait for the owner's
/// without its lock.
///
/// # Errors
/// As [`read`].
pub(super) async fn operate(path: &Path) -> Result<SqlStore, OpenError> {
    let path = open::resolve(path)?;
    open::must_be_current(&path).await?;
    let readers = readers(&path);
    Ok(SqlStore::operating(readers, WritingConnector::to(path, None)))
}

fn readers(path: &Path) -> Readers {
    let pool = |connections| Pool::Sqlite(open::readers(path, connections));
    Readers { engine: pool(READERS), lists: pool(LIST_READERS) }
}
