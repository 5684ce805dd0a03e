//! A node that says what a test wants, over real HTTP.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use chains_core::{
    Network,
    clock::{ManualClock, Millis},
    config::{Report, Section},
};
use chains_rpc::Endpoint as _;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::{
    config,
    context::Context,
    rpc::{Rpc, endpoint::Endpoint},
};

/// The time that tests begin at, in seconds.
pub(crate) const NOW: u64 = 1_700_000_000;

/// Its answer to one call.
#[derive(Clone, Debug)]
pub(crate) enum Say {
    Result(Value),
    Error(i64, &'static str),
    /// A contract reverted with this, hex.
    Revert(String),
    /// Nothing, ever, to the whole request.
    Hang,
}

type Handler = dyn Fn(&str, &Value) -> Say + Send + Sync;

/// The answer to a whole request of so many calls, where it is another.
type Gate = dyn Fn(usize) -> Option<Say> + Send + Sync;

/// It runs until the test's runtime ends.
#[derive(Clone)]
pub(crate) struct FakeNode {
    pub url: String,
    requests: Arc<AtomicUsize>,
}

impl FakeNode {
    pub async fn start(handler: impl Fn(&str, &Value) -> Say + Send + Sync + 'static) -> Self {
        Self::batched(|_| None, handler).await
    }

    /// The same, that answers a whole request of so many calls otherwise.
    #[expect(clippy::disallowed_methods, reason = "a node of a test ends with the test's runtime")]
    pub async fn batched(
        gate: impl Fn(usize) -> Option<Say> + Send + Sync + 'static,
        handler: impl Fn(&str, &Value) -> Say + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let requests = Arc::new(AtomicUsize::new(0));
        let (handler, counter): (Arc<Handler>, _) = (Arc::new(handler), Arc::clone(&requests));
        let gate: Arc<Gate> = Arc::new(gate);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&gate), Arc::clone(&handler), Arc::clone(&counter)));
            }
        });
        Self { url, requests }
    }

    /// HTTP requests so far.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

async fn serve(mut stream: TcpStream, gate: Arc<Gate>, handler: Arc<Handler>, counter: Arc<AtomicUsize>) {
    let mut received = Vec::new();
    loop {
        let Some((body, end)) = request(&received) else {
            let mut chunk = [0; 8192];
            match stream.read(&mut chunk).await {
                Ok(0) | Err(_) => return,
                Ok(n) => received.extend_from_slice(&chunk[..n]),
            }
            continue;
        };
        received.drain(..end);
        counter.fetch_add(1, Ordering::Relaxed);
        let whole = body.as_array().and_then(|calls| gate(calls.len()));
        let answered = match whole {
            Some(say) => said(&Value::Null, say),
            None => answer(&body, &*handler),
        };
        let Some(answer) = answered else {
            return std::future::pending().await;
        };
        let text = answer.to_string();
        let head =
            format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", text.len());
        if stream.write_all(format!("{head}{text}").as_bytes()).await.is_err() {
            return;
        }
    }
}

/// The first whole request in the bytes: its body, and where it ends.
fn request(bytes: &[u8]) -> Option<(Value, usize)> {
    let text = String::from_utf8_lossy(bytes);
    let (head, _) = text.split_once("\r\n\r\n")?;
    let length =
        head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse::<usize>().ok())?;
    let start = head.len() + 4;
    let body = bytes.get(start..start + length)?;
    Some((serde_json::from_slice(body).expect("JSON"), start + length))
}

fn answer(request: &Value, handler: &Handler) -> Option<Value> {
    if let Value::Array(calls) = request {
        return calls.iter().map(|call| answer(call, handler)).collect::<Option<Vec<_>>>().map(Value::Array);
    }
    said(&request["id"], handler(request["method"].as_str().expect("a method"), &request["params"]))
}

fn said(id: &Value, say: Say) -> Option<Value> {
    match say {
        Say::Result(result) => Some(json!({ "jsonrpc": "2.0", "id": id, "result": result })),
        Say::Error(code, message) => {
            Some(json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message } }))
        }
        Say::Revert(data) => {
            let error = json!({ "code": 3, "message": "execution reverted", "data": data });
            Some(json!({ "jsonrpc": "2.0", "id": id, "error": error }))
        }
        Say::Hang => None,
    }
}

/// Proven endpoints at these nodes.
pub(crate) fn rpc(nodes: &[&FakeNode]) -> Rpc {
    let network: Network = "eip155:84532".parse().expect("a network");
    let endpoint = |node: &&FakeNode| {
        let endpoint = Endpoint::new(&network, &node.url, Duration::from_secs(2)).expect("an endpoint");
        endpoint.standing().prove();
        endpoint
    };
    Rpc::new(network.clone(), nodes.iter().map(endpoint).collect(), Duration::from_millis(100))
}

/// Base Sepolia with this node, at [`NOW`].
pub(crate) fn context(node: &FakeNode) -> Context {
    context_at(node, Arc::new(ManualClock::at(Millis(NOW * 1000))))
}

/// The same, by this clock.
pub(crate) fn context_at(node: &FakeNode, clock: Arc<ManualClock>) -> Context {
    let text =
        format!("rpc = [{:?}]\ngas_wallets = [\"{}\"]\n{}", node.url, config::tests::KEY, config::tests::DEFAULTS);
    let section = Section::new("n", text.parse().expect("TOML"), Report::new(BTreeMap::new()));
    let (config, wallets, rpc) = config::read("eip155:84532".parse().expect("a network"), section).expect("read");
    rpc.endpoints().iter().for_each(|endpoint| endpoint.standing().prove());
    let context = Context::new(config, wallets, rpc, clock);
    context.capabilities.found_block_overrides(true);
    context
}
