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

use super::{
    batch::{self, BatchCall, DEPLOYER},
    fees::Terms,
    gas::BASE_GAS,
};
use crate::{
    context::Context,
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
/// A plan is not one of this build, or several cannot go together.
pub(crate) fn form(context: &Context, gas_wallet: Address, purpose: Purpose<'_>) -> Result<Form, SignError> {
    let plan = match purpose {
        Purpose::Steps([plan]) => plan,
        Purpose::Steps(plans) => return several(context, plans).map(Form::Ours),
        Purpose::Cancel => return Ok(Form::Ours(cancellation(gas_wallet, context.config.gas_extra))),
        Purpose::DeployBatchContract => return Ok(Form::Ours(deployment(context))),
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

/// Carries many settlements at once.
///
/// # Errors
/// The contract for it is not known to be there, or one of them goes alone.
fn several(context: &Context, plans: &[Plan]) -> Result<Unsigned, SignError> {
    let alone = || SignError::Plan(format!("a transaction carries one step here, not {}", plans.len()));
    if plans.is_empty() || !context.capabilities.has_batch() {
        return Err(alone());
    }
    let bodies = plans.iter().map(body).collect::<Result<Vec<_>, _>>()?;
    let settlement = |body: &'_ std::sync::Arc<Body>| match &**body {
        Body::Settle(plan) => Some(plan.clone()),
        Body::Step(_) => None,
    };
    let settlements = bodies.iter().map(settlement).collect::<Option<Vec<_>>>().ok_or_else(alone)?;
    let suffix = context.config.builder_codes.own();
    let call = batch::call(&settlements, context.config.gas_extra, &suffix).ok_or_else(alone)?;
    let BatchCall { data: input, gas_limit } = call;
    Ok(Unsigned { to: context.batch_contract.address, value: U256::ZERO, input, gas_limit })
}

/// Puts the contract for that on chain.
fn deployment(context: &Context) -> Unsigned {
    let contract = &context.batch_contract;
    let gas_limit = contract.deployment_gas().saturating_add(context.config.gas_extra);
    Unsigned { to: DEPLOYER, value: U256::ZERO, input: contract.deployment(), gas_limit }
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
