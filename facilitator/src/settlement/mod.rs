//! A settlement: its states, its record, its place in the guard.
//!
//! Imports nothing of this crate. [`record`] is what the store keeps,
//! [`replay_guard`] is what makes one payment one settlement in this process,
//! [`reservations`] adds up what payers spend at a time, [`failures`] remembers
//! who has cost us gas for nothing.

pub mod failures;
pub mod record;
pub mod replay_guard;
pub mod reservations;

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The public name of a settlement: a UUID of version 7, so ids sort by time
/// and tell nothing of a payment to who guesses one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SettlementId(pub Uuid);

impl fmt::Display for SettlementId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How far a settlement is, for people and for the status routes.
///
/// `claimed` is never stored: the claim, the signed bytes and their sequence
/// are one commit. It names a settlement that this process has taken on and
/// not yet signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Verified and taken on; nothing is signed.
    Claimed,
    /// The bytes are stored; no endpoint is known to have them.
    Signed,
    /// At least one endpoint has, or may have, the bytes.
    Broadcast,
    /// The transfer is on chain, proven by its effect.
    Settled,
    /// Proven not to have happened, and no longer able to happen.
    Failed,
}

impl State {
    /// The word that is stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Claimed => "claimed",
            Self::Signed => "signed",
            Self::Broadcast => "broadcast",
            Self::Settled => "settled",
            Self::Failed => "failed",
        }
    }

    /// Whether nothing more will happen.
    pub const fn is_final(self) -> bool {
        match self {
            Self::Settled | Self::Failed => true,
            Self::Claimed | Self::Signed | Self::Broadcast => false,
        }
    }
}

impl std::str::FromStr for State {
    type Err = UnknownState;

    fn from_str(word: &str) -> Result<Self, UnknownState> {
        [Self::Claimed, Self::Signed, Self::Broadcast, Self::Settled, Self::Failed]
            .into_iter()
            .find(|state| state.as_str() == word)
            .ok_or(UnknownState)
    }
}

/// The word names no state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a state is one of claimed, signed, broadcast, settled, failed")]
pub struct UnknownState;
