//! The metrics that families write, by name, and the closed sets of their labels. The
//! service describes them and makes each exist from the start.

/// Counter: HTTP requests to endpoints, by network, node, method and outcome.
pub const RPC_REQUESTS: &str = "facilitator_rpc_requests_total";
/// Counter: calls in those requests, by network, node and method.
pub const RPC_CALLS: &str = "facilitator_rpc_calls_total";
/// Histogram, seconds: the time of those requests, by network and node.
pub const RPC_SECONDS: &str = "facilitator_rpc_request_duration_seconds";
/// Counter: reads that were put to another endpoint because one was slow, by network.
pub const RPC_HEDGES: &str = "facilitator_rpc_hedges_total";
/// Counter: sends that one endpoint rejected and another did not, by network.
pub const RPC_CONTRADICTIONS: &str = "facilitator_rpc_contradictions_total";
/// Counter: sends of a transaction to one endpoint, by network, node and answer.
pub const BROADCASTS: &str = "facilitator_broadcasts_total";
/// Gauge: 1 while a token runs other code than was looked at, by network and asset.
pub const ASSET_SUSPENDED: &str = "facilitator_asset_suspended";

/// The outcomes of a request to an endpoint.
pub const RPC_OUTCOMES: [&str; 6] = ["ok", "error", "timeout", "limited", "unreadable", "abandoned"];

/// The answers of an endpoint to a send.
pub const BROADCAST_ANSWERS: [&str; 5] = ["accepted", "known", "refused", "underpriced", "unknown"];

/// The labels of one network's metrics, as its configuration fixes them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    /// Its endpoints: host and port.
    pub nodes: Vec<String>,
    /// The assets whose code is watched.
    pub assets: Vec<String>,
    /// The method by which an endpoint tells its newest block.
    pub height_method: &'static str,
}
