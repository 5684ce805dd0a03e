//! Giving a success to exactly one caller.
//!
//! A success is given to one waiter. Only requests that prove to be the same
//! caller (same `Idempotency-Key`, same tenant) share it.

use std::sync::Arc;

use parking_lot::Mutex;

use super::Entry;

/// The request that is given the success of a settlement.
#[derive(Debug)]
pub struct Delivery(Mutex<State>);

#[derive(Debug)]
struct State {
    owner: Owner,
    waiters: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    /// No request is waiting that could be given the success.
    Nobody,
    /// The waiter with this number is.
    Waiting(u64),
    /// That waiter was, when the outcome was decided; it will be told.
    Given(u64),
}

impl Default for Delivery {
    fn default() -> Self {
        Self(Mutex::new(State { owner: Owner::Nobody, waiters: 0 }))
    }
}

impl Delivery {
    /// The number of the one waiter, when there was none.
    pub(super) fn admit(&self) -> Option<u64> {
        let mut state = self.0.lock();
        if state.owner != Owner::Nobody {
            return None;
        }
        state.waiters += 1;
        state.owner = Owner::Waiting(state.waiters);
        Some(state.waiters)
    }

    /// Returns true while a request waits.
    pub fn is_wanted(&self) -> bool {
        matches!(self.0.lock().owner, Owner::Waiting(_))
    }

    /// Gives the coming success to the waiting request; false when nobody
    /// waits. Called before the outcome is stored, so that both are one commit.
    pub fn give(&self) -> bool {
        let mut state = self.0.lock();
        if let Owner::Waiting(number) = state.owner {
            state.owner = Owner::Given(number);
        }
        matches!(state.owner, Owner::Given(_))
    }

    /// Takes the gift back, because the outcome could not be stored.
    pub fn take_back(&self) {
        let mut state = self.0.lock();
        if let Owner::Given(number) = state.owner {
            state.owner = Owner::Waiting(number);
        }
    }

    /// Ends the wait of this waiter; false when it is being given the success
    /// this moment, and must stay.
    fn leave(&self, number: u64) -> bool {
        let mut state = self.0.lock();
        if state.owner == Owner::Given(number) {
            return false;
        }
        if state.owner == Owner::Waiting(number) {
            state.owner = Owner::Nobody;
        }
        true
    }
}

/// The one request that waits for a settlement and may be given its success.
/// Dropping it, as happens when the client hangs up, lets another take its place.
#[derive(Debug)]
pub struct Waiter {
    entry: Arc<Entry>,
    number: u64,
}

impl Waiter {
    pub(super) const fn new(entry: Arc<Entry>, number: u64) -> Self {
        Self { entry, number }
    }

    /// The settlement that it waits for.
    pub const fn entry(&self) -> &Arc<Entry> {
        &self.entry
    }

    /// Stops waiting. `None` when it did; itself when the success is being
    /// given to it this moment and it must stay.
    #[must_use]
    pub fn leave(self) -> Option<Self> {
        if self.entry.delivery().leave(self.number) { None } else { Some(self) }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        // What is given already stays given.
        let _: bool = self.entry.delivery().leave(self.number);
    }
}
