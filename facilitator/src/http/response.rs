//! The answers of `/verify` and `/settle`: from outcomes of the domain to wire
//! shapes and status codes. Made here and nowhere else.

use std::time::Duration;

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use chains_core::{
    Code, Rejection,
    protocol::{SettleResponse, VerifyResponse, Version, response::SettleExtra},
    reason,
};

use super::error::{ErrorBody, RequestId};
use crate::{
    payment::{Asked, Pending, SettleOutcome, Unavailable, VerifyOutcome},
    settlement::{Failed, NotNow, SettlementId},
};

/// The answer of `/verify`.
pub fn verify(asked: Asked, outcome: VerifyOutcome, id: &RequestId) -> Response {
    let Asked { version, payer, .. } = asked;
    let invalid = |code: Code, message: String, payer| VerifyResponse {
        is_valid: false,
        invalid_reason: Some(code.spelling(version).to_owned()),
        invalid_message: Some(message),
        payer,
    };
    match outcome {
        VerifyOutcome::Valid => {
            Json(VerifyResponse { is_valid: true, invalid_reason: None, invalid_message: None, payer }).into_response()
        }
        VerifyOutcome::Invalid(Rejection { code, message }) => {
            Json(invalid(code, message.into_owned(), payer)).into_response()
        }
        VerifyOutcome::Unavailable(why) => {
            let code = reason_of(why.why, reason::UNEXPECTED_VERIFY_ERROR);
            let answer = invalid(code, why.why.message().to_owned(), payer);
            let body = ErrorBody { code: why.why.code().to_owned(), ..verify_body(answer, id) };
            later((StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response(), why.retry_after)
        }
    }
}

/// The answer of `/settle`. `codes`: those that the payment's family spells in
/// another way for older protocols.
pub fn settle(asked: Asked, outcome: SettleOutcome, codes: &[Code], id: &RequestId) -> Response {
    let status = match &outcome {
        SettleOutcome::KeyReused => StatusCode::CONFLICT,
        SettleOutcome::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        SettleOutcome::Rejected(_)
        | SettleOutcome::Settled { .. }
        | SettleOutcome::Failed { .. }
        | SettleOutcome::Duplicate { .. }
        | SettleOutcome::Pending { .. } => StatusCode::OK,
    };
    let unavailable = match &outcome {
        SettleOutcome::Unavailable(why) => Some(*why),
        _ => None,
    };
    let answer = settle_answer(asked, outcome, codes);
    if status == StatusCode::OK {
        return Json(answer).into_response();
    }
    let body = settle_body(answer, id);
    match unavailable {
        Some(Unavailable { why, retry_after }) => {
            let body = ErrorBody { code: why.code().to_owned(), ..body };
            later((status, Json(body)).into_response(), retry_after)
        }
        None => (status, Json(body)).into_response(),
    }
}

/// The reason of an answer that has to wait: for outages the specification's word, else ours.
const fn reason_of(why: NotNow, outage: Code) -> Code {
    if why.is_outage() { outage } else { Code::new(why.code()) }
}

fn settle_answer(asked: Asked, outcome: SettleOutcome, codes: &[Code]) -> SettleResponse {
    let Asked { version, network, payer, .. } = asked;
    let failure = |reason: &str, message: String| SettleResponse {
        success: false,
        error_reason: Some(reason.to_owned()),
        error_message: Some(message),
        payer: payer.clone(),
        transaction: String::new(),
        network: network.clone(),
        amount: None,
        extra: None,
    };
    let refusal = |code: Code, message: &str| failure(code.spelling(version), message.to_owned());
    let with = |id, transaction, answer| SettleResponse { transaction, extra: Some(extra(id)), ..answer };
    match outcome {
        SettleOutcome::Rejected(Rejection { code, message }) => refusal(code, &message),
        SettleOutcome::Settled { id, transaction, amount } => SettleResponse {
            success: true,
            error_reason: None,
            error_message: None,
            amount: Some(amount.to_string()),
            ..with(id, transaction, failure("", String::new()))
        },
        SettleOutcome::Failed { id, failed } => {
            let Failed { reason, message, transaction, executable_until, .. } = failed;
            let answer = failure(spelling(&reason, version, codes), message);
            let extra = Some(SettleExtra { executable_until, ..extra(id) });
            SettleResponse { transaction: transaction.unwrap_or_default(), extra, ..answer }
        }
        SettleOutcome::Duplicate { id, transaction } => {
            let message = "this payment is settled, or being settled, for another request: it pays once";
            with(id, transaction, refusal(reason::DUPLICATE_SETTLEMENT, message))
        }
        SettleOutcome::Pending { id, transaction, why } => {
            with(id, transaction, refusal(reason::SETTLEMENT_PENDING, pending(why)))
        }
        SettleOutcome::KeyReused => {
            let message = "this Idempotency-Key, or payment-identifier, belongs to another payment";
            refusal(reason::IDEMPOTENCY_KEY_REUSED, message)
        }
        SettleOutcome::Unavailable(Unavailable { why, .. }) => {
            refusal(reason_of(why, reason::UNEXPECTED_SETTLE_ERROR), why.message())
        }
    }
}

const fn pending(why: Pending) -> &'static str {
    match why {
        Pending::NotAccepted => {
            "the transaction is stored, not yet accepted by any node, and sent again until it is; send the same \
             request again to wait on"
        }
        Pending::Sent => "the transaction is sent and not yet final; send the same request again to wait on",
        Pending::TakenBack => {
            "the chain took the block of the transfer back; its transaction is sent again. Send the same request again to wait on"
        }
        Pending::Unresolved => {
            "the transaction's nonce is used, and no node gives the proof of what happened; send the same request \
             again later"
        }
    }
}

/// A stored reason, which is in the spelling of v2, as a version spells it.
fn spelling<'a>(reason: &'a str, version: Version, codes: &[Code]) -> &'a str {
    let known = codes.iter().find(|code| code.spelling(Version::V2) == reason);
    known.map_or(reason, |code| code.spelling(version))
}

fn extra(id: SettlementId) -> SettleExtra {
    SettleExtra { settlement_id: id.to_string(), executable_until: None }
}

fn verify_body(answer: VerifyResponse, id: &RequestId) -> ErrorBody {
    let VerifyResponse { is_valid, invalid_reason, invalid_message, payer } = answer;
    let (error, request_id) = (invalid_message.clone().unwrap_or_default(), id.to_string());
    let (is_valid, payer, code) = (Some(is_valid), Some(payer), invalid_reason.clone().unwrap_or_default());
    ErrorBody { is_valid, invalid_reason, invalid_message, payer, code, error, request_id, ..ErrorBody::default() }
}

fn settle_body(answer: SettleResponse, id: &RequestId) -> ErrorBody {
    let SettleResponse { success, error_reason, error_message, payer, transaction, network, .. } = answer;
    let error = error_message.clone().unwrap_or_default();
    ErrorBody {
        success: Some(success),
        code: error_reason.clone().unwrap_or_default(),
        error_reason,
        error_message,
        payer: Some(payer),
        transaction: Some(transaction),
        network: Some(network),
        error,
        request_id: id.to_string(),
        ..ErrorBody::default()
    }
}

fn later(mut response: Response, after: Duration) -> Response {
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    /// T2-21c: what the service does by a rule is not unexpected, and every reason can be told from the others.
    #[test]
    fn only_outages_have_the_specification_s_word_for_what_is_unexpected() {
        let cases = [
            (NotNow::ChainUnavailable, "unexpected_settle_error", "chain_unavailable"),
            (NotNow::NetworkClosed, "unexpected_settle_error", "network_closed"),
            (NotNow::Store, "unexpected_settle_error", "store_unavailable"),
            (NotNow::Paused, "payments_paused", "payments_paused"),
            (NotNow::Price, "gas_price_too_high", "gas_price_too_high"),
            (NotNow::GasWalletClosed, "no_gas_wallet", "no_gas_wallet"),
            (NotNow::QueueTooLong, "queue_full", "queue_full"),
            (NotNow::TooManyAtOnce, "payment_busy", "payment_busy"),
            (NotNow::PayerExclusive, "payer_busy", "payer_busy"),
            (NotNow::StrangersBudget, "gas_budget", "gas_budget"),
            (NotNow::Stopping, "service_stopping", "service_stopping"),
        ];
        for (why, reason, code) in cases {
            assert_eq!(reason_of(why, reason::UNEXPECTED_SETTLE_ERROR).spelling(Version::V2), reason, "{why:?}");
            assert_eq!(why.code(), code, "{why:?}");
        }
        let told: std::collections::BTreeSet<_> = NotNow::DISTINCT.map(NotNow::code).into();
        let all: std::collections::BTreeSet<_> = NotNow::DISTINCT.map(NotNow::word).into();
        assert_eq!(told.len(), NotNow::WORDS.len(), "each once");
        assert_eq!(all, NotNow::WORDS.into(), "all of them");
    }

    #[test]
    fn a_stored_reason_is_spelled_as_the_request_s_version_does() {
        let codes = [Code::versions("old", "new")];
        let cases = [("new", Version::V1, "old"), ("new", Version::V2, "new"), ("other", Version::V1, "other")];
        for (stored, version, expected) in cases {
            assert_eq!(spelling(stored, version, &codes), expected, "{stored} {version:?}");
        }
    }
}
