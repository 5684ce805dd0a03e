use async_trait::async_trait;
use chains_core::{
    Amount, Rejection,
    chain::{ChainUnavailable, Execution, QuoteError, SignError},
    observation::{Block, Depth, Effect, FinalBlock, Item, Observation, Recheck, TransactionView, Urgency},
    transaction::{BroadcastResult, Fee, Plan, Purpose, SignedTransaction},
};
use sha2::{Digest, Sha256};

use super::{FakeChain, PRICE_MAX, observe::Search};
use crate::{
    action::{Action, Terms, Transaction},
    nodes::Node,
    scheme::{self, EXPIRED},
};

#[async_trait]
impl Execution for FakeChain {
    async fn nonce(&self, gas_wallet: &str, depth: Depth) -> Result<Option<u64>, ChainUnavailable> {
        let blocks = match depth {
            Depth::Latest => 0,
            Depth::Confirmed => self.parameters.confirmations.saturating_sub(1),
        };
        let ask = async |node: &Node| Ok(node.sight(self.parameters.confirmations)?.nonce(gas_wallet, blocks));
        let nonce = self.nodes.second_highest(ask).await.map_err(|error| self.unavailable(&error))?;
        Ok(self.has_nonces.then_some(nonce))
    }

    async fn balance(&self, gas_wallet: &str) -> Result<Amount, ChainUnavailable> {
        Ok(Amount::from(self.ask()?.balance(gas_wallet)))
    }

    fn quote(&self, _: Purpose<'_>) -> Result<Fee, QuoteError> {
        let price = self.world.price();
        if price > PRICE_MAX {
            return Err(QuoteError::AboveCeiling { asked: price.into(), ceiling: PRICE_MAX.into() });
        }
        Ok(Terms { price }.fee()?)
    }

    fn is_enough(&self, fee: &Fee) -> bool {
        Terms::of(fee).is_ok_and(|terms| terms.price >= self.world.price())
    }

    fn quote_replacement(&self, purpose: Purpose<'_>, attempts: &[&Fee]) -> Result<Fee, QuoteError> {
        let fresh = Terms::of(&self.quote(purpose)?)?;
        let offered = attempts.iter().map(|fee| Terms::of(fee)).collect::<Result<Vec<_>, SignError>>()?;
        let dearest = offered.iter().map(|terms| terms.price).max().unwrap_or_default();
        let price = fresh.price.max(dearest.saturating_add(1));
        if price > PRICE_MAX {
            return Err(QuoteError::AboveCeiling { asked: price.into(), ceiling: PRICE_MAX.into() });
        }
        Ok(Terms { price }.fee()?)
    }

    fn cancel_pays(&self, _: &Plan, _: &[&Fee]) -> bool {
        // All transactions use the same gas: a failure costs no more.
        false
    }

    fn batch_max(&self, _: &Plan) -> usize {
        self.world.batch_max()
    }

    fn check_valid(&self, plan: &Plan) -> Result<(), Rejection> {
        let time = self.world.block(self.world.height()).map_or(0, |block| block.timestamp);
        if plan.valid_before.is_some_and(|end| end <= time) {
            return Err(Rejection::new(EXPIRED, "the payment is valid no longer"));
        }
        Ok(())
    }

    fn sign(
        &self,
        gas_wallet: &str,
        nonce: Option<u64>,
        purpose: Purpose<'_>,
        fee: &Fee,
    ) -> Result<SignedTransaction, SignError> {
        if !self.gas_wallets.iter().any(|wallet| wallet == gas_wallet) {
            return Err(SignError::NoKey(gas_wallet.to_owned()));
        }
        let plans = match purpose {
            Purpose::Steps(plans) => plans,
            Purpose::Cancel => &[],
            Purpose::DeployBatchContract => return Err(SignError::Plan("there are no contracts here".to_owned())),
        };
        let actions =
            plans.iter().map(|plan| Ok((*Action::of(plan)?).clone())).collect::<Result<Vec<_>, SignError>>()?;
        let mut valid = plans.iter().map(|plan| self.check_valid(plan));
        match valid.next() {
            Some(Err(void)) if valid.all(|valid| valid.is_err()) => return Err(SignError::Void(void)),
            Some(_) | None => {}
        }
        let price = Terms::of(fee)?.price;
        let transaction = Transaction { gas_wallet: gas_wallet.to_owned(), nonce, price, actions };
        let raw = serde_json::to_vec(&transaction).map_err(|error| SignError::Plan(error.to_string()))?;
        let hash = hex::encode(Sha256::digest(&raw));
        Ok(SignedTransaction { hash, raw, gas_wallet: gas_wallet.to_owned(), nonce, fee: fee.clone() })
    }

    fn exclusive(&self, plan: &Plan) -> Option<String> {
        match &*Action::of(plan).ok()? {
            Action::Approve(transfer) => Some(format!("{}/{}", self.network, transfer.from)),
            Action::Transfer(_) => None,
        }
    }

    async fn recheck(&self, plans: &[Plan]) -> Vec<Recheck> {
        let recheck = |plan: &Plan| match Action::of(plan) {
            Ok(action) => scheme::check(&self.world, action.transfer()),
            Err(error) => Recheck::Unknown(error.to_string()),
        };
        plans.iter().map(recheck).collect()
    }

    async fn broadcast(&self, transactions: &[SignedTransaction]) -> Vec<BroadcastResult> {
        let send = async |node: &Node| transactions.iter().map(|sent| node.receive(sent)).collect();
        self.nodes.send(transactions.len(), send).await
    }

    async fn next_block(&self, after: Option<&Block>, _: Urgency) -> Result<Block, ChainUnavailable> {
        let mut height = self.world.watch_height();
        let is_canonical =
            |block: &&Block| self.world.block(block.number).is_some_and(|known| known.hash == block.hash);
        let after = after.filter(is_canonical);
        let wanted = match after {
            None => self.reached().await?.min(self.world.height()),
            Some(block) => block.number.saturating_add(1),
        };
        loop {
            // The sender lives as long as the world, which this chain holds.
            drop(height.wait_for(|height| *height >= wanted).await);
            if self.reached().await? >= wanted {
                break;
            }
            drop(height.changed().await);
        }
        let block = self.nodes.first(0, async |node: &Node| node.block(wanted)).await;
        let block = block.map_err(|error| self.unavailable(&error))?;
        let hashes = block.transactions.into_iter().map(|mined| mined.hash).collect();
        let transactions = after.is_some().then_some(hashes);
        Ok(Block { number: wanted, hash: block.hash, timestamp: block.timestamp, transactions })
    }

    async fn final_block(&self) -> Result<FinalBlock, ChainUnavailable> {
        let ask = async |node: &Node| Ok(node.sight(self.parameters.confirmations)?.final_height());
        let number = self.nodes.second_highest_of_two(ask).await.map_err(|error| self.unavailable(&error))?;
        Ok(FinalBlock { number, timestamp: self.world.block(number).map_or(0, |block| block.timestamp) })
    }

    async fn observe(&self, transactions: &[TransactionView<'_>]) -> Result<Vec<Observation>, ChainUnavailable> {
        self.look(transactions, Search::Receipts).await
    }

    async fn trace_authorization(&self, item: &Item<'_>) -> Result<Effect, ChainUnavailable> {
        self.trace(item).await
    }

    async fn investigate(&self, transaction: &TransactionView<'_>) -> Result<Observation, ChainUnavailable> {
        self.world.begin_investigation().await;
        let mut found = self.look(std::slice::from_ref(transaction), Search::Everything).await?;
        Ok(found.pop().unwrap_or_else(|| Observation::unknown("nothing was observed")))
    }
}

impl FakeChain {
    /// The height that two nodes have reached.
    async fn reached(&self) -> Result<u64, ChainUnavailable> {
        let ask = async |node: &Node| Ok(node.sight(self.parameters.confirmations)?.height());
        self.nodes.second_highest(ask).await.map_err(|error| self.unavailable(&error))
    }
}
