//! The ledger of gas money given to payers. Pure but for its lock.
//!
//! Lives with the process: a restart forgets it. What is on its way then is
//! driven to its end all the same, within its own cap.

use std::{collections::HashMap, time::Duration};

use alloy::primitives::{Address, U256};
use parking_lot::Mutex;
use tokio::time::Instant;

/// The time for which gas money counts, and a failure is remembered.
const HOUR: Duration = Duration::from_hours(1);

/// The longest that a payment may take from its verification to its signed bytes.
const RESERVED_FOR: Duration = Duration::from_mins(1);

/// The longest that a sponsored payment takes until it is known not to be
/// disturbed any more.
const UNDER_WAY_FOR: Duration = Duration::from_mins(5);

/// Payers that are remembered, at most.
const PAYERS_MAX: usize = 16_384;

/// The ledger of gas money given to payers.
#[derive(Debug)]
pub(crate) struct Ledger {
    payers: Mutex<HashMap<Address, Entry>>,
    /// Wei in an hour.
    budget: U256,
    /// Sponsored payments at a time.
    under_way_max: usize,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Wei of the past hour, those of the moment included.
    given: U256,
    /// Of it, what is taken back when nothing comes of the payment.
    reserved: U256,
    since: Instant,
    standing: Standing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Verified; nothing is signed.
    Reserved,
    /// Bytes of it are signed.
    UnderWay,
    /// Its approval is on chain.
    Done,
    /// It came to nothing.
    Failed,
}

/// The reason why nothing is given now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// A sponsored payment of this payer failed within the hour.
    Payer,
    /// The hour's budget is used up.
    Budget,
    /// Others, or this payer, are being sponsored: not now.
    Busy,
}

impl Entry {
    fn is_over(&self, now: Instant) -> bool {
        let reserved_only = self.standing == Standing::Reserved && self.given == self.reserved;
        now.duration_since(self.since) >= if reserved_only { RESERVED_FOR } else { HOUR }
    }

    fn is_busy(&self, now: Instant) -> bool {
        let age = now.duration_since(self.since);
        match self.standing {
            Standing::Reserved => age < RESERVED_FOR,
            Standing::UnderWay => age < UNDER_WAY_FOR,
            Standing::Done | Standing::Failed => false,
        }
    }
}

impl Ledger {
    /// Nothing given yet. `budget`: wei in an hour; `under_way_max`: payments at a time.
    pub fn new(budget: U256, under_way_max: usize) -> Self {
        Self { payers: Mutex::default(), budget, under_way_max }
    }

    /// Checks that the payer may be given so many wei. Changes nothing.
    pub fn check(&self, payer: Address, wei: U256, now: Instant) -> Result<(), Refused> {
        admit(&mut self.payers.lock(), payer, wei, self.budget, self.under_way_max, now).map(drop)
    }

    /// Sets so many wei aside for the payer. A payment that nothing was signed
    /// of makes room for the next of its payer, and is forgotten soon.
    pub fn reserve(&self, payer: Address, wei: U256, now: Instant) -> Result<(), Refused> {
        let mut payers = self.payers.lock();
        let before = admit(&mut payers, payer, wei, self.budget, self.under_way_max, now)?;
        let given = before.saturating_add(wei);
        payers.insert(payer, Entry { given, reserved: wei, since: now, standing: Standing::Reserved });
        Ok(())
    }

    /// Bytes by which the payer is given so many wei are being signed. They
    /// count even if they were not set aside, or too long ago.
    pub fn under_way(&self, payer: Address, wei: U256, now: Instant) {
        let new = Entry { given: wei, reserved: U256::ZERO, since: now, standing: Standing::UnderWay };
        let mut payers = self.payers.lock();
        let entry = payers.entry(payer).or_insert(new);
        (entry.standing, entry.reserved) = (Standing::UnderWay, U256::ZERO);
    }

    /// The payer's approval is on chain.
    pub fn done(&self, payer: Address) {
        if let Some(entry) = self.payers.lock().get_mut(&payer) {
            entry.standing = Standing::Done;
        }
    }

    /// The payer's sponsored payment came to nothing: for an hour it gets nothing more.
    pub fn failed(&self, payer: Address, now: Instant) {
        let mut payers = self.payers.lock();
        if payers.len() >= PAYERS_MAX && !payers.contains_key(&payer) {
            let oldest = payers.iter().min_by_key(|(_, entry)| entry.since).map(|(payer, _)| *payer);
            oldest.and_then(|oldest| payers.remove(&oldest));
        }
        let given = payers.get(&payer).map_or(U256::ZERO, |entry| entry.given);
        payers.insert(payer, Entry { given, reserved: U256::ZERO, since: now, standing: Standing::Failed });
    }
}

/// Returns the wei that the payer was given before, when it may be given more.
fn admit(
    payers: &mut HashMap<Address, Entry>,
    payer: Address,
    wei: U256,
    budget: U256,
    under_way_max: usize,
    now: Instant,
) -> Result<U256, Refused> {
    payers.retain(|_, entry| !entry.is_over(now));
    let known = payers.get(&payer).copied();
    match known.map(|entry| entry.standing) {
        Some(Standing::Failed) => return Err(Refused::Payer),
        Some(Standing::UnderWay) if known.is_some_and(|entry| entry.is_busy(now)) => return Err(Refused::Busy),
        Some(Standing::UnderWay | Standing::Reserved | Standing::Done) | None => {}
    }
    let (mut busy, mut total) = (0, wei);
    for (_, entry) in payers.iter().filter(|(other, _)| **other != payer) {
        busy += usize::from(entry.is_busy(now));
        total = total.saturating_add(entry.given);
    }
    let before = known.map_or(U256::ZERO, |entry| entry.given.saturating_sub(entry.reserved));
    if !wei.is_zero() && total.saturating_add(before) > budget {
        return Err(Refused::Budget);
    }
    if busy >= under_way_max || (known.is_none() && payers.len() >= PAYERS_MAX) {
        return Err(Refused::Busy);
    }
    Ok(before)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payer(n: u64) -> Address {
        Address::left_padding_from(&n.to_be_bytes())
    }

    fn wei(n: u64) -> U256 {
        U256::from(n)
    }

    #[test]
    fn no_hour_gives_more_than_the_budget() {
        let (ledger, start) = (Ledger::new(wei(100), 100), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(ledger.reserve(payer(1), wei(60), at(0)), Ok(()));
        ledger.under_way(payer(1), wei(0), start);
        ledger.done(payer(1));
        assert_eq!(ledger.reserve(payer(2), wei(41), at(1)), Err(Refused::Budget));
        assert_eq!(ledger.check(payer(2), wei(40), at(1)), Ok(()));
        assert_eq!(ledger.reserve(payer(1), wei(41), at(1)), Err(Refused::Budget), "also for the same payer");
        assert_eq!(ledger.reserve(payer(2), wei(0), at(1)), Ok(()), "who needs none is not concerned");
        assert_eq!(ledger.reserve(payer(3), wei(41), at(3599)), Err(Refused::Budget));
        assert_eq!(ledger.reserve(payer(3), wei(100), at(3600)), Ok(()));
    }

    #[test]
    fn what_nothing_came_of_is_given_again() {
        let (ledger, start) = (Ledger::new(wei(100), 100), Instant::now());
        for _ in 0..5 {
            assert_eq!(ledger.reserve(payer(1), wei(60), start), Ok(()), "the same payer's is replaced");
        }
        assert_eq!(ledger.reserve(payer(2), wei(60), start), Err(Refused::Budget));
        assert_eq!(ledger.reserve(payer(2), wei(60), start + RESERVED_FOR), Ok(()), "it was never signed");
        ledger.under_way(payer(2), wei(0), start);
        assert_eq!(ledger.reserve(payer(3), wei(60), start + 2 * RESERVED_FOR), Err(Refused::Budget), "this one was");
    }

    #[test]
    fn a_payer_is_sponsored_once_at_a_time_and_not_after_a_failure() {
        let (ledger, now) = (Ledger::new(wei(100), 100), Instant::now());
        assert_eq!(ledger.reserve(payer(1), wei(1), now), Ok(()));
        ledger.under_way(payer(1), wei(0), now);
        assert_eq!(ledger.reserve(payer(1), wei(1), now), Err(Refused::Busy));
        ledger.done(payer(1));
        assert_eq!(ledger.reserve(payer(1), wei(1), now), Ok(()), "another token, say");
        ledger.failed(payer(1), now);
        assert_eq!(ledger.reserve(payer(1), wei(0), now + HOUR / 2), Err(Refused::Payer));
        assert_eq!(ledger.reserve(payer(1), wei(0), now + HOUR), Ok(()));
        ledger.failed(payer(2), now);
        assert_eq!(ledger.check(payer(2), wei(0), now), Err(Refused::Payer), "also when it was not known");
    }

    #[test]
    fn few_are_under_way_at_a_time_and_memory_is_bounded() {
        let (ledger, now) = (Ledger::new(U256::MAX, 2), Instant::now());
        assert_eq!(ledger.reserve(payer(1), wei(1), now), Ok(()));
        assert_eq!(ledger.reserve(payer(2), wei(1), now), Ok(()));
        assert_eq!(ledger.reserve(payer(3), wei(1), now), Err(Refused::Busy));
        ledger.under_way(payer(1), wei(0), now);
        ledger.done(payer(1));
        assert_eq!(ledger.reserve(payer(3), wei(1), now), Ok(()));
        for n in 0..16_400 {
            ledger.failed(payer(n), now + Duration::from_millis(n));
        }
        assert_eq!(ledger.payers.lock().len(), PAYERS_MAX);
    }
}
