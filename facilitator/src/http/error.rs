//! Status codes, and the body that every kind of client understands.

use std::{fmt, sync::Arc, time::Duration};

use axum::{
    Json,
    extract::Request,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use chains_core::protocol::{BodyError, UNKNOWN_NETWORK};
use serde::Serialize;
use utoipa::ToSchema;

use super::codes;

/// Names one request, in the log and to the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// An id.
    pub fn new(id: String) -> Self {
        Self(id.into())
    }

    /// The id of no request.
    pub fn none() -> Self {
        Self("".into())
    }

    /// The id of a request that has come through the door.
    pub fn of(request: &Request) -> Self {
        request.extensions().get::<Self>().cloned().unwrap_or_else(Self::none)
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The routes whose members an error body has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `/verify`.
    Verify,
    /// `/settle`.
    Settle,
    /// Neither.
    Unknown,
}

impl Shape {
    /// The shape for a path.
    pub fn of(path: &str) -> Self {
        if path.ends_with("/verify") {
            Self::Verify
        } else if path.ends_with("/settle") {
            Self::Settle
        } else {
            Self::Unknown
        }
    }
}

/// The body of every error: a code, a sentence and the request's id; on `/verify`
/// and `/settle` the members of their answers too, so that every client finds
/// those that it reads.
#[derive(Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ErrorBody {
    /// Always false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_valid: Option<bool>,
    /// The code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invalid_reason: Option<String>,
    /// The same for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invalid_message: Option<String>,
    /// Always false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub success: Option<bool>,
    /// The code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_reason: Option<String>,
    /// The same for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_message: Option<String>,
    /// The transaction, where one was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transaction: Option<String>,
    /// The network as the request wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// The account that pays; empty when unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payer: Option<String>,
    /// The code, on every route.
    pub code: String,
    /// The same for people.
    pub error: String,
    /// Names this request in our log.
    pub request_id: String,
}

/// A reason not to serve a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Failure {
    /// The body is not a payment request.
    Body(BodyError),
    /// A parameter or path is not of its form.
    BadRequest(&'static str),
    /// Two `Host` headers.
    TwoHosts,
    /// `Idempotency-Key` is not of its form.
    IdempotencyKey,
    /// The body ended early.
    Incomplete,
    /// No, or no known, API key.
    Unauthorized,
    /// The key may not do this.
    Forbidden,
    /// There is nothing here.
    NotFound(&'static str),
    /// The path has other methods.
    Method,
    /// The body took too long.
    Slow,
    /// The body is too large.
    TooLarge,
    /// The body is not `application/json`, or it is encoded.
    MediaType,
    /// The `Host` is not ours.
    Host,
    /// Bodies hold as many bytes as they may.
    Busy,
    /// A caller behind a proxy has as many requests under way as it may have.
    TooMany,
    /// The API key's rate is used up; the next request may come after this time.
    RateLimited(Duration),
    /// The API key has as many requests under way as it may have.
    InFlight,
    /// A network has not opened since the start, and is waited for.
    Opening,
    /// No gas wallet of any network can pay.
    NothingNow,
    /// A bug.
    Panic,
    /// The store does not answer.
    Store,
}

impl Failure {
    fn message(&self) -> String {
        match self {
            Self::Body(error) => error.to_string(),
            Self::BadRequest(message) | Self::NotFound(message) => (*message).to_owned(),
            _ => codes::of(self).message.to_owned(),
        }
    }

    /// The answer.
    pub fn respond(&self, shape: Shape, id: &RequestId) -> Response {
        let network = match self {
            Self::Body(BodyError::Missing { network: Some(network), .. }) => network.clone(),
            _ => UNKNOWN_NETWORK.to_owned(),
        };
        let (row, message) = (codes::of(self), self.message());
        let (error, request_id, code) = (message.clone(), id.to_string(), row.code.to_owned());
        let mut body = ErrorBody { code, error, request_id, ..ErrorBody::default() };
        body.payer = (shape != Shape::Unknown).then(String::new);
        if shape == Shape::Verify {
            body.is_valid = Some(false);
            body.invalid_reason = Some(row.code.to_owned());
            body.invalid_message = Some(message.clone());
        }
        if shape == Shape::Settle {
            body.success = Some(false);
            body.error_reason = Some(row.code.to_owned());
            body.error_message = Some(message);
            body.transaction = Some(String::new());
            body.network = Some(network);
        }
        let mut response = (row.status, Json(body)).into_response();
        let headers = response.headers_mut();
        match self {
            Self::Unauthorized => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            // What is left of the body is not read: the connection is of no more use.
            Self::Slow | Self::TooLarge | Self::Incomplete | Self::TwoHosts => {
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Self::Busy => {
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            Self::RateLimited(wait) => {
                // Whoever comes back in time is let through.
                let seconds = wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0)).max(1);
                headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            }
            Self::TooMany | Self::InFlight => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            Self::Store | Self::Opening | Self::NothingNow => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
            }
            _ => {}
        }
        response
    }
}
