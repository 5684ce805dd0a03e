//! The questions that a worker has put to the chain and that are not answered
//! yet. None of them holds the worker up.

use std::{collections::BTreeMap, sync::Arc};

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
    Traced(Result<Effect, ChainUnavailable>),
    /// The verdicts on work that waited, at this height.
    Rechecked(Vec<Recheck>, u64),
    /// The fate of the authorization of a transaction that waits.
    Authorization(TransactionId, Result<Effect, ChainUnavailable>),
    /// The gas wallet's balance, and its next nonce in the newest block;
    /// `None` where it could not be read.
    Upkept(Option<Amount>, Option<u64>),
}

/// Questions under way.
pub struct Questions {
    context: Arc<Context>,
    under_way: FuturesUnordered<BoxFuture<'static, (u64, Answer)>>,
    investigations: usize,
    /// The number of questions that were ever asked: each has its own.
    asked: u64,
    /// The work that waits for an answer, by the question's number.
    works: BTreeMap<u64, Vec<Work>>,
}

impl Questions {
    /// None.
    pub fn new(context: Arc<Context>) -> Self {
        Self { context, under_way: FuturesUnordered::new(), investigations: 0, asked: 0, works: BTreeMap::new() }
    }

    /// The next answer, with the work that waited for it; never returns when
    /// nothing was asked.
    pub async fn next(&mut self) -> (Vec<Work>, Answer) {
        let (number, answer) = match self.under_way.next().await {
            Some(answer) => answer,
            None => std::future::pending().await,
        };
        if matches!(answer, Answer::Investigated(..) | Answer::Traced(..) | Answer::Authorization(..)) {
            self.investigations -= 1;
        }
        (self.works.remove(&number).unwrap_or_default(), answer)
    }

    /// Takes the work that waits for an answer. Called when the worker ends.
    pub fn take_works(&mut self) -> Vec<Work> {
        std::mem::take(&mut self.works).into_values().flatten().collect()
    }

    fn ask(&mut self, works: Vec<Work>, answer: impl Future<Output = Answer> + Send + 'static) {
        self.asked += 1;
        let number = self.asked;
        if !works.is_empty() {
            self.works.insert(number, works);
        }
        self.under_way.push(async move { (number, answer.await) }.boxed());
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
        self.ask(vec![], async move { Answer::Observed(ids, view::observe(&*context.chain, &views).await) });
    }

    /// Investigates one transaction.
    pub fn investigate(&mut self, id: TransactionId, view: Arc<View>) {
        let context = Arc::clone(&self.context);
        self.investigations += 1;
        self.ask(vec![], async move { Answer::Investigated(id, view::investigate(&*context.chain, &view).await) });
    }

    /// Finds out what became of a step without its transaction.
    pub fn trace(&mut self, work: Work) {
        let context = Arc::clone(&self.context);
        self.investigations += 1;
        let (plan, claimed_block) = (work.plan.clone(), work.entry.facts.claimed_block);
        self.ask(vec![work], async move {
            let item = Item { plan: &plan, claimed_block };
            Answer::Traced(context.chain.trace_authorization(&item).await)
        });
    }

    /// Finds out whether the authorization of a transaction that waits is still good.
    pub fn authorization(&mut self, id: TransactionId, plan: Plan, claimed_block: u64) {
        let context = Arc::clone(&self.context);
        self.investigations += 1;
        self.ask(vec![], async move {
            let item = Item { plan: &plan, claimed_block };
            Answer::Authorization(id, context.chain.trace_authorization(&item).await)
        });
    }

    /// Finds out whether work that waited is still good.
    pub fn recheck(&mut self, group: Vec<Work>, block: u64) {
        let context = Arc::clone(&self.context);
        let plans: Vec<Plan> = group.iter().map(|work| work.plan.clone()).collect();
        self.ask(group, async move { Answer::Rechecked(context.chain.recheck(&plans).await, block) });
    }

    /// Reads the gas wallet's balance and nonce.
    pub fn upkeep(&mut self, gas_wallet: &str) {
        let (context, gas_wallet) = (Arc::clone(&self.context), gas_wallet.to_owned());
        self.ask(vec![], async move {
            let (balance, nonce) =
                tokio::join!(context.chain.balance(&gas_wallet), context.chain.nonce(&gas_wallet, Depth::Latest));
            Answer::Upkept(balance.ok(), nonce.ok().flatten())
        });
    }
}
