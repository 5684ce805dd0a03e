//! Settlements of several transactions, one after the other: each is stored
//! before it is sent, and the next only begins when the chain has the last.

use chains_core::chain::{PlannedTransaction, SignedTransaction};

use super::{lane::Signer, sender::Outgoing, slot::Slot, watcher::ToWatcher};
use crate::settlement::record::{Advanced, LandedAttempt};

/// A settlement whose last transaction did its part.
pub(super) struct Step {
    /// Its place so far.
    pub slot: Slot,
    /// What is to happen now.
    pub plan: PlannedTransaction,
    /// What the last transaction cost.
    pub landed: LandedAttempt,
}

impl Signer {
    /// Signs and stores a settlement's next transaction, and hands it to the
    /// sender. What does not work now goes back to the watcher, which looks at
    /// the last transaction again and so comes back.
    pub async fn advance(&mut self, step: Step) {
        let Step { slot, plan, landed } = step;
        let id = slot.flight.ticket.id;
        let signed = match self.sign_step(&plan) {
            Ok(signed) => signed,
            Err(error) => {
                tracing::warn!(settlement = %id, error, "the settlement's next transaction waits");
                return self.watch(Slot { doubtful: true, ..slot }).await;
            }
        };
        let at = self.submitter.deps.clock.now();
        let row = Advanced { id, landed, plan: plan.clone(), signed: signed.clone(), at };
        if let Err(error) = self.submitter.deps.store.advance(row).await {
            tracing::error!(%error, settlement = %id, "the store failed; the lane waits until it answers");
            match self.is_stored(id, &signed).await {
                Some(true) => {}
                Some(false) => return self.watch(Slot { doubtful: true, ..slot }).await,
                None => return,
            }
        }
        self.go_past(std::iter::once(&signed));
        slot.flight.sent(&signed.transaction);
        let head = self.submitter.head();
        let outgoing = Outgoing { id, signed: signed.clone() };
        let attempts = vec![signed];
        let next = Slot { attempts, plan, sent_at: head, looked_at: head, final_at: None, doubtful: false, ..slot };
        self.watch(next).await;
        // Closed only when the process stops; the store has the bytes.
        drop(self.outgoing.send(outgoing).await);
    }

    fn sign_step(&self, plan: &PlannedTransaction) -> Result<SignedTransaction, String> {
        let chain = &self.submitter.deps.chain;
        let fees = chain.quote().map_err(|error| error.to_string())?;
        chain.sign(self.lane.wallet(), self.next, plan, &fees).map_err(|error| error.to_string())
    }

    async fn watch(&self, slot: Slot) {
        // Closed only when the process stops; the next start finds it in the store.
        drop(self.watcher.send(ToWatcher::Track(Box::new(slot))).await);
    }
}
