//! The doctor's findings about a network that can be asked.

use std::{sync::Arc, time::Duration};

use alloy::primitives::U256;
use chains_core::{
    Amount,
    diagnostic::{Finding, Severity},
    observation::Urgency,
};
use chains_rpc::Endpoint as _;
use futures::future::join_all;
use tokio::time::Instant;

use crate::{
    blocks,
    config::{Asset, ContractWallets},
    context::Context,
    health::{
        batch_support, block_support, endpoint_limits,
        permit2_support::{self, Support},
        price_support,
        prove::{Wrong, check_asset, check_multicall},
        token_code::{self, TokenCode},
        wallet_tokens,
    },
    rpc::{
        self,
        endpoint::Endpoint,
        error::{CallError, is_rate_limit},
        method::{Call, quantity},
    },
};

/// Slower than this and callers notice.
const LATENCY_WARNING: Duration = Duration::from_millis(500);

/// Blocks that an endpoint may be behind the best one.
const LAG_WARNING: u64 = 3;

/// Calls in the batch that shows whether an endpoint takes batches.
const BATCH_PROBE: usize = 16;

/// Seconds by which the newest block may be off the machine's clock, on top of ten blocks.
const SKEW_WARNING_SECONDS: u64 = 5;

/// The decimals of the coins of EVM chains.
const COIN_DECIMALS: u8 = 18;

/// The doctor's look at the node that is to tell of new blocks.
async fn check_websocket(context: &Context) -> Option<Finding> {
    const CHECK: &str = "websocket";
    let url = context.config.websocket.as_ref()?;
    let host = chains_rpc::host(url).unwrap_or_default();
    Some(match blocks::probe_heads(url).await {
        Ok(()) => Finding::fine(CHECK, host, "accepts a subscription to new blocks"),
        Err(seen) => {
            let meaning = "Blocks are asked for, more often";
            let fix = "Set `websocket` to the WebSocket URL of a node that serves `newHeads`, or to \"off\"";
            Finding::new(Severity::Warning, CHECK, host, seen, meaning, fix)
        }
    })
}

/// Doctor, online part.
pub(crate) async fn doctor(context: &Context) -> Vec<Finding> {
    let mut looked: Vec<Looked> =
        join_all(context.rpc.endpoints().iter().map(|endpoint| check_endpoint(context, endpoint))).await;
    let best = looked.iter().filter_map(|looked| looked.height).max().unwrap_or_default();
    for looked in &mut looked {
        looked.compare(best);
    }
    let mut findings: Vec<Finding> = looked.into_iter().flat_map(|looked| looked.findings).collect();
    findings.extend(check_count(context));
    findings.extend(check_keystores(context));
    findings.extend(check_websocket(context).await);
    if context.rpc.prove(context.config.chain_id).await.proven == 0 {
        return findings;
    }
    findings.push(check_prices(context).await);
    findings.push(check_block_overrides(context).await);
    findings.push(batch_support::check(context).await);
    match permit2_support::probe(context).await {
        Ok(support) => {
            findings.push(check_permit2(support));
            findings.extend(check_assets(context, support).await);
            findings.extend(check_tokens(context).await);
        }
        Err(error) => findings.push(Finding::unreachable("permit2", "Permit2", &error.detail)),
    }
    match check_multicall(context).await {
        Ok(None) => {}
        Ok(Some(wrong)) => {
            let Wrong { seen, meaning, fix } = wrong;
            findings.push(Finding::new(Severity::Error, "multicall", "Multicall3", seen, meaning, fix));
        }
        Err(error) => findings.push(Finding::unreachable("multicall", "Multicall3", &error.detail)),
    }
    findings.extend(check_clock(context).await);
    for wallet in context.wallets.names() {
        findings.push(check_wallet(context, wallet).await);
        findings.extend(wallet_tokens::check(context, wallet).await);
    }
    findings
}

/// One node alone is believed, and missed when it is down.
fn check_count(context: &Context) -> Option<Finding> {
    let [only] = context.rpc.endpoints() else { return None };
    let meaning = "Nobody contradicts it where money is at stake, and without it nothing is verified or settled";
    let fix = "Add a node of another provider to `rpc`";
    Some(Finding::new(Severity::Warning, "node_count", only.host(), "is the only node", meaning, fix))
}

/// Files of keys whose password is quickly guessed by whoever gets a copy of them.
fn check_keystores(context: &Context) -> impl Iterator<Item = Finding> {
    context.wallets.weak().iter().map(|(wallet, cost)| {
        let seen = format!("has a keystore whose password is quickly guessed: {cost}");
        let meaning = "Whoever gets a copy of the file, as from a backup, has its money soon";
        let fix =
            "Make a new one by `facilitator keygen evm --keystore FILE`, move the money, and name it in `gas_wallets`";
        Finding::new(Severity::Warning, "keystore_cost", wallet, seen, meaning, fix)
    })
}

async fn check_prices(context: &Context) -> Finding {
    const CHECK: &str = "simulated_price";
    let heeded = match price_support::probe(context).await {
        Ok(heeded) => heeded,
        Err(error) => return Finding::unreachable(CHECK, "simulations", &error.detail),
    };
    context.capabilities.found_prices(heeded);
    if heeded {
        return Finding::fine(CHECK, "simulations", "payments are simulated at the gas price of a transaction");
    }
    let (seen, meaning, fix) = (price_support::SEEN, price_support::MEANING, price_support::FIX);
    Finding::new(wallets_severity(context), CHECK, "simulations", seen, meaning, fix)
}

async fn check_block_overrides(context: &Context) -> Finding {
    const CHECK: &str = "simulated_block";
    let heeded = match block_support::probe(context).await {
        Ok(heeded) => heeded,
        Err(error) => return Finding::unreachable(CHECK, "simulations", &error.detail),
    };
    context.capabilities.found_block_overrides(heeded);
    if heeded {
        return Finding::fine(CHECK, "simulations", "payments are simulated in the block to come");
    }
    let (seen, meaning, fix) = (block_support::SEEN, block_support::MEANING, block_support::FIX);
    Finding::new(wallets_severity(context), CHECK, "simulations", seen, meaning, fix)
}

/// The weight of what only wallets with code suffer from.
fn wallets_severity(context: &Context) -> Severity {
    match context.config.contract_wallets {
        ContractWallets::Refused => Severity::Ok,
        ContractWallets::Simulated | ContractWallets::Unsimulated => Severity::Warning,
    }
}

fn check_permit2(support: Support) -> Finding {
    const CHECK: &str = "permit2";
    match support {
        Support::Works { permit2: true, upto: true } => {
            Finding::fine(CHECK, "Permit2", "payments by Permit2, of exact and of upto, can be verified and settled")
        }
        Support::Works { permit2: false, upto: false } => Finding::new(
            Severity::Ok,
            CHECK,
            "Permit2",
            support.missing(),
            "Payments by Permit2 are not announced here, and would be refused; others are not concerned",
            "",
        ),
        Support::Works { .. } | Support::NoOverrides => Finding::new(
            Severity::Warning,
            CHECK,
            "Permit2",
            support.missing(),
            "Not all payments by Permit2 are announced and accepted here",
            "Use a node that has what is missing, if you want them",
        ),
    }
}

/// A token, as findings name it.
fn named(asset: &Asset) -> String {
    format!("{} {}", asset.symbol, asset.address)
}

async fn check_assets(context: &Context, support: Support) -> Vec<Finding> {
    const CHECK: &str = "asset";
    let mut findings = vec![];
    for asset in &context.config.assets {
        findings.push(match check_asset(context, asset, support, 0).await {
            Ok(None) => {
                let known = if asset.eip3009.is_some() { "domain and EIP-3009 are" } else { "it is" };
                Finding::fine(CHECK, named(asset), format!("{known} as configured"))
            }
            Ok(Some(Wrong { seen, meaning, fix })) => {
                Finding::new(Severity::Error, CHECK, named(asset), seen, meaning, fix)
            }
            Err(error) => Finding::unreachable(CHECK, named(asset), &error.detail),
        });
    }
    findings
}

/// Shows the code that the tokens run, so that it can be looked at.
async fn check_tokens(context: &Context) -> Vec<Finding> {
    let assets = &context.config.assets;
    match token_code::look(&context.rpc, assets, 0).await {
        Ok(seen) => assets.iter().zip(&seen).filter_map(|(asset, seen)| check_token(asset, seen)).collect(),
        Err(error) => vec![Finding::unreachable("token_code", "the tokens' code", error.to_string())],
    }
}

fn check_token(asset: &Asset, seen: &TokenCode) -> Option<Finding> {
    const CHECK: &str = "token_code";
    let (name, runs) = (named(asset), seen.implementations_shown());
    match asset.implementation {
        Some(looked_at) if seen.runs(looked_at) => {
            Some(Finding::fine(CHECK, name, format!("runs {runs}, as configured")))
        }
        Some(looked_at) => {
            let seen = format!("runs {runs}, not {looked_at} as configured");
            let meaning = "The token was upgraded since somebody looked at it: payments in it are refused";
            let fix = format!("Look at the new code; if it is good, write `implementation = \"{runs}\"`");
            Some(Finding::new(Severity::Error, CHECK, name, seen, meaning, fix))
        }
        None if seen.implementations.is_empty() => None,
        None => {
            let seen = format!("is a proxy and runs {runs}");
            let meaning = "An upgrade is noticed while the service runs";
            let fix = format!("To notice one before it starts as well: `implementation = \"{runs}\"`");
            Some(Finding::new(Severity::Ok, CHECK, name, seen, meaning, fix))
        }
    }
}

/// The findings about one endpoint.
struct Looked {
    host: String,
    height: Option<u64>,
    findings: Vec<Finding>,
}

impl Looked {
    fn compare(&mut self, best: u64) {
        let Some(behind) = self.height.map(|height| best.saturating_sub(height)) else { return };
        if behind > LAG_WARNING {
            let seen = format!("is {behind} blocks behind the best node");
            let meaning = "Reads that go there see the past, and settle late";
            let fix = "Put it last in `rpc`, or replace it";
            self.findings.push(Finding::new(Severity::Warning, "node_lag", &self.host, seen, meaning, fix));
        }
    }
}

async fn check_endpoint(context: &Context, endpoint: &Arc<Endpoint>) -> Looked {
    let host = endpoint.host().to_owned();
    let began = Instant::now();
    // The first call also opens the connection; the second one shows the latency.
    let chain_id = rpc::one::<String>(endpoint, &[Call::chain_id()]).await;
    let connected = began.elapsed();
    let height = rpc::one::<String>(endpoint, &[Call::block_number()]).await.ok();
    let latency = began.elapsed().saturating_sub(connected);
    let (is_ours, found) = check_chain(context.config.chain_id, &host, chain_id, latency);
    let height = height.and_then(|text| quantity(&text)).and_then(|number| u64::try_from(number).ok());
    let mut findings = vec![found];
    // A node of another chain is not asked what it can do for this one.
    if let Some(height) = height.filter(|_| is_ours) {
        findings.extend(check_batches(endpoint).await);
        findings.extend(endpoint_limits::check(context, endpoint, height).await);
    }
    Looked { host, height: height.filter(|_| is_ours), findings }
}

/// The finding about the chain that an endpoint serves, and whether it is ours.
fn check_chain(ours: u64, host: &str, chain_id: Result<String, CallError>, latency: Duration) -> (bool, Finding) {
    match chain_id {
        Err(error) if is_rate_limit(&error) => (true, endpoint_limits::rate(host, "eth_chainId")),
        Err(CallError::Transport { fault, .. }) => {
            (false, Finding::unreachable("node_answers", host, fault.to_string()))
        }
        Err(error) => (false, Finding::unreachable("node_answers", host, error.to_string())),
        Ok(text) if quantity(&text) != Some(U256::from(ours)) => {
            let id = quantity(&text).map_or(text, |id| id.to_string());
            let seen = format!("serves chain {id}, not {ours}");
            let (meaning, fix) =
                ("Payments would be looked for on the wrong chain", "Correct `rpc`, or the network's name");
            (false, Finding::new(Severity::Error, "node_chain", host, seen, meaning, fix))
        }
        Ok(_) if latency > LATENCY_WARNING => {
            let seen = format!("answers after {} ms", latency.as_millis());
            let (meaning, fix) = ("Every verification waits that long", "Use a node nearby");
            (true, Finding::new(Severity::Warning, "node_latency", host, seen, meaning, fix))
        }
        Ok(_) => {
            let seen = format!("serves chain {ours} and answers after {} ms", latency.as_millis());
            (true, Finding::fine("node_answers", host, seen))
        }
    }
}

/// Sends what a network's opening and its busiest moments send at once.
async fn check_batches(endpoint: &Endpoint) -> Option<Finding> {
    let batched = endpoint.batch(&vec![Call::block_number(); BATCH_PROBE]).await;
    if let Err(error) = &batched
        && is_rate_limit(error)
    {
        return Some(endpoint_limits::rate(endpoint.host(), "a batch of calls"));
    }
    let size = endpoint.batch_max().filter(|_| batched.is_ok())?;
    let seen = if size == 1 { "takes no batches of calls".to_owned() } else { format!("takes {size} calls at a time") };
    let meaning = "Calls go to it one by one or in small batches: more requests, and later answers";
    let fix = "Raise the limit at the node or provider, or put the node last in `rpc`";
    Some(Finding::new(Severity::Warning, "node_batches", endpoint.host(), seen, meaning, fix))
}

async fn check_clock(context: &Context) -> Option<Finding> {
    const CHECK: &str = "clock";
    let head = context.blocks.next(&context.rpc, None, Urgency::Closely).await.ok()?;
    let now = context.clock.now().seconds();
    let skew = now.abs_diff(head.timestamp);
    let allowed = SKEW_WARNING_SECONDS + 10 * context.config.block_time.as_secs().max(1);
    let seen = format!("the newest block, {}, is {skew} s off this machine's clock", head.number);
    if skew <= allowed {
        return Some(Finding::fine(CHECK, "clock", seen));
    }
    let meaning = "This clock is wrong, or the chain stands still; payments are judged to be expired or early";
    let fix = "Check NTP on this machine, and the nodes";
    Some(Finding::new(Severity::Warning, CHECK, "clock", seen, meaning, fix))
}

async fn check_wallet(context: &Context, wallet: &str) -> Finding {
    const CHECK: &str = "wallet_balance";
    let Some(address) = context.wallets.address(wallet) else {
        let (meaning, fix) = ("It cannot pay gas", "Correct `gas_wallets`");
        return Finding::new(Severity::Error, CHECK, wallet, "has no key here", meaning, fix);
    };
    let balance = context.rpc.call::<String>(Call::balance(address)).await;
    let balance = match balance.map(|text| quantity(&text)) {
        Ok(Some(balance)) => Amount::from(balance),
        Ok(None) => return Finding::unreachable(CHECK, wallet, "its balance is not a number"),
        Err(error) => return Finding::unreachable(CHECK, wallet, error.to_string()),
    };
    let coins = |amount: Amount| format!("{} {}", amount.in_units(COIN_DECIMALS), context.config.coin);
    let min = context.config.gas_balance_min;
    if balance < min {
        let seen = format!("has {}, less than gas_balance_min, {}", coins(balance), coins(min));
        let fix = format!("Send at least {} to {wallet}", coins(min.checked_sub(balance).unwrap_or_default()));
        return Finding::new(Severity::Error, CHECK, wallet, seen, "It takes no settlements", fix);
    }
    Finding::fine(CHECK, wallet, format!("has {}; gas_balance_min is {}", coins(balance), coins(min)))
}
