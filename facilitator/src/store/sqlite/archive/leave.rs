//! The commit by which settlements leave.

use std::collections::BTreeSet;

use sqlx::{QueryBuilder, Sqlite, SqliteConnection};
use uuid::Uuid;

use super::{
    choose::push_may_leave,
    nonces::{self, Place},
};
use crate::{
    settlement::SettlementId,
    store::{
        StoreError,
        archive::Departure,
        sqlite::{
            row::{self, Reader, int},
            write::{begin_immediate, commit, rollback},
        },
    },
};

/// SQLite's code for "another connection writes"; extended codes have it in
/// their lowest byte.
const BUSY: i32 = 5;

/// Returns true when another connection was writing.
pub(in crate::store::sqlite) fn is_busy(error: &StoreError) -> bool {
    let StoreError::Database(error) = error else { return false };
    let code = error.as_database_error().and_then(|error| error.code()?.parse::<i32>().ok());
    code.is_some_and(|code| code & 0xff == BUSY)
}

/// Removes settlements from the tables, in one commit with what stays of them.
/// Returns false, and changes nothing, when one of them may not leave or the
/// file is not as long as the store knows.
pub(in crate::store::sqlite) async fn leave(
    connection: &mut SqliteConnection,
    departure: &Departure,
) -> Result<bool, StoreError> {
    begin_immediate(connection).await?;
    let left = leave_within(connection, departure).await;
    if matches!(left, Ok(true)) {
        commit(connection).await?;
    } else {
        rollback(connection).await?;
    }
    left
}

async fn leave_within(connection: &mut SqliteConnection, departure: &Departure) -> Result<bool, StoreError> {
    let Some(archive) = archive_number(connection, departure).await? else { return Ok(false) };
    if keep_identities(connection, departure, archive).await? != departure.ids.len() {
        return Ok(false);
    }
    let ids = &departure.ids;
    let transactions = transactions(connection, ids).await?;
    delete(connection, "transaction_item WHERE settlement", ids.iter().map(|id| id.0)).await?;
    let gone = delete_transactions(connection, transactions).await?;
    nonces::keep(connection, gone).await?;
    for table in ["event WHERE settlement", "step WHERE settlement", "settlement WHERE id"] {
        delete(connection, table, ids.iter().map(|id| id.0)).await?;
    }
    let update = "UPDATE archive SET length = ?, settlements = settlements + ?, path = ? WHERE number = ?";
    let count = i64::try_from(ids.len()).unwrap_or(i64::MAX);
    let update = sqlx::query(update).bind(int(departure.bytes.1)).bind(count).bind(&departure.path).bind(archive);
    update.execute(connection).await?;
    Ok(true)
}

/// The file's number, if its length is what the store knows.
async fn archive_number(connection: &mut SqliteConnection, departure: &Departure) -> Result<Option<i64>, sqlx::Error> {
    let query = "SELECT r.number FROM archive r WHERE r.id = ? AND r.length = ?";
    let query = sqlx::query_scalar(query).bind(departure.archive.as_bytes().as_slice());
    query.bind(int(departure.bytes.0)).fetch_optional(connection).await
}

/// Keeps the identity of each settlement that may leave; returns their number.
async fn keep_identities(
    connection: &mut SqliteConnection,
    departure: &Departure,
    archive: i64,
) -> Result<usize, sqlx::Error> {
    let mut query = QueryBuilder::<Sqlite>::new(
        "INSERT INTO archived_settlement (id, identity, state, final_transaction, reason, message, archive) \
         SELECT s.id, s.identity, s.state, s.final_transaction, s.reason, s.message, ",
    );
    query.push_bind(archive).push(" FROM settlement s WHERE s.id IN (");
    row::push_ids(&mut query, departure.ids.iter().map(|id| id.0));
    query.push(") AND ");
    push_may_leave(&mut query, departure.bounds);
    let kept = query.build().execute(connection).await?;
    Ok(usize::try_from(kept.rows_affected()).unwrap_or(usize::MAX))
}

/// The transactions of these settlements.
async fn transactions(connection: &mut SqliteConnection, ids: &[SettlementId]) -> Result<BTreeSet<Uuid>, StoreError> {
    let mut query =
        QueryBuilder::<Sqlite>::new("SELECT i.transaction_id FROM transaction_item i WHERE i.settlement IN (");
    row::push_ids(&mut query, ids.iter().map(|id| id.0));
    query.push(")");
    let rows = query.build().fetch_all(connection).await?;
    let id = |row| Ok(Reader::new(row, "transaction_item", "transaction_id").transaction("transaction_id")?.0);
    rows.iter().map(id).collect()
}

/// Deletes those that carry nothing any more, with their attempts and answers;
/// returns the places that they took.
async fn delete_transactions(
    connection: &mut SqliteConnection,
    transactions: BTreeSet<Uuid>,
) -> Result<Vec<Place>, StoreError> {
    if transactions.is_empty() {
        return Ok(Vec::new());
    }
    let mut query = QueryBuilder::<Sqlite>::new(
        "SELECT t.id, t.network, t.gas_wallet, t.nonce FROM wallet_transaction t WHERE t.id IN (",
    );
    row::push_ids(&mut query, transactions);
    query.push(") AND NOT EXISTS (SELECT 1 FROM transaction_item i WHERE i.transaction_id = t.id)");
    let (mut gone, mut places) = (Vec::new(), Vec::new());
    for row in query.build().fetch_all(&mut *connection).await? {
        let read = Reader::new(&row, "wallet_transaction", "id");
        gone.push(read.transaction("id")?.0);
        if let Some(nonce) = read.maybe_number("nonce")? {
            places.push(Place { network: read.text("network")?, gas_wallet: read.text("gas_wallet")?, nonce });
        }
    }
    if !gone.is_empty() {
        let tables =
            ["broadcast_answer WHERE transaction_id", "attempt WHERE transaction_id", "wallet_transaction WHERE id"];
        for table in tables {
            delete(connection, table, gone.iter().copied()).await?;
        }
    }
    Ok(places)
}

async fn delete(
    connection: &mut SqliteConnection,
    table_and_key: &str,
    ids: impl IntoIterator<Item = Uuid>,
) -> Result<(), sqlx::Error> {
    let mut query = QueryBuilder::<Sqlite>::new("DELETE FROM ");
    query.push(table_and_key).push(" IN (");
    row::push_ids(&mut query, ids);
    query.push(")");
    query.build().execute(connection).await.map(|_| ())
}
