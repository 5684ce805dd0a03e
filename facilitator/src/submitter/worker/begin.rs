//! Begins payments and steps: have them signed, store in one commit, hand over
//! to the outbox.

use std::time::Duration;

use chains_core::{Rejection, observation::Recheck};
use tokio::time::Instant;

use super::{
    Worker,
    leave::leave_to_store,
    outbox::Outgoing,
    sign::{Refusal, Signed},
    tracked::{Carried, Tracked},
};
use crate::{
    in_flight::Dropped,
    metrics::{self, Stage},
    settlement::{Failed, NotNow, Transaction},
    store::{ApplyError, Change, Store, StoreError},
    submitter::{
        decide::batching::{self, Begin, Places},
        effects::Batch,
        handed_over::give_back,
        job::Work,
        status::Fitness,
    },
};

/// Wait between looks at a store that failed.
pub(super) const STORE_RETRY: Duration = Duration::from_millis(250);

/// Wait before a step of a stored settlement that cannot be begun now is tried again.
const STEP_RETRY: Duration = Duration::from_secs(2);

/// The wallet after a commit of unknown outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Renewed {
    /// It is this process's, under a newer epoch.
    Ours,
    /// It is another's.
    Lost,
    /// The store is closed.
    Closed,
}

impl Worker {
    /// Begins what waits, as far as there are places.
    pub(super) async fn begin_what_waits(&mut self) {
        self.gather_until = None;
        while !self.queue.is_empty() {
            let free = self.free_places();
            let (how, room) = self.how_to_begin(free);
            let count = match how {
                Begin::Alone => free,
                Begin::Together => free.saturating_mul(room),
                Begin::Gather(rest) => {
                    self.gather_until = Some(Instant::now() + rest);
                    return;
                }
            };
            let block = self.context.status.block_number();
            let (fresh, stale) = self.queue.take(count, block);
            if fresh.is_empty() && stale.is_empty() {
                return self.give_back_unwanted().await;
            }
            if !stale.is_empty() {
                self.questions.recheck(stale, block);
            }
            let (groups, left) = self.groups(fresh, how);
            let full = !left.is_empty();
            self.queue.extend(left);
            self.begin(groups).await;
            if full {
                return;
            }
        }
    }

    /// Decides how what waits is begun, and how many share a place.
    fn how_to_begin(&self, free: usize) -> (Begin, usize) {
        let places = Places { free, all: self.parameters.in_flight_max };
        let waited = self.queue.iter().map(|work| work.queued_at.elapsed()).max().unwrap_or_default();
        let how = batching::begin(places, self.queue.len(), waited);
        if free == 0 || how == Begin::Alone {
            return (Begin::Alone, 1);
        }
        let shared = self.queue.iter().map(|work| self.room(work)).find(|room| *room > 1);
        shared.map_or((Begin::Alone, 1), |room| (how, room))
    }

    fn free_places(&self) -> usize {
        self.parameters.in_flight_max.saturating_sub(self.tracked.places())
    }

    /// The number of steps that one transaction may carry with this one.
    fn room(&self, work: &Work) -> usize {
        // A payer's code may burn what the others' calls need.
        if work.entry.facts.payer_code.is_some() { 1 } else { self.context.chain.batch_max(&work.plan) }
    }

    /// Divides work over the free places, and returns what has none.
    fn groups(&self, works: Vec<Work>, how: Begin) -> (Vec<Vec<Work>>, Vec<Work>) {
        let room: Vec<_> = match how {
            Begin::Alone => works.iter().map(|_| 1).collect(),
            Begin::Together | Begin::Gather(_) => works.iter().map(|work| self.room(work)).collect(),
        };
        let mut works: Vec<_> = works.into_iter().map(Some).collect();
        let groups = batching::groups(&room, self.free_places());
        let groups =
            groups.into_iter().map(|places| places.into_iter().filter_map(|place| works[place].take()).collect());
        let groups = groups.collect();
        (groups, works.into_iter().flatten().collect())
    }

    /// Gives back payments whose callers have left: each would be begun for nobody.
    async fn give_back_unwanted(&mut self) {
        for work in self.queue.take_unwanted() {
            give_back(&self.context, &work.entry, Dropped::Unwanted).await;
        }
    }

    /// Goes on with work that was verified again.
    pub(super) async fn rechecked(&mut self, group: Vec<Work>, answers: Vec<Recheck>, block: u64) {
        self.queue.rechecked(group.len());
        let mut good = Vec::with_capacity(group.len());
        for (work, answer) in group.into_iter().zip(answers) {
            match answer {
                Recheck::Good => good.push(Work { verified_block: Some(block), ..work }),
                Recheck::Bad(why) => self.refuse(work, Refusal::Rejected(why)).await,
                Recheck::Unknown(why) => {
                    tracing::debug!(
                        request_id = work.entry.facts.request_id, settlement_id = %work.entry.facts.id, error = why,
                        "a payment that waited could not be verified again"
                    );
                    self.refuse(work, Refusal::Unavailable(NotNow::ChainUnavailable)).await;
                }
            }
        }
        let places = Places { free: self.free_places(), all: self.parameters.in_flight_max };
        // Nothing is gathered any more: they have waited for this.
        let how = batching::begin(places, good.len() + self.queue.len(), batching::GATHER_MAX);
        let (groups, left) = self.groups(good, how);
        // Verified for this block and the next: those that have no place now are not asked about again then.
        self.queue.extend(left);
        self.begin(groups).await;
    }

    /// Signs groups, each for one transaction, stores them in one commit, and
    /// hands them to the outbox.
    async fn begin(&mut self, mut groups: Vec<Vec<Work>>) {
        while !groups.is_empty() {
            let began = Instant::now();
            let (signed, refused) = self.sign(std::mem::take(&mut groups));
            for (work, refusal) in refused {
                self.refuse(work, refusal).await;
            }
            if signed.is_empty() {
                return;
            }
            let changes = signed.iter().flat_map(changes).collect();
            let signed_at = Instant::now();
            if mistake!(SendsBeforeStoring) {
                for signed in &signed {
                    self.outbox.push(Outgoing::from(&signed.transaction));
                }
            }
            match self.store(changes).await {
                Ok(_) => {
                    self.time_stages(&signed, began, signed_at);
                    return self.hand_over(signed);
                }
                Err(ApplyError::Claimed(ids)) => {
                    for Signed { works, .. } in signed {
                        let (known, good): (Vec<_>, Vec<_>) =
                            works.into_iter().partition(|work| ids.contains(&work.entry.facts.id));
                        for work in known {
                            give_back(&self.context, &work.entry, Dropped::KnownToStore).await;
                        }
                        groups.extend((!good.is_empty()).then_some(good));
                    }
                }
                Err(ApplyError::EpochOver) => return self.refuse_all(signed).await,
                Err(ApplyError::Store(error)) => {
                    let network = self.context.network();
                    tracing::error!(%network, wallet = self.status.wallet, %error, "the store failed; the worker waits until it answers");
                    return self.find_out_what_was_stored(signed).await;
                }
            }
        }
    }

    /// Notes the time that a group took until it was stored, stage by stage.
    fn time_stages(&self, signed: &[Signed], began: Instant, signed_at: Instant) {
        let network = self.context.network();
        for work in signed.iter().flat_map(|signed| &signed.works) {
            metrics::stage(network, Stage::Queue, began.duration_since(work.queued_at));
            metrics::stage(network, Stage::Sign, signed_at.duration_since(began));
            metrics::stage(network, Stage::Commit, signed_at.elapsed());
        }
    }

    /// The bytes are durable: from here on the settlement is driven to its end.
    fn hand_over(&mut self, signed: Vec<Signed>) {
        let block = self.context.status.block_number();
        for Signed { works, transaction } in signed {
            self.next_nonce = transaction.nonce.map(|taken| taken + 1).or(self.next_nonce);
            self.outbox.push(Outgoing::from(&transaction));
            let hash = &transaction.newest().hash;
            let (network, wallet, steps) = (self.context.network(), &self.status.wallet, works.len());
            metrics::begun(network, steps);
            let items = works.into_iter().map(|Work { entry, number, plan, .. }| {
                entry.stored(hash);
                let facts = &entry.facts;
                tracing::debug!(
                    request_id = facts.request_id, settlement_id = %facts.id, %network, wallet, transaction = hash, steps,
                    "stored; it is sent now"
                );
                Carried { entry, number, plan, ended: false }
            });
            let items = items.collect();
            let mut tracked = Tracked::new(transaction, items, block);
            tracked.measured.begun_here = true;
            self.tracked.insert(tracked);
        }
    }

    /// After a commit of unknown outcome: waits until the store answers, goes
    /// on with what it holds, and gives back the rest. Where the wallet was lost
    /// meanwhile, its new owner goes on: it waited for that commit.
    async fn find_out_what_was_stored(&mut self, signed: Vec<Signed>) {
        match self.renew_epoch().await {
            Renewed::Ours | Renewed::Lost => {}
            Renewed::Closed => return,
        }
        let mut stored = Vec::new();
        for Signed { works, transaction } in signed {
            // All of its steps were stored with it, or none.
            match is_stored(&*self.context.store, &works, &transaction).await {
                Some(true) if !mistake!(ForgetsLostCommits) => stored.push(Signed { works, transaction }),
                Some(_) => {
                    for work in works {
                        self.refuse(work, Refusal::Unavailable(NotNow::Store)).await;
                    }
                }
                None => return,
            }
        }
        if self.is_lost {
            for work in stored.iter().flat_map(|signed| &signed.works) {
                leave_to_store(&self.context, &work.entry).await;
            }
            return;
        }
        self.hand_over(stored);
    }

    /// Takes a newer epoch of the wallet, as soon as the store answers: what an
    /// older one has not stored by then, it never will.
    pub(super) async fn renew_epoch(&mut self) -> Renewed {
        loop {
            match self.context.ownership.renew(&self.holding).await {
                Ok(true) => return Renewed::Ours,
                Ok(false) => {
                    self.lose_wallet();
                    return Renewed::Lost;
                }
                Err(StoreError::Closed) => return Renewed::Closed,
                Err(_) => tokio::time::sleep(STORE_RETRY).await,
            }
        }
    }

    /// Nothing of it is stored, as another owner has the wallet.
    async fn refuse_all(&mut self, signed: Vec<Signed>) {
        for work in signed.into_iter().flat_map(|signed| signed.works) {
            // Another gas wallet may begin it: nobody is told of these bytes meanwhile.
            work.entry.not_stored();
            self.refuse(work, Refusal::Unavailable(NotNow::GasWalletTaken)).await;
        }
    }

    /// Gives work back that cannot be begun now, unless another gas wallet may
    /// begin it. A step of a stored settlement
    /// is tried again. One that is not good any more may have been executed:
    /// the chain is asked by what its authorization was used before it fails.
    pub(super) async fn refuse(&mut self, work: Work, refusal: Refusal) {
        let work = match &refusal {
            Refusal::Unavailable(NotNow::NoGasWallet | NotNow::GasWalletClosed | NotNow::GasWalletTaken) => {
                match self.dispatcher.hand_on(Box::new(work), &self.status, Fitness::Unfit) {
                    Ok(()) => return,
                    Err(work) => *work,
                }
            }
            Refusal::Unavailable(_) | Refusal::Rejected(_) | Refusal::Unwanted => work,
        };
        match refusal {
            Refusal::Rejected(why) if work.stored => self.trace(Work { refused: Some(why), traces: 0, ..work }),
            _ if work.stored => {
                self.queue.defer(Work { verified_block: None, ..work }, Instant::now() + STEP_RETRY);
            }
            Refusal::Unwanted => give_back(&self.context, &work.entry, Dropped::Unwanted).await,
            Refusal::Rejected(why) => give_back(&self.context, &work.entry, Dropped::Rejected(why)).await,
            Refusal::Unavailable(why) => {
                give_back(&self.context, &work.entry, Dropped::Unavailable(why)).await;
            }
        }
    }

    /// Fails a settlement whose step cannot be carried any more. Whoever holds
    /// the payload may still execute it until it is void.
    pub(super) async fn fail_step(&mut self, work: Work, why: Rejection) {
        let executable_until = work.plan.valid_before;
        let failed = Failed { executable_until, ..Failed::new(why, None, None) };
        let mut batch = Batch::default();
        batch.fail(&work.entry.facts, Some(&work.entry), failed, None);
        if let Err(error) = self.commit(batch).await {
            let (request_id, settlement_id) = (&work.entry.facts.request_id, work.entry.facts.id);
            tracing::error!(request_id, %settlement_id, %error, "an end could not be stored; it is tried again");
            self.queue.defer(Work { verified_block: None, ..work }, Instant::now() + STEP_RETRY);
        }
    }
}

/// Returns true when the store holds these bytes; waits until it answers. `None` when it is closed.
async fn is_stored(store: &dyn Store, works: &[Work], transaction: &Transaction) -> Option<bool> {
    let Some(first) = works.first() else { return Some(false) };
    loop {
        match store.timeline(first.entry.facts.id).await {
            Ok(timeline) => {
                let stored = timeline.into_iter().flat_map(|timeline| timeline.transactions);
                return Some(stored.into_iter().any(|(stored, _)| stored.id == transaction.id));
            }
            Err(StoreError::Closed) => return None,
            Err(_) => tokio::time::sleep(STORE_RETRY).await,
        }
    }
}

/// The changes that begin the work of one transaction.
fn changes(signed: &Signed) -> Vec<Change> {
    let fresh = signed.works.iter().filter(|work| !work.stored);
    let claims = fresh.flat_map(|work| {
        let facts = std::sync::Arc::clone(&work.entry.facts);
        let received = work.entry.is_received().then_some(Change::Receive { id: facts.id });
        received.into_iter().chain([Change::Claim { facts, plan: Some(work.plan.clone()) }])
    });
    claims.chain([Change::Carry(signed.transaction.clone())]).collect()
}
