//! The times at which the balance and the nonce of a gas wallet are read, and the answers.

use std::{ops::Range, time::Duration};

use chains_core::Amount;
use tokio::time::Instant;

/// The time between two reads of balance and nonce while nothing is open.
const IDLE_INTERVAL: Duration = Duration::from_secs(10);

/// The time between two reads while transactions are open: with each block of a
/// slow chain, less often on one that makes many blocks a second or none.
const BUSY_INTERVAL: Duration = Duration::from_secs(2);

/// Reads after which transactions that stay open are no reason to read often:
/// the chain stands still.
const BUSY_READS_MAX: u32 = 5;

/// The time until a read after an answer that puts the values in doubt.
const HURRY_INTERVAL: Duration = Duration::from_millis(500);

/// The state of the upkeep.
#[derive(Debug, Default)]
pub struct Upkeep {
    balance: Option<Amount>,
    read: Option<Instant>,
    reading: bool,
    hurry: bool,
    /// Reads while transactions are open since the last block.
    busy_reads: u32,
    gap: NonceGap,
}

impl Upkeep {
    /// Returns true when it is time to read; notes that it is being read.
    pub fn is_due(&mut self, now: Instant, busy: bool) -> bool {
        let often = self.busy_reads < BUSY_READS_MAX;
        let interval = match (self.hurry && often, busy && often) {
            (true, _) => HURRY_INTERVAL,
            (false, true) => BUSY_INTERVAL,
            (false, false) => IDLE_INTERVAL,
        };
        let due = !self.reading && self.read.is_none_or(|read| now.duration_since(read) >= interval);
        if due {
            (self.reading, self.read) = (true, Some(now));
            self.busy_reads = self.busy_reads.saturating_add(1);
        }
        due
    }

    /// Notes an answer: the balance, where it could be read.
    pub fn answered(&mut self, balance: Option<Amount>) {
        (self.reading, self.hurry) = (false, false);
        self.balance = balance.or(self.balance);
    }

    /// The nonces that the chain has lost below the open transactions.
    pub fn missing(&mut self, latest: u64, lowest: Option<u64>) -> Option<Range<u64>> {
        self.gap.confirm(latest, lowest)
    }

    /// Notes a new block: there is something to read again.
    pub fn saw_block(&mut self) {
        self.busy_reads = 0;
    }

    /// Notes a fee that a block took since the balance was read.
    pub fn spent(&mut self, fee: Amount) {
        self.balance = self.balance.map(|balance| balance.checked_sub(fee).unwrap_or(Amount::ZERO));
    }

    /// Reads sooner than usual, once.
    pub fn hurry(&mut self) {
        self.hurry = true;
    }

    /// Returns true when the balance covers everything under way and one more.
    /// A balance that could not be read yet covers everything: the nodes judge.
    pub fn can_pay(&self, need: Amount, fee: Amount) -> bool {
        let sum = need.checked_add(fee).unwrap_or(Amount::MAX);
        self.balance.is_none_or(|balance| balance >= sum)
    }
}

/// The nonce of the chain at the time a gap was seen.
#[derive(Debug, Default)]
struct NonceGap(Option<u64>);

impl NonceGap {
    /// The nonces to send again: those from the chain's next one up to the
    /// lowest that is open, once two looks have found the same. One alone may
    /// come from a node that is behind.
    fn confirm(&mut self, latest: u64, lowest: Option<u64>) -> Option<Range<u64>> {
        let Some(lowest) = lowest.filter(|lowest| latest < *lowest) else {
            self.0 = None;
            return None;
        };
        let seen_before = self.0.replace(latest) == Some(latest);
        seen_before.then_some(latest..lowest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_gap_is_closed_when_two_looks_have_found_it() {
        let mut gap = NonceGap::default();
        let looks = [
            ("nothing is missing", 5, Some(5), None),
            ("one node may be behind", 3, Some(5), None),
            ("it is missing", 3, Some(5), Some(3..5)),
            ("still", 3, Some(5), Some(3..5)),
            ("part of it came", 4, Some(5), None),
            ("the rest is missing", 4, Some(5), Some(4..5)),
            ("it came", 6, Some(5), None),
            ("anew", 4, Some(5), None),
            ("nothing waits", 4, None, None),
        ];
        for (name, latest, lowest, expected) in looks {
            assert_eq!(gap.confirm(latest, lowest), expected, "{name}");
        }
    }

    #[test]
    fn a_balance_covers_what_is_under_way_and_one_more_or_is_not_known() {
        let amount = |n: u64| Amount::from(n);
        let mut upkeep = Upkeep::default();
        assert!(upkeep.can_pay(Amount::MAX, amount(1)), "the nodes judge");
        upkeep.balance = Some(amount(10));
        assert!(upkeep.can_pay(amount(7), amount(3)));
        assert!(!upkeep.can_pay(amount(7), amount(4)) && !upkeep.can_pay(Amount::MAX, amount(1)));
    }
}
