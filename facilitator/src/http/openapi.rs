//! The HTTP contract, made from the handlers.
//!
//! The schemas here describe the wire for people and tools; the parser is
//! [`chains_core::protocol`].

use std::sync::LazyLock;

use axum::{
    body::Bytes,
    http::{HeaderValue, header},
    response::IntoResponse,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{OpenApi, ToSchema};

use super::{codes, error::ErrorBody, status, x402};

/// The whole contract.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "x402 facilitator",
        description = "Verifies x402 payments and settles each of them exactly once. The routes tagged `x402` also \
                       answer below `/platform/v2/x402`."
    ),
    paths(
        x402::verify,
        x402::settle,
        x402::supported,
        x402::about_verify,
        x402::about_settle,
        status::health,
        status::ready,
        status::one,
        status::list,
        status::home,
        status::about_home,
        json,
    )
)]
struct Contract;

/// The contract as a document.
pub fn document() -> utoipa::openapi::OpenApi {
    let mut document = Contract::openapi();
    let about = document.info.description.unwrap_or_default();
    let codes = "A request that is not served is answered with one of these statuses and codes:";
    document.info.description = Some(format!("{about}\n\n{codes}\n\n{}", codes::table()));
    document
}

/// The contract as it stands in `openapi.yaml`.
///
/// # Errors
/// Never for a document made from code.
pub fn yaml() -> Result<String, serde_norway::Error> {
    serde_norway::to_string(&document())
}

/// This contract.
#[utoipa::path(get, path = "/openapi.json", tag = "status", responses(
    (status = 200, description = "this document", body = Value),
    (status = 421, description = "another host's name", body = ErrorBody)))]
pub async fn json() -> impl IntoResponse {
    static TEXT: LazyLock<Bytes> = LazyLock::new(|| document().to_json().unwrap_or_default().into());
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], TEXT.clone())
}

/// The body of `/verify` and `/settle`, protocol v1 or v2. Unknown members are ignored.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!(example_v2()))]
pub struct PaymentRequest {
    /// Ignored; the payload's own version counts.
    #[serde(rename = "x402Version")]
    pub x402_version: Option<u64>,
    /// The payload that the buyer signed. Its `x402Version` decides how the request is read.
    #[schema(value_type = Object)]
    pub payment_payload: Value,
    /// The requirements of the resource server. Every check takes its values from here.
    #[schema(value_type = Object)]
    pub payment_requirements: Value,
}

/// The answer of `/verify`.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VerifyAnswer {
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

/// The answer of `/settle`.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SettleAnswer {
    /// True when the resource may be served.
    pub success: bool,
    /// The code, unless `success`. `settlement_pending`: ask again with the same body.
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
    /// The amount that moved to the payee, in atomic units.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount: Option<String>,
    /// Our additions: `settlementId`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub extra: Option<Value>,
}

/// The answer of `/supported`.
#[derive(Serialize, ToSchema)]
pub struct SupportedAnswer {
    /// `{x402Version, scheme, network, extra?}` for each way of paying.
    #[schema(value_type = Vec<Object>)]
    pub kinds: Vec<Value>,
    /// Extensions that are honoured.
    pub extensions: Vec<String>,
    /// Addresses that send transactions, by CAIP-2 family.
    #[schema(value_type = Object)]
    pub signers: Value,
}

/// A body of protocol v2, as the official client writes it. Expired: it shows the form.
pub fn example_v2() -> Value {
    let requirements = json!({
        "scheme": "exact", "network": "eip155:84532", "amount": "10000",
        "asset": "0x036CbD53842c5426634e7929541eC2318f3dCF7e", "payTo": "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC",
        "maxTimeoutSeconds": 60, "extra": {"name": "USDC", "version": "2"},
    });
    json!({
        "x402Version": 2,
        "paymentPayload": {
            "x402Version": 2, "resource": {"url": "https://example.org/paid"}, "accepted": requirements,
            "payload": example_payload(),
        },
        "paymentRequirements": requirements,
    })
}

/// A body of protocol v1.
pub fn example_v1() -> Value {
    json!({
        "x402Version": 1,
        "paymentPayload": {
            "x402Version": 1, "scheme": "exact", "network": "base-sepolia", "payload": example_payload(),
        },
        "paymentRequirements": {
            "scheme": "exact", "network": "base-sepolia", "maxAmountRequired": "10000",
            "resource": "https://example.org/paid", "description": "", "mimeType": "application/json",
            "payTo": "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC", "maxTimeoutSeconds": 60,
            "asset": "0x036CbD53842c5426634e7929541eC2318f3dCF7e", "extra": {"name": "USDC", "version": "2"},
        },
    })
}

fn example_payload() -> Value {
    json!({
        "signature": format!("0x{}1b", "11".repeat(64)),
        "authorization": {
            "from": "0x70997970C51812dc3A010C7d01b50e0d17dc79C8", "to": "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC",
            "value": "10000", "validAfter": "0", "validBefore": "1740672154",
            "nonce": "0xf3746613c2d920b5fdabc0856f2aeb2d4f88ee6037b8cc5d04a71a4462f13480",
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `UPDATE_OPENAPI=1 cargo test` writes it anew.
    #[test]
    fn openapi_yaml_is_what_the_handlers_say() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../openapi.yaml");
        let made = yaml().expect("YAML");
        if std::env::var_os("UPDATE_OPENAPI").is_some() {
            std::fs::write(path, &made).expect("written");
        }
        let stands = std::fs::read_to_string(path).unwrap_or_default();
        assert!(stands == made, "openapi.yaml is not what the handlers say: UPDATE_OPENAPI=1 cargo test");
    }

    #[test]
    fn the_examples_are_requests_that_the_parser_reads() {
        let network = "eip155:84532".parse().expect("CAIP-2");
        let names = [("base-sepolia".to_owned(), network)].into();
        for example in [example_v1(), example_v2()] {
            let request = chains_core::protocol::parse(example.to_string().as_bytes(), &names).expect("a request");
            assert!(request.payment.is_ok(), "{:?}", request.payment);
        }
    }
}
