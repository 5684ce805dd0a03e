//! Look-ups.

use std::{collections::HashMap, ops::Range};

use chains_core::{Identity, Network, chain::SignedTransaction, clock::Millis};
use sqlx::{QueryBuilder, Row as _, Sqlite, SqliteConnection, SqlitePool, sqlite::SqliteRow};

use super::row::{self, RECORD, Reader, int};
use crate::{
    settlement::{
        SettlementId, State,
        record::{Attempt, Caller, Failure, Record, StoredSend, Timeline},
    },
    store::{Query, StoreError},
};

/// Failures of one answer.
const FAILURES_MAX: u64 = 65_536;

/// Transactions of one answer.
const SEQUENCES_MAX: i64 = 256;

/// Records of one answer, whatever is asked for.
const PAGE_MAX: u32 = 1000;

pub(super) async fn check(pool: &SqlitePool) -> Result<(), StoreError> {
    sqlx::query("SELECT 1").execute(pool).await?;
    Ok(())
}

pub(super) async fn by_identity(pool: &SqlitePool, identity: &Identity) -> Result<Option<Record>, StoreError> {
    let mut query = QueryBuilder::<Sqlite>::new(RECORD);
    query.push(" FROM settlement s WHERE s.identity = ").push_bind(identity.as_bytes().as_slice());
    maybe(query.build().fetch_optional(pool).await)
}

pub(super) async fn by_key(pool: &SqlitePool, caller: &Caller) -> Result<Option<Record>, StoreError> {
    let Some(key) = &caller.key else { return Ok(None) };
    let mut query = QueryBuilder::<Sqlite>::new(RECORD);
    query.push(" FROM settlement s WHERE s.tenant = ").push_bind(&caller.tenant);
    query.push(" AND s.idempotency_key = ").push_bind(key.stored());
    maybe(query.build().fetch_optional(pool).await)
}

fn maybe(found: Result<Option<SqliteRow>, sqlx::Error>) -> Result<Option<Record>, StoreError> {
    found?.as_ref().map(row::record).transpose()
}

pub(super) async fn sequence_max(
    pool: &SqlitePool,
    network: &Network,
    gas_wallet: &str,
) -> Result<Option<u64>, StoreError> {
    let query = "SELECT max(sequence) FROM slot WHERE network = ? AND gas_wallet = ?";
    let max: Option<i64> = sqlx::query_scalar(query).bind(network.as_str()).bind(gas_wallet).fetch_one(pool).await?;
    let wrong = |_| StoreError::Inconsistent { table: "slot", column: "sequence", row: gas_wallet.to_owned() };
    max.map(u64::try_from).transpose().map_err(wrong)
}

pub(super) async fn signed_at(
    pool: &SqlitePool,
    network: &Network,
    gas_wallet: &str,
    sequences: Range<u64>,
) -> Result<Vec<(SettlementId, SignedTransaction)>, StoreError> {
    let query = "SELECT min(i.settlement) AS settlement, max(i.live) AS live, slot.gas_wallet, slot.sequence, a.* \
         FROM slot JOIN slot_item i ON i.slot = slot.id JOIN attempt a ON a.slot = slot.id \
         WHERE slot.network = ? AND slot.gas_wallet = ? AND slot.sequence >= ? AND slot.sequence < ? \
         AND a.number = (SELECT max(n.number) FROM attempt n WHERE n.slot = slot.id) \
         GROUP BY slot.id ORDER BY slot.sequence LIMIT ?";
    let query = sqlx::query(query).bind(network.as_str()).bind(gas_wallet);
    let query = query.bind(int(sequences.start)).bind(int(sequences.end)).bind(SEQUENCES_MAX);
    let rows = query.fetch_all(pool).await?;
    rows.iter()
        .map(|row| Ok((Reader::new(row, "slot_item", "settlement").id("settlement")?, row::attempt(row)?.signed)))
        .collect()
}

pub(super) async fn failures(pool: &SqlitePool, network: &Network, since: Millis) -> Result<Vec<Failure>, StoreError> {
    let query = "SELECT s.id, s.payer, s.updated_at FROM settlement s \
         WHERE s.state = 'failed' AND s.network = ? AND s.updated_at >= ? AND EXISTS \
         (SELECT 1 FROM slot_item i JOIN attempt a ON a.slot = i.slot WHERE i.settlement = s.id AND a.fee_paid IS NOT NULL) \
         ORDER BY s.updated_at DESC, s.id DESC LIMIT ?";
    let query = sqlx::query(query).bind(network.as_str()).bind(int(since.0)).bind(int(FAILURES_MAX));
    query.fetch_all(pool).await?.iter().rev().map(row::failure).collect()
}

/// Which settlements to load whole.
#[derive(Clone, Copy)]
enum Which<'a> {
    One(SettlementId),
    Live(&'a Network),
}

impl Which<'_> {
    /// A query that ends with the condition on `settlement s`. `CROSS JOIN`
    /// is how SQLite is told to start with the settlements: it knows nothing
    /// of how few are live.
    fn query(self, start: &str) -> QueryBuilder<Sqlite> {
        let mut query = QueryBuilder::new(start);
        match self {
            Self::One(id) => query.push(" WHERE s.id = ").push_bind(id.0.as_bytes().to_vec()),
            Self::Live(network) => query
                .push(" WHERE s.state IN ('signed', 'broadcast') AND s.network = ")
                .push_bind(network.as_str().to_owned()),
        };
        query
    }
}

pub(super) async fn timeline(pool: &SqlitePool, id: SettlementId) -> Result<Option<Timeline>, StoreError> {
    Ok(timelines(pool, Which::One(id)).await?.pop())
}

pub(super) async fn live(pool: &SqlitePool, network: &Network) -> Result<Vec<Timeline>, StoreError> {
    timelines(pool, Which::Live(network)).await
}

async fn timelines(pool: &SqlitePool, which: Which<'_>) -> Result<Vec<Timeline>, StoreError> {
    // One transaction: records, attempts and answers of the same moment.
    let mut transaction = pool.begin().await?;
    let mut attempts = attempts(&mut transaction, which).await?;
    let start = format!(
        "{RECORD} FROM settlement s LEFT JOIN slot_item live ON live.settlement = s.id AND live.live = 1 \
         LEFT JOIN slot ON slot.id = live.slot"
    );
    let mut query = which.query(&start);
    query.push(" ORDER BY slot.gas_wallet, slot.sequence, s.created_at, s.id");
    let rows = query.build().fetch_all(&mut *transaction).await?;
    transaction.rollback().await?;
    rows.iter()
        .map(|row| {
            let record = row::record(row)?;
            let attempts = attempts.remove(&record.id).unwrap_or_default();
            Ok(Timeline { record, attempts })
        })
        .collect()
}

async fn attempts(
    connection: &mut SqliteConnection,
    which: Which<'_>,
) -> Result<HashMap<SettlementId, Vec<Attempt>>, StoreError> {
    let mut answers = answers(connection, which).await?;
    let mut query = which.query(
        "SELECT i.settlement, i.live, slot.gas_wallet, slot.sequence, a.* FROM settlement s \
         CROSS JOIN slot_item i ON i.settlement = s.id JOIN slot ON slot.id = i.slot JOIN attempt a ON a.slot = i.slot",
    );
    query.push(" ORDER BY slot.created_at, slot.id, a.number");
    let mut attempts: HashMap<_, Vec<_>> = HashMap::new();
    for row in query.build().fetch_all(connection).await? {
        let settlement = Reader::new(&row, "slot_item", "settlement").id("settlement")?;
        let mut attempt = row::attempt(&row)?;
        attempt.sends = answers.remove(&(settlement, attempt.signed.transaction.clone())).unwrap_or_default();
        attempts.entry(settlement).or_default().push(attempt);
    }
    Ok(attempts)
}

async fn answers(
    connection: &mut SqliteConnection,
    which: Which<'_>,
) -> Result<HashMap<(SettlementId, String), Vec<StoredSend>>, StoreError> {
    let mut query = which.query(
        "SELECT i.settlement, b.* FROM settlement s CROSS JOIN slot_item i ON i.settlement = s.id \
         CROSS JOIN attempt a ON a.slot = i.slot CROSS JOIN broadcast_answer b ON b.transaction_id = a.transaction_id",
    );
    query.push(" ORDER BY b.id");
    let mut answers: HashMap<_, Vec<_>> = HashMap::new();
    for row in query.build().fetch_all(connection).await? {
        let settlement = Reader::new(&row, "slot_item", "settlement").id("settlement")?;
        answers.entry((settlement, row.try_get("transaction_id")?)).or_default().push(row::send(&row)?);
    }
    Ok(answers)
}

pub(super) async fn find(pool: &SqlitePool, asked: &Query) -> Result<Vec<Record>, StoreError> {
    let Query { transaction, network, payer, nonce, state, from, tenant, before, limit } = asked;
    let mut query = QueryBuilder::<Sqlite>::new(RECORD);
    query.push(" FROM settlement s WHERE 1 = 1");
    if let Some(transaction) = transaction {
        query.push(
            " AND s.id IN (SELECT i.settlement FROM attempt a JOIN slot_item i ON i.slot = a.slot \
             WHERE a.transaction_id = ",
        );
        query.push_bind(transaction);
        query
            .push(" UNION SELECT f.id FROM settlement f WHERE f.final_transaction = ")
            .push_bind(transaction)
            .push(")");
    }
    if let Some(network) = network {
        query.push(" AND s.network = ").push_bind(network.as_str());
    }
    if let Some(payer) = payer {
        query.push(" AND lower(s.payer) = lower(").push_bind(payer).push(")");
    }
    if let Some(nonce) = nonce {
        query.push(" AND lower(s.nonce) = lower(").push_bind(nonce).push(")");
    }
    if let Some(state) = state {
        // Our own word, not the caller's: as a literal it lets the database
        // use the small indexes over what is live and what failed.
        query.push(" AND s.state = '").push(state.as_str()).push("'");
        if matches!(state, State::Signed | State::Broadcast) {
            query.push(" AND s.state IN ('signed', 'broadcast')");
        }
    }
    if let Some(from) = from {
        query.push(" AND s.created_at >= ").push_bind(int(from.0));
    }
    if let Some(tenant) = tenant {
        query.push(" AND s.tenant = ").push_bind(tenant);
    }
    if let Some(before) = before {
        query.push(" AND (s.created_at, s.id) < (SELECT c.created_at, c.id FROM settlement c WHERE c.id = ");
        query.push_bind(before.0.as_bytes().as_slice()).push(")");
    }
    query.push(" ORDER BY s.created_at DESC, s.id DESC LIMIT ").push_bind(i64::from((*limit).min(PAGE_MAX)));
    query.build().fetch_all(pool).await?.iter().map(row::record).collect()
}
