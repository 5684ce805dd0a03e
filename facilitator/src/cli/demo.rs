//! `demo`: the first five minutes. A local chain that looks like Base Sepolia
//! (or Solana's devnet), the service on SQLite, a small paid web server and a paying client; each
//! HTTP exchange and the settled transaction are printed.

mod buyer;
mod evm;
mod scene;
mod seller;
mod svm;

use std::{process::ExitCode, sync::Arc};

use anyhow::{anyhow, ensure};
use chains_core::{Amount, clock::SystemClock};
use clap::Args;

use self::{
    evm::Evm,
    scene::{Folder, Scene},
    svm::Svm,
};
use crate::{
    app::{self, Running},
    config::Environment,
    families::FAMILIES,
    lifecycle::Lifecycle,
    metrics,
};

/// Settles a payment on a local chain and shows each step.
#[derive(Debug, Args)]
pub(super) struct Demo {
    /// Leave everything running and print how to ask it.
    #[arg(long)]
    keep: bool,
    /// On Solana (needs `solana-test-validator` on PATH) instead of EVM.
    #[arg(long)]
    solana: bool,
}

/// The price of the demonstration's article: one cent.
const PRICE: u64 = 10_000;

impl Demo {
    pub(super) async fn run(self, _environment: &Environment) -> anyhow::Result<ExitCode> {
        if self.solana { self.play(Svm::start().await?).await } else { self.play(Evm::start().await?).await }
    }

    async fn play(self, scene: impl Scene) -> anyhow::Result<ExitCode> {
        step("starting the facilitator");
        let folder = Folder::make()?;
        let running = start(&scene.table(), &folder).await?;
        let facilitator = format!("http://{}", running.address);
        scene::ready(&facilitator).await?;
        println!("  {facilitator}");

        step("starting a paid web server");
        let supported = reqwest::get(format!("{facilitator}/supported")).await?.json().await?;
        let shop = seller::start(&facilitator, scene.requirements(&supported)?).await?;
        println!("  {shop}/weather costs 0.01 USDC, paid to {}", scene.payee());

        let before = scene.payee_balance().await?;
        step("a client buys");
        let transaction = buyer::buy(&shop, &scene).await?;
        let after = scene.payee_balance().await?;
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

async fn start(network: &str, folder: &Folder) -> anyhow::Result<Running> {
    let text = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n[store]\nurl = \"sqlite://{}\"\n\
         {network}",
        folder.path().join("demo.db").display()
    );
    let clock: Arc<dyn chains_core::clock::Clock> = Arc::new(SystemClock);
    let config = crate::config::read(&text, &Environment::new(), FAMILIES, &clock)
        .map_err(|report| anyhow!("the demo's own configuration is wrong: {:?}", report.problems()))?;
    Ok(app::start(config, metrics::exposition::install()?, false, Lifecycle::default()).await?)
}

async fn keep(facilitator: &str, shop: &str) -> anyhow::Result<()> {
    println!("\nEverything keeps running; Ctrl-C ends it. Ask it:");
    println!("  curl {facilitator}/supported");
    println!("  curl {facilitator}/settlements");
    println!("  curl -i {shop}/weather");
    tokio::signal::ctrl_c().await?;
    Ok(())
}
