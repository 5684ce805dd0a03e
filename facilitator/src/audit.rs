//! Compares the store with the chain, row by row. The judge of the crash tests,
//! and an operator's answer to "is every payment accounted for?".
//!
//! It asks of each settlement: does the chain show what the store says? And of
//! each gas wallet: is every sequence that the chain has used one of ours, and
//! is there no gap? As each sequence is used once, that covers every
//! transaction that our keys ever sent since the store's first.

use std::{collections::BTreeMap, fmt, sync::Arc};

use chains_core::{
    chain::{Chain, ChainUnavailable, Effect, Landed, Observation, Watched},
    clock::Millis,
};

use crate::{
    settlement::{
        SettlementId,
        record::{Outcome, Record, Timeline},
    },
    store::{Query, Store, StoreError},
};

/// Settlements that are compared at a time: one request to the chain.
const PAGE: u32 = 64;

/// What the audit found.
#[derive(Debug, Default)]
pub struct Audit {
    /// Settlements compared.
    pub settlements: u64,
    /// Settlements that are not final, in the store and on chain alike.
    pub under_way: u64,
    /// Settlements of a time that the nodes have forgotten, and how far their
    /// history reaches: nothing can be said of them.
    pub forgotten: Vec<Forgotten>,
    /// What does not agree.
    pub differences: Vec<Difference>,
}

/// A settlement of which the chain's nodes know nothing any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forgotten {
    /// Which.
    pub id: SettlementId,
    /// How far the nodes' history reaches.
    pub why: String,
}

/// Store and chain do not agree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The settlement, or the gas wallet.
    pub subject: String,
    /// What the store says.
    pub stored: String,
    /// What the chain shows.
    pub on_chain: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: the store says {}, the chain shows {}", self.subject, self.stored, self.on_chain)
    }
}

/// The audit could not be finished.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The chain cannot be asked.
    #[error(transparent)]
    Chain(#[from] ChainUnavailable),
}

/// Sequences of one gas wallet: which settlement holds each, and whether its transaction landed.
type Sequences = BTreeMap<u64, (SettlementId, bool)>;

/// Compares every settlement of a network that was claimed at or after `from`.
///
/// # Errors
/// The store or the chain cannot be asked; nothing can then be said.
pub async fn audit(store: &dyn Store, chain: &Arc<dyn Chain>, from: Option<Millis>) -> Result<Audit, AuditError> {
    let mut audit = Audit::default();
    let mut wallets: BTreeMap<String, Sequences> = BTreeMap::new();
    let mut query = Query { network: Some(chain.network().clone()), from, limit: PAGE, ..Query::default() };
    loop {
        let page = store.find(&query).await?;
        let Some(last) = page.last() else { break };
        query.before = Some(last.id);
        let timelines = timelines(store, &page).await?;
        let watched = timelines.iter().map(|(timeline, attempts)| Watched {
            attempts,
            plan: &timeline.record.plan,
            claimed_at: timeline.record.claimed_at,
        });
        let observations = chain.observe(&watched.collect::<Vec<_>>()).await?;
        for ((timeline, _), observation) in timelines.iter().zip(observations) {
            audit.settlements += 1;
            let landed = matches!(observation, Observation::Landed(_));
            for attempt in &timeline.attempts {
                if let Some(sequence) = attempt.signed.sequence {
                    let sequences = wallets.entry(attempt.signed.gas_wallet.clone()).or_default();
                    let landed = if attempt.live { landed } else { attempt.landed.is_some() };
                    sequences.insert(sequence, (timeline.record.id, landed));
                }
            }
            audit.compare(&timeline.record, observation);
        }
    }
    for (wallet, sequences) in &wallets {
        if let Some(sequence) = chain.sequence(wallet).await? {
            audit.differences.extend(compare_sequences(wallet, sequences, sequence.latest));
        }
    }
    Ok(audit)
}

type Attempts = Vec<chains_core::chain::SignedTransaction>;

async fn timelines(store: &dyn Store, page: &[Record]) -> Result<Vec<(Timeline, Attempts)>, StoreError> {
    let mut timelines = Vec::with_capacity(page.len());
    for record in page {
        if let Some(timeline) = store.timeline(record.id).await? {
            let live = timeline.attempts.iter().filter(|attempt| attempt.live);
            let attempts = live.map(|attempt| attempt.signed.clone()).collect();
            timelines.push((timeline, attempts));
        }
    }
    Ok(timelines)
}

impl Audit {
    fn compare(&mut self, record: &Record, observation: Observation) {
        let shown = match observation {
            Observation::Pending => Shown::Nothing,
            Observation::Expired(why) => Shown::Expired(why.message.into_owned()),
            Observation::Unknown(why) => return self.forgotten.push(Forgotten { id: record.id, why }),
            Observation::Landed(landed) => Shown::of(landed, record.claimed_at),
        };
        let agrees = match (&record.outcome, &shown) {
            (Some(Outcome::Settled { transaction, .. }), Shown::Paid(by)) => transaction == by,
            (Some(Outcome::Failed { .. }), Shown::NotPaid(_) | Shown::Expired(_) | Shown::Step(_))
            | (Some(Outcome::NothingToSend), Shown::Nothing) => true,
            (None, Shown::Nothing | Shown::Step(_)) => {
                self.under_way += 1;
                true
            }
            (Some(_) | None, _) => false,
        };
        if !agrees {
            let stored = match &record.outcome {
                Some(Outcome::Settled { transaction, .. }) => format!("settled by {transaction}"),
                Some(Outcome::NothingToSend) => "settled, with nothing to send".to_owned(),
                Some(Outcome::Failed { reason, .. }) => format!("failed ({reason})"),
                None => format!("{}, not final", record.state.as_str()),
            };
            let subject = format!("settlement {}", record.id);
            self.differences.push(Difference { subject, stored, on_chain: shown.to_string() });
        }
    }
}

/// What the chain shows of a settlement.
enum Shown {
    Nothing,
    Paid(String),
    NotPaid(String),
    Expired(String),
    Step(String),
    Unclear(String),
}

impl Shown {
    fn of(landed: Landed, claimed_at: u64) -> Self {
        match landed.effect {
            Effect::Done => Self::Paid(landed.transaction),
            Effect::DoneElsewhere { transaction, block } if block.number > claimed_at => Self::Paid(transaction),
            Effect::DoneElsewhere { transaction, .. } => Self::NotPaid(transaction),
            Effect::Missing(_) => Self::NotPaid(landed.transaction),
            Effect::Continues(_) => Self::Step(landed.transaction),
            Effect::Unclear(why) => Self::Unclear(why),
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
            Self::Step(transaction) => write!(f, "a first step in {transaction}"),
            Self::Unclear(why) => write!(f, "nothing certain ({why})"),
        }
    }
}

/// Gaps, foreign transactions, and sequences whose transaction is not ours.
fn compare_sequences(wallet: &str, sequences: &Sequences, latest: u64) -> Vec<Difference> {
    let mut differences = Vec::new();
    let mut differ = |stored: String, on_chain: String| {
        differences.push(Difference { subject: format!("gas wallet {wallet}"), stored, on_chain });
    };
    let Some((&first, _)) = sequences.first_key_value() else { return differences };
    let end = sequences.last_key_value().map_or(latest, |(last, _)| latest.max(last + 1));
    for sequence in first..end {
        match sequences.get(&sequence) {
            None if sequence < latest => {
                differ(format!("nothing of sequence {sequence}"), "that it is used: a foreign transaction".into());
            }
            None => differ(format!("nothing of sequence {sequence}"), "that it is free: a gap".into()),
            Some((id, false)) if sequence < latest => {
                differ(format!("sequence {sequence} is settlement {id}'s"), "another transaction in its place".into());
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
    fn gaps_and_foreign_transactions_are_found() {
        let id = SettlementId(Uuid::nil());
        let check = |rows: &[(u64, bool)], latest, expected: usize| {
            let sequences = rows.iter().map(|(sequence, landed)| (*sequence, (id, *landed))).collect();
            assert_eq!(compare_sequences("w", &sequences, latest).len(), expected, "{rows:?} at {latest}");
        };
        check(&[], 5, 0);
        check(&[(3, true), (4, true)], 5, 0);
        check(&[(3, true), (4, false)], 4, 0);
        check(&[(3, true), (5, false)], 4, 1);
        check(&[(3, true), (5, true)], 6, 1);
        check(&[(3, false)], 4, 1);
        check(&[(3, true)], 6, 2);
    }
}
