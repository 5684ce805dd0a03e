//! Look-ups.
//!
//! | module | what it looks up |
//! |---|---|
//! | `due` | settled transfers that are due for the finality check |
//! | `find` | settlements by what operators and tenants ask |
//! | `followed` | settlements with their steps and transactions |
//! | this one | everything else |

mod due;
mod find;
mod followed;

use std::ops::Range;

use chains_core::{Amount, Identity, Network, clock::Millis};
use sqlx::{QueryBuilder, Sqlite, SqlitePool, sqlite::SqliteRow};

#[cfg(test)]
pub(super) use self::find::statement as find_statement;
pub(super) use self::{
    due::due_for_finality,
    find::find,
    followed::{executable, followed_of, open_settlements, timeline, unresolved},
};
use super::row::{self, RECORD, Reader, int};
use crate::{
    settlement::{Caller, Record, SettlementId, Transaction, record::Loss},
    store::StoreError,
};

/// Losses of one answer.
const LOSSES_MAX: i64 = 65_536;

/// Transactions of one answer.
const TRANSACTIONS_MAX: i64 = 256;

/// Every look-up but the lists, for tests of their plans.
#[cfg(test)]
pub(super) fn queries(network: &Network) -> Vec<QueryBuilder<Sqlite>> {
    let mut queries = followed::queries(network);
    queries.extend(due::queries(network));
    queries.extend([TRANSACTIONS_AT, LOSSES, HIGHEST_NONCE, super::archive::NONCES].map(QueryBuilder::new));
    let records = [format!("{BY_IDENTITY}?"), format!("{BY_ID}?"), format!("{BY_TENANT}?{AND_KEY}?")];
    queries.extend(records.map(|of| QueryBuilder::new(format!("{RECORD}{of}"))));
    queries
}

pub(super) async fn check(pool: &SqlitePool) -> Result<(), StoreError> {
    sqlx::query("SELECT 1").execute(pool).await?;
    Ok(())
}

pub(super) async fn by_identity(pool: &SqlitePool, identity: &Identity) -> Result<Option<Record>, StoreError> {
    let mut query = QueryBuilder::<Sqlite>::new(RECORD);
    query.push(BY_IDENTITY).push_bind(identity.as_bytes().as_slice());
    maybe(query.build().fetch_optional(pool).await)
}

pub(super) async fn by_key(pool: &SqlitePool, caller: &Caller) -> Result<Option<Record>, StoreError> {
    let Some(key) = &caller.key else { return Ok(None) };
    let mut query = QueryBuilder::<Sqlite>::new(RECORD);
    query.push(BY_TENANT).push_bind(&caller.tenant);
    query.push(AND_KEY).push_bind(key.stored());
    maybe(query.build().fetch_optional(pool).await)
}

pub(super) async fn record(pool: &SqlitePool, id: SettlementId) -> Result<Option<Record>, StoreError> {
    let mut query = QueryBuilder::<Sqlite>::new(RECORD);
    query.push(BY_ID).push_bind(id.0.as_bytes().as_slice());
    maybe(query.build().fetch_optional(pool).await)
}

fn maybe(found: Result<Option<SqliteRow>, sqlx::Error>) -> Result<Option<Record>, StoreError> {
    found?.as_ref().map(row::record).transpose()
}

const BY_IDENTITY: &str = " FROM settlement s WHERE s.identity = ";
const BY_ID: &str = " FROM settlement s WHERE s.id = ";
const BY_TENANT: &str = " FROM settlement s WHERE s.tenant = ";
const AND_KEY: &str = " AND s.idempotency_key = ";

const TRANSACTIONS_AT: &str = "SELECT t.id FROM wallet_transaction t WHERE t.network = ? AND t.gas_wallet = ? \
     AND t.nonce >= ? AND t.nonce < ? ORDER BY t.nonce LIMIT ?";

const LOSSES: &str = "SELECT s.id, s.payer, s.tenant, s.payer_code, s.ended_at, a.fee_paid, i.number AS place, (SELECT count(*) \
     FROM transaction_item n WHERE n.transaction_id = i.transaction_id) AS items \
     FROM settlement s INDEXED BY settlement_failed_by_end \
     CROSS JOIN transaction_item i ON i.settlement = s.id \
     CROSS JOIN attempt a ON a.transaction_id = i.transaction_id \
     WHERE s.state = 'failed' AND s.network = ? AND s.ended_at >= ? AND a.block_number IS NOT NULL \
     AND a.kind <> 'cancel' \
     ORDER BY s.ended_at DESC, s.id DESC LIMIT ?";

/// The highest place that was ever given out, to an archived transaction too.
const HIGHEST_NONCE: &str = "SELECT max(n.nonce) FROM (SELECT max(t.nonce) AS nonce FROM wallet_transaction t \
     WHERE t.network = ?1 AND t.gas_wallet = ?2 UNION ALL SELECT (SELECT r.last FROM archived_nonces r \
     WHERE r.network = ?1 AND r.gas_wallet = ?2 ORDER BY r.first DESC LIMIT 1)) n";

pub(super) async fn highest_nonce(
    pool: &SqlitePool,
    network: &Network,
    gas_wallet: &str,
) -> Result<Option<u64>, StoreError> {
    let max: Option<i64> =
        sqlx::query_scalar(HIGHEST_NONCE).bind(network.as_str()).bind(gas_wallet).fetch_one(pool).await?;
    let wrong =
        |_| StoreError::Inconsistent { table: "wallet_transaction", column: "nonce", row: gas_wallet.to_owned() };
    max.map(u64::try_from).transpose().map_err(wrong)
}

pub(super) async fn transactions_at(
    pool: &SqlitePool,
    network: &Network,
    gas_wallet: &str,
    nonces: Range<u64>,
) -> Result<Vec<Transaction>, StoreError> {
    let query = sqlx::query(TRANSACTIONS_AT).bind(network.as_str()).bind(gas_wallet);
    let query = query.bind(int(nonces.start)).bind(int(nonces.end)).bind(TRANSACTIONS_MAX);
    // One transaction: rows of the same moment.
    let mut moment = pool.begin().await?;
    let rows = query.fetch_all(&mut *moment).await?;
    let wanted: Result<Vec<_>, _> =
        rows.iter().map(|row| Reader::new(row, "wallet_transaction", "id").transaction("id")).collect();
    let mut transactions: Vec<_> =
        followed::transactions(&mut moment, &wanted?).await?.into_values().map(|stored| stored.transaction).collect();
    moment.rollback().await?;
    transactions.sort_by_key(|transaction| transaction.nonce);
    Ok(transactions)
}

/// A payment's loss is its share of the fees of the transactions that carried
/// it, each divided by what else it carried. A cancellation is no loss by the payer.
pub(super) async fn losses(pool: &SqlitePool, network: &Network, since: Millis) -> Result<Vec<Loss>, StoreError> {
    let query = sqlx::query(LOSSES).bind(network.as_str()).bind(int(since.0)).bind(LOSSES_MAX);
    let mut losses: Vec<(SettlementId, Loss)> = Vec::new();
    for row in query.fetch_all(pool).await?.iter().rev() {
        let (id, loss) = loss(row)?;
        match losses.last_mut() {
            Some((last, sum)) if *last == id => {
                sum.fee_paid = sum.fee_paid.checked_add(loss.fee_paid).unwrap_or(Amount::MAX);
            }
            _ => losses.push((id, loss)),
        }
    }
    Ok(losses.into_iter().map(|(_, loss)| loss).collect())
}

fn loss(row: &SqliteRow) -> Result<(SettlementId, Loss), StoreError> {
    let read = Reader::new(row, "settlement", "id");
    let fee_paid: Amount = read.parsed("fee_paid")?;
    let number = |column| usize::try_from(read.number(column)?).map_err(|_| read.wrong(column));
    let (place, items) = (number("place")?, number("items")?);
    let loss = Loss {
        payer: read.text("payer")?,
        tenant: read.text("tenant")?,
        payer_code: read.maybe_text("payer_code")?,
        fee_paid: fee_paid.share(place, items),
        at: read.time("ended_at")?,
    };
    Ok((read.settlement("id")?, loss))
}
