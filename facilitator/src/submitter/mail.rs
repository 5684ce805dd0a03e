//! Messages to the wallet workers.

use super::{job::Work, worker::tracked::Carried};
use crate::settlement::Transaction;

/// Messages that may wait for a worker. Beyond, callers are told to come back:
/// two seconds of a worker that settles 128 payments a second.
pub(super) const MAILBOX_MAX: usize = 256;

/// A message to a worker.
pub(super) enum Mail {
    /// A payment to begin.
    Job(Box<Work>),
    /// A step of a settlement that was unresolved, and goes on.
    Step(Box<Work>),
    /// A transaction at its end that the chain has lost, with the steps that it carries unless others follow these:
    /// send it again.
    Resend(Box<Transaction>, Vec<Carried>),
}
