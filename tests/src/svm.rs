//! Payments on Solana, as the official clients make them.

use chains_svm::local::{LEGACY_NAME, LocalChain, NETWORK, Order, Payer, USDC};
use serde_json::{Map, Value, json};

use crate::validator::{fee_payer, payee};

/// A payment to be, with every field in reach of a test.
#[derive(Debug)]
pub struct Draft {
    /// The account that pays.
    pub payer: Payer,
    /// The order that is signed.
    pub order: Order,
}

/// Any text that was never there before.
fn new_memo() -> String {
    hex::encode(rand::random::<[u8; 16]>())
}

impl Default for Draft {
    /// One cent in the local USDC from the first payer to the usual payee.
    fn default() -> Self {
        Self::of(Payer::numbered(0))
    }
}

impl Draft {
    /// The same of another payer.
    pub fn of(payer: Payer) -> Self {
        let order = Order::new(fee_payer().address(), USDC, payee().address(), 10_000, new_memo());
        Self { payer, order }
    }

    /// Signs with the newest blockhash.
    ///
    /// # Panics
    /// If the chain does not answer.
    pub async fn payload(&self, chain: &LocalChain) -> Map<String, Value> {
        let blockhash = chain.blockhash().await.expect("a blockhash");
        self.payer.sign(&self.order, blockhash).expect("signed")
    }

    /// A signed payment's body of `/verify` and `/settle` in protocol v2.
    pub fn v2(&self, payload: &Map<String, Value>) -> Value {
        let requirements = json!({
            "scheme": "exact", "network": NETWORK, "amount": self.order.amount.to_string(),
            "asset": self.order.mint.to_string(), "payTo": self.order.pay_to.to_string(), "maxTimeoutSeconds": 60,
            "extra": {"feePayer": self.order.fee_payer.to_string()},
        });
        json!({
            "x402Version": 2,
            "paymentPayload": {"x402Version": 2, "accepted": requirements, "payload": payload},
            "paymentRequirements": requirements,
        })
    }

    /// The same in protocol v1.
    pub fn v1(&self, payload: &Map<String, Value>) -> Value {
        json!({
            "x402Version": 1,
            "paymentPayload": {"x402Version": 1, "scheme": "exact", "network": LEGACY_NAME, "payload": payload},
            "paymentRequirements": {
                "scheme": "exact", "network": LEGACY_NAME, "maxAmountRequired": self.order.amount.to_string(),
                "resource": "https://example.org/paid", "description": "", "mimeType": "application/json",
                "payTo": self.order.pay_to.to_string(), "maxTimeoutSeconds": 60,
                "asset": self.order.mint.to_string(), "extra": {"feePayer": self.order.fee_payer.to_string()},
            },
        })
    }

    /// Signs with the newest blockhash and writes the body in version 1 or 2.
    pub async fn body(&self, chain: &LocalChain, version: u8) -> Value {
        let payload = self.payload(chain).await;
        if version == 1 { self.v1(&payload) } else { self.v2(&payload) }
    }
}
