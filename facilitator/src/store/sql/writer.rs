//! The one task that writes: what waits while a commit is under way shares the
//! next one.
//!
//! There is no timer: under light load a request is its own commit at once;
//! under heavy load the disk sets the pace and groups grow by themselves.

use std::{sync::Arc, time::Duration};

use chains_core::{Network, clock::Millis};
use sqlx::{
    error::{DatabaseError, ErrorKind},
    postgres::PgDatabaseError,
};
use tokio::{
    sync::{Notify, mpsc, oneshot},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    NOTES_MAX,
    admit::Refusal,
    database::{Connection, Connector},
    joint::NOT_AS_EXPECTED,
    write::{self, LeaseCall, OfferCall, Turn, Verdicts},
};
use crate::{
    settlement::{Recipient, SettlementId},
    store::{ApplyError, Change, Fence, HandedOver, Kept, OperatorWord, SendNote, StoreError},
};

/// Requests that share a commit at most. Beyond, a group is no cheaper for
/// each of its members, and all of them wait longer.
const GROUP_MAX: usize = 64;

/// Tries of a group that another process comes in the way of. Each time that
/// process has got on.
const TURNS_MAX: usize = 5;

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

/// A wallet of an owner, whose epoch is to be raised.
#[derive(Debug)]
pub(super) struct Raise {
    pub network: Network,
    pub gas_wallet: String,
    pub owner: String,
}

/// A request to the writer.
#[derive(Debug)]
pub(super) enum Request {
    /// [`Store::apply_under`](crate::store::Store::apply_under).
    Apply {
        fence: Option<Fence>,
        changes: Vec<Change>,
        at: Millis,
        answer: oneshot::Sender<Result<Vec<SettlementId>, ApplyError>>,
    },
    /// [`Store::deliver`](crate::store::Store::deliver).
    Deliver { id: SettlementId, to: Recipient, at: Millis, answer: oneshot::Sender<Result<bool, StoreError>> },
    /// [`Store::resolve`](crate::store::Store::resolve).
    Resolve { word: OperatorWord, answer: oneshot::Sender<Result<bool, StoreError>> },
    /// [`Store::own_wallet`](crate::store::Store::own_wallet).
    Own { owner: Owner, answer: oneshot::Sender<Result<u64, StoreError>> },
    /// [`Store::raise_epoch`](crate::store::Store::raise_epoch).
    Raise { raise: Raise, answer: oneshot::Sender<Result<Option<u64>, StoreError>> },
    /// The methods of [`Leases`](crate::store::Leases) that write.
    Lease { call: LeaseCall, answer: oneshot::Sender<Result<Vec<Kept>, StoreError>> },
    /// The methods of [`HandOvers`](crate::store::HandOvers) that write, but for the next.
    Offer { call: OfferCall, answer: oneshot::Sender<Result<bool, StoreError>> },
    /// [`HandOvers::take_handed_over`](crate::store::HandOvers::take_handed_over).
    TakeOffers {
        network: String,
        owner: String,
        limit: u32,
        answer: oneshot::Sender<Result<Vec<HandedOver>, StoreError>>,
    },
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
            Self::Raise { answer, .. } => {
                drop(answer.send(result.map(|verdicts| verdicts.raised.pop_front().unwrap_or_default())));
            }
            Self::Lease { answer, .. } => {
                drop(answer.send(result.map(|verdicts| verdicts.leases.pop_front().unwrap_or_default())));
            }
            Self::Offer { answer, .. } => {
                drop(answer.send(result.map(|verdicts| verdicts.offers.pop_front().unwrap_or_default())));
            }
            Self::TakeOffers { answer, .. } => {
                drop(answer.send(result.map(|verdicts| verdicts.taken.pop_front().unwrap_or_default())));
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
    connector: Arc<dyn Connector>,
    /// `None` after a failure that leaves open what the connection is in the
    /// middle of; the next commit makes a new one.
    connection: Option<Connection>,
    notes: Vec<SendNote>,
    notes_due: Option<Instant>,
    /// Told of each commit that others want to know of.
    news: Arc<News>,
}

/// The commits that the processes of a database tell each other of.
#[derive(Debug, Default)]
pub(in crate::store) struct News {
    /// Settlements have ended.
    pub ended: Notify,
    /// There may be a payment to take that was handed over.
    pub work: Notify,
}

impl Writer {
    pub(super) fn new(connector: Arc<dyn Connector>, connection: Connection, news: Arc<News>) -> Self {
        Self { connector, connection: Some(connection), notes: Vec::new(), notes_due: None, news }
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
        let mut nothing = Verdicts::default();
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
                        let alive = self.reconnect().await;
                        group.drain(..).for_each(|request| request.answer(alive.as_ref().map(|()| &mut nothing).map_err(Clone::clone)));
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

    /// Makes a connection where the last one is gone.
    async fn reconnect(&mut self) -> Result<(), StoreError> {
        if self.connection.is_none() {
            self.connection = Some(self.connector.connect().await?);
        }
        Ok(())
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
        match self.attempt_in_turn(group).await {
            Ok(mut verdicts) => group.drain(..).for_each(|request| request.answer(Ok(&mut verdicts))),
            Err(error) if fault(&error) != Fault::Store && group.len() + self.notes.len() > 1 => {
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
                    let mut result = self.attempt_in_turn(&alone).await;
                    if let Some(request) = alone.pop() {
                        request.answer(result.as_mut().map_err(|error| error.clone()));
                    }
                }
            }
            Err(error) => {
                group.drain(..).for_each(|request| request.answer(Err(error.clone())));
            }
        }
        self.notes_due = (!self.notes.is_empty()).then(|| Instant::now() + NOTES_WAIT);
    }

    /// Commits a group. Where another process wrote one of its rows at the same
    /// time, the group is looked at again: that process has finished by then.
    async fn attempt_in_turn(&mut self, group: &[Request]) -> Result<Verdicts, StoreError> {
        let mut written = self.attempt(group, Turn::First).await;
        for _ in 1..TURNS_MAX {
            match &written {
                Err(error) if fault(error) == Fault::Race => {
                    tracing::debug!(%error, "something is in the way of a commit; it is looked at, and made again");
                }
                _ => break,
            }
            written = self.attempt(group, Turn::Next).await;
        }
        if written.is_err() {
            crate::metrics::commit_failed();
        }
        written
    }

    /// One transaction. After an error nothing of the group counts as stored
    /// or as not stored, unless the group or a race is at fault.
    async fn attempt(&mut self, group: &[Request], turn: Turn) -> Result<Verdicts, StoreError> {
        let started = Instant::now();
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connector.connect().await?,
        };
        let mut session = connection.session();
        let written = write::transaction(&mut session, group, &self.notes, turn).await;
        match &written {
            Ok(verdicts) => {
                self.connection = Some(connection);
                if verdicts.have_ended() {
                    self.news.ended.notify_one();
                }
                if verdicts.has_work {
                    self.news.work.notify_one();
                }
                self.notes.clear();
                crate::metrics::committed(started.elapsed(), group.len());
            }
            Err(error) => {
                if fault(error) != Fault::Store && session.rollback().await.is_ok() {
                    self.connection = Some(connection);
                }
            }
        }
        written
    }

    async fn close(&mut self) -> Option<Result<(), StoreError>> {
        Some(self.connection.take()?.finish().await)
    }
}

async fn due(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// The part that is to blame for a failed commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// The group: nothing of it is stored, and the connection is good.
    Group,
    /// Another process that wrote at the same time: as [`Group`](Self::Group).
    Race,
    /// The database: nothing is known.
    Store,
}

fn fault(error: &StoreError) -> Fault {
    match error {
        StoreError::Contradiction(_) => Fault::Group,
        StoreError::Database(error) => error.as_database_error().map_or(Fault::Store, of_database),
        _ => Fault::Store,
    }
}

/// The database's own words. PostgreSQL's codes have five letters, of which the
/// first two are the class: 22 a value that a column refuses, 23 a constraint,
/// 40 a transaction that lost against another.
fn of_database(error: &dyn DatabaseError) -> Fault {
    let code = error.try_downcast_ref::<PgDatabaseError>().map(PgDatabaseError::code);
    if code == Some(NOT_AS_EXPECTED) {
        return Fault::Race;
    }
    match code.map(|code| code.get(..2).unwrap_or_default()) {
        Some("40") => Fault::Race,
        Some("23") if error.is_unique_violation() => Fault::Race,
        Some("22" | "23") => Fault::Group,
        Some(_) => Fault::Store,
        None if matches!(error.kind(), ErrorKind::Other) => Fault::Store,
        None => Fault::Group,
    }
}
