//! The statements of a commit. Each covers all rows of its kind at once: every
//! statement is a trip to the connection's thread.
//!
//! | module | the changes it writes |
//! |---|---|
//! | `begin` | payments and their transactions |
//! | `end` | inclusions, ends, finality, deliveries |
//! | `rare` | everything else, one change at a time |
//! | `notes` | the answers to sends |
//! | `owner` | the owners of gas wallets, the operator's word |
//! | `events` | the story of each settlement |

mod begin;
mod end;
mod events;
mod notes;
mod owner;
mod rare;

use std::collections::{HashSet, VecDeque};

use chains_core::clock::Millis;
use sqlx::{Connection as _, SqliteConnection};

use self::events::Events;
pub(super) use self::owner::resolve_alone;
use super::{
    admit::{Known, Refusal},
    group::{self, Call, Segment},
    writer::Request,
};
use crate::{
    settlement::SettlementId,
    store::{Change, SendNote, StoreError},
};

/// Rows of one statement: 22 columns each must stay below SQLite's 32,766 parameters.
pub(super) const ROWS_MAX: usize = 512;

/// Letters kept of a text that comes from outside.
const DETAIL_MAX: usize = 500;

/// The states from which a settlement can end.
const NOT_ENDED: &str = "('signed', 'broadcast', 'unresolved')";

/// The reason why a group was not written.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteError {
    /// The database failed.
    #[error(transparent)]
    Sql(#[from] sqlx::Error),
    /// A change contradicts what is stored.
    #[error("the change contradicts what is stored: {0}")]
    Contradiction(&'static str),
}

impl From<WriteError> for StoreError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Sql(error) => error.into(),
            WriteError::Contradiction(what) => Self::Contradiction(what),
        }
    }
}

/// The decisions of a commit.
#[derive(Debug, Default)]
pub(super) struct Verdicts {
    /// For each call of `apply`, in order: the settlements that it ended, or
    /// why nothing of it is stored.
    pub calls: VecDeque<Result<Vec<SettlementId>, Refusal>>,
    /// Settlements whose success was given away now, to one of those who asked.
    pub delivered: HashSet<SettlementId>,
    /// Settlements that the operator's word ended now.
    pub resolved: HashSet<SettlementId>,
    /// The new epoch of each owner, in order.
    pub epochs: VecDeque<u64>,
}

/// Refuses numbers that their columns must hold exactly and cannot.
pub(super) fn check_ranges(changes: &[Change]) -> Result<(), StoreError> {
    for change in changes {
        let nonce = match change {
            Change::Carry(transaction) | Change::UseNonce { transaction, .. } => transaction.nonce,
            _ => None,
        };
        if let Some(value) = nonce.filter(|nonce| i64::try_from(*nonce).is_err()) {
            return Err(StoreError::TooLarge { column: "nonce", value });
        }
    }
    Ok(())
}

/// Writes a group, all or nothing.
pub(super) async fn transaction(
    connection: &mut SqliteConnection,
    group: &[Request],
    notes: &[SendNote],
) -> Result<Verdicts, WriteError> {
    begin_immediate(connection).await?;
    let mut verdicts = Verdicts::default();
    let mut events = Events::default();
    let (mut calls, mut delivers, mut words) = (Vec::new(), Vec::new(), Vec::new());
    for request in group {
        match request {
            Request::Apply { changes, at, .. } => calls.push(Call { changes, at: *at }),
            Request::Deliver { id, to, at, .. } => delivers.push((*id, *to, *at)),
            Request::Resolve { word, .. } => words.push(word),
            Request::Own { owner, .. } => verdicts.epochs.push_back(owner::own(connection, owner).await?),
            Request::Ping { .. } => {}
        }
    }
    for rows in notes.chunks(ROWS_MAX) {
        notes::write(connection, rows).await?;
    }
    verdicts.calls = apply(connection, &calls, &mut events).await?;
    verdicts.delivered = end::deliver(connection, &delivers, &mut events).await?;
    for word in words {
        // The last of a group: a proof that arrives with the word comes first.
        if owner::resolve(connection, word, &mut events).await? {
            verdicts.resolved.insert(word.id);
        }
    }
    events.write(connection).await?;
    commit(connection).await?;
    Ok(verdicts)
}

async fn apply(
    connection: &mut SqliteConnection,
    calls: &[Call<'_>],
    events: &mut Events,
) -> Result<VecDeque<Result<Vec<SettlementId>, Refusal>>, WriteError> {
    let mut known = Known::look_up(connection, calls).await?;
    let refusals = known.admit(calls);
    let admitted = calls.iter().copied().enumerate().zip(&refusals).filter(|(_, refusal)| refusal.is_none());
    let segments = group::segments(admitted.map(|(call, _)| call), &known.networks);
    let mut ended = vec![Vec::new(); calls.len()];
    for segment in segments {
        match segment {
            Segment::Batch(batch) => {
                begin::claims(connection, &batch, events).await?;
                begin::carries(connection, &batch, events).await?;
                end::inclusions(connection, &batch.inclusions).await?;
                end::ends(connection, &batch.ends, &mut ended, events).await?;
                end::finalities(connection, &batch.finalities, events).await?;
            }
            Segment::One(change, at) => rare::write(connection, change, at, events).await?,
        }
    }
    let verdict = |(ended, refusal): (_, Option<Refusal>)| refusal.map_or(Ok(ended), Err);
    Ok(ended.into_iter().zip(refusals).map(verdict).collect())
}

/// Begins a transaction in which a look-up is still true at the write after it.
pub(super) async fn begin_immediate(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    sqlx::query("BEGIN IMMEDIATE").execute(connection).await.map(|_| ())
}

pub(super) async fn commit(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    sqlx::query("COMMIT").execute(connection).await.map(|_| ())
}

/// Gives a failed transaction up.
pub(super) async fn rollback(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    sqlx::query("ROLLBACK").execute(connection).await.map(|_| ())
}

/// Moves the log into the file, so that a copy of the file alone is whole.
pub(super) async fn checkpoint(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    connection.clear_cached_statements().await?;
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(connection).await.map(|_| ())
}

/// The text, cut to what is kept.
fn cut(text: &str) -> String {
    text.chars().take(DETAIL_MAX).collect()
}

/// The time as a column holds it.
fn time(at: Millis) -> i64 {
    super::row::int(at.0)
}
