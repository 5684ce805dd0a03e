//! `exact` on the fake chain.

use std::sync::Arc;

use async_trait::async_trait;
use chains_core::{
    Amount, Code, Fingerprint, Identity, Network, Payment, Rejection,
    chain::{ChainUnavailable, PlannedTransaction},
    reason,
    scheme::{Authorization, Funds, Purpose, Scheme, Verdict, VerifiedPayment},
};
use serde_json::Value;

use crate::world::{Transfer, World};

/// The signature does not read `signed by <from>`.
pub const INVALID_SIGNATURE: Code = Code::new("invalid_exact_fake_signature");
/// The payer's nonce is used.
pub const NONCE_USED: Code = Code::new("invalid_exact_fake_nonce_already_used");

/// The scheme over one world.
pub struct Exact {
    /// The network that it is on.
    pub network: Network,
    /// The chain.
    pub world: Arc<World>,
}

struct Signed {
    network: Network,
    world: Arc<World>,
    transfer: Transfer,
    signature: String,
}

impl Scheme for Exact {
    fn name(&self) -> &'static str {
        "exact"
    }

    fn read(&self, payment: &Payment) -> Result<Box<dyn Authorization>, Rejection> {
        let text = |key: &str| payment.payload.get(key).and_then(Value::as_str).map(str::to_owned);
        let malformed = || Rejection::new(reason::INVALID_PAYLOAD, "from, nonce and signature must be strings");
        let value = u64::try_from(payment.amount.to_u256())
            .map_err(|_| Rejection::new(reason::INVALID_PAYMENT_REQUIREMENTS, "the amount is too large"))?;
        let transfer = Transfer {
            from: text("from").ok_or_else(malformed)?,
            to: payment.pay_to.clone(),
            value,
            nonce: text("nonce").ok_or_else(malformed)?,
        };
        let signature = text("signature").ok_or_else(malformed)?;
        Ok(Box::new(Signed { network: self.network.clone(), world: Arc::clone(&self.world), transfer, signature }))
    }
}

#[async_trait]
impl Authorization for Signed {
    fn payer(&self) -> &str {
        &self.transfer.from
    }

    fn identity(&self) -> Identity {
        let Transfer { from, nonce, .. } = &self.transfer;
        Identity::of("fake", &[self.network.as_str().as_bytes(), from.as_bytes(), nonce.as_bytes()])
    }

    fn fingerprint(&self) -> Fingerprint {
        let Transfer { from, to, value, nonce } = &self.transfer;
        let value = value.to_be_bytes();
        let parts = [from.as_bytes(), to.as_bytes(), &value, nonce.as_bytes(), self.signature.as_bytes()];
        Fingerprint::of("fake", &parts)
    }

    fn nonce(&self) -> &str {
        &self.transfer.nonce
    }

    async fn verify(&self, _purpose: Purpose) -> Verdict {
        let Transfer { from, value, nonce, .. } = &self.transfer;
        if self.signature != format!("signed by {from}") {
            return Verdict::Invalid(Rejection::new(INVALID_SIGNATURE, "not signed by the payer"));
        }
        if self.world.is_broken() {
            let detail = "the world is broken".to_owned();
            return Verdict::Unavailable(ChainUnavailable { network: self.network.clone(), detail });
        }
        if self.world.is_used(from, nonce) {
            return Verdict::Invalid(Rejection::new(NONCE_USED, "the nonce is used"));
        }
        let balance = self.world.balance(from);
        if balance < *value {
            return Verdict::Invalid(Rejection::new(reason::INSUFFICIENT_FUNDS, "the payer has too little"));
        }
        let body = serde_json::to_string(&self.transfer).unwrap_or_else(|_| unreachable!("texts and numbers"));
        let plan = PlannedTransaction { gas_wallet: None, body, valid_before: None };
        let funds = Funds { account: format!("{}/{from}", self.network), available: Amount::from(balance) };
        let (amount, nothing_to_send) = (Amount::from(*value), *value == 0);
        Verdict::Valid(VerifiedPayment { amount, plan, nothing_to_send, funds: Some(funds) })
    }
}
