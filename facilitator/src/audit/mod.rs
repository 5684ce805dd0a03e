//! Compares the store with the chain, row by row. The judge of the crash tests,
//! and an operator's answer to "is every payment accounted for?".
//!
//! It asks of each settlement: does the chain show what the store says? And of
//! each gas wallet: is every nonce that the chain has used one of the store's,
//! and is there no gap? As each nonce is used once, that covers every
//! transaction that the keys ever sent since the store's first.
//!
//! | module | what it holds |
//! |---|---|
//! | `compare` | one settlement, as the store and as the chain have it |
//! | `nonces` | the places that the transactions of gas wallets took |

mod compare;
mod nonces;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    ops::{Range, RangeInclusive},
    sync::Arc,
    time::Duration,
};

use chains_core::{
    chain::{Chain, ChainUnavailable},
    clock::Millis,
    observation::{Depth, Item, Observation},
};
use futures::{StreamExt as _, TryStreamExt as _, stream};

use self::{
    compare::{Comparison, compare},
    nonces::{Nonces, Place, compare_nonces, note_places, starts},
};
use crate::{
    settlement::{Record, SettlementId, State, Timeline, Transaction, TransactionState, record::Followed},
    store::{
        Query, Store, StoreError,
        archive::{ArchivedName, ArchivedNonces},
    },
    submitter::{
        decide::{self, AfterDeath, ItemVerdict},
        view::{self, View},
    },
};

/// Authorizations that are traced at a time.
const TRACES_MAX: usize = 8;

/// Settlements that are compared at a time: one request to the chain.
const PAGE: u32 = 64;

/// Further looks at what differs, beside a service that is at work.
const LOOKS_MAX: u32 = 3;

/// The time between two looks: a block or two, and a commit.
const PAUSE: Duration = Duration::from_secs(2);

/// The result of an audit.
#[derive(Debug, Default)]
pub struct Audit {
    /// Settlements compared.
    pub settlements: u64,
    /// Settlements that are not decided, in the store and on chain alike.
    pub under_way: u64,
    /// Settled transfers that a reorg took out of the transaction that the store names, and that stand in another one
    /// of the same settlement, such as its bump: the service stores its name once its block is final.
    pub moved: u64,
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
    /// Settlements were moved into an archive while they were compared.
    #[error(
        "settlements were archived while they were compared: run the audit again once `facilitator archive` has ended"
    )]
    ArchivedMeanwhile,
}

/// The comparison of one network, page by page. The service may be at work meanwhile: what differs is looked at again,
/// and nonces are compared as far as they were used before the store was read.
pub struct Auditor {
    chain: Arc<dyn Chain>,
    from: Option<Millis>,
    audit: Audit,
    wallets: BTreeMap<String, Nonces>,
    /// The number of nonces that each gas wallet had used before the store was read.
    used: BTreeMap<String, u64>,
    /// Settlements to look at again, and what differed.
    doubtful: BTreeMap<SettlementId, Option<Difference>>,
}

impl Auditor {
    /// Nothing compared yet. Settlements claimed before `from` are left out.
    pub fn new(chain: Arc<dyn Chain>, from: Option<Millis>) -> Self {
        let (audit, wallets) = (Audit::default(), BTreeMap::new());
        Self { chain, from, audit, wallets, used: BTreeMap::new(), doubtful: BTreeMap::new() }
    }

    /// Compares every settlement that is in the store.
    ///
    /// # Errors
    /// The store or the chain cannot be asked; nothing can then be said.
    pub async fn compare_store(&mut self, store: &dyn Store) -> Result<(), AuditError> {
        for wallet in self.chain.gas_wallets() {
            let used = self.chain.nonce(wallet, Depth::Latest).await?;
            self.used.extend(used.map(|used| (wallet.clone(), used)));
        }
        let network = Some(self.chain.network().clone());
        let mut query = Query { network, from: self.from, limit: PAGE, ..Query::default() };
        loop {
            let page = store.find(&query).await?;
            let Some(last) = page.last() else { return self.is_complete(store, query.before).await };
            query.before = Some(last.id());
            let ids: Vec<_> = page.iter().map(Record::id).collect();
            self.compare_page(&timelines(store, &ids).await?).await?;
        }
    }

    /// A page begins where the one before ended: with a settlement that has left the store there is no such place.
    async fn is_complete(&self, store: &dyn Store, last: Option<SettlementId>) -> Result<(), AuditError> {
        match last {
            Some(id) if store.record(id).await?.is_none() => Err(AuditError::ArchivedMeanwhile),
            Some(_) | None => Ok(()),
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
        for page in asked.chunks(usize::try_from(PAGE).unwrap_or(1)) {
            self.compare_page(page).await?;
        }
        Ok(())
    }

    async fn compare_page(&mut self, timelines: &[Timeline]) -> Result<(), AuditError> {
        for (timeline, comparison) in timelines.iter().zip(self.look(timelines).await?) {
            self.audit.settlements += 1;
            match comparison {
                Comparison::Differs(difference) if timeline.record.finalized_at.is_none() => {
                    self.doubtful.insert(timeline.record.id(), Some(difference));
                }
                comparison => self.audit.note(timeline.record.id(), comparison),
            }
        }
        Ok(())
    }

    /// Observes settlements, notes what became of their nonces, and compares.
    async fn look(&mut self, timelines: &[Timeline]) -> Result<Vec<Comparison>, AuditError> {
        let observations = observe(&*self.chain, timelines).await?;
        let questions = timelines.iter().zip(&observations).map(|(timeline, observation)| {
            let included = matches!(observation, Some(Observation::Included(..)));
            let failed = matches!(timeline.record.state, State::Failed(_));
            let chain = &self.chain;
            async move { if failed && !included { paid_elsewhere(&**chain, timeline).await } else { Ok(None) } }
        });
        let traced: Vec<Option<String>> = stream::iter(questions).buffered(TRACES_MAX).try_collect().await?;
        let seen = timelines.iter().zip(observations).zip(traced);
        Ok(seen
            .map(|((timeline, observation), paid)| {
                note_places(&mut self.wallets, timeline, observation.as_ref());
                compare(timeline, observation, paid)
            })
            .collect())
    }

    /// The settlements whose transactions are open at nonces that are used.
    fn overtaken(&self) -> Vec<SettlementId> {
        let used = |wallet: &String, nonce: &u64| self.used.get(wallet).is_some_and(|used| nonce < used);
        let open = self.wallets.iter().flat_map(|(wallet, nonces)| {
            nonces.iter().filter(move |(nonce, (_, place))| *place == Place::Open && used(wallet, nonce))
        });
        open.map(|(_, (id, _))| *id).collect()
    }

    /// Looks again at what differs as long as that may be because it changes just now.
    async fn look_again(&mut self, store: &dyn Store) -> Result<(), AuditError> {
        for _ in 0..LOOKS_MAX {
            for id in self.overtaken() {
                self.doubtful.entry(id).or_insert(None);
            }
            if self.doubtful.is_empty() {
                break;
            }
            tokio::time::sleep(PAUSE).await;
            let ids: Vec<_> = self.doubtful.keys().copied().collect();
            for ids in ids.chunks(usize::try_from(PAGE).unwrap_or(1)) {
                let timelines = timelines(store, ids).await?;
                for (timeline, comparison) in timelines.iter().zip(self.look(&timelines).await?) {
                    self.heed_again(timeline.record.id(), comparison);
                }
            }
        }
        let differences = std::mem::take(&mut self.doubtful).into_values().flatten();
        self.audit.differences.extend(differences);
        Ok(())
    }

    fn heed_again(&mut self, id: SettlementId, comparison: Comparison) {
        match (comparison, self.doubtful.remove(&id).flatten()) {
            (Comparison::Differs(difference), _) => {
                self.doubtful.insert(id, Some(difference));
            }
            (comparison, Some(_)) => self.audit.note(id, comparison),
            // It was counted when it agreed before; only its nonce was looked at.
            (_, None) => {}
        }
    }

    /// Looks again at what differed, and compares the nonces of the gas wallets; those of archived transactions
    /// are known whether their archive was compared or not.
    ///
    /// # Errors
    /// As [`compare_store`](Self::compare_store).
    pub async fn finish(mut self, store: &dyn Store) -> Result<Audit, AuditError> {
        self.look_again(store).await?;
        let mut archived: BTreeMap<String, Vec<RangeInclusive<u64>>> = BTreeMap::new();
        for ArchivedNonces { gas_wallet, nonces } in store.archived_nonces(self.chain.network()).await? {
            if self.from.is_none() {
                self.wallets.entry(gas_wallet.clone()).or_default();
            }
            archived.entry(gas_wallet).or_default().push(nonces);
        }
        for (wallet, nonces) in &self.wallets {
            let used = match self.used.get(wallet) {
                Some(used) => Some(*used),
                None => self.chain.nonce(wallet, Depth::Latest).await?,
            };
            if let Some(used) = used {
                let archived = archived.get(wallet).map_or(&[][..], Vec::as_slice);
                let first = nonces.keys().next().copied();
                // With a time, the places before the first that was compared are others' affair.
                let first = if self.from.is_some() { first } else { first.into_iter().chain(starts(archived)).min() };
                let range = first.unwrap_or(used)..used;
                let unarchived = range.start.max(archived.iter().map(|range| range.end() + 1).max().unwrap_or(0));
                let others = self.of_others(store, wallet, nonces, unarchived..range.end).await?;
                self.audit.differences.extend(compare_nonces(wallet, nonces, archived, &others, range));
            }
        }
        Ok(self.audit)
    }
}

impl Auditor {
    /// The nonces of a range, and of those that are known beyond it, that belong to no settlement that was compared, and
    /// that the store has all the same: used up to close a gap, of a settlement that began meanwhile, or of one that was
    /// left out.
    async fn of_others(
        &self,
        store: &dyn Store,
        wallet: &str,
        nonces: &Nonces,
        range: Range<u64>,
    ) -> Result<BTreeSet<u64>, StoreError> {
        let end = nonces.last_key_value().map_or(range.end, |(last, _)| range.end.max(last + 1));
        let mut others = BTreeSet::new();
        for nonce in (range.start..end).filter(|nonce| !nonces.contains_key(nonce)) {
            let found = store.transactions_at(self.chain.network(), wallet, nonce..nonce + 1).await?;
            let may_be_unseen = nonce >= range.end || self.from.is_some();
            let is_one = |transaction: &Transaction| {
                !matches!(transaction.state, TransactionState::Dead { .. })
                    && (transaction.items.is_empty() || may_be_unseen)
            };
            if found.iter().any(is_one) {
                others.insert(nonce);
            }
        }
        Ok(others)
    }
}

impl Audit {
    fn note(&mut self, id: SettlementId, comparison: Comparison) {
        match comparison {
            Comparison::Agrees => {}
            Comparison::UnderWay => self.under_way += 1,
            Comparison::Moved => self.moved += 1,
            Comparison::Unresolved => self.unresolved.push(id),
            Comparison::Forgotten(why) => self.forgotten.push(Forgotten { id, why }),
            Comparison::Differs(difference) => self.differences.push(difference),
        }
    }
}

async fn timelines(store: &dyn Store, ids: &[SettlementId]) -> Result<Vec<Timeline>, StoreError> {
    let mut timelines = Vec::with_capacity(ids.len());
    for id in ids {
        timelines.extend(store.timeline(*id).await?);
    }
    Ok(timelines)
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
