//! Payments and their transactions.

use std::collections::{HashMap, HashSet};

use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

use super::{NOT_ENDED, ROWS_MAX, events::Events, time};
use crate::{
    settlement::{Attempt, Key, Recipient, SettlementId, Status, StepNumber, TransactionId},
    store::sqlite::{
        group::{Batch, Carry, Claim},
        row::int,
    },
};

/// Stores payments and their first steps.
pub(super) async fn claims(
    connection: &mut SqliteConnection,
    batch: &Batch<'_>,
    events: &mut Events,
) -> Result<(), sqlx::Error> {
    let carriers: HashMap<_, _> = batch.carries.iter().flat_map(carried).collect();
    for rows in batch.claims.chunks(ROWS_MAX) {
        insert_settlements(connection, rows).await?;
        insert_steps(connection, rows, &carriers).await?;
    }
    for Claim { facts, plan, carried } in &batch.claims {
        match plan {
            Some(_) if !carried => events.add(facts.id, "claimed", "", facts.created_at),
            Some(_) => {}
            None => events.add(facts.id, "settled", "", facts.created_at),
        }
    }
    Ok(())
}

fn carried<'a>(carry: &'a Carry<'a>) -> impl Iterator<Item = ((SettlementId, StepNumber), TransactionId)> + 'a {
    carry.transaction.items.iter().map(|item| (*item, carry.transaction.id))
}

async fn insert_settlements(connection: &mut SqliteConnection, rows: &[Claim<'_>]) -> Result<(), sqlx::Error> {
    let mut query = QueryBuilder::<Sqlite>::new(
        "INSERT INTO settlement (id, identity, fingerprint, tenant, idempotency_key, request_id, state, network, scheme, \
         payer, payer_code, pay_to, asset, amount, nonce, claimed_block, delivered_at, delivered_to, ended_at, \
         finalized_at, created_at, updated_at) ",
    );
    query.push_values(rows, |mut tuple, Claim { facts, plan, .. }| {
        // A payment that asks for nothing has its end at once, for good.
        let state = if plan.is_some() { Status::Signed } else { Status::Settled };
        let ended = plan.is_none().then(|| time(facts.created_at));
        tuple
            .push_bind(facts.id.0.as_bytes().as_slice())
            .push_bind(facts.identity.as_bytes().as_slice())
            .push_bind(facts.fingerprint.as_bytes().as_slice())
            .push_bind(facts.caller.tenant.as_str())
            .push_bind(facts.caller.key.as_ref().map(Key::stored))
            .push_bind(facts.request_id.as_str())
            .push_bind(state.as_str())
            .push_bind(facts.network.as_str())
            .push_bind(facts.scheme.as_str())
            .push_bind(facts.payer.as_str())
            .push_bind(facts.payer_code.as_deref())
            .push_bind(facts.pay_to.as_str())
            .push_bind(facts.asset.as_str())
            .push_bind(facts.amount.to_string())
            .push_bind(facts.nonce.as_str())
            .push_bind(int(facts.claimed_block))
            .push_bind(ended)
            .push_bind(ended.map(|_| Recipient::Caller.as_str()))
            .push_bind(ended)
            .push_bind(ended)
            .push_bind(time(facts.created_at))
            .push_bind(time(facts.created_at));
    });
    query.build().execute(connection).await.map(|_| ())
}

async fn insert_steps(
    connection: &mut SqliteConnection,
    rows: &[Claim<'_>],
    carriers: &HashMap<(SettlementId, StepNumber), TransactionId>,
) -> Result<(), sqlx::Error> {
    let steps: Vec<_> = rows.iter().filter_map(|claim| Some((claim.facts.id, claim.plan?))).collect();
    if steps.is_empty() {
        return Ok(());
    }
    let mut query = QueryBuilder::<Sqlite>::new(
        "INSERT INTO step (settlement, number, state, transaction_id, gas_wallet, plan, valid_before) ",
    );
    query.push_values(steps, |mut tuple, (id, plan)| {
        let carrier = carriers.get(&(id, 0));
        tuple
            .push_bind(id.0.as_bytes().to_vec())
            .push_bind(0_i64)
            .push_bind(if carrier.is_some() { "carried" } else { "waiting" })
            .push_bind(carrier.map(|carrier| carrier.0.as_bytes().as_slice()))
            .push_bind(plan.gas_wallet.as_deref())
            .push_bind(plan.body())
            .push_bind(plan.valid_before.map(int));
    });
    query.build().execute(connection).await.map(|_| ())
}

/// Stores transactions with their attempts, and puts the steps in their hands.
pub(super) async fn carries(
    connection: &mut SqliteConnection,
    batch: &Batch<'_>,
    events: &mut Events,
) -> Result<(), sqlx::Error> {
    let fresh: HashSet<_> = batch.claims.iter().map(|claim| claim.facts.id).collect();
    for rows in batch.carries.chunks(ROWS_MAX) {
        insert_transactions(connection, rows).await?;
    }
    let items: Vec<_> = batch.carries.iter().flat_map(Item::of).collect();
    for rows in items.chunks(ROWS_MAX) {
        insert_items(connection, rows).await?;
    }
    let attempts = batch.carries.iter().flat_map(|carry| {
        let attempts = (0..).zip(&carry.transaction.attempts);
        attempts.map(|(number, attempt)| (carry.transaction.id, number, attempt))
    });
    for rows in attempts.collect::<Vec<_>>().chunks(ROWS_MAX) {
        insert_attempts(connection, rows).await?;
    }
    let stored: Vec<_> = items.iter().filter(|item| item.step != 0 || !fresh.contains(&item.settlement)).collect();
    for rows in stored.chunks(ROWS_MAX) {
        carry_stored_steps(connection, rows).await?;
    }
    for item in items {
        events.add(item.settlement, "signed", &item.carry.transaction.newest().hash, item.carry.at);
    }
    Ok(())
}

async fn insert_transactions(connection: &mut SqliteConnection, rows: &[Carry<'_>]) -> Result<(), sqlx::Error> {
    let mut query = QueryBuilder::<Sqlite>::new(
        "INSERT INTO wallet_transaction (id, network, gas_wallet, nonce, epoch, state, created_at) ",
    );
    query.push_values(rows, |mut tuple, Carry { transaction, network, .. }| {
        tuple
            .push_bind(transaction.id.0.as_bytes().as_slice())
            .push_bind(network.as_str())
            .push_bind(transaction.gas_wallet.as_str())
            .push_bind(transaction.nonce.map(int))
            .push_bind(int(transaction.epoch))
            .push_bind("open")
            .push_bind(time(transaction.created_at));
    });
    query.build().execute(connection).await.map(|_| ())
}

/// A step in the hands of a transaction.
struct Item<'a> {
    carry: &'a Carry<'a>,
    place: i64,
    settlement: SettlementId,
    step: StepNumber,
}

impl<'a> Item<'a> {
    fn of(carry: &'a Carry<'a>) -> impl Iterator<Item = Self> {
        let items = (0..).zip(&carry.transaction.items);
        items.map(move |(place, (settlement, step))| Self { carry, place, settlement: *settlement, step: *step })
    }
}

async fn insert_items(connection: &mut SqliteConnection, rows: &[Item<'_>]) -> Result<(), sqlx::Error> {
    let mut query =
        QueryBuilder::<Sqlite>::new("INSERT INTO transaction_item (transaction_id, number, settlement, step, live) ");
    query.push_values(rows, |mut tuple, item| {
        tuple
            .push_bind(item.carry.transaction.id.0.as_bytes().as_slice())
            .push_bind(item.place)
            .push_bind(item.settlement.0.as_bytes().as_slice())
            .push_bind(i64::from(item.step))
            .push_bind(1_i64);
    });
    query.build().execute(connection).await.map(|_| ())
}

/// Stores attempts of transactions under their numbers.
pub(super) async fn insert_attempts(
    connection: &mut SqliteConnection,
    rows: &[(TransactionId, i64, &Attempt)],
) -> Result<(), sqlx::Error> {
    let mut query = QueryBuilder::<Sqlite>::new(
        "INSERT INTO attempt (transaction_id, number, hash, kind, raw, fee_terms, fee_amount_max, created_at) ",
    );
    query.push_values(rows, |mut tuple, (transaction, number, attempt)| {
        tuple
            .push_bind(transaction.0.as_bytes().as_slice())
            .push_bind(*number)
            .push_bind(attempt.signed.hash.as_str())
            .push_bind(attempt.kind.as_str())
            .push_bind(attempt.signed.raw.as_slice())
            .push_bind(attempt.signed.fee.terms.as_str())
            .push_bind(attempt.signed.fee.amount_max.to_string())
            .push_bind(time(attempt.created_at));
    });
    query.build().execute(connection).await.map(|_| ())
}

/// Puts steps that were stored before in the hands of their transactions. The
/// new bytes are not sent yet, so their settlements are signed again.
async fn carry_stored_steps(connection: &mut SqliteConnection, rows: &[&Item<'_>]) -> Result<(), sqlx::Error> {
    let mut query = QueryBuilder::<Sqlite>::new("WITH taken (settlement, number, transaction_id) AS (");
    query.push_values(rows, |mut tuple, item| {
        tuple
            .push_bind(item.settlement.0.as_bytes().as_slice())
            .push_bind(i64::from(item.step))
            .push_bind(item.carry.transaction.id.0.as_bytes().as_slice());
    });
    query.push(
        ") UPDATE step SET state = 'carried', transaction_id = taken.transaction_id FROM taken \
         WHERE step.settlement = taken.settlement AND step.number = taken.number AND step.state = 'waiting'",
    );
    query.build().execute(&mut *connection).await?;
    let mut query = QueryBuilder::<Sqlite>::new("WITH taken (settlement, at) AS (");
    query.push_values(rows, |mut tuple, item| {
        tuple.push_bind(item.settlement.0.as_bytes().as_slice()).push_bind(time(item.carry.at));
    });
    query.push(
        ") UPDATE settlement SET state = 'signed', unresolved_why = NULL, updated_at = taken.at FROM taken \
         WHERE settlement.id = taken.settlement AND settlement.state IN ",
    );
    query.push(NOT_ENDED);
    query.build().execute(connection).await.map(|_| ())
}
