//! The owners of gas wallets, and the operator's word.

use chains_core::protocol::Version;
use sqlx::{Row as _, SqliteConnection};

use super::{Events, begin_immediate, commit, rollback, time};
use crate::{
    settlement::{Status, record::RESOLVED},
    store::{OperatorWord, StoreError, sqlite::writer::Owner},
};

/// The sentence for callers of a settlement that the operator's word failed.
/// The operator's own reason stays inside.
const ENDED_BY_OPERATOR: &str = "the payment's fate could not be proven, and the operator of this service has ended it";

/// Gives a gas wallet to a new owner; returns the epoch.
pub(super) async fn own(connection: &mut SqliteConnection, owner: &Owner) -> Result<u64, sqlx::Error> {
    let own = "INSERT INTO wallet_owner (network, gas_wallet, owner, epoch, taken_at) VALUES (?, ?, ?, 1, ?) \
         ON CONFLICT (network, gas_wallet) DO UPDATE SET owner = excluded.owner, epoch = epoch + 1, \
         taken_at = excluded.taken_at RETURNING epoch";
    let own = sqlx::query_scalar(own).bind(owner.network.as_str()).bind(&owner.gas_wallet).bind(&owner.name);
    let epoch: i64 = own.bind(time(owner.at)).fetch_one(connection).await?;
    Ok(u64::try_from(epoch).unwrap_or_default())
}

/// Ends an unresolved settlement by the operator's word.
pub(super) async fn resolve(
    connection: &mut SqliteConnection,
    word: &OperatorWord,
    events: &mut Events,
) -> Result<bool, sqlx::Error> {
    let done = match &word.settled_by {
        Some(transaction) => settle(connection, word, transaction).await?,
        None => fail(connection, word).await?,
    };
    if done {
        let end = word.settled_by.as_ref().map_or_else(|| "failed".to_owned(), |by| format!("settled by {by}"));
        events.add(word.id, RESOLVED, &format!("{end}: {}", word.reason), word.at);
    }
    Ok(done)
}

/// The block is that of an attempt, where the transaction is one of ours and
/// was seen in a block. Nothing looks at the transfer again: no proof is to be had.
async fn settle(
    connection: &mut SqliteConnection,
    word: &OperatorWord,
    transaction: &str,
) -> Result<bool, sqlx::Error> {
    let id = word.id.0.as_bytes().as_slice();
    let block = "SELECT a.block_number, a.block_hash FROM transaction_item i \
         JOIN attempt a ON a.transaction_id = i.transaction_id \
         WHERE i.settlement = ? AND a.hash = ? AND a.block_number IS NOT NULL LIMIT 1";
    let block = sqlx::query(block).bind(id).bind(transaction).fetch_optional(&mut *connection).await?;
    let (number, hash) = match &block {
        Some(row) => (row.try_get::<Option<i64>, _>(0)?, row.try_get::<Option<&str>, _>(1)?),
        None => (None, None),
    };
    let settle = "UPDATE settlement SET state = ?1, final_transaction = ?2, final_is_foreign = NOT EXISTS \
         (SELECT 1 FROM transaction_item i JOIN attempt a ON a.transaction_id = i.transaction_id \
         WHERE i.settlement = ?6 AND +a.hash = ?2), final_block_number = ?3, \
         final_block_hash = ?4, unresolved_why = NULL, ended_at = ?5, finalized_at = ?5, updated_at = ?5 \
         WHERE id = ?6 AND state = 'unresolved'";
    let settle = sqlx::query(settle).bind(Status::Settled.as_str()).bind(transaction).bind(number).bind(hash);
    let settle = settle.bind(time(word.at)).bind(id).execute(connection).await?;
    Ok(settle.rows_affected() > 0)
}

/// As long as the payment's last step can be executed, the finality check
/// watches whether somebody does.
async fn fail(connection: &mut SqliteConnection, word: &OperatorWord) -> Result<bool, sqlx::Error> {
    let fail = "UPDATE settlement SET state = ?1, reason = ?2, message = ?3, executable_until = \
         (SELECT p.valid_before FROM step p WHERE p.settlement = settlement.id ORDER BY p.number DESC LIMIT 1), \
         unresolved_why = NULL, ended_at = ?4, updated_at = ?4 WHERE id = ?5 AND state = 'unresolved'";
    let reason = chains_core::reason::UNEXPECTED_SETTLE_ERROR.spelling(Version::V2);
    let fail = sqlx::query(fail).bind(Status::Failed.as_str()).bind(reason).bind(ENDED_BY_OPERATOR);
    let fail = fail.bind(time(word.at)).bind(word.id.0.as_bytes().as_slice()).execute(connection).await?;
    Ok(fail.rows_affected() > 0)
}

/// The same in a transaction of its own, on a connection beside the writer's.
pub(in crate::store::sqlite) async fn resolve_alone(
    connection: &mut SqliteConnection,
    word: &OperatorWord,
) -> Result<bool, StoreError> {
    begin_immediate(connection).await?;
    match resolve_and_tell(connection, word).await {
        Ok(done) => {
            commit(connection).await?;
            Ok(done)
        }
        Err(error) => {
            rollback(connection).await?;
            Err(error.into())
        }
    }
}

async fn resolve_and_tell(connection: &mut SqliteConnection, word: &OperatorWord) -> Result<bool, sqlx::Error> {
    let mut events = Events::default();
    let done = resolve(connection, word, &mut events).await?;
    events.write(connection).await?;
    Ok(done)
}
