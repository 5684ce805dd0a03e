//! Follows the chain and ends settlements, with proof.
//!
//! One task a network, the only one that ends settlements of it. What it knows
//! can be rebuilt from the store at any time.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use chains_core::{
    chain::{Head, PlannedTransaction, Watch},
    clock::Millis,
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, MissedTickBehavior},
};
use tokio_util::sync::CancellationToken;

use super::{
    Submitter,
    aftercare::Aftercare,
    decide::{self, AfterLook, AfterSend},
    gaps::Gaps,
    lane::Lane,
    sender::Outgoing,
    slot::Slot,
    step::Step,
};
use crate::settlement::{
    record::{Finished, LandedAttempt, Outcome},
    replay_guard::Flight,
};

/// Messages that may wait for the watcher.
pub(super) const INBOX_MAX: usize = 1024;

/// Blocks that may wait for the watcher.
const HEADS_MAX: usize = 64;

/// How often doubts are looked into when no block comes.
const DOUBT_INTERVAL: Duration = Duration::from_millis(500);

/// How often the gas wallets' balances are read.
const BALANCE_INTERVAL: Duration = Duration::from_secs(10);

/// How often the gas wallets' sequences are compared with what is on its way.
const GAP_INTERVAL: Duration = Duration::from_secs(5);

/// Wait before a chain that did not answer is asked for the next block again.
const HEAD_RETRY: Duration = Duration::from_millis(250);

/// What the watcher is told.
pub(super) enum ToWatcher {
    /// A transaction is stored and about to be sent.
    Track(Box<Slot>),
    /// A send was not plainly accepted.
    Sent { transaction: String, after: AfterSend },
}

/// The task that follows a network.
pub(super) struct Watcher {
    pub(super) submitter: Arc<Submitter>,
    pub(super) senders: HashMap<String, mpsc::Sender<Outgoing>>,
    /// In the order in which they were tracked, so that sequences are in order.
    slots: BTreeMap<u64, Slot>,
    by_transaction: HashMap<String, u64>,
    pub(super) aftercare: Aftercare,
    tracked: u64,
    pub(super) head: Option<Head>,
    pub(super) gaps: Gaps,
    balances_read: Option<Instant>,
    gaps_sought: Option<Instant>,
}

impl Watcher {
    pub fn new(submitter: Arc<Submitter>, senders: HashMap<String, mpsc::Sender<Outgoing>>) -> Self {
        let (slots, by_transaction, aftercare) = (BTreeMap::new(), HashMap::new(), Aftercare::default());
        Self {
            submitter,
            senders,
            slots,
            by_transaction,
            aftercare,
            tracked: 0,
            head: None,
            gaps: Gaps::default(),
            balances_read: None,
            gaps_sought: None,
        }
    }

    /// Takes up a transaction.
    pub fn track(&mut self, slot: Slot) {
        self.tracked += 1;
        for attempt in &slot.attempts {
            self.by_transaction.insert(attempt.transaction.clone(), self.tracked);
        }
        self.slots.insert(self.tracked, slot);
    }

    /// Whether nothing is on its way.
    pub fn is_idle(&self) -> bool {
        self.slots.is_empty()
    }

    /// Follows the chain until `stop`.
    pub async fn run(mut self, mut inbox: mpsc::Receiver<ToWatcher>, stop: CancellationToken) {
        let (mode, modes) = watch::channel(Watch::Closely);
        let (heads_in, mut heads) = mpsc::channel(HEADS_MAX);
        let submitter = Arc::clone(&self.submitter);
        let follow = follow(submitter, self.head.clone(), modes, heads_in);
        tokio::pin!(follow);
        let mut doubts = tokio::time::interval(DOUBT_INTERVAL);
        doubts.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let wanted = if self.is_idle() { Watch::Idly } else { Watch::Closely };
            mode.send_if_modified(|mode| std::mem::replace(mode, wanted) != wanted);
            tokio::select! {
                () = stop.cancelled() => return,
                () = &mut follow => return,
                Some(message) = inbox.recv() => self.receive(message),
                Some(head) = heads.recv() => {
                    // What was sent before this block came must be known when
                    // the block's list is read.
                    while let Ok(message) = inbox.try_recv() {
                        self.receive(message);
                    }
                    self.on_head(head).await;
                }
                _ = doubts.tick() => self.on_tick().await,
            }
        }
    }

    fn receive(&mut self, message: ToWatcher) {
        match message {
            ToWatcher::Track(slot) => self.track(*slot),
            ToWatcher::Sent { transaction, after } => {
                let Some(slot) = self.by_transaction.get(&transaction).and_then(|key| self.slots.get_mut(key)) else {
                    return;
                };
                match after {
                    AfterSend::Watch => {}
                    AfterSend::SendAgain | AfterSend::WalletEmpty | AfterSend::Alarm => slot.send_again = true,
                    AfterSend::LookNow => slot.doubtful = true,
                }
            }
        }
    }

    async fn on_head(&mut self, head: Head) {
        self.submitter.saw_head(head.number);
        metrics::gauge!("head_block", "network" => self.submitter.network().to_string())
            .set(f64::from(u32::try_from(head.number).unwrap_or(u32::MAX)));
        let wanted: Vec<u64> = self.slots.iter().filter(|(_, s)| s.wants_look(&head)).map(|(key, _)| *key).collect();
        self.head = Some(head);
        self.look(&wanted).await;
        self.send_again();
        self.look_at_settled().await;
    }

    /// Between blocks: looks into doubts; reads the balances, and looks for
    /// gaps, when it is time.
    pub async fn on_tick(&mut self) {
        let doubtful: Vec<u64> = self.slots.iter().filter(|(_, s)| s.doubtful).map(|(key, _)| *key).collect();
        if !doubtful.is_empty() {
            self.look(&doubtful).await;
        }
        if self.balances_read.is_none_or(|read| read.elapsed() >= BALANCE_INTERVAL) {
            self.balances_read = Some(Instant::now());
            read_balances(&self.submitter).await;
        }
        if self.gaps_sought.is_none_or(|sought| sought.elapsed() >= GAP_INTERVAL) {
            self.gaps_sought = Some(Instant::now());
            self.close_gaps().await;
        }
    }

    /// The lowest sequence on its way of each gas wallet that has any.
    pub fn lowest_sequences(&self) -> BTreeMap<String, u64> {
        let mut lowest = BTreeMap::new();
        for slot in self.slots.values() {
            if let Some(sequence) = slot.newest().sequence {
                let there = lowest.entry(slot.lane.wallet().to_owned()).or_insert(sequence);
                *there = sequence.min(*there);
            }
        }
        lowest
    }

    /// The block that recovery starts from; `Err` while the chain does not answer.
    pub async fn catch_up(&mut self) -> Result<(), chains_core::chain::ChainUnavailable> {
        let head = self.submitter.deps.chain.next_head(None, Watch::Closely).await?;
        self.submitter.saw_head(head.number);
        self.head = Some(head);
        let all: Vec<u64> = self.slots.keys().copied().collect();
        self.look(&all).await;
        Ok(())
    }

    /// Sends everything that is still on its way, in order.
    pub fn send_all(&mut self) {
        self.slots.values_mut().for_each(|slot| slot.send_again = true);
        self.send_again();
    }

    /// Whether something could not be looked up and has to be.
    pub fn is_in_doubt(&self) -> bool {
        self.slots.values().any(|slot| slot.doubtful)
    }

    fn send_again(&mut self) {
        let height = self.head.as_ref().map_or(0, |head| head.number);
        let resend_after = self.submitter.deps.chain.pace().resend_after;
        for slot in self.slots.values_mut().filter(|slot| slot.wants_send(height, resend_after)) {
            let Some(sender) = self.senders.get(slot.lane.wallet()) else { continue };
            let outgoing = Outgoing { id: slot.flight.ticket.id, signed: slot.newest().clone() };
            // A full queue means that the sender is at it; the next block asks again.
            if sender.try_send(outgoing).is_ok() {
                slot.send_again = false;
                slot.sent_at = height;
            }
        }
    }

    /// Looks for transactions and ends the settlements that are decided.
    async fn look(&mut self, keys: &[u64]) {
        if keys.is_empty() {
            return;
        }
        let slots = &self.slots;
        let watched: Vec<_> = keys.iter().filter_map(|key| slots.get(key).map(Slot::watched)).collect();
        let observed = self.submitter.deps.chain.observe(&watched).await;
        let height = self.head.as_ref().map_or(0, |head| head.number);
        let observations = match observed {
            Ok(observations) => observations,
            Err(error) => {
                tracing::warn!(%error, "transactions could not be looked up; they stay pending");
                for key in keys {
                    self.slots.entry(*key).and_modify(|slot| slot.doubtful = true);
                }
                return;
            }
        };
        let confirmations = self.submitter.deps.chain.pace().confirmations;
        let (mut decided, mut advanced) = (Vec::new(), Vec::new());
        for (key, observation) in keys.iter().zip(observations) {
            let Some(slot) = self.slots.get_mut(key) else { continue };
            slot.looked_at = height;
            let unclear = is_unclear(&observation);
            let newest = &slot.newest().transaction;
            match decide::after_look(observation, newest, height, confirmations, slot.claimed_at) {
                AfterLook::Keep => (slot.doubtful, slot.final_at) = (unclear, None),
                AfterLook::Deepen { final_at } => (slot.doubtful, slot.final_at) = (false, Some(final_at)),
                AfterLook::GoOn(plan, landed) => advanced.push((*key, plan, landed)),
                AfterLook::Finish(outcome, landed) => decided.push((*key, outcome, landed)),
            }
        }
        self.finish(decided).await;
        for (key, plan, landed) in advanced {
            self.go_on(key, plan, landed);
        }
    }

    /// Hands a settlement back to its lane for its next transaction.
    fn go_on(&mut self, key: u64, plan: PlannedTransaction, landed: LandedAttempt) {
        let Some(slot) = self.untrack(key) else { return };
        let lane = Arc::clone(&slot.lane);
        if let Err(step) = lane.advance(Box::new(Step { slot, plan, landed })) {
            // The lane is at others' steps; the next look finds the same again.
            self.track(Slot { doubtful: true, ..step.slot });
        }
    }

    fn untrack(&mut self, key: u64) -> Option<Slot> {
        let slot = self.slots.remove(&key)?;
        for attempt in &slot.attempts {
            self.by_transaction.remove(&attempt.transaction);
        }
        Some(slot)
    }

    /// Stores outcomes, with who is given them, and tells who waits.
    async fn finish(&mut self, decided: Vec<(u64, Outcome, Option<LandedAttempt>)>) {
        if decided.is_empty() {
            return;
        }
        let at = self.submitter.deps.clock.now();
        let rows = decided.iter().map(|(key, outcome, landed)| {
            let flight = &self.slots[key].flight;
            let delivered = flight.give();
            Finished { id: flight.ticket.id, outcome: outcome.clone(), landed: landed.clone(), delivered, at }
        });
        let rows: Vec<_> = rows.collect();
        let stored = self.submitter.deps.store.finish(rows).await;
        for (key, outcome, landed) in decided {
            match &stored {
                Ok(()) => {
                    self.count_failure(key, &outcome, landed.as_ref(), at);
                    self.end(key, outcome);
                }
                Err(error) => {
                    tracing::error!(%error, "an outcome could not be stored; it is looked for again");
                    if let Some(slot) = self.slots.get_mut(&key) {
                        slot.flight.take_back();
                        slot.doubtful = true;
                    }
                }
            }
        }
    }

    /// A payment that failed in a block has cost the gas wallet its fee.
    fn count_failure(&self, key: u64, outcome: &Outcome, landed: Option<&LandedAttempt>, at: Millis) {
        if matches!(outcome, Outcome::Failed { .. }) && landed.is_some() {
            let payer = &self.slots[&key].flight.ticket.payer;
            self.submitter.deps.failures.record(self.submitter.network(), payer, at);
        }
    }

    fn end(&mut self, key: u64, outcome: Outcome) {
        let Some(slot) = self.untrack(key) else { return };
        log_end(&slot.flight, &outcome);
        if let Outcome::Settled { block, .. } = &outcome {
            let final_after = self.submitter.deps.chain.pace().final_after;
            self.aftercare.keep(block.number.saturating_add(final_after), slot.flight.ticket.id);
        }
        let network = self.submitter.network().to_string();
        metrics::counter!("settlements_total", "network" => network, "state" => outcome.state().as_str()).increment(1);
        self.submitter.deps.guard.finish(&slot.flight, outcome);
    }
}

fn is_unclear(observation: &chains_core::chain::Observation) -> bool {
    use chains_core::chain::{Effect, Observation};
    match observation {
        Observation::Pending | Observation::Unknown(_) | Observation::Expired(_) => false,
        Observation::Landed(landed) => matches!(landed.effect, Effect::Unclear(_)),
    }
}

fn log_end(flight: &Flight, outcome: &Outcome) {
    let (settlement, payer, amount) = (&flight.ticket.id, &flight.ticket.payer, &flight.ticket.amount);
    match outcome {
        Outcome::Settled { transaction, .. } => {
            tracing::info!(%settlement, payer, %amount, transaction, "settled");
        }
        Outcome::NothingToSend => tracing::info!(%settlement, payer, "settled: the payment asked for nothing"),
        Outcome::Failed { reason, message, transaction, .. } => {
            tracing::warn!(%settlement, payer, %amount, transaction, reason, message, "failed");
        }
    }
}

/// Delivers the chain's blocks in order. A future of its own, so that what the
/// watcher does meanwhile never cuts a request to the chain short.
async fn follow(
    submitter: Arc<Submitter>,
    mut last: Option<Head>,
    mut modes: watch::Receiver<Watch>,
    heads: mpsc::Sender<Head>,
) {
    loop {
        let mode = *modes.borrow_and_update();
        let next = tokio::select! {
            next = submitter.deps.chain.next_head(last.as_ref(), mode) => next,
            changed = modes.changed() => if changed.is_ok() { continue } else { return },
        };
        match next {
            Ok(head) => {
                submitter.set_head_trouble(None);
                last = Some(head.clone());
                if heads.send(head).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "no next block");
                submitter.set_head_trouble(Some(error.to_string()));
                tokio::time::sleep(HEAD_RETRY).await;
            }
        }
    }
}

/// Reads each gas wallet's balance; below its minimum the lane takes no new work.
pub(super) async fn read_balances(submitter: &Submitter) {
    for lane in &submitter.lanes {
        match submitter.deps.chain.gas_balance(lane.wallet()).await {
            Ok(gas) => lane.set_funded(gas.balance >= gas.balance_min),
            Err(error) => tracing::debug!(%error, wallet = lane.wallet(), "the balance could not be read"),
        }
    }
}

/// Closes every lane for good.
pub(super) fn close_lanes(lanes: &[Arc<Lane>], because: &str) {
    for lane in lanes {
        lane.close(because);
    }
}
