//! Answers to a request whose payment, or whose key, is known already.

use std::{pin::pin, sync::Arc};

use tokio::time::{Instant, timeout_at};

use super::{Call, Mark, Next};
use crate::{
    in_flight::Entry,
    payment::{Payments, Pending, SettleOutcome},
    settlement::{Delivered, Facts, NotNow, Recipient, Record, SettlementId, State},
    store::{
        StoreError,
        archive::{Archived, ArchivedEnd, ArchivedName},
    },
};

impl Payments {
    /// Looks for the payment, or the caller's key: in this process, with the replay guard, in the store; there
    /// again and again while another instance verifies the payment.
    pub(super) async fn known(&self, call: &Call<'_>, mark: &mut Mark) -> Result<Next<Option<Arc<Entry>>>, StoreError> {
        if let Some(entry) = self.under_way_here(call) {
            return Ok(Next::Go(Some(entry)));
        }
        if let Some(outcome) = self.mark(call, mark).await {
            return Ok(Next::Answer(outcome));
        }
        loop {
            match self.known_here(call).await? {
                Next::Go(None) if self.may_appear(mark).await => {}
                known => return Ok(known),
            }
        }
    }

    /// The payment's settlement in this process. Nothing where the store is known to have the payment: an entry may
    /// be the claim of another request that has not heard of it yet, and comes to nothing.
    fn under_way_here(&self, call: &Call<'_>) -> Option<Arc<Entry>> {
        if call.is_in_store() { None } else { self.registry.find(&call.authorization.identity()) }
    }

    /// The registry first: an entry leaves it only after its end is stored, so that a payment that is not
    /// in the registry is in the store, or nowhere.
    async fn known_here(&self, call: &Call<'_>) -> Result<Next<Option<Arc<Entry>>>, StoreError> {
        let identity = call.authorization.identity();
        if let Some(entry) = self.under_way_here(call) {
            return Ok(Next::Go(Some(entry)));
        }
        if call.caller.key.is_some()
            && let Some(record) = self.store.by_key(call.caller).await?
            && record.facts.fingerprint != call.authorization.fingerprint()
        {
            return Ok(Next::Answer(SettleOutcome::KeyReused));
        }
        if !self.store.knows(&identity).await? {
            return Ok(Next::Go(None));
        }
        let Some(record) = self.store.by_identity(&identity).await? else {
            if let Some(facts) = self.store.handed_over(&identity).await? {
                return Box::pin(self.follow_handed_over(call, &facts)).await;
            }
            let archived = self.store.archived(ArchivedName::Identity(&identity)).await?;
            // Nowhere: begun, or withdrawn, between the looks.
            return Ok(archived.map_or(Next::Again, |archived| Next::Answer(refuse(archived))));
        };
        if record.state != State::Open {
            return Ok(Next::Answer(Box::pin(self.stored(call, record)).await?));
        }
        // Begun between the two looks: now the registry has it. A claim of the same payment is not it.
        if let Some(entry) = self.registry.find(&identity).filter(|entry| entry.facts.id == record.id()) {
            return Ok(Next::Go(Some(entry)));
        }
        Box::pin(self.follow(call, record)).await
    }

    /// Waits for the end of a settlement that another instance follows, or nobody
    /// yet. Who asks for another payment of the same name is told at once.
    async fn follow(&self, call: &Call<'_>, record: Record) -> Result<Next<Option<Arc<Entry>>>, StoreError> {
        let identity = call.authorization.identity();
        if record.facts.fingerprint == call.authorization.fingerprint() {
            call.pays(&record.facts.payer);
            if self.ends_elsewhere(record.id(), call.deadline).await? {
                return Ok(Next::Again);
            }
        }
        let record = self.store.by_identity(&identity).await?.unwrap_or(record);
        Ok(Next::Answer(self.stored(call, record).await?))
    }

    /// The same for a payment that another instance has handed over, or another request of this one.
    async fn follow_handed_over(&self, call: &Call<'_>, facts: &Facts) -> Result<Next<Option<Arc<Entry>>>, StoreError> {
        if facts.fingerprint != call.authorization.fingerprint() {
            return Ok(Next::unavailable(NotNow::AnotherRequest));
        }
        call.pays(&facts.payer);
        if self.ends_elsewhere(facts.id, call.deadline).await? {
            return Ok(Next::Again);
        }
        match self.store.by_identity(&facts.identity).await? {
            Some(record) => Ok(Next::Answer(self.stored(call, record).await?)),
            None => Ok(Next::unavailable(NotNow::AnotherRequest)),
        }
    }

    /// Waits until a settlement that is not followed here is neither open nor handed over any more; `false` at the
    /// deadline.
    pub(super) async fn ends_elsewhere(&self, id: SettlementId, deadline: Instant) -> Result<bool, StoreError> {
        let ended = self.elsewhere.end_of(id);
        let mut ended = pin!(ended.notified());
        // From here on an end is noticed: it may have come before.
        ended.as_mut().enable();
        let is_open = !self.store.open_of(&[id]).await?.is_empty();
        Ok(!is_open || timeout_at(deadline, ended).await.is_ok())
    }

    /// Answers from a stored settlement that is not under way here, or not any more.
    pub(super) async fn stored(&self, call: &Call<'_>, record: Record) -> Result<SettleOutcome, StoreError> {
        let (id, facts) = (record.id(), &record.facts);
        call.pays(&facts.payer);
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
            State::Settled(ref settled) => {
                let transaction = settled.hash().to_owned();
                if same_request && record.is_taken_back() {
                    pending(transaction, Pending::TakenBack)
                } else if same_request && self.gets_success(&record, same_caller).await? {
                    SettleOutcome::Settled { id, transaction, amount: facts.amount }
                } else {
                    duplicate(transaction)
                }
            }
        })
    }

    /// Returns true when the success is this request's: it shares what its caller was given, or is given now what
    /// nobody was.
    async fn gets_success(&self, record: &Record, same_caller: bool) -> Result<bool, StoreError> {
        let shares = |delivered: Delivered| same_caller && delivered.to == Recipient::Caller;
        if let Some(delivered) = record.delivered {
            return Ok(shares(delivered) || mistake!(DeliversAgain));
        }
        let to = if same_caller { Recipient::Caller } else { Recipient::Other };
        if self.store.deliver(record.id(), to, self.clock.now()).await? {
            return Ok(true);
        }
        // Another request was faster.
        let record = self.store.by_identity(&record.facts.identity).await?;
        Ok(record.and_then(|record| record.delivered).is_some_and(shares))
    }
}

/// The answer to a payment that was archived: its success was given away.
fn refuse(Archived { id, end, .. }: Archived) -> SettleOutcome {
    match end {
        ArchivedEnd::Settled { transaction } => SettleOutcome::Duplicate { id, transaction },
        ArchivedEnd::Failed(failed) => SettleOutcome::Failed { id, failed },
    }
}
