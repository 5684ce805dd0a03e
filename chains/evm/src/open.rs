//! Whether a network is what the configuration says: before it opens, and
//! for the doctor.

use std::{sync::atomic::Ordering, time::Duration};

use alloy::{
    primitives::{Address, B256, Bytes, U256},
    sol_types::SolCall,
};
use chains_core::{
    Amount,
    chain::{ChainUnavailable, Finding, OpenError, Severity, Watch},
};
use futures::future::join_all;
use tokio::time::Instant;

use crate::{
    abi::{self, Token, TransferWithAuthorization},
    config::{Asset, Domain},
    context::Context,
    exact::counterfactual::MULTICALL3,
    lens::eip3009,
    permit2_support::{self, Support},
    price_support,
    rpc::{
        self, ChainIds,
        endpoint::Endpoint,
        error::CallError,
        method::{At, Call, quantity},
    },
};

/// Slower than this and callers notice.
const LATENCY_WARNING: Duration = Duration::from_millis(500);

/// Blocks that an endpoint may be behind the best one.
const LAG_WARNING: u64 = 3;

/// Seconds by which the newest block may be off the machine's clock, on top of ten blocks.
const SKEW_WARNING_SECONDS: u64 = 5;

/// Proves what a payment relies on; see [`Chain::open`](chains_core::chain::Chain::open).
pub(crate) async fn open(context: &Context) -> Result<(), OpenError> {
    let first = context.heads.newest().is_none();
    let turn = context.looks.fetch_add(1, Ordering::Relaxed);
    check_ids(context, context.rpc.prove(context.config.chain_id).await, first)?;
    learn_prices(context, first).await?;
    let support = permit2_support::probe(context).await?;
    context.capabilities.found(support.permit2(), support.upto());
    if first && !(support.permit2() && support.upto()) {
        let missing = support.missing();
        tracing::info!(network = %context.config.network, missing, "not all payments by Permit2 are possible");
    }
    if let Some(wrong) = check_multicall(context).await? {
        return Err(mismatch(context, format!("{} {}. {}", wrong.seen, wrong.meaning, wrong.fix)));
    }
    for asset in &context.config.assets {
        if let Some(wrong) = check_asset(context, asset, support, turn).await? {
            return Err(mismatch(context, format!("{} {}. {}", wrong.seen, wrong.meaning, wrong.fix)));
        }
    }
    Ok(())
}

/// Before anything was seen of the chain every endpoint has to be right. Later
/// one that is not is left out, as long as another serves the chain.
fn check_ids(context: &Context, ids: ChainIds, first: bool) -> Result<(), OpenError> {
    if let Some(detail) = foreign(context, &ids) {
        if first || ids.proven == 0 {
            return Err(mismatch(context, detail));
        }
        tracing::error!(network = %context.config.network, "an endpoint is left out: {detail}");
    }
    if ids.proven > 0 {
        return Ok(());
    }
    let failure = ids.silent.into_iter().next_back().unwrap_or(CallError::NoEndpoint);
    Err(context.rpc.unavailable(failure).into())
}

/// Finds out whether simulations can be made at a transaction's price.
async fn learn_prices(context: &Context, first: bool) -> Result<(), ChainUnavailable> {
    let heeded = price_support::probe(context).await?;
    let before = context.capabilities.found_prices(heeded);
    if !heeded && (first || before) && context.config.contract_wallets {
        tracing::warn!(network = %context.config.network, "{}: {}. {}", price_support::SEEN, price_support::MEANING, price_support::FIX);
    }
    Ok(())
}

fn mismatch(context: &Context, detail: String) -> OpenError {
    OpenError::Mismatch { network: context.config.network.clone(), detail }
}

fn foreign(context: &Context, ids: &ChainIds) -> Option<String> {
    let (host, chain_id) = ids.foreign.first()?;
    let expected = context.config.chain_id;
    Some(format!("{host} serves chain {chain_id}, not {expected}. Correct `rpc`, or the network's name"))
}

/// What is wrong with an asset.
struct Wrong {
    seen: String,
    meaning: &'static str,
    fix: String,
}

/// Begins with another endpoint each `turn`.
async fn check_asset(
    context: &Context,
    asset: &Asset,
    support: Support,
    turn: usize,
) -> Result<Option<Wrong>, ChainUnavailable> {
    let failed = |error: CallError| context.rpc.unavailable(error);
    let code: Bytes = context.rpc.call_at(Call::code(asset.address), turn).await.map_err(failed)?;
    let name = format!("{} ({})", asset.address, asset.symbol);
    if code.is_empty() {
        return Ok(Some(Wrong {
            seen: format!("{name} has no code."),
            meaning: "There is no token at this address on this network",
            fix: "Correct the asset's `address`".to_owned(),
        }));
    }
    match &asset.eip3009 {
        Some(domain) => match check_domain(context, asset, domain, turn).await? {
            Some(wrong) => Ok(Some(wrong)),
            None => check_eip3009(context, asset).await,
        },
        None => check_erc20(context, asset, support, turn).await,
    }
}

/// Whether wallets can be deployed, when any may be.
async fn check_multicall(context: &Context) -> Result<Option<Wrong>, ChainUnavailable> {
    if context.config.erc6492_factories.is_empty() {
        return Ok(None);
    }
    let code: Bytes = context.rpc.call(Call::code(MULTICALL3)).await.map_err(|e| context.rpc.unavailable(e))?;
    Ok(code.is_empty().then(|| Wrong {
        seen: format!("there is no Multicall3 at {MULTICALL3}."),
        meaning: "Wallets cannot be deployed and paid from in one transaction",
        fix: "Empty `erc6492_factories` of this network".to_owned(),
    }))
}

/// Whether the token's domain is what payers are told to sign for.
async fn check_domain(
    context: &Context,
    asset: &Asset,
    domain: &Domain,
    turn: usize,
) -> Result<Option<Wrong>, ChainUnavailable> {
    let name = format!("{} ({})", asset.address, asset.symbol);
    let question = Token::DOMAIN_SEPARATORCall {}.abi_encode();
    let on_chain = match context.rpc.call_at::<Bytes>(Call::view(asset.address, &question, At::Latest), turn).await {
        Ok(answer) => Token::DOMAIN_SEPARATORCall::abi_decode_returns(&answer).ok(),
        Err(CallError::Node { error, .. }) if error.is_revert() => None,
        Err(error) => return Err(context.rpc.unavailable(error)),
    };
    if on_chain == Some(domain.separator) {
        return Ok(None);
    }
    let shown = on_chain.map_or_else(|| "not to be had".to_owned(), |hash| hash.to_string());
    Ok(Some(Wrong {
        seen: format!("the DOMAIN_SEPARATOR() of {name} is {shown}, not {} as configured.", domain.separator),
        meaning: "Signatures over the configured name and version would all be refused by the token",
        fix: format!(
            "Correct `eip712`, now name {:?} and version {:?}: read name() and version() of the contract",
            domain.name, domain.version
        ),
    }))
}

/// Whether the node runs the lens, and the token knows EIP-3009.
async fn check_eip3009(context: &Context, asset: &Asset) -> Result<Option<Wrong>, ChainUnavailable> {
    let nobody = TransferWithAuthorization {
        from: Address::repeat_byte(0xfe),
        to: Address::repeat_byte(0xfd),
        value: U256::ZERO,
        validAfter: U256::ZERO,
        validBefore: U256::ZERO,
        nonce: B256::ZERO,
    };
    let item = eip3009::Item {
        token: asset.address,
        gas_cap: u32::try_from(context.config.gas_limit_eoa).unwrap_or(u32::MAX),
        transfer: abi::transfer_by_key(&nobody, 27, B256::ZERO, B256::ZERO),
        signature: Bytes::new(),
    };
    let record = context.lens.ask(context.simulator(), &item).await?;
    Ok(record.nonce_used.is_none().then(|| Wrong {
        seen: format!("{} ({}) does not answer authorizationState.", asset.address, asset.symbol),
        meaning: "The token does not know EIP-3009, by which it is to be paid with",
        fix: "Give the asset `method = \"permit2\"`, or remove it".to_owned(),
    }))
}

/// Whether a token that can only be paid with by Permit2 can be.
async fn check_erc20(
    context: &Context,
    asset: &Asset,
    support: Support,
    turn: usize,
) -> Result<Option<Wrong>, ChainUnavailable> {
    let name = format!("{} ({})", asset.address, asset.symbol);
    if !support.permit2() && !support.upto() {
        return Ok(Some(Wrong {
            seen: format!("{name} is paid with by Permit2, but {}.", support.missing()),
            meaning: "Nobody could pay with it",
            fix: "Remove the asset, or use nodes and a network that have what is missing".to_owned(),
        }));
    }
    let question = Token::balanceOfCall { account: Address::repeat_byte(0xfe) }.abi_encode();
    let balance = match context.rpc.call_at::<Bytes>(Call::view(asset.address, &question, At::Latest), turn).await {
        Ok(answer) => Token::balanceOfCall::abi_decode_returns(&answer).ok(),
        Err(CallError::Node { error, .. }) if error.is_revert() => None,
        Err(error) => return Err(context.rpc.unavailable(error)),
    };
    Ok(balance.is_none().then(|| Wrong {
        seen: format!("{name} does not answer balanceOf."),
        meaning: "It is no token",
        fix: "Correct the asset's `address`".to_owned(),
    }))
}

/// Doctor, online part.
pub(crate) async fn check(context: &Context) -> Vec<Finding> {
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
    match permit2_support::probe(context).await {
        Ok(support) => {
            findings.push(check_permit2(&network, support));
            findings.extend(check_assets(context, &network, support).await);
        }
        Err(error) => findings.push(unreachable_finding(&network, &error.detail)),
    }
    match check_multicall(context).await {
        Ok(None) => {}
        Ok(Some(wrong)) => findings.push(finding(Severity::Error, &network, wrong.seen, wrong.meaning, wrong.fix)),
        Err(error) => findings.push(unreachable_finding(&network, &error.detail)),
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
        Err(error) => return unreachable_finding(network, &error.detail),
    };
    context.capabilities.found_prices(heeded);
    if heeded {
        return fine(network, "payments are simulated at the gas price of a transaction".to_owned());
    }
    let severity = if context.config.contract_wallets { Severity::Warning } else { Severity::Ok };
    finding(severity, network, price_support::SEEN, price_support::MEANING, price_support::FIX)
}

fn check_permit2(network: &str, support: Support) -> Finding {
    match support {
        Support::Works { permit2: true, upto: true } => {
            fine(network, "payments by Permit2, of exact and of upto, can be verified and settled".to_owned())
        }
        Support::Works { permit2: false, upto: false } => fine(network, support.missing().to_owned()),
        Support::Works { .. } | Support::NoOverrides => finding(
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
                fine(network, format!("{} {}: {known} as configured", asset.symbol, asset.address))
            }
            Ok(Some(wrong)) => finding(Severity::Error, network, wrong.seen, wrong.meaning, wrong.fix),
            Err(error) => unreachable_finding(network, &error.detail),
        });
    }
    findings
}

/// What was seen of one endpoint.
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
            self.findings.push(finding(
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
    let expected = context.config.chain_id;
    let found = match chain_id {
        Err(error) => unreachable_finding(&host, &error.to_string()),
        Ok(text) if quantity(&text) != Some(U256::from(expected)) => {
            let seen = format!("serves chain {text}, not {expected:#x}");
            let fix = "Correct `rpc`, or the network's name";
            finding(Severity::Error, &host, seen, "Payments would be looked for on the wrong chain", fix)
        }
        Ok(_) if latency > LATENCY_WARNING => {
            let seen = format!("answers after {} ms", latency.as_millis());
            finding(Severity::Warning, &host, seen, "Every verification waits that long", "Use an endpoint nearby")
        }
        Ok(_) => fine(&host, format!("chain {expected}, answers after {} ms", latency.as_millis())),
    };
    let height = height.and_then(|text| quantity(&text)).and_then(|number| u64::try_from(number).ok());
    Looked { host, height, findings: vec![found] }
}

async fn check_clock(context: &Context, network: &str) -> Option<Finding> {
    let head = context.heads.next(&context.rpc, None, Watch::Closely).await.ok()?;
    let now = context.clock.now().seconds();
    let skew = now.abs_diff(head.timestamp);
    let allowed = SKEW_WARNING_SECONDS + 10 * context.config.block_time.as_secs().max(1);
    if skew <= allowed {
        return Some(fine(network, format!("newest block {} is {skew} s off this machine's clock", head.number)));
    }
    let seen = format!("newest block {} is {skew} s off this machine's clock", head.number);
    let meaning = "This clock is wrong, or the chain stands still; payments are judged to be expired or early";
    Some(finding(Severity::Warning, network, seen, meaning, "Check NTP on this machine, and the endpoints"))
}

async fn check_wallet(context: &Context, wallet: &str) -> Finding {
    let Some(address) = context.wallets.address(wallet) else {
        return finding(Severity::Error, wallet, "has no key here", "It cannot pay gas", "Correct `gas_wallets`");
    };
    let balance = context.rpc.call::<String>(Call::balance(address)).await;
    let balance = match balance.map(|text| quantity(&text)) {
        Ok(Some(balance)) => Amount::from(balance),
        Ok(None) => return unreachable_finding(wallet, "the balance is no number"),
        Err(error) => return unreachable_finding(wallet, &error.to_string()),
    };
    let min = context.config.gas_balance_min;
    if balance < min {
        let seen = format!("has {balance} wei, less than gas_balance_min, {min} wei");
        let fix = format!("Send at least {} wei to {wallet}", min.checked_sub(balance).unwrap_or_default());
        return finding(Severity::Error, wallet, seen, "It takes no settlements", fix);
    }
    fine(wallet, format!("has {balance} wei, gas_balance_min is {min} wei"))
}

fn finding(
    severity: Severity,
    subject: &str,
    seen: impl Into<String>,
    meaning: &str,
    fix: impl Into<String>,
) -> Finding {
    let (subject, meaning) = (subject.to_owned(), meaning.to_owned());
    Finding { severity, subject, seen: seen.into(), meaning, fix: fix.into() }
}

fn fine(subject: &str, seen: String) -> Finding {
    finding(Severity::Ok, subject, seen, "As it should be", "")
}

fn unreachable_finding(subject: &str, detail: &str) -> Finding {
    let meaning = "The chain cannot be asked this";
    finding(Severity::Error, subject, detail, meaning, "Check that the node runs and that its URL and key are right")
}
