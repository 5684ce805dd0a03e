//! One endpoint: the solana client over [`Transport`], which never retries.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use async_trait::async_trait;
use chains_core::Network;
use chains_rpc::{Fault, Limits, Meter, Outcome, Standing, Transport};
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

use super::error::{self, CallError};

/// Connections kept open while nothing is asked.
const IDLE_CONNECTIONS_MAX: usize = 64;

/// The largest answer that is read: 256 statuses, or a transaction with its
/// logs, fit many times.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The method by which an endpoint tells its newest slot.
pub const HEIGHT_METHOD: &str = "getSlot";

/// One endpoint of a network. Its client reads at commitment `confirmed`
/// unless told otherwise.
pub struct Endpoint {
    client: RpcClient,
    host: String,
    standing: Standing,
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
    /// The URL or the TLS set-up is wrong: a sentence for people, without the URL.
    pub fn new(network: &Network, url: &str, timeout: Duration) -> Result<Self, String> {
        let (idle_connections_max, answer_bytes_max) = (IDLE_CONNECTIONS_MAX, ANSWER_BYTES_MAX);
        let transport = Transport::new(url, Limits { timeout, idle_connections_max, answer_bytes_max })?;
        let host = transport.host().to_owned();
        let meter = Meter::new(network, &host);
        Ok(Self::over(Sender { transport, meter, id: AtomicU64::new(0) }, host))
    }

    /// An endpoint over any transport.
    pub(crate) fn over(sender: impl RpcSender + Send + Sync + 'static, host: String) -> Self {
        let config = RpcClientConfig::with_commitment(CommitmentConfig::confirmed());
        Self { client: RpcClient::new_sender(sender, config), host, standing: Standing::default() }
    }

    /// The methods of a node.
    pub const fn client(&self) -> &RpcClient {
        &self.client
    }

    /// Reads the client's error, with this endpoint's name.
    pub fn read(&self, error: &ClientError) -> CallError {
        error::read(&self.host, error)
    }
}

impl chains_rpc::Endpoint for Endpoint {
    fn host(&self) -> &str {
        &self.host
    }

    fn standing(&self) -> &Standing {
        &self.standing
    }
}

/// The transport, as the client wants it.
struct Sender {
    transport: Transport,
    meter: Meter,
    id: AtomicU64,
}

#[async_trait]
impl RpcSender for Sender {
    async fn send(&self, request: RpcRequest, params: Value) -> Result<Value, ClientError> {
        let method = method_label(request);
        self.meter.call(method, 1);
        let asked = self.meter.request(method);
        let id = self.id.fetch_add(1, Ordering::Relaxed);
        let body = request.build_request_json(id, params).to_string();
        let answered = match self.transport.post(body).await {
            Ok(bytes) => answer(&bytes),
            Err(fault) => Err(error::carried(fault).into()),
        };
        asked.end(outcome(&answered));
        answered
    }

    fn get_transport_stats(&self) -> RpcTransportStats {
        RpcTransportStats::default()
    }

    /// Not the URL: the client would show it.
    fn url(&self) -> String {
        self.transport.host().to_owned()
    }
}

/// The methods that this crate calls: the closed list of metric labels.
fn method_label(request: RpcRequest) -> &'static str {
    match request {
        RpcRequest::GetAccountInfo => "getAccountInfo",
        RpcRequest::GetBalance => "getBalance",
        RpcRequest::GetBlockHeight => "getBlockHeight",
        RpcRequest::GetEpochInfo => "getEpochInfo",
        RpcRequest::GetFirstAvailableBlock => "getFirstAvailableBlock",
        RpcRequest::GetGenesisHash => "getGenesisHash",
        RpcRequest::GetLatestBlockhash => "getLatestBlockhash",
        RpcRequest::GetMultipleAccounts => "getMultipleAccounts",
        RpcRequest::GetRecentPrioritizationFees => "getRecentPrioritizationFees",
        RpcRequest::GetSignatureStatuses => "getSignatureStatuses",
        RpcRequest::GetSlot => HEIGHT_METHOD,
        RpcRequest::GetTransaction => "getTransaction",
        RpcRequest::IsBlockhashValid => "isBlockhashValid",
        RpcRequest::SendTransaction => "sendTransaction",
        RpcRequest::SimulateTransaction => "simulateTransaction",
        _ => "other",
    }
}

fn outcome(answered: &Result<Value, ClientError>) -> Outcome {
    match answered {
        Ok(_) => Outcome::Ok,
        Err(error) => match error::read("", error) {
            CallError::Transport { fault, .. } => Outcome::of(fault),
            CallError::Node { error, .. } => Outcome::of_node(error.code, &error.message),
            CallError::NoEndpoint | CallError::OneWitness { .. } => Outcome::Error,
        },
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
    let response = response.ok_or_else(|| error::carried(Fault::Unreadable))?;
    let Some(ResponseError { code, message, data }) = response.error else { return Ok(response.result) };
    let simulated = serde_json::from_value::<RpcSimulateTransactionResult>(data);
    let data = simulated.map_or(RpcResponseErrorData::Empty, RpcResponseErrorData::SendTransactionPreflightFailure);
    Err(ClientErrorKind::from(RpcError::RpcResponseError { code, message, data }).into())
}

#[cfg(test)]
mod tests {
    use solana_sdk::transaction::TransactionError;

    use super::*;
    use crate::rpc::error::NodeError;

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
