//! A transaction that is in a block without its transfer: what came of the
//! payment.

use alloy::primitives::Bytes;
use chains_core::{
    Rejection,
    observation::{Effect, Item},
};

use super::{
    authorization::executable_until, authorization_use::UseSearch, effect::Look, newest_state::NewestState,
    placement::Placement,
};
use crate::{
    method::permit2::evaluation::event_mismatch,
    reason,
    rpc::{
        Rpc,
        error::{CallError, NodeError},
        method::{At, Call},
    },
    tx::plan::{Method, TransferPlan},
};

/// The latest chain time that a store's integers hold.
pub(super) const FOR_EVER: u64 = i64::MAX.unsigned_abs();

/// A transaction that is in a block without its transfer.
pub(super) struct Case<'a> {
    pub look: &'a Look<'a>,
    pub item: &'a Item<'a>,
    pub plan: &'a TransferPlan,
    pub place: &'a Placement<'a>,
    /// The attempt only used up its nonce.
    pub cancelled: bool,
    /// The settlement's own call was not undone.
    pub succeeded: bool,
}

impl Case<'_> {
    /// The endpoint.
    pub const fn rpc(&self) -> &Rpc {
        self.look.rpc
    }

    /// Finds out what became of the payment. Read from the newest state: an
    /// authorization that is unused there was never used, and our transaction
    /// has had its turn, as long as its block is part of the chain.
    pub async fn investigate(&self) -> Result<Effect, CallError> {
        let newest = NewestState::read(self.rpc()).await?;
        let effect = self.effect(&newest).await?;
        if newest.still_follows(&self.place.block).await? {
            return Ok(effect);
        }
        Ok(Effect::Unclear("the chain took a block back while the payment was looked for".to_owned()))
    }

    async fn effect(&self, newest: &NewestState<'_>) -> Result<Effect, CallError> {
        let used = newest.is_used(&self.plan.effect).await?;
        let executable_until =
            if used { None } else { executable_until(self.look.context, self.rpc(), self.item).await? };
        if self.succeeded && !self.cancelled {
            let message = "the transaction did not make exactly the expected transfer";
            let why = Rejection::new(event_mismatch(self.plan.effect.method), message);
            return Ok(Effect::Missing { why, executable_until });
        }
        if used {
            let (context, rpc, item, plan) = (self.look.context, self.look.rpc, self.item, self.plan);
            let search = UseSearch { context, rpc, item, plan, block_number: self.place.block.number };
            return search.find_use().await;
        }
        let why = if self.cancelled { self.cancellation() } else { self.revert_reason().await };
        Ok(Effect::Missing { why, executable_until })
    }

    fn is_over(&self) -> bool {
        self.item.plan.valid_before.is_some_and(|time| self.place.timestamp >= time)
    }

    const fn expired(&self) -> chains_core::Code {
        match self.plan.effect.method {
            Method::Eip3009 => reason::VALID_BEFORE,
            Method::Permit2 | Method::Upto => reason::PERMIT2_DEADLINE_EXPIRED,
        }
    }

    fn cancellation(&self) -> Rejection {
        if self.is_over() {
            return Rejection::new(self.expired(), "the authorization expired before a block took the transaction");
        }
        let code = match self.plan.effect.method {
            Method::Eip3009 | Method::Permit2 => reason::TRANSACTION_FAILED,
            Method::Upto => reason::UPTO_TRANSACTION_FAILED,
        };
        Rejection::new(code, "the transaction was cancelled before a block took it")
    }

    /// Returns the reason for a revert although the authorization was not used.
    async fn revert_reason(&self) -> Rejection {
        if self.is_over() {
            return Rejection::new(self.expired(), "the authorization had expired when its block came");
        }
        let error = self.replay().await;
        let text = error.as_ref().map(NodeError::revert_text).unwrap_or_default();
        let code = match self.plan.effect.method {
            Method::Eip3009 => reason::of_revert(&text).unwrap_or(reason::TRANSACTION_FAILED),
            Method::Permit2 => error.as_ref().and_then(permit2_code).unwrap_or(reason::TRANSACTION_FAILED),
            Method::Upto => error.as_ref().and_then(permit2_code).unwrap_or(reason::UPTO_TRANSACTION_FAILED),
        };
        let said = if text.is_empty() { "no reason is known".to_owned() } else { text };
        Rejection::new(code, format!("the transaction failed on chain: {said}"))
    }

    /// Returns the contract's words to the same call: after its block, since what
    /// made it fail may have come in the same block, or else before it, or
    /// else now, where the node keeps no older state.
    async fn replay(&self) -> Option<NodeError> {
        let from = crate::parse::address(&self.place.attempt.gas_wallet)?;
        let number = self.place.block.number;
        for at in [At::Number(number), At::Number(number.saturating_sub(1)), At::Latest] {
            let call = Call::replay(from, self.plan.to, &self.plan.data, self.plan.gas_limit, at);
            match self.rpc().call::<Bytes>(call).await {
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
