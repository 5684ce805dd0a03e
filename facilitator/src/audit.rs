//! Compares the store with the chain, row by row. The judge of the crash tests,
//! and an operator's answer to "is every payment accounted for?".
//!
//! It asks of each settlement: does the chain show what the store says? And of
//! each gas wallet: is every nonce that the chain has used one of the store's,
//! and is there no gap? As each nonce is used once, that covers every
//! transaction that the keys ever sent since the store's first.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    ops::{Range, RangeInclusive},
    sync::Arc,
};

use chains_core::{
    Network,
    chain::{Chain, ChainUnavailable},
    clock::Millis,
    observation::{Depth, Item, Observation},
};
use futures::{StreamExt as _, TryStreamExt as _, stream};

use crate::{
    settlement::{Record, SettlementId, State, StepState, Timeline, TransactionState, record::Followed},
    store::{
        Query, Store, StoreError,
        archive::{ArchivedName, ArchivedNonces},
    },
    submitter::{
        decide::{self, AfterDeath, ItemVerdict, Verdict},
        view::{self, View},
    },
};

/// Authorizations that are traced at a time.
const TRACES_MAX: usize = 8;

/// Settlements that are compared at a time: one request to the chain.
const PAGE: u32 = 64;

/// The result of an audit.
#[derive(Debug, Default)]
pub struct Audit {
    /// Settlements compared.
    pub settlements: u64,
    /// Settlements that are not decided, in the store and on chain alike.
    pub under_way: u64,
    /// Settlements whose proof the endpoints withhold, as the store says.
    pub unresolved: Vec<SettlementId>,
    /// Settlements of a time that the nodes have forgotten, and how far their
    /// history reaches: nothing can be said of them.
    pub forgotten: Vec<Forgotten>,
    /// The differences between store and chain.
    pub differences: Vec<Difference>,
}

/// A settlement of which the chain's nodes know nothing any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forgotten {
    /// The settlement.
    pub id: SettlementId,
    /// The reach of the nodes' history.
    pub why: String,
}

/// Store and chain do not agree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The settlement, or the gas wallet.
    pub subject: String,
    /// The store's account.
    pub stored: String,
    /// The chain's account.
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

/// Nonces of one gas wallet: the settlement that holds each, and what became
/// of its transaction.
type Nonces = BTreeMap<u64, (SettlementId, Place)>;

/// The fate of a place in a gas wallet's nonce sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// A block has the store's transaction.
    Included,
    /// No block has it yet.
    Open,
    /// The store knows that another transaction took it.
    Dead,
    /// The nodes cannot say what became of it; that is told of its settlement.
    Unknown,
}

/// The comparison of one network, page by page.
pub struct Auditor {
    chain: Arc<dyn Chain>,
    from: Option<Millis>,
    audit: Audit,
    wallets: BTreeMap<String, Nonces>,
}

impl Auditor {
    /// Nothing compared yet. Settlements claimed before `from` are left out.
    pub fn new(chain: Arc<dyn Chain>, from: Option<Millis>) -> Self {
        Self { chain, from, audit: Audit::default(), wallets: BTreeMap::new() }
    }

    /// Compares every settlement that is in the store.
    ///
    /// # Errors
    /// The store or the chain cannot be asked; nothing can then be said.
    pub async fn compare_store(&mut self, store: &dyn Store) -> Result<(), AuditError> {
        let network = Some(self.chain.network().clone());
        let mut query = Query { network, from: self.from, limit: PAGE, ..Query::default() };
        loop {
            let page = store.find(&query).await?;
            let Some(last) = page.last() else { return Ok(()) };
            query.before = Some(last.id());
            let mut timelines = Vec::with_capacity(page.len());
            for record in &page {
                timelines.extend(store.timeline(record.id()).await?);
            }
            self.compare_page(&timelines).await?;
        }
    }

    /// Compares archived settlements, and the rest of each in the store with
    /// its line. Those of other networks, and those that were claimed before
    /// `from`, are left out.
    ///
    /// # Errors
    /// As [`compare_store`](Self::compare_store).
    pub async fn compare_archived(&mut self, store: &dyn Store, page: Vec<Timeline>) -> Result<(), AuditError> {
        let is_asked = |timeline: &Timeline| {
            let facts = &timeline.record.facts;
            facts.network == *self.chain.network() && self.from.is_none_or(|from| facts.created_at >= from)
        };
        let asked: Vec<_> = page.into_iter().filter(is_asked).collect();
        for timeline in &asked {
            let (id, state) = (timeline.record.id(), &timeline.record.state);
            let rest = store.archived(ArchivedName::Identity(&timeline.record.facts.identity)).await?;
            if !rest.is_some_and(|rest| rest.id == id && rest.end.is_of(state)) {
                self.audit.differences.push(Difference {
                    subject: format!("settlement {id}"),
                    stored: "nothing of it, or another end".to_owned(),
                    on_chain: "that its line was changed, while the archive has it".to_owned(),
                });
            }
        }
        self.compare_page(&asked).await
    }

    async fn compare_page(&mut self, timelines: &[Timeline]) -> Result<(), AuditError> {
        for timelines in timelines.chunks(usize::try_from(PAGE).unwrap_or(1)) {
            let observations = observe(&*self.chain, timelines).await?;
            let questions = timelines.iter().zip(&observations).map(|(timeline, observation)| {
                let included = matches!(observation, Some(Observation::Included(..)));
                let failed = matches!(timeline.record.state, State::Failed(_));
                let chain = &self.chain;
                async move { if failed && !included { paid_elsewhere(&**chain, timeline).await } else { Ok(None) } }
            });
            let traced: Vec<Option<String>> = stream::iter(questions).buffered(TRACES_MAX).try_collect().await?;
            for ((timeline, observation), paid) in timelines.iter().zip(observations).zip(traced) {
                self.audit.settlements += 1;
                note_places(&mut self.wallets, timeline, observation.as_ref());
                self.audit.compare(&timeline.record, observation, paid);
            }
        }
        Ok(())
    }

    /// Compares the nonces of the gas wallets; those of archived transactions
    /// are known whether their archive was compared or not.
    ///
    /// # Errors
    /// As [`compare_store`](Self::compare_store).
    pub async fn finish(mut self, store: &dyn Store) -> Result<Audit, AuditError> {
        let mut archived: BTreeMap<String, Vec<RangeInclusive<u64>>> = BTreeMap::new();
        for ArchivedNonces { gas_wallet, nonces } in store.archived_nonces(self.chain.network()).await? {
            if self.from.is_none() {
                self.wallets.entry(gas_wallet.clone()).or_default();
            }
            archived.entry(gas_wallet).or_default().push(nonces);
        }
        for (wallet, nonces) in &self.wallets {
            if let Some(latest) = self.chain.nonce(wallet, Depth::Latest).await? {
                let archived = archived.get(wallet).map_or(&[][..], Vec::as_slice);
                let first = nonces.keys().next().copied();
                // With a time, the places before the first that was compared are others' affair.
                let first = if self.from.is_some() { first } else { first.into_iter().chain(starts(archived)).min() };
                let range = first.unwrap_or(latest)..latest;
                let unarchived = range.start.max(archived.iter().map(|range| range.end() + 1).max().unwrap_or(0));
                let used_up = used_up(store, self.chain.network(), wallet, nonces, unarchived..range.end).await?;
                self.audit.differences.extend(compare_nonces(wallet, nonces, archived, &used_up, range));
            }
        }
        Ok(self.audit)
    }
}

fn starts(ranges: &[RangeInclusive<u64>]) -> impl Iterator<Item = u64> {
    ranges.iter().map(|range| *range.start())
}

/// The nonces of a range that belong to no settlement, and that the store used
/// up to close a gap.
async fn used_up(
    store: &dyn Store,
    network: &Network,
    wallet: &str,
    nonces: &Nonces,
    range: Range<u64>,
) -> Result<BTreeSet<u64>, StoreError> {
    let end = nonces.last_key_value().map_or(range.end, |(last, _)| range.end.max(last + 1));
    let mut used_up = BTreeSet::new();
    for nonce in (range.start..end).filter(|nonce| !nonces.contains_key(nonce)) {
        let found = store.transactions_at(network, wallet, nonce..nonce + 1).await?;
        used_up.extend(found.iter().filter(|transaction| transaction.items.is_empty()).map(|_| nonce));
    }
    Ok(used_up)
}

/// Observes each settlement on chain; `None` where nothing was to be sent.
async fn observe(chain: &dyn Chain, timelines: &[Timeline]) -> Result<Vec<Option<Observation>>, ChainUnavailable> {
    let views: Vec<_> = timelines.iter().map(|timeline| view(timeline).map(Arc::new)).collect();
    let asked: Vec<_> = views.iter().flatten().map(Arc::clone).collect();
    let mut answers = view::observe(chain, &asked).await?.into_iter();
    let mut observations = Vec::with_capacity(views.len());
    for view in views {
        observations.push(match view {
            None => None,
            Some(view) => match answers.next() {
                Some(answer) if is_clear(&answer) => Some(answer),
                Some(_) | None => Some(view::investigate(chain, &view).await?),
            },
        });
    }
    Ok(observations)
}

/// The transaction that made the payment of a failed settlement since it was
/// claimed, without one of ours.
async fn paid_elsewhere(chain: &dyn Chain, timeline: &Timeline) -> Result<Option<String>, ChainUnavailable> {
    let Some(step) = timeline.steps.last() else { return Ok(None) };
    let claimed_block = timeline.record.facts.claimed_block;
    let effect = chain.trace_authorization(&Item { plan: &step.plan, claimed_block }).await?;
    Ok(match decide::after_death(effect, claimed_block) {
        AfterDeath::Ended(ItemVerdict::Settled(settled)) => Some(settled.hash().to_owned()),
        AfterDeath::Ended(_) | AfterDeath::CarryAnew => None,
    })
}

/// Returns true when receipts alone have said everything.
fn is_clear(observation: &Observation) -> bool {
    use chains_core::observation::Effect;
    match observation {
        Observation::Included(inclusion, effects) => {
            inclusion.confirmed && !effects.iter().any(|effect| matches!(effect, Effect::Unclear(_)))
        }
        Observation::Pending | Observation::Unknown { .. } => false,
        Observation::Replaced | Observation::Expired(_) => true,
    }
}

fn view(timeline: &Timeline) -> Option<View> {
    let transactions = timeline.transactions.iter().map(|(transaction, _)| transaction.clone()).collect();
    let (facts, state, steps) =
        (Arc::clone(&timeline.record.facts), timeline.record.state.clone(), timeline.steps.clone());
    View::of(&Followed { facts, state, steps, transactions })
}

/// Notes what became of the places that a settlement's transactions took.
fn note_places(wallets: &mut BTreeMap<String, Nonces>, timeline: &Timeline, newest: Option<&Observation>) {
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

impl Audit {
    /// `paid`: the transaction of somebody else that made the payment.
    fn compare(&mut self, record: &Record, observation: Option<Observation>, paid: Option<String>) {
        let shown = match observation.map(|seen| decide::after_observation(seen, &[record.facts.claimed_block])) {
            Some(Verdict::Unknown { why, .. }) if !matches!(record.state, State::Unresolved { .. }) => {
                return self.forgotten.push(Forgotten { id: record.id(), why });
            }
            shown => paid.map_or_else(|| Shown::of(shown), Shown::Paid),
        };
        let agrees = match (&record.state, &shown) {
            (State::Settled(settled), Shown::Paid(by)) => settled.hash() == by,
            (State::Settled(settled), Shown::Nothing) => settled.proof.is_none(),
            (State::Failed(_), Shown::NotPaid(_) | Shown::Expired(_) | Shown::Step(_) | Shown::Replaced) => true,
            // Failed before it was carried again, or by the operator's word.
            (State::Failed(failed), Shown::Nothing) => failed.transaction.is_none(),
            (State::Open, Shown::Nothing | Shown::Step(_) | Shown::Replaced) => {
                self.under_way += 1;
                true
            }
            (State::Unresolved { .. }, _) => {
                self.unresolved.push(record.id());
                true
            }
            (State::Settled(_) | State::Failed(_) | State::Open, _) => false,
        };
        if !agrees {
            let subject = format!("settlement {}", record.id());
            self.differences.push(Difference { subject, stored: stored(record), on_chain: shown.to_string() });
        }
    }
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

/// Gaps, foreign transactions, and nonces that another transaction took, from
/// the first nonce of a range up to those that the chain has used, its end.
/// `used_up`: those that the store used up itself, to close a gap.
fn compare_nonces(
    wallet: &str,
    nonces: &Nonces,
    archived: &[RangeInclusive<u64>],
    used_up: &BTreeSet<u64>,
    Range { start: first, end: latest }: Range<u64>,
) -> Vec<Difference> {
    let mut differences = Vec::new();
    let mut differ = |stored: String, on_chain: String| {
        differences.push(Difference { subject: format!("gas wallet {wallet}"), stored, on_chain });
    };
    let end = nonces.last_key_value().map_or(latest, |(last, _)| latest.max(last + 1));
    let end = archived.iter().map(|range| range.end() + 1).fold(end, u64::max);
    for nonce in (first..end).filter(|nonce| !used_up.contains(nonce)) {
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
