//! One settlement, as the store and as the chain have it. Pure.

use std::fmt;

use chains_core::observation::Observation;

use super::Difference;
use crate::{
    settlement::{Record, State, Timeline, Transaction},
    submitter::decide::{self, ItemVerdict, Verdict},
};

/// The result of a comparison.
pub(super) enum Comparison {
    /// Store and chain agree about its end.
    Agrees,
    /// It is not decided, in the store and on chain alike.
    UnderWay,
    /// A reorg moved its transfer into another attempt of the same transaction.
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
    let block = match &observation {
        Some(Observation::Included(inclusion, _)) => Some(inclusion.block.clone()),
        Some(_) | None => None,
    };
    let shown = match observation.map(|seen| decide::after_observation(seen, &[record.facts.claimed_block])) {
        Some(Verdict::Unknown { why, .. }) if !matches!(record.state, State::Unresolved { .. }) => {
            return Comparison::Forgotten(why);
        }
        shown => paid.map_or_else(|| Shown::of(shown), Shown::Paid),
    };
    let difference = || Difference {
        subject: format!("settlement {}", record.id()),
        stored: stored(record),
        on_chain: shown.to_string(),
    };
    match (&record.state, &shown) {
        (State::Unresolved { .. }, _) => Comparison::Unresolved,
        (State::Open, Shown::Nothing | Shown::Step(_) | Shown::Replaced) => Comparison::UnderWay,
        (State::Settled(settled), Shown::Paid(by)) if settled.hash() == by => Comparison::Agrees,
        // In the block that is stored no reorg can have put it.
        (State::Settled(settled), Shown::Paid(by))
            if settled.block() != block.as_ref() && may_have_moved(timeline, settled.hash(), by) =>
        {
            Comparison::Moved
        }
        (State::Settled(settled), Shown::Nothing) if settled.proof.is_none() => Comparison::Agrees,
        // Failed before it was carried again, or by the operator's word.
        (State::Failed(failed), Shown::Nothing) if failed.transaction.is_none() => Comparison::Agrees,
        (State::Failed(_), Shown::NotPaid(_) | Shown::Expired(_) | Shown::Step(_) | Shown::Replaced) => {
            Comparison::Agrees
        }
        (State::Settled(_) | State::Failed(_) | State::Open, _) => Comparison::Differs(difference()),
    }
}

/// Returns true for two attempts of one transaction, as long as the chain may take the settlement's end back.
fn may_have_moved(timeline: &Timeline, from: &str, to: &str) -> bool {
    let is_attempt =
        |transaction: &Transaction, hash: &str| transaction.attempts.iter().any(|attempt| attempt.signed.hash == hash);
    let mut transactions = timeline.transactions.iter().map(|(transaction, _)| transaction);
    timeline.record.finalized_at.is_none() && transactions.any(|one| is_attempt(one, from) && is_attempt(one, to))
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use chains_core::{
        clock::Millis,
        observation::{BlockRef, Effect, Inclusion},
    };

    use super::*;
    use crate::{
        settlement::{AttemptKind, Settled, Status},
        store::contract::build::{attempt, block, facts, inclusion, transaction},
    };

    /// Settled by this transaction: one with a bump, and another one, carried or carry it.
    fn settled_by(hash: &str, is_final: bool) -> Timeline {
        let facts = facts(1);
        let mut first = transaction("w", 1, &[(facts.id, 0)]);
        first.attempts.push(attempt("w", Some(1), "0xbump", AttemptKind::Bump));
        let second = transaction("w", 2, &[(facts.id, 0)]);
        let record = Record {
            facts: Arc::new(facts),
            state: State::Settled(Settled::by(hash.to_owned(), block(12))),
            status: Status::Settled,
            transaction: hash.to_owned(),
            accepted: true,
            delivered: None,
            finalized_at: is_final.then_some(Millis(1)),
            reorged_at: None,
            updated_at: Millis(1),
        };
        Timeline { record, steps: vec![], transactions: vec![(first, vec![]), (second, vec![])], events: vec![] }
    }

    #[test]
    fn a_settled_transfer_may_have_moved_within_its_transaction_alone_and_only_before_it_is_final() {
        let (there, later) = (block(12), block(14));
        let cases = [
            ("0xw1", false, "0xw1", "agrees"),
            ("0xw1", true, "0xw1", "agrees"),
            ("0xw1", false, "0xbump", "moved"),
            ("0xbump", false, "0xw1", "moved"),
            ("0xw1", true, "0xbump", "differs"),
            ("0xw1", false, "0xw2", "differs"),
            ("0xw2", false, "0xbump", "differs"),
            ("0xforeign", false, "0xbump", "differs"),
        ];
        for (stored, is_final, shown, expected) in cases {
            let seen = |block: &BlockRef| {
                Observation::Included(Inclusion { block: block.clone(), ..inclusion(shown) }, vec![Effect::Done])
            };
            let in_the_stored_block = compare(&settled_by(stored, is_final), Some(seen(&there)), None);
            assert!(!matches!(in_the_stored_block, Comparison::Moved), "{stored} and {shown} in one block");
            let found = match compare(&settled_by(stored, is_final), Some(seen(&later)), None) {
                Comparison::Agrees => "agrees",
                Comparison::Moved => "moved",
                Comparison::Differs(_) => "differs",
                Comparison::UnderWay | Comparison::Unresolved | Comparison::Forgotten(_) => "other",
            };
            assert_eq!(found, expected, "stored {stored}, final {is_final}, shown {shown}");
        }
    }
}
