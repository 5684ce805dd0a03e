//! A payment by EIP-3009 `transferWithAuthorization`: read, named, verified.

use std::{sync::Arc, time::Instant};

use alloy::{
    primitives::{Address, B256, Bytes, U256, hex},
    sol_types::SolCall,
};
use async_trait::async_trait;
use chains_core::{
    Fingerprint, Identity, Payment, Rejection,
    reason::INVALID_PAYLOAD,
    scheme::{Authorization, Occasion, Verdict, VerifiedPayment},
    transaction::Plan,
};

use super::{
    counterfactual::{Counterfactual, MULTICALL3},
    evaluation::{self, GasRule, evaluate},
    terms::{self, Names},
};
use crate::{
    abi::{self, TransferWithAuthorization, Wallet},
    call_batcher::{
        SignatureAnswer,
        eip3009::{Item, Record},
    },
    config::{Asset, Domain},
    context::Context,
    extension::builder_code::Suffix,
    parse::Fields,
    payer_code::{self, payer_code},
    reason,
    rpc::{
        error::CallError,
        method::{At, Call},
    },
    scheme::{
        exact,
        requirements::{self, Requirements},
        verify_error::VerifyError,
    },
    signature::{Deployment, Signature},
    tx::plan::{Method, Transfer, TransferPlan},
};

/// A payment as read, not yet believed.
pub(crate) struct Eip3009 {
    context: Arc<Context>,
    requirements: Requirements,
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
        let requirements = Requirements::read(payment)?;
        let names = payment.extra_text("name").zip(payment.extra_text("version"));
        let names = names.map(|(name, version)| (name.to_owned(), version.to_owned()));
        let payload = Fields::new("", &payment.payload);
        let transfer = transfer(&payload.object("authorization")?)?;
        let signature =
            Signature::parse(payload.text("signature")?).map_err(|message| Rejection::new(INVALID_PAYLOAD, message))?;
        let fingerprint = fingerprint(context.config.chain_id, &requirements, &names, &transfer, &signature);
        let (payer, nonce) = (transfer.from.to_checksum(None), hex::encode_prefixed(transfer.nonce));
        let suffix = context.config.builder_codes.suffix(&payment.extensions);
        Ok(Self { context, requirements, names, transfer, signature, suffix, payer, nonce, fingerprint })
    }

    /// Everything that needs no chain, up to the signature; the asset, its
    /// domain, and the hash that was to be signed.
    fn check_requirements(&self) -> Result<(&Asset, &Domain, B256), Rejection> {
        let context = &*self.context;
        self.requirements.check_scheme(exact::NAME, reason::SCHEME)?;
        let (name, version) = terms::check_names(&self.names)?;
        self.requirements.check_network(&context.config.network, reason::NETWORK_MISMATCH)?;
        let is_ours = |account: Address| context.wallets.contains(account);
        let asset = self.requirements.check_parties(&context.config.assets, self.transfer.from, is_ours)?;
        context.token_code.check(asset)?;
        requirements::check_amount(self.requirements.amount, asset)?;
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
        terms::check_terms(&self.requirements, &self.names, &self.transfer, domain, self.context.timing())
    }

    async fn check(&self, occasion: Occasion) -> Result<VerifiedPayment, VerifyError> {
        let (asset, domain, hash) = self.check_requirements()?;
        self.context.check_clocks()?;
        self.context.wait_until_valid(self.transfer.validAfter, occasion).await;
        let key = self.signature.by_key.filter(|_| self.signature.deployment.is_none());
        let key = key.filter(|key| key.signer(hash) == Some(self.transfer.from));
        if key.is_some() {
            self.check_terms(domain)?;
        } else {
            // No matter who signed, a contract or nobody: an authorization that is not valid now is not simulated.
            terms::check_window(&self.transfer, self.context.timing())?;
        }
        let block = self.context.newest_block();
        if occasion == Occasion::Settle
            && let Some(verified) = self.context.recall(&self.fingerprint, &block)
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
            None => Box::pin(self.check_wallet(asset, domain, hash, key.is_some())).await?,
        };
        if occasion == Occasion::Verify {
            self.context.verified.keep(self.fingerprint, (block, verified.clone()), asked);
        }
        Ok(verified)
    }

    /// A payer whose key signed: the usual case. `None` when the payer has
    /// code, which then alone decides.
    async fn check_key(&self, asset: &Asset, data: Bytes) -> Result<Option<VerifiedPayment>, VerifyError> {
        let cap = self.context.config.gas_limit_eoa;
        let item = Self::item(asset, cap, data.clone(), Bytes::new());
        let record = self.context.eip3009_batcher.ask(self.context.simulator(), &item).await?;
        let rule = GasRule { cap, measured: false };
        let gas_limit = |record: &Record| {
            if record.payer_has_code {
                return Ok(None);
            }
            evaluate(record, asset.address, self.transfer.value, &data, rule).map(Some)
        };
        let context = &self.context;
        let (record, gas_limit) =
            context.eip3009_batcher.confirmed(context.simulator(), &item, record, gas_limit).await?;
        let Some(gas_limit) = gas_limit else { return Ok(None) };
        Ok(Some(self.planned(asset.address, &record, data, gas_limit, None)))
    }

    /// A payer whose signature only its contract can judge, if it has one.
    async fn check_wallet(
        &self,
        asset: &Asset,
        domain: &Domain,
        hash: B256,
        key_signed: bool,
    ) -> Result<VerifiedPayment, VerifyError> {
        let cap = self.context.config.gas_limit_contract_wallet;
        let data = abi::transfer_by_bytes(&self.transfer, self.signature.inner.clone());
        let question = Wallet::isValidSignatureCall { hash, signature: self.signature.inner.clone() };
        let item = Self::item(asset, cap, data.clone(), question.abi_encode().into());
        let record = self.context.eip3009_batcher.ask(self.context.simulator(), &item).await?;
        if let Some(deployment) = self.signature.deployment.as_ref().filter(|_| !record.payer_has_code) {
            return self.check_counterfactual(asset, domain, hash, deployment, &record).await;
        }
        let rule = GasRule { cap, measured: true };
        let gas_limit = |record: &Record| {
            self.check_signature(record, key_signed)?;
            self.check_terms(domain)?;
            evaluate(record, asset.address, self.transfer.value, &data, rule)
        };
        let context = &self.context;
        let without_reason = record.payer_has_code && record.revert.is_empty();
        let confirmed = context.eip3009_batcher.confirmed(context.simulator(), &item, record, gas_limit).await;
        let (record, mut limit) = match confirmed {
            Err(VerifyError::Rejected(rejection)) if without_reason && rejection.code == reason::SIMULATION_FAILED => {
                return Err(self.no_reason(asset, rejection).await.into());
            }
            confirmed => confirmed?,
        };
        if record.payer_has_code {
            // What its code answers must not depend on the very block.
            let (batcher, simulator) = (&context.later_eip3009_batcher, context.later_simulator());
            let later = batcher.ask(simulator, &item).await?;
            limit = limit.max(batcher.confirmed(simulator, &item, later, gas_limit).await?.1);
        }
        let code = if record.payer_has_code { payer_code(&self.context, self.transfer.from).await? } else { None };
        Ok(self.planned(asset.address, &record, data, limit, code))
    }

    /// Returns the reason for a contract's payment that reverts without a word: perhaps the token
    /// knows no signatures but those of keys.
    async fn no_reason(&self, asset: &Asset, rejection: Rejection) -> Rejection {
        let expired = TransferWithAuthorization { validBefore: U256::ZERO, ..self.transfer.clone() };
        let question = abi::transfer_by_bytes(&expired, self.signature.inner.clone());
        let answer = self.context.rpc.call::<Bytes>(Call::view(asset.address, &question, At::Latest)).await;
        // A token that has the function says that the authorization is expired.
        match answer {
            Err(CallError::Node { error, .. })
                if error.is_revert() && error.data.as_deref().is_none_or(<[u8]>::is_empty) =>
            {
                let message = "this token takes signatures of keys only, and the payer's account is a contract";
                Rejection::new(reason::SIMULATION_FAILED, message)
            }
            Ok(_) | Err(_) => rejection,
        }
    }

    fn check_signature(&self, record: &Record, key_signed: bool) -> Result<(), Rejection> {
        if !record.payer_has_code {
            if key_signed {
                return Ok(());
            }
            return Err(Rejection::new(reason::SIGNATURE, self.signature.why_not_the_payers()));
        }
        self.context.check_contract_wallets(reason::SIGNATURE)?;
        match record.signature {
            SignatureAnswer::Valid => Ok(()),
            SignatureAnswer::NotAsked | SignatureAnswer::Invalid => {
                Err(Rejection::new(reason::SIGNATURE, "the payer's contract does not accept the signature"))
            }
        }
    }

    /// A payer whose wallet is yet to be deployed.
    async fn check_counterfactual(
        &self,
        asset: &Asset,
        domain: &Domain,
        hash: B256,
        deployment: &Deployment,
        record: &Record,
    ) -> Result<VerifiedPayment, VerifyError> {
        let config = &self.context.config;
        let (token, transfer, signature) = (asset.address, &self.transfer, &self.signature.inner);
        let wallet = Counterfactual { token, transfer, deployment, signature, hash };
        wallet.check_factory(&config.erc6492_factories)?;
        self.context.check_contract_wallets(reason::SIGNATURE)?;
        self.check_terms(domain)?;
        evaluation::check_state(record, token, transfer.value)?;
        wallet.check(&self.context, config.gas_limit_erc6492).await?;
        let code = Some(payer_code::of_factory(deployment.factory));
        Ok(self.planned(MULTICALL3, record, wallet.calldata(), config.gas_limit_erc6492, code))
    }

    fn item(asset: &Asset, cap: u64, transfer: Bytes, signature: Bytes) -> Item {
        let gas_cap = u32::try_from(cap).unwrap_or(u32::MAX);
        Item { token: asset.address, gas_cap, transfer, signature }
    }

    /// A call of `to` that moves the token.
    fn planned(
        &self,
        to: Address,
        record: &Record,
        data: Bytes,
        gas_limit: u64,
        payer_code: Option<String>,
    ) -> VerifiedPayment {
        let (t, token, method) = (&self.transfer, self.requirements.asset, Method::Eip3009);
        let funds = record.balance.map(|balance| self.context.funds(token, t.from, balance));
        let effect = Transfer { token, from: t.from, to: t.to, value: t.value, nonce: t.nonce, method };
        let gas_limit = gas_limit.saturating_add(self.context.config.gas_extra).saturating_add(self.suffix.gas());
        let body = TransferPlan { to, data: self.suffix.append(data), gas_limit, effect }.to_body();
        // Beyond what a store's integers hold it never expires.
        let valid_before = u64::try_from(t.validBefore).ok().filter(|time| i64::try_from(*time).is_ok());
        let (payer, plan) = (self.payer.clone(), Plan::new(body).valid_before(valid_before));
        VerifiedPayment { payer, amount: self.requirements.amount, plan, nothing_to_send: false, funds, payer_code }
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
        Identity::of("eip3009", &[&chain_id, self.requirements.asset.as_slice(), t.from.as_slice(), t.nonce.as_slice()])
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
    d: &Requirements,
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
