//! Observations of the chain: blocks, inclusions of transactions, effects of plans.

use std::collections::HashSet;

use crate::{
    Amount, Rejection,
    transaction::{Plan, SignedTransaction},
};

/// A block of the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Its height.
    pub number: u64,
    /// Its name.
    pub hash: String,
    /// Its time in seconds since the epoch: the chain's own clock.
    pub timestamp: u64,
    /// The hashes of the transactions in it; `None` where the chain gives no
    /// such list, or where blocks before this one were skipped. A hint for
    /// speed: nothing is decided by it.
    pub transactions: Option<HashSet<String>>,
}

/// A block by height and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockRef {
    /// Its height.
    pub number: u64,
    /// Its name.
    pub hash: String,
}

/// The newest block that the chain can no longer take back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FinalBlock {
    /// Its height.
    pub number: u64,
    /// Its time in seconds since the epoch.
    pub timestamp: u64,
}

/// The urgency of waiting for the next block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// Transactions are open: notice the block at once.
    Closely,
    /// Nothing waits: spare the endpoint.
    Idly,
}

/// The depth in the chain at which a value is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// In the newest block.
    Latest,
    /// In a block with the configured number of confirmations.
    Confirmed,
}

/// A transaction to look for.
#[derive(Clone, Copy, Debug)]
pub struct TransactionView<'a> {
    /// Every signed form it ever had, newest last. Never empty.
    pub attempts: &'a [SignedTransaction],
    /// The steps it carries, in order; empty for one that belongs to no payment.
    pub items: &'a [Item<'a>],
}

/// One step that a transaction carries.
#[derive(Clone, Copy, Debug)]
pub struct Item<'a> {
    /// The action.
    pub plan: &'a Plan,
    /// The newest block when its payment was claimed: an effect in a block up
    /// to this one is not this settlement's.
    pub claimed_block: u64,
}

/// The knowledge of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observation {
    /// No block has it, and one still may.
    Pending,
    /// It is in a block of the canonical chain: where, and what became of each
    /// of its items, in order.
    Included(Inclusion, Vec<Effect>),
    /// No block has any of its attempts, and its nonce is used at the
    /// configured depth: another transaction took its place.
    Replaced,
    /// No block has it, and none can any more. The rejection says why.
    Expired(Rejection),
    /// It cannot be said: the nodes' history does not reach back, or they
    /// contradict each other.
    Unknown {
        /// True when its nonce is used at a depth that the chain does not take
        /// back: it is in a block that is not to be had, or it never comes.
        nonce_used: bool,
        /// Why. For operators.
        why: String,
    },
}

impl Observation {
    /// That it cannot be said, and that its nonce may still be free.
    pub fn unknown(why: impl Into<String>) -> Self {
        Self::Unknown { nonce_used: false, why: why.into() }
    }
}

/// The block of a transaction, and its price.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inclusion {
    /// The attempt's hash.
    pub hash: String,
    /// The block that includes it.
    pub block: BlockRef,
    /// That block's own time, in seconds since the epoch; `None` where the chain
    /// did not tell it along with the rest.
    pub timestamp: Option<u64>,
    /// True when the block has the configured number of confirmations, as seen
    /// by whoever made this observation. Effects of a block without them are
    /// provisional.
    pub confirmed: bool,
    /// The fee that the gas wallet paid, in the coin's atomic units.
    pub fee_paid: Amount,
    /// The gas, or compute units, that it used.
    pub gas_used: u64,
}

/// The effect of one step, with proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Exactly the expected transfer of the expected token, in our transaction.
    Done,
    /// Exactly the expected transfer, in a transaction that is not ours.
    Elsewhere {
        /// That transaction.
        hash: String,
        /// Its block.
        block: BlockRef,
    },
    /// It did not happen, and our transaction can no longer make it happen.
    Missing {
        /// Why.
        why: Rejection,
        /// The chain time, in seconds, until which whoever holds the payload
        /// can still execute it; `None` when nobody can.
        executable_until: Option<u64>,
    },
    /// The transaction did its part, and the settlement goes on with this next
    /// step, sent by the same gas wallet.
    Continues(Plan),
    /// The proof takes an investigation, or is not to be had now. The text is
    /// for operators.
    Unclear(String),
}

/// The verdict on a plan that waited for its transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recheck {
    /// It would succeed in the next block.
    Good,
    /// It would not.
    Bad(Rejection),
    /// It could not be found out. The text is for operators.
    Unknown(String),
}
