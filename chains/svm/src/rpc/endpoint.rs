//! One endpoint: the solana client over a transport of ours, which keeps
//! connections alive, bounds answers, never retries and never shows the URL.

use std::{
    fmt,
    sync::atomic::{AtomicU8, AtomicU64, Ordering},
    time::Duration,
};

use async_trait::async_trait;
use chains_core::Network;
use reqwest::{Client, Url, header::CONTENT_TYPE, redirect::Policy};
use serde::Deserialize;
use serde_json::Value;
use solana_client::{
    client_error::{ClientError, ClientErrorKind},
    nonblocking::rpc_client::RpcClient,
    rpc_client::RpcClientConfig,
    rpc_request::{RpcError, RpcRequest, RpcResponseErrorData},
    rpc_response::RpcSimulateTransactionResult,
    rpc_sender::{RpcSender, RpcTransportStats},
};
use solana_commitment_config::CommitmentConfig;

use super::error::{self, CallError, Fault, RESPONSE_BYTES_MAX};

/// Connections kept open while nothing is asked.
const IDLE_CONNECTIONS_MAX: usize = 64;

/// How long one is kept.
const IDLE_MAX: Duration = Duration::from_mins(1);

/// One endpoint of a network. Its client reads at commitment `confirmed`
/// unless told otherwise.
pub struct Endpoint {
    client: RpcClient,
    host: String,
    standing: AtomicU8,
}

/// What an endpoint has shown of its genesis hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing yet.
    Unproven,
    /// It serves this cluster.
    Proven,
    /// It serves another cluster.
    Foreign,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("host", &self.host).finish_non_exhaustive()
    }
}

impl Endpoint {
    /// An endpoint that answers each request within `timeout`.
    ///
    /// # Errors
    /// What is wrong with the URL or the TLS set-up, for people, without the URL.
    pub fn new(network: &Network, url: &str, timeout: Duration) -> Result<Self, String> {
        let url = Url::parse(url).map_err(|error| format!("is no URL: {error}"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err("is not an http or https URL".to_owned());
        }
        let host = host(&url).ok_or("names no host")?;
        let client = Client::builder()
            .timeout(timeout)
            .connect_timeout(timeout)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .pool_idle_timeout(IDLE_MAX)
            .tcp_nodelay(true)
            .redirect(Policy::none())
            .no_proxy()
            .build()
            .map_err(|_| "cannot be used: TLS cannot be set up".to_owned())?;
        let sender = Sender { client, url, network: network.to_string(), id: AtomicU64::new(0) };
        Ok(Self::over(sender, host))
    }

    /// An endpoint over any transport.
    pub(crate) fn over(sender: impl RpcSender + Send + Sync + 'static, host: String) -> Self {
        let config = RpcClientConfig::with_commitment(CommitmentConfig::confirmed());
        Self { client: RpcClient::new_sender(sender, config), host, standing: AtomicU8::new(0) }
    }

    /// Its host and port: all that is ever shown of it.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The methods of a node.
    pub const fn client(&self) -> &RpcClient {
        &self.client
    }

    /// What the client's error means, with this endpoint's name.
    pub fn read(&self, error: &ClientError) -> CallError {
        error::read(&self.host, error)
    }

    /// What it has shown of its genesis hash.
    pub fn standing(&self) -> Standing {
        match self.standing.load(Ordering::Relaxed) {
            0 => Standing::Unproven,
            1 => Standing::Proven,
            _ => Standing::Foreign,
        }
    }

    /// Notes what it has shown of its genesis hash.
    pub fn set_standing(&self, standing: Standing) {
        let value = match standing {
            Standing::Unproven => 0,
            Standing::Proven => 1,
            Standing::Foreign => 2,
        };
        self.standing.store(value, Ordering::Relaxed);
    }
}

/// Host and port of a URL, without what may be secret in it.
pub(crate) fn host(url: &Url) -> Option<String> {
    let host = url.host_str()?;
    Some(url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
}

/// The transport.
struct Sender {
    client: Client,
    url: Url,
    network: String,
    id: AtomicU64,
}

impl Sender {
    async fn post(&self, body: String) -> Result<Vec<u8>, Fault> {
        let request = self.client.post(self.url.clone()).header(CONTENT_TYPE, "application/json").body(body);
        let mut response = request.send().await.map_err(|error| fault_of(&error))?;
        let status = response.status();
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| fault_of(&error))? {
            if bytes.len() + chunk.len() > RESPONSE_BYTES_MAX {
                return Err(Fault::TooLarge);
            }
            bytes.extend_from_slice(&chunk);
        }
        // Some nodes send their error objects with a status of 4xx.
        let is_answer = status.is_success() || bytes.first() == Some(&b'{');
        if !is_answer || status.as_u16() == 429 || status.is_server_error() {
            return Err(Fault::Status(status.as_u16()));
        }
        Ok(bytes)
    }
}

#[async_trait]
impl RpcSender for Sender {
    async fn send(&self, request: RpcRequest, params: Value) -> Result<Value, ClientError> {
        let labels = [("network", self.network.clone()), ("method", request.to_string())];
        metrics::counter!("rpc_requests_total", &labels).increment(1);
        metrics::counter!("rpc_calls_total", &labels).increment(1);
        let id = self.id.fetch_add(1, Ordering::Relaxed);
        let body = request.build_request_json(id, params).to_string();
        let bytes = self.post(body).await.map_err(ClientErrorKind::from)?;
        answer(&bytes)
    }

    fn get_transport_stats(&self) -> RpcTransportStats {
        RpcTransportStats::default()
    }

    /// Not the URL: the client would show it.
    fn url(&self) -> String {
        host(&self.url).unwrap_or_default()
    }
}

#[derive(Deserialize)]
struct Response {
    #[serde(default)]
    result: Value,
    #[serde(default)]
    error: Option<ResponseError>,
}

#[derive(Deserialize)]
struct ResponseError {
    #[serde(default)]
    code: i64,
    #[serde(default)]
    message: String,
    #[serde(default)]
    data: Value,
}

fn answer(bytes: &[u8]) -> Result<Value, ClientError> {
    // A list would be read as the fields in their order.
    let is_object = bytes.trim_ascii_start().starts_with(b"{");
    let response: Option<Response> = serde_json::from_slice(bytes).ok().filter(|_| is_object);
    let response = response.ok_or_else(|| ClientErrorKind::from(Fault::Unreadable))?;
    let Some(ResponseError { code, message, data }) = response.error else { return Ok(response.result) };
    let simulated = serde_json::from_value::<RpcSimulateTransactionResult>(data);
    let data = simulated.map_or(RpcResponseErrorData::Empty, RpcResponseErrorData::SendTransactionPreflightFailure);
    Err(ClientErrorKind::from(RpcError::RpcResponseError { code, message, data }).into())
}

fn fault_of(error: &reqwest::Error) -> Fault {
    if error.is_timeout() {
        Fault::Timeout
    } else if error.is_connect() {
        Fault::Connect
    } else {
        Fault::Broken
    }
}

#[cfg(test)]
mod tests {
    use solana_sdk::transaction::TransactionError;

    use super::*;
    use crate::rpc::error::NodeError;

    #[test]
    fn urls_are_checked_and_never_shown() {
        let network: Network = "solana:x".parse().expect("a network");
        let new = |url| Endpoint::new(&network, url, Duration::from_secs(1));
        for bad in ["", "ws://x", "file:///etc/passwd", "canary"] {
            assert!(!new(bad).expect_err(bad).contains("canary"));
        }
        let endpoint = new("https://user:canary@node.example:8443/v2/canary?key=canary").expect("a URL");
        assert_eq!(endpoint.host(), "node.example:8443");
        assert!(!format!("{endpoint:?} {}", endpoint.client().url()).contains("canary"));
    }

    #[test]
    fn answers_are_results_or_what_the_node_says_of_the_transaction() {
        let read = |text: &str| answer(text.as_bytes()).map_err(|error| error::read("h", &error));
        let node = |code, message, transaction| {
            Err(CallError::Node { host: "h".into(), error: NodeError::new(code, message, transaction) })
        };
        assert_eq!(read(r#"{"jsonrpc":"2.0","id":1,"result":7}"#), Ok(serde_json::json!(7)));
        assert_eq!(read(r#"{"jsonrpc":"2.0","id":1,"result":null}"#), Ok(Value::Null));
        assert_eq!(read(r#"{"error":{"code":-32601,"message":"no"}}"#), node(-32601, "no", None));
        let text = r#"{"error":{"code":-32002,"message":"m","data":{"err":"AlreadyProcessed","logs":[],"accounts":null,
            "unitsConsumed":0,"returnData":null,"innerInstructions":null}}}"#;
        assert_eq!(read(text), node(-32002, "m", Some(TransactionError::AlreadyProcessed)));
        for bad in ["", "<html>", "[]", "[1]"] {
            let fault = Fault::Unreadable;
            assert_eq!(read(bad), Err(CallError::Transport { host: "h".into(), fault }), "{bad}");
        }
    }
}
