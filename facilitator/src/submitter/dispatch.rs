//! The choice of the wallet worker that begins a payment, and that takes over
//! what waits at one that is not well.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::{
    job::Work,
    mail::Mail,
    status::{Fitness, WalletStatus},
};

/// Workers that a payment is handed on to at most: each costs it a moment, and
/// where several cannot take it the caller had better hear so.
const MOVES_MAX: u32 = 4;

/// The workers of a network that take payments.
pub(super) struct Dispatcher {
    workers: Vec<(Arc<WalletStatus>, mpsc::Sender<Mail>)>,
}

/// No worker can take a payment now; nothing was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Busy {
    /// Every gas wallet is short of money, underpriced, or closed.
    #[error("no gas wallet of this network can pay for a transaction now")]
    NoGasWallet,
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
    /// The workers, each by its gas wallet's status and the way to it.
    pub fn new(workers: Vec<(Arc<WalletStatus>, mpsc::Sender<Mail>)>) -> Self {
        Self { workers }
    }

    /// The gas wallets.
    pub fn wallets(&self) -> impl Iterator<Item = &Arc<WalletStatus>> {
        self.workers.iter().map(|(wallet, _)| wallet)
    }

    /// Returns why no payment can be handed over now, whichever wallet it may
    /// use; `None` when one can.
    pub fn busy(&self) -> Option<Busy> {
        choose(&self.candidates(|_| true)).err()
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

    fn candidates(&self, may: impl Fn(&WalletStatus) -> bool) -> Vec<Candidate> {
        let candidate = |(wallet, mail): &(Arc<WalletStatus>, mpsc::Sender<Mail>)| Candidate {
            fitness: if may(wallet) { wallet.fitness() } else { Fitness::Unfit },
            load: wallet.load(),
            has_room: mail.capacity() > 0,
        };
        self.workers.iter().map(candidate).collect()
    }

    fn send(&self, mut work: Box<Work>, may: impl Fn(&WalletStatus) -> bool) -> Result<(), (Busy, Box<Work>)> {
        let mut candidates = self.candidates(may);
        loop {
            let index = match choose(&candidates) {
                Ok(index) => index,
                Err(busy) => return Err((busy, work)),
            };
            let (wallet, mail) = &self.workers[index];
            wallet.update(|state| state.queued += 1);
            work = match mail.try_send(Mail::Job(work)) {
                Ok(()) => return Ok(()),
                Err(
                    mpsc::error::TrySendError::Full(Mail::Job(work))
                    | mpsc::error::TrySendError::Closed(Mail::Job(work)),
                ) => work,
                Err(_) => unreachable!("what was not sent comes back"),
            };
            wallet.update(|state| state.queued = state.queued.saturating_sub(1));
            // Another took the last room.
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
