//! The fate of one step of a transaction that is in a block.

use alloy::{
    consensus::{Transaction as _, TxEnvelope},
    eips::eip2718::Decodable2718,
};
use chains_core::{
    Amount,
    observation::{Effect, Item, TransactionView},
    transaction::SignedTransaction,
};

use super::{Effort, investigation::Case, placement::Placement, sponsored};
use crate::{
    context::Context,
    extension::sponsoring::steps::{Body, Step},
    rpc::Rpc,
    tx::{batch, plan::TransferPlan, sign},
};

/// One transaction, being looked at through one endpoint.
pub(super) struct Look<'a> {
    pub context: &'a Context,
    pub rpc: &'a Rpc,
    pub view: &'a TransactionView<'a>,
    pub effort: Effort,
}

impl Look<'_> {
    /// Finds out what became of one of its items.
    pub async fn effect(&self, place: &Placement<'_>, item: &Item<'_>) -> Effect {
        match sign::body(item.plan).as_deref() {
            Ok(Body::Settle(plan)) => self.settle(place, item, plan).await,
            Ok(Body::Step(step)) => sponsored::landed(self, item, step, place).await,
            Err(error) => Effect::Unclear(error.to_string()),
        }
    }

    async fn settle(&self, place: &Placement<'_>, item: &Item<'_>, plan: &TransferPlan) -> Effect {
        let succeeded = succeeded(place, plan);
        if succeeded.is_some_and(|alike| place.receipt.has(&plan.effect, alike)) {
            return Effect::Done;
        }
        if self.effort == Effort::Receipts {
            return Effect::Unclear(
                "the transaction is in a block without its transfer: the reason is looked for".to_owned(),
            );
        }
        let cancelled = is_cancellation(place.attempt);
        let case = Case { look: self, item, plan, place, cancelled, succeeded: succeeded.is_some() };
        case.investigate().await.unwrap_or_else(|error| Effect::Unclear(error.to_string()))
    }

    /// The price of the transaction, with what it gave away: for gas money the
    /// gas and the money; for a payer's own approval nothing.
    pub fn fee_paid(&self, place: &Placement<'_>) -> Amount {
        let paid = place.receipt.fee_paid();
        let [item] = self.view.items else { return paid };
        match sign::body(item.plan).as_deref() {
            Ok(Body::Step(Step::Fund(fund))) if place.receipt.succeeded() && !is_cancellation(place.attempt) => {
                Amount::from(paid.to_u256().saturating_add(fund.value))
            }
            Ok(Body::Step(Step::Approve(_))) => Amount::ZERO,
            Ok(Body::Settle(_) | Body::Step(Step::Fund(_))) | Err(_) => paid,
        }
    }
}

/// Returns that the settlement's own call succeeded, and how many calls of
/// its transaction that did move the same tokens in the same way: one,
/// unless it carries many settlements. `None` when it did not succeed.
fn succeeded(place: &Placement<'_>, plan: &TransferPlan) -> Option<usize> {
    if !place.receipt.succeeded() {
        return None;
    }
    let Some(shared) = batch::Place::of(&place.attempt.raw, plan) else { return Some(1) };
    // Its address has code, and the code was given this very settlement, or there is no event.
    let succeeded = place.receipt.carried(shared.contract)?;
    shared.succeeded(succeeded).then(|| shared.alike(succeeded))
}

/// Returns whether an attempt only uses up its nonce: a transfer of nothing, without
/// data, from the gas wallet to itself.
pub(crate) fn is_cancellation(attempt: &SignedTransaction) -> bool {
    let Ok(envelope) = TxEnvelope::decode_2718(&mut attempt.raw.as_slice()) else { return false };
    let to_itself = envelope.to().is_some_and(|to| Some(to) == crate::parse::address(&attempt.gas_wallet));
    to_itself && envelope.value().is_zero() && envelope.input().is_empty()
}
