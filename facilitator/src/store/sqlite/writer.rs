//! The one task that writes: what waits while a commit is under way shares the
//! next one.
//!
//! There is no timer: under light load a request is its own commit at once;
//! under heavy load the disk sets the pace and groups grow by themselves.

use std::time::Duration;

use chains_core::clock::Millis;
use sqlx::{Connection as _, SqliteConnection, error::ErrorKind, sqlite::SqliteConnectOptions};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    NOTES_MAX, open,
    write::{self, Verdicts},
};
use crate::{
    settlement::{
        SettlementId,
        record::{Advanced, Finished, NewSettlement, Sent},
    },
    store::{BeginError, StoreError},
};

/// Requests that share a commit at most. Beyond, a group is no cheaper for
/// each of its members, and all of them wait longer.
const GROUP_MAX: usize = 64;

/// How late a note may be written when no commit comes by to take it along.
const NOTES_WAIT: Duration = Duration::from_millis(250);

/// A write that waits for its commit.
#[derive(Debug)]
pub(super) enum Request {
    /// [`Store::begin`](crate::store::Store::begin).
    Begin { settlements: Vec<NewSettlement>, answer: oneshot::Sender<Result<(), BeginError>> },
    /// [`Store::advance`](crate::store::Store::advance).
    Advance { step: Box<Advanced>, answer: oneshot::Sender<Result<(), StoreError>> },
    /// [`Store::finish`](crate::store::Store::finish).
    Finish { finished: Vec<Finished>, answer: oneshot::Sender<Result<(), StoreError>> },
    /// [`Store::deliver`](crate::store::Store::deliver).
    Deliver { id: SettlementId, at: Millis, answer: oneshot::Sender<Result<bool, StoreError>> },
    /// [`Store::check`](crate::store::Store::check).
    Check { answer: oneshot::Sender<Result<(), StoreError>> },
}

impl Request {
    /// Who gave up waiting gets no answer; what it asked for is stored all the same.
    /// Of a group, requests are answered in order.
    fn answer(self, result: Result<&mut Verdicts, StoreError>) {
        match self {
            Self::Begin { answer, .. } => {
                let claimed = result.map(|verdicts| verdicts.claimed.pop_front().unwrap_or_default());
                drop(answer.send(match claimed {
                    Ok(claimed) if claimed.is_empty() => Ok(()),
                    Ok(claimed) => Err(BeginError::Claimed(claimed)),
                    Err(error) => Err(error.into()),
                }));
            }
            Self::Advance { answer, .. } | Self::Finish { answer, .. } | Self::Check { answer } => {
                drop(answer.send(result.map(|_| ())));
            }
            Self::Deliver { id, at: _, answer } => {
                drop(answer.send(result.map(|verdicts| verdicts.delivered.remove(&id))));
            }
        }
    }
}

/// The writer's state.
pub(super) struct Writer {
    options: SqliteConnectOptions,
    /// `None` after a failure that leaves open what the connection is in the
    /// middle of; the next commit makes a new one.
    connection: Option<SqliteConnection>,
    notes: Vec<Sent>,
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
        mut notes: mpsc::Receiver<Sent>,
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
                    self.take_notes(&mut notes);
                    self.commit(&mut group).await;
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

    fn take_notes(&mut self, waiting: &mut mpsc::Receiver<Sent>) {
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
            Err(error) if breaks_constraint(&error) && group.len() + self.notes.len() > 1 => {
                // Something in here contradicts the schema, which `begin`'s own
                // look does not expect. It must not fail its neighbours, so
                // each goes alone; notes, which nothing depends on, are left out.
                tracing::error!(%error, "a write contradicts the schema; its group is taken apart");
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
    /// or as not stored, unless the error is that of a constraint.
    async fn attempt(&mut self, group: &[Request]) -> Result<Verdicts, sqlx::Error> {
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
                metrics::counter!("store_commits_total").increment(1);
                metrics::histogram!("store_commit_seconds").record(started.elapsed());
                metrics::histogram!("store_group_size").record(u32::try_from(group.len()).unwrap_or(u32::MAX));
            }
            Err(error) => {
                metrics::counter!("store_commit_failures_total").increment(1);
                if breaks_constraint(error) && write::rollback(&mut connection).await.is_ok() {
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

fn breaks_constraint(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| !matches!(error.kind(), ErrorKind::Other))
}
