use std::{str::FromStr, time::Instant};

use async_trait::async_trait;
use chains_core::{
    Amount, Rejection,
    chain::{ChainUnavailable, Execution, QuoteError, SignError},
    observation::{Block, Depth, FinalBlock, Observation, Recheck, TransactionView, Urgency},
    transaction::{BroadcastResult, Fee, Plan, Purpose, SignedTransaction},
};
use solana_commitment_config::CommitmentConfig;
use solana_sdk::signature::Signature;

use super::SvmChain;
use crate::{context::Context, observe, plan::TransferPlan, reason, recheck};

/// Blocks that a blockhash must at least be accepted for when its transaction
/// is signed: time for a few leaders.
const LANDING_BLOCKS: u64 = 8;

#[async_trait]
impl Execution for SvmChain {
    /// A transaction's place is given by its blockhash: there are no nonces.
    async fn nonce(&self, _: &str, _: Depth) -> Result<Option<u64>, ChainUnavailable> {
        Ok(None)
    }

    async fn balance(&self, gas_wallet: &str) -> Result<Amount, ChainUnavailable> {
        let rpc = &self.context.rpc;
        let address = self.context.wallets.address(gas_wallet);
        let address = address.ok_or_else(|| rpc.unavailable(format!("fee payer {gas_wallet} has no key here")))?;
        let balance = rpc
            .read(|client| {
                let commitment = CommitmentConfig::confirmed();
                async move { client.get_balance_with_commitment(&address, commitment).await }
            })
            .await
            .map_err(|error| rpc.unavailable(error))?;
        Ok(Amount::from(balance.value))
    }

    /// The payer's transaction offers what it offers.
    fn quote(&self, purpose: Purpose<'_>) -> Result<Fee, QuoteError> {
        let plan = plan_of(purpose)?;
        self.context.blocks.newest().ok_or(QuoteError::NoBlock)?;
        Ok(TransferPlan::of(plan)?.fee()?)
    }

    /// The payer has fixed everything but our signature.
    fn sign(
        &self,
        gas_wallet: &str,
        _: Option<u64>,
        purpose: Purpose<'_>,
        fee: &Fee,
    ) -> Result<SignedTransaction, SignError> {
        let plan = TransferPlan::of(plan_of(purpose)?)?;
        if plan.transaction.fee_payer().map(ToString::to_string).as_deref() != Some(gas_wallet) {
            return Err(SignError::Plan(format!("{gas_wallet} does not pay the transaction's fee")));
        }
        let height = self.context.blocks.newest().map_or(0, |newest| newest.height);
        if plan.body.last_valid_block_height < height.saturating_add(LANDING_BLOCKS) {
            let message = "the transaction's blockhash is too old for it to be included in time: sign with a new one";
            return Err(SignError::Void(Rejection::new(reason::BLOCKHASH_EXPIRING, message)));
        }
        let signature = self.context.wallets.sign(gas_wallet, plan.transaction.message());
        let signature = signature.ok_or_else(|| SignError::NoKey(gas_wallet.to_owned()))?;
        Ok(SignedTransaction {
            hash: signature.to_string(),
            raw: plan.transaction.cosigned(&signature),
            gas_wallet: gas_wallet.to_owned(),
            nonce: None,
            fee: fee.clone(),
        })
    }

    async fn recheck(&self, plans: &[Plan]) -> Vec<Recheck> {
        recheck::recheck(&self.context, plans).await
    }

    async fn broadcast(&self, transactions: &[SignedTransaction]) -> Vec<BroadcastResult> {
        let Context { resends, rpc, .. } = &*self.context;
        let now = Instant::now();
        let signature = |transaction: &SignedTransaction| Signature::from_str(&transaction.hash).unwrap_or_default();
        let early = resends.too_early(&transactions.iter().map(signature).collect::<Vec<_>>(), now);
        let due: Vec<&SignedTransaction> =
            transactions.iter().zip(&early).filter(|(_, early)| early.is_none()).map(|(due, _)| due).collect();
        let raw: Vec<&[u8]> = due.iter().map(|transaction| transaction.raw.as_slice()).collect();
        let answers = rpc.send(&raw).await;
        for (sent, answer) in due.iter().zip(&answers) {
            resends.note(signature(sent), answer.clone(), now);
        }
        let mut answers = answers.into_iter();
        let unknown = || BroadcastResult::Unknown("no endpoint answered".to_owned());
        early.into_iter().map(|early| early.or_else(|| answers.next()).unwrap_or_else(unknown)).collect()
    }

    async fn next_block(&self, after: Option<&Block>, urgency: Urgency) -> Result<Block, ChainUnavailable> {
        let Context { blocks, rpc, logs, clock, .. } = &*self.context;
        blocks.next(rpc, logs, &**clock, after, urgency).await
    }

    async fn final_block(&self) -> Result<FinalBlock, ChainUnavailable> {
        let Context { rpc, clock, .. } = &*self.context;
        let number =
            rpc.second_highest_of_two(|client| client.get_slot_with_commitment(CommitmentConfig::finalized())).await;
        let number = number.map_err(|error| rpc.unavailable(error))?;
        Ok(FinalBlock { number, timestamp: clock.now().seconds() })
    }

    async fn observe(&self, transactions: &[TransactionView<'_>]) -> Result<Vec<Observation>, ChainUnavailable> {
        observe::observe(&self.context, transactions).await
    }

    async fn investigate(&self, transaction: &TransactionView<'_>) -> Result<Observation, ChainUnavailable> {
        observe::investigate(&self.context, transaction).await
    }
}

/// The one plan that a transaction carries: the payer's message has room for no other.
fn plan_of(purpose: Purpose<'_>) -> Result<&Plan, SignError> {
    match purpose {
        Purpose::Steps([plan]) => Ok(plan),
        Purpose::Steps(plans) => {
            Err(SignError::Plan(format!("{} payments in one transaction: each has its own here", plans.len())))
        }
        Purpose::Cancel => Err(SignError::Plan("there are no nonces here, so nothing can be cancelled".to_owned())),
        Purpose::DeployBatchContract => {
            Err(SignError::Plan("each payment has a transaction of its own here".to_owned()))
        }
    }
}
