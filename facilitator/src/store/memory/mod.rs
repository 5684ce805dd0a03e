//! A store in memory, for tests that make more steps a second than a disk takes.
//!
//! It passes the engine's part of the store's contract, so that a simulation
//! over it means something. Its [`Disk`] outlives it, as a file does.

mod hand_overs;
mod leases;
mod tables;

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use async_trait::async_trait;
use chains_core::{Identity, Network, clock::Millis, transaction::Plan};
use parking_lot::Mutex;

use self::tables::{Row, Tables};
use crate::{
    settlement::{
        AttemptKind, Caller, Facts, Failed, Recipient, Record, SettlementId, State, StepNumber, StepState, Timeline,
        Transaction, TransactionState,
        record::{Due, Event, Followed, Loss, Sends, UnderWay},
    },
    store::{
        ApplyError, Change, Fence, Notices, OperatorWord, Query, SendNote, Size, Store, StoreError,
        archive::{Archive, ArchiveCursor, Archived, ArchivedName, ArchivedNonces, Bounds, Departure},
    },
};

/// The fault of the next write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WriteFault {
    /// Nothing is stored, and the caller is told of a failure.
    Fails,
    /// Everything is stored, and the caller is told of a failure all the same.
    AnswerLost,
}

/// The state that a process leaves behind.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk(Arc<Mutex<Content>>);

#[derive(Debug, Default)]
struct Content {
    tables: Tables,
    fault: Option<WriteFault>,
}

impl Disk {
    /// Lets the next write fail.
    pub fn fail(&self, fault: WriteFault) {
        self.0.lock().fault = Some(fault);
    }

    /// Lets writes succeed again.
    pub fn heal(&self) {
        self.0.lock().fault = None;
    }

    /// Every settlement, oldest first.
    pub fn settlements(&self) -> Vec<Followed> {
        let content = self.0.lock();
        content.tables.settlements.values().map(|row| content.tables.followed(row)).collect()
    }

    /// The facts of what is settled, oldest first.
    pub fn settled(&self) -> Vec<Arc<Facts>> {
        let content = self.0.lock();
        let rows = content.tables.settlements.values().filter(|row| matches!(row.state, State::Settled(_)));
        rows.map(|row| Arc::clone(&row.facts)).collect()
    }

    /// The settlement of a payment.
    pub fn record(&self, identity: &Identity) -> Option<Record> {
        let content = self.0.lock();
        content.tables.by_identity(identity).map(|row| content.tables.record(row))
    }

    /// Returns whether a settlement's story has an event of this kind.
    pub fn tells(&self, id: SettlementId, kind: &str) -> bool {
        self.story(id).iter().any(|event| event.kind == kind)
    }

    /// The events of a settlement, oldest first.
    pub fn story(&self, id: SettlementId) -> Vec<Event> {
        self.0.lock().tables.settlements.get(&id).map(|row| row.events.clone()).unwrap_or_default()
    }

    /// The transactions that are dead, and those of settlements that a
    /// transfer of nothing is to take the place of: all whose newest attempt is
    /// not known yet.
    pub fn given_up(&self, is_known: impl Fn(&str) -> bool) -> Vec<Transaction> {
        let content = self.0.lock();
        let is_given_up = |transaction: &&Transaction| {
            let kind = transaction.attempts.last().map(|attempt| attempt.kind);
            let is_cancelled = kind == Some(AttemptKind::Cancel) && !transaction.items.is_empty();
            let is_dead = matches!(transaction.state, TransactionState::Dead { .. });
            (is_cancelled || is_dead) && !is_known(&transaction.newest().hash)
        };
        let transactions = content.tables.carriers.values().map(|carrier| &carrier.transaction);
        transactions.filter(is_given_up).cloned().collect()
    }

    /// Returns whether bytes of this hash are stored.
    pub fn knows(&self, hash: &str) -> bool {
        let content = self.0.lock();
        let mut attempts = content.tables.carriers.values().flat_map(|carrier| &carrier.transaction.attempts);
        attempts.any(|attempt| attempt.signed.hash == hash)
    }
}

/// A store over a disk in memory.
pub(crate) struct MemoryStore {
    disk: Disk,
    closed: AtomicBool,
}

impl MemoryStore {
    /// Opens a disk.
    pub const fn open(disk: Disk) -> Self {
        Self { disk, closed: AtomicBool::new(false) }
    }

    /// Answers again after it was closed.
    pub fn reopen(&self) {
        self.closed.store(false, Ordering::Relaxed);
    }

    fn read<T>(&self, read: impl FnOnce(&Tables) -> T) -> Result<T, StoreError> {
        if self.closed.load(Ordering::Relaxed) {
            return Err(StoreError::Closed);
        }
        Ok(read(&self.disk.0.lock().tables))
    }

    fn write<T>(&self, write: impl FnOnce(&mut Tables) -> T) -> Result<T, StoreError> {
        self.read(|_| ())?;
        Ok(write(&mut self.disk.0.lock().tables))
    }

    /// Writes, unless the next write is to fail, or its answer to get lost.
    fn write_or_fail<T>(&self, write: impl FnOnce(&mut Tables) -> T) -> Result<T, StoreError> {
        self.read(|_| ())?;
        let mut content = self.disk.0.lock();
        let fault = content.fault.take();
        if fault == Some(WriteFault::Fails) {
            return Err(sqlx::Error::WorkerCrashed.into());
        }
        let written = write(&mut content.tables);
        if fault == Some(WriteFault::AnswerLost) { Err(sqlx::Error::WorkerCrashed.into()) } else { Ok(written) }
    }

    /// Settlements of a network that are wanted, after a given one.
    fn page(
        &self,
        network: &Network,
        after: Option<SettlementId>,
        limit: u32,
        is_wanted: impl Fn(&Row) -> bool,
    ) -> Result<Vec<Followed>, StoreError> {
        self.read(|tables| {
            let rows = tables.settlements.iter().filter(|(id, row)| {
                after.is_none_or(|after| **id > after) && row.facts.network == *network && is_wanted(row)
            });
            rows.take(usize::try_from(limit).unwrap_or(usize::MAX)).map(|(_, row)| tables.followed(row)).collect()
        })
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn apply_under(
        &self,
        fence: Option<&Fence>,
        changes: Vec<Change>,
        at: Millis,
    ) -> Result<Vec<SettlementId>, ApplyError> {
        let applied =
            self.write_or_fail(|tables| tables.apply(fence, changes, at)).unwrap_or_else(|error| Err(error.into()));
        // A process may die after the commit, before it hears of it.
        tokio::task::yield_now().await;
        applied
    }

    async fn deliver(&self, id: SettlementId, to: Recipient, at: Millis) -> Result<bool, StoreError> {
        self.read(|_| ())?;
        Ok(self.disk.0.lock().tables.deliver(id, to, at))
    }

    async fn resolve(&self, _: OperatorWord) -> Result<bool, StoreError> {
        self.read(|_| false)
    }

    fn note_sent(&self, notes: Vec<SendNote>) {
        let mut content = self.disk.0.lock();
        for note in &notes {
            content.tables.note(note);
        }
    }

    async fn own_wallet(&self, network: &Network, gas_wallet: &str, owner: &str) -> Result<u64, StoreError> {
        self.read(|_| ())?;
        Ok(self.disk.0.lock().tables.own(network, gas_wallet, owner))
    }

    async fn raise_epoch(&self, network: &Network, gas_wallet: &str, owner: &str) -> Result<Option<u64>, StoreError> {
        self.read(|_| ())?;
        let mut content = self.disk.0.lock();
        let is_owner =
            content.tables.owners.get(&(network.clone(), gas_wallet.to_owned())).is_some_and(|there| there.id == owner);
        Ok(is_owner.then(|| content.tables.own(network, gas_wallet, owner)))
    }

    async fn knows(&self, identity: &Identity) -> Result<bool, StoreError> {
        self.read(|tables| tables.by_identity(identity).is_some() || tables.handed_over(identity).is_some())
    }

    async fn by_identity(&self, identity: &Identity) -> Result<Option<Record>, StoreError> {
        self.read(|tables| tables.by_identity(identity).map(|row| tables.record(row)))
    }

    async fn by_key(&self, caller: &Caller) -> Result<Option<Record>, StoreError> {
        self.read(|tables| tables.by_key(caller).map(|row| tables.record(row)))
    }

    async fn record(&self, id: SettlementId) -> Result<Option<Record>, StoreError> {
        self.read(|tables| tables.settlements.get(&id).map(|row| tables.record(row)))
    }

    async fn open_of(&self, ids: &[SettlementId]) -> Result<Vec<SettlementId>, StoreError> {
        let is_open = |tables: &Tables, id: &SettlementId| {
            let is_open = tables.settlements.get(id).is_some_and(|row| row.state == State::Open);
            is_open || tables.handed_over.contains_key(id)
        };
        self.read(|tables| ids.iter().filter(|id| is_open(tables, id)).copied().collect())
    }

    async fn under_way(&self, network: &Network, payer: &str) -> Result<Vec<UnderWay>, StoreError> {
        let of_payer = |facts: &Facts| facts.network == *network && facts.payer == payer;
        let under_way = |facts: &Facts, plan: &Plan| UnderWay {
            id: facts.id,
            identity: facts.identity,
            asset: facts.asset.clone(),
            amount: facts.amount,
            plan: plan.clone(),
        };
        self.read(|tables| {
            let open = tables.settlements.values().filter(|row| row.state == State::Open && of_payer(&row.facts));
            let open = open.filter_map(|row| Some(under_way(&row.facts, &row.steps.last()?.plan)));
            let waiting = tables.handed_over.values().filter(|offer| offer.until > Instant::now());
            let waiting = waiting.map(|offer| &offer.payment).filter(|payment| of_payer(&payment.facts));
            let mut all: Vec<_> = open.chain(waiting.map(|payment| under_way(&payment.facts, &payment.plan))).collect();
            all.sort_by_key(|payment| payment.id);
            all
        })
    }

    fn notices(&self) -> Notices {
        Notices::none()
    }

    async fn open_settlements(&self, network: &Network) -> Result<Vec<Followed>, StoreError> {
        self.page(network, None, u32::MAX, |row| row.state == State::Open)
    }

    async fn unresolved(
        &self,
        network: &Network,
        after: Option<SettlementId>,
        limit: u32,
    ) -> Result<Vec<Followed>, StoreError> {
        self.page(network, after, limit, |row| matches!(row.state, State::Unresolved { .. }))
    }

    async fn due_for_finality(&self, network: &Network, block_number: u64, limit: u32) -> Result<Vec<Due>, StoreError> {
        let due = |row: &Row| {
            let State::Settled(settled) = &row.state else { return None };
            let block = settled.block().filter(|block| block.number <= block_number)?.clone();
            let is_due = row.facts.network == *network && row.finalized_at.is_none();
            let (id, request_id) = (row.facts.id, row.facts.request_id.clone());
            let (transaction, taken_back) = (settled.hash().to_owned(), row.reorged_at.is_some());
            is_due.then_some(Due { id, request_id, transaction, block, taken_back })
        };
        let mut found: Vec<Due> =
            self.read(|tables| tables.settlements.values().filter_map(|row| due(row)).collect())?;
        found.sort_by_key(|due| (due.taken_back, due.block.number));
        found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(found)
    }

    async fn followed(&self, ids: &[SettlementId]) -> Result<Vec<Followed>, StoreError> {
        let mut found: Vec<Followed> = self.read(|tables| {
            ids.iter().filter_map(|id| tables.settlements.get(id)).map(|row| tables.followed(row)).collect()
        })?;
        found.sort_by_key(|followed| followed.facts.id);
        Ok(found)
    }

    async fn executable(
        &self,
        network: &Network,
        after: Option<SettlementId>,
        limit: u32,
    ) -> Result<Vec<Followed>, StoreError> {
        self.page(network, after, limit, |row| {
            matches!(&row.state, State::Failed(failed) if failed.executable_until.is_some())
                && row.finalized_at.is_none()
        })
    }

    async fn failed_by_block(
        &self,
        network: &Network,
        since: Millis,
        after: Option<SettlementId>,
        limit: u32,
    ) -> Result<Vec<Followed>, StoreError> {
        self.page(network, after, limit, |row| {
            let by_block = |failed: &Failed| failed.executable_until.is_none() && failed.block.is_some();
            matches!(&row.state, State::Failed(failed) if by_block(failed))
                && row.finalized_at.is_none()
                && row.ended_at.is_some_and(|ended| ended >= since)
        })
    }

    async fn highest_nonce(&self, network: &Network, gas_wallet: &str) -> Result<Option<u64>, StoreError> {
        self.read(|tables| {
            let carriers = tables.carriers.values();
            let own =
                carriers.filter(|carrier| carrier.network == *network && carrier.transaction.gas_wallet == gas_wallet);
            own.filter_map(|carrier| carrier.transaction.nonce).max()
        })
    }

    async fn transactions_left_open(
        &self,
        network: &Network,
        gas_wallet: &str,
    ) -> Result<Vec<Transaction>, StoreError> {
        self.read(|tables| {
            let own = tables.carriers.values();
            let own = own.filter(|carrier| carrier.network == *network && carrier.transaction.gas_wallet == gas_wallet);
            let is_carried = |transaction: &Transaction, id: &SettlementId, number: StepNumber| {
                let row = tables.settlements.get(id).filter(|row| !row.state.is_final());
                let step = row.and_then(|row| row.steps.iter().find(|step| step.number == number));
                step.is_some_and(|step| step.state == StepState::Carried(transaction.id))
            };
            let left = own.map(|carrier| &carrier.transaction).filter(|transaction| {
                let mut items = transaction.items.iter();
                transaction.state == TransactionState::Open
                    && !items.any(|(id, number)| is_carried(transaction, id, *number))
            });
            left.cloned().collect()
        })
    }

    async fn transactions_at(
        &self,
        network: &Network,
        gas_wallet: &str,
        nonces: Range<u64>,
    ) -> Result<Vec<Transaction>, StoreError> {
        let mut found: Vec<Transaction> = self.read(|tables| {
            let own = tables
                .carriers
                .values()
                .filter(|carrier| carrier.network == *network && carrier.transaction.gas_wallet == gas_wallet);
            let own = own.filter(|carrier| carrier.transaction.nonce.is_some_and(|nonce| nonces.contains(&nonce)));
            own.map(|carrier| carrier.transaction.clone()).collect()
        })?;
        found.sort_by_key(|transaction| transaction.nonce);
        Ok(found)
    }

    async fn payers(&self, network: &Network, since: Millis) -> Result<Vec<String>, StoreError> {
        self.read(|tables| {
            let rows = tables.settlements.values().filter(|row| row.facts.network == *network);
            let rows = rows.filter(|row| row.facts.created_at >= since && matches!(row.state, State::Settled(_)));
            rows.map(|row| row.facts.payer.clone()).collect()
        })
    }

    async fn losses(&self, network: &Network, since: Millis) -> Result<Vec<Loss>, StoreError> {
        let mut losses: Vec<Loss> = self.read(|tables| {
            let rows = tables.settlements.values().filter(|row| row.facts.network == *network);
            rows.filter_map(|row| tables.loss(row)).filter(|loss| loss.at >= since).collect()
        })?;
        losses.sort_by_key(|loss| loss.at);
        Ok(losses)
    }

    async fn timeline(&self, id: SettlementId) -> Result<Option<Timeline>, StoreError> {
        self.read(|tables| {
            let row = tables.settlements.get(&id)?;
            let transactions = tables.transactions(row).into_iter().map(|transaction| {
                let sends = transaction.attempts.iter();
                let sends = sends.map(|attempt| Sends { hash: attempt.signed.hash.clone(), ..Sends::default() });
                let sends = sends.collect();
                (transaction, sends)
            });
            let (record, steps, events) = (tables.record(row), row.steps.clone(), row.events.clone());
            Some(Timeline { record, steps, transactions: transactions.collect(), events })
        })
    }

    async fn find(&self, query: &Query) -> Result<Vec<Record>, StoreError> {
        self.read(|tables| {
            let newest = tables.settlements.values().rev().map(|row| tables.record(row));
            newest.take(usize::try_from(query.limit).unwrap_or(usize::MAX)).collect()
        })
    }

    async fn departing(&self, _: Bounds, _: Option<ArchiveCursor>, _: u32) -> Result<Vec<Timeline>, StoreError> {
        self.read(|_| vec![])
    }

    async fn staying(&self, _: Bounds) -> Result<u64, StoreError> {
        self.read(|_| 0)
    }

    async fn begin_archive(&self, _: Archive) -> Result<(), StoreError> {
        self.read(|_| ())
    }

    async fn depart(&self, _: &Departure) -> Result<bool, StoreError> {
        self.read(|_| false)
    }

    async fn archives(&self) -> Result<Vec<Archive>, StoreError> {
        self.read(|_| vec![])
    }

    async fn archived(&self, _: ArchivedName<'_>) -> Result<Option<Archived>, StoreError> {
        self.read(|_| None)
    }

    async fn archived_nonces(&self, _: &Network) -> Result<Vec<ArchivedNonces>, StoreError> {
        self.read(|_| vec![])
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.read(|_| ())
    }

    async fn size(&self) -> Result<Size, StoreError> {
        self.read(|_| Size { bytes: 0, log_bytes: None })
    }

    async fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }
}

mod tests {
    use super::*;
    use crate::store::contract::{Backend, engine_contract};

    struct InMemory(Disk);

    #[async_trait]
    impl Backend for InMemory {
        async fn open(&self) -> Arc<dyn Store> {
            Arc::new(MemoryStore::open(self.0.clone()))
        }

        async fn operate(&self) -> Arc<dyn Store> {
            self.open().await
        }

        async fn read(&self) -> Arc<dyn Store> {
            self.open().await
        }
    }

    engine_contract!(InMemory(Disk::default()));
}
