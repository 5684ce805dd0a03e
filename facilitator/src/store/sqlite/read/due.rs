//! Settled transfers that are due for the finality check.

use chains_core::Network;
use sqlx::{QueryBuilder, Sqlite, SqlitePool, sqlite::SqliteRow};

use crate::{
    settlement::record::Due,
    store::{
        StoreError,
        sqlite::row::{Reader, int},
    },
};

/// Those in a block up to this height, the lowest first; then those that the chain took back.
pub(in crate::store::sqlite) async fn due_for_finality(
    pool: &SqlitePool,
    network: &Network,
    block_number: u64,
    limit: u32,
) -> Result<Vec<Due>, StoreError> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut found = read(pool, due_query(network, block_number, false, limit)).await?;
    if found.len() < limit {
        found.extend(read(pool, due_query(network, block_number, true, limit - found.len())).await?);
    }
    Ok(found)
}

fn due_query(network: &Network, block_number: u64, taken_back: bool, limit: usize) -> QueryBuilder<Sqlite> {
    let (index, reorged) =
        if taken_back { ("settlement_taken_back", "IS NOT NULL") } else { ("settlement_due_for_finality", "IS NULL") };
    let mut query = QueryBuilder::new(
        "SELECT s.id, s.request_id, s.final_transaction, s.final_block_number, s.final_block_hash, \
         s.reorged_at IS NOT NULL AS taken_back FROM settlement s INDEXED BY ",
    );
    query.push(index).push(" WHERE s.network = ").push_bind(network.as_str().to_owned());
    query.push(" AND s.state = 'settled' AND s.finalized_at IS NULL AND s.reorged_at ").push(reorged);
    query.push(" AND s.final_block_number <= ").push_bind(int(block_number));
    query.push(" ORDER BY s.final_block_number LIMIT ").push_bind(i64::try_from(limit).unwrap_or(i64::MAX));
    query
}

async fn read(pool: &SqlitePool, mut query: QueryBuilder<Sqlite>) -> Result<Vec<Due>, StoreError> {
    query.build().fetch_all(pool).await?.iter().map(due).collect()
}

fn due(row: &SqliteRow) -> Result<Due, StoreError> {
    let read = Reader::new(row, "settlement", "id");
    Ok(Due {
        id: read.settlement("id")?,
        request_id: read.text("request_id")?,
        transaction: read.text("final_transaction")?,
        block: read.block("final_block_number", "final_block_hash")?.ok_or_else(|| read.wrong("final_block_number"))?,
        taken_back: read.flag("taken_back")?,
    })
}

/// Every look-up of this module, for tests of their plans.
#[cfg(test)]
pub(super) fn queries(network: &Network) -> Vec<QueryBuilder<Sqlite>> {
    vec![due_query(network, 1, false, 1), due_query(network, 1, true, 1)]
}
