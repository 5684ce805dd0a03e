//! From the bytes of a request to a payment request, or to the reason against it.

use std::sync::Arc;

use axum::{
    body::Body,
    http::{HeaderMap, header, request::Parts},
};
use chains_core::protocol::{self, LegacyNames, Request};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use super::{
    Options,
    error::Failure,
    headers,
    server::places::{Phase, Place},
};

/// Reads, in bounds of size and time, what must be JSON.
///
/// # Errors
/// Another type, too large, too slow, or no payment request.
pub async fn read(head: &Parts, body: Body, options: &Options, names: &LegacyNames) -> Result<Request, Failure> {
    if !headers::is_plain_json(&head.headers) {
        return Err(Failure::MediaType);
    }
    if announced(&head.headers).is_some_and(|length| length > options.body_max) {
        return Err(Failure::TooLarge);
    }
    let place = head.extensions.get::<Arc<Place>>();
    let enter = |phase| {
        if let Some(place) = place {
            place.enter(phase);
        }
    };
    enter(Phase::Body);
    let collected = tokio::time::timeout(options.body_wait, collect(body, options.body_max, place)).await;
    enter(Phase::Working);
    let request = collected.map_err(|_| Failure::Slow)??.parse(names)?;
    if let Some(place) = place.filter(|_| request.payment.is_ok()) {
        place.worked();
    }
    Ok(request)
}

/// A body, counted for as long as it is held.
struct Collected {
    bytes: Vec<u8>,
    _counted: Option<super::server::places::BodyBytes>,
}

impl Collected {
    fn parse(&self, names: &LegacyNames) -> Result<Request, Failure> {
        protocol::parse(&self.bytes, names).map_err(Failure::Body)
    }
}

async fn collect(body: Body, max: usize, place: Option<&Arc<Place>>) -> Result<Collected, Failure> {
    let (mut body, mut bytes) = (Limited::new(body, max), Vec::new());
    let mut counted = place.map(Place::body);
    while let Some(frame) = body.frame().await {
        let frame = match frame {
            Ok(frame) => frame,
            Err(error) if error.is::<LengthLimitError>() => return Err(Failure::TooLarge),
            Err(_) => return Err(Failure::Incomplete),
        };
        let Ok(data) = frame.into_data() else { continue };
        if let Some(counted) = &mut counted {
            counted.add(data.len()).map_err(|_| Failure::Busy)?;
        }
        bytes.extend_from_slice(&data);
    }
    Ok(Collected { bytes, _counted: counted })
}

fn announced(headers: &HeaderMap) -> Option<usize> {
    let text = headers.get(header::CONTENT_LENGTH)?.to_str().ok()?;
    // A length beyond the machine's numbers is too large as well.
    Some(text.parse().unwrap_or(usize::MAX))
}
