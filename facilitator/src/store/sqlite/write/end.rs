//! Inclusions, ends, finality, deliveries.

use std::collections::{BTreeMap, HashSet};

use chains_core::{clock::Millis, observation::Inclusion};
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

use super::{NOT_ENDED, ROWS_MAX, cut, events::Events, time};
use crate::{
    settlement::{Recipient, SettlementId, Status, TransactionId},
    store::sqlite::{
        group::{End, Ending, Finality},
        row::{self, int},
    },
};

/// Stores where open transactions were included.
///
/// A `+` before a hash keeps the database from its index by hash: an attempt is
/// found by its transaction, on a page that was written lately.
pub(super) async fn inclusions(
    connection: &mut SqliteConnection,
    inclusions: &[(TransactionId, &Inclusion)],
) -> Result<(), sqlx::Error> {
    for rows in inclusions.chunks(ROWS_MAX) {
        include_attempts(connection, rows).await?;
        let mut query = QueryBuilder::<Sqlite>::new("UPDATE wallet_transaction SET state = 'included' WHERE id IN (");
        row::push_ids(&mut query, rows.iter().map(|(id, _)| id.0));
        query.push(
            ") AND state = 'open' AND EXISTS (SELECT 1 FROM attempt a \
             WHERE a.transaction_id = wallet_transaction.id AND a.block_number IS NOT NULL)",
        );
        query.build().execute(&mut *connection).await?;
    }
    Ok(())
}

async fn include_attempts(
    connection: &mut SqliteConnection,
    rows: &[(TransactionId, &Inclusion)],
) -> Result<(), sqlx::Error> {
    let mut query = QueryBuilder::<Sqlite>::new(
        "WITH included (transaction_id, hash, block_number, block_hash, fee_paid, gas_used) AS (",
    );
    query.push_values(rows, |mut tuple, (id, inclusion)| {
        tuple
            .push_bind(id.0.as_bytes().as_slice())
            .push_bind(inclusion.hash.as_str())
            .push_bind(int(inclusion.block.number))
            .push_bind(inclusion.block.hash.as_str())
            .push_bind(inclusion.fee_paid.to_string())
            .push_bind(int(inclusion.gas_used));
    });
    query.push(
        ") UPDATE attempt SET block_number = included.block_number, block_hash = included.block_hash, \
         fee_paid = included.fee_paid, gas_used = included.gas_used FROM included \
         WHERE attempt.transaction_id = included.transaction_id AND +attempt.hash = included.hash AND EXISTS \
         (SELECT 1 FROM wallet_transaction t WHERE t.id = included.transaction_id AND t.state = 'open')",
    );
    query.build().execute(connection).await.map(|_| ())
}

/// Ends settlements that have not ended, and notes in `ended`, for each call,
/// those that it ended.
pub(super) async fn ends(
    connection: &mut SqliteConnection,
    ends: &[End<'_>],
    ended: &mut [Vec<SettlementId>],
    events: &mut Events,
) -> Result<(), sqlx::Error> {
    for rows in ends.chunks(ROWS_MAX) {
        let changed = end(connection, rows).await?;
        for End { id, ending, at, call } in rows.iter().filter(|end| changed.contains(&end.id)) {
            if let Some(ended) = ended.get_mut(*call) {
                ended.push(*id);
            }
            match ending {
                Ending::Settled { settled, .. } => events.add(*id, "settled", settled.hash(), *at),
                Ending::Failed(failed) => {
                    events.add(*id, "failed", &format!("{}: {}", failed.reason, failed.message), *at);
                }
            }
        }
    }
    Ok(())
}

async fn end(connection: &mut SqliteConnection, rows: &[End<'_>]) -> Result<HashSet<SettlementId>, sqlx::Error> {
    let mut query = QueryBuilder::<Sqlite>::new(
        "WITH done (id, state, final_transaction, block_number, block_hash, reason, message, executable_until, \
         delivered_at, delivered_to, finalized_at, at) AS (",
    );
    query.push_values(rows, |mut tuple, End { id, ending, at, .. }| {
        tuple.push_bind(id.0.as_bytes().as_slice());
        match ending {
            Ending::Settled { settled, delivered } => {
                let (hash, block) = (settled.proof.as_ref().map(|(hash, _)| hash.as_str()), settled.block());
                tuple.push_bind(Status::Settled.as_str()).push_bind(hash);
                tuple.push_bind(block.map(|block| int(block.number))).push_bind(block.map(|block| block.hash.as_str()));
                tuple.push_bind(None::<&str>).push_bind(None::<String>).push_bind(None::<i64>);
                // Without a transaction there is nothing that could be taken back.
                tuple.push_bind(delivered.map(|_| time(*at))).push_bind(delivered.map(Recipient::as_str));
                tuple.push_bind(block.is_none().then(|| time(*at)));
            }
            Ending::Failed(failed) => {
                let block = failed.block.as_ref();
                tuple.push_bind(Status::Failed.as_str()).push_bind(failed.transaction.as_deref());
                tuple.push_bind(block.map(|block| int(block.number))).push_bind(block.map(|block| block.hash.as_str()));
                tuple.push_bind(Some(failed.reason.as_str())).push_bind(Some(cut(&failed.message)));
                tuple.push_bind(failed.executable_until.map(int));
                tuple.push_bind(None::<i64>).push_bind(None::<&str>).push_bind(None::<i64>);
            }
        }
        tuple.push_bind(time(*at));
    });
    query.push(
        ") UPDATE settlement SET state = done.state, final_transaction = done.final_transaction, final_is_foreign = \
         (done.final_transaction IS NOT NULL AND NOT EXISTS (SELECT 1 FROM transaction_item i JOIN attempt a \
         ON a.transaction_id = i.transaction_id WHERE i.settlement = done.id AND +a.hash = done.final_transaction)), \
         final_block_number = done.block_number, final_block_hash = done.block_hash, reason = done.reason, \
         message = done.message, executable_until = done.executable_until, delivered_at = done.delivered_at, \
         delivered_to = done.delivered_to, finalized_at = done.finalized_at, unresolved_why = NULL, ended_at = done.at, updated_at = done.at FROM done \
         WHERE settlement.id = done.id AND settlement.state IN ",
    );
    query.push(NOT_ENDED).push(" RETURNING id");
    changed(&mut query, connection).await
}

/// Stores that ends hold for good.
pub(super) async fn finalities(
    connection: &mut SqliteConnection,
    finalities: &[Finality<'_>],
    events: &mut Events,
) -> Result<(), sqlx::Error> {
    for rows in finalities.chunks(ROWS_MAX) {
        let mut query = QueryBuilder::<Sqlite>::new("WITH final (id, hash, block_number, block_hash, at) AS (");
        query.push_values(rows, |mut tuple, Finality { id, transfer, at }| {
            tuple
                .push_bind(id.0.as_bytes().as_slice())
                .push_bind(transfer.map(|(hash, _)| hash.as_str()))
                .push_bind(transfer.map(|(_, block)| int(block.number)))
                .push_bind(transfer.map(|(_, block)| block.hash.as_str()))
                .push_bind(time(*at));
        });
        query.push(
            ") UPDATE settlement SET finalized_at = final.at, updated_at = final.at, \
             final_transaction = coalesce(final.hash, final_transaction), \
             final_is_foreign = CASE WHEN final.hash IS NULL THEN final_is_foreign ELSE NOT EXISTS (SELECT 1 \
             FROM transaction_item i JOIN attempt a ON a.transaction_id = i.transaction_id \
             WHERE i.settlement = final.id AND +a.hash = final.hash) END, \
             final_block_number = coalesce(final.block_number, final_block_number), \
             final_block_hash = coalesce(final.block_hash, final_block_hash) FROM final \
             WHERE settlement.id = final.id AND settlement.state IN ('settled', 'failed') \
             AND settlement.finalized_at IS NULL RETURNING id",
        );
        let changed = changed(&mut query, connection).await?;
        for Finality { id, transfer, at } in rows.iter().filter(|finality| changed.contains(&finality.id)) {
            let detail = transfer.map(|(hash, block)| format!("{hash} in block {} {}", block.number, block.hash));
            events.add(*id, "finalized", &detail.unwrap_or_default(), *at);
        }
    }
    Ok(())
}

/// Gives successes away; returns the settlements whose success was there to be given.
pub(super) async fn deliver(
    connection: &mut SqliteConnection,
    delivers: &[(SettlementId, Recipient, Millis)],
    events: &mut Events,
) -> Result<HashSet<SettlementId>, sqlx::Error> {
    // One caller of a group: `true` goes to one.
    let wanted: BTreeMap<_, _> = delivers.iter().rev().map(|(id, to, at)| (*id, (*to, *at))).collect();
    if wanted.is_empty() {
        return Ok(HashSet::new());
    }
    let mut query = QueryBuilder::<Sqlite>::new("WITH given (id, recipient, at) AS (");
    query.push_values(&wanted, |mut tuple, (id, (to, at))| {
        tuple.push_bind(id.0.as_bytes().as_slice()).push_bind(to.as_str()).push_bind(time(*at));
    });
    query.push(
        ") UPDATE settlement SET delivered_at = given.at, delivered_to = given.recipient, updated_at = given.at \
         FROM given WHERE settlement.id = given.id AND settlement.state = 'settled' \
         AND settlement.delivered_at IS NULL AND (settlement.reorged_at IS NULL OR settlement.finalized_at IS NOT NULL) \
         RETURNING id",
    );
    let changed = changed(&mut query, connection).await?;
    for (id, (_, at)) in wanted.iter().filter(|(id, _)| changed.contains(id)) {
        events.add(*id, "delivered", "", *at);
    }
    Ok(changed)
}

/// Runs a statement that returns the settlements it changed.
async fn changed(
    query: &mut QueryBuilder<Sqlite>,
    connection: &mut SqliteConnection,
) -> Result<HashSet<SettlementId>, sqlx::Error> {
    let ids: Vec<Vec<u8>> = query.build_query_scalar().fetch_all(connection).await?;
    Ok(ids.iter().filter_map(|id| row::uuid(id)).map(SettlementId).collect())
}
