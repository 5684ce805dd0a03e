//! Work for a wallet worker.

use std::{sync::Arc, time::Duration};

use chains_core::{Rejection, transaction::Plan};
use tokio::time::Instant;

use crate::{in_flight::Entry, settlement::StepNumber};

/// A claimed payment on its way to a worker.
#[derive(Clone, Debug)]
pub struct Job {
    /// The settlement.
    pub entry: Arc<Entry>,
    /// Its first step.
    pub plan: Plan,
    /// The time until which the request that began it waits.
    pub deadline: Instant,
}

/// A step that waits for a transaction.
#[derive(Clone, Debug)]
pub(super) struct Work {
    /// The settlement.
    pub entry: Arc<Entry>,
    /// The step's place.
    pub number: StepNumber,
    /// The action.
    pub plan: Plan,
    /// True when the store holds the settlement already: then it is never given
    /// back, and is begun no matter who waits.
    pub stored: bool,
    /// The height up to which its verification counts; `None` when it has to
    /// be made again.
    pub verified_block: Option<u64>,
    /// Traces of its authorization that found nothing.
    pub traces: u32,
    /// The reason why it is not good any more: it fails for it, unless its
    /// authorization was executed.
    pub refused: Option<Rejection>,
    /// The time at which it began to wait.
    pub queued_at: Instant,
    /// The time after which nobody has any use for it: its caller has left, or
    /// its authorization is over.
    pub deadline: Instant,
    /// The number of times that it was handed on to another worker.
    pub moves: u32,
}

impl Work {
    /// A payment to begin. `now`: the time in seconds since the epoch.
    pub fn begin(job: Job, now: u64) -> Self {
        let Job { entry, plan, deadline } = job;
        let queued_at = Instant::now();
        let over =
            plan.valid_before.and_then(|end| queued_at.checked_add(Duration::from_secs(end.saturating_sub(now))));
        let deadline = over.map_or(deadline, |over| over.min(deadline));
        let verified_block = Some(entry.facts.claimed_block);
        Self { deadline, verified_block, stored: false, ..Self::stored(entry, 0, plan) }
    }

    /// A step of a stored settlement, to be verified again before it is signed.
    pub fn stored(entry: Arc<Entry>, number: StepNumber, plan: Plan) -> Self {
        let now = Instant::now();
        Self {
            entry,
            number,
            plan,
            stored: true,
            verified_block: None,
            traces: 0,
            refused: None,
            queued_at: now,
            deadline: now,
            moves: 0,
        }
    }

    /// Returns true when any gas wallet may send it.
    pub const fn may_move(&self) -> bool {
        !self.stored && self.plan.gas_wallet.is_none()
    }
}
