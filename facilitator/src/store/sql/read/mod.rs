//! Look-ups.
//!
//! | module | what it looks up |
//! |---|---|
//! | `due` | settled transfers that are due for the finality check |
//! | `find` | settlements by what operators and tenants ask |
//! | `followed` | settlements with their steps and transactions |
//! | `under_way` | a payer's payments under way |
//! | this one | everything else |

mod due;
mod find;
mod followed;
mod under_way;

use std::ops::Range;

use chains_core::{Amount, Identity, Network, clock::Millis};

#[cfg(test)]
pub(in crate::store) use self::find::statement as find_statement;
pub(super) use self::{
    due::due_for_finality,
    find::find,
    followed::{executable, failed_by_block, followed_of, open_settlements, timeline, unresolved},
    under_way::under_way,
};
use super::{
    database::{Pool, Row},
    row::{self, RECORD, Reader, int},
    statement::{Dialect, Statement, Value},
    write::ROWS_MAX,
};
use crate::{
    settlement::{Caller, Record, SettlementId, Transaction, record::Loss},
    store::StoreError,
};

/// Losses of one answer.
const LOSSES_MAX: i64 = 65_536;

/// Payments of one answer about payers.
const PAYMENTS_MAX: i64 = 65_536;

/// Transactions of one answer.
const TRANSACTIONS_MAX: i64 = 256;

/// Every look-up but the lists, for tests of their plans.
#[cfg(test)]
pub(in crate::store) fn queries(dialect: Dialect, network: &Network) -> Vec<Statement<'_>> {
    let mut queries = followed::queries(dialect, network);
    queries.extend(due::queries(dialect, network));
    queries.extend(super::hand_overs::queries(dialect));
    let whole = [
        knows_sql(dialect),
        TRANSACTIONS_AT.to_owned(),
        LEFT_OPEN.to_owned(),
        losses_sql(dialect),
        payers_sql(dialect),
        under_way::sql(dialect),
        HIGHEST_NONCE.to_owned(),
        super::archive::NONCES.to_owned(),
    ];
    queries.extend(whole.map(|sql| Statement::new(dialect, sql)));
    queries.extend([BY_IDENTITY, BY_ID, BY_KEY].map(|of| Statement::new(dialect, format!("{RECORD}{of}"))));
    queries
}

pub(super) async fn check(pool: &Pool) -> Result<(), StoreError> {
    pool.all(Statement::new(pool.dialect(), "SELECT 1")).await.map(|_| ())
}

pub(super) async fn knows(pool: &Pool, identity: &Identity) -> Result<bool, StoreError> {
    let identity = identity.as_bytes().as_slice();
    Ok(pool.first(Statement::of(pool.dialect(), knows_sql(pool.dialect()), [identity.into()])).await?.is_some())
}

pub(super) async fn by_identity(pool: &Pool, identity: &Identity) -> Result<Option<Record>, StoreError> {
    one(pool, BY_IDENTITY, [identity.as_bytes().as_slice().into()]).await
}

pub(super) async fn by_key(pool: &Pool, caller: &Caller) -> Result<Option<Record>, StoreError> {
    let Some(key) = &caller.key else { return Ok(None) };
    one(pool, BY_KEY, [caller.tenant.as_str().into(), key.stored().into()]).await
}

/// Those of these settlements that are open, or handed over and not begun: both of one moment.
pub(super) async fn open_of(pool: &Pool, ids: &[SettlementId]) -> Result<Vec<SettlementId>, StoreError> {
    let mut open = Vec::with_capacity(ids.len());
    for ids in ids.chunks(ROWS_MAX) {
        let mut query = Statement::new(pool.dialect(), "SELECT s.id FROM settlement s WHERE s.id");
        query
            .is_one_of(ids.iter().map(|id| id.0))
            .push(" AND s.state IN ('signed', 'broadcast') UNION ALL SELECT h.id FROM handed_over h WHERE h.id");
        query.is_one_of(ids.iter().map(|id| id.0));
        for row in pool.all(query).await? {
            open.push(SettlementId(row.get(0)?));
        }
    }
    Ok(open)
}

pub(super) async fn record(pool: &Pool, id: SettlementId) -> Result<Option<Record>, StoreError> {
    one(pool, BY_ID, [id.into()]).await
}

async fn one<const N: usize>(pool: &Pool, of: &str, values: [Value<'_>; N]) -> Result<Option<Record>, StoreError> {
    let found = pool.first(Statement::of(pool.dialect(), format!("{RECORD}{of}"), values)).await?;
    found.as_ref().map(row::record).transpose()
}

fn knows_sql(dialect: Dialect) -> String {
    format!(
        "SELECT 1 FROM settlement s WHERE s.identity = $1 UNION ALL \
         SELECT 1 FROM archived_settlement a WHERE a.identity = $1 UNION ALL \
         SELECT 1 FROM handed_over h WHERE h.identity = $1 AND h.wanted_until > {}",
        dialect.now()
    )
}

const BY_IDENTITY: &str = " FROM settlement s WHERE s.identity = $1";
const BY_ID: &str = " FROM settlement s WHERE s.id = $1";
const BY_KEY: &str = " FROM settlement s WHERE s.tenant = $1 AND s.idempotency_key = $2";

const TRANSACTIONS_AT: &str = "SELECT t.id FROM wallet_transaction t WHERE t.network = $1 AND t.gas_wallet = $2 \
     AND t.nonce >= $3 AND t.nonce < $4 ORDER BY t.nonce LIMIT $5";

const LEFT_OPEN: &str = "SELECT t.id FROM wallet_transaction t WHERE t.network = $1 AND t.gas_wallet = $2 \
     AND t.state = 'open' AND NOT EXISTS (SELECT 1 FROM transaction_item i JOIN settlement s ON s.id = i.settlement \
     JOIN step p ON p.settlement = i.settlement AND p.number = i.step \
     WHERE i.transaction_id = t.id AND p.transaction_id = t.id AND p.state = 'carried' \
     AND s.state IN ('signed', 'broadcast', 'unresolved')) ORDER BY t.id LIMIT $3";

fn losses_sql(dialect: Dialect) -> String {
    let (index, join) = (dialect.by_index("settlement_failed_by_end"), dialect.join());
    format!(
        "SELECT s.id, s.payer, s.tenant, s.payer_code, s.ended_at, a.fee_paid, i.number AS place, (SELECT count(*) \
         FROM transaction_item n WHERE n.transaction_id = i.transaction_id) AS items \
         FROM settlement s{index} {join} transaction_item i ON i.settlement = s.id \
         {join} attempt a ON a.transaction_id = i.transaction_id \
         WHERE s.state = 'failed' AND s.network = $1 AND s.ended_at >= $2 AND a.block_number IS NOT NULL \
         AND a.kind <> 'cancel' \
         ORDER BY s.ended_at DESC, s.id DESC LIMIT $3"
    )
}

fn payers_sql(dialect: Dialect) -> String {
    let index = dialect.by_index("settlement_by_network");
    format!(
        "SELECT s.payer FROM settlement s{index} WHERE s.network = $1 AND s.created_at >= $2 AND s.state = 'settled' \
         ORDER BY s.created_at DESC, s.id DESC LIMIT $3"
    )
}

/// The highest place that was ever given out, to an archived transaction too.
const HIGHEST_NONCE: &str = "SELECT max(n.nonce) FROM (SELECT max(t.nonce) AS nonce FROM wallet_transaction t \
     WHERE t.network = $1 AND t.gas_wallet = $2 UNION ALL SELECT (SELECT r.last FROM archived_nonces r \
     WHERE r.network = $1 AND r.gas_wallet = $2 ORDER BY r.first DESC LIMIT 1)) n";

pub(super) async fn highest_nonce(pool: &Pool, network: &Network, gas_wallet: &str) -> Result<Option<u64>, StoreError> {
    let query = Statement::of(pool.dialect(), HIGHEST_NONCE, [network.as_str().into(), gas_wallet.into()]);
    let max: Option<i64> = pool.first(query).await?.map(|row| row.get(0)).transpose()?.flatten();
    let wrong =
        |_| StoreError::Inconsistent { table: "wallet_transaction", column: "nonce", row: gas_wallet.to_owned() };
    max.map(u64::try_from).transpose().map_err(wrong)
}

pub(super) async fn transactions_at(
    pool: &Pool,
    network: &Network,
    gas_wallet: &str,
    nonces: Range<u64>,
) -> Result<Vec<Transaction>, StoreError> {
    let values = [
        network.as_str().into(),
        gas_wallet.into(),
        int(nonces.start).into(),
        int(nonces.end).into(),
        TRANSACTIONS_MAX.into(),
    ];
    transactions(pool, Statement::of(pool.dialect(), TRANSACTIONS_AT, values)).await
}

pub(super) async fn transactions_left_open(
    pool: &Pool,
    network: &Network,
    gas_wallet: &str,
) -> Result<Vec<Transaction>, StoreError> {
    let values = [network.as_str().into(), gas_wallet.into(), TRANSACTIONS_MAX.into()];
    transactions(pool, Statement::of(pool.dialect(), LEFT_OPEN, values)).await
}

/// The transactions whose ids a query finds, in the order of their nonces.
async fn transactions(pool: &Pool, query: Statement<'_>) -> Result<Vec<Transaction>, StoreError> {
    let mut moment = pool.moment().await?;
    let mut session = moment.session();
    let rows = session.all(query).await?;
    let wanted: Result<Vec<_>, _> =
        rows.iter().map(|row| Reader::new(row, "wallet_transaction", "id").transaction("id")).collect();
    let mut transactions: Vec<_> =
        followed::transactions(&mut session, &wanted?).await?.into_values().map(|stored| stored.transaction).collect();
    moment.end().await?;
    transactions.sort_by_key(|transaction| transaction.nonce);
    Ok(transactions)
}

pub(super) async fn payers(pool: &Pool, network: &Network, since: Millis) -> Result<Vec<String>, StoreError> {
    let values = [network.as_str().into(), int(since.0).into(), PAYMENTS_MAX.into()];
    let query = Statement::of(pool.dialect(), payers_sql(pool.dialect()), values);
    pool.all(query).await?.iter().map(|row| Ok(row.get(0)?)).collect()
}

/// A payment's loss is its share of the fees of the transactions that carried
/// it, each divided by what else it carried. A cancellation is no loss by the payer.
pub(super) async fn losses(pool: &Pool, network: &Network, since: Millis) -> Result<Vec<Loss>, StoreError> {
    let values = [network.as_str().into(), int(since.0).into(), LOSSES_MAX.into()];
    let query = Statement::of(pool.dialect(), losses_sql(pool.dialect()), values);
    let mut losses: Vec<Loss> = Vec::new();
    for row in pool.all(query).await?.iter().rev() {
        let loss = loss(row)?;
        match losses.last_mut() {
            Some(sum) if sum.id == loss.id => {
                sum.fee_paid = sum.fee_paid.checked_add(loss.fee_paid).unwrap_or(Amount::MAX);
            }
            _ => losses.push(loss),
        }
    }
    Ok(losses)
}

fn loss(row: &Row) -> Result<Loss, StoreError> {
    let read = Reader::new(row, "settlement", "id");
    let fee_paid: Amount = read.parsed("fee_paid")?;
    let number = |column| usize::try_from(read.number(column)?).map_err(|_| read.wrong(column));
    let (place, items) = (number("place")?, number("items")?);
    Ok(Loss {
        id: read.settlement("id")?,
        payer: read.text("payer")?,
        tenant: read.text("tenant")?,
        payer_code: read.maybe_text("payer_code")?,
        fee_paid: fee_paid.share(place, items),
        at: read.time("ended_at")?,
    })
}
