//! The second listener: metrics, for who runs the service.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
    routing::get,
};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio_util::sync::CancellationToken;

use super::{
    error::{Failure, RequestId, Shape},
    headers,
    host::{self, Hosts},
};
use crate::{metrics::exposition::Exposition, payment::Payments, store::connect::size};

/// The state that the admin listener's handlers share.
#[derive(Clone)]
pub struct Admin {
    /// The metrics.
    pub metrics: Exposition,
    /// The source of the gauges.
    pub payments: Arc<Payments>,
    /// The URL of the store.
    pub store_url: String,
    /// The names that are answered to.
    pub hosts: Hosts,
    /// SHA-256 of the token that is asked for; `None` asks for none.
    pub token_sha256: Option<[u8; 32]>,
}

/// The time between two foldings of samples into their histograms.
const UPKEEP: Duration = Duration::from_secs(5);

/// Folds samples into histograms until `stop`: without it they pile up in
/// memory for as long as nobody reads the metrics.
pub async fn upkeep(metrics: Exposition, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(UPKEEP);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        metrics.fold();
    }
}

/// Every route of the admin listener.
pub fn router(admin: Admin) -> Router {
    Router::new().route("/metrics", get(metrics)).fallback(nothing).with_state(admin)
}

async fn metrics(State(admin): State<Admin>, request: Request) -> Response {
    if host::is_ambiguous(&request) {
        return Failure::TwoHosts.respond(Shape::Unknown, &RequestId::none());
    }
    if !admin.hosts.include(&request) {
        return Failure::Host.respond(Shape::Unknown, &RequestId::none());
    }
    let token = headers::bearer(request.headers()).unwrap_or("");
    let allowed = admin.token_sha256.is_none_or(|hash| bool::from(hash.ct_eq(&Sha256::digest(token))));
    if !allowed {
        return Failure::Unauthorized.respond(Shape::Unknown, &RequestId::none());
    }
    admin.payments.measure();
    let size = size(&admin.store_url);
    crate::metrics::store_size(size.bytes, size.log_bytes);
    let media_type = HeaderValue::from_static(Exposition::MEDIA_TYPE);
    ([(header::CONTENT_TYPE, media_type)], admin.metrics.render()).into_response()
}

async fn nothing() -> Response {
    Failure::NotFound("there is nothing at this path").respond(Shape::Unknown, &RequestId::none())
}
