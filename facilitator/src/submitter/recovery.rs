//! Settlements from before a restart, or of another owner's: taken up before
//! their gas wallet opens, so that its worker knows all of its nonces.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use chains_core::transaction::Plan;

use super::{
    context::Context,
    job::Work,
    worker::tracked::{Carried, Tracked},
};
use crate::{
    in_flight::Entry,
    settlement::{Facts, SettlementId, Step, StepState, Transaction, TransactionId, record::Followed},
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

/// Takes up everything of a gas wallet that is open. Called once nobody else can
/// write more of it.
pub(super) async fn take_up(context: &Context, wallet: &str) -> Result<Recovered, StoreError> {
    let mut recovered = Recovered::default();
    if mistake!(RecoversNothing) {
        return Ok(recovered);
    }
    let mut transactions: BTreeMap<TransactionId, (Transaction, Vec<Carried>)> = BTreeMap::new();
    for followed in context.store.open_settlements(context.network()).await? {
        if wallet_of(context, &followed) == Some(wallet) {
            recovered.waiting.extend(resume(context, followed, &mut transactions).await);
        }
    }
    for transaction in context.store.transactions_left_open(context.network(), wallet).await? {
        transactions.entry(transaction.id).or_insert((transaction, vec![]));
    }
    for (transaction, items) in transactions.into_values() {
        let items = complete(context, &transaction, items).await?;
        recovered.tracked.push(Tracked::new(transaction, items, 0));
    }
    Ok(recovered)
}

/// The steps that a transaction carries, in order: those that are given, and the others from the store, where their
/// settlements have ended or are followed elsewhere. All are needed to sign it anew. One whose settlement has left the
/// store is not among them.
pub(super) async fn complete(
    context: &Context,
    transaction: &Transaction,
    mut items: Vec<Carried>,
) -> Result<Vec<Carried>, StoreError> {
    let is_given = |id: &SettlementId| items.iter().any(|item| item.entry.facts.id == *id);
    let missing: Vec<SettlementId> = transaction.items.iter().map(|(id, _)| *id).filter(|id| !is_given(id)).collect();
    if !missing.is_empty() {
        for Followed { facts, state, steps, .. } in context.store.followed(&missing).await? {
            let step = steps.into_iter().find(|step| transaction.items.contains(&(facts.id, step.number)));
            items.extend(step.map(|Step { number, plan, .. }| {
                let share = context.share(&facts, &plan);
                Carried { entry: Arc::new(Entry::over(facts, share, state)), number, plan, ended: true }
            }));
        }
    }
    items.sort_by_key(|item| {
        let carried = (item.entry.facts.id, item.number);
        transaction.items.iter().position(|of_it| *of_it == carried)
    });
    Ok(items)
}

/// The gas wallets whose settlements are open.
pub(super) async fn wallets_in_use(context: &Context) -> Result<BTreeSet<String>, StoreError> {
    let open = context.store.open_settlements(context.network()).await?;
    Ok(open.iter().filter_map(|followed| wallet_of(context, followed)).map(str::to_owned).collect())
}

/// The gas wallet whose worker goes on with a settlement: that of the transaction
/// which carries its step, or the one that the step needs or that carried it last.
pub(super) fn wallet_of<'a>(context: &'a Context, followed: &'a Followed) -> Option<&'a str> {
    let step = followed.steps.last()?;
    let carrier = step.transaction().and_then(|id| followed.transactions.iter().find(|of_it| of_it.id == id));
    let wallet = carrier.map(|transaction| &transaction.gas_wallet).or(step.plan.gas_wallet.as_ref());
    let last = || followed.transactions.last().map(|transaction| &transaction.gas_wallet);
    wallet.or_else(last).or_else(|| context.chain.gas_wallets().first()).map(String::as_str)
}

/// Takes up one settlement: its transaction is added to the others, or its
/// step comes back with whether a transaction carried it.
async fn resume(
    context: &Context,
    followed: Followed,
    transactions: &mut BTreeMap<TransactionId, (Transaction, Vec<Carried>)>,
) -> Option<(Work, bool)> {
    let Followed { facts, steps, transactions: stored, .. } = followed;
    let step = steps.into_iter().next_back()?;
    let hash = stored.last().map(|transaction| transaction.newest().hash.clone()).unwrap_or_default();
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
    Some((Work::stored(entry, number, plan), was_carried))
}

pub(super) async fn resume_entry(context: &Context, facts: &Arc<Facts>, plan: &Plan, hash: &str) -> Arc<Entry> {
    context.registry.resume(Arc::clone(facts), context.share(facts, plan), hash).await
}
