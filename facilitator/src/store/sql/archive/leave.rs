//! The commit by which settlements leave.

use std::collections::BTreeSet;

use sqlx::sqlite::SqliteError;
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
        sql::{
            database::{Connection, Session},
            row::{Reader, int},
            statement::Statement,
        },
    },
};

/// SQLite's code for "another connection writes"; extended codes have it in
/// their lowest byte.
const BUSY: i32 = 5;

/// Returns true when another connection of SQLite was writing.
pub(in crate::store::sql) fn is_busy(error: &StoreError) -> bool {
    let StoreError::Database(error) = error else { return false };
    let error = error.as_database_error().filter(|error| error.try_downcast_ref::<SqliteError>().is_some());
    let code = error.and_then(|error| error.code()?.parse::<i32>().ok());
    code.is_some_and(|code| code & 0xff == BUSY)
}

/// Removes settlements from the tables, in one commit with what stays of them.
/// Returns false, and changes nothing, when one of them may not leave or the
/// file is not as long as the store knows.
pub(in crate::store::sql) async fn leave(
    connection: &mut Connection,
    departure: &Departure,
) -> Result<bool, StoreError> {
    let mut session = connection.session();
    session.begin().await?;
    let left = leave_within(&mut session, departure).await;
    if matches!(left, Ok(true)) {
        session.commit().await?;
    } else {
        session.rollback().await?;
    }
    left
}

async fn leave_within(session: &mut Session<'_>, departure: &Departure) -> Result<bool, StoreError> {
    if let Some(lock) = session.dialect().lock_table("archive") {
        // One departure at a time.
        session.run(Statement::new(session.dialect(), lock)).await?;
    }
    let Some(archive) = archive_number(session, departure).await? else { return Ok(false) };
    if keep_identities(session, departure, archive).await? != departure.ids.len() {
        return Ok(false);
    }
    let ids = &departure.ids;
    let transactions = transactions(session, ids).await?;
    delete(session, "transaction_item WHERE settlement", ids.iter().map(|id| id.0)).await?;
    let gone = delete_transactions(session, transactions).await?;
    nonces::keep(session, gone).await?;
    for table in ["event WHERE settlement", "step WHERE settlement", "settlement WHERE id"] {
        delete(session, table, ids.iter().map(|id| id.0)).await?;
    }
    let update = "UPDATE archive SET length = $1, settlements = settlements + $2, path = $3 WHERE number = $4";
    let count = i64::try_from(ids.len()).unwrap_or(i64::MAX);
    let values = [int(departure.bytes.1).into(), count.into(), departure.path.as_str().into(), archive.into()];
    session.run(Statement::of(session.dialect(), update, values)).await?;
    Ok(true)
}

/// The file's number, if its length is what the store knows.
async fn archive_number(session: &mut Session<'_>, departure: &Departure) -> Result<Option<i64>, StoreError> {
    let query = "SELECT r.number FROM archive r WHERE r.id = $1 AND r.length = $2";
    let values = [departure.archive.into(), int(departure.bytes.0).into()];
    let row = session.first(Statement::of(session.dialect(), query, values)).await?;
    Ok(row.map(|row| row.get(0)).transpose()?)
}

/// Keeps the identity of each settlement that may leave; returns their number.
async fn keep_identities(session: &mut Session<'_>, departure: &Departure, archive: i64) -> Result<usize, StoreError> {
    let mut query = Statement::new(
        session.dialect(),
        "INSERT INTO archived_settlement (id, identity, state, final_transaction, reason, message, archive) \
         SELECT s.id, s.identity, s.state, s.final_transaction, s.reason, s.message, ",
    );
    query.bind(archive).push(" FROM settlement s WHERE s.id").is_one_of(departure.ids.iter().map(|id| id.0));
    query.push(" AND ");
    push_may_leave(&mut query, session.dialect(), departure.bounds);
    let kept = session.run(query).await?;
    Ok(usize::try_from(kept).unwrap_or(usize::MAX))
}

/// The transactions of these settlements.
async fn transactions(session: &mut Session<'_>, ids: &[SettlementId]) -> Result<BTreeSet<Uuid>, StoreError> {
    let query = "SELECT i.transaction_id FROM transaction_item i WHERE i.settlement";
    let mut query = Statement::new(session.dialect(), query);
    query.is_one_of(ids.iter().map(|id| id.0));
    let rows = session.all(query).await?;
    let id = |row| Ok(Reader::new(row, "transaction_item", "transaction_id").transaction("transaction_id")?.0);
    rows.iter().map(id).collect()
}

/// Deletes those that carry nothing any more, with their attempts and answers;
/// returns the places that they took.
async fn delete_transactions(
    session: &mut Session<'_>,
    transactions: BTreeSet<Uuid>,
) -> Result<Vec<Place>, StoreError> {
    if transactions.is_empty() {
        return Ok(Vec::new());
    }
    let mut query = Statement::new(
        session.dialect(),
        "SELECT t.id, t.network, t.gas_wallet, t.nonce FROM wallet_transaction t WHERE t.id",
    );
    query.is_one_of(transactions);
    query.push(" AND NOT EXISTS (SELECT 1 FROM transaction_item i WHERE i.transaction_id = t.id)");
    let (mut gone, mut places) = (Vec::new(), Vec::new());
    for row in session.all(query).await? {
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
            delete(session, table, gone.iter().copied()).await?;
        }
    }
    Ok(places)
}

async fn delete(
    session: &mut Session<'_>,
    table_and_key: &str,
    ids: impl IntoIterator<Item = Uuid>,
) -> Result<(), StoreError> {
    let mut query = Statement::new(session.dialect(), "DELETE FROM ");
    query.push(table_and_key).is_one_of(ids);
    session.run(query).await.map(|_| ())
}
