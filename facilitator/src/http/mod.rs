//! The outside over HTTP: the only place that knows axum and status codes.
//!
//! * [`server`]: connections, their limits and their end.
//! * [`body`]: from bytes to a request, or to the reason why not.
//! * [`x402`]: `/verify`, `/settle`, `/supported`; [`response`] makes their answers.
//! * [`status`]: `/settlements…`, `/health`, `/ready`, `/`.
//! * [`auth`]: who may ask.
//! * [`headers`]: the header fields that are read, each by its grammar.
//! * [`codes`]: the reasons not to serve a request, in one table.
//! * [`error`]: the hybrid error body.
//! * [`openapi`]: the contract, made from the handlers.
//! * [`host`]: the names that are answered to.
//! * [`admin`]: the second listener, with the metrics and the whole readiness.
//!
//! Absent on purpose: CORS (a web page has no business here), HTTP/2 (callers
//! speak HTTP/1.1, and its stream floods are nobody's gain), redirects (they
//! turn a POST into a GET), compressed bodies.

pub mod admin;
pub mod auth;
pub mod body;
pub mod codes;
pub mod error;
pub mod headers;
pub mod host;
pub mod openapi;
pub mod response;
pub mod server;
pub mod status;
pub mod x402;

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderName, HeaderValue, Method, Uri},
    middleware::{self, Next},
    response::Response,
    routing::{get, post},
};
use futures::FutureExt;
use tokio_util::sync::CancellationToken;

use self::{
    auth::{KeyRing, Scope},
    error::{Failure, RequestId, Shape},
    host::Hosts,
    server::places::Place,
};
use crate::{
    limits::rates::Gate,
    metrics::{
        self,
        zero::{self, OTHER, Sets},
    },
    payment::{
        Payments, Told,
        outcome::{self, PANICKED},
    },
    redis_client::Purpose,
    replay_guard::Answer,
};

/// The options of the public listener.
#[derive(Clone, Debug)]
pub struct Options {
    /// The largest body, in bytes.
    pub body_max: usize,
    /// Time for a body to arrive.
    pub body_wait: Duration,
    /// The names that are answered to.
    pub hosts: Hosts,
    /// Cancelled when the service stops: it is then ready for nothing new.
    pub draining: CancellationToken,
}

/// The state that the handlers share.
#[derive(Clone)]
pub struct Api {
    /// The use cases.
    pub payments: Arc<Payments>,
    /// The keys of callers that may ask.
    pub keys: Arc<KeyRing>,
    /// The limits of these callers.
    pub gate: Arc<Gate>,
    /// The listener's options.
    pub options: Arc<Options>,
}

/// The prefix under which some clients look for the x402 routes.
const PLATFORM_PREFIX: &str = "/platform/v2/x402";

static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Every route of the public listener.
pub fn router(api: Api) -> Router {
    let x402 = || {
        Router::new()
            .route("/verify", post(x402::verify).get(x402::about_verify))
            .route("/settle", post(x402::settle).get(x402::about_settle))
            .route("/supported", get(x402::supported))
    };
    let routes = x402()
        .nest(PLATFORM_PREFIX, x402())
        .route("/health", get(status::health))
        .route("/ready", get(status::ready))
        .route("/settlements", get(status::list))
        .route("/settlements/{id}", get(status::one))
        .route("/openapi.json", get(openapi::json))
        .route("/", get(status::home).options(status::about_home))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed);
    let routes = routes.with_state(api.clone());
    // The path is put right before the router sees it.
    Router::new().fallback_service(routes).layer(middleware::from_fn_with_state(api, at_the_door))
}

async fn not_found(request: Request) -> Response {
    let id = RequestId::of(&request);
    Failure::NotFound("there is nothing at this path").respond(Shape::of(request.uri().path()), &id)
}

async fn method_not_allowed(request: Request) -> Response {
    let id = RequestId::of(&request);
    Failure::Method.respond(Shape::of(request.uri().path()), &id)
}

/// A panic is a bug: it is counted, logged by the hook, and answered without detail.
fn panicked(route: &'static str, id: &RequestId, took: Duration) -> Response {
    metrics::panicked();
    let Told { outcome, reason } = PANICKED;
    match Shape::of(route) {
        Shape::Verify => metrics::verify_answered(OTHER, OTHER, outcome, reason),
        Shape::Settle => metrics::settle_answered(OTHER, OTHER, outcome, reason, took),
        Shape::Unknown => {}
    }
    tracing::error!(route, request_id = %id, "a request panicked: this is a bug");
    Failure::Panic.respond(Shape::of(route), id)
}

/// Names, times and counts every request, and puts its path right before it is routed.
async fn at_the_door(State(api): State<Api>, mut request: Request, next: Next) -> Response {
    let id = request_id(&request);
    request.extensions_mut().insert(id.clone());
    if let Some(path) = tidy_path(request.uri().path()) {
        let query = request.uri().query().map_or(String::new(), |query| format!("?{query}"));
        if let Ok(uri) = format!("{path}{query}").parse::<Uri>() {
            *request.uri_mut() = uri;
        }
    }
    let route = route_label(request.uri().path());
    let is_post = request.method() == Method::POST;
    let asked = std::time::Instant::now();
    let mut response = if host::is_ambiguous(&request) {
        Failure::TwoHosts.respond(Shape::of(route), &id)
    } else if is_probe(route) || api.options.hosts.include(&request) {
        let place = request.extensions().get::<Arc<Place>>().filter(|_| !is_probe(route));
        match place.map_or(Ok(None), |place| place.ask(request.headers())) {
            Ok(under_way) => {
                // Nothing that a panic leaves behind is used again but what is made for it.
                let answered = AssertUnwindSafe(next.run(request)).catch_unwind().await;
                drop(under_way);
                answered.unwrap_or_else(|_| panicked(route, &id, asked.elapsed()))
            }
            Err(_) => Failure::TooMany.respond(Shape::of(route), &id),
        }
    } else {
        Failure::Host.respond(Shape::of(route), &id)
    };
    name(&mut response, &id);
    let took = (is_post && TIMED.contains(&route)).then(|| asked.elapsed());
    metrics::answered(route, response.status().as_u16(), took);
    response
}

/// Tells the caller the id of its request.
fn name(response: &mut Response, id: &RequestId) {
    if let Ok(value) = HeaderValue::from_str(id.as_str()) {
        response.headers_mut().insert(REQUEST_ID.clone(), value);
    }
}

/// Load balancers ask by address, by any name or by none, and for `/` unless they
/// are told otherwise; what these routes tell need not be hidden from a page that
/// has rebound its name.
fn is_probe(route: &str) -> bool {
    matches!(route, "/health" | "/ready" | "/")
}

/// The routes whose POST requests are timed.
const TIMED: [&str; 2] = ["/verify", "/settle"];

/// The statuses of the routes that anybody may ask, those of bad requests among them.
const STATUSES: [u16; 5] = [200, 400, 405, 421, 500];

/// The routes as metrics name them, each with the statuses that it answers.
const ROUTES: [(&str, &[u16]); 9] = [
    ("/verify", &[200, 400, 401, 403, 405, 408, 413, 415, 421, 429, 500, 503]),
    ("/settle", &[200, 400, 401, 403, 405, 408, 409, 413, 415, 421, 429, 500, 503]),
    ("/supported", &[200, 304, 400, 405, 421, 500, 503]),
    ("/health", &STATUSES),
    ("/ready", &[200, 400, 405, 421, 500, 503]),
    ("/settlements", &[200, 400, 401, 403, 404, 405, 421, 429, 500, 503]),
    ("/openapi.json", &STATUSES),
    ("/", &[200, 204, 400, 405, 500]),
    (OTHER, &[400, 404, 405, 421, 500]),
];

/// Makes the series that the service has whatever is asked of it, with those of its networks.
pub fn begin_metrics(payments: &Payments, alone: bool) {
    let (verify, settle) = (outcome::verify_outcomes(), outcome::settle_outcomes());
    let sets = Sets {
        routes: &ROUTES,
        timed: &TIMED,
        listeners: &server::LISTENERS,
        drops: &server::DROPS,
        verify: &verify,
        settle: &settle,
        limited: &Scope::ALL.map(Scope::word),
        alone,
        redis: &Purpose::ALL.map(Purpose::word),
        marks: &Answer::WORDS,
    };
    zero::process(&sets);
    for chain in payments.chains() {
        zero::network(&**chain, &sets);
    }
}

/// The route as a label from a closed set.
fn route_label(path: &str) -> &'static str {
    let path = path.strip_prefix(PLATFORM_PREFIX).unwrap_or(path);
    let path = if path.starts_with("/settlements") { "/settlements" } else { path };
    ROUTES.iter().map(|(route, _)| *route).find(|route| *route == path).unwrap_or(OTHER)
}

/// Legacy clients send `//verify`; others end with a slash. `None` when the path is tidy.
fn tidy_path(path: &str) -> Option<String> {
    if !path.contains("//") && (path.len() == 1 || !path.ends_with('/')) {
        return None;
    }
    let parts: Vec<_> = path.split('/').filter(|part| !part.is_empty()).collect();
    Some(format!("/{}", parts.join("/")))
}

/// The caller's id of the request if it is a sane one, else our own.
fn request_id(request: &Request) -> RequestId {
    const ID_MAX: usize = 64;
    let sane = |text: &&str| {
        (1..=ID_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    };
    let given = request.headers().get(&REQUEST_ID).and_then(|value| value.to_str().ok()).filter(sane);
    RequestId::new(given.map_or_else(new_id, str::to_owned))
}

/// Makes an id without the time, since the clock may be anything.
#[expect(clippy::disallowed_methods, reason = "an id has to differ from others, and to mean nothing")]
fn new_id() -> String {
    format!("{:032x}", rand::random::<u128>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_a_label_of_the_closed_set_whatever_it_is() {
        for (path, expected) in [
            ("/verify", "/verify"),
            ("/platform/v2/x402/settle", "/settle"),
            ("/settlements/01a2", "/settlements"),
            ("/", "/"),
            ("/settle/x", OTHER),
            ("/../etc/passwd", OTHER),
            ("", OTHER),
        ] {
            assert_eq!(route_label(path), expected, "{path}");
        }
    }

    #[test]
    fn paths_are_put_right_without_a_redirect() {
        for (path, expected) in [
            ("/verify", None),
            ("/", None),
            ("//verify", Some("/verify")),
            ("/verify/", Some("/verify")),
            ("/platform//v2/x402/settle", Some("/platform/v2/x402/settle")),
            ("//", Some("/")),
        ] {
            assert_eq!(tidy_path(path).as_deref(), expected, "{path}");
        }
    }
}
