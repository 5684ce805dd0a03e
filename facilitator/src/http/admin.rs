//! The second listener: metrics and the whole readiness, for those who run the service.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderValue, header},
    middleware::{self, Next},
    response::{Html, IntoResponse, Response},
    routing::get,
};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio_util::sync::CancellationToken;

use super::{
    error::{Failure, RequestId, Shape},
    headers,
    host::{self, Hosts},
    status,
};
use crate::{metrics::exposition::Exposition, payment::Payments};

/// The state that the admin listener's handlers share.
#[derive(Clone)]
pub struct Admin {
    /// The metrics.
    pub metrics: Exposition,
    /// The source of the gauges.
    pub payments: Arc<Payments>,
    /// The names that are answered to.
    pub hosts: Hosts,
    /// SHA-256 of the token that is asked for; `None` asks for none.
    pub token_sha256: Option<[u8; 32]>,
    /// Cancelled when the service stops: it is then ready for nothing new.
    pub draining: CancellationToken,
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

/// Every route of the admin listener. Each asks for the token.
pub fn router(admin: Admin) -> Router {
    let routes = Router::new()
        .route("/", get(home))
        .route("/metrics", get(metrics))
        .route("/ready", get(ready))
        .fallback(nothing)
        .method_not_allowed_fallback(method_not_allowed);
    routes.layer(middleware::from_fn_with_state(admin.clone(), at_the_door)).with_state(admin)
}

/// Names every request, and lets those in that may ask.
async fn at_the_door(State(admin): State<Admin>, mut request: Request, next: Next) -> Response {
    let id = super::request_id(&request);
    request.extensions_mut().insert(id.clone());
    let mut response = match admin.check(&request) {
        Ok(()) => next.run(request).await,
        Err(failure) => failure.respond(Shape::Unknown, &id),
    };
    super::name(&mut response, &id);
    response
}

impl Admin {
    fn check(&self, request: &Request) -> Result<(), Failure> {
        if host::is_ambiguous(request) {
            return Err(Failure::TwoHosts);
        }
        if !self.hosts.include(request) {
            return Err(Failure::Host);
        }
        let token = headers::bearer(request.headers()).unwrap_or("");
        let allowed = self.token_sha256.is_none_or(|hash| bool::from(hash.ct_eq(&Sha256::digest(token))));
        if allowed { Ok(()) } else { Err(Failure::Unauthorized) }
    }
}

async fn metrics(State(admin): State<Admin>) -> Response {
    admin.payments.measure();
    // A database that does not answer shows in other places.
    if let Ok(size) = admin.payments.store().size().await {
        crate::metrics::store_size(size.bytes, size.log_bytes);
    }
    let media_type = HeaderValue::from_static(Exposition::MEDIA_TYPE);
    ([(header::CONTENT_TYPE, media_type)], admin.metrics.render()).into_response()
}

/// The readiness with everything that an operator wants to know, hosts of nodes included.
async fn ready(State(admin): State<Admin>) -> Response {
    status::tell(&*admin.payments.readiness().await, admin.draining.is_cancelled(), |line| &line.detail)
}

/// A page that leads to the others.
async fn home() -> Response {
    const PAGE: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>x402 facilitator: admin</title>\
                        <h1>x402 facilitator: admin</h1><p><a href=\"metrics\">metrics</a> · <a href=\"ready\">ready</a>\
                        </p></html>";
    ([(header::CONTENT_SECURITY_POLICY, "default-src 'none'")], Html(PAGE)).into_response()
}

async fn nothing(request: Request) -> Response {
    Failure::NotFound("there is nothing at this path").respond(Shape::Unknown, &RequestId::of(&request))
}

async fn method_not_allowed(request: Request) -> Response {
    Failure::Method.respond(Shape::Unknown, &RequestId::of(&request))
}
