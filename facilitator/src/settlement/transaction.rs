//! Places in a gas wallet's nonce sequence, and their signed forms.

use std::fmt;

use chains_core::{
    Amount,
    clock::Millis,
    observation::{BlockRef, Inclusion},
    transaction::SignedTransaction,
};
use uuid::Uuid;

use super::{SettlementId, StepNumber};

/// Names a transaction in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransactionId(pub Uuid);

impl TransactionId {
    /// A name that was never given before.
    pub fn fresh() -> Self {
        Self(Uuid::now_v7())
    }
}

impl fmt::Display for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One place in a gas wallet's nonce sequence, whatever it carries; one message
/// where a chain has no nonces. All its attempts compete for the same place, so
/// at most one of them is ever included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// Its name in the store.
    pub id: TransactionId,
    /// The account that pays for it.
    pub gas_wallet: String,
    /// The place; `None` on chains without nonces, and for bytes that somebody
    /// else signed.
    pub nonce: Option<u64>,
    /// The epoch of the wallet's ownership under which it was signed.
    pub epoch: u64,
    /// The steps that it carries, in order. Empty for one that only uses up
    /// its nonce.
    pub items: Vec<(SettlementId, StepNumber)>,
    /// Every signed form, oldest first. Never empty.
    pub attempts: Vec<Attempt>,
    /// Its state.
    pub state: TransactionState,
    /// The time at which its place was taken.
    pub created_at: Millis,
}

impl Transaction {
    /// The newest signed form.
    pub fn newest(&self) -> &SignedTransaction {
        let newest = self.attempts.last().unwrap_or_else(|| unreachable!("a transaction has an attempt"));
        &newest.signed
    }

    /// The part of a fee of it that falls to one of the settlements it carries:
    /// all pay the same, and the first what cannot be divided.
    pub fn share(&self, fee: Amount, settlement: SettlementId) -> Amount {
        let place = self.items.iter().position(|(id, _)| *id == settlement);
        place.map_or(Amount::ZERO, |place| fee.share(place, self.items.len()))
    }

    /// Every signed form, oldest first, as [`TransactionView`] wants them.
    ///
    /// [`TransactionView`]: chains_core::observation::TransactionView
    pub fn signed(&self) -> Vec<SignedTransaction> {
        self.attempts.iter().map(|attempt| attempt.signed.clone()).collect()
    }
}

/// The state of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransactionState {
    /// No confirmed block has it; one may.
    Open,
    /// A confirmed block has one of its attempts; the attempt knows which.
    Included {
        /// The attempt's hash.
        hash: String,
        /// The block.
        block: BlockRef,
    },
    /// No block has any of its attempts, and none can.
    Dead {
        /// The proof, in words.
        why: String,
    },
}

/// One signed form of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The bytes and what they offer.
    pub signed: SignedTransaction,
    /// The reason why it was signed.
    pub kind: AttemptKind,
    /// The time.
    pub created_at: Millis,
    /// The block that includes it and the price, if one does. The fee paid is
    /// stored here and nowhere else.
    pub inclusion: Option<Inclusion>,
}

/// The reason why an attempt was signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptKind {
    /// The first of its transaction.
    First,
    /// The same with a higher fee.
    Bump,
    /// Nothing, to use the nonce up.
    Cancel,
}

impl AttemptKind {
    /// The word that is stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Bump => "bump",
            Self::Cancel => "cancel",
        }
    }
}

impl std::str::FromStr for AttemptKind {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        [Self::First, Self::Bump, Self::Cancel].into_iter().find(|kind| kind.as_str() == word).ok_or(())
    }
}
