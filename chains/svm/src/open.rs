//! Proves that a cluster is what the configuration says, before it opens and
//! while it is open; the same for the doctor.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::atomic::Ordering,
    time::Duration,
};

use chains_core::{
    Amount,
    chain::{ChainUnavailable, ProofError},
    diagnostic::{Finding, Severity},
    observation::Urgency,
};
use chains_rpc::{Endpoint as _, Outcome};
use futures::future::join_all;
use solana_commitment_config::CommitmentConfig;
use solana_sdk::{account::Account, pubkey::Pubkey};
use tokio::time::Instant;

use crate::{
    abilities::{self, Inability},
    config::RENT_EXEMPT_MIN,
    context::Context,
    exact::requirements::Asset,
    logs,
    mint::{self, MintError, SoundMint},
    mints, networks,
    rpc::{GenesisHashes, endpoint::Endpoint, error::CallError},
};

/// Slower than this and callers notice.
const LATENCY_WARNING: Duration = Duration::from_millis(500);

/// Endpoints that can tell what became of a payment, at least.
const WITNESSES: usize = 2;

/// The code of a node that has fallen behind, which is also that of rate limits elsewhere.
const NODE_BEHIND: i64 = -32_005;

/// Slots that an endpoint may be behind the best one.
const LAG_WARNING: u64 = 8;

/// Proves what a payment relies on; see [`Health::prove`](chains_core::chain::Health::prove).
pub(crate) async fn open(context: &Context) -> Result<(), ProofError> {
    let first = context.blocks.newest().is_none();
    let hashes = context.rpc.prove().await;
    // Before anything was seen of the cluster every endpoint has to be right.
    // Later one that is not is left out, as long as another serves it.
    if let Some(detail) = foreign(context, &hashes).filter(|_| first || hashes.proven == 0) {
        return Err(mismatch(context, detail));
    }
    if hashes.proven == 0 {
        let failure = hashes.silent.into_iter().next_back().unwrap_or(CallError::NoEndpoint);
        return Err(context.rpc.unavailable(failure).into());
    }
    take_mints(context).await?;
    check_abilities(context, &abilities::missing(context).await, first)?;
    let Context { blocks, rpc, logs, clock, .. } = context;
    blocks.next(rpc, logs, &**clock, None, Urgency::Closely).await?;
    Ok(())
}

/// Two endpoints have to be able to end payments; where fewer are configured, all of them.
fn check_abilities(context: &Context, missing: &[Inability], first: bool) -> Result<(), ProofError> {
    let unable: HashSet<&str> = missing.iter().map(|missing| missing.host.as_str()).collect();
    let hosts = context.rpc.endpoints().iter().map(Endpoint::host);
    let able = hosts.filter(|host| !unable.contains(host)).count();
    for Inability { host, method, said } in missing {
        let detail = format!("{host} does not answer {method} ({said}). {}. {}", Inability::MEANING, Inability::FIX);
        if able < WITNESSES {
            return Err(mismatch(context, detail));
        }
        if first {
            tracing::warn!(network = %context.config.network, "an endpoint is no witness of everything: {detail}");
        }
    }
    Ok(())
}

/// Notes the mints that payments can be made in, and those that are not what the configuration says, by two looks: one
/// node may err. Those of the known network may be missing. Where none is sound, nothing can be paid with.
async fn take_mints(context: &Context) -> Result<(), ProofError> {
    let turn = context.looks.fetch_add(1, Ordering::Relaxed);
    let first = look_at_mints(context, turn).await?;
    // One of a known network that never was there is no news to anybody.
    let is_new = context.mints.is_new();
    let is_news = |mint, now: bool| context.mints.found(&mint).map_or(is_new || now, |before| before.is_ok() != now);
    let news = first.iter().any(|(mint, looked)| is_news(*mint, looked.is_ok()));
    let second = if news { look_at_mints(context, turn.wrapping_add(1)).await? } else { first.clone() };
    let mut found = HashMap::new();
    let mut last = None;
    for ((mint, first), (_, second)) in first.into_iter().zip(second) {
        let before = context.mints.found(&mint);
        let may_be_missing = context.config.assets_are_preset && before.is_none();
        let now =
            mints::after(before, first.map_err(|wrong| wrong.to_string()), second.map_err(|wrong| wrong.to_string()));
        last = now.clone().err().or(last);
        if now.is_ok() || !may_be_missing {
            found.insert(mint, now);
        }
    }
    let is_any_sound = found.values().any(Result::is_ok);
    context.mints.note(&context.config.network, found);
    match last.filter(|_| !is_any_sound) {
        Some(flaw) => Err(mismatch(context, flaw)),
        None => Ok(()),
    }
}

fn mismatch(context: &Context, detail: String) -> ProofError {
    ProofError::Mismatch { network: context.config.network.clone(), detail }
}

fn foreign(context: &Context, hashes: &GenesisHashes) -> Option<String> {
    let (host, hash) = hashes.foreign.first()?;
    let network = &context.config.network;
    Some(format!(
        "{host} serves the cluster with genesis hash {hash}, which is not {network}. Correct `rpc`, or set \
         `allow_genesis_mismatch = true` for a local validator that poses as this cluster"
    ))
}

/// A fault of an asset.
#[derive(Clone)]
struct Wrong {
    name: String,
    seen: String,
    meaning: &'static str,
    fix: &'static str,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}. {}. {}", self.name, self.seen, self.meaning, self.fix)
    }
}

/// Each configured mint with its token program, or its fault. Begins with another endpoint each `turn`.
async fn look_at_mints(
    context: &Context,
    turn: usize,
) -> Result<Vec<(Pubkey, Result<SoundMint, Wrong>)>, ChainUnavailable> {
    let assets = &context.config.assets;
    let addresses: Vec<Pubkey> = assets.iter().map(|asset| asset.mint).collect();
    let found = context.rpc.read_named(turn, |client| {
        let addresses = addresses.clone();
        async move { client.get_multiple_accounts(&addresses).await }
    });
    let (_, found) = found.await.map_err(|error| context.rpc.unavailable(error))?;
    let looked = assets.iter().zip(found.value);
    Ok(looked.map(|(asset, account)| (asset.mint, check_mint(asset, account.as_ref()))).collect())
}

fn check_mint(asset: &Asset, account: Option<&Account>) -> Result<SoundMint, Wrong> {
    let name = format!("{} ({})", asset.mint, asset.symbol);
    let wrong = |seen: String, meaning, fix| Err(Wrong { name: name.clone(), seen, meaning, fix });
    let Some(account) = account else {
        return wrong(
            "does not exist".to_owned(),
            "There is no token at this address on this cluster",
            "Correct the asset's `mint`",
        );
    };
    match mint::check(&account.owner, &account.data, &asset.extensions_allowed) {
        Ok(sound) if sound.decimals == asset.decimals => Ok(sound),
        Ok(SoundMint { decimals, .. }) => {
            let seen = format!("has {decimals} decimals, not {}", asset.decimals);
            wrong(
                seen,
                "Amounts would be shown, and capped, by the wrong power of ten",
                "Correct the asset's `decimals`",
            )
        }
        Err(error @ (MintError::Owner(_) | MintError::NoMint)) => {
            wrong(format!("is not fit: {error}"), "It is not a token that is known here", "Correct the asset's `mint`")
        }
        Err(error @ MintError::Dangers(_)) => {
            let meaning = "Payments in it may not arrive as signed, or may be taken back";
            let fix = "Remove the asset, or name the extensions in its `extensions_allowed`";
            wrong(format!("is not fit: {error}"), meaning, fix)
        }
    }
}

/// Doctor, online part.
pub(crate) async fn check(context: &Context) -> Vec<Finding> {
    let endpoints = context.rpc.endpoints().iter().map(|endpoint| check_endpoint(context, endpoint));
    let mut looked: Vec<Looked> = join_all(endpoints).await;
    let best = looked.iter().filter_map(|looked| looked.slot).max().unwrap_or_default();
    for looked in &mut looked {
        looked.compare(best);
    }
    let mut findings: Vec<Finding> = looked.into_iter().flat_map(|looked| looked.findings).collect();
    if let [only] = context.rpc.endpoints() {
        let meaning = "Nobody contradicts it where money is at stake, and without it nothing is verified or settled";
        let fix = "Add a node of another provider to `rpc`";
        findings.push(Finding::new(Severity::Warning, "node_count", only.host(), "is the only node", meaning, fix));
    }
    if context.rpc.prove().await.proven == 0 {
        return findings;
    }
    for Inability { host, method, said } in abilities::missing(context).await {
        let seen = format!("does not answer {method}: it keeps no transaction history, or not that method ({said})");
        findings.push(Finding::new(Severity::Error, "node_history", host, seen, Inability::MEANING, Inability::FIX));
    }
    findings.push(check_websocket(context).await);
    match look_at_mints(context, 0).await {
        Ok(mints) => findings.extend(mints.into_iter().map(|(mint, looked)| of_mint(context, mint, looked))),
        Err(error) => findings.push(Finding::unreachable("asset", "the mints", &error.detail)),
    }
    for (name, address) in context.wallets.names().iter().zip(context.wallets.addresses()) {
        findings.push(check_wallet(context, name, *address).await);
    }
    findings
}

fn of_mint(context: &Context, mint: Pubkey, looked: Result<SoundMint, Wrong>) -> Finding {
    const CHECK: &str = "asset";
    match looked {
        Ok(SoundMint { program, .. }) => {
            Finding::fine(CHECK, mint.to_string(), format!("is as configured, of program {program}"))
        }
        Err(Wrong { name, seen, .. }) if context.config.assets_are_preset => {
            let fix = "Nothing; name the assets that you want in `assets`";
            Finding::new(Severity::Ok, CHECK, name, seen, "It is left out", fix)
        }
        Err(Wrong { name, seen, meaning, fix }) => Finding::new(Severity::Error, CHECK, name, seen, meaning, fix),
    }
}

/// The findings about one endpoint.
struct Looked {
    host: String,
    slot: Option<u64>,
    findings: Vec<Finding>,
}

impl Looked {
    fn compare(&mut self, best: u64) {
        let Some(behind) = self.slot.map(|slot| best.saturating_sub(slot)) else { return };
        if behind > LAG_WARNING {
            let seen = format!("is {behind} slots behind the best node");
            let meaning = "Reads that go there see the past, and settle late";
            let fix = "Put it last in `rpc`, or replace it";
            self.findings.push(Finding::new(Severity::Warning, "node_lag", &self.host, seen, meaning, fix));
        }
    }
}

async fn check_endpoint(context: &Context, endpoint: &Endpoint) -> Looked {
    let host = endpoint.host().to_owned();
    let began = Instant::now();
    // The first call also opens the connection; the second one shows the latency.
    let genesis = endpoint.client().get_genesis_hash().await.map_err(|failure| endpoint.named(failure));
    let connected = began.elapsed();
    let slot = endpoint.client().get_epoch_info_with_commitment(CommitmentConfig::confirmed()).await;
    let latency = began.elapsed().saturating_sub(connected);
    let version = endpoint.client().get_version().await.unwrap_or_else(|_| "unknown".to_owned());
    let network = &context.config.network;
    let slot = slot.map_err(|failure| endpoint.named(failure));
    let rate = genesis.as_ref().err().into_iter().chain(slot.as_ref().err()).any(is_rate_limit);
    let found = match genesis {
        _ if rate => {
            let meaning = "It refuses questions when it is asked often: payments are answered late, or unavailable";
            let fix = "Raise the rate limit at the provider, or add a node of another provider to `rpc`";
            let seen = "answers with a rate limit (HTTP 429)";
            Finding::new(Severity::Warning, "node_rate", &host, seen, meaning, fix)
        }
        Err(CallError::Transport { fault, .. }) => Finding::unreachable("node_answers", &host, fault.to_string()),
        Err(error) => Finding::unreachable("node_answers", &host, error.to_string()),
        Ok(hash) if !networks::is_reference(network.reference(), &hash) => foreign_finding(context, &host, &hash),
        Ok(_) if latency > LATENCY_WARNING => {
            let seen = format!("answers in {} ms", latency.as_millis());
            let (meaning, fix) = ("Each settlement takes several such answers", "Use a node nearer to this machine");
            Finding::new(Severity::Warning, "node_latency", &host, seen, meaning, fix)
        }
        Ok(_) => {
            let seen = format!("serves {network}, version {version}, answers in {} ms", latency.as_millis());
            Finding::fine("node_answers", &host, seen)
        }
    };
    Looked { host, slot: slot.ok().map(|info| info.absolute_slot), findings: vec![found] }
}

/// Returns true for an error that says that too much was asked.
fn is_rate_limit(error: &CallError) -> bool {
    match error {
        CallError::Transport { fault, .. } => Outcome::of(*fault) == Outcome::Limited,
        CallError::Node { error, .. } => {
            error.code != NODE_BEHIND && Outcome::of_node(error.code, &error.message) == Outcome::Limited
        }
        CallError::NoEndpoint | CallError::OneWitness { .. } => false,
    }
}

fn foreign_finding(context: &Context, host: &str, hash: &str) -> Finding {
    const CHECK: &str = "node_chain";
    let seen = format!("serves the cluster with genesis hash {hash}, not {}", context.config.network);
    if context.rpc.any_genesis() {
        let meaning = "`allow_genesis_mismatch` is set: right for a local validator, and for nothing else";
        let fix = "Remove `allow_genesis_mismatch` on a real cluster";
        return Finding::new(Severity::Warning, CHECK, host, seen, meaning, fix);
    }
    let meaning = "Payments would be looked for on the wrong cluster";
    Finding::new(Severity::Error, CHECK, host, seen, meaning, "Correct `rpc`, or the network's name")
}

async fn check_websocket(context: &Context) -> Finding {
    const CHECK: &str = "websocket";
    const MEANING: &str = "Transactions are found by polling, about half a second later";
    let Some(url) = &context.config.websocket else {
        let fix = "Remove `websocket = \"off\"` where the node serves notifications";
        return Finding::new(Severity::Warning, CHECK, "websocket", "no WebSocket is configured", MEANING, fix);
    };
    let host = chains_rpc::host(url).unwrap_or_default();
    let fee_payer = context.wallets.names().first().map_or("", String::as_str);
    match logs::probe(url, fee_payer).await {
        Ok(()) => Finding::fine(CHECK, host, "accepts subscriptions"),
        Err(seen) => {
            let fix = "Set `websocket` to the node's WebSocket URL, or to \"off\"";
            Finding::new(Severity::Warning, CHECK, host, seen, MEANING, fix)
        }
    }
}

/// Decimals of SOL: one is 10^9 lamports.
const COIN_DECIMALS: u8 = 9;

fn sol(lamports: u64) -> String {
    format!("{} SOL", Amount::from(lamports).in_units(COIN_DECIMALS))
}

async fn check_wallet(context: &Context, name: &str, address: Pubkey) -> Finding {
    const CHECK: &str = "wallet_balance";
    let commitment = CommitmentConfig::confirmed();
    let balance =
        context.rpc.read(|client| async move { client.get_balance_with_commitment(&address, commitment).await }).await;
    let balance = match balance {
        Ok(balance) => balance.value,
        Err(error) => return Finding::unreachable(CHECK, name, error.to_string()),
    };
    let min = context.config.gas_balance_min;
    if balance < min {
        let seen = format!("has {}, less than gas_balance_min, {}", sol(balance), sol(min));
        let fix = format!("Send at least {} to {name}", sol(min.saturating_sub(balance)));
        return Finding::new(Severity::Error, CHECK, name, seen, "It takes no settlements", fix);
    }
    if min < RENT_EXEMPT_MIN {
        let seen = format!("gas_balance_min is {}, an account must keep {}", sol(min), sol(RENT_EXEMPT_MIN));
        let meaning = "The wallet would be given settlements that it cannot pay the fee of";
        return Finding::new(Severity::Warning, CHECK, name, seen, meaning, "Raise `gas_balance_min`, or remove it");
    }
    Finding::fine(CHECK, name, format!("has {}; gas_balance_min is {}", sol(balance), sol(min)))
}
