//! Settlements that leave the store for a file, and what stays of them.

use std::ops::RangeInclusive;

use chains_core::{Identity, clock::Millis};
use uuid::Uuid;

use crate::settlement::{Failed, SettlementId, State};

/// Failed settlements stay at least this long, in milliseconds: budgets of lost
/// gas and the records of payers are read from them at a start.
pub const FAILED_AGE_MIN: u64 = 30 * 24 * 3_600_000;

/// The settlements that may leave the store: those that ended for good before
/// these times, whose success was given to somebody, and whose transactions
/// carry nothing else and hold no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Settled ones are final since before this time.
    pub settled_before: Millis,
    /// Failed ones ended before this time.
    pub failed_before: Millis,
}

impl Bounds {
    /// Everything that was over before a time.
    pub fn before(before: Millis, now: Millis) -> Self {
        let failed_before = before.min(Millis(now.0.saturating_sub(FAILED_AGE_MIN)));
        Self { settled_before: before, failed_before }
    }
}

/// The place of a settlement in the order of archiving: its claim.
pub type ArchiveCursor = (Millis, SettlementId);

/// A file of archived settlements, as the store knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Archive {
    /// The name in the file's first line.
    pub id: Uuid,
    /// The file's path when it was last written to.
    pub path: String,
    /// The bytes of the file whose settlements have left the tables.
    pub length: u64,
    /// The number of settlements in these bytes.
    pub settlements: u64,
    /// The time at which the file was begun.
    pub created_at: Millis,
}

/// Settlements that are in a file now, and leave the tables.
#[derive(Clone, Debug)]
pub struct Departure {
    /// The file.
    pub archive: Uuid,
    /// Its path.
    pub path: String,
    /// The bytes of the file before these settlements and after them.
    pub bytes: (u64, u64),
    /// The settlements: at most [`DEPARTURES_MAX`].
    pub ids: Vec<SettlementId>,
    /// The bounds by which they were chosen.
    pub bounds: Bounds,
}

/// Settlements of one departure: its commit keeps the service's own waiting
/// for some milliseconds.
pub const DEPARTURES_MAX: u32 = 64;

/// The rest of a settlement that is in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Archived {
    /// Its public name.
    pub id: SettlementId,
    /// Its end; of a transaction the block is in the file alone.
    pub end: ArchivedEnd,
    /// The file.
    pub archive: Archive,
}

/// The end of an archived settlement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArchivedEnd {
    /// Settled by this transaction; empty for a payment that asked for nothing.
    Settled {
        /// The transaction's hash.
        transaction: String,
    },
    /// It failed.
    Failed(Failed),
}

impl ArchivedEnd {
    /// Returns true when this is what stays of a settlement in that state.
    pub fn is_of(&self, state: &State) -> bool {
        match (self, state) {
            (Self::Settled { transaction }, State::Settled(settled)) => transaction == settled.hash(),
            (Self::Failed(stub), State::Failed(failed)) => {
                (&stub.reason, &stub.transaction) == (&failed.reason, &failed.transaction)
            }
            _ => false,
        }
    }
}

/// A name of an archived settlement.
#[derive(Clone, Copy, Debug)]
pub enum ArchivedName<'a> {
    /// Its public name.
    Id(SettlementId),
    /// The payment's.
    Identity(&'a Identity),
}

/// Places in the nonce sequence of a gas wallet that archived transactions took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchivedNonces {
    /// The gas wallet.
    pub gas_wallet: String,
    /// The places.
    pub nonces: RangeInclusive<u64>,
}
