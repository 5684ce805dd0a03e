//! The doctor's findings about a network that can be asked.

use std::time::Duration;

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
    config::{Asset, ContractWallets},
    context::Context,
    health::{
        batch_support, block_support,
        permit2_support::{self, Support},
        price_support,
        prove::{check_asset, check_multicall},
        token_code::{self, TokenCode},
    },
    rpc::{
        self,
        endpoint::Endpoint,
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

/// Doctor, online part.
pub(crate) async fn doctor(context: &Context) -> Vec<Finding> {
    let network = context.config.network.to_string();
    let mut findings = join_all(context.rpc.endpoints().iter().map(|endpoint| check_endpoint(context, endpoint)))
        .await
        .into_iter()
        .collect::<Vec<Looked>>();
    let best = findings.iter().filter_map(|looked| looked.height).max().unwrap_or_default();
    for looked in &mut findings {
        looked.compare(best);
    }
    let mut findings: Vec<Finding> = findings.into_iter().flat_map(|looked| looked.findings).collect();
    if context.rpc.prove(context.config.chain_id).await.proven == 0 {
        return findings;
    }
    findings.push(check_prices(context, &network).await);
    findings.push(check_block_overrides(context, &network).await);
    findings.push(batch_support::check(context, &network).await);
    match permit2_support::probe(context).await {
        Ok(support) => {
            findings.push(check_permit2(&network, support));
            findings.extend(check_assets(context, &network, support).await);
            findings.extend(check_tokens(context, &network).await);
        }
        Err(error) => findings.push(Finding::unreachable(&network, &error.detail)),
    }
    match check_multicall(context).await {
        Ok(None) => {}
        Ok(Some(wrong)) => findings.push(Finding::new(Severity::Error, &network, wrong.seen, wrong.meaning, wrong.fix)),
        Err(error) => findings.push(Finding::unreachable(&network, &error.detail)),
    }
    findings.extend(check_clock(context, &network).await);
    for wallet in context.wallets.names() {
        findings.push(check_wallet(context, wallet).await);
    }
    findings
}

async fn check_prices(context: &Context, network: &str) -> Finding {
    let heeded = match price_support::probe(context).await {
        Ok(heeded) => heeded,
        Err(error) => return Finding::unreachable(network, &error.detail),
    };
    context.capabilities.found_prices(heeded);
    if heeded {
        return Finding::fine(network, "payments are simulated at the gas price of a transaction".to_owned());
    }
    let severity = wallets_severity(context);
    Finding::new(severity, network, price_support::SEEN, price_support::MEANING, price_support::FIX)
}

async fn check_block_overrides(context: &Context, network: &str) -> Finding {
    let heeded = match block_support::probe(context).await {
        Ok(heeded) => heeded,
        Err(error) => return Finding::unreachable(network, &error.detail),
    };
    context.capabilities.found_block_overrides(heeded);
    if heeded {
        return Finding::fine(network, "payments are simulated in the block to come".to_owned());
    }
    let (seen, meaning, fix) = (block_support::SEEN, block_support::MEANING, block_support::FIX);
    let severity = wallets_severity(context);
    Finding::new(severity, network, seen, meaning, fix)
}

/// The weight of what only wallets with code suffer from.
fn wallets_severity(context: &Context) -> Severity {
    match context.config.contract_wallets {
        ContractWallets::Refused => Severity::Ok,
        ContractWallets::Simulated | ContractWallets::Unsimulated => Severity::Warning,
    }
}

fn check_permit2(network: &str, support: Support) -> Finding {
    match support {
        Support::Works { permit2: true, upto: true } => {
            Finding::fine(network, "payments by Permit2, of exact and of upto, can be verified and settled".to_owned())
        }
        Support::Works { permit2: false, upto: false } => Finding::fine(network, support.missing().to_owned()),
        Support::Works { .. } | Support::NoOverrides => Finding::new(
            Severity::Warning,
            network,
            support.missing(),
            "Not all payments by Permit2 are announced and accepted here",
            "Use a node that has what is missing, if you want them",
        ),
    }
}

async fn check_assets(context: &Context, network: &str, support: Support) -> Vec<Finding> {
    let mut findings = vec![];
    for asset in &context.config.assets {
        findings.push(match check_asset(context, asset, support, 0).await {
            Ok(None) => {
                let known = if asset.eip3009.is_some() { "domain and EIP-3009 are" } else { "it is" };
                Finding::fine(network, format!("{} {}: {known} as configured", asset.symbol, asset.address))
            }
            Ok(Some(wrong)) => Finding::new(Severity::Error, network, wrong.seen, wrong.meaning, wrong.fix),
            Err(error) => Finding::unreachable(network, &error.detail),
        });
    }
    findings
}

/// Shows the code that the tokens run, so that it can be looked at.
async fn check_tokens(context: &Context, network: &str) -> Vec<Finding> {
    let assets = &context.config.assets;
    match token_code::look(&context.rpc, assets, 0).await {
        Ok(seen) => assets.iter().zip(&seen).filter_map(|(asset, seen)| check_token(network, asset, seen)).collect(),
        Err(error) => vec![Finding::unreachable(network, error.to_string())],
    }
}

fn check_token(network: &str, asset: &Asset, seen: &TokenCode) -> Option<Finding> {
    let (name, runs) = (format!("{} {}", asset.symbol, asset.address), seen.implementations_shown());
    match asset.implementation {
        Some(looked_at) if seen.runs(looked_at) => {
            Some(Finding::fine(network, format!("{name}: runs {runs}, as configured")))
        }
        Some(looked_at) => {
            let seen = format!("{name}: runs {runs}, not {looked_at} as configured");
            let meaning = "The token was upgraded since somebody looked at it: payments in it are refused";
            let fix = format!("Look at the new code; if it is good, write `implementation = \"{runs}\"`");
            Some(Finding::new(Severity::Error, network, seen, meaning, fix))
        }
        None if seen.implementations.is_empty() => None,
        None => {
            let seen = format!("{name}: is a proxy and runs {runs}");
            let meaning = "An upgrade is noticed while the service runs";
            let fix = format!("To notice one before it starts as well: `implementation = \"{runs}\"`");
            Some(Finding::new(Severity::Ok, network, seen, meaning, fix))
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
            let seen = format!("{behind} blocks behind the best endpoint");
            let meaning = "Reads that go there see the past, and settle late";
            self.findings.push(Finding::new(
                Severity::Warning,
                &self.host,
                seen,
                meaning,
                "Put it last in `rpc`, or replace it",
            ));
        }
    }
}

async fn check_endpoint(context: &Context, endpoint: &Endpoint) -> Looked {
    let host = endpoint.host().to_owned();
    let began = Instant::now();
    // The first call also opens the connection; the second one shows the latency.
    let chain_id = rpc::one::<String>(endpoint, &[Call::chain_id()]).await;
    let connected = began.elapsed();
    let height = rpc::one::<String>(endpoint, &[Call::block_number()]).await.ok();
    let latency = began.elapsed().saturating_sub(connected);
    // What a network's opening and its busiest moments send at once.
    let batched = endpoint.batch(&vec![Call::block_number(); BATCH_PROBE]).await;
    let expected = context.config.chain_id;
    let found = match chain_id {
        Err(error) => Finding::unreachable(&host, error.to_string()),
        Ok(text) if quantity(&text) != Some(U256::from(expected)) => {
            let seen = format!("serves chain {text}, not {expected:#x}");
            let fix = "Correct `rpc`, or the network's name";
            Finding::new(Severity::Error, &host, seen, "Payments would be looked for on the wrong chain", fix)
        }
        Ok(_) if latency > LATENCY_WARNING => {
            let seen = format!("answers after {} ms", latency.as_millis());
            Finding::new(Severity::Warning, &host, seen, "Every verification waits that long", "Use an endpoint nearby")
        }
        Ok(_) => Finding::fine(&host, format!("chain {expected}, answers after {} ms", latency.as_millis())),
    };
    let height = height.and_then(|text| quantity(&text)).and_then(|number| u64::try_from(number).ok());
    let mut findings = vec![found];
    if let (Ok(_), Some(size)) = (batched, endpoint.batch_max()) {
        let seen =
            if size == 1 { "takes no batches of calls".to_owned() } else { format!("takes {size} calls at a time") };
        let meaning = "Calls go to it one by one or in small batches: more requests, and later answers";
        let fix = "Raise the limit at the node or provider, or put the endpoint last in `rpc`";
        findings.push(Finding::new(Severity::Warning, &host, seen, meaning, fix));
    }
    Looked { host, height, findings }
}

async fn check_clock(context: &Context, network: &str) -> Option<Finding> {
    let head = context.blocks.next(&context.rpc, None, Urgency::Closely).await.ok()?;
    let now = context.clock.now().seconds();
    let skew = now.abs_diff(head.timestamp);
    let allowed = SKEW_WARNING_SECONDS + 10 * context.config.block_time.as_secs().max(1);
    if skew <= allowed {
        return Some(Finding::fine(
            network,
            format!("newest block {} is {skew} s off this machine's clock", head.number),
        ));
    }
    let seen = format!("newest block {} is {skew} s off this machine's clock", head.number);
    let meaning = "This clock is wrong, or the chain stands still; payments are judged to be expired or early";
    Some(Finding::new(Severity::Warning, network, seen, meaning, "Check NTP on this machine, and the endpoints"))
}

async fn check_wallet(context: &Context, wallet: &str) -> Finding {
    let Some(address) = context.wallets.address(wallet) else {
        return Finding::new(Severity::Error, wallet, "has no key here", "It cannot pay gas", "Correct `gas_wallets`");
    };
    let balance = context.rpc.call::<String>(Call::balance(address)).await;
    let balance = match balance.map(|text| quantity(&text)) {
        Ok(Some(balance)) => Amount::from(balance),
        Ok(None) => return Finding::unreachable(wallet, "the balance is not a number"),
        Err(error) => return Finding::unreachable(wallet, error.to_string()),
    };
    let min = context.config.gas_balance_min;
    if balance < min {
        let seen = format!("has {balance} wei, less than gas_balance_min, {min} wei");
        let fix = format!("Send at least {} wei to {wallet}", min.checked_sub(balance).unwrap_or_default());
        return Finding::new(Severity::Error, wallet, seen, "It takes no settlements", fix);
    }
    Finding::fine(wallet, format!("has {balance} wei, gas_balance_min is {min} wei"))
}
