//! `demo`: the first five minutes. A local chain that looks like Base Sepolia,
//! the service on SQLite, a small paid web server and a paying client; each
//! HTTP exchange and the settled transaction are printed.

mod buyer;
mod chain;
mod seller;

use std::{process::ExitCode, sync::Arc};

use anyhow::{Context as _, anyhow, ensure};
use chains_core::{Amount, clock::SystemClock};
use chains_evm::local::{LocalChain, NETWORK, Payer};
use clap::Args;

use crate::{
    app::{self, Running},
    config::Environment,
    families::FAMILIES,
    http::admin::install_metrics,
    lifecycle::Lifecycle,
};

/// Settles a payment on a local chain and shows each step.
#[derive(Debug, Args)]
pub(super) struct Demo {
    /// Leave everything running and print how to ask it.
    #[arg(long)]
    keep: bool,
}

/// What the demonstration's article costs: one cent.
const PRICE: u64 = 10_000;

/// The gas wallet's key: the first of anvil's well-known test accounts.
const GAS_WALLET_KEY: &str = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";

impl Demo {
    pub(super) async fn run(self, _environment: &Environment) -> anyhow::Result<ExitCode> {
        step("starting a local chain (anvil)");
        let anvil = chain::Anvil::start().await?;
        let local = LocalChain::at(&anvil.url)?;
        let (buyer, payee) = (Payer::numbered(1)?, Payer::numbered(2)?.address());
        local.prepare().await.context("the token could not be put on the local chain")?;
        local.mint(&buyer.address(), Amount::from(1_000_000_u64)).await?;
        println!("  {NETWORK} at {}, with test USDC for the payer {}", anvil.url, buyer.address());

        step("starting the facilitator");
        let folder = chain::Folder::make()?;
        let running = start(&anvil.url, &folder).await?;
        let facilitator = format!("http://{}", running.address);
        chain::ready(&facilitator).await?;
        println!("  {facilitator}");

        step("starting a paid web server");
        let shop = seller::start(&facilitator, &payee).await?;
        println!("  {shop}/weather costs 0.01 USDC, paid to {payee}");

        let before = local.token_balance(&payee).await?;
        step("a client buys");
        let transaction = buyer::buy(&shop, &buyer).await?;
        let after = local.token_balance(&payee).await?;
        step("the chain says");
        println!("  transaction {transaction}");
        println!("  payee's balance {before} → {after} (atomic units of USDC)");
        ensure!(
            after.checked_sub(before) == Some(Amount::from(PRICE)),
            "the payee's balance did not rise by the price"
        );
        println!("\nThe payment is on chain, once.");
        if self.keep {
            keep(&facilitator, &shop).await?;
        }
        running.end().await;
        Ok(ExitCode::SUCCESS)
    }
}

fn step(what: &str) {
    println!("\n== {what}");
}

async fn start(rpc: &str, folder: &chain::Folder) -> anyhow::Result<Running> {
    let text = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n[store]\nurl = \"sqlite://{}\"\n\
         [networks.\"{NETWORK}\"]\nrpc = [\"{rpc}\"]\ngas_wallets = [\"{GAS_WALLET_KEY}\"]\nblock_time = \"1s\"\n",
        folder.path().join("demo.db").display()
    );
    let clock: Arc<dyn chains_core::clock::Clock> = Arc::new(SystemClock);
    let config = crate::config::read(&text, &Environment::new(), FAMILIES, &clock)
        .map_err(|report| anyhow!("the demo's own configuration is wrong: {:?}", report.problems()))?;
    Ok(app::start(config, install_metrics()?, false, Lifecycle::default()).await?)
}

async fn keep(facilitator: &str, shop: &str) -> anyhow::Result<()> {
    println!("\nEverything keeps running; Ctrl-C ends it. Ask it:");
    println!("  curl {facilitator}/supported");
    println!("  curl {facilitator}/settlements");
    println!("  curl -i {shop}/weather");
    tokio::signal::ctrl_c().await?;
    Ok(())
}
