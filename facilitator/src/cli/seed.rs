//! `seed`: a local chain that stands beside the service gets test money, and a
//! payment is made ready that one command settles, or is settled at once.

mod evm;
mod svm;

use std::{process::ExitCode, time::Duration};

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use serde_json::{Value, json};

use self::{evm::Evm, svm::Svm};
use super::ConfigFile;
use crate::config::Environment;

/// Puts test USDC on a local chain, gives the service's gas wallets money, and prints a payment to settle.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  anvil --chain-id 84532 --block-time 1
  facilitator seed
  facilitator seed --settle
  facilitator seed --rpc http://anvil:8545 --facilitator http://proxy:8402 --say http://127.0.0.1:8402
  facilitator seed --solana-rpc http://solana:8899 --settle

The gas wallets are those of the service's own configuration. Works on chains that can be told what they hold: one of Ethereum's kind that poses as Base Sepolia, such as anvil, and a solana-test-validator that poses as devnet, with the accounts of facilitator/deploy/compose/solana. Those that the configuration serves are seeded.

Exit codes: 0 the service is ready and the payments are good, and settled if that was asked for; 1 not so; 64 mistakes in the configuration.")]
pub(super) struct Seed {
    #[command(flatten)]
    config: ConfigFile,
    /// The chain of Ethereum's kind.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8545")]
    rpc: String,
    /// The validator of Solana.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8899")]
    solana_rpc: String,
    /// The service.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8402")]
    facilitator: String,
    /// The service as whoever settles the payment reaches it, where that is another address.
    #[arg(long, value_name = "URL", conflicts_with = "settle")]
    say: Option<String>,
    /// Settles the payments as well.
    #[arg(long)]
    settle: bool,
    /// The time to wait for a chain and for the service.
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = humantime::parse_duration)]
    wait: Duration,
    /// One JSON object: of each payment the network, and the address to ask with the body of the request, or the transaction.
    #[arg(long)]
    json: bool,
}

/// The payment's amount in atomic units: one cent.
const AMOUNT: u64 = 10_000;

/// The buyer's money in atomic units: a thousand payments.
const MINTED: u64 = 10_000_000;

/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(250);

/// A local chain, with a buyer who has test USDC.
trait Local {
    /// Its CAIP-2 identifier: that of the network as which it poses.
    const NETWORK: &'static str;

    /// The time for which a payment on it can be settled, as a person says it.
    const VALID_FOR: &'static str;

    /// Puts the test money on it, and gives the service's gas wallets coin.
    async fn prepare(&self) -> anyhow::Result<()>;

    /// The requirements and the payload of a payment that nobody has seen.
    async fn payment(&self) -> anyhow::Result<(Value, Value)>;

    /// The buyer.
    fn payer(&self) -> String;
}

impl Seed {
    pub(super) async fn run(self, environment: &Environment) -> anyhow::Result<ExitCode> {
        let config = self.config.load(environment)?;
        let wallets = |network: &str| {
            let served = config.chains.iter().find(|chain| chain.network().as_str() == network)?;
            Some(served.gas_wallets().to_vec())
        };
        let (evm, svm) = (wallets(Evm::NETWORK), wallets(Svm::NETWORK));
        ensure!(
            evm.is_some() || svm.is_some(),
            "the configuration serves neither [networks.\"{}\"] nor [networks.\"{}\"], as which local chains pose: add one",
            Evm::NETWORK,
            Svm::NETWORK
        );
        let mut payments = Vec::new();
        if let Some(wallets) = evm {
            payments.push(self.seed(&Evm::at(&self.rpc, wallets)?).await?);
        }
        if let Some(wallets) = svm {
            payments.push(self.seed(&Svm::at(&self.solana_rpc, wallets)).await?);
        }
        if self.json {
            println!("{}", serde_json::to_string_pretty(&json!({"payments": payments}))?);
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Seeds one chain; returns its payment, as `--json` shows it.
    async fn seed<L: Local>(&self, chain: &L) -> anyhow::Result<Value> {
        self.until(async || chain.prepare().await).await?;
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_mins(1)).build()?;
        let request = self.until(async || good(&client, &self.facilitator, body(chain.payment().await?)).await).await?;
        let (network, payee) = (L::NETWORK, &request["paymentRequirements"]["payTo"]);
        let parties = format!("from {} to {}", chain.payer(), payee.as_str().unwrap_or_default());
        if self.settle {
            let answer =
                self.until(async || settled(&client, &self.facilitator, body(chain.payment().await?)).await).await?;
            ensure!(answer["success"] == true, "the service did not settle the payment on {network}: {answer}");
            let transaction = answer["transaction"].as_str().unwrap_or_default();
            self.tell(&format!("{network}: 0.01 USDC went {parties} by transaction {transaction}"));
            return Ok(json!({"network": network, "transaction": transaction}));
        }
        let url = format!("{}/settle", self.say.as_ref().unwrap_or(&self.facilitator).trim_end_matches('/'));
        self.tell(&format!(
            "{network} has test USDC. This settles a payment of 0.01 USDC {parties}, for {}:\n\n\
             curl --silent --show-error --header 'content-type: application/json' {url} --data '{request}'\n",
            L::VALID_FOR
        ));
        Ok(json!({"network": network, "url": url, "body": request}))
    }

    /// Says it to a person.
    fn tell(&self, text: &str) {
        if !self.json {
            println!("{text}");
        }
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
}

/// The body of a request.
fn body((requirements, payload): (Value, Value)) -> Value {
    json!({
        "x402Version": 2,
        "paymentPayload": {
            "x402Version": 2, "resource": {"url": "https://example.com/weather"},
            "accepted": requirements, "payload": payload,
        },
        "paymentRequirements": requirements,
    })
}

/// Returns a request that the service calls good.
async fn good(client: &reqwest::Client, facilitator: &str, request: Value) -> anyhow::Result<Value> {
    let (_, answer) = post(client, facilitator, "verify", &request).await?;
    if answer["isValid"] == true {
        return Ok(request);
    }
    bail!("the service does not call the payment good: {answer}")
}

/// Returns the service's answer, unless it takes no payments yet: its gas wallets have just got their money.
async fn settled(client: &reqwest::Client, facilitator: &str, request: Value) -> anyhow::Result<Value> {
    let (is_unavailable, answer) = post(client, facilitator, "settle", &request).await?;
    ensure!(!is_unavailable, "the service takes no payments: {answer}");
    Ok(answer)
}

/// Returns whether the service could do nothing, and what it said.
async fn post(client: &reqwest::Client, facilitator: &str, path: &str, body: &Value) -> anyhow::Result<(bool, Value)> {
    let url = format!("{}/{path}", facilitator.trim_end_matches('/'));
    let answer = client.post(&url).json(body).send().await?;
    let is_unavailable = answer.status().is_server_error();
    Ok((is_unavailable, answer.json().await.context("the service answers without JSON")?))
}
