//! A payment by Permit2 in scheme `exact` or `upto`: named, verified, planned.

use std::{sync::Arc, time::Instant};

use alloy::primitives::{Address, B256, Bytes, U256};
use async_trait::async_trait;
use chains_core::{
    Fingerprint, Identity, Payment, Rejection,
    chain::{ChainUnavailable, PlannedTransaction},
    reason::{INVALID_PAYLOAD, UNSUPPORTED_PAYLOAD_TYPE},
    scheme::{Authorization, Purpose, Verdict, VerifiedPayment},
};

use super::{
    abi::{self, Settle},
    judgement::{Question, judge},
    permit::{Permit, Witness},
};
use crate::{
    builder_code::Suffix,
    config::Asset,
    context::Context,
    demand::{self, Demand},
    exact,
    lens::{
        SignatureAnswer,
        permit2::{Item, Record},
    },
    parse::Fields,
    plan::{Method, Plan, Transfer},
    reason,
    refusal::Refusal,
    signature::Signature,
    sponsoring::{
        eip2612::{self, Permit2612},
        erc20_approval::{self, Approval, ApprovalTransaction},
        sponsorship::Sponsorship,
    },
    upto,
};

/// A payment as read, not yet believed.
pub(crate) struct Permit2Payment {
    context: Arc<Context>,
    demand: Demand,
    permit: Permit,
    signature: Signature,
    /// What came along to be brought to the chain too, or what is wrong with it.
    brought: Result<Brought<Permit2612, Approval>, Rejection>,
    suffix: Suffix,
    payer: String,
    nonce: String,
    fingerprint: Fingerprint,
}

/// What a payer without allowance sends along.
#[derive(Clone, Debug)]
enum Brought<P, A> {
    Nothing,
    /// A permit for Permit2.
    Permit(P),
    /// An approval of Permit2, a transaction of its own.
    Approval(A),
}

/// How a settlement is put to the chain.
#[derive(Clone, Copy)]
struct Asked<'a> {
    /// What was to be signed.
    hash: B256,
    /// The signature, as Permit2 is to see it.
    signature: &'a Bytes,
    /// Whether the payer is expected to have code, which may use more gas.
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
        let demand = Demand::read(payment)?;
        let payload = Fields::new("", &payment.payload);
        let permit = permit(&payload)?;
        let signature =
            Signature::parse(payload.text("signature")?).map_err(|message| Rejection::new(INVALID_PAYLOAD, message))?;
        let brought = brought(&context, &demand, payment);
        let fingerprint = fingerprint(context.config.chain_id, &demand, &permit, &signature, &brought);
        let (payer, nonce) = (permit.from.to_checksum(None), permit.nonce.to_string());
        let suffix = context.config.builder_codes.suffix(&payment.extensions);
        Ok(Self { context, demand, permit, signature, brought, suffix, payer, nonce, fingerprint })
    }

    const fn method(&self) -> Method {
        match self.permit.witness {
            Witness::Exact { .. } => Method::Permit2,
            Witness::Upto { .. } => Method::Upto,
        }
    }

    /// Whether the requirements name the part of the permitted amount that is
    /// charged, instead of all of it.
    fn is_charge(&self, purpose: Purpose) -> bool {
        purpose == Purpose::Settle && self.method() == Method::Upto
    }

    /// What the chain is asked about: the charge. Nothing, and too much, are
    /// no transfers that a chain can be asked about; then it is the ceiling.
    fn amount(&self) -> U256 {
        let charge = self.demand.amount.to_u256();
        if charge.is_zero() || charge > self.permit.amount { self.permit.amount } else { charge }
    }

    fn is_gas_wallet(&self, account: Address) -> bool {
        self.context.wallets.contains(account)
    }

    /// The first checks, and what nobody may ask of us.
    fn check_demand(&self, purpose: Purpose) -> Result<&Asset, Rejection> {
        let (demand, config) = (&self.demand, &self.context.config);
        match self.permit.witness {
            Witness::Exact { .. } => {
                demand.check_scheme(exact::NAME, UNSUPPORTED_PAYLOAD_TYPE)?;
                demand.check_network(&config.network, reason::NETWORK_MISMATCH)?;
            }
            Witness::Upto { .. } => {
                demand.check_scheme(upto::NAME, reason::UPTO_SCHEME)?;
                demand.check_network(&config.network, reason::UPTO_NETWORK_MISMATCH)?;
            }
        }
        let asset = demand.check_requirements(&config.assets, self.permit.from, |a| self.is_gas_wallet(a))?;
        self.context.upgrades.check(asset)?;
        let total = if self.is_charge(purpose) { self.permit.ceiling() } else { demand.amount };
        demand::check_amount(total, asset)?;
        if !self.context.capabilities.has(self.method()) {
            let message = "Permit2, the scheme's proxy, or the means to simulate them are not on this network";
            return Err(Rejection::new(reason::PERMIT2_PROXY_NOT_DEPLOYED, message));
        }
        Ok(asset)
    }

    fn check_terms(&self, purpose: Purpose) -> Result<(), Rejection> {
        let (now, valid_for_max) = (self.context.now_seconds(), self.context.config.valid_for_max);
        let charge = self.is_charge(purpose);
        self.permit.check_terms(&self.demand, charge, |a| self.is_gas_wallet(a), now, valid_for_max)
    }

    async fn check(&self, purpose: Purpose) -> Result<VerifiedPayment, Refusal> {
        let asset = self.check_demand(purpose)?;
        self.check_terms(purpose)?;
        let hash = abi::signing_hash(self.context.permit2_domain, &self.permit);
        let key = self.signature.by_key.filter(|_| self.signature.deployment.is_none());
        let key_signed = key.and_then(|key| key.signer(hash)) == Some(self.permit.from);
        let brought = self.check_brought();
        if key_signed && let Err(rejection) = &brought {
            return Err(rejection.clone().into());
        }
        let head = self.context.heads.newest().map_or(0, |newest| newest.number);
        if purpose == Purpose::Settle
            && let Some(verified) = self.context.recall(&self.fingerprint, head)
        {
            return Ok(verified);
        }
        // The age counts from before the question: the state may be that old.
        let asked_at = Instant::now();
        // Permit2 takes 27 and 28 only; a wallet sees what was sent.
        let signature = if key_signed { self.signature.normalised() } else { self.signature.inner.clone() };
        let permit2612 = match &brought {
            Ok(Brought::Permit(permit2612)) => Some(*permit2612),
            Ok(Brought::Nothing | Brought::Approval(_)) | Err(_) => None,
        };
        let mut simulated =
            self.simulate(asset, Asked { hash, signature: &signature, has_code: !key_signed }, permit2612).await?;
        let record = &simulated.record;
        // A delegated account (EIP-7702), asked as if it were none: was that the reason?
        if key_signed && record.payer_has_code && (!record.succeeded || signature != self.signature.inner) {
            let asked = Asked { hash, signature: &self.signature.inner, has_code: true };
            simulated = self.simulate(asset, asked, permit2612).await?;
        }
        self.check_signature(&simulated.record, key_signed)?;
        if let Brought::Approval(approval) = brought?
            && !simulated.is_allowed(self.amount())
        {
            return self.sponsored(asset, simulated, &approval, purpose).await;
        }
        let verified = self.judged(asset, &simulated, None, purpose)?;
        if purpose == Purpose::Verify {
            self.context.verified.keep(self.fingerprint, (head, verified.clone()), asked_at);
        }
        Ok(verified)
    }

    /// What came along, when it is for this payment.
    fn check_brought(&self) -> Result<Brought<&Permit2612, ApprovalTransaction>, Rejection> {
        let (permit, demand, config) = (&self.permit, &self.demand, &self.context.config);
        match &self.brought {
            Ok(Brought::Nothing) => Ok(Brought::Nothing),
            Ok(Brought::Permit(permit2612)) => {
                permit2612.check(permit, demand, self.context.now_seconds())?;
                Ok(Brought::Permit(permit2612))
            }
            Ok(Brought::Approval(approval)) => {
                approval.check(permit, demand, config.chain_id, config.gas_extra).map(Brought::Approval)
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
        purpose: Purpose,
    ) -> Result<VerifiedPayment, Refusal> {
        let Simulated { item, record, with_permit } = simulated;
        let sender = self.context.permit2_lens(self.sender()).sender();
        let (sponsorship, record) = Sponsorship::ask(&self.context, sender, &item, &record, approval).await?;
        let simulated = Simulated { item, record, with_permit };
        let verified = self.judged(asset, &simulated, Some(&sponsorship), purpose)?;
        if !verified.nothing_to_send {
            sponsorship.take(&self.context, purpose)?;
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
        let (plain, permitted) = futures::join!(plain, self.ask(asset, asked, Some(permit2612)));
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
        let lens = self.context.permit2_lens(self.sender());
        let record = lens.ask(self.context.simulator(), &item).await?;
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
        let bad = |message: &'static str| Err(Rejection::new(reason::PERMIT2_SIGNATURE, message));
        if !record.payer_has_code {
            return if key_signed { Ok(()) } else { bad("the signature is not the payer's for this authorization") };
        }
        if !self.context.config.contract_wallets {
            return bad("payers with code are not accepted here");
        }
        match record.signature {
            SignatureAnswer::Valid => Ok(()),
            SignatureAnswer::NotAsked | SignatureAnswer::Invalid => {
                bad("the payer's contract does not accept the signature")
            }
        }
    }

    fn judged(
        &self,
        asset: &Asset,
        simulated: &Simulated,
        sponsorship: Option<&Sponsorship<'_>>,
        purpose: Purpose,
    ) -> Result<VerifiedPayment, Rejection> {
        let Simulated { item, record, with_permit } = simulated;
        let data = &item.call;
        let cap = self.cap(record.payer_has_code, *with_permit);
        let (amount, method, measured) = (self.amount(), self.method(), record.payer_has_code || *with_permit);
        let gas_limit = judge(record, &Question { amount, data, cap, measured, purpose, method })?;
        let charge = self.demand.amount.to_u256();
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
        let plan = PlannedTransaction { gas_wallet, body, valid_before: self.permit.valid_before() };
        let available = self.available(record, *with_permit, sponsorship.is_some());
        let funds = available.map(|most| self.context.funds(asset.address, self.permit.from, most));
        Ok(VerifiedPayment { amount: self.demand.amount, plan, nothing_to_send: nothing, funds })
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

    fn plan(&self, asset: &Asset, data: Bytes, gas_limit: u64) -> Plan {
        let p = &self.permit;
        let effect = Transfer {
            token: asset.address,
            from: p.from,
            to: p.witness.to(),
            value: self.demand.amount.to_u256(),
            nonce: p.nonce.into(),
            method: self.method(),
        };
        let gas_limit = gas_limit.saturating_add(self.context.config.gas_extra).saturating_add(self.suffix.gas());
        Plan { to: p.proxy(), data: self.suffix.append(data), gas_limit, effect }
    }
}

impl Simulated {
    /// Whether Permit2 may take this much already.
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

    async fn verify(&self, purpose: Purpose) -> Verdict {
        Refusal::verdict(self.check(purpose).await)
    }
}

/// What came along: a permit, or else an approval, as far as they are
/// sponsored here.
fn brought(context: &Context, demand: &Demand, payment: &Payment) -> Result<Brought<Permit2612, Approval>, Rejection> {
    let config = &context.config;
    let by_permit = config.sponsor_eip2612 && config.asset(demand.asset).is_some_and(|asset| asset.eip2612);
    if by_permit && let Some(permit2612) = eip2612::read(payment) {
        return permit2612.map(Brought::Permit);
    }
    if config.sponsor_erc20_approval
        && let Some(approval) = erc20_approval::read(payment)
    {
        return approval.map(Brought::Approval);
    }
    Ok(Brought::Nothing)
}

fn fingerprint(
    chain_id: u64,
    demand: &Demand,
    permit: &Permit,
    signature: &Signature,
    brought: &Result<Brought<Permit2612, Approval>, Rejection>,
) -> Fingerprint {
    let word = |value: U256| value.to_be_bytes::<32>();
    let (scheme, facilitator, valid_after) = match permit.witness {
        Witness::Exact { valid_after, .. } => (exact::NAME, Address::ZERO, valid_after),
        Witness::Upto { facilitator, valid_after, .. } => (upto::NAME, facilitator, valid_after),
    };
    let brought = match brought {
        Ok(Brought::Permit(permit2612)) => permit2612.fingerprint(),
        Ok(Brought::Approval(approval)) => approval.fingerprint(),
        Ok(Brought::Nothing) | Err(_) => &[],
    };
    let to = permit.witness.to();
    let parts: [&[u8]; 17] = [
        scheme.as_bytes(),
        &chain_id.to_be_bytes(),
        demand.asset.as_slice(),
        demand.pay_to.as_slice(),
        &word(demand.amount.to_u256()),
        permit.from.as_slice(),
        permit.token.as_slice(),
        &word(permit.amount),
        permit.spender.as_slice(),
        &word(permit.nonce),
        &word(permit.deadline),
        to.as_slice(),
        facilitator.as_slice(),
        &word(valid_after),
        &[u8::from(signature.deployment.is_some())],
        &signature.normalised(),
        brought,
    ];
    Fingerprint::of("permit2", &parts)
}

#[cfg(test)]
mod tests;
