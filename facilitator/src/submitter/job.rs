//! Work for a wallet worker.

use std::sync::Arc;

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
}

impl From<Job> for Work {
    fn from(Job { entry, plan }: Job) -> Self {
        let verified_block = Some(entry.facts.claimed_block);
        let queued_at = Instant::now();
        Self { entry, number: 0, plan, stored: false, verified_block, traces: 0, refused: None, queued_at }
    }
}

impl Work {
    /// A step of a stored settlement, to be verified again before it is signed.
    pub fn stored(entry: Arc<Entry>, number: StepNumber, plan: Plan) -> Self {
        let queued_at = Instant::now();
        Self { entry, number, plan, stored: true, verified_block: None, traces: 0, refused: None, queued_at }
    }
}
