//! The statements of a commit. Each covers all rows of its kind at once: every
//! statement is a trip to the connection's thread.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use chains_core::{Identity, chain::SignedTransaction, clock::Millis};
use sqlx::{Connection as _, QueryBuilder, Row as _, Sqlite, SqliteConnection};
use uuid::Uuid;

use super::{row::int, writer::Request};
use crate::{
    settlement::{
        SettlementId, State,
        record::{Advanced, Caller, Finished, Key, LandedAttempt, NewSettlement, Outcome, Sent},
    },
    store::StoreError,
};

/// Rows of one statement: 22 columns each must stay below SQLite's 32,766 parameters.
const ROWS_MAX: usize = 512;

/// Answers kept of one attempt, so that one that waits for hours does not
/// fill the disk. The migration and the records say so too.
const ANSWERS_MAX: i64 = 100;

/// Letters kept of an endpoint's text.
const DETAIL_MAX: usize = 500;

/// What a commit decided beyond having happened.
#[derive(Debug, Default)]
pub(super) struct Verdicts {
    /// For each `begin`, in order: its settlements whose payment or whose
    /// caller's key is taken. None: it is stored.
    pub claimed: VecDeque<Vec<SettlementId>>,
    /// Settlements whose success was given away now, to one of those who asked.
    pub delivered: HashSet<SettlementId>,
}

/// Refuses what the columns cannot hold exactly and must.
pub(super) fn check_ranges(settlements: &[NewSettlement]) -> Result<(), StoreError> {
    settlements.iter().try_for_each(|settlement| check_sequence(settlement.signed.as_ref().and_then(|s| s.sequence)))
}

/// Refuses a sequence that its column cannot hold exactly.
pub(super) fn check_sequence(sequence: Option<u64>) -> Result<(), StoreError> {
    match sequence.filter(|sequence| i64::try_from(*sequence).is_err()) {
        Some(value) => Err(StoreError::TooLarge { column: "sequence", value }),
        None => Ok(()),
    }
}

/// Writes a group, all or nothing.
pub(super) async fn transaction(
    connection: &mut SqliteConnection,
    group: &[Request],
    notes: &[Sent],
) -> Result<Verdicts, sqlx::Error> {
    // IMMEDIATE: what is looked up before a write is still true at the write.
    sqlx::query("BEGIN IMMEDIATE").execute(&mut *connection).await?;
    let (mut begins, mut steps, mut finished, mut delivers) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut checks = 0;
    for request in group {
        match request {
            Request::Begin { settlements, .. } => begins.push(settlements.as_slice()),
            Request::Advance { step, .. } => steps.push(step),
            Request::Finish { finished: rows, .. } => finished.extend(rows),
            Request::Deliver { id, at, .. } => delivers.push((*id, *at)),
            Request::Check { .. } => checks += 1,
        }
    }
    let (free, claimed) = sort_out(connection, &begins).await?;
    for rows in free.chunks(ROWS_MAX) {
        begin(connection, rows).await?;
    }
    for step in steps {
        advance(connection, step).await?;
    }
    for rows in notes.chunks(ROWS_MAX) {
        note(connection, rows).await?;
    }
    let mut seen = HashSet::new();
    finished.retain(|row| seen.insert(row.id));
    for rows in finished.chunks(ROWS_MAX) {
        finish(connection, rows).await?;
    }
    let delivered = deliver(connection, &delivers).await?;
    if checks > 0 {
        // Writes one page, so that a full or read-only disk shows.
        sqlx::query("PRAGMA user_version = 1").execute(&mut *connection).await?;
    }
    sqlx::query("COMMIT").execute(connection).await?;
    Ok(Verdicts { claimed, delivered })
}

/// Gives a failed transaction up.
pub(super) async fn rollback(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    sqlx::query("ROLLBACK").execute(connection).await.map(|_| ())
}

/// Moves the log into the file, so that a copy of the file alone is whole.
pub(super) async fn checkpoint(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    connection.clear_cached_statements().await?;
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(connection).await.map(|_| ())
}

/// Says which settlements to store, and for each request which of its own are
/// taken; a request with one of those stores nothing. Of requests for one
/// payment the first has it.
async fn sort_out<'a>(
    connection: &mut SqliteConnection,
    begins: &[&'a [NewSettlement]],
) -> Result<(Vec<&'a NewSettlement>, VecDeque<Vec<SettlementId>>), sqlx::Error> {
    let all: Vec<_> = begins.iter().copied().flatten().collect();
    let mut taken = HashSet::new();
    for rows in all.chunks(ROWS_MAX) {
        look_up(connection, rows, &mut taken).await?;
    }
    let (mut free, mut claimed) = (Vec::with_capacity(all.len()), VecDeque::with_capacity(begins.len()));
    for request in begins {
        let (mut own, mut conflicts) = (HashSet::new(), Vec::new());
        for settlement in *request {
            let names = names(settlement);
            if names.iter().any(|name| taken.contains(name) || own.contains(name)) {
                conflicts.push(settlement.id);
            }
            own.extend(names);
        }
        if conflicts.is_empty() {
            taken.extend(own);
            free.extend(*request);
        }
        claimed.push_back(conflicts);
    }
    Ok((free, claimed))
}

/// What is unique in the store.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Name {
    Payment(Identity),
    Key(Caller),
}

fn names(settlement: &NewSettlement) -> Vec<Name> {
    let mut names = vec![Name::Payment(settlement.identity)];
    if settlement.caller.key.is_some() {
        names.push(Name::Key(settlement.caller.clone()));
    }
    names
}

async fn look_up(
    connection: &mut SqliteConnection,
    rows: &[&NewSettlement],
    taken: &mut HashSet<Name>,
) -> Result<(), sqlx::Error> {
    let mut query = QueryBuilder::<Sqlite>::new("SELECT identity FROM settlement WHERE identity IN (");
    let mut list = query.separated(", ");
    for row in rows {
        list.push_bind(row.identity.as_bytes().as_slice());
    }
    list.push_unseparated(")");
    for row in query.build().fetch_all(&mut *connection).await? {
        if let Ok(bytes) = row.try_get::<&[u8], _>(0)?.try_into() {
            taken.insert(Name::Payment(Identity::from_bytes(bytes)));
        }
    }
    let keyed: Vec<_> = rows.iter().filter(|row| row.caller.key.is_some()).collect();
    if keyed.is_empty() {
        return Ok(());
    }
    // A join, as the database would read the whole index for pairs in a list.
    let mut query = QueryBuilder::<Sqlite>::new("WITH asked (tenant, idempotency_key) AS (");
    query.push_values(keyed, |mut tuple, row| {
        tuple.push_bind(row.caller.tenant.as_str()).push_bind(row.caller.key.as_ref().map(Key::stored));
    });
    query.push(
        ") SELECT s.tenant, s.idempotency_key FROM asked JOIN settlement s ON s.tenant = asked.tenant \
         AND s.idempotency_key = asked.idempotency_key WHERE s.idempotency_key IS NOT NULL",
    );
    for row in query.build().fetch_all(connection).await? {
        taken.insert(Name::Key(Caller {
            tenant: row.try_get(0)?,
            key: row.try_get::<Option<_>, _>(1)?.map(Key::from_stored),
        }));
    }
    Ok(())
}

async fn begin(connection: &mut SqliteConnection, rows: &[&NewSettlement]) -> Result<(), sqlx::Error> {
    insert_settlements(connection, rows).await?;
    // Settlements that share a transaction share its slot, also one of before.
    let mut slots = slots_of(connection, rows.iter().filter_map(|row| row.signed.as_ref())).await?;
    let (mut items, mut firsts) = (Vec::with_capacity(rows.len()), Vec::with_capacity(rows.len()));
    for row in rows {
        let Some(signed) = &row.signed else { continue };
        let slot = *slots.entry(signed.transaction.clone()).or_insert(row.id);
        items.push((slot, row.id));
        if slot == row.id {
            firsts.push((row, signed));
        }
    }
    if items.is_empty() {
        return Ok(());
    }
    if firsts.is_empty() {
        return insert_items(connection, items).await;
    }
    let mut query = QueryBuilder::<Sqlite>::new("INSERT INTO slot (id, network, gas_wallet, sequence, created_at) ");
    query.push_values(&firsts, |mut tuple, (row, signed)| {
        tuple
            .push_bind(row.id.0.as_bytes().as_slice())
            .push_bind(row.network.as_str())
            .push_bind(signed.gas_wallet.as_str())
            .push_bind(signed.sequence.map(int))
            .push_bind(int(row.created_at.0));
    });
    query.build().execute(&mut *connection).await?;
    insert_items(connection, items).await?;
    let mut query = QueryBuilder::<Sqlite>::new(
        "INSERT INTO attempt (transaction_id, slot, number, raw, gas_limit, fee_per_gas_max, tip_per_gas, created_at) ",
    );
    query.push_values(&firsts, |mut tuple, (row, signed)| {
        tuple
            .push_bind(signed.transaction.as_str())
            .push_bind(row.id.0.as_bytes().as_slice())
            .push_bind(0_i64)
            .push_bind(signed.raw.as_slice())
            .push_bind(int(signed.gas_limit))
            .push_bind(signed.fees.per_gas_max.to_string())
            .push_bind(signed.fees.tip_per_gas.to_string())
            .push_bind(int(row.created_at.0));
    });
    query.build().execute(connection).await.map(|_| ())
}

/// The slots of transactions that are stored already. Only those without a
/// sequence can be: the others are signed for one settlement alone.
async fn slots_of(
    connection: &mut SqliteConnection,
    signed: impl Iterator<Item = &SignedTransaction>,
) -> Result<HashMap<String, SettlementId>, sqlx::Error> {
    let names: Vec<_> = signed.filter(|signed| signed.sequence.is_none()).map(|s| s.transaction.as_str()).collect();
    if names.is_empty() {
        return Ok(HashMap::new());
    }
    let mut query = QueryBuilder::<Sqlite>::new("SELECT transaction_id, slot FROM attempt WHERE transaction_id IN (");
    let mut list = query.separated(", ");
    for name in names {
        list.push_bind(name);
    }
    list.push_unseparated(")");
    let rows: Vec<(String, Vec<u8>)> = query.build_query_as().fetch_all(connection).await?;
    let slot = |bytes: Vec<u8>| bytes.try_into().ok().map(|bytes| SettlementId(Uuid::from_bytes(bytes)));
    Ok(rows.into_iter().filter_map(|(name, bytes)| Some((name, slot(bytes)?))).collect())
}

async fn insert_items(
    connection: &mut SqliteConnection,
    items: Vec<(SettlementId, SettlementId)>,
) -> Result<(), sqlx::Error> {
    let mut query = QueryBuilder::<Sqlite>::new("INSERT INTO slot_item (slot, settlement) ");
    query.push_values(items, |mut tuple, (slot, settlement)| {
        tuple.push_bind(slot.0.as_bytes().to_vec()).push_bind(settlement.0.as_bytes().to_vec());
    });
    query.build().execute(connection).await.map(|_| ())
}

/// One step of one settlement; few payments have any.
async fn advance(connection: &mut SqliteConnection, step: &Advanced) -> Result<(), sqlx::Error> {
    let Advanced { id, landed, plan, signed, at } = step;
    let settlement = id.0.as_bytes().as_slice();
    land(connection, vec![(*id, landed)]).await?;
    let leave = "UPDATE slot_item SET live = 0 WHERE settlement = ? AND live = 1";
    sqlx::query(leave).bind(settlement).execute(&mut *connection).await?;
    let there = slots_of(connection, std::iter::once(signed)).await?.remove(&signed.transaction);
    let slot = there.unwrap_or_else(|| SettlementId(Uuid::now_v7()));
    if there.is_none() {
        let place = "INSERT INTO slot (id, network, gas_wallet, sequence, created_at) \
             SELECT ?, network, ?, ?, ? FROM settlement WHERE id = ?";
        let place = sqlx::query(place).bind(slot.0.as_bytes().as_slice()).bind(signed.gas_wallet.as_str());
        let place = place.bind(signed.sequence.map(int)).bind(int(at.0)).bind(settlement);
        place.execute(&mut *connection).await?;
        let attempt = "INSERT INTO attempt (transaction_id, slot, number, raw, gas_limit, fee_per_gas_max, \
             tip_per_gas, created_at) VALUES (?, ?, 0, ?, ?, ?, ?, ?)";
        let attempt = sqlx::query(attempt).bind(signed.transaction.as_str()).bind(slot.0.as_bytes().as_slice());
        let attempt = attempt.bind(signed.raw.as_slice()).bind(int(signed.gas_limit));
        let attempt = attempt.bind(signed.fees.per_gas_max.to_string()).bind(signed.fees.tip_per_gas.to_string());
        attempt.bind(int(at.0)).execute(&mut *connection).await?;
    }
    insert_items(connection, vec![(slot, *id)]).await?;
    let plan_now = "UPDATE settlement SET plan_gas_wallet = ?, plan_body = ?, plan_valid_before = ?, updated_at = ? \
         WHERE id = ?";
    let plan_now = sqlx::query(plan_now).bind(plan.gas_wallet.as_deref()).bind(plan.body.as_str());
    let plan_now = plan_now.bind(plan.valid_before.map(int)).bind(int(at.0)).bind(settlement);
    plan_now.execute(connection).await.map(|_| ())
}

async fn insert_settlements(connection: &mut SqliteConnection, rows: &[&NewSettlement]) -> Result<(), sqlx::Error> {
    let mut query = QueryBuilder::<Sqlite>::new(
        "INSERT INTO settlement (id, identity, fingerprint, tenant, idempotency_key, state, network, scheme, payer, \
         pay_to, asset, amount, nonce, claimed_at, plan_gas_wallet, plan_body, plan_valid_before, \
         delivered_at, created_at, updated_at) ",
    );
    query.push_values(rows, |mut tuple, row| {
        let state = if row.signed.is_some() { State::Signed } else { State::Settled };
        tuple
            .push_bind(row.id.0.as_bytes().as_slice())
            .push_bind(row.identity.as_bytes().as_slice())
            .push_bind(row.fingerprint.as_bytes().as_slice())
            .push_bind(row.caller.tenant.as_str())
            .push_bind(row.caller.key.as_ref().map(Key::stored))
            .push_bind(state.as_str())
            .push_bind(row.network.as_str())
            .push_bind(row.scheme.as_str())
            .push_bind(row.payer.as_str())
            .push_bind(row.pay_to.as_str())
            .push_bind(row.asset.as_str())
            .push_bind(row.amount.to_string())
            .push_bind(row.nonce.as_str())
            .push_bind(int(row.claimed_at))
            .push_bind(row.plan.gas_wallet.as_deref())
            .push_bind(row.plan.body.as_str())
            .push_bind(row.plan.valid_before.map(int))
            .push_bind(row.signed.is_none().then(|| int(row.created_at.0)))
            .push_bind(int(row.created_at.0))
            .push_bind(int(row.created_at.0));
    });
    query.build().execute(connection).await.map(|_| ())
}

async fn note(connection: &mut SqliteConnection, notes: &[Sent]) -> Result<(), sqlx::Error> {
    let (mut sent, mut counts) = (BTreeMap::new(), BTreeMap::new());
    for note in notes {
        sent.insert(note.id, note.at);
        let count: &mut (i64, Millis) = counts.entry(note.transaction.as_str()).or_insert((0, note.at));
        *count = (count.0 + 1, note.at);
    }
    let mut query = QueryBuilder::<Sqlite>::new("WITH sent (id, at) AS (");
    query.push_values(sent, |mut tuple, (id, at)| {
        tuple.push_bind(id.0.as_bytes().to_vec()).push_bind(int(at.0));
    });
    query.push(
        ") UPDATE settlement SET state = 'broadcast', updated_at = sent.at FROM sent \
         WHERE settlement.id = sent.id AND settlement.state = 'signed'",
    );
    query.build().execute(&mut *connection).await?;
    let mut query = QueryBuilder::<Sqlite>::new("WITH sent (transaction_id, answer, detail, at) AS (");
    query.push_values(notes, |mut tuple, note| {
        tuple
            .push_bind(note.transaction.as_str())
            .push_bind(note.answer)
            .push_bind(note.detail.chars().take(DETAIL_MAX).collect::<String>())
            .push_bind(int(note.at.0));
    });
    query.push(
        ") INSERT INTO broadcast_answer (transaction_id, answer, detail, at) \
         SELECT sent.transaction_id, sent.answer, sent.detail, sent.at FROM sent \
         JOIN attempt ON attempt.transaction_id = sent.transaction_id WHERE attempt.sends < ",
    );
    query.push_bind(ANSWERS_MAX);
    query.build().execute(&mut *connection).await?;
    let mut query = QueryBuilder::<Sqlite>::new("WITH sent (transaction_id, sends, at) AS (");
    query.push_values(counts, |mut tuple, (transaction, (sends, at))| {
        tuple.push_bind(transaction).push_bind(sends).push_bind(int(at.0));
    });
    query.push(
        ") UPDATE attempt SET sends = attempt.sends + sent.sends, last_sent_at = sent.at FROM sent \
         WHERE attempt.transaction_id = sent.transaction_id",
    );
    query.build().execute(connection).await.map(|_| ())
}

async fn finish(connection: &mut SqliteConnection, finished: &[&Finished]) -> Result<(), sqlx::Error> {
    let mut query = QueryBuilder::<Sqlite>::new(
        "WITH done (id, state, final_transaction, block_number, block_hash, reason, message, delivered_at, at) AS (",
    );
    query.push_values(finished, |mut tuple, row| {
        let (transaction, block, reason, message) = match &row.outcome {
            Outcome::Settled { transaction, block } => (Some(transaction), Some(block), None, None),
            Outcome::NothingToSend => (None, None, None, None),
            Outcome::Failed { reason, message, transaction, block } => {
                (transaction.as_ref(), block.as_ref(), Some(reason), Some(message))
            }
        };
        let given = row.delivered && row.outcome.state() == State::Settled;
        tuple
            .push_bind(row.id.0.as_bytes().as_slice())
            .push_bind(row.outcome.state().as_str())
            .push_bind(transaction)
            .push_bind(block.map(|block| int(block.number)))
            .push_bind(block.map(|block| block.hash.as_str()))
            .push_bind(reason)
            .push_bind(message)
            .push_bind(given.then(|| int(row.at.0)))
            .push_bind(int(row.at.0));
    });
    query.push(
        ") UPDATE settlement SET state = done.state, final_transaction = done.final_transaction, \
         final_block_number = done.block_number, final_block_hash = done.block_hash, reason = done.reason, \
         message = done.message, delivered_at = done.delivered_at, updated_at = done.at FROM done \
         WHERE settlement.id = done.id AND settlement.state IN ('signed', 'broadcast') RETURNING id",
    );
    let changed: HashSet<Vec<u8>> = query.build_query_scalar().fetch_all(&mut *connection).await?.into_iter().collect();
    let landed: Vec<_> = finished
        .iter()
        .filter(|row| changed.contains(row.id.0.as_bytes().as_slice()))
        .filter_map(|row| Some((row.id, row.landed.as_ref()?)))
        .collect();
    if landed.is_empty() { Ok(()) } else { land(connection, landed).await }
}

async fn land(
    connection: &mut SqliteConnection,
    landed: Vec<(SettlementId, &LandedAttempt)>,
) -> Result<(), sqlx::Error> {
    let mut query = QueryBuilder::<Sqlite>::new(
        "WITH landed (settlement, transaction_id, block_number, block_hash, fee_paid, gas_used) AS (",
    );
    query.push_values(landed, |mut tuple, (id, landed)| {
        tuple
            .push_bind(id.0.as_bytes().to_vec())
            .push_bind(landed.transaction.as_str())
            .push_bind(int(landed.block.number))
            .push_bind(landed.block.hash.as_str())
            .push_bind(landed.fee_paid.to_string())
            .push_bind(int(landed.gas_used));
    });
    query.push(
        ") UPDATE attempt SET block_number = landed.block_number, block_hash = landed.block_hash, \
         fee_paid = landed.fee_paid, gas_used = landed.gas_used FROM landed \
         WHERE attempt.transaction_id = landed.transaction_id AND EXISTS (SELECT 1 FROM slot_item \
         WHERE slot_item.slot = attempt.slot AND slot_item.settlement = landed.settlement)",
    );
    query.build().execute(connection).await.map(|_| ())
}

async fn deliver(
    connection: &mut SqliteConnection,
    delivers: &[(SettlementId, Millis)],
) -> Result<HashSet<SettlementId>, sqlx::Error> {
    // One caller of a group: `true` goes to one.
    let wanted: BTreeMap<_, _> = delivers.iter().rev().copied().collect();
    if wanted.is_empty() {
        return Ok(HashSet::new());
    }
    let mut query = QueryBuilder::<Sqlite>::new("WITH given (id, at) AS (");
    query.push_values(&wanted, |mut tuple, (id, at)| {
        tuple.push_bind(id.0.as_bytes().as_slice()).push_bind(int(at.0));
    });
    query.push(
        ") UPDATE settlement SET delivered_at = given.at, updated_at = given.at FROM given \
         WHERE settlement.id = given.id AND settlement.state = 'settled' AND settlement.delivered_at IS NULL \
         RETURNING id",
    );
    let changed: HashSet<Vec<u8>> = query.build_query_scalar().fetch_all(connection).await?.into_iter().collect();
    Ok(wanted.into_keys().filter(|id| changed.contains(id.0.as_bytes().as_slice())).collect())
}
