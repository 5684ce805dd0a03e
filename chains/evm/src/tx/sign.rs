//! The transaction for a purpose, and its signed bytes. No I/O.

use alloy::{
    consensus::{SignableTransaction, TxEip1559},
    eips::{eip2718::Encodable2718, eip2930::AccessList},
    primitives::{Address, Bytes, TxKind, U256, hex},
};
use chains_core::{
    chain::SignError,
    transaction::{Plan, Purpose, SignedTransaction},
};

use super::{fees::Terms, gas::BASE_GAS};
use crate::{
    config::Config,
    extension::sponsoring::steps::{Approve, Body, Step},
    wallet::GasWallets,
};

/// A transaction to be signed, or one that a payer signed.
pub(crate) enum Form {
    /// A transaction of the gas wallet.
    Ours(Unsigned),
    /// A payer's own transaction, sent as it is.
    Payers(Approve),
}

/// A transaction of a gas wallet, but for its nonce and its price.
pub(crate) struct Unsigned {
    to: Address,
    pub value: U256,
    input: Bytes,
    pub gas_limit: u64,
}

/// The transaction for a purpose of this gas wallet.
///
/// # Errors
/// A plan is not one of this build, or there is more than one.
pub(crate) fn form(config: &Config, gas_wallet: Address, purpose: Purpose<'_>) -> Result<Form, SignError> {
    let plan = match purpose {
        Purpose::Steps([plan]) => plan,
        Purpose::Steps(plans) => {
            let message = format!("a transaction of this build carries one step, not {}", plans.len());
            return Err(SignError::Plan(message));
        }
        Purpose::Cancel => return Ok(Form::Ours(cancellation(gas_wallet, config.gas_extra))),
    };
    Ok(match &*body(plan)? {
        Body::Settle(plan) => {
            Form::Ours(Unsigned { to: plan.to, value: U256::ZERO, input: plan.data.clone(), gas_limit: plan.gas_limit })
        }
        Body::Step(Step::Fund(fund)) => Form::Ours(Unsigned {
            to: fund.settle.effect.from,
            value: fund.value,
            input: Bytes::new(),
            gas_limit: fund.gas_limit,
        }),
        Body::Step(Step::Approve(approve)) => Form::Payers(approve.clone()),
    })
}

/// Reads a plan; it is parsed once.
///
/// # Errors
/// It is not one of this build.
pub(crate) fn body(plan: &Plan) -> Result<std::sync::Arc<Body>, SignError> {
    plan.typed(Body::read).map_err(|error| SignError::Plan(error.to_string()))
}

/// Uses up a nonce without effect: nothing, sent to itself.
const fn cancellation(gas_wallet: Address, gas_extra: u64) -> Unsigned {
    let gas_limit = BASE_GAS.saturating_add(gas_extra);
    Unsigned { to: gas_wallet, value: U256::ZERO, input: Bytes::new(), gas_limit }
}

impl Unsigned {
    /// The signed bytes.
    ///
    /// # Errors
    /// The gas wallet has no key here, or there is no nonce.
    pub fn sign(
        self,
        chain_id: u64,
        wallets: &GasWallets,
        gas_wallet: &str,
        nonce: Option<u64>,
        terms: Terms,
    ) -> Result<SignedTransaction, SignError> {
        let nonce = nonce.ok_or_else(|| SignError::Plan("an EVM transaction needs a nonce".to_owned()))?;
        let Self { to, value, input, .. } = self;
        let transaction = TxEip1559 {
            chain_id,
            nonce,
            gas_limit: terms.gas_limit,
            max_fee_per_gas: terms.max_fee_per_gas,
            max_priority_fee_per_gas: terms.max_priority_fee_per_gas,
            to: TxKind::Call(to),
            value,
            access_list: AccessList::default(),
            input,
        };
        let signature = wallets.sign(gas_wallet, transaction.signature_hash());
        let signature = signature.ok_or_else(|| SignError::NoKey(gas_wallet.to_owned()))?;
        let signed = transaction.into_signed(signature);
        Ok(SignedTransaction {
            hash: hex::encode_prefixed(signed.hash()),
            raw: signed.encoded_2718(),
            gas_wallet: gas_wallet.to_owned(),
            nonce: Some(nonce),
            fee: terms.fee(value),
        })
    }
}
