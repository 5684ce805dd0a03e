//! How a use case ended, before anybody thinks of status codes.

use std::time::Duration;

use chains_core::protocol::{SettleResponse, VerifyResponse};

/// How a verification ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VerifyOutcome {
    /// A verdict.
    Decided(VerifyResponse),
    /// We could not find out.
    Unavailable {
        /// What to tell the caller; its reason is `unexpected_verify_error`.
        response: VerifyResponse,
        /// Why, and when to try again.
        why: Unavailable,
    },
}

/// How a settle request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettleOutcome {
    /// A success, a decided failure, or `settlement_pending`.
    Decided(SettleResponse),
    /// The request's key belongs to another payment.
    KeyReused(SettleResponse),
    /// Nothing was claimed, signed or sent.
    Unavailable {
        /// What to tell the caller; its reason is `unexpected_settle_error`.
        response: SettleResponse,
        /// Why, and when to try again.
        why: Unavailable,
    },
}

/// Why the service cannot serve a payment now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unavailable {
    /// For the caller: no internal text.
    pub message: &'static str,
    /// When trying again makes sense.
    pub retry_after: Duration,
}
