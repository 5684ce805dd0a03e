//! The demonstration on Solana: a validator that looks like devnet.

use std::process::Command;

use anyhow::Context as _;
use chains_core::Amount;
use chains_svm::local::{Genesis, LocalChain, NETWORK, Order, Payer, USDC};
use serde_json::{Value, json};

use super::{
    PRICE,
    scene::{Folder, Node, Scene, free_port, quiet},
};

/// Ports that the validator uses, in a row.
const PORTS: u16 = 40;

/// The fee payer's first balance: one SOL.
const COINS: u64 = 1_000_000_000;

/// The chain and who is on it.
pub(super) struct Svm {
    node: Node,
    websocket: String,
    chain: LocalChain,
    fee_payer: Payer,
    buyer: Payer,
    payee: Payer,
}

impl Svm {
    /// Starts `solana-test-validator` from PATH.
    pub(super) async fn start(folder: &Folder) -> anyhow::Result<Self> {
        super::step("starting a local chain (solana-test-validator)");
        let (fee_payer, buyer, payee) = (Payer::numbered(1), Payer::numbered(2), Payer::numbered(3));
        let accounts = folder.path().join("accounts");
        std::fs::create_dir(&accounts)?;
        let mut genesis = Genesis::default();
        genesis.coins(&fee_payer.address(), COINS);
        genesis.tokens(&buyer.address(), &USDC, 1_000_000);
        genesis.tokens(&payee.address(), &USDC, 0);
        genesis.write(&accounts)?;
        let port = free_port(PORTS)?;
        let mut validator = Command::new("solana-test-validator");
        // From slot 1 on, as it drops transactions of version 0 in the genesis slot's bank.
        validator.args(["--quiet", "--reset", "--warp-slot", "1", "--ledger"]).arg(folder.path().join("ledger"));
        validator.arg("--account-dir").arg(&accounts);
        validator.args(["--rpc-port", &port.to_string(), "--faucet-port", &(port + 2).to_string()]);
        validator.args(["--gossip-port", &(port + 3).to_string()]);
        validator.args(["--dynamic-port-range", &format!("{}-{}", port + 4, port + PORTS)]);
        let process = quiet(&mut validator)
            .context("`solana-test-validator` is not on PATH: install the Agave tools, and try again")?;
        let node = Node::new(process, format!("http://127.0.0.1:{port}"));
        let chain = LocalChain::at(node.url.clone());
        let node = node.until(async || chain.is_up().await).await?;
        println!("  {NETWORK} at {}, with test USDC for the payer {}", node.url, buyer.address());
        let websocket = format!("ws://127.0.0.1:{}", port + 1);
        Ok(Self { node, websocket, chain, fee_payer, buyer, payee })
    }
}

impl Scene for Svm {
    fn table(&self) -> String {
        format!(
            "[networks.\"{NETWORK}\"]\nrpc = [\"{}\"]\nwebsocket = \"{}\"\nfee_payers = [\"{}\"]\n\
             allow_genesis_mismatch = true\n",
            self.node.url,
            self.websocket,
            self.fee_payer.secret().expose()
        )
    }

    fn requirements(&self, supported: &Value) -> anyhow::Result<Value> {
        let mut kinds = supported["kinds"].as_array().into_iter().flatten();
        let fee_payer = kinds.find_map(|kind| kind["extra"]["feePayer"].as_str());
        let fee_payer = fee_payer.context("the facilitator announces no fee payer")?;
        Ok(json!({
            "scheme": "exact", "network": NETWORK, "amount": PRICE.to_string(), "asset": USDC.to_string(),
            "payTo": self.payee(), "maxTimeoutSeconds": 60, "extra": {"feePayer": fee_payer},
        }))
    }

    async fn sign(&self, accepted: &Value) -> anyhow::Result<Value> {
        let text = |key: &Value| key.as_str().map(str::to_owned).context("the price is not complete");
        let fee_payer = text(&accepted["extra"]["feePayer"])?.parse()?;
        let (pay_to, amount) = (text(&accepted["payTo"])?.parse()?, text(&accepted["amount"])?.parse()?);
        let memo = uuid::Uuid::now_v7().simple().to_string();
        let order = Order::new(fee_payer, USDC, pay_to, amount, memo);
        Ok(Value::Object(self.buyer.sign(&order, self.chain.blockhash().await?)?))
    }

    fn payee(&self) -> String {
        self.payee.address().to_string()
    }

    async fn payee_balance(&self) -> anyhow::Result<Amount> {
        Ok(Amount::from(self.chain.token_balance(&self.payee.address(), &USDC).await?))
    }
}
