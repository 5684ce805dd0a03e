use async_trait::async_trait;
use chains_core::{
    Amount,
    chain::{ChainUnavailable, Execution, QuoteError, SignError},
    observation::{Block, Depth, Effect, FinalBlock, Item, Observation, Recheck, TransactionView, Urgency},
    transaction::{BroadcastResult, Fee, Plan, Purpose, SignedTransaction},
};
use tokio::time::Instant;

use super::EvmChain;
use crate::{
    blocks,
    extension::sponsoring::steps::Body,
    observe, recheck,
    tx::{
        fees::{self, Terms},
        sign::{self, Form},
    },
    wallet,
};

impl EvmChain {
    /// The terms of the next transaction with this gas limit.
    fn terms(&self, gas_limit: u64) -> Result<Terms, QuoteError> {
        let newest = self.context.blocks.newest().ok_or(QuoteError::NoBlock)?;
        let config = &self.context.config;
        fees::quote(newest.header.base_fee, config.tip_per_gas, config.fee_per_gas_max, gas_limit)
    }

    /// The transaction for a purpose of any gas wallet: fees do not depend on it.
    fn form(&self, purpose: Purpose<'_>) -> Result<Form, SignError> {
        sign::form(&self.context.config, self.context.wallets.first(), purpose)
    }

    /// Notes what a plan that is to be signed gives away.
    fn note(&self, purpose: Purpose<'_>) -> Result<(), SignError> {
        let Purpose::Steps(plans) = purpose else { return Ok(()) };
        for plan in plans {
            if let Body::Step(step) = &*sign::body(plan)? {
                self.context.ledger.under_way(step.settle().effect.from, step.funding(), Instant::now());
            }
        }
        Ok(())
    }
}

/// Reads an answer to bytes that a payer signed: it is about the payer's account:
/// no word about the gas wallet, and no end of anything.
pub(super) fn about_the_payer(sent: &SignedTransaction, answer: BroadcastResult) -> BroadcastResult {
    if sent.nonce.is_some() {
        return answer;
    }
    match answer {
        BroadcastResult::InsufficientFunds => {
            BroadcastResult::Unknown("the payer cannot pay for its gas yet".to_owned())
        }
        BroadcastResult::NonceTaken => BroadcastResult::Unknown("another transaction of the payer waits".to_owned()),
        BroadcastResult::Rejected(text) => BroadcastResult::Unknown(text),
        BroadcastResult::Accepted
        | BroadcastResult::Unknown(_)
        | BroadcastResult::NonceTooLow
        | BroadcastResult::NonceGap
        | BroadcastResult::Underpriced(_)
        | BroadcastResult::PoolFull => answer,
    }
}

#[async_trait]
impl Execution for EvmChain {
    async fn nonce(&self, gas_wallet: &str, depth: Depth) -> Result<Option<u64>, ChainUnavailable> {
        wallet::nonce(&self.context, self.address(gas_wallet)?, depth).await.map(Some)
    }

    async fn balance(&self, gas_wallet: &str) -> Result<Amount, ChainUnavailable> {
        wallet::balance(&self.context, self.address(gas_wallet)?).await
    }

    fn quote(&self, purpose: Purpose<'_>) -> Result<Fee, QuoteError> {
        match self.form(purpose)? {
            Form::Ours(unsigned) => Ok(self.terms(unsigned.gas_limit)?.fee(unsigned.value)),
            Form::Payers(approve) => Ok(approve.fee()?),
        }
    }

    fn quote_replacement(&self, purpose: Purpose<'_>, last: &Fee) -> Result<Fee, QuoteError> {
        match self.form(purpose)? {
            Form::Ours(unsigned) => {
                let fresh = self.terms(unsigned.gas_limit)?;
                let raised = fresh.replacing(&Terms::read(last)?, self.context.config.fee_per_gas_max)?;
                Ok(raised.fee(unsigned.value))
            }
            Form::Payers(approve) => Ok(approve.fee()?),
        }
    }

    fn sign(
        &self,
        gas_wallet: &str,
        nonce: Option<u64>,
        purpose: Purpose<'_>,
        fee: &Fee,
    ) -> Result<SignedTransaction, SignError> {
        let address = self.context.wallets.address(gas_wallet);
        let address = address.ok_or_else(|| SignError::NoKey(gas_wallet.to_owned()))?;
        let form = sign::form(&self.context.config, address, purpose)?;
        if let Purpose::Steps(plans) = purpose {
            plans.iter().try_for_each(|plan| recheck::still_valid(&self.context, plan).map_err(SignError::Void))?;
        }
        self.note(purpose)?;
        match form {
            Form::Ours(unsigned) => {
                let (chain_id, wallets) = (self.context.config.chain_id, &self.context.wallets);
                unsigned.sign(chain_id, wallets, gas_wallet, nonce, Terms::read(fee)?)
            }
            Form::Payers(approve) => approve.signed(gas_wallet),
        }
    }

    fn exclusive(&self, plan: &Plan) -> Option<String> {
        match &*sign::body(plan).ok()? {
            Body::Step(step) => Some(format!("{}/{}", self.context.config.network, step.settle().effect.from)),
            Body::Settle(_) => None,
        }
    }

    async fn recheck(&self, plans: &[Plan]) -> Vec<Recheck> {
        recheck::recheck(&self.context, plans).await
    }

    async fn broadcast(&self, transactions: &[SignedTransaction]) -> Vec<BroadcastResult> {
        let raw: Vec<&[u8]> = transactions.iter().map(|transaction| transaction.raw.as_slice()).collect();
        let answers = self.context.rpc.send(&raw).await;
        transactions.iter().zip(answers).map(|(sent, answer)| about_the_payer(sent, answer)).collect()
    }

    async fn next_block(&self, after: Option<&Block>, urgency: Urgency) -> Result<Block, ChainUnavailable> {
        self.context.blocks.next(&self.context.rpc, after, urgency).await
    }

    async fn final_block(&self) -> Result<FinalBlock, ChainUnavailable> {
        blocks::final_block(&self.context).await
    }

    async fn observe(&self, transactions: &[TransactionView<'_>]) -> Result<Vec<Observation>, ChainUnavailable> {
        observe::observe(&self.context, transactions).await
    }

    async fn trace_authorization(&self, item: &Item<'_>) -> Result<Effect, ChainUnavailable> {
        observe::trace_authorization(&self.context, item).await
    }

    async fn investigate(&self, transaction: &TransactionView<'_>) -> Result<Observation, ChainUnavailable> {
        observe::investigate(&self.context, transaction).await
    }
}
