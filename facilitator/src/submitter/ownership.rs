//! The right to use a gas wallet's nonces.

use std::sync::Arc;

use async_trait::async_trait;
use chains_core::Network;
use uuid::Uuid;

use crate::store::{Fence, Store, StoreError};

/// The right to use a gas wallet's nonces: one owner at a time, each with an
/// epoch larger than that of any owner before.
#[async_trait]
pub trait Ownership: Send + Sync {
    /// Takes the wallet; returns the right under which its worker writes.
    /// Called before the worker opens.
    async fn acquire(&self, network: &Network, gas_wallet: &str) -> Result<Fence, StoreError>;

    /// Returns the right under a newer epoch, for a wallet that is still this
    /// owner's; `None` when it is another's. Called after a commit of unknown
    /// outcome, before a look at what is stored: nothing of an older epoch is
    /// stored any more then.
    async fn renew(&self, fence: &Fence) -> Result<Option<Fence>, StoreError>;
}

/// Ownership by the lock of the store: the process that holds it owns every
/// wallet.
pub struct StoreLockOwnership {
    store: Arc<dyn Store>,
    owner: String,
}

impl StoreLockOwnership {
    /// Ownership through a store that this process has locked.
    pub fn new(store: Arc<dyn Store>) -> Self {
        // Processes of other machines have the same numbers.
        Self { store, owner: format!("process {}, {}", std::process::id(), Uuid::now_v7()) }
    }
}

#[async_trait]
impl Ownership for StoreLockOwnership {
    async fn acquire(&self, network: &Network, gas_wallet: &str) -> Result<Fence, StoreError> {
        let epoch = self.store.own_wallet(network, gas_wallet, &self.owner).await?;
        Ok(Fence { network: network.clone(), gas_wallet: gas_wallet.to_owned(), owner: self.owner.clone(), epoch })
    }

    async fn renew(&self, fence: &Fence) -> Result<Option<Fence>, StoreError> {
        let epoch = self.store.raise_epoch(&fence.network, &fence.gas_wallet, &self.owner).await?;
        Ok(epoch.map(|epoch| Fence { epoch, ..fence.clone() }))
    }
}
