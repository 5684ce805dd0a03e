//! Settled transfers that are due for the finality check.

use chains_core::Network;

use crate::{
    settlement::record::Due,
    store::{
        StoreError,
        sql::{
            database::{Pool, Row},
            row::{Reader, int},
            statement::{Dialect, Statement},
        },
    },
};

/// Those in a block up to this height, the lowest first; then those that the chain took back.
pub(in crate::store::sql) async fn due_for_finality(
    pool: &Pool,
    network: &Network,
    block_number: u64,
    limit: u32,
) -> Result<Vec<Due>, StoreError> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut found = read(pool, due_query(pool.dialect(), network, block_number, false, limit)).await?;
    if found.len() < limit {
        found.extend(read(pool, due_query(pool.dialect(), network, block_number, true, limit - found.len())).await?);
    }
    Ok(found)
}

fn due_query(dialect: Dialect, network: &Network, block_number: u64, taken_back: bool, limit: usize) -> Statement<'_> {
    let (index, reorged) =
        if taken_back { ("settlement_taken_back", "IS NOT NULL") } else { ("settlement_due_for_finality", "IS NULL") };
    let mut query = Statement::new(
        dialect,
        "SELECT s.id, s.request_id, s.final_transaction, s.final_block_number, s.final_block_hash, s.reorged_at \
         FROM settlement s",
    );
    query.push(&dialect.by_index(index)).push(" WHERE s.network = ").bind(network.as_str());
    query.push(" AND s.state = 'settled' AND s.finalized_at IS NULL AND s.reorged_at ").push(reorged);
    query.push(" AND s.final_block_number <= ").bind(int(block_number));
    query.push(" ORDER BY s.final_block_number LIMIT ").bind(i64::try_from(limit).unwrap_or(i64::MAX));
    query
}

async fn read(pool: &Pool, query: Statement<'_>) -> Result<Vec<Due>, StoreError> {
    pool.all(query).await?.iter().map(due).collect()
}

fn due(row: &Row) -> Result<Due, StoreError> {
    let read = Reader::new(row, "settlement", "id");
    Ok(Due {
        id: read.settlement("id")?,
        request_id: read.text("request_id")?,
        transaction: read.text("final_transaction")?,
        block: read.block("final_block_number", "final_block_hash")?.ok_or_else(|| read.wrong("final_block_number"))?,
        taken_back: read.maybe_number("reorged_at")?.is_some(),
    })
}

/// Every look-up of this module, for tests of their plans.
#[cfg(test)]
pub(super) fn queries(dialect: Dialect, network: &Network) -> Vec<Statement<'_>> {
    vec![due_query(dialect, network, 1, false, 1), due_query(dialect, network, 1, true, 1)]
}
