//! The fate of an authorization without any transaction of ours.

use chains_core::{
    Rejection,
    chain::ChainUnavailable,
    observation::{Effect, Item},
};

use super::{authorization_use::UseSearch, canonical, investigation::FOR_EVER, newest_state::NewestState, verdict};
use crate::{
    blocks,
    context::Context,
    extension::sponsoring::steps::Body,
    reason,
    rpc::{Rpc, error::CallError},
    tx::{
        plan::{Method, TransferPlan},
        sign,
    },
};

/// Finds out what became of a step without a transaction of ours; see
/// [`Execution::trace_authorization`](chains_core::chain::Execution::trace_authorization).
///
/// # Errors
/// No endpoint answered.
pub(crate) async fn trace(context: &Context, item: &Item<'_>) -> Result<Effect, ChainUnavailable> {
    let ask = |rpc: Rpc| async move { at_endpoint(context, &rpc, item).await };
    canonical::begin(context);
    let said = context.rpc.agree(ask, verdict::effect_key).await.map_err(|error| context.rpc.unavailable(error))?;
    canonical::note_effect_alone(context, &said);
    Ok(verdict::merge_effects(said))
}

/// The authorization of a step as one endpoint shows it.
///
/// # Errors
/// The endpoint gave no answer.
pub(super) async fn at_endpoint(context: &Context, rpc: &Rpc, item: &Item<'_>) -> Result<Effect, CallError> {
    let plan = match sign::body(item.plan).as_deref() {
        Ok(Body::Settle(plan)) => plan.clone(),
        Ok(Body::Step(step)) => step.settle().clone(),
        Err(error) => return Ok(Effect::Unclear(error.to_string())),
    };
    at(context, rpc, item, &plan).await
}

/// A transfer's authorization as one endpoint shows it.
async fn at(context: &Context, rpc: &Rpc, item: &Item<'_>, plan: &TransferPlan) -> Result<Effect, CallError> {
    let newest = NewestState::read(rpc).await?;
    if newest.is_used(&plan.effect).await? {
        return UseSearch { context, rpc, item, plan, block_number: newest.number() }.find_use().await;
    }
    let executable_until = executable_until(context, rpc, item).await?;
    let code = match plan.effect.method {
        Method::Eip3009 => reason::VALID_BEFORE,
        Method::Permit2 | Method::Upto => reason::PERMIT2_DEADLINE_EXPIRED,
    };
    let why = Rejection::new(code, "the authorization expired before a block took the payment");
    Ok(Effect::Missing { why, executable_until })
}

/// The chain time until which whoever holds the payload can still execute it;
/// `None` when it is over in a block that is deep enough.
pub(super) async fn executable_until(context: &Context, rpc: &Rpc, item: &Item<'_>) -> Result<Option<u64>, CallError> {
    let deep = blocks::confirmed(rpc, context.config.confirmations).await?;
    let until = item.plan.valid_before.unwrap_or(FOR_EVER);
    Ok((deep.timestamp < until).then_some(until))
}
