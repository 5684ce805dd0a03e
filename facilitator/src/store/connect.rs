//! The one place that names databases.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use chains_core::Secret;

use super::{
    Store,
    postgres::{self, place::Place},
    schema::{Inspection, Migrations},
    sqlite,
};

/// The use that a program makes of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It has the store for itself: no other process owns or shares it meanwhile.
    Own(Migrations),
    /// It shares the store with others that do; a SQLite file is one process's.
    Share(Migrations),
    /// It looks things up, beside the owner or without one. Every write
    /// answers [`StoreError::Closed`](super::StoreError::Closed).
    Read,
    /// It looks things up, [resolves](Store::resolve) settlements and takes
    /// them [away](Store::depart), beside the owner or without one. Every other write answers
    /// [`StoreError::Closed`](super::StoreError::Closed).
    Operate,
}

/// A database.
#[derive(Clone, Debug)]
pub enum Location {
    /// A SQLite file.
    Sqlite(PathBuf),
    /// A PostgreSQL database.
    Postgres(Box<Place>),
}

/// The reason why there is no store.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The URL names a file that SQLite would not keep, or none.
    #[error("`store.url` {}: {}", self.seen(), self.fix())]
    NoFile,
    /// The URL names something else. It is not shown: it may hold a password.
    #[error("`store.url` {}: {}", self.seen(), self.fix())]
    Unknown,
    /// The SQLite file cannot be opened.
    #[error(transparent)]
    Sqlite(#[from] sqlite::open::OpenError),
    /// The PostgreSQL database cannot be opened.
    #[error(transparent)]
    Postgres(#[from] postgres::server::OpenError),
}

impl ConnectError {
    /// The mistake of a URL.
    pub const fn seen(&self) -> &'static str {
        match self {
            Self::NoFile => "does not name a file",
            Self::Postgres(_) => "is no URL of PostgreSQL",
            Self::Unknown | Self::Sqlite(_) => "names no database that is known",
        }
    }

    /// The remedy for it.
    pub const fn fix(&self) -> &'static str {
        match self {
            Self::NoFile => "write sqlite:// and a path, such as \"sqlite://facilitator.db\"",
            Self::Postgres(_) => "write postgres://USER@HOST:PORT/DATABASE",
            Self::Unknown | Self::Sqlite(_) => {
                "write \"sqlite://facilitator.db\", or postgres://USER@HOST:PORT/DATABASE"
            }
        }
    }
}

impl Location {
    /// The database that a URL names.
    ///
    /// # Errors
    /// It names none that is known. SQLite in memory would lose what was sent,
    /// and parameters of its URL would be ignored: neither is known.
    pub fn of(url: &str) -> Result<Self, ConnectError> {
        let (scheme, rest) = url.split_once(':').ok_or(ConnectError::Unknown)?;
        let path = rest.strip_prefix("//").unwrap_or(rest);
        match scheme {
            "sqlite" if !path.is_empty() && !path.starts_with(':') && !path.contains('?') => {
                Ok(Self::Sqlite(PathBuf::from(path)))
            }
            "sqlite" => Err(ConnectError::NoFile),
            "postgres" | "postgresql" => Ok(Self::Postgres(Box::new(Place::new(&Secret::new(url.to_owned()))?))),
            _ => Err(ConnectError::Unknown),
        }
    }

    /// The file, where it is one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::Sqlite(path) => Some(path),
            Self::Postgres(_) => None,
        }
    }
}

/// The path, or the server and the database: without user and password.
impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => path.display().fmt(f),
            Self::Postgres(place) => place.fmt(f),
        }
    }
}

/// Opens a store.
///
/// # Errors
/// The database cannot be opened.
pub async fn connect(location: &Location, access: Access) -> Result<Arc<dyn Store>, ConnectError> {
    Ok(Arc::new(match (location, access) {
        (Location::Sqlite(path), Access::Own(migrations) | Access::Share(migrations)) => {
            sqlite::own(path, migrations).await?
        }
        (Location::Sqlite(path), Access::Read) => sqlite::read(path).await?,
        (Location::Sqlite(path), Access::Operate) => sqlite::operate(path).await?,
        (Location::Postgres(place), Access::Own(migrations)) => postgres::own(place, migrations).await?,
        (Location::Postgres(place), Access::Share(migrations)) => postgres::share(place, migrations).await?,
        (Location::Postgres(place), Access::Read) => postgres::read(place).await?,
        (Location::Postgres(place), Access::Operate) => postgres::operate(place).await?,
    }))
}

/// Looks at a database without changing it. Called by the doctor.
///
/// # Errors
/// It cannot be opened.
pub async fn inspect(location: &Location) -> Result<Inspection, ConnectError> {
    Ok(match location {
        Location::Sqlite(path) => sqlite::open::inspect(path).await?,
        Location::Postgres(place) => postgres::open::inspect(place).await?,
    })
}

/// Brings a database up to date, and returns its schema's version before and
/// after. Called by `facilitator migrate`.
///
/// # Errors
/// As [`connect`].
pub async fn migrate(location: &Location) -> Result<(i64, i64), ConnectError> {
    Ok(match location {
        Location::Sqlite(path) => sqlite::open::migrate_file(path).await?,
        Location::Postgres(place) => postgres::open::migrate(place).await?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_database_or_is_refused_without_being_shown() {
        let good = [
            ("sqlite://a.db", "a.db"),
            ("sqlite:///data/a.db", "/data/a.db"),
            ("sqlite:a.db", "a.db"),
            ("postgres://u:canary@h/d", "postgres://h:5432/d"),
            ("postgresql://u:canary@h:1/d?sslmode=require", "postgres://h:1/d"),
            ("postgres:///d?host=/run/db&user=u&password=canary", "postgres:/run/db/d"),
        ];
        for (url, shown) in good {
            let location = Location::of(url).expect(url);
            assert_eq!(location.to_string(), shown, "{url}");
            assert!(!format!("{location:?}").contains("canary"), "{location:?}");
        }
        let bad = [
            ("mysql://u:canary@h/d", "no database that is known"),
            ("canary.db", "no database that is known"),
            ("postgres://u:canary@h:no/d", "no URL of PostgreSQL"),
            ("sqlite::memory:", "does not name a file"),
            ("sqlite://", "does not name a file"),
            ("sqlite://a.db?mode=canary", "does not name a file"),
        ];
        for (url, expected) in bad {
            let error = Location::of(url).expect_err(url).to_string();
            assert!(error.contains(expected) && !error.contains("canary"), "{url}: {error}");
        }
    }
}
