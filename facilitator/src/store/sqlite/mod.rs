//! The store in one SQLite file.
//!
//! ```text
//! begin, finish, deliver, check ──► bounded channel ──► one writer task ──► one connection
//!                    note_sent ──► bounded channel ──┘  (group commit, synchronous=FULL)
//! look-ups ──► four reading connections (WAL: never blocked by the writer)
//! ```
//!
//! | module | what it holds |
//! |---|---|
//! | [`open`] | the file, its lock, its schema version |
//! | `writer` | the task that makes one commit of what waits |
//! | `write` | the statements of a commit |
//! | `read`, `row` | look-ups, and what a row means |
//!
//! One process owns the file: a second one would give out the same sequences.

mod lock;
pub mod open;
mod read;
mod row;
#[cfg(test)]
mod tests;
mod write;
mod writer;

use std::{ops::Range, path::Path};

use async_trait::async_trait;
use chains_core::{Identity, Network, chain::SignedTransaction, clock::Millis};
use parking_lot::Mutex;
use sqlx::SqlitePool;
use tokio::sync::{mpsc, oneshot};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    lock::FileLock,
    open::{Migrations, OpenError},
    writer::{Request, Writer},
};
use super::{BeginError, Query, Store, StoreError};
use crate::settlement::{
    SettlementId,
    record::{Advanced, Caller, Failure, Finished, NewSettlement, Record, Sent, Timeline},
};

/// Connections that look things up. More do not help: a look-up is a few
/// microseconds of processor time.
const READERS: u32 = 4;

/// Requests that may wait for the writer; whoever comes later waits in line.
const REQUESTS_MAX: usize = 1024;

/// Notes that may wait for the writer; what comes later is left out.
const NOTES_MAX: usize = 4096;

/// The store in one SQLite file.
#[derive(Debug)]
pub struct SqliteStore {
    readers: SqlitePool,
    requests: mpsc::Sender<Request>,
    notes: mpsc::Sender<Sent>,
    writer: TaskTracker,
    stop: CancellationToken,
    lock: Mutex<Option<FileLock>>,
}

impl SqliteStore {
    /// Opens the file for this process alone, and makes it if it is not there.
    pub async fn open(path: &Path, migrations: Migrations) -> Result<Self, OpenError> {
        let lock = FileLock::take(path)?;
        let options = open::writing(path);
        let mut connection = open::connect(&options).await?;
        open::migrate(&mut connection, migrations).await?;
        let readers = open::readers(path, READERS).await?;
        let (requests, inbox) = mpsc::channel(REQUESTS_MAX);
        let (notes, notes_inbox) = mpsc::channel(NOTES_MAX);
        let (writer, stop) = (TaskTracker::new(), CancellationToken::new());
        writer.spawn(Writer::new(options, connection).run(inbox, notes_inbox, stop.clone()));
        writer.close();
        Ok(Self { readers, requests, notes, writer, stop, lock: Mutex::new(Some(lock)) })
    }

    /// Opens the file beside the process that owns it, to look things up.
    /// Every write answers [`StoreError::Closed`].
    pub async fn open_to_read(path: &Path) -> Result<Self, OpenError> {
        open::must_be_current(path).await?;
        let readers = open::readers(path, READERS).await?;
        // Channels without a receiver: whoever sends is told that they are closed.
        let (requests, notes) = (mpsc::channel(1).0, mpsc::channel(1).0);
        let (writer, stop) = (TaskTracker::new(), CancellationToken::new());
        writer.close();
        Ok(Self { readers, requests, notes, writer, stop, lock: Mutex::new(None) })
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
    async fn begin(&self, settlements: Vec<NewSettlement>) -> Result<(), BeginError> {
        write::check_ranges(&settlements)?;
        self.ask(|answer| Request::Begin { settlements, answer }).await
    }

    async fn advance(&self, step: Advanced) -> Result<(), StoreError> {
        write::check_sequence(step.signed.sequence)?;
        let step = Box::new(step);
        self.ask(|answer| Request::Advance { step, answer }).await
    }

    async fn finish(&self, finished: Vec<Finished>) -> Result<(), StoreError> {
        self.ask(|answer| Request::Finish { finished, answer }).await
    }

    async fn deliver(&self, id: SettlementId, at: Millis) -> Result<bool, StoreError> {
        self.ask(|answer| Request::Deliver { id, at, answer }).await
    }

    fn note_sent(&self, sent: Vec<Sent>) {
        for note in sent {
            if self.notes.try_send(note).is_err() {
                metrics::counter!("store_notes_dropped_total").increment(1);
            }
        }
    }

    async fn by_identity(&self, identity: &Identity) -> Result<Option<Record>, StoreError> {
        read::by_identity(&self.readers, identity).await
    }

    async fn by_key(&self, caller: &Caller) -> Result<Option<Record>, StoreError> {
        read::by_key(&self.readers, caller).await
    }

    async fn live(&self, network: &Network) -> Result<Vec<Timeline>, StoreError> {
        read::live(&self.readers, network).await
    }

    async fn sequence_max(&self, network: &Network, gas_wallet: &str) -> Result<Option<u64>, StoreError> {
        read::sequence_max(&self.readers, network, gas_wallet).await
    }

    async fn signed_at(
        &self,
        network: &Network,
        gas_wallet: &str,
        sequences: Range<u64>,
    ) -> Result<Vec<(SettlementId, SignedTransaction)>, StoreError> {
        read::signed_at(&self.readers, network, gas_wallet, sequences).await
    }

    async fn failures(&self, network: &Network, since: Millis) -> Result<Vec<Failure>, StoreError> {
        read::failures(&self.readers, network, since).await
    }

    async fn timeline(&self, id: SettlementId) -> Result<Option<Timeline>, StoreError> {
        read::timeline(&self.readers, id).await
    }

    async fn find(&self, query: &Query) -> Result<Vec<Record>, StoreError> {
        read::find(&self.readers, query).await
    }

    async fn check(&self) -> Result<(), StoreError> {
        read::check(&self.readers).await?;
        self.ask(|answer| Request::Check { answer }).await
    }

    async fn close(&self) {
        self.stop.cancel();
        self.writer.wait().await;
        self.readers.close().await;
        drop(self.lock.lock().take());
    }
}
