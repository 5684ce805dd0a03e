//! The demonstration on EVM: anvil, which looks like Base Sepolia.

use std::process::Command;

use anyhow::Context as _;
use chains_core::{
    Amount,
    clock::{Clock as _, SystemClock},
};
use chains_evm::local::{LocalChain, NETWORK, Order, Payer, USDC, USDC_NAME, USDC_VERSION};
use serde_json::{Value, json};

use super::{
    PRICE,
    scene::{Node, Scene, free_port, quiet},
};

/// The gas wallet's key: the first of anvil's well-known test accounts.
const GAS_WALLET_KEY: &str = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";

/// The chain and who is on it.
pub(super) struct Evm {
    node: Node,
    chain: LocalChain,
    buyer: Payer,
    payee: String,
}

impl Evm {
    /// Starts `anvil` from PATH, or else through npm.
    pub(super) async fn start() -> anyhow::Result<Self> {
        super::step("starting a local chain (anvil)");
        let port = free_port(1)?.to_string();
        let arguments = ["--chain-id", "84532", "--block-time", "1", "--slots-in-an-epoch", "1", "--silent", "--port"];
        let mut anvil = Command::new("anvil");
        anvil.args(arguments).arg(&port);
        let mut npx = Command::new("npx");
        npx.args(["--yes", "@foundry-rs/anvil@1.7.1"]).args(arguments).arg(&port);
        let process = quiet(&mut anvil)
            .or_else(|_| quiet(&mut npx))
            .context("neither `anvil` nor `npx` is on PATH: install Foundry, or Node.js 20 or newer, and try again")?;
        let node = Node::new(process, format!("http://127.0.0.1:{port}"));
        let chain = LocalChain::at(&node.url)?;
        let node = node.until(async || chain.call("eth_chainId", json!([])).await.is_ok()).await?;
        let (buyer, payee) = (Payer::numbered(1)?, Payer::numbered(2)?.address());
        chain.prepare().await.context("the token could not be put on the local chain")?;
        chain.mint(&buyer.address(), Amount::from(1_000_000_u64)).await?;
        println!("  {NETWORK} at {}, with test USDC for the payer {}", node.url, buyer.address());
        Ok(Self { node, chain, buyer, payee })
    }
}

impl Scene for Evm {
    fn table(&self) -> String {
        format!(
            "[networks.\"{NETWORK}\"]\nrpc = [\"{}\"]\ngas_wallets = [\"{GAS_WALLET_KEY}\"]\nblock_time = \"1s\"\n",
            self.node.url
        )
    }

    fn requirements(&self, _supported: &Value) -> anyhow::Result<Value> {
        Ok(json!({
            "scheme": "exact", "network": NETWORK, "amount": PRICE.to_string(), "asset": USDC, "payTo": self.payee,
            "maxTimeoutSeconds": 60, "extra": {"name": USDC_NAME, "version": USDC_VERSION},
        }))
    }

    async fn sign(&self, accepted: &Value) -> anyhow::Result<Value> {
        let text = |key: &str| accepted[key].as_str().with_context(|| format!("the price has no {key}"));
        let value = text("amount")?.parse()?;
        let valid_before = SystemClock.now().seconds() + 60;
        #[expect(clippy::disallowed_methods, reason = "a payer draws its own nonce")]
        let nonce = rand::random::<[u8; 32]>();
        Ok(Value::Object(self.buyer.sign(&Order::usdc(text("payTo")?, value, valid_before, nonce))?))
    }

    fn payee(&self) -> String {
        self.payee.clone()
    }

    async fn payee_balance(&self) -> anyhow::Result<Amount> {
        Ok(self.chain.token_balance(&self.payee).await?)
    }
}
