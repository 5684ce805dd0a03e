//! New blocks, told by the answer to a send: `eth_sendRawTransactionSync`
//! (EIP-7966) answers when a block includes the transaction.
//!
//! An accelerator and nothing more, as a subscription is: the answer is a reason
//! to ask for the next block. What it says of the transaction is not read, and a
//! node that lacks the method, answers late or lies costs a few questions.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::heads::Told;
use crate::rpc::sync_send::SyncAnswer;

/// The time for which no node is asked any more in this way after an answer that is of no use.
const OFF: Duration = Duration::from_hours(1);

/// Blocks after the newest one in which a transaction may be included that was sent just now, at most.
const AHEAD_MAX: u64 = 8;

/// The sends that are to be answered with their block: one at a time, as one tells of the next block as well as many.
#[derive(Debug, Default)]
pub(super) struct SendNotices {
    under_way: AtomicBool,
    off_until: Mutex<Option<Instant>>,
}

impl SendNotices {
    /// The right to make one such send; `None` while one is under way, or they are of no use.
    pub fn begin(self: &Arc<Self>, told: &Arc<Told>, newest: u64) -> Option<SendNotice> {
        let is_off = self.off_until.lock().is_some_and(|until| Instant::now() < until);
        if is_off || self.under_way.swap(true, Relaxed) {
            return None;
        }
        Some(SendNotice { notices: Arc::clone(self), told: Arc::clone(told), newest })
    }

    /// Makes none for a while.
    pub fn turn_off(&self) {
        *self.off_until.lock() = Some(Instant::now() + OFF);
    }
}

/// One send that is to be answered with its block. Dropped, it makes room for the next.
#[derive(Debug)]
pub(crate) struct SendNotice {
    notices: Arc<SendNotices>,
    told: Arc<Told>,
    newest: u64,
}

impl SendNotice {
    /// Heeds the answer: a block that may be there now is asked for at once.
    pub fn heed(self, answer: SyncAnswer) {
        match answer {
            SyncAnswer::Included(number) if number > self.newest.saturating_add(AHEAD_MAX) => self.notices.turn_off(),
            SyncAnswer::Included(number) => self.told.tell_by_send(number),
            SyncAnswer::Nothing => {}
            SyncAnswer::Unfit => self.notices.turn_off(),
        }
    }
}

impl Drop for SendNotice {
    fn drop(&mut self) {
        self.notices.under_way.store(false, Relaxed);
    }
}
