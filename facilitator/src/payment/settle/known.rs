//! Answers to a request whose payment, or whose key, is known already.

use std::sync::Arc;

use super::{Call, Next};
use crate::{
    in_flight::Entry,
    payment::{Payments, Pending, SettleOutcome},
    settlement::{Record, State},
    store::StoreError,
};

impl Payments {
    /// Looks for the payment, or the caller's key. The registry first: an entry
    /// leaves it only after its end is stored, so that a payment that is not
    /// in the registry is in the store, or nowhere.
    pub(super) async fn known(&self, call: &Call<'_>) -> Result<Next<Option<Arc<Entry>>>, StoreError> {
        let identity = call.authorization.identity();
        if let Some(entry) = self.registry.find(&identity) {
            return Ok(Next::Go(Some(entry)));
        }
        if call.caller.key.is_some()
            && let Some(record) = self.store.by_key(call.caller).await?
            && record.facts.fingerprint != call.authorization.fingerprint()
        {
            return Ok(Next::Answer(SettleOutcome::KeyReused));
        }
        let Some(record) = self.store.by_identity(&identity).await? else { return Ok(Next::Go(None)) };
        if record.state != State::Open {
            return Ok(Next::Answer(self.stored(call, record).await?));
        }
        // Begun between the two looks: now the registry has it, or it has ended
        // meanwhile and the store says how, or its network is not open yet.
        if let Some(entry) = self.registry.find(&identity) {
            return Ok(Next::Go(Some(entry)));
        }
        let record = self.store.by_identity(&identity).await?.unwrap_or(record);
        Ok(Next::Answer(self.stored(call, record).await?))
    }

    /// Answers from a stored settlement that is not under way here.
    async fn stored(&self, call: &Call<'_>, record: Record) -> Result<SettleOutcome, StoreError> {
        let (id, facts) = (record.id(), &record.facts);
        let same_request = facts.fingerprint == call.authorization.fingerprint();
        let same_caller = same_request && facts.caller.is_again(call.caller);
        let duplicate = |transaction: String| SettleOutcome::Duplicate { id, transaction };
        let pending = |transaction: String, why| SettleOutcome::Pending { id, transaction, why };
        Ok(match record.state {
            State::Open if !same_request => duplicate(record.transaction),
            State::Open if record.accepted => pending(record.transaction, Pending::Sent),
            State::Open => pending(record.transaction, Pending::NotAccepted),
            State::Unresolved { .. } if same_request => pending(record.transaction, Pending::Unresolved),
            State::Unresolved { .. } => duplicate(record.transaction),
            State::Failed(failed) => SettleOutcome::Failed { id, failed },
            State::Settled(settled) => {
                let transaction = settled.hash().to_owned();
                let free = same_request && record.delivered_at.is_none();
                if same_caller || (free && self.store.deliver(id, self.clock.now()).await?) {
                    SettleOutcome::Settled { id, transaction, amount: facts.amount }
                } else {
                    duplicate(transaction)
                }
            }
        })
    }
}
