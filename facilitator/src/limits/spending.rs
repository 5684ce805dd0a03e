//! The parts of payers' balances that payments take which are under way, or were
//! verified a moment ago.
//!
//! The chain judges each payment by itself. Ten payments of 1 are all good
//! against a balance of 1, and nine of them would fail on chain, at the gas
//! wallet's cost. Here they are added up.
//!
//! Forgets with the process: what was under way before a restart is not counted.
//! Beyond its bounds it forgets, too; the chain still judges.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use chains_core::{Amount, Identity, scheme::Funds};
use parking_lot::Mutex;
use tokio::sync::{Notify, futures::OwnedNotified};

use super::SpokenFor;

/// Accounts that are remembered for the sake of verified payments, at most.
const ACCOUNTS_MAX: usize = 16_384;

/// Verified payments that are remembered of one account, at most.
const HELD_MAX: usize = 256;

/// The parts of accounts that are spoken for.
#[derive(Debug, Default)]
pub struct Spending {
    accounts: Mutex<HashMap<String, Account>>,
}

#[derive(Debug, Default)]
struct Account {
    under_way: HashMap<Identity, Amount>,
    held: HashMap<Identity, Held>,
    released: Arc<Notify>,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    amount: Amount,
    until: Instant,
}

impl Spending {
    /// Takes a settlement's part, no matter how much verified payments hold: only a
    /// settlement moves money.
    ///
    /// # Errors
    /// Others under way leave too little. What comes back is done when one of
    /// them has ended, and its effect is on chain, or will never be.
    pub fn reserve(&self, funds: &Funds, identity: Identity, amount: Amount) -> Result<(), OwnedNotified> {
        let mut accounts = self.accounts.lock();
        let account = accounts.entry(funds.account.clone()).or_default();
        let others = account.under_way.iter().filter(|(other, _)| **other != identity).map(|(_, amount)| *amount);
        if !account.under_way.is_empty() && exceeds(others, amount, funds.available) {
            return Err(Arc::clone(&account.released).notified_owned());
        }
        account.held.remove(&identity);
        account.under_way.insert(identity, amount);
        Ok(())
    }

    /// Gives a settlement's part back: it has ended.
    pub fn release(&self, account: &str, identity: &Identity) {
        let mut accounts = self.accounts.lock();
        let Some(there) = accounts.get_mut(account) else { return };
        if there.under_way.remove(identity).is_some() {
            there.released.notify_waiters();
        }
        if there.under_way.is_empty() && there.held.is_empty() {
            accounts.remove(account);
        }
    }

    /// Holds a verified payment's part for a while. Verified again, it holds
    /// the same part anew; under way already, it holds none.
    ///
    /// # Errors
    /// Others under way, or held, leave too little.
    pub fn hold(
        &self,
        funds: &Funds,
        identity: Identity,
        amount: Amount,
        wait: Duration,
        now: Instant,
    ) -> Result<(), SpokenFor> {
        let mut accounts = self.accounts.lock();
        if accounts.len() >= ACCOUNTS_MAX && !accounts.contains_key(&funds.account) {
            accounts.retain(|_, account| account.is_in_use(now));
            if accounts.len() >= ACCOUNTS_MAX {
                return Ok(());
            }
        }
        let account = accounts.entry(funds.account.clone()).or_default();
        account.held.retain(|_, held| held.until > now);
        if account.under_way.contains_key(&identity) {
            return Ok(());
        }
        let held = account.held.iter().filter(|(other, _)| **other != identity).map(|(_, held)| held.amount);
        if exceeds(held.chain(account.under_way.values().copied()), amount, funds.available) {
            return Err(SpokenFor);
        }
        if account.held.len() < HELD_MAX {
            account.held.insert(identity, Held { amount, until: now + wait });
        }
        Ok(())
    }
}

impl Account {
    fn is_in_use(&self, now: Instant) -> bool {
        !self.under_way.is_empty() || self.held.values().any(|held| held.until > now)
    }
}

/// Returns true when an amount on top of others is more than there is.
fn exceeds(mut others: impl Iterator<Item = Amount>, amount: Amount, available: Amount) -> bool {
    others.try_fold(amount, Amount::checked_add).is_none_or(|sum| sum > available)
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn payment(n: u64) -> Identity {
        Identity::of("test", &[&n.to_be_bytes()])
    }

    fn funds(account: &str, available: u64) -> Funds {
        Funds { account: account.to_owned(), available: Amount::from(available) }
    }

    fn amount(n: u64) -> Amount {
        Amount::from(n)
    }

    #[test]
    fn settlements_under_way_never_add_up_to_more_than_there_is() {
        let spending = Spending::default();
        let reserve = |n, value| spending.reserve(&funds("a", 10), payment(n), amount(value));
        assert!(reserve(1, 6).is_ok());
        assert!(reserve(2, 4).is_ok());
        let waiting = reserve(3, 1).expect_err("all is spoken for");
        assert!(waiting.now_or_never().is_none());
        let waiting = reserve(3, 1).expect_err("all is spoken for");
        assert!(spending.reserve(&funds("b", 10), payment(3), amount(10)).is_ok(), "another account");
        spending.release("a", &payment(1));
        assert!(waiting.now_or_never().is_some(), "it is told, even if it did not look yet");
        assert!(reserve(3, 7).is_err());
        assert!(reserve(3, 6).is_ok());
    }

    #[test]
    fn a_payment_that_is_alone_is_the_chains_to_judge() {
        let spending = Spending::default();
        assert!(spending.reserve(&funds("a", 1), payment(1), amount(2)).is_ok());
        assert!(spending.reserve(&funds("a", 9), payment(2), amount(8)).is_err(), "together they are ours");
    }

    #[test]
    fn verified_payments_hold_their_part_until_they_settle_or_are_forgotten() {
        let (spending, start) = (Spending::default(), Instant::now());
        let wait = Duration::from_secs(10);
        let hold = |n, value, now| spending.hold(&funds("a", 10), payment(n), amount(value), wait, now).is_ok();
        assert!(hold(1, 6, start));
        assert!(hold(1, 6, start), "the same again");
        assert!(!hold(2, 5, start));
        assert!(hold(2, 4, start));
        assert!(spending.reserve(&funds("a", 10), payment(3), amount(10)).is_ok(), "a settlement goes before");
        spending.release("a", &payment(3));
        assert!(spending.reserve(&funds("a", 10), payment(1), amount(2)).is_ok(), "less than was held");
        assert!(hold(1, 6, start), "under way already");
        assert!(!hold(4, 5, start), "2 under way and 4 held");
        assert!(hold(4, 4, start));
        assert!(hold(5, 8, start + wait), "what was held is free again");
    }

    #[test]
    fn memory_is_bounded_and_given_back() {
        let (spending, start) = (Spending::default(), Instant::now());
        let wait = Duration::from_secs(10);
        for n in 0..20_000_u64 {
            let all = funds(&n.to_string(), u64::MAX);
            assert!(spending.hold(&all, payment(n), amount(1), wait, start).is_ok());
            assert!(spending.hold(&funds("one", u64::MAX), payment(n), amount(1), wait, start).is_ok());
        }
        assert_eq!(spending.accounts.lock().len(), ACCOUNTS_MAX);
        assert_eq!(spending.accounts.lock()["one"].held.len(), HELD_MAX);
        assert!(spending.hold(&funds("new", 1), payment(1), amount(1), wait, start + wait).is_ok());
        assert_eq!(spending.accounts.lock().len(), 1);
        assert!(spending.reserve(&funds("new", 1), payment(1), amount(1)).is_ok());
        spending.release("new", &payment(1));
        assert!(spending.accounts.lock().is_empty());
    }
}
