//! `/settlements…`, `/health`, `/ready` and the page at `/`.

use axum::{
    Json,
    extract::{Path, Query as UrlQuery, Request, State, rejection::QueryRejection},
    http::{HeaderMap, StatusCode, header},
    response::{Html, IntoResponse, Response},
};
use chains_core::clock::Millis;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{
    Api,
    auth::Scope,
    error::{ErrorBody, Failure, RequestId, Shape},
};
use crate::{
    payment::{Readiness, ReadinessLine},
    settlement::{
        Attempt, Record, SettlementId, State as SettlementState, Timeline, Transaction, TransactionState,
        record::{Event, RESOLVED, Sends},
    },
    store::Query,
};

/// Entries of a page, unless asked for, and at most.
const PAGE_DEFAULT: u32 = 20;
const PAGE_MAX: u32 = 100;

/// A settlement, as told to those who may see it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SettlementBody {
    /// Its id.
    id: String,
    /// `signed`, `broadcast`, `settled`, `failed` or `unresolved`.
    state: String,
    /// CAIP-2.
    network: String,
    /// The id of the request that began it: its `x-request-id`, or ours.
    request_id: String,
    /// The scheme.
    scheme: String,
    /// The account that pays.
    payer: String,
    /// The account that receives.
    pay_to: String,
    /// The token.
    asset: String,
    /// In atomic units.
    amount: String,
    /// The payer's number for the payment.
    nonce: String,
    /// The winning transaction, else the newest attempt.
    transaction: String,
    /// The block that decided it.
    #[schema(value_type = Option<Object>)]
    block: Option<Value>,
    /// The fee that the gas wallet paid, in the coin's atomic units, of a transaction
    /// with several settlements its share; not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    fee_paid: Option<String>,
    /// The code of its failure.
    reason: Option<String>,
    /// The same for people; of an unresolved settlement, the proof that is missing.
    message: Option<String>,
    /// Of a failure: the chain time, in seconds, until which whoever holds the
    /// payload can still execute it.
    #[serde(skip_serializing_if = "Option::is_none")]
    executable_until: Option<u64>,
    /// The time from which the chain could no longer take its end back, Unix milliseconds.
    finalized_at: Option<u64>,
    /// The time at which the chain took its transfer back, Unix milliseconds; null if it never did.
    reorged_at: Option<u64>,
    /// Unix milliseconds.
    created_at: u64,
    /// Unix milliseconds.
    updated_at: u64,
    /// The time at which a request was given the success, Unix milliseconds.
    delivered_at: Option<u64>,
    /// Every signed form with every answer to every send, and the block that includes it with the
    /// block's own time (`timestamp`, seconds; null where the chain did not tell it); not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<Object>>)]
    attempts: Option<Vec<Value>>,
    /// Its events, oldest first; not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<Object>>)]
    events: Option<Vec<Value>>,
}

/// A page of settlements.
#[derive(Serialize, ToSchema)]
pub struct SettlementPage {
    /// Newest first.
    settlements: Vec<SettlementBody>,
    /// The beginning of the next page; null on the last.
    cursor: Option<String>,
}

/// The filters of a list; everything is optional.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default, deny_unknown_fields)]
pub struct ListQuery {
    /// A transaction's hash.
    transaction: Option<String>,
    /// CAIP-2.
    network: Option<String>,
    /// The account that pays.
    payer: Option<String>,
    /// The payer's number for the payment.
    nonce: Option<String>,
    /// The id of the request that began it.
    #[serde(rename = "requestId")]
    #[param(rename = "requestId")]
    request_id: Option<String>,
    /// `signed`, `broadcast`, `settled`, `failed` or `unresolved`.
    state: Option<String>,
    /// Claimed at or after, Unix milliseconds.
    from: Option<u64>,
    /// Entries, 1 to 100; more is taken as 100.
    limit: Option<u32>,
    /// From the page before.
    cursor: Option<String>,
}

/// One settlement with its whole story.
#[utoipa::path(get, path = "/settlements/{id}", tag = "status", params(("id" = String, Path)), responses(
    (status = 200, description = "the settlement", body = SettlementBody),
    (status = 401, description = "no known API key", body = ErrorBody),
    (status = 403, description = "the API key may not do this", body = ErrorBody),
    (status = 404, description = "no such settlement", body = ErrorBody),
    (status = 421, description = "another host's name", body = ErrorBody),
    (status = 429, description = "the API key is over one of its limits", body = ErrorBody),
    (status = 503, description = "the store does not answer", body = ErrorBody)))]
pub async fn one(State(api): State<Api>, Path(id): Path<String>, request: Request) -> Response {
    let request_id = RequestId::of(&request);
    match find_one(&api, request.headers(), &id, &request_id).await {
        Ok(body) => Json(body).into_response(),
        Err(failure) => failure.respond(Shape::Unknown, &request_id),
    }
}

/// Settlements by transaction, by request, by payer and nonce, or by state and time.
#[utoipa::path(get, path = "/settlements", tag = "status", params(ListQuery), responses(
    (status = 200, description = "a page", body = SettlementPage),
    (status = 400, description = "a parameter is not of its form", body = ErrorBody),
    (status = 401, description = "no known API key", body = ErrorBody),
    (status = 403, description = "the API key may not do this", body = ErrorBody),
    (status = 421, description = "another host's name", body = ErrorBody),
    (status = 429, description = "the API key is over one of its limits", body = ErrorBody),
    (status = 503, description = "the store does not answer", body = ErrorBody)))]
pub async fn list(
    State(api): State<Api>,
    query: Result<UrlQuery<ListQuery>, QueryRejection>,
    request: Request,
) -> Response {
    let request_id = RequestId::of(&request);
    let page = match query {
        Ok(UrlQuery(query)) => find_page(&api, request.headers(), query, &request_id).await,
        Err(_) => Err(Failure::BadRequest("a query parameter is not of its form")),
    };
    match page {
        Ok(page) => Json(page).into_response(),
        Err(failure) => failure.respond(Shape::Unknown, &request_id),
    }
}

async fn find_one(api: &Api, headers: &HeaderMap, id: &str, request_id: &RequestId) -> Result<SettlementBody, Failure> {
    let keys = api.keys.current();
    let principal = keys.check(headers, Scope::Status)?;
    let _admitted = principal.admit(&api.gate, Scope::Status).await?;
    let missing = Failure::NotFound("no such settlement");
    let Ok(id) = id.parse::<Uuid>() else { return Err(missing) };
    let timeline =
        api.payments.store().timeline(SettlementId(id)).await.map_err(|error| store_failure(request_id, &error))?;
    let seen =
        timeline.filter(|found| principal.sees().is_none_or(|tenant| tenant == found.record.facts.caller.tenant));
    seen.map(SettlementBody::from).ok_or(missing)
}

async fn find_page(
    api: &Api,
    headers: &HeaderMap,
    asked: ListQuery,
    request_id: &RequestId,
) -> Result<SettlementPage, Failure> {
    let keys = api.keys.current();
    let principal = keys.check(headers, Scope::Status)?;
    let _admitted = principal.admit(&api.gate, Scope::Status).await?;
    let form = |message| move |_| Failure::BadRequest(message);
    let limit = asked.limit.unwrap_or(PAGE_DEFAULT).clamp(1, PAGE_MAX);
    let query = Query {
        transaction: asked.transaction,
        network: asked.network.map(|n| n.parse()).transpose().map_err(form("network is not CAIP-2"))?,
        payer: asked.payer,
        nonce: asked.nonce,
        request_id: asked.request_id,
        status: asked.state.map(|s| s.parse()).transpose().map_err(|_| Failure::BadRequest("state is unknown"))?,
        from: asked.from.map(Millis),
        tenant: principal.sees(),
        before: asked
            .cursor
            .map(|c| c.parse().map(SettlementId))
            .transpose()
            .map_err(|_| Failure::BadRequest("cursor is not one of ours"))?,
        limit,
    };
    let records = api.payments.store().find(&query).await.map_err(|error| store_failure(request_id, &error))?;
    let full = u32::try_from(records.len()).is_ok_and(|count| count == limit);
    let cursor = records.last().filter(|_| full).map(|last| last.id().to_string());
    Ok(SettlementPage { settlements: records.into_iter().map(describe).collect(), cursor })
}

fn store_failure(request_id: &RequestId, error: &crate::store::StoreError) -> Failure {
    tracing::error!(%request_id, %error, "a look-up failed");
    Failure::Store
}

impl From<Timeline> for SettlementBody {
    fn from(Timeline { record, transactions, events, .. }: Timeline) -> Self {
        // Of every step: a settlement may take several transactions.
        let id = record.id();
        let fees = transactions.iter().flat_map(|(transaction, _)| {
            let included = transaction.attempts.iter().filter_map(|attempt| attempt.inclusion.as_ref());
            included.map(|inclusion| transaction.share(inclusion.fee_paid, id))
        });
        let fee_paid = fees.reduce(|sum, fee| sum.checked_add(fee).unwrap_or(sum)).map(|fee| fee.to_string());
        let attempts = transactions.iter().flat_map(|(transaction, sends)| {
            transaction.attempts.iter().map(|attempt| describe_attempt(transaction, attempt, sends))
        });
        let attempts = Some(attempts.collect());
        let events = events.iter().map(describe_event).collect();
        Self { fee_paid, attempts, events: Some(events), ..describe(record) }
    }
}

/// The endpoints' own words stay inside: `facilitator settlement` shows them.
/// The operator's reason is for everybody who may see the settlement.
fn describe_event(event: &Event) -> Value {
    let reason = (event.kind == RESOLVED).then_some(&event.detail);
    json!({"at": event.at, "event": event.kind, "reason": reason})
}

fn describe(record: Record) -> SettlementBody {
    let Record { facts, state, status, transaction, delivered, finalized_at, reorged_at, updated_at, .. } = record;
    let (mut block, mut reason, mut message, mut executable_until) = (None, None, None, None);
    match state {
        SettlementState::Open => {}
        SettlementState::Settled(settled) => block = settled.block().cloned(),
        SettlementState::Unresolved { why } => message = Some(why),
        SettlementState::Failed(failed) => {
            (block, executable_until) = (failed.block, failed.executable_until);
            (reason, message) = (Some(failed.reason), Some(failed.message));
        }
    }
    SettlementBody {
        id: facts.id.to_string(),
        state: status.as_str().to_owned(),
        network: facts.network.to_string(),
        request_id: facts.request_id.clone(),
        scheme: facts.scheme.clone(),
        payer: facts.payer.clone(),
        pay_to: facts.pay_to.clone(),
        asset: facts.asset.clone(),
        amount: facts.amount.to_string(),
        nonce: facts.nonce.clone(),
        transaction,
        block: block.map(|block| json!({"number": block.number, "hash": block.hash})),
        fee_paid: None,
        reason,
        message,
        executable_until,
        finalized_at: finalized_at.map(|at| at.0),
        reorged_at: reorged_at.map(|at| at.0),
        created_at: facts.created_at.0,
        updated_at: updated_at.0,
        delivered_at: delivered.map(|delivered| delivered.at.0),
        attempts: None,
        events: None,
    }
}

fn describe_attempt(transaction: &Transaction, attempt: &Attempt, sends: &[Sends]) -> Value {
    let Attempt { signed, kind, created_at, inclusion } = attempt;
    let sends = sends.iter().find(|sends| sends.hash == signed.hash);
    let answers = sends.into_iter().flat_map(|sends| &sends.answers);
    let answers = answers.map(|send| json!({"at": send.at, "answer": send.answer}));
    let state = match &transaction.state {
        TransactionState::Open => "open",
        TransactionState::Included { .. } => "included",
        TransactionState::Dead { .. } => "dead",
    };
    json!({
        "transaction": signed.hash,
        "kind": kind.as_str(),
        "gasWallet": signed.gas_wallet,
        "nonce": transaction.nonce,
        "settlements": transaction.items.len(),
        "state": state,
        "feeMax": signed.fee.amount_max.to_string(),
        "feeTerms": serde_json::from_str::<Value>(&signed.fee.terms).unwrap_or_default(),
        "createdAt": created_at,
        "block": inclusion.as_ref().map(|i| {
            json!({"number": i.block.number, "hash": i.block.hash, "timestamp": i.timestamp})
        }),
        "feePaid": inclusion.as_ref().map(|i| i.fee_paid.to_string()),
        "gasUsed": inclusion.as_ref().map(|i| i.gas_used),
        "sends": answers.collect::<Vec<_>>(),
    })
}

/// The process lives.
#[utoipa::path(get, path = "/health", tag = "status", responses(
    (status = 200, description = "it lives", body = Value)))]
pub async fn health() -> Json<Value> {
    Json(json!({"status": "ok"}))
}

/// The readiness of the store and of each network.
#[utoipa::path(get, path = "/ready", tag = "status", responses(
    (status = 200, description = "everything is ready", body = Value),
    (status = 503, description = "what is not, and why", body = Value)))]
pub async fn ready(State(api): State<Api>) -> Response {
    tell(&*api.payments.readiness().await, api.options.draining.is_cancelled(), |line| &line.told)
}

/// The readiness, with this detail of each line.
pub(super) fn tell(readiness: &Readiness, draining: bool, detail: fn(&ReadinessLine) -> &String) -> Response {
    let ready = readiness.ready && !draining;
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let lines = readiness.lines.iter();
    let lines = lines.map(|line| json!({"subject": line.subject, "ready": line.ready, "detail": detail(line)}));
    let stopping = draining.then(|| json!({"subject": "service", "ready": false, "detail": "it is being stopped"}));
    (status, Json(json!({"ready": ready, "parts": lines.chain(stopping).collect::<Vec<_>>()}))).into_response()
}

/// A short page about this service, for people.
#[utoipa::path(get, path = "/", tag = "status", responses(
    (status = 200, description = "a short page", body = String, content_type = "text/html")))]
pub async fn home(State(api): State<Api>) -> Response {
    let named = api.payments.chains().map(|chain| {
        let name = chain.legacy_name().map_or_else(String::new, |name| format!(" ({name})"));
        format!("{}{name}", chain.network())
    });
    let networks = named.collect::<Vec<_>>().join("<li>");
    let page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>x402 facilitator</title>\
         <h1>x402 facilitator</h1><p>Verifies x402 payments and settles each of them exactly once.</p>\
         <ul><li>{networks}</ul><p><a href=\"supported\">supported</a> · <a href=\"ready\">ready</a> · \
         <a href=\"openapi.json\">openapi.json</a></p></html>"
    );
    let policy = (header::CONTENT_SECURITY_POLICY, "default-src 'none'");
    ([policy], Html(page)).into_response()
}

/// The methods of the page: the question that HAProxy asks unless it is told another.
#[utoipa::path(options, path = "/", tag = "status", responses((status = 204, description = "the methods, in `Allow`")))]
pub async fn about_home() -> Response {
    (StatusCode::NO_CONTENT, [(header::ALLOW, "GET, HEAD, OPTIONS")]).into_response()
}
