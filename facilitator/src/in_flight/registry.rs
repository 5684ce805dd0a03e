//! Every settlement of this process that is under way.

use std::sync::Arc;

use chains_core::{Identity, clock::Millis};
use dashmap::{DashMap, mapref::entry::Entry as Slot};
use tokio::time::Instant;

use super::{
    Waiter,
    entry::{Dropped, Entry, Progress},
};
use crate::{
    limits::{Limits, OverBudget, Refused, Share},
    settlement::{Caller, Facts, State},
};

/// Every settlement of this process that is under way.
pub struct Registry {
    entries: DashMap<Identity, Arc<Entry>>,
    keys: DashMap<Caller, Identity>,
    limits: Arc<dyn Limits>,
}

/// The answer to a payment that another instance has handed over.
#[derive(Debug)]
pub enum Received {
    /// The settlement begins here; its caller waits elsewhere.
    New(Arc<Entry>),
    /// It was received before, and is under way here.
    Here,
    /// It cannot be begun beside others now.
    Refused,
}

/// The answer to a claim.
#[derive(Debug)]
pub enum Claim {
    /// The settlement begins; the waiter is its owner.
    New(Waiter),
    /// It is under way already.
    UnderWay(Arc<Entry>),
    /// The caller uses this key for another payment right now.
    KeyReused,
    /// Another settlement uses what this one needs for itself.
    Taken,
    /// Other payments of the payer come first. The future is done when one of
    /// them has ended: then the chain is asked again.
    Wait(tokio::sync::futures::OwnedNotified),
    /// As many of the payer's payments wait as may.
    Busy,
    /// Failures have used a budget up.
    OverBudget(OverBudget),
}

impl Registry {
    /// Nothing under way.
    pub fn new(limits: Arc<dyn Limits>) -> Self {
        Self { entries: DashMap::new(), keys: DashMap::new(), limits }
    }

    /// The limits that claims keep.
    pub fn limits(&self) -> &dyn Limits {
        &*self.limits
    }

    /// The settlement of a payment, if it is under way.
    pub fn find(&self, identity: &Identity) -> Option<Arc<Entry>> {
        self.entries.get(identity).map(|entry| Arc::clone(&entry))
    }

    /// Begins a settlement, unless the payment or the caller's key is in use,
    /// or a limit refuses it. Only called with a payment that passed every check.
    pub async fn claim(&self, facts: Arc<Facts>, share: Share, now: Millis) -> Claim {
        let entry = Arc::new(Entry::new(Arc::clone(&facts), share, Progress::Claimed));
        let waiter = match self.entries.entry(facts.identity) {
            Slot::Occupied(there) => return Claim::UnderWay(Arc::clone(there.get())),
            Slot::Vacant(free) => {
                if !self.take_key(&facts) {
                    return Claim::KeyReused;
                }
                let waiter = entry.admit();
                free.insert(Arc::clone(&entry));
                waiter
            }
        };
        // Under way from here on: others that ask meanwhile wait for the answer.
        let refused = match self.limits.take(&entry.share, now).await {
            Ok(()) => return waiter.map_or_else(|| Claim::UnderWay(entry), Claim::New),
            Err(refused) => refused,
        };
        self.remove(&entry);
        match refused {
            Refused::Taken => {
                entry.set(Progress::Dropped(Dropped::Refused));
                Claim::Taken
            }
            Refused::Wait(ended) => {
                entry.set(Progress::Dropped(Dropped::Refused));
                Claim::Wait(ended)
            }
            Refused::Busy => {
                entry.set(Progress::Dropped(Dropped::Refused));
                Claim::Busy
            }
            Refused::Budget(over) => {
                entry.set(Progress::Dropped(Dropped::OverBudget(over.clone())));
                Claim::OverBudget(over)
            }
        }
    }

    /// Takes up a payment that was handed over, whose caller waits until a time. Where
    /// that is a caller of this instance, which had no gas wallet for it, the payment
    /// keeps what it has taken of the limits.
    pub async fn receive(&self, facts: Arc<Facts>, share: Share, until: Instant, now: Millis) -> Received {
        let entry = match self.entries.entry(facts.identity) {
            // Handed over a second time while the first is at its end: later.
            Slot::Occupied(there) if there.get().facts.id != facts.id => return Received::Refused,
            Slot::Occupied(there) if there.get().is_received() => return Received::Here,
            Slot::Occupied(mut there) => {
                let entry = Arc::new(Entry::received(facts, there.get().share.clone(), until));
                there.insert(Arc::clone(&entry));
                return Received::New(entry);
            }
            Slot::Vacant(free) if self.take_key(&facts) => {
                let entry = Arc::new(Entry::received(facts, share, until));
                free.insert(Arc::clone(&entry));
                entry
            }
            Slot::Vacant(_) => return Received::Refused,
        };
        if self.limits.take(&entry.share, now).await.is_ok() {
            return Received::New(entry);
        }
        self.remove(&entry);
        entry.set(Progress::Dropped(Dropped::Refused));
        Received::Refused
    }

    /// Takes up a settlement that the store holds from before: nobody waits.
    pub async fn resume(&self, facts: Arc<Facts>, share: Share, hash: &str) -> Arc<Entry> {
        if facts.caller.key.is_some() {
            self.keys.insert(facts.caller.clone(), facts.identity);
        }
        let progress = Progress::Stored { hash: hash.into(), accepted: true };
        let entry = Arc::new(Entry::new(facts, share, progress));
        // A request that began here what another process had begun already learns of it from the store.
        if let Some(before) = self.entries.insert(entry.facts.identity, Arc::clone(&entry)) {
            self.limits.give_back(&before.share).await;
        }
        self.limits.resume(&entry.share).await;
        entry
    }

    /// Ends a settlement whose end, or being unresolved, is stored, and tells
    /// everybody who waits.
    pub async fn end(&self, entry: &Entry, state: State) {
        self.finish(entry, Progress::Ended(Arc::new(state))).await;
    }

    /// Ends a settlement of which nothing was signed, and tells everybody who waits.
    pub async fn give_back(&self, entry: &Entry, why: Dropped) {
        self.finish(entry, Progress::Dropped(why)).await;
    }

    /// The number of settlements under way.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns true when nothing is under way.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    async fn finish(&self, entry: &Entry, progress: Progress) {
        if self.remove(entry) {
            self.limits.give_back(&entry.share).await;
        }
        entry.set(progress);
    }

    fn take_key(&self, facts: &Facts) -> bool {
        if facts.caller.key.is_none() {
            return true;
        }
        match self.keys.entry(facts.caller.clone()) {
            Slot::Occupied(_) => false,
            Slot::Vacant(free) => {
                free.insert(facts.identity);
                true
            }
        }
    }

    /// Returns true when it was there: an older entry does not end a newer one.
    fn remove(&self, entry: &Entry) -> bool {
        let identity = entry.facts.identity;
        let removed = self.entries.remove_if(&identity, |_, there| std::ptr::eq(Arc::as_ptr(there), entry)).is_some();
        if removed && entry.facts.caller.key.is_some() {
            self.keys.remove_if(&entry.facts.caller, |_, there| *there == identity);
        }
        removed
    }
}

#[cfg(test)]
mod tests;
