//! The right to use a gas wallet's nonces.

use std::sync::Arc;

use async_trait::async_trait;
use chains_core::Network;

use crate::store::{Store, StoreError};

/// The right to use a gas wallet's nonces: one owner at a time, each with an
/// epoch larger than that of any owner before.
#[async_trait]
pub trait Ownership: Send + Sync {
    /// Takes the wallet; returns the epoch. Called before the wallet's worker opens.
    async fn acquire(&self, network: &Network, gas_wallet: &str) -> Result<u64, StoreError>;
}

/// Ownership by the lock of the store's file: the process that holds it owns
/// every wallet.
pub struct FileLockOwnership {
    store: Arc<dyn Store>,
    owner: String,
}

impl FileLockOwnership {
    /// Ownership through a store that this process has locked.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store, owner: format!("process {}", std::process::id()) }
    }
}

#[async_trait]
impl Ownership for FileLockOwnership {
    async fn acquire(&self, network: &Network, gas_wallet: &str) -> Result<u64, StoreError> {
        self.store.own_wallet(network, gas_wallet, &self.owner).await
    }
}
