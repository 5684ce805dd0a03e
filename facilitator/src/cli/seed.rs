//! `seed`: a local chain that stands beside the service gets test money, and a
//! payment is made ready that one command settles.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context as _, bail};
use chains_core::{
    Amount,
    clock::{Clock as _, SystemClock},
};
use chains_evm::local::{LocalChain, NETWORK, Order, Payer, USDC, USDC_NAME, USDC_VERSION};
use clap::Args;
use serde_json::{Value, json};

use super::ConfigFile;
use crate::config::Environment;

/// Puts test USDC on a local chain, gives the service's gas wallets money, and prints a payment to settle.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  anvil --chain-id 84532 --block-time 1
  facilitator seed
  facilitator seed --rpc http://anvil:8545 --facilitator http://proxy:8402 --say http://127.0.0.1:8402

The gas wallets are those of the service's own configuration. Works on a chain that can be told what it holds, such as anvil, and that poses as Base Sepolia.

Exit codes: 0 the service is ready and the payment is good, 1 not so, 64 mistakes in the configuration.")]
pub(super) struct Seed {
    #[command(flatten)]
    config: ConfigFile,
    /// The chain.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8545")]
    rpc: String,
    /// The service.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8402")]
    facilitator: String,
    /// The service as whoever settles the payment reaches it, where that is another address.
    #[arg(long, value_name = "URL")]
    say: Option<String>,
    /// The time to wait for the chain and for the service.
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = humantime::parse_duration)]
    wait: Duration,
    /// One JSON object: the address to ask, and the body of the request.
    #[arg(long)]
    json: bool,
}

/// The payment's amount: one cent.
const AMOUNT: u64 = 10_000;

/// The buyer's money: a thousand payments.
const MINTED: u64 = 10_000_000;

/// Coin of each gas wallet, in wei: one whole.
const COIN: u128 = 1_000_000_000_000_000_000;

/// The payment can be settled for so long, in seconds.
const VALID_FOR: u64 = 24 * 3600;

/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(250);

impl Seed {
    pub(super) async fn run(self, environment: &Environment) -> anyhow::Result<ExitCode> {
        let config = self.config.load(environment)?;
        let served = config.chains.iter().find(|chain| chain.network().as_str() == NETWORK);
        let served = served.with_context(|| {
            format!("the configuration serves no [networks.\"{NETWORK}\"], as which the local chain poses: add it")
        })?;
        let chain = LocalChain::at(&self.rpc)?;
        let prepare = async || chain.prepare().await.context("the token could not be put on the chain");
        self.until(prepare).await?;
        let (payer, recipient) = (Payer::numbered(1)?, Payer::numbered(2)?.address());
        chain.mint(&payer.address(), Amount::from(MINTED)).await?;
        for wallet in served.gas_wallets() {
            chain.fund(wallet, COIN).await?;
        }
        let request = payment(&payer, &recipient)?;
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build()?;
        self.until(async || verified(&client, &self.facilitator, &request).await).await?;
        self.print(&payer.address(), &recipient, &request)?;
        Ok(ExitCode::SUCCESS)
    }

    /// Tries until it works, for as long as is waited.
    async fn until<T>(&self, attempt: impl AsyncFn() -> anyhow::Result<T>) -> anyhow::Result<T> {
        let end = tokio::time::Instant::now() + self.wait;
        loop {
            match attempt().await {
                Ok(done) => return Ok(done),
                Err(error) if tokio::time::Instant::now() >= end => return Err(error),
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    fn print(&self, payer: &str, recipient: &str, request: &Value) -> anyhow::Result<()> {
        let url = format!("{}/settle", self.say.as_ref().unwrap_or(&self.facilitator).trim_end_matches('/'));
        if self.json {
            println!("{}", serde_json::to_string_pretty(&json!({"url": url, "body": request}))?);
        } else {
            println!("{NETWORK} has test USDC. This settles a payment of 0.01 USDC from {payer} to {recipient}:\n");
            println!("curl --silent --show-error --header 'content-type: application/json' {url} --data '{request}'");
        }
        Ok(())
    }
}

/// A request to settle a payment that nobody has seen.
fn payment(payer: &Payer, recipient: &str) -> anyhow::Result<Value> {
    let amount = Amount::from(AMOUNT);
    #[expect(clippy::disallowed_methods, reason = "a payer draws its own nonce")]
    let nonce = rand::random::<[u8; 32]>();
    let payload = payer.sign(&Order::usdc(recipient, amount, SystemClock.now().seconds() + VALID_FOR, nonce))?;
    let requirements = json!({
        "scheme": "exact", "network": NETWORK, "amount": AMOUNT.to_string(), "asset": USDC, "payTo": recipient,
        "maxTimeoutSeconds": 60, "extra": {"name": USDC_NAME, "version": USDC_VERSION},
    });
    Ok(json!({
        "x402Version": 2,
        "paymentPayload": {
            "x402Version": 2, "resource": {"url": "https://example.com/weather"},
            "accepted": requirements, "payload": payload,
        },
        "paymentRequirements": requirements,
    }))
}

async fn verified(client: &reqwest::Client, facilitator: &str, request: &Value) -> anyhow::Result<()> {
    let url = format!("{}/verify", facilitator.trim_end_matches('/'));
    let answer: Value = client.post(&url).json(request).send().await?.json().await?;
    if answer["isValid"] == true {
        return Ok(());
    }
    bail!("the service does not call the payment good: {answer}")
}
