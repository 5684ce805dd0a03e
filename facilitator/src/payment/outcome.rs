//! The outcome of a use case, in words of the domain: no wire shapes, no status codes.

use std::time::Duration;

use chains_core::{Amount, Code, Rejection, protocol::Version, reason};

use crate::{
    metrics::zero::OTHER,
    settlement::{Failed, NotNow, SettlementId},
};

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
    /// The network and the scheme of the payment.
    pub route: Route,
}

/// The network and the scheme of a payment, as metrics and the log name them: one that
/// is not served here is `other`, whatever the request wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// CAIP-2, or `other`.
    pub network: String,
    /// The scheme's name, or `other`.
    pub scheme: String,
}

impl Default for Route {
    fn default() -> Self {
        Self { network: OTHER.to_owned(), scheme: OTHER.to_owned() }
    }
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

impl Pending {
    /// The word for it in metrics and in the log.
    pub const fn word(self) -> &'static str {
        match self {
            Self::NotAccepted => "not_accepted",
            Self::Sent => "sent",
            Self::Unresolved => "unresolved",
            Self::TakenBack => "taken_back",
        }
    }
}

/// The reason why the service cannot serve a payment now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unavailable {
    /// Why.
    pub why: NotNow,
    /// The time after which trying again makes sense.
    pub retry_after: Duration,
}

impl Unavailable {
    /// A passing trouble.
    pub const fn now(why: NotNow) -> Self {
        Self { why, retry_after: RETRY_AFTER }
    }
}

/// An outcome as metrics and the log say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// Its fate.
    pub outcome: &'static str,
    /// Why: a code of the protocol or of the family, a word of [`NotNow`], or `none`.
    pub reason: &'static str,
}

/// The reason of an outcome that needs none.
const NO_REASON: &str = "none";

/// The outcome for which the operator's own rules are the reason.
const BY_POLICY: &str = "refused_by_policy";

/// The API key may not settle for this payee. Ours.
pub const PAY_TO_NOT_ALLOWED: Code = Code::new("pay_to_not_allowed");

/// Codes of rules that the operator has made.
const POLICY: [Code; 2] = [PAY_TO_NOT_ALLOWED, reason::PAYER_FAILED_TOO_OFTEN];

const fn told(outcome: &'static str, reason: &'static str) -> Told {
    Told { outcome, reason }
}

/// The outcome of a bug, on either route.
pub const PANICKED: Told = told("internal", "panic");

/// The outcomes of `/verify` that can be foreseen; `invalid` has the codes of payers' mistakes besides.
pub fn verify_outcomes() -> Vec<(&'static str, &'static str)> {
    let unavailable =
        [NotNow::NetworkClosed, NotNow::Paused, NotNow::ChainUnavailable].map(|why| ("unavailable", why.word()));
    let policy = POLICY.map(|code| (BY_POLICY, code.spelling(Version::V2)));
    let others = [("valid", NO_REASON), (PANICKED.outcome, PANICKED.reason)];
    others.into_iter().chain(unavailable).chain(policy).collect()
}

/// The outcomes of `/settle` that can be foreseen; `rejected` and `failed` have the codes of
/// payers' mistakes and of failures on chain besides.
pub fn settle_outcomes() -> Vec<(&'static str, &'static str)> {
    let unavailable = NotNow::WORDS.into_iter().map(|word| (unavailable(word), word));
    let policy = POLICY.map(|code| (BY_POLICY, code.spelling(Version::V2)));
    let pending = [Pending::NotAccepted, Pending::Sent, Pending::Unresolved, Pending::TakenBack]
        .map(|why| ("pending", why.word()));
    let others = [("success", NO_REASON), ("duplicate", NO_REASON), (PANICKED.outcome, PANICKED.reason)];
    others.into_iter().chain(pending).chain(policy).chain(unavailable).collect()
}

/// A budget that is used up is the operator's rule; everything else is ours to mend.
fn unavailable(word: &str) -> &'static str {
    if word == NotNow::BUDGET { BY_POLICY } else { "unavailable" }
}

fn refused(outcome: &'static str, code: Code) -> Told {
    told(if POLICY.contains(&code) { BY_POLICY } else { outcome }, code.spelling(Version::V2))
}

impl VerifyOutcome {
    /// The outcome as metrics and the log say it.
    pub fn told(&self) -> Told {
        match self {
            Self::Valid => told("valid", NO_REASON),
            Self::Invalid(rejection) => refused("invalid", rejection.code),
            Self::Unavailable(Unavailable { why, .. }) => told("unavailable", why.word()),
        }
    }
}

impl SettleOutcome {
    /// The outcome as metrics and the log say it. `codes`: those of the payment's family;
    /// a stored reason that is none of them, as an older version wrote it, is `other`.
    pub fn told(&self, codes: &[Code]) -> Told {
        match self {
            Self::Rejected(rejection) => refused("rejected", rejection.code),
            Self::KeyReused => refused("rejected", reason::IDEMPOTENCY_KEY_REUSED),
            Self::Settled { .. } => told("success", NO_REASON),
            Self::Duplicate { .. } => told("duplicate", NO_REASON),
            Self::Pending { why, .. } => told("pending", why.word()),
            Self::Unavailable(Unavailable { why, .. }) => told(unavailable(why.word()), why.word()),
            Self::Failed { failed, .. } => {
                let codes = codes.iter().map(|code| code.spelling(Version::V2));
                told("failed", codes.into_iter().find(|code| *code == failed.reason).unwrap_or(OTHER))
            }
        }
    }

    /// The settlement, where there is one.
    pub const fn settlement(&self) -> Option<SettlementId> {
        match self {
            Self::Settled { id, .. }
            | Self::Failed { id, .. }
            | Self::Duplicate { id, .. }
            | Self::Pending { id, .. } => Some(*id),
            Self::Rejected(_) | Self::KeyReused | Self::Unavailable(_) => None,
        }
    }

    /// Its transaction, where there is one.
    pub fn transaction(&self) -> Option<&str> {
        match self {
            Self::Settled { transaction, .. }
            | Self::Duplicate { transaction, .. }
            | Self::Pending { transaction, .. } => Some(transaction.as_str()),
            Self::Failed { failed, .. } => failed.transaction.as_deref(),
            Self::Rejected(_) | Self::KeyReused | Self::Unavailable(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_outcome_of_our_own_fault_is_foreseen_and_no_text_of_a_request_becomes_a_reason() {
        let id = SettlementId::fresh();
        let rejection = |code| Rejection::new(code, "no");
        let unavailable = |why| SettleOutcome::Unavailable(Unavailable::now(why));
        let failed = |reason: &str| SettleOutcome::Failed {
            id,
            failed: Failed { reason: reason.into(), ..Failed::new(rejection(reason::INVALID_PAYLOAD), None, None) },
        };
        let codes = [Code::versions("old", "new")];
        let cases = [
            (SettleOutcome::Settled { id, transaction: "t".into(), amount: Amount::ZERO }, "success", "none", true),
            (SettleOutcome::Duplicate { id, transaction: "t".into() }, "duplicate", "none", true),
            (SettleOutcome::Pending { id, transaction: "t".into(), why: Pending::Sent }, "pending", "sent", true),
            (unavailable(NotNow::Store), "unavailable", "store", true),
            (unavailable(NotNow::GasWalletTaken), "unavailable", "no_gas_wallet", true),
            (unavailable(NotNow::KeyBudget), "refused_by_policy", "gas_budget", true),
            (SettleOutcome::Rejected(rejection(PAY_TO_NOT_ALLOWED)), "refused_by_policy", "pay_to_not_allowed", true),
            (SettleOutcome::Rejected(rejection(reason::INVALID_NETWORK)), "rejected", "invalid_network", false),
            (SettleOutcome::KeyReused, "rejected", "idempotency_key_reused", false),
            (failed("new"), "failed", "new", false),
            (failed("whatever"), "failed", "other", false),
        ];
        for (outcome, word, reason, foreseen) in cases {
            assert_eq!(outcome.told(&codes), told(word, reason), "{outcome:?}");
            assert_eq!(settle_outcomes().contains(&(word, reason)), foreseen, "{outcome:?}");
        }
        let verify = [
            VerifyOutcome::Valid,
            VerifyOutcome::Unavailable(Unavailable::now(NotNow::ChainUnavailable)),
            VerifyOutcome::Invalid(rejection(reason::PAYER_FAILED_TOO_OFTEN)),
        ];
        for outcome in verify {
            let Told { outcome, reason } = outcome.told();
            assert!(verify_outcomes().contains(&(outcome, reason)), "{outcome} {reason}");
        }
    }
}
