//! Settlements with their steps and transactions.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chains_core::Network;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection, SqlitePool, sqlite::SqliteRow};

use crate::{
    settlement::{
        Attempt, Record, SettlementId, Step, StepNumber, Timeline, Transaction, TransactionId,
        record::{Event, Followed, SendAnswer, Sends},
    },
    store::{
        StoreError,
        sqlite::row::{self, ATTEMPT, RECORD, Reader, STEP},
    },
};

/// Ids of one statement.
const IDS_MAX: usize = 512;

pub(super) const EVENTS: &str =
    "SELECT e.settlement, e.kind, e.detail, e.at FROM event e WHERE e.settlement = ? ORDER BY e.number";

/// A transaction, and how often each of its attempts was sent, oldest first.
pub(super) struct Stored {
    pub transaction: Transaction,
    sends: Vec<u64>,
}

pub(in crate::store::sqlite) async fn open_settlements(
    pool: &SqlitePool,
    network: &Network,
) -> Result<Vec<Followed>, StoreError> {
    followed(pool, open_query(network)).await
}

fn open_query(network: &Network) -> QueryBuilder<Sqlite> {
    let mut query = records(network, "settlement_open");
    query.push(" AND s.state IN ('signed', 'broadcast') ORDER BY s.id");
    query
}

pub(in crate::store::sqlite) async fn unresolved(
    pool: &SqlitePool,
    network: &Network,
    after: Option<SettlementId>,
    limit: u32,
) -> Result<Vec<Followed>, StoreError> {
    followed(pool, unresolved_query(network, after, limit)).await
}

fn unresolved_query(network: &Network, after: Option<SettlementId>, limit: u32) -> QueryBuilder<Sqlite> {
    let mut query = records(network, "settlement_unresolved");
    query.push(" AND s.state = 'unresolved'");
    page(&mut query, after, limit);
    query
}

pub(in crate::store::sqlite) async fn executable(
    pool: &SqlitePool,
    network: &Network,
    after: Option<SettlementId>,
    limit: u32,
) -> Result<Vec<Followed>, StoreError> {
    followed(pool, executable_query(network, after, limit)).await
}

fn executable_query(network: &Network, after: Option<SettlementId>, limit: u32) -> QueryBuilder<Sqlite> {
    let mut query = records(network, "settlement_executable");
    query.push(" AND s.state = 'failed' AND s.finalized_at IS NULL AND s.executable_until IS NOT NULL");
    page(&mut query, after, limit);
    query
}

/// Settlements by their ids, oldest first.
pub(in crate::store::sqlite) async fn followed_of(
    pool: &SqlitePool,
    ids: &[SettlementId],
) -> Result<Vec<Followed>, StoreError> {
    let mut found = Vec::with_capacity(ids.len());
    for ids in ids.chunks(IDS_MAX) {
        found.extend(followed(pool, followed_query(ids)).await?);
    }
    found.sort_by_key(|followed| followed.facts.id);
    Ok(found)
}

fn followed_query(ids: &[SettlementId]) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::new(RECORD);
    query.push(" FROM settlement s WHERE s.id IN (");
    row::push_ids(&mut query, ids.iter().map(|id| id.0));
    query.push(")");
    query
}

pub(in crate::store::sqlite) async fn timeline(
    pool: &SqlitePool,
    id: SettlementId,
) -> Result<Option<Timeline>, StoreError> {
    // One transaction: rows of the same moment.
    let mut moment = pool.begin().await?;
    let mut query = QueryBuilder::<Sqlite>::new(RECORD);
    query.push(" FROM settlement s WHERE s.id = ").push_bind(id.0.as_bytes().as_slice());
    let Some(row) = query.build().fetch_optional(&mut *moment).await? else { return Ok(None) };
    let record = row::record(&row)?;
    let steps = steps(&mut moment, &[id]).await?.remove(&id).unwrap_or_default();
    let carriers = carriers(&mut moment, &[id]).await?.remove(&id).unwrap_or_default();
    let stored = transactions(&mut moment, &carriers.into_iter().collect::<Vec<_>>()).await?;
    let mut told = Vec::with_capacity(stored.len());
    for Stored { transaction, sends } in stored.into_values() {
        let sends = answers(&mut moment, &transaction, &sends).await?;
        told.push((transaction, sends));
    }
    let events = events(&mut moment, id).await?;
    moment.rollback().await?;
    Ok(Some(Timeline { record, steps, transactions: told, events }))
}

/// Records of a network, read by the index that holds only those that are asked for.
fn records(network: &Network, index: &str) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::new(RECORD);
    query.push(" FROM settlement s INDEXED BY ").push(index);
    query.push(" WHERE s.network = ").push_bind(network.as_str().to_owned());
    query
}

fn page(query: &mut QueryBuilder<Sqlite>, after: Option<SettlementId>, limit: u32) {
    if let Some(after) = after {
        query.push(" AND s.id > ").push_bind(after.0.as_bytes().to_vec());
    }
    query.push(" ORDER BY s.id LIMIT ").push_bind(i64::from(limit));
}

async fn followed(pool: &SqlitePool, mut query: QueryBuilder<Sqlite>) -> Result<Vec<Followed>, StoreError> {
    // One transaction: rows of the same moment.
    let mut moment = pool.begin().await?;
    let rows = query.build().fetch_all(&mut *moment).await?;
    let records: Result<Vec<_>, _> = rows.iter().map(row::record).collect();
    let records = records?;
    let ids: Vec<_> = records.iter().map(Record::id).collect();
    let mut steps = steps(&mut moment, &ids).await?;
    let carriers = carriers(&mut moment, &ids).await?;
    let wanted: BTreeSet<_> = carriers.values().flatten().copied().collect();
    let stored = transactions(&mut moment, &wanted.into_iter().collect::<Vec<_>>()).await?;
    moment.rollback().await?;
    let follow = |record: Record| {
        let carriers = carriers.get(&record.id()).into_iter().flatten();
        let transactions = carriers.filter_map(|id| Some(stored.get(id)?.transaction.clone())).collect();
        let steps = steps.remove(&record.id()).unwrap_or_default();
        Followed { facts: record.facts, state: record.state, steps, transactions }
    };
    Ok(records.into_iter().map(follow).collect())
}

async fn steps(
    connection: &mut SqliteConnection,
    ids: &[SettlementId],
) -> Result<HashMap<SettlementId, Vec<Step>>, StoreError> {
    let mut steps: HashMap<_, Vec<_>> = HashMap::with_capacity(ids.len());
    for ids in ids.chunks(IDS_MAX) {
        for row in steps_query(ids).build().fetch_all(&mut *connection).await? {
            let (id, step) = row::step(&row)?;
            steps.entry(id).or_default().push(step);
        }
    }
    Ok(steps)
}

fn steps_query(ids: &[SettlementId]) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::<Sqlite>::new(STEP);
    query.push(" FROM step p WHERE p.settlement IN (");
    row::push_ids(&mut query, ids.iter().map(|id| id.0));
    query.push(") ORDER BY p.settlement, p.number");
    query
}

/// The transactions that carry or carried these settlements, oldest first.
async fn carriers(
    connection: &mut SqliteConnection,
    ids: &[SettlementId],
) -> Result<HashMap<SettlementId, BTreeSet<TransactionId>>, StoreError> {
    let mut carriers: HashMap<_, BTreeSet<_>> = HashMap::with_capacity(ids.len());
    for ids in ids.chunks(IDS_MAX) {
        for row in carriers_query(ids).build().fetch_all(&mut *connection).await? {
            let read = Reader::new(&row, "transaction_item", "settlement");
            carriers.entry(read.settlement("settlement")?).or_default().insert(read.transaction("transaction_id")?);
        }
    }
    Ok(carriers)
}

fn carriers_query(ids: &[SettlementId]) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::<Sqlite>::new(
        "SELECT i.settlement, i.transaction_id FROM transaction_item i WHERE i.settlement IN (",
    );
    row::push_ids(&mut query, ids.iter().map(|id| id.0));
    query.push(")");
    query
}

/// Transactions with their items and attempts, oldest first.
pub(super) async fn transactions(
    connection: &mut SqliteConnection,
    ids: &[TransactionId],
) -> Result<BTreeMap<TransactionId, Stored>, StoreError> {
    let mut stored = BTreeMap::new();
    for ids in ids.chunks(IDS_MAX) {
        let mut items = items(connection, ids).await?;
        let mut attempts = attempts(connection, ids).await?;
        for row in transactions_query(ids).build().fetch_all(&mut *connection).await? {
            let id = Reader::new(&row, "wallet_transaction", "id").transaction("id")?;
            let of_it = (items.remove(&id).unwrap_or_default(), attempts.remove(&id).unwrap_or_default());
            stored.insert(id, transaction(&row, id, of_it)?);
        }
    }
    Ok(stored)
}

fn transactions_query(ids: &[TransactionId]) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::<Sqlite>::new(
        "SELECT t.id, t.gas_wallet, t.nonce, t.epoch, t.state, t.dead_why, t.created_at \
         FROM wallet_transaction t WHERE t.id IN (",
    );
    row::push_ids(&mut query, ids.iter().map(|id| id.0));
    query.push(")");
    query
}

type Parts = (Vec<(SettlementId, StepNumber)>, Vec<(Attempt, u64)>);

fn transaction(row: &SqliteRow, id: TransactionId, (items, attempts): Parts) -> Result<Stored, StoreError> {
    let read = Reader::new(row, "wallet_transaction", "id");
    if attempts.is_empty() {
        return Err(read.wrong("id"));
    }
    let (attempts, sends): (Vec<_>, Vec<_>) = attempts.into_iter().unzip();
    let transaction = Transaction {
        id,
        gas_wallet: read.text("gas_wallet")?,
        nonce: read.maybe_number("nonce")?,
        epoch: read.number("epoch")?,
        items,
        state: row::transaction_state(&read, &attempts)?,
        attempts,
        created_at: read.time("created_at")?,
    };
    Ok(Stored { transaction, sends })
}

async fn items(
    connection: &mut SqliteConnection,
    ids: &[TransactionId],
) -> Result<HashMap<TransactionId, Vec<(SettlementId, StepNumber)>>, StoreError> {
    let mut items: HashMap<_, Vec<_>> = HashMap::with_capacity(ids.len());
    for row in items_query(ids).build().fetch_all(connection).await? {
        let read = Reader::new(&row, "transaction_item", "transaction_id");
        let item = (read.settlement("settlement")?, read.small("step")?);
        items.entry(read.transaction("transaction_id")?).or_default().push(item);
    }
    Ok(items)
}

fn items_query(ids: &[TransactionId]) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::<Sqlite>::new(
        "SELECT i.transaction_id, i.settlement, i.step FROM transaction_item i WHERE i.transaction_id IN (",
    );
    row::push_ids(&mut query, ids.iter().map(|id| id.0));
    query.push(") ORDER BY i.transaction_id, i.number");
    query
}

async fn attempts(
    connection: &mut SqliteConnection,
    ids: &[TransactionId],
) -> Result<HashMap<TransactionId, Vec<(Attempt, u64)>>, StoreError> {
    let mut attempts: HashMap<_, Vec<_>> = HashMap::with_capacity(ids.len());
    for row in attempts_query(ids).build().fetch_all(connection).await? {
        let (id, attempt, sends) = row::attempt(&row)?;
        attempts.entry(id).or_default().push((attempt, sends));
    }
    Ok(attempts)
}

fn attempts_query(ids: &[TransactionId]) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::<Sqlite>::new(ATTEMPT);
    query.push(" FROM attempt a JOIN wallet_transaction t ON t.id = a.transaction_id WHERE a.transaction_id IN (");
    row::push_ids(&mut query, ids.iter().map(|id| id.0));
    query.push(") ORDER BY a.transaction_id, a.number");
    query
}

/// The answers to the sends of each attempt of a transaction.
async fn answers(
    connection: &mut SqliteConnection,
    transaction: &Transaction,
    sends: &[u64],
) -> Result<Vec<Sends>, StoreError> {
    let mut query = answers_query(transaction.id);
    let mut answers: HashMap<u32, Vec<SendAnswer>> = HashMap::new();
    for row in query.build().fetch_all(connection).await? {
        let (attempt, answer) = row::answer(&row)?;
        answers.entry(attempt).or_default().push(answer);
    }
    let attempts = (0..).zip(transaction.attempts.iter().zip(sends)).map(|(number, (attempt, count))| {
        let answers = answers.remove(&number).unwrap_or_default();
        Sends { hash: attempt.signed.hash.clone(), count: *count, answers }
    });
    Ok(attempts.collect())
}

fn answers_query(id: TransactionId) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::<Sqlite>::new(
        "SELECT b.transaction_id, b.attempt, b.answer, b.detail, b.at FROM broadcast_answer b WHERE b.transaction_id = ",
    );
    query.push_bind(id.0.as_bytes().to_vec()).push(" ORDER BY b.attempt, b.number");
    query
}

/// Every look-up of this module, for tests of their plans.
#[cfg(test)]
pub(super) fn queries(network: &Network) -> Vec<QueryBuilder<Sqlite>> {
    let (settlement, transaction) = (SettlementId::fresh(), TransactionId::fresh());
    let mut queries = vec![
        open_query(network),
        followed_query(&[settlement, settlement]),
        steps_query(&[settlement, settlement]),
        carriers_query(&[settlement, settlement]),
        transactions_query(&[transaction, transaction]),
        items_query(&[transaction, transaction]),
        attempts_query(&[transaction, transaction]),
        answers_query(transaction),
        QueryBuilder::new(EVENTS),
    ];
    for after in [None, Some(settlement)] {
        queries.extend([unresolved_query(network, after, 1), executable_query(network, after, 1)]);
    }
    queries
}

async fn events(connection: &mut SqliteConnection, id: SettlementId) -> Result<Vec<Event>, StoreError> {
    let rows = sqlx::query(EVENTS).bind(id.0.as_bytes().as_slice()).fetch_all(connection).await?;
    rows.iter().map(row::event).collect()
}
