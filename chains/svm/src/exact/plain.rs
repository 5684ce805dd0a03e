//! Payments whose fate two token accounts decide: they need no simulation. Pure.
//!
//! A transfer of SPL Token fails for the sake of its two accounts, of its mint's
//! decimals, of its compute limit, or of nothing. That holds only where nothing
//! else stands in the transaction that could fail: so every account of it is
//! one that a transfer needs, its memos are texts that need no signature, and
//! there are units enough. Everything else is simulated; a test holds both
//! ways against each other.

use std::str;

use super::{rules::Evaluated, transaction::Transaction};
use crate::programs;

/// Compute units of the compute budget and a transfer, by the program of 2020:
/// its successors use a fraction of it.
const TRANSFER_UNITS: u64 = 7_000;

/// Compute units of a memo, and of each of its bytes, by the program of 2020.
const MEMO_UNITS: u64 = 500;
const MEMO_BYTE_UNITS: u64 = 360;

/// Returns whether the two token accounts decide about the payment.
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
    transfer.program == programs::TOKEN && evaluated.guard.is_none() && only_needed && can_move && has_room
}
