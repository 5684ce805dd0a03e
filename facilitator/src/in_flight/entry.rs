//! One settlement under way, as requests see it.

use std::sync::Arc;

use chains_core::{Fingerprint, Rejection};
use tokio::{sync::watch, time::Instant};

use super::{
    Waiter,
    delivery::{Admission, Delivery},
};
use crate::{
    limits::{OverBudget, Share},
    settlement::{Caller, Facts, NotNow, Recipient, State},
};

/// A settlement under way.
#[derive(Debug)]
pub struct Entry {
    /// The facts, which never change.
    pub facts: Arc<Facts>,
    /// Its share of the limits.
    pub share: Share,
    delivery: Delivery,
    progress: watch::Sender<Progress>,
    /// The time until which its caller waits at another instance, if it does.
    received: Option<Instant>,
}

/// The progress of a settlement under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// In a worker's queue; nothing is signed.
    Claimed,
    /// A worker has signed this transaction and is storing it. It is not sent
    /// before the store has it, but it will be if the store does.
    Signing(Arc<str>),
    /// The store holds the bytes of this transaction.
    Stored {
        /// The transaction that callers are told.
        hash: Arc<str>,
        /// True once an endpoint has accepted it.
        accepted: bool,
    },
    /// Settled, failed, or unresolved, and stored.
    Ended(Arc<State>),
    /// It is not followed here any more: nothing was signed and nothing ever will be,
    /// or somebody else has it.
    Dropped(Dropped),
}

/// The reason why a settlement is not followed here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// Nobody waited for it any more.
    Unwanted,
    /// The worker cannot take it now.
    Unavailable(NotNow),
    /// The store knows this payment already.
    KnownToStore,
    /// Its gas wallet is another owner's, who goes on with the transaction of this
    /// name: the store will have the end.
    LeftToStore(Arc<str>),
    /// It was good when it was claimed, and was not any more when its turn came.
    Rejected(Rejection),
    /// It cannot be begun beside others; the caller that claimed it knows more.
    Refused,
    /// Failures have used a budget up.
    OverBudget(OverBudget),
}

/// The answer to a request that finds a settlement under way.
#[derive(Debug)]
pub enum Join {
    /// It waits, and may be given the success.
    Owner(Waiter),
    /// It waits for the end, and the store says whether it gets the success:
    /// it is the same caller again, or the success is being stored as nobody's.
    Observer,
    /// It is another request for the same payment.
    Duplicate,
    /// The same key with another request.
    KeyReused,
}

impl Entry {
    pub(super) fn new(facts: Arc<Facts>, share: Share, progress: Progress) -> Self {
        Self { facts, share, delivery: Delivery::default(), progress: watch::Sender::new(progress), received: None }
    }

    /// A payment whose caller waits at another instance until this time: the store gives the success away.
    pub(super) fn received(facts: Arc<Facts>, share: Share, until: Instant) -> Self {
        let entry = Self { received: Some(until), ..Self::new(facts, share, Progress::Claimed) };
        let _: Option<Recipient> = entry.delivery.give();
        entry
    }

    /// A settlement that is followed no more, though the transaction that carries it is: nobody waits for it here.
    pub fn over(facts: Arc<Facts>, share: Share, state: State) -> Self {
        Self::new(facts, share, Progress::Ended(Arc::new(state)))
    }

    /// Returns true once it is settled or failed, and stored.
    pub fn has_ended(&self) -> bool {
        matches!(&*self.progress.borrow(), Progress::Ended(state) if state.is_final())
    }

    /// Returns true for a payment that another instance has handed over.
    pub const fn is_received(&self) -> bool {
        self.received.is_some()
    }

    /// Returns true while a request waits, here or where it was handed over.
    pub fn is_wanted(&self) -> bool {
        self.received.map_or_else(|| self.delivery.is_wanted(), |until| Instant::now() < until)
    }

    /// The request that is given the success.
    pub const fn delivery(&self) -> &Delivery {
        &self.delivery
    }

    /// Follows the settlement.
    pub fn watch(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// Its progress now.
    pub fn progress(&self) -> Progress {
        self.progress.borrow().clone()
    }

    /// The answer to a request with this fingerprint and caller.
    pub fn join(self: &Arc<Self>, fingerprint: &Fingerprint, caller: &Caller) -> Join {
        let same_request = self.facts.fingerprint == *fingerprint;
        let same_key = caller.key.is_some() && self.facts.caller == *caller;
        if !same_request && same_key {
            return Join::KeyReused;
        }
        if !same_request {
            return Join::Duplicate;
        }
        let is_caller = self.facts.caller.is_again(caller);
        let to = if is_caller { Recipient::Caller } else { Recipient::Other };
        match self.delivery.admit(to) {
            Admission::Admitted(number) => Join::Owner(Waiter::new(Arc::clone(self), number)),
            Admission::Taken if !is_caller => Join::Duplicate,
            Admission::Taken | Admission::Decided => Join::Observer,
        }
    }

    /// The request that begins the settlement waits for it; `None` when there is a waiter already.
    pub(super) fn admit(self: &Arc<Self>) -> Option<Waiter> {
        match self.delivery.admit(Recipient::Caller) {
            Admission::Admitted(number) => Some(Waiter::new(Arc::clone(self), number)),
            Admission::Taken | Admission::Decided => None,
        }
    }

    /// Takes the settlement out of the queue with the transaction that is about
    /// to be stored; false when nobody waits for it any more, so that it must
    /// be given back instead.
    pub fn start_storing(&self, hash: &str) -> bool {
        let wanted = self.is_wanted() || matches!(*self.progress.borrow(), Progress::Signing(_));
        if wanted {
            self.progress.send_replace(Progress::Signing(hash.into()));
        }
        wanted
    }

    /// Says that the store has refused the signed bytes, which nobody will ever
    /// send: it waits for another transaction.
    pub fn not_stored(&self) {
        self.progress.send_if_modified(|progress| match progress {
            Progress::Signing(_) => {
                *progress = Progress::Claimed;
                true
            }
            Progress::Claimed | Progress::Stored { .. } | Progress::Ended(_) | Progress::Dropped(_) => false,
        });
    }

    /// Says that the store holds the signed bytes.
    pub fn stored(&self, hash: &str) {
        self.progress.send_replace(Progress::Stored { hash: hash.into(), accepted: false });
    }

    /// Says that another attempt is stored: callers are told its name.
    pub fn bumped(&self, bump: &str) {
        self.progress.send_if_modified(|progress| match progress {
            Progress::Stored { hash, .. } => {
                *hash = bump.into();
                true
            }
            Progress::Claimed | Progress::Signing(_) | Progress::Ended(_) | Progress::Dropped(_) => false,
        });
    }

    /// Says that an endpoint has accepted the transaction.
    pub fn accepted(&self) {
        self.progress.send_if_modified(|progress| match progress {
            Progress::Stored { accepted, .. } => !std::mem::replace(accepted, true),
            Progress::Claimed | Progress::Signing(_) | Progress::Ended(_) | Progress::Dropped(_) => false,
        });
    }

    pub(super) fn set(&self, progress: Progress) {
        self.progress.send_replace(progress);
    }
}
