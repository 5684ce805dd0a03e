//! What became of the steps before a sponsored settlement.
//!
//! A step that comes to nothing ends the settlement, and safely: the payment
//! itself is signed only after the approval. What counts of an approval is not
//! its receipt but what Permit2 may take, read at a block that is deep enough.

use alloy::{
    primitives::{Bytes, U256},
    sol_types::SolCall,
};
use chains_core::{
    Amount, Code, Rejection,
    chain::{BlockRef, Effect, Landed, Observation, Watched},
};
use tokio::time::Instant;

use super::{Place, Receipt, place, unreadable};
use crate::{
    abi::Token,
    context::Context,
    permit2::abi::PERMIT2,
    plan::Transfer,
    reason,
    rpc::{
        error::CallError,
        method::{At, Call, quantity},
    },
    sponsoring::steps::{Approve, Step},
};

/// A step whose transaction is in a block.
pub(super) async fn landed(context: &Context, watched: &Watched<'_>, step: &Step, place: Place<'_>) -> Landed {
    let Place { receipt, block, attempt, .. } = place;
    let goes_on = match step {
        Step::Fund(_) => Ok(receipt.succeeded()),
        Step::Approve(approve) => is_allowed(context, &approve.settle.effect, block.number).await,
    };
    let effect = match (goes_on, step) {
        (Err(error), _) => Effect::Unclear(error.to_string()),
        (Ok(_), _) if is_over(context, watched) => Effect::Missing(over()),
        (Ok(true), _) => Effect::Continues(step.next(watched.plan, context.heads.timestamp())),
        (Ok(false), Step::Fund(_)) => Effect::Missing(failed("the payer's account did not take its gas money")),
        (Ok(false), Step::Approve(_)) => {
            Effect::Missing(failed("the payer's approval is on chain, and Permit2 may not take enough"))
        }
    };
    note(context, step, &effect);
    let (transaction, gas_used) = (attempt.transaction.clone(), receipt.gas_used());
    Landed { transaction, block, fee_paid: fee_paid(step, &receipt), gas_used, effect }
}

/// A step whose transaction is in no block.
pub(super) async fn unseen(context: &Context, watched: &Watched<'_>, step: &Step) -> Result<Observation, CallError> {
    // What the gas wallet signed lands sooner or later: its sequence waits for it.
    let Step::Approve(approve) = step else { return Ok(Observation::Pending) };
    let (Some(newest), Ok(approval)) = (context.heads.newest(), approve.transaction()) else {
        return Ok(Observation::Pending);
    };
    let expired = |why: Rejection| {
        context.ledger.failed(approve.settle.effect.from, Instant::now());
        Ok(Observation::Expired(why))
    };
    if is_over(context, watched) {
        return expired(over());
    }
    let deep = newest.number.saturating_sub(context.config.confirmations.saturating_sub(1));
    let count = Call::transaction_count(approve.settle.effect.from, At::Number(deep));
    let count = quantity(&context.rpc.call::<String>(count).await?).ok_or_else(unreadable)?;
    if count > U256::from(approval.nonce) {
        return overtaken(context, watched, approve, deep).await;
    }
    if newest.timestamp >= approve.until {
        return expired(failed("the payer's approval got into no block in time"));
    }
    Ok(Observation::Pending)
}

/// The payer's nonce is used up, in a block up to this one.
async fn overtaken(
    context: &Context,
    watched: &Watched<'_>,
    approve: &Approve,
    deep: u64,
) -> Result<Observation, CallError> {
    let step = Step::Approve(approve.clone());
    // By the approval itself, after its receipt was asked for?
    let calls: Vec<Call> = watched.attempts.iter().map(|attempt| Call::receipt(&attempt.transaction)).collect();
    let receipts = context.rpc.all::<Option<Receipt>>(&calls).await?.into_iter().flatten().collect();
    if let Some(place) = place(context, watched, receipts).await? {
        return Ok(Observation::Landed(landed(context, watched, &step, place).await));
    }
    let allowed = is_allowed(context, &approve.settle.effect, deep).await?;
    let block = context.heads.at(&context.rpc, deep).await?.ok_or_else(unreadable)?;
    let Some(attempt) = watched.attempts.last().filter(|_| allowed) else {
        context.ledger.failed(approve.settle.effect.from, Instant::now());
        let why = failed("the payer has sent another transaction in the place of its approval");
        return Ok(Observation::Expired(why));
    };
    // Another transaction of the payer did the approval's part, by that block
    // at the latest; which one nobody tells. It cost us nothing.
    let effect = Effect::Continues(step.next(watched.plan, context.heads.timestamp()));
    note(context, &step, &effect);
    Ok(Observation::Landed(Landed {
        transaction: attempt.transaction.clone(),
        block: BlockRef { number: block.number, hash: block.hash },
        fee_paid: Amount::ZERO,
        gas_used: 0,
        effect,
    }))
}

/// What the gas wallet paid: for gas money the gas and the money; for the
/// payer's own approval nothing.
fn fee_paid(step: &Step, receipt: &Receipt) -> Amount {
    match step {
        Step::Fund(fund) if receipt.succeeded() => {
            Amount::from(receipt.fee_paid().to_u256().saturating_add(fund.value))
        }
        Step::Fund(_) => receipt.fee_paid(),
        Step::Approve(_) => Amount::ZERO,
    }
}

/// Remembers the payer by how its step ended.
fn note(context: &Context, step: &Step, effect: &Effect) {
    let payer = step.settle().effect.from;
    match (step, effect) {
        (Step::Approve(_), Effect::Continues(_)) => context.ledger.done(payer),
        (_, Effect::Missing(_)) => context.ledger.failed(payer, Instant::now()),
        (_, Effect::Continues(_) | Effect::Done | Effect::DoneElsewhere { .. } | Effect::Unclear(_)) => {}
    }
}

/// Whether Permit2 may take the payment when this block was the newest.
async fn is_allowed(context: &Context, effect: &Transfer, number: u64) -> Result<bool, CallError> {
    let question = Token::allowanceCall { owner: effect.from, spender: PERMIT2 }.abi_encode();
    let answer: Bytes = context.rpc.call(Call::view(effect.token, &question, At::Number(number))).await?;
    let allowance = Token::allowanceCall::abi_decode_returns(&answer).map_err(|_| unreadable())?;
    Ok(allowance >= effect.value)
}

/// Whether the payer's authorization is over, so that no step could help.
fn is_over(context: &Context, watched: &Watched<'_>) -> bool {
    watched.plan.valid_before.is_some_and(|time| context.heads.timestamp() >= time)
}

fn over() -> Rejection {
    Rejection::new(reason::PERMIT2_DEADLINE_EXPIRED, "the authorization expired before the payer's approval was done")
}

fn failed(message: &'static str) -> Rejection {
    const CODE: Code = reason::APPROVAL_BROADCAST_FAILED;
    Rejection::new(CODE, message)
}

#[cfg(test)]
mod tests;
