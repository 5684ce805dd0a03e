//! A payment of scheme `exact`: read, evaluated, and looked at on chain.

use std::{sync::Arc, time::Instant};

use async_trait::async_trait;
use chains_core::{
    Fingerprint, Identity, Payment, Rejection,
    reason::INVALID_PAYLOAD,
    scheme::{Authorization, Occasion, Scheme, Verdict, VerifiedPayment},
};
use serde_json::Value;
use solana_sdk::{pubkey::Pubkey, signature::SIGNATURE_BYTES};

use super::{
    NAME,
    requirements::Requirements,
    rules::{self, Evaluated, Policy},
    smart_wallet,
    transaction::Transaction,
    verification::{Claim, Refusal, Verification},
};
use crate::{
    compute_budget::{ComputeBudget, Limits, share_of},
    context::Context,
    reason,
};

/// Scheme `exact` on one cluster.
pub(crate) struct Exact {
    context: Arc<Context>,
}

impl Exact {
    pub fn new(context: Arc<Context>) -> Self {
        Self { context }
    }
}

impl Scheme for Exact {
    fn name(&self) -> &'static str {
        NAME
    }

    fn read(&self, payment: &Payment) -> Result<Box<dyn Authorization>, Rejection> {
        let Context { config, wallets, .. } = &*self.context;
        let requirements = Requirements::read(payment)?;
        let fee_payer = requirements.check_names(&config.network, wallets.addresses())?;
        let text = payment.payload.get("transaction").and_then(Value::as_str);
        let text = text.ok_or_else(|| Rejection::new(INVALID_PAYLOAD, "`payload.transaction` must be a string"))?;
        let transaction = Transaction::decode(text)?;
        let claim = claim(&self.context, &transaction, &requirements, fee_payer);
        let payer = payer(&transaction, claim.as_ref().ok());
        let fingerprint = fingerprint(&requirements, fee_payer, &transaction);
        let nonce = hex::encode(transaction.message_hash());
        let context = Arc::clone(&self.context);
        Ok(Box::new(Transfer { context, transaction, requirements, claim, payer, fingerprint, nonce }))
    }
}

/// Everything that needs no chain.
fn claim(
    context: &Context,
    transaction: &Transaction,
    requirements: &Requirements,
    fee_payer: Pubkey,
) -> Result<Claim, Rejection> {
    let programs = &context.config.smart_wallets;
    match evaluate(context, transaction, requirements, fee_payer) {
        Ok(evaluated) => {
            check_share(context, transaction, requirements, evaluated.budget)
                .map_err(|message| Rejection::new(reason::COMPUTE_PRICE_TOO_HIGH, message))?;
            Ok(Claim::Direct(evaluated))
        }
        Err(refused) if programs.is_empty() || !smart_wallet::may_be_wallet(refused.code) => Err(refused),
        Err(_) => {
            let limits = smart_wallet::default_limits();
            let limits = Limits {
                units_max: limits.units_max.min(context.config.limits.units_max),
                unit_price_max: limits.unit_price_max.min(context.config.limits.unit_price_max),
                fee_max: context.config.limits.fee_max,
            };
            let policy = smart_wallet::Policy { ours: context.wallets.addresses(), programs, limits };
            let simulatable = smart_wallet::check(transaction, requirements, fee_payer, policy)?;
            check_share(context, transaction, requirements, simulatable.budget)
                .map_err(|message| Rejection::new(reason::WALLET_PRIORITY_FEE_TOO_HIGH, message))?;
            Ok(Claim::Wallet(simulatable))
        }
    }
}

/// Checks the fee against the amount, where the operator has said what a token is worth in fees; the error is the
/// message.
fn check_share(
    context: &Context,
    transaction: &Transaction,
    requirements: &Requirements,
    budget: ComputeBudget,
) -> Result<(), String> {
    let config = &context.config;
    let decimals = config.assets.iter().find(|asset| asset.mint == requirements.asset).map(|asset| asset.decimals);
    let (Some(per_token), Some(decimals)) = (config.fee_per_token_max, decimals) else { return Ok(()) };
    let signatures = transaction.signers().len();
    let always = ComputeBudget { unit_price: budget.unit_price.min(config.unit_price_floor), ..budget };
    let share = share_of(requirements.amount, decimals, per_token);
    let (asked, allowed) = (budget.fee(signatures), always.fee(signatures).saturating_add(share));
    if asked <= allowed {
        return Ok(());
    }
    Err(format!("the fee would be {asked} lamports: for this amount at most {allowed} are paid"))
}

/// The transfer's authority. A wallet's is known only after the simulation:
/// until then, who signs for it.
fn payer(transaction: &Transaction, claim: Option<&Claim>) -> String {
    let payer = match claim {
        Some(Claim::Direct(evaluated)) => Some(&evaluated.transfer.authority),
        Some(Claim::Wallet(_)) => transaction.signers().get(1),
        None => transaction.payer(),
    };
    payer.map(ToString::to_string).unwrap_or_default()
}

/// The usual layout.
fn evaluate(
    context: &Context,
    transaction: &Transaction,
    requirements: &Requirements,
    fee_payer: Pubkey,
) -> Result<Evaluated, Rejection> {
    let config = &context.config;
    requirements.check_requirements(&config.assets)?;
    let lone = config.lone_transfer_fee_max;
    let policy = Policy {
        ours: context.wallets.addresses(),
        limits: config.limits,
        without_compute_budget: lone.is_some(),
        associated: &context.associated,
    };
    let evaluated = rules::evaluate(transaction, requirements, fee_payer, policy)?;
    if evaluated.budget.unit_price == 0 && lone.is_some_and(|max| evaluated.fee > max) {
        let message = format!("the fee would be {} lamports, more than such a transfer may cost", evaluated.fee);
        return Err(Rejection::new(reason::COMPUTE_PRICE_TOO_HIGH, message));
    }
    Ok(evaluated)
}

/// A hash of all that decides the answer: the requirements, the message, and the payer's signature.
fn fingerprint(requirements: &Requirements, fee_payer: Pubkey, transaction: &Transaction) -> Fingerprint {
    let parts: [&[u8]; 6] = [
        requirements.asset.as_ref(),
        requirements.pay_to.as_ref(),
        &requirements.amount.to_be_bytes(),
        fee_payer.as_ref(),
        requirements.memo.as_deref().unwrap_or_default().as_bytes(),
        after_our_signature(transaction.wire()),
    ];
    Fingerprint::of("svm", &parts)
}

/// The payer's signature and the message; what stands in the place of ours means nothing.
fn after_our_signature(wire: &[u8]) -> &[u8] {
    wire.get(1 + SIGNATURE_BYTES..).unwrap_or_default()
}

/// One transfer that the payer has signed.
struct Transfer {
    context: Arc<Context>,
    transaction: Transaction,
    requirements: Requirements,
    claim: Result<Claim, Rejection>,
    payer: String,
    fingerprint: Fingerprint,
    nonce: String,
}

#[async_trait]
impl Authorization for Transfer {
    fn payer(&self) -> &str {
        &self.payer
    }

    fn identity(&self) -> Identity {
        self.transaction.identity(&self.context.config.network)
    }

    fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// The payer draws none: what makes the transaction one of its kind is its message.
    fn nonce(&self) -> &str {
        &self.nonce
    }

    async fn verify(&self, occasion: Occasion) -> Verdict {
        let claim = match &self.claim {
            Ok(claim) => claim,
            Err(rejection) => return Verdict::Invalid(rejection.clone()),
        };
        let refused = &self.context.refused;
        if let Some(rejection) = refused.get(self.transaction.message_hash(), Instant::now()) {
            return Verdict::Invalid(rejection);
        }
        let looked = match (claim, self.remembered(occasion)) {
            (Claim::Direct(evaluated), Some(payment)) if !self.has_failed(evaluated) => {
                self.look_again(evaluated, payment).await
            }
            _ => self.verification().look(claim, occasion).await,
        };
        match looked {
            Ok(payment) => {
                self.remember(occasion, claim, &payment);
                Verdict::Valid(payment)
            }
            Err(Refusal::Lasting(rejection)) => {
                refused.keep(*self.transaction.message_hash(), rejection.clone(), Instant::now());
                Verdict::Invalid(rejection)
            }
            Err(Refusal::Brief(rejection)) => Verdict::Invalid(rejection),
            Err(Refusal::Unavailable(error)) => Verdict::Unavailable(error),
        }
    }
}

impl Transfer {
    fn verification(&self) -> Verification<'_> {
        let Self { context, transaction, requirements, .. } = self;
        Verification { context, transaction, requirements }
    }

    /// Keeps what a verify found for the settle that may follow in the same
    /// slot. What a wallet's program does is simulated each time.
    fn remember(&self, occasion: Occasion, claim: &Claim, payment: &VerifiedPayment) {
        let Context { blocks, verified, .. } = &*self.context;
        if let (Occasion::Verify, Claim::Direct(_), Some(newest)) = (occasion, claim, blocks.newest()) {
            verified.keep(self.fingerprint, (newest.slot, payment.clone()), Instant::now());
        }
    }

    /// The finding of a verify in this very slot, once.
    fn remembered(&self, occasion: Occasion) -> Option<VerifiedPayment> {
        let Context { blocks, verified, .. } = &*self.context;
        if occasion == Occasion::Verify {
            return None;
        }
        let (slot, payment) = verified.take(&self.fingerprint, Instant::now())?;
        let newest = blocks.newest()?;
        (newest.slot == slot).then_some(payment)
    }

    /// Returns whether a transaction of this payer has failed on chain: then
    /// what was found a moment ago is found anew, in full.
    fn has_failed(&self, evaluated: &Evaluated) -> bool {
        self.context.failed.get(&evaluated.transfer.authority, Instant::now()).is_some()
    }

    /// The token accounts of a payment that a verify has just found good.
    async fn look_again(&self, evaluated: &Evaluated, payment: VerifiedPayment) -> Result<VerifiedPayment, Refusal> {
        let verification = self.verification();
        let (available, _) = verification.available(evaluated).await?;
        Ok(VerifiedPayment { funds: Some(verification.funds(&evaluated.transfer, available)), ..payment })
    }
}

#[cfg(test)]
mod tests;
