//! The on-chain actions of a settlement, in order; nearly always one.

use chains_core::transaction::Plan;

use super::TransactionId;

/// The place of a step among those of its settlement, from 0.
pub type StepNumber = u32;

/// One on-chain action of a settlement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Its place.
    pub number: StepNumber,
    /// The action.
    pub plan: Plan,
    /// Its state.
    pub state: StepState,
}

/// The state of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StepState {
    /// No transaction carries it: it waits for the wallet worker.
    Waiting,
    /// This transaction carries it, or carried it to its end.
    Carried(TransactionId),
    /// Its transaction did its part, and the settlement went on.
    Done(TransactionId),
}

impl Step {
    /// The transaction that carries it, or carried it.
    pub const fn transaction(&self) -> Option<TransactionId> {
        match self.state {
            StepState::Waiting => None,
            StepState::Carried(id) | StepState::Done(id) => Some(id),
        }
    }
}
