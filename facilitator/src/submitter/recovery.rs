//! Settlements from before a restart: taken up before the network opens, so
//! that no request begins one of them anew.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use chains_core::{clock::Millis, transaction::Plan};

use super::{
    context::Context,
    job::Work,
    worker::tracked::{Carried, Tracked},
};
use crate::{
    in_flight::Entry,
    limits::Share,
    settlement::{Facts, StepState, Transaction, TransactionId, record::Followed},
    store::StoreError,
};

/// The work that one gas wallet goes on with.
#[derive(Default)]
pub(super) struct Recovered {
    /// Transactions that are not at their end.
    pub tracked: Vec<Tracked>,
    /// Steps that no transaction carries, and whether one did that is dead.
    pub waiting: Vec<(Work, bool)>,
}

/// The work of each gas wallet, also of those that are no longer configured.
pub(super) type ByWallet = HashMap<String, Recovered>;

/// Takes up everything of a network that is open, and remembers its losses.
pub(super) async fn take_up(context: &Context) -> Result<ByWallet, StoreError> {
    let mut by_wallet = ByWallet::new();
    if mistake!(RecoversNothing) {
        return Ok(by_wallet);
    }
    let mut transactions: BTreeMap<TransactionId, (Transaction, Vec<Carried>)> = BTreeMap::new();
    for followed in context.store.open_settlements(context.network()).await? {
        let Some((wallet, work)) = resume(context, followed, &mut transactions).await else { continue };
        by_wallet.entry(wallet).or_default().waiting.push(work);
    }
    for (transaction, mut items) in transactions.into_values() {
        items.sort_by_key(|item| {
            let carried = (item.entry.facts.id, item.number);
            transaction.items.iter().position(|of_it| *of_it == carried)
        });
        let wallet = transaction.gas_wallet.clone();
        by_wallet.entry(wallet).or_default().tracked.push(Tracked::new(transaction, items, 0));
    }
    remember_losses(context).await?;
    Ok(by_wallet)
}

/// Takes up one settlement: its transaction is added to the others, or its
/// step comes back with the wallet that has to carry it.
async fn resume(
    context: &Context,
    followed: Followed,
    transactions: &mut BTreeMap<TransactionId, (Transaction, Vec<Carried>)>,
) -> Option<(String, (Work, bool))> {
    let Followed { facts, steps, transactions: stored, .. } = followed;
    let Some(step) = steps.into_iter().next_back() else {
        tracing::error!(
            request_id = facts.request_id, settlement_id = %facts.id, network = %facts.network,
            "a stored settlement has no step; run `facilitator audit`"
        );
        return None;
    };
    let newest = stored.last().map(|transaction| (transaction.newest().hash.clone(), transaction.gas_wallet.clone()));
    let (hash, last_wallet) = newest.unwrap_or_default();
    let entry = resume_entry(context, &facts, &step.plan, &hash).await;
    let (number, plan) = (step.number, step.plan);
    let was_carried = stored.iter().any(|transaction| transaction.items.contains(&(facts.id, number)));
    if let StepState::Carried(id) | StepState::Done(id) = step.state
        && let Some(transaction) = stored.into_iter().find(|transaction| transaction.id == id)
    {
        let carried = Carried { entry, number, plan, ended: false };
        transactions.entry(id).or_insert_with(|| (transaction, vec![])).1.push(carried);
        return None;
    }
    let configured = context.chain.gas_wallets();
    let known = plan.gas_wallet.clone().or_else(|| (!last_wallet.is_empty()).then_some(last_wallet));
    let wallet = known.or_else(|| configured.first().cloned())?;
    Some((wallet, (Work::stored(entry, number, plan), was_carried)))
}

pub(super) async fn resume_entry(context: &Context, facts: &Arc<Facts>, plan: &Plan, hash: &str) -> Arc<Entry> {
    let share = Share {
        identity: facts.identity,
        network: facts.network.clone(),
        tenant: facts.caller.tenant.clone(),
        payer: facts.payer.clone(),
        payer_code: facts.payer_code.clone(),
        exclusive: context.chain.exclusive(plan),
        funds: None,
        amount: facts.amount,
        at_risk: context.at_risk(plan),
    };
    context.registry.resume(Arc::clone(facts), share, hash).await
}

/// The time for which payments are remembered that payers have paid.
const PAID_MEMORY: Duration = Duration::from_hours(24);

/// Payers that failed before the restart are still known, and so is what they cost; those that paid are no strangers.
async fn remember_losses(context: &Context) -> Result<(), StoreError> {
    let (limits, network) = (context.registry.limits(), context.network());
    if limits.counts_strangers(network) {
        let since = context.now().0.saturating_sub(millis(PAID_MEMORY));
        limits.paid_before(network, &context.store.payers(network, Millis(since)).await?).await;
    }
    let since = context.now().0.saturating_sub(millis(limits.memory()));
    for loss in context.store.losses(network, Millis(since)).await? {
        limits.lost(network, &loss).await;
    }
    Ok(())
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
