//! Payments whose fate three accounts decide: they need no simulation.
//!
//! A transfer of SPL Token fails for the sake of its two accounts, of its mint's
//! decimals, of its compute limit, or of nothing. That holds only where nothing
//! else stands in the transaction that could fail: so every account of it is
//! one that a transfer needs, its memos are texts that need no signature, no
//! memory is asked for, and there are units enough. Everything else is
//! simulated. A test holds both
//! ways against each other, and so does a sample of the payments that come.

use std::{
    str,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use super::{
    rules::Evaluated,
    transaction::{Instruction, Transaction},
};
use crate::{compute_budget::Setting, programs};

/// Compute units of the compute budget and a transfer, by the program of 2020:
/// its successors use a fraction of it.
const TRANSFER_UNITS: u64 = 7_000;

/// Compute units of a memo, and of each of its bytes, by the program of 2020.
const MEMO_UNITS: u64 = 500;
const MEMO_BYTE_UNITS: u64 = 360;

/// One of so many payments is simulated all the same.
const SAMPLED: u64 = 256;

/// The time for which all are, once a simulation has contradicted the accounts.
const DOUBT: Duration = Duration::from_hours(1);

/// The payments that are simulated though their accounts decide: a token
/// program that is no longer as it is known here is noticed.
#[derive(Debug, Default)]
pub(crate) struct Sample {
    seen: AtomicU64,
    doubted: Mutex<Option<Instant>>,
}

impl Sample {
    /// Returns whether the next payment is one of them.
    pub fn takes_next(&self, now: Instant) -> bool {
        let number = self.seen.fetch_add(1, Ordering::Relaxed);
        self.is_doubted(now) || number % SAMPLED == SAMPLED - 1
    }

    /// Returns whether a simulation has contradicted the accounts within the last hour.
    pub fn is_doubted(&self, now: Instant) -> bool {
        self.doubted.lock().is_some_and(|since| now.duration_since(since) < DOUBT)
    }

    /// Notes that a simulation has contradicted the accounts.
    pub fn doubt(&self, now: Instant) {
        *self.doubted.lock() = Some(now);
    }
}

/// Returns whether the accounts alone decide about the payment.
pub(crate) fn is_plain(transaction: &Transaction, evaluated: &Evaluated) -> bool {
    let transfer = &evaluated.transfer;
    let programs = [programs::COMPUTE_BUDGET, programs::TOKEN, programs::MEMO];
    let needed = [evaluated.fee_payer, transfer.authority, transfer.source, transfer.destination, transfer.mint];
    let only_needed =
        transaction.accounts().iter().all(|account| needed.contains(account) || programs.contains(account));
    let can_move = [transfer.source, transfer.destination].iter().all(|account| transaction.is_writable(account));
    let mut units = TRANSFER_UNITS;
    for memo in transaction.instructions(&[]).filter(|found| *found.program == programs::MEMO) {
        if memo.account_count() != 0 || str::from_utf8(memo.data).is_err() {
            return false;
        }
        let bytes = u64::try_from(memo.data.len()).unwrap_or(u64::MAX);
        units = units.saturating_add(MEMO_UNITS).saturating_add(MEMO_BYTE_UNITS.saturating_mul(bytes));
    }
    let has_room = u64::from(evaluated.budget.unit_limit) >= units;
    let only_units = transaction.instructions(&[]).all(|found| !is_other_setting(&found));
    transfer.program == programs::TOKEN
        && evaluated.guard.is_none()
        && only_needed
        && only_units
        && can_move
        && has_room
}

/// Returns whether it is a setting of the compute budget about anything but units.
fn is_other_setting(found: &Instruction<'_>) -> bool {
    let about_units = || matches!(Setting::parse(found.data), Some(Setting::UnitLimit(_) | Setting::UnitPrice(_)));
    *found.program == programs::COMPUTE_BUDGET && !about_units()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_256_is_simulated_and_for_an_hour_all_are_once_one_was_contradicted() {
        let (sample, now) = (Sample::default(), Instant::now());
        let taken = |now| (0..1024).filter(|_| sample.takes_next(now)).count();
        assert_eq!(taken(now), 4);
        sample.doubt(now);
        assert_eq!(taken(now), 1024);
        assert_eq!((taken(now + DOUBT / 2), taken(now + DOUBT)), (1024, 4));
    }
}
