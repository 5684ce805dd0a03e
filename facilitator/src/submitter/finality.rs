//! The look at settled transfers when the chain can no longer take them back,
//! and at failed payments as long as somebody can still execute them.
//!
//! The list is a query over the store, so that no restart forgets one. A
//! success was given away on the strength of a block; should the chain have
//! dropped that block, the bytes are sent again and an operator is told.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use chains_core::{
    Network,
    chain::ChainUnavailable,
    clock::Millis,
    observation::{BlockRef, Effect, Item, Observation},
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    context::Context,
    decide::{self, FailureByBlock, Finality},
    dispatch::Dispatcher,
    effects::Batch,
    investigation::Inquiry,
    lease::DUTY,
    mail::Mail,
    ownership::Holding,
    recovery,
    view::{self, View},
};
use crate::{
    logging::reminders::Reminders,
    metrics,
    settlement::{
        SettlementId, State, Transaction,
        record::{Due, Followed},
    },
    store::{ApplyError, Change, StoreError},
};

/// The time between two looks for settled transfers that are due.
const INTERVAL: Duration = Duration::from_secs(2);

/// The same while nothing waits to become final: what this process settles is
/// told of, what another instance settles is seen so late.
const INTERVAL_IDLE: Duration = Duration::from_secs(10);

/// The time between two looks at failed payments that can still be executed.
const EXECUTABLE_INTERVAL: Duration = Duration::from_secs(30);

/// Failed payments are looked at for so long whose block may yet be taken back:
/// longer than any chain takes to make a block final.
const TAKEN_BACK_MAX: Duration = Duration::from_hours(24);

/// A height that no chain reaches, and that the store can hold.
const BLOCK_MAX: u64 = u64::MAX >> 1;

/// Settlements of one look: one request to the chain.
const LOOK_MAX: u32 = 256;

/// Failed payments of one look.
const EXECUTABLE_MAX: u32 = 64;

/// The reason why a round came to nothing.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Chain(#[from] ChainUnavailable),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Apply(#[from] ApplyError),
}

/// The conclusions of one look, to be stored.
#[derive(Default)]
struct Round {
    batch: Batch,
    /// Those that the store knows to be taken back.
    taken_back: HashSet<SettlementId>,
    /// Transfers that the chain has not got any more.
    gone: Vec<(Followed, Gone)>,
}

/// The prospects of a settled transfer that the chain has not got any more.
enum Gone {
    /// It can come again.
    ForNow,
    /// It cannot, and why.
    ForGood(String),
}

/// The task that checks the finality of a network's settlements: a duty that one
/// instance has for all.
pub(super) async fn run(context: Arc<Context>, dispatcher: Arc<Dispatcher>, stop: CancellationToken) {
    while let Some(acquired) = stop.run_until_cancelled(context.ownership.acquire(context.network(), DUTY)).await {
        let Ok(holding) = acquired else {
            stop.run_until_cancelled(tokio::time::sleep(INTERVAL)).await;
            continue;
        };
        let check = Check {
            context: Arc::clone(&context),
            dispatcher: Arc::clone(&dispatcher),
            holding: holding.clone(),
            later: HashMap::new(),
            lost: HashSet::new(),
            trouble: None,
            reminders: Reminders::default(),
        };
        stop.run_until_cancelled(holding.over().run_until_cancelled(check.repeat())).await;
        context.ownership.release(&holding).await;
    }
}

struct Check {
    context: Arc<Context>,
    dispatcher: Arc<Dispatcher>,
    /// The duty while it is here.
    holding: Holding,
    /// Those that could not be decided yet.
    later: HashMap<SettlementId, Inquiry>,
    /// Those that are gone for good: told once.
    lost: HashSet<SettlementId>,
    /// The reason why the last round came to nothing: told once.
    trouble: Option<String>,
    /// The time at which it is told again.
    reminders: Reminders<()>,
}

impl Check {
    async fn repeat(mut self) {
        let mut executable = Instant::now();
        loop {
            let round = self.round().await;
            self.tell(round.as_ref().err());
            if executable.elapsed() >= EXECUTABLE_INTERVAL {
                executable = Instant::now();
                for round in [self.look_at_executable().await, self.look_at_failed_by_block().await] {
                    self.tell(round.as_ref().err());
                }
            }
            if round.is_ok() && self.nothing_waits().await {
                drop(tokio::time::timeout(INTERVAL_IDLE, self.context.status.settled.notified()).await);
            }
            if !matches!(round, Ok(true)) {
                tokio::time::sleep(INTERVAL).await;
            }
        }
    }

    /// Returns true when no settled transfer waits to become final.
    async fn nothing_waits(&self) -> bool {
        let waiting = self.context.store.due_for_finality(self.context.network(), BLOCK_MAX, 1).await;
        waiting.is_ok_and(|waiting| waiting.is_empty())
    }

    async fn commit(&self, batch: Batch) -> Result<(), ApplyError> {
        batch.commit(&self.context, Some(&self.holding.fence())).await
    }

    fn tell(&mut self, trouble: Option<&Trouble>) {
        let network = self.context.network();
        let error = trouble.map(ToString::to_string);
        let news = error.is_some() && self.trouble != error;
        let lasting = error.iter().map(|error| ((), error.clone())).collect();
        let again = self.reminders.heed(lasting, std::time::Instant::now());
        if let Some(error) = &error
            && (news || !again.is_empty())
        {
            tracing::warn!(%network, error, "the finality of settlements cannot be checked now; it is tried again");
        }
        self.trouble = error;
    }

    /// One look; returns true when there is more to do at once.
    async fn round(&mut self) -> Result<bool, Trouble> {
        let context = Arc::clone(&self.context);
        let final_block = context.chain.final_block().await?;
        let waiting = u32::try_from(self.later.len() + self.lost.len()).unwrap_or(u32::MAX);
        let limit = LOOK_MAX.saturating_add(waiting);
        let due = context.store.due_for_finality(context.network(), final_block.number, limit).await?;
        let now = Instant::now();
        let is_due = |due: &Due| {
            !self.lost.contains(&due.id) && self.later.get(&due.id).is_none_or(|inquiry| inquiry.is_due(now))
        };
        let max = usize::try_from(LOOK_MAX).unwrap_or(usize::MAX);
        let due: Vec<_> = due.into_iter().filter(is_due).take(max).collect();
        let (full, mut round) = (due.len() == max, Round::default());
        let doubtful = self.by_their_blocks(due, &mut round.batch).await?;
        if !doubtful.is_empty() {
            let ids: Vec<SettlementId> = doubtful.iter().map(|due| due.id).collect();
            let followed = context.store.followed(&ids).await?;
            round.taken_back = doubtful.iter().filter(|due| due.taken_back).map(|due| due.id).collect();
            self.by_their_transfers(&followed, final_block.number, &mut round).await?;
        }
        let finalized = !round.batch.is_empty();
        self.commit(round.batch).await?;
        for (followed, gone) in round.gone {
            self.tell_gone(&followed, gone, &round.taken_back).await;
        }
        Ok(full && finalized)
    }

    /// Finalizes the transfers whose blocks are part of the chain, as far as
    /// that is enough; returns those of which more has to be asked.
    async fn by_their_blocks(&mut self, due: Vec<Due>, batch: &mut Batch) -> Result<Vec<Due>, Trouble> {
        let is_plain = |due: &Due| !due.taken_back && !self.later.contains_key(&due.id);
        let blocks: BTreeSet<BlockRef> = due.iter().filter(|due| is_plain(due)).map(|due| due.block.clone()).collect();
        let blocks: Vec<BlockRef> = blocks.into_iter().collect();
        let there = if blocks.is_empty() { vec![] } else { self.context.chain.are_canonical(&blocks).await? };
        let there: HashSet<BlockRef> =
            blocks.into_iter().zip(there).filter(|(_, there)| *there == Some(true)).map(|(block, _)| block).collect();
        let (stand, doubtful): (Vec<Due>, Vec<Due>) =
            due.into_iter().partition(|due| is_plain(due) && there.contains(&due.block));
        for Due { id, request_id, transaction, .. } in stand {
            say_final(self.context.network(), id, &request_id, &transaction);
            batch.change(Change::Finalize { id, transfer: None });
        }
        Ok(doubtful)
    }

    /// Looks for transfers themselves, each with its transaction.
    async fn by_their_transfers(
        &mut self,
        due: &[Followed],
        final_block: u64,
        round: &mut Round,
    ) -> Result<(), Trouble> {
        let context = Arc::clone(&self.context);
        let views = View::of_all(due);
        let carried: HashSet<usize> = views.iter().flat_map(|(_, places)| places).copied().collect();
        for (place, followed) in due.iter().enumerate() {
            if !carried.contains(&place) {
                let finality = self.without_transaction(followed, final_block).await;
                self.heed(followed, finality, round);
            }
        }
        let (views, places): (Vec<_>, Vec<_>) = views.into_iter().unzip();
        let observations = if views.is_empty() { vec![] } else { view::observe(&*context.chain, &views).await? };
        for (observation, places) in observations.into_iter().zip(places) {
            for (observation, place) in view::each(observation, places.len()).into_iter().zip(places) {
                let followed = &due[place];
                let finality = self.check(followed, observation, final_block).await;
                self.heed(followed, finality, round);
            }
        }
        Ok(())
    }

    async fn check(&self, followed: &Followed, observation: Observation, final_block: u64) -> Finality {
        let finality = decide::finality(observation, final_block);
        let (Finality::AskAgain(_), Some(view)) = (&finality, View::of(followed)) else { return finality };
        match view::investigate(&*self.context.chain, &view).await {
            Ok(observation) => decide::finality(observation, final_block),
            Err(error) => Finality::AskAgain(error.to_string()),
        }
    }

    /// Asks about a transfer that none of our transactions made: somebody else's did.
    async fn without_transaction(&self, followed: &Followed, final_block: u64) -> Finality {
        let Some(step) = followed.steps.last() else {
            return Finality::AskAgain("it has no step; run `facilitator audit`".into());
        };
        let item = Item { plan: &step.plan, claimed_block: followed.facts.claimed_block };
        match self.context.chain.trace_authorization(&item).await {
            Ok(effect) => decide::finality_elsewhere(effect, final_block),
            Err(error) => Finality::AskAgain(error.to_string()),
        }
    }

    fn heed(&mut self, followed: &Followed, finality: Finality, round: &mut Round) {
        let (id, request_id) = (followed.facts.id, &followed.facts.request_id);
        match finality {
            Finality::Stands { hash: now, block } => {
                self.later.remove(&id);
                say_final(self.context.network(), id, request_id, hash(followed));
                round.batch.change(Change::Finalize { id, transfer: other_transfer(&followed.state, now, block) });
            }
            // It came again after a reorg, in a later block: looked at again with growing intervals.
            Finality::NotYet => {
                let _: u32 = self.later.entry(id).or_default().put_off(Instant::now());
            }
            Finality::AskAgain(why) => {
                let tries = self.later.entry(id).or_default().put_off(Instant::now());
                if tries == decide::INVESTIGATIONS_MAX {
                    tracing::warn!(
                        request_id, settlement_id = %id, network = %self.context.network(), error = why,
                        "no node can say whether a settled transfer stands; it is asked again"
                    );
                    metrics::unverified(self.context.network());
                }
            }
            Finality::TakenBack => {
                let _: u32 = self.later.entry(id).or_default().put_off(Instant::now());
                round.batch.change(Change::TakeBack { id, why: "the chain took its block back".into() });
                round.gone.push((followed.clone(), Gone::ForNow));
            }
            Finality::Lost(why) => {
                round.batch.change(Change::TakeBack { id, why: why.clone() });
                round.gone.push((followed.clone(), Gone::ForGood(why)));
            }
        }
    }

    /// The store knows that the chain has not got a settled transfer any more:
    /// the operator is told, and its bytes are sent again where it can come again.
    async fn tell_gone(&mut self, followed: &Followed, gone: Gone, taken_back: &HashSet<SettlementId>) {
        let (id, request_id, network) = (followed.facts.id, &followed.facts.request_id, self.context.network());
        let transaction = hash(followed);
        match gone {
            Gone::ForGood(why) => {
                tracing::error!(
                    request_id, settlement_id = %id, transaction, %network, error = why,
                    "a transfer that was settled is not on the chain any more and cannot come again: the payee has no \
                     money for it; run `facilitator audit`"
                );
                metrics::lost(network);
                self.lost.insert(id);
                return;
            }
            Gone::ForNow if taken_back.contains(&id) => {}
            Gone::ForNow => {
                tracing::error!(
                    request_id, settlement_id = %id, transaction, %network,
                    "reorg: the chain took back a block with a settled transfer; its bytes are sent again"
                );
                metrics::reorged(network);
            }
        }
        if let Some(transaction) = newest(followed) {
            self.send_again(transaction).await;
        }
    }

    /// Sends stored bytes again, by the worker where it is here.
    async fn send_again(&self, transaction: &Transaction) {
        match self.dispatcher.mailer(&transaction.gas_wallet) {
            // A full mailbox means that the worker is busy; the next look asks again.
            Some(mailer) => match recovery::complete(&self.context, transaction, vec![]).await {
                Ok(items) => drop(mailer.try_send(Mail::Resend(Box::new(transaction.clone()), items))),
                Err(error) => {
                    let (network, transaction) = (self.context.network(), &transaction.newest().hash);
                    tracing::debug!(%network, transaction, %error, "its settlements could not be read; the next look asks again");
                }
            },
            None => drop(self.context.chain.broadcast(std::slice::from_ref(transaction.newest())).await),
        }
    }

    /// Looks at failed payments that whoever holds the payload can still execute.
    async fn look_at_executable(&mut self) -> Result<(), Trouble> {
        let context = Arc::clone(&self.context);
        let mut after = None;
        loop {
            let page = context.store.executable(context.network(), after, EXECUTABLE_MAX).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.facts.id);
            let mut batch = Batch::default();
            for followed in &page {
                if let Some(effect) = self.trace(followed).await {
                    self.heed_effect(followed, effect, &mut batch);
                }
            }
            self.commit(batch).await?;
        }
    }

    /// Traces a payment's authorization. One that cannot be asked about now holds none of the others up: the next
    /// round asks again.
    async fn trace(&self, followed: &Followed) -> Option<Effect> {
        let item = Item { plan: &followed.steps.last()?.plan, claimed_block: followed.facts.claimed_block };
        match self.context.chain.trace_authorization(&item).await {
            Ok(effect) => Some(effect),
            Err(error) => {
                let (request_id, settlement_id) = (&followed.facts.request_id, followed.facts.id);
                tracing::debug!(request_id, %settlement_id, %error, "it cannot be asked about");
                None
            }
        }
    }

    /// Looks at payments that failed by a block after which nobody can execute them: the chain may take that block
    /// back, and our transaction or a stranger's pays then.
    async fn look_at_failed_by_block(&mut self) -> Result<(), Trouble> {
        let context = Arc::clone(&self.context);
        let age = u64::try_from(TAKEN_BACK_MAX.as_millis()).unwrap_or(u64::MAX);
        let since = Millis(context.clock.now().0.saturating_sub(age));
        let final_block = context.chain.final_block().await?;
        let mut after = None;
        loop {
            let page = context.store.failed_by_block(context.network(), since, after, EXECUTABLE_MAX).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.facts.id);
            let mut batch = Batch::default();
            for followed in &page {
                let Some(effect) = self.trace(followed).await else { continue };
                match decide::failed_by_block(
                    &followed.state,
                    &effect,
                    followed.facts.claimed_block,
                    final_block.number,
                ) {
                    FailureByBlock::Stands => batch.change(Change::Finalize { id: followed.facts.id, transfer: None }),
                    FailureByBlock::Executed => self.heed_effect(followed, effect, &mut batch),
                    FailureByBlock::NotYet => {}
                }
            }
            self.commit(batch).await?;
        }
    }

    fn heed_effect(&self, followed: &Followed, effect: Effect, batch: &mut Batch) {
        let id = followed.facts.id;
        match effect {
            Effect::Elsewhere { hash, .. } => {
                tracing::error!(
                    request_id = followed.facts.request_id, settlement_id = %id, transaction = hash,
                    network = %self.context.network(),
                    "a payment that was answered as failed has been executed all the same: the payee has the \
                     money, and the buyer was not served"
                );
                metrics::failed_executed(self.context.network());
                batch.change(Change::ExecutedElsewhere { id, hash });
            }
            Effect::Missing { executable_until: None, .. } => batch.change(Change::Finalize { id, transfer: None }),
            Effect::Missing { executable_until: Some(_), .. }
            | Effect::Unclear(_)
            | Effect::Done
            | Effect::Continues(_) => {}
        }
    }
}

fn say_final(network: &Network, settlement_id: SettlementId, request_id: &str, transaction: &str) {
    tracing::debug!(request_id, %settlement_id, %network, transaction, "final: the chain cannot take it back");
}

/// The transfer's transaction and block, where they are others than the stored ones.
fn other_transfer(state: &State, hash: String, block: BlockRef) -> Option<(String, BlockRef)> {
    let stored = match state {
        State::Settled(settled) => settled.proof.as_ref(),
        State::Open | State::Failed(_) | State::Unresolved { .. } => None,
    };
    let is_other = |(was, at): &(String, Option<BlockRef>)| *was != hash || at.as_ref().is_some_and(|at| *at != block);
    stored.is_some_and(is_other).then_some((hash, block))
}

fn newest(followed: &Followed) -> Option<&Transaction> {
    followed.transactions.last()
}

fn hash(followed: &Followed) -> &str {
    newest(followed).map_or("", |transaction| &transaction.newest().hash)
}
