//! Settlements that leave the database for a file.
//!
//! | module | what it holds |
//! |---|---|
//! | `choose` | the settlements that may leave |
//! | `leave` | the commit by which they leave |
//! | `nonces` | the places that their transactions took |
//! | this one | the files, and what stays of a settlement |

mod choose;
mod leave;
mod nonces;

use chains_core::Network;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection, SqlitePool, sqlite::SqliteRow};
use uuid::Uuid;

#[cfg(test)]
pub(super) use self::choose::statement as choose_statement;
pub(super) use self::{
    choose::{choose, count_older},
    leave::{is_busy, leave},
};
use super::row::{Reader, int};
use crate::{
    settlement::{Failed, Status},
    store::{
        StoreError,
        archive::{Archive, Archived, ArchivedEnd, ArchivedName, ArchivedNonces},
    },
};

/// Reads a network's archived nonces.
pub(super) const NONCES: &str = "SELECT r.gas_wallet, r.first, r.last FROM archived_nonces r WHERE r.network = ? \
     ORDER BY r.gas_wallet, r.first";

const ARCHIVE: &str = "r.id, r.path, r.length, r.settlements, r.created_at FROM archive r";

/// Makes a file known, before settlements leave for it.
pub(super) async fn begin(connection: &mut SqliteConnection, archive: &Archive) -> Result<(), sqlx::Error> {
    let insert = "INSERT INTO archive (id, path, length, settlements, created_at) VALUES (?, ?, ?, ?, ?)";
    let insert = sqlx::query(insert).bind(archive.id.as_bytes().as_slice()).bind(&archive.path);
    let insert = insert.bind(int(archive.length)).bind(int(archive.settlements)).bind(int(archive.created_at.0));
    insert.execute(connection).await.map(|_| ())
}

pub(super) async fn archives(pool: &SqlitePool) -> Result<Vec<Archive>, StoreError> {
    let mut query = QueryBuilder::<Sqlite>::new("SELECT ");
    query.push(ARCHIVE).push(" ORDER BY r.number");
    query.build().fetch_all(pool).await?.iter().map(archive).collect()
}

fn archive(row: &SqliteRow) -> Result<Archive, StoreError> {
    let read = Reader::new(row, "archive", "path");
    Ok(Archive {
        id: Uuid::from_bytes(read.bytes("id")?),
        path: read.text("path")?,
        length: read.number("length")?,
        settlements: read.number("settlements")?,
        created_at: read.time("created_at")?,
    })
}

/// The statement that looks an archived settlement up.
pub(super) fn statement(name: ArchivedName<'_>) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::<Sqlite>::new(
        "SELECT a.id AS settlement, a.state, a.final_transaction, a.reason, a.message, r.id, r.path, r.length, \
         r.settlements, r.created_at FROM archived_settlement a CROSS JOIN archive r ON r.number = a.archive WHERE ",
    );
    match name {
        ArchivedName::Id(id) => query.push("a.id = ").push_bind(id.0.as_bytes().to_vec()),
        ArchivedName::Identity(identity) => query.push("a.identity = ").push_bind(identity.as_bytes().to_vec()),
    };
    query
}

pub(super) async fn archived(pool: &SqlitePool, name: ArchivedName<'_>) -> Result<Option<Archived>, StoreError> {
    let row = statement(name).build().fetch_optional(pool).await?;
    let Some(row) = &row else { return Ok(None) };
    let read = Reader::new(row, "archived_settlement", "settlement");
    let transaction = read.maybe_text("final_transaction")?;
    let end = match read.parsed("state")? {
        Status::Settled => ArchivedEnd::Settled { transaction: transaction.unwrap_or_default() },
        Status::Failed => ArchivedEnd::Failed(Failed {
            reason: read.text("reason")?,
            message: read.text("message")?,
            transaction,
            block: None,
            executable_until: None,
        }),
        Status::Signed | Status::Broadcast | Status::Unresolved => return Err(read.wrong("state")),
    };
    Ok(Some(Archived { id: read.settlement("settlement")?, end, archive: archive(row)? }))
}

pub(super) async fn archived_nonces(pool: &SqlitePool, network: &Network) -> Result<Vec<ArchivedNonces>, StoreError> {
    let rows = sqlx::query(NONCES).bind(network.as_str()).fetch_all(pool).await?;
    let nonces = |row| {
        let read = Reader::new(row, "archived_nonces", "gas_wallet");
        let nonces = read.number("first")?..=read.number("last")?;
        Ok(ArchivedNonces { gas_wallet: read.text("gas_wallet")?, nonces })
    };
    rows.iter().map(nonces).collect()
}
