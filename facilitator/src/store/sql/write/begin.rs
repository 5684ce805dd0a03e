//! Payments and their transactions.

use std::collections::{HashMap, HashSet};

use super::{NOT_ENDED, ROWS_MAX, events::Events, time};
use crate::{
    settlement::{Attempt, Key, Recipient, SettlementId, Status, StepNumber, TransactionId},
    store::{
        StoreError,
        sql::{
            database::Session,
            group::{Batch, Carry, Claim},
            joint::Rows,
            row::int,
            statement::Statement,
        },
    },
};

/// Stores payments and their first steps.
pub(super) async fn claims(
    session: &mut Session<'_>,
    batch: &mut Batch<'_>,
    events: &mut Events,
) -> Result<(), StoreError> {
    // Whoever claims several payments claims them in one order: two that claim
    // the same ones wait for each other in turn, never in a circle.
    batch.claims.sort_by_key(|claim| *claim.facts.identity.as_bytes());
    let carriers: HashMap<_, _> = batch.carries.iter().flat_map(carried).collect();
    for rows in batch.claims.chunks(ROWS_MAX) {
        insert_settlements(session, rows).await?;
        insert_steps(session, rows, &carriers).await?;
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

/// The columns of a payment that its claim fills.
const CLAIMED: [&str; 22] = [
    "id",
    "identity",
    "fingerprint",
    "tenant",
    "idempotency_key",
    "request_id",
    "state",
    "network",
    "scheme",
    "payer",
    "payer_code",
    "pay_to",
    "asset",
    "amount",
    "nonce",
    "claimed_block",
    "delivered_at",
    "delivered_to",
    "ended_at",
    "finalized_at",
    "created_at",
    "updated_at",
];

/// Another process may have claimed one of them since it was looked up: then
/// nothing of the group is stored, and it is looked at again.
async fn insert_settlements(session: &mut Session<'_>, rows: &[Claim<'_>]) -> Result<(), StoreError> {
    let values = rows.iter().map(|Claim { facts, plan, .. }| {
        // A payment that asks for nothing has its end at once, for good.
        let state = if plan.is_some() { Status::Signed } else { Status::Settled };
        let ended = plan.is_none().then(|| time(facts.created_at));
        [
            facts.id.into(),
            facts.identity.as_bytes().as_slice().into(),
            facts.fingerprint.as_bytes().as_slice().into(),
            facts.caller.tenant.as_str().into(),
            facts.caller.key.as_ref().map(Key::stored).into(),
            facts.request_id.as_str().into(),
            state.as_str().into(),
            facts.network.as_str().into(),
            facts.scheme.as_str().into(),
            facts.payer.as_str().into(),
            facts.payer_code.as_deref().into(),
            facts.pay_to.as_str().into(),
            facts.asset.as_str().into(),
            facts.amount.to_string().into(),
            facts.nonce.as_str().into(),
            int(facts.claimed_block).into(),
            ended.into(),
            ended.map(|_| Recipient::Caller.as_str()).into(),
            ended.into(),
            ended.into(),
            time(facts.created_at).into(),
            time(facts.created_at).into(),
        ]
    });
    let mut query = Statement::new(session.dialect(), "");
    query.insert("settlement", CLAIMED, values).push(session.dialect().or_nothing());
    let claimed = Rows::of("settlement", rows.iter().map(|claim| claim.facts.id));
    session.expect(claimed, query, rows.len()).await
}

async fn insert_steps(
    session: &mut Session<'_>,
    rows: &[Claim<'_>],
    carriers: &HashMap<(SettlementId, StepNumber), TransactionId>,
) -> Result<(), StoreError> {
    let steps: Vec<_> = rows.iter().filter_map(|claim| Some((claim.facts.id, claim.plan?))).collect();
    if steps.is_empty() {
        return Ok(());
    }
    let values = steps.into_iter().map(|(id, plan)| {
        let carrier = carriers.get(&(id, 0)).copied();
        [
            id.into(),
            0_i64.into(),
            if carrier.is_some() { "carried" } else { "waiting" }.into(),
            carrier.into(),
            plan.gas_wallet.as_deref().into(),
            plan.body().into(),
            plan.valid_before.map(int).into(),
        ]
    });
    let columns = ["settlement", "number", "state", "transaction_id", "gas_wallet", "plan", "valid_before"];
    let mut query = Statement::new(session.dialect(), "");
    query.insert("step", columns, values);
    session.beside(Rows::of("step", rows.iter().map(|claim| claim.facts.id)), query).await
}

/// Stores transactions with their attempts, and puts the steps in their hands.
pub(super) async fn carries(
    session: &mut Session<'_>,
    batch: &Batch<'_>,
    events: &mut Events,
) -> Result<(), StoreError> {
    let fresh: HashSet<_> = batch.claims.iter().map(|claim| claim.facts.id).collect();
    for rows in batch.carries.chunks(ROWS_MAX) {
        insert_transactions(session, rows).await?;
    }
    let items: Vec<_> = batch.carries.iter().flat_map(Item::of).collect();
    for rows in items.chunks(ROWS_MAX) {
        insert_items(session, rows).await?;
    }
    let attempts = batch.carries.iter().flat_map(|carry| {
        let attempts = (0..).zip(&carry.transaction.attempts);
        attempts.map(|(number, attempt)| (carry.transaction.id, number, attempt))
    });
    for rows in attempts.collect::<Vec<_>>().chunks(ROWS_MAX) {
        insert_attempts(session, rows).await?;
    }
    let stored: Vec<_> = items.iter().filter(|item| item.step != 0 || !fresh.contains(&item.settlement)).collect();
    for rows in stored.chunks(ROWS_MAX) {
        carry_stored_steps(session, rows).await?;
    }
    for item in items {
        events.add(item.settlement, "signed", &item.carry.transaction.newest().hash, item.carry.at);
    }
    Ok(())
}

async fn insert_transactions(session: &mut Session<'_>, rows: &[Carry<'_>]) -> Result<(), StoreError> {
    let values = rows.iter().map(|Carry { transaction, network, .. }| {
        [
            transaction.id.into(),
            network.as_str().into(),
            transaction.gas_wallet.as_str().into(),
            transaction.nonce.map(int).into(),
            int(transaction.epoch).into(),
            "open".into(),
            time(transaction.created_at).into(),
        ]
    });
    let columns = ["id", "network", "gas_wallet", "nonce", "epoch", "state", "created_at"];
    let mut query = Statement::new(session.dialect(), "");
    query.insert("wallet_transaction", columns, values);
    session.beside(Rows::of("wallet_transaction", rows.iter().map(|carry| carry.transaction.id)), query).await
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

async fn insert_items(session: &mut Session<'_>, rows: &[Item<'_>]) -> Result<(), StoreError> {
    let values = rows.iter().map(|item| {
        [
            item.carry.transaction.id.into(),
            item.place.into(),
            item.settlement.into(),
            i64::from(item.step).into(),
            true.into(),
        ]
    });
    let mut query = Statement::new(session.dialect(), "");
    query.insert("transaction_item", ["transaction_id", "number", "settlement", "step", "live"], values);
    session.beside(Rows::of("transaction_item", rows.iter().map(|item| item.settlement)), query).await
}

/// Stores attempts of transactions under their numbers.
pub(super) async fn insert_attempts(
    session: &mut Session<'_>,
    rows: &[(TransactionId, i64, &Attempt)],
) -> Result<(), StoreError> {
    let values = rows.iter().map(|(transaction, number, attempt)| {
        [
            (*transaction).into(),
            (*number).into(),
            attempt.signed.hash.as_str().into(),
            attempt.kind.as_str().into(),
            attempt.signed.raw.as_slice().into(),
            attempt.signed.fee.terms.as_str().into(),
            attempt.signed.fee.amount_max.to_string().into(),
            time(attempt.created_at).into(),
        ]
    });
    let columns = ["transaction_id", "number", "hash", "kind", "raw", "fee_terms", "fee_amount_max", "created_at"];
    let mut query = Statement::new(session.dialect(), "");
    query.insert("attempt", columns, values);
    let hashes = rows.iter().map(|(_, _, attempt)| attempt.signed.hash.as_str());
    session.beside(Rows::of("attempt", hashes), query).await
}

/// Puts steps that were stored before in the hands of their transactions. The
/// new bytes are not sent yet, so their settlements are signed again.
async fn carry_stored_steps(session: &mut Session<'_>, rows: &[&Item<'_>]) -> Result<(), StoreError> {
    let steps =
        rows.iter().map(|item| [item.settlement.into(), i64::from(item.step).into(), item.carry.transaction.id.into()]);
    let mut query = Statement::new(session.dialect(), "WITH ");
    query.table("taken", ["settlement", "number", "transaction_id"], steps);
    query.push(
        " UPDATE step SET state = 'carried', transaction_id = taken.transaction_id FROM taken \
         WHERE step.settlement = taken.settlement AND step.number = taken.number AND step.state = 'waiting'",
    );
    if u64::try_from(rows.len()) != Ok(session.run(query).await?) {
        return Err(StoreError::Contradiction("a transaction carries steps that wait"));
    }
    let settlements = rows.iter().map(|item| [item.settlement.into(), time(item.carry.at).into()]);
    let mut query = Statement::new(session.dialect(), "WITH ");
    query.table("taken", ["settlement", "at"], settlements);
    query.push(
        " UPDATE settlement SET state = 'signed', unresolved_why = NULL, updated_at = taken.at FROM taken \
         WHERE settlement.id = taken.settlement AND settlement.state IN ",
    );
    query.push(NOT_ENDED);
    session.run(query).await.map(|_| ())
}
