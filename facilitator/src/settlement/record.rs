//! Settlements as the store gives them back.

use std::sync::Arc;

use chains_core::{Amount, Identity, clock::Millis, observation::BlockRef, transaction::Plan};

use super::{Facts, Recipient, SettlementId, State, Status, Step, Transaction};

/// A settlement without its steps and transactions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The facts, which never change.
    pub facts: Arc<Facts>,
    /// Its state.
    pub state: State,
    /// The same as one word.
    pub status: Status,
    /// The transaction that callers are told: the deciding one, else the
    /// newest attempt; empty where nothing was sent.
    pub transaction: String,
    /// Returns true once an endpoint has accepted one of its transactions.
    pub accepted: bool,
    /// The request that was given the success; `None` as long as nobody was.
    pub delivered: Option<Delivered>,
    /// The time from which the chain could no longer take its end back.
    pub finalized_at: Option<Millis>,
    /// The time at which the chain took its transfer back; `None` if it never did.
    pub reorged_at: Option<Millis>,
    /// The time of its last change.
    pub updated_at: Millis,
}

/// The one time that a success was given away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// The time.
    pub at: Millis,
    /// The request that got it.
    pub to: Recipient,
}

impl Record {
    /// Returns true while the chain has its transfer taken back: the payee has no money for it now.
    pub const fn is_taken_back(&self) -> bool {
        self.reorged_at.is_some() && self.finalized_at.is_none()
    }

    /// Its public name.
    pub fn id(&self) -> SettlementId {
        self.facts.id
    }
}

/// A settlement that the chain still has to decide, or to decide for good,
/// with everything that is needed to follow it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Followed {
    /// The facts, which never change.
    pub facts: Arc<Facts>,
    /// Its state.
    pub state: State,
    /// Its steps, in order. Never empty.
    pub steps: Vec<Step>,
    /// The transactions that carry or carried them, oldest first.
    pub transactions: Vec<Transaction>,
}

/// A settled transfer in a block that the chain can no longer take back, or
/// one that it took back: what the finality check needs to ask about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// The settlement.
    pub id: SettlementId,
    /// Names its request in the log.
    pub request_id: String,
    /// The transaction that made the transfer.
    pub transaction: String,
    /// Its block as it was seen.
    pub block: BlockRef,
    /// True when the chain took it back.
    pub taken_back: bool,
}

/// A settlement with everything that is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeline {
    /// The settlement.
    pub record: Record,
    /// Its steps, in order; empty where nothing was sent.
    pub steps: Vec<Step>,
    /// Its transactions, oldest first, each with the answers to its sends.
    pub transactions: Vec<(Transaction, Vec<Sends>)>,
    /// Its events, oldest first.
    pub events: Vec<Event>,
}

/// The sends of one attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sends {
    /// The attempt.
    pub hash: String,
    /// The number of times it was sent.
    pub count: u64,
    /// The first answers, oldest first; the store bounds how many it keeps.
    pub answers: Vec<SendAnswer>,
}

/// One stored answer to one send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendAnswer {
    /// `accepted`, `unknown`, …
    pub answer: String,
    /// The endpoint's words.
    pub detail: String,
    /// The time.
    pub at: Millis,
}

/// The kind of the event by which an operator ended a settlement; its detail is
/// the reason.
pub const RESOLVED: &str = "resolved";

/// Something that happened to a settlement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The word for it, such as `signed` or `settled`.
    pub kind: String,
    /// More of it, for people; may be empty.
    pub detail: String,
    /// The time.
    pub at: Millis,
}

/// A payment under way of some payer: open, or handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnderWay {
    /// The settlement that it is, or becomes.
    pub id: SettlementId,
    /// The payment's one name.
    pub identity: Identity,
    /// The token.
    pub asset: String,
    /// The amount that moves, in the token's atomic units.
    pub amount: Amount,
    /// Its last step.
    pub plan: Plan,
}

/// Gas that a payment cost which failed on chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// The settlement: its loss counts once, whoever tells of it.
    pub id: SettlementId,
    /// The account that was to pay.
    pub payer: String,
    /// The name of the API key that asked.
    pub tenant: String,
    /// See [`Facts::payer_code`].
    pub payer_code: Option<String>,
    /// The fee paid, in the coin's atomic units.
    pub fee_paid: Amount,
    /// The time at which the settlement ended.
    pub at: Millis,
}
