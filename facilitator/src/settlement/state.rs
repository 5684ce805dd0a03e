//! The state of a settlement.

use chains_core::{Rejection, observation::BlockRef, protocol::Version};
use serde::{Deserialize, Serialize};

/// The state of a settlement, with the data that belongs to it.
///
/// `Settled` and `Failed` are final. `Unresolved` ends by a proof, or by the
/// operator's word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Its bytes are stored; the chain has not decided.
    Open,
    /// The transfer is on chain, proven by its effect.
    Settled(Settled),
    /// Proven not to have happened by our transaction, which no longer can.
    Failed(Failed),
    /// The nonce of its transaction is used, and no endpoint gives the proof of
    /// what happened: it is asked for with growing intervals.
    Unresolved {
        /// The newest reason, for operators.
        why: String,
    },
}

/// A settlement that succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The transaction that did it, not always ours, and its block, which an
    /// operator's word does not name; `None` for a payment that asked for
    /// nothing (`upto` with amount 0).
    pub proof: Option<(String, Option<BlockRef>)>,
}

impl Settled {
    /// Settled by a transaction in a block.
    pub const fn by(hash: String, block: BlockRef) -> Self {
        Self { proof: Some((hash, Some(block))) }
    }

    /// The block; `None` where there is none, or none is known.
    pub fn block(&self) -> Option<&BlockRef> {
        self.proof.as_ref().and_then(|(_, block)| block.as_ref())
    }

    /// The transaction's hash; empty where there is none.
    pub fn hash(&self) -> &str {
        self.proof.as_ref().map_or("", |(hash, _)| hash)
    }
}

/// A settlement that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// The code, in the spelling of protocol v2.
    pub reason: String,
    /// The same for people.
    pub message: String,
    /// The transaction that failed, or the foreign one that used the
    /// authorization up.
    pub transaction: Option<String>,
    /// Its block.
    pub block: Option<BlockRef>,
    /// The chain time, in seconds, until which whoever holds the payload can
    /// still execute it; `None` when nobody can.
    pub executable_until: Option<u64>,
}

impl Failed {
    /// A failure for this reason, shown by this transaction.
    pub fn new(why: Rejection, transaction: Option<String>, block: Option<BlockRef>) -> Self {
        let reason = why.code.spelling(Version::V2).to_owned();
        Self { reason, message: why.message.into_owned(), transaction, block, executable_until: None }
    }
}

impl State {
    /// Returns true when nothing more will happen.
    pub const fn is_final(&self) -> bool {
        match self {
            Self::Settled(_) | Self::Failed(_) => true,
            Self::Open | Self::Unresolved { .. } => false,
        }
    }
}

/// The state as one word, for people, the status routes and the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// The bytes are stored; no endpoint is known to have them.
    Signed,
    /// At least one endpoint has, or may have, the bytes.
    Broadcast,
    /// See [`State::Settled`].
    Settled,
    /// See [`State::Failed`].
    Failed,
    /// See [`State::Unresolved`].
    Unresolved,
}

impl Status {
    /// Every word.
    pub const ALL: [Self; 5] = [Self::Signed, Self::Broadcast, Self::Settled, Self::Failed, Self::Unresolved];

    /// The word that is stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Signed => "signed",
            Self::Broadcast => "broadcast",
            Self::Settled => "settled",
            Self::Failed => "failed",
            Self::Unresolved => "unresolved",
        }
    }
}

impl std::str::FromStr for Status {
    type Err = UnknownStatus;

    fn from_str(word: &str) -> Result<Self, UnknownStatus> {
        Self::ALL.into_iter().find(|status| status.as_str() == word).ok_or(UnknownStatus)
    }
}

/// The word names no state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a state is one of signed, broadcast, settled, failed, unresolved")]
pub struct UnknownStatus;
