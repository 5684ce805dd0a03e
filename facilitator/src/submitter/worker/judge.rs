//! Reactions to an answer of the chain about a transaction or a step.

use std::sync::Arc;

use chains_core::{
    Network, Rejection,
    chain::ChainUnavailable,
    observation::{Effect, Inclusion, Observation},
};
use tokio::time::Instant;

use super::{
    Worker,
    outbox::Outgoing,
    tracked::{Carried, Commit, Tracked},
};
use crate::{
    metrics::{self, Purpose, Stage},
    settlement::{Attempt, AttemptKind, Failed, TransactionId, TransactionState},
    store::Change,
    submitter::{
        decide::{self, AfterDeath, ItemVerdict, Verdict},
        effects::Batch,
        job::Work,
    },
};

/// The effort behind an observation.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    /// By receipts alone: what they leave open is investigated.
    Look,
    /// By everything there is: what it leaves open is asked again later.
    Investigation,
}

/// The work that follows once a batch of changes is stored.
#[derive(Default)]
struct Afterwards {
    /// Transactions that a block includes, whose items may not all have ended.
    included: Vec<(TransactionId, Inclusion, Purpose)>,
    /// Items that have ended or gone on.
    ended: Vec<(TransactionId, usize)>,
    /// Transactions whose block the chain took back.
    reopened: Vec<TransactionId>,
    /// Transactions at their end.
    gone: Vec<TransactionId>,
    /// Steps that go on.
    next: Vec<Work>,
    /// Steps whose transaction is dead.
    orphans: Vec<Work>,
}

impl Worker {
    /// Heeds what a look at transactions found.
    pub(super) async fn observed(
        &mut self,
        ids: Vec<TransactionId>,
        answer: Result<Vec<Observation>, ChainUnavailable>,
    ) {
        for id in &ids {
            if let Some(tracked) = self.tracked.get_mut(*id) {
                tracked.looking = false;
            }
        }
        match answer {
            Ok(observations) => self.judge(ids.into_iter().zip(observations).collect(), Depth::Look).await,
            Err(error) => {
                tracing::debug!(network = %self.context.network(), %error, "transactions could not be looked up; they stay pending");
                let now = Instant::now();
                for id in ids {
                    if let Some(tracked) = self.tracked.get_mut(id) {
                        tracked.inquiry.want(now);
                    }
                }
            }
        }
    }

    /// Heeds what an investigation of one transaction found.
    pub(super) async fn investigated(&mut self, id: TransactionId, answer: Result<Observation, ChainUnavailable>) {
        let observation = answer.unwrap_or_else(|error| Observation::unknown(error.to_string()));
        self.judge(vec![(id, observation)], Depth::Investigation).await;
    }

    /// Heeds what became of a step whose transaction is dead.
    pub(super) async fn traced(&mut self, work: Work, answer: Result<Effect, ChainUnavailable>) {
        let effect = answer.unwrap_or_else(|error| Effect::Unclear(error.to_string()));
        let facts = Arc::clone(&work.entry.facts);
        let verdict = match decide::after_death(effect, facts.claimed_block) {
            AfterDeath::CarryAnew => match work.refused.clone() {
                Some(why) => return self.fail_step(work, why).await,
                None => return self.queue.push(Work { verified_block: None, traces: 0, ..work }),
            },
            AfterDeath::Ended(ItemVerdict::Unclear(_)) if work.traces < decide::INVESTIGATIONS_MAX => {
                let due = Instant::now() + decide::backoff(work.traces + 1);
                return self.untraced.push((due, Work { traces: work.traces + 1, ..work }));
            }
            AfterDeath::Ended(verdict) => verdict,
        };
        let mut batch = Batch::default();
        match verdict {
            ItemVerdict::Settled(settled) => batch.settle(&facts, Some(&work.entry), settled),
            ItemVerdict::Failed(failed) => batch.fail(&facts, Some(&work.entry), failed, None),
            ItemVerdict::Unclear(why) => batch.unresolve(&facts, Some(&work.entry), &why),
            ItemVerdict::Next(_) => return,
        }
        if let Err(error) = self.commit(batch).await {
            let (request_id, settlement_id) = (&facts.request_id, facts.id);
            tracing::error!(request_id, %settlement_id, %error, "an end could not be stored; it is asked for again");
            let due = Instant::now() + decide::backoff(work.traces + 1);
            self.untraced.push((due, Work { traces: work.traces + 1, ..work }));
        }
    }

    async fn judge(&mut self, observations: Vec<(TransactionId, Observation)>, depth: Depth) {
        let (mut batch, mut afterwards, now) = (Batch::default(), Afterwards::default(), Instant::now());
        let ids: Vec<_> = observations.iter().map(|(id, _)| *id).collect();
        let block = self.context.status.block_number();
        for (id, observation) in observations {
            let Some(tracked) = self.tracked.get_mut(id) else { continue };
            let claimed: Vec<_> = tracked.items.iter().map(|item| item.entry.facts.claimed_block).collect();
            let verdict = decide::after_observation(observation, &claimed);
            if verdict != Verdict::Replaced {
                tracked.dead_at = None;
            }
            match verdict {
                Verdict::Pending => pending(tracked, depth, &mut batch, &mut afterwards),
                Verdict::Confirming(block) => {
                    tracked.nonce_used = true;
                    tracked.seen_at.get_or_insert(now);
                    tracked.confirmed_at = Some(block.number + self.parameters.confirmations.saturating_sub(1));
                    // One that was deep enough before a reorg is not looked for with the blocks: its proof is asked for.
                    if tracked.is_included() {
                        tracked.inquiry.put_off(now);
                    } else {
                        tracked.inquiry.close();
                    }
                }
                Verdict::Included(inclusion, items) => {
                    included(tracked, &inclusion, items, depth, now, &mut batch, &mut afterwards);
                }
                Verdict::Replaced if tracked.is_dead_at(block) => replaced(tracked, &mut batch, &mut afterwards),
                // Its nonce is used; that no receipt will come is believed when a later block has none either.
                Verdict::Replaced => {
                    tracked.nonce_used = true;
                    tracked.inquiry.put_off(now);
                }
                Verdict::Expired(why) => expired(tracked, &why, &mut batch, &mut afterwards),
                // Receipts alone leave much open: everything there is has to be asked before it counts, at the
                // time that the last answer has set.
                Verdict::Unknown { nonce_used, .. } if depth == Depth::Look => {
                    tracked.nonce_used |= nonce_used;
                    tracked.inquiry.want_once(now);
                }
                Verdict::Unknown { nonce_used, why } => {
                    tracked.nonce_used |= nonce_used;
                    self.unknown(id, &why, now, &mut batch, &mut afterwards);
                }
            }
        }
        if batch.is_empty() {
            return self.go_on(afterwards);
        }
        match self.commit(batch).await {
            Ok(()) => self.go_on(afterwards),
            Err(error) => {
                tracing::error!(network = %self.context.network(), %error, "ends could not be stored; they are asked for again");
                for id in ids {
                    if let Some(tracked) = self.tracked.get_mut(id) {
                        tracked.commit = Commit::InDoubt;
                        tracked.inquiry.put_off(now);
                    }
                }
            }
        }
    }

    /// It cannot be said what became of a transaction. As long as its nonce may
    /// be free it stays open. Where its nonce is used, or it has none, its
    /// settlements are unresolved after a while.
    fn unknown(&mut self, id: TransactionId, why: &str, now: Instant, batch: &mut Batch, afterwards: &mut Afterwards) {
        let Some(tracked) = self.tracked.get_mut(id) else { return };
        let tries = tracked.inquiry.put_off(now);
        let may_be_free = tracked.transaction.nonce.is_some() && !tracked.nonce_used;
        if !may_be_free && tries > decide::INVESTIGATIONS_MAX {
            unresolve(tracked, why, batch, afterwards);
            afterwards.gone.push(id);
            return;
        }
        let hash = &tracked.transaction.newest().hash;
        let reason = format!("it cannot be said what became of transaction {hash}: {why}");
        let words = ("it cannot be said what became of a transaction; it stays pending", "it can be said again");
        self.status.set(|state| &mut state.unknown, Some(reason), words);
    }

    /// Does what had to wait for the commit.
    fn go_on(&mut self, afterwards: Afterwards) {
        let Afterwards { included, ended, reopened, gone, next, orphans } = afterwards;
        for (id, inclusion, purpose) in included {
            if let Some(tracked) = self.tracked.get_mut(id) {
                time_inclusion(self.context.network(), tracked);
                let Inclusion { hash, block, fee_paid, .. } = inclusion;
                self.upkeep.spent(fee_paid);
                // A block after a reorg takes the fee that the block before has given back.
                if !std::mem::replace(&mut tracked.measured.fee, true) {
                    self.status.spent(fee_paid);
                    let decimals = self.parameters.coin_decimals;
                    metrics::gas_spent(self.context.network(), &self.status.wallet, purpose, fee_paid, decimals);
                }
                tracked.transaction.state = TransactionState::Included { hash, block };
                tracked.commit = Commit::Known;
            }
        }
        for (id, index) in ended {
            if let Some(item) = self.tracked.get_mut(id).and_then(|tracked| tracked.items.get_mut(index)) {
                item.ended = true;
            }
        }
        for id in reopened {
            if let Some(tracked) = self.tracked.get_mut(id) {
                tracked.reopen();
            }
        }
        for id in gone {
            drop(self.tracked.remove(id));
        }
        if self.tracked.iter_mut().all(|tracked| !tracked.inquiry.is_undecided()) {
            self.status.update(|state| state.unknown = None);
        }
        for work in next {
            self.queue.push(work);
        }
        if !orphans.is_empty() {
            self.status.update(|state| state.foreign = Some(std::time::Instant::now()));
            self.upkeep.hurry();
        }
        for work in orphans {
            tracing::error!(
                request_id = work.entry.facts.request_id, settlement_id = %work.entry.facts.id,
                network = %self.context.network(), wallet = self.status.wallet,
                "another transaction took the nonce of this payment's: its key is in use elsewhere. The payment is \
                 sent anew; use a key in one service only"
            );
            self.trace(work);
        }
        self.ask_what_is_due(Instant::now());
        // Once: what the nodes say to it may lead here again before the next block.
        if let Some(oldest) = self.tracked.oldest()
            && std::mem::take(&mut oldest.send_again)
        {
            let outgoing = Outgoing::from(&oldest.transaction);
            self.outbox.push(outgoing);
        }
    }
}

/// Notes the time until a block was seen to have a transaction, and from there until it was confirmed.
fn time_inclusion(network: &Network, tracked: &Tracked) {
    if tracked.measured.begun_here {
        let seen_at = tracked.seen_at.unwrap_or_else(Instant::now);
        metrics::stage(network, Stage::Include, seen_at.duration_since(tracked.stored_at));
        metrics::stage(network, Stage::Confirm, seen_at.elapsed());
    }
}

/// The purpose of an included transaction's fee. One whose effect is not proven yet counts as what it was
/// signed for.
fn purpose(inclusion: &Inclusion, items: &[ItemVerdict]) -> Purpose {
    let did = |item: &ItemVerdict| match item {
        ItemVerdict::Settled(settled) => settled.hash() == inclusion.hash,
        ItemVerdict::Unclear(_) => true,
        ItemVerdict::Failed(_) | ItemVerdict::Next(_) => false,
    };
    if items.iter().any(did) {
        Purpose::Settle
    } else if items.iter().any(|item| matches!(item, ItemVerdict::Next(_))) {
        Purpose::Sponsor
    } else {
        Purpose::Failed
    }
}

/// No block has it. One that a block had before is open again, and sent again.
fn pending(tracked: &mut Tracked, depth: Depth, batch: &mut Batch, afterwards: &mut Afterwards) {
    if tracked.may_be_stored_as_included() {
        batch.change(Change::Reopen { transaction: tracked.transaction.id });
        afterwards.reopened.push(tracked.transaction.id);
    } else if tracked.nonce_used {
        (tracked.nonce_used, tracked.send_again) = (false, true);
    }
    (tracked.confirmed_at, tracked.seen_at) = (None, None);
    if depth == Depth::Investigation {
        tracked.inquiry.close();
    }
}

/// A confirmed block includes it.
fn included(
    tracked: &mut Tracked,
    inclusion: &Inclusion,
    items: Vec<ItemVerdict>,
    depth: Depth,
    now: Instant,
    batch: &mut Batch,
    afterwards: &mut Afterwards,
) {
    let id = tracked.transaction.id;
    tracked.nonce_used = true;
    // One whose last commit is in doubt may be open in the store again.
    if !tracked.is_included() || tracked.commit == Commit::InDoubt {
        batch.change(Change::Include { transaction: id, inclusion: inclusion.clone() });
        afterwards.included.push((id, inclusion.clone(), purpose(inclusion, &items)));
    }
    // What was cancelled waited for nothing: no fault of its payer's, who in
    // turn pays more to make a payment void than a cancellation costs.
    let is_kind = |attempt: &&Attempt| attempt.signed.hash == inclusion.hash;
    let kind = tracked.transaction.attempts.iter().find(is_kind).map(|attempt| attempt.kind);
    let cancelled = kind == Some(AttemptKind::Cancel);
    let lost = |id| (!cancelled).then(|| tracked.transaction.share(inclusion.fee_paid, id));
    let mut unclear = None;
    let verdicts = tracked.items.iter().enumerate().zip(items).filter(|((_, item), _)| !item.ended);
    for ((index, item), verdict) in verdicts {
        let (facts, entry) = (&item.entry.facts, Some(&item.entry));
        match verdict {
            ItemVerdict::Settled(settled) => batch.settle(facts, entry, settled),
            ItemVerdict::Failed(failed) => batch.fail(facts, entry, failed, lost(facts.id)),
            ItemVerdict::Next(plan) => {
                batch.change(Change::NextStep { id: facts.id, done: item.number, plan: plan.clone() });
                let (entry, number) = (Arc::clone(&item.entry), item.number + 1);
                let verified_block = Some(inclusion.block.number);
                afterwards.next.push(Work { verified_block, ..Work::stored(entry, number, plan) });
            }
            ItemVerdict::Unclear(why) => {
                unclear = Some(why);
                continue;
            }
        }
        afterwards.ended.push((id, index));
    }
    match unclear {
        None => afterwards.gone.push(id),
        Some(_) if depth == Depth::Look => tracked.inquiry.want(now),
        Some(why) => {
            if tracked.inquiry.put_off(now) >= decide::INVESTIGATIONS_MAX {
                unresolve(tracked, &why, batch, afterwards);
                afterwards.gone.push(id);
            }
        }
    }
}

/// Another transaction took its nonce: its steps are carried anew.
fn replaced(tracked: &mut Tracked, batch: &mut Batch, afterwards: &mut Afterwards) {
    let id = tracked.transaction.id;
    let why = "its nonce is used, and no block has any of its attempts".to_owned();
    if tracked.may_be_stored_as_included() {
        batch.change(Change::Reopen { transaction: id });
    }
    batch.change(Change::Kill { transaction: id, why });
    let orphan = |item: &Carried| {
        let Carried { entry, number, plan, .. } = item.clone();
        Work::stored(entry, number, plan)
    };
    if !mistake!(ForgetsOrphans) {
        afterwards.orphans.extend(tracked.items.iter().filter(|item| !item.ended).map(orphan));
    }
    afterwards.gone.push(id);
}

/// No block can include it any more, and its steps are over with it.
fn expired(tracked: &mut Tracked, why: &Rejection, batch: &mut Batch, afterwards: &mut Afterwards) {
    let id = tracked.transaction.id;
    let hash = &tracked.transaction.newest().hash;
    for item in tracked.items.iter().filter(|item| !item.ended) {
        let failed = Failed::new(why.clone(), Some(hash.clone()), None);
        batch.fail(&item.entry.facts, Some(&item.entry), failed, None);
    }
    // After the ends: a step of an open settlement would wait for another transaction.
    batch.change(Change::Kill { transaction: id, why: why.message.clone().into_owned() });
    afterwards.gone.push(id);
}

/// Takes the settlements that have no end out of the worker.
fn unresolve(tracked: &Tracked, why: &str, batch: &mut Batch, afterwards: &mut Afterwards) {
    for (index, item) in tracked.items.iter().enumerate().filter(|(_, item)| !item.ended) {
        batch.unresolve(&item.entry.facts, Some(&item.entry), why);
        afterwards.ended.push((tracked.transaction.id, index));
    }
}
