//! Proves that a network is what the configuration says: before it opens, and
//! again from time to time.

use std::{collections::HashMap, sync::atomic::Ordering};

use alloy::{
    primitives::{Address, B256, Bytes, U256},
    sol_types::SolCall,
};
use chains_core::chain::{ChainUnavailable, ProofError};

use crate::{
    abi::{self, Token, TransferWithAuthorization},
    call_batcher::eip3009,
    config::{Asset, ContractWallets, Domain},
    context::Context,
    health::{
        asset_checks, batch_support, block_support,
        permit2_support::{self, Support},
        price_support, token_code,
    },
    method::eip3009::counterfactual::MULTICALL3,
    rpc::{
        ChainIds,
        error::CallError,
        method::{At, Call},
    },
};

/// Proves what a payment relies on; see [`Health::prove`](chains_core::chain::Health::prove).
pub(crate) async fn prove(context: &Context) -> Result<(), ProofError> {
    let first = context.blocks.newest().is_none();
    let turn = context.looks.fetch_add(1, Ordering::Relaxed);
    check_ids(context, context.rpc.prove(context.config.chain_id).await, first)?;
    learn_prices(context, first).await?;
    learn_block_overrides(context, first).await?;
    let support = permit2_support::probe(context).await?;
    context.capabilities.found(support.permit2(), support.upto());
    batch_support::learn(context, first).await;
    if first && !(support.permit2() && support.upto()) {
        let missing = support.missing();
        tracing::info!(network = %context.config.network, missing, "not all payments by Permit2 are possible");
    }
    if let Some(wrong) = check_multicall(context).await? {
        return Err(mismatch(context, format!("{} {}. {}", wrong.seen, wrong.meaning, wrong.fix)));
    }
    let flaws = asset_checks::check(context, support, turn).await?;
    look_at_tokens(context, turn, &flaws).await.map_err(|error| context.rpc.unavailable(error))?;
    context.token_code.note_flaws(&context.config.assets, &flaws);
    Ok(())
}

/// Notes what code the tokens run that have no flaw, and what has changed since the first time.
async fn look_at_tokens(context: &Context, turn: usize, flaws: &HashMap<Address, String>) -> Result<(), CallError> {
    let Context { rpc, token_code: monitor, config, .. } = context;
    let assets: Vec<Asset> =
        config.assets.iter().filter(|asset| !flaws.contains_key(&asset.address)).cloned().collect();
    let first = token_code::look(rpc, &assets, turn).await?;
    if !monitor.has_seen(&assets) {
        monitor.learn(&assets, &first);
    }
    if monitor.is_news(&assets, &first) {
        let second = token_code::look(rpc, &assets, turn.wrapping_add(1)).await?;
        monitor.note(&assets, &first, &second);
    }
    Ok(())
}

/// Before anything was seen of the chain every endpoint has to be right. Later
/// one that is not is left out, as long as another serves the chain.
fn check_ids(context: &Context, ids: ChainIds, first: bool) -> Result<(), ProofError> {
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
    if !heeded && (first || before) && context.config.contract_wallets != ContractWallets::Refused {
        tracing::warn!(network = %context.config.network, "{}: {}. {}", price_support::SEEN, price_support::MEANING, price_support::FIX);
    }
    Ok(())
}

/// Finds out whether simulations can be made in the block to come.
async fn learn_block_overrides(context: &Context, first: bool) -> Result<(), ChainUnavailable> {
    let heeded = block_support::probe(context).await?;
    let before = context.capabilities.found_block_overrides(heeded);
    let matters = context.config.contract_wallets == ContractWallets::Simulated;
    if !heeded && (first || before) && matters {
        let (seen, meaning, fix) = (block_support::SEEN, block_support::MEANING, block_support::FIX);
        tracing::warn!(network = %context.config.network, "{seen}: {meaning}. {fix}");
    }
    Ok(())
}

pub(super) fn mismatch(context: &Context, detail: String) -> ProofError {
    ProofError::Mismatch { network: context.config.network.clone(), detail }
}

fn foreign(context: &Context, ids: &ChainIds) -> Option<String> {
    let (host, chain_id) = ids.foreign.first()?;
    let expected = context.config.chain_id;
    Some(format!("{host} serves chain {chain_id}, not {expected}. Correct `rpc`, or the network's name"))
}

/// The fault of an asset.
pub(crate) struct Wrong {
    pub seen: String,
    pub meaning: &'static str,
    pub fix: String,
}

/// Returns the fault of an asset, if there is one. Begins with another endpoint
/// each `turn`.
pub(crate) async fn check_asset(
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

/// Checks that wallets can be deployed, when any may be.
pub(crate) async fn check_multicall(context: &Context) -> Result<Option<Wrong>, ChainUnavailable> {
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

/// Checks that the token's domain is what payers are told to sign for.
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
        Err(CallError::Node { error, .. }) if error.is_contracts_fault() => None,
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

/// Checks that the node runs the lens, and the token knows EIP-3009.
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
    let record = context.eip3009_batcher.ask(context.simulator(), &item).await?;
    Ok(record.nonce_used.is_none().then(|| Wrong {
        seen: format!("{} ({}) does not answer authorizationState.", asset.address, asset.symbol),
        meaning: "The token does not know EIP-3009, by which it is to be paid with",
        fix: "Give the asset `method = \"permit2\"`, or remove it".to_owned(),
    }))
}

/// Checks that a token that can only be paid with by Permit2 can be.
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
        Err(CallError::Node { error, .. }) if error.is_contracts_fault() => None,
        Err(error) => return Err(context.rpc.unavailable(error)),
    };
    Ok(balance.is_none().then(|| Wrong {
        seen: format!("{name} does not answer balanceOf."),
        meaning: "It is not a token",
        fix: "Correct the asset's `address`".to_owned(),
    }))
}
