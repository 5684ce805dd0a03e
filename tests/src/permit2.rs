//! Signs payments by Permit2 and writes request bodies, as the official clients do.

use alloy::{primitives::U256, signers::local::PrivateKeySigner};
use chains_core::{Amount, Secret};
use chains_evm::local::{LocalChain, Payer, Permit2Order, PermitOrder};
use serde_json::{Value, json};

use crate::{
    anvil::{Anvil, GAS_WALLET, NETWORK, PAYEE, PAYER_KEY, USDC},
    payer::now,
};

/// Permit2.
pub const PERMIT2: &str = "0x000000000022D473030F116dDEE9F6B43aC78BA3";
/// The proxy that settles scheme `exact`.
pub const EXACT_PROXY: &str = "0x402085c248EeA27D92E8b30b2C58ed07f9E20001";
/// The proxy that settles scheme `upto`.
pub const UPTO_PROXY: &str = "0x4020A4f3b7b90ccA423B9fabCc0CE57C6C240002";

/// A payment to be, with every field in reach of a test.
#[derive(Clone, Debug)]
pub struct Permit2Draft {
    /// The account that signs.
    pub payer: Payer,
    /// `permit2Authorization.from`.
    pub from: String,
    /// The order that is signed.
    pub order: Permit2Order,
    /// The amount that the requirements ask for; `None`: the amount that is signed.
    pub amount: Option<u64>,
    /// A permit that comes along.
    pub permit: Option<PermitOrder>,
}

impl Default for Permit2Draft {
    /// One cent from the usual payer to the usual payee in scheme `exact`, valid for an hour.
    fn default() -> Self {
        let payer = Payer::with_key(&Secret::new(PAYER_KEY.to_owned())).expect("a key");
        let order = Permit2Order::usdc(PAYEE, Amount::from(10_000_u64), now() + 3600, rand::random());
        Self { from: payer.address(), payer, order, amount: None, permit: None }
    }
}

impl Permit2Draft {
    /// A draft of scheme `upto` with this ceiling, bound to the usual gas wallet.
    pub fn upto(ceiling: u64) -> Self {
        let draft = Self::default();
        let order = Permit2Order { amount: Amount::from(ceiling), ..draft.order }.upto(GAS_WALLET);
        Self { order, ..draft }
    }

    /// The draft of another payer.
    ///
    /// # Panics
    /// Never for a real key.
    #[must_use]
    pub fn of(self, key: &PrivateKeySigner) -> Self {
        let text = format!("0x{}", hex::encode(key.to_bytes()));
        let payer = Payer::with_key(&Secret::new(text)).expect("a key");
        Self { from: payer.address(), payer, ..self }
    }

    /// The same payment with another amount in the requirements.
    #[must_use]
    pub fn charged(&self, amount: u64) -> Self {
        Self { amount: Some(amount), ..self.clone() }
    }

    /// The same payment with a permit for Permit2, the payer's first one.
    #[must_use]
    pub fn with_permit(self) -> Self {
        let permit = PermitOrder::usdc(self.order.amount, 0, self.order.deadline);
        Self { permit: Some(permit), ..self }
    }

    /// Its scheme.
    pub const fn scheme(&self) -> &'static str {
        if self.order.facilitator.is_some() { "upto" } else { "exact" }
    }

    /// `paymentPayload.payload`.
    ///
    /// # Panics
    /// If an address is none.
    pub fn payload(&self) -> Value {
        Value::Object(self.payer.sign_permit2_for(&self.order, &self.from).expect("signed"))
    }

    /// Calldata by which anybody may settle it, in scheme `exact`.
    ///
    /// # Panics
    /// If an address is none.
    pub fn settle_calldata(&self) -> String {
        let payload = self.payer.sign_permit2_for(&self.order, &self.from).expect("signed");
        let data = self.order.settle_calldata(&payload, self.order.amount).expect("calldata");
        format!("0x{}", hex::encode(data))
    }

    /// Calldata by which the payer takes its nonce back.
    pub fn invalidate_calldata(&self) -> String {
        let nonce = U256::from_be_bytes(self.order.nonce);
        let (word, bit) = (nonce >> 8, U256::from(1) << (nonce & U256::from(0xff)));
        format!("0x3ff9dcb1{word:064x}{bit:064x}")
    }

    /// Calldata by which anybody may use its permit.
    ///
    /// # Panics
    /// If there is none.
    pub fn permit_calldata(&self) -> String {
        let permit = self.permit.as_ref().expect("a permit");
        let extension = self.payer.sign_permit(permit).expect("signed");
        let signature = extension["eip2612GasSponsoring"]["info"]["signature"].as_str().expect("text");
        let (r, s, v) = (&signature[2..66], &signature[66..130], &signature[130..]);
        let (owner, spender) = (&self.payer.address()[2..], &PERMIT2[2..]);
        let (amount, deadline) = (permit.amount.to_u256(), permit.deadline);
        format!("0xd505accf{owner:0>64}{spender:0>64}{amount:064x}{deadline:064x}{v:0>64}{r}{s}")
    }

    /// The body of `/verify` and `/settle` in protocol v2.
    ///
    /// # Panics
    /// If an address is none.
    pub fn body(&self) -> Value {
        let amount = self.amount.map_or(self.order.amount, Amount::from);
        let requirements = json!({
            "scheme": self.scheme(), "network": NETWORK, "amount": amount, "asset": self.order.asset,
            "payTo": self.order.pay_to, "maxTimeoutSeconds": 60,
            "extra": {"name": "USDC", "version": "2", "assetTransferMethod": "permit2"},
        });
        let extensions = self.permit.as_ref().map(|permit| self.payer.sign_permit(permit).expect("signed"));
        json!({
            "x402Version": 2,
            "paymentPayload": {
                "x402Version": 2, "accepted": requirements, "payload": self.payload(), "extensions": extensions,
            },
            "paymentRequirements": requirements,
        })
    }
}

/// Has a payer allow Permit2 to take this much of the usual token.
///
/// # Panics
/// If the chain refuses.
pub async fn allow(chain: &Anvil, payer: &str, amount: u128) {
    local(chain).allow_permit2(payer, USDC, Amount::from(amount)).await.expect("allowed");
}

/// Returns the allowance of Permit2 for a payer's usual token.
///
/// # Panics
/// If the chain does not answer.
pub async fn allowance(chain: &Anvil, payer: &str) -> Amount {
    local(chain).permit2_allowance(payer, USDC).await.expect("answered")
}

/// The chain, as the local helpers see it.
///
/// # Panics
/// If no HTTP client can be made.
pub fn local(chain: &Anvil) -> LocalChain {
    LocalChain::at(chain.node.url.clone()).expect("a client")
}
