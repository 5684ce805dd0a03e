//! Every transition that the store knows. Each is one row's change, or a few,
//! together with its event; all changes of a call are one commit.

use std::sync::Arc;

use chains_core::{
    Network,
    clock::Millis,
    observation::{BlockRef, Inclusion},
    transaction::Plan,
};

use crate::settlement::{
    Attempt, Facts, Failed, Recipient, Settled, SettlementId, StepNumber, Transaction, TransactionId,
};

/// A transition, to be stored.
#[derive(Clone, Debug)]
pub enum Change {
    /// A payment that was handed over is handed over no more; its
    /// [`Claim`](Self::Claim) is in the same call. One that is not handed over any
    /// more counts as claimed. No event: that of the claim tells.
    Receive {
        /// The settlement that it becomes.
        id: SettlementId,
    },
    /// A payment is claimed, with its first step waiting. Event `claimed` only
    /// where no [`Carry`](Self::Carry) of the same call follows.
    Claim {
        /// The settlement's facts. Identity and caller's key are unique for ever.
        facts: Arc<Facts>,
        /// Its first step; `None` for a payment that asks for nothing: stored
        /// as settled and as delivered to the request that asks. Event `settled`.
        plan: Option<Plan>,
    },
    /// A new transaction, with one attempt, takes its nonce and carries the
    /// steps it names, each of which must wait. Fenced by its epoch. Event
    /// `signed` for each settlement.
    Carry(Transaction),
    /// A new transaction without items takes a nonce, to use it up or to do
    /// something that all settlements share. Fenced by its epoch. No event: it
    /// belongs to no settlement.
    UseNonce {
        /// The chain.
        network: Network,
        /// The transaction.
        transaction: Transaction,
    },
    /// Another attempt for the nonce of an open transaction; an error when it
    /// is not open, as its bytes must not be sent then. Event `bumped` or
    /// `cancelled` for each settlement.
    AddAttempt {
        /// The transaction.
        transaction: TransactionId,
        /// The attempt.
        attempt: Attempt,
    },
    /// A confirmed block has an attempt: open → included. No event of its own:
    /// that of what became of the items tells.
    Include {
        /// The transaction.
        transaction: TransactionId,
        /// The block, and the price.
        inclusion: Inclusion,
    },
    /// The chain took the block back: included → open; no attempt is included
    /// any more. Its unresolved settlements are open again. Event `reorged` for
    /// each settlement.
    Reopen {
        /// The transaction.
        transaction: TransactionId,
    },
    /// No block can include it any more: open → dead. Its steps that are
    /// carried by it wait again, and their settlements are open again where
    /// they were unresolved; an ended settlement keeps its step. Event
    /// `transaction_dead` for each settlement.
    Kill {
        /// The transaction.
        transaction: TransactionId,
        /// The proof, in words.
        why: String,
    },
    /// A carried step of a settlement that has not ended did its part; the next
    /// one waits, and the settlement is open. Event `step_done`.
    NextStep {
        /// The settlement.
        id: SettlementId,
        /// The step that is done.
        done: StepNumber,
        /// The next step.
        plan: Plan,
    },
    /// Open or unresolved → settled. Event `settled`.
    Settle {
        /// The settlement.
        id: SettlementId,
        /// The proof.
        settled: Settled,
        /// The request that waits for it and will be told in this process: the
        /// success is thereby given away. `None` where nobody waits.
        delivered: Option<Recipient>,
    },
    /// Open or unresolved → failed. Event `failed`.
    Fail {
        /// The settlement.
        id: SettlementId,
        /// Why.
        failed: Failed,
    },
    /// Open → unresolved, or a newer reason. Event `unresolved` at the first.
    Unresolve {
        /// The settlement.
        id: SettlementId,
        /// Why, for operators.
        why: String,
    },
    /// The chain can no longer take a settled transfer back, or a failed
    /// payment can no longer be executed by anybody. Event `finalized`, once.
    Finalize {
        /// The settlement.
        id: SettlementId,
        /// The transaction that made the transfer, and its block, where they are
        /// others than before: after a reorg somebody else's may have come first.
        transfer: Option<(String, BlockRef)>,
    },
    /// The chain took a settled transfer back: `reorged_at` is set, the state
    /// stays. Event `reorged`, at the first time only.
    TakeBack {
        /// The settlement.
        id: SettlementId,
        /// The facts as far as they are known, for operators.
        why: String,
    },
    /// A failed payment was executed by somebody else. It counts as finalized,
    /// and the event `executed_elsewhere` names the transaction.
    ExecutedElsewhere {
        /// The settlement.
        id: SettlementId,
        /// The foreign transaction.
        hash: String,
    },
}

/// The operator's word on an unresolved settlement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorWord {
    /// The settlement.
    pub id: SettlementId,
    /// `Some` settles it by this transaction, `None` fails it.
    pub settled_by: Option<String>,
    /// Why, in the operator's words; stored in the event `resolved`.
    pub reason: String,
    /// The time.
    pub at: Millis,
}

/// One answer to one send.
#[derive(Clone, Debug)]
pub struct SendNote {
    /// The settlements that the transaction carries.
    pub settlements: Vec<SettlementId>,
    /// The attempt's hash.
    pub hash: String,
    /// The answer as a word: `accepted`, `unknown`, …
    pub answer: &'static str,
    /// The endpoint's words, where they say more.
    pub detail: String,
    /// The time.
    pub at: Millis,
}
