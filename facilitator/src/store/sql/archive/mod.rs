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

#[cfg(test)]
pub(in crate::store) use self::choose::statement as choose_statement;
pub(super) use self::{
    choose::{choose, count_older},
    leave::{is_busy, leave},
};
use super::{
    database::{Pool, Row, Session},
    row::{Reader, int},
    statement::{Dialect, Statement},
};
use crate::{
    settlement::{Failed, Status},
    store::{
        StoreError,
        archive::{Archive, Archived, ArchivedEnd, ArchivedName, ArchivedNonces},
    },
};

/// Reads a network's archived nonces.
pub(super) const NONCES: &str = "SELECT r.gas_wallet, r.first, r.last FROM archived_nonces r WHERE r.network = $1 \
     ORDER BY r.gas_wallet, r.first";

const ARCHIVE_COLUMNS: &str = "r.id, r.path, r.length, r.settlements, r.created_at";

/// Makes a file known, before settlements leave for it.
pub(super) async fn begin(session: &mut Session<'_>, archive: &Archive) -> Result<(), StoreError> {
    let values = [
        archive.id.into(),
        archive.path.as_str().into(),
        int(archive.length).into(),
        int(archive.settlements).into(),
        int(archive.created_at.0).into(),
    ];
    let mut insert = Statement::new(session.dialect(), "");
    insert.insert("archive", ["id", "path", "length", "settlements", "created_at"], [values]);
    session.run(insert).await.map(|_| ())
}

pub(super) async fn archives(pool: &Pool) -> Result<Vec<Archive>, StoreError> {
    let query = Statement::new(pool.dialect(), format!("SELECT {ARCHIVE_COLUMNS} FROM archive r ORDER BY r.number"));
    pool.all(query).await?.iter().map(archive).collect()
}

fn archive(row: &Row) -> Result<Archive, StoreError> {
    let read = Reader::new(row, "archive", "path");
    Ok(Archive {
        id: read.id("id")?,
        path: read.text("path")?,
        length: read.number("length")?,
        settlements: read.number("settlements")?,
        created_at: read.time("created_at")?,
    })
}

/// The statement that looks an archived settlement up.
pub(in crate::store) fn statement(dialect: Dialect, name: ArchivedName<'_>) -> Statement<'_> {
    let mut query = Statement::new(
        dialect,
        format!(
            "SELECT a.id AS settlement, a.state, a.final_transaction, a.reason, a.message, {ARCHIVE_COLUMNS} \
             FROM archived_settlement a {} archive r ON r.number = a.archive WHERE ",
            dialect.join()
        ),
    );
    match name {
        ArchivedName::Id(id) => query.push("a.id = ").bind(id),
        ArchivedName::Identity(identity) => query.push("a.identity = ").bind(identity.as_bytes().as_slice()),
    };
    query
}

pub(super) async fn archived(pool: &Pool, name: ArchivedName<'_>) -> Result<Option<Archived>, StoreError> {
    let row = pool.first(statement(pool.dialect(), name)).await?;
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

pub(super) async fn archived_nonces(pool: &Pool, network: &Network) -> Result<Vec<ArchivedNonces>, StoreError> {
    let rows = pool.all(Statement::of(pool.dialect(), NONCES, [network.as_str().into()])).await?;
    let nonces = |row| {
        let read = Reader::new(row, "archived_nonces", "gas_wallet");
        let nonces = read.number("first")?..=read.number("last")?;
        Ok(ArchivedNonces { gas_wallet: read.text("gas_wallet")?, nonces })
    };
    rows.iter().map(nonces).collect()
}
