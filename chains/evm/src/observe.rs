//! What became of transactions, with proof.
//!
//! A receipt says that a transaction is in a block. Whether the payment
//! happened is said by the token's logs, its `authorizationState` and Permit2's
//! `nonceBitmap`, never by the receipt's status alone. Where proof is not to be
//! had, the answer is "unclear", never "missing".

mod foreign_use;
mod sponsored;

use alloy::{
    primitives::{Address, B256, Bytes, Log, U256},
    sol_types::SolEvent,
};
use chains_core::{
    Amount, Rejection,
    chain::{BlockRef, ChainUnavailable, Effect, Landed, Observation, SignedTransaction, Watched},
};
use futures::future::join_all;
use serde::Deserialize;

use crate::{
    abi::Token,
    context::Context,
    permit2::judgement::event_mismatch,
    plan::{Method, Plan, Transfer},
    reason,
    rpc::{
        error::{CallError, NodeError},
        method::{At, Call, quantity},
    },
    sponsoring::steps::Body,
};

/// A receipt as nodes describe it, as far as it matters.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Receipt {
    transaction_hash: String,
    block_number: String,
    block_hash: String,
    #[serde(default)]
    status: Option<String>,
    gas_used: String,
    #[serde(default)]
    effective_gas_price: Option<String>,
    /// What rollups of the OP stack charge for data, besides gas.
    #[serde(default)]
    l1_fee: Option<String>,
    #[serde(default)]
    logs: Vec<ReceiptLog>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReceiptLog {
    address: Address,
    topics: Vec<B256>,
    data: Bytes,
    #[serde(default)]
    transaction_hash: Option<String>,
}

impl Receipt {
    fn block(&self) -> Option<BlockRef> {
        let number = u64::try_from(quantity(&self.block_number)?).ok()?;
        Some(BlockRef { number, hash: self.block_hash.clone() })
    }

    fn succeeded(&self) -> bool {
        self.status.as_deref().and_then(quantity) == Some(U256::from(1))
    }

    fn gas_used(&self) -> u64 {
        quantity(&self.gas_used).and_then(|gas| u64::try_from(gas).ok()).unwrap_or_default()
    }

    fn fee_paid(&self) -> Amount {
        let number = |text: &Option<String>| text.as_deref().and_then(quantity).unwrap_or_default();
        let gas = U256::from(self.gas_used()).saturating_mul(number(&self.effective_gas_price));
        Amount::from(gas.saturating_add(number(&self.l1_fee)))
    }

    /// Whether exactly the expected transfer is in it.
    fn has(&self, transfer: &Transfer) -> bool {
        let logs = || self.logs.iter().filter(|log| log.address == transfer.token).filter_map(ReceiptLog::decoded);
        let moved = logs()
            .filter_map(|log| Token::Transfer::decode_log(&log).ok())
            .any(|event| event.from == transfer.from && event.to == transfer.to && event.value == transfer.value);
        if transfer.method != Method::Eip3009 {
            return moved;
        }
        // A token that says which authorizations it used must say that it was this one.
        let mut used = logs().filter_map(|log| Token::AuthorizationUsed::decode_log(&log).ok()).peekable();
        moved && (used.peek().is_none() || used.any(|e| e.authorizer == transfer.from && e.nonce == transfer.nonce))
    }
}

impl ReceiptLog {
    fn decoded(&self) -> Option<Log> {
        Log::new(self.address, self.topics.clone(), self.data.clone())
    }
}

/// Looks for the effect of transactions; see [`Chain::observe`](chains_core::chain::Chain::observe).
///
/// # Errors
/// No endpoint answered.
pub(crate) async fn observe(context: &Context, watched: &[Watched<'_>]) -> Result<Vec<Observation>, ChainUnavailable> {
    let calls: Vec<Call> =
        watched.iter().flat_map(|w| w.attempts).map(|attempt| Call::receipt(&attempt.transaction)).collect();
    let receipts = context.rpc.all::<Option<Receipt>>(&calls).await.map_err(|error| context.rpc.unavailable(error))?;
    let mut receipts = receipts.into_iter();
    let found = watched.iter().map(|one| {
        let mine: Vec<Receipt> = receipts.by_ref().take(one.attempts.len()).flatten().collect();
        look(context, one, mine)
    });
    join_all(found).await.into_iter().collect::<Result<_, _>>().map_err(|error| context.rpc.unavailable(error))
}

async fn look(context: &Context, watched: &Watched<'_>, receipts: Vec<Receipt>) -> Result<Observation, CallError> {
    let body = Body::read(&watched.plan.body);
    let found = place(context, watched, receipts).await?;
    let place = match (found, &body) {
        (Some(place), Ok(Body::Step(step))) => {
            return Ok(Observation::Landed(sponsored::landed(context, watched, step, place).await));
        }
        (None, Ok(Body::Step(step))) => return sponsored::unseen(context, watched, step).await,
        (None, Ok(Body::Settle(_)) | Err(_)) => return Ok(Observation::Pending),
        (Some(place), Ok(Body::Settle(_)) | Err(_)) => place,
    };
    let Place { receipt, block, timestamp, attempt } = place;
    let effect = match body {
        Ok(Body::Settle(plan)) if receipt.succeeded() && receipt.has(&plan.effect) => Effect::Done,
        Ok(Body::Settle(plan)) => {
            let case = Case { context, watched, plan, attempt, block: &block, timestamp };
            case.investigate(receipt.succeeded()).await
        }
        Ok(Body::Step(_)) => Effect::Unclear("a step was taken for a payment".to_owned()),
        Err(error) => Effect::Unclear(format!("the stored plan cannot be read: {error}")),
    };
    Ok(Observation::Landed(Landed {
        transaction: attempt.transaction.clone(),
        fee_paid: receipt.fee_paid(),
        gas_used: receipt.gas_used(),
        block,
        effect,
    }))
}

/// An attempt, and where it is.
struct Place<'a> {
    receipt: Receipt,
    block: BlockRef,
    timestamp: u64,
    attempt: &'a SignedTransaction,
}

/// The attempt that is in a block of the canonical chain.
async fn place<'a>(
    context: &Context,
    watched: &Watched<'a>,
    receipts: Vec<Receipt>,
) -> Result<Option<Place<'a>>, CallError> {
    for receipt in receipts {
        let Some(block) = receipt.block() else { continue };
        let Some(timestamp) = canonical(context, &block).await? else { continue };
        let attempt = watched.attempts.iter().find(|a| a.transaction.eq_ignore_ascii_case(&receipt.transaction_hash));
        if let Some(attempt) = attempt {
            return Ok(Some(Place { receipt, block, timestamp, attempt }));
        }
    }
    Ok(None)
}

/// The block's time when it is part of the chain as it is now.
async fn canonical(context: &Context, block: &BlockRef) -> Result<Option<u64>, CallError> {
    let same = |hash: &str| hash.eq_ignore_ascii_case(&block.hash);
    if let Some(seen) = context.heads.recent(block.number).filter(|seen| same(&seen.hash)) {
        return Ok(Some(seen.timestamp));
    }
    let now = context.heads.at(&context.rpc, block.number).await?;
    Ok(now.filter(|now| same(&now.hash)).map(|now| now.timestamp))
}

/// A transaction that is in a block without its effect.
struct Case<'a> {
    context: &'a Context,
    watched: &'a Watched<'a>,
    plan: Plan,
    attempt: &'a SignedTransaction,
    block: &'a BlockRef,
    timestamp: u64,
}

impl Case<'_> {
    async fn investigate(&self, succeeded: bool) -> Effect {
        if succeeded {
            let message = "the transaction did not make exactly the expected transfer";
            return Effect::Missing(Rejection::new(event_mismatch(self.plan.effect.method), message));
        }
        let found = match self.used_at(self.block.number).await {
            Ok(false) => Ok(Effect::Missing(self.revert_reason().await)),
            Ok(true) => self.find_use().await,
            Err(error) => Err(error),
        };
        found.unwrap_or_else(|error| Effect::Unclear(error.to_string()))
    }

    /// Why it reverted although the authorization was not used.
    async fn revert_reason(&self) -> Rejection {
        let method = self.plan.effect.method;
        if self.watched.plan.valid_before.is_some_and(|time| self.timestamp >= time) {
            let code = match method {
                Method::Eip3009 => reason::VALID_BEFORE,
                Method::Permit2 | Method::Upto => reason::PERMIT2_DEADLINE_EXPIRED,
            };
            return Rejection::new(code, "the authorization had expired when its block came");
        }
        let error = self.replay().await;
        let text = error.as_ref().map(NodeError::revert_text).unwrap_or_default();
        let code = match method {
            Method::Eip3009 => reason::of_revert(&text).unwrap_or(reason::TRANSACTION_FAILED),
            Method::Permit2 => error.as_ref().and_then(permit2_code).unwrap_or(reason::TRANSACTION_FAILED),
            Method::Upto => error.as_ref().and_then(permit2_code).unwrap_or(reason::UPTO_TRANSACTION_FAILED),
        };
        let said = if text.is_empty() { "no reason is known".to_owned() } else { text };
        Rejection::new(code, format!("the transaction failed on chain: {said}"))
    }

    /// What the contract says to the same call: after its block, since what
    /// made it fail may have come in the same block, or else before it.
    async fn replay(&self) -> Option<NodeError> {
        let from = self.context.wallets.address(&self.attempt.gas_wallet)?;
        for number in [self.block.number, self.block.number.saturating_sub(1)] {
            let call = Call::replay(from, self.plan.to, &self.plan.data, self.plan.gas_limit, At::Number(number));
            match self.context.rpc.call::<Bytes>(call).await {
                Err(CallError::Node { error, .. }) if error.is_revert() => return Some(error),
                Err(_) | Ok(_) => {}
            }
        }
        None
    }
}

fn permit2_code(error: &NodeError) -> Option<chains_core::Code> {
    reason::of_permit2_revert(error.data.as_deref()?)
}

fn unreadable() -> CallError {
    CallError::unreadable()
}

#[cfg(test)]
mod tests;
