//! The answers of `/verify`, `/settle` and `/supported`: one shape for v1 and v2.
//!
//! `payer`, `transaction` and `network` are always there, empty when unknown:
//! the legacy Python and Go clients fail without them.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::Version;

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
    /// Who pays; empty when the payload does not tell.
    pub payer: String,
}

/// The answer of `/settle` once an outcome, or that it is pending, is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SettleResponse {
    /// Whether this request may be served.
    pub success: bool,
    /// The code, unless `success`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_reason: Option<String>,
    /// The same for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_message: Option<String>,
    /// Who pays; empty when the payload does not tell.
    pub payer: String,
    /// The transaction; empty when none was sent.
    pub transaction: String,
    /// The network as the request wrote it.
    pub network: String,
    /// What moved to the payee, in atomic units; only with `success`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount: Option<String>,
    /// Our own additions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extra: Option<SettleExtra>,
}

/// What we add to a settle answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SettleExtra {
    /// The settlement's id, for `GET /settlements/{id}`.
    pub settlement_id: String,
}

/// The answer of `/supported`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Supported {
    /// One entry for each version, scheme and network.
    pub kinds: Vec<SupportedKind>,
    /// Keys of the extensions that are honoured.
    pub extensions: Vec<String>,
    /// Addresses that send transactions, by CAIP-2 family, for example `eip155:*`.
    pub signers: BTreeMap<String, Vec<String>>,
}

/// One way of paying.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SupportedKind {
    /// 1 or 2.
    #[serde(rename = "x402Version")]
    pub x402_version: u8,
    /// The scheme's name.
    pub scheme: String,
    /// The network as that version writes it.
    pub network: String,
    /// What the scheme tells servers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extra: Option<Value>,
}

impl From<crate::chain::Kind> for SupportedKind {
    fn from(kind: crate::chain::Kind) -> Self {
        let crate::chain::Kind { version, scheme, network, extra } = kind;
        Self { x402_version: Version::number(version), scheme: scheme.to_owned(), network, extra }
    }
}
