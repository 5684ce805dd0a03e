//! The fate of the steps before a sponsored settlement.
//!
//! A step that comes to nothing ends the settlement, and safely: the payment
//! itself is signed only after the approval. Of an approval counts that Permit2
//! may take the payment: the token's log of it, or the state of a block that
//! is deep enough.

use alloy::{primitives::Bytes, sol_types::SolCall};
use chains_core::{
    Amount, Code, Rejection,
    observation::{BlockRef, Depth, Effect, Inclusion, Item, Observation, TransactionView},
};
use tokio::time::Instant;

use super::{
    Effort,
    effect::{Look, is_cancellation},
    investigation::FOR_EVER,
    placement::Placement,
};
use crate::{
    abi::Token,
    blocks::{self, Header},
    context::Context,
    extension::sponsoring::steps::{Approve, Body, Step},
    method::permit2::abi::PERMIT2,
    reason,
    rpc::{
        Rpc,
        error::CallError,
        method::{At, Call},
    },
    tx::{plan::Transfer, sign},
    wallet,
};

/// Finds out what became of a step whose transaction is in a block. Everything that
/// endpoints are compared by follows from that block, not from the moment.
pub(super) async fn landed(look: &Look<'_>, item: &Item<'_>, step: &Step, place: &Placement<'_>) -> Effect {
    if is_over(item, place.timestamp) {
        return Effect::Missing { why: over(), executable_until: None };
    }
    let goes_on = match step {
        Step::Fund(_) => Ok(place.receipt.succeeded() && !is_cancellation(place.attempt)),
        Step::Approve(approve) => is_approved(look, approve, place).await,
    };
    match (goes_on, step) {
        (Err(why), _) => Effect::Unclear(why),
        (Ok(true), _) => Effect::Continues(step.next(item.plan, place.timestamp)),
        (Ok(false), Step::Fund(_)) => missing(item, failed("the payer's account did not take its gas money")),
        (Ok(false), Step::Approve(_)) => {
            missing(item, failed("the payer's approval is on chain, and Permit2 may not take enough"))
        }
    }
}

async fn is_approved(look: &Look<'_>, approve: &Approve, place: &Placement<'_>) -> Result<bool, String> {
    let effect = &approve.settle.effect;
    if place.receipt.succeeded() && place.receipt.approves(effect) {
        return Ok(true);
    }
    if look.effort == Effort::Receipts {
        return Err("the receipt of the payer's approval does not show it: the allowance is looked for".to_owned());
    }
    let at = At::Number(place.block.number);
    if let Ok(allowed) = is_allowed(look.rpc, effect, at).await {
        return Ok(allowed);
    }
    // That state is gone: what is allowed now is what counts for the next step.
    is_allowed(look.rpc, effect, At::Latest).await.map_err(|error| error.to_string())
}

/// A step whose transaction is in no block.
///
/// # Errors
/// The endpoint gave no answer.
pub(super) async fn unseen(look: &Look<'_>, item: &Item<'_>, step: &Step) -> Result<Observation, CallError> {
    // What the gas wallet signed is included sooner or later: its nonce waits for it.
    let Step::Approve(approve) = step else { return Ok(Observation::Pending) };
    let Ok(approval) = approve.transaction() else { return Ok(Observation::Pending) };
    let confirmations = look.context.config.confirmations;
    let deep = blocks::confirmed(look.rpc, confirmations).await?;
    if is_over(item, deep.timestamp) {
        return Ok(Observation::Expired(over()));
    }
    let payer = approve.settle.effect.from;
    let nonce = wallet::nonce_at(look.rpc, payer, Depth::Confirmed, confirmations).await?;
    if nonce > approval.nonce {
        return overtaken(look, item, step, &deep).await;
    }
    if deep.timestamp >= approve.until {
        return Ok(Observation::Expired(failed("the payer's approval got into no block in time")));
    }
    Ok(Observation::Pending)
}

/// The payer's nonce is used up, in a block up to this one.
async fn overtaken(look: &Look<'_>, item: &Item<'_>, step: &Step, deep: &Header) -> Result<Observation, CallError> {
    // By the approval itself, after its receipt was asked for?
    let places = super::placement::places(look.context, look.rpc, std::slice::from_ref(look.view)).await?;
    if let Some(place) = places.into_iter().next().transpose()?.flatten() {
        return look.included(&place).await;
    }
    let allowed = is_allowed(look.rpc, &step.settle().effect, At::Number(deep.number)).await?;
    let Some(attempt) = look.view.attempts.last().filter(|_| allowed) else {
        let why = failed("the payer has sent another transaction in the place of its approval");
        return Ok(Observation::Expired(why));
    };
    // Another transaction of the payer did the approval's part, by that block
    // at the latest; which one nobody tells. It cost us nothing.
    let inclusion = Inclusion {
        hash: attempt.hash.clone(),
        block: BlockRef { number: deep.number, hash: deep.hash.clone() },
        timestamp: Some(deep.timestamp),
        confirmed: true,
        fee_paid: Amount::ZERO,
        gas_used: 0,
    };
    Ok(Observation::Included(inclusion, vec![Effect::Continues(step.next(item.plan, deep.timestamp))]))
}

/// Remembers the payer by how its step ended.
pub(super) fn note(context: &Context, view: &TransactionView<'_>, observation: &Observation) {
    let steps = || view.items.iter().map(|item| sign::body(item.plan));
    let failed = |step: &Step| context.ledger.failed(step.settle().effect.from, Instant::now());
    match observation {
        Observation::Included(inclusion, effects) if inclusion.confirmed => {
            for (body, effect) in steps().zip(effects) {
                let Ok(Body::Step(step)) = body.as_deref() else { continue };
                match (step, effect) {
                    (Step::Approve(_), Effect::Continues(_)) => context.ledger.done(step.settle().effect.from),
                    (_, Effect::Missing { .. }) => failed(step),
                    (_, Effect::Continues(_) | Effect::Done | Effect::Elsewhere { .. } | Effect::Unclear(_)) => {}
                }
            }
        }
        Observation::Expired(_) => {
            for body in steps() {
                if let Ok(Body::Step(step)) = body.as_deref() {
                    failed(step);
                }
            }
        }
        Observation::Included(..) | Observation::Pending | Observation::Replaced | Observation::Unknown { .. } => {}
    }
}

/// Returns whether Permit2 may take the payment in a block's state.
async fn is_allowed(rpc: &Rpc, effect: &Transfer, at: At) -> Result<bool, CallError> {
    let question = Token::allowanceCall { owner: effect.from, spender: PERMIT2 }.abi_encode();
    let answer: Bytes = rpc.call(Call::view(effect.token, &question, at)).await?;
    let allowance = Token::allowanceCall::abi_decode_returns(&answer).map_err(|_| CallError::unreadable())?;
    Ok(allowance >= effect.value)
}

/// Returns whether the payer's authorization is over at this chain time, so that no
/// step could help.
fn is_over(item: &Item<'_>, timestamp: u64) -> bool {
    item.plan.valid_before.is_some_and(|time| timestamp >= time)
}

/// The payment was never sent; by whoever holds it, it still can be.
fn missing(item: &Item<'_>, why: Rejection) -> Effect {
    Effect::Missing { why, executable_until: Some(item.plan.valid_before.unwrap_or(FOR_EVER)) }
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
