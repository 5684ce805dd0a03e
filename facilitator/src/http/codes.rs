//! Requests that are not served: the status, the code and the sentence of each reason.
//!
//! A code says whose move it is. 4xx: the caller's program, key or headers;
//! 429, 503: the same request later. `unexpected_*` is left for bugs and, as
//! x402 has it, for the reason (not the code) of outages.

use axum::http::StatusCode;
use chains_core::protocol::{BodyError, json::JsonError};

use super::error::Failure;
use crate::settlement::NotNow;

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The status.
    pub status: StatusCode,
    /// The code.
    pub code: &'static str,
    /// The sentence; a [`Failure`] with one of its own says that instead.
    pub message: &'static str,
}

const fn row(status: StatusCode, code: &'static str, message: &'static str) -> Row {
    Row { status, code, message }
}

/// A header or parameter has another form than it must have.
pub const BAD_REQUEST: Row =
    row(StatusCode::BAD_REQUEST, "invalid_request", "the request has another form than it must have");
/// Two `Host` headers.
pub const TWO_HOSTS: Row = row(StatusCode::BAD_REQUEST, "ambiguous_host", "the request names two hosts");
/// `Idempotency-Key` has another form.
pub const IDEMPOTENCY_KEY: Row = row(
    StatusCode::BAD_REQUEST,
    "invalid_idempotency_key",
    "Idempotency-Key must be one value of 16 to 128 of [A-Za-z0-9_-]",
);
/// The body is not acceptable as JSON.
pub const JSON: Row = row(StatusCode::BAD_REQUEST, "invalid_json", "the body is not a JSON object");
/// The body can be read in two ways.
pub const AMBIGUOUS_JSON: Row = row(StatusCode::BAD_REQUEST, "invalid_payload", "the body is ambiguous");
/// The body holds more values, or more white space, than a payment has.
pub const COMPLEX_JSON: Row =
    row(StatusCode::BAD_REQUEST, "body_too_complex", "the body holds too many values, or padding");
/// A member is missing.
pub const MISSING: Row =
    row(StatusCode::BAD_REQUEST, "missing_parameters", "paymentPayload or paymentRequirements is missing");
/// The body ended early.
pub const INCOMPLETE: Row = row(StatusCode::BAD_REQUEST, "incomplete_body", "the body ended early");
/// No known API key.
pub const UNAUTHORIZED: Row =
    row(StatusCode::UNAUTHORIZED, "api_key_required", "an API key is needed: Authorization: Bearer …");
/// The API key may not do this.
pub const FORBIDDEN: Row = row(StatusCode::FORBIDDEN, "api_key_not_allowed", "this API key may not do this");
/// Nothing there.
pub const NOT_FOUND: Row = row(StatusCode::NOT_FOUND, "not_found", "there is nothing at this path");
/// Another method.
pub const METHOD: Row =
    row(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this path does not have that method");
/// The body is slow.
pub const SLOW: Row = row(StatusCode::REQUEST_TIMEOUT, "body_too_slow", "the body took too long to arrive");
/// The body is large.
pub const TOO_LARGE: Row = row(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", "the body is too large");
/// Another media type.
pub const MEDIA_TYPE: Row = row(
    StatusCode::UNSUPPORTED_MEDIA_TYPE,
    "unsupported_media_type",
    "the body must be application/json in UTF-8, not encoded",
);
/// Another host's name.
pub const HOST: Row =
    row(StatusCode::MISDIRECTED_REQUEST, "unknown_host", "this service does not answer to that Host; see server.hosts");
/// Large bodies of others are being read.
pub const BUSY: Row =
    row(StatusCode::SERVICE_UNAVAILABLE, "too_busy", "too many large bodies are being read; send the request again");
/// A caller behind a proxy has many requests under way.
pub const TOO_MANY: Row = row(
    StatusCode::SERVICE_UNAVAILABLE,
    "too_many_requests_under_way",
    "this caller has as many requests under way as it may have; send the request again",
);
/// The API key's rate is used up.
pub const RATE_LIMITED: Row = row(
    StatusCode::TOO_MANY_REQUESTS,
    "rate_limited",
    "this API key has made as many requests as it may; come back after Retry-After",
);
/// The API key has many requests under way.
pub const IN_FLIGHT: Row = row(
    StatusCode::TOO_MANY_REQUESTS,
    "too_many_in_flight",
    "this API key has as many requests under way as it may have; come back after Retry-After",
);
/// The store does not answer.
pub const STORE: Row =
    row(StatusCode::SERVICE_UNAVAILABLE, "store_unavailable", "the store does not answer; send the request again");
/// A network has not opened since the start, and is waited for.
pub const OPENING: Row = row(
    StatusCode::SERVICE_UNAVAILABLE,
    "service_starting",
    "a network has not opened since the start, so that the list is not complete yet; ask again",
);
/// No gas wallet of any network can pay.
pub const NOTHING_NOW: Row = row(
    StatusCode::SERVICE_UNAVAILABLE,
    "nothing_supported_now",
    "no gas wallet of any network can pay at present, so that there is nothing to list; ask again",
);
/// A bug.
pub const PANIC: Row = row(
    StatusCode::INTERNAL_SERVER_ERROR,
    "unexpected_error",
    "this is a bug of the service; nothing is known to have been lost",
);

/// Every row, in the order of the contract.
pub const ALL: [Row; 24] = [
    BAD_REQUEST,
    TWO_HOSTS,
    IDEMPOTENCY_KEY,
    JSON,
    AMBIGUOUS_JSON,
    COMPLEX_JSON,
    MISSING,
    INCOMPLETE,
    UNAUTHORIZED,
    FORBIDDEN,
    NOT_FOUND,
    METHOD,
    SLOW,
    TOO_LARGE,
    MEDIA_TYPE,
    HOST,
    RATE_LIMITED,
    IN_FLIGHT,
    BUSY,
    TOO_MANY,
    STORE,
    OPENING,
    NOTHING_NOW,
    PANIC,
];

/// Returns the row of a failure.
pub const fn of(failure: &Failure) -> Row {
    match failure {
        Failure::BadRequest(_) => BAD_REQUEST,
        Failure::TwoHosts => TWO_HOSTS,
        Failure::IdempotencyKey => IDEMPOTENCY_KEY,
        Failure::Body(BodyError::Json(JsonError::Syntax(_))) => JSON,
        Failure::Body(BodyError::Json(JsonError::Ambiguous(_))) => AMBIGUOUS_JSON,
        Failure::Body(BodyError::Json(JsonError::Complex | JsonError::Blank)) => COMPLEX_JSON,
        Failure::Body(BodyError::Missing { .. }) => MISSING,
        Failure::Incomplete => INCOMPLETE,
        Failure::Unauthorized => UNAUTHORIZED,
        Failure::Forbidden => FORBIDDEN,
        Failure::NotFound(_) => NOT_FOUND,
        Failure::Method => METHOD,
        Failure::Slow => SLOW,
        Failure::TooLarge => TOO_LARGE,
        Failure::MediaType => MEDIA_TYPE,
        Failure::Host => HOST,
        Failure::Busy => BUSY,
        Failure::TooMany => TOO_MANY,
        Failure::RateLimited(_) => RATE_LIMITED,
        Failure::InFlight => IN_FLIGHT,
        Failure::Store => STORE,
        Failure::Opening => OPENING,
        Failure::NothingNow => NOTHING_NOW,
        Failure::Panic => PANIC,
    }
}

/// The table as the contract prints it: `status code: sentence`, a line each.
pub fn table() -> String {
    let line = |status: StatusCode, code, message| format!("* {} `{code}`: {message}", status.as_u16());
    let rows = ALL.iter().map(|row| line(row.status, row.code, row.message));
    // The store's row says the same of every route.
    let payments = NotNow::DISTINCT.iter().filter(|why| why.code() != STORE.code);
    let payments = payments.map(|why| line(StatusCode::SERVICE_UNAVAILABLE, why.code(), why.message()));
    rows.chain(payments).collect::<Vec<_>>().join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use chains_core::{protocol::Version, reason};

    use super::*;

    #[test]
    fn a_code_says_whose_fault_it_is_and_means_one_thing() {
        let mut seen = std::collections::BTreeSet::new();
        for row in ALL {
            assert!(seen.insert(row.code), "{} stands twice", row.code);
            assert_eq!(row.code.starts_with("unexpected"), row.status == StatusCode::INTERNAL_SERVER_ERROR, "{row:?}");
        }
        assert_eq!(JSON.code, reason::INVALID_JSON.spelling(Version::V2));
    }
}
