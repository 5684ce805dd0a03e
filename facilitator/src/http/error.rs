//! Status codes, and the body that every kind of client understands.

use std::{fmt, sync::Arc, time::Duration};

use axum::{
    Json,
    extract::Request,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use chains_core::{
    Code,
    protocol::{BodyError, SettleResponse, UNKNOWN_NETWORK, VerifyResponse, Version, json::JsonError},
    reason,
};
use serde::Serialize;
use utoipa::ToSchema;

/// Names one request, in the log and to the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// An id.
    pub fn new(id: String) -> Self {
        Self(id.into())
    }

    /// Where there is no request to name.
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

/// Whose shape an error body has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `/verify`.
    Verify,
    /// `/settle`.
    Settle,
    /// Neither: both shapes at once.
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

/// The body of every error: whatever a client looks for, it finds. The fields
/// of `/verify`, of `/settle`, or of both, and a sentence and the request's id.
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
    /// Who pays; empty when unknown.
    pub payer: String,
    /// The same for people.
    pub error: String,
    /// Names this request in our log.
    pub request_id: String,
}

/// Why a request is not served.
#[derive(Debug, PartialEq, Eq)]
pub enum Failure {
    /// The body is no payment request.
    Body(BodyError),
    /// A header, parameter or path is not of its form.
    BadRequest(&'static str),
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
    /// A bug.
    Panic,
    /// The store does not answer.
    Store,
}

impl Failure {
    fn status(&self) -> StatusCode {
        match self {
            Self::Body(_) | Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::MediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Host => StatusCode::MISDIRECTED_REQUEST,
            Self::Panic => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Store => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn code(&self) -> Option<Code> {
        match self {
            Self::Body(BodyError::Json(JsonError::Syntax(_))) => Some(reason::INVALID_JSON),
            Self::Body(BodyError::Json(JsonError::Ambiguous(_))) => Some(reason::INVALID_PAYLOAD),
            Self::Body(BodyError::Missing { .. }) => Some(reason::MISSING_PARAMETERS),
            _ => None,
        }
    }

    fn message(&self) -> String {
        match self {
            Self::Body(error) => error.to_string(),
            Self::BadRequest(message) | Self::NotFound(message) => (*message).to_owned(),
            Self::Unauthorized => "an API key is needed: Authorization: Bearer …".into(),
            Self::Forbidden => "this API key may not do this".into(),
            Self::Method => "this path does not have that method".into(),
            Self::Slow => "the body took too long to arrive".into(),
            Self::TooLarge => "the body is too large".into(),
            Self::MediaType => "the body must be application/json, not encoded".into(),
            Self::Host => "this service does not answer to that Host; see server.hosts".into(),
            Self::Panic => "this is a bug of the service; nothing is known to have been lost".into(),
            Self::Store => "the store does not answer; try again".into(),
        }
    }

    /// The answer.
    pub fn respond(&self, shape: Shape, id: &RequestId) -> Response {
        let network = match self {
            Self::Body(BodyError::Missing { network: Some(network), .. }) => network.clone(),
            _ => UNKNOWN_NETWORK.to_owned(),
        };
        let message = self.message();
        let mut body = ErrorBody { error: message.clone(), request_id: id.to_string(), ..ErrorBody::default() };
        let code = |fallback: Code| Some(self.code().unwrap_or(fallback).spelling(Version::V2).to_owned());
        if matches!(shape, Shape::Verify | Shape::Unknown) {
            body.is_valid = Some(false);
            body.invalid_reason = code(reason::UNEXPECTED_VERIFY_ERROR);
            body.invalid_message = Some(message.clone());
        }
        if matches!(shape, Shape::Settle | Shape::Unknown) {
            body.success = Some(false);
            body.error_reason = code(reason::UNEXPECTED_SETTLE_ERROR);
            body.error_message = Some(message);
            body.transaction = Some(String::new());
            body.network = Some(network);
        }
        let mut response = (self.status(), Json(body)).into_response();
        let headers = response.headers_mut();
        match self {
            Self::Unauthorized => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            // What is left of the body is not read: the connection is of no more use.
            Self::Slow | Self::TooLarge => {
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Self::Store => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
            }
            _ => {}
        }
        response
    }
}

/// A verify answer that is no verdict, with its status.
pub fn verify_unavailable(response: VerifyResponse, retry_after: Duration, id: &RequestId) -> Response {
    let VerifyResponse { is_valid, invalid_reason, invalid_message, payer } = response;
    let error = invalid_message.clone().unwrap_or_default();
    let request_id = id.to_string();
    let body = ErrorBody {
        is_valid: Some(is_valid),
        invalid_reason,
        invalid_message,
        payer,
        error,
        request_id,
        ..ErrorBody::default()
    };
    later((StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response(), retry_after)
}

/// A settle answer that is no outcome.
pub fn settle_unavailable(response: SettleResponse, retry_after: Duration, id: &RequestId) -> Response {
    later((StatusCode::SERVICE_UNAVAILABLE, Json(of_settle(response, id))).into_response(), retry_after)
}

/// An `Idempotency-Key` of another request.
pub fn key_reused(response: SettleResponse, id: &RequestId) -> Response {
    (StatusCode::CONFLICT, Json(of_settle(response, id))).into_response()
}

fn of_settle(response: SettleResponse, id: &RequestId) -> ErrorBody {
    let SettleResponse { success, error_reason, error_message, payer, transaction, network, .. } = response;
    let error = error_message.clone().unwrap_or_default();
    ErrorBody {
        success: Some(success),
        error_reason,
        error_message,
        payer,
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
