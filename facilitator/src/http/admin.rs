//! The second listener: metrics, for who runs the service.

use std::time::Duration;

use axum::{
    Router,
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::get,
};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio_util::sync::CancellationToken;

use super::{
    error::{Failure, RequestId, Shape},
    headers,
    host::{self, Hosts},
};

/// Upper bounds of the latency histograms, in seconds.
const SECONDS: [f64; 14] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0];

/// The state that the admin listener's handlers share.
#[derive(Clone)]
pub struct Admin {
    /// The metrics.
    pub metrics: PrometheusHandle,
    /// The names that are answered to.
    pub hosts: Hosts,
    /// SHA-256 of the token that is asked for; `None` asks for none.
    pub token_sha256: Option<[u8; 32]>,
}

/// Installs the metrics recorder of this process.
///
/// # Errors
/// There is one already.
pub fn install_metrics() -> Result<PrometheusHandle, BuildError> {
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
        .install_recorder()?;
    crate::metrics::describe();
    Ok(recorder)
}

/// The time between two foldings of samples into their histograms.
const UPKEEP: Duration = Duration::from_secs(5);

/// Folds samples into histograms until `stop`: without it they pile up in
/// memory for as long as nobody reads the metrics.
pub async fn upkeep(metrics: PrometheusHandle, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(UPKEEP);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        metrics.run_upkeep();
        crate::metrics::log_lines_dropped(crate::logging::dropped());
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
    admin.metrics.render().into_response()
}

async fn nothing() -> Response {
    Failure::NotFound("there is nothing at this path").respond(Shape::Unknown, &RequestId::none())
}
