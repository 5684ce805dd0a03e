//! From the bytes of a request to a payment request, or to the reason why not.

use axum::{
    body::Body,
    http::{HeaderMap, header},
};
use chains_core::protocol::{self, LegacyNames, Request};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use super::{Options, error::Failure};

/// Reads, in bounds of size and time, what must be JSON.
///
/// # Errors
/// Another type, too large, too slow, or no payment request.
pub async fn read(headers: &HeaderMap, body: Body, options: &Options, names: &LegacyNames) -> Result<Request, Failure> {
    if !is_json(headers) || headers.contains_key(header::CONTENT_ENCODING) {
        return Err(Failure::MediaType);
    }
    if announced(headers).is_some_and(|length| length > options.body_max) {
        return Err(Failure::TooLarge);
    }
    let collected = tokio::time::timeout(options.body_wait, Limited::new(body, options.body_max).collect()).await;
    let bytes = match collected {
        Ok(Ok(collected)) => collected.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => return Err(Failure::TooLarge),
        Ok(Err(_)) => return Err(Failure::BadRequest("the body ended early")),
        Err(_) => return Err(Failure::Slow),
    };
    protocol::parse(&bytes, names).map_err(Failure::Body)
}

/// `application/json`, with or without parameters. Required, since a web page
/// cannot send it elsewhere without asking first.
fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let essence = value.split(';').next().unwrap_or("").trim();
    essence.eq_ignore_ascii_case("application/json")
}

fn announced(headers: &HeaderMap) -> Option<usize> {
    let text = headers.get(header::CONTENT_LENGTH)?.to_str().ok()?;
    // A length beyond the machine's numbers is too large as well.
    Some(text.parse().unwrap_or(usize::MAX))
}
