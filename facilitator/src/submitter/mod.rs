//! From a verified payment to exactly one transfer: one [`Submitter`] a network.
//!
//! ```text
//! settle ─► Submitter::submit ─► lane: sign ─► store.begin ─► sender: broadcast
//!                                                 │                 │
//!            guard.finish ◄─ store.finish ◄─ watcher: heads, observe, send again
//! ```
//!
//! * [`decide`]: the rules, pure.
//! * [`aftercare`]: the second look at what is settled.
//! * [`lane`]: one gas wallet; gives out its sequence, signs, stores.
//! * [`sender`]: sends what is stored, and nothing else.
//! * [`step`]: settlements of several transactions.
//! * [`watcher`]: follows the chain and ends settlements, with proof.
//! * [`gaps`]: what a wallet's transactions wait for in vain.
//! * [`recover`]: what happens before a network opens.
//! * [`recheck`]: whether it is still what it was then.
//!
//! Invariant: no bytes reach [`sender`] that [`crate::store::Store::begin`] has
//! not made durable.

mod aftercare;
pub mod decide;
mod gaps;
mod lane;
mod recheck;
mod recover;
mod sender;
mod slot;
mod step;
mod watcher;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use chains_core::{
    Network,
    chain::{Chain, PlannedTransaction, SignedTransaction},
    clock::{Clock, Millis},
};
use parking_lot::{Mutex, RwLock};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use lane::Lane;

use crate::{
    settlement::{
        failures::Failures,
        record::NewSettlement,
        replay_guard::{Dropped, Flight, ReplayGuard},
    },
    store::Store,
};

/// What every part of a submitter needs.
pub struct Deps {
    /// The network.
    pub chain: Arc<dyn Chain>,
    /// Where the bytes go first.
    pub store: Arc<dyn Store>,
    /// Who waits.
    pub guard: Arc<ReplayGuard>,
    /// Who has cost gas for nothing.
    pub failures: Arc<Failures>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Go on although the chain is further than the store: the operator has
    /// looked, and says that the foreign transactions are explained.
    pub accept_foreign_sequences: bool,
}

/// Settles the payments of one network.
pub struct Submitter {
    deps: Deps,
    lanes: Vec<Arc<Lane>>,
    condition: RwLock<Condition>,
    head: AtomicU64,
    head_seen: Mutex<Option<Instant>>,
    head_trouble: Mutex<Option<String>>,
}

/// Whether a network takes payments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Not yet, or not any more, and why.
    Opening(String),
    /// It does.
    Open,
}

/// A verified payment on its way to a lane.
pub struct Job {
    /// Who waits for it.
    pub flight: Arc<Flight>,
    /// The scheme's name.
    pub scheme: String,
    /// Who receives.
    pub pay_to: String,
    /// The token.
    pub asset: String,
    /// The payer's number for the payment.
    pub nonce: String,
    /// What is to happen on chain.
    pub plan: PlannedTransaction,
    /// The head's height when it was claimed.
    pub claimed_at: u64,
    /// When it was claimed.
    pub created_at: Millis,
}

impl Job {
    /// The settlement as it is first stored; without bytes where there is
    /// nothing to send.
    pub fn row(&self, network: &Network, signed: Option<&SignedTransaction>) -> NewSettlement {
        let ticket = &self.flight.ticket;
        NewSettlement {
            id: ticket.id,
            identity: ticket.identity,
            fingerprint: ticket.fingerprint,
            caller: ticket.caller.clone(),
            network: network.clone(),
            scheme: self.scheme.clone(),
            payer: ticket.payer.clone(),
            pay_to: self.pay_to.clone(),
            asset: self.asset.clone(),
            amount: ticket.amount,
            nonce: self.nonce.clone(),
            claimed_at: self.claimed_at,
            plan: self.plan.clone(),
            signed: signed.cloned(),
            created_at: self.created_at,
        }
    }
}

/// No lane can take a payment now; nothing was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Busy {
    /// Every gas wallet is short of money, or closed.
    #[error("no gas wallet of this network can pay for a transaction now")]
    NoGasWallet,
    /// Every queue is full.
    #[error("too many settlements are waiting")]
    QueueFull,
}

/// Time without a new block after which a network counts as not ready, in
/// usual block times, and at least.
const SILENCE_BLOCKS: u32 = 10;
const SILENCE_MIN: Duration = Duration::from_secs(30);

impl Submitter {
    /// Starts settling: recovers what the store holds, then opens the lanes.
    /// Its tasks end when `stop` is cancelled.
    pub fn start(deps: Deps, tasks: &TaskTracker, stop: &CancellationToken) -> Arc<Self> {
        let in_flight_max = deps.chain.pace().in_flight_max;
        let (lanes, inboxes): (Vec<_>, Vec<_>) =
            deps.chain.gas_wallets().iter().map(|wallet| Lane::new(wallet, in_flight_max)).unzip();
        let submitter = Arc::new(Self {
            deps,
            lanes: lanes.into_iter().map(Arc::new).collect(),
            condition: RwLock::new(Condition::Opening("starting".into())),
            head: AtomicU64::new(0),
            head_seen: Mutex::new(None),
            head_trouble: Mutex::new(None),
        });
        tasks.spawn(recover::run(Arc::clone(&submitter), inboxes, tasks.clone(), stop.clone()));
        submitter
    }

    /// Hands a claimed payment to the freest lane.
    ///
    /// # Errors
    /// The job comes back undone; the caller gives the claim back.
    pub fn submit(&self, job: Job) -> Result<(), Busy> {
        let pinned = job.plan.gas_wallet.as_deref();
        let fits = |lane: &&Arc<Lane>| lane.is_usable() && pinned.is_none_or(|wallet| wallet == lane.wallet());
        let lane = self.lanes.iter().filter(fits).min_by_key(|lane| lane.load()).ok_or(Busy::NoGasWallet)?;
        lane.enqueue(job)
    }

    /// The network.
    pub fn chain(&self) -> &Arc<dyn Chain> {
        &self.deps.chain
    }

    /// Whether payments are taken.
    pub fn condition(&self) -> Condition {
        self.condition.read().clone()
    }

    /// Whether a payment could be settled now, or why not. For `/ready` and `/supported`.
    ///
    /// `ok`, or what an operator should know all the same.
    ///
    /// # Errors
    /// What is wrong, for operators.
    pub fn readiness(&self) -> Result<String, String> {
        if let Condition::Opening(why) = self.condition() {
            return Err(why);
        }
        let closed: Vec<_> = self.lanes.iter().filter_map(|lane| lane.trouble()).collect();
        if closed.len() == self.lanes.len() {
            return Err(closed.join("; "));
        }
        if let Some(trouble) = &*self.head_trouble.lock() {
            return Err(trouble.clone());
        }
        let silence_max = self.deps.chain.pace().block_time.saturating_mul(SILENCE_BLOCKS).max(SILENCE_MIN);
        match *self.head_seen.lock() {
            Some(seen) if seen.elapsed() <= silence_max => Ok(self.notices()),
            Some(seen) => Err(format!("no new block for {} s", seen.elapsed().as_secs())),
            None => Err("no block seen yet".into()),
        }
    }

    fn notices(&self) -> String {
        let notices = self.deps.chain.notices();
        if notices.is_empty() { "ok".to_owned() } else { notices.join("; ") }
    }

    /// Whether a payment may be claimed: the network is open and some gas
    /// wallet can pay. A silent chain is no reason to refuse: the claim waits.
    pub fn takes_payments(&self) -> bool {
        *self.condition.read() == Condition::Open && self.lanes.iter().any(|lane| lane.is_usable())
    }

    /// The gas wallet to announce in the given turn: of those that can pay now,
    /// one after the other. `None` when no payment can be taken.
    pub fn announced(&self, turn: usize) -> Option<&str> {
        if *self.condition.read() != Condition::Open {
            return None;
        }
        let usable: Vec<_> = self.lanes.iter().filter(|lane| lane.is_usable()).collect();
        usable.get(turn.checked_rem(usable.len())?).map(|lane| lane.wallet())
    }

    /// The height of the newest block that was seen.
    pub fn head(&self) -> u64 {
        self.head.load(Ordering::Relaxed)
    }

    fn network(&self) -> &Network {
        self.deps.chain.network()
    }

    fn saw_head(&self, number: u64) {
        self.head.store(number, Ordering::Relaxed);
        *self.head_seen.lock() = Some(Instant::now());
    }

    fn set_head_trouble(&self, trouble: Option<String>) {
        *self.head_trouble.lock() = trouble;
    }

    fn set_condition(&self, condition: Condition) {
        *self.condition.write() = condition;
    }

    fn give_back(&self, flight: &Flight, why: Dropped) {
        self.deps.guard.give_back(flight, why);
    }
}
