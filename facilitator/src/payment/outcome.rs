//! The outcome of a use case, in words of the domain: no wire shapes, no status codes.

use std::time::Duration;

use chains_core::{Amount, Rejection, protocol::Version};

use crate::settlement::{Failed, SettlementId};

/// The time after which to come back after a passing trouble.
pub const RETRY_AFTER: Duration = Duration::from_secs(2);

/// The part of an answer that every outcome shares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The protocol version that the answer is spelled in.
    pub version: Version,
    /// The network as the request wrote it.
    pub network: String,
    /// The account that pays; empty when the payload does not tell.
    pub payer: String,
}

/// The outcome of a verification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VerifyOutcome {
    /// The payment is good.
    Valid,
    /// It is not.
    Invalid(Rejection),
    /// It could not be found out.
    Unavailable(Unavailable),
}

/// The outcome of a settle request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettleOutcome {
    /// The payment is not good; nothing was begun.
    Rejected(Rejection),
    /// The success, given to this request.
    Settled {
        /// The settlement.
        id: SettlementId,
        /// The transaction that did it; empty for a payment that asked for nothing.
        transaction: String,
        /// The amount that moved.
        amount: Amount,
    },
    /// The settlement failed.
    Failed {
        /// The settlement.
        id: SettlementId,
        /// Why, and how it is known.
        failed: Failed,
    },
    /// The settlement belongs to another request.
    Duplicate {
        /// The settlement.
        id: SettlementId,
        /// Its transaction.
        transaction: String,
    },
    /// The settlement is not decided.
    Pending {
        /// The settlement.
        id: SettlementId,
        /// Its transaction.
        transaction: String,
        /// The reason why not.
        why: Pending,
    },
    /// The request's key belongs to another payment.
    KeyReused,
    /// Nothing was claimed, signed or sent.
    Unavailable(Unavailable),
}

/// The reason why a settlement is not decided yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pending {
    /// Its transaction is stored, and no endpoint has accepted it yet.
    NotAccepted,
    /// Its transaction is sent, and not confirmed yet.
    Sent,
    /// Its transaction's nonce is used, and the proof of what happened is
    /// withheld.
    Unresolved,
    /// The chain took its transfer back: its bytes are sent again.
    TakenBack,
}

/// The reason why the service cannot serve a payment now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unavailable {
    /// For the caller: no internal text.
    pub message: &'static str,
    /// The time after which trying again makes sense.
    pub retry_after: Duration,
}

impl Unavailable {
    /// A passing trouble.
    pub const fn now(message: &'static str) -> Self {
        Self { message, retry_after: RETRY_AFTER }
    }
}
