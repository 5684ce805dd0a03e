//! Versions of a schema: the one that is found, and the one that this program
//! works with.

use sqlx::{
    SqlSafeStr as _,
    migrate::{Migration, MigrationType, Migrator},
};

/// The way to treat a schema that is older than this program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Migrations {
    /// Bring it up to date.
    Apply,
    /// Refuse to open it.
    Require,
}

/// The parts of a database that can be seen without changing it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// The version of its schema; `None` when there is no database yet.
    pub version: Option<i64>,
    /// The version this program works with.
    pub needed: i64,
    /// The process that owns it now.
    pub holder: Option<String>,
}

/// The reason why a schema does not fit this program.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// The schema is older than this program, and may not be changed.
    #[error("the schema has version {found}, this program needs {needed}. Run `facilitator migrate`")]
    Outdated {
        /// The version in the database.
        found: i64,
        /// The version this program works with.
        needed: i64,
    },
    /// The schema is newer than this program.
    #[error(
        "the schema has version {found}, this program knows up to {known}: a newer release has used this database. \
         Run that release, or restore the copy made before the upgrade"
    )]
    Newer {
        /// The version in the database.
        found: i64,
        /// The newest version this program knows.
        known: i64,
    },
}

/// The versions of a schema: of each its number, its name, and its statements. Not by sqlx's macro, which
/// has every first build compile both databases a second time, for the compiler's own use.
pub(super) fn migrator<const N: usize>(versions: [(i64, &'static str, &'static str); N]) -> Migrator {
    let migration = |(version, name, statements): (i64, &'static str, &'static str)| {
        Migration::new(version, name.into(), MigrationType::Simple, statements.into_sql_str(), false)
    };
    Migrator::with_migrations(versions.map(migration).into())
}

/// Returns the version that this program works with.
pub(super) fn newest(migrator: &Migrator) -> i64 {
    migrator.iter().map(|migration| migration.version).max().unwrap_or(0)
}

/// Refuses a schema that is newer than this program.
pub(super) fn not_newer(found: i64, migrator: &Migrator) -> Result<(), SchemaError> {
    let known = newest(migrator);
    if found > known { Err(SchemaError::Newer { found, known }) } else { Ok(()) }
}

/// Refuses a schema that is not this program's.
pub(super) fn current(found: i64, migrator: &Migrator) -> Result<(), SchemaError> {
    not_newer(found, migrator)?;
    let needed = newest(migrator);
    if found < needed { Err(SchemaError::Outdated { found, needed }) } else { Ok(()) }
}
