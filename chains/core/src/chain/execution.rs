use async_trait::async_trait;

use super::{ChainUnavailable, QuoteError, SignError};
use crate::{
    Amount, Rejection,
    observation::{Block, BlockRef, Depth, Effect, FinalBlock, Item, Observation, Recheck, TransactionView, Urgency},
    transaction::{BroadcastResult, Fee, Plan, Purpose, SignedTransaction},
};

/// The actions of a chain: quote, sign, broadcast, follow, observe.
///
/// With several endpoints, whatever ends a settlement rests on
/// two that agree; a value that one endpoint alone claims is never more than a
/// reason to ask again.
#[async_trait]
pub trait Execution: Send + Sync {
    /// The next unused nonce of a gas wallet; `None` on chains without nonces.
    /// Called before the wallet's worker opens.
    async fn nonce(&self, gas_wallet: &str, depth: Depth) -> Result<Option<u64>, ChainUnavailable>;

    /// The gas wallet's balance in the chain's own coin, in atomic units.
    /// Called when the worker opens and every few seconds while it is open.
    async fn balance(&self, gas_wallet: &str) -> Result<Amount, ChainUnavailable>;

    /// Returns the fee that a transaction for this purpose must offer now. Local: from the
    /// newest block. Called by the worker before it signs, and before a claim.
    ///
    /// # Errors
    /// The market asks for more than the configured ceiling, or no block is known.
    fn quote(&self, purpose: Purpose<'_>) -> Result<Fee, QuoteError>;

    /// Returns true when the next block may take a transaction that offers this
    /// fee, as far as the newest block and the nodes' refusals tell. Local.
    /// Called by the worker with every block, for transactions that wait.
    /// Chains on which a price does not fall behind have no use for it.
    fn is_enough(&self, fee: &Fee) -> bool {
        let _ = fee;
        true
    }

    /// Returns the fee that a transaction must offer to take the place of its
    /// earlier attempts, which have the same nonce and offer these fees: at
    /// least as much as [`quote`](Self::quote), and as much more than the
    /// dearest of them as pools ask for. Local. Called by the worker before it
    /// bumps or cancels. Chains without nonces have no use for it.
    ///
    /// # Errors
    /// As for [`quote`](Self::quote), or pools would ask for far more than
    /// the market does.
    fn quote_replacement(&self, purpose: Purpose<'_>, attempts: &[&Fee]) -> Result<Fee, QuoteError> {
        let _ = attempts;
        self.quote(purpose)
    }

    /// Returns true when using up the nonce of a transaction, whose attempts
    /// offer these fees, costs less than its inclusion, after which its plan
    /// fails: it can no longer succeed. Local. Called by the worker before it
    /// cancels.
    fn cancel_pays(&self, plan: &Plan, attempts: &[&Fee]) -> bool {
        let _ = (plan, attempts);
        false
    }

    /// Returns the number of steps that one transaction may carry now, this one
    /// counted, when it carries this one; 1 where it goes alone. Local. Called
    /// by the worker when its places are nearly used up.
    fn batch_max(&self, plan: &Plan) -> usize {
        let _ = plan;
        1
    }

    /// Checks that a plan is not void before a transaction that is signed now
    /// can be included. Local. Called by the worker for each of several plans
    /// before it signs them together.
    ///
    /// # Errors
    /// It would be void.
    fn check_valid(&self, plan: &Plan) -> Result<(), Rejection> {
        let _ = plan;
        Ok(())
    }

    /// The bytes for a purpose. Local: no I/O. The same arguments give the same
    /// bytes. Bytes that somebody else signed (a payer's own approval) leave
    /// the nonce unused: theirs is `None`. Called by the worker of the gas
    /// wallet, with a fee from [`quote`](Self::quote).
    ///
    /// # Errors
    /// There is no key, the plan is not one of this build, or it would be void
    /// before the transaction can be included; of several plans, all would be.
    fn sign(
        &self,
        gas_wallet: &str,
        nonce: Option<u64>,
        purpose: Purpose<'_>,
        fee: &Fee,
    ) -> Result<SignedTransaction, SignError>;

    /// Names what no two settlements may use at a time, of what this plan uses:
    /// a second one is told to come back. `None` where plans do not disturb
    /// each other.
    fn exclusive(&self, plan: &Plan) -> Option<String> {
        let _ = plan;
        None
    }

    /// Checks that plans which waited would still succeed in the next block. One
    /// answer for each, in order. Called by the worker for what was verified
    /// more than a block ago, and for a step whose transaction is dead.
    async fn recheck(&self, plans: &[Plan]) -> Vec<Recheck>;

    /// Sends bytes that the store already holds, to every endpoint. Sending
    /// the same bytes again is harmless. One answer for each, in order; a
    /// cancelled call is an unknown one.
    async fn broadcast(&self, transactions: &[SignedTransaction]) -> Vec<BroadcastResult>;

    /// The next block after `after` (in order, none left out unless the chain
    /// went on without us for long), or the newest when `after` is `None` or
    /// no longer part of the chain. Waits for it. Called by the block tracker.
    async fn next_block(&self, after: Option<&Block>, urgency: Urgency) -> Result<Block, ChainUnavailable>;

    /// The newest block that the chain can no longer take back. Called by the
    /// finality check.
    async fn final_block(&self) -> Result<FinalBlock, ChainUnavailable>;

    /// Returns, of each block, whether it is part of the chain, where that alone
    /// says that the transfers which were seen in it are there; `None` where
    /// they have to be looked for, or endpoints do not agree. Asked after
    /// [`final_block`](Self::final_block), for blocks up to that one. Called by
    /// the finality check.
    async fn are_canonical(&self, blocks: &[BlockRef]) -> Result<Vec<Option<bool>>, ChainUnavailable> {
        Ok(vec![None; blocks.len()])
    }

    /// Looks for transactions, in as few requests as go. One answer for each,
    /// in order. What takes more than receipts is
    /// [`Unclear`](crate::observation::Effect::Unclear) here. Called by workers
    /// with every block, for transactions that it lists.
    async fn observe(&self, transactions: &[TransactionView<'_>]) -> Result<Vec<Observation>, ChainUnavailable>;

    /// Finds out what became of a step without any transaction of ours: it was
    /// executed elsewhere, or it is [`Missing`](Effect::Missing), with the time
    /// until which it can still be executed. Called for a step whose
    /// transaction is dead, and for failed payments that are still executable.
    async fn trace_authorization(&self, item: &Item<'_>) -> Result<Effect, ChainUnavailable> {
        let _ = item;
        Ok(Effect::Unclear("this chain family does not follow authorizations".to_owned()))
    }

    /// Finds out what became of one transaction, whatever it takes: logs,
    /// older states, traces, other endpoints. Called by investigations, the
    /// finality check and the audit; may take seconds.
    async fn investigate(&self, transaction: &TransactionView<'_>) -> Result<Observation, ChainUnavailable>;
}
