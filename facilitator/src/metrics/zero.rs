//! Every series that can be foreseen exists from the start: a counter that comes
//! with its first event hides that very event from `increase`.

use chains_core::{
    Amount,
    chain::Chain,
    metric::{BROADCAST_ANSWERS, RPC_OUTCOMES},
};
use metrics::{counter, gauge, histogram};

use super::{
    HandOver, Purpose, Replaced, Stage, exact,
    names::{
        ASSET_SUSPENDED, BROADCASTS, BUILD_INFO, CLOCK_SKEW, COMMIT_FAILURES, COMMIT_REQUESTS, COMMIT_SECONDS, COMMITS,
        CONNECTIONS_DROPPED, CONNECTIONS_REFUSED, FAILED_EXECUTED, FEE_CEILING_REACHED, HAND_OVERS, HANDED_OVER,
        HEAD_AGE, HEAD_BLOCK, HTTP_CONNECTIONS, HTTP_REQUESTS, HTTP_SECONDS, IN_FLIGHT, LEASES_LOST, LEASES_TAKEN,
        LOG_LINES_DROPPED, LOST, MARKS, NETWORK_OPEN, NODE_LAG, NODE_UP, NOTES_DROPPED, OLDEST_AGE, PANICS, PAUSED,
        READY, REDIS_BREAKER, REDIS_COMMANDS, REDIS_SECONDS, REORGED, REPLACEMENTS, RPC_CALLS, RPC_CONTRADICTIONS,
        RPC_HEDGES, RPC_REQUESTS, RPC_SECONDS, SETTLE_ANSWERS, SETTLE_SECONDS, SETTLEMENTS, STAGE_SECONDS, STORE_BYTES,
        STORE_WAL_BYTES, TRANSACTION_SETTLEMENTS, UNVERIFIED, VERIFY_ANSWERS, WALLET_BALANCE, WALLET_BALANCE_MIN,
        WALLET_IN_FLIGHT, WALLET_IN_FLIGHT_MAX, WALLET_REFUSED, WALLET_RUNWAY, WALLET_STATE,
    },
};

/// The label of what is none of the configured values.
pub const OTHER: &str = "other";

/// An outcome and its reason, for each pair that does not depend on the payment.
pub type Outcomes<'a> = &'a [(&'static str, &'static str)];

/// The closed sets of labels that other modules own.
#[derive(Clone, Copy, Debug)]
pub struct Sets<'a> {
    /// Routes, each with the statuses that it answers.
    pub routes: &'a [(&'static str, &'a [u16])],
    /// The routes whose requests are timed.
    pub timed: &'a [&'static str],
    /// The listeners.
    pub listeners: &'a [&'static str],
    /// The reasons for which connections are ended.
    pub drops: &'a [&'static str],
    /// Outcomes and reasons of `/verify`.
    pub verify: Outcomes<'a>,
    /// Outcomes and reasons of `/settle`.
    pub settle: Outcomes<'a>,
    /// The routes that callers' limits are about.
    pub limited: &'a [&'static str],
    /// True without Redis.
    pub alone: bool,
    /// The uses of commands to Redis.
    pub redis: &'a [&'static str],
    /// The answers of the replay guard.
    pub marks: &'a [&'static str],
}

/// Makes the series that exist once.
pub fn process(sets: &Sets<'_>) {
    let (version, commit, rustc) = (env!("CARGO_PKG_VERSION"), super::COMMIT, super::RUSTC);
    gauge!(BUILD_INFO, "version" => version, "commit" => commit, "rustc" => rustc).set(1.0);
    for name in [PANICS, LOG_LINES_DROPPED, COMMITS, COMMIT_FAILURES, NOTES_DROPPED] {
        counter!(name).increment(0);
    }
    for name in [STORE_BYTES, STORE_WAL_BYTES] {
        gauge!(name).set(0.0);
    }
    // Both were set before: what is known of them stays.
    for name in [REDIS_BREAKER, PAUSED] {
        gauge!(name).increment(0.0);
    }
    if sets.alone {
        super::instances(1);
    }
    super::begin_limits(OTHER, sets.limited);
    for name in [COMMIT_SECONDS, COMMIT_REQUESTS, REDIS_SECONDS] {
        drop(histogram!(name));
    }
    for command in sets.redis {
        for outcome in ["ok", "error", "timeout", "not_used"] {
            counter!(REDIS_COMMANDS, "command" => *command, "outcome" => outcome).increment(0);
        }
    }
    for answer in sets.marks {
        counter!(MARKS, "answer" => *answer).increment(0);
    }
    gauge!(READY, "part" => "store").set(0.0);
    for (route, codes) in sets.routes {
        for code in *codes {
            counter!(HTTP_REQUESTS, "route" => *route, "code" => code.to_string()).increment(0);
        }
    }
    for route in sets.timed {
        drop(histogram!(HTTP_SECONDS, "route" => *route));
    }
    for listener in sets.listeners {
        gauge!(HTTP_CONNECTIONS, "listener" => *listener).set(0.0);
        for reason in ["total", "address"] {
            counter!(CONNECTIONS_REFUSED, "listener" => *listener, "reason" => reason).increment(0);
        }
    }
    for reason in sets.drops {
        counter!(CONNECTIONS_DROPPED, "reason" => *reason).increment(0);
    }
    answers(OTHER, OTHER, sets);
}

/// Makes the series of one network.
pub fn network(chain: &dyn Chain, sets: &Sets<'_>) {
    let network = chain.network().as_str();
    for scheme in chain.schemes().iter().map(|scheme| scheme.name()) {
        answers(network, scheme, sets);
        for state in ["settled", "failed", "unresolved"] {
            let scheme = scheme.to_owned();
            counter!(SETTLEMENTS, "network" => network.to_owned(), "scheme" => scheme, "state" => state).increment(0);
        }
    }
    drop(histogram!(SETTLE_SECONDS, "network" => network.to_owned(), "outcome" => "success"));
    for stage in Stage::ALL {
        drop(histogram!(STAGE_SECONDS, "network" => network.to_owned(), "stage" => stage.word()));
    }
    for state in ["queued", "signed", "broadcast", "unresolved"] {
        gauge!(IN_FLIGHT, "network" => network.to_owned(), "state" => state).set(0.0);
    }
    let leases = [LEASES_TAKEN, LEASES_LOST];
    let others = [FEE_CEILING_REACHED, REORGED, LOST, UNVERIFIED, FAILED_EXECUTED, RPC_HEDGES, RPC_CONTRADICTIONS];
    for name in leases.into_iter().chain(others) {
        counter!(name, "network" => network.to_owned()).increment(0);
    }
    gauge!(HANDED_OVER, "network" => network.to_owned()).set(0.0);
    for event in HandOver::ALL {
        counter!(HAND_OVERS, "network" => network.to_owned(), "event" => event.word()).increment(0);
    }
    for kind in Replaced::ALL {
        counter!(REPLACEMENTS, "network" => network.to_owned(), "kind" => kind.as_str()).increment(0);
    }
    drop(histogram!(TRANSACTION_SETTLEMENTS, "network" => network.to_owned()));
    for name in [OLDEST_AGE, NETWORK_OPEN, HEAD_BLOCK, HEAD_AGE, CLOCK_SKEW] {
        gauge!(name, "network" => network.to_owned()).set(0.0);
    }
    gauge!(READY, "part" => network.to_owned()).set(0.0);
    let labels = chain.metric_labels();
    for asset in labels.assets {
        gauge!(ASSET_SUSPENDED, "network" => network.to_owned(), "asset" => asset).set(0.0);
    }
    for node in labels.nodes {
        self::node(network, &node, labels.height_method);
    }
    for wallet in chain.gas_wallets() {
        self::wallet(network, wallet, chain.parameters().coin_decimals);
    }
}

fn answers(network: &str, scheme: &str, sets: &Sets<'_>) {
    for (name, outcomes) in [(VERIFY_ANSWERS, sets.verify), (SETTLE_ANSWERS, sets.settle)] {
        for (outcome, reason) in outcomes {
            let (network, scheme) = (network.to_owned(), scheme.to_owned());
            let labels = [("network", network), ("scheme", scheme)];
            super::answer(name, labels, outcome, reason).increment(0);
        }
    }
}

fn node(network: &str, node: &str, method: &'static str) {
    let labels = || [("network", network.to_owned()), ("node", node.to_owned())];
    for name in [NODE_UP, NODE_LAG] {
        gauge!(name, &labels()).set(0.0);
    }
    drop(histogram!(RPC_SECONDS, &labels()));
    for answer in BROADCAST_ANSWERS {
        let (network, node) = (network.to_owned(), node.to_owned());
        counter!(BROADCASTS, "network" => network, "node" => node, "answer" => answer).increment(0);
    }
    let (owned, named) = (network.to_owned(), node.to_owned());
    counter!(RPC_CALLS, "network" => owned, "node" => named, "method" => method).increment(0);
    for outcome in RPC_OUTCOMES {
        let (network, node) = (network.to_owned(), node.to_owned());
        counter!(
            RPC_REQUESTS, "network" => network, "node" => node, "method" => method, "outcome" => outcome
        )
        .increment(0);
    }
}

fn wallet(network: &str, wallet: &str, decimals: u8) {
    let labels = || [("network", network.to_owned()), ("wallet", wallet.to_owned())];
    for name in [WALLET_BALANCE, WALLET_BALANCE_MIN, WALLET_IN_FLIGHT, WALLET_IN_FLIGHT_MAX, WALLET_REFUSED] {
        gauge!(name, &labels()).set(0.0);
    }
    gauge!(WALLET_RUNWAY, &labels()).set(f64::INFINITY);
    for state in super::WALLET_STATES {
        let (network, wallet) = (network.to_owned(), wallet.to_owned());
        gauge!(WALLET_STATE, "network" => network, "wallet" => wallet, "state" => state).set(0.0);
    }
    for purpose in Purpose::ALL {
        exact::add(network, wallet, purpose.word(), Amount::ZERO, decimals);
    }
}
