//! One settlement, as the store and as the chain have it. Pure.

use std::fmt;

use chains_core::observation::Observation;

use super::Difference;
use crate::{
    settlement::{Record, State, Timeline},
    submitter::decide::{self, ItemVerdict, Verdict},
};

/// The result of a comparison.
pub(super) enum Comparison {
    /// Store and chain agree about its end.
    Agrees,
    /// It is not decided, in the store and on chain alike.
    UnderWay,
    /// A reorg moved its transfer into another of its transactions.
    Moved,
    /// Its proof is withheld, as the store says.
    Unresolved,
    /// The nodes' history does not reach back to it.
    Forgotten(String),
    /// They do not agree.
    Differs(Difference),
}

/// Compares a settlement with what was observed of it. `paid`: the transaction of somebody else that made the payment.
pub(super) fn compare(timeline: &Timeline, observation: Option<Observation>, paid: Option<String>) -> Comparison {
    let record = &timeline.record;
    let shown = match observation.map(|seen| decide::after_observation(seen, &[record.facts.claimed_block])) {
        Some(Verdict::Unknown { why, .. }) if !matches!(record.state, State::Unresolved { .. }) => {
            return Comparison::Forgotten(why);
        }
        shown => paid.map_or_else(|| Shown::of(shown), Shown::Paid),
    };
    match (&record.state, &shown) {
        (State::Unresolved { .. }, _) => Comparison::Unresolved,
        (State::Open, Shown::Nothing | Shown::Step(_) | Shown::Replaced) => Comparison::UnderWay,
        (State::Settled(settled), Shown::Paid(by)) if settled.hash() == by => Comparison::Agrees,
        (State::Settled(_), Shown::Paid(by)) if may_have_moved_to(timeline, by) => Comparison::Moved,
        (State::Settled(settled), Shown::Nothing) if settled.proof.is_none() => Comparison::Agrees,
        // Failed before it was carried again, or by the operator's word.
        (State::Failed(failed), Shown::Nothing) if failed.transaction.is_none() => Comparison::Agrees,
        (State::Failed(_), Shown::NotPaid(_) | Shown::Expired(_) | Shown::Step(_) | Shown::Replaced) => {
            Comparison::Agrees
        }
        (State::Settled(_) | State::Failed(_) | State::Open, _) => Comparison::Differs(Difference {
            subject: format!("settlement {}", record.id()),
            stored: stored(record),
            on_chain: shown.to_string(),
        }),
    }
}

/// Returns true for another attempt of the same settlement, as long as the chain may take its end back.
fn may_have_moved_to(timeline: &Timeline, hash: &str) -> bool {
    let mut attempts = timeline.transactions.iter().flat_map(|(transaction, _)| &transaction.attempts);
    timeline.record.finalized_at.is_none() && attempts.any(|attempt| attempt.signed.hash == hash)
}

fn stored(record: &Record) -> String {
    match &record.state {
        State::Settled(settled) if settled.proof.is_none() => "settled, with nothing to send".to_owned(),
        State::Settled(settled) => format!("settled by {}", settled.hash()),
        State::Failed(failed) => format!("failed ({})", failed.reason),
        State::Open | State::Unresolved { .. } => format!("{}, not final", record.status.as_str()),
    }
}

/// The chain's account of a settlement.
enum Shown {
    Nothing,
    Paid(String),
    NotPaid(String),
    Expired(String),
    Replaced,
    Step(String),
    Unclear(String),
}

impl Shown {
    fn of(verdict: Option<Verdict>) -> Self {
        match verdict {
            None | Some(Verdict::Pending | Verdict::Confirming(_)) => Self::Nothing,
            Some(Verdict::Replaced) => Self::Replaced,
            Some(Verdict::Expired(why)) => Self::Expired(why.message.into_owned()),
            Some(Verdict::Unknown { why, .. }) => Self::Unclear(why),
            Some(Verdict::Included(inclusion, mut items)) => match items.pop() {
                Some(ItemVerdict::Settled(settled)) => Self::Paid(settled.hash().to_owned()),
                Some(ItemVerdict::Failed(failed)) => Self::NotPaid(failed.transaction.unwrap_or(inclusion.hash)),
                Some(ItemVerdict::Next(_)) => Self::Step(inclusion.hash),
                Some(ItemVerdict::Unclear(why)) => Self::Unclear(why),
                None => Self::Unclear("nothing was observed".into()),
            },
        }
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("no transaction"),
            Self::Paid(transaction) => write!(f, "the payment in {transaction}"),
            Self::NotPaid(transaction) => write!(f, "no payment, but {transaction}"),
            Self::Expired(why) => write!(f, "that it never can ({why})"),
            Self::Replaced => f.write_str("another transaction in its place"),
            Self::Step(transaction) => write!(f, "a first step in {transaction}"),
            Self::Unclear(why) => write!(f, "nothing certain ({why})"),
        }
    }
}
