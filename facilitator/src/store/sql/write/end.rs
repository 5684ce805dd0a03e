//! Inclusions, ends, finality, deliveries.

use std::collections::{BTreeMap, HashSet};

use chains_core::{clock::Millis, observation::Inclusion};

use super::{NOT_ENDED, ROWS_MAX, Turn, cut, events::Events, time};
use crate::{
    settlement::{Recipient, SettlementId, Status, TransactionId},
    store::{
        StoreError,
        sql::{
            database::Session,
            group::{End, Ending, Finality},
            joint::Rows,
            row::int,
            statement::{Dialect, Statement, Value},
        },
    },
};

/// Stores where open transactions were included.
pub(super) async fn inclusions(
    session: &mut Session<'_>,
    inclusions: &[(TransactionId, &Inclusion)],
) -> Result<(), StoreError> {
    for rows in inclusions.chunks(ROWS_MAX) {
        include_attempts(session, rows).await?;
        include_transactions(session, rows).await?;
    }
    Ok(())
}

async fn include_transactions(
    session: &mut Session<'_>,
    rows: &[(TransactionId, &Inclusion)],
) -> Result<(), StoreError> {
    let mut query = Statement::new(session.dialect(), "WITH ");
    let values = rows.iter().map(|(id, inclusion)| [(*id).into(), inclusion.hash.as_str().into()]);
    query.table("included", ["transaction_id", "hash"], values);
    query.push(&format!(
        " UPDATE wallet_transaction SET state = 'included' FROM included \
         WHERE wallet_transaction.id = included.transaction_id AND wallet_transaction.state = 'open' AND EXISTS \
         (SELECT 1 FROM attempt a WHERE a.transaction_id = included.transaction_id AND {} = included.hash)",
        session.dialect().unindexed("a.hash")
    ));
    session.beside(Rows::of("wallet_transaction", rows.iter().map(|(id, _)| *id)), query).await
}

async fn include_attempts(session: &mut Session<'_>, rows: &[(TransactionId, &Inclusion)]) -> Result<(), StoreError> {
    let values = rows.iter().map(|(id, inclusion)| {
        [
            (*id).into(),
            inclusion.hash.as_str().into(),
            int(inclusion.block.number).into(),
            inclusion.block.hash.as_str().into(),
            inclusion.timestamp.map(int).into(),
            inclusion.fee_paid.to_string().into(),
            int(inclusion.gas_used).into(),
        ]
    });
    let columns = ["transaction_id", "hash", "block_number", "block_hash", "block_timestamp", "fee_paid", "gas_used"];
    let mut query = Statement::new(session.dialect(), "WITH ");
    query.table("included", columns, values);
    query.push(&format!(
        " UPDATE attempt SET block_number = included.block_number, block_hash = included.block_hash, \
         block_timestamp = included.block_timestamp, fee_paid = included.fee_paid, gas_used = included.gas_used FROM included \
         WHERE attempt.transaction_id = included.transaction_id AND {} = included.hash AND EXISTS \
         (SELECT 1 FROM wallet_transaction t WHERE t.id = included.transaction_id AND t.state = 'open')",
        session.dialect().unindexed("attempt.hash")
    ));
    let hashes = rows.iter().map(|(_, inclusion)| inclusion.hash.as_str());
    // One that comes later in the commit has to see that the transaction is open no more.
    let touched = Rows::of("attempt", hashes).and("inclusion", rows.iter().map(|(id, _)| *id));
    session.beside(touched, query).await
}

/// Ends settlements that have not ended, and notes in `ended`, for each call,
/// those that it ended.
pub(super) async fn ends(
    session: &mut Session<'_>,
    ends: &[End<'_>],
    ended: &mut [Vec<SettlementId>],
    events: &mut Events,
    turn: Turn,
) -> Result<(), StoreError> {
    for rows in ends.chunks(ROWS_MAX) {
        let changed = end(session, rows, turn).await?;
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

async fn end(session: &mut Session<'_>, rows: &[End<'_>], turn: Turn) -> Result<HashSet<SettlementId>, StoreError> {
    let columns = [
        "id",
        "state",
        "final_transaction",
        "block_number",
        "block_hash",
        "reason",
        "message",
        "executable_until",
        "delivered_at",
        "delivered_to",
        "finalized_at",
        "at",
    ];
    let mut query = Statement::new(session.dialect(), "WITH ");
    query.table("done", columns, rows.iter().map(end_values));
    query.push(&format!(
        " UPDATE settlement SET state = done.state, final_transaction = done.final_transaction, final_is_foreign = \
         (done.final_transaction IS NOT NULL AND {}), \
         final_block_number = done.block_number, final_block_hash = done.block_hash, reason = done.reason, \
         message = done.message, executable_until = done.executable_until, delivered_at = done.delivered_at, \
         delivered_to = done.delivered_to, finalized_at = done.finalized_at, unresolved_why = NULL, \
         ended_at = done.at, updated_at = done.at FROM done \
         WHERE settlement.id = done.id AND settlement.state IN {NOT_ENDED} RETURNING settlement.id",
        is_foreign(session.dialect(), "done.id", "done.final_transaction")
    ));
    changed(session, query, rows.iter().map(|end| end.id), turn).await
}

/// The condition that a transaction is none of a settlement's attempts.
pub(super) fn is_foreign(dialect: Dialect, settlement: &str, hash: &str) -> String {
    format!(
        "NOT EXISTS (SELECT 1 FROM transaction_item i JOIN attempt a ON a.transaction_id = i.transaction_id \
         WHERE i.settlement = {settlement} AND {} = {hash})",
        dialect.unindexed("a.hash")
    )
}

fn end_values<'a>(End { id, ending, at, .. }: &End<'a>) -> [Value<'a>; 12] {
    match *ending {
        Ending::Settled { settled, delivered } => {
            let block = settled.block();
            [
                (*id).into(),
                Status::Settled.as_str().into(),
                settled.proof.as_ref().map(|(hash, _)| hash.as_str()).into(),
                block.map(|block| int(block.number)).into(),
                block.map(|block| block.hash.as_str()).into(),
                None::<&str>.into(),
                None::<&str>.into(),
                None::<i64>.into(),
                delivered.map(|_| time(*at)).into(),
                delivered.map(Recipient::as_str).into(),
                // Without a transaction there is nothing that could be taken back.
                block.is_none().then(|| time(*at)).into(),
                time(*at).into(),
            ]
        }
        Ending::Failed(failed) => {
            let block = failed.block.as_ref();
            [
                (*id).into(),
                Status::Failed.as_str().into(),
                failed.transaction.as_deref().into(),
                block.map(|block| int(block.number)).into(),
                block.map(|block| block.hash.as_str()).into(),
                failed.reason.as_str().into(),
                cut(&failed.message).into(),
                failed.executable_until.map(int).into(),
                None::<i64>.into(),
                None::<&str>.into(),
                None::<i64>.into(),
                time(*at).into(),
            ]
        }
    }
}

/// Stores that ends hold for good.
pub(super) async fn finalities(
    session: &mut Session<'_>,
    finalities: &[Finality<'_>],
    events: &mut Events,
    turn: Turn,
) -> Result<(), StoreError> {
    for rows in finalities.chunks(ROWS_MAX) {
        let values = rows.iter().map(|Finality { id, transfer, at }| {
            [
                (*id).into(),
                transfer.map(|(hash, _)| hash.as_str()).into(),
                transfer.map(|(_, block)| int(block.number)).into(),
                transfer.map(|(_, block)| block.hash.as_str()).into(),
                time(*at).into(),
            ]
        });
        let mut query = Statement::new(session.dialect(), "WITH ");
        query.table("final", ["id", "hash", "block_number", "block_hash", "at"], values);
        query.push(&format!(
            " UPDATE settlement SET finalized_at = final.at, updated_at = final.at, \
             final_transaction = coalesce(final.hash, settlement.final_transaction), \
             final_is_foreign = CASE WHEN final.hash IS NULL THEN settlement.final_is_foreign ELSE {} END, \
             final_block_number = coalesce(final.block_number, settlement.final_block_number), \
             final_block_hash = coalesce(final.block_hash, settlement.final_block_hash) FROM final \
             WHERE settlement.id = final.id AND settlement.state IN ('settled', 'failed') \
             AND settlement.finalized_at IS NULL RETURNING settlement.id",
            is_foreign(session.dialect(), "final.id", "final.hash")
        ));
        let changed = changed(session, query, rows.iter().map(|finality| finality.id), turn).await?;
        for Finality { id, transfer, at } in rows.iter().filter(|finality| changed.contains(&finality.id)) {
            let detail = transfer.map(|(hash, block)| format!("{hash} in block {} {}", block.number, block.hash));
            events.add(*id, "finalized", &detail.unwrap_or_default(), *at);
        }
    }
    Ok(())
}

/// Gives successes away; returns the settlements whose success was there to be given.
pub(super) async fn deliver(
    session: &mut Session<'_>,
    delivers: &[(SettlementId, Recipient, Millis)],
    events: &mut Events,
) -> Result<HashSet<SettlementId>, StoreError> {
    // One caller of a group: `true` goes to one.
    let wanted: BTreeMap<_, _> = delivers.iter().rev().map(|(id, to, at)| (*id, (*to, *at))).collect();
    if wanted.is_empty() {
        return Ok(HashSet::new());
    }
    let values = wanted.iter().map(|(id, (to, at))| [(*id).into(), to.as_str().into(), time(*at).into()]);
    let mut query = Statement::new(session.dialect(), "WITH ");
    query.table("given", ["id", "recipient", "at"], values);
    query.push(
        " UPDATE settlement SET delivered_at = given.at, delivered_to = given.recipient, updated_at = given.at \
         FROM given WHERE settlement.id = given.id AND settlement.state = 'settled' \
         AND settlement.delivered_at IS NULL AND (settlement.reorged_at IS NULL OR settlement.finalized_at IS NOT NULL) \
         RETURNING settlement.id",
    );
    let changed = changed(session, query, wanted.keys().copied(), Turn::Next).await?;
    for (id, (_, at)) in wanted.iter().filter(|(id, _)| changed.contains(id)) {
        events.add(*id, "delivered", "", *at);
    }
    Ok(changed)
}

/// Runs a statement that changes some of these settlements, and looks whose transactions they have; returns
/// those that it changes. In the first turn, that is all of them, or nothing is stored.
async fn changed(
    session: &mut Session<'_>,
    query: Statement<'_>,
    ids: impl Iterator<Item = SettlementId>,
    turn: Turn,
) -> Result<HashSet<SettlementId>, StoreError> {
    let ids: HashSet<_> = ids.collect();
    let touched = Rows::of("settlement", ids.iter().copied()).and("transaction_item", ids.iter().copied());
    if turn == Turn::First {
        session.expect(touched, query, ids.len()).await?;
        return Ok(ids);
    }
    let rows = session.all_beside(touched, query).await?;
    rows.iter().map(|row| Ok(SettlementId(row.get(0)?))).collect()
}
