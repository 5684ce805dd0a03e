//! The schema's version.

use std::sync::LazyLock;

use sqlx::migrate::Migrator;

use super::{ANSWER_MAX, LIST_MAX, lock, place::Place, server::OpenError, terms};
use crate::store::{
    StoreError,
    schema::{self, Inspection},
    sql::{
        database::Connection,
        statement::{Dialect, Statement},
    },
};

/// Every version of the schema; a test compares it with the folder.
pub(in crate::store) static MIGRATOR: LazyLock<Migrator> = LazyLock::new(|| {
    schema::migrator([
        (1, "settlements", include_str!("../../../../migrations/postgres/0001_settlements.sql")),
        (2, "leases", include_str!("../../../../migrations/postgres/0002_leases.sql")),
        (3, "handed_over", include_str!("../../../../migrations/postgres/0003_handed_over.sql")),
        (4, "under_way", include_str!("../../../../migrations/postgres/0004_under_way.sql")),
        (5, "block_timestamp", include_str!("../../../../migrations/postgres/0005_block_timestamp.sql")),
        (6, "left_open", include_str!("../../../../migrations/postgres/0006_left_open.sql")),
    ])
});

/// Looks at a database without changing it. Called by the doctor.
pub async fn inspect(place: &Place) -> Result<Inspection, OpenError> {
    let mut connection = place.direct(terms(ANSWER_MAX)).connect().await?;
    let (version, holder) = (version(&mut connection).await?, lock::holder(&mut connection).await?);
    connection.close().await?;
    Ok(Inspection { version: Some(version), needed: schema::newest(&MIGRATOR), holder })
}

/// Brings a database up to date, and says from which version to which. The
/// service may run meanwhile: a schema fits the release before, too.
pub async fn migrate(place: &Place) -> Result<(i64, i64), OpenError> {
    let way = place.patient(terms(LIST_MAX));
    let mut connection = way.connect().await?;
    let before = version(&mut connection).await?;
    schema::not_newer(before, &MIGRATOR)?;
    if let Connection::Postgres { connection, .. } = &mut connection {
        MIGRATOR.run_direct(None, connection, false).await.map_err(OpenError::Migrate)?;
    }
    connection.close().await?;
    Ok((before, schema::newest(&MIGRATOR)))
}

/// Returns true when there is nothing to migrate.
pub(super) async fn is_current(connection: &mut Connection) -> Result<bool, StoreError> {
    Ok(version(connection).await? == schema::newest(&MIGRATOR))
}

pub(super) async fn must_be_current(connection: &mut Connection) -> Result<(), OpenError> {
    Ok(schema::current(version(connection).await?, &MIGRATOR)?)
}

async fn version(connection: &mut Connection) -> Result<i64, StoreError> {
    let mut session = connection.session();
    let table = "SELECT to_regclass('_sqlx_migrations') IS NOT NULL";
    let table = session.first(Statement::new(Dialect::Postgres, table)).await?;
    if !table.map(|row| row.get(0)).transpose()?.unwrap_or(false) {
        return Ok(0);
    }
    let version = "SELECT coalesce(max(m.version), 0) FROM _sqlx_migrations m WHERE m.success";
    let version = session.first(Statement::new(Dialect::Postgres, version)).await?;
    Ok(version.map(|row| row.get(0)).transpose()?.unwrap_or_default())
}
