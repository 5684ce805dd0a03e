//! Everything about a settlement that never changes.

use std::fmt;

use chains_core::{Amount, Fingerprint, Identity, Network, clock::Millis};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Caller;

/// The public name of a settlement: a UUID of version 7, so ids sort by time
/// and tell nothing of a payment to somebody who guesses one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SettlementId(pub Uuid);

impl SettlementId {
    /// A name that was never given before.
    pub fn fresh() -> Self {
        Self(Uuid::now_v7())
    }
}

impl fmt::Display for SettlementId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The facts of a settlement: made once, at the claim, and shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Its public name.
    pub id: SettlementId,
    /// The payment's one name; unique in the store for ever.
    pub identity: Identity,
    /// The hash that a request must match to join it.
    pub fingerprint: Fingerprint,
    /// The request that began it.
    pub caller: Caller,
    /// Names that request in the log and to its caller; empty where nobody asked.
    pub request_id: String,
    /// The chain.
    pub network: Network,
    /// The scheme's name, such as `exact`.
    pub scheme: String,
    /// The account that pays.
    pub payer: String,
    /// Names the code that decides about the payer's signature; `None` for a
    /// payer with a key alone.
    pub payer_code: Option<String>,
    /// The account that receives.
    pub pay_to: String,
    /// The token.
    pub asset: String,
    /// The amount that moves, in the token's atomic units.
    pub amount: Amount,
    /// The payer's number for this payment.
    pub nonce: String,
    /// The height of the newest block when the payment was claimed: an effect
    /// in a block up to this one is not this settlement's.
    pub claimed_block: u64,
    /// The time of the claim.
    pub created_at: Millis,
}
