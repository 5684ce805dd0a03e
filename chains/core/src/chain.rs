//! What a chain does for the service: sign, broadcast, watch, observe, check.
//!
//! A chain holds nothing that must survive a restart. What must is in the
//! service's store, and comes back through the arguments.

use std::{collections::HashSet, sync::Arc, time::Duration};

use async_trait::async_trait;

use crate::{Amount, Network, Rejection, protocol::Version, scheme::Scheme};

/// One configured network.
#[async_trait]
pub trait Chain: Send + Sync {
    /// Its CAIP-2 identifier.
    fn network(&self) -> &Network;

    /// Its name in protocol v1, for example `base-sepolia`; `None` when v1 has
    /// no name for it.
    fn legacy_name(&self) -> Option<&str>;

    /// The schemes that can be paid with here.
    fn schemes(&self) -> &[Arc<dyn Scheme>];

    /// What `/supported` says of this network when it announces this gas
    /// wallet. Schemes that bind a payment to the wallet that sends it name it
    /// in `extra`; every other configured wallet stays valid.
    fn kinds(&self, gas_wallet: &str) -> Vec<Kind>;

    /// The extensions of the protocol that this network understands, by their
    /// keys, for `/supported`.
    fn extensions(&self) -> Vec<&'static str>;

    /// The addresses that pay gas, in configuration order. Never empty.
    fn gas_wallets(&self) -> &[String];

    /// How the submitter treats this network.
    fn pace(&self) -> Pace;

    /// Proves that the endpoints serve this very chain and that the assets are
    /// what the configuration says. Called until it succeeds, before any
    /// payment of this network is accepted, and from then on every
    /// [`Pace::recheck_interval`]: what is no longer so closes the network.
    async fn open(&self) -> Result<(), OpenError>;

    /// Where a gas wallet's transaction sequence stands. Called before the
    /// wallet's lane opens. Chains without sequences say `None`.
    async fn sequence(&self, gas_wallet: &str) -> Result<Option<Sequence>, ChainUnavailable>;

    /// The gas wallet's balance in the chain's own coin, in atomic units.
    /// Called when the lane opens and every few seconds while it is open.
    async fn gas_balance(&self, gas_wallet: &str) -> Result<GasBalance, ChainUnavailable>;

    /// Turns a plan into the bytes to send. Local: no I/O. The same arguments
    /// and fees give the same bytes. Bytes that somebody else signed (a payer's
    /// own approval) leave the sequence unused: theirs is `None`. Called by the lane of the gas wallet,
    /// with fees from [`quote`](Self::quote).
    fn sign(
        &self,
        gas_wallet: &str,
        sequence: Option<u64>,
        plan: &PlannedTransaction,
        fees: &Fees,
    ) -> Result<SignedTransaction, SignError>;

    /// What a transaction must offer now. Local: from the newest head.
    /// Called by the lane before it signs.
    ///
    /// # Errors
    /// The market asks for more than the configured ceiling, or no head is known.
    fn quote(&self) -> Result<Fees, QuoteError>;

    /// What no two settlements may use at a time, of those that this plan uses:
    /// a second one is told to come back. `None` where plans do not disturb
    /// each other.
    fn exclusive(&self, plan: &PlannedTransaction) -> Option<String> {
        let _ = plan;
        None
    }

    /// How v1 spells the reason of a settlement that failed, where it differs
    /// from v2's, which is what the store keeps.
    fn legacy_reason(&self, reason: &str) -> Option<&'static str> {
        let _ = reason;
        None
    }

    /// Sends bytes that the store already holds, to every endpoint. Sending
    /// the same bytes again is harmless. One answer for each, in order; a
    /// cancelled call is an unknown one.
    async fn broadcast(&self, transactions: &[SignedTransaction]) -> Vec<Broadcast>;

    /// The next block after `after` (in order, none left out unless the chain
    /// went on without us for long), or the newest when `after` is `None` or
    /// no longer part of the chain. Waits for it. `pace` says whether somebody
    /// waits for this block.
    async fn next_head(&self, after: Option<&Head>, watch: Watch) -> Result<Head, ChainUnavailable>;

    /// Looks for the effect of transactions, with proof. One answer for each,
    /// in order. Called with those that [`Head::transactions`] lists, and with
    /// all after a restart or a doubt.
    async fn observe(&self, transactions: &[Watched<'_>]) -> Result<Vec<Observation>, ChainUnavailable>;

    /// What operators should know of this network although it takes payments,
    /// such as an asset that is suspended. Local. Called for every `/ready`.
    fn notices(&self) -> Vec<String> {
        Vec::new()
    }

    /// Doctor, online part: what is wrong or unusual with this network.
    async fn check(&self) -> Vec<Finding>;
}

/// How the submitter treats a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Transactions of one gas wallet that may wait for a block at a time.
    pub in_flight_max: usize,
    /// Blocks, the including one counted, until a transfer counts as settled.
    pub confirmations: u64,
    /// The usual time between blocks.
    pub block_time: Duration,
    /// Blocks that a transaction may stay unseen before its bytes are sent again.
    pub resend_after: u64,
    /// Blocks on top of a settled transfer after which the chain no longer
    /// takes it back: then it is looked at once more.
    pub final_after: u64,
    /// How often what [`Chain::open`] proves is proven again.
    pub recheck_interval: Duration,
}

/// One entry of `/supported`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kind {
    /// The protocol version that may name it.
    pub version: Version,
    /// The scheme's name.
    pub scheme: &'static str,
    /// The network as that version writes it.
    pub network: String,
    /// What the scheme tells servers, or nothing.
    pub extra: Option<serde_json::Value>,
}

/// A transaction that a verified payment asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedTransaction {
    /// The gas wallet that must send it, when the payment binds one.
    pub gas_wallet: Option<String>,
    /// The family's own description, JSON text: enough to sign it and to prove
    /// its effect, also after a restart. Opaque to the service.
    pub body: String,
    /// The chain time, in seconds, from which on it can no longer execute.
    pub valid_before: Option<u64>,
}

/// What a transaction offers for its inclusion. Opaque to the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fees {
    /// The most that one unit of gas may cost, in the coin's atomic units.
    pub per_gas_max: u128,
    /// Of it, what goes to the block's producer.
    pub tip_per_gas: u128,
}

/// Bytes ready to be stored, and then sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedTransaction {
    /// Its name on chain, as the family spells it: `0x…` hash, base58 signature.
    pub transaction: String,
    /// The bytes.
    pub raw: Vec<u8>,
    /// Who pays the gas.
    pub gas_wallet: String,
    /// Its place in the gas wallet's sequence (nonce), where the chain has one.
    pub sequence: Option<u64>,
    /// The most gas it may use.
    pub gas_limit: u64,
    /// What it offers.
    pub fees: Fees,
}

/// How a send went. Everything but [`Refused`](Self::Refused) leaves open
/// whether the transaction lands, and so takes nothing back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broadcast {
    /// At least one endpoint has it.
    Accepted,
    /// No clear answer: timeout, broken connection, unknown text.
    Unknown(String),
    /// The gas wallet's sequence is already past this transaction: something landed.
    SequenceConsumed,
    /// A lower sequence has not arrived there yet.
    SequenceGap,
    /// Another transaction with this sequence is in that pool.
    SequenceTaken,
    /// It offers too little to be accepted now.
    Underpriced,
    /// The gas wallet cannot pay for it.
    GasWalletEmpty,
    /// The pool has no room now.
    PoolFull,
    /// Every endpoint says that these bytes can never be valid.
    Refused(String),
}

impl Broadcast {
    /// One answer out of those of all endpoints: whoever accepts wins; refused
    /// only if all refuse; else the one that tells the most.
    #[must_use]
    pub fn fold(answers: impl IntoIterator<Item = Self>) -> Self {
        let rank = |answer: &Self| match answer {
            Self::Accepted => 0,
            Self::SequenceConsumed => 1,
            Self::GasWalletEmpty => 2,
            Self::SequenceTaken => 3,
            Self::Underpriced => 4,
            Self::SequenceGap => 5,
            Self::PoolFull => 6,
            Self::Unknown(_) => 7,
            Self::Refused(_) => 8,
        };
        answers.into_iter().min_by_key(rank).unwrap_or_else(|| Self::Unknown("no endpoint answered".to_owned()))
    }
}

/// A block of the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its height.
    pub number: u64,
    /// Its name.
    pub hash: String,
    /// Its time in seconds since the epoch: the chain's own clock.
    pub timestamp: u64,
    /// The transactions in it; `None` where the chain gives no such list, or
    /// where blocks before this one were skipped. Then all have to be observed.
    pub transactions: Option<HashSet<String>>,
}

/// Whether anybody waits for the next block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watch {
    /// Settlements are in flight: notice the block at once.
    Closely,
    /// Nothing waits: spare the endpoint.
    Idly,
}

/// A transaction to look for.
#[derive(Clone, Copy, Debug)]
pub struct Watched<'a> {
    /// Every name it ever had, newest last.
    pub attempts: &'a [SignedTransaction],
    /// What it was to do.
    pub plan: &'a PlannedTransaction,
    /// The head when the payment was claimed: an effect in a block up to this
    /// one is not ours.
    pub claimed_at: u64,
}

/// What was found of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observation {
    /// Not in a block, and may still get into one.
    Pending,
    /// Not in a block, and proven to never get into one: what makes it valid
    /// is over on chain. The rejection says what expired.
    Expired(Rejection),
    /// Not found, by nodes that cannot know: their history does not reach back
    /// to the claim. The text says how far it does, for operators.
    Unknown(String),
    /// In a block of the canonical chain.
    Landed(Landed),
}

/// A transaction in a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Landed {
    /// The attempt that landed.
    pub transaction: String,
    /// The block it is in.
    pub block: BlockRef,
    /// What the gas wallet paid, in the coin's atomic units.
    pub fee_paid: Amount,
    /// The gas it used.
    pub gas_used: u64,
    /// Whether the payment happened.
    pub effect: Effect,
}

/// A block by height and name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockRef {
    /// Its height.
    pub number: u64,
    /// Its name.
    pub hash: String,
}

/// Whether a payment happened, with proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Exactly the expected transfer of the expected token, in our transaction.
    Done,
    /// Exactly the expected transfer, in a transaction that is not ours.
    DoneElsewhere {
        /// That transaction.
        transaction: String,
        /// Its block.
        block: BlockRef,
    },
    /// It did not happen and our transaction can no longer make it happen.
    Missing(Rejection),
    /// The transaction did its part, and the settlement goes on with this next
    /// one, sent by the same gas wallet.
    Continues(PlannedTransaction),
    /// The proof is not to be had now: look again.
    Unclear(String),
}

/// Where a gas wallet's sequence stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sequence {
    /// The next unused one in the newest block.
    pub latest: u64,
}

/// What a gas wallet owns, and needs to be of use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GasBalance {
    /// In the coin's atomic units.
    pub balance: Amount,
    /// Below this the wallet takes no new settlement.
    pub balance_min: Amount,
}

/// The chain could not be asked. The text is for operators and never leaves
/// the process through an answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{network} cannot be reached: {detail}")]
pub struct ChainUnavailable {
    /// The network.
    pub network: Network,
    /// What was seen, without credentials.
    pub detail: String,
}

/// Why a network cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Not now.
    #[error(transparent)]
    Unavailable(#[from] ChainUnavailable),
    /// The endpoints or the assets are not what the configuration says.
    #[error("{network}: {detail}")]
    Mismatch {
        /// The network.
        network: Network,
        /// What was seen, what it means, and what to do.
        detail: String,
    },
}

/// Why nothing can be offered for inclusion now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuoteError {
    /// No block has been seen yet.
    #[error("no block has been seen yet")]
    NoHead,
    /// The market asks more than the operator allows.
    #[error("gas costs {asked} wei, the ceiling is {ceiling} wei")]
    AboveCeiling {
        /// What the next block asks for.
        asked: u128,
        /// `fee_per_gas_max`.
        ceiling: u128,
    },
}

/// A plan that cannot be signed: one that this build did not write, or a key
/// that is not configured any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The gas wallet has no key here.
    #[error("gas wallet {0} has no key in the configuration")]
    NoKey(String),
    /// The plan's text is not one of ours.
    #[error("the stored plan cannot be read: {0}")]
    Plan(String),
}

/// Something that the doctor saw.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What it is about: a configuration key, a network, a wallet.
    pub subject: String,
    /// What was seen.
    pub seen: String,
    /// What it means.
    pub meaning: String,
    /// What to do; empty when there is nothing to do.
    pub fix: String,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// As it should be.
    Ok,
    /// Works, but will hurt.
    Warning,
    /// Does not work.
    Error,
}

impl Finding {
    /// A finding.
    pub fn new(
        severity: Severity,
        subject: &str,
        seen: impl Into<String>,
        meaning: &str,
        fix: impl Into<String>,
    ) -> Self {
        let (subject, meaning) = (subject.to_owned(), meaning.to_owned());
        Self { severity, subject, seen: seen.into(), meaning, fix: fix.into() }
    }

    /// That something is as it should be.
    pub fn fine(subject: &str, seen: impl Into<String>) -> Self {
        Self::new(Severity::Ok, subject, seen, "As it should be", "")
    }

    /// That something could not be asked for.
    pub fn unreachable(subject: &str, seen: impl Into<String>) -> Self {
        let (meaning, fix) =
            ("The chain cannot be asked this", "Check that the node runs and that its URL and key are right");
        Self::new(Severity::Error, subject, seen, meaning, fix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_endpoint_that_has_it_is_enough_and_only_all_can_refuse() {
        let (unknown, refused) = (Broadcast::Unknown("u".into()), Broadcast::Refused("r".into()));
        let cases = [
            (vec![refused.clone(), unknown.clone(), Broadcast::Accepted], Broadcast::Accepted),
            (vec![refused.clone(), unknown.clone()], unknown.clone()),
            (vec![refused.clone(), refused.clone()], refused),
            (vec![unknown, Broadcast::SequenceConsumed], Broadcast::SequenceConsumed),
            (vec![], Broadcast::Unknown("no endpoint answered".into())),
        ];
        for (answers, expected) in cases {
            assert_eq!(Broadcast::fold(answers.clone()), expected, "{answers:?}");
        }
    }
}
