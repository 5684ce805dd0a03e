//! A `solana-test-validator` whose ledger begins with the accounts of
//! `facilitator/deploy/compose/solana`.

use anyhow::{Context as _, ensure};
use chains_svm::local::{LocalChain, NETWORK, Order, Payer, Pubkey, USDC};
use serde_json::{Value, json};

use super::{AMOUNT, Local, MINTED};

/// Coin of each fee payer, in lamports: one whole.
const COIN: u64 = 1_000_000_000;

pub(super) struct Svm {
    chain: LocalChain,
    fee_payers: Vec<String>,
    buyer: Payer,
    payee: Pubkey,
}

impl Svm {
    pub(super) fn at(url: &str, fee_payers: Vec<String>) -> Self {
        Self { chain: LocalChain::at(url), fee_payers, buyer: Payer::numbered(2), payee: Payer::numbered(3).address() }
    }
}

impl Local for Svm {
    const NETWORK: &'static str = NETWORK;
    const VALID_FOR: &'static str = "about a minute";

    async fn prepare(&self) -> anyhow::Result<()> {
        ensure!(self.chain.is_up().await, "the validator at {} has no final block yet", self.chain.url());
        for fee_payer in &self.fee_payers {
            let fee_payer = fee_payer.parse()?;
            if self.chain.coin_balance(&fee_payer).await? < COIN {
                self.chain.fund(&fee_payer, COIN).await?;
            }
        }
        let minted = async |owner: &Pubkey, amount| {
            let done = self.chain.mint(owner, &USDC, amount).await;
            done.context("no test USDC: the ledger has to begin with the accounts of facilitator/deploy/compose/solana")
        };
        minted(&self.payee, 0).await?;
        minted(&self.buyer.address(), MINTED).await
    }

    async fn payment(&self) -> anyhow::Result<(Value, Value)> {
        let fee_payer = self.fee_payers.first().context("the configuration names no fee payer")?;
        let memo = uuid::Uuid::now_v7().simple().to_string();
        let order = Order::new(fee_payer.parse()?, USDC, self.payee, AMOUNT, memo);
        let payload = self.buyer.sign(&order, self.chain.blockhash().await?)?;
        let requirements = json!({
            "scheme": "exact", "network": NETWORK, "amount": AMOUNT.to_string(), "asset": USDC.to_string(),
            "payTo": self.payee.to_string(), "maxTimeoutSeconds": 60, "extra": {"feePayer": fee_payer},
        });
        Ok((requirements, Value::Object(payload)))
    }

    fn payer(&self) -> String {
        self.buyer.address().to_string()
    }
}
