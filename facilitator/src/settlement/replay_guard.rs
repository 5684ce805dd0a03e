//! One payment, one settlement, in this process: who is waiting for what.
//!
//! The guard is fast and forgetful; the store's unique identity is the arbiter.
//! It holds a [`Flight`] for each settlement that is not final, and answers
//! three questions at once, under one lock: may this request begin a
//! settlement, may it wait for one that another request began, and who is
//! given the success.
//!
//! A success is given to one waiter. Only requests that prove to be the same
//! caller (same `Idempotency-Key`, same tenant) share it.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use chains_core::{Amount, Fingerprint, Identity, scheme::Funds};
use dashmap::{DashMap, mapref::entry::Entry};
use parking_lot::Mutex;
use tokio::sync::{futures::OwnedNotified, watch};

use super::{
    SettlementId,
    record::{Caller, Outcome},
    reservations::Reservations,
};

/// Every settlement of this process that is not final.
#[derive(Debug, Default)]
pub struct ReplayGuard {
    flights: DashMap<Identity, Arc<Flight>>,
    keys: DashMap<Caller, Identity>,
    exclusive: DashMap<String, Identity>,
    reservations: Reservations,
}

/// What a flight is about; never changes.
#[derive(Clone, Debug)]
pub struct Ticket {
    /// The settlement.
    pub id: SettlementId,
    /// The payment's one name.
    pub identity: Identity,
    /// What a request must match to join.
    pub fingerprint: Fingerprint,
    /// Who began it.
    pub caller: Caller,
    /// Who pays.
    pub payer: String,
    /// What moves.
    pub amount: Amount,
    /// What no other settlement may use meanwhile: [`chains_core::chain::Chain::exclusive`].
    pub exclusive: Option<String>,
    /// What it is paid from, together with others; `None` after a restart.
    pub funds: Option<Funds>,
}

/// A settlement under way.
#[derive(Debug)]
pub struct Flight {
    /// What it is about.
    pub ticket: Ticket,
    owner: Mutex<Owner>,
    waiters: AtomicU64,
    progress: watch::Sender<Progress>,
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

/// How far a flight is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// In a lane's queue; nothing is signed.
    Claimed,
    /// A lane has signed this transaction and is storing it. It is not sent
    /// before the store has it, but it will be if the store does.
    Signing(Arc<str>),
    /// The store holds the bytes of this transaction.
    Sent(Arc<str>),
    /// Final, and stored.
    Done(Arc<Outcome>),
    /// Nothing was signed and nothing ever will be; the claim is given back.
    Dropped(Dropped),
}

/// Why a flight ended without a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// Nobody waited for it any more.
    Unwanted,
    /// The lane could not take it now.
    Unavailable,
    /// The store knows this payment already.
    KnownToStore,
}

/// The answer to a claim.
#[derive(Debug)]
pub enum Claim {
    /// The settlement begins; the waiter is its owner.
    New(Waiter),
    /// It is under way already.
    UnderWay(Arc<Flight>),
    /// The caller uses this key for another payment right now.
    KeyReused,
    /// Another settlement uses what this one needs for itself.
    Taken,
    /// Together with others under way it is more than the payer has. What is
    /// in here is done when one of them has ended: then look at the chain again.
    Overdrawn(OwnedNotified),
}

/// The answer to a request that finds a flight.
#[derive(Debug)]
pub enum Join {
    /// It waits, and may be given the success.
    Owner(Waiter),
    /// It is the same caller again, and gets whatever the owner gets.
    Shared,
    /// It is another request for the same payment.
    Duplicate,
    /// The same key with another request.
    KeyReused,
}

impl ReplayGuard {
    /// The flight of a payment.
    pub fn find(&self, identity: &Identity) -> Option<Arc<Flight>> {
        self.flights.get(identity).map(|flight| Arc::clone(&flight))
    }

    /// Begins a settlement, unless the payment or the caller's key is in use.
    /// Only called with a payment that passed every check.
    pub fn claim(&self, ticket: Ticket) -> Claim {
        let entry = match self.flights.entry(ticket.identity) {
            Entry::Occupied(there) => return Claim::UnderWay(Arc::clone(there.get())),
            Entry::Vacant(free) => free,
        };
        if let Err(refused) = self.take(&ticket) {
            self.release(&ticket);
            return refused;
        }
        let flight = Arc::new(Flight::new(ticket, Progress::Claimed));
        let waiter = flight.admit(&mut flight.owner.lock());
        entry.insert(flight);
        Claim::New(waiter)
    }

    /// Takes up a settlement that the store holds from before: nobody waits.
    pub fn resume(&self, ticket: Ticket, transaction: &str) -> Arc<Flight> {
        if ticket.caller.key.is_some() {
            self.keys.insert(ticket.caller.clone(), ticket.identity);
        }
        let identity = ticket.identity;
        if let Some(name) = &ticket.exclusive {
            self.exclusive.insert(name.clone(), identity);
        }
        let flight = Arc::new(Flight::new(ticket, Progress::Sent(transaction.into())));
        self.flights.insert(identity, Arc::clone(&flight));
        flight
    }

    /// Ends a flight whose outcome is stored, and tells who waits.
    pub fn finish(&self, flight: &Flight, outcome: Outcome) {
        self.end(flight, Progress::Done(Arc::new(outcome)));
    }

    /// Ends a flight of which nothing was signed, and tells who waits.
    pub fn give_back(&self, flight: &Flight, why: Dropped) {
        self.end(flight, Progress::Dropped(why));
    }

    /// What payers' accounts are spoken for.
    pub const fn reservations(&self) -> &Reservations {
        &self.reservations
    }

    /// The number of flights.
    pub fn len(&self) -> usize {
        self.flights.len()
    }

    /// Whether nothing is under way.
    pub fn is_empty(&self) -> bool {
        self.flights.is_empty()
    }

    /// Takes everything that a settlement uses besides its identity, or some
    /// of it and says what was not to be had.
    fn take(&self, ticket: &Ticket) -> Result<(), Claim> {
        let Ticket { identity, caller, exclusive, funds, amount, .. } = ticket;
        if let Some(name) = exclusive {
            match self.exclusive.entry(name.clone()) {
                Entry::Occupied(_) => return Err(Claim::Taken),
                Entry::Vacant(free) => drop(free.insert(*identity)),
            }
        }
        if caller.key.is_some() {
            match self.keys.entry(caller.clone()) {
                Entry::Occupied(_) => return Err(Claim::KeyReused),
                Entry::Vacant(free) => drop(free.insert(*identity)),
            }
        }
        match funds {
            Some(funds) => self.reservations.reserve(funds, *identity, *amount).map_err(Claim::Overdrawn),
            None => Ok(()),
        }
    }

    /// Gives back what was taken of it.
    fn release(&self, ticket: &Ticket) {
        let Ticket { identity, caller, exclusive, funds, .. } = ticket;
        if let Some(name) = exclusive {
            self.exclusive.remove_if(name, |_, there| there == identity);
        }
        if caller.key.is_some() {
            self.keys.remove_if(caller, |_, there| there == identity);
        }
        if let Some(funds) = funds {
            self.reservations.release(&funds.account, identity);
        }
    }

    /// Under the lock of its entry, as claims are made: nobody claims the same
    /// payment anew while this one's things are given back.
    fn end(&self, flight: &Flight, progress: Progress) {
        if let Entry::Occupied(there) = self.flights.entry(flight.ticket.identity)
            && there.get().ticket.id == flight.ticket.id
        {
            self.release(&flight.ticket);
            there.remove();
        }
        flight.progress.send_replace(progress);
    }
}

impl Flight {
    fn new(ticket: Ticket, progress: Progress) -> Self {
        let (owner, waiters) = (Mutex::new(Owner::Nobody), AtomicU64::new(0));
        Self { ticket, owner, waiters, progress: watch::Sender::new(progress) }
    }

    fn admit(self: &Arc<Self>, owner: &mut Owner) -> Waiter {
        let number = self.waiters.fetch_add(1, Ordering::Relaxed);
        *owner = Owner::Waiting(number);
        Waiter { flight: Arc::clone(self), number }
    }

    /// Follows the flight.
    pub fn watch(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// What a request with this fingerprint and caller may do here.
    pub fn join(self: &Arc<Self>, fingerprint: &Fingerprint, caller: &Caller) -> Join {
        let same_request = self.ticket.fingerprint == *fingerprint;
        let same_key = caller.key.is_some() && self.ticket.caller == *caller;
        if !same_request && same_key {
            return Join::KeyReused;
        }
        if same_request && self.ticket.caller.is_again(caller) {
            return Join::Shared;
        }
        if !same_request {
            return Join::Duplicate;
        }
        let mut owner = self.owner.lock();
        match *owner {
            Owner::Nobody => Join::Owner(self.admit(&mut owner)),
            Owner::Waiting(_) | Owner::Given(_) => Join::Duplicate,
        }
    }

    /// Whether anybody waits for it. What nobody waits for is not started.
    pub fn is_wanted(&self) -> bool {
        matches!(*self.owner.lock(), Owner::Waiting(_))
    }

    /// Takes the flight out of the queue with the transaction that is about to
    /// be stored; `false` when nobody waits for it any more, so that it must
    /// be given back instead.
    pub fn start_storing(&self, transaction: &str) -> bool {
        let owner = self.owner.lock();
        let wanted = matches!(*owner, Owner::Waiting(_)) || matches!(*self.progress.borrow(), Progress::Signing(_));
        if wanted {
            self.progress.send_replace(Progress::Signing(transaction.into()));
        }
        wanted
    }

    /// Says that the store holds the signed bytes.
    pub fn sent(&self, transaction: &str) {
        self.progress.send_replace(Progress::Sent(transaction.into()));
    }

    /// Gives the coming success to the waiting owner; `false` when nobody
    /// waits. Called before the outcome is stored, so that giving and outcome
    /// are one commit.
    pub fn give(&self) -> bool {
        let mut owner = self.owner.lock();
        if let Owner::Waiting(number) = *owner {
            *owner = Owner::Given(number);
        }
        matches!(*owner, Owner::Given(_))
    }

    /// Takes a gift back, because the outcome could not be stored.
    pub fn take_back(&self) {
        let mut owner = self.owner.lock();
        if let Owner::Given(number) = *owner {
            *owner = Owner::Waiting(number);
        }
    }
}

/// The one request that waits for a flight and may be given its success.
/// Dropping it, as happens when the client hangs up, lets another take its place.
#[derive(Debug)]
pub struct Waiter {
    flight: Arc<Flight>,
    number: u64,
}

impl Waiter {
    /// What it waits for.
    pub fn flight(&self) -> &Arc<Flight> {
        &self.flight
    }

    /// Stops waiting. `None` when it did; itself when the success is being
    /// given to it this moment and it must stay.
    #[must_use]
    pub fn leave(self) -> Option<Self> {
        let mut owner = self.flight.owner.lock();
        if *owner == Owner::Given(self.number) {
            drop(owner);
            return Some(self);
        }
        *owner = Owner::Nobody;
        drop(owner);
        None
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut owner = self.flight.owner.lock();
        if *owner == Owner::Waiting(self.number) {
            *owner = Owner::Nobody;
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::settlement::record::Key;

    fn ticket(payment: &str, key: Option<&str>) -> Ticket {
        Ticket {
            id: SettlementId(Uuid::now_v7()),
            identity: Identity::of("test", &[payment.as_bytes()]),
            fingerprint: Fingerprint::of("test", &[payment.as_bytes()]),
            caller: Caller { tenant: String::new(), key: key.map(|key| Key::Server(key.to_owned())) },
            payer: "payer".into(),
            amount: Amount::from(1_u64),
            exclusive: None,
            funds: None,
        }
    }

    fn new(guard: &ReplayGuard, ticket: &Ticket) -> Waiter {
        match guard.claim(ticket.clone()) {
            Claim::New(waiter) => waiter,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_payment_is_claimed_by_exactly_one_of_many_threads() {
        let guard = ReplayGuard::default();
        let wins = std::sync::Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    if let Claim::New(waiter) = guard.claim(ticket("p", None)) {
                        wins.lock().expect("no panic").push(waiter);
                    }
                });
            }
        });
        assert_eq!(wins.into_inner().expect("no panic").len(), 1);
    }

    #[test]
    fn the_success_has_one_owner_at_a_time() {
        let guard = ReplayGuard::default();
        let t = ticket("p", None);
        let waiter = new(&guard, &t);
        let flight = Arc::clone(waiter.flight());
        assert!(matches!(flight.join(&t.fingerprint, &t.caller), Join::Duplicate), "somebody waits already");
        assert!(waiter.leave().is_none());
        let other = Fingerprint::of("test", &[b"other"]);
        assert!(matches!(flight.join(&other, &t.caller), Join::Duplicate), "another request never joins");
        let Join::Owner(second) = flight.join(&t.fingerprint, &t.caller) else { panic!("the place is free") };
        assert!(flight.give());
        let second = second.leave().expect("what is being given cannot be left");
        assert!(matches!(flight.join(&t.fingerprint, &t.caller), Join::Duplicate));
        drop(second);
        assert!(matches!(flight.join(&t.fingerprint, &t.caller), Join::Duplicate), "a gift is never given twice");
    }

    #[test]
    fn an_outcome_that_nobody_waits_for_is_given_to_nobody() {
        let guard = ReplayGuard::default();
        let waiter = new(&guard, &ticket("p", None));
        let flight = Arc::clone(waiter.flight());
        drop(waiter);
        assert!(!flight.give());
        assert!(!flight.start_storing("t"), "what nobody waits for is not started");
    }

    #[test]
    fn the_same_key_shares_and_another_request_under_it_is_refused() {
        let guard = ReplayGuard::default();
        let t = ticket("p", Some("key-key-key-key-1"));
        let waiter = new(&guard, &t);
        let flight = waiter.flight();
        assert!(matches!(flight.join(&t.fingerprint, &t.caller), Join::Shared));
        let other = Fingerprint::of("test", &[b"other"]);
        assert!(matches!(flight.join(&other, &t.caller), Join::KeyReused));
        assert!(matches!(guard.claim(ticket("q", Some("key-key-key-key-1"))), Claim::KeyReused));
        assert!(guard.find(&ticket("q", None).identity).is_none(), "a refused claim leaves nothing behind");
    }

    #[test]
    fn a_name_that_the_payer_chose_is_unique_and_shares_nothing() {
        let guard = ReplayGuard::default();
        let named = |payment| Ticket {
            caller: Caller { tenant: "shop".into(), key: Some(Key::Payer("id-id-id-id-id-id-1".into())) },
            ..ticket(payment, None)
        };
        let t = named("p");
        let waiter = new(&guard, &t);
        assert!(matches!(waiter.flight().join(&t.fingerprint, &t.caller), Join::Duplicate));
        assert!(matches!(waiter.flight().join(&Fingerprint::of("test", &[b"other"]), &t.caller), Join::KeyReused));
        assert!(matches!(guard.claim(named("q")), Claim::KeyReused));
        let elsewhere = Caller { tenant: "other".into(), ..t.caller };
        assert!(matches!(guard.claim(Ticket { caller: elsewhere, ..named("r") }), Claim::New(_)));
    }

    #[test]
    fn what_is_given_back_can_be_claimed_again() {
        let guard = ReplayGuard::default();
        let t = ticket("p", Some("key-key-key-key-1"));
        let waiter = new(&guard, &t);
        guard.give_back(waiter.flight(), Dropped::Unavailable);
        assert!(guard.is_empty());
        assert_eq!(*waiter.flight().watch().borrow(), Progress::Dropped(Dropped::Unavailable));
        let again = new(&guard, &ticket("p", Some("key-key-key-key-1")));
        guard.give_back(waiter.flight(), Dropped::Unavailable);
        assert!(guard.find(&again.flight().ticket.identity).is_some(), "an old flight does not end a new one");
    }

    #[test]
    fn what_is_exclusive_is_used_by_one_settlement_at_a_time() {
        let guard = ReplayGuard::default();
        let needs = |payment, key| Ticket { exclusive: Some("payer".into()), ..ticket(payment, key) };
        let Claim::New(first) = guard.claim(needs("a", None)) else { panic!("it is free") };
        assert!(matches!(guard.claim(needs("b", None)), Claim::Taken));
        assert!(matches!(guard.claim(ticket("c", Some("key"))), Claim::New(_)), "others are not disturbed");
        guard.give_back(first.flight(), Dropped::Unavailable);
        assert!(matches!(guard.claim(needs("b", Some("key"))), Claim::KeyReused));
        let Claim::New(second) = guard.claim(needs("b", None)) else { panic!("a refused claim holds nothing") };
        guard.finish(second.flight(), Outcome::NothingToSend);
        guard.resume(needs("d", None), "0x1");
        assert!(matches!(guard.claim(needs("e", None)), Claim::Taken), "also after a restart");
    }

    #[test]
    fn payments_that_are_too_much_together_are_claimed_one_after_the_other() {
        let guard = ReplayGuard::default();
        let paid_from = |payment, key| {
            let funds = Funds { account: "a".into(), available: Amount::from(1_u64) };
            Ticket { funds: Some(funds), exclusive: Some(format!("for {payment}")), ..ticket(payment, key) }
        };
        let first = new(&guard, &paid_from("p", None));
        let key = Some("key-key-key-key-1");
        let Claim::Overdrawn(released) = guard.claim(paid_from("q", key)) else { panic!("the payer has 1 for 2") };
        drop(new(&guard, &ticket("r", key)));
        guard.finish(first.flight(), Outcome::NothingToSend);
        assert!(futures::FutureExt::now_or_never(released).is_some());
        let second = new(&guard, &paid_from("q", None));
        guard.give_back(first.flight(), Dropped::Unavailable);
        assert!(matches!(guard.claim(paid_from("s", None)), Claim::Overdrawn(_)), "what has ended ends once");
        guard.give_back(second.flight(), Dropped::Unavailable);
        assert!(matches!(guard.claim(paid_from("s", None)), Claim::New(_)));
    }
}
