//! `exact` on the fake chain.
//!
//! The payload is `{"from", "nonce", "signature"}`, and may have more:
//!
//! | member | makes |
//! |---|---|
//! | `validBefore` (number) | a transfer that is void from that chain time on |
//! | `approveFirst` (true) | a settlement of two steps |
//! | `gasWallet` (text) | a plan that only this gas wallet can send |
//! | `code` (text) | a payer whose signature that code decides about |

use std::sync::Arc;

use async_trait::async_trait;
use chains_core::{
    Amount, Code, Fingerprint, Identity, Network, Payment, Rejection,
    chain::ChainUnavailable,
    observation::Recheck,
    reason,
    scheme::{Authorization, Funds, Occasion, Scheme, Verdict, VerifiedPayment},
};
use serde_json::Value;

use crate::{
    action::{Action, Transfer},
    world::World,
};

/// The signature does not read `signed by <from>`.
pub const INVALID_SIGNATURE: Code = Code::new("invalid_exact_fake_signature");
/// The payer's nonce is used.
pub const NONCE_USED: Code = Code::versions("fake_nonce_used", "invalid_exact_fake_nonce_already_used");
/// The chain's time has reached `validBefore`.
pub const EXPIRED: Code = Code::new("invalid_exact_fake_valid_before");

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
    action: Action,
    signature: String,
    gas_wallet: Option<String>,
    code: Option<String>,
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
            valid_before: payment.payload.get("validBefore").and_then(Value::as_u64),
        };
        let signature = text("signature").ok_or_else(malformed)?;
        let approve_first = payment.payload.get("approveFirst").and_then(Value::as_bool) == Some(true);
        let action = if approve_first { Action::Approve(transfer) } else { Action::Transfer(transfer) };
        let (network, world) = (self.network.clone(), Arc::clone(&self.world));
        let (gas_wallet, code) = (text("gasWallet"), text("code"));
        Ok(Box::new(Signed { network, world, action, signature, gas_wallet, code }))
    }
}

/// Checks that a transfer would succeed in the next block.
pub(crate) fn check(world: &World, transfer: &Transfer) -> Recheck {
    let Transfer { from, value, nonce, valid_before, .. } = transfer;
    if world.is_broken() {
        return Recheck::Unknown("the world is broken".to_owned());
    }
    if world.is_used(from, nonce) {
        return Recheck::Bad(Rejection::new(NONCE_USED, "the nonce is used"));
    }
    let next_time = world.block(world.height()).map_or(0, |block| block.timestamp).saturating_add(1);
    if valid_before.is_some_and(|end| next_time >= end) {
        return Recheck::Bad(Rejection::new(EXPIRED, "the payment is valid no longer"));
    }
    if world.balance(from) < *value {
        return Recheck::Bad(Rejection::new(reason::INSUFFICIENT_FUNDS, "the payer has too little"));
    }
    Recheck::Good
}

#[async_trait]
impl Authorization for Signed {
    fn payer(&self) -> &str {
        &self.action.transfer().from
    }

    fn identity(&self) -> Identity {
        let Transfer { from, nonce, .. } = self.action.transfer();
        Identity::of("fake", &[self.network.as_str().as_bytes(), from.as_bytes(), nonce.as_bytes()])
    }

    fn fingerprint(&self) -> Fingerprint {
        let Transfer { from, to, value, nonce, .. } = self.action.transfer();
        let value = value.to_be_bytes();
        let parts = [from.as_bytes(), to.as_bytes(), &value, nonce.as_bytes(), self.signature.as_bytes()];
        Fingerprint::of("fake", &parts)
    }

    fn nonce(&self) -> &str {
        &self.action.transfer().nonce
    }

    async fn verify(&self, _: Occasion) -> Verdict {
        let transfer = self.action.transfer();
        let Transfer { from, value, .. } = transfer;
        if self.signature != format!("signed by {from}") {
            return Verdict::Invalid(Rejection::new(INVALID_SIGNATURE, "not signed by the payer"));
        }
        let unavailable = |detail| Verdict::Unavailable(ChainUnavailable { network: self.network.clone(), detail });
        match check(&self.world, transfer) {
            Recheck::Bad(rejection) => return Verdict::Invalid(rejection),
            Recheck::Unknown(detail) => return unavailable(detail),
            Recheck::Good => {}
        }
        let plan = match self.action.plan(self.gas_wallet.clone()) {
            Ok(plan) => plan,
            Err(error) => return unavailable(error.to_string()),
        };
        let available = Amount::from(self.world.balance(from));
        Verdict::Valid(VerifiedPayment {
            payer: from.clone(),
            amount: Amount::from(*value),
            plan,
            nothing_to_send: *value == 0,
            funds: Some(Funds { account: format!("{}/{from}", self.network), available }),
            payer_code: self.code.clone(),
        })
    }
}
