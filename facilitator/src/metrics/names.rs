//! The catalogue: every metric with its kind and its description.

use Kind::{Counter, Gauge, Histogram};
pub use chains_core::metric::{
    ASSET_SUSPENDED, BROADCASTS, RPC_CALLS, RPC_CONTRADICTIONS, RPC_HEDGES, RPC_REQUESTS, RPC_SECONDS,
};

/// The kind of a metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts values in buckets with these upper bounds.
    Histogram(&'static [f64]),
}

pub const BUILD_INFO: &str = "facilitator_build_info";
pub const READY: &str = "facilitator_ready";
pub const PAUSED: &str = "facilitator_paused";
pub const PANICS: &str = "facilitator_panics_total";
pub const LOG_LINES_DROPPED: &str = "facilitator_log_lines_dropped_total";
pub const HTTP_REQUESTS: &str = "facilitator_http_requests_total";
pub const HTTP_SECONDS: &str = "facilitator_http_request_duration_seconds";
pub const HTTP_CONNECTIONS: &str = "facilitator_http_connections";
pub const CONNECTIONS_DROPPED: &str = "facilitator_http_connections_dropped_total";
pub const CONNECTIONS_REFUSED: &str = "facilitator_http_connections_refused_total";
pub const VERIFY_ANSWERS: &str = "facilitator_verify_answers_total";
pub const SETTLE_ANSWERS: &str = "facilitator_settle_answers_total";
pub const SETTLE_SECONDS: &str = "facilitator_settle_duration_seconds";
pub const SETTLEMENTS: &str = "facilitator_settlements_total";
pub const IN_FLIGHT: &str = "facilitator_settlements_in_flight";
pub const STAGE_SECONDS: &str = "facilitator_settlement_stage_duration_seconds";
pub const OLDEST_AGE: &str = "facilitator_settlement_oldest_age_seconds";
pub const REORGED: &str = "facilitator_settlements_reorged_total";
pub const LOST: &str = "facilitator_settlements_lost_total";
pub const UNVERIFIED: &str = "facilitator_settlements_unverified_total";
pub const FAILED_EXECUTED: &str = "facilitator_failed_executed_total";
pub const REPLACEMENTS: &str = "facilitator_replacements_total";
pub const TRANSACTION_SETTLEMENTS: &str = "facilitator_transaction_settlements";
pub const FEE_CEILING_REACHED: &str = "facilitator_fee_ceiling_reached_total";
pub const NETWORK_OPEN: &str = "facilitator_network_open";
pub const HEAD_BLOCK: &str = "facilitator_head_block";
pub const HEAD_AGE: &str = "facilitator_head_age_seconds";
pub const CLOCK_SKEW: &str = "facilitator_clock_skew_seconds";
pub const NODE_UP: &str = "facilitator_rpc_node_up";
pub const NODE_LAG: &str = "facilitator_rpc_node_lag_blocks";
pub const WALLET_BALANCE: &str = "facilitator_gas_wallet_balance_coins";
pub const WALLET_BALANCE_MIN: &str = "facilitator_gas_wallet_balance_minimum_coins";
pub const WALLET_IN_FLIGHT: &str = "facilitator_gas_wallet_in_flight";
pub const WALLET_IN_FLIGHT_MAX: &str = "facilitator_gas_wallet_in_flight_limit";
pub const WALLET_RUNWAY: &str = "facilitator_gas_wallet_runway_seconds";
pub const WALLET_STATE: &str = "facilitator_gas_wallet_state";
pub const WALLET_REFUSED: &str = "facilitator_gas_wallet_refused";
pub const LEASES_TAKEN: &str = "facilitator_leases_taken_total";
pub const LEASES_LOST: &str = "facilitator_leases_lost_total";
pub const HAND_OVERS: &str = "facilitator_hand_overs_total";
pub const HANDED_OVER: &str = "facilitator_handed_over";
pub const COMMITS: &str = "facilitator_store_commits_total";
pub const COMMIT_FAILURES: &str = "facilitator_store_commit_failures_total";
pub const COMMIT_SECONDS: &str = "facilitator_store_commit_duration_seconds";
pub const COMMIT_REQUESTS: &str = "facilitator_store_commit_requests";
pub const NOTES_DROPPED: &str = "facilitator_store_notes_dropped_total";
pub const STORE_BYTES: &str = "facilitator_store_size_bytes";
pub const STORE_WAL_BYTES: &str = "facilitator_store_wal_size_bytes";
pub const REDIS_COMMANDS: &str = "facilitator_redis_commands_total";
pub const REDIS_SECONDS: &str = "facilitator_redis_command_duration_seconds";
pub const REDIS_BREAKER: &str = "facilitator_redis_breaker_open";
pub const INSTANCES: &str = "facilitator_instances";
pub const RATE_LIMITED: &str = "facilitator_rate_limited_total";
pub const MARKS: &str = "facilitator_replay_marks_total";

/// Seconds of what should take milliseconds.
const SHORT: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0];
/// Seconds of an exchange with a node or with a caller.
const EXCHANGE: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0];
/// Seconds of a settlement as its caller sees it.
const SETTLE: &[f64] = &[0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 7.5, 10.0, 20.0, 30.0];
/// Seconds of one part of it.
const STAGE: &[f64] = &[0.01, 0.05, 0.25, 1.0, 2.5, 5.0, 15.0, 60.0];
/// Requests in one commit: at most 64 settlements begin in one.
const COUNTS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0];

/// Settlements in one transaction.
const TOGETHER: &[f64] = &[1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 25.0];

/// Every metric but the exact ones of [`exact`](super::exact) and the `process_*` of the process.
pub const CATALOGUE: &[(&str, Kind, &str)] = &[
    (BUILD_INFO, Gauge, "1, with the version, the commit and the compiler of what runs"),
    (READY, Gauge, "1 while this part of the service is ready, as /ready says: store, a network, or redis"),
    (
        PAUSED,
        Gauge,
        "Entries of [paused] in the configuration: everything, networks, assets and API keys; 0 while nothing is paused",
    ),
    (PANICS, Counter, "Panics: each is a bug"),
    (LOG_LINES_DROPPED, Counter, "Log lines that found no room because stderr does not take them"),
    (HTTP_REQUESTS, Counter, "Answers of the public listener by route and status"),
    (HTTP_SECONDS, Histogram(EXCHANGE), "Time from the head of a POST to its answer"),
    (HTTP_CONNECTIONS, Gauge, "Open connections of a listener"),
    (CONNECTIONS_DROPPED, Counter, "Connections that the service ended, by reason"),
    (CONNECTIONS_REFUSED, Counter, "Connections that found no place: of all, or of those of one address"),
    (VERIFY_ANSWERS, Counter, "Answers of /verify by outcome and reason"),
    (SETTLE_ANSWERS, Counter, "Answers of /settle by outcome and reason"),
    (SETTLE_SECONDS, Histogram(SETTLE), "Time from a settle request to its answer, by outcome"),
    (SETTLEMENTS, Counter, "Settlements that ended, by state; unresolved ones count again when they end"),
    (IN_FLIGHT, Gauge, "Settlements that have no end yet, by state"),
    (STAGE_SECONDS, Histogram(STAGE), "Time that settlements spend in each stage"),
    (OLDEST_AGE, Gauge, "Age of the oldest transaction that no block has; 0 when there is none"),
    (TRANSACTION_SETTLEMENTS, Histogram(TOGETHER), "Settlements that a transaction began with"),
    (REPLACEMENTS, Counter, "Attempts that took the place of others, by kind: bump, cancel, gap"),
    (FEE_CEILING_REACHED, Counter, "Times that a gas wallet's oldest transaction needed more than it may offer"),
    (REORGED, Counter, "Settled transfers that the chain took back; their bytes are sent again"),
    (LOST, Counter, "Settled transfers that are gone from the chain for good"),
    (UNVERIFIED, Counter, "Settled transfers whose finality no node can confirm"),
    (FAILED_EXECUTED, Counter, "Failed payments that somebody else executed later"),
    (NETWORK_OPEN, Gauge, "1 while the network takes payments"),
    (HEAD_BLOCK, Gauge, "Height of the newest block (on Solana: the newest slot)"),
    (HEAD_AGE, Gauge, "Time since the newest block was seen"),
    (CLOCK_SKEW, Gauge, "This clock minus the time of the newest block when that came"),
    (
        ASSET_SUSPENDED,
        Gauge,
        "1 while a token runs other code than the code that was looked at, or is not what the configuration says",
    ),
    (RPC_REQUESTS, Counter, "HTTP requests to nodes by outcome; a batch of several methods is mixed"),
    (RPC_CALLS, Counter, "Calls in the requests to nodes, as providers bill them"),
    (RPC_SECONDS, Histogram(EXCHANGE), "Time of the requests to a node"),
    (RPC_HEDGES, Counter, "Reads that another node was asked too because one was slow"),
    (RPC_CONTRADICTIONS, Counter, "Sends that one node rejected and another did not"),
    (NODE_UP, Gauge, "1 while a node answers and has shown that it serves this chain"),
    (NODE_LAG, Gauge, "Blocks that a node is behind the best node of its network"),
    (BROADCASTS, Counter, "Sends of a transaction to a node by its answer"),
    (WALLET_BALANCE, Gauge, "Balance of a gas wallet in whole coins"),
    (WALLET_BALANCE_MIN, Gauge, "Balance below which a gas wallet takes no new settlement, in whole coins"),
    (WALLET_IN_FLIGHT, Gauge, "Transactions of a gas wallet that wait for a block"),
    (WALLET_IN_FLIGHT_MAX, Gauge, "Transactions of a gas wallet that may wait for a block at a time"),
    (
        WALLET_RUNWAY,
        Gauge,
        "Time until a gas wallet reaches its minimum at the rate of spending; +Inf while it spends nothing",
    ),
    (WALLET_STATE, Gauge, "1 for the state that a gas wallet is in, 0 for the others"),
    (WALLET_REFUSED, Gauge, "1 while no node takes the transactions of a gas wallet"),
    (LEASES_TAKEN, Counter, "Gas wallets that this instance has taken, of those that instances share"),
    (LEASES_LOST, Counter, "Gas wallets that another instance took from this one"),
    (
        HAND_OVERS,
        Counter,
        "Payments that instances hand over to each other, by event here: made, withdrawn, received, handed_back",
    ),
    (HANDED_OVER, Gauge, "Payments that this instance has handed over and whose callers wait here"),
    (COMMITS, Counter, "Commits of the store"),
    (COMMIT_FAILURES, Counter, "Commits of the store that failed"),
    (COMMIT_SECONDS, Histogram(SHORT), "Time of one commit"),
    (COMMIT_REQUESTS, Histogram(COUNTS), "Requests that shared one commit"),
    (NOTES_DROPPED, Counter, "Answers to sends that the store had no room to note"),
    (STORE_BYTES, Gauge, "Size of the database file"),
    (STORE_WAL_BYTES, Gauge, "Size of the database's write-ahead log"),
    (REDIS_COMMANDS, Counter, "Commands to Redis by use and outcome; not_used: none was sent"),
    (REDIS_SECONDS, Histogram(SHORT), "Time of one command to Redis; it is given up after 20 ms"),
    (REDIS_BREAKER, Gauge, "1 while Redis is configured and not used; payments go on without it"),
    (INSTANCES, Gauge, "Instances that share the Redis; 1 without one"),
    (RATE_LIMITED, Counter, "Requests of an API key that was over one of its limits"),
    (MARKS, Counter, "Payments marked with the replay guard between instances, by its answer"),
];
