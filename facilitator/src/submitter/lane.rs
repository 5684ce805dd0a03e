//! One gas wallet: gives out its sequence, signs, and stores before anything is sent.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use chains_core::chain::{Fees, SignedTransaction};
use parking_lot::Mutex;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::Duration,
};
use tokio_util::sync::CancellationToken;

use super::{Busy, Job, Submitter, sender::Outgoing, slot::Slot, step::Step, watcher::ToWatcher};
use crate::{
    settlement::{SettlementId, replay_guard::Dropped},
    store::{BeginError, StoreError},
};

/// Settlements that share a commit at most: enough that the disk is not what
/// limits, few enough that a commit stays short.
const GROUP_MAX: usize = 64;

/// Jobs that may wait for a lane. Beyond, callers are told to come back: two
/// seconds of a lane that settles 128 payments a second.
const QUEUE_MAX: usize = 256;

/// Wait between looks at a store that failed.
const STORE_RETRY: Duration = Duration::from_millis(250);

/// A gas wallet's lane, as the rest of the submitter sees it.
#[derive(Debug)]
pub struct Lane {
    wallet: String,
    queue: mpsc::Sender<Job>,
    steps: mpsc::Sender<Box<Step>>,
    queued: AtomicUsize,
    permits: Arc<Semaphore>,
    in_flight_max: usize,
    open: AtomicBool,
    funded: AtomicBool,
    closed_because: Mutex<String>,
}

impl Lane {
    pub(super) fn new(wallet: &str, in_flight_max: usize) -> (Self, Inbox) {
        let (queue, jobs) = mpsc::channel(QUEUE_MAX);
        let (steps, next_steps) = mpsc::channel(QUEUE_MAX);
        let lane = Self {
            wallet: wallet.to_owned(),
            queue,
            steps,
            queued: AtomicUsize::new(0),
            permits: Arc::new(Semaphore::new(in_flight_max)),
            in_flight_max,
            open: AtomicBool::new(false),
            funded: AtomicBool::new(true),
            closed_because: Mutex::new("not open yet".into()),
        };
        (lane, Inbox { jobs, steps: next_steps })
    }

    /// The gas wallet's address.
    pub fn wallet(&self) -> &str {
        &self.wallet
    }

    /// Whether it takes new work.
    pub fn is_usable(&self) -> bool {
        self.open.load(Ordering::Relaxed) && self.funded.load(Ordering::Relaxed)
    }

    /// Jobs in its queue and in flight.
    pub fn load(&self) -> usize {
        self.queued.load(Ordering::Relaxed) + self.in_flight_max.saturating_sub(self.permits.available_permits())
    }

    /// Why it takes no new work, for operators.
    pub fn trouble(&self) -> Option<String> {
        let wallet = &self.wallet;
        if !self.open.load(Ordering::Relaxed) {
            return Some(format!("gas wallet {wallet}: {}", self.closed_because.lock()));
        }
        let empty = !self.funded.load(Ordering::Relaxed);
        empty.then(|| format!("gas wallet {wallet}: its balance is below gas_balance_min; send it gas money"))
    }

    pub(super) fn enqueue(&self, job: Job) -> Result<(), Busy> {
        self.queued.fetch_add(1, Ordering::Relaxed);
        self.queue.try_send(job).map_err(|_| {
            self.queued.fetch_sub(1, Ordering::Relaxed);
            Busy::QueueFull
        })
    }

    /// Hands a settlement over for its next transaction; back when the lane is
    /// busy with others'. Never refused for want of gas money: it is begun.
    pub(super) fn advance(&self, step: Box<Step>) -> Result<(), Box<Step>> {
        self.steps.try_send(step).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(step) | mpsc::error::TrySendError::Closed(step) => step,
        })
    }

    pub(super) fn open(&self) {
        self.open.store(true, Ordering::Relaxed);
    }

    pub(super) fn close(&self, because: &str) {
        self.open.store(false, Ordering::Relaxed);
        because.clone_into(&mut self.closed_because.lock());
    }

    pub(super) fn set_funded(&self, funded: bool) {
        if self.funded.swap(funded, Ordering::Relaxed) != funded {
            let wallet = &self.wallet;
            if funded {
                tracing::info!(wallet, "the gas wallet has money again and takes settlements");
            } else {
                tracing::error!(
                    wallet,
                    "the gas wallet is below gas_balance_min: it takes no new settlement; send it gas money"
                );
            }
        }
    }
}

/// What waits for a lane's task.
pub(super) struct Inbox {
    /// Payments to begin.
    jobs: mpsc::Receiver<Job>,
    /// Settlements to go on with.
    steps: mpsc::Receiver<Box<Step>>,
}

/// The task of a lane.
pub(super) struct Signer {
    pub submitter: Arc<Submitter>,
    pub lane: Arc<Lane>,
    pub next: Option<u64>,
    pub outgoing: mpsc::Sender<Outgoing>,
    pub watcher: mpsc::Sender<ToWatcher>,
}

/// A job that holds its share of the lane.
struct Admitted {
    job: Job,
    permit: OwnedSemaphorePermit,
}

impl Signer {
    /// Signs and stores what comes, until `stop`. What is still queued then is
    /// given back; settlements that are under way are in the store.
    pub async fn run(mut self, inbox: Inbox, stop: CancellationToken) {
        let Inbox { mut jobs, mut steps } = inbox;
        let mut waiting = Vec::with_capacity(GROUP_MAX);
        // Steps come first: they hold their share of the lane while they wait.
        loop {
            self.give_back_unwanted(&mut waiting);
            if waiting.is_empty() {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => break,
                    Some(next) = steps.recv() => self.advance(*next).await,
                    received = jobs.recv_many(&mut waiting, GROUP_MAX) => {
                        self.lane.queued.fetch_sub(received, Ordering::Relaxed);
                    }
                }
            } else {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => break,
                    Some(next) = steps.recv() => self.advance(*next).await,
                    Some(group) = self.admit(&mut waiting) => self.settle(group).await,
                }
            }
        }
        jobs.close();
        while let Ok(job) = jobs.try_recv() {
            waiting.push(job);
        }
        for job in waiting {
            self.submitter.give_back(&job.flight, Dropped::Unavailable);
        }
    }

    fn give_back_unwanted(&self, jobs: &mut Vec<Job>) {
        jobs.retain(|job| {
            let wanted = job.flight.is_wanted();
            if !wanted {
                self.submitter.give_back(&job.flight, Dropped::Unwanted);
            }
            wanted
        });
    }

    fn give_back(&self, group: &[Admitted], why: Dropped) {
        for admitted in group {
            self.submitter.give_back(&admitted.job.flight, why);
        }
    }

    /// Takes as many jobs as the lane has room for; waits for room for one.
    async fn admit(&self, waiting: &mut Vec<Job>) -> Option<Vec<Admitted>> {
        if waiting.is_empty() {
            return None;
        }
        let first = Arc::clone(&self.lane.permits).acquire_owned().await.ok()?;
        let mut permits = vec![first];
        while permits.len() < waiting.len() {
            let Ok(permit) = Arc::clone(&self.lane.permits).try_acquire_owned() else { break };
            permits.push(permit);
        }
        let jobs = waiting.drain(..permits.len());
        Some(jobs.zip(permits).map(|(job, permit)| Admitted { job, permit }).collect())
    }

    /// Signs a group, stores it in one commit, and hands it to the sender.
    async fn settle(&mut self, mut group: Vec<Admitted>) {
        let fees = match self.submitter.deps.chain.quote() {
            Ok(fees) => fees,
            Err(error) => {
                tracing::warn!(network = %self.submitter.network(), %error, "settlements given back");
                return self.give_back(&group, Dropped::Unavailable);
            }
        };
        loop {
            let signed = self.sign(group, &fees);
            if signed.is_empty() {
                return;
            }
            let rows = signed
                .iter()
                .map(|(admitted, signed)| admitted.job.row(self.submitter.network(), Some(signed)))
                .collect();
            match self.submitter.deps.store.begin(rows).await {
                Ok(()) => {
                    self.go_past(signed.iter().map(|(_, signed)| signed));
                    return self.hand_over(signed).await;
                }
                Err(BeginError::Claimed(ids)) => {
                    let (known, fresh): (Vec<_>, Vec<_>) =
                        signed.into_iter().map(|(a, _)| a).partition(|a| ids.contains(&a.job.flight.ticket.id));
                    self.give_back(&known, Dropped::KnownToStore);
                    group = fresh;
                }
                Err(BeginError::Store(error)) => {
                    tracing::error!(%error, wallet = self.lane.wallet(), "the store failed; the lane waits until it answers");
                    return self.look_what_was_stored(signed).await;
                }
            }
        }
    }

    /// Signs in order; what nobody waits for any more takes no sequence.
    fn sign(&self, group: Vec<Admitted>, fees: &Fees) -> Vec<(Admitted, SignedTransaction)> {
        let mut next = self.next;
        let mut signed = Vec::with_capacity(group.len());
        for admitted in group {
            let flight = &admitted.job.flight;
            match self.submitter.deps.chain.sign(self.lane.wallet(), next, &admitted.job.plan, fees) {
                Ok(transaction) if flight.start_storing(&transaction.transaction) => {
                    next = after(next, &transaction);
                    signed.push((admitted, transaction));
                }
                Ok(_) => self.submitter.give_back(flight, Dropped::Unwanted),
                Err(error) => {
                    tracing::error!(%error, settlement = %flight.ticket.id, "the settlement cannot be signed");
                    self.submitter.give_back(flight, Dropped::Unavailable);
                }
            }
        }
        signed
    }

    /// The bytes are durable: from here on the settlement is driven to its end.
    async fn hand_over(&self, signed: Vec<(Admitted, SignedTransaction)>) {
        let head = self.submitter.head();
        for (Admitted { job, permit }, transaction) in signed {
            job.flight.sent(&transaction.transaction);
            let outgoing = Outgoing { id: job.flight.ticket.id, signed: transaction.clone() };
            let slot = Slot {
                flight: job.flight,
                lane: Arc::clone(&self.lane),
                attempts: vec![transaction],
                plan: job.plan,
                claimed_at: job.claimed_at,
                sent_at: head,
                looked_at: head,
                final_at: None,
                doubtful: false,
                send_again: false,
                _permit: Some(permit),
            };
            // Both ends only close when the process stops; then the store
            // has the bytes and the next start sends them.
            if self.watcher.send(ToWatcher::Track(Box::new(slot))).await.is_err() {
                return;
            }
            if self.outgoing.send(outgoing).await.is_err() {
                return;
            }
        }
    }

    /// After a commit of unknown outcome: waits until the store answers, goes
    /// on with what it holds, and gives back what it does not.
    async fn look_what_was_stored(&mut self, signed: Vec<(Admitted, SignedTransaction)>) {
        let mut stored = Vec::new();
        for (admitted, transaction) in signed {
            match self.is_stored(admitted.job.flight.ticket.id, &transaction).await {
                Some(true) => stored.push((admitted, transaction)),
                Some(false) => self.submitter.give_back(&admitted.job.flight, Dropped::Unavailable),
                None => return,
            }
        }
        self.go_past(stored.iter().map(|(_, signed)| signed));
        self.hand_over(stored).await;
    }

    /// Notes that these transactions are stored: their sequences are taken.
    pub(super) fn go_past<'a>(&mut self, signed: impl Iterator<Item = &'a SignedTransaction>) {
        self.next = signed.fold(self.next, after);
    }

    /// Whether the store holds these bytes; waits until it answers. `None` when it is closed.
    pub(super) async fn is_stored(&self, id: SettlementId, signed: &SignedTransaction) -> Option<bool> {
        loop {
            match self.submitter.deps.store.timeline(id).await {
                Ok(timeline) => {
                    let mut attempts = timeline.into_iter().flat_map(|timeline| timeline.attempts);
                    return Some(attempts.any(|attempt| attempt.signed.transaction == signed.transaction));
                }
                Err(StoreError::Closed) => return None,
                Err(_) => tokio::time::sleep(STORE_RETRY).await,
            }
        }
    }
}

/// The next free sequence after a transaction that may have taken one.
fn after(next: Option<u64>, signed: &SignedTransaction) -> Option<u64> {
    signed.sequence.map(|taken| taken + 1).or(next)
}
