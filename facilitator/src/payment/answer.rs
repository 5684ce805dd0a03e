//! Puts outcomes into the words of the protocol.

use std::time::Duration;

use chains_core::{
    Amount, Code, Rejection,
    chain::Chain,
    protocol::{Request, SettleResponse, VerifyResponse, Version, answer::SettleExtra},
    reason,
};

use super::outcome::{SettleOutcome, Unavailable, VerifyOutcome};
use crate::settlement::{SettlementId, record::Outcome};

/// When to come back after a passing trouble.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// What every answer to a settle request says alike.
#[derive(Clone, Debug)]
pub(super) struct Settling {
    pub version: Version,
    pub network: String,
    pub payer: String,
}

impl Settling {
    pub fn of(request: &Request) -> Self {
        Self { version: request.version, network: request.network.clone(), payer: String::new() }
    }

    fn failure(&self, reason: &str, message: String) -> SettleResponse {
        SettleResponse {
            success: false,
            error_reason: Some(reason.to_owned()),
            error_message: Some(message),
            payer: self.payer.clone(),
            transaction: String::new(),
            network: self.network.clone(),
            amount: None,
            extra: None,
        }
    }

    fn coded(&self, code: Code, message: impl Into<String>) -> SettleResponse {
        self.failure(code.spelling(self.version), message.into())
    }

    pub fn rejected(&self, rejection: Rejection) -> SettleOutcome {
        SettleOutcome::Decided(self.coded(rejection.code, rejection.message))
    }

    pub fn success(&self, id: SettlementId, transaction: String, amount: Amount) -> SettleOutcome {
        SettleOutcome::Decided(SettleResponse {
            success: true,
            error_reason: None,
            error_message: None,
            payer: self.payer.clone(),
            transaction,
            network: self.network.clone(),
            amount: Some(amount.to_string()),
            extra: Some(extra(id)),
        })
    }

    /// A settlement that ended without the transfer.
    pub fn failed(&self, id: SettlementId, outcome: &Outcome, chain: &dyn Chain) -> SettleOutcome {
        let (reason, message, transaction) = match outcome {
            Outcome::Failed { reason, message, transaction, .. } => (reason, message, transaction),
            Outcome::Settled { transaction, .. } => return self.duplicate(id, transaction),
            Outcome::NothingToSend => return self.duplicate(id, ""),
        };
        let legacy = (self.version == Version::V1).then(|| chain.legacy_reason(reason)).flatten();
        let mut response = self.failure(legacy.unwrap_or(reason), message.clone());
        response.transaction = transaction.clone().unwrap_or_default();
        response.extra = Some(extra(id));
        SettleOutcome::Decided(response)
    }

    pub fn duplicate(&self, id: SettlementId, transaction: &str) -> SettleOutcome {
        let message = "this payment is settled, or being settled, for another request: it pays once";
        SettleOutcome::Decided(with(id, transaction, self.coded(reason::DUPLICATE_SETTLEMENT, message)))
    }

    pub fn pending(&self, id: SettlementId, transaction: &str) -> SettleOutcome {
        let message = "the transaction is sent and not yet final; send the same request again to wait on";
        SettleOutcome::Decided(with(id, transaction, self.coded(reason::SETTLEMENT_PENDING, message)))
    }

    pub fn key_reused(&self) -> SettleOutcome {
        let message = "this Idempotency-Key, or payment-identifier, belongs to another payment";
        SettleOutcome::KeyReused(self.coded(reason::UNEXPECTED_SETTLE_ERROR, message))
    }

    pub fn unavailable(&self, message: &'static str) -> SettleOutcome {
        let response = self.coded(reason::UNEXPECTED_SETTLE_ERROR, message);
        SettleOutcome::Unavailable { response, why: Unavailable { message, retry_after: RETRY_AFTER } }
    }
}

fn with(id: SettlementId, transaction: &str, mut response: SettleResponse) -> SettleResponse {
    transaction.clone_into(&mut response.transaction);
    response.extra = Some(extra(id));
    response
}

fn extra(id: SettlementId) -> SettleExtra {
    SettleExtra { settlement_id: id.to_string() }
}

pub(super) fn valid(payer: String) -> VerifyOutcome {
    VerifyOutcome::Decided(VerifyResponse { is_valid: true, invalid_reason: None, invalid_message: None, payer })
}

pub(super) fn invalid(version: Version, rejection: Rejection, payer: String) -> VerifyOutcome {
    VerifyOutcome::Decided(refused(rejection.code.spelling(version), rejection.message.into_owned(), payer))
}

pub(super) fn cannot_verify(message: &'static str, payer: String) -> VerifyOutcome {
    let reason = reason::UNEXPECTED_VERIFY_ERROR.spelling(Version::V2);
    VerifyOutcome::Unavailable {
        response: refused(reason, message.to_owned(), payer),
        why: Unavailable { message, retry_after: RETRY_AFTER },
    }
}

fn refused(reason: &str, message: String, payer: String) -> VerifyResponse {
    VerifyResponse { is_valid: false, invalid_reason: Some(reason.to_owned()), invalid_message: Some(message), payer }
}
