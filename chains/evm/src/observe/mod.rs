//! The fate of transactions, with proof.
//!
//! | module | what it holds |
//! |---|---|
//! | [`placement`] | where transactions are, as one endpoint sees it |
//! | [`receipt`] | receipts and logs, read |
//! | [`block_receipts`] | those of a block that is ours for the most part, asked for once |
//! | [`effect`] | what became of one step, as far as receipts tell, and beyond |
//! | [`investigation`] | why a transfer is missing, or where else it was made |
//! | [`canonical`] | blocks that are still part of the chain |
//! | [`authorization`] | what became of an authorization without a transaction of ours |
//! | [`authorization_use`], [`log_search`], [`trace`] | who used an authorization |
//! | [`newest_state`] | the state of a block that is part of the chain |
//! | [`sponsored`] | the steps before a sponsored settlement |
//! | [`verdict`] | one observation out of those of several endpoints |
//!
//! A receipt says that a transaction is in a block. The token's logs, its
//! `authorizationState` and Permit2's `nonceBitmap` say whether the payment
//! happened; the receipt's status alone never does. Each endpoint is asked the
//! whole question by itself, and two that agree decide. Where proof is not to
//! be had, the answer is "unclear", never "missing".

mod authorization;
mod authorization_use;
mod block_receipts;
mod canonical;
mod effect;
mod investigation;
mod log_search;
mod newest_state;
mod placement;
mod receipt;
mod sponsored;
#[cfg(test)]
mod tests;
mod trace;
mod verdict;

use chains_core::{
    chain::ChainUnavailable,
    observation::{Effect, Inclusion, Observation, TransactionView},
};
use futures::future::join_all;

#[cfg(test)]
pub(crate) use self::effect::is_cancellation;
pub(crate) use self::{
    authorization::trace as trace_authorization,
    block_receipts::BlockReceipts,
    canonical::{Witnessed, are_canonical},
};
use self::{
    effect::Look,
    placement::{Found, Placement},
};
use crate::{
    context::Context,
    extension::sponsoring::steps::Body,
    rpc::{Rpc, error::CallError},
    tx::sign,
};

/// The effort that an answer about a transaction is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effort {
    /// Receipts and blocks; state only where a receipt can never come.
    Receipts,
    /// Logs, states and traces too.
    Proof,
}

/// Looks for transactions by their receipts; see
/// [`Execution::observe`](chains_core::chain::Execution::observe).
///
/// # Errors
/// No endpoint answered.
pub(crate) async fn observe(
    context: &Context,
    views: &[TransactionView<'_>],
) -> Result<Vec<Observation>, ChainUnavailable> {
    agreed(context, views, Effort::Receipts).await
}

/// Finds out what became of one transaction, whatever it takes; see
/// [`Execution::investigate`](chains_core::chain::Execution::investigate).
///
/// # Errors
/// No endpoint answered.
pub(crate) async fn investigate(
    context: &Context,
    view: &TransactionView<'_>,
) -> Result<Observation, ChainUnavailable> {
    let mut observations = agreed(context, std::slice::from_ref(view), Effort::Proof).await?;
    observations.pop().ok_or_else(|| context.rpc.unavailable("nothing was observed"))
}

async fn agreed(
    context: &Context,
    views: &[TransactionView<'_>],
    effort: Effort,
) -> Result<Vec<Observation>, ChainUnavailable> {
    canonical::begin(context);
    let ask = |rpc| look(context, rpc, views, effort);
    let said = context.rpc.agree_each(views.len(), ask, verdict::key, verdict::join).await;
    let said = said.map_err(|error| context.rpc.unavailable(error))?;
    canonical::note_alone(context, &said);
    let observations: Vec<_> = said.into_iter().map(verdict::merge).collect();
    for (view, observation) in views.iter().zip(&observations) {
        sponsored::note(context, view, observation);
    }
    Ok(observations)
}

/// The transactions as one endpoint shows them; `None` for those about which
/// it has no answer.
///
/// # Errors
/// It has no answer about any of them.
async fn look(
    context: &Context,
    rpc: Rpc,
    views: &[TransactionView<'_>],
    effort: Effort,
) -> Result<Vec<Option<Observation>>, CallError> {
    let found = placement::find(context, &rpc, views).await?;
    let observed = views.iter().zip(found).map(|(view, found)| {
        let look = Look { context, rpc: &rpc, view, effort };
        async move {
            match found? {
                Found::Placed(place) => look.included(&place).await,
                Found::Nowhere => look.unseen().await,
                Found::NonceUsed => Ok(look.replaced().await),
            }
        }
    });
    let observed = join_all(observed).await;
    match observed.iter().find_map(|observed| observed.as_ref().err()) {
        Some(error) if observed.iter().all(Result::is_err) => Err(error.clone()),
        _ => Ok(observed.into_iter().map(Result::ok).collect()),
    }
}

impl Look<'_> {
    /// A transaction that a block includes.
    pub(super) async fn included(&self, place: &Placement<'_>) -> Result<Observation, CallError> {
        let mut effects = Vec::with_capacity(self.view.items.len());
        for item in self.view.items {
            effects.push(self.effect(place, item).await);
        }
        let inclusion = Inclusion {
            hash: place.attempt.hash.clone(),
            block: place.block.clone(),
            timestamp: Some(place.timestamp),
            confirmed: place.confirmed,
            fee_paid: self.fee_paid(place),
            gas_used: place.receipt.gas_used(),
        };
        Ok(Observation::Included(inclusion, effects))
    }

    /// A transaction that no block includes.
    async fn unseen(&self) -> Result<Observation, CallError> {
        let [item] = self.view.items else { return Ok(Observation::Pending) };
        match sign::body(item.plan).as_deref() {
            Ok(Body::Step(step)) => sponsored::unseen(self, item, step).await,
            Ok(Body::Settle(_)) | Err(_) => Ok(Observation::Pending),
        }
    }

    /// A transaction that no block includes, and whose nonce is used. Where an
    /// authorization is used and nothing tells by what, or the node does not
    /// tell, it may have been this very transaction, of which the node has no receipt.
    async fn replaced(&self) -> Observation {
        for item in self.view.items {
            let why = match authorization::at_endpoint(self.context, self.rpc, item).await {
                Ok(Effect::Unclear(why)) => why,
                Ok(_) => continue,
                Err(error) => format!("what used the authorization cannot be asked: {error}"),
            };
            let why = format!("its nonce is used, the node has no receipt of it, and {why}");
            return Observation::Unknown { nonce_used: true, why };
        }
        Observation::Replaced
    }
}
