//! Plans, fees, signed bytes, and the answers to a send.

use std::{
    any::Any,
    fmt,
    sync::{Arc, OnceLock},
};

use crate::Amount;

/// One on-chain action that a verified payment asks for.
///
/// Opaque to the service and to the store; a family reads it once, by
/// [`typed`](Self::typed), and every clone shares what was read.
#[derive(Clone)]
pub struct Plan {
    /// The gas wallet that must send it, when the payment binds one.
    pub gas_wallet: Option<String>,
    /// The chain time, in seconds, from which on it can no longer execute.
    pub valid_before: Option<u64>,
    body: Arc<str>,
    typed: Arc<OnceLock<Arc<dyn Any + Send + Sync>>>,
}

impl Plan {
    /// A plan from its stored text: the family's own JSON, enough to sign the
    /// action and to prove its effect, also after a restart.
    #[must_use]
    pub fn new(body: impl Into<Arc<str>>) -> Self {
        Self { gas_wallet: None, valid_before: None, body: body.into(), typed: Arc::default() }
    }

    /// The same plan, bound to a gas wallet.
    #[must_use]
    pub fn sent_by(self, gas_wallet: Option<String>) -> Self {
        Self { gas_wallet, ..self }
    }

    /// The same plan, void from a chain time on (seconds since the epoch).
    #[must_use]
    pub fn valid_before(self, valid_before: Option<u64>) -> Self {
        Self { valid_before, ..self }
    }

    /// The stored text.
    pub fn body(&self) -> &str {
        &self.body
    }

    /// Returns the parsed text: parsed at the first call and remembered.
    ///
    /// # Errors
    /// The text is not of type `T`; the error is that of `parse`.
    pub fn typed<T: Any + Send + Sync, E>(&self, parse: impl FnOnce(&str) -> Result<T, E>) -> Result<Arc<T>, E> {
        if let Some(known) = self.typed.get().and_then(|known| Arc::clone(known).downcast::<T>().ok()) {
            return Ok(known);
        }
        let parsed = Arc::new(parse(&self.body)?);
        // Two threads may parse at once: both read the same text.
        let shared: Arc<dyn Any + Send + Sync> = Arc::<T>::clone(&parsed);
        drop(self.typed.set(shared));
        Ok(parsed)
    }
}

impl PartialEq for Plan {
    fn eq(&self, other: &Self) -> bool {
        (&self.gas_wallet, self.valid_before, &self.body) == (&other.gas_wallet, other.valid_before, &other.body)
    }
}

impl Eq for Plan {}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan")
            .field("gas_wallet", &self.gas_wallet)
            .field("valid_before", &self.valid_before)
            .field("body", &self.body)
            .finish_non_exhaustive()
    }
}

/// The purpose of a transaction.
#[derive(Clone, Copy, Debug)]
pub enum Purpose<'a> {
    /// To carry these steps, in order.
    Steps(&'a [Plan]),
    /// To use up a nonce without effect.
    Cancel,
    /// To put the contract on chain by which a transaction carries several steps.
    DeployBatchContract,
}

/// The fee that a transaction offers for its inclusion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fee {
    /// The most that the transaction may take out of the gas wallet, value
    /// included, in the coin's atomic units.
    pub amount_max: Amount,
    /// The family's own terms, JSON text: gas limit and prices on EVM chains,
    /// the payer's own choice on Solana. Stored with the attempt.
    pub terms: String,
}

/// Bytes ready to be stored, and then sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedTransaction {
    /// Its name on chain, as the family spells it: `0x…` hash, base58 signature.
    pub hash: String,
    /// The bytes.
    pub raw: Vec<u8>,
    /// The account that pays for it.
    pub gas_wallet: String,
    /// Its place in the gas wallet's nonce sequence; `None` where the chain has
    /// no nonces, or where somebody else signed the bytes.
    pub nonce: Option<u64>,
    /// The fee that it offers.
    pub fee: Fee,
}

/// The answer to a send. None of them but [`Rejected`](Self::Rejected) by every
/// endpoint says that the transaction cannot be included; so none ends anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BroadcastResult {
    /// At least one endpoint has it.
    Accepted,
    /// No clear answer: timeout, broken connection, unknown text.
    Unknown(String),
    /// The wallet's nonce is already past this transaction: something was included.
    NonceTooLow,
    /// A lower nonce has not arrived there yet.
    NonceGap,
    /// Another transaction with this nonce is in that pool.
    NonceTaken,
    /// It offers too little to be accepted now. The endpoint's words.
    Underpriced(String),
    /// The gas wallet cannot pay for it.
    InsufficientFunds,
    /// The pool has no room now.
    PoolFull,
    /// Every endpoint says that these bytes can never be valid. Their words.
    Rejected(String),
}

impl BroadcastResult {
    /// One answer out of those of all endpoints: whoever accepts wins; rejected
    /// only if all reject; else the one that tells the most.
    #[must_use]
    pub fn fold(answers: impl IntoIterator<Item = Self>) -> Self {
        let rank = |answer: &Self| match answer {
            Self::Accepted => 0,
            Self::NonceTooLow => 1,
            Self::InsufficientFunds => 2,
            Self::NonceTaken => 3,
            Self::Underpriced(_) => 4,
            Self::NonceGap => 5,
            Self::PoolFull => 6,
            Self::Unknown(_) => 7,
            Self::Rejected(_) => 8,
        };
        answers.into_iter().min_by_key(rank).unwrap_or_else(|| Self::Unknown("no endpoint answered".to_owned()))
    }

    /// The word for it in the store, in metrics and in answers.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Unknown(_) => "unknown",
            Self::NonceTooLow => "nonce_too_low",
            Self::NonceGap => "nonce_gap",
            Self::NonceTaken => "nonce_taken",
            Self::Underpriced(_) => "underpriced",
            Self::InsufficientFunds => "insufficient_funds",
            Self::PoolFull => "pool_full",
            Self::Rejected(_) => "rejected",
        }
    }

    /// The endpoint's own words, where there are any.
    pub fn detail(&self) -> &str {
        match self {
            Self::Unknown(text) | Self::Underpriced(text) | Self::Rejected(text) => text,
            Self::Accepted
            | Self::NonceTooLow
            | Self::NonceGap
            | Self::NonceTaken
            | Self::InsufficientFunds
            | Self::PoolFull => "",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_endpoint_that_has_it_is_enough_and_only_all_can_reject() {
        let (unknown, rejected) = (BroadcastResult::Unknown("u".into()), BroadcastResult::Rejected("r".into()));
        let cases = [
            (vec![rejected.clone(), unknown.clone(), BroadcastResult::Accepted], BroadcastResult::Accepted),
            (vec![rejected.clone(), unknown.clone()], unknown.clone()),
            (vec![rejected.clone(), rejected.clone()], rejected),
            (vec![unknown, BroadcastResult::NonceTooLow], BroadcastResult::NonceTooLow),
            (vec![], BroadcastResult::Unknown("no endpoint answered".into())),
        ];
        for (answers, expected) in cases {
            assert_eq!(BroadcastResult::fold(answers.clone()), expected, "{answers:?}");
        }
    }

    #[test]
    fn a_plan_is_parsed_once_and_its_clones_share_it() {
        let plan = Plan::new("7").valid_before(Some(9));
        let clone = plan.clone();
        assert_eq!(plan.typed(str::parse::<u64>).as_deref(), Ok(&7));
        let again = clone.typed(|_| -> Result<u64, ()> { Err(()) });
        assert_eq!(again.as_deref(), Ok(&7));
        assert!(Plan::new("x").typed(str::parse::<u64>).is_err());
        assert_eq!(clone, Plan::new("7").valid_before(Some(9)), "what was parsed is no part of the value");
    }
}
