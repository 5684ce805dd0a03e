//! The limits of one endpoint, each asked for by name: what it cannot do, what
//! that means for settlements, and what mends it.
//!
//! Each probe asks what the service asks when it needs the answer. Nothing here
//! decides about a payment.

use alloy::{primitives::B256, sol_types::SolEvent as _};
use chains_core::diagnostic::{Finding, Severity};
use chains_rpc::{Endpoint as _, Fault};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::{permit2_support, tip_floor};
use crate::{
    abi::Token,
    context::Context,
    rpc::{
        self, Rpc,
        endpoint::{Endpoint, LOG_BLOCKS_MAX},
        error::{CallError, is_rate_limit},
        method::{At, Call},
    },
};

/// Blocks back from the newest whose state is asked for where no block is said to be final:
/// a little less than a full node keeps.
const STATE_BLOCKS: u64 = 120;

/// Blocks that are looked through for a transaction that can be traced.
const TRACED_BLOCKS_MAX: u64 = 32;

/// The code of JSON-RPC for a method that is not there.
const NO_METHOD: i64 = -32_601;

/// A limit by its name, with its meaning and its remedy.
struct Limit {
    check: &'static str,
    meaning: &'static str,
    fix: &'static str,
}

const RATE: Limit = Limit {
    check: "node_rate",
    meaning: "It refuses questions when it is asked often: payments are answered late, or unavailable",
    fix: "Raise the rate limit at the provider, or add a node of another provider to `rpc`",
};

const LOG_RANGE: Limit = Limit {
    check: "node_log_range",
    meaning: "The search for what has used an authorization takes many requests, and may end without an answer",
    fix: "Raise the limit of eth_getLogs at the node or provider, or put a node without it first in `rpc`",
};

const STATE: Limit = Limit {
    check: "node_state",
    meaning: "It cannot show what was true when a settlement became final: one whose proof needs that is `unresolved`",
    fix: "Use a node that keeps the state of final blocks (an archive node), or add one to `rpc`",
};

const TRACE: Limit = Limit {
    check: "node_trace",
    meaning: "A payment that another transaction has made cannot be told from one that failed: it is `unresolved`",
    fix: "Enable the API `debug` at the node (geth: --http.api eth,debug), or add a node with debug_traceTransaction or \
          trace_transaction to `rpc`",
};

const OVERRIDES: Limit = Limit {
    check: "node_overrides",
    meaning: "Payments by Permit2, and those of wallets with code, cannot be simulated there: they are not accepted",
    fix: "Use a node that takes state overrides in eth_call (geth, reth, Nethermind, Erigon do)",
};

const FINALIZED: Limit = Limit {
    check: "node_finalized",
    meaning: "It cannot say which block is final: settlements are final by depth, later than they could be",
    fix: "Use a node that knows the block tag `finalized`, or add one to `rpc`",
};

impl Limit {
    fn found(&self, host: &str, seen: impl Into<String>) -> Finding {
        Finding::new(Severity::Warning, self.check, host, seen, self.meaning, self.fix)
    }
}

/// The question that an endpoint did not answer.
enum Missing {
    /// The limit that it has, and what was seen of it.
    Limit(&'static Limit, String),
    /// It was asked too often to tell.
    Rate(&'static str),
}

/// Asks an endpoint for everything that it may not be able to do.
pub(super) async fn check(context: &Context, endpoint: &std::sync::Arc<Endpoint>, height: u64) -> Vec<Finding> {
    let rpc = context.rpc.pinned(endpoint);
    let mut missing = vec![];
    let final_block = check_finalized(&rpc, &mut missing).await;
    let state_at = final_block.unwrap_or_else(|| height.saturating_sub(STATE_BLOCKS));
    missing.extend(check_state(context, &rpc, state_at, height).await);
    missing.extend(check_log_range(context, endpoint, height).await);
    missing.extend(check_trace(&rpc, height).await);
    missing.extend(check_overrides(context, &rpc).await);
    let host = endpoint.host();
    let mut findings = vec![];
    let mut limited = vec![];
    for missing in missing {
        match missing {
            Missing::Limit(limit, seen) => findings.push(limit.found(host, seen)),
            Missing::Rate(method) => limited.push(method),
        }
    }
    match tip_floor::check(context, endpoint).await {
        Ok(found) => findings.extend(found),
        Err(error) if is_rate_limit(&error) => limited.push("eth_sendRawTransaction"),
        Err(_) => {}
    }
    if !limited.is_empty() {
        findings.push(rate(host, &limited.join(", ")));
    }
    findings
}

/// The finding that an endpoint refuses what it is asked too often.
pub(super) fn rate(host: &str, what: &str) -> Finding {
    RATE.found(host, format!("answers {what} with a rate limit (HTTP 429)"))
}

/// The limit that an error tells of. Nothing, for an endpoint that did not answer: that is told elsewhere.
fn limit(limit: &'static Limit, method: &'static str, error: &CallError, seen: String) -> Option<Missing> {
    if is_rate_limit(error) {
        return Some(Missing::Rate(method));
    }
    match error {
        CallError::Node { .. } | CallError::Transport { fault: Fault::Status(_) | Fault::Unreadable, .. } => {
            Some(Missing::Limit(limit, seen))
        }
        CallError::Transport { .. } | CallError::NoEndpoint | CallError::OneWitness { .. } => None,
    }
}

/// The height of the final block, where the endpoint can tell it.
async fn check_finalized(rpc: &Rpc, missing: &mut Vec<Missing>) -> Option<u64> {
    #[derive(Deserialize)]
    struct Block {
        number: String,
    }
    let seen = || "does not know the block tag `finalized`".to_owned();
    match rpc.call::<Option<Block>>(Call::block(At::Finalized)).await {
        Ok(Some(block)) => rpc::method::quantity(&block.number).and_then(|number| u64::try_from(number).ok()),
        Ok(None) => {
            missing.push(Missing::Limit(&FINALIZED, seen()));
            None
        }
        Err(error) => {
            missing.extend(limit(&FINALIZED, "eth_getBlockByNumber", &error, seen()));
            None
        }
    }
}

async fn check_state(context: &Context, rpc: &Rpc, block: u64, height: u64) -> Option<Missing> {
    let call = Call::transaction_count(context.wallets.first(), At::Number(block));
    let error = rpc.call::<String>(call).await.err()?;
    let seen = format!("has no state of block {block}, {} blocks back (pruned)", height.saturating_sub(block));
    limit(&STATE, "eth_getTransactionCount", &error, seen)
}

/// Asks for the logs of as many blocks as the service does, then of fewer, down to what is answered.
async fn check_log_range(context: &Context, endpoint: &Endpoint, height: u64) -> Option<Missing> {
    let contract = context.config.assets.first().map(|asset| asset.address)?;
    let mut blocks = LOG_BLOCKS_MAX.min(height.saturating_add(1));
    let asked = blocks;
    loop {
        let call = Call::logs(
            contract,
            &[Token::AuthorizationUsed::SIGNATURE_HASH],
            &[B256::ZERO],
            height.saturating_sub(blocks - 1),
            height,
        );
        match rpc::one::<Vec<Value>>(endpoint, &[call]).await {
            Ok(_) if blocks == asked => return None,
            Ok(_) => {
                let seen = format!("answers eth_getLogs for {blocks} blocks at a time, not for {asked}");
                return Some(Missing::Limit(&LOG_RANGE, seen));
            }
            Err(error) if blocks == 1 || is_rate_limit(&error) => {
                return limit(&LOG_RANGE, "eth_getLogs", &error, "does not answer eth_getLogs at all".to_owned());
            }
            Err(_) => blocks = blocks.div_ceil(2),
        }
    }
}

/// Traces a transaction of the newest blocks; one that is not there where they hold none.
async fn check_trace(rpc: &Rpc, height: u64) -> Option<Missing> {
    let known = newest_transaction(rpc, height).await;
    let hash = known.clone().unwrap_or_else(|| B256::ZERO.to_string());
    let tree = rpc.call::<Box<RawValue>>(Call::trace(&hash)).await.err()?;
    let flat = rpc.call::<Box<RawValue>>(Call::flat_trace(&hash)).await.err()?;
    let is_absent = |error: &CallError| match error {
        // A transaction that is not there can be traced by nobody: then only the method counts.
        CallError::Node { error, .. } => known.is_some() || error.code == NO_METHOD,
        CallError::Transport { .. } | CallError::NoEndpoint | CallError::OneWitness { .. } => true,
    };
    let absent = is_absent(&tree) && is_absent(&flat);
    let seen = "has neither debug_traceTransaction nor trace_transaction".to_owned();
    absent.then(|| limit(&TRACE, "debug_traceTransaction", &tree, seen)).flatten()
}

async fn newest_transaction(rpc: &Rpc, height: u64) -> Option<String> {
    #[derive(Deserialize)]
    struct Block {
        #[serde(default)]
        transactions: Vec<String>,
    }
    for number in (height.saturating_sub(TRACED_BLOCKS_MAX)..=height).rev() {
        let block = rpc.call::<Option<Block>>(Call::block(At::Number(number))).await.ok()??;
        if let Some(hash) = block.transactions.into_iter().next() {
            return Some(hash);
        }
    }
    None
}

async fn check_overrides(context: &Context, rpc: &Rpc) -> Option<Missing> {
    let seen = "takes no state overrides in eth_call".to_owned();
    match permit2_support::takes_overrides(rpc, context.wallets.first()).await {
        Ok(true) => None,
        Ok(false) => Some(Missing::Limit(&OVERRIDES, seen)),
        Err(error) => limit(&OVERRIDES, "eth_call", &error, seen),
    }
}
