//! The reasons for refusing a payment.
//!
//! Codes are the specification's, letter for letter, and differ between the
//! protocol versions in a few places; sentences are ours. Codes that belong to
//! a scheme or a family stand in that family's own `reason.rs`.

use std::borrow::Cow;

use crate::protocol::Version;

/// A machine-readable code, as each protocol version spells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    v1: &'static str,
    v2: &'static str,
}

impl Code {
    /// The same word in every version.
    #[must_use]
    pub const fn new(code: &'static str) -> Self {
        Self { v1: code, v2: code }
    }

    /// A code that v1 spells in another way.
    #[must_use]
    pub const fn versions(v1: &'static str, v2: &'static str) -> Self {
        Self { v1, v2 }
    }

    /// The spelling of one version.
    pub const fn spelling(self, version: Version) -> &'static str {
        match version {
            Version::V1 => self.v1,
            Version::V2 => self.v2,
        }
    }
}

/// A decided refusal: the payment is not good, and asking again will not help.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// For machines.
    pub code: Code,
    /// For people: what was seen and what was expected. Never an internal text.
    pub message: Cow<'static, str>,
}

impl Rejection {
    /// A refusal with its sentence.
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into() }
    }
}

/// `paymentPayload.x402Version` is neither 1 nor 2.
pub const INVALID_X402_VERSION: Code = Code::new("invalid_x402_version");
/// No such scheme on that network.
pub const UNSUPPORTED_SCHEME: Code = Code::new("unsupported_scheme");
/// The payload is of a kind that is not served here, or not in this version.
pub const UNSUPPORTED_PAYLOAD_TYPE: Code = Code::new("unsupported_payload_type");
/// The network is not one of ours, compared letter for letter.
pub const INVALID_NETWORK: Code = Code::new("invalid_network");
/// The scheme's payload has another shape, or a key stands twice.
pub const INVALID_PAYLOAD: Code = Code::new("invalid_payload");
/// `paymentRequirements` has another shape, or asks for what we never do.
pub const INVALID_PAYMENT_REQUIREMENTS: Code = Code::new("invalid_payment_requirements");
/// The body is not JSON.
pub const INVALID_JSON: Code = Code::new("invalid_json");
/// `paymentPayload` or `paymentRequirements` is missing.
pub const MISSING_PARAMETERS: Code = Code::new("missing_parameters");
/// This payment has been settled, or is being settled, for another request.
pub const DUPLICATE_SETTLEMENT: Code = Code::new("duplicate_settlement");
/// The payer's other payments use up its balance. A specification's
/// word; families have their own for a balance that is too low by itself.
pub const INSUFFICIENT_FUNDS: Code = Code::new("insufficient_funds");
/// Payments of this payer failed on chain, at the gas wallets' cost: for a while
/// none is taken. Our own word.
pub const PAYER_FAILED_TOO_OFTEN: Code = Code::new("payer_failed_too_often");
/// The `Idempotency-Key`, or the payload's payment-identifier, belongs to another payment.
/// Our own word.
pub const IDEMPOTENCY_KEY_REUSED: Code = Code::new("idempotency_key_reused");
/// Sent, not yet final; ask again with the same body.
pub const SETTLEMENT_PENDING: Code = Code::new("settlement_pending");
/// No proof was to be had of a settlement's fate, and the operator has ended it as failed.
/// Our own word.
pub const ENDED_BY_OPERATOR: Code = Code::new("ended_by_operator");
/// We could not find out: try again later.
pub const UNEXPECTED_VERIFY_ERROR: Code = Code::new("unexpected_verify_error");
/// We could not find out, and nothing was sent: try again later.
pub const UNEXPECTED_SETTLE_ERROR: Code = Code::new("unexpected_settle_error");
