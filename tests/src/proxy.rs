//! A JSON-RPC proxy before a node: it loses, delays, refuses, forgets and lies on demand, and counts what passes.
//!
//! Several proxies before one node make a configuration of several nodes, each with faults of its own.

mod rules;
mod stale;

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::State,
    http::StatusCode,
    response::IntoResponse,
    routing::post,
};
use futures::future::BoxFuture;
use serde_json::{Value, json};

use self::{
    rules::{Ending, Plan, Rules},
    stale::View,
};

/// A fault that hits a call of a certain method.
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
    /// It reaches the node; the caller gets the node's answer later.
    DelayAnswer(Duration),
    /// It reaches the node; the caller gets this result instead of the node's.
    Replace(Value),
}

/// The calls that a fault hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// The next so many.
    Next(u64),
    /// Each call whose number is a multiple of this.
    Every(u64),
    /// All.
    Always,
}

/// An error answer: code and message.
pub type Refusal = (i64, String);

/// Something that happens before a call goes on; it gets the parameters.
type Before = Arc<dyn Fn(Value) -> BoxFuture<'static, ()> + Send + Sync>;

struct Shared {
    node: String,
    client: reqwest::Client,
    rules: Mutex<Rules>,
    before: Mutex<Vec<(String, Before)>>,
    requests: AtomicU64,
}

/// A running proxy.
#[derive(Clone)]
pub struct Proxy {
    shared: Arc<Shared>,
    /// The address to reach it at.
    pub url: String,
}

impl Proxy {
    /// Starts a proxy before a node.
    ///
    /// # Panics
    /// If there is no free port.
    pub async fn before(node: &str) -> Self {
        let shared = Arc::new(Shared {
            node: node.to_owned(),
            client: crate::http_client(),
            rules: Mutex::default(),
            before: Mutex::default(),
            requests: AtomicU64::new(0),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address: SocketAddr = listener.local_addr().expect("bound");
        let router = Router::new().fallback(post(forward)).with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { shared, url: format!("http://{address}") }
    }

    /// Starts three proxies before one node: a configuration of three nodes.
    pub async fn three_before(node: &str) -> [Self; 3] {
        [Self::before(node).await, Self::before(node).await, Self::before(node).await]
    }

    /// Makes a method fail; `*` stands for every method that has no fault of its own.
    pub fn fail(&self, method: &str, fault: Fault, times: Times) {
        self.shared.rules().add_fault(method, fault, times);
    }

    /// Makes a method lie: the closure gets the parameters and the node's result and returns the result that is told.
    pub fn lie(&self, method: &str, lie: impl Fn(&Value, Value) -> Value + Send + Sync + 'static) {
        self.shared.rules().add_lie(method, Arc::new(lie));
    }

    /// Refuses the calls of a method whose parameters the closure finds an error for.
    pub fn refuse_when(&self, method: &str, rule: impl Fn(&Value) -> Option<Refusal> + Send + Sync + 'static) {
        self.shared.rules().add_refusal(method, Arc::new(rule));
    }

    /// Has something happen before each call of a method goes on; healing does not end it.
    pub fn before_each(&self, method: &str, happens: impl Fn(Value) -> BoxFuture<'static, ()> + Send + Sync + 'static) {
        let mut before = self.shared.before.lock().unwrap_or_else(PoisonError::into_inner);
        before.push((method.to_owned(), Arc::new(happens)));
    }

    /// Refuses `eth_getLogs` over more than so many blocks, in these words.
    pub fn log_range_max(&self, blocks: u128, words: &'static str) {
        self.refuse_when("eth_getLogs", move |params| rules::log_range(params, blocks, words));
    }

    /// Knows none of these methods.
    pub fn without(&self, methods: &[&str]) {
        for method in methods {
            self.fail(method, Fault::Refuse(-32601, "the method does not exist or is not available"), Times::Always);
        }
    }

    /// Refuses JSON-RPC batches of more than so many calls; 0 refuses all.
    pub fn batch_max(&self, calls: usize) {
        self.shared.rules().batch_max = Some(calls);
    }

    /// Knows the state of the newest so many blocks only.
    pub fn keep_state_of(&self, blocks: u64) {
        self.shared.rules().state_kept = Some(blocks);
    }

    /// Has `eth_sendRawTransactionSync`, as far as its node has it.
    pub fn with_send_sync(&self) {
        self.shared.rules().has_send_sync = true;
    }

    /// Stands so many blocks behind the node.
    pub fn lag(&self, blocks: u64) {
        self.shared.rules().lag = blocks;
    }

    /// Lets everything pass again.
    pub fn heal(&self) {
        self.shared.rules().heal();
    }

    /// Returns the number of HTTP requests so far.
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }

    /// Returns the number of calls of a method so far, those in batches counted.
    pub fn calls(&self, method: &str) -> u64 {
        self.shared.rules().calls(method)
    }

    /// Returns the number of calls so far, by method.
    pub fn all_calls(&self) -> BTreeMap<String, u64> {
        self.shared.rules().all_calls()
    }
}

impl Shared {
    fn rules(&self) -> MutexGuard<'_, Rules> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has everything happen that is to happen before this call.
    async fn happens_before(&self, call: &Value) {
        let before = self.before.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (_, happens) in before.into_iter().filter(|(method, _)| call["method"] == method.as_str()) {
            happens(call["params"].clone()).await;
        }
    }

    async fn ask(&self, body: &Value) -> Value {
        let sent = self.client.post(&self.node).json(body).send().await;
        match sent {
            Ok(answer) => answer.json().await.unwrap_or(Value::Null),
            Err(_) => Value::Null,
        }
    }

    /// Returns the part of the chain that the proxy shows, where that is less than the node shows.
    async fn view(&self) -> Option<View> {
        let (lag, kept) = {
            let rules = self.rules();
            (rules.lag, rules.state_kept)
        };
        if lag == 0 && kept.is_none() {
            return None;
        }
        let head = self.ask(&json!({"jsonrpc": "2.0", "id": 1, "method": "eth_blockNumber", "params": []})).await;
        let head = u64::from_str_radix(head["result"].as_str()?.trim_start_matches("0x"), 16).ok()?;
        let mut view = View::new(head, lag, kept);
        if let Some(questions) = view.blocks_with_state() {
            let blocks = self.ask(&json!(questions)).await;
            view.set_hashes_with_state(&blocks);
        }
        Some(view)
    }

    /// Puts the calls that are to reach the node to it; the answers come in the order of those calls.
    async fn pass(&self, calls: &[(Value, Plan)]) -> VecDeque<Value> {
        let passed: Vec<&Value> = calls.iter().filter(|(_, plan)| plan.reaches_node).map(|(call, _)| call).collect();
        if passed.is_empty() {
            return VecDeque::new();
        }
        let answers = self.ask(&json!(passed)).await;
        let mut answers = answers.as_array().cloned().unwrap_or_default();
        // A node may answer a batch in any order.
        answers.sort_by_key(|answer| passed.iter().position(|call| call["id"] == answer["id"]));
        answers.into()
    }
}

async fn forward(State(shared): State<Arc<Shared>>, body: Bytes) -> axum::response::Response {
    shared.requests.fetch_add(1, Ordering::Relaxed);
    let Ok(request) = serde_json::from_slice::<Value>(&body) else { return StatusCode::BAD_REQUEST.into_response() };
    let is_batch = request.is_array();
    let calls = if let Value::Array(calls) = request { calls } else { vec![request] };
    if is_batch && shared.rules().batch_max.is_some_and(|max| calls.len() > max) {
        return Json(error(&Value::Null, -32600, "batch of JSON-RPC calls is too large")).into_response();
    }
    for call in &calls {
        shared.happens_before(call).await;
    }
    let view = shared.view().await;
    let calls: Vec<_> = calls
        .into_iter()
        .map(|mut call| {
            let plan = shared.rules().plan(&mut call, view.as_ref());
            (call, plan)
        })
        .collect();
    for (_, plan) in &calls {
        tokio::time::sleep(plan.delay).await;
    }
    let mut answers = shared.pass(&calls).await;
    for (_, plan) in &calls {
        tokio::time::sleep(plan.answer_delay).await;
    }
    let mut results = Vec::with_capacity(calls.len());
    for (call, plan) in &calls {
        let answer = if plan.reaches_node { answers.pop_front().unwrap_or(Value::Null) } else { Value::Null };
        results.push(match &plan.ending {
            Ending::Node => shared.rules().twist(call, answer, view.as_ref()),
            Ending::Result(result) => json!({"jsonrpc": "2.0", "id": call["id"], "result": result}),
            Ending::Error(code, message) => error(&call["id"], *code, message),
            Ending::Status(status) => return StatusCode::from_u16(*status).expect("a status").into_response(),
            Ending::Break => return cut_short(),
        });
    }
    let body = if is_batch { Value::Array(results) } else { results.pop().unwrap_or(Value::Null) };
    Json(body).into_response()
}

/// Returns an answer that breaks off: the caller cannot know what has happened.
fn cut_short() -> axum::response::Response {
    let parts = [Ok("["), Err(io::Error::other("cut short"))];
    Body::from_stream(futures::stream::iter(parts)).into_response()
}

fn error(id: &Value, code: i64, message: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}})
}
