//! The store in one SQLite file.
//!
//! ```text
//! apply, deliver, resolve, own_wallet ──► bounded channel ──► one writer task ──► one connection
//!                           note_sent ──► bounded channel ──┘  (group commit, synchronous=FULL)
//! look-ups of the engine ──► four reading connections (WAL: never blocked by the writer)
//! lists and timelines    ──► two more, so that they never hold settles up
//! ```
//!
//! | module | what it holds |
//! |---|---|
//! | [`open`], `file`, `lock` | the file, its lock, its schema version |
//! | `writer` | the task that makes one commit of what waits |
//! | `admit`, `group` | the calls that are refused; the order of writing |
//! | `write` | the statements of a commit |
//! | `read`, `row` | look-ups, and the meaning of rows |
//! | `archive` | settlements that leave for a file |
//!
//! One process owns the file: a second one would give out the same nonces.

mod admit;
mod archive;
mod file;
mod group;
mod lock;
pub mod open;
mod read;
mod row;
#[cfg(test)]
mod tests;
mod write;
mod writer;

use std::{
    ops::Range,
    path::Path,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use chains_core::{
    Identity, Network,
    clock::{Clock as _, Millis, SystemClock},
};
use parking_lot::Mutex;
use sqlx::{Connection as _, SqlitePool, sqlite::SqliteConnectOptions};
use tokio::sync::{mpsc, oneshot};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    lock::FileLock,
    open::{Migrations, OpenError},
    writer::{Owner, Request, Writer},
};
use super::{
    ApplyError, Change, OperatorWord, Query, SendNote, Store, StoreError,
    archive::{Archive, ArchiveCursor, Archived, ArchivedName, ArchivedNonces, Bounds, Departure},
};
use crate::settlement::{
    Caller, Recipient, Record, SettlementId, Timeline, Transaction,
    record::{Due, Followed, Loss},
};

/// Connections for the look-ups of the engine. More do not help: a look-up is a
/// few microseconds of processor time.
const READERS: u32 = 4;

/// Connections for lists and timelines, which may take long.
const LIST_READERS: u32 = 2;

/// Requests that may wait for the writer; whoever comes later waits in line.
const REQUESTS_MAX: usize = 1024;

/// Notes that may wait for the writer; what comes later is left out.
const NOTES_MAX: usize = 4096;

/// Tries of a departure are this far apart while the owner writes: its commits
/// follow each other closely, and the gaps between them are short.
const DEPART_EVERY: Duration = Duration::from_millis(1);

/// The longest that a departure is tried.
const DEPART_WAIT: Duration = Duration::from_mins(1);

/// The store in one SQLite file.
#[derive(Debug)]
pub struct SqliteStore {
    readers: SqlitePool,
    list_readers: SqlitePool,
    requests: mpsc::Sender<Request>,
    notes: mpsc::Sender<SendNote>,
    writer: TaskTracker,
    stop: CancellationToken,
    /// Held by the owner.
    lock: Mutex<Option<FileLock>>,
    /// The way to a connection of its own for an operator's command beside the owner.
    operate: Option<SqliteConnectOptions>,
}

impl SqliteStore {
    /// Opens the file for this process alone, and makes it if it is not there.
    ///
    /// # Errors
    /// Another process owns it, its schema is not this program's, or it
    /// cannot be made or read.
    pub async fn open(path: &Path, migrations: Migrations) -> Result<Self, OpenError> {
        let path = open::resolve(path)?;
        let lock = FileLock::take(&path)?;
        open::create(&path)?;
        let options = open::writing(&path);
        let mut connection = open::connect(&options).await?;
        open::migrate(&mut connection, migrations).await?;
        let (requests, inbox) = mpsc::channel(REQUESTS_MAX);
        let (notes, notes_inbox) = mpsc::channel(NOTES_MAX);
        let store = Self { lock: Mutex::new(Some(lock)), ..Self::beside(&path, requests, notes).await? };
        let writer = Writer::new(options, connection).run(inbox, notes_inbox, store.stop.clone());
        store.writer.spawn(writer);
        store.writer.close();
        Ok(store)
    }

    /// Opens the file beside the process that owns it, to look things up.
    /// Every write answers [`StoreError::Closed`].
    ///
    /// # Errors
    /// There is no such file, or its schema is not this program's.
    pub async fn open_to_read(path: &Path) -> Result<Self, OpenError> {
        let path = open::resolve(path)?;
        open::must_be_current(&path).await?;
        // Channels without a receiver: whoever sends is told that they are closed.
        let store = Self::beside(&path, mpsc::channel(1).0, mpsc::channel(1).0).await?;
        store.writer.close();
        Ok(store)
    }

    /// The same, and [`resolve`](Store::resolve), [`begin_archive`](Store::begin_archive)
    /// and [`depart`](Store::depart) write: in short transactions that wait for
    /// the owner's, without its lock.
    ///
    /// # Errors
    /// As [`open_to_read`](Self::open_to_read).
    pub async fn open_to_operate(path: &Path) -> Result<Self, OpenError> {
        let store = Self::open_to_read(path).await?;
        Ok(Self { operate: Some(open::writing(&open::resolve(path)?)), ..store })
    }

    async fn beside(
        path: &Path,
        requests: mpsc::Sender<Request>,
        notes: mpsc::Sender<SendNote>,
    ) -> Result<Self, OpenError> {
        Ok(Self {
            readers: open::readers(path, READERS).await?,
            list_readers: open::readers(path, LIST_READERS).await?,
            requests,
            notes,
            writer: TaskTracker::new(),
            stop: CancellationToken::new(),
            lock: Mutex::new(None),
            operate: None,
        })
    }

    async fn ask<T, E: From<StoreError>>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, E>>) -> Request,
    ) -> Result<T, E> {
        let (answer, answered) = oneshot::channel();
        self.requests.send(request(answer)).await.map_err(|_| StoreError::Closed)?;
        answered.await.map_err(|_| StoreError::Closed)?
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn apply(&self, changes: Vec<Change>, at: Millis) -> Result<Vec<SettlementId>, ApplyError> {
        write::check_ranges(&changes)?;
        self.ask(|answer| Request::Apply { changes, at, answer }).await
    }

    async fn deliver(&self, id: SettlementId, to: Recipient, at: Millis) -> Result<bool, StoreError> {
        self.ask(|answer| Request::Deliver { id, to, at, answer }).await
    }

    async fn resolve(&self, word: OperatorWord) -> Result<bool, StoreError> {
        let Some(options) = &self.operate else {
            return self.ask(|answer| Request::Resolve { word, answer }).await;
        };
        let mut connection = open::connect(options).await?;
        let done = write::resolve_alone(&mut connection, &word).await;
        connection.close().await?;
        done
    }

    fn note_sent(&self, notes: Vec<SendNote>) {
        for note in notes {
            if self.notes.try_send(note).is_err() {
                crate::metrics::notes_dropped();
            }
        }
    }

    async fn own_wallet(&self, network: &Network, gas_wallet: &str, owner: &str) -> Result<u64, StoreError> {
        let (network, gas_wallet, name) = (network.clone(), gas_wallet.to_owned(), owner.to_owned());
        let owner = Owner { network, gas_wallet, name, at: SystemClock.now() };
        self.ask(|answer| Request::Own { owner, answer }).await
    }

    async fn by_identity(&self, identity: &Identity) -> Result<Option<Record>, StoreError> {
        read::by_identity(&self.readers, identity).await
    }

    async fn by_key(&self, caller: &Caller) -> Result<Option<Record>, StoreError> {
        read::by_key(&self.readers, caller).await
    }

    async fn record(&self, id: SettlementId) -> Result<Option<Record>, StoreError> {
        read::record(&self.readers, id).await
    }

    async fn open_settlements(&self, network: &Network) -> Result<Vec<Followed>, StoreError> {
        read::open_settlements(&self.list_readers, network).await
    }

    async fn unresolved(
        &self,
        network: &Network,
        after: Option<SettlementId>,
        limit: u32,
    ) -> Result<Vec<Followed>, StoreError> {
        read::unresolved(&self.readers, network, after, limit).await
    }

    async fn due_for_finality(&self, network: &Network, block_number: u64, limit: u32) -> Result<Vec<Due>, StoreError> {
        read::due_for_finality(&self.readers, network, block_number, limit).await
    }

    async fn followed(&self, ids: &[SettlementId]) -> Result<Vec<Followed>, StoreError> {
        read::followed_of(&self.readers, ids).await
    }

    async fn executable(
        &self,
        network: &Network,
        after: Option<SettlementId>,
        limit: u32,
    ) -> Result<Vec<Followed>, StoreError> {
        read::executable(&self.readers, network, after, limit).await
    }

    async fn highest_nonce(&self, network: &Network, gas_wallet: &str) -> Result<Option<u64>, StoreError> {
        read::highest_nonce(&self.readers, network, gas_wallet).await
    }

    async fn transactions_at(
        &self,
        network: &Network,
        gas_wallet: &str,
        nonces: Range<u64>,
    ) -> Result<Vec<Transaction>, StoreError> {
        read::transactions_at(&self.readers, network, gas_wallet, nonces).await
    }

    async fn losses(&self, network: &Network, since: Millis) -> Result<Vec<Loss>, StoreError> {
        read::losses(&self.list_readers, network, since).await
    }

    async fn timeline(&self, id: SettlementId) -> Result<Option<Timeline>, StoreError> {
        read::timeline(&self.list_readers, id).await
    }

    async fn find(&self, query: &Query) -> Result<Vec<Record>, StoreError> {
        read::find(&self.list_readers, query).await
    }

    async fn departing(
        &self,
        bounds: Bounds,
        after: Option<ArchiveCursor>,
        limit: u32,
    ) -> Result<Vec<Timeline>, StoreError> {
        archive::choose(&self.list_readers, bounds, after, limit).await
    }

    async fn staying(&self, bounds: Bounds) -> Result<u64, StoreError> {
        archive::count_older(&self.list_readers, bounds).await
    }

    async fn begin_archive(&self, begun: Archive) -> Result<(), StoreError> {
        let mut connection = open::connect(self.operate.as_ref().ok_or(StoreError::Closed)?).await?;
        archive::begin(&mut connection, &begun).await?;
        Ok(connection.close().await?)
    }

    async fn depart(&self, departure: &Departure) -> Result<bool, StoreError> {
        let options = self.operate.clone().ok_or(StoreError::Closed)?;
        // SQLite's own waits grow longer and longer, and would miss the gaps.
        let mut connection = open::connect(&options).await?;
        sqlx::query("PRAGMA busy_timeout = 0").execute(&mut connection).await?;
        let started = Instant::now();
        let left = loop {
            match archive::leave(&mut connection, departure).await {
                Err(error) if archive::is_busy(&error) && started.elapsed() < DEPART_WAIT => {
                    tokio::time::sleep(DEPART_EVERY).await;
                }
                left => break left?,
            }
        };
        connection.close().await?;
        Ok(left)
    }

    async fn archives(&self) -> Result<Vec<Archive>, StoreError> {
        archive::archives(&self.list_readers).await
    }

    async fn archived(&self, name: ArchivedName<'_>) -> Result<Option<Archived>, StoreError> {
        archive::archived(&self.readers, name).await
    }

    async fn archived_nonces(&self, network: &Network) -> Result<Vec<ArchivedNonces>, StoreError> {
        archive::archived_nonces(&self.list_readers, network).await
    }

    async fn check(&self) -> Result<(), StoreError> {
        read::check(&self.readers).await?;
        self.ask(|answer| Request::Ping { answer }).await
    }

    async fn close(&self) {
        self.stop.cancel();
        self.writer.wait().await;
        self.readers.close().await;
        self.list_readers.close().await;
        drop(self.lock.lock().take());
    }
}
