//! The record of a run: enough to judge it without the run.
//!
//! Times are milliseconds since the run began, by one clock that never jumps.
//! A payment is named by the payer and the number that the payer drew for it, in
//! lower case, with a slash between them: so both the chain and the store name it.

use std::fmt;

/// Everything that was seen of a run.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Every `/settle`, in any order.
    pub requests: Vec<Request>,
    /// Every block that the chain has at the end, in order.
    pub blocks: Vec<Block>,
    /// Each signed transaction, as the node first got it.
    pub sends: Vec<Sent>,
    /// The times in which a process was stopped, killed or not there yet.
    pub absences: Vec<Absence>,
    /// The store at the end.
    pub tables: Tables,
}

/// One `/settle`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The payment's name.
    pub payment: String,
    /// Its amount in atomic units.
    pub amount: u128,
    /// The `Idempotency-Key`: requests with the same one are the same caller's.
    pub key: Option<String>,
    /// The instance that was asked; `None`: whichever the balancer chose.
    pub instance: Option<usize>,
    /// The time at which it was sent.
    pub started: u64,
    /// The time at which it was over.
    pub ended: u64,
    /// The answer.
    pub answer: Answer,
}

/// The answer to a `/settle`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The payment is made, by this transaction.
    Success(String),
    /// Somebody else was told of its success, or will be; the transaction, as far as it is known.
    Duplicate(String),
    /// It will never be made, for this reason; there is a settlement that says so.
    Failed(String),
    /// It was judged bad before anything was begun.
    Invalid(String),
    /// It is under way.
    Pending,
    /// Nothing was begun (503).
    Refused,
    /// The caller went away by its own will.
    NotAwaited,
    /// None: the connection broke, or an answer that says nothing.
    Nothing(String),
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { payment, key, instance, started, ended, answer, .. } = self;
        write!(f, "{payment} key {key:?} at {instance:?}, {started} to {ended} ms: {answer:?}")
    }
}

/// A block at the end of the run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// Its height.
    pub number: u64,
    /// The transactions of our gas wallets in it.
    pub transactions: Vec<OnChain>,
    /// The payments that it makes.
    pub transfers: Vec<Transfer>,
}

/// A transaction of a gas wallet in a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnChain {
    /// Its hash.
    pub hash: String,
    /// The gas wallet, as the store spells it.
    pub wallet: String,
    /// Its place in the wallet's sequence; `None` on chains without.
    pub nonce: Option<u64>,
}

/// A payment that a block makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// The payment's name.
    pub payment: String,
    /// The amount that moved.
    pub amount: u128,
    /// The transaction that made it.
    pub transaction: String,
}

/// A signed transaction that reached a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Its hash.
    pub hash: String,
    /// The time at which it first came.
    pub at: u64,
    /// True when the store had it before the node got it; `None` when the store could not be asked then.
    pub stored: Option<bool>,
}

/// A time in which a process answered nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Absence {
    /// The instance.
    pub instance: usize,
    /// The beginning.
    pub from: u64,
    /// The moment from which it answers again.
    pub to: u64,
}

/// The store at the end of a run.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    /// Settlements.
    pub settlements: Vec<Settlement>,
    /// Places in the sequences of gas wallets.
    pub places: Vec<Place>,
    /// Signed forms.
    pub attempts: Vec<Attempt>,
    /// Events.
    pub events: Vec<Event>,
    /// Payments that one instance handed over and none has begun.
    pub handed_over: Vec<String>,
}

/// A row of `settlement`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// Its id.
    pub id: String,
    /// The payment's name.
    pub payment: String,
    /// The amount in atomic units.
    pub amount: u128,
    /// Its state.
    pub state: String,
    /// The transaction that decided it.
    pub transaction: Option<String>,
    /// True when the chain can no longer take that back, as far as it was looked at.
    pub finalized: bool,
}

/// A row of `wallet_transaction`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its id.
    pub id: String,
    /// The gas wallet.
    pub wallet: String,
    /// Its place in the wallet's sequence; `None` on chains without.
    pub nonce: Option<u64>,
    /// The epoch under which it was signed.
    pub epoch: u64,
    /// Its state.
    pub state: String,
}

/// A row of `attempt`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The place.
    pub place: String,
    /// Its name on chain.
    pub hash: String,
}

/// A row of `event`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The settlement.
    pub settlement: String,
    /// Its place among the settlement's events, from 0.
    pub number: u64,
    /// The word for it.
    pub kind: String,
    /// More of it, for people.
    pub detail: String,
}

impl History {
    /// Every payment that the chain makes, in order.
    pub fn transfers(&self) -> impl Iterator<Item = &Transfer> {
        self.blocks.iter().flat_map(|block| &block.transfers)
    }

    /// Every transaction of a gas wallet that is in a block, in order.
    pub fn transactions(&self) -> impl Iterator<Item = &OnChain> {
        self.blocks.iter().flat_map(|block| &block.transactions)
    }
}
