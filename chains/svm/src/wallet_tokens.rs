//! Money of the assets that lies in gas wallets (`I07` in the facilitator's `docs/threats.md`).

use std::iter::zip;

use chains_core::{
    Amount,
    diagnostic::{Finding, Severity},
};
use solana_sdk::{account::Account, pubkey::Pubkey};
use spl_token_2022_interface::{extension::StateWithExtensions, state};

use crate::{
    context::Context,
    exact::requirements::Asset,
    programs::{TOKEN, TOKEN_2022},
    token::associated_account,
};

/// Accounts in one `getMultipleAccounts`: what nodes allow.
const ACCOUNTS_MAX: usize = 100;

/// Warns of each asset of which a gas wallet's associated token account holds
/// some. A node that does not answer is told of by its own check.
pub async fn check(context: &Context) -> Vec<Finding> {
    let places = places(context);
    let mut findings = vec![];
    for places in places.chunks(ACCOUNTS_MAX) {
        let addresses: Vec<Pubkey> = places.iter().map(|place| place.address).collect();
        let accounts = context.rpc.read(|client| {
            let addresses = addresses.clone();
            async move { client.get_multiple_accounts(&addresses).await }
        });
        let Ok(accounts) = accounts.await else { continue };
        findings.extend(zip(places, accounts.value).filter_map(|(place, account)| place.finding(&account?)));
    }
    findings
}

/// A token account that a gas wallet may have.
struct Place<'a> {
    wallet: &'a str,
    asset: &'a Asset,
    address: Pubkey,
}

/// One for each gas wallet, asset and token program.
fn places(context: &Context) -> Vec<Place<'_>> {
    let mut places = vec![];
    for (wallet, owner) in zip(context.wallets.names(), context.wallets.addresses()) {
        for asset in &context.config.assets {
            for program in [TOKEN, TOKEN_2022] {
                places.push(Place { wallet, asset, address: associated_account(owner, &asset.mint, &program) });
            }
        }
    }
    places
}

impl Place<'_> {
    fn finding(&self, account: &Account) -> Option<Finding> {
        let held = StateWithExtensions::<state::Account>::unpack(&account.data).ok()?.base.amount;
        let seen = format!("holds {} {}", Amount::from(held).in_units(self.asset.decimals), self.asset.symbol);
        let meaning = "Nothing of the service needs it there, and whoever gets the wallet's key gets it, too";
        let fix = "Move it to an account whose key is on no server";
        (held > 0).then(|| Finding::new(Severity::Warning, "wallet_tokens", self.wallet, seen, meaning, fix))
    }
}
