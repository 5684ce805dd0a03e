//! The one task that writes: what waits while a commit is under way shares the
//! next one.
//!
//! There is no timer: under light load a request is its own commit at once;
//! under heavy load the disk sets the pace and groups grow by themselves.

use std::time::Duration;

use chains_core::{Network, clock::Millis};
use sqlx::{Connection as _, SqliteConnection, error::ErrorKind, sqlite::SqliteConnectOptions};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    NOTES_MAX,
    admit::Refusal,
    open,
    write::{self, Verdicts, WriteError},
};
use crate::{
    settlement::{Recipient, SettlementId},
    store::{ApplyError, Change, OperatorWord, SendNote, StoreError},
};

/// Requests that share a commit at most. Beyond, a group is no cheaper for
/// each of its members, and all of them wait longer.
const GROUP_MAX: usize = 64;

/// The longest that a note waits for a commit to take it along.
const NOTES_WAIT: Duration = Duration::from_millis(250);

/// The new owner of a gas wallet.
#[derive(Debug)]
pub(super) struct Owner {
    pub network: Network,
    pub gas_wallet: String,
    pub name: String,
    pub at: Millis,
}

/// A request to the writer.
#[derive(Debug)]
pub(super) enum Request {
    /// [`Store::apply`](crate::store::Store::apply).
    Apply { changes: Vec<Change>, at: Millis, answer: oneshot::Sender<Result<Vec<SettlementId>, ApplyError>> },
    /// [`Store::deliver`](crate::store::Store::deliver).
    Deliver { id: SettlementId, to: Recipient, at: Millis, answer: oneshot::Sender<Result<bool, StoreError>> },
    /// [`Store::resolve`](crate::store::Store::resolve).
    Resolve { word: OperatorWord, answer: oneshot::Sender<Result<bool, StoreError>> },
    /// [`Store::own_wallet`](crate::store::Store::own_wallet).
    Own { owner: Owner, answer: oneshot::Sender<Result<u64, StoreError>> },
    /// [`Store::check`](crate::store::Store::check): answered without a commit.
    Ping { answer: oneshot::Sender<Result<(), StoreError>> },
}

impl Request {
    const fn writes(&self) -> bool {
        !matches!(self, Self::Ping { .. })
    }

    /// Answers the caller. One that gave up waiting gets none; its request is
    /// stored all the same.
    /// Of a group, requests are answered in order.
    fn answer(self, result: Result<&mut Verdicts, StoreError>) {
        match self {
            Self::Apply { answer, .. } => {
                let verdict = result.map(|verdicts| verdicts.calls.pop_front().unwrap_or_else(|| Ok(Vec::new())));
                drop(answer.send(match verdict {
                    Ok(verdict) => verdict.map_err(ApplyError::from),
                    Err(error) => Err(error.into()),
                }));
            }
            Self::Deliver { id, answer, .. } => {
                drop(answer.send(result.map(|verdicts| verdicts.delivered.remove(&id))));
            }
            Self::Resolve { word, answer } => {
                drop(answer.send(result.map(|verdicts| verdicts.resolved.remove(&word.id))));
            }
            Self::Own { answer, .. } => {
                drop(answer.send(result.map(|verdicts| verdicts.epochs.pop_front().unwrap_or_default())));
            }
            Self::Ping { answer } => drop(answer.send(result.map(|_| ()))),
        }
    }
}

impl From<Refusal> for ApplyError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Claimed(ids) => Self::Claimed(ids),
            Refusal::EpochOver => Self::EpochOver,
            Refusal::Contradiction(what) => Self::Store(StoreError::Contradiction(what)),
        }
    }
}

/// The writer's state.
pub(super) struct Writer {
    options: SqliteConnectOptions,
    /// `None` after a failure that leaves open what the connection is in the
    /// middle of; the next commit makes a new one.
    connection: Option<SqliteConnection>,
    notes: Vec<SendNote>,
    notes_due: Option<Instant>,
}

impl Writer {
    pub(super) fn new(options: SqliteConnectOptions, connection: SqliteConnection) -> Self {
        Self { options, connection: Some(connection), notes: Vec::new(), notes_due: None }
    }

    /// Writes what comes until `stop`, or until nobody can ask any more; then
    /// what is still waiting.
    pub(super) async fn run(
        mut self,
        mut requests: mpsc::Receiver<Request>,
        mut notes: mpsc::Receiver<SendNote>,
        stop: CancellationToken,
    ) {
        let mut group = Vec::with_capacity(GROUP_MAX);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled(), if !requests.is_closed() => requests.close(),
                received = requests.recv_many(&mut group, GROUP_MAX) => {
                    if received == 0 {
                        break;
                    }
                    if group.iter().any(Request::writes) {
                        self.take_notes(&mut notes);
                        self.commit(&mut group).await;
                    } else {
                        group.drain(..).for_each(|request| request.answer(Ok(&mut Verdicts::default())));
                    }
                }
                () = due(self.notes_due) => {
                    self.take_notes(&mut notes);
                    self.commit(&mut group).await;
                }
                Some(note) = notes.recv(), if self.notes.is_empty() => {
                    self.notes.push(note);
                    self.notes_due = Some(Instant::now() + NOTES_WAIT);
                }
            }
        }
        self.take_notes(&mut notes);
        if !self.notes.is_empty() {
            self.commit(&mut group).await;
        }
        if let Some(Err(error)) = self.close().await {
            tracing::warn!(%error, "the database was not closed cleanly; the next start repairs it");
        }
    }

    fn take_notes(&mut self, waiting: &mut mpsc::Receiver<SendNote>) {
        while self.notes.len() < NOTES_MAX
            && let Ok(note) = waiting.try_recv()
        {
            self.notes.push(note);
        }
    }

    /// Commits a group and answers each of its requests.
    async fn commit(&mut self, group: &mut Vec<Request>) {
        match self.attempt(group).await {
            Ok(mut verdicts) => group.drain(..).for_each(|request| request.answer(Ok(&mut verdicts))),
            Err(error) if is_own_fault(&error) && group.len() + self.notes.len() > 1 => {
                // One request contradicts the schema or the stored rows. It must
                // not fail its neighbours, so each goes alone; notes, which
                // nothing depends on, are left out.
                tracing::error!(
                    %error,
                    "a write contradicts the store: a mistake in the program, please report it. Nothing of its call is \
                     stored; the others of its group are written one by one"
                );
                self.notes.clear();
                for request in group.drain(..) {
                    let mut alone = vec![request];
                    let mut result = self.attempt(&alone).await.map_err(StoreError::from);
                    if let Some(request) = alone.pop() {
                        request.answer(result.as_mut().map_err(|error| error.clone()));
                    }
                }
            }
            Err(error) => {
                let error = StoreError::from(error);
                group.drain(..).for_each(|request| request.answer(Err(error.clone())));
            }
        }
        self.notes_due = (!self.notes.is_empty()).then(|| Instant::now() + NOTES_WAIT);
    }

    /// One transaction. After an error nothing of the group counts as stored
    /// or as not stored, unless the error is the group's own fault.
    async fn attempt(&mut self, group: &[Request]) -> Result<Verdicts, WriteError> {
        let started = Instant::now();
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => open::connect(&self.options).await?,
        };
        let written = write::transaction(&mut connection, group, &self.notes).await;
        match &written {
            Ok(_) => {
                self.connection = Some(connection);
                self.notes.clear();
                crate::metrics::committed(started.elapsed(), group.len());
            }
            Err(error) => {
                crate::metrics::commit_failed();
                if is_own_fault(error) && write::rollback(&mut connection).await.is_ok() {
                    self.connection = Some(connection);
                }
            }
        }
        written
    }

    async fn close(&mut self) -> Option<Result<(), sqlx::Error>> {
        let mut connection = self.connection.take()?;
        Some(match write::checkpoint(&mut connection).await {
            Ok(()) => connection.close().await,
            Err(error) => Err(error),
        })
    }
}

async fn due(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Returns true when the group, and not the database, is at fault: nothing of
/// it is stored, and the connection is good.
fn is_own_fault(error: &WriteError) -> bool {
    match error {
        WriteError::Contradiction(_) => true,
        WriteError::Sql(error) => {
            error.as_database_error().is_some_and(|error| !matches!(error.kind(), ErrorKind::Other))
        }
    }
}
