//! `/verify`, `/settle`, `/supported`.

use std::time::{Duration, Instant};

use axum::{
    Json,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{AppendHeaders, IntoResponse, Response},
};
use chains_core::{Rejection, protocol};
use serde_json::{Value, json};

use super::{
    Api,
    auth::{Principal, Scope},
    body,
    error::{ErrorBody, Failure, RequestId, Shape},
    headers, openapi, response,
};
use crate::{
    limits::rates::Admitted,
    metrics,
    payment::{
        SettleOutcome, SupportedNow, Told, VerifyOutcome,
        outcome::{Asked, PAY_TO_NOT_ALLOWED},
    },
    settlement::{Caller, Key},
};

/// The lifetime of a list of kinds that lacks a network which has not opened, or
/// cannot pay for gas: a cache must not keep it much longer than that takes.
const INCOMPLETE_LIFETIME: HeaderValue = HeaderValue::from_static("max-age=10");

/// Is this payment good? An advice: it reads, and changes nothing.
#[utoipa::path(
    post, path = "/verify", tag = "x402", request_body(content = openapi::PaymentRequest, examples(
        ("v2" = (value = json!(openapi::example_v2()))), ("v1" = (value = json!(openapi::example_v1()))))),
    responses(
        (status = 200, description = "the verdict", body = openapi::VerifyAnswer),
        (status = 400, description = "no payment request", body = ErrorBody),
        (status = 401, description = "no known API key", body = ErrorBody),
        (status = 403, description = "the API key may not do this", body = ErrorBody),
        (status = 408, description = "the body took too long", body = ErrorBody),
        (status = 413, description = "the body is too large", body = ErrorBody),
        (status = 415, description = "not application/json", body = ErrorBody),
        (status = 421, description = "another host's name", body = ErrorBody),
        (status = 429, description = "the API key is over one of its limits; nothing was read", body = ErrorBody),
        (status = 500, description = "a bug", body = ErrorBody),
        (status = 503, description = "we cannot find out now", body = ErrorBody),
    )
)]
pub async fn verify(State(api): State<Api>, request: Request) -> Response {
    let id = RequestId::of(&request);
    match read(&api, request, Scope::Verify).await {
        Ok(Read { request, tenant, admitted: _admitted }) => {
            let (asked, outcome) = Box::pin(api.payments.verify(request, &tenant, id.as_str())).await;
            verified(&asked, &outcome, &id);
            response::verify(asked, outcome, &id)
        }
        Err(failure) => failure.respond(Shape::Verify, &id),
    }
}

/// Put this payment on chain, once.
#[utoipa::path(
    post, path = "/settle", tag = "x402",
    params(("Idempotency-Key" = Option<String>, Header,
        description = "16 to 128 of [A-Za-z0-9_-]: the same key with the same body gets the same answer again",
        pattern = "^[A-Za-z0-9_-]{16,128}$")),
    request_body(content = openapi::PaymentRequest, examples(
        ("v2" = (value = json!(openapi::example_v2()))), ("v1" = (value = json!(openapi::example_v1()))))),
    responses(
        (status = 200, description = "the outcome, or that it is pending", body = openapi::SettleAnswer),
        (status = 400, description = "no payment request", body = ErrorBody),
        (status = 401, description = "no known API key", body = ErrorBody),
        (status = 403, description = "the API key may not do this", body = ErrorBody),
        (status = 408, description = "the body took too long", body = ErrorBody),
        (status = 409, description = "the Idempotency-Key, or the payload's payment-identifier, belongs to another payment", body = ErrorBody),
        (status = 413, description = "the body is too large", body = ErrorBody),
        (status = 415, description = "not application/json", body = ErrorBody),
        (status = 421, description = "another host's name", body = ErrorBody),
        (status = 429, description = "the API key is over one of its limits; nothing was read", body = ErrorBody),
        (status = 500, description = "a bug", body = ErrorBody),
        (status = 503, description = "not now; nothing was claimed, signed or sent", body = ErrorBody),
    )
)]
pub async fn settle(State(api): State<Api>, request: Request) -> Response {
    let (id, began) = (RequestId::of(&request), Instant::now());
    let key = match idempotency_key(request.headers()) {
        Ok(key) => key,
        Err(failure) => return failure.respond(Shape::Settle, &id),
    };
    match read(&api, request, Scope::Settle).await {
        Ok(Read { request, tenant, admitted: _admitted }) => {
            let network = request.payment.as_ref().ok().map(|payment| payment.network.clone());
            let (asked, outcome) = Box::pin(api.payments.settle(request, Caller { tenant, key }, id.as_str())).await;
            let codes = network.and_then(|network| Some(api.payments.chain(&network)?.codes())).unwrap_or_default();
            settled(&asked, &outcome, outcome.told(codes), &id, began.elapsed());
            response::settle(asked, outcome, codes, &id)
        }
        Err(failure) => failure.respond(Shape::Settle, &id),
    }
}

/// Counts an answer of `/verify`, and logs it for those who look closely.
fn verified(asked: &Asked, outcome: &VerifyOutcome, request_id: &RequestId) {
    let (Told { outcome, reason }, route) = (outcome.told(), &asked.route);
    metrics::verify_answered(&route.network, &route.scheme, outcome, reason);
    let (network, scheme, payer) = (&route.network, &route.scheme, &asked.payer);
    tracing::debug!(%request_id, network, scheme, payer, outcome, reason, "/verify answered");
}

/// Counts, times and logs an answer of `/settle`.
fn settled(asked: &Asked, outcome: &SettleOutcome, told: Told, request_id: &RequestId, took: Duration) {
    let (settlement, transaction) = (outcome.settlement(), outcome.transaction());
    let (Told { outcome, reason }, route) = (told, &asked.route);
    metrics::settle_answered(&route.network, &route.scheme, outcome, reason, took);
    let (network, scheme, payer) = (&route.network, &route.scheme, &asked.payer);
    let settlement_id = settlement.map(tracing::field::display);
    let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    tracing::info!(
        %request_id, settlement_id, network, scheme, payer, transaction, outcome, reason, took_ms, "/settle answered"
    );
}

/// The ways of paying here, now.
#[utoipa::path(get, path = "/supported", tag = "x402", responses(
    (status = 200, description = "kinds, extensions, signers", body = openapi::SupportedAnswer),
    (status = 304, description = "as the ETag says"),
    (status = 421, description = "another host's name", body = ErrorBody),
    (status = 503, description = "a network is being opened for the first time, none has opened, or none can pay for gas at present: ask again after Retry-After", body = ErrorBody),
))]
pub async fn supported(State(api): State<Api>, request: Request) -> Response {
    use sha2::{Digest, Sha256};

    let (supported, lifetime) = match api.payments.supported() {
        SupportedNow::Opening => return Failure::Opening.respond(Shape::Unknown, &RequestId::of(&request)),
        SupportedNow::Nothing => return Failure::NothingNow.respond(Shape::Unknown, &RequestId::of(&request)),
        SupportedNow::All(supported) => (supported, None),
        SupportedNow::Some(supported) => (supported, Some((header::CACHE_CONTROL, INCOMPLETE_LIFETIME))),
    };
    let lifetime = AppendHeaders(lifetime);
    let text = serde_json::to_string(&*supported).unwrap_or_default();
    let tag = format!("\"{}\"", hex::encode(&Sha256::digest(&text)[..8]));
    let known = headers::has_tag(request.headers(), &tag);
    let etag = HeaderValue::from_str(&tag).unwrap_or_else(|_| HeaderValue::from_static("\"\""));
    if known {
        return (StatusCode::NOT_MODIFIED, [(header::ETAG, etag)], lifetime).into_response();
    }
    let json = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, json), (header::ETAG, etag)], lifetime, text).into_response()
}

/// A description of `POST /verify`.
#[utoipa::path(get, path = "/verify", tag = "x402", responses(
    (status = 200, description = "a short description", body = Value),
    (status = 421, description = "another host's name", body = ErrorBody)))]
pub async fn about_verify() -> Json<Value> {
    Json(json!({"endpoint": "/verify", "method": "POST", "description": "Says whether an x402 payment is good.",
                "body": {"paymentPayload": "PaymentPayload", "paymentRequirements": "PaymentRequirements"}}))
}

/// A description of `POST /settle`.
#[utoipa::path(get, path = "/settle", tag = "x402", responses(
    (status = 200, description = "a short description", body = Value),
    (status = 421, description = "another host's name", body = ErrorBody)))]
pub async fn about_settle() -> Json<Value> {
    Json(json!({"endpoint": "/settle", "method": "POST", "description": "Puts an x402 payment on chain, once.",
                "body": {"paymentPayload": "PaymentPayload", "paymentRequirements": "PaymentRequirements"}}))
}

/// A request that was let through and read.
struct Read {
    request: protocol::Request,
    tenant: String,
    /// Held until the request is answered.
    admitted: Admitted,
}

/// Checks the caller and its limits before anything is read, then reads the request.
async fn read(api: &Api, request: Request, scope: Scope) -> Result<Read, Failure> {
    let (parts, body) = request.into_parts();
    let keys = api.keys.current();
    let principal = keys.check(&parts.headers, scope)?;
    let admitted = principal.admit(&api.gate, scope).await?;
    let mut request = body::read(&parts, body, &api.options, api.payments.names()).await?;
    request.payment = request.payment.and_then(|payment| {
        if principal.may_pay(&payment.pay_to) { Ok(payment) } else { Err(not_allowed(&principal)) }
    });
    Ok(Read { request, tenant: principal.tenant().to_owned(), admitted })
}

fn not_allowed(principal: &Principal<'_>) -> Rejection {
    let message = format!("API key `{}` may not settle for this payee", principal.tenant());
    Rejection::new(PAY_TO_NOT_ALLOWED, message)
}

fn idempotency_key(head: &HeaderMap) -> Result<Option<Key>, Failure> {
    match headers::idempotency_key(head) {
        Ok(None) => Ok(None),
        Ok(Some(text)) if Key::is_sane(text) => Ok(Some(Key::Server(text.to_owned()))),
        Ok(Some(_)) | Err(_) => Err(Failure::IdempotencyKey),
    }
}

/// Keeps the schema of the contract and the answers from drifting apart: a
/// field that is added to one does not compile here.
#[cfg(test)]
mod tests {
    use chains_core::protocol::{SettleResponse, VerifyResponse};

    use super::*;
    use crate::payment::Payments;

    /// The bytes of a future that this makes.
    fn size<A, B, F: Future>(_: impl FnOnce(A, B) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_request_under_way_takes_little_memory() {
        let sizes = [
            ("a handler of /settle", size(settle), 2_100),
            ("a handler of /verify", size(verify), 2_000),
            (
                "a settlement",
                size(|payments: &'static Payments, request| payments.settle(request, Caller::default(), "")),
                2_000,
            ),
            ("a verification", size(|payments: &'static Payments, request| payments.verify(request, "", "")), 2_000),
        ];
        for (what, size, most) in sizes {
            assert!(size <= most, "{what} takes {size} bytes, more than {most}");
        }
    }

    #[test]
    fn the_contract_lists_every_field_of_the_answers() {
        let verify = VerifyResponse {
            is_valid: false,
            invalid_reason: Some("r".into()),
            invalid_message: Some("m".into()),
            payer: "p".into(),
        };
        let settle = SettleResponse {
            success: true,
            error_reason: Some("r".into()),
            error_message: Some("m".into()),
            payer: "p".into(),
            transaction: "t".into(),
            network: "n".into(),
            amount: Some("1".into()),
            extra: Some(chains_core::protocol::response::SettleExtra {
                settlement_id: "i".into(),
                executable_until: Some(1),
            }),
        };
        let read: openapi::VerifyAnswer = serde_json::from_value(json!(verify)).expect("all fields are known");
        assert_eq!(json!(read), json!(verify));
        let read: openapi::SettleAnswer = serde_json::from_value(json!(settle)).expect("all fields are known");
        assert_eq!(json!(read), json!(settle));
    }
}
