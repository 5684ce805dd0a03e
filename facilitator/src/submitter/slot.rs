//! A transaction on its way: what the watcher knows of it.

use std::sync::Arc;

use chains_core::chain::{PlannedTransaction, SignedTransaction, Watched};
use tokio::sync::OwnedSemaphorePermit;

use super::{decide, lane::Lane};
use crate::settlement::replay_guard::Flight;

/// One place in a gas wallet's sequence, and the settlement that holds it.
pub(super) struct Slot {
    /// Whose settlement it is.
    pub flight: Arc<Flight>,
    /// The gas wallet's lane.
    pub lane: Arc<Lane>,
    /// Every signed form, newest last. Never empty.
    pub attempts: Vec<SignedTransaction>,
    /// What it is to do.
    pub plan: PlannedTransaction,
    /// The head's height at the claim.
    pub claimed_at: u64,
    /// The head's height when the bytes were last sent.
    pub sent_at: u64,
    /// The head's height when it was last looked for.
    pub looked_at: u64,
    /// The height from which on a block that includes it counts; `None` while
    /// no block does.
    pub final_at: Option<u64>,
    /// Look for it by name as soon as possible.
    pub doubtful: bool,
    /// Send the bytes again with the next block.
    pub send_again: bool,
    /// Its share of the lane; free again when the slot is gone. `None` for
    /// what was recovered: that may exceed the lane's limit.
    pub _permit: Option<OwnedSemaphorePermit>,
}

impl Slot {
    /// The form that callers are told.
    pub fn newest(&self) -> &SignedTransaction {
        self.attempts.last().unwrap_or_else(|| unreachable!("a slot is made of an attempt"))
    }

    /// Whether this block asks for a look: it lists the transaction, or lists
    /// nothing, or an earlier finding is deep enough, or it is time.
    pub fn wants_look(&self, head: &chains_core::chain::Head) -> bool {
        let listed = match &head.transactions {
            Some(list) => self.attempts.iter().any(|attempt| list.contains(&attempt.transaction)),
            None => true,
        };
        listed
            || self.doubtful
            || self.final_at.is_some_and(|height| height <= head.number)
            || head.number >= self.looked_at + decide::LOOK_EVERY_BLOCKS
    }

    /// Whether the bytes are to be sent again at this height.
    /// `resend_after`: [`chains_core::chain::Pace::resend_after`].
    pub fn wants_send(&self, head: u64, resend_after: u64) -> bool {
        self.final_at.is_none() && (self.send_again || head >= self.sent_at.saturating_add(resend_after))
    }

    /// The slot as the chain wants to see it.
    pub fn watched(&self) -> Watched<'_> {
        Watched { attempts: &self.attempts, plan: &self.plan, claimed_at: self.claimed_at }
    }
}
