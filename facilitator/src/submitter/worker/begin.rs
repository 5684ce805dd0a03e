//! Begins payments and steps: sign, store in one commit, hand over to the outbox.

use std::time::Duration;

use chains_core::{
    Amount, Rejection,
    chain::SignError,
    observation::Recheck,
    transaction::{Purpose, SignedTransaction},
};
use tokio::time::Instant;

use super::{
    Worker,
    outbox::Outgoing,
    tracked::{Carried, Tracked},
};
use crate::{
    in_flight::Dropped,
    metrics::{self, Stage},
    settlement::{Attempt, AttemptKind, Failed, NotNow, Transaction, TransactionId, TransactionState},
    store::{ApplyError, Change, Store, StoreError},
    submitter::{effects::Batch, job::Work},
};

/// Wait between looks at a store that failed.
pub(super) const STORE_RETRY: Duration = Duration::from_millis(250);

/// Wait before a step of a stored settlement that cannot be begun now is tried again.
const STEP_RETRY: Duration = Duration::from_secs(2);

/// Work with its signed transaction.
type Signed = (Work, Transaction);

impl Worker {
    /// Begins what waits, as far as there are places.
    pub(super) async fn begin_what_waits(&mut self) {
        while !self.queue.is_empty() {
            let free = self.parameters.in_flight_max.saturating_sub(self.tracked.places());
            let block = self.context.status.block_number();
            let (fresh, stale) = self.queue.take(free, block);
            if fresh.is_empty() && stale.is_empty() {
                return self.give_back_unwanted().await;
            }
            if !stale.is_empty() {
                self.questions.recheck(stale, block);
            }
            self.begin(fresh).await;
        }
    }

    /// Gives back payments whose callers have left: each would be begun for nobody.
    async fn give_back_unwanted(&mut self) {
        for work in self.queue.take_unwanted() {
            self.context.registry.give_back(&work.entry, Dropped::Unwanted).await;
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
        self.begin(good).await;
    }

    /// Signs a group, stores it in one commit, and hands it to the outbox.
    async fn begin(&mut self, mut group: Vec<Work>) {
        while !group.is_empty() {
            let began = Instant::now();
            let (signed, refused) = self.sign(std::mem::take(&mut group));
            for (work, refusal) in refused {
                self.refuse(work, refusal).await;
            }
            if signed.is_empty() {
                return;
            }
            let changes = signed.iter().flat_map(changes).collect();
            let signed_at = Instant::now();
            match self.context.store.apply(changes, self.context.now()).await {
                Ok(_) => {
                    self.time_stages(&signed, began, signed_at);
                    return self.hand_over(signed);
                }
                Err(ApplyError::Claimed(ids)) => {
                    for (work, _) in signed {
                        if ids.contains(&work.entry.facts.id) {
                            self.context.registry.give_back(&work.entry, Dropped::KnownToStore).await;
                        } else {
                            group.push(work);
                        }
                    }
                }
                Err(ApplyError::EpochOver) => return self.lose_wallet(signed).await,
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
        for (work, _) in signed {
            metrics::stage(network, Stage::Queue, began.duration_since(work.queued_at));
            metrics::stage(network, Stage::Sign, signed_at.duration_since(began));
            metrics::stage(network, Stage::Commit, signed_at.elapsed());
        }
    }

    /// Signs in order. Work that cannot be begun takes no nonce, and comes back
    /// with the reason.
    fn sign(&self, group: Vec<Work>) -> (Vec<Signed>, Vec<(Work, Refusal)>) {
        let (mut nonce, mut need) = (self.next_nonce, self.tracked.need());
        let (mut signed, mut refused) = (Vec::with_capacity(group.len()), vec![]);
        for work in group {
            match self.sign_one(&work, nonce, need) {
                Ok(transaction) if work.stored || work.entry.start_storing(&transaction.hash) => {
                    nonce = transaction.nonce.map(|taken| taken + 1).or(nonce);
                    need = need.checked_add(transaction.fee.amount_max).unwrap_or(Amount::MAX);
                    let transaction = self.transaction(&work, transaction);
                    signed.push((work, transaction));
                }
                Ok(_) => refused.push((work, Refusal::Unwanted)),
                Err(refusal) => refused.push((work, refusal)),
            }
        }
        (signed, refused)
    }

    fn sign_one(&self, work: &Work, nonce: Option<u64>, need: Amount) -> Result<SignedTransaction, Refusal> {
        if self.status.retired || self.status.state().closed.is_some() {
            return Err(Refusal::Unavailable(NotNow::GasWalletClosed));
        }
        let (chain, purpose) = (&self.context.chain, Purpose::Steps(std::slice::from_ref(&work.plan)));
        let (id, request_id) = (work.entry.facts.id, &work.entry.facts.request_id);
        let fee = chain.quote(purpose).map_err(|error| {
            tracing::warn!(%request_id, settlement_id = %id, %error, "a transaction cannot be priced now");
            Refusal::Unavailable(NotNow::Price)
        })?;
        if !self.upkeep.can_pay(need, fee.amount_max) {
            return Err(Refusal::Unavailable(NotNow::NoGasWallet));
        }
        chain.sign(&self.status.wallet, nonce, purpose, &fee).map_err(|error| match error {
            SignError::Void(why) => Refusal::Rejected(why),
            SignError::NoKey(_) | SignError::Plan(_) => {
                tracing::error!(%request_id, settlement_id = %id, %error, "a transaction cannot be signed");
                Refusal::Unavailable(NotNow::CannotSign)
            }
        })
    }

    fn transaction(&self, work: &Work, signed: SignedTransaction) -> Transaction {
        let now = self.context.now();
        Transaction {
            id: TransactionId::fresh(),
            gas_wallet: self.status.wallet.clone(),
            nonce: signed.nonce,
            epoch: self.epoch,
            items: vec![(work.entry.facts.id, work.number)],
            attempts: vec![Attempt { signed, kind: AttemptKind::First, created_at: now, inclusion: None }],
            state: TransactionState::Open,
            created_at: now,
        }
    }

    /// The bytes are durable: from here on the settlement is driven to its end.
    fn hand_over(&mut self, signed: Vec<Signed>) {
        let block = self.context.status.block_number();
        for (work, transaction) in signed {
            self.next_nonce = transaction.nonce.map(|taken| taken + 1).or(self.next_nonce);
            work.entry.stored(&transaction.newest().hash);
            self.outbox.push(Outgoing::from(&transaction));
            let Work { entry, number, plan, .. } = work;
            let items = vec![Carried { entry, number, plan, ended: false }];
            let (network, facts) = (self.context.network(), std::sync::Arc::clone(&items[0].entry.facts));
            tracing::debug!(
                request_id = facts.request_id, settlement_id = %facts.id, %network, wallet = self.status.wallet,
                transaction = transaction.newest().hash, "stored; it is sent now"
            );
            let mut tracked = Tracked::new(transaction, items, block);
            tracked.measured.begun_here = true;
            self.tracked.insert(tracked);
        }
    }

    /// After a commit of unknown outcome: waits until the store answers, goes
    /// on with what it holds, and gives back the rest.
    async fn find_out_what_was_stored(&mut self, signed: Vec<Signed>) {
        let mut stored = Vec::new();
        for (work, transaction) in signed {
            match is_stored(&*self.context.store, &work, &transaction).await {
                Some(true) => stored.push((work, transaction)),
                Some(false) => self.refuse(work, Refusal::Unavailable(NotNow::Store)).await,
                None => return,
            }
        }
        self.hand_over(stored);
    }

    /// Another owner has the wallet: this worker signs nothing more.
    async fn lose_wallet(&mut self, signed: Vec<Signed>) {
        let because = "the gas wallet belongs to another owner now".to_owned();
        let (network, wallet) = (self.context.network(), &self.status.wallet);
        tracing::error!(%network, wallet, error = because, "the worker is closed");
        self.status.update(|state| state.closed = Some(because));
        for (work, _) in signed {
            self.refuse(work, Refusal::Unavailable(NotNow::GasWalletTaken)).await;
        }
    }

    /// Gives work back that cannot be begun now. A step of a stored settlement
    /// is tried again. One that is not good any more may have been executed:
    /// the chain is asked by what its authorization was used before it fails.
    async fn refuse(&mut self, work: Work, refusal: Refusal) {
        match refusal {
            Refusal::Rejected(why) if work.stored => self.trace(Work { refused: Some(why), traces: 0, ..work }),
            _ if work.stored => {
                self.queue.defer(Work { verified_block: None, ..work }, Instant::now() + STEP_RETRY);
            }
            Refusal::Unwanted => self.context.registry.give_back(&work.entry, Dropped::Unwanted).await,
            Refusal::Rejected(why) => self.context.registry.give_back(&work.entry, Dropped::Rejected(why)).await,
            Refusal::Unavailable(why) => {
                self.context.registry.give_back(&work.entry, Dropped::Unavailable(why)).await;
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
        if let Err(error) = batch.commit(&self.context).await {
            let (request_id, settlement_id) = (&work.entry.facts.request_id, work.entry.facts.id);
            tracing::error!(request_id, %settlement_id, %error, "an end could not be stored; it is tried again");
            self.queue.defer(Work { verified_block: None, ..work }, Instant::now() + STEP_RETRY);
        }
    }
}

/// Returns true when the store holds these bytes; waits until it answers. `None` when it is closed.
async fn is_stored(store: &dyn Store, work: &Work, transaction: &Transaction) -> Option<bool> {
    loop {
        match store.timeline(work.entry.facts.id).await {
            Ok(timeline) => {
                let stored = timeline.into_iter().flat_map(|timeline| timeline.transactions);
                return Some(stored.into_iter().any(|(stored, _)| stored.id == transaction.id));
            }
            Err(StoreError::Closed) => return None,
            Err(_) => tokio::time::sleep(STORE_RETRY).await,
        }
    }
}

/// The reason why work was not begun.
enum Refusal {
    /// Nobody waits for it any more.
    Unwanted,
    /// It is not good any more.
    Rejected(Rejection),
    /// Not now.
    Unavailable(NotNow),
}

/// The changes that begin one piece of work.
fn changes((work, transaction): &Signed) -> Vec<Change> {
    let claim = (!work.stored)
        .then(|| Change::Claim { facts: std::sync::Arc::clone(&work.entry.facts), plan: Some(work.plan.clone()) });
    claim.into_iter().chain([Change::Carry(transaction.clone())]).collect()
}
