//! What must survive: settlements, their signed bytes, their outcomes.
//!
//! The trait speaks of transitions of the domain, not of tables. [`sqlite`]
//! keeps it in one file; [`contract`] is the suite that every implementation
//! passes. Writes that arrive together share one commit.

#[cfg(test)]
pub(crate) mod contract;
pub mod sqlite;

use std::{ops::Range, sync::Arc};

use async_trait::async_trait;
use chains_core::{Identity, Network, chain::SignedTransaction, clock::Millis};

use crate::settlement::{
    SettlementId, State,
    record::{Advanced, Caller, Failure, Finished, NewSettlement, Record, Sent, Timeline},
};

/// The store of settlements. A method returns when its effect is durable.
#[async_trait]
pub trait Store: Send + Sync {
    /// Claims payments and stores their signed bytes, all or none, in one
    /// commit. Called by a lane before it sends.
    async fn begin(&self, settlements: Vec<NewSettlement>) -> Result<(), BeginError>;

    /// Moves a settlement on to its next transaction: what the last one cost
    /// and the next one's bytes, in one commit. Called by a lane before it sends.
    async fn advance(&self, step: Advanced) -> Result<(), StoreError>;

    /// Stores outcomes. A settlement that is final already stays as it is.
    /// Called by the watcher when the chain has decided.
    async fn finish(&self, finished: Vec<Finished>) -> Result<(), StoreError>;

    /// Gives a settled payment's success away, once: `true` for exactly one
    /// caller ever. Called when a request joins a settlement that ended while
    /// nobody waited.
    async fn deliver(&self, id: SettlementId, at: Millis) -> Result<bool, StoreError>;

    /// Notes how sends went. Not durable on return: written with the next
    /// commit, or soon. Nothing depends on it but the timeline and the word
    /// `broadcast`.
    fn note_sent(&self, sent: Vec<Sent>);

    /// The settlement of a payment. Called for every settle.
    async fn by_identity(&self, identity: &Identity) -> Result<Option<Record>, StoreError>;

    /// The settlement that a caller began under its key.
    async fn by_key(&self, caller: &Caller) -> Result<Option<Record>, StoreError>;

    /// Every settlement of a network that is not final, with its attempts, by
    /// gas wallet and sequence. Called before the network's lanes open.
    async fn live(&self, network: &Network) -> Result<Vec<Timeline>, StoreError>;

    /// The highest sequence ever stored for a gas wallet. Called before its lane opens.
    async fn sequence_max(&self, network: &Network, gas_wallet: &str) -> Result<Option<u64>, StoreError>;

    /// The newest signed form of each transaction of a gas wallet in a range of
    /// sequences, in order, each with a settlement of it; the first of them
    /// when there are many. Called when the chain has lost them.
    async fn signed_at(
        &self,
        network: &Network,
        gas_wallet: &str,
        sequences: Range<u64>,
    ) -> Result<Vec<(SettlementId, SignedTransaction)>, StoreError>;

    /// The settlements of a network that failed, at the gas wallet's cost,
    /// since a time, oldest first; the newest of them when there are very many.
    /// Called before the network opens.
    async fn failures(&self, network: &Network, since: Millis) -> Result<Vec<Failure>, StoreError>;

    /// One settlement with everything known of it.
    async fn timeline(&self, id: SettlementId) -> Result<Option<Timeline>, StoreError>;

    /// Settlements by what is asked for, newest first.
    async fn find(&self, query: &Query) -> Result<Vec<Record>, StoreError>;

    /// Whether the store answers and can write. Called by `/ready`.
    async fn check(&self) -> Result<(), StoreError>;

    /// Writes what is still to be written and stops. Called last at shutdown.
    async fn close(&self);
}

/// A look-up of settlements. What is `None` does not narrow it.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Any attempt's, or the winning, transaction.
    pub transaction: Option<String>,
    /// The chain.
    pub network: Option<Network>,
    /// Who pays, in the family's spelling, letter case ignored.
    pub payer: Option<String>,
    /// The payer's number for the payment, letter case ignored.
    pub nonce: Option<String>,
    /// How far it is.
    pub state: Option<State>,
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
    /// The store is closed, or was opened for reading only.
    #[error("the store is closed, or was opened for reading only")]
    Closed,
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        if matches!(error, sqlx::Error::PoolClosed) { Self::Closed } else { Self::Database(Arc::new(error)) }
    }
}

/// Why settlements were not begun. Nothing of them is stored.
#[derive(Debug, thiserror::Error)]
pub enum BeginError {
    /// These payments are claimed already; the others of the call were not
    /// stored either, and may be tried again.
    #[error("{} payments are claimed already", .0.len())]
    Claimed(Vec<SettlementId>),
    /// The store failed. Whether the rows are there is only known after a look.
    #[error(transparent)]
    Store(#[from] StoreError),
}
