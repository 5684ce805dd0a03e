//! The nonces of gas wallets: each that the chain has used is one of the store's, and there is no gap.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::{Range, RangeInclusive},
};

use chains_core::observation::Observation;

use super::Difference;
use crate::settlement::{SettlementId, StepState, Timeline, TransactionState};

/// Nonces of one gas wallet: the settlement that holds each, and what became
/// of its transaction.
pub(super) type Nonces = BTreeMap<u64, (SettlementId, Place)>;

/// The fate of a place in a gas wallet's nonce sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A block has the store's transaction.
    Included,
    /// No block has it yet.
    Open,
    /// The store knows that another transaction took it.
    Dead,
    /// The nodes cannot say what became of it; that is told of its settlement.
    Unknown,
}

/// Notes what became of the places that a settlement's transactions took.
pub(super) fn note_places(wallets: &mut BTreeMap<String, Nonces>, timeline: &Timeline, newest: Option<&Observation>) {
    let carried = timeline.steps.iter().rev().find_map(|step| match step.state {
        StepState::Carried(id) => Some(id),
        StepState::Waiting | StepState::Done(_) => None,
    });
    for (transaction, _) in &timeline.transactions {
        let Some(nonce) = transaction.nonce else { continue };
        let place = match transaction.state {
            TransactionState::Dead { .. } => Place::Dead,
            _ if carried == Some(transaction.id) && matches!(newest, Some(Observation::Included(..))) => {
                Place::Included
            }
            _ if carried == Some(transaction.id) && matches!(newest, Some(Observation::Unknown { .. })) => {
                Place::Unknown
            }
            TransactionState::Included { .. } if carried != Some(transaction.id) => Place::Included,
            TransactionState::Included { .. } | TransactionState::Open => Place::Open,
        };
        wallets.entry(transaction.gas_wallet.clone()).or_default().insert(nonce, (timeline.record.id(), place));
    }
}

/// The first nonces of these ranges.
pub(super) fn starts(ranges: &[RangeInclusive<u64>]) -> impl Iterator<Item = u64> {
    ranges.iter().map(|range| *range.start())
}

/// Gaps, foreign transactions, and nonces that another transaction took, from
/// the first nonce of a range up to those that the chain has used, its end.
/// `others`: those of transactions in the store that no compared settlement has.
pub(super) fn compare_nonces(
    wallet: &str,
    nonces: &Nonces,
    archived: &[RangeInclusive<u64>],
    others: &BTreeSet<u64>,
    Range { start: first, end: latest }: Range<u64>,
) -> Vec<Difference> {
    let mut differences = Vec::new();
    let mut differ = |stored: String, on_chain: String| {
        differences.push(Difference { subject: format!("gas wallet {wallet}"), stored, on_chain });
    };
    let end = nonces.last_key_value().map_or(latest, |(last, _)| latest.max(last + 1));
    let end = archived.iter().map(|range| range.end() + 1).fold(end, u64::max);
    for nonce in (first..end).filter(|nonce| !others.contains(nonce)) {
        let is_archived = || archived.iter().any(|range| range.contains(&nonce));
        match nonces.get(&nonce) {
            None if is_archived() && nonce < latest => {}
            None if is_archived() => {
                differ(format!("nonce {nonce} is an archived settlement's"), "that it is free".into());
            }
            None if nonce < latest => {
                differ(format!("nothing of nonce {nonce}"), "that it is used: a foreign transaction".into());
            }
            None => differ(format!("nothing of nonce {nonce}"), "that it is free: a nonce gap".into()),
            Some((id, Place::Open)) if nonce < latest => {
                differ(format!("nonce {nonce} is settlement {id}'s"), "another transaction in its place".into());
            }
            Some((id, Place::Dead)) => {
                differ(format!("nonce {nonce} was settlement {id}'s"), "a foreign transaction in its place".into());
            }
            Some(_) => {}
        }
    }
    differences
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn nonce_gaps_and_foreign_transactions_are_found() {
        let id = SettlementId(Uuid::nil());
        let check_with = |archived: &[RangeInclusive<u64>], rows: &[(u64, Place)], latest, expected: usize| {
            let nonces: Nonces = rows.iter().map(|(nonce, place)| (*nonce, (id, *place))).collect();
            let first = nonces.keys().copied().chain(starts(archived)).min().unwrap_or(latest);
            let found = compare_nonces("w", &nonces, archived, &BTreeSet::new(), first..latest);
            assert_eq!(found.len(), expected, "{archived:?} and {rows:?} at {latest}: {found:?}");
        };
        let check = |rows: &[(u64, Place)], latest, expected| check_with(&[], rows, latest, expected);
        let (included, open, dead) = (Place::Included, Place::Open, Place::Dead);
        check(&[], 5, 0);
        check(&[(3, included), (4, included)], 5, 0);
        check(&[(3, included), (4, open)], 4, 0);
        check(&[(3, included), (5, open)], 4, 1);
        check(&[(3, included), (5, included)], 6, 1);
        check(&[(3, open)], 4, 1);
        check(&[(3, included)], 6, 2);
        check(&[(3, dead), (4, included)], 5, 1);
        check_with(&[0..=2], &[(3, included), (4, included)], 5, 0);
        check_with(&[0..=2, 4..=4], &[(3, included)], 5, 0);
        check_with(&[0..=1], &[(3, included)], 4, 1);
        check_with(&[0..=2], &[], 4, 1);
        check_with(&[0..=2], &[], 2, 1);
        let around = [(3, (id, included)), (5, (id, open))].into();
        assert_eq!(compare_nonces("w", &around, &[], &BTreeSet::from([4]), 3..5), [], "the store used it up itself");
    }
}
