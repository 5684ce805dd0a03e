//! A payment by EIP-3009 `transferWithAuthorization`: read, named, verified.

use std::sync::Arc;

use alloy::{
    primitives::{Address, B256, Bytes, U256, hex},
    sol_types::SolCall,
};
use async_trait::async_trait;
use chains_core::{
    Amount, Fingerprint, Identity, Payment, Rejection,
    chain::{ChainUnavailable, PlannedTransaction},
    reason::{INVALID_PAYLOAD, INVALID_PAYMENT_REQUIREMENTS},
    scheme::{Authorization, Purpose, Verdict, VerifiedPayment},
};
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::{
    judgement::{GasRule, judge},
    rules::Demand,
};
use crate::{
    abi::{self, TransferWithAuthorization, Wallet},
    config::Asset,
    context::Context,
    lens::layout::{Item, Record, SignatureAnswer},
    parse,
    plan::{Plan, Transfer},
    reason,
    signature::Signature,
};

/// A payment as read, not yet believed.
pub(crate) struct Eip3009 {
    context: Arc<Context>,
    demand: Demand,
    transfer: TransferWithAuthorization,
    signature: Signature,
    payer: String,
    nonce: String,
    fingerprint: Fingerprint,
}

/// Why a payment is not valid, or cannot be judged.
enum Refusal {
    Rejected(Rejection),
    Unavailable(ChainUnavailable),
}

impl From<Rejection> for Refusal {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}

impl From<ChainUnavailable> for Refusal {
    fn from(error: ChainUnavailable) -> Self {
        Self::Unavailable(error)
    }
}

impl Eip3009 {
    /// Reads `{signature, authorization}` and the requirements around it.
    pub fn read(context: Arc<Context>, payment: &Payment) -> Result<Self, Rejection> {
        let demand = demand(payment)?;
        let transfer = transfer(&payment.payload)?;
        let signature = Signature::parse(text(&payment.payload, "signature")?)
            .map_err(|message| Rejection::new(INVALID_PAYLOAD, message))?;
        let fingerprint = fingerprint(context.config.chain_id, &demand, &transfer, &signature);
        let (payer, nonce) = (transfer.from.to_checksum(None), hex::encode_prefixed(transfer.nonce));
        Ok(Self { context, demand, transfer, signature, payer, nonce, fingerprint })
    }

    /// Everything that needs no chain, up to the signature; the asset, and the
    /// hash that was to be signed.
    fn check_demand(&self) -> Result<(&Asset, B256), Rejection> {
        let context = &*self.context;
        let (name, version) = self.demand.check_names(&context.config.network)?;
        let is_ours = |account: Address| context.wallets.contains(account);
        let asset = self.demand.check_requirements(&context.config.assets, self.transfer.from, is_ours)?;
        // The payer signed what the resource server told it; whether that is
        // the asset's true domain is a later question with its own code.
        let domain = if *name == asset.name && *version == asset.version {
            asset.domain
        } else {
            abi::domain_separator(name, version, context.config.chain_id, asset.address)
        };
        Ok((asset, abi::signing_hash(domain, &self.transfer)))
    }

    fn check_terms(&self, asset: &Asset) -> Result<(), Rejection> {
        let context = &*self.context;
        self.demand.check_terms(&self.transfer, asset, context.now_seconds(), context.config.valid_for_max)
    }

    async fn check(&self, purpose: Purpose) -> Result<VerifiedPayment, Refusal> {
        let (asset, hash) = self.check_demand()?;
        let key = self.signature.by_key.filter(|_| !self.signature.deploys);
        let key = key.filter(|key| key.signer(hash) == Some(self.transfer.from));
        if key.is_some() {
            self.check_terms(asset)?;
        }
        let head = self.context.heads.newest().map_or(0, |newest| newest.number);
        if purpose == Purpose::Settle
            && let Some(verified) = self.context.verified.take(&self.fingerprint, head, Instant::now())
        {
            self.check_terms(asset)?;
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
            None => self.check_wallet(asset, hash, key.is_some()).await?,
        };
        if purpose == Purpose::Verify {
            self.context.verified.keep(self.fingerprint, head, verified.clone(), asked);
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
        Ok(Some(self.verified(asset, data, gas_limit)))
    }

    /// A payer whose signature only its contract can judge, if it has one.
    async fn check_wallet(&self, asset: &Asset, hash: B256, key_signed: bool) -> Result<VerifiedPayment, Refusal> {
        let cap = self.context.config.gas_limit_contract_wallet;
        let data = abi::transfer_by_bytes(&self.transfer, self.signature.inner.clone());
        let question = Wallet::isValidSignatureCall { hash, signature: self.signature.inner.clone() };
        let record = self.ask(asset, cap, data.clone(), question.abi_encode().into()).await?;
        self.check_signature(&record, key_signed)?;
        self.check_terms(asset)?;
        let rule = GasRule { cap, measured: true };
        let gas_limit = judge(&record, asset.address, self.transfer.value, &data, rule)?;
        Ok(self.verified(asset, data, gas_limit))
    }

    fn check_signature(&self, record: &Record, key_signed: bool) -> Result<(), Rejection> {
        if !record.payer_has_code {
            if key_signed {
                return Ok(());
            }
            return Err(if self.signature.deploys {
                let message = "the payer's wallet is not deployed, and no factory is allowed to deploy it";
                Rejection::new(reason::FACTORY_NOT_ALLOWED, message)
            } else {
                Rejection::new(reason::SIGNATURE, "the signature is not the payer's for this authorization and domain")
            });
        }
        if !self.context.config.contract_wallets {
            return Err(Rejection::new(reason::SIGNATURE, "payers with code are not accepted here"));
        }
        match record.signature {
            SignatureAnswer::Valid => Ok(()),
            SignatureAnswer::NotAsked | SignatureAnswer::Invalid => {
                Err(Rejection::new(reason::SIGNATURE, "the payer's contract does not accept the signature"))
            }
        }
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
        self.context.lens.ask(&self.context.rpc, &item).await
    }

    fn verified(&self, asset: &Asset, data: Bytes, gas_limit: u64) -> VerifiedPayment {
        let t = &self.transfer;
        let effect = Transfer { token: asset.address, from: t.from, to: t.to, value: t.value, nonce: t.nonce };
        let gas_limit = gas_limit.saturating_add(self.context.config.gas_extra);
        let body = Plan { to: asset.address, data, gas_limit, effect }.to_body();
        // Beyond what a store's integers hold it never expires.
        let valid_before = u64::try_from(t.validBefore).ok().filter(|time| i64::try_from(*time).is_ok());
        let plan = PlannedTransaction { gas_wallet: None, body, valid_before };
        VerifiedPayment { amount: self.demand.amount, plan, nothing_to_send: false }
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
        match self.check(purpose).await {
            Ok(verified) => Verdict::Valid(verified),
            Err(Refusal::Rejected(rejection)) => Verdict::Invalid(rejection),
            Err(Refusal::Unavailable(error)) => Verdict::Unavailable(error),
        }
    }
}

fn demand(payment: &Payment) -> Result<Demand, Rejection> {
    let address = |key: &str, text: &str| {
        let message = || format!("{key} must be 0x and 40 hex digits");
        parse::address(text).ok_or_else(|| Rejection::new(INVALID_PAYMENT_REQUIREMENTS, message()))
    };
    let domain = payment.extra_text("name").zip(payment.extra_text("version"));
    Ok(Demand {
        scheme: payment.scheme.clone(),
        chosen_scheme: payment.chosen.scheme.clone(),
        chosen_network: payment.chosen.network.clone(),
        asset: address("asset", &payment.asset)?,
        pay_to: address("payTo", &payment.pay_to)?,
        amount: payment.amount,
        domain: domain.map(|(name, version)| (name.to_owned(), version.to_owned())),
    })
}

fn transfer(payload: &Map<String, Value>) -> Result<TransferWithAuthorization, Rejection> {
    let Some(Value::Object(map)) = payload.get("authorization") else {
        return Err(Rejection::new(INVALID_PAYLOAD, "`authorization` must be an object"));
    };
    let address = |key| {
        let message = || format!("`authorization.{key}` must be 0x and 40 hex digits");
        parse::address(text(map, key)?).ok_or_else(|| Rejection::new(INVALID_PAYLOAD, message()))
    };
    let number = |key| -> Result<U256, Rejection> {
        let amount = text(map, key)?.parse::<Amount>();
        let bad = |error| Rejection::new(INVALID_PAYLOAD, format!("`authorization.{key}`: {error}"));
        amount.map(Amount::to_u256).map_err(bad)
    };
    let nonce = parse::word(text(map, "nonce")?);
    Ok(TransferWithAuthorization {
        from: address("from")?,
        to: address("to")?,
        value: number("value")?,
        validAfter: number("validAfter")?,
        validBefore: number("validBefore")?,
        nonce: nonce
            .ok_or_else(|| Rejection::new(INVALID_PAYLOAD, "`authorization.nonce` must be 0x and 64 hex digits"))?,
    })
}

fn text<'a>(map: &'a Map<String, Value>, key: &str) -> Result<&'a str, Rejection> {
    let text = map.get(key).and_then(Value::as_str);
    text.ok_or_else(|| Rejection::new(INVALID_PAYLOAD, format!("`{key}` must be a string")))
}

fn fingerprint(chain_id: u64, d: &Demand, t: &TransferWithAuthorization, signature: &Signature) -> Fingerprint {
    let word = |value: U256| value.to_be_bytes::<32>();
    let (name, version) = d.domain.as_ref().map_or(("", ""), |(name, version)| (name.as_str(), version.as_str()));
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
        &[u8::from(signature.deploys)],
        &signature.normalised(),
    ];
    Fingerprint::of("eip3009", &parts)
}
