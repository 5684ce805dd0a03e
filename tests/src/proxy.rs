//! A JSON-RPC proxy before the node that loses, delays, replaces and counts.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Bytes, extract::State, http::StatusCode, response::IntoResponse, routing::post};
use serde_json::{Value, json};

/// What happens to a request that holds a certain method.
#[derive(Clone, Debug)]
pub enum Fault {
    /// It never reaches the node; the caller's connection breaks.
    LoseRequest,
    /// It reaches the node; the caller's connection breaks.
    LoseAnswer,
    /// It never reaches the node; the caller gets this error.
    Refuse(i64, &'static str),
    /// It never reaches the node; the caller gets this HTTP status.
    Status(u16),
    /// It never reaches the node; the caller gets this result.
    Pretend(Value),
    /// It reaches the node later.
    Delay(Duration),
    /// It reaches the node; the caller gets this result instead of the node's.
    Replace(Value),
}

/// How often a fault happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// So often, then never again.
    Next(u64),
    /// Every so-manieth time.
    Every(u64),
    /// Always.
    Always,
}

#[derive(Default)]
struct Rules {
    faults: HashMap<String, VecDeque<(Fault, Times)>>,
    seen: HashMap<String, u64>,
}

struct Shared {
    node: String,
    client: reqwest::Client,
    rules: Mutex<Rules>,
    requests: AtomicU64,
}

/// A running proxy.
#[derive(Clone)]
pub struct Proxy {
    shared: Arc<Shared>,
    /// Where to reach it.
    pub url: String,
}

impl Proxy {
    /// Starts a proxy before a node.
    ///
    /// # Panics
    /// When there is no free port.
    pub async fn before(node: &str) -> Self {
        let shared = Arc::new(Shared {
            node: node.to_owned(),
            client: reqwest::Client::new(),
            rules: Mutex::default(),
            requests: AtomicU64::new(0),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address: SocketAddr = listener.local_addr().expect("bound");
        let router = Router::new().route("/", post(forward)).with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { shared, url: format!("http://{address}") }
    }

    /// Makes a method fail.
    pub fn fail(&self, method: &str, fault: Fault, times: Times) {
        self.rules().faults.entry(method.to_owned()).or_default().push_back((fault, times));
    }

    /// Lets everything pass again.
    pub fn heal(&self) {
        self.rules().faults.clear();
    }

    /// HTTP requests so far.
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }

    /// Calls of a method so far, those in batches counted.
    pub fn calls(&self, method: &str) -> u64 {
        self.rules().seen.get(method).copied().unwrap_or(0)
    }

    fn rules(&self) -> std::sync::MutexGuard<'_, Rules> {
        self.shared.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// The fault that hits this method now.
    fn fault(&self, method: &str) -> Option<Fault> {
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = rules.seen.entry(method.to_owned()).or_default();
        *seen += 1;
        let seen = *seen;
        let queue = rules.faults.get_mut(method)?;
        let (fault, times) = queue.front_mut()?;
        let hit = match times {
            Times::Always => true,
            Times::Every(n) => seen.is_multiple_of(*n),
            Times::Next(left) => {
                *left -= 1;
                true
            }
        };
        let fault = hit.then(|| fault.clone());
        if *times == Times::Next(0) {
            queue.pop_front();
        }
        fault
    }

    async fn ask(&self, body: &Value) -> Value {
        let sent = self.client.post(&self.node).json(body).send().await;
        match sent {
            Ok(answer) => answer.json().await.unwrap_or(Value::Null),
            Err(_) => Value::Null,
        }
    }
}

async fn forward(State(shared): State<Arc<Shared>>, body: Bytes) -> axum::response::Response {
    shared.requests.fetch_add(1, Ordering::Relaxed);
    let Ok(request) = serde_json::from_slice::<Value>(&body) else { return StatusCode::BAD_REQUEST.into_response() };
    let is_batch = request.is_array();
    let calls = if let Value::Array(calls) = request { calls } else { vec![request] };
    let faults: Vec<_> = calls.iter().map(|call| shared.fault(call["method"].as_str().unwrap_or(""))).collect();
    let passed = calls.iter().zip(&faults).filter(|(_, fault)| reaches_node(fault.as_ref()));
    let passed: Vec<&Value> = passed.map(|(call, _)| call).collect();
    for fault in faults.iter().flatten() {
        if let Fault::Delay(time) = fault {
            tokio::time::sleep(*time).await;
        }
    }
    let answers = if passed.is_empty() { Value::Array(vec![]) } else { shared.ask(&json!(passed)).await };
    let mut answers: VecDeque<Value> = answers.as_array().cloned().unwrap_or_default().into();
    let mut results = Vec::with_capacity(calls.len());
    for (call, fault) in calls.iter().zip(faults) {
        let answer =
            if reaches_node(fault.as_ref()) { answers.pop_front().unwrap_or(Value::Null) } else { Value::Null };
        let id = &call["id"];
        results.push(match fault {
            None | Some(Fault::Delay(_)) => answer,
            Some(Fault::Replace(result) | Fault::Pretend(result)) => {
                json!({"jsonrpc": "2.0", "id": id, "result": result})
            }
            Some(Fault::Refuse(code, message)) => {
                json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}})
            }
            Some(Fault::Status(status)) => {
                return StatusCode::from_u16(status).expect("a status").into_response();
            }
            // A body that is cut short: the caller cannot know what happened.
            Some(Fault::LoseRequest | Fault::LoseAnswer) => {
                return (StatusCode::OK, [("content-length", "1000000")], "[").into_response();
            }
        });
    }
    let body = if is_batch { Value::Array(results) } else { results.pop().unwrap_or(Value::Null) };
    axum::Json(body).into_response()
}

const fn reaches_node(fault: Option<&Fault>) -> bool {
    match fault {
        None | Some(Fault::LoseAnswer | Fault::Delay(_) | Fault::Replace(_)) => true,
        Some(Fault::LoseRequest | Fault::Refuse(..) | Fault::Status(_) | Fault::Pretend(_)) => false,
    }
}
