//! A chain of Ethereum's kind that can be told what it holds, as anvil.

use anyhow::Context as _;
use chains_core::{
    Amount,
    clock::{Clock as _, SystemClock},
};
use chains_evm::local::{LocalChain, NETWORK, Order, Payer, USDC, USDC_NAME, USDC_VERSION};
use serde_json::{Value, json};

use super::{AMOUNT, Local, MINTED};

/// Coin of each gas wallet, in wei: one whole.
const COIN: u128 = 1_000_000_000_000_000_000;

/// The payment can be settled for so long, in seconds.
const VALID_FOR: u64 = 24 * 3600;

pub(super) struct Evm {
    chain: LocalChain,
    gas_wallets: Vec<String>,
    buyer: Payer,
    payee: String,
}

impl Evm {
    pub(super) fn at(url: &str, gas_wallets: Vec<String>) -> anyhow::Result<Self> {
        let (buyer, payee) = (Payer::numbered(1)?, Payer::numbered(2)?.address());
        Ok(Self { chain: LocalChain::at(url)?, gas_wallets, buyer, payee })
    }
}

impl Local for Evm {
    const NETWORK: &'static str = NETWORK;
    const VALID_FOR: &'static str = "a day";

    async fn prepare(&self) -> anyhow::Result<()> {
        self.chain.prepare().await.context("the token could not be put on the chain")?;
        self.chain.mint(&self.buyer.address(), Amount::from(MINTED)).await?;
        for wallet in &self.gas_wallets {
            self.chain.fund(wallet, COIN).await?;
        }
        Ok(())
    }

    async fn payment(&self) -> anyhow::Result<(Value, Value)> {
        #[expect(clippy::disallowed_methods, reason = "a payer draws its own nonce")]
        let nonce = rand::random::<[u8; 32]>();
        let order = Order::usdc(&self.payee, Amount::from(AMOUNT), SystemClock.now().seconds() + VALID_FOR, nonce);
        let requirements = json!({
            "scheme": "exact", "network": NETWORK, "amount": AMOUNT.to_string(), "asset": USDC, "payTo": self.payee,
            "maxTimeoutSeconds": 60, "extra": {"name": USDC_NAME, "version": USDC_VERSION},
        });
        Ok((requirements, Value::Object(self.buyer.sign(&order)?)))
    }

    fn payer(&self) -> String {
        self.buyer.address()
    }
}
