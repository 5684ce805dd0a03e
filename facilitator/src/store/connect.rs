//! The one place that names databases.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    Store,
    sqlite::{
        SqliteStore,
        open::{self, OpenError},
    },
};

pub use super::sqlite::open::{Inspection, Migrations};

/// The use that a program makes of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It owns the store: no other process opens it in this way meanwhile.
    Own(Migrations),
    /// It looks things up, beside the owner or without one. Every write
    /// answers [`StoreError::Closed`](super::StoreError::Closed).
    Read,
    /// It looks things up, [resolves](Store::resolve) settlements and takes
    /// them [away](Store::depart), beside the owner or without one. Every other write answers
    /// [`StoreError::Closed`](super::StoreError::Closed).
    Operate,
}

/// The reason why there is no store.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The URL is one of `postgres`.
    #[error(
        "`store.url` names PostgreSQL, which this version cannot store in yet. Write \"sqlite://facilitator.db\"; one \
         instance on SQLite stores thousands of settlements a second"
    )]
    Postgres,
    /// The URL names something else. It is not shown: it may hold a password.
    #[error(
        "`store.url` names no database that is known. Write sqlite:// and a path, such as \"sqlite://facilitator.db\""
    )]
    Unknown,
    /// The database cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// Opens the store that a URL names.
///
/// # Errors
/// The URL names no database that is known, or it cannot be opened.
pub async fn connect(url: &str, access: Access) -> Result<Arc<dyn Store>, ConnectError> {
    let path = path(url)?;
    Ok(match access {
        Access::Own(migrations) => Arc::new(SqliteStore::open(&path, migrations).await?),
        Access::Read => Arc::new(SqliteStore::open_to_read(&path).await?),
        Access::Operate => Arc::new(SqliteStore::open_to_operate(&path).await?),
    })
}

/// Looks at a database without changing it. Called by the doctor.
///
/// # Errors
/// As [`connect`].
pub async fn inspect(url: &str) -> Result<Inspection, ConnectError> {
    Ok(open::inspect(&path(url)?).await?)
}

/// The bytes that a database takes on the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// The database.
    pub bytes: u64,
    /// Its write-ahead log.
    pub log_bytes: u64,
}

/// Returns the bytes that a database takes now; none where it is not there.
pub fn size(url: &str) -> Size {
    let Ok(path) = path(url) else { return Size::default() };
    let mut log = path.clone().into_os_string();
    log.push("-wal");
    let bytes = |path: &Path| std::fs::metadata(path).map_or(0, |file| file.len());
    Size { bytes: bytes(&path), log_bytes: bytes(Path::new(&log)) }
}

/// Brings a database up to date, and returns its schema's version before and
/// after. Called by `facilitator migrate`.
///
/// # Errors
/// As [`connect`].
pub async fn migrate(url: &str) -> Result<(i64, i64), ConnectError> {
    Ok(open::migrate_file(&path(url)?).await?)
}

/// The file of a SQLite URL. One in memory would lose what was sent, and
/// parameters would be ignored: neither is known.
fn path(url: &str) -> Result<PathBuf, ConnectError> {
    let (scheme, rest) = url.split_once(':').ok_or(ConnectError::Unknown)?;
    let path = rest.strip_prefix("//").unwrap_or(rest);
    match scheme {
        "sqlite" if !path.is_empty() && !path.starts_with(':') && !path.contains('?') => Ok(PathBuf::from(path)),
        "postgres" | "postgresql" => Err(ConnectError::Postgres),
        _ => Err(ConnectError::Unknown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_file_or_is_refused_without_being_shown() {
        let good = [("sqlite://a.db", "a.db"), ("sqlite:///data/a.db", "/data/a.db"), ("sqlite:a.db", "a.db")];
        for (url, file) in good {
            assert_eq!(path(url).expect(url), Path::new(file), "{url}");
        }
        let bad = [
            ("postgres://u:canary@h/d", "cannot store in yet"),
            ("postgresql://u:canary@h/d", "cannot store in yet"),
            ("mysql://u:canary@h/d", "no database that is known"),
            ("canary.db", "no database that is known"),
            ("sqlite::memory:", "no database that is known"),
            ("sqlite://", "no database that is known"),
            ("sqlite://a.db?mode=canary", "no database that is known"),
        ];
        for (url, expected) in bad {
            let error = path(url).expect_err(url).to_string();
            assert!(error.contains(expected) && !error.contains("canary"), "{url}: {error}");
        }
    }
}
