use std::time::Duration;

use async_trait::async_trait;
use chains_core::{
    Amount, Rejection,
    chain::{ChainUnavailable, Execution, QuoteError, SignError},
    observation::{Block, BlockRef, Depth, Effect, FinalBlock, Item, Observation, Recheck, TransactionView, Urgency},
    transaction::{BroadcastResult, Fee, Plan, Purpose, SignedTransaction},
};
use tokio::time::{Instant, timeout};

use super::EvmChain;
use crate::{
    blocks,
    extension::sponsoring::steps::{Body, Step},
    observe, recheck,
    rpc::{
        method::{Call, quantity},
        send_answers::{self, PriceFloor},
    },
    tx::{
        batch,
        fees::{Market, Terms},
        gas,
        sign::{self, Form},
    },
    wallet,
};

/// The time by which a send that tells of its block is ahead of the ordinary one.
const HEAD_START: Duration = Duration::from_millis(10);

impl EvmChain {
    /// The prices of the block to come.
    fn market(&self) -> Result<Market, QuoteError> {
        let base_fee = self.context.blocks.newest().ok_or(QuoteError::NoBlock)?.header.base_fee;
        let config = &self.context.config;
        let (tip_floor, fee_floor) = self.context.price_floors.lock().least(Instant::now());
        Ok(Market { base_fee, tip: config.tip_per_gas.max(tip_floor), fee_floor, ceiling: config.fee_per_gas_max })
    }

    /// Learns from answers to sends which prices nodes take. Where none takes a
    /// transaction and none names a price, they are asked for the tip that
    /// they recommend.
    async fn learn_prices(&self, answers: impl Iterator<Item = (&SignedTransaction, &BroadcastResult)>) {
        let mut unnamed = false;
        for (sent, answer) in answers.filter(|(sent, _)| sent.nonce.is_some()) {
            unnamed |= self.learn_price(sent, answer) == Some(PriceFloor::Unnamed);
        }
        if unnamed && let Some(tip) = self.recommended_tip().await {
            self.context.price_floors.lock().named(PriceFloor::Tip(tip), Instant::now());
        }
    }

    /// Learns from one answer; returns the price that it asks for.
    fn learn_price(&self, sent: &SignedTransaction, answer: &BroadcastResult) -> Option<PriceFloor> {
        let mut floors = self.context.price_floors.lock();
        match answer {
            BroadcastResult::Accepted => {
                let terms = Terms::read(&sent.fee).ok()?;
                floors.taken(terms.max_priority_fee_per_gas, terms.max_fee_per_gas);
                None
            }
            BroadcastResult::Underpriced(text) => {
                let floor = send_answers::price_floor(text)?;
                floors.named(floor, Instant::now());
                Some(floor)
            }
            BroadcastResult::Unknown(_)
            | BroadcastResult::NonceTooLow
            | BroadcastResult::NonceGap
            | BroadcastResult::NonceTaken
            | BroadcastResult::InsufficientFunds
            | BroadcastResult::PoolFull
            | BroadcastResult::Rejected(_) => None,
        }
    }

    /// Sends a transaction so that the answer tells of its block, if that is
    /// wanted now. Nothing else follows from it: the same bytes are sent to all
    /// in the ordinary way, a moment later, as a node that has them already
    /// answers at once and tells nothing.
    #[expect(clippy::disallowed_methods, reason = "nothing waits for it, and it ends within its patience")]
    async fn send_for_notice(&self, raw: &[u8]) {
        let Some(notice) = self.context.blocks.send_notice() else { return };
        let (rpc, raw) = (self.context.rpc.clone(), raw.to_vec());
        let sent = tokio::spawn(async move { notice.heed(rpc.send_sync(&raw).await) });
        drop(timeout(HEAD_START, sent).await);
    }

    /// The least tip that an endpoint recommends, in wei: that one takes it.
    async fn recommended_tip(&self) -> Option<u128> {
        let said = self.context.rpc.everywhere::<String>(Call::recommended_tip()).await;
        said.into_iter().flatten().filter_map(|text| quantity(&text)?.try_into().ok()).min()
    }

    /// The transaction for a purpose of any gas wallet: fees do not depend on it.
    fn form(&self, purpose: Purpose<'_>) -> Result<Form, SignError> {
        sign::form(&self.context, self.context.wallets.first(), purpose)
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
            Form::Ours(unsigned) => Ok(self.market()?.quote(unsigned.gas_limit)?.fee(unsigned.value)),
            Form::Payers(approve) => Ok(approve.fee()?),
        }
    }

    fn is_enough(&self, fee: &Fee) -> bool {
        // Without a block, or with a fee that cannot be read, nothing is known to be wrong.
        let (Ok(market), Ok(terms)) = (self.market(), Terms::read(fee)) else { return true };
        market.takes(&terms)
    }

    fn quote_replacement(&self, purpose: Purpose<'_>, attempts: &[&Fee]) -> Result<Fee, QuoteError> {
        match self.form(purpose)? {
            Form::Ours(unsigned) => {
                let attempts = attempts.iter().map(|fee| Terms::read(fee)).collect::<Result<Vec<_>, _>>()?;
                Ok(self.market()?.replace(unsigned.gas_limit, &attempts)?.fee(unsigned.value))
            }
            Form::Payers(approve) => Ok(approve.fee()?),
        }
    }

    fn cancel_pays(&self, plan: &Plan, attempts: &[&Fee]) -> bool {
        let (Ok(market), Ok(cancel)) = (self.market(), self.quote_replacement(Purpose::Cancel, attempts)) else {
            return false;
        };
        let price = |fee: &Fee| Terms::read(fee).ok().map(|terms| terms.price(market.base_fee));
        let (Some(cancel_price), Some(fail_price)) = (price(&cancel), attempts.last().and_then(|fee| price(fee)))
        else {
            return false;
        };
        match sign::body(plan).as_deref() {
            Ok(Body::Settle(plan)) => {
                gas::cancel_pays(&plan.data, self.context.config.gas_extra, cancel_price, fail_price)
            }
            // It would give money away for nothing.
            Ok(Body::Step(Step::Fund(_))) => true,
            Ok(Body::Step(Step::Approve(_))) | Err(_) => false,
        }
    }

    fn batch_max(&self, plan: &Plan) -> usize {
        if !self.context.capabilities.has_batch() {
            return 1;
        }
        match sign::body(plan).as_deref() {
            Ok(Body::Settle(plan)) => batch::batch_max(plan, self.context.config.gas_extra),
            Ok(Body::Step(_)) | Err(_) => 1,
        }
    }

    fn check_valid(&self, plan: &Plan) -> Result<(), Rejection> {
        recheck::still_valid(&self.context, plan)
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
        let form = sign::form(&self.context, address, purpose)?;
        if let Purpose::Steps(plans) = purpose {
            // Of several each may still succeed without the others.
            let mut valid = plans.iter().map(|plan| self.check_valid(plan));
            match valid.next() {
                Some(Err(void)) if valid.all(|valid| valid.is_err()) => return Err(SignError::Void(void)),
                Some(_) | None => {}
            }
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
        if let [only] = raw.as_slice() {
            self.send_for_notice(only).await;
        }
        let answers = self.context.rpc.send(&raw).await;
        self.learn_prices(transactions.iter().zip(&answers)).await;
        transactions.iter().zip(answers).map(|(sent, answer)| about_the_payer(sent, answer)).collect()
    }

    async fn next_block(&self, after: Option<&Block>, urgency: Urgency) -> Result<Block, ChainUnavailable> {
        self.context.blocks.next(&self.context.rpc, after, urgency).await
    }

    async fn final_block(&self) -> Result<FinalBlock, ChainUnavailable> {
        blocks::final_block(&self.context).await
    }

    async fn are_canonical(&self, blocks: &[BlockRef]) -> Result<Vec<Option<bool>>, ChainUnavailable> {
        observe::are_canonical(&self.context, blocks).await
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
