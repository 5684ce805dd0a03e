//! A node that says what a test wants, without a network.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use chains_core::{
    clock::{ManualClock, Millis},
    config::{Report, Section},
};
use chains_rpc::{Endpoint as _, Fault};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::{
    config,
    context::Context,
    local::{DECIMALS, NETWORK, USDC},
    mint::SoundMint,
    programs,
    rpc::{Rpc, client::Wire, endpoint::Endpoint},
};

/// Its answer to one call.
#[derive(Clone, Debug)]
pub(crate) enum Say {
    Result(Value),
    Error(i64, &'static str),
    Fault(Fault),
    /// Nothing, ever.
    Hang,
}

type Handler = dyn Fn(&str, &Value) -> Say + Send + Sync;

/// A node and what it was asked.
#[derive(Clone)]
pub(crate) struct FakeNode {
    handler: Arc<Handler>,
    calls: Arc<AtomicUsize>,
    methods: Arc<Mutex<BTreeMap<String, usize>>>,
}

impl FakeNode {
    pub fn new(handler: impl Fn(&str, &Value) -> Say + Send + Sync + 'static) -> Self {
        Self { handler: Arc::new(handler), calls: Arc::default(), methods: Arc::default() }
    }

    /// Its answer to a call, which is not counted.
    pub fn say(&self, method: &str, params: &Value) -> Say {
        (self.handler)(method, params)
    }

    /// Calls so far.
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    /// Calls of a method so far.
    pub fn calls_of(&self, method: &str) -> usize {
        self.methods.lock().get(method).copied().unwrap_or(0)
    }
}

#[async_trait]
impl Wire for FakeNode {
    async fn post(&self, body: String) -> Result<Vec<u8>, Fault> {
        let request: Value = serde_json::from_str(&body).expect("JSON");
        let method = request["method"].as_str().expect("a method");
        self.calls.fetch_add(1, Ordering::Relaxed);
        *self.methods.lock().entry(method.to_owned()).or_default() += 1;
        let answer = match (self.handler)(method, &request["params"]) {
            Say::Result(result) => json!({"id": request["id"], "result": result}),
            Say::Error(code, message) => {
                json!({"id": request["id"], "error": {"code": code, "message": message}})
            }
            Say::Fault(fault) => return Err(fault),
            Say::Hang => std::future::pending().await,
        };
        Ok(answer.to_string().into_bytes())
    }
}

/// An answer with a context, as most methods give it.
pub(crate) fn at(slot: u64, value: &Value) -> Say {
    Say::Result(json!({ "context": { "slot": slot, "apiVersion": "4.2.2" }, "value": value }))
}

/// `getEpochInfo`.
pub(crate) fn epoch_info(slot: u64, height: u64) -> Say {
    Say::Result(json!({
        "absoluteSlot": slot, "blockHeight": height, "epoch": 0, "slotIndex": slot, "slotsInEpoch": 432_000,
        "transactionCount": 1,
    }))
}

/// Nodes that have shown that they serve this cluster.
pub(crate) fn rpc(nodes: &[&FakeNode]) -> Rpc {
    let endpoints = nodes.iter().enumerate().map(|(number, node)| {
        let endpoint = Endpoint::over((*node).clone(), None, format!("node{number}"));
        endpoint.standing().prove();
        endpoint
    });
    let network = NETWORK.parse().expect("a network");
    Rpc::new(network, endpoints.collect(), Duration::from_millis(200), false)
}

/// Everything about a network over these nodes, with the local USDC as found.
pub(crate) fn context(nodes: &[&FakeNode]) -> Context {
    context_with(nodes, config::tests::DEFAULTS)
}

/// The same with other defaults.
pub(crate) fn context_with(nodes: &[&FakeNode], defaults: &str) -> Context {
    let key = config::tests::fee_payer().to_base58_string();
    let text = format!("rpc = [\"http://127.0.0.1:1\"]\nwebsocket = \"off\"\nfee_payers = [\"{key}\"]\n{defaults}");
    let section = Section::new("n", text.parse().expect("TOML"), Report::default());
    let (config, wallets, _) = config::read(NETWORK.parse().expect("a network"), section).expect("good");
    let context = Context::new(config, wallets, rpc(nodes), Arc::new(ManualClock::at(Millis(1_700_000_000_000))));
    let usdc = SoundMint { program: programs::TOKEN, decimals: DECIMALS };
    context.mints.note(&context.config.network, HashMap::from([(USDC, Ok(usdc))]));
    context
}
