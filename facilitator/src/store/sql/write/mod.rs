//! The statements of a commit. Each covers all rows of its kind at once: every
//! statement is a trip to the connection's thread.
//!
//! | module | the changes it writes |
//! |---|---|
//! | `begin` | payments and their transactions |
//! | `end` | inclusions, ends, finality, deliveries |
//! | `rare` | everything else, one change at a time |
//! | `notes` | the answers to sends |
//! | `owner` | the owners of gas wallets, the operator's word |
//! | `lease` | the leases of gas wallets |
//! | `hand_over` | payments that instances hand over to each other |
//! | `events` | the story of each settlement |

mod begin;
mod end;
mod events;
mod hand_over;
mod lease;
mod notes;
mod owner;
mod rare;

use std::collections::{HashSet, VecDeque};

use chains_core::clock::Millis;

use self::events::Events;
pub(super) use self::hand_over::OfferCall;
pub(super) use self::lease::LeaseCall;
pub(super) use self::owner::resolve_alone;
use super::{
    admit::{Known, Refusal},
    database::Session,
    group::{self, Call, Segment},
    writer::Request,
};
use crate::{
    settlement::SettlementId,
    store::{Change, HandedOver, Kept, SendNote, StoreError},
};

/// Rows of one statement: 22 columns each must stay below SQLite's 32,766 parameters.
pub(super) const ROWS_MAX: usize = 512;

/// Letters kept of a text that comes from outside.
const DETAIL_MAX: usize = 500;

/// The states from which a settlement can end.
const NOT_ENDED: &str = "('signed', 'broadcast', 'unresolved')";

/// The turn of a group at the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// The first in PostgreSQL: that nothing is in the way is expected, and part
    /// of the one statement that writes the group. It fails if something is.
    First,
    /// A further one, or one in SQLite: everything that may be in the way is
    /// looked up before.
    Next,
}

/// The decisions of a commit.
#[derive(Debug, Default)]
pub(super) struct Verdicts {
    /// For each call of `apply`, in order: the settlements that it ended, or
    /// why nothing of it is stored.
    pub calls: VecDeque<Result<Vec<SettlementId>, Refusal>>,
    /// Settlements whose success was given away now, to one of those who asked.
    pub delivered: HashSet<SettlementId>,
    /// Settlements that the operator's word ended now.
    pub resolved: HashSet<SettlementId>,
    /// The new epoch of each owner, in order.
    pub epochs: VecDeque<u64>,
    /// The new epoch of each wallet whose owner is still the same, in order.
    pub raised: VecDeque<Option<u64>>,
    /// The leases that each change of leases changed, in order.
    pub leases: VecDeque<Vec<Kept>>,
    /// True for each change of what is handed over that had an effect, in order.
    pub offers: VecDeque<bool>,
    /// The payments that each owner has taken, in order.
    pub taken: VecDeque<Vec<HandedOver>>,
    /// A payment was withdrawn.
    withdrawn: bool,
    /// There may be a payment to take.
    pub has_work: bool,
}

impl Verdicts {
    /// Returns true when settlements have ended, or became unresolved or open again for whoever waits.
    pub fn have_ended(&self) -> bool {
        self.withdrawn || self.calls.iter().flatten().any(|ended| !ended.is_empty()) || !self.resolved.is_empty()
    }

    /// Notes a change of what is handed over.
    fn note(&mut self, call: &OfferCall, had_effect: bool) {
        self.has_work |= had_effect && call.makes_work();
        self.withdrawn |= had_effect && !call.makes_work();
        self.offers.push_back(had_effect);
    }
}

/// Refuses numbers that their columns must hold exactly and cannot.
pub(super) fn check_ranges(changes: &[Change]) -> Result<(), StoreError> {
    for change in changes {
        let nonce = match change {
            Change::Carry(transaction) | Change::UseNonce { transaction, .. } => transaction.nonce,
            _ => None,
        };
        if let Some(value) = nonce.filter(|nonce| i64::try_from(*nonce).is_err()) {
            return Err(StoreError::TooLarge { column: "nonce", value });
        }
    }
    Ok(())
}

/// Writes a group, all or nothing.
pub(super) async fn transaction(
    session: &mut Session<'_>,
    group: &[Request],
    notes: &[SendNote],
    turn: Turn,
) -> Result<Verdicts, StoreError> {
    session.begin().await?;
    let mut verdicts = Verdicts::default();
    let mut events = Events::default();
    let (mut calls, mut delivers, mut words) = (Vec::new(), Vec::new(), Vec::new());
    for request in group {
        match request {
            Request::Apply { fence, changes, at, .. } => {
                calls.push(Call { fence: fence.as_ref(), changes, at: *at });
            }
            Request::Deliver { id, to, at, .. } => delivers.push((*id, *to, *at)),
            Request::Resolve { word, .. } => words.push(word),
            Request::Own { owner, .. } => verdicts.epochs.push_back(owner::own(session, owner).await?),
            Request::Raise { raise, .. } => verdicts.raised.push_back(owner::raise(session, raise).await?),
            Request::Lease { call, .. } => verdicts.leases.push_back(lease::change(session, call).await?),
            Request::Offer { call, .. } => verdicts.note(call, hand_over::change(session, call).await?),
            Request::TakeOffers { network, owner, limit, .. } => {
                verdicts.taken.push_back(hand_over::take(session, network, owner, *limit).await?);
            }
            Request::Ping { .. } => {}
        }
    }
    for rows in notes.chunks(ROWS_MAX) {
        notes::write(session, rows).await?;
    }
    verdicts.calls = apply(session, &calls, &mut events, turn).await?;
    verdicts.delivered = end::deliver(session, &delivers, &mut events).await?;
    for word in words {
        // The last of a group: a proof that arrives with the word comes first.
        if owner::resolve(session, word, &mut events).await? {
            verdicts.resolved.insert(word.id);
        }
    }
    events.write(session).await?;
    session.commit().await?;
    Ok(verdicts)
}

async fn apply(
    session: &mut Session<'_>,
    calls: &[Call<'_>],
    events: &mut Events,
    turn: Turn,
) -> Result<VecDeque<Result<Vec<SettlementId>, Refusal>>, StoreError> {
    let expected = if turn == Turn::First { Known::expect(session, calls).await? } else { None };
    let (mut known, turn) = match expected {
        Some(known) => (known, Turn::First),
        None => (Known::look_up(session, calls).await?, Turn::Next),
    };
    let refusals = known.admit(calls);
    let admitted = calls.iter().copied().enumerate().zip(&refusals).filter(|(_, refusal)| refusal.is_none());
    let segments = group::segments(admitted.map(|(call, _)| call), &known.networks);
    let mut ended = vec![Vec::new(); calls.len()];
    for segment in segments {
        match segment {
            Segment::Batch(mut batch) => {
                hand_over::received(session, &batch.received).await?;
                begin::claims(session, &mut batch, events).await?;
                begin::carries(session, &batch, events).await?;
                end::inclusions(session, &batch.inclusions).await?;
                end::ends(session, &batch.ends, &mut ended, events, turn).await?;
                end::finalities(session, &batch.finalities, events, turn).await?;
            }
            Segment::One(change, at) => rare::write(session, change, at, events).await?,
        }
    }
    let verdict = |(ended, refusal): (_, Option<Refusal>)| refusal.map_or(Ok(ended), Err);
    Ok(ended.into_iter().zip(refusals).map(verdict).collect())
}

/// The text, cut to what is kept.
fn cut(text: &str) -> String {
    text.chars().take(DETAIL_MAX).collect()
}

/// The time as a column holds it.
fn time(at: Millis) -> i64 {
    super::row::int(at.0)
}
