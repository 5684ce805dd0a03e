//! From verdicts to stored ends: changes, one commit, then everybody who waits
//! is told.

use std::sync::Arc;

use chains_core::{Amount, clock::Millis};

use super::context::Context;
use crate::{
    in_flight::{Dropped, Entry},
    metrics,
    settlement::{Facts, Failed, Settled, SettlementId, State, record::Loss},
    store::{ApplyError, Change, Fence},
};

/// Changes that belong together, and the settlements that they end.
#[derive(Default)]
pub(super) struct Batch {
    changes: Vec<Change>,
    ends: Vec<End>,
}

struct End {
    facts: Arc<Facts>,
    entry: Option<Arc<Entry>>,
    state: State,
    /// The fee that was paid for nothing.
    lost: Option<Amount>,
}

impl Batch {
    /// Returns true when there is nothing to store.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Adds a change that ends nothing.
    pub fn change(&mut self, change: Change) {
        self.changes.push(change);
    }

    /// Settles a settlement, and gives the success to the request that waits.
    pub fn settle(&mut self, facts: &Arc<Facts>, entry: Option<&Arc<Entry>>, settled: Settled) {
        let delivered = entry.and_then(|entry| entry.delivery().give());
        self.changes.push(Change::Settle { id: facts.id, settled: settled.clone(), delivered });
        self.end(facts, entry, State::Settled(settled), None);
    }

    /// Fails a settlement. `lost`: its share of the fee of our transaction, which was paid for nothing.
    pub fn fail(&mut self, facts: &Arc<Facts>, entry: Option<&Arc<Entry>>, failed: Failed, lost: Option<Amount>) {
        self.changes.push(Change::Fail { id: facts.id, failed: failed.clone() });
        self.end(facts, entry, State::Failed(failed), lost);
    }

    /// Takes a settlement out of the worker without an end.
    pub fn unresolve(&mut self, facts: &Arc<Facts>, entry: Option<&Arc<Entry>>, why: &str) {
        self.changes.push(Change::Unresolve { id: facts.id, why: why.to_owned() });
        self.end(facts, entry, State::Unresolved { why: why.to_owned() }, None);
    }

    fn end(&mut self, facts: &Arc<Facts>, entry: Option<&Arc<Entry>>, state: State, lost: Option<Amount>) {
        self.ends.push(End { facts: Arc::clone(facts), entry: entry.cloned(), state, lost });
    }

    /// Stores everything in one commit, then tells everybody who waits. A
    /// worker's is stored only as long as its wallet is its own.
    ///
    /// # Errors
    /// Nothing is known to be stored; successes that were given are taken back.
    pub async fn commit(self, context: &Context, fence: Option<&Fence>) -> Result<(), ApplyError> {
        if self.changes.is_empty() {
            return Ok(());
        }
        let at = context.now();
        let ended = match context.store.apply_under(fence, self.changes, at).await {
            Ok(ended) => ended,
            Err(error) => {
                self.ends.iter().filter_map(|end| end.entry.as_ref()).for_each(|entry| entry.delivery().take_back());
                return Err(error);
            }
        };
        for end in self.ends {
            end.tell(context, &ended, at).await;
        }
        Ok(())
    }
}

impl End {
    async fn tell(self, context: &Context, ended: &[SettlementId], at: Millis) {
        let Self { facts, entry, state, lost } = self;
        let entry = entry.or_else(|| context.registry.find(&facts.identity));
        // One that had ended before, by the operator's word, stays as it is: who waits asks the store.
        if state.is_final() && !ended.contains(&facts.id) {
            if let Some(entry) = entry {
                entry.delivery().take_back();
                context.registry.give_back(&entry, Dropped::KnownToStore).await;
            }
            return;
        }
        let limits = context.registry.limits();
        match (&state, lost) {
            (State::Settled(_), _) => limits.paid(&facts.network, &facts.payer).await,
            (State::Failed(_), Some(fee_paid)) => {
                let (payer, payer_code) = (facts.payer.clone(), facts.payer_code.clone());
                let loss = Loss { id: facts.id, payer, payer_code, tenant: facts.caller.tenant.clone(), fee_paid, at };
                limits.lost(&facts.network, &loss).await;
            }
            (State::Failed(_) | State::Unresolved { .. } | State::Open, _) => {}
        }
        match state {
            State::Settled(_) => context.status.settled.notify_one(),
            State::Unresolved { .. } => context.status.became_unresolved.notify_one(),
            State::Failed(_) | State::Open => {}
        }
        log(&facts, &state);
        metrics::settlement_ended(&facts, &state);
        if let Some(entry) = entry {
            context.registry.end(&entry, state).await;
        }
    }
}

fn log(facts: &Facts, state: &State) {
    let Facts { request_id, id: settlement_id, network, scheme, payer, amount, .. } = facts;
    match state {
        State::Settled(settled) => {
            let transaction = settled.hash();
            tracing::info!(request_id, %settlement_id, %network, scheme, payer, %amount, transaction, "settled");
        }
        State::Failed(Failed { reason, message, transaction, .. }) => {
            tracing::warn!(
                request_id, %settlement_id, %network, scheme, payer, %amount, transaction, reason, error = message, "failed"
            );
        }
        State::Unresolved { why } => {
            tracing::error!(
                request_id, %settlement_id, %network, scheme, payer, %amount, error = why,
                "unresolved: no endpoint gives the proof of what happened. It is asked for again; end it by \
                 `facilitator settlement ID --resolve settled:TX|failed --reason TEXT`"
            );
        }
        State::Open => {}
    }
}
