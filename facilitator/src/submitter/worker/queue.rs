//! Payments and steps that wait for a place.

use std::collections::VecDeque;

use tokio::time::Instant;

use super::super::job::Work;

/// Settlements that share a commit at most: enough that the disk is not what
/// limits, few enough that a commit stays short.
const GROUP_MAX: usize = 64;

/// Blocks for which a verification counts: the one it was made in, and the next.
const VERIFIED_BLOCKS: u64 = 1;

/// Work that waits, steps that are begun before payments that are not.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: VecDeque<Work>,
    deferred: Vec<(Instant, Work)>,
    /// Work that is being verified again: each holds a place.
    rechecking: usize,
}

impl Queue {
    /// Adds a payment at the end, a step of a stored settlement at the front:
    /// somebody has paid for it already.
    pub fn push(&mut self, work: Work) {
        if work.stored { self.waiting.push_front(work) } else { self.waiting.push_back(work) }
    }

    /// Adds work that is not to be taken before a time.
    pub fn defer(&mut self, work: Work, until: Instant) {
        self.deferred.push((until, work));
    }

    /// Brings back what was deferred until now.
    pub fn wake(&mut self, now: Instant) {
        let (due, later): (Vec<_>, Vec<_>) = self.deferred.drain(..).partition(|(until, _)| *until <= now);
        self.deferred = later;
        for (_, work) in due {
            self.push(work);
        }
    }

    /// The number that waits, is deferred, or is being verified again.
    pub fn len(&self) -> usize {
        self.waiting.len() + self.deferred.len() + self.rechecking
    }

    /// Returns true when nothing can be taken now.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Takes as much as there are free places; the first part may be signed at
    /// this height, the second has to be verified again.
    pub fn take(&mut self, free: usize, block: u64) -> (Vec<Work>, Vec<Work>) {
        let count = free.saturating_sub(self.rechecking).min(GROUP_MAX).min(self.waiting.len());
        let counts = |work: &Work| work.verified_block.is_some_and(|verified| block <= verified + VERIFIED_BLOCKS);
        let (fresh, stale): (Vec<_>, Vec<_>) = self.waiting.drain(..count).partition(counts);
        self.rechecking += stale.len();
        (fresh, stale)
    }

    /// Takes out the payments whose callers have left.
    pub fn take_unwanted(&mut self) -> Vec<Work> {
        let wanted = |work: &Work| work.stored || work.entry.delivery().is_wanted();
        if self.waiting.iter().all(wanted) {
            return vec![];
        }
        let (kept, unwanted): (VecDeque<_>, VecDeque<_>) = self.waiting.drain(..).partition(wanted);
        self.waiting = kept;
        unwanted.into()
    }

    /// Notes that so many were verified again.
    pub fn rechecked(&mut self, count: usize) {
        self.rechecking = self.rechecking.saturating_sub(count);
    }

    /// Takes everything out that waits. Called at the end.
    pub fn drain(&mut self) -> Vec<Work> {
        let deferred = self.deferred.drain(..).map(|(_, work)| work);
        self.waiting.drain(..).chain(deferred).collect()
    }
}
