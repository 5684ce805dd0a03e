//! A payment by Permit2 in scheme `exact` or `upto`: named, verified, planned.

use std::{sync::Arc, time::Instant};

use alloy::primitives::{Address, B256, Bytes, U256};
use async_trait::async_trait;
use chains_core::{
    Fingerprint, Identity, Payment, Rejection,
    chain::ChainUnavailable,
    reason::{INVALID_PAYLOAD, UNSUPPORTED_PAYLOAD_TYPE},
    scheme::{Authorization, Occasion, Verdict, VerifiedPayment},
    transaction::Plan,
};

use super::{
    abi::{self, Settle},
    evaluation::{Question, evaluate},
    permit::{Permit, Witness},
    sponsor_payload::{self, SponsorPayload},
};
use crate::{
    call_batcher::{
        SignatureAnswer,
        permit2::{Item, Record},
    },
    config::Asset,
    context::Context,
    extension::{
        builder_code::Suffix,
        sponsoring::{
            eip2612::Permit2612,
            erc20_approval::{Approval, ApprovalTransaction},
            sponsorship::Sponsorship,
        },
    },
    parse::Fields,
    payer_code::payer_code,
    reason,
    scheme::{
        exact,
        requirements::{self, Requirements},
        upto,
        verify_error::VerifyError,
    },
    signature::Signature,
    tx::plan::{Method, Transfer, TransferPlan},
};

/// A payment as read, not yet believed.
pub(crate) struct Permit2Payment {
    context: Arc<Context>,
    requirements: Requirements,
    permit: Permit,
    signature: Signature,
    /// The permit or approval that is taken to the chain too, or its fault.
    sponsor_payload: Result<SponsorPayload<Permit2612, Approval>, Rejection>,
    suffix: Suffix,
    payer: String,
    nonce: String,
    fingerprint: Fingerprint,
}

/// The form in which a settlement is put to the chain.
#[derive(Clone, Copy)]
struct Asked<'a> {
    /// The hash that was to be signed.
    hash: B256,
    /// The signature, as Permit2 is to see it.
    signature: &'a Bytes,
    /// True when the payer is expected to have code, which may use more gas.
    has_code: bool,
}

/// A settlement as it would be sent, and what the chain says of it.
struct Simulated {
    item: Item,
    record: Record,
    with_permit: bool,
}

impl Permit2Payment {
    /// Reads a payload with `permit2Authorization` for scheme `exact`.
    pub fn exact(context: Arc<Context>, payment: &Payment) -> Result<Self, Rejection> {
        Self::read(context, payment, Permit::exact)
    }

    /// The same for scheme `upto`.
    pub fn upto(context: Arc<Context>, payment: &Payment) -> Result<Self, Rejection> {
        Self::read(context, payment, Permit::upto)
    }

    fn read(
        context: Arc<Context>,
        payment: &Payment,
        permit: impl FnOnce(&Fields<'_>) -> Result<Permit, Rejection>,
    ) -> Result<Self, Rejection> {
        let requirements = Requirements::read(payment)?;
        let payload = Fields::new("", &payment.payload);
        let permit = permit(&payload)?;
        let signature =
            Signature::parse(payload.text("signature")?).map_err(|message| Rejection::new(INVALID_PAYLOAD, message))?;
        let sponsor_payload = sponsor_payload::read(&context, &requirements, payment);
        let fingerprint =
            sponsor_payload::fingerprint(context.config.chain_id, &requirements, &permit, &signature, &sponsor_payload);
        let (payer, nonce) = (permit.from.to_checksum(None), permit.nonce.to_string());
        let suffix = context.config.builder_codes.suffix(&payment.extensions);
        Ok(Self { context, requirements, permit, signature, sponsor_payload, suffix, payer, nonce, fingerprint })
    }

    const fn method(&self) -> Method {
        match self.permit.witness {
            Witness::Exact { .. } => Method::Permit2,
            Witness::Upto { .. } => Method::Upto,
        }
    }

    /// Returns whether the requirements name the part of the permitted amount that is
    /// charged, instead of all of it.
    fn is_charge(&self, occasion: Occasion) -> bool {
        occasion == Occasion::Settle && self.method() == Method::Upto
    }

    /// The amount that the chain is asked about: the charge. Nothing, and too much, are
    /// no transfers that a chain can be asked about; then it is the ceiling.
    fn amount(&self) -> U256 {
        let charge = self.requirements.amount.to_u256();
        if charge.is_zero() || charge > self.permit.amount { self.permit.amount } else { charge }
    }

    fn is_gas_wallet(&self, account: Address) -> bool {
        self.context.wallets.contains(account)
    }

    /// The first checks, and what nobody may ask of us.
    fn check_requirements(&self, occasion: Occasion) -> Result<&Asset, Rejection> {
        let (requirements, config) = (&self.requirements, &self.context.config);
        match self.permit.witness {
            Witness::Exact { .. } => {
                requirements.check_scheme(exact::NAME, UNSUPPORTED_PAYLOAD_TYPE)?;
                requirements.check_network(&config.network, reason::NETWORK_MISMATCH)?;
            }
            Witness::Upto { .. } => {
                requirements.check_scheme(upto::NAME, reason::UPTO_SCHEME)?;
                requirements.check_network(&config.network, reason::UPTO_NETWORK_MISMATCH)?;
            }
        }
        let asset = requirements.check_parties(&config.assets, self.permit.from, |a| self.is_gas_wallet(a))?;
        self.context.token_code.check(asset)?;
        let total = if self.is_charge(occasion) { self.permit.ceiling() } else { requirements.amount };
        requirements::check_amount(total, asset)?;
        if !self.context.capabilities.has(self.method()) {
            let message = "Permit2, the scheme's proxy, or the means to simulate them are not on this network";
            return Err(Rejection::new(reason::PERMIT2_PROXY_NOT_DEPLOYED, message));
        }
        Ok(asset)
    }

    fn check_terms(&self, occasion: Occasion) -> Result<(), Rejection> {
        let charge = self.is_charge(occasion);
        self.permit.check_terms(&self.requirements, charge, |a| self.is_gas_wallet(a), self.context.timing())
    }

    async fn check(&self, occasion: Occasion) -> Result<VerifiedPayment, VerifyError> {
        let asset = self.check_requirements(occasion)?;
        self.context.check_clocks()?;
        self.context.wait_until_valid(self.permit.witness.valid_after(), occasion).await;
        self.check_terms(occasion)?;
        let hash = abi::signing_hash(self.context.permit2_domain, &self.permit);
        let key = self.signature.by_key.filter(|_| self.signature.deployment.is_none());
        let key_signed = key.and_then(|key| key.signer(hash)) == Some(self.permit.from);
        let sponsor_payload = self.check_sponsor_payload();
        if key_signed && let Err(rejection) = &sponsor_payload {
            return Err(rejection.clone().into());
        }
        let block = self.context.newest_block();
        if occasion == Occasion::Settle
            && let Some(verified) = self.context.recall(&self.fingerprint, &block)
        {
            return Ok(verified);
        }
        // The age counts from before the question: the state may be that old.
        let asked_at = Instant::now();
        // Permit2 takes 27 and 28 only; a wallet sees what was sent.
        let signature = if key_signed { self.signature.normalised() } else { self.signature.inner.clone() };
        let permit2612 = match &sponsor_payload {
            Ok(SponsorPayload::Permit(permit2612)) => Some(*permit2612),
            Ok(SponsorPayload::Nothing | SponsorPayload::Approval(_)) | Err(_) => None,
        };
        let mut simulated =
            self.simulate(asset, Asked { hash, signature: &signature, has_code: !key_signed }, permit2612).await?;
        let record = &simulated.record;
        // A delegated account (EIP-7702), asked as if it were none: was that the reason?
        if key_signed && record.payer_has_code && (!record.succeeded || signature != self.signature.inner) {
            let asked = Asked { hash, signature: &self.signature.inner, has_code: true };
            simulated = Box::pin(self.simulate(asset, asked, permit2612)).await?;
        }
        let approval = match &sponsor_payload {
            Ok(SponsorPayload::Approval(approval)) if !simulated.is_allowed(self.amount()) => Some(approval),
            Ok(SponsorPayload::Approval(_) | SponsorPayload::Nothing | SponsorPayload::Permit(_)) | Err(_) => None,
        };
        if let Some(approval) = approval {
            self.check_signature(&simulated.record, key_signed)?;
            return Box::pin(self.sponsored(asset, simulated, approval, occasion)).await;
        }
        let Simulated { item, record, with_permit } = simulated;
        let verdict = |record: &Record| {
            self.check_signature(record, key_signed)?;
            if let Err(rejection) = &sponsor_payload {
                return Err(rejection.clone());
            }
            self.evaluated(asset, &item, record, with_permit, None, occasion)
        };
        let (batcher, simulator) = (self.context.permit2_batcher(self.sender()), self.context.simulator());
        let (record, mut verified) = batcher.confirmed(simulator, &item, record, verdict).await?;
        if record.payer_has_code {
            // What its code answers must not depend on the very block.
            let (batcher, simulator) =
                (self.context.later_permit2_batcher(self.sender()), self.context.later_simulator());
            let later = batcher.ask(simulator, &item).await?;
            batcher.confirmed(simulator, &item, later, verdict).await?;
            verified.payer_code = payer_code(&self.context, self.permit.from).await?;
        }
        if occasion == Occasion::Verify {
            self.context.verified.keep(self.fingerprint, (block, verified.clone()), asked_at);
        }
        Ok(verified)
    }

    /// Returns the permit or approval, when it is for this payment.
    fn check_sponsor_payload(&self) -> Result<SponsorPayload<&Permit2612, ApprovalTransaction>, Rejection> {
        let (permit, requirements, config) = (&self.permit, &self.requirements, &self.context.config);
        match &self.sponsor_payload {
            Ok(SponsorPayload::Nothing) => Ok(SponsorPayload::Nothing),
            Ok(SponsorPayload::Permit(permit2612)) => {
                permit2612.check(permit, requirements, self.context.timing())?;
                Ok(SponsorPayload::Permit(permit2612))
            }
            Ok(SponsorPayload::Approval(approval)) => {
                approval.check(permit, requirements, config.chain_id, config.gas_extra).map(SponsorPayload::Approval)
            }
            Err(rejection) => Err(rejection.clone()),
        }
    }

    /// The verdict on a settlement that an approval goes before. Never
    /// remembered: what it takes out of the budget is taken now.
    async fn sponsored(
        &self,
        asset: &Asset,
        simulated: Simulated,
        approval: &ApprovalTransaction,
        occasion: Occasion,
    ) -> Result<VerifiedPayment, VerifyError> {
        let Simulated { item, record, with_permit } = simulated;
        let sender = self.context.permit2_batcher(self.sender()).sender();
        let (sponsorship, record) = Sponsorship::ask(&self.context, sender, &item, &record, approval).await?;
        let verified = self.evaluated(asset, &item, &record, with_permit, Some(&sponsorship), occasion)?;
        if !verified.nothing_to_send {
            sponsorship.take(&self.context, occasion)?;
        }
        Ok(verified)
    }

    /// Asks the chain. With a permit both forms are asked at once: when the
    /// allowance is there already, the permit is left alone. It may be spent
    /// by somebody else, and would replace a larger allowance.
    async fn simulate(
        &self,
        asset: &Asset,
        asked: Asked<'_>,
        permit2612: Option<&Permit2612>,
    ) -> Result<Simulated, ChainUnavailable> {
        let plain = self.ask(asset, asked, None);
        let Some(permit2612) = permit2612 else { return plain.await };
        let permitted = self.ask(asset, asked, Some(permit2612));
        let (plain, permitted) = futures::join!(plain, Box::pin(permitted));
        let plain = plain?;
        if plain.is_allowed(self.amount()) { Ok(plain) } else { permitted }
    }

    async fn ask(
        &self,
        asset: &Asset,
        asked: Asked<'_>,
        permit2612: Option<&Permit2612>,
    ) -> Result<Simulated, ChainUnavailable> {
        let (permit, amount, signature) = (&self.permit, self.amount(), asked.signature);
        let settle = Settle { permit, amount, permit2612: permit2612.map(Permit2612::argument), signature };
        let item = Item {
            token: asset.address,
            payer: permit.from,
            payee: permit.witness.to(),
            proxy: permit.proxy(),
            value: amount,
            nonce: permit.nonce,
            hash: asked.hash,
            gas_cap: u32::try_from(self.cap(asked.has_code, permit2612.is_some())).unwrap_or(u32::MAX),
            call: settle.calldata(),
            signature_tail: settle.signature_tail(),
        };
        let batcher = self.context.permit2_batcher(self.sender());
        let record = batcher.ask(self.context.simulator(), &item).await?;
        Ok(Simulated { item, record, with_permit: permit2612.is_some() })
    }

    /// The gas wallet that must send it, when the payer bound one.
    const fn sender(&self) -> Option<Address> {
        match self.permit.witness {
            Witness::Exact { .. } => None,
            Witness::Upto { facilitator, .. } => Some(facilitator),
        }
    }

    /// The most gas that a settlement may need.
    fn cap(&self, payer_has_code: bool, with_permit: bool) -> u64 {
        let config = &self.context.config;
        let settle = if payer_has_code {
            config.gas_limit_contract_wallet.max(config.gas_limit_permit2)
        } else {
            config.gas_limit_permit2
        };
        if with_permit { settle.saturating_add(config.gas_limit_eip2612) } else { settle }
    }

    fn check_signature(&self, record: &Record, key_signed: bool) -> Result<(), Rejection> {
        let bad = |message: String| Err(Rejection::new(reason::PERMIT2_SIGNATURE, message));
        if !record.payer_has_code {
            return if key_signed { Ok(()) } else { bad(self.signature.why_not_the_payers()) };
        }
        self.context.check_contract_wallets(reason::PERMIT2_SIGNATURE)?;
        match record.signature {
            SignatureAnswer::Valid => Ok(()),
            SignatureAnswer::NotAsked | SignatureAnswer::Invalid => {
                bad("the payer's contract does not accept the signature".to_owned())
            }
        }
    }

    fn evaluated(
        &self,
        asset: &Asset,
        item: &Item,
        record: &Record,
        with_permit: bool,
        sponsorship: Option<&Sponsorship<'_>>,
        occasion: Occasion,
    ) -> Result<VerifiedPayment, Rejection> {
        let data = &item.call;
        let cap = self.cap(record.payer_has_code, with_permit);
        let (amount, method, measured) = (self.amount(), self.method(), record.payer_has_code || with_permit);
        let gas_limit = evaluate(record, &Question { amount, data, cap, measured, occasion, method })?;
        let charge = self.requirements.amount.to_u256();
        if charge > self.permit.amount {
            let message = format!("the charge {charge} is more than the payer authorized, {}", self.permit.amount);
            return Err(Rejection::new(reason::UPTO_EXCEEDS_AMOUNT, message));
        }
        // A plan for nothing is never sent. Were it, the proxy would refuse it.
        let nothing = charge.is_zero();
        let data = if nothing { self.calldata(U256::ZERO) } else { data.clone() };
        let plan = self.plan(asset, data, gas_limit);
        let body = match sponsorship.filter(|_| !nothing) {
            Some(sponsorship) => sponsorship.first(&self.context, plan),
            None => plan.to_body(),
        };
        let gas_wallet = self.sender().map(|wallet| wallet.to_checksum(None));
        let plan = Plan::new(body).sent_by(gas_wallet).valid_before(self.permit.valid_before());
        let available = self.available(record, with_permit, sponsorship.is_some());
        let funds = available.map(|most| self.context.funds(asset.address, self.permit.from, most));
        Ok(VerifiedPayment {
            payer: self.payer.clone(),
            amount: self.requirements.amount,
            plan,
            nothing_to_send: nothing,
            funds,
            payer_code: None,
        })
    }

    /// The most that Permit2 can take: no more than is allowed, or will be by
    /// the permit that comes along. Approvals of one payer come one at a time.
    fn available(&self, record: &Record, with_permit: bool, sponsored: bool) -> Option<U256> {
        let balance = record.balance?;
        match (sponsored, with_permit) {
            (true, _) => Some(balance),
            (false, true) => Some(self.permit.amount.min(balance)),
            (false, false) => record.allowance.map(|allowance| allowance.min(balance)),
        }
    }

    fn calldata(&self, amount: U256) -> Bytes {
        let signature = &self.signature.inner;
        Settle { permit: &self.permit, amount, permit2612: None, signature }.calldata()
    }

    fn plan(&self, asset: &Asset, data: Bytes, gas_limit: u64) -> TransferPlan {
        let p = &self.permit;
        let effect = Transfer {
            token: asset.address,
            from: p.from,
            to: p.witness.to(),
            value: self.requirements.amount.to_u256(),
            nonce: p.nonce.into(),
            method: self.method(),
        };
        let gas_limit = gas_limit.saturating_add(self.context.config.gas_extra).saturating_add(self.suffix.gas());
        TransferPlan { to: p.proxy(), data: self.suffix.append(data), gas_limit, effect }
    }
}

impl Simulated {
    /// Returns whether Permit2 may take this much already.
    fn is_allowed(&self, amount: U256) -> bool {
        self.record.allowance.is_some_and(|allowance| allowance >= amount)
    }
}

#[async_trait]
impl Authorization for Permit2Payment {
    fn payer(&self) -> &str {
        &self.payer
    }

    fn identity(&self) -> Identity {
        let chain_id = self.context.config.chain_id.to_be_bytes();
        let nonce = self.permit.nonce.to_be_bytes::<32>();
        Identity::of("permit2", &[&chain_id, abi::PERMIT2.as_slice(), self.permit.from.as_slice(), &nonce])
    }

    fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    fn nonce(&self) -> &str {
        &self.nonce
    }

    async fn verify(&self, occasion: Occasion) -> Verdict {
        VerifyError::verdict(self.check(occasion).await)
    }
}

#[cfg(test)]
mod tests;
