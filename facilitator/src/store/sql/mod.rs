//! The store in a database that speaks SQL: everything that SQLite and
//! PostgreSQL share.
//!
//! ```text
//! apply, deliver, resolve, own_wallet ──► bounded channel ──► one writer task ──► one connection
//!                           note_sent ──► bounded channel ──┘  (group commit, durable when answered)
//! look-ups of the engine ──► a few reading connections (never blocked by the writer)
//! lists and timelines    ──► two more, so that they never hold settles up
//! ```
//!
//! | module | what it holds |
//! |---|---|
//! | [`statement`] | statements with their values, and what the two languages spell differently |
//! | [`database`] | connections |
//! | `writer` | the task that makes one commit of what waits |
//! | [`admit`], `group` | the calls that are refused; the order of writing |
//! | `write` | the statements of a commit |
//! | [`read`], `row` | look-ups, and the meaning of rows |
//! | `leases` | the leases of gas wallets |
//! | `hand_overs` | the payments that instances hand over to each other |
//! | [`archive`] | settlements that leave for a file |

pub(super) mod admit;
pub(super) mod archive;
pub(super) mod database;
mod group;
mod hand_overs;
mod joint;
mod leases;
pub(super) mod read;
mod row;
mod script;
pub(super) mod statement;
mod write;
pub(super) mod writer;

use std::{
    fmt,
    ops::Range,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use chains_core::{
    Identity, Network,
    clock::{Clock as _, Millis, SystemClock},
};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    database::{Connection, Connector, Pool},
    writer::{News, Owner, Raise, Request, Writer},
};
use super::{
    ApplyError, Change, Fence, Notices, OperatorWord, Query, SendNote, Size, Store, StoreError,
    archive::{Archive, ArchiveCursor, Archived, ArchivedName, ArchivedNonces, Bounds, Departure},
};
use crate::settlement::{
    Caller, Recipient, Record, SettlementId, Timeline, Transaction,
    record::{Due, Followed, Loss, UnderWay},
};

/// Connections for the look-ups of the engine. More do not help: a look-up is a
/// few microseconds of processor time.
pub(super) const READERS: u32 = 4;

/// Connections for lists and timelines, which may take long.
pub(super) const LIST_READERS: u32 = 2;

/// Requests that may wait for the writer; whoever comes later waits in line.
const REQUESTS_MAX: usize = 1024;

/// Notes that may wait for the writer; what comes later is left out.
const NOTES_MAX: usize = 4096;

/// Tries of a departure are this far apart while SQLite's owner writes: its
/// commits follow each other closely, and the gaps between them are short.
const DEPART_EVERY: Duration = Duration::from_millis(1);

/// The longest that a departure is tried.
const DEPART_WAIT: Duration = Duration::from_mins(1);

/// The connections that a store reads by.
pub(super) struct Readers {
    /// Those of the engine.
    pub engine: Pool,
    /// Those of lists and timelines.
    pub lists: Pool,
}

/// The store in a database.
pub(super) struct SqlStore {
    readers: Pool,
    list_readers: Pool,
    requests: mpsc::Sender<Request>,
    notes: mpsc::Sender<SendNote>,
    writer: TaskTracker,
    stop: CancellationToken,
    /// The way to connections that write: the owner's, who has one already, or
    /// those of an operator's command beside it.
    connector: Mutex<Option<Arc<dyn Connector>>>,
    /// True where an operator's command writes beside the owner.
    operates: bool,
    /// Says that a commit is of interest to others.
    news: Arc<News>,
    notices: Notices,
}

/// Its connections' options may hold a password.
impl fmt::Debug for SqlStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlStore").field("operates", &self.operates).finish_non_exhaustive()
    }
}

impl SqlStore {
    /// The owner's store, whose writes go over this connection.
    pub fn owning(readers: Readers, connector: Arc<dyn Connector>, connection: Connection) -> Self {
        let (requests, inbox) = mpsc::channel(REQUESTS_MAX);
        let (notes, notes_inbox) = mpsc::channel(NOTES_MAX);
        let store =
            Self { connector: Mutex::new(Some(Arc::clone(&connector))), ..Self::beside(readers, requests, notes) };
        let writer = Writer::new(connector, connection, Arc::clone(&store.news));
        store.writer.spawn(writer.run(inbox, notes_inbox, store.stop.clone()));
        store.writer.close();
        store
    }

    /// A store beside the owner's, or without one. Every write answers
    /// [`StoreError::Closed`].
    pub fn reading(readers: Readers) -> Self {
        // Channels without a receiver: whoever sends is told that they are closed.
        let store = Self::beside(readers, mpsc::channel(1).0, mpsc::channel(1).0);
        store.writer.close();
        store
    }

    /// The same, and [`resolve`](Store::resolve), [`begin_archive`](Store::begin_archive)
    /// and [`depart`](Store::depart) write, in short transactions.
    pub fn operating(readers: Readers, connector: Arc<dyn Connector>) -> Self {
        Self { connector: Mutex::new(Some(connector)), operates: true, ..Self::reading(readers) }
    }

    fn beside(readers: Readers, requests: mpsc::Sender<Request>, notes: mpsc::Sender<SendNote>) -> Self {
        Self {
            readers: readers.engine,
            list_readers: readers.lists,
            requests,
            notes,
            writer: TaskTracker::new(),
            stop: CancellationToken::new(),
            connector: Mutex::new(None),
            operates: false,
            news: Arc::default(),
            // Nobody gives notice, until somebody is there who does.
            notices: Notices::none(),
        }
    }

    /// The same with notices between processes: whoever gives them learns of each
    /// commit that is of interest to others, until the store is closed.
    pub fn noticed(mut self, start: impl FnOnce(Arc<News>, &TaskTracker, CancellationToken) -> Notices) -> Self {
        self.notices = start(Arc::clone(&self.news), &self.writer, self.stop.clone());
        self
    }

    /// The way to a connection of its own for an operator's command.
    fn operator(&self) -> Option<Arc<dyn Connector>> {
        self.connector.lock().clone().filter(|_| self.operates)
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
impl Store for SqlStore {
    async fn apply_under(
        &self,
        fence: Option<&Fence>,
        changes: Vec<Change>,
        at: Millis,
    ) -> Result<Vec<SettlementId>, ApplyError> {
        write::check_ranges(&changes)?;
        let fence = fence.cloned();
        self.ask(|answer| Request::Apply { fence, changes, at, answer }).await
    }

    async fn deliver(&self, id: SettlementId, to: Recipient, at: Millis) -> Result<bool, StoreError> {
        self.ask(|answer| Request::Deliver { id, to, at, answer }).await
    }

    async fn resolve(&self, word: OperatorWord) -> Result<bool, StoreError> {
        let Some(operator) = self.operator() else {
            return self.ask(|answer| Request::Resolve { word, answer }).await;
        };
        let mut connection = operator.connect().await?;
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

    async fn raise_epoch(&self, network: &Network, gas_wallet: &str, owner: &str) -> Result<Option<u64>, StoreError> {
        let (network, gas_wallet, owner) = (network.clone(), gas_wallet.to_owned(), owner.to_owned());
        let raise = Raise { network, gas_wallet, owner };
        self.ask(|answer| Request::Raise { raise, answer }).await
    }

    async fn knows(&self, identity: &Identity) -> Result<bool, StoreError> {
        read::knows(&self.readers, identity).await
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

    async fn open_of(&self, ids: &[SettlementId]) -> Result<Vec<SettlementId>, StoreError> {
        read::open_of(&self.readers, ids).await
    }

    async fn under_way(&self, network: &Network, payer: &str) -> Result<Vec<UnderWay>, StoreError> {
        read::under_way(&self.readers, network, payer).await
    }

    fn notices(&self) -> Notices {
        self.notices.clone()
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

    async fn failed_by_block(
        &self,
        network: &Network,
        since: Millis,
        after: Option<SettlementId>,
        limit: u32,
    ) -> Result<Vec<Followed>, StoreError> {
        read::failed_by_block(&self.readers, network, since, after, limit).await
    }

    async fn highest_nonce(&self, network: &Network, gas_wallet: &str) -> Result<Option<u64>, StoreError> {
        read::highest_nonce(&self.readers, network, gas_wallet).await
    }

    async fn transactions_left_open(
        &self,
        network: &Network,
        gas_wallet: &str,
    ) -> Result<Vec<Transaction>, StoreError> {
        read::transactions_left_open(&self.readers, network, gas_wallet).await
    }

    async fn transactions_at(
        &self,
        network: &Network,
        gas_wallet: &str,
        nonces: Range<u64>,
    ) -> Result<Vec<Transaction>, StoreError> {
        read::transactions_at(&self.readers, network, gas_wallet, nonces).await
    }

    async fn payers(&self, network: &Network, since: Millis) -> Result<Vec<String>, StoreError> {
        read::payers(&self.list_readers, network, since).await
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
        let mut connection = self.operator().ok_or(StoreError::Closed)?.connect().await?;
        archive::begin(&mut connection.session(), &begun).await?;
        connection.close().await
    }

    async fn depart(&self, departure: &Departure) -> Result<bool, StoreError> {
        let mut connection = self.operator().ok_or(StoreError::Closed)?.connect().await?;
        connection.wait_for_nobody().await?;
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

    async fn size(&self) -> Result<Size, StoreError> {
        let connector = self.connector.lock().clone();
        connector.ok_or(StoreError::Closed)?.size(&self.list_readers).await
    }

    async fn close(&self) {
        self.stop.cancel();
        self.writer.wait().await;
        self.readers.close().await;
        self.list_readers.close().await;
        drop(self.connector.lock().take());
    }
}
