//! Everything that must survive: settlements, their signed bytes, their ends.
//!
//! The trait speaks of transitions of the domain, not of tables. [`connect`]
//! names the database. `sql` is the store in tables; [`sqlite`] opens them in
//! one file, [`postgres`] on a server. `contract` is the suite that both pass.
//! Writes that arrive together share one commit.

pub mod archive;
pub mod change;
pub mod connect;
#[cfg(test)]
pub(crate) mod contract;
mod fence;
mod hand_over;
pub mod lease;
#[cfg(test)]
pub(crate) mod memory;
pub mod postgres;
pub mod schema;
mod sql;
pub mod sqlite;

use std::{ops::Range, sync::Arc};

use async_trait::async_trait;
use chains_core::{Identity, Network, clock::Millis};
use tokio::sync::watch;

pub use change::{Change, OperatorWord, SendNote};
pub use fence::Fence;
pub use hand_over::{HandOvers, HandedOver, Waiting};
pub use lease::{Instance, Kept, Lease, Leases};

use self::archive::{Archive, ArchiveCursor, Archived, ArchivedName, ArchivedNonces, Bounds, Departure};
use crate::settlement::{
    Caller, Recipient, Record, SettlementId, Status, Timeline, Transaction,
    record::{Due, Followed, Loss, UnderWay},
};

/// The store of settlements. A method returns when its effect is durable.
#[async_trait]
pub trait Store: Leases + HandOvers {
    /// Makes transitions, all or none, in one commit with their events.
    /// Returns the settlements that a `Settle` or `Fail` of the call ended:
    /// one that had ended before stays as it is, and is not among them.
    ///
    /// A transition that does not fit the state has no effect, unless bytes
    /// would then be sent that are not stored: that is an error. Whatever a
    /// wallet's worker writes, it writes under its `fence`.
    ///
    /// # Errors
    /// A payment or a caller's key is claimed already, the wallet's epoch is
    /// over, or the store failed.
    async fn apply_under(
        &self,
        fence: Option<&Fence>,
        changes: Vec<Change>,
        at: Millis,
    ) -> Result<Vec<SettlementId>, ApplyError>;

    /// The same for whoever is no worker.
    ///
    /// # Errors
    /// As [`apply_under`](Self::apply_under).
    async fn apply(&self, changes: Vec<Change>, at: Millis) -> Result<Vec<SettlementId>, ApplyError> {
        self.apply_under(None, changes, at).await
    }

    /// Gives a settled payment's success away, once: `true` for exactly one
    /// caller ever, and for none while the chain has taken the transfer back.
    /// Event `delivered`. Called when a request joins a settlement that ended
    /// while nobody waited.
    async fn deliver(&self, id: SettlementId, to: Recipient, at: Millis) -> Result<bool, StoreError>;

    /// Ends an unresolved settlement by the operator's word; returns false when
    /// it is not unresolved: the word never overrides a proof. Event `resolved`.
    /// Also works beside the process that owns the store. A settlement that the
    /// word settles is not looked at again; one that it fails is, as long as
    /// its payload can be executed.
    async fn resolve(&self, word: OperatorWord) -> Result<bool, StoreError>;

    /// Notes how sends went. Not durable on return: written with the next
    /// commit, or soon. Nothing depends on it but the timeline, the word
    /// `broadcast` and [`Record::accepted`].
    fn note_sent(&self, notes: Vec<SendNote>);

    /// Takes the ownership of a gas wallet, and returns its new epoch: larger
    /// than any before. The owner's name is that of one process alone.
    /// Whatever comes under an older epoch is refused from then on.
    /// Called before the wallet's worker opens.
    async fn own_wallet(&self, network: &Network, gas_wallet: &str, owner: &str) -> Result<u64, StoreError>;

    /// Raises the epoch of a gas wallet that this owner has, and returns the
    /// new one; `None` when another has the wallet. Called after a commit of
    /// unknown outcome, before a look at what is stored: a commit of an older
    /// epoch that is still on its way is over when this returns.
    async fn raise_epoch(&self, network: &Network, gas_wallet: &str, owner: &str) -> Result<Option<u64>, StoreError>;

    /// Returns true when a payment was ever begun here, archived ones included, or is
    /// handed over.
    /// Called for every settle.
    async fn knows(&self, identity: &Identity) -> Result<bool, StoreError>;

    /// The settlement of a payment.
    async fn by_identity(&self, identity: &Identity) -> Result<Option<Record>, StoreError>;

    /// The settlement that a caller began under its key.
    async fn by_key(&self, caller: &Caller) -> Result<Option<Record>, StoreError>;

    /// The settlement of this id, without its steps and events.
    async fn record(&self, id: SettlementId) -> Result<Option<Record>, StoreError>;

    /// Those of these settlements that are open, or handed over and not begun. Called
    /// while requests wait for settlements that another process follows.
    async fn open_of(&self, ids: &[SettlementId]) -> Result<Vec<SettlementId>, StoreError>;

    /// The payments of a payer that are open, or handed over and waited for, oldest
    /// first. Called for every claim where other instances are there.
    async fn under_way(&self, network: &Network, payer: &str) -> Result<Vec<UnderWay>, StoreError>;

    /// The notices that the processes of the store give each other. One may get lost.
    fn notices(&self) -> Notices;

    /// Every settlement of a network that is open, oldest first. Called before
    /// the network's workers open.
    async fn open_settlements(&self, network: &Network) -> Result<Vec<Followed>, StoreError>;

    /// Unresolved settlements of a network, oldest first, after a given one.
    /// Called by the task that asks for their proofs.
    async fn unresolved(
        &self,
        network: &Network,
        after: Option<SettlementId>,
        limit: u32,
    ) -> Result<Vec<Followed>, StoreError>;

    /// Settled, not finalized, in a block up to this height, the lowest first;
    /// those that the chain took back come last, so that they are not in the
    /// way of others. Called by the finality check.
    async fn due_for_finality(&self, network: &Network, block_number: u64, limit: u32) -> Result<Vec<Due>, StoreError>;

    /// Settlements by their ids, with everything that is needed to follow them,
    /// oldest first. Called by the finality check for those that a block's
    /// header does not answer for.
    async fn followed(&self, ids: &[SettlementId]) -> Result<Vec<Followed>, StoreError>;

    /// Failed, not finalized, and still executable by whoever holds the
    /// payload, oldest first, after a given one. Called by the finality check.
    async fn executable(
        &self,
        network: &Network,
        after: Option<SettlementId>,
        limit: u32,
    ) -> Result<Vec<Followed>, StoreError>;

    /// Failed since a time, not finalized, and by a block after which nobody
    /// can execute them, as long as the chain does not take it back; oldest
    /// first, after a given one. Called by the finality check.
    async fn failed_by_block(
        &self,
        network: &Network,
        since: Millis,
        after: Option<SettlementId>,
        limit: u32,
    ) -> Result<Vec<Followed>, StoreError>;

    /// The highest nonce ever stored for a gas wallet. Called before its worker opens.
    async fn highest_nonce(&self, network: &Network, gas_wallet: &str) -> Result<Option<u64>, StoreError>;

    /// The transactions of a gas wallet in a range of nonces, in order, the
    /// first of them when there are many. Called when the chain has lost them.
    async fn transactions_at(
        &self,
        network: &Network,
        gas_wallet: &str,
        nonces: Range<u64>,
    ) -> Result<Vec<Transaction>, StoreError>;

    /// The transactions of a gas wallet that are open although each step that they carry has ended, or is done, the
    /// oldest of them when there are many: the chain took their blocks back. Called before its worker opens.
    async fn transactions_left_open(&self, network: &Network, gas_wallet: &str)
    -> Result<Vec<Transaction>, StoreError>;

    /// The payments of a network that failed at the gas wallet's cost since a
    /// time, oldest first; the newest of them when there are very many. Called
    /// before the network opens.
    async fn losses(&self, network: &Network, since: Millis) -> Result<Vec<Loss>, StoreError>;

    /// The payers of the payments of a network that were begun since a time and are settled, one for each
    /// payment; those of the newest of them when there are very many. Called before the network opens.
    async fn payers(&self, network: &Network, since: Millis) -> Result<Vec<String>, StoreError>;

    /// One settlement with everything known of it.
    async fn timeline(&self, id: SettlementId) -> Result<Option<Timeline>, StoreError>;

    /// Settlements by what is asked for, newest first.
    async fn find(&self, query: &Query) -> Result<Vec<Record>, StoreError>;

    /// Settlements that may leave the store for a file, in the order of their
    /// claims, after a given one; see [`Bounds`].
    async fn departing(
        &self,
        bounds: Bounds,
        after: Option<ArchiveCursor>,
        limit: u32,
    ) -> Result<Vec<Timeline>, StoreError>;

    /// The number of settlements that were claimed before the bounds and are
    /// still in the store.
    async fn staying(&self, bounds: Bounds) -> Result<u64, StoreError>;

    /// Makes a file known, before anything leaves for it. Only works beside
    /// the process that owns the store, as [`depart`](Self::depart).
    async fn begin_archive(&self, archive: Archive) -> Result<(), StoreError>;

    /// Removes settlements that are in a file, on disk. Identities, ends and
    /// nonces stay. Returns false, and changes nothing, when one of them may
    /// not leave or the file is not as long as the store knows: then another
    /// process has changed one or the other. Only works beside the process
    /// that owns the store, whose writes go before.
    async fn depart(&self, departure: &Departure) -> Result<bool, StoreError>;

    /// The files of archived settlements, oldest first.
    async fn archives(&self) -> Result<Vec<Archive>, StoreError>;

    /// The rest of an archived settlement. Called for every settle whose
    /// payment is not in the store.
    async fn archived(&self, name: ArchivedName<'_>) -> Result<Option<Archived>, StoreError>;

    /// The places that archived transactions of a network took. Called by the audit.
    async fn archived_nonces(&self, network: &Network) -> Result<Vec<ArchivedNonces>, StoreError>;

    /// Answers when the store can be read, and its writer is alive. Writes
    /// nothing. Called by `/ready`.
    async fn check(&self) -> Result<(), StoreError>;

    /// The bytes that the database takes now. Called by the metrics.
    async fn size(&self) -> Result<Size, StoreError>;

    /// Writes what is still to be written and stops. Called last at shutdown.
    async fn close(&self);
}

/// The notices that the processes of a store give each other.
#[derive(Clone, Debug)]
pub struct Notices {
    /// Settlements have ended, or are handed over no more.
    pub ended: watch::Receiver<Notice>,
    /// There may be payments to take that were handed over.
    pub work: watch::Receiver<Notice>,
}

impl Notices {
    /// Those of a store whose processes give none.
    pub fn none() -> Self {
        let (ended, work) = (watch::channel(Notice::default()).1, watch::channel(Notice::default()).1);
        Self { ended, work }
    }
}

/// Waits for a notice; for ever where none ever comes.
pub async fn next_notice(notices: &mut watch::Receiver<Notice>) {
    if notices.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// A notice that something has happened, in whichever process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Notice {
    /// Grows with every notice.
    pub number: u64,
    /// True while notices can come.
    pub gives_notice: bool,
}

/// The bytes that a database takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// The database.
    pub bytes: u64,
    /// Its write-ahead log, where it has one of its own.
    pub log_bytes: Option<u64>,
}

/// A look-up of settlements. A filter that is `None` does not narrow it.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Any attempt's, or the deciding, transaction.
    pub transaction: Option<String>,
    /// The chain.
    pub network: Option<Network>,
    /// The payer, in the family's spelling, letter case ignored.
    pub payer: Option<String>,
    /// The payer's number for the payment, letter case ignored; with the payer
    /// or without.
    pub nonce: Option<String>,
    /// The id of the request that began it.
    pub request_id: Option<String>,
    /// Its state as a word.
    pub status: Option<Status>,
    /// Claimed at or after.
    pub from: Option<Millis>,
    /// The tenant that may see it; `None` sees all.
    pub tenant: Option<String>,
    /// The last id of the page before.
    pub before: Option<SettlementId>,
    /// The page's size.
    pub limit: u32,
}

/// The store could not do it, or could not say whether it did. Cheap to clone:
/// everybody whose writes shared a commit gets the same error.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The database failed.
    #[error("the store failed: {0}")]
    Database(#[source] Arc<sqlx::Error>),
    /// The database did not answer in time. Whether a write was made is known
    /// after a look.
    #[error("the database did not answer in time")]
    NoAnswer,
    /// Another process has the database for itself.
    #[error("{0} has the database for itself now: nothing is stored until it ends")]
    Taken(String),
    /// The database cannot be used as it is now.
    #[error("{0}")]
    Unusable(Arc<str>),
    /// The server is another one than this process began with, or has another
    /// history. Commits may be lost: this process knows them, and must not go on.
    #[error(
        "the database's server is another one than when this process started, or has another history: a failover or a \
         restored backup may have lost commits. This process ends; when it starts again it compares each gas wallet \
         with the chain before it signs"
    )]
    OtherHistory,
    /// A row holds what this program never writes.
    #[error("row {row} of {table} cannot be read: {column} is not what this program writes")]
    Inconsistent {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// The row's key.
        row: String,
    },
    /// A number that no chain gives out and the database cannot hold.
    #[error("{column} {value} is more than the store can hold")]
    TooLarge {
        /// The column.
        column: &'static str,
        /// The number.
        value: u64,
    },
    /// A change that does not fit what is stored, and whose bytes must not be
    /// sent. Nothing of the call is stored.
    #[error("the change contradicts what is stored: {0}")]
    Contradiction(&'static str),
    /// The store is closed, or was opened for reading only.
    #[error("the store is closed, or was opened for reading only")]
    Closed,
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        if matches!(error, sqlx::Error::PoolClosed) { Self::Closed } else { Self::Database(Arc::new(error)) }
    }
}

/// The reason why transitions were not made.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// These payments, or their callers' keys, are claimed already; or, for a
    /// later step, they have ended. Nothing of the call is stored; its others
    /// may be tried again.
    #[error("{} payments are claimed already", .0.len())]
    Claimed(Vec<SettlementId>),
    /// The wallet belongs to a newer epoch, or to nobody. Nothing of the call is
    /// stored.
    #[error("the gas wallet belongs to another owner now")]
    EpochOver,
    /// The store failed. Whether the changes are there is known after a look.
    #[error(transparent)]
    Store(#[from] StoreError),
}
