//! The transactions of one gas wallet that are not at their end.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use chains_core::{
    Amount,
    observation::Block,
    transaction::{Fee, Plan},
};
use tokio::time::Instant;

use super::super::{decide, investigation::Inquiry, status::Open, view::View};
use crate::{
    in_flight::Entry,
    settlement::{Attempt, StepNumber, Transaction, TransactionId, TransactionState},
};

/// One step that a transaction carries.
#[derive(Clone, Debug)]
pub struct Carried {
    /// Its settlement.
    pub entry: Arc<Entry>,
    /// Its place there.
    pub number: StepNumber,
    /// The action.
    pub plan: Plan,
    /// True when its settlement has ended, or gone on, or is followed elsewhere.
    pub ended: bool,
}

/// A transaction that is not at its end.
#[derive(Debug)]
pub struct Tracked {
    /// The transaction as it is stored.
    pub transaction: Transaction,
    /// The steps it carries.
    pub items: Vec<Carried>,
    /// The same as the chain is asked about it.
    pub view: Arc<View>,
    /// True when its nonce is used: then it holds no place any more.
    pub nonce_used: bool,
    /// The outcome of the last commit about it.
    pub commit: Commit,
    /// True while it is being looked for.
    pub looking: bool,
    /// The height from which on its block is deep enough, or its death is to be seen once more.
    pub confirmed_at: Option<u64>,
    /// The height when it was first seen to be dead.
    pub dead_at: Option<u64>,
    /// The height when it was last looked for.
    pub looked_block: u64,
    /// The height when its bytes were last sent.
    pub sent_block: u64,
    /// True when its bytes are to be sent again with the next block.
    pub send_again: bool,
    /// The height when it was first sent.
    pub first_block: u64,
    /// The height when its newest attempt was stored.
    pub attempt_block: u64,
    /// The reasons for another attempt.
    pub price: Price,
    /// The time at which it was stored; for one from before a restart, at which it was taken up.
    pub stored_at: Instant,
    /// The time at which a block was first seen to have it.
    pub seen_at: Option<Instant>,
    /// The part of it that the metrics have.
    pub measured: Measured,
    /// The investigation of what became of it.
    pub inquiry: Inquiry,
}

/// The outcome of a commit about a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commit {
    /// The store holds what this process believes.
    Known,
    /// It failed, and may be stored all the same: the store may know that a
    /// block includes the transaction.
    InDoubt,
}

/// The reasons for another attempt of a transaction.
#[derive(Clone, Copy, Debug, Default)]
pub struct Price {
    /// True when no node took its newest attempt at its price.
    pub refused: bool,
    /// True when what it carries has ended by the clocks, for good.
    pub is_over: bool,
    /// The height at which the last look has proven that what it carries was
    /// executed elsewhere, or cancelled.
    pub overtaken: Option<u64>,
    /// True while its payer's authorization is being asked about.
    pub asking: bool,
}

impl Price {
    /// Returns true when what the transaction carries cannot succeed as things
    /// stand at this height. The chain may take back what has overtaken it: a
    /// look counts for so many blocks.
    pub fn is_void(&self, block: u64, look_counts: u64) -> bool {
        self.is_over || self.overtaken.is_some_and(|looked| block <= looked.saturating_add(look_counts))
    }
}

/// The part of a transaction's story that the metrics have.
#[derive(Clone, Copy, Debug, Default)]
pub struct Measured {
    /// True when it was begun since the start, so that the times of its stages are known.
    pub begun_here: bool,
    /// True once a node has taken it, as far as this is known since the start.
    pub accepted: bool,
    /// True once its fee is counted.
    pub fee: bool,
}

impl Tracked {
    /// A transaction that was just stored, or comes back from the store.
    pub fn new(transaction: Transaction, items: Vec<Carried>, block: u64) -> Self {
        let view = view(&transaction, &items);
        let nonce_used = transaction.state != TransactionState::Open;
        Self {
            transaction,
            items,
            view,
            nonce_used,
            commit: Commit::Known,
            looking: false,
            confirmed_at: None,
            dead_at: None,
            looked_block: block,
            sent_block: block,
            send_again: false,
            first_block: block,
            attempt_block: block,
            price: Price::default(),
            stored_at: Instant::now(),
            seen_at: None,
            measured: Measured::default(),
            inquiry: Inquiry::default(),
        }
    }

    /// Returns true when the store knows that a block includes it.
    pub const fn is_included(&self) -> bool {
        matches!(self.transaction.state, TransactionState::Included { .. })
    }

    /// Returns true when the store may know that a block includes it.
    pub const fn may_be_stored_as_included(&self) -> bool {
        matches!(self.commit, Commit::InDoubt) || self.is_included()
    }

    /// Notes that it was seen to be dead at this height; returns true when it
    /// was at an earlier one too, and nothing else was seen since. It is looked
    /// for once more with the next block.
    pub fn is_dead_at(&mut self, block: u64) -> bool {
        let since = *self.dead_at.get_or_insert(block);
        self.confirmed_at = Some(block.saturating_add(1));
        since < block
    }

    /// The chain took its block back: it is open again, and sent again.
    pub fn reopen(&mut self) {
        self.transaction.state = TransactionState::Open;
        self.transaction.attempts.iter_mut().for_each(|attempt| attempt.inclusion = None);
        (self.nonce_used, self.send_again, self.commit) = (false, true, Commit::Known);
    }

    /// Returns true when this block may include it: it lists one of its
    /// attempts, or lists nothing.
    pub fn may_be_in(&self, block: &Block) -> bool {
        match &block.transactions {
            Some(list) => self.transaction.attempts.iter().any(|attempt| list.contains(&attempt.signed.hash)),
            None => true,
        }
    }

    /// Returns true when every settlement that it carries is void at this time
    /// of the chain, in seconds: no later block can execute any.
    pub fn is_over_at(&self, time: u64) -> bool {
        let is_over = |item: &Carried| item.plan.valid_before.is_some_and(|end| end <= time);
        // One that has ended in a block which the chain took back needs the transaction as well.
        self.is_complete() && self.items.iter().any(|item| !item.ended) && self.items.iter().all(is_over)
    }

    /// Returns true when every step that it carries is known here. One whose
    /// settlement has left the store is not.
    pub const fn is_complete(&self) -> bool {
        self.items.len() == self.transaction.items.len()
    }

    /// The fees that its attempts offer, oldest first.
    pub fn fees(&self) -> Vec<&Fee> {
        self.transaction.attempts.iter().map(|attempt| &attempt.signed.fee).collect()
    }

    /// The most that any of its attempts may take out of the gas wallet.
    pub fn need(&self) -> Amount {
        self.fees().iter().map(|fee| fee.amount_max).max().unwrap_or_default()
    }

    /// Returns true when this block asks for a look: it lists the transaction,
    /// or lists nothing, or an earlier finding is deep enough, or it is time.
    fn wants_look(&self, block: &Block) -> bool {
        let due = self.confirmed_at.is_some_and(|height| height <= block.number)
            || block.number >= self.looked_block.saturating_add(decide::LOOK_EVERY_BLOCKS);
        !self.looking && !self.is_included() && (self.may_be_in(block) || due)
    }

    /// Returns true when its bytes are to be sent again at this height.
    fn wants_send(&self, block: u64, resend_after: u64) -> bool {
        !self.nonce_used && (self.send_again || block >= self.sent_block.saturating_add(resend_after))
    }
}

fn view(transaction: &Transaction, items: &[Carried]) -> Arc<View> {
    let asked = items.iter().map(|item| (item.plan.clone(), item.entry.facts.claimed_block)).collect();
    Arc::new(View::new(transaction, asked))
}

/// The transactions of one gas wallet, in the order of their nonces.
#[derive(Debug, Default)]
pub struct TrackedSet {
    by_id: BTreeMap<TransactionId, Tracked>,
    by_hash: HashMap<String, TransactionId>,
}

impl TrackedSet {
    /// Takes up a transaction.
    pub fn insert(&mut self, tracked: Tracked) {
        let id = tracked.transaction.id;
        for attempt in &tracked.transaction.attempts {
            self.by_hash.insert(attempt.signed.hash.clone(), id);
        }
        self.by_id.insert(id, tracked);
    }

    /// Takes a transaction out: it is at its end.
    pub fn remove(&mut self, id: TransactionId) -> Option<Tracked> {
        let tracked = self.by_id.remove(&id)?;
        for attempt in &tracked.transaction.attempts {
            self.by_hash.remove(&attempt.signed.hash);
        }
        Some(tracked)
    }

    /// Notes another attempt, which was just stored.
    pub fn add_attempt(&mut self, id: TransactionId, attempt: Attempt, block: u64) -> Option<&mut Tracked> {
        let tracked = self.by_id.get_mut(&id)?;
        self.by_hash.insert(attempt.signed.hash.clone(), id);
        tracked.transaction.attempts.push(attempt);
        tracked.view = view(&tracked.transaction, &tracked.items);
        (tracked.attempt_block, tracked.sent_block) = (block, block);
        (tracked.price.refused, tracked.send_again) = (false, false);
        Some(tracked)
    }

    /// The transaction of this id.
    pub fn get_mut(&mut self, id: TransactionId) -> Option<&mut Tracked> {
        self.by_id.get_mut(&id)
    }

    /// The same, to look at.
    pub fn get(&self, id: TransactionId) -> Option<&Tracked> {
        self.by_id.get(&id)
    }

    /// The transaction with this hash among its attempts.
    pub fn by_hash(&mut self, hash: &str) -> Option<&mut Tracked> {
        let id = self.by_hash.get(hash)?;
        self.by_id.get_mut(id)
    }

    /// All of them.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Tracked> {
        self.by_id.values_mut()
    }

    /// Those that hold a place: their nonce is not used.
    fn held(&self) -> impl Iterator<Item = &Tracked> {
        self.by_id.values().filter(|tracked| !tracked.nonce_used)
    }

    /// Follows none of them any more. Called when the worker ends.
    pub fn clear(&mut self) {
        self.by_id.clear();
        self.by_hash.clear();
    }

    /// The number of places held.
    pub fn places(&self) -> usize {
        self.held().count()
    }

    /// The number that is not at its end.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// The most that those that hold a place may take out of the gas wallet.
    pub fn need(&self) -> Amount {
        self.held().map(Tracked::need).fold(Amount::ZERO, |sum, fee| sum.checked_add(fee).unwrap_or(Amount::MAX))
    }

    /// The one with the lowest nonce of those that hold a place; on chains
    /// without nonces the oldest.
    pub fn oldest(&mut self) -> Option<&mut Tracked> {
        let held = self.by_id.values_mut().filter(|tracked| !tracked.nonce_used);
        held.min_by_key(|tracked| {
            let nonce = tracked.transaction.nonce;
            // Bytes that somebody else signed hold no place in the sequence.
            (nonce.is_none(), nonce, tracked.transaction.id)
        })
    }

    /// Those that hold a nonce, in the order of their nonces.
    pub fn in_line(&self) -> Vec<&Tracked> {
        let mut line: Vec<_> = self.held().filter(|tracked| tracked.transaction.nonce.is_some()).collect();
        line.sort_unstable_by_key(|tracked| tracked.transaction.nonce);
        line
    }

    /// The plan of some step, as a measure of what the next one costs.
    pub fn any_plan(&self) -> Option<&Plan> {
        self.by_id.values().next_back()?.items.first().map(|item| &item.plan)
    }

    /// The numbers of them, for operators.
    pub fn summary(&self) -> Open {
        let mut open = Open { need: self.need(), ..Open::default() };
        for tracked in self.by_id.values().filter(|tracked| !tracked.is_included()) {
            let steps = tracked.items.len();
            *(if tracked.measured.accepted { &mut open.broadcast } else { &mut open.signed }) += steps;
        }
        open.oldest = self.held().map(|tracked| tracked.transaction.created_at).min();
        open
    }

    /// Those that this block asks to look for, marked as being looked for.
    pub fn take_wanted(&mut self, block: &Block) -> Vec<(TransactionId, Arc<View>)> {
        let wanted = self.by_id.values_mut().filter(|tracked| tracked.wants_look(block));
        let take = |tracked: &mut Tracked| {
            (tracked.looking, tracked.looked_block) = (true, block.number);
            (tracked.transaction.id, Arc::clone(&tracked.view))
        };
        wanted.map(take).collect()
    }

    /// Those whose bytes are to be sent again at this height, in order.
    pub fn take_unsent(&mut self, block: u64, resend_after: u64) -> Vec<TransactionId> {
        if mistake!(NeverSendsAgain) {
            return vec![];
        }
        let wanted = self.by_id.values_mut().filter(|tracked| tracked.wants_send(block, resend_after));
        let mut taken: Vec<_> = wanted
            .map(|tracked| {
                (tracked.send_again, tracked.sent_block) = (false, block);
                (tracked.transaction.nonce, tracked.transaction.id)
            })
            .collect();
        taken.sort_unstable();
        taken.into_iter().map(|(_, id)| id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_overtaken_is_void_while_the_look_counts_and_what_is_over_for_good() {
        let price = |is_over, overtaken| Price { is_over, overtaken, ..Price::default() };
        let cases = [
            ("nothing is known", price(false, None), false),
            ("over by the clocks", price(true, None), true),
            ("overtaken just now", price(false, Some(10)), true),
            ("overtaken as long ago as a look counts", price(false, Some(6)), true),
            ("a reorg may have taken that back", price(false, Some(5)), false),
            ("the chain went back since", price(false, Some(12)), true),
            ("over, and overtaken long ago", price(true, Some(1)), true),
        ];
        for (name, price, expected) in cases {
            assert_eq!(price.is_void(10, 4), expected, "{name}");
        }
    }
}
