//! `demo`: the first five minutes. A local chain that looks like Base Sepolia
//! (or Solana's devnet), the service on SQLite, a small paid web server and a paying client; each
//! HTTP exchange and the settled transaction are printed.

mod buyer;
mod evm;
mod scene;
mod seller;
mod svm;

use std::{convert::Infallible, process::ExitCode, sync::Arc};

use anyhow::{anyhow, ensure};
use chains_core::{Amount, clock::SystemClock};
use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};

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
#[command(after_help = "\
Examples:
  facilitator demo
  facilitator demo --solana --keep

Exit codes: 0 the payee's balance on chain rose, 1 it did not.")]
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
        // Listened for before anything is begun, so that nothing stays behind.
        let mut signals = Signals::listen()?;
        let folder = Folder::make()?;
        let mut stage = Stage { folder, running: None, paid: false };
        let played = tokio::select! {
            played = self.play(&mut stage) => played.map(|()| ExitCode::SUCCESS),
            code = signals.next() => Ok(ExitCode::from(code)),
        };
        // Ctrl-C is the way to end what was kept.
        let played = if stage.paid { played.map(|_| ExitCode::SUCCESS) } else { played };
        if let Some(running) = stage.running {
            running.end().await;
        }
        played
    }

    async fn play(&self, stage: &mut Stage) -> anyhow::Result<()> {
        if self.solana {
            self.play_on(Svm::start(&stage.folder).await?, stage).await
        } else {
            self.play_on(Evm::start().await?, stage).await
        }
    }

    async fn play_on(&self, scene: impl Scene, stage: &mut Stage) -> anyhow::Result<()> {
        step("starting the facilitator");
        let address = stage.running.insert(start(&scene.table(), &stage.folder).await?).address;
        let facilitator = format!("http://{address}");
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
        stage.paid = true;
        if self.keep {
            match keep(&facilitator, &shop).await {}
        }
        Ok(())
    }
}

/// The parts of a demonstration that have to be ended, and how far it came.
struct Stage {
    folder: Folder,
    running: Option<Running>,
    /// True once the payee has the money.
    paid: bool,
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
    Ok(app::start(config, &Environment::new(), metrics::exposition::install()?, false, Lifecycle::default()).await?)
}

async fn keep(facilitator: &str, shop: &str) -> Infallible {
    println!("\nEverything keeps running; Ctrl-C ends it. Ask it:");
    println!("  curl {facilitator}/supported");
    println!("  curl {facilitator}/settlements");
    println!("  curl -i {shop}/weather");
    std::future::pending().await
}

/// The signals that end the demonstration.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for one; returns the exit code by which shells know it.
    async fn next(&mut self) -> u8 {
        tokio::select! {
            _ = self.hangup.recv() => 129,
            _ = self.interrupt.recv() => 130,
            _ = self.terminate.recv() => 143,
        }
    }
}
