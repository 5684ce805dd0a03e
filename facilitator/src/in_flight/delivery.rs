//! Giving a success to exactly one caller.
//!
//! A success is given to one waiter. Only requests that prove to be the same
//! caller (same `Idempotency-Key`, same tenant) share it, and only where it was
//! given to that caller: the store knows. From the decision on nobody takes a
//! place any more, so that the commit holds the truth about who was given it.

use std::sync::Arc;

use parking_lot::Mutex;

use super::Entry;
use crate::settlement::Recipient;

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
    /// This waiter is.
    Waiting(Place),
    /// That waiter was, when the outcome was decided; it will be told.
    Given(Place),
    /// Nobody was: the store gives the success away.
    Decided,
}

/// The place of the one waiter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    number: u64,
    to: Recipient,
}

/// The answer to a request that wants to be the one waiter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// It is, under this number.
    Admitted(u64),
    /// Another request is.
    Taken,
    /// The outcome is being stored, and given to nobody that waits.
    Decided,
}

impl Default for Delivery {
    fn default() -> Self {
        Self(Mutex::new(State { owner: Owner::Nobody, waiters: 0 }))
    }
}

impl Delivery {
    /// Admits a request as the one waiter, when there is none.
    pub(super) fn admit(&self, to: Recipient) -> Admission {
        let mut state = self.0.lock();
        match state.owner {
            Owner::Nobody => {
                state.waiters += 1;
                let number = state.waiters;
                state.owner = Owner::Waiting(Place { number, to });
                Admission::Admitted(number)
            }
            Owner::Waiting(place) if mistake!(GivesToAll) => Admission::Admitted(place.number),
            Owner::Waiting(_) | Owner::Given(_) => Admission::Taken,
            Owner::Decided => Admission::Decided,
        }
    }

    /// Returns true while a request waits.
    pub fn is_wanted(&self) -> bool {
        matches!(self.0.lock().owner, Owner::Waiting(_))
    }

    /// Gives the coming success to the waiting request; `None` when nobody
    /// waits, and then nobody is admitted any more. Called before the outcome
    /// is stored, so that both are one commit.
    pub fn give(&self) -> Option<Recipient> {
        let mut state = self.0.lock();
        match state.owner {
            Owner::Waiting(place) | Owner::Given(place) => {
                state.owner = Owner::Given(place);
                Some(place.to)
            }
            Owner::Nobody | Owner::Decided => {
                state.owner = Owner::Decided;
                None
            }
        }
    }

    /// Takes the gift back, because the outcome could not be stored.
    pub fn take_back(&self) {
        let mut state = self.0.lock();
        match state.owner {
            Owner::Given(place) => state.owner = Owner::Waiting(place),
            Owner::Decided => state.owner = Owner::Nobody,
            Owner::Nobody | Owner::Waiting(_) => {}
        }
    }

    fn is_given_to(&self, number: u64) -> bool {
        matches!(self.0.lock().owner, Owner::Given(place) if place.number == number)
    }

    /// Ends the wait of this waiter; false when it is being given the success
    /// this moment, and must stay.
    fn leave(&self, number: u64) -> bool {
        let mut state = self.0.lock();
        match state.owner {
            Owner::Given(place) if place.number == number => return false,
            Owner::Waiting(place) if place.number == number => state.owner = Owner::Nobody,
            Owner::Nobody | Owner::Waiting(_) | Owner::Given(_) | Owner::Decided => {}
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

    /// Returns true once the success is given to it.
    pub fn is_given(&self) -> bool {
        self.entry.delivery().is_given_to(self.number)
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
