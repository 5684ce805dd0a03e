//! The choice of the wallet worker that begins a payment, and that takes over
//! what waits at one that is not well.

use std::sync::Arc;

use parking_lot::RwLock;
use tokio::sync::mpsc;

use super::{
    job::Work,
    mail::{MAILBOX_MAX, Mail},
    ownership::Holding,
    status::{Fitness, WalletStatus},
};
use crate::store::Fence;

/// Workers that a payment is handed on to at most: each costs it a moment, and
/// where several cannot take it the caller had better hear so.
const MOVES_MAX: u32 = 4;

/// The workers of a network, which come and go with the ownership of their wallets.
#[derive(Default)]
pub(super) struct Dispatcher {
    wallets: RwLock<Vec<Desk>>,
}

/// A gas wallet, and the way to its worker while it has one here.
struct Desk {
    status: Arc<WalletStatus>,
    worker: Option<Way>,
}

/// The way to a worker.
#[derive(Clone)]
struct Way {
    mail: mpsc::Sender<Mail>,
    holding: Holding,
}

/// No worker can take a payment now; nothing was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Busy {
    /// Every gas wallet is short of money, underpriced, or closed.
    #[error("no gas wallet of this network can pay for a transaction now")]
    NoGasWallet,
    /// Other instances have the gas wallets.
    #[error("the gas wallets of this network belong to other instances now")]
    Elsewhere,
    /// Every queue is full.
    #[error("too many settlements are waiting")]
    QueueFull,
}

/// A worker as the rule sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Candidate {
    fitness: Fitness,
    /// Payments in its queue and transactions in flight.
    load: usize,
    has_room: bool,
}

/// Chooses the worker for a payment: of the fittest that have room the one
/// with the least to do.
///
/// # Errors
/// None can pay, or none has room.
fn choose(candidates: &[Candidate]) -> Result<usize, Busy> {
    let usable = || candidates.iter().enumerate().filter(|(_, candidate)| candidate.fitness != Fitness::Unfit);
    let best = usable().filter(|(_, candidate)| candidate.has_room).min_by_key(|(_, one)| (one.fitness, one.load));
    match best {
        Some((index, _)) => Ok(index),
        None if usable().next().is_some() => Err(Busy::QueueFull),
        None => Err(Busy::NoGasWallet),
    }
}

impl Dispatcher {
    /// Adds a gas wallet, without a worker yet.
    pub fn add(&self, status: Arc<WalletStatus>) {
        self.wallets.write().push(Desk { status, worker: None });
    }

    /// Opens a mailbox for the worker of a wallet that is here now.
    pub fn attach(&self, wallet: &str, holding: &Holding) -> mpsc::Receiver<Mail> {
        let (mail, mailbox) = mpsc::channel(MAILBOX_MAX);
        self.set(wallet, Some(Way { mail, holding: holding.clone() }));
        mailbox
    }

    /// Forgets the worker of a wallet: it has ended.
    pub fn detach(&self, wallet: &str) {
        self.set(wallet, None);
    }

    fn set(&self, wallet: &str, worker: Option<Way>) {
        if let Some(desk) = self.wallets.write().iter_mut().find(|desk| desk.status.wallet == wallet) {
            desk.worker = worker;
        }
    }

    fn way(&self, wallet: &str) -> Option<Way> {
        self.wallets.read().iter().find(|desk| desk.status.wallet == wallet)?.worker.clone()
    }

    /// The way into the mailbox of a wallet's worker, where it is here.
    pub fn mailer(&self, wallet: &str) -> Option<mpsc::Sender<Mail>> {
        self.way(wallet).map(|way| way.mail)
    }

    /// The right under which a wallet's worker writes, where it is here.
    pub fn fence(&self, wallet: &str) -> Option<Fence> {
        self.way(wallet).map(|way| way.holding.fence())
    }

    /// The gas wallets.
    pub fn wallets(&self) -> Vec<Arc<WalletStatus>> {
        self.wallets.read().iter().map(|desk| Arc::clone(&desk.status)).collect()
    }

    /// Returns why no payment can be handed over now, whichever wallet it may
    /// use; `None` when one can.
    pub fn busy(&self) -> Option<Busy> {
        choose(&self.candidates(|_| true).0).err().map(|busy| self.explain(busy, |_| true))
    }

    /// Returns true when every gas wallet is here, and none can pay: no instance can
    /// begin a payment now.
    pub fn is_exhausted(&self) -> bool {
        let wallets = self.wallets.read();
        let mut configured = wallets.iter().filter(|desk| !desk.status.retired);
        configured.all(|desk| desk.worker.is_some() && !desk.status.is_usable())
    }

    /// Hands a payment to the best worker that it may go to.
    ///
    /// # Errors
    /// No worker takes it now; nothing was begun.
    pub fn hand_over(&self, work: Box<Work>) -> Result<(), (Busy, Box<Work>)> {
        let pinned = work.plan.gas_wallet.clone();
        self.send(work, |wallet| pinned.as_ref().is_none_or(|pinned| *pinned == wallet.wallet))
    }

    /// Hands a payment that is not signed on to a worker that is fitter than
    /// this.
    ///
    /// # Errors
    /// There is none, or the payment needs this gas wallet, or was handed on
    /// too often.
    pub fn hand_on(&self, work: Box<Work>, from: &WalletStatus, fitness: Fitness) -> Result<(), Box<Work>> {
        if !work.may_move() || work.moves >= MOVES_MAX {
            return Err(work);
        }
        let work = Box::new(Work { moves: work.moves + 1, ..*work });
        self.send(work, |wallet| wallet.wallet != from.wallet && wallet.fitness() < fitness).map_err(|(_, work)| work)
    }

    /// The workers, and the ways to them.
    fn candidates(&self, may: impl Fn(&WalletStatus) -> bool) -> (Vec<Candidate>, Vec<(Arc<WalletStatus>, Way)>) {
        let wallets = self.wallets.read();
        let here = wallets.iter().filter_map(|desk| Some((&desk.status, desk.worker.as_ref()?)));
        let candidate = |(wallet, way): (&Arc<WalletStatus>, &Way)| {
            let fitness = if may(wallet) && way.holding.may_begin() { wallet.fitness() } else { Fitness::Unfit };
            let candidate = Candidate { fitness, load: wallet.load(), has_room: way.mail.capacity() > 0 };
            (candidate, (Arc::clone(wallet), way.clone()))
        };
        here.map(candidate).unzip()
    }

    /// Tells wallets that are elsewhere from those that cannot pay.
    fn explain(&self, busy: Busy, may: impl Fn(&WalletStatus) -> bool) -> Busy {
        let is_elsewhere = |desk: &Desk| may(&desk.status) && desk.status.is_elsewhere();
        let elsewhere = busy == Busy::NoGasWallet && self.wallets.read().iter().any(is_elsewhere);
        if elsewhere { Busy::Elsewhere } else { busy }
    }

    fn send(&self, mut work: Box<Work>, may: impl Fn(&WalletStatus) -> bool) -> Result<(), (Busy, Box<Work>)> {
        let (mut candidates, ways) = self.candidates(&may);
        loop {
            let index = match choose(&candidates) {
                Ok(index) => index,
                Err(busy) => return Err((self.explain(busy, may), work)),
            };
            let (wallet, way) = &ways[index];
            wallet.update(|state| state.queued += 1);
            work = match way.mail.try_send(Mail::Job(work)) {
                Ok(()) => return Ok(()),
                Err(
                    mpsc::error::TrySendError::Full(Mail::Job(work))
                    | mpsc::error::TrySendError::Closed(Mail::Job(work)),
                ) => work,
                Err(_) => unreachable!("what was not sent comes back"),
            };
            wallet.update(|state| state.queued = state.queued.saturating_sub(1));
            // Another took the last room, or the worker has ended.
            candidates[index].has_room = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_loaded_of_the_fittest_with_room_takes_a_payment() {
        use Fitness::{Ailing, Unfit, Well};
        let one = |fitness, load| Candidate { fitness, load, has_room: true };
        let full = |fitness, load| Candidate { has_room: false, ..one(fitness, load) };
        let cases = [
            ("there is none", vec![], Err(Busy::NoGasWallet)),
            ("the only one", vec![one(Well, 99)], Ok(0)),
            ("the least loaded", vec![one(Well, 3), one(Well, 2), one(Well, 4)], Ok(1)),
            ("of equals the first", vec![one(Well, 2), one(Well, 2)], Ok(0)),
            ("a well one, however loaded", vec![one(Ailing, 0), one(Well, 40)], Ok(1)),
            ("an ailing one, where no other has room", vec![one(Ailing, 9), full(Well, 0)], Ok(0)),
            ("never one that cannot pay", vec![one(Unfit, 0), one(Well, 40)], Ok(1)),
            ("none can pay", vec![one(Unfit, 0), full(Unfit, 0)], Err(Busy::NoGasWallet)),
            ("those that can have no room", vec![one(Unfit, 0), full(Well, 0), full(Ailing, 0)], Err(Busy::QueueFull)),
        ];
        for (name, candidates, expected) in cases {
            assert_eq!(choose(&candidates), expected, "{name}");
        }
    }
}
