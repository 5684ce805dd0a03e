//! Money of the assets that lies in gas wallets (`I07` in the facilitator's `docs/threats.md`).

use alloy::{
    primitives::{Address, Bytes, U256},
    sol_types::SolCall as _,
};
use chains_core::{
    Amount,
    diagnostic::{Finding, Severity},
};

use crate::{
    abi::Token,
    config::Asset,
    context::Context,
    rpc::method::{At, Call},
};

/// Warns of each asset of which a gas wallet holds some. A token that does not
/// answer is told of by its own check.
pub(super) async fn check(context: &Context, wallet: &str) -> Vec<Finding> {
    let Some(address) = context.wallets.address(wallet) else { return vec![] };
    let mut findings = vec![];
    for asset in &context.config.assets {
        let held = held(context, asset, address).await.filter(|held| !held.is_zero());
        findings.extend(held.map(|held| finding(asset, wallet, held)));
    }
    findings
}

async fn held(context: &Context, asset: &Asset, account: Address) -> Option<U256> {
    let question = Token::balanceOfCall { account }.abi_encode();
    let answer = context.rpc.call::<Bytes>(Call::view(asset.address, &question, At::Latest)).await.ok()?;
    Token::balanceOfCall::abi_decode_returns(&answer).ok()
}

fn finding(asset: &Asset, wallet: &str, held: U256) -> Finding {
    let seen = format!("holds {} {}", Amount::from(held).in_units(asset.decimals), asset.symbol);
    let meaning = "Nothing of the service needs it there, and whoever gets the wallet's key gets it, too";
    let fix = "Move it to an account whose key is on no server";
    Finding::new(Severity::Warning, "wallet_tokens", wallet, seen, meaning, fix)
}
