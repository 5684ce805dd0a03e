//! Settlements that are over for good move from the store into a file.
//!
//! Each batch is on disk in the file before one commit takes it out of the
//! store, and that commit stores the file's new length. So a crash leaves at
//! most a batch at the file's end that has not left the store: the next run
//! drops it there and writes it again. Nothing is lost, nothing is there twice.

pub mod file;
pub mod line;
#[cfg(test)]
mod tests;

use std::path::Path;

use chains_core::clock::Millis;

use self::file::{ArchiveFile, FileError};
use crate::{
    settlement::{Record, Timeline},
    store::{
        Store, StoreError,
        archive::{Archive, Bounds, DEPARTURES_MAX, Departure},
    },
};

/// The result of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// Settlements that have left the store in this run.
    pub settlements: u64,
    /// Older settlements that stay, as they are not over for good.
    pub staying: u64,
    /// The file.
    pub archive: Archive,
}

/// The reason why a run ended early. Settlements that have left are in the
/// file; the same command goes on where it ended.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The file cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file belongs to another store.
    #[error("{0} is an archive of another store, or of a newer copy of this one. Name another file")]
    Foreign(String),
    /// The file's end holds settlements that the store does not have.
    #[error(
        "{path} holds settlement {id} beyond what this store knows of the file, and the store does not have it: the \
         store is an older copy. Name another file, and keep this one"
    )]
    Ahead {
        /// The file.
        path: String,
        /// The settlement.
        id: crate::settlement::SettlementId,
    },
    /// Somebody else changed the store or the file.
    #[error("another process archives too, or has changed these settlements. Nothing is lost; run the command again")]
    Raced,
}

/// Moves everything within the bounds into the file.
///
/// # Errors
/// The run ended early; see [`ArchiveError`].
pub async fn archive(store: &dyn Store, path: &Path, bounds: Bounds, now: Millis) -> Result<Moved, ArchiveError> {
    let mut file = ArchiveFile::open(path)?;
    take_up(store, &mut file, now).await?;
    let (mut settlements, mut after) = (0, None);
    loop {
        let batch = store.departing(bounds, after, DEPARTURES_MAX).await?;
        let Some(last) = batch.last() else { break };
        after = Some((last.record.facts.created_at, last.record.id()));
        let from = file.length();
        file.append(&batch)?;
        let ids: Vec<_> = batch.iter().map(|timeline| timeline.record.id()).collect();
        settlements += u64::try_from(ids.len()).unwrap_or(u64::MAX);
        let bytes = (from, file.length());
        let departure = Departure { archive: file.id(), path: file.path(), bytes, ids, bounds };
        if !store.depart(&departure).await? {
            file.cut(from)?;
            return Err(ArchiveError::Raced);
        }
    }
    let known = store.archives().await?.into_iter().find(|archive| archive.id == file.id());
    let archive = known.ok_or(ArchiveError::Raced)?;
    Ok(Moved { settlements, staying: store.staying(bounds).await?, archive })
}

/// Makes a new file known to the store, and drops the end of one that a run
/// before this has not brought to its commit.
async fn take_up(store: &dyn Store, file: &mut ArchiveFile, now: Millis) -> Result<(), ArchiveError> {
    let known = store.archives().await?.into_iter().find(|archive| archive.id == file.id());
    let Some(known) = known else {
        if !file.is_fresh()? {
            return Err(ArchiveError::Foreign(file.path()));
        }
        let (id, path, length) = (file.id(), file.path(), file.length());
        return Ok(store.begin_archive(Archive { id, path, length, settlements: 0, created_at: now }).await?);
    };
    if file.length() < known.length {
        let (path, found, length) = (file.path().into(), file.length(), known.length);
        return Err(FileError::Short { path, found, length }.into());
    }
    if file.length() > known.length {
        for timeline in file.whole_lines(known.length)? {
            let id = timeline.record.id();
            if store.record(id).await?.as_ref().map(Record::id) != Some(id) {
                return Err(ArchiveError::Ahead { path: file.path(), id });
            }
        }
        file.cut(known.length)?;
    }
    Ok(())
}

/// Finds a settlement in a file by its id, or by the hash of any of its transactions.
///
/// # Errors
/// The file is no archive of this store, or cannot be read.
pub fn find(path: &Path, known: &[Archive], name: &str) -> Result<Option<Timeline>, FileError> {
    for timeline in file::Reader::open(path, known)? {
        let timeline = timeline?;
        let id = timeline.record.id().to_string();
        let mut attempts = timeline.transactions.iter().flat_map(|(transaction, _)| &transaction.attempts);
        if id == name || timeline.record.transaction == name || attempts.any(|attempt| attempt.signed.hash == name) {
            return Ok(Some(timeline));
        }
    }
    Ok(None)
}
