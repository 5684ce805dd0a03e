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

use super::{Busy, Job, Submitter, sender::Outgoing, slot::Slot, watcher::ToWatcher};
use crate::{settlement::replay_guard::Dropped, store::BeginError};

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
    queued: AtomicUsize,
    permits: Arc<Semaphore>,
    in_flight_max: usize,
    open: AtomicBool,
    funded: AtomicBool,
    closed_because: Mutex<String>,
}

impl Lane {
    pub(super) fn new(wallet: &str, in_flight_max: usize) -> (Self, mpsc::Receiver<Job>) {
        let (queue, jobs) = mpsc::channel(QUEUE_MAX);
        let lane = Self {
            wallet: wallet.to_owned(),
            queue,
            queued: AtomicUsize::new(0),
            permits: Arc::new(Semaphore::new(in_flight_max)),
            in_flight_max,
            open: AtomicBool::new(false),
            funded: AtomicBool::new(true),
            closed_because: Mutex::new("not open yet".into()),
        };
        (lane, jobs)
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
    /// Signs and stores what comes, until `stop`. What is still queued then is given back.
    pub async fn run(mut self, mut jobs: mpsc::Receiver<Job>, stop: CancellationToken) {
        let mut waiting = Vec::with_capacity(GROUP_MAX);
        while let Some(received) = stop.run_until_cancelled(jobs.recv_many(&mut waiting, GROUP_MAX)).await {
            if received == 0 {
                break;
            }
            self.lane.queued.fetch_sub(received, Ordering::Relaxed);
            while !waiting.is_empty() && !stop.is_cancelled() {
                self.give_back_unwanted(&mut waiting);
                if let Some(Some(group)) = stop.run_until_cancelled(self.admit(&mut waiting)).await {
                    self.settle(group).await;
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
                    self.next = self.next.map(|next| next + u64::try_from(signed.len()).unwrap_or(u64::MAX));
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
                    next = next.map(|n| n + 1);
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
        let store = Arc::clone(&self.submitter.deps.store);
        let mut stored = Vec::new();
        for (admitted, transaction) in signed {
            let there = loop {
                match store.timeline(admitted.job.flight.ticket.id).await {
                    Ok(timeline) => break timeline.is_some(),
                    Err(crate::store::StoreError::Closed) => return,
                    Err(_) => tokio::time::sleep(STORE_RETRY).await,
                }
            };
            if there {
                stored.push((admitted, transaction));
            } else {
                self.submitter.give_back(&admitted.job.flight, Dropped::Unavailable);
            }
        }
        if let Some(highest) = stored.iter().filter_map(|(_, signed)| signed.sequence).max() {
            self.next = Some(highest + 1);
        }
        self.hand_over(stored).await;
    }
}
