//! The answers of `/verify` and `/settle`: one shape for v1 and v2.
//!
//! `payer`, `transaction` and `network` are always there, empty when unknown:
//! the legacy Python and Go clients fail without them.

use serde::Serialize;

/// The answer of `/verify` once a verdict is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VerifyResponse {
    /// The verdict.
    pub is_valid: bool,
    /// The code of the first check that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invalid_reason: Option<String>,
    /// The same for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invalid_message: Option<String>,
    /// The account that pays; empty when the payload does not tell.
    pub payer: String,
}

/// The answer of `/settle` once an outcome, or that it is pending, is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SettleResponse {
    /// True when this request may be served.
    pub success: bool,
    /// The code, unless `success`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_reason: Option<String>,
    /// The same for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_message: Option<String>,
    /// The account that pays; empty when the payload does not tell.
    pub payer: String,
    /// The transaction; empty when none was sent.
    pub transaction: String,
    /// The network as the request wrote it.
    pub network: String,
    /// The amount that moved to the payee, in atomic units; only with `success`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount: Option<String>,
    /// Our own additions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extra: Option<SettleExtra>,
}

/// Our additions to a settle answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SettleExtra {
    /// The settlement's id, for `GET /settlements/{id}`.
    pub settlement_id: String,
    /// Of a failure: the chain time, in seconds, until which whoever holds the
    /// payload can still execute it; absent when nobody can.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub executable_until: Option<u64>,
}
