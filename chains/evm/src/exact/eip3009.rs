//! A payment by EIP-3009 `transferWithAuthorization`: read, named, verified.

use std::{sync::Arc, time::Instant};

use alloy::{
    primitives::{Address, B256, Bytes, U256, hex},
    sol_types::SolCall,
};
use async_trait::async_trait;
use chains_core::{
    Fingerprint, Identity, Payment, Rejection,
    chain::{ChainUnavailable, PlannedTransaction},
    reason::INVALID_PAYLOAD,
    scheme::{Authorization, Purpose, Verdict, VerifiedPayment},
};

use super::{
    NAME,
    counterfactual::{Counterfactual, MULTICALL3},
    judgement::{self, GasRule, judge},
    rules::{self, Names},
};
use crate::{
    abi::{self, TransferWithAuthorization, Wallet},
    builder_code::Suffix,
    config::{Asset, Domain},
    context::Context,
    demand::{self, Demand},
    lens::{
        SignatureAnswer,
        eip3009::{Item, Record},
    },
    parse::Fields,
    plan::{Method, Plan, Transfer},
    reason,
    refusal::Refusal,
    signature::{Deployment, Signature},
};

/// A payment as read, not yet believed.
pub(crate) struct Eip3009 {
    context: Arc<Context>,
    demand: Demand,
    names: Names,
    transfer: TransferWithAuthorization,
    signature: Signature,
    suffix: Suffix,
    payer: String,
    nonce: String,
    fingerprint: Fingerprint,
}

impl Eip3009 {
    /// Reads `{signature, authorization}` and the requirements around it.
    pub fn read(context: Arc<Context>, payment: &Payment) -> Result<Self, Rejection> {
        let demand = Demand::read(payment)?;
        let names = payment.extra_text("name").zip(payment.extra_text("version"));
        let names = names.map(|(name, version)| (name.to_owned(), version.to_owned()));
        let payload = Fields::new("", &payment.payload);
        let transfer = transfer(&payload.object("authorization")?)?;
        let signature =
            Signature::parse(payload.text("signature")?).map_err(|message| Rejection::new(INVALID_PAYLOAD, message))?;
        let fingerprint = fingerprint(context.config.chain_id, &demand, &names, &transfer, &signature);
        let (payer, nonce) = (transfer.from.to_checksum(None), hex::encode_prefixed(transfer.nonce));
        let suffix = context.config.builder_codes.suffix(&payment.extensions);
        Ok(Self { context, demand, names, transfer, signature, suffix, payer, nonce, fingerprint })
    }

    /// Everything that needs no chain, up to the signature; the asset, its
    /// domain, and the hash that was to be signed.
    fn check_demand(&self) -> Result<(&Asset, &Domain, B256), Rejection> {
        let context = &*self.context;
        self.demand.check_scheme(NAME, reason::SCHEME)?;
        let (name, version) = rules::check_names(&self.names)?;
        self.demand.check_network(&context.config.network, reason::NETWORK_MISMATCH)?;
        let is_ours = |account: Address| context.wallets.contains(account);
        let asset = self.demand.check_requirements(&context.config.assets, self.transfer.from, is_ours)?;
        context.upgrades.check(asset)?;
        demand::check_amount(self.demand.amount, asset)?;
        let domain = asset.eip3009.as_ref().ok_or_else(|| {
            let message = format!("{} does not know EIP-3009: pay by Permit2", asset.symbol);
            Rejection::new(reason::EIP3009_NOT_SUPPORTED, message)
        })?;
        // The payer signed what the resource server told it; whether that is
        // the asset's true domain is a later question with its own code.
        let separator = if *name == domain.name && *version == domain.version {
            domain.separator
        } else {
            abi::domain_separator(name, version, context.config.chain_id, asset.address)
        };
        Ok((asset, domain, abi::signing_hash(separator, &self.transfer)))
    }

    fn check_terms(&self, domain: &Domain) -> Result<(), Rejection> {
        let (now, valid_for_max) = (self.context.now_seconds(), self.context.config.valid_for_max);
        rules::check_terms(&self.demand, &self.names, &self.transfer, domain, now, valid_for_max)
    }

    async fn check(&self, purpose: Purpose) -> Result<VerifiedPayment, Refusal> {
        let (asset, domain, hash) = self.check_demand()?;
        let key = self.signature.by_key.filter(|_| self.signature.deployment.is_none());
        let key = key.filter(|key| key.signer(hash) == Some(self.transfer.from));
        if key.is_some() {
            self.check_terms(domain)?;
        }
        let head = self.context.heads.newest().map_or(0, |newest| newest.number);
        if purpose == Purpose::Settle
            && let Some(verified) = self.context.recall(&self.fingerprint, head)
        {
            self.check_terms(domain)?;
            return Ok(verified);
        }
        // The age counts from before the question: the state may be that old.
        let asked = Instant::now();
        let by_key = match key {
            Some(key) => self.check_key(asset, abi::transfer_by_key(&self.transfer, key.v(), key.r(), key.s())).await?,
            None => None,
        };
        let verified = match by_key {
            Some(verified) => verified,
            None => self.check_wallet(asset, domain, hash, key.is_some()).await?,
        };
        if purpose == Purpose::Verify {
            self.context.verified.keep(self.fingerprint, (head, verified.clone()), asked);
        }
        Ok(verified)
    }

    /// A payer whose key signed: the usual case. `None` when the payer has
    /// code, which then alone decides.
    async fn check_key(&self, asset: &Asset, data: Bytes) -> Result<Option<VerifiedPayment>, Refusal> {
        let cap = self.context.config.gas_limit_eoa;
        let record = self.ask(asset, cap, data.clone(), Bytes::new()).await?;
        if record.payer_has_code {
            return Ok(None);
        }
        let rule = GasRule { cap, measured: false };
        let gas_limit = judge(&record, asset.address, self.transfer.value, &data, rule)?;
        Ok(Some(self.planned(asset.address, &record, data, gas_limit)))
    }

    /// A payer whose signature only its contract can judge, if it has one.
    async fn check_wallet(
        &self,
        asset: &Asset,
        domain: &Domain,
        hash: B256,
        key_signed: bool,
    ) -> Result<VerifiedPayment, Refusal> {
        let cap = self.context.config.gas_limit_contract_wallet;
        let data = abi::transfer_by_bytes(&self.transfer, self.signature.inner.clone());
        let question = Wallet::isValidSignatureCall { hash, signature: self.signature.inner.clone() };
        let record = self.ask(asset, cap, data.clone(), question.abi_encode().into()).await?;
        if let Some(deployment) = self.signature.deployment.as_ref().filter(|_| !record.payer_has_code) {
            return self.check_counterfactual(asset, domain, hash, deployment, &record).await;
        }
        self.check_signature(&record, key_signed)?;
        self.check_terms(domain)?;
        let rule = GasRule { cap, measured: true };
        let gas_limit = judge(&record, asset.address, self.transfer.value, &data, rule)?;
        Ok(self.planned(asset.address, &record, data, gas_limit))
    }

    fn check_signature(&self, record: &Record, key_signed: bool) -> Result<(), Rejection> {
        if !record.payer_has_code {
            if key_signed {
                return Ok(());
            }
            let message = "the signature is not the payer's for this authorization and domain";
            return Err(Rejection::new(reason::SIGNATURE, message));
        }
        self.check_contract_wallets()?;
        match record.signature {
            SignatureAnswer::Valid => Ok(()),
            SignatureAnswer::NotAsked | SignatureAnswer::Invalid => {
                Err(Rejection::new(reason::SIGNATURE, "the payer's contract does not accept the signature"))
            }
        }
    }

    fn check_contract_wallets(&self) -> Result<(), Rejection> {
        if self.context.config.contract_wallets {
            return Ok(());
        }
        Err(Rejection::new(reason::SIGNATURE, "payers with code are not accepted here"))
    }

    /// A payer whose wallet is yet to be deployed.
    async fn check_counterfactual(
        &self,
        asset: &Asset,
        domain: &Domain,
        hash: B256,
        deployment: &Deployment,
        record: &Record,
    ) -> Result<VerifiedPayment, Refusal> {
        let config = &self.context.config;
        let (token, transfer, signature) = (asset.address, &self.transfer, &self.signature.inner);
        let wallet = Counterfactual { token, transfer, deployment, signature, hash };
        wallet.check_factory(&config.erc6492_factories)?;
        self.check_contract_wallets()?;
        self.check_terms(domain)?;
        judgement::check_state(record, token, transfer.value)?;
        wallet.check(&self.context, config.gas_limit_erc6492).await?;
        Ok(self.planned(MULTICALL3, record, wallet.calldata(), config.gas_limit_erc6492))
    }

    async fn ask(
        &self,
        asset: &Asset,
        cap: u64,
        transfer: Bytes,
        signature: Bytes,
    ) -> Result<Record, ChainUnavailable> {
        let gas_cap = u32::try_from(cap).unwrap_or(u32::MAX);
        let item = Item { token: asset.address, gas_cap, transfer, signature };
        self.context.lens.ask(self.context.simulator(), &item).await
    }

    /// A call of `to` that moves the token.
    fn planned(&self, to: Address, record: &Record, data: Bytes, gas_limit: u64) -> VerifiedPayment {
        let (t, token, method) = (&self.transfer, self.demand.asset, Method::Eip3009);
        let funds = record.balance.map(|balance| self.context.funds(token, t.from, balance));
        let effect = Transfer { token, from: t.from, to: t.to, value: t.value, nonce: t.nonce, method };
        let gas_limit = gas_limit.saturating_add(self.context.config.gas_extra).saturating_add(self.suffix.gas());
        let body = Plan { to, data: self.suffix.append(data), gas_limit, effect }.to_body();
        // Beyond what a store's integers hold it never expires.
        let valid_before = u64::try_from(t.validBefore).ok().filter(|time| i64::try_from(*time).is_ok());
        let plan = PlannedTransaction { gas_wallet: None, body, valid_before };
        VerifiedPayment { amount: self.demand.amount, plan, nothing_to_send: false, funds }
    }
}

#[async_trait]
impl Authorization for Eip3009 {
    fn payer(&self) -> &str {
        &self.payer
    }

    fn identity(&self) -> Identity {
        let chain_id = self.context.config.chain_id.to_be_bytes();
        let t = &self.transfer;
        Identity::of("eip3009", &[&chain_id, self.demand.asset.as_slice(), t.from.as_slice(), t.nonce.as_slice()])
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

fn transfer(fields: &Fields<'_>) -> Result<TransferWithAuthorization, Rejection> {
    Ok(TransferWithAuthorization {
        from: fields.address("from")?,
        to: fields.address("to")?,
        value: fields.number("value")?,
        validAfter: fields.number("validAfter")?,
        validBefore: fields.number("validBefore")?,
        nonce: fields.word("nonce")?,
    })
}

fn fingerprint(
    chain_id: u64,
    d: &Demand,
    names: &Names,
    t: &TransferWithAuthorization,
    signature: &Signature,
) -> Fingerprint {
    let word = |value: U256| value.to_be_bytes::<32>();
    let (name, version) = names.as_ref().map_or(("", ""), |(name, version)| (name.as_str(), version.as_str()));
    let parts: [&[u8]; 14] = [
        &chain_id.to_be_bytes(),
        d.asset.as_slice(),
        d.pay_to.as_slice(),
        &word(d.amount.to_u256()),
        name.as_bytes(),
        version.as_bytes(),
        t.from.as_slice(),
        t.to.as_slice(),
        &word(t.value),
        &word(t.validAfter),
        &word(t.validBefore),
        t.nonce.as_slice(),
        &[u8::from(signature.deployment.is_some())],
        &signature.normalised(),
    ];
    Fingerprint::of("eip3009", &parts)
}
