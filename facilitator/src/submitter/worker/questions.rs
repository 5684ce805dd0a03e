//! The questions that a worker has put to the chain and that are not answered
//! yet. None of them holds the worker up.

use std::sync::Arc;

use chains_core::{
    Amount,
    chain::ChainUnavailable,
    observation::{Depth, Effect, Item, Observation, Recheck},
    transaction::Plan,
};
use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};

use super::super::{
    context::Context,
    job::Work,
    view::{self, View},
};
use crate::settlement::TransactionId;

/// Investigations of one wallet at a time: each may ask for traces and logs.
const INVESTIGATIONS_MAX: usize = 4;

/// An answer.
pub enum Answer {
    /// Observations of transactions.
    Observed(Vec<TransactionId>, Result<Vec<Observation>, ChainUnavailable>),
    /// The fate of one transaction, whatever it took to find out.
    Investigated(TransactionId, Result<Observation, ChainUnavailable>),
    /// The fate of a step whose transaction is dead.
    Traced(Box<Work>, Result<Effect, ChainUnavailable>),
    /// The verdicts on work that waited, at this height.
    Rechecked(Vec<Work>, Vec<Recheck>, u64),
    /// The fate of the authorization of a transaction that waits.
    Authorization(TransactionId, Result<Effect, ChainUnavailable>),
    /// The gas wallet's balance, and its next nonce in the newest block;
    /// `None` where it could not be read.
    Upkept(Option<Amount>, Option<u64>),
}

/// Questions under way.
pub struct Questions {
    context: Arc<Context>,
    under_way: FuturesUnordered<BoxFuture<'static, Answer>>,
    investigations: usize,
}

impl Questions {
    /// None.
    pub fn new(context: Arc<Context>) -> Self {
        Self { context, under_way: FuturesUnordered::new(), investigations: 0 }
    }

    /// The next answer; never returns when nothing was asked.
    pub async fn next(&mut self) -> Answer {
        let answer = match self.under_way.next().await {
            Some(answer) => answer,
            None => std::future::pending().await,
        };
        if matches!(answer, Answer::Investigated(..) | Answer::Traced(..) | Answer::Authorization(..)) {
            self.investigations -= 1;
        }
        answer
    }

    /// Returns true when one more investigation may be made.
    pub const fn has_room(&self) -> bool {
        self.investigations < INVESTIGATIONS_MAX
    }

    /// Looks for transactions.
    pub fn observe(&mut self, wanted: Vec<(TransactionId, Arc<View>)>) {
        if wanted.is_empty() {
            return;
        }
        let context = Arc::clone(&self.context);
        let (ids, views): (Vec<_>, Vec<_>) = wanted.into_iter().unzip();
        let ask = async move { Answer::Observed(ids, view::observe(&*context.chain, &views).await) };
        self.under_way.push(ask.boxed());
    }

    /// Investigates one transaction.
    pub fn investigate(&mut self, id: TransactionId, view: Arc<View>) {
        let context = Arc::clone(&self.context);
        self.investigations += 1;
        let ask = async move { Answer::Investigated(id, view::investigate(&*context.chain, &view).await) };
        self.under_way.push(ask.boxed());
    }

    /// Finds out what became of a step without its transaction.
    pub fn trace(&mut self, work: Work) {
        let context = Arc::clone(&self.context);
        self.investigations += 1;
        let ask = async move {
            let item = Item { plan: &work.plan, claimed_block: work.entry.facts.claimed_block };
            let effect = context.chain.trace_authorization(&item).await;
            Answer::Traced(Box::new(work), effect)
        };
        self.under_way.push(ask.boxed());
    }

    /// Finds out whether the authorization of a transaction that waits is still good.
    pub fn authorization(&mut self, id: TransactionId, plan: Plan, claimed_block: u64) {
        let context = Arc::clone(&self.context);
        self.investigations += 1;
        let ask = async move {
            let item = Item { plan: &plan, claimed_block };
            Answer::Authorization(id, context.chain.trace_authorization(&item).await)
        };
        self.under_way.push(ask.boxed());
    }

    /// Finds out whether work that waited is still good.
    pub fn recheck(&mut self, group: Vec<Work>, block: u64) {
        let context = Arc::clone(&self.context);
        let ask = async move {
            let plans: Vec<Plan> = group.iter().map(|work| work.plan.clone()).collect();
            let answers = context.chain.recheck(&plans).await;
            Answer::Rechecked(group, answers, block)
        };
        self.under_way.push(ask.boxed());
    }

    /// Reads the gas wallet's balance and nonce.
    pub fn upkeep(&mut self, gas_wallet: &str) {
        let (context, gas_wallet) = (Arc::clone(&self.context), gas_wallet.to_owned());
        let ask = async move {
            let (balance, nonce) =
                tokio::join!(context.chain.balance(&gas_wallet), context.chain.nonce(&gas_wallet, Depth::Latest));
            Answer::Upkept(balance.ok(), nonce.ok().flatten())
        };
        self.under_way.push(ask.boxed());
    }
}
