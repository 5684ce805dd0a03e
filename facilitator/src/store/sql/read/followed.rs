//! Settlements with their steps and transactions.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chains_core::{Network, clock::Millis};

use crate::{
    settlement::{
        Attempt, Record, SettlementId, Step, StepNumber, Timeline, Transaction, TransactionId,
        record::{Event, Followed, SendAnswer, Sends},
    },
    store::{
        StoreError,
        sql::{
            database::{Pool, Row, Session},
            row::{self, ATTEMPT, RECORD, Reader, STEP, int},
            statement::{Dialect, Statement},
        },
    },
};

/// Ids of one statement.
const IDS_MAX: usize = 512;

pub(super) const EVENTS: &str =
    "SELECT e.settlement, e.kind, e.detail, e.at FROM event e WHERE e.settlement = $1 ORDER BY e.number";

/// A transaction, and how often each of its attempts was sent, oldest first.
pub(super) struct Stored {
    pub transaction: Transaction,
    sends: Vec<u64>,
}

pub(in crate::store::sql) async fn open_settlements(
    pool: &Pool,
    network: &Network,
) -> Result<Vec<Followed>, StoreError> {
    followed(pool, open_query(pool.dialect(), network)).await
}

fn open_query(dialect: Dialect, network: &Network) -> Statement<'_> {
    let mut query = records(dialect, network, "settlement_open");
    query.push(" AND s.state IN ('signed', 'broadcast') ORDER BY s.id");
    query
}

pub(in crate::store::sql) async fn unresolved(
    pool: &Pool,
    network: &Network,
    after: Option<SettlementId>,
    limit: u32,
) -> Result<Vec<Followed>, StoreError> {
    followed(pool, unresolved_query(pool.dialect(), network, after, limit)).await
}

fn unresolved_query(dialect: Dialect, network: &Network, after: Option<SettlementId>, limit: u32) -> Statement<'_> {
    let mut query = records(dialect, network, "settlement_unresolved");
    query.push(" AND s.state = 'unresolved'");
    page(&mut query, after, limit);
    query
}

pub(in crate::store::sql) async fn executable(
    pool: &Pool,
    network: &Network,
    after: Option<SettlementId>,
    limit: u32,
) -> Result<Vec<Followed>, StoreError> {
    followed(pool, executable_query(pool.dialect(), network, after, limit)).await
}

fn executable_query(dialect: Dialect, network: &Network, after: Option<SettlementId>, limit: u32) -> Statement<'_> {
    let mut query = records(dialect, network, "settlement_executable");
    query.push(" AND s.state = 'failed' AND s.finalized_at IS NULL AND s.executable_until IS NOT NULL");
    page(&mut query, after, limit);
    query
}

pub(in crate::store::sql) async fn failed_by_block(
    pool: &Pool,
    network: &Network,
    since: Millis,
    after: Option<SettlementId>,
    limit: u32,
) -> Result<Vec<Followed>, StoreError> {
    followed(pool, failed_query(pool.dialect(), network, since, after, limit)).await
}

fn failed_query(
    dialect: Dialect,
    network: &Network,
    since: Millis,
    after: Option<SettlementId>,
    limit: u32,
) -> Statement<'_> {
    let mut query = records(dialect, network, "settlement_failed_by_end");
    query.push(" AND s.state = 'failed' AND s.ended_at >= ").bind(int(since.0));
    query.push(" AND s.finalized_at IS NULL AND s.executable_until IS NULL AND s.final_block_number IS NOT NULL");
    page(&mut query, after, limit);
    query
}

/// Settlements by their ids, oldest first.
pub(in crate::store::sql) async fn followed_of(pool: &Pool, ids: &[SettlementId]) -> Result<Vec<Followed>, StoreError> {
    let mut found = Vec::with_capacity(ids.len());
    for ids in ids.chunks(IDS_MAX) {
        found.extend(followed(pool, followed_query(pool.dialect(), ids)).await?);
    }
    found.sort_by_key(|followed| followed.facts.id);
    Ok(found)
}

fn followed_query(dialect: Dialect, ids: &[SettlementId]) -> Statement<'static> {
    let mut query = Statement::new(dialect, RECORD);
    query.push(" FROM settlement s WHERE s.id");
    query.is_one_of(ids.iter().map(|id| id.0));
    query
}

pub(in crate::store::sql) async fn timeline(pool: &Pool, id: SettlementId) -> Result<Option<Timeline>, StoreError> {
    let mut moment = pool.moment().await?;
    let mut session = moment.session();
    let mut query = Statement::new(pool.dialect(), RECORD);
    query.push(" FROM settlement s WHERE s.id = ").bind(id);
    let Some(row) = session.first(query).await? else {
        moment.end().await?;
        return Ok(None);
    };
    let record = row::record(&row)?;
    let steps = steps(&mut session, &[id]).await?.remove(&id).unwrap_or_default();
    let carriers = carriers(&mut session, &[id]).await?.remove(&id).unwrap_or_default();
    let stored = transactions(&mut session, &carriers.into_iter().collect::<Vec<_>>()).await?;
    let mut told = Vec::with_capacity(stored.len());
    for Stored { transaction, sends } in stored.into_values() {
        let sends = answers(&mut session, &transaction, &sends).await?;
        told.push((transaction, sends));
    }
    let events = events(&mut session, id).await?;
    moment.end().await?;
    Ok(Some(Timeline { record, steps, transactions: told, events }))
}

/// Records of a network, read by the index that holds only those that are asked for.
fn records<'a>(dialect: Dialect, network: &'a Network, index: &str) -> Statement<'a> {
    let mut query = Statement::new(dialect, RECORD);
    query.push(" FROM settlement s").push(&dialect.by_index(index));
    query.push(" WHERE s.network = ").bind(network.as_str());
    query
}

fn page(query: &mut Statement<'_>, after: Option<SettlementId>, limit: u32) {
    if let Some(after) = after {
        query.push(" AND s.id > ").bind(after);
    }
    query.push(" ORDER BY s.id LIMIT ").bind(i64::from(limit));
}

async fn followed(pool: &Pool, query: Statement<'_>) -> Result<Vec<Followed>, StoreError> {
    let mut moment = pool.moment().await?;
    let mut session = moment.session();
    let rows = session.all(query).await?;
    let records: Result<Vec<_>, _> = rows.iter().map(row::record).collect();
    let records = records?;
    let ids: Vec<_> = records.iter().map(Record::id).collect();
    let mut steps = steps(&mut session, &ids).await?;
    let carriers = carriers(&mut session, &ids).await?;
    let wanted: BTreeSet<_> = carriers.values().flatten().copied().collect();
    let stored = transactions(&mut session, &wanted.into_iter().collect::<Vec<_>>()).await?;
    moment.end().await?;
    let follow = |record: Record| {
        let carriers = carriers.get(&record.id()).into_iter().flatten();
        let transactions = carriers.filter_map(|id| Some(stored.get(id)?.transaction.clone())).collect();
        let steps = steps.remove(&record.id()).unwrap_or_default();
        Followed { facts: record.facts, state: record.state, steps, transactions }
    };
    Ok(records.into_iter().map(follow).collect())
}

async fn steps(
    session: &mut Session<'_>,
    ids: &[SettlementId],
) -> Result<HashMap<SettlementId, Vec<Step>>, StoreError> {
    let mut steps: HashMap<_, Vec<_>> = HashMap::with_capacity(ids.len());
    for ids in ids.chunks(IDS_MAX) {
        for row in session.all(steps_query(session.dialect(), ids)).await? {
            let (id, step) = row::step(&row)?;
            steps.entry(id).or_default().push(step);
        }
    }
    Ok(steps)
}

fn steps_query(dialect: Dialect, ids: &[SettlementId]) -> Statement<'static> {
    let mut query = Statement::new(dialect, STEP);
    query.push(" FROM step p WHERE p.settlement");
    query.is_one_of(ids.iter().map(|id| id.0)).push(" ORDER BY p.settlement, p.number");
    query
}

/// The transactions that carry or carried these settlements, oldest first.
async fn carriers(
    session: &mut Session<'_>,
    ids: &[SettlementId],
) -> Result<HashMap<SettlementId, BTreeSet<TransactionId>>, StoreError> {
    let mut carriers: HashMap<_, BTreeSet<_>> = HashMap::with_capacity(ids.len());
    for ids in ids.chunks(IDS_MAX) {
        for row in session.all(carriers_query(session.dialect(), ids)).await? {
            let read = Reader::new(&row, "transaction_item", "settlement");
            carriers.entry(read.settlement("settlement")?).or_default().insert(read.transaction("transaction_id")?);
        }
    }
    Ok(carriers)
}

fn carriers_query(dialect: Dialect, ids: &[SettlementId]) -> Statement<'static> {
    let mut query =
        Statement::new(dialect, "SELECT i.settlement, i.transaction_id FROM transaction_item i WHERE i.settlement");
    query.is_one_of(ids.iter().map(|id| id.0));
    query
}

/// Transactions with their items and attempts, oldest first.
pub(super) async fn transactions(
    session: &mut Session<'_>,
    ids: &[TransactionId],
) -> Result<BTreeMap<TransactionId, Stored>, StoreError> {
    let mut stored = BTreeMap::new();
    for ids in ids.chunks(IDS_MAX) {
        let mut items = items(session, ids).await?;
        let mut attempts = attempts(session, ids).await?;
        for row in session.all(transactions_query(session.dialect(), ids)).await? {
            let id = Reader::new(&row, "wallet_transaction", "id").transaction("id")?;
            let of_it = (items.remove(&id).unwrap_or_default(), attempts.remove(&id).unwrap_or_default());
            stored.insert(id, transaction(&row, id, of_it)?);
        }
    }
    Ok(stored)
}

fn transactions_query(dialect: Dialect, ids: &[TransactionId]) -> Statement<'static> {
    let mut query = Statement::new(
        dialect,
        "SELECT t.id, t.gas_wallet, t.nonce, t.epoch, t.state, t.dead_why, t.created_at \
         FROM wallet_transaction t WHERE t.id",
    );
    query.is_one_of(ids.iter().map(|id| id.0));
    query
}

type Parts = (Vec<(SettlementId, StepNumber)>, Vec<(Attempt, u64)>);

fn transaction(row: &Row, id: TransactionId, (items, attempts): Parts) -> Result<Stored, StoreError> {
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
    session: &mut Session<'_>,
    ids: &[TransactionId],
) -> Result<HashMap<TransactionId, Vec<(SettlementId, StepNumber)>>, StoreError> {
    let mut items: HashMap<_, Vec<_>> = HashMap::with_capacity(ids.len());
    for row in session.all(items_query(session.dialect(), ids)).await? {
        let read = Reader::new(&row, "transaction_item", "transaction_id");
        let item = (read.settlement("settlement")?, read.small("step")?);
        items.entry(read.transaction("transaction_id")?).or_default().push(item);
    }
    Ok(items)
}

fn items_query(dialect: Dialect, ids: &[TransactionId]) -> Statement<'static> {
    let mut query = Statement::new(
        dialect,
        "SELECT i.transaction_id, i.settlement, i.step FROM transaction_item i WHERE i.transaction_id",
    );
    query.is_one_of(ids.iter().map(|id| id.0)).push(" ORDER BY i.transaction_id, i.number");
    query
}

async fn attempts(
    session: &mut Session<'_>,
    ids: &[TransactionId],
) -> Result<HashMap<TransactionId, Vec<(Attempt, u64)>>, StoreError> {
    let mut attempts: HashMap<_, Vec<_>> = HashMap::with_capacity(ids.len());
    for row in session.all(attempts_query(session.dialect(), ids)).await? {
        let (id, attempt, sends) = row::attempt(&row)?;
        attempts.entry(id).or_default().push((attempt, sends));
    }
    Ok(attempts)
}

fn attempts_query(dialect: Dialect, ids: &[TransactionId]) -> Statement<'static> {
    let mut query = Statement::new(dialect, ATTEMPT);
    query.push(" FROM attempt a JOIN wallet_transaction t ON t.id = a.transaction_id WHERE a.transaction_id");
    query.is_one_of(ids.iter().map(|id| id.0)).push(" ORDER BY a.transaction_id, a.number");
    query
}

/// The answers to the sends of each attempt of a transaction.
async fn answers(
    session: &mut Session<'_>,
    transaction: &Transaction,
    sends: &[u64],
) -> Result<Vec<Sends>, StoreError> {
    let mut answers: HashMap<u32, Vec<SendAnswer>> = HashMap::new();
    for row in session.all(answers_query(session.dialect(), transaction.id)).await? {
        let (attempt, answer) = row::answer(&row)?;
        answers.entry(attempt).or_default().push(answer);
    }
    let attempts = (0..).zip(transaction.attempts.iter().zip(sends)).map(|(number, (attempt, count))| {
        let answers = answers.remove(&number).unwrap_or_default();
        Sends { hash: attempt.signed.hash.clone(), count: *count, answers }
    });
    Ok(attempts.collect())
}

fn answers_query(dialect: Dialect, id: TransactionId) -> Statement<'static> {
    let mut query = Statement::new(
        dialect,
        "SELECT b.transaction_id, b.attempt, b.answer, b.detail, b.at FROM broadcast_answer b WHERE b.transaction_id = ",
    );
    query.bind(id).push(" ORDER BY b.attempt, b.number");
    query
}

/// Every look-up of this module, for tests of their plans.
#[cfg(test)]
pub(super) fn queries(dialect: Dialect, network: &Network) -> Vec<Statement<'_>> {
    let (settlement, transaction) = (SettlementId::fresh(), TransactionId::fresh());
    let mut queries = vec![
        open_query(dialect, network),
        followed_query(dialect, &[settlement, settlement]),
        steps_query(dialect, &[settlement, settlement]),
        carriers_query(dialect, &[settlement, settlement]),
        transactions_query(dialect, &[transaction, transaction]),
        items_query(dialect, &[transaction, transaction]),
        attempts_query(dialect, &[transaction, transaction]),
        answers_query(dialect, transaction),
        Statement::new(dialect, EVENTS),
    ];
    for after in [None, Some(settlement)] {
        queries.extend([unresolved_query(dialect, network, after, 1), executable_query(dialect, network, after, 1)]);
        queries.push(failed_query(dialect, network, Millis(1), after, 1));
    }
    queries
}

async fn events(session: &mut Session<'_>, id: SettlementId) -> Result<Vec<Event>, StoreError> {
    let rows = session.all(Statement::of(session.dialect(), EVENTS, [id.into()])).await?;
    rows.iter().map(row::event).collect()
}
