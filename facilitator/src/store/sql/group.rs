//! The order in which a group of calls is written.
//!
//! Each statement covers many rows, so the changes of a group are taken out of
//! their order where that makes no difference: [`segments`] keeps the order of
//! two changes wherever they touch the same row.

use std::collections::{HashMap, HashSet};

use chains_core::{
    Network,
    clock::Millis,
    observation::{BlockRef, Inclusion},
    transaction::Plan,
};

use crate::{
    settlement::{Facts, Failed, Recipient, Settled, SettlementId, Transaction, TransactionId},
    store::{Change, Fence},
};

/// One call of [`Store::apply_under`](crate::store::Store::apply_under).
#[derive(Clone, Copy, Debug)]
pub(super) struct Call<'a> {
    /// The right under which a worker made it.
    pub fence: Option<&'a Fence>,
    /// Its changes, in order.
    pub changes: &'a [Change],
    /// The time at which it was made.
    pub at: Millis,
}

/// A payment to claim.
pub(super) struct Claim<'a> {
    pub facts: &'a Facts,
    pub plan: Option<&'a Plan>,
    /// Its first step is carried by a transaction of the same call.
    pub carried: bool,
}

/// A transaction to store.
pub(super) struct Carry<'a> {
    pub transaction: &'a Transaction,
    pub network: &'a Network,
    pub at: Millis,
}

/// An end to store.
pub(super) struct End<'a> {
    pub id: SettlementId,
    pub ending: Ending<'a>,
    pub at: Millis,
    /// The call's place in the group: it is told whether this had an effect.
    pub call: usize,
}

/// The way a settlement ends.
#[derive(Clone, Copy)]
pub(super) enum Ending<'a> {
    Settled { settled: &'a Settled, delivered: Option<Recipient> },
    Failed(&'a Failed),
}

/// An end that holds for good.
pub(super) struct Finality<'a> {
    pub id: SettlementId,
    pub transfer: Option<&'a (String, BlockRef)>,
    pub at: Millis,
}

/// Changes that are written kind by kind, in the order of the fields.
#[derive(Default)]
pub(super) struct Batch<'a> {
    /// Payments that were handed over, and are claimed.
    pub received: Vec<SettlementId>,
    pub claims: Vec<Claim<'a>>,
    pub carries: Vec<Carry<'a>>,
    pub inclusions: Vec<(TransactionId, &'a Inclusion)>,
    pub ends: Vec<End<'a>>,
    pub finalities: Vec<Finality<'a>>,
}

/// A part of a group.
pub(super) enum Segment<'a> {
    /// The kinds of which there are many.
    Batch(Box<Batch<'a>>),
    /// One change of a rare kind.
    One(&'a Change, Millis),
}

/// A row that a change touches.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Row {
    Settlement(SettlementId),
    Transaction(TransactionId),
}

/// Puts the changes of these calls in the order of writing. `networks`: those
/// of settlements that are stored already; a transaction whose network is not
/// known is left out, and refused before.
pub(super) fn segments<'a>(
    calls: impl Iterator<Item = (usize, Call<'a>)>,
    networks: &'a HashMap<SettlementId, Network>,
) -> Vec<Segment<'a>> {
    let mut order = Order { networks, done: Vec::new(), batch: Box::default(), touched: HashMap::new() };
    for (number, call) in calls {
        let carried = carried(call.changes);
        for change in call.changes {
            order.add(number, change, &carried, call.at);
        }
    }
    order.close();
    order.done
}

/// The settlements whose steps are carried by transactions of a call.
fn carried(changes: &[Change]) -> HashSet<SettlementId> {
    let items =
        |change| if let &Change::Carry(Transaction { ref items, .. }) = change { items.as_slice() } else { &[] };
    changes.iter().flat_map(items).map(|(id, _)| *id).collect()
}

struct Order<'a> {
    networks: &'a HashMap<SettlementId, Network>,
    done: Vec<Segment<'a>>,
    batch: Box<Batch<'a>>,
    /// The rows that the batch touches, each with the place of the kind among
    /// the batch's kinds.
    touched: HashMap<Row, u8>,
}

impl<'a> Order<'a> {
    fn add(&mut self, call: usize, change: &'a Change, carried: &HashSet<SettlementId>, at: Millis) {
        match change {
            // Its claim, which follows in the same call, touches the row.
            Change::Receive { id } => self.batch.received.push(*id),
            Change::Claim { facts, plan } => {
                self.touch(0, [Row::Settlement(facts.id)]);
                let carried = carried.contains(&facts.id);
                self.batch.claims.push(Claim { facts, plan: plan.as_ref(), carried });
            }
            Change::Carry(transaction) => {
                let first = transaction.items.first().map(|(id, _)| *id);
                if let Some(network) = first.and_then(|id| self.networks.get(&id)) {
                    self.carry(Carry { transaction, network, at });
                }
            }
            Change::UseNonce { network, transaction } => self.carry(Carry { transaction, network, at }),
            Change::Include { transaction, inclusion } => {
                self.touch(2, [Row::Transaction(*transaction)]);
                self.batch.inclusions.push((*transaction, inclusion));
            }
            Change::Settle { id, settled, delivered } => {
                self.end(End { id: *id, ending: Ending::Settled { settled, delivered: *delivered }, at, call });
            }
            Change::Fail { id, failed } => self.end(End { id: *id, ending: Ending::Failed(failed), at, call }),
            Change::Finalize { id, transfer } => {
                self.touch(4, [Row::Settlement(*id)]);
                self.batch.finalities.push(Finality { id: *id, transfer: transfer.as_ref(), at });
            }
            Change::AddAttempt { .. }
            | Change::Reopen { .. }
            | Change::Kill { .. }
            | Change::NextStep { .. }
            | Change::Unresolve { .. }
            | Change::TakeBack { .. }
            | Change::ExecutedElsewhere { .. } => {
                self.close();
                self.done.push(Segment::One(change, at));
            }
        }
    }

    fn carry(&mut self, carry: Carry<'a>) {
        let items = carry.transaction.items.iter().map(|(id, _)| Row::Settlement(*id));
        self.touch(1, items.chain([Row::Transaction(carry.transaction.id)]));
        self.batch.carries.push(carry);
    }

    fn end(&mut self, end: End<'a>) {
        self.touch(3, [Row::Settlement(end.id)]);
        self.batch.ends.push(end);
    }

    /// Notes the rows of a change, and begins a new batch first when a kind
    /// that is not written before this one has touched one of them.
    fn touch(&mut self, kind: u8, rows: impl IntoIterator<Item = Row>) {
        let rows: Vec<_> = rows.into_iter().collect();
        if rows.iter().any(|row| self.touched.get(row).is_some_and(|before| *before >= kind)) {
            self.close();
        }
        self.touched.extend(rows.into_iter().map(|row| (row, kind)));
    }

    fn close(&mut self) {
        if !self.touched.is_empty() {
            self.touched.clear();
            self.done.push(Segment::Batch(std::mem::take(&mut self.batch)));
        }
    }
}
